"""The built table: shape, types, missing values, and what undefined ratios become."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest
from numba.core.registry import CPUDispatcher

import DATA_PROCESSING.features
from DATA_PROCESSING.features.build import build_features, feature_names
from DATA_PROCESSING.features.table import FEATURES


def test_names_are_unique_and_not_reserved():
    names = feature_names()
    assert len(set(names)) == len(names) >= 60
    assert "vol_ratio" in names
    reserved = ("y_", "TTH", "MFE", "MAE", "MDD", "fwd_", "label_", "regime_", "latent_", "p_")
    assert not [name for name in names if name.startswith(reserved)]


def test_table_has_the_bars_index_and_float32_columns_in_order(make_bars):
    bars = make_bars(200, 0).set_index(np.arange(200) + 7)
    before = bars.copy()
    features = build_features(bars)
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_index_equal(features.index, bars.index)
    assert list(features) == feature_names()
    assert set(features.dtypes) == {np.dtype("float32")}


def test_first_finite_row_is_the_lookback_and_nothing_is_missing_after(make_bars, apple):
    for bars in (make_bars(400, 3), apple):
        finite = np.isfinite(build_features(bars).to_numpy())
        lookbacks = [feature.lookback for feature in FEATURES]
        np.testing.assert_array_equal(finite.argmax(axis=0), lookbacks)
        np.testing.assert_array_equal(finite.sum(axis=0), len(bars) - np.array(lookbacks))


@pytest.mark.parametrize("rows", [0, 1, 2, 19])
def test_few_bars_give_as_many_rows(make_bars, rows):
    features = build_features(make_bars(rows, 0))
    assert features.shape == (rows, len(FEATURES))
    assert features["vol_60"].isna().all()


@pytest.mark.parametrize("character", ["smooth", "ticks", "broken", "wild"])
@pytest.mark.parametrize("seed", range(5))
def test_infinity_never_appears(make_bars, character, seed):
    assert not np.isinf(build_features(make_bars(600, seed, character)).to_numpy()).any()


def test_constant_price_and_no_volume(make_bars):
    bars = make_bars(300, 0).assign(open=0.1, high=0.1, low=0.1, close=0.1, volume=0.0)
    features = build_features(bars).drop(
        columns=[name for name in feature_names() if name.startswith(("day_", "month"))]
    )
    settled = features.iloc[120:]
    zero = settled.columns[(settled == 0).all()]
    missing = settled.columns[settled.isna().all()]
    zero_names = [f"log_return_{n}" for n in (1, 5, 10, 20, 60, 120)] + ["vol_10", "vol_20", "vol_60", "parkinson_20"]
    zero_names += [
        "garman_klass_20",
        "atr_14",
        "direction_20",
        "macd_12_26",
        "macd_histogram_12_26_9",
        "bollinger_width_20",
    ]
    zero_names += [f"close_to_sma_{n}" for n in (10, 20, 50, 100)] + ["sma_10_to_sma_50", "close_to_ema_20", "slope_20"]
    assert set(zero) == {*zero_names, "gap", "true_range"}
    assert set(settled.columns) - set(zero) - set(missing) == {
        "aroon_up_25",
        "aroon_down_25",
        "close_rank_120",
        "range_rank_60",
    }


def test_a_constant_stretch_has_no_variation_after_huge_values(make_bars):
    bars = make_bars(400, 0)
    bars.loc[150:, ["open", "high", "low", "close"]] = 0.3
    bars.loc[:149, ["open", "high", "low", "close"]] *= 1e12
    features = build_features(bars).iloc[280:]
    assert (features[["vol_60", "close_to_sma_100", "slope_20", "bollinger_width_20"]] == 0).all(axis=None)
    assert (
        features[["vol_ratio", "cci_20", "close_z_60", "time_correlation_20", "return_to_vol_20"]].isna().all(axis=None)
    )


def test_a_bar_without_range_only_blanks_what_divides_by_it(make_bars):
    bars = make_bars(300, 0)
    bars.loc[200, ["open", "high", "low"]] = bars.loc[200, "close"]
    features = build_features(bars)
    blank = set(features.columns[features.loc[200].isna()])
    assert blank == {"close_position", "body", "upper_shadow"}
    assert features.drop(index=200).iloc[120:].notna().all(axis=None)


def test_each_kernel_compiles_once_even_for_read_only_bars(make_bars):
    bars = make_bars(200, 0)
    for name in ("open", "high", "low", "close", "volume"):
        values = bars[name].to_numpy().copy()
        values.flags.writeable = False
        bars[name] = pd.Series(values, copy=False)
    build_features(bars)
    build_features(make_bars(200, 0))
    package = DATA_PROCESSING.features
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, CPUDispatcher)}
    assert len(kernels) >= 10
    assert {kernel.__name__: len(kernel.signatures) for kernel in kernels if len(kernel.signatures) != 1} == {}
