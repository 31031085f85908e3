"""Compiles the hot path where a C compiler and Python's headers are there; without, all stays Python.

`VOLNUX_NO_EXTENSIONS=1` leaves it out. A wheel also gets the dashboards of examples/telemetry.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "volnux.telemetry._speedups"
SOURCE = "src/volnux/telemetry/_speedups.c"
EXAMPLES = "examples/telemetry"
#: What `volnux dashboards export` writes.
DASHBOARDS = ("prometheus_dashboard.json", "elasticsearch_dashboard.ndjson", "alerts.rules.yml")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # no configuration of its own
    """Adds the compiled module to the wheel, or leaves it next to its source for an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files of the wheel are collected."""
        if version != "editable":  # there they are read where they are
            for name in DASHBOARDS:
                source = os.path.join(self.root, EXAMPLES, name)
                build_data["force_include"][source] = f"volnux/dashboards/{name}"
        reason = why_not()
        if reason is None:
            try:
                built = compiled(self.root)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a compiler may fail in any way
                reason = f"{type(error).__name__}: {error}"
            else:
                build_data["artifacts"].append("/" + built)
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
        if reason is not None:
            self.app.display_warning(f"volnux is installed without its compiled part: {reason}")


def why_not() -> str | None:
    """Return what speaks against compiling; None if nothing does."""
    if os.environ.get("VOLNUX_NO_EXTENSIONS"):
        return "VOLNUX_NO_EXTENSIONS is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded Python has no use for it yet"
    return None


def compiled(root: str) -> str:
    """Compile the module next to its source; return its path from the root."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    before = os.getcwd()
    os.chdir(root)
    try:
        extension = Extension(NAME, [SOURCE])
        command = build_ext(Distribution({"ext_modules": [extension], "package_dir": {"": "src"}}))
        command.inplace = command.force = True
        with tempfile.TemporaryDirectory() as folder:
            command.build_temp = folder
            command.ensure_finalized()
            command.run()
        path: str = os.path.relpath(command.get_ext_fullpath(NAME), root)
    finally:
        os.chdir(before)
    return path.replace(os.sep, "/")
