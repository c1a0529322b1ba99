"""Row t of every feature depends on bars up to t, and on prices and volumes only through ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.features.build import build_features
from DATA_PROCESSING.features.feature import BarsView
from DATA_PROCESSING.features.table import FEATURES

CHARACTERS = st.sampled_from(["smooth", "ticks", "broken", "wild"])
SEEDS = st.integers(0, 10_000)
PRICES = ["open", "high", "low", "close"]

few_examples = settings(max_examples=25, deadline=None, derandomize=True)


def bits(features: pd.DataFrame) -> np.ndarray:
    """The exact float32 patterns: tells -0 from 0 and takes NaN for equal to NaN."""
    return np.ascontiguousarray(features.to_numpy()).view(np.uint32)


@few_examples
@given(seed=SEEDS, character=CHARACTERS, rows=st.integers(2, 1200), share=st.floats(0, 1))
def test_cutting_later_bars_changes_no_bit(make_bars, seed, character, rows, share):
    bars = make_bars(rows, seed, character)
    kept = max(1, int(share * rows))
    np.testing.assert_array_equal(bits(build_features(bars.head(kept))), bits(build_features(bars))[:kept])


@few_examples
@given(seed=SEEDS, character=CHARACTERS, rows=st.integers(2, 1200), share=st.floats(0, 1))
def test_other_later_bars_change_no_bit(make_bars, seed, character, rows, share):
    bars = make_bars(rows, seed, character)
    kept = max(1, int(share * rows))
    other = pd.concat([bars.head(kept), make_bars(rows, seed + 1, "broken").tail(rows - kept)], ignore_index=True)
    np.testing.assert_array_equal(bits(build_features(other))[:kept], bits(build_features(bars))[:kept])


def test_these_tests_would_notice_a_look_ahead(make_bars):
    bars = make_bars(300, 1)
    rising = bars.index[(bars["close"] > bars["close"].shift()) & (bars["low"] < bars["close"].shift())]
    other = bars.copy()
    other.loc[rising[60], "close"] = other.loc[rising[60], "low"]
    changed = (bits(build_features(other)) != bits(build_features(bars))).any(axis=0)
    by_name = dict(zip((feature.name for feature in FEATURES), changed, strict=True))
    blind_to_close = {
        "parkinson_20",
        "aroon_up_25",
        "aroon_down_25",
        "adx_14",
        "volume_to_mean_20",
        "volume_5_to_60",
        "volume_z_60",
    }
    blind_to_close |= {"range_rank_60"} | {name for name in by_name if name.startswith(("day_of_week", "month"))}
    assert {name for name, change in by_name.items() if not change} == blind_to_close


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_value_needs_its_lookback_and_only_recursive_ones_need_more(make_bars, feature):
    bars = make_bars(700, 5, "smooth")
    whole = feature.compute(BarsView.of(bars), *feature.arguments)
    differs = []
    for row in (feature.lookback, 300, 511, 512, 699):
        window = bars.iloc[row - feature.lookback : row + 1].reset_index(drop=True)
        value = feature.compute(BarsView.of(window), *feature.arguments)
        assert np.isfinite(value[-1])
        assert not np.isfinite(value[:-1]).any()
        differs.append(value[-1] != whole[row])
    assert any(differs) == feature.recursive


@few_examples
@given(seed=SEEDS, character=st.sampled_from(["smooth", "ticks", "broken"]), power=st.sampled_from([4.0, 0.125]))
def test_powers_of_two_leave_every_bit(make_bars, seed, character, power):
    bars = make_bars(400, seed, character)
    scaled = bars.assign(**{name: bars[name] * power for name in PRICES}, volume=bars["volume"] / power)
    np.testing.assert_array_equal(bits(build_features(scaled)), bits(build_features(bars)))


def assert_invariant(bars: pd.DataFrame, factor: float) -> None:
    scaled = bars.assign(**{name: bars[name] * factor for name in PRICES}, volume=bars["volume"] / factor)
    before, after = build_features(bars).astype(float), build_features(scaled).astype(float)
    for name in before:
        tolerance = 1e-5 * before[name].abs().max()
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=tolerance, err_msg=name)


@few_examples
@given(seed=SEEDS, character=st.sampled_from(["smooth", "ticks"]), factor=st.sampled_from([1.7, 0.013, 900.1]))
def test_scale_of_prices_and_volumes_does_not_matter(make_bars, seed, character, factor):
    assert_invariant(make_bars(400, seed, character), factor)


def test_scale_does_not_matter_on_real_bars(apple):
    assert_invariant(apple, 1.7)
