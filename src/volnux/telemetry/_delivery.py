"""Delivery: the queue and the thread between the registry and one publisher."""

from __future__ import annotations

import os
import random
import threading
from _thread import get_ident
from time import monotonic
from typing import TYPE_CHECKING

from volnux.telemetry._exit import EXIT
from volnux.telemetry._fork import on_fork
from volnux.telemetry._notices import Notices
from volnux.telemetry._queue import Flush
from volnux.telemetry._queues import new_queue
from volnux.telemetry._scope import suppressed
from volnux.telemetry._sender import Sender
from volnux.telemetry._sending import DELIVERING, call_hook, is_for_the_program
from volnux.telemetry._sources import Sources
from volnux.telemetry._wake import Alarm, Wake

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._queue import Counts
    from volnux.telemetry._queues import Queue, Settings
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._registry import Registry

#: The share of the queue that, once taken, wakes the thread before its interval is over.
WAKE_SHARE = 0.75
#: Seconds without progress that a full queue may hold up the program, where it was asked to.
BLOCK_SECONDS = 5.0


class Delivery:
    """Takes finished entries from registries and sees to it that one publisher gets them.

    `accept` never waits and never raises, whoever calls it (but for `Settings.blocks`). Everything
    that may take time happens in one thread of its own, and only there is the publisher called.
    Where no thread can be started, as at the end of the interpreter, whoever flushes or closes does
    the work.

    Args:
        publisher: any object with the two methods of `MetricsPublisher`.
        name: what health and warnings call it.
        settings: bounds and habits.
        now: a monotonic clock, in seconds.
        uniform: what draws the jitter.
    """

    def __init__(
        self,
        publisher: Any,
        name: str,
        settings: Settings,
        *,
        now: Callable[[], float] = monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.publisher = publisher
        self.name = name
        self._settings = settings
        self._now = now
        self._uniform = uniform
        self._sources = Sources()
        self._start_again()
        on_fork(self)
        EXIT.add(self)

    def _start_again(self) -> None:
        self._queue, self._writer = new_queue(
            self.name, self._settings, self._spool_failed, self._sources.fold, self._has_room
        )
        self._sender = Sender(self.publisher, self._uniform)
        self._notices = Notices(self.name, self._now, strict=self._settings.strict)
        self._wake = Alarm()
        self._room = Wake()
        self._is_stuck = False
        self._thread: threading.Thread | None = None
        self._working = threading.Lock()
        self._flushes: set[Flush] = set()
        self._close_by: float | None = None
        self._closed = threading.Event()
        self._gave_up = False

    def _spool_failed(self, error: Exception) -> None:
        self._notices.spool(error, self._sources.registries)

    def _has_room(self) -> None:
        self._is_stuck = False
        self._room.set()

    def __repr__(self) -> str:
        return f"<Delivery to {self.name}: {self.counts()}>"

    # -- from the registry -----------------------------------------------------------------------

    def attach(self, registry: Registry) -> None:
        """Take what a registry records from now on."""
        own = self._settings.blocks  # who must wait for room has to fold for himself
        self._sources.attach(registry, self.accept, None if own else self._ask)
        self.start()

    def _alarm(self) -> Alarm:
        return self._wake if self._writer is None else self._writer.alarm

    def _ask(self) -> None:
        self._alarm().ask()

    def accept(self, batch: list[Raw]) -> None:
        """Queue finished entries. Any thread may call it at any moment, also inside itself."""
        queue = self._queue
        was_filled = queue.is_filled(WAKE_SHARE)
        if self._settings.blocks and not self._is_inside():
            batch = self._wait_for_room(queue, batch)
        if batch:
            queue.put(batch)
        if not was_filled and queue.is_filled(WAKE_SHARE):
            self._alarm().hurry()

    def _wait_for_room(self, queue: Queue, batch: list[Raw]) -> list[Raw]:
        """Queue what there is room for, waiting for more; return what must be dropped."""
        try:
            while batch := queue.fill(batch):
                # Held up as long as something moves. Once it has waited in vain, no more.
                if self._is_stuck or self._thread is None:
                    break
                self._alarm().hurry()
                self._is_stuck = not self._room.wait(BLOCK_SECONDS)
        except BaseException:  # Ctrl-C: what waits outside is counted, too
            queue.put(batch)
            raise
        return batch

    def _is_inside(self) -> bool:
        """Whether the caller is a thread that must not wait: it would hold up what it waits for."""
        return self._queue.is_entered or get_ident() in DELIVERING

    def counts(self) -> Counts:
        """Return what has become of everything that was accepted, at one moment."""
        return self._queue.counts()

    # -- from the program ------------------------------------------------------------------------

    def begin_flush(self, deadline: float) -> Flush:
        """Ask for everything accepted so far to be sent."""
        flush = Flush(deadline)
        if self._is_inside() or self._closed.is_set():
            flush.finish(ok=self._closed.is_set() and not self._gave_up)
            return flush
        self._queue.count_down(flush)
        self._flushes.add(flush)
        self._work()
        return flush

    def finish_flush(self, flush: Flush) -> bool:
        """Wait for a flush until its deadline; whether everything was sent, or refused for good."""
        flush.done.wait(_until(flush.deadline, self._now()))
        self._flushes.discard(flush)
        return flush.ok

    def begin_close(self, deadline: float) -> None:
        """Stop accepting, and send what is left until the deadline."""
        self._sources.detach()
        self._queue.refuse()
        self._close_by = deadline if self._close_by is None else min(self._close_by, deadline)
        self._sender.backoff.hurry()
        if not self._is_inside():
            self._work()

    def finish_close(self) -> bool:
        """Wait for the close until its deadline; whether everything was sent, or refused for good."""
        if self._close_by is not None and not self._is_inside():
            self._closed.wait(_until(self._close_by, self._now()))
            if not self._closed.is_set():  # a publisher that hangs: its thread is left behind
                self._give_up()
        EXIT.remove(self)
        return self._closed.is_set() and not self._gave_up

    def raise_errors(self) -> None:
        """Raise the first error of the publisher since the last time, in strict mode."""
        self._notices.raise_first()

    # -- the thread ------------------------------------------------------------------------------

    def start(self) -> bool:
        """Start the thread if there is none; whether there is one now."""
        if self._closed.is_set():
            return False
        if self._writer is not None:
            self._writer.start()
        if self._thread is None:
            if not self._working.acquire(blocking=False):
                return False
            try:
                thread = threading.Thread(
                    target=self._run, args=(self._queue,), name=f"volnux-{self.name}", daemon=True
                )
                thread.start()
                self._thread = thread
            except RuntimeError:  # the interpreter is on its way out, or a limit is reached
                return False
            finally:
                self._working.release()
        return self._thread is not None

    def _work(self) -> None:
        """Have the thread look at once; without one, do its work here."""
        if self.start():
            self._wake.hurry()
        elif self._working.acquire(blocking=False):
            try:
                with suppressed():
                    self._work_here()
            finally:
                self._working.release()

    def _work_here(self) -> None:
        while (pause := self.turn()) is not None:
            ends = [flush.deadline for flush in list(self._flushes)]
            left = max(*ends, self._close_by or 0.0, 0.0) - self._now()
            if left <= 0:
                return
            if pause:
                self._wake.wait(min(pause, left))

    def _run(self, queue: Queue) -> None:
        DELIVERING.add(get_ident())
        try:
            with suppressed():
                # Another queue: this process was forked from inside the publisher.
                while self._queue is queue and (pause := self._safe_turn()) is not None:
                    if pause:
                        self._wake.rest(pause, self._now, self._sources.fold)
        finally:
            DELIVERING.discard(get_ident())

    def _safe_turn(self) -> float | None:
        try:
            return self.turn()
        except BaseException as error:  # noqa: BLE001  # nothing must end the thread
            self._notices.error(error, self._sources.registries)
            return self._settings.interval

    def turn(self) -> float | None:
        """Do one piece of work; return the seconds until the next, or None when closed."""
        if self._closed.is_set():
            return None
        self._answer_flushes()
        wait = self._sender.backoff.remaining(self._now())
        by, counts = self._close_by, self._queue.counts()
        is_on_disk = 0 < counts.pending == counts.spooled and wait
        if by is not None and (is_on_disk or wait >= by - self._now()):
            self._give_up()  # no time for another try, or the next process has it
        elif wait:
            return wait
        if self._queue.pending <= 1:  # one that fails is judged by how others fare
            self._sources.fold()
        self._notices.drops(counts.dropped)
        self._attempt(self._queue)
        if self._queue.pending or self._flushes:
            return 0.0
        if self._close_by is None:
            return self._settings.interval
        self._close_publisher(self._close_by)
        return None

    def _attempt(self, queue: Queue) -> None:
        result = self._sender.attempt(queue, self._now, self._is_over)
        if result is None or queue is not self._queue:
            return
        sent, judgement = result
        self._notices.attempt(sent, judgement, self._sources.registries)
        if judgement.delivered or judgement.rejected or judgement.poison:
            self._has_room()

    def _is_over(self) -> bool:
        return self._close_by is not None and self._now() >= self._close_by

    # -- ends ------------------------------------------------------------------------------------

    def _answer_flushes(self) -> None:
        for flush in list(self._flushes):
            if not flush.remaining:
                self._flushes.discard(flush)
                left = flush.deadline - self._now()
                flush.finish(ok=self._call_hook("flush", left) and not self._gave_up)

    def _close_publisher(self, deadline: float) -> None:
        try:
            self._call_hook("close", deadline - self._now())
        finally:
            if self._writer is not None:
                self._writer.close()
            self._closed.set()

    def _call_hook(self, name: str, seconds: float) -> bool:
        try:
            return call_hook(self.publisher, name, seconds)
        except BaseException as error:  # a publisher's error stops nothing
            if is_for_the_program(error):
                raise
            self._notices.error(error, self._sources.registries)
            return False

    def _give_up(self) -> None:
        lost = self._notices.lost(self._queue.abandon)
        self._gave_up = self._gave_up or bool(self._queue.counts().pending or lost)
        if self._writer is not None:
            self._writer.close()
        for flush in list(self._flushes):
            flush.finish(ok=False)

    # -- fork ------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        was_closed = self._close_by is not None
        if self._writer is not None:
            self._writer.queue.leave_to_parent()
        self._start_again()
        if was_closed:
            self._queue.refuse()
            self._closed.set()
        elif self._sources:
            _forked.append(self)


def _until(deadline: float, now: float) -> float:
    return max(0.0, min(deadline - now, threading.TIMEOUT_MAX))


#: Deliveries whose threads a fork has taken away.
_forked: list[Delivery] = []


def _start_in_child() -> None:
    DELIVERING.clear()
    while _forked:
        _forked.pop().start()
    EXIT.arm()


# After the hook of `threading`, which declares all threads dead that are there when it runs.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_in_child)
