"""The kernels of the labels against NumPy over one path at a time, for short and long paths of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.labels import kernels
from DATA_PROCESSING.labels.kernels import BLOCK, SCANNED_BLOCK, SHORT


def path_columns(*arguments) -> list[np.ndarray]:
    """The columns one by one."""
    touches, excursions, both_touched = kernels.path_columns(*arguments)
    return [*touches, *excursions, both_touched]


def walk(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and close of coarse prices, so that many are equal to each other or to a barrier."""
    random = np.random.default_rng(seed)
    close = np.round(np.exp(random.normal(0, 0.05, rows).cumsum()), 2) + 0.01
    return close + 0.01 * random.integers(0, 3, rows), close - 0.002 * random.integers(0, 3, rows), close


def path_by_numpy(high, low, close, close_touches, upper, lower, t, ahead) -> tuple:
    """What `path_columns` says of one row."""
    behind = slice(t + 1, t + 1 + ahead)
    path = close[t : t + 1 + ahead]
    tops, bottoms = (close, close) if close_touches else (high, low)
    ups, downs = np.flatnonzero(tops[behind] >= upper[t]), np.flatnonzero(bottoms[behind] <= lower[t])
    up, down = (offsets[0] + 1 if offsets.size else np.inf for offsets in (ups, downs))
    first = min(up, down)
    touches = (up <= ahead, down <= ahead, 0 if first > ahead else 1 if up < down else -1, first)
    excursions = (
        max(high[behind].max() / close[t] - 1, 0),
        min(low[behind].min() / close[t] - 1, 0),
        (path / np.maximum.accumulate(path)).min() - 1,
        path[-1] / path[0] - 1,
    )
    return (*map(float, touches[:3]), first if first <= ahead else np.nan, *excursions, up == down and first <= ahead)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 2600),
    longest=st.sampled_from([1, 2, 7, 8, SHORT, SHORT + 1, 63, 64, 500, 1023, 1500]),
    lengths=st.sampled_from(["equal", "any", "none"]),
    close_touches=st.booleans(),
)
def test_columns_equal_numpy_across_blocks(seed, rows, longest, lengths, close_touches):
    high, low, close = walk(rows, seed)
    random = np.random.default_rng(seed)
    upper = np.round(close * random.choice([1.02, 1.1, 1.5], rows), 2) + 0.01
    lower = np.round(close * random.choice([0.5, 0.9, 0.98], rows), 2) - 0.01
    ahead = {"equal": np.full(rows, longest), "any": random.integers(0, longest + 1, rows), "none": np.zeros(rows, int)}
    ahead = np.where(np.arange(rows) + ahead[lengths] < rows, ahead[lengths], 0)
    made = path_columns(high, low, close, close_touches, upper, lower, ahead)
    for t in range(0, rows, 1 + rows // 80):
        row = [column[t] for column in made]
        if ahead[t]:
            expected = path_by_numpy(high, low, close, close_touches, upper, lower, t, ahead[t])
            np.testing.assert_array_equal(row, expected)
        else:
            assert np.isnan(row[:-1]).all()
            assert not row[-1]


@pytest.mark.parametrize("close_touches", [False, True])
def test_scanning_and_spans_give_the_same_bits(close_touches):
    """One long path makes spans of all, which scanning had done before."""
    rows = 4 * BLOCK
    high, low, close = walk(rows, 1)
    ahead = np.random.default_rng(0).integers(0, SHORT + 1, rows)
    ahead[-SHORT - 1 :] = 0
    scanned = path_columns(high, low, close, close_touches, close * 1.03, close * 0.97, ahead)
    ahead[0] = SHORT + 1
    of_spans = path_columns(high, low, close, close_touches, close * 1.03, close * 0.97, ahead)
    for one, other in zip(scanned, of_spans, strict=True):
        np.testing.assert_array_equal(one[1:].view(f"i{one.itemsize}"), other[1:].view(f"i{one.itemsize}"))


@pytest.mark.parametrize(("upper", "lower"), [(1.0, 0.9), (1.1, 1.0), (np.nan, 0.9), (1.1, np.nan)])
def test_a_close_that_is_not_between_its_barriers_has_none(upper, lower):
    rows = SCANNED_BLOCK + 9
    high, low, close = np.full(rows, 2.0), np.full(rows, 0.5), np.ones(rows)
    for horizon in (3, SHORT + 3):
        ahead = np.where(np.arange(rows) + horizon < rows, horizon, 0)
        barriers = np.full(rows, upper), np.full(rows, lower)
        *touches, rise, drop, fall, change, both = path_columns(high, low, close, False, *barriers, ahead)
        assert np.isnan(touches).all()
        assert not both.any()
        assert [column[0] for column in (rise, drop, fall, change)] == [1.0, -0.5, 0.0, 0.0]


def test_barriers_at_infinity_and_at_zero_are_never_touched():
    high, low, close = walk(200, 3)
    ahead = np.where(np.arange(200) < 190, 10, 0)
    up, down, first, offset, *_ = path_columns(high, low, close, False, np.full(200, np.inf), np.zeros(200), ahead)
    assert not up[:190].any()
    assert not down[:190].any()
    assert not first[:190].any()
    assert np.isnan(offset).all()


def test_no_bars():
    nothing = np.empty(0)
    made = path_columns(nothing, nothing, nothing, False, nothing, nothing, np.empty(0, np.int64))
    assert [len(column) for column in made] == [0] * 9
