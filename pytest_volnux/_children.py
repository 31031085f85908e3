"""The processes that tests start: what they record is the test's."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Final

from volnux._way_home import HOME, SUFFIX, prefix, taken

try:
    from resource import RUSAGE_CHILDREN, getrusage
except ImportError:  # on Windows
    getrusage = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from volnux.telemetry._watch import Turns, Watch

_SPAWN: Final = "multiprocessing.spawn"
_SERVER: Final = "multiprocessing.popen_forkserver"

#: Tests that are known by name when a process comes home late.
LAST: Final = 1_000


class Children:
    """Brings home what child processes have recorded, when they have ended.

    Covered are `multiprocessing` and process pools by any start method, and other Pythons that
    import volnux, however they are started. Not covered are bare `os.fork`, and processes that are
    killed.

    Attributes:
        number: that of the attempt of a test which goes on, or was the last.
    """

    def __init__(self) -> None:
        self.number = 0
        #: Of which tests the last attempts were, by their number.
        self._last: dict[int, str] = {}
        self._turns: Turns | None = None
        self._folder = ""
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._before: str | None = None
        self._prepare: Any = None
        #: What the children have cost so far that were waited for.
        self._seen = 0
        self._is_in_child = False

    def record_by(self, turns: Turns) -> None:
        """Say whose turn it is, in a child that was forked as well."""
        from volnux.telemetry._fork import on_fork

        self._turns = turns
        on_fork(self)

    def expect(self, nodeid: str) -> None:
        """Have children that start from now on come home as those of another attempt, of this test."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix=prefix())
            self._before = os.environ.get(HOME)
        # A server that the first test to import this starts, to fork from, has its environment anyway.
        if self._prepare is None and _SPAWN in sys.modules:
            self._tell_servers_children()
        self.number += 1
        self._last[self.number] = nodeid
        self._last.pop(self.number - LAST, None)
        os.environ[HOME] = f"{self._folder}{os.sep}{self.number}"

    def test(self, number: int) -> str | None:
        """Return the test that an attempt of this number was of, if it is one of the last."""
        return self._last.get(number)

    def _tell_servers_children(self) -> None:
        """Tell children where home is now: their server has the environment of when it was started."""
        module: Any = sys.modules[_SPAWN]
        self._prepare = prepare = module.get_preparation_data

        def get_preparation_data(name: str) -> dict[str, Any]:
            # Beside what a `volnux run` around the tests puts there.
            return {**prepare(name), "volnux_test": _Environment(os.environ.get(HOME, ""))}

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
            from volnux.telemetry._home import save_at_end

            now = None if self._turns is None else self._turns.now
            if now is not None:
                save_at_end(os.environ.get(HOME, ""), lambda: now)

    def have_come(self) -> bool:
        """Return whether some have, and what they have recorded."""
        return self._cost() != self._seen and any(
            name.endswith(SUFFIX) for name in os.listdir(self._folder)
        )

    def _cost(self) -> int:
        """Return another number than last time if some may have come."""
        # Who has ended has cost something; but for the children of a server, which are not ours to wait for.
        if not self._folder or (_SERVER not in sys.modules and getrusage is not None):
            return getrusage(RUSAGE_CHILDREN).ru_minflt if self._folder else self._seen
        return -1

    def bring(self, whose: Callable[[int], Watch]) -> None:
        """Add what has come to the registry of the test that it belongs to."""
        cost = self._cost()
        if cost != self._seen:
            with self._lock:  # a test may ask from several threads
                for number, state in taken(self._folder):
                    whose(number).merge(state)
                self._seen = max(0, cost)

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
