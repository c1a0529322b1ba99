from __future__ import annotations

import empyrical
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.backtest import backtest
from TRAINING.evaluation.metrics import (
    MONEY_METRICS,
    PREDICTION_METRICS,
    row_loss,
    score_money,
    score_predictions,
)

seeds = st.integers(0, 2**32 - 1)


def binary_rows(seed, n_rows=80):
    random = np.random.default_rng(seed)
    y = np.append([0.0, 1.0], random.integers(0, 2, n_rows - 2))
    return y, np.round(random.random(n_rows), random.choice([1, 2, 8]))  # rounding makes ties


def regression_rows(seed, n_rows=80):
    random = np.random.default_rng(seed)
    y = np.round(random.normal(0, 0.03, n_rows), 3)
    return y, np.round(0.1 * y + random.normal(0, 0.01, n_rows), 3)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_binary_scores_equal_scikit_learn(seed):
    y, probability = binary_rows(seed)
    scores = score_predictions("binary", y, probability)
    assert scores.values == pytest.approx(
        {
            "auc": sklearn.metrics.roc_auc_score(y, probability),
            "log_loss": sklearn.metrics.log_loss(y, probability),
            "brier": sklearn.metrics.brier_score_loss(y, probability),
            "accuracy": sklearn.metrics.accuracy_score(y, probability > 0.5),
        }
    )
    assert scores.reasons == {}


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_regression_scores_equal_scikit_learn_and_scipy(seed):
    y, prediction = regression_rows(seed)
    signed = y != 0
    assert score_predictions("regression", y, prediction).values == pytest.approx(
        {
            "rank_ic": scipy.stats.spearmanr(y, prediction).statistic,
            "ic": scipy.stats.pearsonr(y, prediction).statistic,
            "rmse": sklearn.metrics.root_mean_squared_error(y, prediction),
            "mae": sklearn.metrics.mean_absolute_error(y, prediction),
            "r2": sklearn.metrics.r2_score(y, prediction),
            "accuracy": sklearn.metrics.accuracy_score(np.sign(y[signed]), np.sign(prediction[signed])),
        }
    )


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_mean_row_loss_is_the_metric(seed):
    y, probability = binary_rows(seed)
    assert row_loss("binary", y, probability).mean() == pytest.approx(sklearn.metrics.log_loss(y, probability))
    y, prediction = regression_rows(seed)
    assert row_loss("regression", y, prediction).mean() == pytest.approx(
        sklearn.metrics.mean_squared_error(y, prediction)
    )


def test_row_losses_are_finite_at_certain_mistakes_and_missing_where_labels_are():
    losses = row_loss("binary", [1, 0, 1, np.nan, 1], [0, 1, 1, 0.5, np.nan])
    assert losses[:2] == pytest.approx(-np.log(np.finfo(float).eps))
    assert losses[2] == pytest.approx(0)
    assert np.isnan(losses[3:]).all()
    assert np.isnan(row_loss("regression", [np.nan, 1], [1, np.nan])).all()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_without_a_label_are_left_out_and_counted(task):
    y, prediction = binary_rows(3)
    holes = y.copy()
    holes[::4] = np.nan
    kept = ~np.isnan(holes)
    scores = score_predictions(task, holes, np.where(kept, prediction, np.nan))
    assert scores.values == pytest.approx(score_predictions(task, y[kept], prediction[kept]).values, nan_ok=True)
    assert (scores.rows, scores.left_out) == (60, 20)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_missing_prediction_makes_every_metric_undefined(task):
    scores = score_predictions(task, [0, 1, 1], [0.1, np.nan, 0.9])
    assert np.isnan(list(scores.values.values())).all()
    assert set(scores.reasons) == set(scores.values)
    assert set(scores.reasons.values()) == {"1 of 3 predictions are not finite"}
    assert score_predictions(task, [np.nan], [0.1]).reasons["accuracy"] == "no row has a label"
    assert score_predictions(task, [], []).reasons["accuracy"] == "no row has a label"


def undefined(scores):
    assert {name for name, value in scores.values.items() if np.isnan(value)} == set(scores.reasons)
    return scores.reasons


