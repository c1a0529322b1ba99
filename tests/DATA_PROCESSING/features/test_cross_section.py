"""Ranks and z-scores among the symbols of a panel, per timestamp."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.features.cross_section import FEWEST_VALUES, PANEL_FEATURES, panel_columns, panel_names
from DATA_PROCESSING.features.table import FEATURES

DAYS = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
Panel = dict[str, tuple[np.ndarray, np.ndarray]]


def random_panel(seed: int, symbols: int, columns: int = 2, distinct: int = 1000) -> Panel:
    """Symbols with some of the days, some of the values, and ties."""
    random = np.random.default_rng(seed)
    panel = {}
    for symbol in range(symbols):
        times = DAYS[random.random(len(DAYS)) < 0.8]
        values = random.integers(0, distinct, (len(times), columns)).astype(np.float32) / 7
        values[random.random(values.shape) < 0.2] = np.nan
        panel[f"S{symbol}"] = times, values
    return panel


def with_pandas(panel: Panel) -> dict[str, np.ndarray]:
    long = pd.concat(
        {symbol: pd.DataFrame(values.astype(float), times) for symbol, (times, values) in panel.items()},
        names=["symbol", "time"],
    )
    by_time = long.groupby("time")
    scores = (long - by_time.transform("mean")) / by_time.transform("std").replace(0.0, np.nan)
    enough = by_time.transform("count") >= FEWEST_VALUES
    rank, score = by_time.rank(pct=True).where(enough), scores.where(enough)
    return {
        symbol: np.stack([rank.loc[symbol], score.loc[symbol]], axis=2).reshape(len(times), -1)
        for symbol, (times, _) in panel.items()
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), symbols=st.integers(1, 12), distinct=st.sampled_from([1, 3, 1000]))
def test_columns_equal_pandas(seed, symbols, distinct):
    panel = random_panel(seed, symbols, distinct=distinct)
    ours, theirs = panel_columns(panel), with_pandas(panel)
    assert list(ours) == list(panel)
    for symbol in panel:
        assert ours[symbol].dtype == np.float32
        np.testing.assert_allclose(ours[symbol], theirs[symbol], rtol=1e-5, atol=1e-6)


def test_ties_share_their_mean_rank_and_equal_values_have_no_score():
    day = DAYS[:1]
    panel = {
        name: (day, np.array([[value, 5.0]], np.float32)) for name, value in zip("abcd", [1, 2, 2, 9], strict=True)
    }
    columns = panel_columns(panel)
    np.testing.assert_array_equal([columns[name][0, 0] for name in "abcd"], [0.25, 0.625, 0.625, 1.0])
    np.testing.assert_array_equal([columns[name][0, 2] for name in "abcd"], [0.625] * 4)
    assert np.isnan([columns[name][0, 3] for name in "abcd"]).all()


@pytest.mark.parametrize("known", [FEWEST_VALUES - 1, FEWEST_VALUES])
def test_too_few_values_have_no_place(known):
    values = [float(number) if number < known else np.nan for number in range(6)]
    columns = panel_columns({str(v): (DAYS[:1], np.array([[v]], np.float32)) for v in values})
    finite = [np.isfinite(column).all() for column in columns.values()]
    assert sum(finite) == (known if known >= FEWEST_VALUES else 0)


def test_rows_of_one_time_decide_alone():
    panel = random_panel(3, 8)
    whole = panel_columns(panel)
    cut = DAYS[30]
    new = {symbol: (times[times >= cut], values[times >= cut]) for symbol, (times, values) in panel.items()}
    for symbol, columns in panel_columns(new).items():
        np.testing.assert_array_equal(columns, whole[symbol][panel[symbol][0] >= cut])
    changed = {
        symbol: (times, np.where((times >= cut)[:, None], 1 - values, values))
        for symbol, (times, values) in panel.items()
    }
    for symbol, columns in panel_columns(changed).items():
        before = panel[symbol][0] < cut
        np.testing.assert_array_equal(columns[before], whole[symbol][before])
        assert not np.array_equal(columns[~before], whole[symbol][~before], equal_nan=True)


def test_the_order_of_symbols_changes_no_bit():
    panel = random_panel(4, 9, distinct=5)
    backwards = panel_columns(dict(reversed(panel.items())))
    for symbol, columns in panel_columns(panel).items():
        np.testing.assert_array_equal(columns, backwards[symbol])


def test_empty_panels_and_symbols_without_new_rows():
    assert panel_columns({}) == {}
    panel = random_panel(5, 4)
    panel["EMPTY"] = DAYS[:0], np.empty((0, 2), np.float32)
    assert panel_columns(panel)["EMPTY"].shape == (0, 4)


def test_names_are_of_features_of_the_table():
    assert set(PANEL_FEATURES) <= {feature.name for feature in FEATURES}
    assert panel_names()[:3] == ["log_return_1_panel_rank", "log_return_1_panel_z", "log_return_5_panel_rank"]
    assert len(set(panel_names())) == 2 * len(PANEL_FEATURES)
