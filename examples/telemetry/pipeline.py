"""Index the source of this Python's standard library, fetched over a network that is not reliable.

    python examples/telemetry/pipeline.py                 the job alone: telemetry is off
    python examples/telemetry/pipeline.py --report        and what telemetry saw, by its queries
    volnux run --report examples/telemetry/pipeline.py    the full report; the program stays as it is

It needs `pip install requests tenacity`, which `python3 run.py demo` does by itself.
The files come from a small HTTP server that this script starts, which answers some requests with
503 and cuts some connections. They are fetched by threads, parsed by processes, loaded into SQLite.
Read on from the top: each stage is a plain function under `@traced_event` or a `with` block.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import platform
import signal
import sqlite3
import sys
import sysconfig
import urllib.parse
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import requests
from _results import Progress, print_results
from _server import Traffic, serve
from _workers import worker_processes
from requests.exceptions import ChunkedEncodingError
from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from volnux.telemetry import (
    get_event_stats,
    get_failed_events,
    get_network_stats,
    get_retry_stats,
    get_slow_events,
    health,
    monitor_events,
    pipeline,
    propagate,
    traced_client,
    traced_event,
)
from volnux.telemetry.retries import traced_retrying

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Executor

FETCHERS = 8
ATTEMPTS = 3
TIMEOUT = 10.0


# -- Stage 1: find the files ------------------------------------------------------------------


@traced_event("discover")
def discover(root: Path) -> Generator[str, None, None]:
    """Yield the Python files under `root`, sorted, as paths relative to it.

    A generator is one event: it is current only while it looks for the next file, and the time its
    consumer takes over each one is not billed to it.
    """
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted({*subfolders} - {"__pycache__", "site-packages", "dist-packages"})
        for name in sorted(files):
            if name.endswith(".py"):
                yield Path(folder, name).relative_to(root).as_posix()


# -- Stage 2: fetch one, in a thread ----------------------------------------------------------


class Unavailable(requests.HTTPError):
    """The host says that it cannot answer now."""


TRANSIENT = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError, Unavailable)

#: One session for all threads. Every exchange that it makes is a network operation, with the bytes
#: that passed its socket, up to where a connection broke.
HTTP = traced_client(requests.Session())
HTTP.trust_env = False  # the host is this machine, whatever proxy there is


@traced_event("fetch")
@traced_retrying
@retry(
    retry=retry_if_exception_type(TRANSIENT),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.05) + wait_random(0, 0.05),
    reraise=True,
)
def fetch(port: int, path: str) -> bytes:
    """Return the file's bytes, trying again after an error that may pass.

    The event has all attempts. What tenacity waits between them is no work: time spent working and
    time spent waiting are two numbers.
    """
    url = f"http://127.0.0.1:{port}/" + urllib.parse.quote(os.fsencode(path))
    response = HTTP.get(url, timeout=TIMEOUT)
    if response.status_code == requests.codes.unavailable:
        raise Unavailable(f"503 for {path}", response=response)
    response.raise_for_status()
    return response.content


# -- Stage 3: parse it, in a process ----------------------------------------------------------


class Symbol(NamedTuple):
    """A class or function."""

    kind: str
    name: str
    line: int
    lines: int


class Module(NamedTuple):
    """What the index keeps of one file."""

    path: str
    size: int
    lines: int
    symbols: list[Symbol]
    imports: set[str]


KINDS: dict[type[ast.AST], str] = {
    ast.ClassDef: "class",
    ast.FunctionDef: "function",
    ast.AsyncFunctionDef: "async function",
}


@traced_event("parse")
def parse(path: str, source: bytes) -> Module:
    """Return the outline of a file; one that is not Python fails here, as it should."""
    tree = ast.parse(source, filename=path)
    symbols: list[Symbol] = []
    imports: set[str] = set()
    for scope, node in statements(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            symbols.append(Symbol(KINDS[type(node)], scope + node.name, node.lineno, lines))
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module.partition(".")[0])
    return Module(path, len(source), len(source.splitlines()), symbols, imports)


def statements(node: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every statement below `node` with the name it is defined in, skipping expressions.

    Not traced: it runs for every `if` in the library. Trace the steps whose time and outcome you
    would ask about, not the helpers they are made of.
    """
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, block, ()):
            yield scope, child
            inner = f"{scope}{child.name}." if type(child) in KINDS else scope
            yield from statements(child, inner)


