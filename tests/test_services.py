"""Starting real servers: the part of it that needs none of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import (
    __main__,
    _cache,
    _commands,
    _fleet,
    _java,
    _ports,
    _processes,
    _state,
    fixtures,
)
from tests.services._errors import ServiceError
from tests.services._processes import Process
from tests.services._server import Launch, Server
from tests.services._state import Running
from tests.services.targets import scraping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="servers run in Linux only")


class Fake(Server):
    """A server that is a program of the shell."""

    name = "fake"
    distribution = "fake-1"

    def __init__(self, script="exec sleep 600", *, is_ready=True, limit=30.0):
        self.script = script
        self.limit = limit
        self._is_ready = is_ready

    def install(self, folder):
        (folder / "program").write_text("", "utf-8")

    def launch(self, distribution, folder):
        return Launch(["sh", "-c", self.script], {"FAKE_URL": "a 'b'"})

    def is_ready(self, variables):
        return self._is_ready


@pytest.fixture(name="cache", autouse=True)
def _cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VOLNUX_SERVICES_CACHE", str(folder))
    yield folder
    _fleet.down([Fake()])


@contextmanager
def running(tmp_path, script):
    process = _processes.start(["sh", "-c", script], {}, tmp_path / "log")
    try:
        yield process
    finally:
        _processes.stop(process, patience=0)


def saved(process):
    server = Running("fake", "fake-1", process, "somewhere", {"A": "b"})
    _state.save(server)
    return server


class TestState:
    """What an earlier run has written down."""

    def test_a_server_that_runs_is_found(self, tmp_path):
        """All that was saved of it comes back, as long as its process lives."""
        with running(tmp_path, "exec sleep 600") as process:
            server = saved(process)
            assert _state.load("fake") == server
        assert _state.load("fake") is None

    def test_a_process_id_that_was_given_away_again_is_not_ours(self):
        """The id of a living process is not enough: it must have begun when ours did."""
        saved(Process(os.getpid(), "another boot 12345"))
        assert _state.load("fake") is None

    @pytest.mark.parametrize("text", ["", '{"name": "fa', "[]", '{"name": "fake"}'])
    def test_a_torn_file_counts_as_none(self, cache, text):
        """A file that cannot be understood is in nobody's way."""
        path = cache / "run" / "fake.json"
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
        assert _state.load("fake") is None

    def test_nobody_else_may_read_it(self, cache):
        """There are passwords in it."""
        saved(Process(1, ""))
        assert (cache / "run" / "fake.json").stat().st_mode & 0o777 == 0o600


class TestProcesses:
    """Groups of processes."""

    def test_all_of_a_group_end(self, tmp_path):
        """Children of the first process end with it."""
        with running(tmp_path, "sleep 600 & exec sleep 600") as process:
            _processes.stop(process)
            assert not _processes._has_members(process.pid)

    def test_one_that_does_not_listen_is_killed(self, tmp_path):
        """After the time that it had to end by itself."""
        fifo = tmp_path / "ready"
        os.mkfifo(fifo)
        with running(tmp_path, f"trap '' TERM; echo > {fifo}; exec sleep 600") as process:
            fifo.read_text("utf-8")
            _processes.stop(process, patience=0.01)
            assert not _processes.is_running(process)

    def test_a_stranger_is_left_alone(self):
        """What has our process id, but did not begin when ours did, is not stopped."""
        _processes.stop(Process(os.getpid(), "another boot 12345"))


