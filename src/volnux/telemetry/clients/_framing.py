"""One HTTP/1 message as it crosses a socket: where its head ends, and how long its body is.

What a client reports of a body is what it made of it; what crossed the socket is here. The rules are
those of RFC 9112, section 6.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Data: TypeAlias = bytes | bytearray | memoryview

#: Bytes of a head after which it is taken for none.
LONGEST_HEAD = 1 << 18
#: Bytes of a line that gives the size of a chunk, likewise.
LONGEST_LINE = 1 << 14

HEAD, LENGTH, SIZE, CHUNK, TRAILERS, UNTIL_CLOSE, ENDED, FREE = range(8)


class Framing:
    """Follows one message, given piece by piece. It keeps nothing but an unfinished head or line.

    Attributes:
        head: bytes of its head, the line and the headers, with those of interim responses before it.
        body: bytes of its body, without what frames chunks.
        excess: bytes behind its end, which belong to nothing.
        declared: what its Content-Length says, or None.
        encoding: its Content-Encoding in lower case, or None.
        status: of a response, its status code, or None before it is known.
        is_free: whether the bytes are no HTTP/1 (any more): after an upgrade, or of something else.
        is_broken: whether they are none where they should be.
    """

    __slots__ = (
        "_buffer",
        "_left",
        "_method",
        "_state",
        "body",
        "declared",
        "encoding",
        "excess",
        "head",
        "is_broken",
        "status",
    )

    def __init__(self, method: str, *, is_response: bool) -> None:
        self._method = method if is_response else None
        self._state = HEAD
        self._buffer = b""
        self._left = 0
        self.head = self.body = self.excess = 0
        self.is_broken = False
        self.declared: int | None = None
        self.encoding: str | None = None
        self.status: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the message has crossed to its end."""
        return self._state == ENDED

    @property
    def is_free(self) -> bool:
        """Whether the bytes are no HTTP/1 (any more)."""
        return self._state == FREE

    @property
    def is_begun(self) -> bool:
        """Whether the head has crossed."""
        return self._state != HEAD

    def feed(self, data: Data, count: int) -> None:
        """Take the next bytes: the first `count` of the data."""
        if self._state == LENGTH:
            step = min(count, self._left)
            self.body += step
            self.excess += count - step
            self._left -= step
            if not self._left:
                self._state = ENDED
        elif self._state in (UNTIL_CLOSE, FREE):
            self.body += count
        elif self._state == ENDED:
            self.excess += count
        else:
            self._follow(bytes(memoryview(data)[:count]))

    def close(self) -> None:
        """Say that nothing more can come: the end of a body that only the connection's end marks."""
        if self._state == UNTIL_CLOSE:
            self._state = ENDED

    def _follow(self, data: bytes) -> None:
        # Each state takes what is its own, and returns the rest.
        while data:
            if self._state == HEAD:
                data = self._read_head(data)
            elif self._state in (LENGTH, CHUNK):
                data = self._read_counted(data)
            elif self._state in (SIZE, TRAILERS):
                data = self._read_line(data)
            elif self._state == ENDED:
                self.excess += len(data)
                return
            else:
                self.body += len(data)
                return

    def _read_head(self, data: bytes) -> bytes:
        buffer = self._buffer + data
        end = buffer.find(b"\r\n\r\n") + 4
        if end == 3:
            end = buffer.find(b"\n\n") + 2
        if end in (1, 3):
            self._buffer = buffer
            if len(buffer) > LONGEST_HEAD:
                return self._give_up(buffer)
            return b""
        if self._method is not None and not buffer.startswith(b"HTTP/"):
            return self._give_up(buffer)
        self._buffer = b""
        self.head += end
        self._understand(buffer[:end])
        return buffer[end:]

    def _give_up(self, buffer: bytes) -> bytes:
        self._state, self._buffer, self.is_broken = FREE, b"", True
        return buffer

    def _understand(self, head: bytes) -> None:
        if self._method is not None and not self._read_status(head):
            return
        low = head.lower()
        encoding = _header(low, b"\ncontent-encoding:")
        self.encoding = encoding.decode("latin-1") if encoding else None
        length = _header(low, b"\ncontent-length:")
        # Of several that say the same, "5, 5", one counts.
        number = (length or b"").partition(b",")[0].strip()
        self.declared = int(number) if number.isdigit() and len(number) < 19 else None
        if self._has_no_body():
            self._state = ENDED
        elif b"chunked" in (_header(low, b"\ntransfer-encoding:") or b""):
            self._state = SIZE
        elif self.declared is not None:
            self._left = self.declared
            self._state = LENGTH if self._left else ENDED
        else:
            self._state = ENDED if self._method is None else UNTIL_CLOSE

    def _read_status(self, head: bytes) -> bool:
        """Read the first line of a response; return whether its headers say how the body is framed."""
        parts = head.split(None, 2)
        code = parts[1] if len(parts) > 1 else b""
        if not code.isdigit() or len(code) != 3:
            self._state, self.is_broken = FREE, True
            return False
        status = int(code)
        if 100 <= status < 200 and status != 101:
            return False  # another one follows
        self.status = status
        if status == 101 or (self._method == "CONNECT" and status < 300):
            self._state = FREE
            return False
        return True

    def _has_no_body(self) -> bool:
        return self._method is not None and (self._method == "HEAD" or self.status in (204, 304))

    def _read_counted(self, data: bytes) -> bytes:
        step = min(self._left, len(data))
        self.body += step
        self._left -= step
        if not self._left:
            self._state = ENDED if self._state == LENGTH else SIZE
        return data[step:]

    def _read_line(self, data: bytes) -> bytes:
        before, newline, rest = data.partition(b"\n")
        line = self._buffer + before
        if not newline:
            self._buffer = line
            return self._give_up(line) if len(line) > LONGEST_LINE else b""
        self._buffer = b""
        text = line.strip()
        if self._state == TRAILERS:
            if not text:
                self._state = ENDED
        elif text:  # the line after a chunk is empty
            self._read_size(text)
        return rest

    def _read_size(self, text: bytes) -> None:
        try:
            self._left = int(text.partition(b";")[0], 16)
        except ValueError:
            self._left = -1
        if self._left < 0:
            self._left, self._state, self.is_broken = 0, FREE, True
        else:
            self._state = CHUNK if self._left else TRAILERS


def _header(low: bytes, name: bytes) -> bytes | None:
    """Return the value of a header in a head in lower case, or None."""
    at = low.find(name)
    if at < 0:
        return None
    start = at + len(name)
    return low[start : low.index(b"\n", start)].strip()
