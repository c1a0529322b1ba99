"""Labels against an obvious loop over every kind of horizon, and nothing after a label's end in the label."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from bokeh_sampledata.stocks import AAPL
from hypothesis import example, given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from DATA_PROCESSING.labels import LABELS, build_labels, first_needed, label_names, label_of, settled_rows

COLUMNS = ["y_will_peak", "y_will_valley", "y_first_touch", "TTH", "MFE", "MAE", "MDD"]
BARRIER_COLUMNS = COLUMNS[:4]
NANOSECONDS = {"m": 60 * 10**9, "h": 3600 * 10**9}
DEFAULTS = {"horizon": 5, "barrier": 1.0, "vol_window": 10, "touch": "high_low"}


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


def intraday_bars(rows: int, seed: int, tick: float = 0.0) -> pd.DataFrame:
    """Bars of a minute, some of which are missing, in sessions of about twenty."""
    random = np.random.default_rng(seed)
    minutes = np.where(random.random(rows) < 0.05, 1440, random.choice([1, 1, 1, 1, 2, 7], rows)).cumsum()
    timestamp = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(minutes, "min")
    return random_bars(rows, seed, tick).assign(timestamp=timestamp.as_unit("ns"))


def numbered_sessions(rows: int, seed: int, gap_share: float, bars_per_session: int = 1) -> np.ndarray:
    """Sessions of one bar or of several, of which some are missing."""
    random = np.random.default_rng(seed)
    begins = random.random(rows) * bars_per_session < 1
    return (begins * (1 + (random.random(rows) < gap_share) * random.integers(0, 30, rows))).cumsum()


def path_by_loop(times, sessions, t, horizon) -> list[int]:
    """The rows of the path of bar t; none where there is no label."""
    if isinstance(horizon, int):
        if t + horizon >= len(times) or (sessions is not None and sessions[t + horizon] - sessions[t] > 2 * horizon):
            return []
        return list(range(t + 1, t + horizon + 1))
    count, later = int(horizon[:-1]), range(t + 1, len(times))
    if horizon[-1] == "d":
        is_over = sessions[-1] > sessions[t] + count
        return [u for u in later if sessions[u] <= sessions[t] + count] if is_over else []
    end = times[t] + count * NANOSECONDS[horizon[-1]]
    return [u for u in later if times[u] <= end] if end <= times[-1] else []


def expected_by_loop(times, sessions, t, horizon, vol_window) -> float:
    """Bars that the path was to have; t is at least vol_window."""
    if isinstance(horizon, int):
        return horizon
    count = int(horizon[:-1])
    if horizon[-1] == "d":
        if sessions[0] > sessions[t] - count:
            return math.nan
        return sum(1 for session in sessions[:t] if sessions[t] - count <= session < sessions[t])
    usual = np.median([times[u] - times[u - 1] for u in range(t - vol_window + 1, t + 1)])
    return count * NANOSECONDS[horizon[-1]] / usual


def labels_by_loop(bars, horizon, barrier, lower_barrier, vol_window, touch, sessions) -> tuple[pd.DataFrame, float]:
    """The definitions, word by word; also the share of first touches by a bar that touches both barriers."""
    high, low, close = (bars[name].tolist() for name in ("high", "low", "close"))
    times = bars["timestamp"].astype("int64").tolist()
    names = [*COLUMNS, f"fwd_ret_{horizon}"]
    rows, ends, both = [], [], []
    for t in range(len(bars)):
        row = dict.fromkeys(names, math.nan)
        rows.append(row)
        ends.append(pd.NaT)
        path = path_by_loop(times, sessions, t, horizon)
        if not path:
            continue
        ends[t] = bars["timestamp"][path[-1]]
        row["MFE"] = max(0.0, max(high[u] / close[t] - 1 for u in path))
        row["MAE"] = min(0.0, min(low[u] / close[t] - 1 for u in path))
        row["MDD"], peak = 0.0, close[t]
        for u in path:
            peak = max(peak, close[u])
            row["MDD"] = min(row["MDD"], close[u] / peak - 1)
        row[f"fwd_ret_{horizon}"] = close[path[-1]] / close[t] - 1
        if t < vol_window or len(set(close[t - vol_window : t + 1])) == 1:
            continue
        sigma = np.std([math.log(close[u] / close[u - 1]) for u in range(t - vol_window + 1, t + 1)], ddof=1)
        scale = sigma * math.sqrt(expected_by_loop(times, sessions, t, horizon, vol_window))
        if not scale > 0:
            continue
        upper, lower = close[t] * math.exp(barrier * scale), close[t] * math.exp(-(lower_barrier or barrier) * scale)
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
    values = column.to_numpy("datetime64[ns]") if column.name.startswith("label_end") else column.to_numpy()
    return values.view(f"i{values.itemsize}")


def assert_equal_to_the_loop(bars, *, sessions=None, horizons=(), lower_barrier=0.0, **options):
    labels = build_labels(bars, **options, horizons=horizons, lower_barrier=lower_barrier, sessions=sessions)
    options["lower_barrier"] = lower_barrier
    parts = []
    for further in horizons:
        part = labels_by_loop(bars, **options | {"horizon": further}, sessions=sessions)[0]
        parts.append(part.rename(columns=lambda name, h=further: name if name.startswith("fwd") else f"{name}_h{h}"))
    expected, both = labels_by_loop(bars, **options, sessions=sessions)
    expected = pd.concat([expected, *parts], axis=1)
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
    lower_barrier=st.sampled_from([0.0, 0.5, 3.0]),
    vol_window=st.integers(2, 20),
    touch=st.sampled_from(["high_low", "close"]),
    gap_share=st.sampled_from([None, 0.05, 0.4]),
)
def test_labels_equal_the_loop(rows, seed, tick, horizon, barrier, lower_barrier, vol_window, touch, gap_share):
    sessions = None if gap_share is None else numbered_sessions(rows, seed, gap_share)
    options = {"horizon": horizon, "barrier": barrier, "lower_barrier": lower_barrier, "vol_window": vol_window}
    assert_equal_to_the_loop(random_bars(rows, seed, tick), **options, touch=touch, sessions=sessions)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(0, 120),
    seed=st.integers(0, 10_000),
    tick=st.sampled_from([0.0, 0.0, 0.5]),
    horizons=st.lists(st.sampled_from([1, 4, 30, "2m", "9m", "45m", "1h", "23h", "1d", "3d"]), min_size=1, max_size=3,
                      unique=True),
    vol_window=st.integers(2, 12),
    touch=st.sampled_from(["high_low", "close"]),
)  # fmt: skip
def test_spans_and_several_horizons_equal_the_loop(rows, seed, tick, horizons, vol_window, touch):
    bars = intraday_bars(rows, seed, tick)
    sessions = numbered_sessions(rows, seed, 0.2, bars_per_session=12)
    options = {"horizon": horizons[0], "horizons": horizons[1:], "barrier": 1.0, "vol_window": vol_window}
    assert_equal_to_the_loop(bars, **options, touch=touch, sessions=sessions)


@pytest.mark.parametrize("touch", ["high_low", "close"])
@pytest.mark.parametrize("horizon", [5, 63, "72h", "5d"])
def test_labels_equal_the_loop_on_real_bars(horizon, touch):
    bars = pd.DataFrame({name: np.asarray(AAPL[name], float) for name in ("open", "high", "low", "close", "volume")})
    bars["timestamp"] = pd.to_datetime(AAPL["date"], utc=True).as_unit("ns")
    bars = bars[:2000] if isinstance(horizon, str) else bars  # the loop looks at every later bar
    labels = assert_equal_to_the_loop(
        bars, horizon=horizon, barrier=1.0, vol_window=60, touch=touch, sessions=np.arange(len(bars))
    )
    assert 0.05 < labels["y_will_peak"].mean() < 0.6
    assert 0.05 < labels["y_will_valley"].mean() < 0.6


def test_a_session_horizon_on_daily_bars_is_that_many_bars():
    """But the last session is over only when a later one has begun."""
    bars = random_bars(300, 1)
    options = {"barrier": 1.0, "vol_window": 20}
    of_sessions, of_bars = (build_labels(bars, horizon=h, **options).iloc[20:-6] for h in ("5d", 5))
    assert not of_sessions["fwd_ret_5d"].isna().any()
    pd.testing.assert_frame_equal(of_sessions.rename(columns={"fwd_ret_5d": "fwd_ret_5"}), of_bars)


def test_sessions_that_are_not_given_are_dates():
    bars = intraday_bars(300, 4)
    numbers = np.unique(bars["timestamp"].dt.date, return_inverse=True)[1]
    options = {"horizon": "2d", "barrier": 1.0, "vol_window": 10}
    pd.testing.assert_frame_equal(build_labels(bars, **options), build_labels(bars, **options, sessions=numbers))


def test_a_span_of_the_clock_ends_in_a_gap_and_a_bar_before_a_gap_has_no_label():
    minutes = pd.to_timedelta([0, 1, 2, 3, 1000, 1001, 1002, 1003, 1004, 1005], "min")
    bars = random_bars(10, 0).assign(timestamp=pd.Timestamp("2020-01-02", tz="UTC") + minutes)
    labels = build_labels(bars, horizon="2m", barrier=1.0, vol_window=2)
    ends = [labels["label_end"][t] for t in range(10)]
    assert ends[:3] == bars["timestamp"][[2, 3, 3]].tolist(), "the third path is cut short by the gap"
    assert pd.isna(ends[3])
    assert ends[4:8] == bars["timestamp"][6:10].tolist()
    assert pd.isna(ends[8:]).all(), "the span is not over"
    assert labels["fwd_ret_2m"][2] == bars["close"][3] / bars["close"][2] - 1
    assert labels["y_will_peak"][3:4].isna().all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(40, 1500),
    seed=st.integers(0, 10_000),
    horizon=st.sampled_from([1, 5, 21, 63, "9m", "1h", "2d"]),
    touch=st.sampled_from(["high_low", "close"]),
    share=st.floats(0, 1),
)
def test_nothing_after_the_end_of_a_label_matters(rows, seed, horizon, touch, share):
    bars, sessions = intraday_bars(rows, seed), numbered_sessions(rows, seed, 0.1, bars_per_session=12)
    kept = max(1, int(share * rows))
    prices = ["open", "high", "low", "close"]
    other = bars.copy()
    other.loc[kept:, prices] = random_bars(rows, seed + 1)[prices]
    options = {"horizon": horizon, "barrier": 1.0, "vol_window": 20, "touch": touch}
    whole, changed = (build_labels(b, **options, sessions=sessions) for b in (bars, other))
    cut = build_labels(bars.head(kept), **options, sessions=sessions[:kept])
    settled = settled_rows(bars.head(kept), {"horizons": [], **options}, sessions[:kept])
    known = whole["label_end"] <= bars["timestamp"][kept - 1]
    for name in whole:
        np.testing.assert_array_equal(bits(cut[name])[:settled], bits(whole[name])[:settled])
        np.testing.assert_array_equal(bits(changed[name])[known], bits(whole[name])[known])
    assert cut.iloc[settled:].isna().all(axis=None)
    assert (known | whole["label_end"].isna())[:settled].all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 400),
    seed=st.integers(0, 10_000),
    horizons=st.lists(st.sampled_from([1, 5, 30, "9m", "2h", "1d", "3d"]), min_size=1, max_size=3, unique=True),
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=8),
)
@example(rows=300, seed=0, horizons=["3d"], sizes=[40])  # a gap just before the sessions that are counted
def test_chunks_give_the_same_bits(rows, seed, horizons, sizes):
    """Pushed in chunks of any size, with no more rows kept than `first_needed` says."""
    bars, sessions = intraday_bars(rows, seed), numbered_sessions(rows, seed, 0.4, bars_per_session=8)
    options = {"horizon": horizons[0], "horizons": horizons[1:], "barrier": 1.0, "vol_window": 4}
    whole = build_labels(bars, **options, sessions=sessions)
    parts, begin, settled, stop, both = [], 0, 0, 0, 0.0
    for size in sizes * (rows // sum(sizes) + 1):
        stop = min(stop + size, rows)
        held, numbers = bars[begin:stop].reset_index(drop=True), sessions[begin:stop]
        now = settled_rows(held, options, numbers)
        assert now >= settled - begin, "what was settled stays so"
        part = build_labels(held, **options, sessions=numbers, rows=slice(settled - begin, now))
        both += np.nan_to_num(part.attrs["both_touched_share"]) * part["TTH"].notna().sum()
        parts.append(part)
        begin, settled = begin + first_needed(held, options, now, numbers), begin + now
    rest = build_labels(bars[begin:], **options, sessions=sessions[begin:], rows=slice(settled - begin, None))
    joined = pd.concat([*parts, rest], ignore_index=True)
    for name in whole:
        np.testing.assert_array_equal(bits(joined[name]), bits(whole[name]))
    both += np.nan_to_num(rest.attrs["both_touched_share"]) * rest["TTH"].notna().sum()
    share = whole.attrs["both_touched_share"]
    assert both == pytest.approx(np.nan_to_num(share) * whole["TTH"].notna().sum())


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


def test_barriers_do_not_depend_on_bars_that_will_be_missing():
    """What is missing after bar t shortens its path, but moves no barrier: one beyond reach stays there."""
    bars = intraday_bars(0, 0)
    minutes = pd.to_timedelta(np.arange(200), "min")
    bars = random_bars(200, 5).assign(timestamp=pd.Timestamp("2020-01-02", tz="UTC") + minutes)
    sessions = np.arange(200) // 20
    thin = np.r_[0:101, 139:200]  # of the path of bar 100 only the last bar of its second session is left
    for horizon in ("39m", "1d"):
        options = {"horizon": horizon, "barrier": 1.0, "vol_window": 20}
        labels = build_labels(bars.iloc[thin].reset_index(drop=True), **options, sessions=sessions[thin])
        steps = 39 if horizon == "39m" else 20
        sigma = np.std(np.diff(np.log(bars["close"][80:101])), ddof=1)
        for side, column in ((1, "high"), (-1, "low")):
            level = bars["close"][100] * math.exp(side * sigma * math.sqrt(steps))
            for reaches in (True, False):
                moved = bars.iloc[thin].reset_index(drop=True)
                moved.loc[101, column] = level * (1 + side * (1e-9 if reaches else -1e-9))
                labels = build_labels(moved, **options, sessions=sessions[thin])
                assert labels["label_end"][100] == bars["timestamp"][139]
                assert labels["y_will_peak" if side == 1 else "y_will_valley"][100] == reaches


def test_the_last_rows_are_missing_and_a_horizon_beyond_the_series_leaves_nothing():
    bars = random_bars(50, 0)
    labels = build_labels(bars, **DEFAULTS | {"horizon": 7})
    assert labels["label_end"].iloc[:43].tolist() == bars["timestamp"].iloc[7:].tolist()
    assert labels.iloc[43:].isna().all(axis=None)
    assert labels["fwd_ret_7"].iloc[:43].notna().all()
    for horizon in (50, 1000, "50d", "1200h"):
        labels = build_labels(bars, **DEFAULTS | {"horizon": horizon})
        assert len(labels) == 50
        assert labels.isna().all(axis=None)
        assert math.isnan(labels.attrs["both_touched_share"])


def test_flat_price_has_returns_but_no_barriers():
    bars = random_bars(40, 0).assign(open=0.1, high=0.1, low=0.1, close=0.1)
    labels = build_labels(bars, **DEFAULTS).iloc[:35]
    assert labels[BARRIER_COLUMNS].isna().all(axis=None)
    assert (labels[["MFE", "MAE", "MDD", "fwd_ret_5"]] == 0).all(axis=None)
    assert labels["label_end"].notna().all()


def test_zero_sigma_blanks_only_the_rows_whose_window_is_flat():
    bars = random_bars(80, 0)
    bars.loc[20:40, ["open", "high", "low", "close"]] = 10.0
    labels = build_labels(bars, **DEFAULTS)
    missing = labels["y_will_peak"].iloc[:75].isna()
    assert missing[missing].index.tolist() == [*range(10), *range(30, 41)]


def zigzag() -> tuple[pd.DataFrame, float]:
    """Bars whose last has a close of 100 before it, and the standard deviation of the ten returns up to there."""
    closes = [100.0, 101.0] * 5 + [100.0, 100.0]
    bars = random_bars(12, 0).assign(open=closes, high=closes, low=closes, close=closes)
    return bars, np.std(np.diff(np.log(closes[:11])), ddof=1)


def test_a_bar_touching_both_barriers_counts_as_the_lower():
    bars, sigma = zigzag()
    options = DEFAULTS | {"horizon": 1}
    labels = build_labels(bars, **options)
    assert labels.loc[10, BARRIER_COLUMNS[:3]].tolist() == [0, 0, 0]
    assert math.isnan(labels.loc[10, "TTH"])

    bars.loc[11, ["low", "high"]] = 100 * math.exp(-2 * sigma), 100 * math.exp(2 * sigma)
    labels = build_labels(bars, **options)
    assert labels.loc[10, BARRIER_COLUMNS].tolist() == [1, 1, -1, 1]
    assert labels.attrs["both_touched_share"] == 1
    labels = build_labels(bars, **options | {"touch": "close"})
    assert labels.loc[10, BARRIER_COLUMNS[:3]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("barrier", "lower_barrier"), [(1.5, 0.0), (1.5, 0.5), (0.5, 3.0)])
def test_each_barrier_has_its_own_distance(barrier, lower_barrier):
    bars, sigma = zigzag()
    options = DEFAULTS | {"horizon": 1, "barrier": barrier, "lower_barrier": lower_barrier}
    for share, touched in ((0.99, 0), (1.01, 1)):
        up, down = share * barrier * sigma, share * (lower_barrier or barrier) * sigma
        bars.loc[11, ["low", "high"]] = 100 * math.exp(-down), 100 * math.exp(up)
        labels = build_labels(bars, **options)
        assert labels.loc[10, ["y_will_peak", "y_will_valley"]].tolist() == [touched, touched]


def test_types_index_and_input_are_kept():
    bars = random_bars(60, 0).set_index(np.arange(60) + 5)
    before = bars.copy()
    labels = build_labels(bars, **DEFAULTS, excess=True)
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_index_equal(labels.index, bars.index)
    kinds = labels.dtypes.astype(str).to_dict()
    assert kinds == {
        **dict.fromkeys(BARRIER_COLUMNS, "float32"),
        **dict.fromkeys(["MFE", "MAE", "MDD", "fwd_ret_5", "fwd_excess_5"], "float64"),
        "label_end": "datetime64[ns, UTC]",
    }
    part = build_labels(bars, **DEFAULTS, excess=True, rows=slice(20, 30))
    pd.testing.assert_frame_equal(part, labels[20:30])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("horizon", 0),
        ("horizon", "5w"),
        ("horizon", "0m"),
        ("horizons", [0]),
        ("horizons", ["1.5h"]),
        ("barrier", 0.0),
        ("barrier", math.nan),
        ("lower_barrier", -1.0),
        ("vol_window", 1),
        ("touch", "closes"),
    ],
)
def test_settings_out_of_range_are_named(setting, value):
    shown = value[0] if isinstance(value, list) else value
    with pytest.raises(ConfigError, match=f"^{setting}: .*{shown}"):
        build_labels(random_bars(30, 0), **DEFAULTS | {setting: value})


@pytest.mark.parametrize("horizons", [[5], ["3d", 7, "3d"]])
def test_horizons_must_differ(horizons):
    with pytest.raises(ConfigError, match="^horizons: must differ from each other and from horizon 5, got"):
        build_labels(random_bars(30, 0), **DEFAULTS, horizons=horizons)


def test_a_span_in_which_no_bar_lies_gives_no_label():
    assert build_labels(random_bars(30, 0), **DEFAULTS | {"horizon": "4h"}).isna().all(axis=None)
    assert build_labels(random_bars(30, 0), **DEFAULTS | {"horizon": "24h"})["label_end"].notna().sum() == 29
    short = build_labels(random_bars(5, 0), **DEFAULTS | {"horizon": "4h"})
    assert short.isna().all(axis=None), "five bars may all stand around gaps"


def test_a_path_of_too_many_bars_is_refused(monkeypatch):
    monkeypatch.setattr("DATA_PROCESSING.labels.paths.LONGEST", 20)
    bars = random_bars(60, 0)
    build_labels(bars, **DEFAULTS | {"horizon": "20d"})
    with pytest.raises(ConfigError, match="^horizon: 21d is up to 21 bars here, and at most 20 are possible"):
        build_labels(bars, **DEFAULTS | {"horizon": "21d"})


@pytest.mark.parametrize(
    ("horizon", "horizons", "excess"),
    [(1, [], False), (1, [], True), (5, [20, 3], True), (5, [20, "3d"], False), ("5d", [5], False)],
)
def test_label_names_are_those_that_are_built(horizon, horizons, excess):
    options = DEFAULTS | {"horizon": horizon, "horizons": horizons, "excess": excess}
    labels = build_labels(random_bars(30, 0), **options)
    assert label_names(options) == list(labels.columns)
    rows = [label_of(name) for name in labels if not name.startswith("label_end")]
    assert [row.name for row in rows] == [name for name in labels if not name.startswith("label_end")]
    assert [row.text for row in rows] == [row.text for row in LABELS[: 8 + excess]] * (1 + len(horizons))
