"""The plugin itself: there once something is asked of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_volnux import _reports
from pytest_volnux._apart import keep_apart
from pytest_volnux._capture import Capture
from pytest_volnux._children import Children
from pytest_volnux._ledger import Ledger
from pytest_volnux._off import Off
from pytest_volnux._settings import read_settings
from pytest_volnux._tally import Tally
from volnux.telemetry._budget import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

    from pytest_volnux._budgets import Allowance
    from pytest_volnux._capture import Attempt
    from pytest_volnux._fixture import VolnuxFixture
    from pytest_volnux._waiting import Waiting
    from volnux.telemetry import Clock, Registry

#: What a report carries from a worker to the controller.
_PARTS = "volnux_parts"
_JUNIT = "volnux."


class Session:
    """Records, attributes, checks and reports.

    Args:
        config: pytest's.
        waiting: what stood in for it, if something did.

    Raises:
        pytest.UsageError: what was asked for makes no sense.
    """

    def __init__(self, config: pytest.Config, waiting: Waiting | None = None) -> None:
        self._config = config
        self._settings = read_settings(config) if waiting is None else waiting.settings
        self._children = Children() if waiting is None else waiting.children
        self._off = Off(config)
        self._is_worker = hasattr(config, "workerinput")
        self._capture = Capture(self._children)
        if self._settings.lint:
            self._capture.note_strays()
        self._has_junit = any(it.kind == "junit" for it in self._settings.reports)
        #: What is on its way from a worker to the controller.
        self._ready: list[dict[str, Any]] = []
        self._tally = Tally(
            self._settings.slow,
            self._settings.kept,
            parts=self._ready if self._is_worker else None,
        )
        self._ledger = Ledger(self._capture, self._tally)
        self._watches_all = False
        self._asking: set[str] = set()
        self._allowances: dict[str, Allowance] = {}
        # They would be called three times for each test, for nothing.
        if not self._is_worker:
            self.pytest_runtest_makereport = None  # type: ignore[method-assign, assignment]
        if config.getoption("dist", "no") == "no":
            self.pytest_runtest_logreport = None  # type: ignore[method-assign, assignment]

    # -- what is asked for -----------------------------------------------------------------------

    def watch_all(self) -> None:
        """Record from now on, to the end of the run, also between tests."""
        if not self._watches_all:
            self._watches_all = True
            self._capture.switch_on()

    def collected(self, items: Sequence[pytest.Item], asking: Sequence[pytest.Item]) -> None:
        """See what the tests say of themselves."""
        if self._settings.budget or asking:
            from pytest_volnux._budgets import allowance_of

            for item in items if self._settings.budget else asking:
                marks = item.iter_markers("volnux")
                self._allowances[item.nodeid] = allowance_of(marks, self._settings.budget)
        self._asking |= {item.nodeid for item in asking}
        self._off.collected(len(asking), has_budgets=bool(BUDGETS))
        if any("volnux_session" in getattr(item, "fixturenames", ()) for item in asking):
            self.watch_all()

    def asked(self, item: pytest.Item) -> None:
        """Begin with a test that asks for a fixture only while it runs, and has no attempt yet."""
        if self._capture.attempt is None:
            self._off.asked()
            self._off.check()
            self._asking.add(item.nodeid)
            self._capture.switch_on()
            self._start(item)

    def join(self, item: pytest.Item, phase: str) -> None:
        """Begin in the middle of a test, whose processes are expected already."""
        self._capture.start(item.nodeid)
        if phase != "setup":
            self._capture.begin(phase)

    def turn(self, scope: str, name: str) -> AbstractContextManager[None]:
        """Give the turn to a fixture that several tests share, and back."""
        return self._capture.fixture(scope, name)

    def _start(self, item: pytest.Item) -> None:
        self._children.expect(item.nodeid)
        allowance = self._allowances.get(item.nodeid)
        self._capture.start(item.nodeid, () if allowance is None else allowance.allow_failed)

    def fixture(self) -> VolnuxFixture:
        """Return the fixture of a test: one for each of its attempts."""
        from pytest_volnux._fixture import VolnuxFixture

        attempt = self._capture.attempt

        def registries() -> Sequence[Registry]:
            if attempt is None:
                return ()
            self._capture.bring_home()
            return attempt.watches

        self._capture.turns.places = {}  # which takes its time, and only who has this can ask
        made = VolnuxFixture(registries)
        if attempt is not None:
            attempt.fixture = made
        return made

    def so_far(self) -> Registry:
        """Return what has been recorded in the run, the attempt that goes on included."""
        return self._ledger.so_far()

    def set_clock(self, clock: Clock | None) -> None:
        """Time the rest of this attempt by a clock, or by the system's again."""
        self._capture.set_clock(clock)

    # -- what runs -------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin an attempt of a test that is asked about; one that is run again begins another."""
        if not self._watches_all and item.nodeid not in self._asking:
            return (yield)
        if self._capture.attempt is not None:  # it was interrupted
            self._finish()
        if self._has_junit:
            _forget_properties(item)
        if not self._watches_all:
            self._capture.switch_on()
        self._start(item)
        try:
            return (yield)
        except BaseException as error:
            self.show(item, error)
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test, and see whether it kept to its budget."""
        if self._capture.attempt is None:
            return (yield)
        self._capture.begin("call")
        try:
            result = yield
        except BaseException as error:
            self.show(item, error)
            raise
        self.look_into(item)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Take the fixtures down, and end the attempt."""
        if self._capture.attempt is None:
            return (yield)
        self._capture.begin("teardown")
        try:
            return (yield)
        except BaseException as error:
            self.show(item, error)
            raise
        finally:
            self.over(item)

    def over(self, item: pytest.Item) -> None:
        """End the attempt: its fixtures have been taken down."""
        self._capture.bring_home()
        if self._has_junit and self._capture.attempt is not None:
            _set_properties(item, self._capture.attempt)
        self._finish()

    def _finish(self) -> None:
        if self._ledger.finish_attempt() is not None and not self._watches_all:
            self._capture.switch_off()

    def look_into(self, item: pytest.Item) -> None:
        """See whether a test that passes kept to its budget, and left nothing behind."""
        __tracebackhide__ = True
        attempt = self._capture.attempt
        if self._off.text:
            self._off.check()
        allowance = self._allowances.get(item.nodeid)
        if attempt is None or (allowance is None and not BUDGETS and not self._settings.lint):
            return
        from pytest_volnux._verdict import is_over, lint

        self._capture.bring_home()
        wrong = is_over(attempt, allowance)
        if wrong is not None:
            pytest.fail(wrong, pytrace=False)
        if self._settings.lint and (allowance is None or allowance.lint):
            lint(item, attempt, as_failure=self._settings.lint == "fail")

    def show(self, item: pytest.Item, error: BaseException) -> None:
        """Have a failure say what happened, as it shows what was logged, unless it does so itself."""
        from pytest_volnux._facts import Facts
        from pytest_volnux._failing import SHOWN
        from pytest_volnux._text import tree

        attempt = self._capture.attempt
        if attempt is None or hasattr(error, SHOWN):
            return
        self._capture.bring_home()
        facts = Facts(attempt.watches)
        lines = tree(facts, facts.failures(), indent="")
        if lines:
            item.add_report_section(attempt.phase, "volnux", "\n".join(lines) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have the report of a phase carry what was recorded in it, from a worker to the controller."""
        report = yield
        if self._ready and self._capture.attempt is None and type(report) is pytest.TestReport:
            setattr(report, _PARTS, json.dumps(self._ready, ensure_ascii=True, default=repr))
            self._ready.clear()
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Keep what a fixture records that several tests share apart from the first of them."""
        if fixturedef.scope == "function" or self._capture.attempt is None:
            return (yield)
        return (yield from keep_apart(fixturedef, self.turn))

    # -- the whole run ---------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a worker's report carries."""
        parts = getattr(report, _PARTS, None)
        if parts is not None and not self._is_worker:
            self._ledger.take(json.loads(parts))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Add everything up, also when the run was interrupted, and its fixtures have just ended."""
        self._ledger.finish()
        self._tally.finish()
        if self._is_worker:
            late = json.dumps(self._ready, ensure_ascii=True, default=repr)
            self._config.workeroutput["volnux"] = late  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker hands over; one that was killed hands nothing over."""
        late = (getattr(node, "workeroutput", None) or {}).get("volnux")
        if late is not None:
            self._ledger.take(json.loads(late))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Fail the run if it is over its limits."""
        result = yield
        self.gate(session)
        return result

    def gate(self, session: pytest.Session) -> None:
        """Fail the run if it is over its limits; all tests have run."""
        if not self._is_worker:
            self._ledger.finish()
            if _reports.over_limits(self._settings, self._tally):
                session.testsfailed += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what happened, and write what is to be written."""
        if not self._is_worker:
            _reports.report(self._settings, self._tally, terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Record no more."""
        self._capture.close()


def _forget_properties(item: pytest.Item) -> None:
    """Take away what an earlier attempt has told the JUnit file."""
    item.user_properties[:] = [
        (name, value) for name, value in item.user_properties if not name.startswith(_JUNIT)
    ]


def _set_properties(item: pytest.Item, attempt: Attempt) -> None:
    """Tell the JUnit file what happened in the test, if anything did."""
    from pytest_volnux._facts import Facts, bytes_of

    facts = Facts(attempt.watches)
    numbers = {
        "events": len(facts.events),
        "failed": len(facts.failures()),
        "retries": sum(event.retry_count for event in facts.events),
        "network_ops": len(facts.ops),
        "bytes": bytes_of(facts.ops),
    }
    if facts:
        item.user_properties.extend((_JUNIT + name, value) for name, value in numbers.items())
