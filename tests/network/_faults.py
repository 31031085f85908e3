"""The routes of the raw server that break the rules, each in one way."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.network._routes import BINARY, TEXT, content, text
from tests.network._turn import route

if TYPE_CHECKING:
    from tests.network._turn import Turn


def _declare(turn: Turn, size: int) -> None:
    turn.head(200, ("Content-Length", str(size)), BINARY)


def _send_half(turn: Turn) -> int:
    size = turn.number()
    _declare(turn, size)
    turn.body(content(size)[: size // 2])
    return size


@route("reset-mid-body")
def _reset_mid_body(turn: Turn) -> None:
    _send_half(turn)
    turn.ending = "reset"


@route("reset")
def _reset(turn: Turn) -> None:
    turn.ending = "reset"


@route("half-chunk")
def _half_chunk(turn: Turn) -> None:
    turn.chunked(BINARY)
    turn.chunk(content(100))
    turn.framing(b"64\r\n")
    turn.body(content(50))
    turn.ending = "close"


@route("bad-chunk-size")
def _bad_chunk_size(turn: Turn) -> None:
    turn.chunked(BINARY)
    turn.chunk(content(100))
    turn.framing(b"zz\r\n")
    turn.ending = "close"


@route("short")
def _short(turn: Turn) -> None:
    _send_half(turn)
    turn.ending = "close"


@route("long")
def _long(turn: Turn) -> None:
    size = turn.number()
    _declare(turn, size)
    turn.body(content(size + 10))


@route("bad-gzip")
def _bad_gzip(turn: Turn) -> None:
    body = b"this has never been packed"
    turn.answer(body, TEXT, ("Content-Encoding", "gzip"))


@route("cut-gzip")
def _cut_gzip(turn: Turn) -> None:
    body = gzip.compress(text(turn.number(1000)), mtime=0)
    turn.answer(body[: len(body) // 2], TEXT, ("Content-Encoding", "gzip"))


@route("drip")
def _drip(turn: Turn) -> None:
    size = turn.number()
    _declare(turn, size)
    if "delay" not in turn.query:
        turn.query["gated"] = ""
    for number, byte in enumerate(content(size)):
        turn.pace(first=not number)
        turn.body(bytes([byte]))


@route("hang-before-headers")
def _hang_before_headers(turn: Turn) -> None:
    turn.wire.wait(turn.server.released)
    turn.answer(content(turn.number()), BINARY)


@route("hang-mid-headers")
def _hang_mid_headers(turn: Turn) -> None:
    turn.raw_head(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Ty")
    turn.wire.wait(turn.server.released)
    turn.exchange.status = 200
    turn.raw_head(b"pe: text/plain\r\n\r\n")
    turn.body(b"ok")


@route("hang-mid-body")
def _hang_mid_body(turn: Turn) -> None:
    size = _send_half(turn)
    turn.wire.wait(turn.server.released)
    turn.body(content(size)[size // 2 :])


@route("garbage")
def _garbage(turn: Turn) -> None:
    turn.raw_head(b"\x00\x01 this is not HTTP \xff\r\n\r\n")
    turn.ending = "close"


@route("close-before-response")
def _close_before_response(turn: Turn) -> None:
    turn.ending = "close"


@route("close-unread", lazy=True)
def _close_unread(turn: Turn) -> None:
    """Answers nothing and reads no body: the client is cut off while it sends."""
    turn.ending = "reset"


@route("close-mid-headers")
def _close_mid_headers(turn: Turn) -> None:
    turn.raw_head(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Ty")
    turn.ending = "close"
