"""What Prometheus scrapes: a file that it reads again when it changes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scraping(file: str | Path, address: str, **labels: str) -> Iterator[None]:
    """Let Prometheus scrape ``http://ADDRESS/metrics`` while the block lasts.

    It takes up changes every five seconds only: the first sample may take six or seven.

    Args:
        file: what ``VOLNUX_TEST_PROMETHEUS_TARGETS`` says.
        address: HOST:PORT.
        labels: what all samples get besides; ``job`` is "volnux" otherwise, and a label
            ``__metrics_path__`` is another path.
    """
    target = {"targets": [address], "labels": labels}
    with _changing(Path(file)) as targets:
        targets.append(target)
    try:
        yield
    finally:
        with _changing(Path(file)) as targets:
            targets.remove(target)


@contextmanager
def _changing(file: Path) -> Iterator[list[object]]:
    """The list of targets; the file is replaced in one step, by one process at a time."""
    import fcntl

    with file.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        targets = json.loads(file.read_text("utf-8"))
        yield targets
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(targets), "utf-8")
        unfinished.replace(file)
