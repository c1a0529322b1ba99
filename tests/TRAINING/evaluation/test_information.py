from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from TRAINING.evaluation.information import decay, information, session_information

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CORRELATIONS = {"ic": scipy.stats.pearsonr, "rank_ic": scipy.stats.spearmanr}


def correlate(name, part):
    if part["y"].nunique() < 2 or part["prediction"].nunique() < 2:
        return np.nan
    return CORRELATIONS[name](part["prediction"], part["y"]).statistic


def of(table, model="ours", coefficient="rank_ic"):
    return table[(table["model"] == model) & (table["coefficient"] == coefficient)].iloc[0]


@given(seeds, st.sampled_from([1, 2]), st.sampled_from(["binary", "regression"]))
@few
def test_each_session_equals_scipy_on_its_symbols(make_rows, seed, bars, task):
    rows = make_rows(seed, symbols=7, sessions=8, bars=bars, task=task)
    found = session_information(rows, fewest_symbols=4).set_index(["model", "session"])
    labelled = rows[rows["y"].notna()]
    seen = 0
    for (model, session), part in labelled.groupby(["model", "session"]):
        row = found.loc[(model, session)]
        sections = [at for _, at in part.groupby("timestamp")]
        assert row["symbols"] == max(map(len, sections))
        for name in CORRELATIONS:
            values = [np.nan if len(at) < 4 or model == "buy_and_hold" else correlate(name, at) for at in sections]
            expected = np.mean([value for value in values if not np.isnan(value)] or [np.nan])
            assert row[name] == pytest.approx(expected, nan_ok=True)
            seen += 1
    assert seen == 2 * len(found)


def test_sessions_that_say_nothing_are_undefined():
    day = pd.Timestamp("2020-01-02")
    rows = pd.DataFrame({"model": "a", "symbol": list("ABCDE"), "session": day, "timestamp": day})
    varied = np.arange(5.0)
    for y, prediction in (
        (varied, np.full(5, 0.1)),  # whose mean is not exactly 0.1
        (np.full(5, 0.1), varied),
        (varied, np.where(varied == 2, np.nan, varied)),
        (np.where(varied == 2, np.nan, varied), varied),  # four symbols
    ):
        assert session_information(rows.assign(y=y, prediction=prediction))[["ic", "rank_ic"]].isna().all(axis=None)
    assert session_information(rows.assign(y=varied, prediction=varied**3))["rank_ic"].tolist() == [pytest.approx(1)]


def test_the_mean_and_its_error_of_overlapping_labels():
    """The standard error is the sum of Newey and West's paper, written out."""
    random = np.random.default_rng(3)
    days = pd.bdate_range("2020-01-01", periods=60)
    rows = pd.DataFrame({"session": np.repeat(days, 6), "symbol": list("ABCDEF") * 60, "model": "ours"})
    rows = rows.assign(timestamp=rows["session"], y=random.normal(size=360), prediction=random.normal(size=360))
    values = session_information(rows)["rank_ic"].to_numpy()
    found = of(information(rows, horizon=7))
    n, lags = 60, 12  # twice the overlap of 6, above 1.3 sqrt(60)
    centred = values - values.mean()
    variance = sum(c * c for c in centred) / n
    for lag in range(1, lags + 1):
        covariance = sum(centred[t] * centred[t - lag] for t in range(lag, n)) / n
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert found["icir"] == pytest.approx(np.mean(values) / np.std(values, ddof=1))
    assert found["t_statistic"] == pytest.approx(np.mean(values) / np.sqrt(variance / n))
    assert found[["method", "sessions", "left_out", "reason"]].tolist() == ["cross-section", 60, 0, ""]


@given(seeds, st.sampled_from([1, 2]))
@few
def test_of_few_symbols_the_mean_is_of_each_ones_correlation_through_time(make_rows, seed, bars):
    rows = make_rows(seed, symbols=3, sessions=30, bars=bars, task="regression")
    labelled = rows[rows["y"].notna() & (rows["model"] == "ours")]
    for name in CORRELATIONS:
        found = of(information(rows), coefficient=name)
        expected = np.mean([correlate(name, part) for _, part in labelled.groupby("symbol")])
        assert found["mean"] == pytest.approx(expected)
        assert found["method"] == "time series"
        assert np.isnan(found["deviation"])
        assert found["reason"].startswith("fewer than 5 symbols in most sessions")
        assert np.isfinite(found["t_statistic"])


def test_a_symbol_whose_predictions_do_not_vary_is_left_out_of_the_mean(make_rows):
    rows = make_rows(1, symbols=3, task="regression")
    rows.loc[rows["symbol"] == "S1", "prediction"] = 0.1
    labelled = rows[rows["y"].notna() & (rows["model"] == "ours")]
    expected = [correlate("rank_ic", part) for symbol, part in labelled.groupby("symbol") if symbol != "S1"]
    assert of(information(rows))["mean"] == pytest.approx(np.mean(expected))
    assert of(information(rows.assign(prediction=0.1)))["reason"].endswith("do not vary in any session")


def test_undefined_coefficients_have_a_reason(make_rows):
    rows = make_rows(2, symbols=6, sessions=40)
    table = information(rows)
    assert of(table, "buy_and_hold")["reason"] == "no predictions"
    assert np.isnan(of(table, "buy_and_hold")["mean"])
    hole = rows["prediction"].mask((rows["model"] == "ours") & (rows.groupby("model").cumcount() == 3))
    reason = of(information(rows.assign(prediction=hole)))["reason"]
    assert reason.startswith("1 of ")
    assert reason.endswith("predictions are not finite")
    assert of(information(rows.assign(y=np.nan)))["reason"] == "no row has a label"
    constant = of(information(rows.assign(prediction=0.3)))
    assert np.isnan(constant["mean"])
    assert constant["sessions"] == 0
    short = of(information(rows, horizon=20))
    assert np.isfinite(short["mean"])
    assert np.isnan(short["t_statistic"])
    assert "fewer than 8 horizons of 20" in short["reason"]
    with pytest.raises(ConfigError, match="at least 2; got 1"):
        information(rows, fewest_symbols=1)


def test_no_rows_have_no_coefficients(make_rows):
    rows = make_rows(0)
    assert list(session_information(rows.iloc[:0])) == ["model", "session", "symbols", "ic", "rank_ic"]
    assert not len(information(rows.iloc[:0]))


def test_decay_finds_the_lag_at_which_a_prediction_comes_true(make_rows):
    rows = make_rows(4, symbols=8, sessions=60, task="regression").sort_values(["model", "symbol", "timestamp"])
    bars = rows.groupby(["model", "symbol"])
    rows["prediction"] = bars["y"].shift(-2).fillna(0.0)  # knows the label of the bar after the next
    table = decay(rows[rows["model"] == "ours"], lags=(0, 1, 2, 3), fewest_symbols=2)
    ranks = table[table["coefficient"] == "rank_ic"].set_index("lag")["mean"]
    assert ranks[2] == pytest.approx(1)
    assert ranks.drop(2).abs().max() < 0.4
    now = table[table["lag"] == 0].drop(columns="lag").reset_index(drop=True)
    pd.testing.assert_frame_equal(now, information(rows[rows["model"] == "ours"], fewest_symbols=2))
    with pytest.raises(ConfigError, match="at least 0; got -1"):
        decay(rows, lags=(0, -1))
