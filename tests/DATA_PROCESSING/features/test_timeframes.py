"""Coarser bars that grow with the finer ones: what has closed before each bar, whatever the chunks."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import FEATURES
from DATA_PROCESSING.features.timeframes import TIMEFRAME_FEATURES, CoarseBars, coarser_than

INTERVALS = st.sampled_from(["15m", "1h", "4h", "1d", "1w"])
CUTS = st.lists(st.integers(0, 120), max_size=12)


def random_bars(seed: int, minutes: int = 5, rows: int = 400, zone: str = "UTC") -> pd.DataFrame:
    """Bars of some minutes around the clock, with gaps of minutes and days, and the sessions of a zone."""
    random = np.random.default_rng(seed)
    steps = np.where(random.random(rows) < 0.9, 1, random.integers(1, 2 * 1440 // minutes, rows))
    timestamp = pd.Timestamp("2024-03-08 14:30", tz="UTC") + pd.to_timedelta(steps.cumsum() * minutes, unit="m")
    close = 50 * np.exp(random.normal(0, 0.01, rows).cumsum())
    bars = pd.DataFrame({"timestamp": timestamp.as_unit("ns"), "open": close * np.exp(random.normal(0, 0.001, rows))})
    bars["high"] = np.maximum(bars["open"], close) * 1.001
    bars["low"] = np.minimum(bars["open"], close) * 0.999
    bars["close"], bars["volume"] = close, random.lognormal(5, 1, rows)
    bars["session"] = timestamp.tz_convert(zone).tz_localize(None).floor("D").to_numpy()
    return bars


def bucket_of(interval: str, time: pd.Timestamp, session: pd.Timestamp) -> tuple:
    """What two bars of one coarser bar share, and what grows from one to the next."""
    if interval == "1w":
        return session.isocalendar()[:2]
    if interval == "1d":
        return (session,)
    return session, (time.tz_localize(None) - session) // pd.Timedelta(interval)


def slow(bars: pd.DataFrame, interval: str) -> tuple[pd.DataFrame, list[int]]:
    """All coarser bars but the open one, and how many closed before each bar."""
    runs: list[list[int]] = []
    position, latest = [], None
    for row in range(len(bars)):
        bucket = bucket_of(interval, bars["timestamp"][row], bars["session"][row])
        if bucket != latest:
            runs.append([])
        latest = bucket
        runs[-1].append(row)
        position.append(len(runs) - 1)
    joined = []
    for run in runs[:-1]:
        part, volume = bars.iloc[run], 0.0
        for value in part["volume"]:
            volume += value
        ends = part["timestamp"].iloc[0], part["open"].iloc[0], part["high"].max(), part["low"].min()
        joined.append((*ends, part["close"].iloc[-1], volume))
    return pd.DataFrame(joined, columns=["timestamp", *BAR_COLUMNS]), position


def pushed(bars: pd.DataFrame, interval: str, cuts: list[int], stored: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    coarse, closed, position, start = CoarseBars(interval), [], [], 0
    for cut in [*cuts, len(bars)]:
        some, places = coarse.push(bars.iloc[start : start + cut])
        closed.append(some)
        position.append(places)
        start += cut
        if stored:
            buffer = io.BytesIO()
            np.savez(buffer, **coarse.state())
            with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False) as arrays:
                coarse = CoarseBars(interval).restore(dict(arrays))
    return pd.concat([frame for frame in closed if len(frame)] or closed[:1], ignore_index=True), np.concatenate(
        position
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), interval=INTERVALS, zone=st.sampled_from(["UTC", "America/New_York"]))
def test_bars_equal_a_slow_loop(seed, interval, zone):
    bars = random_bars(seed, zone=zone, rows=200)
    expected, places = slow(bars, interval)
    closed, position = pushed(bars, interval, [])
    np.testing.assert_array_equal(position, places)
    pd.testing.assert_frame_equal(closed, expected, check_exact=True, check_dtype=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), interval=INTERVALS, cuts=CUTS, stored=st.booleans())
def test_chunks_change_no_bit(seed, interval, cuts, stored):
    bars = random_bars(seed)
    closed, position = pushed(bars, interval, [])
    in_chunks, places = pushed(bars, interval, cuts, stored)
    np.testing.assert_array_equal(places, position)
    pd.testing.assert_frame_equal(in_chunks, closed, check_exact=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), interval=INTERVALS, row=st.integers(0, 398))
def test_a_bar_sees_only_what_lies_before_its_own_bucket(seed, interval, row):
    bars = random_bars(seed)
    closed, position = pushed(bars, interval, [])
    later = bars.iloc[row + 1 :].assign(close=1.0, high=2.0, low=0.5, open=1.0, volume=9.0)
    for other in (bars.iloc[: row + 1], pd.concat([bars.iloc[: row + 1], later])):
        seen, places = pushed(other, interval, [])
        np.testing.assert_array_equal(places[: row + 1], position[: row + 1])
        pd.testing.assert_frame_equal(seen.head(places[row]), closed.head(position[row]), check_exact=True)
    own = bucket_of(interval, bars["timestamp"][row], bars["session"][row])
    before = [r for r in range(row) if bucket_of(interval, bars["timestamp"][r], bars["session"][r]) != own]
    last_close = bars["close"][before[-1]] if before else np.nan
    assert not before or closed["close"][position[row] - 1] == last_close


def test_the_last_closed_hour_across_a_gap():
    times = ["09:50", "09:55", "10:00", "10:05", "12:30", "12:35"]
    bars = random_bars(0, rows=6).assign(
        timestamp=pd.to_datetime([f"2024-03-08 {time}Z" for time in times]).as_unit("ns")
    )
    bars = bars.drop(columns="session")
    closed, position = CoarseBars("1h").push(bars)
    np.testing.assert_array_equal(position, [0, 0, 1, 1, 2, 2])
    assert closed["close"].tolist() == bars["close"][[1, 3]].tolist()
    closed, position = CoarseBars("1h", stamp="end").push(bars)
    np.testing.assert_array_equal(position, [0, 0, 0, 1, 2, 2])
    assert closed["close"].tolist() == bars["close"][[2, 3]].tolist()


def test_days_are_sessions_when_clocks_change():
    """New York moved its clocks on 2024-03-10; a session of 23 hours is one day, and sessions begin at other hours."""
    timestamp = pd.date_range("2024-03-08", "2024-03-13", freq="h", tz="America/New_York", inclusive="left")
    bars = random_bars(0, rows=len(timestamp)).assign(
        timestamp=timestamp.tz_convert("UTC").as_unit("ns"), session=timestamp.tz_localize(None).floor("D").to_numpy()
    )
    closed, position = CoarseBars("1d").push(bars)
    np.testing.assert_array_equal(np.bincount(position), [24, 24, 23, 24, 24])
    np.testing.assert_array_equal(closed["timestamp"].dt.hour, [5, 5, 5, 4])
    assert closed["volume"].iloc[2] == pytest.approx(bars["volume"][48:71].sum())


def test_a_feature_stream_looks_up_the_last_closed_bar():
    features = tuple(feature for feature in FEATURES if feature.name in TIMEFRAME_FEATURES)
    assert len(features) == len(TIMEFRAME_FEATURES)
    bars = random_bars(7, rows=3000)
    table = FeatureStream((), {"1h": features}).push(bars)
    closed, position = slow(bars, "1h")
    of_hours = FeatureStream(features).push(closed)
    assert list(table) == [f"{feature.name}_1h" for feature in features]
    position = np.array(position)
    seen = of_hours.to_numpy()[position[position > 0] - 1]
    assert np.isnan(table[position == 0]).all(axis=None)
    np.testing.assert_array_equal(table[position > 0], seen)
    assert np.isfinite(seen[-1]).all()


def test_only_coarser_intervals_are_used():
    def coarser(length: str, *intervals: str) -> list[str]:
        return coarser_than(np.timedelta64(pd.Timedelta(length)), intervals)

    assert coarser("5min", "1w", "1h", "5m", "1d", "1h") == ["1h", "1d", "1w"]
    assert coarser("1D", "1h", "1d", "1w") == ["1w"]
    assert coarser("7D", "1h", "1d", "1w") == []
    assert coarser_than(np.timedelta64("NaT"), ["1h"]) == []
    with pytest.raises(ConfigError, match="timeframes: expected minutes or hours such as 5m or 1h"):
        coarser("5min", "1 hour")
    with pytest.raises(ConfigError, match="timeframes: "):
        CoarseBars("2w")
