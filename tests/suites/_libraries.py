"""The libraries whose suites are run, and what each suite needs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        decorated: functions that become events where volnux's pytest plugin is tried, as `module:name`.
        instrumented: the libraries whose operations are recorded there.
        is_parallel: whether the suite can be run by pytest-xdist.
    """

    name: str
    tests: str
    installs: tuple[str, ...]
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    decorated: tuple[str, ...] = ()
    instrumented: tuple[str, ...] = ()
    is_parallel: bool = True


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


def _with_plugin(library: Library, *decorated: str, **others: Any) -> Library:
    installs = (*library.installs, "pytest-xdist")
    return replace(library, installs=installs, decorated=decorated, **others)


#: The libraries under whose suites volnux's pytest plugin is tried.
UNDER_PLUGIN = {
    library.name: library
    for library in (
        _with_plugin(
            LIBRARIES["requests"],
            "requests.sessions:Session.send",
            "requests.models:PreparedRequest.prepare",
            instrumented=("requests",),
        ),
        _with_plugin(
            LIBRARIES["httpx"],
            "httpx:Client.send",
            "httpx:AsyncClient.send",
            "httpx:Response.read",
            # In the server of its tests: a thread of a fixture that all of them share.
            "uvicorn.protocols.http.h11_impl:H11Protocol.data_received",
            instrumented=("httpx",),
            is_parallel=False,  # its servers have fixed ports
        ),
        _with_plugin(
            Library(
                "flask",
                tests="tests",
                installs=("-e", "{tree}", "--group", "{tree}/pyproject.toml:tests", "pytest<9"),
                remark="With pytest 8: its tests use a private name that newer ones have renamed.",
            ),
            "flask.app:Flask.full_dispatch_request",
            "flask.app:Flask.make_response",
            "flask.json.provider:DefaultJSONProvider.dumps",
        ),
        _with_plugin(
            Library(
                "structlog",
                tests="tests",
                installs=("-e", "{tree}", "--group", "{tree}/pyproject.toml:tests"),
                options=("--randomly-seed=1",),
                remark="In a random order, the same each time, as its pytest-randomly has it.",
            ),
            "structlog.processors:JSONRenderer.__call__",
            "structlog.processors:TimeStamper.__call__",
            "structlog.dev:ConsoleRenderer.__call__",
            "structlog.stdlib:ExtraAdder.__call__",
        ),
        _with_plugin(
            Library(
                "anyio",
                tests="tests",
                installs=(
                    "-e",
                    "{tree}[trio]",
                    "--group",
                    "{tree}/pyproject.toml:test",
                ),
                options=("--ignore=tests/test_sockets.py",),
                remark="On asyncio, on uvloop and on trio; without the tests of its sockets, which need IPv6.",
            ),
            "anyio.to_thread:run_sync",
            "anyio.streams.memory:MemoryObjectSendStream.send",
            "anyio.streams.memory:MemoryObjectReceiveStream.receive",
        ),
    )
}


def chosen(names: Sequence[str], known: Mapping[str, object]) -> list[str]:
    """Return the libraries that were asked for, all without any; end the program if one is not known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no suite of {', '.join(unknown)}; there are {', '.join(known)}")
    return [*(names or known)]
