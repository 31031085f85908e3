"""The publishers' base, the composite, and the console."""

from __future__ import annotations

import io
import sys

import pytest

from volnux.telemetry import (
    CompositePublisher,
    ConsolePublisher,
    EventMetrics,
    MetricsPublisher,
    MissingDependencyError,
    NetworkMetrics,
    PublishError,
)
from volnux.telemetry._publisher import require
from volnux.telemetry.publishers._console import event_line, network_line
from volnux.telemetry.testing import FailingPublisher, RecordingPublisher

EVENT = EventMetrics(event_name="fetch", task_id="1", duration=0.0124)
OP = NetworkMetrics(
    host="example.org",
    task_id="2",
    port=443,
    operation="GET",
    latency=0.0381,
    bytes_sent=120,
    bytes_received=5_200,
)


class TestBase:
    """What a publisher inherits."""

    def test_a_batch_goes_one_by_one_to_the_two_methods(self):
        """Whoever calls `publish_batch` need not know which methods are overridden."""
        publisher = RecordingPublisher()
        assert publisher.publish_batch([EVENT, OP]) is None
        assert (publisher.events, publisher.network_ops) == ([EVENT], [OP.to_dict()])

    def test_flush_close_and_name_have_defaults(self):
        """Nothing is held back, nothing to let go of, and the class gives the name."""
        publisher = RecordingPublisher()
        assert publisher.flush(1.0)
        assert publisher.close() is None
        assert MetricsPublisher.name.fget(publisher) == "RecordingPublisher"

    def test_require_imports_what_is_there(self):
        """The module itself, dotted names too."""
        assert require("json", "json") is sys.modules["json"]
        assert require("json.decoder", "json") is sys.modules["json.decoder"]

    @pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
    def test_require_names_the_way_out(self, module):
        """The command that installs what is missing."""
        with pytest.raises(MissingDependencyError, match=r'run pip install "volnux\[prometheus\]"'):
            require(module, "prometheus")

    def test_require_leaves_the_errors_of_a_broken_package_alone(self, tmp_path, monkeypatch):
        """It is installed: installing it would not help."""
        (tmp_path / "broken_package.py").write_text("import no_such_package")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError) as caught:
            require("broken_package", "metrics")
        assert not isinstance(caught.value, MissingDependencyError)


class TestComposite:
    """Called directly, it is all of its members."""

    def test_every_member_gets_every_record(self):
        """Operations as a dict of its own, which it may change."""
        first, second = RecordingPublisher(), RecordingPublisher()
        composite = CompositePublisher([first, CompositePublisher(iter([second]))])
        composite.publish_batch([EVENT, OP])
        first.network_ops[0].clear()
        assert second.events == [EVENT]
        assert second.network_ops == [OP.to_dict()]

    def test_a_member_that_raises_keeps_no_other_from_it(self):
        """The first error is raised when all have had their turn."""
        last = RecordingPublisher()
        failing = [FailingPublisher(OSError("first")), FailingPublisher(OSError("second"))]
        composite = CompositePublisher([*failing, last])
        with pytest.raises(OSError, match="first"):
            composite.publish_event_metrics(EVENT)
        assert last.events == [EVENT]

    def test_flush_and_close_reach_every_member(self):
        """It is flushed when all of them are."""
        calls = []

        class Busy(RecordingPublisher):
            def flush(self, timeout=None):
                calls.append(("flush", timeout))
                return False

            def close(self, timeout=None):
                calls.append(("close", timeout))

        composite = CompositePublisher([Busy(), RecordingPublisher()])
        assert not composite.flush(2.0)
        composite.close(3.0)
        assert calls == [("flush", 2.0), ("close", 3.0)]
        assert CompositePublisher([]).flush()
        assert repr(CompositePublisher([])) == "CompositePublisher([])"


