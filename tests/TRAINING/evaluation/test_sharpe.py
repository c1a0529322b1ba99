from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.sharpe import (
    FEWEST_PERIODS,
    ReturnMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    return_moments,
    sharpe_interval,
)
from TRAINING.evaluation.significance import bootstrap_interval

seeds = st.integers(0, 2**32 - 1)


def fat_tailed(seed, n=250):
    random = np.random.default_rng(seed)
    return 0.001 + 0.01 * random.standard_t(4, n) - 0.02 * (random.random(n) < 0.03)


# ---- numbers printed in the papers ----------------------------------------------------------------------------------

# Bailey & López de Prado 2012: 24 monthly returns with a Sharpe ratio of 0.458.
HEDGE_FUND = ReturnMoments(0.458, skewness=-2.448, kurtosis=10.164, periods=24)
# Bailey & López de Prado 2014, the numerical example: 2.5 a year over 5 years of 250 days.
BACKTEST = ReturnMoments(2.5 / np.sqrt(250), skewness=-3, kurtosis=10, periods=1250)


def test_the_probabilistic_sharpe_ratio_of_the_paper():
    assert probabilistic_sharpe(HEDGE_FUND).value == pytest.approx(0.913, abs=5e-4)
    normal = ReturnMoments(0.458, skewness=0, kurtosis=3, periods=24)
    assert probabilistic_sharpe(normal).value == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(
    ("periods_per_year", "skewness", "kurtosis", "years"),
    [(250, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_minimum_track_records_of_the_paper(periods_per_year, skewness, kurtosis, years):
    """Years until a Sharpe ratio of 2 a year is above 1 a year, at 95 % (Bailey & López de Prado 2012)."""
    scale = np.sqrt(periods_per_year)
    found = minimum_track_record(ReturnMoments(2 / scale, skewness, kurtosis, 24), benchmark=1 / scale)
    assert found.value / periods_per_year == pytest.approx(years, abs=5e-3)


@pytest.mark.parametrize(
    ("trials", "moments", "threshold", "probability"),
    [
        (100, BACKTEST, 0.1132, 0.9004),
        (46, BACKTEST, None, 0.9505),
        (88, ReturnMoments(BACKTEST.sharpe, skewness=0, kurtosis=3, periods=1250), None, 0.9505),
    ],
)
def test_the_deflated_sharpe_ratio_of_the_paper(trials, moments, threshold, probability):
    spread = np.sqrt(0.5 / 250)  # the trials' variance is 1/2 a year
    trial_sharpes = spread * np.array([-1, 1]) / np.sqrt(2)
    assert np.var(trial_sharpes, ddof=1) == pytest.approx(0.5 / 250)
    found = deflated_sharpe(moments, trials, trial_sharpes)
    assert found.probability == pytest.approx(probability, abs=5e-5)
    if threshold:
        assert found.threshold == pytest.approx(threshold, abs=5e-5)


def test_the_expected_maximum_is_the_one_of_purgedcv_and_near_that_of_draws():
    # purgedcv 0.1.11, _expected_max_z
    known = {1: 0.0, 2: 0.5197553442805939, 5: 1.1925940010147893, 100: 2.5306028932016846, 1000: 3.255121513652723}
    for trials, expected in known.items():
        assert expected_maximum_sharpe(trials, 1.0) == pytest.approx(expected, abs=1e-12)
        assert expected_maximum_sharpe(trials, 0.04) == pytest.approx(0.2 * expected, abs=1e-12)
    draws = np.random.default_rng(0).normal(0, 0.1, (20_000, 50)).max(axis=1)
    assert expected_maximum_sharpe(50, 0.01) == pytest.approx(draws.mean(), rel=0.02)


# ---- our own moments ------------------------------------------------------------------------------------------------


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_moments_equal_a_slow_loop(seed):
    returns = fat_tailed(seed, 60)
    n, mean = len(returns), sum(returns) / len(returns)
    second, third, fourth = (sum((value - mean) ** power for value in returns) / n for power in (2, 3, 4))
    moments = return_moments(returns)
    assert moments.sharpe == pytest.approx(mean / (second * n / (n - 1)) ** 0.5)
    assert moments.skewness == pytest.approx(third / second**1.5, abs=1e-9)
    assert moments.kurtosis == pytest.approx(fourth / second**2)
    assert moments.periods == 60


def test_the_formula_and_the_bootstrap_agree_on_independent_returns():
    returns = np.random.default_rng(3).normal(0.001, 0.01, 1000)
    formula = sharpe_interval(return_moments(returns), periods_per_year=252)
    bootstrap = bootstrap_interval(returns, "sharpe", block=1, samples=4000, periods_per_year=252)
    assert formula.point == pytest.approx(bootstrap.point)
    assert formula.low == pytest.approx(bootstrap.low, abs=0.15)
    assert formula.high == pytest.approx(bootstrap.high, abs=0.15)


def test_intervals_and_probabilities_are_right_as_often_as_they_say():
    """Of 600 series with a known Sharpe ratio, skewed and fat-tailed."""
    random = np.random.default_rng(5)
    true = 0.1
    raw = -random.gamma(2.0, 1.0, (600, 500))  # skewness -1.4, kurtosis 6
    series = (raw + 2) / np.sqrt(2) + true
    moments = [return_moments(returns) for returns in series]
    intervals = [sharpe_interval(one, confidence=0.9) for one in moments]
    assert np.mean([one.low <= true <= one.high for one in intervals]) == pytest.approx(0.9, abs=0.03)
    sure = np.mean([probabilistic_sharpe(one, true).value > 0.95 for one in moments])
    assert sure == pytest.approx(0.05, abs=0.025)


def test_a_track_record_of_the_minimum_length_is_a_proof():
    moments = return_moments(fat_tailed(0, 400) + 0.001)
    length = minimum_track_record(moments, benchmark=0.02, confidence=0.9).value
    enough = ReturnMoments(moments.sharpe, moments.skewness, moments.kurtosis, length)
    assert probabilistic_sharpe(enough, 0.02).value == pytest.approx(0.9)


def test_the_best_of_many_without_skill_is_not_believed_and_a_skilled_one_is():
    random = np.random.default_rng(1)

    def best_of_50(skill):
        returns = random.normal(0, 0.01, (500, 50)) + 0.01 * skill * (np.arange(50) == 0)
        sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
        moments = return_moments(returns[:, sharpes.argmax()])
        return probabilistic_sharpe(moments).value, deflated_sharpe(moments, 50, sharpes).probability

    fooled = np.array([best_of_50(0.0) for _ in range(150)]) > 0.95
    assert fooled[:, 0].mean() > 0.8  # each is significant on its own
    assert fooled[:, 1].mean() <= 0.05
    assert np.mean([best_of_50(0.3)[1] > 0.95 for _ in range(50)]) > 0.9


# ---- properties -----------------------------------------------------------------------------------------------------


@given(seeds, st.floats(1, 1e4), st.floats(1, 1e3))
@settings(max_examples=60, deadline=None)
def test_more_trials_deflate_more(seed, trials, factor):
    random = np.random.default_rng(seed)
    moments, trial_sharpes = return_moments(fat_tailed(seed)), random.normal(0, 0.05, 12)
    few, many = (deflated_sharpe(moments, number, trial_sharpes) for number in (trials, trials * factor))
    assert 0 <= many.probability <= few.probability <= probabilistic_sharpe(moments).value <= 1
    assert many.threshold >= few.threshold >= 0
    single = deflated_sharpe(moments, 1, trial_sharpes)
    assert single.threshold == 0
    assert single.probability == probabilistic_sharpe(moments).value


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_scale_does_not_matter_and_the_benchmark_lowers(seed, scale):
    returns = fat_tailed(seed)
    moments = return_moments(returns)
    assert return_moments(returns * scale).sharpe == pytest.approx(moments.sharpe)
    probabilities = [probabilistic_sharpe(moments, benchmark).value for benchmark in (-0.1, 0, 0.05, 0.2)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilistic_sharpe(moments, moments.sharpe).value == 0.5
    assume(moments.sharpe > 0.01)
    lengths = [minimum_track_record(moments, 0.0, confidence).value for confidence in (0.6, 0.9, 0.99)]
    assert lengths == sorted(lengths)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_bad_tail_makes_less_sure(seed):
    moments = return_moments(fat_tailed(seed))
    assume(moments.sharpe > 0.01)
    worse = ReturnMoments(moments.sharpe, moments.skewness - 1, moments.kurtosis + 5, moments.periods)
    assert worse.standard_error > moments.standard_error
    assert probabilistic_sharpe(worse).value < probabilistic_sharpe(moments).value


# ---- undefined and wrong --------------------------------------------------------------------------------------------

GOOD = fat_tailed(1)


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (np.zeros(100), "the returns do not vary"),
        (np.full(100, 0.001), "the returns do not vary"),
        (np.array([0.1 + 0.2, 0.3] * 50), "the returns do not vary"),  # 0.30000000000000004 and 0.3
        (np.where(np.arange(250) == 7, np.nan, GOOD), "1 of 250 sessions have no value"),
        (np.where(np.arange(250) < 3, np.inf, GOOD), "3 of 250 sessions have no value"),
        (GOOD[: FEWEST_PERIODS - 1], f"19 sessions are fewer than {FEWEST_PERIODS}"),
        (GOOD[:0], "0 sessions are fewer"),
    ],
)
def test_undefined_is_nan_with_a_reason_everywhere(returns, reason):
    moments = return_moments(returns)
    assert reason in moments.reason
    interval, deflated = sharpe_interval(moments), deflated_sharpe(moments, 3, [0.1, 0.2])
    for found in (probabilistic_sharpe(moments), minimum_track_record(moments), interval, deflated):
        assert found.reason == moments.reason
    assert np.isnan([moments.sharpe, moments.skewness, moments.kurtosis, deflated.probability]).all()
    assert np.isnan([interval.low, interval.point, interval.high]).all()
    assert np.isnan([probabilistic_sharpe(moments).value, minimum_track_record(moments).value]).all()


def test_trials_without_sharpe_ratios_leave_no_variance():
    moments = return_moments(GOOD)
    for trial_sharpes in ([], [0.1], [0.1, np.nan]):
        found = deflated_sharpe(moments, 5, trial_sharpes)
        assert np.isnan([found.probability, found.threshold]).all()
        assert "of 5 trials have a Sharpe ratio" in found.reason
    assert deflated_sharpe(moments, 5, [0.1, np.nan, 0.2]).reason is None
    assert deflated_sharpe(moments, 1, []).probability == probabilistic_sharpe(moments).value


def test_no_track_record_proves_what_is_not_there():
    found = minimum_track_record(return_moments(-np.abs(GOOD)))
    assert np.isnan(found.value)
    assert "not above 0" in found.reason


def test_two_values_whose_error_is_zero():
    # A kurtosis of 1 + skewness squared and a Sharpe ratio of 2 / skewness: the formula's variance is 0.
    moments = ReturnMoments(1.0, skewness=2.0, kurtosis=5.0, periods=50)
    assert moments.standard_error == 0
    assert "two values" in probabilistic_sharpe(moments).reason


def test_bad_settings_are_one_clear_error():
    moments = return_moments(GOOD)
    with pytest.raises(ConfigError, match="trials must be at least 1"):
        deflated_sharpe(moments, 0, [0.1, 0.2])
    with pytest.raises(ConfigError, match="got 3, -1"):
        expected_maximum_sharpe(3, -1)
    with pytest.raises(ConfigError, match="at least 1"):
        expected_maximum_sharpe(np.nan, 1)
    with pytest.raises(ConfigError, match=r"within \(0, 1\); got 1"):
        sharpe_interval(moments, confidence=1)
    with pytest.raises(ConfigError, match=r"within \(0.5, 1\); got 0.5"):
        minimum_track_record(moments, confidence=0.5)
    with pytest.raises(DataError, match=r"\(2, 2\)"):
        return_moments(np.ones((2, 2)))
