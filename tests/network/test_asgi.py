"""`ASGIMiddleware`, driven as a server drives an application."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from tests.network._web import PARENT, TRACE, name_here, outcome, trace_here
from tests.network._web_calls import BODY, PAIRS, PART, RECEIVE, START, drive, saying, scope_of
from volnux.telemetry import ASGIMiddleware, capture, traced_event


class TestOutcome:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (204, ("completed", None, None)),
            (404, ("completed", None, None)),
            (500, ("failed", "500", "HTTP status 500")),
            (503, ("failed", "503", "HTTP status 503")),
        ],
    )
    def test_a_5xx_is_a_failure_of_the_server(self, registry, status, expected):
        """And a 4xx one of the client."""
        messages = [{**START, "status": status}, BODY]
        assert drive(ASGIMiddleware(saying(*messages))) == messages
        assert outcome(registry.events()[0]) == expected

    def test_an_exception_passes_unchanged(self, registry):
        """And is where the error arose."""
        error = ValueError("no")
        with pytest.raises(ValueError) as raised:
            drive(ASGIMiddleware(saying(START, error)))

        assert raised.value is error
        assert outcome(registry.events()[0]) == ("failed", "ValueError", "no")

    def test_an_exception_after_its_page_is_the_failure(self, registry, clock):
        """As Starlette answers with 500, and raises then; the time is that of the answer."""

        def later():
            clock.advance(5)
            raise ValueError("no")

        with pytest.raises(ValueError):
            drive(ASGIMiddleware(saying({**START, "status": 500}, BODY, then=later)))

        [event] = registry.events()
        assert outcome(event) == ("failed", "ValueError", "no")
        assert event.duration == 0.0

    def test_being_cancelled_is_being_cancelled(self, registry):
        """As a server does with what runs when it ends."""
        with pytest.raises(asyncio.CancelledError):
            drive(ASGIMiddleware(saying(START, asyncio.CancelledError())))

        assert registry.events()[0].status == "cancelled"

    @pytest.mark.parametrize(
        ("messages", "text"),
        [
            ([], "the application returned without its response"),
            ([START, PART], "the application returned before the end of its response"),
        ],
    )
    def test_returning_without_a_response_is_a_failure(self, registry, messages, text):
        """The server has nothing to send."""
        drive(ASGIMiddleware(saying(*messages)))
        assert outcome(registry.events()[0]) == ("failed", "NoResponse", text)

    @pytest.mark.parametrize("messages", [[RECEIVE], [START, PART, RECEIVE]])
    def test_returning_because_the_client_has_left_is_none(self, registry, messages):
        """It is only said."""
        drive(ASGIMiddleware(saying(*messages)), incoming=[{"type": "http.disconnect"}])
        [event] = registry.events()
        assert (event.status, event.attributes["complete"]) == ("completed", False)

    def test_a_client_that_leaves_after_the_end_is_no_matter(self, registry):
        """Frameworks wait for that in any case."""
        drive(ASGIMiddleware(saying(START, BODY, RECEIVE)), incoming=[{"type": "http.disconnect"}])
        assert "complete" not in registry.events()[0].attributes

    def test_a_send_that_fails_is_the_failure(self, registry):
        """As the server tells that the client has left."""

        async def send(message):
            raise BrokenPipeError("gone")

        with pytest.raises(BrokenPipeError):
            drive(ASGIMiddleware(saying(START)), send=send)

        assert outcome(registry.events()[0]) == ("failed", "BrokenPipeError", "gone")

    def test_it_ends_with_the_last_part_of_the_response(self, registry, clock):
        """When that is sent; what is done in the background is under it all the same."""

        @traced_event("background")
        def background():
            clock.advance(5)

        async def send(message):
            clock.advance(1)

        drive(ASGIMiddleware(saying(START, PART, PART, BODY, then=background)), send=send)
        [request], [later] = registry.events("GET"), registry.events("background")
        assert (request.duration, later.parent_id) == (4.0, request.task_id)

    @pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
    def test_a_file_that_the_server_sends_is_a_response(self, registry, kind):
        """By the extensions of ASGI."""
        drive(ASGIMiddleware(saying(START, {"type": f"http.response.{kind}"})))
        assert registry.events()[0].status == "completed"


class TestTurns:
    def test_the_event_is_current_while_the_application_runs(self, registry):
        """And in the tasks that it starts; never in the server."""
        seen = []

        async def note():
            seen.append(name_here())

        async def app(scope, receive, send):
            await note()
            await asyncio.create_task(note())
            await send(START)
            await send(BODY)

        async def server():
            task = asyncio.create_task(ASGIMiddleware(app, "api")(scope_of(), None, take))
            await asyncio.sleep(0)
            around.append(name_here())
            await task
            await ASGIMiddleware(app, "api")(scope_of(), None, take)
            around.append(name_here())

        async def take(message):
            pass

        around = []
        asyncio.run(server())
        assert seen == ["api"] * 4
        assert around == [None, None]

    def test_requests_at_the_same_time_keep_apart(self, registry):
        """Each has the parent that its own headers name, and what runs in it is its own."""

        async def app(scope, receive, send):
            await asyncio.sleep(0)
            with traced_event("step") as step:
                step.set_attribute("path", scope["path"])
                await asyncio.sleep(0)
            await send(START)
            await send(BODY)

        async def send(message):
            await asyncio.sleep(0)

        def numbered(number):
            header = b"00-%032x-%016x-01" % (number, number)
            return scope_of(path=f"/{number}", headers=[(b"traceparent", header)])

        async def server():
            app_ = ASGIMiddleware(app)
            await asyncio.gather(*(app_(numbered(n), None, send) for n in range(1, 50)))

        asyncio.run(server())
        requests = {event.task_id: event for event in registry.events("GET")}
        for step in registry.events("step"):
            request = requests.pop(step.parent_id)
            assert request.attributes["url.path"] == step.attributes["path"]
            assert int(request.parent_id, 16) == int(step.attributes["path"][1:])
        assert requests == {}

    def test_it_is_not_current_after_a_failure(self, registry):
        """Nor after what the application has left open."""

        async def app(scope, receive, send):
            traced_event("left open").__enter__()
            raise ValueError

        async def server():
            with pytest.raises(ValueError):
                await ASGIMiddleware(app)(scope_of(), None, None)
            return name_here()

        assert asyncio.run(server()) is None

    def test_one_that_is_closed_from_elsewhere_leaves_that_alone(self, registry):
        """As a loop closes what has been abandoned."""

        async def app(scope, receive, send):
            await asyncio.get_running_loop().create_future()

        async def begin():
            call = ASGIMiddleware(app)(scope_of(), None, None)
            call.send(None)
            return call

        call = asyncio.run(begin())
        with traced_event("elsewhere"):
            call.close()
            assert name_here() == "elsewhere"

        assert registry.events("GET")[0].status == "cancelled"

    def test_what_it_returns_is_returned(self, registry):
        """Although servers do not care."""
        middleware = ASGIMiddleware(saying(then=lambda: 7))
        assert asyncio.run(middleware(scope_of(), None, None)) == 7


class TestDescription:
    def test_the_remote_parent_is_followed(self, registry):
        """And what is sent on is of its trace."""
        traces = []
        drive(ASGIMiddleware(saying(START, BODY, then=lambda: traces.append(trace_here()))))
        assert registry.events()[0].parent_id == PARENT
        assert traces == [TRACE]

    @pytest.mark.parametrize(
        "route",
        [{"path": "/users/{id}"}, {"path_format": "/users/{id}", "path": "/users/{id:int}"}],
    )
    def test_a_route_stands_for_the_path(self, registry, route):
        """Where the framework has put it into the scope."""
        scope = scope_of(path="/users/7")

        async def app(scope, receive, send):
            scope["route"] = type("Route", (), route)
            await send(START)
            await send(BODY)

        drive(ASGIMiddleware(app), scope)
        attributes = registry.events()[0].attributes
        assert attributes["http.route"] == "/users/{id}"
        assert "url.path" not in attributes

    def test_a_route_is_known_of_what_raises_too(self, registry):
        """Without any answer."""

        async def app(scope, receive, send):
            scope["route"] = type("Route", (), {"path": "/boom"})
            raise ValueError

        with pytest.raises(ValueError):
            drive(ASGIMiddleware(app))

        assert registry.events()[0].attributes["http.route"] == "/boom"

    def test_headers_that_can_be_read_once_only_are_the_applications(self, registry):
        """They are left alone."""
        found = []

        async def app(scope, receive, send):
            found.extend(scope["headers"])

        drive(ASGIMiddleware(app), scope_of(headers=iter(PAIRS)))
        assert found == PAIRS
        assert registry.events()[0].parent_id is None


class TestWebSockets:
    def test_a_connection_that_is_refused_has_a_status(self, registry):
        """That of the answer that the server gives then."""
        drive(ASGIMiddleware(saying({"type": "websocket.close"})), scope_of("websocket"))
        [event] = registry.events("websocket")
        assert (event.status, event.attributes["http.response.status_code"]) == ("completed", 403)

    def test_a_refusal_of_the_applications_own_has_its_status(self, registry):
        """And is a failure from 500 on."""
        message = {"type": "websocket.http.response.start", "status": 503}
        drive(ASGIMiddleware(saying(message)), scope_of("websocket"))
        assert outcome(registry.events()[0]) == ("failed", "503", "HTTP status 503")

    def test_a_client_that_leaves_says_how(self, registry):
        """By its code, or the one that stands for none."""
        app = ASGIMiddleware(saying({"type": "websocket.accept"}, RECEIVE))
        for gone in (
            {"type": "websocket.disconnect", "code": 1001},
            {"type": "websocket.disconnect"},
        ):
            drive(app, scope_of("websocket"), [gone])

        codes = [event.attributes["websocket.close_code"] for event in registry.events()]
        assert codes == [1001, 1005]

    def test_a_code_that_is_no_number_is_not_kept(self, registry):
        """It is the server's mistake."""
        close = {"type": "websocket.close", "code": "bye"}
        drive(ASGIMiddleware(saying({"type": "websocket.accept"}, close)), scope_of("websocket"))
        assert "websocket.close_code" not in registry.events()[0].attributes

    def test_an_exception_passes_unchanged(self, registry):
        """And is where the error arose."""
        app = saying({"type": "websocket.accept"}, {"type": "websocket.send"}, ValueError("no"))
        with pytest.raises(ValueError):
            drive(ASGIMiddleware(app, "chat"), scope_of("websocket"))

        assert outcome(registry.events("chat")[0]) == ("failed", "ValueError", "no")


