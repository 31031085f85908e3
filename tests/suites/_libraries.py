"""The libraries whose suites are run, and what each suite needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Library:
    """A library and how its suite is run.

    Attributes:
        name: of its distribution.
        tests: the folder of its tests in the source distribution.
        installs: what pip is given besides; `{tree}` stands for the unpacked source distribution.
        options: what pytest is given besides.
        variables: of the environment, such as those that its own CI sets.
        remark: what a reader of the figures should know.
    """

    name: str
    tests: str
    installs: tuple[str, ...]
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


LIBRARIES = {
    library.name: library
    for library in (
        Library(
            "requests",
            tests="tests",
            installs=("-e", "{tree}[socks]", "--group", "{tree}/pyproject.toml:test"),
        ),
        Library(
            "urllib3",
            tests="test",
            installs=(
                "-e",
                "{tree}[brotli,h2,socks,zstd]",
                "--group",
                "{tree}/pyproject.toml:dev",
            ),
            # Its timeouts are longer there.
            variables={"CI": "true"},
            remark="With the released hypercorn in place of urllib3's fork of it, which no registry has.",
        ),
        Library(
            "httpx",
            tests="tests",
            installs=(
                "-e",
                "{tree}[brotli,cli,http2,socks,zstd]",
                "chardet==5.2.0",
                "cryptography==45.0.7",
                "pytest==8.4.1",
                "trio==0.31.0",
                "trustme==1.2.1",
                "uvicorn==0.35.0",
            ),
            remark="With what its repository pins for its tests, which the source distribution does not say.",
        ),
        Library(
            "aiohttp",
            tests="tests",
            installs=("-e", "{tree}", "-r", "{tree}/requirements/test.txt"),
            options=("--no-cov",),
            remark="In as many processes as there are cores, as its configuration says.",
        ),
    )
}
