"""Which events end on another thread than they began on, where that is not by design."""

from __future__ import annotations

import os
import sys
import threading
from _thread import get_ident

from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import LATE, SCOPE, SITE, identify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from volnux.telemetry._raw import Raw

#: Entries in flight at once whose thread is remembered.
ENTRIES = 20_000
#: Files that are no program's of somebody who runs tests.
_LIBRARIES = os.sep + "site-packages" + os.sep
_NOT_THEIRS = (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)), "<frozen")
#: Flags of code, as `inspect` has them.
_GENERATOR, _ASYNC = 0x20, 0x80 | 0x100 | 0x200
#: What an end goes through on its way from the instrument, and the two instruments that stand in it.
_ROOM = "volnux.telemetry."
_BLOCK, _STREAM = _ROOM + "_events", _ROOM + "_streams"
_ON_THE_WAY = {
    *(_BLOCK, _STREAM),
    *(_ROOM + name for name in ("_strays", "_watch", "_scope", "_seam", "_network")),
}


def is_librarys(file: str) -> bool:
    """Return whether a file of code belongs to Python, to volnux or to an installed library."""
    return _LIBRARIES in file or file.startswith(_NOT_THEIRS)


class Strays:
    """Notes who begins each entry, and which end on another thread though nobody meant them to.

    By design many end elsewhere: what a future or another awaitable is waited for by, the exchange
    of a client, the request to a server. So only these are noted: blocks and generators, which are
    current in the context of the thread that began them, and operations that are held open in a
    generator. Nor are those that begin on a thread of a library, as a pool's are: which of them
    goes on with a piece of work is not for the program to say.

    Attributes:
        found: by `task_id`, how and where an entry has ended.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._begun: dict[int, _Here] = {}
        self._threads = threading.local()

    def start_again(self) -> dict[str, str]:
        """Forget everything; return what is found from now on, to be looked at later."""
        self.found, self._begun = {}, {}
        return self.found

    def begin(self, raw: Raw) -> None:
        """Remember who begins an entry, and have its end told."""
        if len(self._begun) < ENTRIES:
            self._begun[id(raw)] = self._here()
            raw[LATE] = True
        else:  # somebody else's number, perhaps
            self._begun.pop(id(raw), None)

    def end(self, raw: Raw) -> None:
        """See who ends an entry, when everybody else knows that it has ended."""
        begun = self._begun.pop(id(raw), None)
        if begun is None:
            return
        if begun is not self._here() and not begun.is_librarys:
            how = _how(raw, sys._getframe(1))
            if how is not None:
                self.found[str(show_id(identify(raw)))] = how
        # Where an end is told, the hot path does not see whether it is time to fold.
        scope = raw[SCOPE]
        if len(scope.pending) > scope.pending.limit:
            scope.fold()

    def _here(self) -> _Here:
        # The number of a thread is given to another one afterwards, and what is the thread's own is not.
        here: _Here | None = getattr(self._threads, "here", None)
        if here is None:
            here = self._threads.here = _Here()
        return here


class _Here:
    """A thread.

    Attributes:
        is_librarys: whether a library has started it, for purposes of its own.
    """

    __slots__ = ("is_librarys",)

    def __init__(self) -> None:
        thread = _this_thread()
        self.is_librarys = thread is None or is_librarys(_file_of(thread))


def _this_thread() -> threading.Thread | None:
    """Return the caller's thread; None if it is not one of `threading`, which would make one up."""
    number = get_ident()
    return next((it for it in threading.enumerate() if it.ident == number), None)


def _file_of(thread: threading.Thread) -> str:
    """Return the file of what a thread runs, "" for none."""
    does: Any = type(thread).run
    if does is threading.Thread.run:
        does = getattr(thread, "_target", None)
    for _ in range(10):  # wrapped so often, it may wrap itself
        inner = getattr(does, "__wrapped__", None) or getattr(does, "func", None)
        if inner is None:
            break
        does = inner
    return str(getattr(getattr(does, "__code__", None), "co_filename", ""))


def _how(raw: Raw, frame: FrameType) -> str | None:
    """Return how and where an entry ends, None if it may; `frame` is of what is told of the end."""
    is_block = False
    while _name_of(frame) in _ON_THE_WAY and frame.f_code.co_name != "__aexit__":
        if _name_of(frame) == _STREAM and frame.f_code.co_name == "traced":
            return _how_of_stream(frame)
        is_block = is_block or _name_of(frame) == _BLOCK
        if frame.f_back is None:
            return None
        frame = frame.f_back
    flags = frame.f_code.co_flags
    if _name_of(frame).startswith(_ROOM) or flags & _ASYNC:
        return None
    # A block may be left by anybody. An operation is current nowhere: who ends one by hand, as in the
    # callback of a client, means to.
    if not is_block and not (raw[SITE].network and flags & _GENERATOR):
        return None
    return _where(is_closing=sys.exc_info()[0] is GeneratorExit)


def _how_of_stream(frame: FrameType) -> str | None:
    # One that a function has returned began with the call, and may run wherever it likes.
    if not frame.f_code.co_flags & _GENERATOR or frame.f_locals.get("begun") is not None:
        return None
    return _where(is_closing=bool(frame.f_locals.get("closing")))


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _where(*, is_closing: bool) -> str:
    thread = _this_thread()
    name = f"thread {get_ident()}" if thread is None else thread.name
    return f"closed or collected on {name}" if is_closing else name
