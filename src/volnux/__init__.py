"""volnux: telemetry for Python programs that tests can assert on.

pytest would rewrite this package for having a plugin beside it, and warn where it came too late
for that. There is no assert statement in it to rewrite: PYTEST_DONT_REWRITE.
"""
