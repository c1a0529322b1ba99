from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.backtest import BacktestResult, backtest, cross_sections, hold, label_signal, signals

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


@given(markets(), st.sampled_from([2.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_costs_are_linear_in_their_price(market, times):
    close, signal, horizon, lag, cost_bps = market
    free, paid, dear = (backtest(close, signal, horizon, lag, cost_bps * k).net_return for k in (0, 1, times))
    np.testing.assert_allclose(free - dear, times * (free - paid), atol=1e-15)


# ---- rules ----


def test_thresholds_on_both_sides_of_a_probability():
    probability = [0.2, 0.4, 0.5, 0.6, 0.61, np.nan]
    bounds = {"upper": 0.6, "lower": 0.4}
    assert signals("probability", probability, "long_flat", **bounds).tolist() == [-1, 0, 0, 0, 1, 0]
    assert signals("probability", probability, "short_flat", **bounds).tolist() == [1, 0, 0, 0, -1, 0]
    assert signals("probability", probability, "long_flat").tolist() == [0, 0, 0, 1, 1, 0]


def test_the_labels_own_rule_and_a_label_without_one():
    assert signals("label", [0.2, 0.4], "short_flat", threshold=0.3).tolist() == [0, -1]
    assert signals("label", [0.2, 0.4], "long_flat", threshold=[0.1, 0.5]).tolist() == [1, 0]
    assert all(signals(rule, [0.2, 0.4], None) is None for rule in ("label", "probability", "rank"))


def slow_ranks(prediction, sections, share):
    """Sort each section; a side takes symbols from its end while whole ties fit into the share."""
    signal = np.zeros(len(prediction))
    for section in set(sections):
        rows = [i for i, s in enumerate(sections) if s == section and not np.isnan(prediction[i])]
        most = next(k for k in range(len(rows), -1, -1) if k <= share * len(rows) + 1e-9)
        for side in (1, -1):
            values = sorted({prediction[i] for i in rows}, reverse=side > 0)
            taken = 0
            for value in values:
                tied = [i for i in rows if prediction[i] == value]
                taken += len(tied)
                if taken > most:
                    break
                signal[tied] = side
    return signal


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.2, 1 / 3, 0.5]), st.sampled_from([0, 1, 8]))
@settings(max_examples=60, deadline=None)
def test_ranks_equal_a_sorted_list_of_each_section(seed, share, decimals):
    random = np.random.default_rng(seed)
    prediction = random.random(60).round(decimals)  # rounding makes ties
    prediction[random.random(60) < 0.1] = np.nan
    sections = random.integers(0, 5, 60)
    found = signals("rank", prediction, "sign", sections=sections, rank_share=share)
    np.testing.assert_array_equal(found, slow_ranks(prediction, sections, share))
    reverse = signals("rank", prediction, "short_flat", sections=sections, rank_share=share)
    np.testing.assert_array_equal(reverse, -found)


def test_ranks_take_equal_numbers_of_each_side_and_nothing_from_too_few_or_equal_predictions():
    first = ["a"] * 10 + ["b"] * 4
    prediction = np.arange(14.0)
    assert signals("rank", prediction, "sign", sections=first).tolist() == [-1, -1, *[0] * 6, 1, 1, 0, 0, 0, 0]
    assert not signals("rank", np.full(10, 0.3), "sign", sections=["a"] * 10).any()
    many = signals("rank", np.arange(100), "sign", sections=[0] * 100, rank_share=0.29)
    assert [(many == side).sum() for side in (-1, 0, 1)] == [29, 42, 29]  # though 0.29 * 100 is less than 29


def test_cross_sections_are_sessions_and_times_where_symbols_have_several_bars():
    days = np.array(["2020-01-02", "2020-01-03", "2020-01-02"], "datetime64[ns]")
    closes = days + np.array([16, 16, 17], "timedelta64[h]")
    assert cross_sections(["A", "A", "B"], days, closes).tolist() == [0, 1, 0]
    zoned = pd.Series(pd.DatetimeIndex(closes, tz="UTC"))
    days[1] = days[0]
    assert cross_sections(["A", "A", "B"], days, zoned).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("rule", "money_rule", "given", "error", "text"),
    [
        ("rnak", "sign", {}, ConfigError, "did you mean 'rank'"),
        ("rank", "sgin", {}, ConfigError, "did you mean 'sign'"),
        ("probability", "sign", {}, ConfigError, "choose label or rank, or a binary target"),
        ("probability", "long_flat", {"upper": 0.3, "lower": 0.4}, ConfigError, "got lower 0.4 and upper 0.3"),
        ("probability", "long_flat", {"upper": 1.1}, ConfigError, "lower <= upper <= 1"),
        ("rank", "sign", {"rank_share": 0.6, "sections": [0, 0]}, ConfigError, r"within \(0, 0.5\]; got 0.6"),
        ("rank", "sign", {}, DataError, "each of 2 rows; got none"),
        ("rank", "sign", {"sections": [0]}, DataError, "each of 2 rows; got 1"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_one_clear_error(rule, money_rule, given, error, text):
    with pytest.raises(error, match=text):
        signals(rule, [0.1, 0.2], money_rule, **given)


def test_the_configuration_has_the_defaults_of_the_code():
    settings = load_run_config("backtest")
    chosen = {name: settings[name] for name in ("upper", "lower", "rank_share")}
    assert signals("probability", [0.6], "long_flat", **chosen) == signals("probability", [0.6], "long_flat")
    assert settings["rule"] == "label"
    assert chosen == {name: signals.__kwdefaults__[name] for name in chosen}
    for key, wrong in (("rule", "ranks"), ("upper", 1.2), ("lower", -0.1), ("rank_share", 0), ("rank_share", 0.51)):
        with pytest.raises(ConfigError, match=key):
            load_run_config("backtest", {key: wrong})
