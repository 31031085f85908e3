"""The plugin itself: there once something is asked of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_volnux import _reports
from pytest_volnux._budgets import Allowance, allowance_of
from pytest_volnux._capture import OUTSIDE, Capture
from pytest_volnux._check import check
from pytest_volnux._facts import Facts, bytes_of
from pytest_volnux._failing import SHOWN
from pytest_volnux._fixture import VolnuxFixture
from pytest_volnux._lint import LintWarning, lint, text_of
from pytest_volnux._settings import read_settings
from pytest_volnux._tally import Tally
from pytest_volnux._text import tree
from volnux.telemetry._budget import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from volnux.telemetry import Clock, Registry
    from volnux.telemetry._watch import Watch

_ALLOWANCE = pytest.StashKey[Allowance]()
_NOTHING = Allowance()
_FIXTURE = pytest.StashKey[VolnuxFixture]()
#: What a report carries from a worker to the controller.
_PARTS = "volnux_parts"
_JUNIT = "volnux."


class Session:
    """Records, attributes, checks and reports.

    Args:
        config: pytest's.

    Raises:
        pytest.UsageError: what was asked for makes no sense.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._settings = read_settings(config)
        self._is_worker = hasattr(config, "workerinput")
        self._capture = Capture()
        self._tally = Tally(self._settings.slow, self._settings.kept)
        self._watches_all = False
        self._asking: set[str] = set()
        #: What has recorded something, and whose it is; until all in it has ended.
        self._held: list[tuple[str, str, Watch]] = []
        self._ready: list[dict[str, Any]] = []
        self._over = True
        if not self._is_worker:  # it would be called three times for each test, for nothing
            self.pytest_runtest_makereport = None  # type: ignore[method-assign, assignment]

    # -- what is asked for -----------------------------------------------------------------------

    def watch_all(self) -> None:
        """Record from now on, to the end of the run, also between tests."""
        if not self._watches_all:
            self._watches_all = True
            self._capture.begin()

    def collected(self, items: Sequence[pytest.Item], asking: Sequence[pytest.Item]) -> None:
        """See what the tests say of themselves."""
        for item in items if self._settings.budget else asking:
            marks = item.iter_markers("volnux")
            item.stash[_ALLOWANCE] = allowance_of(marks, self._settings.budget)
        self._asking |= {item.nodeid for item in asking}
        if any("volnux_session" in getattr(item, "fixturenames", ()) for item in asking):
            self.watch_all()

    def fixture(self, item: pytest.Item) -> VolnuxFixture:
        """Return the fixture of a test: one for each of its attempts."""
        attempt = self._capture.attempt

        def registries() -> list[Registry]:
            if attempt is None:
                return []
            self._capture.bring_home()
            return list(attempt.watches())

        self._capture.turns.places = {}  # which takes its time, and only who has this can ask
        item.stash[_FIXTURE] = made = VolnuxFixture(registries)
        return made

    def so_far(self) -> Registry:
        """Return what has been recorded in the run, the attempt that goes on included."""
        whole = self._tally.whole()
        for watch in () if self._capture.attempt is None else self._capture.attempt.watches():
            if watch is self._capture.turns.now:
                whole.merge(watch.export())
        return whole

    def set_clock(self, clock: Clock | None) -> None:
        """Time the rest of this attempt by a clock, or by the system's again."""
        self._capture.set_clock(clock)

    # -- what runs -------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Record while a test runs that is asked about."""
        asked = self._watches_all or item.nodeid in self._asking
        if not asked:
            return (yield)
        if not self._watches_all:
            self._capture.begin()
        try:
            return (yield)
        finally:
            attempt = self._capture.finish()
            if attempt is not None:
                self._capture.reuse(attempt, (watch for _, _, watch in self._held))
            self._capture.attempt = None
            if not self._watches_all:
                self._capture.end()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin an attempt; a test that is run again begins another."""
        if not self._watches_all and item.nodeid not in self._asking:
            return (yield)
        self._capture.start(item.nodeid)
        if _FIXTURE in item.stash:  # the last attempt's
            del item.stash[_FIXTURE]
        _forget_properties(item)
        return (yield from self._phase(item, "setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test, and see whether it kept to its budget."""
        if self._capture.attempt is None:
            return (yield)
        return (yield from self._phase(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Take the fixtures down."""
        if self._capture.attempt is None:
            return (yield)
        return (yield from self._phase(item, "teardown"))

    def _phase(self, item: pytest.Item, when: str) -> Generator[None, None, None]:
        capture = self._capture
        self._over = False
        capture.phase(when)
        try:
            try:
                yield
            except BaseException as error:
                if not hasattr(error, SHOWN):
                    self._show(item, when)
                raise
            if when == "call":
                capture.bring_home()
                self._look_into(item)
        finally:
            if when == "teardown":
                capture.bring_home()
            capture.phase_over(when)
            self._over = True
            self._take(item, when)

    def _look_into(self, item: pytest.Item) -> None:
        """See whether a test that passes kept to its budget, and left nothing behind."""
        __tracebackhide__ = True
        attempt = self._capture.attempt
        allowance = item.stash.get(_ALLOWANCE, _NOTHING)
        if allowance is _NOTHING and not BUDGETS and not self._settings.lint:
            return
        if BUDGETS:
            allowance = allowance.under(BUDGETS)
        if attempt is None or not (allowance or self._settings.lint):
            return
        facts = Facts(attempt.watches())
        fixture = item.stash.get(_FIXTURE, None)
        allowed = fixture.allowed if fixture is not None else ()
        wrong = check(allowance, facts, allowed) if allowance else None
        if wrong is not None:
            pytest.fail(wrong, pytrace=False)
        if self._settings.lint and allowance.lint:
            self._lint(item, facts, (*allowance.allow_failed, *allowed))

    def _lint(self, item: pytest.Item, facts: Facts, allowed: Sequence[str]) -> None:
        __tracebackhide__ = True
        attempt = self._capture.attempt
        found = lint(facts, attempt.phases["call"] if attempt else (), allowed)
        if found and self._settings.lint == "fail":
            pytest.fail(text_of(found, facts), pytrace=False)
        try:
            for sentence, _ in found:
                item.warn(LintWarning(sentence))
        except LintWarning:  # somebody's filter makes an error of it
            pytest.fail(text_of(found, facts), pytrace=False)

    def _show(self, item: pytest.Item, when: str) -> None:
        """Have a failure say what happened, as it shows what was logged."""
        attempt = self._capture.attempt
        facts = Facts([] if attempt is None else attempt.watches())
        lines = tree(facts, facts.failures(), indent="")
        if lines:
            item.add_report_section(when, "volnux", "\n".join(lines) + "\n")

    def _take(self, item: pytest.Item, when: str) -> None:
        """Add up what a phase has recorded, and what fixtures have meanwhile."""
        attempt = self._capture.attempt
        if attempt is None:
            return
        self._held += [("test", item.nodeid, it) for it in attempt.phases.get(when, ())]
        for (scope, name), watches in self._capture.fixtures.items():
            self._held += [("fixture", f"{name} ({scope})", it) for it in watches]
        self._capture.fixtures.clear()
        if self._held:
            self._add_up(all_of_them=False)
        if when == "teardown" and any(it.kind == "junit" for it in self._settings.reports):
            _set_properties(item, Facts(attempt.watches()))

    def _add_up(self, *, all_of_them: bool) -> None:
        """Add up what has been recorded and not been added up yet, if all in it has ended."""
        held, self._held = self._held, []
        for kind, where, watch in held:
            if not all_of_them and watch.is_in_flight():
                self._held.append((kind, where, watch))
            elif not watch.has_entries():
                pass
            elif self._is_worker:
                self._ready.append(self._tally.part(kind, where, watch))
            else:
                self._tally.take(kind, where, watch)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have the report of a phase carry what was recorded in it, from a worker to the controller."""
        report = yield
        if self._ready and self._over and type(report) is pytest.TestReport:
            ready, self._ready = self._ready, []
            setattr(report, _PARTS, json.dumps(ready, ensure_ascii=True, default=repr))
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Keep what a fixture records that several tests share apart from the first of them."""
        if fixturedef.scope == "function" or self._capture.attempt is None:
            return (yield)
        name, scope = fixturedef.argname, fixturedef.scope
        taken_down: list[Any] = []
        # The last to be called at the end, and the first.
        fixturedef.addfinalizer(
            lambda: taken_down.pop().__exit__(None, None, None) if taken_down else None
        )
        try:
            with self._capture.fixture(scope, name):
                return (yield)
        finally:

            def begin() -> None:
                turn = self._capture.fixture(scope, name)
                turn.__enter__()
                taken_down.append(turn)

            fixturedef.addfinalizer(begin)

    # -- the whole run ---------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a worker's report carries."""
        parts = getattr(report, _PARTS, None)
        if parts is not None and not self._is_worker:
            for part in json.loads(parts):
                self._tally.add(part)

    def pytest_sessionfinish(self) -> None:
        """Have a worker hand over what belongs to no test."""
        if self._is_worker:
            self._add_up_the_rest()
            late = json.dumps(self._ready, ensure_ascii=True, default=repr)
            self._config.workeroutput["volnux"] = late  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker hands over; one that was killed hands nothing over."""
        late = (getattr(node, "workeroutput", None) or {}).get("volnux")
        if late is not None:
            for part in json.loads(late):
                self._tally.add(part)

    def _add_up_the_rest(self) -> None:
        """Add up what belongs to no phase of a test, and what has not ended."""
        self._capture.bring_home()
        self._held += [("orphans", nodeid, it) for nodeid, it in self._capture.orphaned]
        if self._watches_all:
            self._held.append(("outside", OUTSIDE, self._capture.outside))
        self._add_up(all_of_them=True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Add everything up, and fail the run if it is over its limits."""
        result = yield
        if not self._is_worker:
            self._add_up_the_rest()
            self._tally.finish()
            if _reports.over_limits(self._settings, self._tally):
                session.testsfailed += 1
        return result

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


def _set_properties(item: pytest.Item, facts: Facts) -> None:
    """Tell the JUnit file what happened in the test, if anything did."""
    numbers = {
        "events": len(facts.events),
        "failed": len(facts.failures()),
        "retries": sum(event.retry_count for event in facts.events),
        "network_ops": len(facts.ops),
        "bytes": bytes_of(facts.ops),
    }
    if facts:
        item.user_properties.extend((_JUNIT + name, value) for name, value in numbers.items())