def test_undefined_scores_are_nan_with_a_reason():
    one_class = score_predictions("binary", [1, 1], [0.2, 0.9])
    assert undefined(one_class) == {"auc": "the labels have one class only"}
    constant = score_predictions("regression", [0.1, -0.2, 0.3], [0.1, 0.1, 0.1])
    assert undefined(constant) == {"ic": "the predictions are constant", "rank_ic": "the predictions are constant"}
    assert set(undefined(score_predictions("regression", [0.1, 0.1], [0.1, 0.3]))) == {
        "ic",
        "rank_ic",
        "r2",
        "accuracy",
    }
    positive = score_predictions("regression", [0.1, 0.2, 0.0], [0.1, 0.3, 0.2])
    assert undefined(positive) == {"accuracy": "the labels do not have both signs"}
    huge = score_predictions("regression", [1e300, -1e300, 1.0], [1e300, 1e300, 2.0])
    assert undefined(huge)["rmse"] == "the numbers are too large or too small to compute it"


def test_a_zero_label_has_no_sign_and_a_zero_prediction_has_the_wrong_one():
    scores = score_predictions("regression", [1, -1, 0, 2, 3], [5, -1, 7, 0, -1])
    assert scores.values["accuracy"] == 2 / 4


@pytest.mark.parametrize(
    ("task", "y", "prediction", "error", "text"),
    [
        ("binry", [0], [0.5], ConfigError, "did you mean 'binary'"),
        ("binary", [0, 2], [0.5, 0.5], DataError, "0, 1 or missing"),
        ("binary", [0, 1], [0.5, 1.1], DataError, r"within \[0, 1\]"),
        ("binary", [0, 1], [-0.1, 1], DataError, r"within \[0, 1\]"),
        ("regression", [0, 1], [0.5], DataError, "one prediction per label"),
        ("regression", [[0, 1]], [[0.5, 1]], DataError, "one prediction per label"),
    ],
)
def test_bad_predictions_are_one_clear_error(task, y, prediction, error, text):
    with pytest.raises(error, match=text):
        score_predictions(task, y, prediction)


# ---- money ----


@given(seeds, st.sampled_from([12.0, 252.0]), st.integers(2, 300))
@settings(max_examples=40, deadline=None)
def test_money_scores_equal_empyrical(seed, periods, n_bars):
    random = np.random.default_rng(seed)
    returns = random.standard_t(4, n_bars) * 0.01
    returns[0] = -0.001  # some loss, so that every metric is defined
    values = score_money(returns, np.ones(n_bars), returns, periods).values
    assert {
        name: values[name] for name in ("sharpe", "sortino", "max_drawdown", "annual_return", "calmar", "volatility")
    } == (
        pytest.approx(
            {
                "sharpe": empyrical.sharpe_ratio(returns, annualization=periods),
                "sortino": empyrical.sortino_ratio(returns, annualization=periods),
                "max_drawdown": empyrical.max_drawdown(returns),
                "annual_return": empyrical.annual_return(returns, annualization=periods),
                "calmar": empyrical.calmar_ratio(returns, annualization=periods),
                "volatility": empyrical.annual_volatility(returns, annualization=periods),
            }
        )
    )


def test_trade_scores_by_hand():
    net_return = np.array([0.0, 0.02, -0.01, 0.04, -0.03, 0.0])
    position = np.array([0, 1, 1, -1, 0.5, 0])
    asset_return = np.array([0.01, 0.02, -0.01, -0.04, 0.0, 0.5])
    scores = score_money(net_return, position, asset_return, 252)
    assert scores.values["hit_rate"] == 2 / 4  # bars 1 and 3; bar 2 is wrong, and a return of 0 is a miss
    assert scores.values["profit_factor"] == pytest.approx(0.06 / 0.04)
    assert scores.values["win_loss_ratio"] == pytest.approx(0.03 / 0.02)
    assert scores.values["turnover"] == pytest.approx((1 + 0 + 2 + 1.5 + 0.5) / 6 * 252)
    assert scores.values["exposure"] == pytest.approx(3.5 / 6)
    assert scores.values["max_drawdown"] == pytest.approx(-0.03)
    assert (scores.rows, scores.left_out, scores.reasons) == (6, 0, {})


