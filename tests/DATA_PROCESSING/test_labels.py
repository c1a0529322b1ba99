"""Labels against an obvious loop, and nothing after t + H in the label of t."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from bokeh_sampledata.stocks import AAPL
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from DATA_PROCESSING.labels import LABELS, build_labels, deepest_fall, first_reach, label_names, label_of, task_of

COLUMNS = ["y_will_peak", "y_will_valley", "y_first_touch", "TTH", "MFE", "MAE", "MDD"]
BARRIER_COLUMNS = COLUMNS[:4]


def random_bars(rows: int, seed: int, tick: float = 0.0) -> pd.DataFrame:
    """A random walk; with a tick, prices are rounded to it, so that some stay where they are for a while."""
    random = np.random.default_rng(seed)
    close = 10 * np.exp(random.normal(0, 0.02, rows).cumsum())
    opening = close * np.exp(random.normal(0, 0.01, rows))
    high = np.maximum(opening, close) * np.exp(np.abs(random.normal(0, 0.01, rows)))
    low = np.minimum(opening, close) * np.exp(-np.abs(random.normal(0, 0.01, rows)))
    prices = {"open": opening, "high": high, "low": low, "close": close}
    if tick:
        prices = {name: np.maximum(np.round(price / tick), 1) * tick for name, price in prices.items()}
    timestamp = pd.date_range("2020-01-01", periods=rows, freq="D", tz="UTC").as_unit("ns")
    return pd.DataFrame({"timestamp": timestamp, **prices, "volume": 1.0})


def labels_by_loop(bars, horizon, barrier, vol_window, touch, sessions) -> tuple[pd.DataFrame, float]:
    """The definitions, word by word; also the share of first touches by a bar that touches both barriers."""
    high, low, close = (bars[name].tolist() for name in ("high", "low", "close"))
    names = [*COLUMNS, f"fwd_ret_{horizon}"]
    rows, ends, both = [], [], []
    for t in range(len(bars)):
        row = dict.fromkeys(names, math.nan)
        rows.append(row)
        ends.append(pd.NaT)
        if t + horizon >= len(bars) or sessions[t + horizon] - sessions[t] > 2 * horizon:
            continue
        ends[t] = bars["timestamp"][t + horizon]
        path = range(t + 1, t + horizon + 1)
        row["MFE"] = max(0.0, max(high[u] / close[t] - 1 for u in path))
        row["MAE"] = min(0.0, min(low[u] / close[t] - 1 for u in path))
        row["MDD"], peak = 0.0, close[t]
        for u in path:
            peak = max(peak, close[u])
            row["MDD"] = min(row["MDD"], close[u] / peak - 1)
        row[f"fwd_ret_{horizon}"] = close[t + horizon] / close[t] - 1
        if t < vol_window or len(set(close[t - vol_window : t + 1])) == 1:
            continue
        sigma = np.std([math.log(close[u] / close[u - 1]) for u in range(t - vol_window + 1, t + 1)], ddof=1)
        upper, lower = (close[t] * math.exp(side * barrier * sigma * math.sqrt(horizon)) for side in (1, -1))
        ups = [u - t for u in path if (close[u] if touch == "close" else high[u]) >= upper]
        downs = [u - t for u in path if (close[u] if touch == "close" else low[u]) <= lower]
        up, down = min(ups, default=math.inf), min(downs, default=math.inf)
        row["y_will_peak"], row["y_will_valley"] = float(bool(ups)), float(bool(downs))
        row["y_first_touch"] = 0.0 if not ups and not downs else -1.0 if down <= up else 1.0
        row["TTH"] = min(up, down) if ups or downs else math.nan
        if ups or downs:
            both.append(up == down)
    labels = pd.DataFrame(rows, columns=names)
    labels["label_end"] = pd.DatetimeIndex(ends, tz="UTC").as_unit("ns")
    return labels, float(np.mean(both)) if both else math.nan


def bits(column: pd.Series) -> np.ndarray:
    values = column.to_numpy("datetime64[ns]") if column.name == "label_end" else column.to_numpy()
    return values.view(f"i{values.itemsize}")


def assert_equal_to_the_loop(bars, *, sessions=None, **settings_):
    labels = build_labels(bars, **settings_, sessions=sessions)
    expected, both = labels_by_loop(bars, **settings_, sessions=np.arange(len(bars)) if sessions is None else sessions)
    assert list(labels) == list(expected)
    pd.testing.assert_frame_equal(labels, expected.astype(labels.dtypes), rtol=0, atol=0)
    assert labels.attrs["both_touched_share"] == pytest.approx(both, nan_ok=True)
    return labels


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(0, 90),
    seed=st.integers(0, 10_000),
    tick=st.sampled_from([0.0, 0.0, 0.5]),
    horizon=st.integers(1, 40),
    barrier=st.sampled_from([0.3, 1.0, 2.0]),
    vol_window=st.integers(2, 20),
    touch=st.sampled_from(["high_low", "close"]),
    gap_share=st.sampled_from([None, 0.05, 0.4]),
)
def test_labels_equal_the_loop(rows, seed, tick, horizon, barrier, vol_window, touch, gap_share):
    bars = random_bars(rows, seed, tick)
    sessions = None
    if gap_share is not None:
        random = np.random.default_rng(seed)
        sessions = (1 + (random.random(rows) < gap_share) * random.integers(0, 30, rows)).cumsum()
    options = {"horizon": horizon, "barrier": barrier, "vol_window": vol_window, "touch": touch}
    assert_equal_to_the_loop(bars, **options, sessions=sessions)


@pytest.mark.parametrize("touch", ["high_low", "close"])
@pytest.mark.parametrize("horizon", [5, 63])
def test_labels_equal_the_loop_on_real_bars(horizon, touch):
    bars = pd.DataFrame({name: np.asarray(AAPL[name], float) for name in ("open", "high", "low", "close", "volume")})
    bars["timestamp"] = pd.to_datetime(AAPL["date"], utc=True).as_unit("ns")
    labels = assert_equal_to_the_loop(bars, horizon=horizon, barrier=1.0, vol_window=60, touch=touch)
    assert 0.1 < labels["y_will_peak"].mean() < 0.6
    assert 0.1 < labels["y_will_valley"].mean() < 0.6


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 2600), horizon=st.sampled_from([1, 2, 3, 7, 8, 500, 1023, 1500])
)
def test_kernels_equal_numpy_across_blocks(seed, rows, horizon):
    random = np.random.default_rng(seed)
    x = np.round(np.exp(random.normal(0, 0.05, rows).cumsum()), 2) + 0.01  # rounding makes values equal to a level
    level = np.round(x * random.choice([0.9, 1.0, 1.1], rows), 2)
    offset, highest = first_reach(x, level, horizon)
    fall = deepest_fall(x, horizon)
    assert len(offset) == len(highest) == len(fall) == max(rows - horizon, 0)
    for t in range(0, len(offset), 1 + len(offset) // 40):
        ahead = x[t + 1 : t + horizon + 1]
        reached = np.flatnonzero(ahead >= level[t])
        path = x[t : t + horizon + 1]
        assert offset[t] == (reached[0] + 1 if reached.size else horizon + 1)
        assert highest[t] == ahead.max()
        assert fall[t] == (path / np.maximum.accumulate(path)).min()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(40, 1500),
    seed=st.integers(0, 10_000),
    horizon=st.sampled_from([1, 2, 5, 16, 21, 63]),
    touch=st.sampled_from(["high_low", "close"]),
    share=st.floats(0, 1),
)
def test_nothing_after_the_horizon_matters(rows, seed, horizon, touch, share):
    bars = random_bars(rows, seed)
    kept = max(1, int(share * rows))
    other = pd.concat([bars.head(kept), random_bars(rows, seed + 1).tail(rows - kept)], ignore_index=True)
    known = max(kept - horizon, 0)
    options = {"horizon": horizon, "barrier": 1.0, "vol_window": 20, "touch": touch}
    whole, cut, changed = (build_labels(b, **options) for b in (bars, bars.head(kept), other))
    for name in whole:
        np.testing.assert_array_equal(bits(cut[name])[:known], bits(whole[name])[:known])
        np.testing.assert_array_equal(bits(changed[name])[:known], bits(whole[name])[:known])
    assert cut.iloc[known:].isna().all(axis=None)


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_the_last_bar_of_the_horizon_matters(horizon):
    bars = random_bars(200, 3)
    higher = bars.copy()
    higher.loc[100 + horizon, ["high", "close"]] = 1e3
    before, after = (
        build_labels(b, horizon=horizon, barrier=1.0, vol_window=20, touch="close") for b in (bars, higher)
    )
    changed = (before != after) & ~(before.isna() & after.isna())
    assert changed.loc[100, ["MFE", f"fwd_ret_{horizon}"]].all()
    assert not changed.loc[:99].any(axis=None)


def test_the_last_rows_are_missing_and_a_horizon_beyond_the_series_leaves_nothing():
    bars = random_bars(50, 0)
    labels = build_labels(bars, horizon=7, barrier=1.0, vol_window=10, touch="high_low")
    assert labels["label_end"].iloc[:43].tolist() == bars["timestamp"].iloc[7:].tolist()
    assert labels.iloc[43:].isna().all(axis=None)
    assert labels["fwd_ret_7"].iloc[:43].notna().all()
    for horizon in (50, 1000):
        labels = build_labels(bars, horizon=horizon, barrier=1.0, vol_window=10, touch="high_low")
        assert len(labels) == 50
        assert labels.isna().all(axis=None)
        assert math.isnan(labels.attrs["both_touched_share"])


def test_flat_price_has_returns_but_no_barriers():
    bars = random_bars(40, 0).assign(open=0.1, high=0.1, low=0.1, close=0.1)
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=10, touch="high_low").iloc[:35]
    assert labels[BARRIER_COLUMNS].isna().all(axis=None)
    assert (labels[["MFE", "MAE", "MDD", "fwd_ret_5"]] == 0).all(axis=None)
    assert labels["label_end"].notna().all()


def test_zero_sigma_blanks_only_the_rows_whose_window_is_flat():
    bars = random_bars(80, 0)
    bars.loc[20:40, ["open", "high", "low", "close"]] = 10.0
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=10, touch="high_low")
    missing = labels["y_will_peak"].iloc[:75].isna()
    assert missing[missing].index.tolist() == [*range(10), *range(30, 41)]


def test_a_bar_touching_both_barriers_counts_as_the_lower():
    closes = [100.0, 101.0] * 5 + [100.0, 100.0]
    bars = random_bars(12, 0).assign(open=closes, high=closes, low=closes, close=closes)
    sigma = np.std(np.diff(np.log(closes[:11])), ddof=1)
    labels = build_labels(bars, horizon=1, barrier=1.0, vol_window=10, touch="high_low")
    assert labels.loc[10, BARRIER_COLUMNS[:3]].tolist() == [0, 0, 0]
    assert math.isnan(labels.loc[10, "TTH"])

    bars.loc[11, ["low", "high"]] = 100 * math.exp(-2 * sigma), 100 * math.exp(2 * sigma)
    labels = build_labels(bars, horizon=1, barrier=1.0, vol_window=10, touch="high_low")
    assert labels.loc[10, BARRIER_COLUMNS].tolist() == [1, 1, -1, 1]
    assert labels.attrs["both_touched_share"] == 1
    labels = build_labels(bars, horizon=1, barrier=1.0, vol_window=10, touch="close")
    assert labels.loc[10, BARRIER_COLUMNS[:3]].tolist() == [0, 0, 0]


def test_types_index_and_input_are_kept():
    bars = random_bars(60, 0).set_index(np.arange(60) + 5)
    before = bars.copy()
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=10, touch="high_low")
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_index_equal(labels.index, bars.index)
    kinds = labels.dtypes.astype(str).to_dict()
    assert kinds == {
        **dict.fromkeys(BARRIER_COLUMNS, "float32"),
        **dict.fromkeys(["MFE", "MAE", "MDD", "fwd_ret_5"], "float64"),
        "label_end": "datetime64[ns, UTC]",
    }


@pytest.mark.parametrize(
    ("setting", "value"),
    [("horizon", 0), ("barrier", 0.0), ("barrier", math.nan), ("vol_window", 1), ("touch", "closes")],
)
def test_settings_out_of_range_are_named(setting, value):
    options = {"horizon": 5, "barrier": 1.0, "vol_window": 10, "touch": "close"} | {setting: value}
    with pytest.raises(ConfigError, match=f"^{setting}: .*{value}"):
        build_labels(random_bars(30, 0), **options)


def test_label_table_covers_the_built_columns():
    labels = build_labels(random_bars(30, 0), horizon=3, barrier=1.0, vol_window=10, touch="close")
    rows = [label_of(name) for name in labels.columns.drop("label_end")]
    assert [row.name for row in rows] == [*COLUMNS, "fwd_ret_3"]
    assert [row.text for row in rows] == [row.text for row in LABELS]
    assert {row.name for row in rows if row.task == "binary"} == {"y_will_peak", "y_will_valley"}
    rules = {row.name: row.money_rule for row in rows if row.money_rule}
    assert rules == {
        "y_will_peak": "long_flat",
        "y_will_valley": "short_flat",
        "y_first_touch": "sign",
        "fwd_ret_3": "sign",
    }


@pytest.mark.parametrize("column", ["y_mine", "mfe", "fwd_ret_0", "fwd_ret_h", "fwd_ret_5x"])
def test_other_columns_are_not_ours(column):
    assert label_of(column) is None
    assert task_of(column, np.array([0, 1, 1])) == "binary"
    assert task_of(column, np.array([0, 1, 2])) == "regression"


def test_our_labels_task_does_not_depend_on_values():
    assert task_of("fwd_ret_5", np.array([0, 1])) == "regression"


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_label_names_are_those_that_are_built(horizon):
    labels = build_labels(random_bars(30, 0), horizon=horizon, barrier=1.0, vol_window=10, touch="close")
    assert label_names(horizon) == list(labels.columns)
