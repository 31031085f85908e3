"""Delivery and processes: fork at the worst moment, children of multiprocessing, the end of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from volnux.telemetry import JSONLinesPublisher, Registry, monitor_events, traced_event
from volnux.telemetry._exit import EXIT_TIMEOUT, exit_timeout
from volnux.telemetry.errors import TelemetryWarning
from volnux.telemetry.testing import RecordingPublisher

# Forking with threads about is what these tests are for.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@traced_event
def step():
    pass


def in_child(work):
    """Fork, do the work in the child, and return what it returned, as JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            answer = json.dumps(work())
        except BaseException as error:
            answer = json.dumps(repr(error))
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        answer = json.load(file)
    os.waitpid(pid, 0)
    return answer


def run(code, *args, **environment):
    """Run a program in a process of its own; return what came of it."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=100,
    )


def names_in(path):
    with open(path, encoding="utf-8") as file:
        return sorted(json.loads(line)["event_name"] for line in file)


class Gate(RecordingPublisher):
    """Holds its thread inside a call until it is opened."""

    def __init__(self):
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def publish_event_metrics(self, metrics):
        self.entered.set()
        self.opened.wait()
        super().publish_event_metrics(metrics)


class TestFork:
    """The child has queues, locks and threads of its own, and nothing of its parent's."""

    def test_what_waits_stays_with_the_parent(self):
        """The child begins with nothing, and delivers its own."""
        gate = Gate()
        with monitor_events([gate], registry=Registry()) as monitor:
            step()
            monitor.flush(0.0)
            gate.entered.wait()
            step()

            def child():
                before = monitor.health().publishers["Gate"]
                gate.opened = threading.Event()
                gate.opened.set()
                step()
                return [before, monitor.flush(60), monitor.health().publishers["Gate"]]

            before, flushed, after = in_child(child)
            gate.opened.set()
            assert monitor.flush(60)
        assert (before["accepted"], flushed) == (0, True)
        assert (after["accepted"], after["delivered"]) == (1, 1)
        assert len(gate.events) == 2

    def test_few_records_of_a_child_that_lives_on_are_delivered(self):
        """Nobody flushes there either."""
        publisher = Gate()
        publisher.opened.set()
        with monitor_events([publisher], registry=Registry(), interval=0.001):

            def child():
                publisher.entered = threading.Event()
                step()
                return publisher.entered.wait(60)

            assert in_child(child)

    @pytest.mark.parametrize("lock", ["_queue._lock", "_working", "_wake._lock"])
    def test_a_lock_held_by_another_thread_at_that_moment(self, lock):
        """It is held for ever in the child, which has another one."""
        with monitor_events([RecordingPublisher()], registry=Registry()) as monitor:
            found = monitor._deliveries[0]
            for name in lock.split("."):
                found = getattr(found, name)
            held, release = threading.Event(), threading.Event()

            def hold():
                found.acquire(blocking=False)
                held.set()
                release.wait()

            holder = threading.Thread(target=hold)
            holder.start()
            held.wait()

            def child():
                step()
                return [monitor.flush(60), monitor.health().publishers]

            flushed, publishers = in_child(child)
            release.set()
            holder.join()
            # A lock that is no re-entrant one may be given back by any thread.
            if lock == "_working":
                found.release()
            if lock == "_queue._lock":
                monitor._deliveries[0]._queue._lock = threading.RLock()
        assert flushed
        assert publishers["RecordingPublisher"]["delivered"] == 1

    def test_a_closed_monitor_stays_closed(self):
        """Its publishers are not opened again in the child."""
        monitor = monitor_events([RecordingPublisher()], registry=Registry())
        monitor.close()
        assert in_child(threading.active_count) == 1
        assert in_child(monitor.flush)

    def test_a_closed_monitor_is_in_nobody_s_way(self, tmp_path):
        """What the parent has closed does not open again; what the child opens, delivers."""
        before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
        done = run(
            """
            import os, sys, threading
            from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event
            def record(name):
                with traced_event(name):
                    pass
            closed = monitor_events(JSONLinesPublisher(sys.argv[1]))
            record("parent")
            closed.close()
            pid = os.fork()
            if pid:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            mine = monitor_events(JSONLinesPublisher(sys.argv[2]))
            record("child")
            assert closed.flush() and closed.close()
            print([thread.name for thread in threading.enumerate()][1:])
            """,
            before,
            after,
            PYTHONWARNINGS="ignore::DeprecationWarning",  # of a fork while threads are about
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "['volnux-JSONLinesPublisher']\n"
        assert (names_in(before), names_in(after)) == (["parent"], ["child"])

    def test_a_publisher_that_forks_does_not_become_two_deliveries(self):
        """The child leaves the loop that it finds itself in."""
        pids = []

        class Forking(RecordingPublisher):
            def publish_event_metrics(self, metrics):
                super().publish_event_metrics(metrics)
                pids.append(os.fork())
                if not pids[-1]:
                    # What the thread's end would run into is not the subject.
                    delivery = monitor._deliveries[0]
                    os._exit(7 if not delivery.counts().accepted else 1)

        with monitor_events([Forking()], registry=Registry()) as monitor:
            step()
            assert monitor.flush(60)
        assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7


CHILD = """
    import multiprocessing, sys
    from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event

    def work(path, fork):
        if not fork:
            monitor_events([JSONLinesPublisher(path)])
        with traced_event("child"):
            pass

    if __name__ == "__main__":
        method, path = sys.argv[1:]
        context = multiprocessing.get_context(method)
        monitor_events([JSONLinesPublisher(path)])
        children = [context.Process(target=work, args=(path, method == "fork")) for _ in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        with traced_event("parent"):
            pass
        sys.exit(sum(child.exitcode for child in children))
"""


class TestMultiprocessing:
    """Children deliver what they have recorded before they leave, though `atexit` does not run."""

    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_short_children_lose_nothing(self, tmp_path, method):
        """One record each, and no flush anywhere."""
        script, path = tmp_path / "program.py", tmp_path / "records.jsonl"
        script.write_text(textwrap.dedent(CHILD))
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", script, method, path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert names_in(path) == ["child"] * 3 + ["parent"]

    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_a_monitor_made_while_the_module_is_imported(self, tmp_path, method):
        """Children that import the main module anew make one each, and lose nothing either."""
        path = tmp_path / "records.jsonl"
        script = tmp_path / "program.py"
        script.write_text(
            textwrap.dedent(f"""
            import multiprocessing, sys
            from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event

            monitor_events([JSONLinesPublisher({str(path)!r})])

            @traced_event
            def child():
                pass

            if __name__ == "__main__":
                process = multiprocessing.get_context(sys.argv[1]).Process(target=child)
                process.start()
                process.join()
                sys.exit(process.exitcode)
            """)
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", script, method],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert names_in(path) == ["child"]


ENDS = {
    "falling off the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise KeyError('x')", 1),
    "sys.exit in a child of fork": ("pid = os.fork(); pid or sys.exit(0); os.waitpid(pid, 0)", 0),
}


class TestExit:
    """The end of a process delivers what is left, within a deadline."""

    @pytest.mark.parametrize("end", ENDS)
    def test_what_is_left_is_delivered(self, tmp_path, end):
        """However the program ends, short of a signal."""
        path = tmp_path / "records.jsonl"
        code, status = ENDS[end]
        done = run(
            f"""
            import os, sys
            from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event
            monitor_events([JSONLinesPublisher(sys.argv[1])])
            with traced_event("last"):
                pass
            {code}
            """,
            path,
        )
        assert done.returncode == status
        assert names_in(path) == ["last"]

    def test_records_of_atexit_functions_are_delivered(self, tmp_path):
        """Those registered after `monitor_events` run before its own."""
        path = tmp_path / "records.jsonl"
        done = run(
            """
            import atexit, sys
            from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event
            monitor_events([JSONLinesPublisher(sys.argv[1])])
            atexit.register(traced_event("goodbye")(lambda: None))
            """,
            path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert names_in(path) == ["goodbye"]

    def test_a_monitor_made_when_no_thread_can_start_any_more(self, tmp_path):
        """In an `atexit` function: whoever flushes does the work."""
        path = tmp_path / "records.jsonl"
        done = run(
            """
            import atexit, sys, threading
            from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event
            import volnux.telemetry._delivery

            def late():
                def refuse(self):
                    raise RuntimeError("can't start new thread at interpreter shutdown")
                threading.Thread.start = refuse
                monitor = monitor_events([JSONLinesPublisher(sys.argv[1])])
                with traced_event("late"):
                    pass
                print(monitor.flush())

            atexit.register(late)
            """,
            path,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
        assert names_in(path) == ["late"]

    @pytest.mark.parametrize(
        "publish", ["threading.Event().wait()", "raise OSError('https://user:pass@host')"]
    )
    def test_a_dead_back_end_delays_the_end_no_longer_than_its_deadline(self, publish):
        """It is told what was lost, without credentials."""
        done = run(
            f"""
            import threading
            from volnux.telemetry import monitor_events, traced_event
            from volnux.telemetry.testing import RecordingPublisher

            class Dead(RecordingPublisher):
                def publish_event_metrics(self, metrics):
                    {publish}

            monitor_events([Dead(), Dead()])
            with traced_event("lost"):
                pass
            """,
            VOLNUX_EXIT_TIMEOUT="0.2",
        )
        assert done.returncode == 0
        assert done.stderr.count("was too slow to close: lost 1 records") == 2
        assert "pass@" not in done.stderr
        assert "Traceback" not in done.stderr

    def test_the_deadline_is_a_setting(self, monkeypatch):
        """Seconds in VOLNUX_EXIT_TIMEOUT."""
        monkeypatch.delenv("VOLNUX_EXIT_TIMEOUT", raising=False)
        assert exit_timeout() == EXIT_TIMEOUT
        monkeypatch.setenv("VOLNUX_EXIT_TIMEOUT", " 0.5 ")
        assert exit_timeout() == 0.5

    @pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
    def test_a_deadline_that_is_none_is_told_and_not_used(self, monkeypatch, text):
        """A misspelt setting breaks no exit."""
        monkeypatch.setenv("VOLNUX_EXIT_TIMEOUT", text)
        with pytest.warns(TelemetryWarning, match="VOLNUX_EXIT_TIMEOUT is not a number"):
            assert exit_timeout() == EXIT_TIMEOUT


def test_two_processes_write_to_one_file(tmp_path):
    """Parent and child share the publisher's path, and each record is there once."""
    path = tmp_path / "records.jsonl"
    with monitor_events([JSONLinesPublisher(path)], registry=Registry()) as monitor:

        def child():
            for _ in range(500):
                step()
            return monitor.flush(60)

        for _ in range(500):
            step()
        assert in_child(child)
    assert len(names_in(path)) == 1_000
