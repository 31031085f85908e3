"""JSON lines: every line one record, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import (
    Attempt,
    EventMetrics,
    JSONLinesPublisher,
    NetworkMetrics,
    PublishError,
    Registry,
    TelemetryError,
    monitor_events,
    read_jsonlines,
    traced_event,
)
from volnux.telemetry.publishers import _jsonlines
from volnux.telemetry.publishers._reading import TORN, parse_line


def event(number, **fields):
    return EventMetrics(event_name="step", task_id=f"{number:016x}", **fields)


def names(path, **options):
    return [record.task_id.lstrip("0") for record in read_jsonlines(path, **options)]


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "records.jsonl"


class TestWriting:
    """What stands in the file."""

    def test_every_line_is_one_record_s_dict(self, path):
        """Events and operations, compact, in ASCII, in the order in which they came."""
        records = [
            event(1, attributes={"colour": "grün\n"}, attempts=(Attempt(number=1, outcome="x"),)),
            NetworkMetrics(host="example.org", task_id="2", port=443, bytes_sent=3),
        ]
        publisher = JSONLinesPublisher(path)
        assert publisher.publish_batch(records) is None
        publisher.publish_event_metrics(records[0])
        publisher.publish_network_metrics(records[1].to_dict())
        publisher.close()
        lines = path.read_bytes().decode("ascii").splitlines()
        assert [json.loads(line) for line in lines] == [r.to_dict() for r in records] * 2
        assert lines[0] == json.dumps(records[0].to_dict(), separators=(",", ":"))
        assert list(read_jsonlines(path)) == records * 2

    def test_it_appends_to_what_is_there(self, path):
        """Another run adds to the file."""
        for number in (1, 2):
            publisher = JSONLinesPublisher(str(path))
            publisher.publish_event_metrics(event(number))
            publisher.close()
        assert names(path) == ["1", "2"]

    def test_the_file_is_created_with_the_first_record(self, path):
        """Making the publisher writes nothing; the umask decides who may read."""
        publisher = JSONLinesPublisher(path)
        publisher.close()
        assert not path.exists()
        before = os.umask(0o027)
        try:
            publisher.publish_event_metrics(event(1))
        finally:
            os.umask(before)
            publisher.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_a_line_torn_by_a_crash_is_ended_before_the_next(self, path):
        """Also when it is torn while this publisher has the file open."""
        path.write_bytes(b'{"kind":"ev')
        publisher = JSONLinesPublisher(path)
        publisher.publish_event_metrics(event(1))
        with path.open("ab") as other:
            other.write(b'{"kind":"event","event_na')
        publisher.publish_event_metrics(event(2))
        publisher.close()
        assert path.read_bytes().count(b"\n") == 4
        assert names(path) == ["1", "2"]

    def test_a_relative_path_stays_where_it_was(self, tmp_path, monkeypatch):
        """A program that changes its directory goes on in the same file."""
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        publisher = JSONLinesPublisher("records.jsonl")
        monkeypatch.chdir("elsewhere")
        publisher.publish_event_metrics(event(1))
        publisher.close()
        assert names(tmp_path / "records.jsonl") == ["1"]
        assert repr(publisher) == f"JSONLinesPublisher({str(tmp_path / 'records.jsonl')!r})"

    def test_a_file_that_was_moved_away_is_opened_anew(self, path, tmp_path):
        """As a log rotation from outside does; and so when it was removed."""
        publisher = JSONLinesPublisher(path)
        publisher.publish_event_metrics(event(1))
        path.rename(tmp_path / "old.jsonl")
        publisher.publish_event_metrics(event(2))
        assert (names(tmp_path / "old.jsonl"), names(path)) == (["1"], ["2"])
        path.unlink()
        publisher.publish_event_metrics(event(3))
        publisher.close()
        assert names(path) == ["3"]

    def test_it_can_be_used_after_close(self, path):
        """The next record opens the file again; closing twice is closing once."""
        publisher = JSONLinesPublisher(path)
        publisher.publish_event_metrics(event(1))
        publisher.close()
        publisher.close()
        publisher.publish_event_metrics(event(2))
        publisher.close()
        assert names(path) == ["1", "2"]

    def test_fsync_waits_for_the_disk_when_asked_to(self, path, monkeypatch):
        """On flush and on close, and otherwise never."""
        synced = []
        monkeypatch.setattr(os, "fsync", synced.append)
        for fsync, calls in ((False, 0), (True, 2)):
            publisher = JSONLinesPublisher(path, fsync=fsync)
            publisher.publish_event_metrics(event(1))
            assert publisher.flush()
            publisher.close()
            assert len(synced) == calls

    def test_a_pipe_takes_lines_too(self):
        """What is no regular file is neither rotated nor looked into."""
        reader, writer = os.pipe()
        publisher = JSONLinesPublisher(f"/dev/fd/{writer}", max_bytes=1)
        publisher.publish_event_metrics(event(1))
        publisher.publish_event_metrics(event(2))
        publisher.close()
        os.close(writer)
        with open(reader, "rb") as file:
            assert [parse_line(line).task_id[-1] for line in file] == ["1", "2"]


class TestMistakes:
    """Set-up mistakes raise at once and name the path."""

    def test_a_directory_that_is_not_there(self, tmp_path):
        """It is not created: it is likely misspelt."""
        with pytest.raises(FileNotFoundError, match=r"there is no directory '.*/nowhere'"):
            JSONLinesPublisher(tmp_path / "nowhere" / "records.jsonl")

    def test_a_directory_for_a_file(self, tmp_path):
        """The message says that a name is missing."""
        with pytest.raises(IsADirectoryError, match="is a directory: give the name of a file"):
            JSONLinesPublisher(tmp_path)

    def test_a_file_that_this_user_cannot_write(self, path, monkeypatch):
        """Told before the first record is lost."""
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(PermissionError, match="cannot be written by this user"):
            JSONLinesPublisher(path)

    @pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_bytes": -5}, {"backups": -1}])
    def test_numbers_out_of_range(self, path, options):
        """The message names the argument."""
        with pytest.raises(ValueError, match=next(iter(options))):
            JSONLinesPublisher(path, **options)


class TestFullDisk:
    """A disk that takes no more is an outage: records wait and nothing is doubled."""

    def test_a_full_disk_is_a_publish_error(self):
        """With the system's own error as its cause."""
        publisher = JSONLinesPublisher("/dev/full")
        with pytest.raises(PublishError, match="cannot write /dev/full") as caught:
            publisher.publish_event_metrics(event(1))
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert not caught.value.permanent

    def test_delivery_keeps_the_records_and_counts_them(self, caplog):
        """Until the monitor is closed, when they are given up, and all that is counted."""

        @traced_event
        def step():
            pass

        with monitor_events([JSONLinesPublisher("/dev/full")], registry=Registry()) as monitor:
            step()
            assert not monitor.flush(0.0)
            assert monitor.health().publishers["JSONLinesPublisher"]["pending"] == 1
            assert not monitor.close(0.0)
        numbers = monitor.health().publishers["JSONLinesPublisher"]
        assert (numbers["pending"], numbers["dropped"]) == (0, {"shutdown": 1})
        assert "No space left on device" in caplog.text or "lost 1 records" in caplog.text

    @pytest.mark.parametrize("room", range(0, 900, 60))
    def test_lines_that_fitted_are_not_written_again(self, path, monkeypatch, room):
        """A write that stops in the middle: whole lines are in, the others come again."""
        records = [event(number) for number in range(1, 4)]
        write = os.write

        def short(file, data):
            return write(file, data[:room])

        publisher = JSONLinesPublisher(path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short)
            verdicts = publisher.publish_batch(records)
        left = [r for r, v in zip(records, verdicts, strict=True) if v == "retry"]
        assert left, "the room is less than three lines"
        assert publisher.publish_batch(left) is None
        publisher.close()
        assert names(path) == ["1", "2", "3"]

    def test_a_file_that_cannot_be_opened_any_more_is_an_outage(self, path):
        """A directory in its place, say: once it is gone, records arrive."""
        publisher = JSONLinesPublisher(path)
        path.mkdir()
        with pytest.raises(PublishError, match="cannot write"):
            publisher.publish_event_metrics(event(1))
        path.rmdir()
        publisher.publish_event_metrics(event(1))
        publisher.close()
        assert names(path) == ["1"]

    def test_an_error_on_closing_the_file_is_no_error(self, path, monkeypatch):
        """There is nothing left to write."""
        publisher = JSONLinesPublisher(path)
        publisher.publish_event_metrics(event(1))
        file = publisher._file

        def fail(file):
            raise OSError(errno.EIO, "late")

        with monkeypatch.context() as patch:
            patch.setattr(os, "close", fail)
            publisher.close()
        os.close(file)


