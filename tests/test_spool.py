"""The spool: what has been accepted is on disk until it is delivered, whatever the disk does."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers import in_fork
from volnux.telemetry import (
    EventMetrics,
    MetricsPublisher,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry._encoding import entry_of
from volnux.telemetry._holds import HOLDS
from volnux.telemetry._queue import Flush
from volnux.telemetry._spool_file import SpoolFile, SpoolFullError, connect, file_name
from volnux.telemetry._spool_queue import SpoolQueue
from volnux.telemetry._spool_shelf import PAUSE, Shelf


class Batches(MetricsPublisher):
    """Takes batches, or is away."""

    name = "Batches"

    def __init__(self, *, is_away=False):
        self.is_away = is_away
        self.got = []

    def publish_event_metrics(self, metrics):
        raise AssertionError("it takes batches")

    publish_network_metrics = publish_event_metrics

    def publish_batch(self, records):
        if self.is_away:
            raise OSError("away")
        self.got += [record.event_name for record in records]


class Bench:
    """A queue on a file, on a clock of its own."""

    made = []

    def __init__(self, folder, *, items=1_000, most=1 << 30, age=1_000.0):
        self.made.append(self)
        self.time = 1_000_000.0
        self.errors = []
        self.file = SpoolFile(str(folder), "bench", most, wall=lambda: self.time)
        self.shelf = Shelf(self.file, self.errors.append, lambda: self.time)
        self.queue = SpoolQueue(self.shelf, items, 1 << 30, age, wall=lambda: self.time)

    def put(self, *names, write=True):
        self.queue.put([entry(name) for name in names])
        while write and self.queue.write():
            pass

    def peek(self, limit=1_000):
        return [raw[6].record.event_name for raw in self.queue.peek(limit)]

    def settle(self, size, **options):
        gone = size - len(options.get("keep", ())) - len(options.get("behind", ()))
        self.queue.settle(size, **{"delivered": gone, "dropped": {}, **options})

    def counts(self):
        counts = self.queue.counts()
        assert counts.accepted == counts.delivered + sum(counts.dropped.values()) + counts.pending
        return counts


@pytest.fixture(autouse=True)
def _closed():
    """Whatever a test has opened."""
    yield
    while Bench.made:
        Bench.made.pop().file.close()


def entry(name):
    """A finished entry with a record."""
    record = EventMetrics(event_name=name, task_id=f"{name:0>16}")
    line = f'{{"kind":"event","event_name":"{record.event_name}","task_id":"{record.task_id}"}}'
    return entry_of(line)


def spoil(path):
    """Write over the file as a failing disk does."""
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    Path(path).write_bytes(b"nothing that SQLite knows" * 1_000)


class TestQueue:
    def test_what_is_written_is_accepted(self, tmp_path):
        """And nothing before that."""
        bench = Bench(tmp_path)
        bench.put("a", "b", write=False)
        assert bench.counts() == (0, 0, {}, 0, 0)
        assert bench.queue.write()
        assert bench.counts() == (2, 0, {}, 2, 2)

    def test_what_is_settled_leaves_the_disk(self, tmp_path):
        """Those that are kept stay, in their order; those that go behind come last."""
        bench = Bench(tmp_path)
        bench.put("a", "b", "c", "d")
        bench.settle(3, keep=[0], behind=[1])
        assert bench.peek() == ["a", "d", "b"]
        assert bench.counts() == (4, 1, {}, 3, 3)
        bench.file.close()
        again = Bench(tmp_path)
        again.queue.adopt()
        assert sorted(again.peek()) == ["a", "b", "d"]

    def test_what_does_not_fit_into_memory_is_read_later(self, tmp_path):
        """In the order in which it came."""
        bench = Bench(tmp_path, items=3)
        for name in "abcdefg":
            bench.put(name)
        assert bench.peek(3) == ["a", "b", "c"]
        bench.settle(3)
        assert bench.peek(10) == ["d", "e", "f", "g"]
        bench.settle(4)
        assert bench.counts() == (7, 7, {}, 0, 0)

    def test_the_thread_that_writes_makes_room(self, tmp_path):
        """Whatever it is given itself."""
        bench = Bench(tmp_path, items=2)
        bench.queue.writer = threading.get_ident()
        bench.put(*"abcde")
        assert bench.counts() == (5, 0, {}, 5, 5)
        assert bench.peek() == ["a", "b", "c", "d", "e"]

    def test_too_many_before_they_are_written_are_dropped(self, tmp_path):
        """The newest, and counted."""
        bench = Bench(tmp_path, items=2)
        bench.put("a", "b", "c", write=False)
        bench.put("d")
        assert bench.peek() == ["a", "b"]
        assert bench.counts() == (4, 0, {"queue_full": 2}, 2, 2)

    def test_a_full_file_takes_no_more(self, tmp_path):
        """The newest are dropped; when there is room again it goes on."""
        bench = Bench(tmp_path, most=1)
        bench.put("a")
        assert bench.counts() == (1, 0, {"spool_full": 1}, 0, 0)
        bench.file._max_bytes = 1 << 20
        bench.put("b")
        assert bench.counts() == (2, 0, {"spool_full": 1}, 1, 1)

    def test_what_is_too_old_is_given_up(self, tmp_path):
        """In memory and on disk."""
        bench = Bench(tmp_path, items=2, age=10.0)
        bench.put("a", "b")
        bench.put("c")
        bench.time += 11
        bench.put("d")
        bench.queue.adopt()
        assert bench.counts() == (4, 0, {"spool_age": 1}, 3, 3)
        assert bench.peek() == ["d"]
        assert bench.counts() == (4, 0, {"spool_age": 3}, 1, 1)

    @pytest.mark.parametrize("items", [2, 1_000])
    @given(data=st.data())
    def test_loses_nothing_and_keeps_the_order(self, tmp_path_factory, items, data):
        """Whatever comes and goes, in memory or not; a program that is started again finds the rest."""
        bench = Bench(tmp_path_factory.mktemp("spool"), items=items)
        names = iter(map(str, range(10_000)))
        expected = []
        for _ in range(data.draw(st.integers(1, 12))):
            step = data.draw(st.sampled_from(["put", "settle", "again"]))
            if step == "put":
                more = [next(names) for _ in range(data.draw(st.integers(1, 2)))]
                bench.put(*more)
                expected += more
            elif step == "settle":
                found = bench.peek(data.draw(st.integers(1, 5)))
                assert found == expected[: len(found)]
                kept = sorted(
                    data.draw(st.sets(st.sampled_from(range(len(found))))) if found else ()
                )
                bench.settle(len(found), keep=kept)
                expected = [found[place] for place in kept] + expected[len(found) :]
            else:
                bench.queue.abandon()
                bench.queue.close()
                bench = Bench(Path(bench.file.path).parent, items=items)
                bench.queue.adopt()
            assert bench.counts().pending == bench.counts().spooled == len(expected)
        rest = []
        while found := bench.peek():
            rest += found
            bench.settle(len(found))
        assert rest == expected
        bench.queue.close()

    def test_a_flush_waits_for_what_is_on_disk_only(self, tmp_path):
        """And not for what comes later, nor for what is given up."""
        bench = Bench(tmp_path, items=2, age=10.0)
        bench.put("a", "b")
        bench.put("c", write=False)
        flush = Flush(float("inf"))
        bench.queue.count_down(flush)
        bench.put("d")
        bench.peek()
        bench.settle(2)
        assert flush.remaining
        bench.time += 11
        bench.peek()
        assert not flush.remaining


class TestSeveralProcesses:
    def test_who_is_alive_keeps_his_own(self, tmp_path):
        """Another that uses the same file does not see them."""
        first, second = Bench(tmp_path), Bench(tmp_path)
        first.put("a")
        second.put("b")
        second.queue.adopt()
        assert (first.peek(), second.peek()) == (["a"], ["b"])

    def test_who_is_gone_leaves_them_to_the_next(self, tmp_path):
        """In front of what that has, if it is older."""
        first, second = Bench(tmp_path), Bench(tmp_path)
        first.put("a")
        second.put("b")
        first.queue.close()
        second.queue.adopt()
        assert second.counts() == (2, 0, {}, 2, 2)
        second.settle(1)
        assert second.peek() == ["a"]

    def test_a_child_is_another(self, tmp_path):
        """What waits in the parent is not the child's, and the other way round."""
        bench = Bench(tmp_path)
        bench.put("a")

        def child():
            bench.queue.leave_to_parent()
            own = Bench(tmp_path)
            own.queue.adopt()
            own.put("b")
            return own.peek()

        assert in_fork(child) == ["b"]
        assert bench.peek() == ["a"]
        bench.queue.adopt()
        assert bench.counts().accepted == 2

    def test_a_byte_is_held_by_one(self, tmp_path):
        """Not twice by the same process, nor by another as long as it lives."""
        path = str(tmp_path / "locks")
        assert HOLDS.take(path, 7)
        assert not HOLDS.take(path, 7)
        assert in_fork(lambda: HOLDS.take(path, 8)) is True
        assert in_fork(lambda: HOLDS.take(path, 7)) is False
        HOLDS.release(path, 7)
        assert in_fork(lambda: HOLDS.take(path, 7)) is True
        assert HOLDS.take(path, 7)
        HOLDS.release(path, 7)
        HOLDS.release(path, 7)


