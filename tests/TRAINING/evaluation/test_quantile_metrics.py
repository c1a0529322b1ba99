from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.quantile_metrics import pinball_loss, score_quantiles

LEVELS = np.array([0.05, 0.25, 0.5, 0.9])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_pinball_equals_scikit_learn(seed):
    random = np.random.default_rng(seed)
    y, quantiles = random.normal(size=50), np.sort(random.normal(size=(50, 4)), axis=1)
    losses = pinball_loss(y, quantiles, LEVELS).mean(axis=0)
    for loss, level, column in zip(losses, LEVELS, quantiles.T, strict=True):
        assert loss == pytest.approx(mean_pinball_loss(y, column, alpha=level))
    assert score_quantiles(y, quantiles, LEVELS).values["pinball"] == pytest.approx(losses.mean())


def test_the_crps_of_many_quantiles_is_that_of_the_distribution():
    """Gneiting & Raftery (2007), equation 21: the CRPS of a normal distribution."""
    random = np.random.default_rng(0)
    y, mean, deviation = random.normal(size=40), random.normal(size=40), random.uniform(0.5, 2, 40)
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = mean[:, None] + deviation[:, None] * scipy.stats.norm.ppf(levels)
    z = (y - mean) / deviation
    normal = scipy.stats.norm
    exact = deviation * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi))
    assert score_quantiles(y, quantiles, levels).values["crps"] == pytest.approx(exact.mean(), rel=1e-3)


def test_the_crps_of_a_median_alone_is_its_absolute_error():
    assert score_quantiles([1, 4], [[2], [2]], [0.5]).values["crps"] == pytest.approx(1.5)


def test_levels_that_are_far_apart_stand_for_more_of_them():
    """Levels 0.1 and 0.5 stand for the levels up to 0.3 and for the other seven tenths."""
    expected = 2 * (0.3 * 0.1 * 2 + 0.7 * 0.5 * 1)
    assert score_quantiles([3], [[1, 2]], [0.1, 0.5]).values["crps"] == pytest.approx(expected)


def test_undefined_scores_are_nan_with_a_reason():
    scores = score_quantiles([1, np.nan, 2], [[0, 1], [np.nan, 1], [0, np.nan]], [0.1, 0.9])
    assert np.isnan(list(scores.values.values())).all()
    assert scores.reason == "pinball, crps: 1 of 2 rows lack a finite quantile"
    assert (scores.rows, scores.left_out) == (2, 1)
    assert score_quantiles([np.nan], [[0, 1]], [0.1, 0.9]).reason == "pinball, crps: no row has a label"


@pytest.mark.parametrize(
    ("quantiles", "levels", "error", "text"),
    [
        ([[1, 2]], [0.9, 0.1], ConfigError, "must rise"),
        ([[1, 2]], [0.1, 1], ConfigError, "must rise"),
        ([[1, 2]], [], ConfigError, "must rise"),
        ([[1, 2]], [0.1, 0.5, 0.9], DataError, r"got \(1, 2\) for \(1,\) and \(3,\)"),
        ([[2, 1]], [0.1, 0.9], DataError, "they fall in 1 of 1 rows"),
    ],
)
def test_bad_quantiles_are_one_clear_error(quantiles, levels, error, text):
    with pytest.raises(error, match=text):
        score_quantiles([1.0], quantiles, levels)
