"""volnux: telemetry for Python programs that tests can assert on."""
