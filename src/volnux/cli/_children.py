"""What the processes that a program starts have recorded, brought home through a folder.

Every process of the program saves the state of its registry once, when it ends, as one file in a
private folder; `volnux run` merges them into its own registry before it reports. Covered are

- `os.fork`, with its child ending by `sys.exit`, an exception, `os._exit` or `os.exec*`;
- `multiprocessing` and `concurrent.futures` with fork, spawn and forkserver, also when a worker
  is ended by SIGTERM, as `Pool.terminate` does it;
- other programs that are themselves started by `volnux run`, found by `VOLNUX_RUN_DIR`.

Not covered are other subprocesses, and processes that are killed or end in C code. A forked child
that never came to save is counted.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from volnux.telemetry import JSONLinesPublisher, current_registry, monitor_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from volnux.telemetry import Monitor, Registry

FOLDER: Final = "VOLNUX_RUN_DIR"
#: Seconds that a process may be kept from ending, to save what it recorded.
PATIENCE: Final = 5.0
#: Seconds that a signal handler keeps the program from going on.
GRACE: Final = 0.5
_OPEN: Final = ".open"
_STATE: Final = ".json"


class Household:
    """The processes of one run, as seen from one of them: this one.

    Args:
        folder: where processes leave what they recorded.
        out: the file every record is written to as well, or None.
        finish: called when this process ends, instead of saving; not in its forked children.
    """

    def __init__(
        self, folder: str, out: str | None, finish: Callable[[], None] | None = None
    ) -> None:
        self.folder = folder
        self.out = out
        # Every process of the run appends whole lines to the same file.
        publishers = [] if out is None else [JSONLinesPublisher(out)]
        self.monitor: Monitor = monitor_events(publishers, when_full="block")
        self.registry: Registry = current_registry()
        self._finish: Callable[[], None] = self.save if finish is None else finish
        self._pid = os.getpid()
        self._mark = _Mark(folder)
        self._ending = self._is_terminated = self._is_saved = False
        self._saving = _thread.allocate_lock()

    def watch(self) -> None:
        """Learn of this process's end, and of the children it starts."""
        import atexit

        # What is registered first is called last, and so multiprocessing, registered after this,
        # has joined its children by the time this process finishes.
        atexit.register(self._at_exit)
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:  # coverage, or a .pth file, was there before us
            atexit.unregister(util._exit_function)
            atexit.register(util._exit_function)
        import multiprocessing.spawn

        spawn: Any = multiprocessing.spawn
        prepare = spawn.get_preparation_data

        def get_preparation_data(name: str) -> dict[str, Any]:
            data: dict[str, Any] = prepare(name)
            return {**data, "volnux": _Invitation(self.folder, self.out)}

        spawn.get_preparation_data = get_preparation_data
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        self._wrap_exits()

    def end(self) -> None:
        """Finish or, in a forked child, save. Never raises."""
        self._ending = True
        try:
            if os.getpid() == self._pid:
                self._finish()
            else:
                self.save()
        except KeyboardInterrupt:  # the second one: somebody does not want to wait
            pass

    def save(self) -> None:
        """Leave what this process has recorded in the folder. Never raises."""
        try:
            with self._saving:
                self.monitor.flush(timeout=PATIENCE)
                state = {"processes": 1, "unreported": 0, "registry": self.registry.export()}
                self._mark.save(state)
        except Exception:  # noqa: BLE001, S110  # the folder is gone with the run: nobody is asking
            pass

    def enter(self) -> None:
        """In a child of multiprocessing, save on SIGTERM; `Pool.terminate` ends its workers so."""
        try:
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._terminated)
        except ValueError:  # not in the main thread
            pass
        # Last: what is killed before this has recorded nothing, and nobody need miss it.
        self._mark.set()

    def _forked(self) -> None:
        caller = sys._getframe(1)
        where = caller.f_globals.get("__name__"), caller.f_code.co_name
        if where == ("subprocess", "_execute_child"):
            return  # about to become another program
        self._mark = _Mark(self.folder)
        self._saving = _thread.allocate_lock()
        if where == ("multiprocessing.popen_fork", "_launch"):
            self.enter()
        else:
            self._mark.set()

    def _terminated(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_saved:
            _terminate()
        elif self._ending:  # do not disturb
            self._is_terminated = True
        else:
            self._ending = True
            # What this signal has interrupted may hold the registry's lock, so it has to go on
            # if saving does not get anywhere: the signal comes again when that is done.
            if _in_time(self._save_and_signal, GRACE):
                _terminate()

    def _save_and_signal(self) -> None:
        self.end()
        self._is_saved = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _at_exit(self) -> None:
        self.end()
        if self._is_terminated:
            _terminate()

    def _wrap_exits(self) -> None:
        """End first where the process is about to vanish without any clean-up."""
        leave, execv, execve = os._exit, os.execv, os.execve

        def _exit(status: int) -> None:
            self._ending = True
            try:
                _in_time(self.end)
            finally:
                leave(status)

        def _execv(path: Any, argv: Any) -> None:
            if _can_run(path):
                _in_time(self.end)
            execv(path, argv)

        def _execve(path: Any, argv: Any, env: Any) -> None:
            if _can_run(path):
                _in_time(self.end)
            execve(path, argv, env)

        for original, wrapper in ((leave, _exit), (execv, _execv), (execve, _execve)):
            wrapper.__name__ = wrapper.__qualname__ = original.__name__
            wrapper.__doc__ = original.__doc__
            setattr(os, original.__name__, wrapper)


class _Invitation:
    """Part of what a spawned child unpickles first: has it join the household."""

    def __init__(self, folder: str, out: str | None) -> None:
        self._arguments = (folder, out)

    def __reduce__(self) -> tuple[Any, ...]:
        # Not a function of ours: a child that cannot import volnux must run all the same.
        code = (
            "try:\n"
            "    from volnux.cli._children import join\n"
            "except ImportError:\n"
            "    pass\n"
            f"else:\n    join{self._arguments!r}\n"
        )
        return exec, (code,)


class _Mark:
    """The place of one process in the folder: that it is there, then what it recorded."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, f"{os.getpid()}-{os.urandom(4).hex()}")

    def set(self) -> None:
        """Say that this process is there. Never raises."""
        try:
            with open(self._path + _OPEN, "xb"):
                pass
        except OSError:
            pass

    def save(self, state: dict[str, Any]) -> None:
        """Say what it recorded; the last time counts."""
        unfinished = self._path + ".part"
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(unfinished, self._path + _STATE)
        try:
            os.unlink(self._path + _OPEN)
        except FileNotFoundError:
            pass


def join(folder: str, out: str | None) -> None:
    """Switch telemetry on in a spawned child, which saves when it ends."""
    household = Household(folder, out)
    household.watch()
    household.enter()


def leave_state(folder: str, state: dict[str, Any]) -> None:
    """Leave in a folder what a whole run has recorded, for the run that it is part of."""
    try:
        _Mark(folder).save(state)
    except OSError:  # that run is over
        pass


def states(folder: str) -> Iterator[dict[str, Any]]:
    """Yield what other processes have left in a folder.

    Keys: `registry`, what its `export` gave; `processes`, of how many; `unreported`.
    """
    for name in sorted(os.listdir(folder)):
        if name.endswith(_STATE):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                yield json.load(file)


def unreported(folder: str) -> int:
    """Return how many processes have left nothing: they still run, or were killed."""
    return sum(name.endswith(_OPEN) for name in os.listdir(folder))


def new_folder() -> str:
    """Return a new private folder."""
    return tempfile.mkdtemp(prefix="volnux-run-")


def _terminate() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _can_run(path: Any) -> bool:
    # `os.execvp` tries one folder after the other, and most of these tries fail.
    return not isinstance(path, (str, bytes, os.PathLike)) or os.access(path, os.X_OK)


def _in_time(function: Callable[[], None], seconds: float = 2 * PATIENCE) -> bool:
    """Call a function in a thread of its own; return whether it ended within so many seconds."""
    done = _thread.allocate_lock()
    done.acquire()

    def call() -> None:
        try:
            function()
        finally:
            done.release()

    try:
        _thread.start_new_thread(call, ())
    except RuntimeError:  # the interpreter is on its way out already
        call()
    return done.acquire(timeout=seconds)
