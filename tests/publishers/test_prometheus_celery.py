"""`PrometheusPublisher` in the main process of a celery worker: what its children do is counted there, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from urllib.request import urlopen

import pytest

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(sys.platform == "win32", reason="celery forks nothing there"),
]

APP = """
    import os, signal, sys
    from pathlib import Path
    from celery import Celery
    from celery.signals import worker_init, worker_process_shutdown
    from volnux.telemetry import PrometheusPublisher, monitor_events, traced_event

    here = Path(__file__).parent
    queue = here / "queue"
    queue.mkdir(exist_ok=True)
    app = Celery("app", broker="filesystem://")
    folders = {"data_folder_in": str(queue), "data_folder_out": str(queue)}
    app.conf.broker_transport_options = {**folders, "polling_interval": 0.02}
    app.conf.task_ignore_result = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.worker_lost_wait = 0.1

    def append(file, line):
        with open(here / file, "a") as lines:
            lines.write(f"{line}\\n")

    @worker_init.connect
    def begin(**_):
        global monitor
        publisher = PrometheusPublisher(port=0)
        monitor = monitor_events([publisher], interval=float(os.environ["INTERVAL"]))
        append("port", publisher.port)

    @worker_process_shutdown.connect
    def end(**_):
        monitor.flush(timeout=5)

    @app.task
    @traced_event("task")
    def work():
        append("finished", os.getpid())

    @app.task
    def die():
        with traced_event("dying"):
            append("died", os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        for _ in range(int(sys.argv[2])):
            globals()[sys.argv[1]].delay()
"""


class Worker:
    """A celery worker with two children."""

    def __init__(self, folder, *options, interval):
        self.folder = folder
        (folder / "app.py").write_text(textwrap.dedent(APP))
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    "app",
                    "worker",
                    "-c",
                    "2",
                    *quiet,
                    *options,
                ],
                cwd=folder,
                env={**os.environ, "INTERVAL": interval},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._process.terminate()
        self._process.wait(timeout=20)

    def send(self, task, number):
        """Give it a task so many times."""
        command = [sys.executable, "app.py", task, str(number)]
        subprocess.run(command, cwd=self.folder, check=True, timeout=60)

    def lines(self, file):
        """What the worker and its children have written there so far."""
        path = self.folder / file
        return path.read_text().split() if path.exists() else []

    def counted(self):
        """How many tasks a scrape finds to have ended, by status."""
        (port,) = self.lines("port")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = re.findall(
                r'^volnux_events_total\{event="task",status="(\w+)"\} (\d+)',
                answer.read().decode(),
                re.MULTILINE,
            )
        return {status: int(count) for status, count in found if int(count)}

    def has_counted(self, tasks):
        """Wait until all of so many tasks are finished and counted; then there are no more."""
        deadline = time.monotonic() + 60
        while len(self.lines("finished")) < tasks or self.counted() != {"completed": tasks}:
            counts = f"{len(self.lines('finished'))} finished, {self.lines('port')}"
            assert time.monotonic() < deadline, counts + (self.folder / "log").read_text()
            time.sleep(0.05)
        return len(self.lines("finished")) == tasks


def test_a_killed_child_takes_nothing_along_that_it_had_sent(tmp_path):
    """Both are killed, each in the middle of a task; those in their place are counted with them."""
    with Worker(tmp_path, interval="0.05") as worker:
        worker.send("work", 20)
        assert worker.has_counted(20)
        worker.send("die", 2)
        worker.send("work", 20)
        assert worker.has_counted(40)
        assert len(worker.lines("died")) == 2
        assert set(worker.lines("finished")) - set(worker.lines("died"))


def test_children_of_a_single_task_lose_none(tmp_path):
    """With `max_tasks_per_child=1` each ends at once; celery tells of that, and it is flushed."""
    with Worker(tmp_path, "--max-tasks-per-child", "1", interval="3600") as worker:
        worker.send("work", 6)
        assert worker.has_counted(6)
        assert len(set(worker.lines("finished"))) == 6
