"""`WSGIMiddleware`: how a request ends, and whose turn it is until then."""

from __future__ import annotations

import gc
import io
from wsgiref.util import FileWrapper

import pytest

from tests.network._web import name_here, outcome
from tests.network._web_calls import Response, answering, call, environ_of, hello
from volnux.telemetry import WSGIMiddleware, traced_event


class TestOutcome:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("204 No Content", ("completed", None, None)),
            ("404 Not Found", ("completed", None, None)),
            ("500 Internal", ("failed", "500", "HTTP status 500")),
            ("503 Busy", ("failed", "503", "HTTP status 503")),
        ],
    )
    def test_a_5xx_is_a_failure_of_the_server(self, registry, status, expected):
        """And a 4xx one of the client."""
        assert call(WSGIMiddleware(answering([b""], status))) == ([status], [b""])
        assert outcome(registry.events()[0]) == expected

    def test_an_exception_passes_unchanged(self, registry):
        """And is where the error arose."""
        error = ValueError("no")

        def app(environ, start_response):
            raise error

        with pytest.raises(ValueError) as raised:
            call(WSGIMiddleware(app))

        assert raised.value is error
        assert outcome(registry.events()[0]) == ("failed", "ValueError", "no")

    def test_an_exception_in_the_response_passes_unchanged(self, registry):
        """After whatever came before it."""
        error = ValueError("no")
        response = call(WSGIMiddleware(answering(Response(b"a", error))), read=False)
        assert next(response) == b"a"
        with pytest.raises(ValueError) as raised:
            next(response)
        response.close()

        assert raised.value is error
        assert outcome(registry.events()[0]) == ("failed", "ValueError", "no")

    def test_an_exception_while_closing_passes_unchanged(self, registry):
        """It is the application's, too."""

        def close():
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            call(WSGIMiddleware(answering(Response(close=close))))

        assert outcome(registry.events()[0]) == ("failed", "ValueError", "no")

    def test_an_exception_given_to_start_response_is_the_failure(self, registry):
        """As a framework hands over what it has caught, with a page for it."""

        def app(environ, start_response):
            try:
                raise ValueError("caught")
            except ValueError as error:
                start_response("500 Oops", [], (type(error), error, error.__traceback__))
            return [b"sorry"]

        call(WSGIMiddleware(app))
        assert outcome(registry.events()[0]) == ("failed", "ValueError", "caught")

    def test_an_error_is_recorded_once(self, registry):
        """Where it arose, in the step; the request refers to it."""

        @traced_event("step")
        def app(environ, start_response):
            raise ValueError("no")

        with pytest.raises(ValueError):
            call(WSGIMiddleware(app))

        [request], [step] = registry.events("GET"), registry.events("step")
        assert (request.error, request.error_origin) == (None, step.task_id)

    def test_no_answer_is_a_failure(self, registry):
        """The server has nothing to send."""
        call(WSGIMiddleware(lambda environ, start_response: Response()))
        assert outcome(registry.events()[0])[:2] == ("failed", "NoResponse")

    def test_it_lasts_until_the_response_is_closed(self, registry, clock):
        """Not only until the application has returned."""

        def later():
            clock.advance(2)
            return b"x"

        def close():
            clock.advance(3)

        response = call(WSGIMiddleware(answering(Response(later, close=close))), read=False)
        assert list(response) == [b"x"]
        assert registry.events()[0].status == "running"
        response.close()
        [event] = registry.events()
        assert (event.status, event.duration) == ("completed", 5.0)

    def test_it_ends_with_a_response_that_nothing_closes(self, registry):
        """There is nothing more to come."""
        response = call(WSGIMiddleware(answering((b"a", b"b"))), read=False)
        assert list(response) == [b"a", b"b"]
        assert registry.events()[0].status == "completed"

    def test_it_ends_with_a_response_that_is_forgotten(self, registry):
        """By a server that does not close what it should."""
        response = call(WSGIMiddleware(answering(Response(b"a"))), read=False)
        assert next(response) == b"a"
        del response
        gc.collect()
        assert registry.health().in_flight == 0

    def test_closing_before_the_first_chunk_is_no_cut(self, registry):
        """As a server does with the answer to HEAD."""
        call(WSGIMiddleware(answering(Response(b"a"))), read=False).close()
        assert "complete" not in registry.events()[0].attributes


class TestTurns:
    def test_the_event_is_current_while_the_application_runs(self, registry):
        """In the call, for each chunk and while closing; and never in the server."""
        seen = []

        def note():
            seen.append(name_here())
            return b"x"

        def app(environ, start_response):
            note()
            start_response("200 OK", [])
            return Response(note, note, close=note)

        response = call(WSGIMiddleware(app, "api"), read=False)
        around = [name_here()]
        for _ in response:
            around.append(name_here())
        response.close()
        around.append(name_here())

        assert seen == ["api"] * 4
        assert around == [None] * 4

    def test_what_it_holds_open_stays_current_in_the_application(self, registry):
        """A block around a `yield` is the parent of what comes after it, and nobody else's."""

        def app(environ, start_response):
            start_response("200 OK", [])
            with traced_event("held"):
                yield b"a"
                with traced_event("inner"):
                    yield b"b"

        with traced_event("server") as server:
            response = call(WSGIMiddleware(app), read=False)
            for _ in response:
                with traced_event("sent"):
                    pass
            response.close()

        [held], [inner] = registry.events("held"), registry.events("inner")
        assert inner.parent_id == held.task_id
        assert held.parent_id == registry.events("GET")[0].task_id
        assert {event.parent_id for event in registry.events("sent")} == {server.task_id}

    def test_write_goes_to_the_server(self, registry):
        """And is what `start_response` returned."""
        written = []

        def app(environ, start_response):
            write = start_response("200 OK", [], exc_info=None)
            write(b"x")
            return []

        WSGIMiddleware(app)(
            environ_of(), lambda status, headers, exc_info=None: written.append
        ).close()
        assert written == [b"x"]

    def test_a_list_keeps_its_length(self, registry):
        """By which a server knows that it is all there is."""
        response = call(WSGIMiddleware(hello), read=False)
        assert len(response) == 1
        response.close()

    def test_a_stream_has_none(self, registry):
        """As before."""
        with pytest.raises(TypeError):
            len(call(WSGIMiddleware(answering(Response(b"a"))), read=False))

    def test_a_file_wrapper_stays_what_it_is(self, registry):
        """So that the server may send the file itself; closing it ends the event."""
        closed = []

        class File(io.BytesIO):
            def close(self):
                closed.append(name_here())
                super().close()

        wrapper = FileWrapper(File(b"x"))
        app = WSGIMiddleware(answering(wrapper), "api")
        response = call(app, environ_of(**{"wsgi.file_wrapper": FileWrapper}), read=False)
        assert response is wrapper
        assert registry.health().in_flight == 1
        response.close()

        assert (closed, registry.health().in_flight) == (["api"], 0)

    def test_a_file_wrapper_that_cannot_be_changed_is_followed(self, registry):
        """As one that is written in C."""

        class Fixed:
            __slots__ = ()

            def __iter__(self):
                return iter([b"x"])

            def close(self):
                pass

        environ = environ_of(**{"wsgi.file_wrapper": Fixed})
        assert call(WSGIMiddleware(answering(Fixed())), environ)[1] == [b"x"]
        assert registry.events()[0].status == "completed"
