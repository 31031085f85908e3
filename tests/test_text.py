"""Numbers as people read them: three digits or so, and a unit that fits."""

from __future__ import annotations

import pytest

from volnux import _text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (1e-10, "0s"),
        (850e-9, "850ns"),
        (999.4e-9, "999ns"),
        (999.6e-9, "1.00µs"),
        (12.3e-6, "12.3µs"),
        (4.21, "4.21s"),
        (59.96, "60.0s"),
        (59.98, "1m00s"),
        (192, "3m12s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7_500, "2h05m"),
        (86_399, "23h59m"),
        (86_400, "1d00h"),
        (200_000, "2d07h"),
        (40_000_000, "462d23h"),
    ],
)
def test_a_duration(value, text):
    """From less than a nanosecond to years, and nothing is rounded to 60 minutes or 24 hours."""
    assert _text.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1239, "1.21 KiB"),
        (34 << 20, "34.0 MiB"),
        ((1 << 30) - 1, "1.00 GiB"),
        (5 << 40, "5.00 TiB"),
        (5 << 50, "5.0 PiB"),
        (5_000 << 50, "5,000.0 PiB"),
    ],
)
def test_a_number_of_bytes(value, text):
    """From none to more than there are disks."""
    assert _text.size(value) == text
