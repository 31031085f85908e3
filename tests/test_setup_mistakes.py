"""Mistakes in setting up publishers: each raises at once, in words that name the way out."""

from __future__ import annotations

import codecs
import gzip
import io
import tempfile

import pytest

from volnux.telemetry import (
    CompositePublisher,
    ConsolePublisher,
    JSONLinesPublisher,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry._monitor import _flatten
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.testing import RecordingPublisher

NAN, INF = float("nan"), float("inf")


class TestMonitorEvents:
    """The arguments of `monitor_events`."""

    @pytest.mark.parametrize("name", ["queue_items", "queue_bytes"])
    @pytest.mark.parametrize("value", [NAN, INF, 2.5, True, None, "1000"])
    def test_a_bound_is_a_whole_number(self, name, value):
        """A queue without one, or with half a record in it, is none."""
        with pytest.raises(ValueError, match=name) as caught:
            monitor_events(**{name: value})
        assert str(caught.value) == f"{name} must be a whole number above 0, not {value!r}"
        assert not SWITCH.on

    @pytest.mark.parametrize("value", [True, None])
    def test_an_interval_is_a_number(self, value):
        """Not an answer to a question."""
        with pytest.raises(ValueError, match="interval must be a number of seconds above 0"):
            monitor_events(interval=value)


class TestMonitor:
    """The timeouts of `flush` and `close`."""

    @pytest.mark.parametrize("method", ["flush", "close"])
    @pytest.mark.parametrize(
        ("timeout", "kind"),
        [("x", TypeError), (True, TypeError), ([], TypeError), (NAN, ValueError)],
    )
    def test_a_timeout_is_a_number_or_none(self, method, timeout, kind):
        """The message says so, and what was given."""
        with monitor_events(registry=Registry()) as monitor, pytest.raises(kind) as caught:
            getattr(monitor, method)(timeout)
        assert str(caught.value) == (
            f"timeout must be a number of seconds, or None for no limit, not {timeout!r}"
        )

    def test_a_close_that_raises_for_it_can_be_repeated(self):
        """The monitor is open as before, and its publishers get everything."""
        publisher = RecordingPublisher()
        monitor = monitor_events([publisher], registry=Registry())
        with pytest.raises(TypeError, match="timeout"):
            monitor.close("x")
        with traced_event("step"):
            pass
        assert monitor.close(INF)
        assert len(publisher.events) == 1
        assert not SWITCH.on

    def test_a_timeout_that_is_over_is_none_at_all(self):
        """As it comes out of a subtraction."""
        with monitor_events(registry=Registry()) as monitor:
            assert monitor.flush(-0.5)


class TestConsole:
    """The stream of a `ConsolePublisher`."""

    def test_a_binary_file_is_refused(self, tmp_path):
        """Buffered or not: it takes no text."""
        for buffering in (-1, 0):
            with open(tmp_path / "log", "wb", buffering=buffering) as file:
                with pytest.raises(TypeError) as caught:
                    ConsolePublisher(file)
                assert str(caught.value) == (
                    f"ConsolePublisher writes to a text stream, not to {file!r}: "
                    'open it with mode "w" or "a"'
                )

    def test_so_is_what_only_behaves_like_one(self):
        """A temporary file is binary unless asked to be text."""
        with tempfile.NamedTemporaryFile() as file, pytest.raises(TypeError, match="text stream"):
            ConsolePublisher(file)
        with tempfile.NamedTemporaryFile("w") as file:
            ConsolePublisher(file)

    def test_so_is_a_file_that_is_open_for_reading(self, tmp_path):
        """Every record would be refused by it."""
        path = tmp_path / "log"
        path.touch()
        with path.open(encoding="utf-8") as file, pytest.raises(TypeError, match="with mode"):
            ConsolePublisher(file)

    def test_whatever_takes_text_will_do(self, tmp_path):
        """Also what is binary underneath, or lacks all the rest of a stream."""
        written = []
        bare = type("Bare", (), {"write": written.append})()
        encoding = codecs.getwriter("utf-8")(io.BytesIO())
        with gzip.open(tmp_path / "log", "wt") as zipped:
            for stream in (bare, encoding, zipped):
                assert repr(ConsolePublisher(stream)) == f"ConsolePublisher({stream!r})"
        assert "".join(written) == ""

    def test_a_stream_that_is_out_of_order_just_now_is_no_mistake(self):
        """A pipe may break, a disk may be full: that is told when records come."""

        def fail(text):
            raise BrokenPipeError

        stream = type("Broken", (), {"write": staticmethod(fail)})()
        assert repr(ConsolePublisher(stream)) == f"ConsolePublisher({stream!r})"


class TestJSONLines:
    """The arguments of a `JSONLinesPublisher`."""

    @pytest.mark.parametrize("value", ["1MB", 1e6, NAN, True])
    def test_max_bytes_is_a_whole_number(self, tmp_path, value):
        """Or None."""
        with pytest.raises(TypeError) as caught:
            JSONLinesPublisher(tmp_path / "file", max_bytes=value)
        assert str(caught.value) == (
            f"max_bytes must be a whole number, or None for no limit, not {value!r}"
        )

    @pytest.mark.parametrize("value", ["3", 2.5, None])
    def test_backups_is_a_whole_number(self, tmp_path, value):
        """Found here and not when the first file is set aside."""
        with pytest.raises(TypeError) as caught:
            JSONLinesPublisher(tmp_path / "file", backups=value)
        assert str(caught.value) == f"backups must be a whole number, not {value!r}"

    @pytest.mark.parametrize("value", [3, None, b"file"])
    def test_path_is_a_path(self, value):
        """As text, or a `pathlib.Path`."""
        with pytest.raises(TypeError) as caught:
            JSONLinesPublisher(value)
        assert str(caught.value) == f"path must be a str or a pathlib.Path, not {value!r}"


class TestComposite:
    """What a `CompositePublisher` is made of."""

    def test_one_publisher_is_no_list(self):
        """The message says what to write."""
        with pytest.raises(TypeError) as caught:
            CompositePublisher(ConsolePublisher())
        assert str(caught.value) == (
            "publishers must be a list of publishers, not ConsolePublisher(): "
            "write CompositePublisher([ConsolePublisher()])"
        )

    @pytest.mark.parametrize("value", [3, None])
    def test_something_else_is_none_either(self, value):
        """The message says what was given."""
        with pytest.raises(TypeError, match=f"must be a list of publishers, not {value}$"):
            CompositePublisher(value)

    def test_errors_of_the_list_itself_are_its_own(self):
        """A generator that raises is not mistaken for something that is no list."""

        def members():
            raise TypeError("mine")
            yield

        with pytest.raises(TypeError, match=r"^mine$"):
            CompositePublisher(members())


class TestCompositesOfYourOwn:
    """A subclass of `CompositePublisher` that does something is not taken apart."""

    @pytest.mark.parametrize(
        "method",
        ["publish_event_metrics", "publish_network_metrics", "publish_batch", "flush", "close"],
    )
    def test_one_that_overrides_a_method_is_a_publisher(self, method):
        """Or what it does would be passed over."""
        kind = type("Filter", (CompositePublisher,), {method: lambda self, *_: None})
        filtering = kind([RecordingPublisher()])
        assert _flatten([CompositePublisher([filtering])]) == [filtering]

    def test_one_that_overrides_none_is_its_members(self):
        """A name or a constructor of its own changes nothing."""
        one = RecordingPublisher()
        kind = type("Mine", (CompositePublisher,), {"__init__": lambda self: None, "name": "mine"})
        mine = kind()
        mine.publishers = (one,)
        assert _flatten([mine]) == [one]

    def test_a_filter_filters(self):
        """Its members get what it lets through."""

        class Filter(CompositePublisher):
            def publish_event_metrics(self, metrics):
                if metrics.event_name != "noise":
                    super().publish_event_metrics(metrics)

        one, two = RecordingPublisher(), RecordingPublisher()
        with monitor_events(Filter([one, two]), registry=Registry()) as monitor:
            for name in ("noise", "step"):
                with traced_event(name):
                    pass
        assert [record.event_name for record in one.events + two.events] == ["step", "step"]
        assert monitor.health().publishers["Filter"]["delivered"] == 2
