"""The processes that tests start: what they record is the test's."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Final

from volnux.telemetry._fork import on_fork
from volnux.telemetry._home import HOME, prefix, save_at_end, taken

try:
    from resource import RUSAGE_CHILDREN, getrusage
except ImportError:  # on Windows
    getrusage = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from volnux.telemetry._watch import Turns, Watch

_SPAWN: Final = "multiprocessing.spawn"
_SERVER: Final = "multiprocessing.popen_forkserver"


class Children:
    """Brings home what child processes have recorded, when they have ended.

    Covered are `multiprocessing` and process pools by any start method, and other Pythons that
    import volnux, however they are started. Not covered are bare `os.fork`, and processes that are
    killed.

    Args:
        turns: whose turn it is, in a child that was forked as well.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._folder = ""
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._before: str | None = None
        self._prepare: Any = None
        #: What the children have cost so far that were waited for.
        self._seen = 0
        self._is_in_child = False
        on_fork(self)

    def expect(self, number: int) -> None:
        """Have children that start from now on come home as those of a test, by its number."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix=prefix())
            self._before = os.environ.get(HOME)
        # A server that the first test to import this starts, to fork from, has its environment anyway.
        if self._prepare is None and _SPAWN in sys.modules:
            self._tell_servers_children()
        os.environ[HOME] = f"{self._folder}{os.sep}{number}"

    def _tell_servers_children(self) -> None:
        """Tell children where home is now: their server has the environment of when it was started."""
        module: Any = sys.modules[_SPAWN]
        self._prepare = prepare = module.get_preparation_data

        def get_preparation_data(name: str) -> dict[str, Any]:
            return {**prepare(name), "volnux": _Environment(os.environ.get(HOME, ""))}

        module.get_preparation_data = get_preparation_data

    def _after_fork(self) -> None:
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None and self._folder and not self._is_in_child:
            self._is_in_child = True
            # Called if it is multiprocessing that has forked, which forgets all else.
            util.register_after_fork(self, Children._in_child)

    def _in_child(self) -> None:
        """In a child that multiprocessing has forked: whose turn it is, it knows from its parent."""
        if self._folder and os.getpid() != self._pid:
            now = self._turns.now
            if now is not None:
                save_at_end(os.environ.get(HOME, ""), lambda: now)

    def bring(self, whose: Callable[[int], Watch]) -> None:
        """Add what has come to the registry of the test that it belongs to."""
        # Who has ended has cost something; but for the children of a server, which are not ours to wait for.
        is_certain = _SERVER not in sys.modules and getrusage is not None
        cost = getrusage(RUSAGE_CHILDREN).ru_minflt if is_certain else -1
        if self._folder and (cost != self._seen or not is_certain):
            with self._lock:  # a test may ask from several threads
                for number, state in taken(self._folder):
                    whose(number).merge(state)
                self._seen = cost

    def forget(self) -> None:
        """Expect no more, and leave nothing behind."""
        if self._folder and os.getpid() == self._pid:
            if self._prepare is not None:
                module: Any = sys.modules[_SPAWN]
                module.get_preparation_data = self._prepare
            if self._before is None:
                os.environ.pop(HOME, None)
            else:
                os.environ[HOME] = self._before
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""


class _Environment:
    """Part of what a child unpickles first: it says where home is."""

    def __init__(self, home: str) -> None:
        self._home = home

    def __reduce__(self) -> tuple[Any, ...]:
        # Not a function of ours: a child that cannot import this must run all the same.
        return exec, (f"import os; os.environ[{HOME!r}] = {self._home!r}",)
