"""Delivery and pools of processes: what their workers have recorded is delivered when the pool ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event

    def begin(path):
        monitor_events([JSONLinesPublisher(path)], interval=3600)

    @traced_event
    def work(number):
        return number

    def run(kind, context, path):
        # What a fork has taken along delivers for the child as well.
        own = {} if context.get_start_method() == "fork" else {"initializer": begin, "initargs": (path,)}
        if kind == "executor":
            with ProcessPoolExecutor(2, context, **own) as pool:
                return list(pool.map(work, range(20)))
        tasks = 1 if kind == "pool of single tasks" else None
        pool = context.Pool(2, maxtasksperchild=tasks, **own)
        try:
            return pool.map(work, range(20), chunksize=1)
        finally:
            pool.close()
            pool.join()

    if __name__ == "__main__":
        kind, method, path = sys.argv[1:]
        begin(path)
        assert run(kind, multiprocessing.get_context(method), path) == list(range(20))
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("kind", ["executor", "pool", "pool of single tasks"])
def test_workers_lose_nothing(tmp_path, kind, method):
    """Nobody flushes, and an interval of an hour: what is there was delivered at the ends of the workers."""
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("there is no fork here")
    script, path = tmp_path / "program.py", tmp_path / "records.jsonl"
    script.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, kind, method, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len({one["task_id"] for one in records}) == len(records) == 20
    assert os.getpid() not in {one["process_id"] for one in records}
