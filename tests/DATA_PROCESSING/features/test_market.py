"""The market's return, its alignment to bars that are missing, and the features against it."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from DATA_PROCESSING.features.feature import BarsView
from DATA_PROCESSING.features.market import FEWEST_SYMBOLS, MARKET, align, market_returns, rolling_line
from DATA_PROCESSING.features.stream import FeatureStream

DAYS = pd.date_range("2020-01-06", periods=400, freq="D", tz="UTC").as_unit("ns")


def bars_of(closes: dict[int, float]) -> pd.DataFrame:
    """Bars with these closes on these days."""
    close = np.array(list(closes.values()), float)
    return pd.DataFrame({"timestamp": DAYS[list(closes)], "close": close})


def random_panel(seed: int, symbols: int = 4, days: int = 30, share: float = 0.7) -> dict[str, pd.DataFrame]:
    random = np.random.default_rng(seed)
    panel = {}
    for symbol in range(symbols):
        kept = np.flatnonzero(random.random(days) < share)
        panel[f"S{symbol}"] = bars_of(dict(zip(kept, np.exp(random.normal(0, 0.1, len(kept)).cumsum()), strict=True)))
    return panel


def slow_market(panel: dict[str, pd.DataFrame], index: str) -> dict[pd.Timestamp, float]:
    """Time to log return, written out."""
    seen: dict[pd.Timestamp, list[float]] = {}
    for symbol, frame in panel.items():
        if index not in ("", symbol):
            continue
        previous = np.nan
        for time, close in zip(frame["timestamp"], frame["close"], strict=True):
            seen.setdefault(time, []).append(np.log(close / previous))
            previous = close
    market = {}
    for time, returns in seen.items():
        known = [value for value in returns if not np.isnan(value)]
        needed = 1 if index else FEWEST_SYMBOLS
        if len(returns) >= needed:
            market[time] = np.mean(known) if len(known) >= needed else np.nan
    return market


def slow_align(market: dict[pd.Timestamp, float], times: list[pd.Timestamp]) -> list[float]:
    aligned = [np.nan]
    for before, now in pairwise(times):
        if before in market and now in market:
            aligned.append(sum(value for time, value in market.items() if before < time <= now))
        else:
            aligned.append(np.nan)
    return aligned[: len(times)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 1.0), symbols=st.integers(1, 6), named=st.booleans())
def test_returns_and_alignment_equal_a_slow_loop(seed, share, symbols, named):
    panel = random_panel(seed, symbols, share=share)
    index = "S0" if named else ""
    expected, market = slow_market(panel, index), market_returns(panel, index)
    assert list(market.index) == sorted(expected)
    np.testing.assert_allclose(market, [expected[time] for time in sorted(expected)], rtol=1e-12)
    for frame in panel.values():
        theirs = slow_align(expected, list(frame["timestamp"]))
        np.testing.assert_allclose(align(market, frame["timestamp"]), theirs, rtol=1e-12, atol=1e-15)


def test_the_order_of_symbols_changes_no_bit():
    panel = random_panel(1, symbols=7)
    backwards = dict(reversed(panel.items()))
    np.testing.assert_array_equal(market_returns(panel), market_returns(backwards))


def test_a_symbol_with_missing_bars_is_compared_over_the_same_span():
    index = bars_of({0: 100, 1: 110, 2: 121, 3: 100})
    panel = {"INDEX": index, "A": bars_of({0: 10, 3: 11})}
    aligned = align(market_returns(panel, "INDEX"), panel["A"]["timestamp"])
    np.testing.assert_allclose(aligned, [np.nan, np.log(100 / 100)], atol=1e-15)


def test_an_index_that_is_missing_for_some_dates_is_unknown_there_and_said(caplog):
    panel = {"INDEX": bars_of({0: 100, 1: 110, 4: 121, 5: 110}), "A": bars_of(dict.fromkeys(range(6), 10.0))}
    with caplog.at_level(logging.WARNING):
        market = market_returns(panel, "INDEX")
    assert "index INDEX has no bar at 2 of the panel's 6 times (the first 2020-01-08" in caplog.text
    aligned = align(market, panel["A"]["timestamp"])
    # The return of day 4 spans three days, and A's only one.
    np.testing.assert_allclose(aligned, [np.nan, np.log(1.1), np.nan, np.nan, np.nan, np.log(110 / 121)])


def test_an_index_with_every_bar_warns_of_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        market_returns({"INDEX": bars_of({0: 1, 1: 2}), "A": bars_of({1: 3})}, "INDEX")
    assert not caplog.records


def test_a_stock_is_not_punished_for_the_weekends_of_a_currency():
    panel = {name: bars_of({4: 10, 7: price, 8: 12}) for name, price in (("A", 11), ("B", 13))}
    panel["COIN"] = bars_of({4: 5, 5: 6, 6: 6, 7: 7, 8: 7})
    aligned = align(market_returns(panel), panel["A"]["timestamp"])
    monday = np.mean([np.log(11 / 10), np.log(13 / 10), np.log(7 / 6)])
    tuesday = np.mean([np.log(12 / 11), np.log(12 / 13), 0.0])
    np.testing.assert_allclose(aligned, [np.nan, monday, tuesday])
    on_weekend = align(market_returns(panel), panel["COIN"]["timestamp"])
    np.testing.assert_array_equal(np.isnan(on_weekend), [True, True, True, True, False])


def test_an_unknown_index_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"index: no symbol 'SPX' in the panel; did you mean 'SPY'\?"):
        market_returns({"SPY": bars_of({0: 1}), "AAPL": bars_of({0: 1})}, "SPX")


@pytest.mark.parametrize("closes", [{}, {3: 1.0}])
def test_few_bars_have_no_market(closes):
    panel = {"A": bars_of(closes), "B": bars_of(closes)}
    assert np.isnan(align(market_returns(panel), panel["A"]["timestamp"])).all()
    assert len(market_returns({"A": panel["A"]})) == 0


@pytest.mark.parametrize("window", [5, 20])
def test_line_equals_numpy_on_the_known_pairs(window):
    random = np.random.default_rng(3)
    x = random.normal(0, 0.01, 300)
    y = 1.3 * x + random.normal(0, 0.01, 300)
    x[random.random(300) < 0.4] = np.nan
    y[random.random(300) < 0.1] = np.nan
    columns = rolling_line(x, y, window)
    seen = 0
    for row in range(300):
        part = slice(max(row - window + 1, 0), row + 1)
        known = np.isfinite(x[part]) & np.isfinite(y[part])
        if row < window or 2 * known.sum() < window:
            assert np.isnan([column[row] for column in columns]).all()
            continue
        seen += 1
        here, there = x[part][known], y[part][known]
        (slope, level), (squares,), *_ = np.polyfit(here, there, 1, full=True)
        expected = slope, np.corrcoef(here, there)[0, 1], np.sqrt(squares / (len(here) - 2)), here.std(ddof=1)
        np.testing.assert_allclose([column[row] for column in columns], expected, rtol=1e-8)
    assert 50 < seen < 290


def test_a_constant_market_has_no_beta_and_the_index_is_its_own_line():
    y = np.random.default_rng(0).normal(0, 0.01, 100)
    slope, correlation, _, deviation = rolling_line(np.full(100, 0.1), y, 20)
    assert np.isnan(slope).all()
    assert np.isnan(correlation).all()
    assert (deviation[20:] == 0).all()
    slope, correlation, error, _ = rolling_line(y, y, 20)
    assert (slope[20:] == 1).all()
    assert (error[20:] == 0).all()


@pytest.fixture(scope="module")
def against_market(make_bars) -> pd.DataFrame:
    bars = make_bars(500, 4)
    returns = np.log(bars["close"] / bars["close"].shift()).to_numpy()
    noise = np.random.default_rng(5).normal(0, 0.01, 500)
    return bars.assign(market_return=0.5 * returns + noise)


def expected_columns(bars: pd.DataFrame) -> dict[str, pd.Series]:
    own, market = np.log(bars["close"]).diff(), bars["market_return"].where(np.arange(len(bars)) > 0)
    betas = {n: own.rolling(n).cov(market) / market.rolling(n).var() for n in (60, 120)}
    errors = {
        n: np.sqrt(
            (own.rolling(n).var() - own.rolling(n).cov(market) ** 2 / market.rolling(n).var()) * (n - 1) / (n - 2)
        )
        for n in (20, 60)
    }
    sums = {n: market.rolling(n).sum() for n in (1, 5, 20, 60)}
    moves = {n: np.log(bars["close"]).diff(n) for n in (1, 5, 20, 60)}
    return {
        **{f"market_return_{n}": sums[n] for n in (1, 5, 20)},
        "market_vol_20": market.rolling(20).std(),
        **{f"beta_{n}": betas[n] for n in betas},
        "market_correlation_60": own.rolling(60).corr(market),
        **{f"residual_return_{n}": moves[n] - betas[60].shift(n) * sums[n] for n in (1, 5, 20)},
        **{f"idiosyncratic_vol_{n}": errors[n] for n in errors},
        **{f"excess_return_{n}": moves[n] - sums[n] for n in (20, 60)},
    }


def test_every_column_equals_pandas_and_begins_at_its_lookback(against_market):
    expected = expected_columns(against_market)
    assert list(expected) == [feature.name for feature in MARKET]
    for feature in MARKET:
        values = feature.compute(BarsView.of(against_market), *feature.arguments)
        theirs = expected[feature.name].to_numpy()
        np.testing.assert_allclose(values, theirs, rtol=1e-8, atol=1e-12, err_msg=feature.name)
        assert np.isfinite(values).argmax() == feature.lookback


@pytest.mark.parametrize("feature", MARKET, ids=lambda feature: feature.name)
def test_values_need_their_lookback_alone_bit_for_bit(against_market, feature):
    whole = feature.compute(BarsView.of(against_market), *feature.arguments)
    for row in (feature.lookback, 200, 333, 499):
        window = against_market.iloc[row - feature.lookback : row + 1].reset_index(drop=True)
        value = feature.compute(BarsView.of(window), *feature.arguments)
        assert value[-1] == whole[row]
        assert not np.isfinite(value[:-1]).any()


@pytest.mark.parametrize("feature", MARKET, ids=lambda feature: feature.name)
def test_later_bars_and_the_scale_of_prices_do_not_matter(against_market, feature):
    def compute(bars: pd.DataFrame) -> np.ndarray:
        return feature.compute(BarsView.of(bars), *feature.arguments)

    whole = compute(against_market)
    other = against_market.copy()
    other.loc[300:, ["open", "high", "low", "close"]] *= 3.0
    other.loc[300:, "market_return"] -= 0.5
    np.testing.assert_array_equal(compute(against_market.head(300)), whole[:300])
    np.testing.assert_array_equal(compute(other)[:300], whole[:300])
    assert not np.array_equal(compute(other)[300:], whole[300:], equal_nan=True)
    doubled = against_market.assign(**{name: against_market[name] * 2 for name in ("open", "high", "low", "close")})
    np.testing.assert_array_equal(compute(doubled), whole)


def test_chunks_change_no_bit(against_market):
    stream = FeatureStream(MARKET)
    pieces = pd.concat([stream.push(against_market.iloc[start : start + 83]) for start in range(0, 500, 83)])
    np.testing.assert_array_equal(pieces, FeatureStream(MARKET).push(against_market))


def test_without_a_market_there_is_no_column(make_bars):
    view = BarsView.of(make_bars(200, 0))
    for feature in MARKET:
        assert np.isnan(feature.compute(view, *feature.arguments)).all()
