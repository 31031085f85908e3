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

import json
import os
import signal
import sys
from _thread import allocate_lock, start_new_thread
from contextlib import suppress
from functools import update_wrapper
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from volnux._way_home import go_home, leave_to_run
from volnux.telemetry import JSONLinesPublisher, current_registry, monitor_events

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterator
    from types import FrameType

    from volnux.telemetry import Monitor, Registry

FOLDER: Final = "VOLNUX_RUN_DIR"
#: Seconds that a process may be kept from ending, to save what it recorded.
PATIENCE: Final = 5.0
#: Seconds that a signal handler keeps the program from going on.
GRACE: Final = 0.5
_OPEN, _STATE = ".open", ".json"


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
        self.folder, self.out = folder, out
        # Every process of the run appends whole lines to the same file.
        publishers = [] if out is None else [JSONLinesPublisher(out)]
        self.monitor: Monitor = monitor_events(publishers, when_full="block")
        self.registry: Registry = current_registry()
        self._finish: Callable[[], None] = self.save if finish is None else finish
        self._pid, self._mark, self._signals = os.getpid(), Mark(folder), _StandIns()
        leave_to_run(folder)
        self._begin()

    def _begin(self) -> None:
        self._ending, self._is_saved, self._until = False, False, 0.0
        self._saving, self._saved = allocate_lock(), allocate_lock()
        self._saved.acquire()

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
            return {**prepare(name), "volnux": _Invitation(self.folder, self.out)}

        spawn.get_preparation_data = get_preparation_data
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
            _wrap_fork()
        self._wrap_exits()
        self._signals.hide()
        _wrap_popen()

    def end(self) -> None:
        """Finish or, in a forked child, save. Never raises."""
        self._ending = True
        try:
            with self._saving:
                if os.getpid() == self._pid:
                    self._finish()
                else:
                    self.save()
        except KeyboardInterrupt:  # the second one: somebody does not want to wait
            os.environ["VOLNUX_EXIT_TIMEOUT"] = "0"
        self._is_saved = True

    def save(self) -> None:
        """Leave what this process has recorded in the folder. Never raises."""
        try:
            self.monitor.flush(timeout=PATIENCE)
            state = {"processes": 1, "unreported": 0, "registry": self.registry.export()}
            self._mark.save(state)
        except Exception:  # noqa: BLE001  # the folder is gone with the run: only home may ask
            go_home(self.registry)

    def heed(self) -> None:
        """End on SIGTERM, too, where that would end the process by default."""
        self._signals.put(signal.SIGTERM, self._terminated)

    def enter(self) -> None:
        """In a child of multiprocessing, save on SIGTERM; `Pool.terminate` ends its workers so."""
        self.heed()
        if hasattr(signal, "SIGURG"):  # does nothing by default, and interrupts if it is handled
            self._signals.put(signal.SIGURG, lambda *_: None)
        # Last: what is killed before this has recorded nothing, and nobody need miss it.
        self._mark.set()

    def _forked(self) -> None:
        caller: Any = sys._getframe(1)
        while caller.f_globals is globals():
            caller = caller.f_back
        where = caller.f_globals.get("__name__"), caller.f_code.co_name
        is_worker = where == ("multiprocessing.popen_fork", "_launch")
        if not is_worker:  # nobody would wake it
            self._signals.remove()
        if where == ("subprocess", "_execute_child"):
            return  # about to become another program
        self._mark = Mark(self.folder)
        self._begin()
        (self.enter if is_worker else self._mark.set)()

    def _terminated(self, _number: int, _frame: FrameType | None) -> None:
        if not self._until:
            self._until = monotonic() + 2 * PATIENCE
            if not self._ending:
                self._saved = _aside(self.end)
                _aside(self._remind)
        # What this has interrupted may hold a lock that saving needs, so it has to go on at times.
        if self._is_saved or monotonic() > self._until or self._saved.acquire(timeout=GRACE):
            self._signals.terminate()

    def _remind(self) -> None:
        for _ in range(20):
            sleep(GRACE * 1.1)  # a breath for what has to go on
            os.kill(os.getpid(), signal.SIGTERM)

    def _at_exit(self) -> None:
        self.end()
        if self._until:
            self._signals.terminate()

    def _wrap_exits(self) -> None:
        """End first where the process is about to vanish without any clean-up."""
        leave: Any = os._exit

        def _exit(status: int) -> Any:
            self._ending = True
            try:
                _aside(self.end).acquire(timeout=2 * PATIENCE)
            finally:
                leave(status)

        def ending(execute: Any) -> Any:
            def run(path: Any, *args: Any, **kwargs: Any) -> None:
                # `os.execvp` tries one folder after the other, and most of these tries fail.
                if not isinstance(path, (str, bytes, os.PathLike)) or os.access(path, os.X_OK):
                    _aside(self.end).acquire(timeout=2 * PATIENCE)
                execute(path, *args, **kwargs)

            return update_wrapper(run, execute)

        os._exit = update_wrapper(_exit, leave)
        os.execv, os.execve = ending(os.execv), ending(os.execve)