class TestDisks:
    def test_a_file_that_cannot_be_read_is_set_aside(self, tmp_path):
        """What is in memory is delivered all the same, the rest is counted; then it goes on."""
        bench = Bench(tmp_path, items=2)
        bench.put("a", "b")
        bench.put("c")
        bench.file.close()
        spoil(bench.file.path)
        bench.put("d")
        assert bench.counts() == (4, 0, {"spool_lost": 1}, 3, 1)
        assert bench.peek() == ["a", "b", "d"]
        bench.settle(3)
        assert bench.counts() == (4, 3, {"spool_lost": 1}, 0, 0)
        assert [path.name[:14] for path in tmp_path.glob("*corrupt*")] == ["bench.corrupt-"]
        assert [type(error) for error in bench.errors] == [sqlite3.DatabaseError]

    def test_lines_that_are_none_are_as_bad(self, tmp_path):
        """The file is set aside."""
        bench = Bench(tmp_path)
        bench.put("a")
        bench.queue.close()
        with closing(connect(tmp_path / file_name("bench"))) as connection:
            connection.execute("UPDATE chunks SET lines = '{}'")
        again = Bench(tmp_path)
        again.queue.adopt()
        assert again.peek() == []
        assert again.counts() == (1, 0, {"spool_lost": 1}, 0, 0)

    def test_a_folder_that_cannot_be_made_leaves_them_in_memory(self, tmp_path):
        """They are delivered from there, and dropped where that is full."""
        (tmp_path / "file").write_text("")
        bench = Bench(tmp_path / "file" / "folder", items=2)
        bench.put("a", "b")
        bench.put("c", "d", "e")
        assert bench.counts() == (3, 0, {"queue_full": 1}, 2, 0)
        assert bench.peek() == ["a", "b"]
        bench.settle(2)
        bench.put()
        assert bench.peek() == ["c", "d"]
        assert {type(error) for error in bench.errors} == {NotADirectoryError}

    def test_a_disk_that_fails_is_left_alone_for_a_while(self, tmp_path):
        """One error a second, not one for each record; then it is tried again."""
        (tmp_path / "file").write_text("")
        bench = Bench(tmp_path / "file" / "folder")
        bench.put("a")
        bench.put("b")
        assert len(bench.errors) == 1
        bench.time += PAUSE
        bench.put("c")
        assert len(bench.errors) == 2

    def test_what_could_not_be_removed_is_removed_later(self, tmp_path):
        """Another that holds the file for writing does not disturb; nothing comes twice."""
        bench = Bench(tmp_path)
        bench.put("a", "b")
        bench.file._open().execute("PRAGMA busy_timeout = 0")
        other = connect(bench.file.path)
        other.execute("BEGIN IMMEDIATE")
        bench.settle(1)
        assert bench.counts() == (2, 1, {}, 1, 1)
        other.execute("ROLLBACK")
        other.close()
        bench.queue.adopt()
        bench.queue.close()
        again = Bench(tmp_path)
        again.queue.adopt()
        assert again.peek() == ["b"]

    def test_a_full_disk_is_counted_and_stops_nothing(self, tmp_path):
        """Files of this process may not grow: records wait in memory and are delivered from there."""
        program = """
            import resource, sys
            from volnux.telemetry import Registry, monitor_events, traced_event
            from tests.test_spool import Batches
            publisher = Batches(is_away=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))
            with monitor_events([publisher], spool=sys.argv[1], registry=Registry()) as monitor:
                for number in range(5_000):
                    with traced_event(f"step {number}"):
                        pass
                monitor.flush(1)
                counts = monitor.health().publishers["Batches"]
                assert counts["accepted"] == counts["pending"] == 5_000, counts
                assert 0 < counts["spooled"] < 5_000, counts
                assert monitor.health().errors["spool"], monitor.health()
                publisher.is_away = False
            assert len(publisher.got) == 5_000, len(publisher.got)
        """
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], check=True, timeout=60
        )

    def test_is_for_its_user_alone(self, tmp_path):
        """Nobody else may read the folder or the file."""
        bench = Bench(tmp_path / "spool")
        bench.put("a")
        assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
        assert Path(bench.file.path).stat().st_mode & 0o777 == 0o600

    def test_gives_room_back(self, tmp_path):
        """A file that was large is small when all has been delivered and it is closed."""
        bench = Bench(tmp_path, items=10_000)
        bench.put(*("x" * 100 for _ in range(5_000)))
        size = Path(bench.file.path + "-wal").stat().st_size
        bench.settle(1_000)
        for _ in range(4):
            bench.peek()
            bench.settle(1_000)
        bench.queue.close()
        assert size > 500_000
        assert Path(bench.file.path).stat().st_size < 50_000

    def test_a_file_says_when_it_is_full(self, tmp_path):
        """Before it is larger than it may be."""
        file = SpoolFile(str(tmp_path), "small", 100_000)
        written = 0
        with pytest.raises(SpoolFullError):
            for _ in range(100):
                file.append(["x" * 1_000] * 10)
                written += 1
        assert 5 <= written <= 10
        file.close()


