from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.metrics import score_money
from TRAINING.evaluation.portfolio import by_session, cost_sensitivity, portfolio, position_shares, score_portfolio

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MONEY = ["position", "position_change", "asset_return", "net_return"]


def slow_portfolio(rows, keys):
    """Session by session, symbol by symbol, bar by bar."""
    table = []
    for key, own in rows.groupby([*keys, "session"]):
        symbols = []
        for _, bars in own.groupby("symbol"):
            gross = sum(
                position * moved for position, moved in zip(bars["position"], bars["asset_return"], strict=True)
            )
            symbols.append(
                (sum(bars["net_return"]), gross, sum(bars["position_change"]), np.mean(np.abs(bars["position"])))
            )
        table.append((*key, *np.mean(symbols, axis=0)))
    return pd.DataFrame(table, columns=[*keys, "session", "net_return", "gross_return", "turnover", "exposure"])


@given(seeds, st.sampled_from([1, 3]), st.sampled_from([("model",), ("fold", "model"), ("symbol", "model")]))
@few
def test_a_portfolio_equals_a_loop_over_sessions_symbols_and_bars(make_rows, seed, bars, keys):
    rows = make_rows(seed, symbols=3, sessions=12, bars=bars)
    found = portfolio(rows, keys)
    pd.testing.assert_frame_equal(found, slow_portfolio(rows, keys))
    # The order of the rows and the kind of the keys say nothing.
    other = rows.sample(frac=1, random_state=seed % 1000).astype({"model": "category", "symbol": "category"})
    pd.testing.assert_frame_equal(portfolio(other, keys).astype(found.dtypes), found)


@given(seeds)
@few
def test_money_in_is_money_out(make_rows, seed):
    """With an equal share of the capital in each symbol, what the accounts gain is what the portfolio gains."""
    rows = make_rows(seed, symbols=5, sessions=15)
    returns = portfolio(rows).set_index(["model", "session"])
    active = rows.groupby(["model", "session"])["symbol"].nunique()
    gained = rows.groupby(["model", "session"])["net_return"].sum() / active
    np.testing.assert_allclose(returns["net_return"], gained, atol=1e-15)
    paid = returns["gross_return"] - returns["net_return"]
    np.testing.assert_allclose(paid, 5 / 1e4 * returns["turnover"], atol=1e-15)


def test_a_symbol_counts_while_it_is_active_and_as_much_as_another():
    rows = pd.DataFrame(
        {
            "model": "ours",
            "symbol": ["A", "A", "A", "B"],
            "session": pd.to_datetime(["2020-01-02", "2020-01-02", "2020-01-03", "2020-01-02"]),
            "position": [1.0, 1.0, -0.5, 0.0],
            "position_change": [1.0, 0.0, 1.5, 0.0],
            "asset_return": [0.02, 0.01, 0.04, 0.5],
            "net_return": [0.02, 0.01, -0.02, 0.0],
        }
    )
    found = portfolio(rows)
    assert found["net_return"].tolist() == [pytest.approx(0.015), -0.02]
    assert found["gross_return"].tolist() == [pytest.approx(0.015), -0.02]
    assert found["turnover"].tolist() == [0.5, 1.5]
    assert found["exposure"].tolist() == [0.5, 0.5]


