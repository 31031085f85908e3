"""The servers that the dashboards are asked on."""

from __future__ import annotations

from tests.services.fixtures import (  # noqa: F401  # fixtures
    collector,
    elasticsearch,
    prometheus,
    promtool,
)
