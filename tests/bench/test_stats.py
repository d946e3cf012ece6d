from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbray.bench.stats import geometric_mean, summarize, times_as_fast

positive = st.floats(1e-6, 1e9)


def test_a_summary_is_the_median_between_the_lowest_and_the_highest():
    summary = summarize([3.0, 1.0, 2.0, 10.0])
    assert (summary.median, summary.low, summary.high, summary.samples) == (2.5, 1.0, 10.0, 4)
    assert summary.spread == pytest.approx(3.6)


def test_no_samples_have_no_summary():
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


@given(st.lists(positive, min_size=1))
def test_the_median_lies_between_the_ends(samples):
    summary = summarize(samples)
    assert summary.low <= summary.median <= summary.high


def test_a_rate_twice_as_high_is_twice_as_fast():
    assert times_as_fast(200.0, 100.0, higher_is_better=True) == 2


def test_a_time_half_as_long_is_twice_as_fast():
    assert times_as_fast(1.0, 2.0, higher_is_better=False) == 2


@given(positive, positive, st.booleans())
def test_who_is_faster_one_way_is_slower_the_other(ours, theirs, higher):
    forth = times_as_fast(ours, theirs, higher_is_better=higher)
    back = times_as_fast(theirs, ours, higher_is_better=higher)
    assert forth * back == pytest.approx(1)


@given(st.lists(positive, min_size=1))
def test_the_geometric_mean_of_ratios_and_of_their_inverses_cancel(ratios):
    mean, inverse = geometric_mean(ratios), geometric_mean(1 / ratio for ratio in ratios)
    assert mean is not None
    assert inverse is not None
    assert mean * inverse == pytest.approx(1)


def test_the_geometric_mean_leaves_out_what_is_no_ratio_and_of_nothing_is_none():
    assert geometric_mean([2.0, 8.0, 0.0, math.inf]) == pytest.approx(4)
    assert geometric_mean([]) is None
