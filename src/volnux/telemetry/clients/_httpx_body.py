"""The body of a response of httpx: where an exchange ends.

The streams of responses are of a class that ends an exchange, made from httpx's own. Where a body is
encoded, the exchange ends with the decoder, which comes a moment later than the stream.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from operator import attrgetter

import httpx

from volnux.telemetry.clients._httpcore_streams import State, release
from volnux.telemetry.clients._roots import root_of
from volnux.telemetry.clients._told import HEAD_END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._patching import Patches


#: Where httpx has its own streams.
_DEFAULT: Any = sys.modules.get("httpx._transports.default")


def fail(exchange: Exchange, error: BaseException) -> None:
    """End an exchange by what the program is about to see."""
    found: BaseException | None = error
    if isinstance(error, httpx.HTTPError):
        exchange.note("library_error", type(error).__name__)
        if isinstance(error, httpx.TimeoutException) and root_of(error) is error:
            found = TimeoutError(str(error) or "timed out")  # not every back end has one below it
        elif isinstance(error, httpx.RemoteProtocolError) and _is_cut_short(exchange):
            found = None  # where it was cut is said as for every other client
    exchange.end(found)


def _is_cut_short(exchange: Exchange) -> bool:
    return exchange._is_cut and exchange.response.is_begun


class _Decoder:
    """Decodes as a response's own would, and counts what comes out."""

    def __init__(self, response: httpx.Response, stream: Any) -> None:
        self._response: Any = response
        self._stream = stream
        self._decoder: Any = None
        #: Whether it has begun to decode, and has not come to the end.
        self.is_at_work = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def _found(self) -> Any:
        """Return the decoder that the response would have, as late as it would choose it."""
        if self._decoder is None:
            response, self._response = self._response, None
            del response._decoder
            self._decoder = response._get_content_decoder()
            response._decoder = self
        return self._decoder

    def decode(self, data: bytes) -> bytes:
        self.is_at_work = True
        return self._counted(self._found().decode, data)

    def flush(self) -> bytes:
        decoded = self._counted(self._found().flush)
        self.is_at_work = False
        self._stream._volnux_finish()
        return decoded

    def _counted(self, method: Callable[..., bytes], *args: bytes) -> bytes:
        exchange = self._stream._volnux_exchange
        try:
            decoded = method(*args)
        except BaseException as error:
            fail(exchange, error)
            raise
        exchange.add_decoded(len(decoded))
        return decoded


# --- streams that end an exchange -------------------------------------------------------------------


class _Ending:
    """What a stream is besides."""

    #: Its exchange, if one is recorded; what decodes it, if that is counted; whether all has been read.
    _volnux_exchange: Exchange | None = None
    _volnux_decoder: _Decoder | None = None
    _volnux_is_read = False

    def __del__(self) -> None:
        exchange = self._volnux_exchange
        if exchange is not None and not exchange._ended:
            exchange.end()

    def _volnux_fail(self, error: BaseException) -> None:
        """End the exchange by an error of reading or closing."""
        exchange = self._volnux_exchange
        if exchange is None:
            return
        if isinstance(error, GeneratorExit):
            exchange.end()  # the program has read enough
        else:
            fail(exchange, error)

    def _volnux_finish(self) -> None:
        """End the exchange, unless what has been read is still to be decoded."""
        exchange, decoder = self._volnux_exchange, self._volnux_decoder
        if exchange is not None:
            if decoder is None or not decoder.is_at_work or not self._volnux_is_read:
                exchange.end()
            if State.is_over:
                release()


def _methods(kind: Any) -> dict[str, Any]:
    mapped, parts_of, let_go = *_within(kind.__iter__), kind.close

    def __iter__(self: Any) -> Iterator[bytes]:  # noqa: N807  # it becomes one
        try:
            with mapped():
                yield from parts_of(self)
        except BaseException as error:
            self._volnux_fail(error)
            raise
        self._volnux_is_read = True
        exchange = self._volnux_exchange
        if exchange is None or self._volnux_decoder is not None or State.is_over:
            self._volnux_finish()
        else:
            exchange.end()

    def close(self: Any) -> None:
        try:
            let_go(self)
        except BaseException as error:
            self._volnux_fail(error)
            raise
        if State.is_over or not self._volnux_is_read:
            self._volnux_finish()

    return {"__iter__": __iter__, "close": close}


