"""The panel's mean forward return against a loop, and the excess over it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.labels import build_labels, panel_forward_returns

SETTINGS = {"horizon": 3, "horizons": [7, 2], "barrier": 1.0, "vol_window": 5, "excess": True}


def thinned(bars: pd.DataFrame, seed: int, share: float) -> pd.DataFrame:
    return bars[np.random.default_rng(seed).random(len(bars)) < share].reset_index(drop=True)


def make_panel(make_bars, seed: int, share: float, symbols: int = 4) -> dict[str, pd.DataFrame]:
    return {f"S{i}": thinned(make_bars(40, seed + i), seed + i, share) for i in range(symbols)}


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.6])
def test_the_mean_is_over_what_is_known_at_the_label_end(make_bars, seed, share):
    panel = make_panel(make_bars, seed, share)
    returns = panel_forward_returns(panel, SETTINGS)
    labels = {symbol: build_labels(bars, **SETTINGS | {"excess": False}) for symbol, bars in panel.items()}
    for symbol, bars in panel.items():
        assert list(returns[symbol]) == ["panel_return_3", "panel_return_7", "panel_return_2"]
        for horizon, end in ((3, "label_end"), (7, "label_end_h7"), (2, "label_end_h2")):
            for t in range(len(bars)):
                known = []
                for other, its in panel.items():
                    for row in np.flatnonzero(its["timestamp"] == bars["timestamp"][t]):
                        if labels[other][end][row] <= labels[symbol][end][t]:
                            known.append(labels[other][f"fwd_ret_{horizon}"][row])
                mean = np.mean(known) if len(known) > 1 else math.nan
                assert returns[symbol][f"panel_return_{horizon}"][t] == pytest.approx(mean, nan_ok=True, abs=1e-15)


def test_excess_is_the_forward_return_less_the_panels(make_bars):
    panel = make_panel(make_bars, 0, 0.9)
    for symbol, returns in panel_forward_returns(panel, SETTINGS).items():
        labels = build_labels(panel[symbol].join(returns), **SETTINGS)
        for horizon in (3, 7, 2):
            excess = labels[f"fwd_ret_{horizon}"] - returns[f"panel_return_{horizon}"]
            pd.testing.assert_series_equal(labels[f"fwd_excess_{horizon}"], excess, check_names=False)
            assert excess.notna().sum() > 5


def test_without_a_panel_there_is_no_excess(make_bars):
    bars = make_bars(40)
    assert build_labels(bars, **SETTINGS)["fwd_excess_3"].isna().all()
    (alone,) = panel_forward_returns({"A": bars}, SETTINGS).values()
    assert alone.isna().all(axis=None), "a mean over the symbol alone says nothing"


def test_a_symbol_that_lags_is_no_part_of_what_others_know(make_bars):
    """C misses bar 12, so its paths from bars 9 to 11 end later than those of the others."""
    panel = {name: make_bars(40, seed) for seed, name in enumerate("ABC")}
    whole = panel_forward_returns(panel, SETTINGS)["A"]["panel_return_3"]
    panel["C"] = panel["C"].drop(index=12).reset_index(drop=True)
    returns = {name: table["panel_return_3"] for name, table in panel_forward_returns(panel, SETTINGS).items()}
    without = panel_forward_returns({name: panel[name] for name in "AB"}, SETTINGS)["A"]["panel_return_3"]
    np.testing.assert_array_equal(returns["A"][9:13], without[9:13])
    np.testing.assert_array_equal(returns["A"].drop(range(9, 13)), whole.drop(range(9, 13)))
    assert (returns["A"][9:12] != whole[9:12]).all()
    assert (returns["C"][9:12] != returns["A"][9:12]).all(), "C itself knows all three"


def test_other_rows_do_not_change_a_bit(make_bars):
    panel = make_panel(make_bars, 3, 0.9)
    before = panel_forward_returns(panel, SETTINGS)
    cut = {symbol: bars[bars["timestamp"] < panel["S0"]["timestamp"][25]] for symbol, bars in panel.items()}
    after = panel_forward_returns(cut, SETTINGS)
    for symbol, returns in after.items():
        same = returns.notna().all(axis=1)
        assert same.sum() > 5
        np.testing.assert_array_equal(returns[same], before[symbol][: len(returns)][same])


@pytest.mark.parametrize("span", ["30m", "5d"])
def test_spans_have_no_excess(make_bars, span):
    settings = SETTINGS | {"horizons": [span]}
    with pytest.raises(ConfigError, match=f"^excess: needs horizons in bars, got {span}"):
        panel_forward_returns({"A": make_bars(40)}, settings)
    with pytest.raises(ConfigError, match="^excess"):
        build_labels(make_bars(40), **settings)