class TestMonitor:
    def test_what_an_outage_leaves_is_delivered_the_next_time(self, tmp_path):
        """In the order in which it was recorded, before what comes then."""
        away = Batches(is_away=True)
        with monitor_events([away], spool=tmp_path, registry=Registry()) as monitor:
            for name in "ab":
                with traced_event(name):
                    pass
            assert not monitor.close(timeout=5)
            counts = monitor.health().publishers["Batches"]
        assert counts == {
            "accepted": 2,
            "delivered": 0,
            "dropped": {},
            "pending": 2,
            "spooled": 2,
        }
        back = Batches()
        with monitor_events([back], spool=tmp_path, registry=Registry()) as monitor:
            adopted = threading.Event()
            for _ in range(1_000):
                if monitor.health().publishers["Batches"]["accepted"] == 2:
                    break
                adopted.wait(0.01)
            with traced_event("c"):
                pass
            assert monitor.flush()
            assert back.got == ["a", "b", "c"]

    def test_is_what_the_environment_says(self, tmp_path, monkeypatch):
        """Where the program does not."""
        monkeypatch.setenv("VOLNUX_SPOOL", str(tmp_path / "spool"))
        with monitor_events([Batches()], registry=Registry()), traced_event("a"):
            pass
        assert (tmp_path / "spool" / "Batches.sqlite").exists()

    def test_a_disk_that_fails_is_counted_in_health(self, tmp_path, caplog):
        """Nothing is raised, and all is delivered."""
        (tmp_path / "file").write_text("")
        publisher = Batches()
        with monitor_events([publisher], spool=tmp_path / "file", registry=Registry()) as monitor:
            with traced_event("a"):
                pass
            assert monitor.flush()
            assert list(monitor.health().errors["spool"]) == ["FileExistsError"]
        assert publisher.got == ["a"]
        assert "cannot use its spool" in caplog.text

    def test_a_program_that_waits_for_room_waits_for_the_disk(self, tmp_path, monkeypatch):
        """With `when_full="block"` nothing is dropped."""
        monkeypatch.setattr("volnux.telemetry._delivery.BLOCK_SECONDS", 60.0)  # of a busy disk
        publisher = Batches(is_away=True)
        with monitor_events(
            [publisher], spool=tmp_path, registry=Registry(), queue_items=100, when_full="block"
        ) as monitor:
            for _ in range(2_000):
                with traced_event("a"):
                    pass
            monitor.flush(0.5)
            counts = monitor.health().publishers["Batches"]
            assert (counts["accepted"], counts["dropped"]) == (2_000, {})
            publisher.is_away = False
        assert len(publisher.got) == 2_000

    def test_a_fork_delivers_its_own(self, tmp_path):
        """And leaves the parent's to the parent."""
        publisher = Batches(is_away=True)
        with monitor_events([publisher], spool=tmp_path, registry=Registry()) as monitor:
            with traced_event("parent"):
                pass
            monitor.flush(0.1)

            def child():
                publisher.is_away = False
                with traced_event("child"):
                    pass
                monitor.flush(5)
                return publisher.got

            assert in_fork(child) == ["child"]
            publisher.is_away = False
        assert publisher.got == ["parent"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"spool_bytes": 0}, "spool_bytes"),
            ({"spool_age": -1}, "spool_age"),
            ({"spool_age": "1"}, "spool_age"),
        ],
    )
    def test_numbers_that_are_out_of_range_are_refused(self, options, message):
        """Before anything is switched on."""
        with pytest.raises(ValueError, match=message):
            monitor_events([Batches()], spool="x", **options)

    def test_a_spool_that_is_no_path_is_refused(self):
        """With the error of Python."""
        with pytest.raises(TypeError):
            monitor_events([Batches()], spool=5)


def test_a_name_is_the_name_of_a_file():
    """Whatever a publisher is called."""
    assert file_name("my/../publisher: é") == "my_.._publisher__é.sqlite"
    assert os.path.basename(file_name("/" * 300)) == "_" * 100 + ".sqlite"