class TestRotation:
    """A file that has grown large enough is set aside."""

    def test_files_are_renamed_along(self, path):
        """`.1` is the youngest, and no more are kept than asked for."""
        publisher = JSONLinesPublisher(path, max_bytes=1, backups=2)
        for number in range(1, 5):
            publisher.publish_event_metrics(event(number))
        publisher.close()
        assert not path.exists()
        found = sorted(file.name for file in path.parent.iterdir())
        assert found == ["records.jsonl.1", "records.jsonl.2"]
        assert names(f"{path}.1") == ["4"]
        assert names(path, rotated=True) == ["3", "4"]
        publisher.publish_event_metrics(event(5))
        publisher.close()
        assert names(path, rotated=True) == ["4", "5"]

    def test_without_backups_it_begins_again(self, path):
        """Only what came last is there."""
        publisher = JSONLinesPublisher(path, max_bytes=1, backups=0)
        publisher.publish_event_metrics(event(1))
        publisher.publish_event_metrics(event(2))
        publisher.close()
        assert list(path.parent.iterdir()) == []

    def test_a_file_that_another_process_has_just_renamed_is_left_alone(self, path, monkeypatch):
        """Two that find it too large at once rename it once."""
        publisher = JSONLinesPublisher(path, max_bytes=1)
        hold = publisher._hold

        def late(file, *, exclusive):
            if exclusive:
                path.rename(f"{path}.1")
            hold(file, exclusive=exclusive)

        monkeypatch.setattr(publisher, "_hold", late)
        publisher.publish_event_metrics(event(1))
        publisher.close()
        assert [file.name for file in path.parent.iterdir()] == ["records.jsonl.1"]

    def test_a_file_that_cannot_be_renamed_is_written_on(self, path, monkeypatch):
        """Too large is better than twice: each record is there once, and later it is renamed."""

        def refuse(*_):
            raise PermissionError(errno.EPERM, "no")

        publisher = JSONLinesPublisher(path, max_bytes=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            for number in (1, 2):
                assert publisher.publish_batch([event(number)]) is None
        publisher.publish_event_metrics(event(3))
        publisher.close()
        assert names(f"{path}.1") == ["1", "2", "3"]

    def test_below_its_size_nothing_is_renamed(self, path):
        """It is the size of the file that counts, not of one batch."""
        publisher = JSONLinesPublisher(path, max_bytes=600)
        publisher.publish_event_metrics(event(1))
        assert path.exists()
        publisher.publish_event_metrics(event(2))
        publisher.close()
        assert names(f"{path}.1") == ["1", "2"]

    def test_a_file_renamed_while_it_was_being_locked_is_not_written_to(self, path, monkeypatch):
        """The lock is for the file that stands at the path."""
        publisher = JSONLinesPublisher(path, max_bytes=1_000_000)
        publisher.publish_event_metrics(event(1))
        hold, renamed = publisher._hold, []

        def late(file, *, exclusive):
            if not renamed:
                renamed.append(path.rename(f"{path}.1"))
            hold(file, exclusive=exclusive)

        monkeypatch.setattr(publisher, "_hold", late)
        publisher.publish_event_metrics(event(2))
        publisher.close()
        assert (names(f"{path}.1"), names(path)) == (["1"], ["2"])

    def test_processes_and_threads_share_one_rotating_file(self, path):
        """Each record is there once, none torn, through dozens of renamings."""
        code = (
            "import sys\n"
            "from volnux.telemetry import EventMetrics, JSONLinesPublisher\n"
            "who, path = sys.argv[1:]\n"
            "publisher = JSONLinesPublisher(path, max_bytes=20_000, backups=500)\n"
            "print('ready', flush=True); sys.stdin.readline()\n"
            "for n in range(150):\n"
            "    publisher.publish_batch([EventMetrics(event_name=who, task_id=f'{who}-{n}')] * 2)\n"
            "publisher.close()\n"
        )
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(who), str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for who in range(4)
        ]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            worker.communicate(b"go\n")
            assert worker.returncode == 0
        found = [record.task_id for record in read_jsonlines(path, rotated=True)]
        assert sorted(found) == sorted(
            f"{w}-{n}" for w in range(4) for n in range(150) for _ in "12"
        )
        assert len(list(path.parent.iterdir())) > 10