# -- Stage 4: load it into SQLite -------------------------------------------------------------

SCHEMA = """
DROP TABLE IF EXISTS symbol;
DROP TABLE IF EXISTS import;
DROP TABLE IF EXISTS module;
CREATE TABLE module (id INTEGER PRIMARY KEY, path TEXT UNIQUE, size INTEGER, lines INTEGER);
CREATE TABLE symbol (module REFERENCES module, kind TEXT, name TEXT, line INTEGER, lines INTEGER);
CREATE TABLE import (module REFERENCES module, name TEXT);
"""


def load(db: sqlite3.Connection, module: Module) -> None:
    """Write a module and what is in it, all or nothing."""
    # The `with` form gives the open event, to put on it what one would like to know later.
    with traced_event("load", attributes={"path": module.path}) as event, db:
        key = db.execute(
            "INSERT INTO module (path, size, lines) VALUES (?, ?, ?)",
            (module.path, module.size, module.lines),
        ).lastrowid
        db.executemany(
            "INSERT INTO symbol VALUES (?, ?, ?, ?, ?)", [(key, *row) for row in module.symbols]
        )
        db.executemany("INSERT INTO import VALUES (?, ?)", [(key, row) for row in module.imports])
        event.set_attribute("symbols", len(module.symbols))


# -- Stage 5: look for what the library imports ------------------------------------------------


@traced_event("resolve")
def resolve(name: str) -> None:
    """Fail if this interpreter has no module of that name: `winreg` anywhere but on Windows."""
    present = name in sys.modules or name in sys.builtin_module_names
    if not present and PathFinder.find_spec(name) is None:
        raise ModuleNotFoundError(f"no module named {name!r}", name=name)


def resolve_imports(db: sqlite3.Connection) -> Iterator[tuple[str, Exception]]:
    """Yield the modules that files outside the test folders import and that are not there."""
    names = db.execute(
        "SELECT DISTINCT name FROM import JOIN module ON module = module.id"
        " WHERE '/' || path NOT LIKE '%/test%' ORDER BY name"
    )
    for (name,) in names.fetchall():
        try:
            resolve(name)
        except ImportError as error:
            yield name, error


# -- The pipeline -----------------------------------------------------------------------------


class Job(NamedTuple):
    """What the stages share."""

    db: sqlite3.Connection
    port: int
    threads: Executor
    processes: Executor
    progress: Progress
    failures: list[tuple[str, Exception]]


# What a file can do to its stages. Anything else is an error of this program, and ends it.
FAILURES = (
    OSError,  # it cannot be had; those of requests are of this kind
    *(SyntaxError, ValueError, RecursionError, MemoryError),  # it cannot be read
)


@traced_event("index")
async def index_all(job: Job, root: Path, limit: int | None) -> None:
    """Take the files through the pipeline, a few at once."""
    if task := asyncio.current_task():
        # Ctrl-C cancels this task, between two steps of the loop: asyncio's own way cuts in anywhere.
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    # Closed early if there is a limit, which is no failure of the generator.
    with contextlib.closing(discover(root)) as discovered:
        files = itertools.islice(discovered, limit)
        await asyncio.gather(*(index_each(job, files) for _ in range(FETCHERS)))


async def index_each(job: Job, files: Iterator[str]) -> None:
    """Take files from the common iterator until it ends; one that fails is reported, no more."""
    for path in files:
        try:
            await index_file(job, path)
        except FAILURES as error:
            job.failures.append((path, error))
        except BrokenExecutor as error:
            # A worker was killed, and the pool takes no more work: end here, and tell what was done.
            job.failures.append((path, error))
            return
        job.progress.step()


async def index_file(job: Job, path: str) -> None:
    """Take one file through the stages; its event is the parent of theirs, wherever they run.

    `propagate` is what carries it: into a thread, and into a worker process and back.
    """
    loop = asyncio.get_running_loop()
    async with traced_event("index_file", attributes={"path": path}):
        source = await loop.run_in_executor(job.threads, propagate(fetch), job.port, path)
        module = await loop.run_in_executor(job.processes, propagate(parse), path, source)
        load(job.db, module)


