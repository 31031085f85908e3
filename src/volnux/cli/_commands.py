"""What the command line understands."""

from __future__ import annotations

import errno
import math
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand
from typer.main import get_command

from volnux.cli._dashboards import ALERTS, GRAFANA, KIBANA, PREFIX, Export, wrong_prefix
from volnux.cli._doctor_command import add_doctor
from volnux.cli._program import cannot_open
from volnux.cli._spool_commands import spool_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from volnux.cli._report import Report

Action: TypeAlias = "Callable[[], int]"
Renderer: TypeAlias = "Callable[[Report, TextIO], None]"


FORMATS = ("term", "json", "md")
RECORD = b'{"kind"'
GZIP = b"\x1f\x8b"
_chosen: list[Action] = []
app = typer.Typer(
    name="volnux",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dashboards = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    spool_commands(_chosen.append), name="spool", help="What waits on disk for publishers."
)
app.add_typer(dashboards, name="dashboards", help="Dashboards and alerts for what is published.")


class _ReportCommand(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "FILE..."]


class _RunCommand(TyperCommand):
    """A command whose options end at the program, as those of `python` do."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "SCRIPT|-m MODULE", "[ARGS]..."]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what comes before the program."""
        return super().parse_args(ctx, self._fenced(args))

    def _fenced(self, args: list[str]) -> list[str]:
        """Return the arguments with a `--` after `-m MODULE`."""
        takes_value = {
            name
            for parameter in self.params
            if not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        place = 0
        while place < len(args):
            word = args[place]
            if not word.startswith("-") or word in {"-", "--"}:
                break
            if word.startswith("-m") and len(args) > place + (word == "-m"):
                end = place + 1 + (word == "-m")
                return [*args[:end], "--", *args[end:]]
            place += 1 + (word in takes_value)
        return args


def _finite(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise typer.BadParameter(f"{seconds} is not a number of seconds")
    return seconds


def _known(format: str) -> str:
    if format not in FORMATS:
        raise typer.BadParameter(f"there is no format {format!r}: take term, json or md")
    return format


def _renderer(format: str) -> Renderer:
    """Return what writes a report in a format. It is loaded at once: at the end of a program it may be too late."""
    from importlib import import_module

    render: Renderer = import_module(f"volnux.cli._render_{format}").render
    return render


def _say_version(asked: bool) -> None:  # noqa: FBT001  # as typer calls it
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"volnux {version('volnux')}\n")
        raise typer.Exit


_Slow = Annotated[
    float,
    typer.Option(
        "--slow", metavar="SECONDS", min=0.0, callback=_finite, help="What lasts longer is slow."
    ),
]
_Format = Annotated[
    str,
    typer.Option(
        "--format", metavar="<term|json|md>", callback=_known, help="How the report is written."
    ),
]


@app.callback()
def volnux(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version."),
    ] = False,
) -> None:
    """Run a program with telemetry on, and report on what was recorded."""


@app.command(
    "run",
    cls=_RunCommand,
    context_settings={"allow_interspersed_args": False},
)
def run(
    *,
    program: Annotated[
        list[str] | None,
        typer.Argument(hidden=True),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("-m", metavar="MODULE", help="Run a module; all that follows is its own."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="Write every record to FILE, as JSON lines."),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Report on standard error when it has ended."),
    ] = True,
    format: _Format = "term",
    slow: _Slow = 1.0,
) -> None:
    """Run a program as python would, with telemetry on, and report.

    The program is a script, a folder or zip file with a __main__.py, a module, or, for -, what
    comes from standard input. All that follows it is its own.
    """
    words = list(program or ())
    if module is None:
        if not words:
            raise typer.BadParameter("give a script, or -m and a module", param_hint="SCRIPT")
        target = words.pop(0)
        problem = cannot_open(target)
        if problem is not None:
            raise _refused("run", f"can't open {target!r}: {problem}")
    else:
        target = module
    if out is not None:
        _prepare(out)
        out = os.path.abspath(out)  # the program may go elsewhere
    from volnux.cli._run import Run  # each command loads what it needs

    render = _renderer(format) if report else None
    _chosen.append(Run(target, tuple(words), module is not None, out, slow, render))


