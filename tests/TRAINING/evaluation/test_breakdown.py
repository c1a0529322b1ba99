from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.breakdown import GROUPS, breakdown, market_returns, regimes
from TRAINING.evaluation.metrics import MONEY_METRICS, PREDICTION_METRICS, score_predictions
from TRAINING.evaluation.portfolio import portfolio, score_portfolio

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def slow_regimes(market, window):
    names, volatilities = [], []
    for t in range(len(market)):
        past = market[t - window : t] if t >= window else []
        if len(past):
            volatilities.append(np.std(past, ddof=1))
        if len(volatilities) < window:
            names.append("unknown")
            continue
        low, high = np.quantile(volatilities, [1 / 3, 2 / 3])
        now = volatilities[-1]
        names.append("calm" if now <= low else "turbulent" if now > high else "middle")
    return names


@given(seeds, st.sampled_from([3, 10]))
@few
def test_regimes_equal_a_loop_that_sees_the_past_only(seed, window):
    random = np.random.default_rng(seed)
    market = pd.Series(random.normal(0, 0.01, 80) * np.repeat([1, 3, 0.5, 2], 20))
    found = regimes(market, window)
    assert found.tolist() == slow_regimes(market.tolist(), window)
    assert (found == "unknown").sum() == 2 * window - 1
    assert set(found) == {"unknown", "calm", "middle", "turbulent"}
    # Neither the session itself nor a later one says anything.
    cut = 50
    other = pd.concat([market[:cut], -5 * market[cut:]])
    assert regimes(other, window)[: cut + 1].tolist() == found[: cut + 1].tolist()


def test_sessions_without_a_return_have_no_regime_and_break_no_window():
    random = np.random.default_rng(0)
    market = pd.Series(random.normal(0, 0.01, 40))
    holes = market.copy()
    holes[[0, 20]] = np.nan
    found = regimes(holes, 5)
    assert found[holes.isna()].eq("unknown").all()
    assert found.drop([0, 20]).tolist() == regimes(market.drop([0, 20]), 5).tolist()


def test_the_market_is_the_mean_of_its_symbols_from_last_close_to_last_close():
    days = pd.to_datetime(["2020-01-02", "2020-01-02", "2020-01-03"])
    rows = pd.DataFrame(
        {
            "model": "a",
            "symbol": ["A"] * 3 + ["B"] * 3,
            "session": [*days, *days],
            "close": [90, 100, 110, 90, 100, 100.0],
        }
    )
    market = market_returns(pd.concat([rows, rows.iloc[:2].assign(model="b", close=1.0)]))
    assert np.isnan(market.iloc[0])
    assert market.iloc[1] == pytest.approx(0.05)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("bars", [1, 2])
@pytest.mark.parametrize("by", list(GROUPS))
def test_each_part_is_scored_as_it_would_be_alone(make_rows, task, bars, by):
    rows = make_rows(7, symbols=3, sessions=60, bars=bars, task=task)
    known = regimes(market_returns(rows), 8)
    named = {
        "symbol": rows["symbol"],
        "year": rows["session"].dt.year,
        "fold": rows["fold"],
        "regime": rows["session"].map(known),
    }[by]
    table = breakdown(rows, task, by, known if by == "regime" else None)
    assert len(table) == 3 * named.nunique()
    assert not table.duplicated([by, "model"]).any()
    for _, found in table.iterrows():
        part = rows[(named == found[by]) & (rows["model"] == found["model"])]
        model = part if by == "symbol" else rows[rows["model"] == found["model"]]
        sessions = sessions_per_year(np.unique(model["session"].to_numpy("datetime64[D]")))
        returns = portfolio(part)
        expected = score_portfolio(
            returns["net_return"], returns["turnover"], part["position"], part["asset_return"], sessions
        ).values
        if found["model"] == "buy_and_hold":
            expected |= {metric.name: np.nan for metric in PREDICTION_METRICS[task]}
            assert "no predictions" in found["reason"]
        else:
            expected |= score_predictions(task, part["y"], part["prediction"]).values
        assert found[list(expected)].astype(float).to_dict() == pytest.approx(expected, nan_ok=True)
        counts = (len(part), part["session"].nunique(), part["symbol"].nunique())
        assert tuple(found[["rows", "sessions", "symbols"]]) == counts


@given(seeds, st.sampled_from(list(GROUPS)))
@few
def test_parts_are_in_order_and_hold_every_row_once_in_any_order_of_rows(make_rows, seed, by):
    rows = make_rows(seed, sessions=25)
    table = breakdown(rows, "binary", by)
    assert table.groupby("model")["rows"].sum().to_dict() == rows["model"].value_counts().to_dict()
    assert list(table) == [
        by, "model", "rows", "sessions", "symbols",
        *(metric.name for metric in (*PREDICTION_METRICS["binary"], *MONEY_METRICS)), "reason",
    ]  # fmt: skip
    assert table[[by, "model"]].equals(table[[by, "model"]].sort_values([by, "model"]))
    other = rows.sample(frac=1, random_state=seed % 1000).astype({"model": "category", "symbol": "category"})
    if by != "regime":  # the market needs closes in time order
        pd.testing.assert_frame_equal(breakdown(other, "binary", by), table)


def test_regimes_are_told_from_calm_to_turbulent_and_by_default_from_the_rows(make_rows):
    rows = make_rows(1, sessions=200)
    table = breakdown(rows, "binary", "regime")
    assert table["regime"].drop_duplicates().tolist() == ["calm", "middle", "turbulent", "unknown"]
    unknown = table.set_index(["regime", "model"]).loc[("unknown", "ours")]
    assert unknown["sessions"] == (regimes(market_returns(rows)) == "unknown").sum() >= 120
    never = breakdown(rows, "binary", "regime", pd.Series(dtype=str))
    assert set(never["regime"]) == {"unknown"}


def test_a_target_without_a_money_rule_has_its_predictions_scored(make_rows):
    rows = make_rows(3).assign(**dict.fromkeys(["position", "position_change", "asset_return", "net_return"], np.nan))
    table = breakdown(rows, "binary", "fold").query("model == 'ours'")
    assert table["auc"].notna().all()
    assert table["sharpe"].isna().all()
    assert table["reason"].str.contains("no money rule").all()


def test_what_cannot_be_broken_down_is_one_clear_error(make_rows):
    rows = make_rows(0)
    with pytest.raises(ConfigError, match="did you mean 'symbol'"):
        breakdown(rows, "binary", "symbols")
    with pytest.raises(ConfigError, match="did you mean 'binary'"):
        breakdown(rows, "binry", "symbol")
    with pytest.raises(DataError, match="no rows"):
        breakdown(rows.iloc[:0], "binary", "symbol")
