"""What `volnux spool` understands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

_Folder = Annotated[
    str, typer.Argument(metavar="DIR", show_default=False, help="The folder of the spools.")
]


def spool_commands(choose: Callable[[Callable[[], int]], None]) -> typer.Typer:
    """Return the commands; each gives `choose` what is to be done."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @app.command("status")
    def status(
        folder: _Folder,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="For machines to read.")] = False,
    ) -> None:
        """Say what waits in DIR, for each publisher."""
        from volnux.cli._spool import Status

        choose(Status(folder, as_json))

    @app.command("flush")
    def flush(
        folder: _Folder,
        *,
        publisher: Annotated[
            str | None,
            typer.Option(
                "--publisher",
                metavar="MODULE:NAME",
                help="A publisher, a list of them, or a function that returns either.",
            ),
        ] = None,
        out: Annotated[
            str | None,
            typer.Option(
                "--out", metavar="FILE", help="Append them to FILE instead, as JSON lines."
            ),
        ] = None,
        timeout: Annotated[
            float,
            typer.Option(
                "--timeout",
                metavar="SECONDS",
                min=0.0,
                help="Give up after so long without progress.",
            ),
        ] = 30.0,
    ) -> None:
        """Deliver what waits in DIR, without the program that has recorded it.

        What belongs to a program that runs is left to it.
        """
        if (publisher is None) == (out is None):
            raise typer.BadParameter("give --publisher MODULE:NAME, or --out FILE")
        if publisher is not None and not all(publisher.partition(":")):
            raise typer.BadParameter(f"{publisher!r} is not of the form MODULE:NAME")
        from volnux.cli._spool import Flush

        choose(Flush(folder, publisher, out, timeout))

    @app.command("drop")
    def drop(
        folder: _Folder,
        *,
        name: Annotated[
            str | None,
            typer.Option("--name", metavar="PUBLISHER", help="Only what waits for this one."),
        ] = None,
        older_than: Annotated[
            float,
            typer.Option(
                "--older-than", metavar="SECONDS", min=0.0, help="Only what has waited so long."
            ),
        ] = 0.0,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ) -> None:
        """Remove what waits in DIR, for good.

        What belongs to a program that runs stays.
        """
        from volnux.cli._spool import Drop

        choose(Drop(folder, name, older_than, asks=not yes))

    return app