def test_turnover_is_what_the_costs_were_paid_for():
    random = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, 100)))
    results = [backtest(close, random.choice([-1, 0, 1], 100), 3, 1, cost_bps=10) for _ in range(2)]
    first = results[0]
    alone = score_money(first.net_return, first.position, first.asset_return, 252).values
    assert alone["turnover"] * 10 / 1e4 == pytest.approx(first.cost.mean() * 252)
    position, asset_return, change, cost = (
        np.concatenate([getattr(result, name) for result in results])
        for name in ("position", "asset_return", "position_change", "cost")
    )
    pooled = np.mean([result.net_return for result in results], axis=0)
    scores = score_money(pooled, position, asset_return, 252, change)
    assert scores.values["turnover"] * 10 / 1e4 == pytest.approx(cost.mean() * 252)
    assert scores.values["sharpe"] == pytest.approx(empyrical.sharpe_ratio(pooled))
    assert scores.values["exposure"] == pytest.approx(np.abs(position).mean())


def test_a_strategy_that_never_trades_has_no_sharpe_and_no_hit_rate():
    scores = score_money(np.zeros(5), np.zeros(5), [0, 0.1, -0.1, 0.2, 0.1], 252)
    assert undefined(scores) == {
        "sharpe": "the returns do not vary",
        "sortino": "no bar loses",
        "calmar": "there is no drawdown",
        "hit_rate": "no position is taken",
        "profit_factor": "no bar loses",
        "win_loss_ratio": "no bar gains",
    }
    assert {
        scores.values[name] for name in ("max_drawdown", "annual_return", "turnover", "exposure", "volatility")
    } == {0}


def test_constant_returns_have_no_sharpe_though_rounding_gives_them_a_deviation():
    scores = score_money(np.full(50, 0.1), np.ones(50), np.full(50, 0.1), 252)
    assert np.full(50, 0.1).std() > 0
    assert scores.reasons["sharpe"] == "the returns do not vary"
    assert scores.reasons["win_loss_ratio"] == "no bar loses"


def test_an_account_that_loses_everything_stays_at_zero():
    """A short position can lose more than all; wealth must not become negative and then recover."""
    scores = score_money([0, 0.5, -1.5, -1.5, 3.0], -np.ones(5), [0, -0.5, 1.5, 1.5, -3], 252)
    assert scores.values["max_drawdown"] == -1
    assert scores.values["annual_return"] == -1


def test_turnover_of_a_portfolio_is_the_mean_of_its_sessions():
    """Six bars of two symbols in three sessions."""
    scores = score_money([0.01, -0.02, 0.03], np.ones(6), np.ones(6), 252, [0.5, 0, 0.1])
    assert scores.values["turnover"] == pytest.approx(0.6 / 3 * 252)
    with pytest.raises(DataError, match="go together"):
        score_money([0.01, -0.02, 0.03], np.ones(6), np.ones(6), 252, [0.5, 0])


def test_reasons_are_told_once_each():
    scores = score_money(np.zeros(5), np.zeros(5), np.ones(5), 252)
    assert scores.reason == (
        "sharpe: the returns do not vary; sortino, profit_factor: no bar loses; calmar: there is no drawdown; "
        "hit_rate: no position is taken; win_loss_ratio: no bar gains"
    )
    assert score_predictions("binary", [0, 1], [0.2, 0.9]).reason == ""


def test_money_without_enough_values_is_undefined_throughout():
    for returns, text in (([0.1], "too few"), ([0.1, np.nan], "1 of 2 returns are not finite")):
        scores = score_money(returns, np.ones(len(returns)), returns, 252)
        assert set(undefined(scores)) == {metric.name for metric in MONEY_METRICS}
        assert text in scores.reasons["sharpe"]
    with pytest.raises(DataError, match="go together"):
        score_money([0.1, 0.2], [1, 1], [0.1], 252)


# ---- names ----


def test_each_name_has_one_direction_and_one_text():
    known = {}
    for table in (*PREDICTION_METRICS.values(), MONEY_METRICS):
        names = [metric.name for metric in table]
        assert len(names) == len(set(names))
        for metric in table:
            first = known.setdefault(metric.name, metric)
            assert (first.higher_is_better, first.text) == (metric.higher_is_better, metric.text)
    assert known["max_drawdown"].higher_is_better
    assert not known["log_loss"].higher_is_better
    assert set(known) >= {"sharpe", "hit_rate", "profit_factor", "win_loss_ratio", "auc", "rank_ic"}
