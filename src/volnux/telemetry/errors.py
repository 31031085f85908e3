"""What volnux raises.

```
TelemetryError
├── MissingDependencyError   (also an ImportError)
└── PublishError
TelemetryWarning             (a UserWarning)
```

After set-up nothing here reaches the user's program: see `strict` in the documentation of `Registry`.
"""

from __future__ import annotations


class TelemetryError(Exception):
    """The base of every exception that volnux raises."""


class MissingDependencyError(TelemetryError, ImportError):
    """Raised when an optional package is needed that is not installed.

    Attributes:
        module: the package that could not be imported.
        extra: the extra of volnux that installs it; None for what is installed by its own name.
    """

    def __init__(self, module: str, extra: str | None = None) -> None:
        self.module = module
        self.extra = extra
        what = module if extra is None else f'"volnux[{extra}]"'
        super().__init__(f"{module} is not installed: run pip install {what}")

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str | None]]:
        return type(self), (self.module, self.extra)


class PublishError(TelemetryError):
    """Raised by a publisher to tell delivery how a batch failed.

    Attributes:
        retry_after: seconds the back end asked to wait, or None.
        permanent: True when trying again cannot help; the batch is then dropped and counted.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, permanent: bool = False
    ) -> None:
        self.retry_after = retry_after
        self.permanent = permanent
        super().__init__(message)


class TelemetryWarning(UserWarning):
    """Warns of a use of volnux that cannot do what it seems to ask."""
