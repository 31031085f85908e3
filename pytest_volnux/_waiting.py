"""Stands in for the session until the process loads volnux.telemetry: nothing is recorded before."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_volnux._apart import keep_apart
from pytest_volnux._children import Children
from pytest_volnux._settings import read_settings
from volnux import _arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pytest_volnux._session import Session


class Waiting:
    """Watches tests that may start processes which record, and makes way for the session.

    Args:
        config: pytest's.
        begin: makes the session, which takes over at once.

    Raises:
        pytest.UsageError: what was asked for makes no sense.

    Attributes:
        settings: what was asked for.
        children: the processes that tests start.
    """

    def __init__(self, config: pytest.Config, begin: Callable[[], Session]) -> None:
        self.settings = read_settings(config)
        self.children = Children()
        self._begin = begin
        self._session: Session | None = None
        self._pid = os.getpid()
        #: The test that runs, and its phase.
        self._item: pytest.Item | None = None
        self._phase = ""
        #: Shared fixtures that are being set up, the outermost first.
        self._around: list[tuple[str, str, ExitStack]] = []
        _arrival.when_loaded(self._loaded)

    def _loaded(self) -> None:
        if os.getpid() == self._pid:
            self._begin()

    def stop(self) -> None:
        """Wait no longer."""
        _arrival.forget(self._loaded)

    def make_way(self, session: Session) -> None:
        """Have the session go on with what goes on."""
        self._session = session
        session.watch_all()
        if self._item is not None:
            session.join(self._item, self._phase)
        for scope, name, turn in self._around:
            turn.enter_context(session.turn(scope, name))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Expect processes of another test."""
        self._item, self._phase = item, "setup"
        self.children.expect(item.nodeid)
        yield from self._run(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test."""
        self._phase = "call"
        yield from self._run(item)
        if self._session is not None:
            self._session.look_into(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """See whether a process has come that recorded something."""
        self._phase = "teardown"
        try:
            yield from self._run(item)
        finally:
            self._look_for_children()
            self._item = None
            if self._session is not None:
                self._session.over(item)

    def _run(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            yield
        except BaseException as error:
            if self._session is not None:
                self._session.show(item, error)
            raise

    def _look_for_children(self) -> None:
        if self._session is None and self.children.have_come():
            self._begin()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Know which shared fixture it is that loads it, if one does."""
        if fixturedef.scope == "function" or self._item is None:
            return (yield)
        return (yield from keep_apart(fixturedef, self._turn))

    @contextmanager
    def _turn(self, scope: str, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            if self._session is not None:
                stack.enter_context(self._session.turn(scope, name))
            self._around.append((scope, name, stack))
            try:
                yield
            finally:
                self._around.pop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Have a session that began meanwhile see whether the run is over its limits."""
        result = yield
        self._look_for_children()
        if self._session is not None:
            self._session.gate(session)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Take in what has come at last."""
        self._look_for_children()
        if self._session is not None:
            self._session.pytest_sessionfinish()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Have the reports written that are written even if nothing was recorded."""
        if any(one.kind != "term" for one in self.settings.reports):
            self._begin().pytest_terminal_summary(terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        self.stop()
        self.children.forget()