def _async_methods(kind: Any) -> dict[str, Any]:
    mapped, parts_of, let_go = *_within(kind.__aiter__), kind.aclose

    async def __aiter__(self: Any) -> AsyncIterator[bytes]:  # noqa: N807  # as above
        try:
            with mapped():
                async for part in parts_of(self):
                    yield part
        except BaseException as error:
            self._volnux_fail(error)
            raise
        self._volnux_is_read = True
        exchange = self._volnux_exchange
        if exchange is None or self._volnux_decoder is not None or State.is_over:
            self._volnux_finish()
        else:
            exchange.end()

    async def aclose(self: Any) -> None:
        try:
            await let_go(self)
        except BaseException as error:
            self._volnux_fail(error)
            raise
        if State.is_over or not self._volnux_is_read:
            self._volnux_finish()

    return {"__aiter__": __aiter__, "aclose": aclose}


def _within(iterate: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return in what a stream iterates, and over what.

    That is what its own method does, where it is the one we know: a generator less on the way.
    """
    mapped = getattr(_DEFAULT, "map_httpcore_exceptions", None)
    names = ("map_httpcore_exceptions", "_httpcore_stream")
    if mapped is not None and iterate.__code__.co_names == names:
        return mapped, attrgetter("_httpcore_stream")
    return nullcontext, iterate


class _Around(httpx.SyncByteStream):
    """A stream around another one, whose class is not known here."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__.get("_stream"), name)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _AsyncAround(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    __getattr__ = _Around.__getattr__

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _ending(kind: type) -> type:
    methods = (_async_methods if hasattr(kind, "aclose") else _methods)(kind)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (_Ending, kind), {**methods, **names})


AROUND, ASYNC_AROUND = _ending(_Around), _ending(_AsyncAround)


def install(patches: Patches) -> None:
    """Have httpx make its streams of classes that end an exchange."""
    for name in ("ResponseStream", "AsyncResponseStream"):
        if _DEFAULT is not None:
            patches.wrap(_DEFAULT, name, _ending)


def deliver(response: httpx.Response, exchange: Exchange, around: Any) -> None:
    """Have an exchange end with the body of its response, put into a stream that does if need be."""
    try:
        exchange.status = response.status_code
        piece = exchange._in if type(exchange._in) is bytes else None
        if (piece is None or piece.endswith(HEAD_END)) and _is_all(response, exchange):
            exchange.decoded = 0
            exchange.end()
            return
        stream: Any = response.stream
        if not isinstance(stream, _Ending):
            if hasattr(
                response, "_content"
            ):  # of a transport that somebody has replaced: read already
                exchange.end()
                return
            response.stream = stream = around(stream)
        stream._volnux_exchange = exchange
        if piece is None or piece.find(b"ncoding") >= 0 or piece.find(b"NCODING") >= 0:
            _decode_with(response, stream)
    except Exception as error:  # noqa: BLE001  # another version of httpx
        exchange.note_error("httpx", error)
        exchange.end()


def _is_all(response: httpx.Response, exchange: Exchange) -> bool:
    """Return whether nothing is left to be read, taking from a response what the bytes do not say."""
    found, headers = exchange.response, response.headers
    if found.status is None:
        length = headers.get("content-length", "")
        declared = int(length) if length.isdigit() else None
        if found.is_begun:  # of HTTP/2, where headers are packed
            found.status, found.declared = response.status_code, declared
            found.encoding = headers.get("content-encoding")
        else:
            exchange.source = "declared"
            exchange.note("http.response.status_code", response.status_code)
            if declared is not None:
                exchange.note("declared", declared)
    return found.is_complete and not found.body


def _decode_with(response: httpx.Response, stream: Any) -> None:
    """Count what a body comes to when it is decoded."""
    if "content-encoding" in response.headers:
        decoder: Any = _Decoder(response, stream)
        response._decoder = stream._volnux_decoder = decoder
