"""An exchange of aiohttp, and where it ends: with the last byte that the program takes of the body.

aiohttp gives a connection back as soon as the body has come, read or not; so a body that waits in memory
to be read is found by its reader, not by its connection.
"""

from __future__ import annotations

import asyncio
from functools import wraps
from weakref import ref

from aiohttp import ClientConnectionError
from aiohttp.hdrs import CONTENT_ENCODING

from volnux.telemetry.clients._exchange import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Protocol

    from volnux.telemetry.clients._gate import Settings

    class Line(Protocol):
        """The connection that carries an exchange."""

        queue: Any

        def finish(self) -> None: ...


#: The identities of the exchanges that have begun and not ended: what nobody holds ends by itself.
UNDER_WAY: set[int] = set()
#: Those among them whose response is there, by the identity of what their body is read from.
UNREAD: dict[int, Hop] = {}
#: Called when nothing is under way any more.
ON_QUIET: list[Callable[[], None]] = []
#: In the place of such an identity, where the connection has become something else than HTTP.
UPGRADED = -1


class Hop(Exchange):
    """One request of a session and its response; a redirect makes another one.

    Attributes:
        line: the connection that carries it; None where its bytes cannot be seen, and after its end.
        resolving, connecting: while a connection is made, when that began, and when there was an address.
    """

    __slots__ = (
        "_answer",
        "_interrupted",
        "_is_packed",
        "_key",
        "_reader",
        "connecting",
        "line",
        "resolving",
    )

    def __init__(
        self, method: str, host: str, port: int | None, target: str, settings: Settings
    ) -> None:
        Exchange.__init__(self, method, host, port, target, settings)
        self.line: Line | None = None
        self.resolving = self.connecting = 0.0
        self._is_packed = False
        self._key = 0
        self._answer: Callable[[], Any] | None = None
        self._reader: Any = None
        self._interrupted: BaseException | None = None

    def answered(self, response: Any) -> None:
        """Say that the headers have come: the body can be read."""
        self.status = status = response.status
        if self.line is None:
            self._take_its_word(response)
        content = response.content
        if status == 101 and response.connection is not None:
            self._key = UPGRADED
            response.connection.add_callback(self._released)
        elif content.at_eof():
            self.end()
        else:
            self._key = key = id(content)
            UNREAD[key] = self
            self._is_packed = CONTENT_ENCODING in response.headers
            self._answer = ref(response, self._let_go)
            if content.is_eof():
                self._reader = content
                if self._wire is not None:
                    self.parted()
            elif content.exception() is not None:
                self.broken(content.exception())
            else:
                response.connection.add_callback(self._released)

    def _take_its_word(self, response: Any) -> None:
        self.source = "declared"
        self.note("http.response.status_code", response.status)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and len(length) < 19:
            self.note("declared", int(length))

    def _released(self) -> None:
        """The connection has been given back or closed: at the end of the body, or before."""
        reader = self._reader_now()
        if reader is None or not reader.is_eof() or reader.at_eof():
            self.end(self._interrupted)
            return
        # The body waits to be read, and the connection may carry another exchange. Not before is the
        # reader kept: until its end it would keep the response from being let go.
        self._reader = reader
        self.parted()

    def read(self, reader: Any) -> None:
        """End it: the program has taken the last of the body."""
        line = self.line
        if self._is_packed or line is None or line.queue or ON_QUIET:
            self._reader = reader
            self.end()
            return
        # As most do: there is nothing more to be said than that it has ended.
        UNDER_WAY.discard(id(self))
        UNREAD.pop(self._key, None)
        self._answer = self._reader = self.line = None
        Exchange.end(self)

    def _let_go(self, _: object) -> None:
        self.end(self._interrupted)

    def _reader_now(self) -> Any:
        if self._reader is not None:
            return self._reader
        response = self._answer() if self._answer is not None else None
        return None if response is None else response.content

    def closed(self) -> None:
        """End it with its connection, unless the body has come whole and waits to be read."""
        if self._key:
            self._released()

    def waited(self, error: BaseException | None) -> None:
        """Say how a wait for more of the body ended. The program may try again after a timeout."""
        if error is None:
            self._interrupted = None
            return
        # As new: a traceback would keep the response alive, and with it what waits for its end.
        is_cancelled = isinstance(error, asyncio.CancelledError)
        self._interrupted = (asyncio.CancelledError if is_cancelled else TimeoutError)(*error.args)

    def broken(self, error: BaseException) -> None:
        """End it because the body cannot be read any more."""
        if type(error) is ClientConnectionError:  # what aiohttp leaves in a body that is closed
            self.end(self._interrupted)
        else:
            # What is known of the connection is nearer to the root.
            self.end(None if self.is_in_trouble else error)

    def end(self, error: BaseException | None = None) -> None:
        """End it; see `Exchange.end`."""
        if self._ended:
            return
        UNDER_WAY.discard(id(self))
        if self.line is not None:
            self.line.finish()
            self.line = None
        if self._key:
            UNREAD.pop(self._key, None)
            self._count(self._reader_now())
            self._reader = self._answer = None
        if error is not None and isinstance(error, asyncio.TimeoutError):
            error = TimeoutError(str(error))  # aiohttp has four of them for one fault
        Exchange.end(self, error)
        if ON_QUIET and not UNDER_WAY:
            for each in ON_QUIET.copy():
                each()

    def _count(self, reader: Any) -> None:
        """Count what the program has taken of the body, where that is not all that has come."""
        if reader is None or (reader.at_eof() and not self._is_packed):
            return
        made = getattr(reader, "total_bytes", 0)
        # As many bytes as were sent, of a body that was packed: nobody has unpacked it.
        if not made or made != self.response.body or self.response.encoding is None:
            self.decoded = made - getattr(reader, "_size", 0)


# --- the taps ---------------------------------------------------------------------------------------


def taking(original: Callable[..., bytes]) -> Callable[..., bytes]:
    """Wrap what every way to read a body takes its pieces from."""

    @wraps(original)
    def _read_nowait_chunk(self: Any, n: int) -> bytes:
        data = original(self, n)
        hop = UNREAD.get(id(self))
        if hop is not None and self.at_eof():
            hop.read(self)
        return data

    return _read_nowait_chunk


def waiting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what waits for more of a body."""

    @wraps(original)
    def _wait(self: Any, *args: Any) -> Coroutine[Any, Any, None]:
        coroutine: Coroutine[Any, Any, None] = original(self, *args)
        hop = UNREAD.get(id(self))
        return coroutine if hop is None else _waited(hop, coroutine)

    return _wait


async def _waited(hop: Hop, coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except (asyncio.CancelledError, asyncio.TimeoutError) as error:
        hop.waited(error)
        raise
    hop.waited(None)


def breaking(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap what makes a body raise from now on."""

    @wraps(original)
    def set_exception(self: Any, exc: BaseException, *args: Any) -> None:
        original(self, exc, *args)
        hop = UNREAD.get(id(self))
        if hop is not None:
            hop.broken(exc)

    return set_exception
