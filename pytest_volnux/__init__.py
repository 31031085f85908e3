"""The pytest side of volnux: telemetry budgets and asserts for a test suite."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_volnux._fixture import VolnuxFixture
    from pytest_volnux._lint import LintWarning
    from pytest_volnux._off import TelemetryOffWarning

__all__ = ["LintWarning", "TelemetryOffWarning", "VolnuxFixture"]

_LATER = {"LintWarning": "_lint", "TelemetryOffWarning": "_off", "VolnuxFixture": "_fixture"}


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found
