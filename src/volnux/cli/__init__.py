"""The `volnux` command: run a program with telemetry on, and report on what was recorded.

Installed by the extra `cli`. `volnux run` and `volnux report` say what they take with `--help`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    With `volnux run`, whatever the program raises leaves this function too, `SystemExit` included,
    so that Python itself ends the process as it would have without volnux.

    Args:
        argv: the arguments after the command's name; those of the process by default.
    """
    # Not at the top: a spawned child imports this package and needs no command.
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        sys.stderr.write(
            f'volnux: the command line needs {missing}: run pip install "volnux[cli]"\n'
        )
        return 2
    from volnux.cli._commands import parse

    action = parse(sys.argv[1:] if argv is None else list(argv))
    # The parser is done before the program starts, so that nothing of it is in the program's way.
    return action if isinstance(action, int) else action()
