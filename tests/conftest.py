"""What the whole suite shares."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# CI repeats the same examples on every run; a developer's machine looks for new ones.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
