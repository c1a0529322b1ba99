from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.adjust import adjust_bars, adjustable

RAW = pd.DataFrame(
    {
        "timestamp": pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06"], utc=True),
        "open": [100.0, 101.0, 50.5],
        "high": [104.0, 103.0, 53.0],
        "low": [99.0, 100.0, 50.0],
        "close": [102.0, 102.0, 52.0],
        "volume": [10.0, 20.0, 40.0],
        "adj_close": [51.0, 51.0, 52.0],
    }
)
PRICES = ["open", "high", "low", "close"]


def test_a_two_for_one_split_by_hand():
    adjusted = adjust_bars(RAW)
    assert list(adjusted.columns) == ["timestamp", *PRICES, "volume"]
    assert adjusted["open"].tolist() == [50.0, 50.5, 50.5]
    assert adjusted["high"].tolist() == [52.0, 51.5, 53.0]
    assert adjusted["close"].tolist() == [51.0, 51.0, 52.0]
    assert adjusted["volume"].tolist() == [20.0, 40.0, 40.0]


def test_without_adj_close_bars_stay_as_they_are():
    plain = RAW.drop(columns="adj_close")
    pd.testing.assert_frame_equal(adjust_bars(plain), plain)
    empty = RAW.assign(adj_close=np.nan)
    pd.testing.assert_frame_equal(adjust_bars(empty), plain)


def test_the_given_bars_are_not_changed():
    before = RAW.copy()
    adjust_bars(RAW)
    pd.testing.assert_frame_equal(RAW, before)


price = st.floats(1e-3, 1e6)


@st.composite
def valid_bars(draw):
    rows = []
    for _ in range(draw(st.integers(1, 20))):
        low, open_, close, high = sorted(draw(st.tuples(price, price, price, price)))
        rows.append((open_, high, low, close, draw(st.just(0.0) | st.floats(1e-3, 1e12)), draw(price)))
    stamps = pd.date_range("2020-01-01", periods=len(rows), tz="UTC")
    return pd.DataFrame(rows, columns=[*PRICES, "volume", "adj_close"]).assign(timestamp=stamps)


@settings(max_examples=80, deadline=None)
@given(valid_bars())
def test_adjusted_bars_are_valid_and_returns_follow_adj_close(bars):
    assert adjustable(bars).all()
    adjusted = adjust_bars(bars)
    body = adjusted[["open", "close"]]
    assert np.isfinite(adjusted[[*PRICES, "volume"]]).all(axis=None)
    assert (adjusted[PRICES] > 0).all(axis=None)
    assert (adjusted["low"] <= body.min(axis=1)).all()
    assert (adjusted["high"] >= body.max(axis=1)).all()
    np.testing.assert_allclose(adjusted["close"], bars["adj_close"], rtol=1e-12)
    for column in PRICES:  # within a bar nothing moves against the close
        np.testing.assert_allclose(adjusted[column] / adjusted["close"], bars[column] / bars["close"], rtol=1e-12)
    np.testing.assert_allclose(
        adjusted["volume"] * adjusted["close"], bars["volume"] * bars["close"], rtol=1e-12
    )  # money traded stays


@pytest.mark.parametrize(
    ("price", "volume", "adj_close"),
    [(1e-5, 1.0, 1e308), (10.0, 0.0, 5e-323), (1e10, 1e20, 1e-290)],
    ids=["a price becomes infinite", "a price becomes zero", "a volume becomes infinite"],
)
def test_a_factor_out_of_range_is_not_adjustable(price, volume, adj_close):
    bars = RAW.copy()
    bars.loc[1, ["open", "high", "low", "close", "volume", "adj_close"]] = [
        price, price, price / 100, price, volume, adj_close,
    ]  # fmt: skip
    assert adjustable(bars).tolist() == [True, False, True]