@app.command("report", cls=_ReportCommand, no_args_is_help=True)
def report(
    *,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", hidden=True),
    ],
    format: _Format = "term",
    slow: _Slow = 1.0,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="GLOB", help="Only what has a matching name."),
    ] = None,
    top: Annotated[
        int,
        typer.Option("--top", metavar="N", min=1, help="How many slow and failed ones to show."),
    ] = 10,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the report to FILE."),
    ] = None,
) -> None:
    """Report on JSON lines that one or many processes have written.

    Files may be compressed by gzip; - reads standard input.
    """
    from volnux.cli._reporting import Reporting

    if output is not None:
        _spare(output, files)
    _chosen.append(Reporting(tuple(files), _renderer(format), slow, name, top, output))


@dashboards.command("export")
def export_dashboards(
    *,
    folder: Annotated[str, typer.Argument(metavar="DIR", show_default=False)] = ".",
    grafana: Annotated[bool, typer.Option("--grafana", help="The dashboard of Grafana.")] = False,
    kibana: Annotated[bool, typer.Option("--kibana", help="The dashboard of Kibana.")] = False,
    alerts: Annotated[bool, typer.Option("--alerts", help="The rules of Prometheus.")] = False,
    index_prefix: Annotated[
        str | None,
        typer.Option(
            "--index-prefix",
            metavar="PREFIX",
            help=f"The index_prefix of your ElasticsearchPublisher; {PREFIX} by default.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write dashboards and alerts into DIR, or where you are.

    All of them, unless some are named.
    """
    wanted = {GRAFANA: grafana, KIBANA: kibana, ALERTS: alerts}
    names = tuple(name for name, is_wanted in wanted.items() if is_wanted) or tuple(wanted)
    problem = None if index_prefix is None else wrong_prefix(index_prefix)
    if index_prefix is not None and KIBANA not in names:
        problem = "--index-prefix is for Kibana, and its dashboard is not among those asked for"
    if problem is not None:
        raise _refused("dashboards export", problem)
    _chosen.append(Export(folder, names, index_prefix or PREFIX, force))


add_doctor(app, _chosen.append)


def parse(args: Sequence[str]) -> Action | int:
    """Return what to do, or the exit status if there is nothing left to do."""
    _chosen.clear()
    try:
        get_command(app).main(list(args), prog_name="volnux")
    except SystemExit as done:
        if not _chosen:
            return done.code if isinstance(done.code, int) else 2
    return _chosen.pop()


def _prepare(out: str) -> None:
    """Make the file of a run empty, if it may be.

    A file that is not ours is left alone: `volnux run --out script.py` is easily typed.
    """
    try:
        first = _beginning(out)
        if first and not first.startswith(RECORD):
            raise _refused("run", f"will not overwrite {out!r}: it is not a file of records")
        if os.path.exists(out) and not os.path.isfile(out):
            # Left open: whoever reads a pipe would take its close for the end.
            os.open(out, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        else:
            with open(out, "wb"):
                pass
    except OSError as error:
        reason = "nobody reads it" if error.errno == errno.ENXIO else error.strerror
        raise _refused("run", f"can't write {out!r}: {reason}") from None


def _spare(output: str, files: Sequence[str]) -> None:
    """Refuse to write a report over records: `volnux report -o a.jsonl` is easily typed."""
    try:
        first = _beginning(output)
        is_input = any(os.path.exists(file) and os.path.samefile(file, output) for file in files)
    except OSError:  # it is not there, or cannot be read: then writing says what is wrong
        return
    if is_input or first.startswith((RECORD, GZIP)):
        what = "one of the files to report on" if is_input else "a file of records"
        raise _refused("report", f"will not overwrite {output!r}: it is {what}")


def _beginning(path: str) -> bytes:
    """Return the first bytes of a regular file, and nothing of others or none."""
    if not os.path.isfile(path):  # opening a pipe may take for ever
        return b""
    with open(path, "rb") as file:
        return file.read(64).lstrip()


def _refused(command: str, text: str) -> typer.Exit:
    sys.stderr.write(f"volnux {command}: {text}\n")
    return typer.Exit(2)