class _StandIns:
    """Handlers in place of what signals do by default; the program sees the default."""

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._set, self._get = signal.signal, signal.getsignal

    def hide(self) -> None:
        """Keep them from the program."""

        def set_one(signalnum: Any, handler: Any) -> Any:
            if handler == signal.SIG_DFL:
                handler = self._handlers.get(signalnum, handler)
            return self._seen(signalnum, self._set(signalnum, handler))

        def get_one(signalnum: Any) -> Any:
            return self._seen(signalnum, self._get(signalnum))

        signal.signal = update_wrapper(set_one, self._set)
        signal.getsignal = update_wrapper(get_one, self._get)

    def put(self, number: int, handler: Any) -> None:
        """Have a handler called where nothing but the default would happen."""
        with suppress(ValueError):  # not in the main thread
            if self._get(number) == signal.SIG_DFL:
                self._set(number, handler)
                self._handlers[number] = handler

    def remove(self) -> None:
        """Have the defaults happen again."""
        for number, handler in self._handlers.items():
            if self._get(number) is handler:
                self._set(number, signal.SIG_DFL)
        self._handlers.clear()

    def terminate(self) -> None:
        """End this process by SIGTERM."""
        self._set(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def _seen(self, number: int, handler: Any) -> Any:
        return signal.SIG_DFL if handler and handler is self._handlers.get(number) else handler


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


class Mark:
    """The place of one process in the folder: that it is there, then what it recorded."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, f"{os.getpid()}-{os.urandom(4).hex()}")

    def set(self) -> None:
        """Say that this process is there. Never raises."""
        with suppress(OSError), open(self._path + _OPEN, "xb"):
            pass

    def save(self, state: dict[str, Any]) -> None:
        """Say what it recorded; the last time counts."""
        unfinished = self._path + ".part"
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(unfinished, self._path + _STATE)
        with suppress(FileNotFoundError):
            os.unlink(self._path + _OPEN)


def join(folder: str, out: str | None) -> None:
    """Switch telemetry on in a spawned child, which saves when it ends."""
    household = Household(folder, out)
    household.watch()
    household.enter()


def states(folder: str) -> Iterator[dict[str, Any]]:
    """Yield what others have left in a folder: `registry`, of how many `processes`, `unreported`."""
    for name in sorted(os.listdir(folder)):
        if name.endswith(_STATE):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                yield json.load(file)


def unreported(folder: str) -> int:
    """Return how many processes have left nothing: they still run, or were killed."""
    return sum(name.endswith(_OPEN) for name in os.listdir(folder))


def _wrap_fork() -> None:
    """Hold SIGTERM back in a fork: a new child forgets what Python has not yet handled."""
    original = os.fork

    def fork() -> int:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            return original()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    os.fork = update_wrapper(fork, original)


def _wrap_popen() -> None:
    """Have multiprocessing wake a terminated child that it waits for."""
    from multiprocessing import connection, popen_fork

    popen: Any = popen_fork.Popen
    send_signal, wait_for = popen._send_signal, popen.wait

    def _send_signal(self: Any, sig: int) -> None:
        send_signal(self, sig)
        self._is_terminated = sig == signal.SIGTERM

    def wait(self: Any, timeout: float | None = None) -> Any:
        looks = 150 if timeout is None and getattr(self, "_is_terminated", False) else 0
        for look in range(1, looks + 1):
            # Others may hold the sentinel open when the child has ended.
            if self.poll() is not None or connection.wait([self.sentinel], 0.05):
                break
            # What Python handles, and comes just as a blocking call begins, waits for the next signal.
            if look % 10 == 0:
                send_signal(self, signal.SIGURG)
        return wait_for(self, timeout)

    popen._send_signal = update_wrapper(_send_signal, send_signal)
    popen.wait = update_wrapper(wait, wait_for)


def _aside(function: Callable[[], None]) -> LockType:
    """Call a function in a thread of its own; return a lock that is free when it has ended."""
    done = allocate_lock()
    done.acquire()

    def call() -> None:
        try:
            function()
        finally:
            done.release()

    try:
        start_new_thread(call, ())
    except RuntimeError:  # the interpreter is on its way out already
        call()
    return done
