"""Weights of training rows against their definitions, label by label and bar by bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.labels import average_uniqueness, sample_weights, time_decay


def uniqueness_by_loop(row, end) -> list[float]:
    """Mean over the bars of a path of 1 / the paths that have the bar."""
    paths = [set(range(r + 1, e + 1)) for r, e in zip(row, end, strict=True)]
    return [np.mean([1 / sum(bar in other for other in paths) for bar in path]) if path else 1.0 for path in paths]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25)), max_size=40, unique_by=lambda span: span[0]),
)
def test_uniqueness_equals_the_loop(spans):
    row = np.array(sorted(start for start, _ in spans), int)
    end = row + np.array([length for _, length in spans], int)
    unique = average_uniqueness(row, end)
    np.testing.assert_allclose(unique, uniqueness_by_loop(row, end), rtol=1e-12)
    assert ((unique > 0) & (unique <= 1 + 1e-12)).all()


def test_labels_that_share_no_bar_are_unique():
    np.testing.assert_array_equal(average_uniqueness(np.array([0, 5, 10]), np.array([5, 10, 15])), 1.0)


def test_daily_labels_of_five_bars_overlap_five_times():
    row = np.arange(100)
    np.testing.assert_allclose(average_uniqueness(row, row + 5)[10:90], 0.2)
    assert average_uniqueness(row, row + 5)[0] > 0.2, "the first bar of the first path is nobody else's"


def test_a_row_weighs_half_after_a_half_life():
    np.testing.assert_array_equal(time_decay(np.array([0, 10, 20, 5]), 10), [1, 0.5, 0.25, 0.5**0.5])


@pytest.mark.parametrize("kind", ["uniqueness", "decay", "both"])
def test_weights_are_the_product_with_a_mean_of_one(kind):
    row, age = np.array([0, 1, 5, 30]), np.array([20, 19, 15, 0])
    end = row + 4
    expected = np.ones(4)
    expected *= average_uniqueness(row, end) if kind != "decay" else 1
    expected *= time_decay(age, 10) if kind != "uniqueness" else 1
    weights = sample_weights(kind, row, end, age, 10)
    np.testing.assert_allclose(weights, expected / expected.mean())
    assert weights.mean() == pytest.approx(1)


def test_no_weights_where_none_are_asked_for_and_no_rows():
    rows = np.arange(4)
    assert sample_weights("none", rows, rows + 1, rows, 10) is None
    nothing = np.empty(0, int)
    assert sample_weights("both", nothing, nothing, nothing, 10) is None
    assert len(average_uniqueness(nothing, nothing)) == 0