def test_threads_share_one_publisher(path):
    """Lines of eight threads do not mix."""
    publisher = JSONLinesPublisher(path, max_bytes=5_000, backups=1_000)
    start = threading.Barrier(8)

    def write(who):
        start.wait()
        for number in range(50):
            publisher.publish_event_metrics(event(1 + who * 50 + number))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()
    assert sorted(int(name, 16) for name in names(path, rotated=True)) == list(range(1, 401))


def test_a_forked_child_opens_the_file_itself(path):
    """Also when another thread holds the publisher's lock at that moment."""
    publisher = JSONLinesPublisher(path, max_bytes=1_000_000)
    publisher.publish_event_metrics(event(1))
    with publisher._lock:
        held = publisher._file
        pid = os.fork()
        if not pid:
            status = 1
            try:
                # In another thread: this one holds the lock in any case.
                writer = threading.Thread(target=publisher.publish_event_metrics, args=(event(2),))
                writer.start()
                writer.join(30)
                status = 0 if not writer.is_alive() and publisher._pid == os.getpid() else 2
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert publisher._file == held
    publisher.publish_event_metrics(event(3))
    publisher.close()
    assert names(path) == ["1", "2", "3"]


def test_kill_9_tears_at_most_one_line(path):
    """The reader passes over it, and a later run goes on in the same file."""
    code = (
        "import sys\n"
        "from volnux.telemetry import EventMetrics, JSONLinesPublisher\n"
        "publisher = JSONLinesPublisher(sys.argv[1])\n"
        "batch = [EventMetrics(event_name='x' * 2000, task_id='a') for _ in range(200)]\n"
        "while True:\n"
        "    publisher.publish_batch(batch)\n"
        "    print('.', end='', flush=True)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    killed.stdout.read(3)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = len(list(read_jsonlines(path)))
    assert before >= 600
    publisher = JSONLinesPublisher(path)
    publisher.publish_event_metrics(event(1))
    publisher.close()
    assert len(list(read_jsonlines(path))) == before + 1


class TestReading:
    """Reading back, and what is wrong with a file in one clear line."""

    def test_a_missing_file_raises_at_the_call(self, path):
        """Not in a loop much later."""
        with pytest.raises(FileNotFoundError):
            read_jsonlines(path)

    def test_an_empty_file_has_no_records(self, path):
        """And blank lines are none."""
        path.write_text("\n\n")
        assert list(read_jsonlines(path)) == []

    BAD = (
        (b"hello", "not JSON: Expecting value"),
        (b'{"kind" 1}', "not JSON: Expecting ':' delimiter"),
        (b"[1, 2]", "not a record: no kind of event or network"),
        (b'{"kind":"span"}', "not a record: no kind of event or network"),
        (b'{"kind":["event"]}', "not a record: no kind of event or network"),
        (b'{"kind":"event"}', "not a record: EventMetrics needs event_name, task_id"),
        (b'{"kind":"event","event_name":"a","task_id":"1","attempts":[7]}', "not a record: "),
        (b'{"kind":"event","event_name":"a","task_id":"1","start_time":7}', "not a record: "),
        (b"\xff\xfe\x00garbage", "not text"),
        (b"[" * 100_000, "not a record: nested too deeply"),
    )

    @pytest.mark.parametrize(("line", "problem"), BAD, ids=range(len(BAD)))
    def test_a_bad_line_raises_with_file_and_number(self, path, line, problem):
        """The records before it have been given out."""
        good = json.dumps(event(1).to_dict()).encode()
        path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
        records = read_jsonlines(path)
        assert next(records) == event(1)
        with pytest.raises(TelemetryError) as caught:
            next(records)
        assert str(caught.value).startswith(f"{path}, line 2: {problem}")

    def test_on_error_hears_of_bad_lines_and_reading_goes_on(self, path):
        """Number and problem; torn lines in the middle are told as well, the last one is not."""
        good = json.dumps(event(1).to_dict()).encode()
        path.write_bytes(b"\n".join([good, b"no", good[:50], good, good[:99]]))
        heard = []
        records = list(read_jsonlines(path, on_error=lambda *args: heard.append(args)))
        assert records == [event(1)] * 2
        assert heard == [(2, "not JSON: Expecting value"), (3, TORN)]

    def test_a_last_line_that_only_lacks_its_end_is_read(self, path):
        """The record is whole."""
        path.write_text(json.dumps(event(1).to_dict()))
        assert list(read_jsonlines(path)) == [event(1)]

    def test_a_file_without_line_breaks_is_one_bad_line(self, path, monkeypatch):
        """However large, only its beginning is read into memory."""
        monkeypatch.setattr("volnux.telemetry.publishers._reading.MAX_LINE", 1_000)
        path.write_bytes(b"{" + b" " * 10_000 + b"\n" + json.dumps(event(1).to_dict()).encode())
        heard = []
        records = list(read_jsonlines(path, on_error=lambda *args: heard.append(args)))
        assert records == [event(1)]
        assert [number for number, _ in heard] == [1]

    def test_a_newer_volnux_s_fields_are_passed_over(self, path):
        """What is known is read."""
        path.write_text(json.dumps({**event(1).to_dict(), "colour": "red"}))
        assert list(read_jsonlines(path)) == [event(1)]


TEXT = st.text(max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(attributes=st.dictionaries(TEXT, PLAIN, max_size=3), cut=st.floats(0, 1, exclude_max=True))
def test_a_line_cut_anywhere_is_torn_and_a_whole_one_comes_back(attributes, cut):
    """Never is a cut line taken for a record, or for something that was no record at all."""
    record = event(1, attributes=attributes, start_time=1.5, end_time=2.5, duration=1.0)
    line = _jsonlines._encode(record.to_dict()).encode()
    assert parse_line(line) == record
    with pytest.raises(ValueError, match=TORN):
        parse_line(line[: max(1, int(len(line) * cut))])
