"""The pytest side of volnux: telemetry budgets and asserts for a test suite."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_volnux._fixture import VolnuxFixture

__all__ = ["VolnuxFixture"]


def __getattr__(name: str) -> object:
    if name != "VolnuxFixture":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_volnux._fixture import VolnuxFixture

    return VolnuxFixture
