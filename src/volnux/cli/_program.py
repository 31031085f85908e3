"""Running a program in this process as `python SCRIPT` and `python -m MODULE` would."""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import pkgutil
import runpy
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, TracebackType

_HERE = os.path.dirname(__file__)
# The module that was `__main__` before the program's. Its functions are still running.
_before: list[ModuleType] = []


def execute(target: str, args: Sequence[str], *, module: bool = False) -> None:
    """Run a program to its end as the `__main__` of this process.

    What it raises comes out as raised, `SystemExit` and `KeyboardInterrupt` included; left to reach
    the top of the interpreter, it is shown without the frames above the program's own.

    Args:
        target: the path of a script, of compiled code, or of a directory or zip file with a
            `__main__.py`; `-` for standard input; a module's name if `module`.
        args: what the program finds in `sys.argv[1:]`.
        module: whether `target` is a module's name.
    """
    try:
        if module:
            _run_module(target, args)
        else:
            _run_path(target, args)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            _show_without_us(error)
        raise


def _run_module(name: str, args: Sequence[str]) -> None:
    _replace_first_path(_working_directory())
    sys.argv[:] = ["-m", *args]
    _new_main()
    # Private, but what the interpreter itself calls for `-m`, with the same frames in tracebacks.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _run_path(path: str, args: Sequence[str]) -> None:
    sys.argv[:] = [path, *args]
    if path == "-":
        _replace_first_path("")
        main = _new_main(__file__="<stdin>", __cached__=None)
        exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True), vars(main))  # noqa: S102
        return
    # Not normalised: Python does not either.
    full = os.path.join(_working_directory(), path)
    if pkgutil.get_importer(full) is not None:
        # Python puts a directory or zip file first even where it leaves out the script's folder.
        _replace_first_path(full, forced=True)
        _new_main()
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]  # noqa: FBT003
        return
    _replace_first_path(os.path.dirname(os.path.realpath(path)))
    compiled, code = _code_of(full)
    loader = importlib.machinery.SourcelessFileLoader if compiled else _SOURCE
    main = _new_main(__file__=full, __cached__=None, __loader__=loader("__main__", full))
    exec(code, vars(main))  # noqa: S102


_SOURCE = importlib.machinery.SourceFileLoader


def _code_of(path: str) -> tuple[bool, CodeType]:
    """Return whether a file holds compiled code, and its code."""
    with open(path, "rb") as file:
        code = pkgutil.read_code(file)
        if code is not None:
            return True, code
        file.seek(0)
        return False, compile(file.read(), path, "exec", dont_inherit=True)


def _new_main(**more: object) -> ModuleType:
    """Put a `__main__` in place that has what the interpreter gives to its own, and this."""
    _before.append(sys.modules["__main__"])
    main = ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __loader__=importlib.machinery.BuiltinImporter)
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    vars(main).update(more)
    sys.modules["__main__"] = main
    return main


def _replace_first_path(entry: str, *, forced: bool = False) -> None:
    """Put `entry` where the interpreter has put the folder of the `volnux` command."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0:1] = [entry]
    elif forced:
        sys.path.insert(0, entry)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _show_without_us(error: BaseException) -> None:
    """Have the interpreter show this error, should it get there, without our frames."""
    hook = sys.excepthook
    shown = _without_us(error.__traceback__)

    def show(kind: type[BaseException], value: BaseException, tb: TracebackType | None) -> None:
        sys.excepthook = hook
        if value is error:
            tb = value.__traceback__ = sys.last_traceback = shown
        hook(kind, value, tb)

    sys.excepthook = show


def _without_us(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback without our frames: those above the program's, and wrappers below."""
    while tb is not None and _is_ours(tb):
        tb = tb.tb_next
    here = tb
    while here is not None:
        while here.tb_next is not None and _is_ours(here.tb_next):
            here.tb_next = here.tb_next.tb_next
        here = here.tb_next
    return tb


def _is_ours(tb: TracebackType) -> bool:
    return os.path.dirname(tb.tb_frame.f_code.co_filename) == _HERE


def cannot_open(path: str) -> str | None:
    """Return why a script cannot be read, in the words of the system, or None."""
    if path == "-":
        return None
    try:
        if not os.path.isdir(path):
            with open(path, "rb"):
                pass
    except OSError as error:
        return f"[Errno {error.errno}] {error.strerror}"
    except ValueError as error:  # a null character
        return str(error)
    return None