class TestConsole:
    """One readable line for each record."""

    LINES = (
        (EVENT, "completed  fetch                          12.4 ms\n"),
        (
            EventMetrics(
                event_name="parse",
                task_id="1",
                duration=1.2,
                status="failed",
                error_type="SyntaxError",
                error="invalid syntax",
                retry_count=2,
                items=7,
                attributes={"file": "a.py", "tags": ["x"]},
            ),
            (
                "failed     parse                           1.20 s  attempts=3 items=7 "
                "SyntaxError: invalid syntax file='a.py' tags=['x']\n"
            ),
        ),
        (
            EventMetrics(event_name="x", task_id="1", status="cancelled", error_type="Cancelled"),
            "cancelled  x                              0.00 µs  Cancelled\n",
        ),
    )

    @pytest.mark.parametrize(("record", "line"), LINES)
    def test_an_event(self, record, line):
        """Status, name, duration, then what is particular about it."""
        assert event_line(record) == line

    def test_an_operation(self):
        """What was done where, how long it took, and the bytes each way."""
        assert network_line(OP.to_dict()) == (
            "completed  GET example.org:443            38.1 ms  sent=120 B received=5.20 kB\n"
        )

    def test_an_operation_without_a_port_or_with_an_ipv6_address(self):
        """As addresses are written."""
        lines = [
            network_line({**OP.to_dict(), "host": host, "port": port}).split()[2]
            for host, port in (("/run/db.sock", None), ("::1", 80), ("::1", None))
        ]
        assert lines == ["/run/db.sock", "[::1]:80", "::1"]

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0, "0.00 µs"),
            (0.0000999, "99.9 µs"),
            (0.001, "1.00 ms"),
            (0.0999, "99.9 ms"),
            (0.99, "990 ms"),
            (1.0, "1.00 s"),
            (9.999, "10.0 s"),
            (86_400.0, "86400 s"),
        ],
    )
    def test_durations_have_a_fitting_unit(self, seconds, text):
        """Three digits that count."""
        line = event_line(EventMetrics(event_name="x", task_id="1", duration=seconds))
        assert line.split("x", 1)[1].strip() == text

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (5 * 10**9, "5.00 GB"),
            (5 * 10**12, "5.00 TB"),
            (10**16, "10000 TB"),
        ],
    )
    def test_sizes_have_a_fitting_unit(self, count, text):
        """By thousands, as networks count."""
        assert f"sent={text} received" in network_line({**OP.to_dict(), "bytes_sent": count})

    def test_control_characters_are_escaped(self):
        """No record writes to the terminal by itself, or fakes a line."""
        nasty = "\x1b[2J\n\r\x9b\u202e\ud800"
        record = EventMetrics(
            event_name=nasty,
            task_id="1",
            status="failed",
            error_type="E" + nasty,
            error=nasty,
            attributes={nasty: nasty},
        )
        line = event_line(record)
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
        assert "\\x1b[2J\\n\\r\\x9b\\u202e\\ud800" in line

    def test_long_values_are_cut(self):
        """A line stays a line."""
        record = EventMetrics(event_name="x", task_id="1", attributes={"page": "y" * 10_000})
        assert event_line(record).endswith("page='" + "y" * 58 + "…\n")

    def test_a_stream_gets_whole_lines(self):
        """One by one, or many at once."""
        stream = io.StringIO()
        publisher = ConsolePublisher(stream)
        publisher.publish_event_metrics(EVENT)
        publisher.publish_network_metrics(OP.to_dict())
        publisher.publish_batch([EVENT, OP])
        assert publisher.flush()
        assert stream.getvalue() == (event_line(EVENT) + network_line(OP.to_dict())) * 2
        assert repr(publisher) == f"ConsolePublisher({stream!r})"

    def test_by_default_it_is_what_stderr_is_at_that_moment(self, capsys):
        """Also when that has been replaced meanwhile."""
        publisher = ConsolePublisher()
        publisher.publish_event_metrics(EVENT)
        assert capsys.readouterr().err == event_line(EVENT)
        assert repr(publisher) == "ConsolePublisher()"

    def test_without_a_console_nothing_happens(self, monkeypatch):
        """As under pythonw."""
        monkeypatch.setattr(sys, "stderr", None)
        publisher = ConsolePublisher()
        publisher.publish_event_metrics(EVENT)
        assert publisher.flush()

    def test_characters_that_the_stream_cannot_take_are_escaped(self):
        """A terminal in ASCII raises nothing."""
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        ConsolePublisher(stream).publish_event_metrics(EventMetrics(event_name="é", task_id="1"))
        assert stream.buffer.getvalue().startswith(b"completed  \\xe9 ")

    @pytest.mark.parametrize("stream", ["log.txt", 2, object()])
    def test_what_cannot_be_written_to_is_refused_at_once(self, stream):
        """The name of a file is none."""
        with pytest.raises(TypeError, match=r"^ConsolePublisher writes to a text stream, not to "):
            ConsolePublisher(stream)

    def test_a_closed_stream_is_a_permanent_failure(self):
        """There is nothing to wait for."""
        stream = io.StringIO()
        stream.close()
        publisher = ConsolePublisher(stream)
        with pytest.raises(PublishError) as caught:
            publisher.publish_event_metrics(EVENT)
        assert caught.value.permanent
        assert publisher.flush()