def test_later_sessions_never_change_earlier_ones(make_rows):
    rows = make_rows(1)
    cut = rows["session"].sort_values().iloc[len(rows) // 2]
    other = rows.copy()
    other.loc[other["session"] > cut, ["net_return", "position", "position_change"]] *= -3
    whole, changed, short = (
        part[part["session"] <= cut].reset_index(drop=True)
        for part in map(portfolio, (rows, other, rows[rows["session"] <= cut]))
    )
    pd.testing.assert_frame_equal(whole, changed, check_exact=True)
    pd.testing.assert_frame_equal(whole, short, check_exact=True)


def test_missing_values_are_left_out_of_means_and_sums():
    rows = pd.DataFrame(
        {
            "symbol": ["A", "A", "B", "C"],
            "session": pd.to_datetime(["2020-01-02"] * 4),
            "loss": [1.0, 3.0, np.nan, 6.0],
            "gain": [np.nan, np.nan, np.nan, np.nan],
        }
    )
    found = by_session(rows, (), total=("gain",), mean=("loss",))
    assert found["loss"].tolist() == [4]
    assert found["gain"].isna().all()


def test_without_a_money_rule_all_is_missing_and_the_reason_says_so(make_rows):
    rows = make_rows(2).assign(**dict.fromkeys(MONEY, None))
    assert portfolio(rows)[["net_return", "turnover", "exposure"]].isna().all(axis=None)
    table = cost_sensitivity(rows)
    assert table[["sharpe", "annual_return", "max_drawdown"]].isna().all(axis=None)
    assert set(table["reason"]) == {"sharpe, max_drawdown, annual_return: the target has no money rule"}
    assert position_shares(rows)[["long", "short", "flat", "position"]].isna().all(axis=None)


def test_no_rows_are_no_portfolio(make_rows):
    found = portfolio(make_rows(0).iloc[:0])
    assert list(found) == ["model", "session", "net_return", "gross_return", "turnover", "exposure"]
    assert not len(found)


# ---- costs ----


@given(seeds, st.sampled_from([1, 2]))
@few
def test_costs_are_those_of_a_backtest_at_that_price(make_rows, seed, bars):
    found = cost_sensitivity(make_rows(seed, bars=bars, cost_bps=5), (0, 5, 20)).set_index(["model", "cost_bps"])
    for cost in (0, 5, 20):
        rows = make_rows(seed, bars=bars, cost_bps=cost)
        sessions = sessions_per_year(np.unique(rows["session"].to_numpy("datetime64[D]")))
        for model, own in portfolio(rows).groupby("model"):
            bars_of = rows[rows["model"] == model]
            scores = score_money(own["net_return"], bars_of["position"], bars_of["asset_return"], sessions)
            for name in ("sharpe", "annual_return", "max_drawdown"):
                assert found.loc[(model, float(cost)), name] == pytest.approx(scores.values[name], abs=1e-12)


@given(seeds)
@few
def test_what_costs_take_is_linear_in_their_price(make_rows, seed):
    mean = {
        cost: portfolio(make_rows(seed, cost_bps=cost)).groupby("model")["net_return"].mean() for cost in (0, 5, 20)
    }
    np.testing.assert_allclose(mean[0] - mean[20], 4 * (mean[0] - mean[5]), atol=1e-15)
    assert (mean[5] <= mean[0]).all()


def test_a_cost_that_pays_is_refused(make_rows):
    for wrong in (-1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="finite and at least 0 bps"):
            cost_sensitivity(make_rows(0), (0, wrong))


# ---- scores ----


def test_scores_are_per_session_and_turnover_is_the_portfolios(make_rows):
    rows = make_rows(3, bars=2)
    own, returns = rows[rows["model"] == "ours"], portfolio(rows).query("model == 'ours'")
    scores = score_portfolio(
        returns["net_return"], returns["turnover"], own["position"], own["asset_return"], sessions_a_year=200
    )
    assert scores.values["sharpe"] == pytest.approx(
        returns["net_return"].mean() / returns["net_return"].std() * np.sqrt(200)
    )
    assert scores.values["turnover"] == pytest.approx(returns["turnover"].mean() * 200)
    assert scores.values["exposure"] == pytest.approx(own["position"].abs().mean())


def test_all_cash_earns_exactly_nothing_and_has_no_sharpe(make_rows):
    rows = make_rows(4).assign(position=0.0, position_change=0.0, net_return=0.0)
    assert (portfolio(rows)[["net_return", "gross_return", "turnover", "exposure"]] == 0).all(axis=None)
    table = cost_sensitivity(rows)
    assert table["sharpe"].isna().all()
    assert (table[["annual_return", "max_drawdown"]] == 0).all(axis=None)
    assert set(table["reason"]) == {"sharpe: the returns do not vary"}


def test_constant_returns_have_no_sharpe(make_rows):
    rows = make_rows(4).assign(position=0.1, position_change=0.0, asset_return=0.1, net_return=0.01)
    assert cost_sensitivity(rows)["sharpe"].isna().all()


def test_shares_of_positions(make_rows):
    rows = pd.DataFrame({"model": ["a"] * 4 + ["b"], "position": [1.0, 0.5, 0.0, -1.0, None]})
    found = position_shares(rows).set_index("model")
    assert found.loc["a"].to_dict() == {"long": 0.5, "short": 0.25, "flat": 0.25, "position": 0.125}
    assert found.loc["b"].isna().all()
    shares = position_shares(make_rows(5))
    np.testing.assert_allclose(shares[["long", "short", "flat"]].sum(axis=1), 1)
