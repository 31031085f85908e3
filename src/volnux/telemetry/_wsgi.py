"""`WSGIMiddleware`: requests to a WSGI application, by PEP 3333."""

from __future__ import annotations

from volnux.telemetry._outcome import note_in
from volnux.telemetry._request import begin_request, checked
from volnux.telemetry._seam import get_current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    from volnux.telemetry._raw import Raw
    from volnux.telemetry._request import Request

    Environ: TypeAlias = dict[str, Any]
    App: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]


class WSGIMiddleware:
    """Record each request to a WSGI application as an event, under the parent that its headers name.

    The event is current while the application runs: in the call, and whenever the server asks its
    response for more. It ends when the server closes the response. It has failed if the application
    raises, or answers with 5xx. Its attributes are `http.request.method`, `url.scheme`,
    `http.response.status_code`, `http.route` where Flask or Bottle say which it is, else `url.path`,
    redacted; and `complete`, False, where the client did not take the whole response.

    The application's response, exceptions and `write` are its own. While telemetry is off, the
    application is called and nothing else. Safe from any thread.

    Args:
        app: the application.
        name: of the events; by default the method of each request.

    Raises:
        TypeError: the application cannot be called.
        ValueError: the name is empty.

    Example:
        >>> app.wsgi_app = WSGIMiddleware(app.wsgi_app)
    """

    def __init__(self, app: App, name: str | None = None) -> None:
        self._name = checked(app, name, "WSGI")
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        request = _begun(self._name, environ)
        if request is None:
            return self._app(environ, start_response)
        turn = _Turn(request)

        def starting(status: Any, *args: Any, **kwargs: Any) -> Any:
            turn.note_answer(status, args[1] if len(args) > 1 else kwargs.get("exc_info"))
            return start_response(status, *args, **kwargs)

        turn.enter()
        try:
            response = self._app(environ, starting)
        except BaseException as error:
            turn.leave()
            request.end(error)
            raise
        turn.leave()
        return _followed(response, environ, turn)


def _begun(name: str | None, environ: Environ) -> Request | None:
    method = environ.get("REQUEST_METHOD")
    request = begin_request(name, method, environ, lambda: _route_in(environ))
    if request is not None:
        try:
            path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
            text = path.encode("latin-1", "replace").decode("utf-8", "replace")
            request.describe(method, text, environ.get("wsgi.url_scheme"))
        except Exception as error:  # noqa: BLE001  # whatever a server hands over
            note_in(request.event, "middleware", type(error).__name__, error)
    return request


def _route_in(environ: Environ) -> object:
    """Return the template of the path, as Flask and Bottle tell it."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return getattr(rule or environ.get("bottle.route"), "rule", None)


class _Turn:
    """Whose turn it is: the application's, with its event current, or the server's."""

    __slots__ = ("_inside", "_outside", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        # What is current in the application: the event, or what it holds open between two chunks.
        self._inside: Raw = request.event
        self._outside: Raw = request.event

    def enter(self) -> None:
        """Go into the application."""
        self._outside = get_current()
        set_current(self._inside)

    def leave(self) -> None:
        """Come back to the server."""
        self._inside = get_current()
        set_current(self._outside)

    def note_answer(self, status: Any, exc_info: Any) -> None:
        """Say what `start_response` is called with."""
        try:
            self.request.answer(int(status[:3]), exc_info[1] if exc_info else None)
        except Exception as error:  # noqa: BLE001  # the server will say what is wrong with it
            note_in(self.request.event, "middleware", type(error).__name__, error)


def _followed(response: Any, environ: Environ, turn: _Turn) -> Iterable[bytes]:
    """Return a response whose end is seen; as it is, if the server knows how to send that as a file."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(response, wrapper):
        closing = _Body(response, turn).close
        try:
            response.close = closing  # type: ignore[attr-defined]  # as every file wrapper has it
        except Exception:  # noqa: BLE001, S110  # one that is written in C
            pass
        else:
            return response  # type: ignore[return-value]  # an iterable, by PEP 3333
    return (_SizedBody if hasattr(type(response), "__len__") else _Body)(response, turn)


class _Body:
    """A response as the server iterates over it and closes it."""

    __slots__ = ("_chunks", "_close", "_is_exhausted", "_response", "_turn")

    def __init__(self, response: Any, turn: _Turn) -> None:
        self._response = response
        self._turn = turn
        self._chunks: Iterator[bytes] | None = None
        self._close: Callable[[], None] | None = getattr(response, "close", None)
        self._is_exhausted = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        turn = self._turn
        turn.enter()
        try:
            if self._chunks is None:
                self._chunks = iter(self._response)
            chunk = next(self._chunks)
        except StopIteration:
            turn.leave()
            self._is_exhausted = True
            if self._close is None:
                turn.request.end()
            raise
        except BaseException as error:
            turn.leave()
            turn.request.end(error)
            raise
        turn.leave()
        return chunk

    def close(self) -> None:
        """Close the application's response, which ends the request."""
        turn, request = self._turn, self._turn.request
        request.is_whole = self._is_exhausted or self._chunks is None
        turn.enter()
        try:
            if self._close is not None:
                self._close()
        except BaseException as error:
            turn.leave()
            request.end(error)
            raise
        turn.leave()
        is_missing = self._is_exhausted and request.status is None
        request.end(missing="the application gave no response" if is_missing else None)

    def __del__(self) -> None:
        # A server that does not close what it was given.
        self._turn.request.end()


class _SizedBody(_Body):
    """A response that knows how many chunks it has: servers take the length of one from that."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._response)
