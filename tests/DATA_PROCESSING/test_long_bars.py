"""A symbol that is read in chunks has the bars, the quality and the splits that it has when it is read at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import Panel, UnusableSource, build_panel

NOW = pd.Timestamp("2026-01-01", tz="UTC")


def minutes(sessions: int, a_day: int = 120, seed: int = 0) -> pd.DataFrame:
    """Minute bars of a stock with some faults: bad rows, repeats, contradictions, none at all for a day."""
    random = np.random.default_rng(seed)
    days = pd.bdate_range("2024-01-02", periods=sessions)
    timestamp = (days.to_numpy()[:, None] + np.timedelta64(14, "h") + np.arange(a_day) * np.timedelta64(1, "m")).ravel()
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.0005, timestamp.size)))
    prices = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close}
    times = pd.DatetimeIndex(timestamp, tz="UTC")
    bars = pd.DataFrame({"timestamp": times, **prices, "volume": random.integers(1, 900, close.size)})
    bars.loc[[100, 170], "high"] = 1.0
    bars.loc[230, "volume"] = -1
    rows = [bars, bars.iloc[[200, 201]], bars.iloc[[300]].assign(close=bars["close"][300] * 1.0001)]
    return pd.concat(rows).sort_values("timestamp", kind="stable", ignore_index=True)


def in_chunks(table: pd.DataFrame, size: int):
    """A reader as sources have it: rows of one timestamp lie in one chunk."""
    times = table["timestamp"].to_numpy()

    def read():
        start = 0
        while start < len(table):
            stop = int(np.searchsorted(times, times[min(start + size, len(table)) - 1], side="right"))
            yield table.iloc[start:stop].reset_index(drop=True)
            start = stop

    return read


def panels(bars: pd.DataFrame, size: int, **settings) -> tuple[Panel, Panel]:
    settings = load_run_config("bars", settings)
    table = read_table(bars, "a.csv", "UTC", "A")
    whole = build_panel("source", table, {}, settings, NOW)
    return whole, build_panel("source", table[:0], {}, settings, NOW, {"A": in_chunks(table, size)})


def joined(panel: Panel) -> tuple[pd.DataFrame, np.ndarray]:
    bars, numbers = zip(*panel.chunks("A"), strict=True)
    return pd.concat(bars, ignore_index=True), np.concatenate(numbers)


@pytest.mark.parametrize("size", [50, 97, 1000, 10**6])
@pytest.mark.parametrize("resample", ["", "5m", "1h", "1d", "1w"])
def test_chunks_change_nothing(size: int, resample: str):
    whole, long = panels(minutes(12), size, resample=resample)
    for one, other in zip(joined(whole), joined(long), strict=True):
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        else:
            np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(whole.bad_rows, long.bad_rows, check_dtype=False)
    np.testing.assert_array_equal(whole.sessions, long.sessions)
    measured = ["symbol", "rows", "first", "last", "bad_rows", "reasons", "duplicates", "problem", "stale"]
    pd.testing.assert_frame_equal(whole.quality[measured], long.quality[measured], check_dtype=False)
    assert whole.symbols == long.symbols == ["A"]
    assert whole.bar_length == long.bar_length


def test_splits_are_found_and_adjusted_for():
    bars = minutes(80)
    before = bars["timestamp"] < pd.Timestamp("2024-03-01", tz="UTC")
    bars.loc[before, ["open", "high", "low", "close"]] *= 4.0
    bars.loc[before, "volume"] = (bars.loc[before, "volume"] / 4).round()
    whole, long = panels(bars, 1000, adjust="infer")
    assert whole.splits["ratio"].tolist() == long.splits["ratio"].tolist() == [4.0]
    pd.testing.assert_frame_equal(joined(whole)[0], joined(long)[0], check_exact=True)


def test_an_adjusted_close_in_some_rows_only_is_judged_as_a_whole():
    bars = minutes(10)
    bars["adj_close"] = bars["close"] / 2
    bars.loc[1100:, "adj_close"] = np.nan
    whole, long = panels(bars, 200)
    pd.testing.assert_frame_equal(joined(whole)[0], joined(long)[0], check_exact=True)
    assert whole.quality["reasons"].tolist() == long.quality["reasons"].tolist()


def test_a_symbol_that_cannot_be_read_is_one_symbol_less():
    def broken():
        raise DataError("a.parquet: 2024-01-02 comes after 2024-01-03")
        yield

    other = read_table(minutes(3), "b.csv", "UTC", "B")
    panel = build_panel("source", other, {}, load_run_config("bars"), NOW, {"A": broken})
    assert panel.symbols == ["B"]
    assert panel.quality.set_index("symbol").loc["A", "problem"] == "a.parquet: 2024-01-02 comes after 2024-01-03"
    with pytest.raises(UnusableSource, match="no usable bar"):
        build_panel("source", other[:0], {}, load_run_config("bars"), NOW, {"A": broken})


def test_an_interval_that_is_too_fine_is_the_symbol_s_problem():
    with pytest.raises(UnusableSource, match="cannot be parted"):
        panels(minutes(3).iloc[::10], 100, resample="5m")[1]
