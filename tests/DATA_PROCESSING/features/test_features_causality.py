"""Row t of every feature depends on bars up to t, and on prices and volumes only through ratios."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import COMPREHENSIVE, feature_table

FEATURES = feature_table("comprehensive")

CHARACTERS = st.sampled_from(["smooth", "ticks", "broken", "wild"])
SEEDS = st.integers(0, 10_000)
PRICES = ["open", "high", "low", "close"]

few_examples = settings(max_examples=25, deadline=None, derandomize=True)


def bits(features: pd.DataFrame) -> np.ndarray:
    """The exact float32 patterns: tells -0 from 0 and takes NaN for equal to NaN."""
    return np.ascontiguousarray(features.to_numpy()).view(np.uint32)


@pytest.fixture(scope="module")
def smooth_view(make_bars, with_market) -> tuple[pd.DataFrame, BarsView]:
    bars = with_market(make_bars(700, 5))
    return bars, BarsView.of(bars)


@few_examples
@given(seed=SEEDS, character=CHARACTERS, rows=st.integers(2, 1200), share=st.floats(0, 1))
def test_cutting_later_bars_changes_no_bit(make_bars, build, seed, character, rows, share):
    bars = make_bars(rows, seed, character)
    kept = max(1, int(share * rows))
    np.testing.assert_array_equal(bits(build(bars.head(kept))), bits(build(bars))[:kept])


@few_examples
@given(seed=SEEDS, character=CHARACTERS, rows=st.integers(2, 1200), share=st.floats(0, 1))
def test_other_later_bars_change_no_bit(make_bars, build, seed, character, rows, share):
    bars = make_bars(rows, seed, character)
    kept = max(1, int(share * rows))
    other = pd.concat([bars.head(kept), make_bars(rows, seed + 1, "broken").tail(rows - kept)], ignore_index=True)
    np.testing.assert_array_equal(bits(build(other))[:kept], bits(build(bars))[:kept])


def test_every_feature_but_dates_and_lags_reads_its_own_bar(make_bars, build):
    """So the two tests above would notice a feature that reads the bar after."""
    bars, others, changed = make_bars(400, 1, "ticks"), make_bars(400, 2, "ticks"), set()
    others["volume"] *= 100.0  # now and then the highest
    whole = bits(build(bars))
    for row in range(300, 400, 3):
        other = bars.copy()
        other.loc[row, [*PRICES, "volume"]] = others.loc[row, [*PRICES, "volume"]]
        new = bits(build(other))[row]
        changed |= {feature.name for feature, differs in zip(FEATURES, new != whole[row], strict=True) if differs}
    lags = {"log_return_1_lag_1", "log_return_1_lag_2", "log_return_1_lag_3"}
    lags |= {"momentum_60_5", "momentum_120_20", "momentum_250_20"}
    dates = {feature.name for feature in COMPREHENSIVE["dates"]}
    market = {"market_return_1", "market_return_5", "market_return_20", "market_vol_20"}
    assert {feature.name for feature in FEATURES} - changed == lags | dates | market


def peeking(bars: BarsView) -> np.ndarray:
    return np.append(bars.close[1:], bars.close[-1:]) / bars.close


def test_a_feature_that_looks_ahead_is_noticed(make_bars):
    features = (Feature("peeking", peeking, (), 0, "next close / close"),)
    bars = make_bars(300, 0)
    whole, cut = (bits(FeatureStream(features).push(part)) for part in (bars, bars.head(200)))
    np.testing.assert_array_equal(np.flatnonzero(cut[:, 0] != whole[:200, 0]), [199])


@pytest.mark.parametrize("lookback", sorted({feature.lookback for feature in FEATURES}))
def test_values_need_their_lookback_and_only_recursive_ones_need_more(smooth_view, lookback):
    bars, whole = smooth_view
    features = [feature for feature in FEATURES if feature.lookback == lookback]
    differs = dict.fromkeys(features, False)
    for row in (lookback, 300, 511, 512, 699):
        alone = bars.iloc[row - lookback : row + 1].reset_index(drop=True)
        window = BarsView.of(alone.assign(market_return=alone["market_return"].mask(alone.index == 0)))
        for feature in features:
            value = feature.compute(window, *feature.arguments)
            assert np.isfinite(value[-1]), feature.name
            assert not np.isfinite(value[:-1]).any(), feature.name
            differs[feature] |= bool(value[-1] != feature.compute(whole, *feature.arguments)[row])
    assert [f.name for f, differ in differs.items() if differ] == [f.name for f in features if f.recursive]


@few_examples
@given(seed=SEEDS, character=st.sampled_from(["smooth", "ticks", "broken"]), power=st.sampled_from([4.0, 0.125]))
def test_powers_of_two_leave_every_bit(make_bars, build, seed, character, power):
    bars = make_bars(500, seed, character)
    scaled = bars.assign(**{name: bars[name] * power for name in PRICES}, volume=bars["volume"] / power)
    np.testing.assert_array_equal(bits(build(scaled)), bits(build(bars)))


def assert_invariant(build: Callable, bars: pd.DataFrame, factor: float) -> None:
    scaled = bars.assign(**{name: bars[name] * factor for name in PRICES}, volume=bars["volume"] / factor)
    before, after = build(bars).astype(float), build(scaled).astype(float)
    for name in before:
        tolerance = 1e-5 * before[name].abs().max()
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=tolerance, err_msg=name)


@few_examples
@given(seed=SEEDS, character=st.sampled_from(["smooth", "ticks"]), factor=st.sampled_from([1.7, 0.013, 900.1]))
def test_scale_of_prices_and_volumes_does_not_matter(make_bars, build, seed, character, factor):
    assert_invariant(build, make_bars(500, seed, character), factor)


def test_scale_does_not_matter_on_real_bars(apple, build):
    assert_invariant(build, apple, 1.7)
