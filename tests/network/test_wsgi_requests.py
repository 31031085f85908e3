"""`WSGIMiddleware`: what it says of a request, and what it makes of a strange one."""

from __future__ import annotations

import contextvars

import pytest

from tests.network._web import HEADERS, PARENT, TRACE, trace_here
from tests.network._web_calls import answering, call, environ_of, hello
from volnux.telemetry import (
    TelemetryError,
    WSGIMiddleware,
    capture,
    current_event,
    extract,
    pipeline,
    traced_event,
)


class Rule:
    rule = "/users/<id>"


class FlaskRequest:
    url_rule = Rule


class TestDescription:
    def test_the_remote_parent_is_followed(self, registry):
        """And what is sent on is of its trace."""
        traces = []

        def app(environ, start_response):
            with capture(), pipeline("p"), traced_event("step"):
                traces.append(trace_here())
            return hello(environ, start_response)

        call(WSGIMiddleware(app), environ_of(HTTP_TRACEPARENT=HEADERS["traceparent"]))
        assert registry.events("GET")[0].parent_id == PARENT
        assert traces == [TRACE]

    def test_one_middleware_inside_of_another_is_inside_of_its_event(self, registry):
        """Although both read the same headers; and so is a block of the handler's own."""

        @traced_event("step")
        def step():
            return []

        def app(environ, start_response):
            start_response("200 OK", [])
            with extract(environ):
                return step()

        app = WSGIMiddleware(WSGIMiddleware(app, "inner"), "outer")
        call(app, environ_of(HTTP_TRACEPARENT=HEADERS["traceparent"]))
        [outer], [inner] = registry.events("outer"), registry.events("inner")
        assert (outer.parent_id, inner.parent_id) == (PARENT, outer.task_id)
        assert registry.events("step")[0].parent_id == inner.task_id

    @pytest.mark.parametrize("method", ["GETTY", "get", None, []])
    def test_a_method_that_nobody_knows_names_no_event(self, registry, method):
        """Whoever asks must not be the one to choose names."""
        call(WSGIMiddleware(hello), environ_of(REQUEST_METHOD=method))
        [event] = registry.events()
        assert (event.event_name, event.attributes["http.request.method"]) == ("HTTP", "_OTHER")

    def test_the_path_is_redacted_and_names_nothing(self, registry):
        """It may hold anything."""
        secret = "ghp_" + "a1B2" * 9
        call(WSGIMiddleware(hello), environ_of(f"/{secret}", SCRIPT_NAME="/app"))
        [event] = registry.events()
        assert (event.event_name, event.attributes["url.path"]) == ("GET", "/app/[redacted]")

    def test_the_path_is_read_as_utf_8(self, registry):
        """Which WSGI hands over byte by byte."""
        call(WSGIMiddleware(hello), environ_of("/caf\u00c3\u00a9"))
        assert registry.events()[0].attributes["url.path"] == "/caf\u00e9"

    @pytest.mark.parametrize(
        ("key", "told"), [("werkzeug.request", FlaskRequest), ("bottle.route", Rule)]
    )
    def test_a_route_stands_for_the_path(self, registry, key, told):
        """Where the framework tells it, before it forgets it."""

        def app(environ, start_response):
            environ[key] = told
            response = hello(environ, start_response)
            environ[key] = None
            return response

        call(WSGIMiddleware(app), environ_of("/users/7"))
        attributes = registry.events()[0].attributes
        assert attributes["http.route"] == "/users/<id>"
        assert "url.path" not in attributes

    def test_the_path_is_known_while_it_runs(self, registry):
        """When somebody asks what takes so long."""
        response = call(WSGIMiddleware(hello), environ_of("/slow"), read=False)
        assert registry.events()[0].attributes["url.path"] == "/slow"
        response.close()

    def test_what_the_application_says_of_itself_stays(self, registry):
        """Beside and instead of what we say."""

        def app(environ, start_response):
            current_event().set_attributes({"user": 7, "http.response.status_code": "mine"})
            return hello(environ, start_response)

        call(WSGIMiddleware(app))
        attributes = registry.events()[0].attributes
        assert (attributes["user"], attributes["http.response.status_code"]) == (7, "mine")

    def test_a_path_of_its_own_stays_beside_the_route(self, registry):
        """It may say more, or less."""

        def app(environ, start_response):
            current_event().set_attribute("url.path", "/mine")
            return hello(environ, start_response)

        call(WSGIMiddleware(app), environ_of(**{"bottle.route": Rule}))
        attributes = registry.events()[0].attributes
        assert (attributes["url.path"], attributes["http.route"]) == ("/mine", "/users/<id>")


class TestMishaps:
    def test_off_is_pass_through(self):
        """The application gets what the server gave, and the server what it returned."""
        given = environ_of(), object()
        returned = WSGIMiddleware(lambda *args: args)(*given)
        assert all(a is b for a, b in zip(returned, given, strict=True))

    def test_so_is_what_is_not_recorded_here(self, registry):
        """While something else is."""
        given = environ_of(), object()
        returned = contextvars.Context().run(WSGIMiddleware(lambda *args: args), *given)
        assert all(a is b for a, b in zip(returned, given, strict=True))
        assert registry.events() == []

    def test_a_status_that_is_none_is_counted(self):
        """The server will say what is wrong with it."""
        with capture() as registry:
            assert call(WSGIMiddleware(answering([b"x"], "fine"))) == (["fine"], [b"x"])

        assert registry.health().errors == {"middleware": {"ValueError": 1}}

    def test_an_environment_that_is_none_is_counted(self):
        """The application is called all the same."""
        with capture() as registry:
            assert call(WSGIMiddleware(hello), environ_of(PATH_INFO=Odd())) == (
                ["200 OK"],
                [b"hello"],
            )

        assert registry.health().errors == {"middleware": {"ZeroDivisionError": 1}}

    def test_a_route_that_raises_is_counted(self):
        """And does not hurt the response."""
        with capture() as registry:
            call(WSGIMiddleware(hello), environ_of(**{"bottle.route": Odd()}))

        assert registry.health().errors == {"middleware": {"route": 2}}
        assert registry.events()[0].attributes["http.response.status_code"] == 200

    def test_a_strict_registry_raises_it_and_the_event_ends(self, registry):
        """So that a test sees both."""
        with pytest.raises(ZeroDivisionError):
            call(WSGIMiddleware(hello), environ_of(**{"bottle.route": Odd()}))

        assert registry.health().in_flight == 0

    def test_a_strict_registry_raises_what_cannot_be_described_too(self, registry):
        """And the event ends once."""

        class Unprintable(Exception):
            def __str__(self):
                raise ZeroDivisionError

        def app(environ, start_response):
            raise Unprintable

        with pytest.raises(TelemetryError):
            call(WSGIMiddleware(app))

        assert (registry.health().in_flight, registry.event_stats()["GET"].failed) == (0, 1)


class Odd:
    """Raises at every look."""

    def __str__(self):
        raise ZeroDivisionError

    @property
    def rule(self):
        raise ZeroDivisionError
