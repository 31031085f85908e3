"""Running totals with quantiles, held against all the values themselves."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry._distribution import GROWTH, Distribution, bucket_bounds

FRACTIONS = (0.5, 0.9, 0.99)
#: From one nanosecond to three years, evenly over the orders of magnitude.
durations = st.one_of(
    st.integers(0, 10**3), st.integers(0, 10**9), st.integers(0, 10**17), st.just(10**6)
)
many = st.lists(durations, min_size=1, max_size=300)


def distribution_of(values):
    distribution = Distribution()
    distribution.buffer += values
    distribution.compress()
    return distribution


def true_quantile(values, fraction):
    """The nearest rank, in exact arithmetic."""
    exact = Fraction(round(fraction * 100), 100)
    return sorted(values)[max(1, math.ceil(exact * len(values))) - 1]


class TestQuantiles:
    @given(many)
    def test_are_within_two_and_a_half_per_cent_of_the_truth(self, values):
        """Whatever the values, over seventeen orders of magnitude."""
        found = distribution_of(values).quantiles(FRACTIONS)

        for fraction, quantile in zip(FRACTIONS, found, strict=True):
            truth = true_quantile(values, fraction)
            # The middle of two whole bounds is rounded to whole nanoseconds.
            assert abs(quantile - truth) <= 0.025 * truth + 1

    @given(many)
    def test_never_leave_the_range_of_the_values(self, values):
        """No quantile is below the smallest or above the largest."""
        distribution = distribution_of(values)

        for quantile in distribution.quantiles(FRACTIONS):
            assert min(values) <= quantile <= max(values)

    @given(many)
    def test_rise_with_the_fraction(self, values):
        """A higher quantile is not smaller."""
        found = distribution_of(values).quantiles(FRACTIONS)

        assert found == sorted(found)

    @given(durations, st.integers(1, 50))
    def test_of_one_value_are_that_value(self, value, times):
        """However often it came."""
        assert distribution_of([value] * times).quantiles(FRACTIONS) == [value] * 3

    def test_of_nothing_are_zero(self):
        """An empty distribution has an answer."""
        assert Distribution().quantiles(FRACTIONS) == [0, 0, 0]

    @pytest.mark.parametrize("size", [1, 2, 9, 10, 11, 99, 100, 101, 1000])
    def test_take_the_nearest_rank(self, size):
        """Among small whole numbers, each in a bucket of its own, they are exact."""
        values = [number % 20 for number in range(size)]

        assert distribution_of(values).quantiles(FRACTIONS) == [
            true_quantile(values, fraction) for fraction in FRACTIONS
        ]


class TestTotals:
    @given(many)
    def test_count_sum_and_extremes_are_exact(self, values):
        """Only quantiles are estimates."""
        distribution = distribution_of(values)

        assert (distribution.count, distribution.total, distribution.min, distribution.max) == (
            len(values),
            sum(values),
            min(values),
            max(values),
        )

    @given(st.lists(st.integers(-(10**9), 10**9), min_size=1))
    def test_a_clock_that_went_back_counts_as_zero(self, values):
        """Negative durations are taken for none."""
        clamped = [max(0, value) for value in values]

        assert distribution_of(values).export() == distribution_of(clamped).export()

    def test_longer_than_three_years_is_counted(self):
        """Beyond the last bound there is a bucket for everything."""
        distribution = distribution_of([10**20])

        assert distribution.quantiles((0.99,)) == [10**20]

    @given(many, many)
    def test_compressing_in_between_changes_nothing(self, first, second):
        """In one batch or in two, the result is the same."""
        distribution = distribution_of(first)
        distribution.buffer += second
        distribution.compress()

        assert distribution.export() == distribution_of(first + second).export()


class TestMerge:
    @given(st.lists(many, min_size=1, max_size=5))
    def test_is_as_if_all_had_been_counted_together(self, parts):
        """Merging loses nothing, in whatever portions it comes."""
        merged = Distribution()
        for part in parts:
            merged.merge(distribution_of(part))

        assert merged.export() == distribution_of([one for part in parts for one in part]).export()

    def test_with_nothing_changes_nothing(self):
        """An empty distribution does not pull the minimum to zero."""
        merged = distribution_of([5, 7])
        merged.merge(Distribution())

        assert (merged.count, merged.min, merged.max) == (2, 5, 7)

    def test_counts_what_is_still_in_the_buffer(self):
        """Neither side has to be compressed first."""
        one, other = Distribution(), Distribution()
        one.buffer.append(1)
        other.buffer.append(2)
        one.merge(other)

        assert (one.count, one.total) == (2, 3)


class TestExport:
    @given(many)
    def test_restoring_undoes_it(self, values):
        """Through JSON and back it is the same distribution."""
        state = json.loads(json.dumps(distribution_of(values).export()))

        assert Distribution.restore(state).export() == distribution_of(values).export()

    @given(many, many)
    def test_what_was_restored_goes_on_counting(self, before, after):
        """A restored distribution takes more values in."""
        restored = Distribution.restore(distribution_of(before).export())
        restored.buffer += after
        restored.compress()

        assert restored.export() == distribution_of(before + after).export()


class TestBounds:
    def test_rise_strictly(self):
        """No bucket is empty by construction."""
        bounds = bucket_bounds()

        assert all(low < high for low, high in pairwise(bounds))

    def test_grow_by_five_per_cent_at_most(self):
        """Each bucket is as much wider than the one before, or one nanosecond."""
        bounds = bucket_bounds()[:-1]  # the last takes everything beyond three years

        assert all(high <= max(low + 1, low * GROWTH) for low, high in pairwise(bounds))

    def test_are_made_once(self):
        """Every distribution uses the same list."""
        assert bucket_bounds() is bucket_bounds()