class TestMishaps:
    @staticmethod
    def handed(scope):
        """What an application gets of a scope, a receive and a send of nobody in particular."""
        got, given = [], (scope, object(), object())

        async def app(*args):
            got.extend(args)

        asyncio.run(ASGIMiddleware(app)(*given))
        return all(a is b for a, b in zip(got, given, strict=True))

    def test_off_is_pass_through(self):
        """The application gets what the server gave."""
        assert self.handed(scope_of())

    def test_so_is_what_is_not_recorded_here(self, registry):
        """While something else is."""
        assert contextvars.Context().run(self.handed, scope_of())
        assert registry.events() == []

    @pytest.mark.parametrize("kind", ["lifespan", "something.new", None])
    def test_so_is_what_is_no_request(self, registry, kind):
        """It is no event."""
        assert self.handed({"type": kind})
        assert registry.events() == []

    def test_a_message_that_is_none_is_counted(self):
        """And goes its way."""
        with capture() as registry:
            assert drive(ASGIMiddleware(saying(START, None, BODY))) == [START, None, BODY]

        assert registry.health().errors == {"middleware": {"TypeError": 2}}
        assert registry.events()[0].status == "completed"

    def test_a_path_that_is_none_is_counted(self):
        """The application is called all the same."""

        class Odd:
            def __str__(self):
                raise ZeroDivisionError

        with capture() as registry:
            assert drive(ASGIMiddleware(saying(START, BODY)), scope_of(path=Odd())) == [START, BODY]

        assert registry.health().errors == {"middleware": {"ZeroDivisionError": 1}}
