"""What `volnux doctor` understands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = "elasticsearch|prometheus|pushgateway|otlp"


def _known(kind: str | None) -> str | None:
    if kind is not None and kind not in _KINDS.split("|"):
        raise typer.BadParameter(f"there is no kind {kind!r}: take {_KINDS}")
    return kind


def _there(path: str | None) -> str | None:
    if path is not None and not os.path.isfile(path):
        raise typer.BadParameter(f"there is no file {path!r}")
    return path


def add_doctor(app: typer.Typer, choose: Callable[[Callable[[], int]], None]) -> None:
    """Add the command; it gives `choose` what is to be done."""

    @app.command("doctor")
    def doctor(
        *,
        urls: Annotated[list[str] | None, typer.Argument(metavar="URL", show_default=False)] = None,
        kind: Annotated[
            str | None,
            typer.Option(
                "--kind",
                metavar=f"<{_KINDS}>",
                callback=_known,
                help="What the addresses are of, if they do not say so and it is not to be seen.",
            ),
        ] = None,
        timeout: Annotated[
            float,
            typer.Option(
                "--timeout", metavar="SECONDS", min=0.1, max=600.0, help="How long a step may take."
            ),
        ] = 5.0,
        ca: Annotated[
            str | None,
            typer.Option(
                "--ca", metavar="FILE", callback=_there, help="The authorities to trust, as PEM."
            ),
        ] = None,
        index_prefix: Annotated[
            str,
            typer.Option(
                "--index-prefix", metavar="PREFIX", help="That of your ElasticsearchPublisher."
            ),
        ] = "volnux-telemetry",
        as_json: Annotated[bool, typer.Option("--json", help="For machines to read.")] = False,
    ) -> None:
        """Try each back end end to end, and say what helps where something is wrong.

        A URL is such as elasticsearch+https://user@host:9200; its password is read from
        VOLNUX_DOCTOR_PASSWORD. Without any, OTEL_EXPORTER_OTLP_ENDPOINT says where.
        """
        # Not at the top: `volnux run` has no use for TLS and HTTP.
        from volnux.cli._doctor import Doctor
        from volnux.cli._doctor_target import targets

        try:
            found = tuple(targets(urls or (), kind))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="URL") from None
        choose(Doctor(found, timeout, ca, index_prefix, as_json))
