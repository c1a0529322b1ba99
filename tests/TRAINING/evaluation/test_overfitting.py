from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.overfitting import FEWEST_SESSIONS, backtest_overfitting, effective_trials

seeds = st.integers(0, 2**32 - 1)


def noise(seed, n_sessions=320, n_strategies=10):
    return np.random.default_rng(seed).normal(0, 0.01, (n_sessions, n_strategies))


def slow_overfitting(returns, blocks):
    """The paper's algorithm word by word, on concatenated halves."""
    length = len(returns) // blocks
    parts = returns[len(returns) - blocks * length :].reshape(blocks, length, -1)
    rows = []
    for chosen in combinations(range(blocks), blocks // 2):
        rest = [block for block in range(blocks) if block not in chosen]
        inside, outside = (np.concatenate(parts[list(half)]) for half in (chosen, rest))
        sharpe = [half.mean(axis=0) / half.std(axis=0, ddof=1) for half in (inside, outside)]
        best = np.argmax(sharpe[0])
        relative = scipy.stats.rankdata(sharpe[1])[best] / (returns.shape[1] + 1)
        rows.append((sharpe[0][best], sharpe[1][best], np.log(relative / (1 - relative))))
    return np.array(rows).T


@given(seeds, st.sampled_from([2, 4, 8]), st.integers(2, 7), st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_it_equals_the_algorithm_word_by_word(seed, blocks, n_strategies, extra):
    returns = 0.003 + noise(seed, 8 * blocks + min(extra, blocks - 1), n_strategies)
    found = backtest_overfitting(returns, blocks)
    in_sample, out_of_sample, logits = slow_overfitting(returns, blocks)
    np.testing.assert_allclose(found.in_sample, in_sample)
    np.testing.assert_allclose(found.out_of_sample, out_of_sample)
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    assert len(logits) == comb(blocks, blocks // 2)
    assert found.probability == pytest.approx((logits < -1e-9).mean() + (np.abs(logits) < 1e-9).mean() / 2)
    assert found.loss_probability == (out_of_sample < 0).mean()


@pytest.mark.parametrize(
    ("n_strategies", "blocks", "probability", "in_sample", "out_of_sample", "logits"),
    [
        (6, 8, 0.18571428571428572, 0.37396812, 0.26380051, 16.676523222344123),
        (4, 16, 0.08376068376068375, 0.3216454, 0.27382262, 13563.9481465811),
    ],
)
def test_it_equals_purgedcv(n_strategies, blocks, probability, in_sample, out_of_sample, logits):
    """Numbers of probability_of_backtest_overfitting in purgedcv 0.1.11 on the same series."""
    place = np.arange(160)
    returns = np.stack([np.sin(place**2 * (0.1 + 0.07 * k) + k) + 0.05 * k for k in range(n_strategies)], axis=1)
    found = backtest_overfitting(returns, blocks)
    assert found.probability == pytest.approx(probability)
    assert found.in_sample.mean() == pytest.approx(in_sample)
    assert found.out_of_sample.mean() == pytest.approx(out_of_sample)
    assert found.logits.sum() == pytest.approx(logits)


@pytest.mark.parametrize("n_strategies", [2, 3, 10])
def test_the_choice_among_noise_is_worth_nothing(n_strategies):
    found = [backtest_overfitting(noise(seed, 320, n_strategies), 8).probability for seed in range(200)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_a_truly_better_strategy_is_found_again():
    for seed in range(10):
        returns = noise(seed)
        returns[:, 4] += 0.004
        found = backtest_overfitting(returns)
        assert found.probability < 0.02
        assert found.loss_probability < 0.05
        assert found.out_of_sample.mean() > 0.2


def test_a_strategy_that_only_fits_the_past_is_always_below():
    # What a strategy gains in one half it lost in the other.
    returns = noise(0, 320, 20)
    returns -= returns.mean(axis=0)
    assert backtest_overfitting(returns, 2).probability == 1


def test_identical_strategies_tie():
    one = noise(1, 160, 1)
    assert backtest_overfitting(np.repeat(one, 2, axis=1)).probability == 0.5
    assert backtest_overfitting(np.repeat(one, 3, axis=1)).probability == 0.5


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=15, deadline=None)
def test_scale_and_order_do_not_matter(seed, scale):
    returns = noise(seed, 96, 5) + 0.001
    found = backtest_overfitting(returns, 6)
    other = backtest_overfitting(returns[:, ::-1] * scale, 6)
    assert other.probability == found.probability
    np.testing.assert_allclose(other.out_of_sample, found.out_of_sample)


RARE = noise(2, 320, 3)
RARE[:, 1] = 0.0
RARE[300:, 1] = 0.01
HALF = noise(3, 320, 3)
HALF[:160, 2] = 0.0


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (noise(0, 320, 1), "one strategy only"),
        (noise(0, 320, 0), "no strategy"),
        (noise(0, 16 * FEWEST_SESSIONS - 1, 4), "79 sessions are fewer than 16 blocks of 5"),
        (np.where(np.arange(320)[:, None] < 2, np.nan, noise(0)), "2 of 320 sessions have no value"),
        (RARE, "1 of 3 strategies do not vary in some halves"),
        (HALF, "1 of 3 strategies do not vary in some halves"),
        (np.column_stack([noise(0), np.full(320, 0.001)]), "1 of 11 strategies"),
        (np.column_stack([noise(0), np.tile([0.1 + 0.2, 0.3], 160)]), "1 of 11 strategies"),
        (np.zeros((320, 2)), "2 of 2 strategies"),
    ],
)
def test_undefined_is_nan_with_a_reason(returns, reason):
    found = backtest_overfitting(returns)
    assert reason in found.reason
    assert np.isnan([found.probability, found.loss_probability]).all()
    assert len(found.logits) == len(found.in_sample) == len(found.out_of_sample) == 0


@pytest.mark.parametrize("blocks", [0, 3, -2])
def test_blocks_must_be_halved(blocks):
    with pytest.raises(ConfigError, match=f"even and at least 2; got {blocks}"):
        backtest_overfitting(noise(0), blocks)


def test_a_matrix_is_needed():
    for function in (backtest_overfitting, effective_trials):
        with pytest.raises(DataError, match=r"\(100,\)"):
            function(np.ones(100))


# ---- effective trials -----------------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_effective_trials_are_the_participation_ratio(seed, n_trials):
    random = np.random.default_rng(seed)
    returns = random.normal(0, 1, (4000, n_trials)) + 2 * random.normal(0, 1, (4000, 1))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(returns, rowvar=False))
    # So many sessions leave nearly nothing to adjust.
    assert effective_trials(returns).value == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-3)
    assert 1 <= effective_trials(returns).value <= n_trials


def test_copies_are_one_trial_and_independent_ones_count_in_full():
    one = noise(0, 250, 1)
    scales = np.arange(1, 6)
    assert effective_trials(one * scales).value == pytest.approx(1)
    assert effective_trials(one).value == 1
    independent = [effective_trials(noise(seed, 100, 40)).value for seed in range(20)]
    assert np.mean(independent) > 38  # unadjusted it is 29
    pairs = np.repeat(noise(1, 2000, 6), 2, axis=1) + noise(2, 2000, 12) / 100
    assert effective_trials(pairs).value == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (noise(0, 2, 3), "2 sessions of 3 trials are too few"),
        (noise(0, 20, 0), "20 sessions of 0 trials are too few"),
        (np.where(np.arange(20)[:, None] == 3, np.nan, noise(0, 20, 3)), "1 of 20 sessions have no value"),
        (np.column_stack([noise(0, 20, 2), np.zeros(20)]), "1 of 3 trials do not vary"),
    ],
)
def test_undefined_effective_trials(returns, reason):
    found = effective_trials(returns)
    assert np.isnan(found.value)
    assert reason in found.reason
