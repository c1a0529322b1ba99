"""Bars of several characters for the feature tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from bokeh_sampledata.stocks import AAPL

from DATA_PROCESSING.features.feature import BarsView
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import feature_table


def _bars(rows: int, seed: int, character: str = "smooth") -> pd.DataFrame:
    """Random valid bars: ``smooth``; ``ticks`` (a cheap stock: ties, bars without range or volume); ``broken`` (flat
    stretches between jumps over many orders of magnitude); ``wild`` (anything a float can hold)."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 0.02, (4, rows))
    volume = random.lognormal(12, 1, rows)
    if character == "ticks":
        volume = np.where(random.random(rows) < 0.2, 0.0, np.round(volume))
    elif character == "broken":
        stretch = random.integers(0, max(rows // 60, 1), rows).cumsum() // max(rows // 2, 1)
        steps[:, stretch % 2 == 1] = 0.0
        steps[0] += np.where(random.random(rows) < 0.02, random.normal(0, 8, rows), 0.0)
        volume = volume * 10.0 ** random.integers(-9, 9, rows) * (stretch % 3 > 0)
    elif character == "wild":
        steps[0] = np.diff(random.uniform(-690, 690, rows), prepend=0.0)
        volume = 10.0 ** random.uniform(-300, 300, rows)
    close = (3.0 if character == "ticks" else 50.0) * np.exp(steps[0].cumsum())
    opening = close * np.exp(0.5 * steps[1])
    high = np.maximum(opening, close) * np.exp(0.5 * np.abs(steps[2]))
    low = np.minimum(opening, close) * np.exp(-0.5 * np.abs(steps[3]))
    prices = {"open": opening, "high": high, "low": low, "close": close}
    if character == "ticks":
        prices = {name: np.maximum(np.round(price * 25) / 25, 0.04) for name, price in prices.items()}
    timestamp = pd.date_range("2014-11-03", periods=rows, freq="B", tz="UTC").as_unit("ns")
    return pd.DataFrame({"timestamp": timestamp, **prices, "volume": volume})


@pytest.fixture(scope="session")
def make_bars() -> Callable[..., pd.DataFrame]:
    return _bars


@pytest.fixture(scope="session")
def apple() -> pd.DataFrame:
    """Unadjusted daily bars with three splits, in cents."""
    bars = pd.DataFrame({name: np.asarray(AAPL[name], float) for name in ("open", "high", "low", "close", "volume")})
    bars["low"] = bars[["open", "low", "close"]].min(axis=1)
    bars["high"] = bars[["open", "high", "close"]].max(axis=1)
    bars.insert(0, "timestamp", pd.to_datetime(AAPL["date"], utc=True).as_unit("ns"))
    return bars


def _with_market(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars with returns of a market, which is not known on the first."""
    returns = np.random.default_rng(7).normal(0, 0.01, len(bars))
    returns[:1] = np.nan
    return bars.assign(market_return=returns)


@pytest.fixture(scope="session")
def with_market() -> Callable[[pd.DataFrame], pd.DataFrame]:
    return _with_market


@pytest.fixture(scope="session")
def build() -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Every feature of the table, of one symbol's bars."""
    return lambda bars: FeatureStream(feature_table("comprehensive")).push(_with_market(bars))


@pytest.fixture(scope="session")
def viewed_bars(apple) -> list[tuple[pd.DataFrame, BarsView]]:
    """Bars with views that many tests share: what several features need is computed once."""
    return [(bars, BarsView.of(bars)) for bars in (_bars(1500, 11), apple)]
