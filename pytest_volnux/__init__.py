"""The pytest side of volnux: telemetry budgets and asserts for a test suite."""
