"""Strengths against scikit-learn and scipy, and errors against what repeated draws show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from TRAINING.research.association import FEWEST_BLOCKS, Outcome, centred_ranks

SESSION = np.arange(400)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 50), st.booleans())
def test_a_strength_is_that_of_the_libraries(seed: int, distinct: int, binary: bool) -> None:
    random = np.random.default_rng(seed)
    x = random.integers(distinct, size=400).astype(float)
    y = (random.random(400) < 0.3).astype(float) if binary else random.normal(size=400).round(1) + x / distinct
    found = Outcome.of("y", y, SESSION, 1, binary).foretold_by(centred_ranks(x))
    expected = 2 * roc_auc_score(y, x) - 1 if binary else spearmanr(x, y).statistic
    assert found.strength == pytest.approx(expected, abs=1e-9)
    assert found.rows == 400


def test_missing_values_of_either_are_left_out() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=400), random.normal(size=400)
    x[::7], y[::5] = np.nan, np.nan
    found = Outcome.of("y", y, SESSION, 1).foretold_by(centred_ranks(x))
    known = np.isfinite(x) & np.isfinite(y)
    assert found.rows == known.sum()
    # The ranks are those among all values, not among the common ones.
    assert found.strength == pytest.approx(spearmanr(x[known], y[known]).statistic, abs=0.01)


def test_outcomes_that_are_missing_where_the_column_is_low_change_nothing() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=400)
    y = np.where(x > 0.5, x + random.normal(size=400), np.nan)
    found = Outcome.of("y", y, SESSION, 1).foretold_by(centred_ranks(x))
    assert found.strength == pytest.approx(spearmanr(x[x > 0.5], y[x > 0.5]).statistic, abs=1e-9)


@pytest.mark.parametrize("binary", [False, True])
def test_a_copy_is_certain(binary: bool) -> None:
    y = np.random.default_rng(0).normal(size=400)
    y = (y > 0.5).astype(float) if binary else y
    found = Outcome.of("y", y, SESSION, 5, binary).foretold_by(centred_ranks(y))
    assert (found.strength, found.error) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert found.interval == (pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("length", [1, 10])
def test_the_error_covers_what_luck_does(binary: bool, length: int) -> None:
    """Of series that stay alike for ``length`` sessions, intervals of 99.9 % miss 0 very seldom, and are no wider."""
    random, ratios, strengths = np.random.default_rng(1), [], []
    for _ in range(300):
        x, y = (np.convolve(random.normal(size=400 + length - 1), np.ones(length), "valid") for _ in range(2))
        y = (y > 0).astype(float) if binary else y
        found = Outcome.of("y", y, SESSION, length, binary).foretold_by(centred_ranks(x))
        strengths.append(found.strength)
        ratios.append(abs(found.strength) / found.error)
    assert np.mean(np.array(ratios) > 1) < 0.02
    assert np.quantile(ratios, 0.9) > 0.25


def test_too_few_blocks_and_constants_are_undefined() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=400), random.normal(size=400)
    enough = Outcome.of("y", y, SESSION, 400 // FEWEST_BLOCKS)
    assert np.isfinite(enough.foretold_by(centred_ranks(x)).least)
    assert np.isnan(Outcome.of("y", y, SESSION, 400 // FEWEST_BLOCKS + 5).foretold_by(centred_ranks(x)).least)
    assert np.isnan(Outcome.of("y", np.ones(400), SESSION, 1, True).foretold_by(centred_ranks(x)).strength)
    assert np.isnan(enough.foretold_by(centred_ranks(np.full(400, np.nan))).strength)


def test_chance_is_that_of_other_times() -> None:
    y = np.random.default_rng(0).normal(size=400)
    chance = Outcome.of("y", y, SESSION, 1).chance(centred_ranks(y))
    assert 0.1 < chance < 0.25  # about 3.4 / sqrt(400)
