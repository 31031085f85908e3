"""Messages of HTTP/1 cut into pieces anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry.clients._framing import LONGEST_HEAD, LONGEST_LINE, Framing

HEAD = b"HTTP/1.1 200 OK\r\n"


def follow(*pieces, method="GET", is_response=True):
    framing = Framing(method, is_response=is_response)
    for piece in pieces:
        framing.feed(piece, len(piece))
    return framing


MESSAGES = {
    "any case": (HEAD + b"TRANSFER-Encoding: ChunkED\r\n\r\n", b"1\r\n!\r\n0\r\n\r\n", 1),
    "length": (HEAD + b"Content-Length: 5\r\n\r\n", b"hello", 5),
    "no length": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 0),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", 0),
    "chunked": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        6,
    ),
    "trailers": (
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\nDigest: x\r\nMore: y\r\n\r\n",
        10,
    ),
    "length twice": (HEAD + b"content-LENGTH: 5, 5\r\n\r\n", b"hello", 5),
    "both": (HEAD + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n", 0),
}


@given(st.sampled_from(sorted(MESSAGES)), st.lists(st.integers(0, 120), max_size=8))
def test_a_message_may_come_in_any_pieces(name, cuts):
    """Head and body are told apart, and the end is seen, wherever it was cut."""
    head, rest, body = MESSAGES[name]
    message = head + rest
    places = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    framing = follow(*(message[a:b] for a, b in pairwise(places)))
    assert (framing.head, framing.body) == (len(head), body)
    assert framing.is_complete
    assert framing.excess == 0


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_can_hurt(pieces):
    """Whatever comes is counted or kept until it can be."""
    framing = follow(*pieces)
    assert framing.head + framing.body + framing.excess <= sum(map(len, pieces))


def test_interim_responses_belong_to_the_head():
    """The one that counts comes after them."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    framing = follow(*interim, HEAD, b"\r\n")
    assert framing.head == sum(map(len, interim)) + len(HEAD) + 2
    assert framing.status == 200
    assert not framing.is_complete


def test_without_a_length_the_connections_end_is_the_bodys():
    """It is complete once that has come."""
    framing = follow(HEAD + b"\r\n", b"abc", b"def")
    assert not framing.is_complete
    framing.close()
    assert framing.is_complete
    assert framing.body == 6


def test_a_close_in_the_middle_completes_nothing():
    """Of a body with a length the rest is missing."""
    framing = follow(HEAD + b"Content-Length: 5\r\n\r\nhel")
    framing.close()
    assert not framing.is_complete


def test_a_response_to_head_has_no_body():
    """Whatever its headers say."""
    framing = follow(HEAD + b"Content-Length: 5\r\n\r\n", method="HEAD")
    assert framing.is_complete
    assert framing.declared == 5


@pytest.mark.parametrize(
    ("method", "first"),
    [("GET", b"HTTP/1.1 101 Switching\r\n\r\n"), ("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n")],
)
def test_after_an_upgrade_the_bytes_are_free(method, first):
    """They are no HTTP any more, and have no end."""
    framing = follow(first, b"anything", method=method)
    assert framing.is_free
    assert framing.body == 8


def test_a_request_without_a_length_has_no_body():
    """It ends with its head, unlike a response."""
    framing = follow(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", is_response=False)
    assert framing.is_complete


def test_what_is_behind_the_end_is_excess():
    """It belongs to no message."""
    assert follow(HEAD + b"Content-Length: 2\r\n\r\nabcd").excess == 2
    assert follow(HEAD + b"Content-Length: 2\r\n\r\n", b"ab", b"cd").excess == 2
    assert follow(HEAD + b"Content-Length: 2\r\n\r\n", b"a", b"bcd").excess == 2


def test_bare_newlines_end_a_head():
    """As RFC 9112 lets a recipient have it."""
    framing = follow(b"HTTP/1.0 200 OK\nContent-Length: 2\n\nab")
    assert framing.is_complete


@pytest.mark.parametrize(
    "head",
    [
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"x" * (LONGEST_HEAD + 1),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * (LONGEST_LINE + 1),
    ],
)
def test_what_is_no_http_is_only_counted(head):
    """It is never complete, and never in the way."""
    framing = follow(head, b"more")
    assert framing.is_free
    assert framing.is_broken
    assert not framing.is_complete


@pytest.mark.parametrize("length", [b"-1", b"five", b"", b"9" * 40])
def test_a_length_that_is_none_declares_nothing(length):
    """The body goes on until the connection ends."""
    framing = follow(HEAD + b"Content-Length: " + length + b"\r\n\r\nabc")
    assert framing.declared is None
    assert framing.body == 3
