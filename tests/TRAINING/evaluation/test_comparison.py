from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.autocorrelation import default_lags, newey_west_mean
from TRAINING.evaluation.comparison import diebold_mariano

seeds = st.integers(0, 2**32 - 1)


def losses(seed, n=120):
    return np.random.default_rng(seed).gamma(2.0, 1.0, (2, n))


def overlapping(random, n, horizon):
    """Noise whose neighbours share all but one of ``horizon`` terms, as labels do."""
    return np.convolve(random.normal(0, 1, n + horizon - 1), np.ones(horizon), mode="valid")


# ---- the mean's standard error --------------------------------------------------------------------------------------


@given(seeds, st.integers(5, 60), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_newey_west_equals_a_slow_loop(seed, n, lags):
    x = np.random.default_rng(seed).normal(1, 2, n)
    mean, error = newey_west_mean(x, lags)
    assert mean == pytest.approx(sum(x) / n)
    if lags >= n:
        assert np.isnan(error)
        return
    total = 0.0
    for i in range(n):
        for j in range(n):
            total += max(0, 1 - abs(i - j) / (lags + 1)) * (x[i] - mean) * (x[j] - mean)
    assert error == pytest.approx(total**0.5 / n, rel=1e-6)


@pytest.mark.parametrize(
    ("lags", "expected"),
    [(0, 0.113939150470), (1, 0.156227773648), (5, 0.226038483064), (20, 0.117834743604)],
)
def test_newey_west_equals_statsmodels(lags, expected):
    """OLS on a constant with cov_type="HAC" and no small-sample correction, statsmodels 0.15."""
    place = np.arange(40)
    mean, error = newey_west_mean(np.sin(place / 3.0) + 0.1 * place % 0.7, lags)
    assert mean == pytest.approx(0.299629186943)
    assert error == pytest.approx(expected)


@pytest.mark.parametrize("x", [[], [1.0, np.nan, 2.0], [np.inf, 1.0]])
def test_no_mean_of_missing_values(x):
    assert np.isnan(newey_west_mean(x, 1)).all()


@pytest.mark.parametrize(("x", "lags"), [([2.0, 2.0, 2.0], 1), ([2.0], 0), ([1.0, 3.0], 2)])
def test_a_mean_without_a_standard_error(x, lags):
    mean, error = newey_west_mean(x, lags)
    assert mean == 2
    assert np.isnan(error)


def test_the_default_lags():
    assert [default_lags(n) for n in (0, 1, 2, 100, 250, 1000)] == [0, 0, 1, 13, 21, 42]
    assert default_lags(250, horizon=20) == 38
    assert default_lags(250, horizon=5) == 21


# ---- the test of Diebold and Mariano --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "horizon", "statistic", "p_value"),
    [
        (60, 1, 0.4056031830886822, 0.6865013545660441),
        (120, 5, 0.41044268526124744, 0.6822192979344381),
        (120, 21, 0.37809101607778234, 0.7060365776559397),
    ],
)
def test_it_equals_dm_test(n, horizon, statistic, p_value):
    """Numbers of dieboldmariano 1.1.0, dm_test(h=horizon, variance_estimator="bartlett"), as in R's forecast."""
    place = np.arange(n)
    first = 1 + np.sin(place**2 * 0.37) + 0.2 * np.sin(place / 7)
    second = 1.05 + np.cos(place**2 * 0.53) + 0.3 * np.cos(place / 9)
    # It counts the first's loss minus the second's, so the second is the model.
    found = diebold_mariano(second, first, lags=horizon - 1)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(p_value)
    assert found.improvement == pytest.approx(first.mean() - second.mean())


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_without_lags_it_is_students_paired_test(seed):
    """The correction of one step, sqrt((n - 1) / n), turns the variance's ddof of 0 into 1."""
    model, rival = losses(seed)
    found, student = diebold_mariano(model, rival, lags=0), scipy.stats.ttest_rel(rival, model)
    assert found.statistic == pytest.approx(student.statistic)
    assert found.p_value == pytest.approx(student.pvalue)


@given(seeds, st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_it_is_antisymmetric_and_free_of_scale(seed, horizon):
    model, rival = losses(seed)
    found, back = diebold_mariano(model, rival, horizon=horizon), diebold_mariano(rival, model, horizon=horizon)
    assert (back.improvement, back.statistic) == (-found.improvement, -found.statistic)
    assert back.p_value == found.p_value
    scaled = diebold_mariano(7 * model + 3, 7 * rival + 3, horizon=horizon)
    assert scaled.statistic == pytest.approx(found.statistic)
    assert found.lags == back.lags == default_lags(120, horizon)


def test_who_is_better():
    model, rival = losses(0, 250)
    found = diebold_mariano(model, rival + 0.5)
    assert found.better() == "model"
    assert found.improvement > 0
    assert found.better(level=0.0) is None
    assert diebold_mariano(rival + 0.5, model).better() == "rival"
    assert diebold_mariano(*losses(4, 250)).better() is None
    assert diebold_mariano(model, model).better() is None


@pytest.mark.parametrize("horizon", [1, 5])
def test_equal_models_seldom_differ(horizon):
    """5 % of the pairs without a difference are called different, and not twice as many, as the textbook's lags do."""
    random = np.random.default_rng(1)
    zeros = np.zeros(250)
    differences = [overlapping(random, 250, 5) for _ in range(800)]
    found = np.mean([diebold_mariano(one, zeros, horizon=horizon).p_value < 0.05 for one in differences])
    textbook = np.mean([diebold_mariano(one, zeros, lags=horizon - 1).p_value < 0.05 for one in differences])
    assert 0.03 <= found <= 0.085
    assert textbook > found + 0.015


def test_a_true_difference_is_found():
    random = np.random.default_rng(2)
    found = [diebold_mariano(overlapping(random, 500, 5), np.full(500, 1.5), horizon=5).better() for _ in range(50)]
    assert found.count("model") >= 45


HOLE = losses(0)[0]
HOLE[7] = np.nan


@pytest.mark.parametrize(
    ("model", "rival", "settings", "reason"),
    [
        (HOLE, losses(0)[1], {}, "1 of 120 sessions have no loss"),
        (losses(0)[0], losses(0)[0], {}, "does not vary"),
        (np.ones(50), np.zeros(50), {}, "does not vary"),
        (*losses(0, 39), {"horizon": 5}, "39 sessions are fewer than 8 horizons of 5"),
        (*losses(0, 0), {}, "0 sessions"),
        (*losses(0, 10), {"lags": 9}, "10 sessions are too few for 9 lags"),
    ],
)
def test_undefined_is_nan_with_a_reason(model, rival, settings, reason):
    found = diebold_mariano(model, rival, **settings)
    assert reason in found.reason
    assert np.isnan([found.improvement, found.statistic, found.p_value]).all()
    assert found.better() is None


def test_wrong_calls_are_one_clear_error():
    model, rival = losses(0)
    with pytest.raises(DataError, match=r"\(120,\) and \(119,\)"):
        diebold_mariano(model, rival[1:])
    with pytest.raises(ConfigError, match="got 0 and None"):
        diebold_mariano(model, rival, horizon=0)
    with pytest.raises(ConfigError, match="got 1 and -1"):
        diebold_mariano(model, rival, lags=-1)
