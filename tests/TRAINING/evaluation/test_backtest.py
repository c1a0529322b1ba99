from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.backtest import BacktestResult, backtest, hold, label_signal

COLUMNS = [field.name for field in fields(BacktestResult)]


@st.composite
def markets(draw):
    """Closes and signals, with a horizon, a lag and a cost."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_bars = draw(st.integers(1, 40))
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.05, n_bars)))
    signal = random.choice([-1.0, 0.0, 0.3, 1.0], n_bars)
    return close, signal, draw(st.integers(1, 6)), draw(st.integers(0, 3)), draw(st.sampled_from([0.0, 5.0, 100.0]))


def slow_backtest(close, signal, horizon, lag, cost_bps):
    """Walk through the bars with an account of 1 in capital: orders, shares and cash."""
    target_after_close = []  # what the fills at each close bring the position to
    for bar in range(len(close)):
        decided = bar - lag
        recent = [signal[decided - k] for k in range(horizon) if decided - k >= 0]
        target_after_close.append(sum(recent) / horizon)
    net_return, previous = [0.0], 0.0
    for bar in range(1, len(close)):
        position = target_after_close[bar - 1]
        shares = position / close[bar - 1]
        cash = 1 - shares * close[bar - 1] - abs(position - previous) * cost_bps / 1e4
        net_return.append(cash + shares * close[bar] - 1)
        previous = position
    return net_return


def test_the_worked_example():
    """One signal at the first bar is filled at 110 and earns 121 / 110 - 1, not 110 / 100 - 1."""
    result = backtest([100, 110, 121, 121], [1, 0, 0, 0], horizon=1, execution_lag=1, cost_bps=5)
    assert result.position.tolist() == [0, 0, 1, 0]
    assert result.position_change.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(result.asset_return, [0, 0.1, 0.1, 0])
    np.testing.assert_allclose(result.cost, [0, 0, 0.0005, 0.0005])
    np.testing.assert_allclose(result.net_return, [0, 0, 0.1 - 0.0005, -0.0005])
    same_close = backtest([100, 110, 121, 121], [1, 0, 0, 0], execution_lag=0, cost_bps=0)
    np.testing.assert_allclose(same_close.net_return, [0, 0.1, 0, 0])


@given(markets())
@settings(max_examples=100, deadline=None)
def test_the_backtest_equals_an_account_kept_bar_by_bar(market):
    close, signal, horizon, lag, cost_bps = market
    result = backtest(close, signal, horizon, lag, cost_bps)
    np.testing.assert_allclose(result.net_return, slow_backtest(close, signal, horizon, lag, cost_bps), atol=1e-12)
    np.testing.assert_allclose(result.net_return, result.position * result.asset_return - result.cost, atol=1e-15)
    np.testing.assert_allclose(result.cost.sum(), np.abs(np.diff(result.position)).sum() * cost_bps / 1e4)
    assert all(getattr(result, column)[0] == 0 for column in COLUMNS)


@given(markets(), st.data())
@settings(max_examples=60, deadline=None)
def test_later_bars_never_change_earlier_results(market, data):
    close, signal, horizon, lag, cost_bps = market
    cut = data.draw(st.integers(1, len(close)))
    whole = backtest(close, signal, horizon, lag, cost_bps)
    other_close, other_signal = close.copy(), signal.copy()
    other_close[cut:] *= 3
    other_signal[cut:] = -other_signal[cut:] + 0.5
    other = backtest(other_close, other_signal, horizon, lag, cost_bps)
    short = backtest(close[:cut], signal[:cut], horizon, lag, cost_bps)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(other, column)[:cut], getattr(whole, column)[:cut])
        np.testing.assert_array_equal(getattr(short, column), getattr(whole, column)[:cut])
    # The signal of a bar earns nothing before the bar that follows its fill.
    signal[cut - 1] += 1
    moved = backtest(close, signal, horizon, lag, cost_bps)
    np.testing.assert_array_equal(moved.net_return[: cut + lag], whole.net_return[: cut + lag])


@given(markets())
@settings(max_examples=30, deadline=None)
def test_no_signal_earns_nothing_and_costs_never_help(market):
    close, signal, horizon, lag, cost_bps = market
    assert not backtest(close, np.zeros_like(signal), horizon, lag, cost_bps).net_return.any()
    free = backtest(close, signal, horizon, lag, 0).net_return
    assert (backtest(close, signal, horizon, lag, cost_bps).net_return <= free).all()
    assert (backtest(close, signal, horizon, lag, cost_bps + 1).net_return <= free).all()


def test_buying_and_holding_pays_once():
    close = np.array([100.0, 90, 99, 120])
    result = backtest(close, np.ones(4), execution_lag=0, cost_bps=10)
    np.testing.assert_allclose(result.net_return, [0, -0.1 - 0.001, 0.1, 120 / 99 - 1])


def test_hold_is_the_mean_of_the_last_signals_and_earlier_ones_count_as_zero():
    np.testing.assert_allclose(hold([1, 1, 1, -1, 0], 3), [1 / 3, 2 / 3, 1, 1 / 3, 0])
    np.testing.assert_allclose(hold([1, -1], 4), [0.25, 0])
    np.testing.assert_array_equal(hold([0.3, -1], 1), [0.3, -1])
    assert len(hold([], 3)) == 0


def test_label_signals():
    probability = np.array([0.2, 0.3, 0.31, np.nan])
    assert label_signal(probability, "long_flat", 0.3).tolist() == [0, 0, 1, 0]
    assert label_signal(probability, "short_flat", 0.3).tolist() == [0, 0, -1, 0]
    assert label_signal([-0.1, 0, 2, np.nan, np.inf], "sign").tolist() == [-1, 0, 1, 0, 1]
    assert label_signal(probability, None) is None


def test_an_unknown_rule_and_a_missing_threshold_are_errors():
    with pytest.raises(ConfigError, match="did you mean 'long_flat'"):
        label_signal([0.5], "long-flat", 0.3)
    with pytest.raises(ConfigError, match="base rate"):
        label_signal([0.5], "long_flat")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([1, 2], [1, 1], 0), ConfigError, "horizon must be at least 1 bar; got 0"),
        (([1, 2], [1, 1], 1, -1), ConfigError, "trades on the future; got -1"),
        (([1, 2], [1, 1], 1, 1, -5), ConfigError, "cost_bps must be at least 0"),
        (([1, 2], [1, 1], 1, 1, np.nan), ConfigError, "cost_bps must be at least 0"),
        (([1, 2], [1, 1, 1]), DataError, "3 signals for 2 closes"),
        (([1, 0], [1, 1]), DataError, "closes must be finite"),
        (([1, np.nan], [1, 1]), DataError, "closes must be finite"),
        (([1, np.inf], [1, 1]), DataError, "closes must be finite"),
        (([1, 2], [1, np.nan]), DataError, "signals must be finite"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, error, text):
    with pytest.raises(error, match=text):
        backtest(*arguments)