def run(args: argparse.Namespace, db: sqlite3.Connection) -> int:
    """Run the pipeline and print what it found; return the exit status."""
    failures: list[tuple[str, Exception]] = []
    traffic = Traffic()
    progress = Progress()
    status = 0
    try:
        with (
            pipeline("stdlib-index", python=platform.python_version()),
            worker_processes(args.jobs, args.start_method) as processes,
            serve(args.root, args.seed, traffic) as port,
            ThreadPoolExecutor(FETCHERS) as threads,
        ):
            job = Job(db, port, threads, processes, progress, failures)
            asyncio.run(index_all(job, args.root, args.limit))
            status = int(any(isinstance(error, BrokenExecutor) for _, error in failures))
            failures.extend(resolve_imports(db))
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 128 + signal.SIGINT
    progress.end()
    if status > 1:
        print("Interrupted: what follows is what was done.", file=sys.stderr)
    print_results(db, progress.files, failures, traffic)
    return status


# -- What came of it --------------------------------------------------------------------------


def print_telemetry() -> None:
    """Print what telemetry saw, each part by the query function that answers it."""
    print("\nTelemetry")
    print("  event          count  failed  cancelled  retries    p50 ms    p99 ms    max ms")
    for name, of in get_event_stats().items():
        times = "".join(f"{seconds * 1000:>10,.1f}" for seconds in (of.p50, of.p99, of.max))
        print(
            f"  {name:<12} {of.count:>7,} {of.failed:>7,} {of.cancelled:>10,} {of.retries:>8,}{times}"
        )
    retries = get_retry_stats()
    print(
        f"  retries: {retries.total_retries:,} in {retries.retried_events:,} events;"
        f" {retries.recovered:,} recovered, {retries.exhausted:,} gave up"
    )
    for (host, _, operation), to in get_network_stats().items():
        print(
            f"  {operation} {host}: {to.count:,} operations, {to.failed:,} failed;"
            f" {to.bytes_sent:,} bytes sent, {to.bytes_received:,} received"
        )
    for slow in get_slow_events(threshold_seconds=1.0)[:5]:
        where = slow.attributes.get("path", "")
        print(f"  slow: {slow.event_name} took {slow.duration:.1f} s {where}")
    # An error is kept by the event it arose in; the events it passed through only refer to it.
    for failed in [event for event in get_failed_events() if event.error][:5]:
        print(f"  failed: {failed.event_name}: {failed.error_type}: {failed.error}")
    state = health()
    print(
        f"  health: {state.started:,} started, {state.finished:,} finished,"
        f" {state.in_flight:,} in flight; errors {state.errors}; workers {state.remote}"
    )


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--limit", type=positive, metavar="N", help="take the first N files only")
    add("--seed", type=int, default=4, help="which requests fail (default %(default)s)")
    add("--jobs", type=positive, default=os.cpu_count() or 1, help="processes that parse")
    add("--start-method", choices=multiprocessing.get_all_start_methods(), help="of these")
    add("--db", default=":memory:", metavar="PATH", help="keep the index in this SQLite file")
    add("--root", type=Path, metavar="DIR", help="index this folder, not the standard library")
    add("--report", action="store_true", help="switch telemetry on, and print what it saw")
    parser.set_defaults(root=Path(sysconfig.get_path("stdlib")))
    args = parser.parse_args()
    if not args.root.is_dir():
        parser.error(f"--root: {args.root} is not a folder")
    return args


def positive(text: str) -> int:
    """Return the number that `text` is, if at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> int:
    """Run as a program."""
    args = parse_arguments()
    try:
        db = sqlite3.connect(args.db)
        db.executescript(SCHEMA)
    except sqlite3.Error as error:
        print(f"--db: {args.db}: {error}", file=sys.stderr)
        return 2
    if args.report:
        monitor_events()
    with contextlib.closing(db):
        status = run(args, db)
    if args.report:
        print_telemetry()
    return status


# Workers started by `spawn` or `forkserver` import this file: only the program itself runs it.
if __name__ == "__main__":
    sys.exit(main())