class TestLock:
    """Two runs at the same time."""

    def test_the_second_waits_for_the_first(self, monkeypatch):
        """It says that it waits, and goes on when the first is done."""
        steps, waits = [], threading.Event()
        monkeypatch.setattr(_cache, "say", lambda text: (steps.append(text), waits.set()))

        def second():
            with _cache.locked("fake"):
                steps.append("second")

        thread = threading.Thread(target=second)
        with _cache.locked("fake"):
            thread.start()
            assert waits.wait(10)
            steps.append("first")
        thread.join(10)
        assert steps == ["fake: waiting for whoever is at work on it …", "first", "second"]

    def test_a_killed_run_holds_nothing(self):
        """The kernel lets go of its locks."""
        code = (
            "from tests.services._cache import locked\n"
            "with locked('fake'): print(flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        ) as holder:
            assert holder.stdout.readline() == b"\n"
            holder.kill()
        with _cache.locked("fake"):
            pass


class TestInstalling:
    """Folders of the cache."""

    def test_it_is_done_once(self, cache):
        """What is there is not installed again."""
        folders = [_cache.installed("fake-1", Fake().install) for _ in range(2)]
        assert folders == [cache / "fake-1"] * 2
        assert [path.name for path in folders[0].iterdir()] == ["program"]
        assert _cache.installed("fake-1", lambda folder: pytest.fail("again")) == folders[0]

    def test_half_an_installation_is_none(self, cache):
        """An interrupted one leaves nothing that is taken for a server, and the next one starts afresh."""

        def interrupted(folder):
            (folder / "half").write_text("", "utf-8")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            _cache.installed("fake-1", interrupted)
        assert not (cache / "fake-1").exists()
        _cache.installed("fake-1", Fake().install)
        assert [path.name for path in cache.glob("fake-1*/*")] == ["program"]


class TestPorts:
    """Free ports."""

    def test_they_differ(self):
        """Each is another one, below those that the kernel gives away."""
        ports = _ports.free_ports(20)
        assert len(set(ports)) == 20
        assert set(ports) <= set(_ports.RANGE)

    def test_one_that_is_taken_is_passed_over(self, monkeypatch):
        """A port that somebody listens on is not free."""
        taken, free = _ports.free_ports(2)
        with socket.create_server((_ports.LOOPBACK, taken)):
            monkeypatch.setattr(_ports, "RANGE", [taken, free])
            assert _ports.free_ports(1) == [free]


class TestErrors:
    """Texts that name the way out."""

    def test_a_missing_program(self, monkeypatch, tmp_path):
        """It says how to get it."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ServiceError, match=r"mvn is not on the PATH: install Maven"):
            _commands.program("mvn")

    def test_a_command_that_fails(self, tmp_path):
        """It shows the end of what the command said."""
        with pytest.raises(ServiceError) as caught:
            _commands.run(["sh", "-c", "seq 100; echo no such version; exit 3"], tmp_path)
        lines = str(caught.value).splitlines()
        assert "failed with status 3" in lines[0]
        assert lines[1] == f"  The end of {tmp_path / 'install.log'}:"
        assert lines[-2:] == ["  | 100", "  | no such version"]

    def test_no_java_that_will_do(self, monkeypatch, tmp_path):
        """It says which one to install."""
        monkeypatch.setattr(_java, "MACHINES", tmp_path)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        with pytest.raises(ServiceError, match=r"Java 21 or newer.*openjdk-21-jre-headless"):
            _java.java_home(21)

    def test_a_server_that_ends(self, cache):
        """It shows the end of the server's log, and what to do."""
        with pytest.raises(ServiceError) as caught:
            _fleet.start(Fake("echo the port is taken", is_ready=False))
        text = str(caught.value)
        assert "it ended before it was ready" in text
        assert f"delete {cache / 'fake-1'}; then: python -m tests.services up fake" in text
        assert text.endswith("  | the port is taken")

    def test_a_server_that_does_not_get_ready(self):
        """It is stopped when its time is over."""
        with pytest.raises(ServiceError, match=r"it was not ready within 0 s"):
            _fleet.start(Fake(is_ready=False, limit=0))
        assert _state.load("fake") is None


class TestJava:
    """Which Java a server gets."""

    def test_it_is_the_oldest_that_will_do(self, monkeypatch, tmp_path):
        """JAVA_HOME is one of those that there are; what has no program is none."""
        monkeypatch.setattr(_java, "MACHINES", tmp_path / "jvm")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "chosen"))
        for name, version in [("chosen", 25), ("jvm/a", 17), ("jvm/b", 21), ("jvm/empty", 22)]:
            (tmp_path / name / "bin" / "java").mkdir(parents=True)
            text = f'X="1"\nJAVA_VERSION="{version}.0.1"\n'
            (tmp_path / name / "release").write_text(text, "utf-8")
        (tmp_path / "jvm" / "empty" / "bin" / "java").rmdir()
        found = [_java.java_home(oldest).name for oldest in (17, 18, 22)]
        assert found == ["a", "b", "chosen"]


