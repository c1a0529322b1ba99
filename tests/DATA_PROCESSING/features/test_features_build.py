"""The built table: shape, types, missing values, and what undefined ratios become."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest
from numba.core.registry import CPUDispatcher

import DATA_PROCESSING.features
from DATA_PROCESSING.features.dates import civil
from DATA_PROCESSING.features.table import SETS, feature_table

FEATURES = feature_table("comprehensive")
NAMES = [feature.name for feature in FEATURES]
MARKET = [feature.name for feature in SETS["comprehensive"]["market"]]


def test_names_are_unique_and_not_reserved():
    assert len(set(NAMES)) == len(NAMES) >= 190
    reserved = ("y_", "TTH", "MFE", "MAE", "MDD", "fwd_", "label_", "regime_", "latent_", "p_")
    assert not [name for name in NAMES if name.startswith(reserved)]


def test_simple_is_part_of_comprehensive_in_the_same_order():
    simple = [feature.name for feature in feature_table("simple")]
    assert len(simple) == 67
    assert "vol_ratio" in simple
    assert simple == [name for name in NAMES if name in simple]
    for family, features in SETS["simple"].items():
        assert features == SETS["comprehensive"][family][: len(features)]


def test_lookbacks_stay_below_a_year():
    assert max(feature.lookback for feature in FEATURES) <= 260
    assert max(feature.lookback for feature in feature_table("simple")) <= 120


def test_table_has_the_bars_index_and_float32_columns_in_order(make_bars, build):
    bars = make_bars(200, 0).set_index(np.arange(200) + 7)
    before = bars.copy()
    features = build(bars)
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_index_equal(features.index, bars.index)
    assert list(features) == NAMES
    assert set(features.dtypes) == {np.dtype("float32")}


def test_first_finite_row_is_the_lookback_and_nothing_is_missing_after(make_bars, build, apple):
    for bars in (make_bars(400, 3), apple):
        finite = np.isfinite(build(bars).to_numpy())
        lookbacks = [feature.lookback for feature in FEATURES]
        np.testing.assert_array_equal(finite.argmax(axis=0), lookbacks)
        np.testing.assert_array_equal(finite.sum(axis=0), len(bars) - np.array(lookbacks))


@pytest.mark.parametrize("rows", [0, 1, 2, 19])
def test_few_bars_give_as_many_rows(make_bars, build, rows):
    features = build(make_bars(rows, 0))
    assert features.shape == (rows, len(FEATURES))
    assert features["vol_60"].isna().all()


@pytest.mark.parametrize("character", ["smooth", "ticks", "broken", "wild"])
@pytest.mark.parametrize("seed", range(5))
def test_infinity_never_appears(make_bars, build, character, seed):
    assert not np.isinf(build(make_bars(600, seed, character)).to_numpy()).any()


def test_constant_price_and_no_volume(make_bars, build):
    bars = make_bars(600, 0).assign(open=0.1, high=0.1, low=0.1, close=0.1, volume=0.0)
    dates = ("day_of", "month", "minute", "quarter", "time_gap")
    settled = build(bars).drop(columns=[name for name in NAMES if name.startswith(dates) or name in MARKET]).iloc[300:]
    zero = set(settled.columns[(settled == 0).all()])
    missing = set(settled.columns[settled.isna().all()])
    stays = {name for name in NAMES if name.startswith(("aroon_up", "aroon_down", "close_rank_2", "close_rank_120"))}
    stays |= {"range_rank_10", "range_rank_60", "return_rank_60", "unmoved_60", "volume_rank_60", "volume_rank_250"}
    stays |= {name for name in NAMES if "_rank_" in name and name.startswith(("log_return", "vol_", "bollinger"))}
    assert set(settled.columns) - zero - missing == stays
    moves = ("log_return", "overnight_20", "intraday_5", "acceleration", "momentum_60", "direction", "ewma_vol", "kst")
    moves += ("close_to_sma", "close_to_ema", "close_to_line", "close_to_tema", "bollinger_width_60", "macd", "trix")
    moves += ("slope", "to_high", "to_low", "drawdown", "ulcer", "range_spread", "parkinson_60", "yang_zhang", "run_10")
    ratios = ("skew", "kurtosis", "vol_ratio", "vol_of_vol", "return_to_vol", "autocorrelation", "rsi", "stochastic")
    ratios += ("volume_to_mean", "close_to_vwap", "obv", "illiquidity", "rescaled", "variance_ratio", "close_position")
    assert {name for name in NAMES if name.startswith(ratios)} <= missing


def test_a_constant_stretch_has_no_variation_after_huge_values(make_bars, build):
    bars = make_bars(400, 0)
    bars.loc[150:, ["open", "high", "low", "close"]] = 0.3
    bars.loc[:149, ["open", "high", "low", "close"]] *= 1e12
    features = build(bars).iloc[280:]
    assert (features[["vol_60", "close_to_sma_100", "slope_20", "bollinger_width_20"]] == 0).all(axis=None)
    assert (
        features[["vol_ratio", "cci_20", "close_z_60", "time_correlation_20", "return_to_vol_20"]].isna().all(axis=None)
    )


def test_a_bar_without_range_only_blanks_what_divides_by_it(make_bars, build):
    bars = make_bars(600, 0)
    bars.loc[400, ["open", "high", "low"]] = bars.loc[400, "close"]
    features = build(bars)
    blank = set(features.columns[features.loc[400].isna()])
    assert blank == {"close_position", "body", "upper_shadow", "lower_shadow"}
    assert features.drop(index=400).iloc[260:].notna().all(axis=None)


def test_no_two_columns_say_the_same(apple, build):
    columns = build(apple).drop(columns=MARKET).iloc[260:].astype(float)
    varying = columns.loc[:, columns.std() > 0]
    assert set(columns) - set(varying) == {"minute_of_day_sin", "minute_of_day_cos"}  # the bars are daily
    correlation = np.triu(varying.corr().abs().to_numpy(), 1)
    same = [(varying.columns[i], varying.columns[j]) for i, j in np.argwhere(correlation > 0.995)]
    assert same == []


def test_minute_bars_know_the_time_of_day(make_bars, build):
    timestamp = pd.date_range("2024-02-28 22:00", periods=1000, freq="7min", tz="UTC").as_unit("ns")
    features = build(make_bars(1000, 0).assign(timestamp=timestamp)).astype(float)
    minute = timestamp.hour * 60 + timestamp.minute
    angle = np.arctan2(features["minute_of_day_sin"], features["minute_of_day_cos"]) % (2 * np.pi)
    np.testing.assert_allclose(angle * 1440 / (2 * np.pi), minute, atol=1e-3)
    np.testing.assert_allclose(features["time_gap"][1:], 7 / 1440, rtol=1e-6)
    turning = (timestamp.month == 3) & (timestamp.day <= 3) | (timestamp.day == 29) | (timestamp.day == 28)
    assert 0 < turning.sum() < 1000
    np.testing.assert_array_equal(features["month_turn"], turning)


@pytest.mark.parametrize("day", ["1969-12-31", "1970-01-01", "1999-12-31", "2000-02-29", "2100-02-28", "2100-03-01"])
def test_the_calendar_is_right_on_odd_days(day):
    date = pd.Timestamp(day)
    parts = civil(np.array([date.value, date.value + 86_399_999_999_999], np.int64))
    assert parts.T.tolist() == [[date.dayofweek, date.month - 1, date.day, date.days_in_month]] * 2


def test_each_kernel_compiles_once_even_for_read_only_bars(make_bars, build):
    bars = make_bars(200, 0)
    for name in ("open", "high", "low", "close", "volume"):
        values = bars[name].to_numpy().copy()
        values.flags.writeable = False
        bars[name] = pd.Series(values, copy=False)
    build(bars)
    build(make_bars(200, 0))
    package = DATA_PROCESSING.features
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, CPUDispatcher)}
    used = {kernel for kernel in kernels if kernel.signatures}
    assert len(used) >= 15
    assert {kernel.__name__: len(kernel.signatures) for kernel in used if len(kernel.signatures) != 1} == {}
