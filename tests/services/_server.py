"""What a server is to those who start it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "VOLNUX_TEST_"


@dataclass(frozen=True)
class Launch:
    """How a server is started.

    Attributes:
        command: its program and arguments.
        variables: what tests read, without the prefix that all of them have.
        environment: what the server reads.
    """

    command: list[str]
    variables: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)


class Server(ABC):
    """A server that tests talk to.

    Attributes:
        name: what it is asked for by.
        distribution: the folder of the cache that it runs from, NAME-VERSION.
        limit: seconds that it has to get ready.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    limit: ClassVar[float] = 30.0

    @abstractmethod
    def install(self, folder: Path) -> None:
        """Fill an empty folder with the distribution."""

    @abstractmethod
    def launch(self, distribution: Path, folder: Path) -> Launch:
        """Write the configuration into *folder*, which is empty, and say how to start."""

    @abstractmethod
    def is_ready(self, variables: Mapping[str, str]) -> bool:
        """Whether the server behind these variables answers."""