class TestFleet:
    """Starting and stopping."""

    def test_a_server_that_runs_is_used_again(self):
        """The second time, it is the same process."""
        assert _fleet.start(Fake()) == _fleet.start(Fake())

    def test_another_version_replaces_it(self, monkeypatch):
        """What runs from another distribution is stopped first."""
        old = _fleet.start(Fake())
        monkeypatch.setattr(Fake, "distribution", "fake-2")
        assert _fleet.start(Fake()).distribution == "fake-2"
        assert not _processes.is_running(old.process)

    def test_one_that_fails_leaves_the_others(self, capsys):
        """Its error is told, and what does run is returned."""
        broken = Fake("exit 1", is_ready=False)
        broken.name = "broken"
        assert [one.name for one in _fleet.up([broken, Fake()])] == ["fake"]
        assert "broken: it ended before it was ready" in capsys.readouterr().err

    def test_down_ends_what_runs(self):
        """It returns what it has ended, and nothing the second time."""
        server = _fleet.start(Fake())
        assert _fleet.down([Fake()]) == [server]
        assert not _processes.is_running(server.process)
        assert _fleet.down([Fake()]) == []


class TestCommand:
    """``python -m tests.services``."""

    @pytest.fixture(autouse=True)
    def _servers(self, monkeypatch):
        monkeypatch.setattr(__main__, "SERVERS", {"fake": Fake()})

    def test_a_shell_can_read_what_up_prints(self, capsys):
        """Values come back as they were, and progress is elsewhere."""
        assert __main__.main(["up", "fake"]) == 0
        script = capsys.readouterr().out + 'printf %s "$VOLNUX_TEST_FAKE_URL"'
        assert subprocess.check_output(["sh", "-c", script], text=True) == "a 'b'"

    def test_status_says_what_runs(self, capsys):
        """In comments, between which the variables stand."""
        assert __main__.main(["status"]) == 1
        assert capsys.readouterr().out == "# fake does not run\n"
        pid = _fleet.start(Fake()).process.pid
        assert __main__.main(["status"]) == 0
        comment, export = capsys.readouterr().out.splitlines()
        assert comment.startswith(f"# fake runs from fake-1, process {pid}, in ")
        assert export.startswith("export VOLNUX_TEST_FAKE_URL=")

    def test_a_name_that_is_none(self):
        """The answer lists those that there are."""
        with pytest.raises(SystemExit, match=r"there is no server redis; there are fake"):
            __main__.main(["up", "redis"])


class TestFixtures:
    """What tests get."""

    def test_without_variables_they_skip(self, monkeypatch):
        """And say how to get them."""
        monkeypatch.delenv("VOLNUX_TEST_A", raising=False)
        monkeypatch.delenv(fixtures.REQUIRED, raising=False)
        with pytest.raises(pytest.skip.Exception, match=r'eval "\$\(python -m tests.services up x'):
            fixtures._values("x", "A")

    def test_they_fail_where_servers_are_required(self, monkeypatch):
        """Nothing is skipped unseen in CI."""
        monkeypatch.delenv("VOLNUX_TEST_A", raising=False)
        monkeypatch.setenv(fixtures.REQUIRED, "1")
        with pytest.raises(pytest.fail.Exception, match=r"VOLNUX_TEST_A is not set"):
            fixtures._values("x", "A")

    def test_targets_are_scraped_while_the_block_lasts(self, tmp_path):
        """Those of others stay."""
        file = tmp_path / "targets.json"
        file.write_text("[]", "utf-8")
        with scraping(file, "a:1"):
            with scraping(file, "b:2", job="b"):
                assert '"b:2"' in file.read_text("utf-8")
            assert file.read_text("utf-8") == '[{"targets": ["a:1"], "labels": {}}]'
        assert file.read_text("utf-8") == "[]"
