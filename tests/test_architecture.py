"""The house is as docs/architecture.md draws it: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import volnux

PACKAGE = Path(volnux.__file__).parent
HOUSE = (Path(__file__).parent.parent / "docs/architecture.md").read_text("utf-8")
LINES = 350
# What `import volnux.telemetry` may not pull in: each costs as much as the whole facade may.
HEAVY = {"asyncio", "dataclasses", "inspect", "json", "logging", "re", "threading", "typing"}


class Room(NamedTuple):
    """One row of the table: the files that a pattern names, and their floor."""

    floor: int
    pattern: str


ROOMS = [
    Room(int(floor), pattern)
    for floor, pattern in re.findall(r"^\| (\d+) \| `([^`]+)` \|", HOUSE, re.MULTILINE)
]
LARGER = {
    file: int(limit)
    for file, limit in re.findall(r"^\| `([^`]+)` \| (\d+) lines \|", HOUSE, re.MULTILINE)
}
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def module_of(file: str) -> str:
    """`telemetry/_clock.py` -> `volnux.telemetry._clock`."""
    name = "volnux." + file.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


FILE_OF = {module_of(file): file for file in FILES}


def imports_of(path: Path) -> set[str]:
    """Every file of ours that a file imports, lazily and for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILE_OF else str(node.module) for name in inner]
        else:
            continue
        found |= {FILE_OF[name] for name in names if name in FILE_OF}
    return found


IMPORTS = {file: imports_of(path) for file, path in FILES.items()}


def rooms_of(file: str) -> list[Room]:
    return [room for room in ROOMS if fnmatchcase(file, room.pattern)]


def floor_of(file: str) -> int:
    rooms = rooms_of(file)
    assert len(rooms) == 1, f"{file} needs one row in the table of docs/architecture.md"
    return rooms[0].floor


def test_every_file_has_one_room():
    """Each file stands in exactly one row of the table."""
    wrong = {file: rooms_of(file) for file in FILES if len(rooms_of(file)) != 1}
    assert wrong == {}


def test_every_room_has_a_file():
    """A row of the table whose files are gone is taken out."""
    assert [room for room in ROOMS if not any(fnmatchcase(f, room.pattern) for f in FILES)] == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_from_lower_floors_only(file):
    """No file knows its neighbours or the floors above, not even lazily or for types."""
    floor = floor_of(file)
    assert sorted(other for other in IMPORTS[file] if floor_of(other) >= floor) == []


def test_no_file_is_in_a_cycle():
    """Lazy imports and those for types count, as they would for somebody who reads the code."""
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def known_to(file: str) -> set[str]:
    """Every file that a file imports, itself or through others."""
    found, waiting = set(), [file]
    while waiting:
        new = IMPORTS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


TELLING = {"telemetry/_monitor.py", "telemetry/_delivery.py", "telemetry/_queue.py"}
BACK_ENDS = {file for file in FILES if fnmatchcase(file, "telemetry/publishers/*")}


@pytest.mark.parametrize("file", ["_events.py", "_network.py", "_registry.py", "queries.py"])
def test_data_flows_one_way(file):
    """Instruments and the registry do not know who is told: neither delivery nor back ends."""
    assert known_to(f"telemetry/{file}") & (TELLING | BACK_ENDS) == set()


@pytest.mark.parametrize("file", sorted(BACK_ENDS))
def test_a_back_end_knows_records_only(file):
    """It sees neither the registry nor the queue."""
    assert known_to(file) & (TELLING | {"telemetry/_registry.py", "telemetry/_scope.py"}) == set()


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("cli/")])
def test_the_command_line_stands_on_the_public_api(file):
    """As any user does."""
    inside = {other for other in IMPORTS[file] if other.startswith("telemetry/")}
    assert inside <= {"telemetry/__init__.py", "telemetry/spools.py"}


def test_files_stay_small():
    """A file past 350 lines stands in the list of larger ones with its own limit and its reason."""
    lengths = {file: len(path.read_text("utf-8").splitlines()) for file, path in FILES.items()}
    assert {f: n for f, n in lengths.items() if n > LARGER.get(f, LINES)} == {}


def test_the_list_of_larger_files_is_true():
    """A file that has shrunk leaves the list."""
    lengths = {file: len(path.read_text("utf-8").splitlines()) for file, path in FILES.items()}
    assert [file for file in LARGER if lengths.get(file, 0) <= LINES] == []


def loaded_by(statement: str) -> set[str]:
    """The modules that one statement loads in a fresh interpreter."""
    code = f"import sys; old = set(sys.modules); {statement}; print(*set(sys.modules) - old)"
    # A coverage run would load half the standard library first.
    env = {name: value for name, value in os.environ.items() if "COV" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    return set(done.stdout.split())


def test_import_volnux_loads_nothing():
    """The package itself costs nothing."""
    assert loaded_by("import volnux") == {"volnux"}


def test_import_telemetry_loads_nothing_of_others():
    """Dependencies come with their first use, not with the facade."""
    tops = {name.partition(".")[0] for name in loaded_by("import volnux.telemetry")}
    assert tops - set(sys.stdlib_module_names) == {"volnux"}


def test_import_telemetry_loads_nothing_heavy():
    """The dear parts of the standard library come with their first use too."""
    assert loaded_by("import volnux.telemetry") & HEAVY == set()
