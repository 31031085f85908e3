"""The routes of the raw server that behave; those that do not are in _faults.py."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import brotli  # type: ignore[import-untyped]

from tests.network._turn import route

if TYPE_CHECKING:
    from tests.network._turn import Turn

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 65_536
TEXT = ("Content-Type", "text/plain")
BINARY = ("Content-Type", "application/octet-stream")
JSON = ("Content-Type", "application/json")


def content(size: int) -> bytes:
    """What the uncompressed routes answer: every byte value in turn."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def text(size: int) -> bytes:
    """What the compressed routes answer, once unpacked: lines that pack well."""
    line = b"a line of text that packs well, number %08d\n"
    return b"".join(line % number for number in range(size // 40 + 1))[:size]


def packed(encoding: str, size: int) -> bytes:
    """The text as it goes over the wire; the same bytes every time."""
    if encoding == "gzip":
        return gzip.compress(text(size), mtime=0)
    if encoding == "deflate":
        return zlib.compress(text(size))
    if encoding == "br":
        return bytes(brotli.compress(text(size)))
    assert encoding == "zstd"
    return zstd.compress(text(size))


@route("bytes")
def _bytes(turn: Turn) -> None:
    turn.answer(content(turn.number()), BINARY)


@route("chunked")
def _chunked(turn: Turn) -> None:
    turn.chunked(BINARY)
    _send_chunks(turn, content(turn.number()))
    turn.end_chunks()


@route("chunked-trailers")
def _chunked_trailers(turn: Turn) -> None:
    body = content(turn.number(100))
    turn.chunked(BINARY, ("Trailer", "X-Checksum"))
    _send_chunks(turn, body)
    turn.end_chunks(("X-Checksum", f"{zlib.crc32(body):08x}"))


def _send_chunks(turn: Turn, body: bytes, *, packed: bool = False) -> None:
    size = int(turn.query.get("chunk", 1000))
    for start in range(0, len(body), size):
        turn.chunk(body[start : start + size], packed=packed)


def _compressed(turn: Turn) -> None:
    encoding, size = turn.segments[0], turn.number()
    body = packed(encoding, size)
    turn.head(200, ("Content-Length", str(len(body))), TEXT, ("Content-Encoding", encoding))
    turn.body(body, decoded=size)


for _encoding in ("gzip", "deflate", "br", "zstd"):
    route(_encoding)(_compressed)


@route("gzip-chunked")
def _gzip_chunked(turn: Turn) -> None:
    size = turn.number()
    turn.chunked(TEXT, ("Content-Encoding", "gzip"))
    _send_chunks(turn, packed("gzip", size), packed=True)
    turn.end_chunks(decoded=0 if turn.exchange.method == "HEAD" else size)


@route("status")
def _status(turn: Turn) -> None:
    status = turn.number()
    if status in (204, 304):
        turn.head(status)
    else:
        turn.answer(f"status {status}\n".encode(), TEXT, status=status)


@route("redirect")
def _redirect(turn: Turn) -> None:
    hops = turn.number(1)
    if hops < 1:
        turn.answer(content(10), BINARY)
    else:
        _move(turn, f"/redirect/{hops - 1}" if hops > 1 else "/bytes/10")


@route("redirect-to")
def _redirect_to(turn: Turn) -> None:
    _move(turn, quote(turn.query["url"], safe=":/?&=%#[]@!$'()*+,;"))


def _move(turn: Turn, location: str) -> None:
    turn.answer(b"moved\n", ("Location", location), status=int(turn.query.get("code", 302)))


@route("echo", lazy=True)
def _echo(turn: Turn) -> None:
    turn.answer(turn.read(), BINARY)


@route("sink")
def _sink(turn: Turn) -> None:
    turn.answer(f"{turn.exchange.request_body_bytes}\n".encode(), TEXT)


@route("continue", lazy=True)
def _continue(turn: Turn) -> None:
    asked = (turn.exchange.header("expect") or "").lower() == "100-continue"
    if asked and "refuse" in turn.query:
        turn.ending = "close"
        turn.answer(b"refused\n", TEXT, status=417)
        return
    if asked:
        turn.interim(100)
    turn.answer(turn.read(), BINARY)


@route("early-hints")
def _early_hints(turn: Turn) -> None:
    turn.interim(103, ("Link", "</style.css>; rel=preload; as=style"))
    turn.answer(content(turn.number()), BINARY)


@route("upgrade")
def _upgrade(turn: Turn) -> None:
    turn.ending = "keep"  # Connection has to say something else here.
    turn.head(101, ("Connection", "Upgrade"), ("Upgrade", "echo"))
    turn.ending = "close"
    while data := turn.wire.receive():
        turn.exchange.request_framed_bytes += len(data)
        turn.exchange.request_body_bytes += len(data)
        turn.body(data)


@route("stream")
def _stream(turn: Turn) -> None:
    turn.chunked(TEXT)
    for number in range(turn.number()):
        turn.pace(first=not number)
        turn.chunk(f"line {number:010}\n".encode())
    turn.end_chunks()


@route("sse")
def _sse(turn: Turn) -> None:
    turn.chunked(("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"))
    for number in range(turn.number(3)):
        turn.pace(first=not number)
        turn.chunk(f"id: {number}\ndata: event {number}\n\n".encode())
    turn.end_chunks()


@route("until-close")
def _until_close(turn: Turn) -> None:
    turn.ending = "close"
    turn.head(200, BINARY)
    turn.body(content(turn.number()))


@route("headers")
def _headers(turn: Turn) -> None:
    found: dict[str, str] = {}
    for name, value in turn.exchange.headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    turn.answer(json.dumps(found).encode(), JSON)


@route("retry")
def _retry(turn: Turn) -> None:
    key = turn.query.get("key", "")
    if turn.server.failures(key) > turn.number(1):
        turn.answer(content(10), BINARY)
        return
    how = turn.query.get("how", "503")
    if how.isdigit():
        turn.answer(b"not yet\n", ("Retry-After", "0"), status=int(how))
    else:
        turn.ending = how


@route("cookies")
def _cookies(turn: Turn) -> None:
    if turn.segments[1:] == ["set"]:
        cookies = turn.query or {"flavour": "plain"}
        headers = [("Set-Cookie", f"{name}={value}; Path=/") for name, value in cookies.items()]
        turn.answer(b"set\n", TEXT, *headers)
    else:
        turn.answer((turn.exchange.header("cookie") or "").encode(), TEXT)
