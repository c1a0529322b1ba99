from __future__ import annotations

import numpy as np
import pytest

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.metrics import score_money
from TRAINING.evaluation.significance import (
    FEWEST_BLOCKS,
    beats,
    bootstrap_indices,
    bootstrap_interval,
    default_block,
)


def autoregressive(random, n_sessions, persistence):
    noise = random.standard_normal(n_sessions + 50)
    series = np.zeros(len(noise))
    for t in range(1, len(noise)):
        series[t] = persistence * series[t - 1] + noise[t]
    return series[50:]


def sharpe(values):
    return np.mean(values) / np.std(values, ddof=1)


def test_the_default_block_is_the_horizon_or_the_cube_root():
    assert [default_block(n) for n in (1, 8, 9, 125, 126, 1000)] == [1, 2, 3, 5, 6, 10]
    assert default_block(252, horizon=20) == 20
    assert default_block(252, horizon=20, bars_per_session=7) == 7
    assert default_block(252, horizon=78, bars_per_session=7) == 12  # 78 bars end in the 12th session


def test_indices_run_on_around_the_circle_in_blocks_of_the_mean_length():
    n_sessions, block = 100, 5
    indices = bootstrap_indices(n_sessions, block, 500, seed=1)
    assert indices.shape == (500, n_sessions)
    assert indices.min() == 0
    assert indices.max() == n_sessions - 1
    runs_on = indices[:, 1:] == (indices[:, :-1] + 1) % n_sessions
    # A new block starts with probability 1 / block, and by chance continues the old one with 1 / n_sessions.
    assert runs_on.mean() == pytest.approx(1 - 1 / block + 1 / block / n_sessions, abs=0.005)
    counts = np.bincount(indices.ravel(), minlength=n_sessions)
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.25)  # the ends are drawn as often as the middle


def test_indices_repeat_with_the_seed_and_only_with_it():
    first = bootstrap_indices(50, 4, 20, seed=7).copy()
    bootstrap_indices.cache_clear()
    np.testing.assert_array_equal(bootstrap_indices(50, 4, 20, seed=7), first)
    assert (bootstrap_indices(50, 4, 20, seed=8) != first).any()
    with pytest.raises(ValueError, match="read-only"):
        bootstrap_indices(50, 4, 20, seed=7)[0, 0] = 1


@pytest.mark.parametrize("statistic", ["mean_loss", "sharpe"])
def test_the_interval_equals_a_slow_loop(statistic):
    random = np.random.default_rng(0)
    model, baseline = random.normal(0.02, 1, 90), random.normal(0, 1, 90)
    found = beats(model, baseline, statistic, block=5, samples=200, confidence=0.9, seed=3, periods_per_year=252)

    def improvement(rows):
        ours, theirs = [model[row] for row in rows], [baseline[row] for row in rows]
        if statistic == "mean_loss":
            return np.mean(theirs) - np.mean(ours)
        return (sharpe(ours) - sharpe(theirs)) * np.sqrt(252)

    draws = [improvement(rows) for rows in bootstrap_indices(90, 5, 200, 3)]
    assert found.point == pytest.approx(improvement(range(90)))
    # Student's t with 90 / 5 - 1 degrees at 0.05 is -1.7396; times sqrt(18 / 17) the normal leaves 0.03672 beyond it.
    assert found.low == pytest.approx(np.quantile(draws, 0.03672), abs=2e-4)
    assert found.high == pytest.approx(np.quantile(draws, 1 - 0.03672), abs=2e-4)
    assert found.low < found.point < found.high
    assert found.reason is None


def test_the_sharpe_ratio_is_the_one_of_the_tables():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 100)
    interval = bootstrap_interval(returns, "sharpe", block=5, samples=100, periods_per_year=252)
    values = score_money(returns, np.ones(100), returns, 252).values
    assert interval.point == pytest.approx(values["sharpe"])
    assert bootstrap_interval(returns, "mean_loss", block=5, periods_per_year=252).point == pytest.approx(
        returns.mean()
    )


def test_lower_losses_and_higher_sharpe_ratios_beat():
    random = np.random.default_rng(2)
    worse = random.normal(1, 0.1, 200)
    better = worse - 0.1 + random.normal(0, 0.05, 200)
    assert beats(better, worse, "mean_loss", block=6).beats
    assert beats(better, worse, "mean_loss", block=6).point == pytest.approx((worse - better).mean())
    backwards = beats(worse, better, "mean_loss", block=6)
    assert not backwards.beats
    assert backwards.high < 0
    flat = random.normal(0, 0.01, 200)
    good = flat + 0.005
    assert beats(good, flat, "sharpe", block=6).beats
    assert not beats(flat, good, "sharpe", block=6).beats
    assert bootstrap_interval(good, "sharpe", block=6).low > 0


@pytest.mark.parametrize("statistic", ["mean_loss", "sharpe"])
def test_identical_series_never_beat(statistic):
    series = np.random.default_rng(3).normal(0, 1, 100)
    interval = beats(series, series.copy(), statistic, block=5)
    assert (interval.low, interval.point, interval.high) == (0, 0, 0)
    assert not interval.beats


@pytest.mark.parametrize(
    ("statistic", "persistence", "least"),
    [("mean_loss", 0.0, 0.92), ("mean_loss", 0.3, 0.88), ("sharpe", 0.0, 0.92), ("sharpe", 0.3, 0.88)],
)
def test_intervals_cover_and_skill_is_seldom_seen_where_there_is_none(statistic, persistence, least):
    """95 % intervals of paired series without skill: 0 is inside about as often, and above 2.5 % are seldom good."""
    random = np.random.default_rng(11)
    trials = 300
    intervals = []
    for _ in range(trials):
        model, baseline = (autoregressive(random, 250, persistence) for _ in range(2))
        intervals.append(beats(model, baseline, statistic, block=default_block(250), samples=400))
    assert least <= np.mean([interval.low <= 0 <= interval.high for interval in intervals]) <= 0.98
    assert np.mean([interval.beats for interval in intervals]) <= 0.055


def test_blocks_widen_the_interval_of_a_persistent_series():
    series = autoregressive(np.random.default_rng(4), 400, 0.6)
    one, eight = (bootstrap_interval(series, "mean_loss", block=block) for block in (1, 8))
    assert eight.high - eight.low > 1.3 * (one.high - one.low)


def test_undefined_comparisons_are_not_won():
    random = np.random.default_rng(5)
    good, bad = random.normal(1, 0.1, 100), random.normal(-1, 0.1, 100)
    assert beats(good, bad, "sharpe", block=5).beats
    hole = good.copy()
    hole[3] = np.nan
    rare = np.zeros(100)
    rare[50] = 1.0
    for model, baseline, reason in (
        (hole, bad, "1 of 100 sessions have no value"),
        (good, np.where(bad > -1, np.nan, bad), "sessions have no value"),
        (good, np.zeros(100), "a series does not vary"),
        (good, np.full(100, -0.1), "a series does not vary"),
        (good, -rare, "resamples"),
        (good[:30], bad[:30], f"30 sessions are fewer than {FEWEST_BLOCKS} blocks of 5"),
        (good[:0], bad[:0], "0 sessions"),
    ):
        interval = beats(model, baseline, "sharpe", block=5)
        assert reason in interval.reason
        assert not interval.beats
        assert np.isnan([interval.point, interval.low, interval.high]).all()
    assert beats(bad, good, "mean_loss", block=5).reason is None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"statistic": "sharp"}, "did you mean 'sharpe'"),
        ({"block": 0}, "got 0, 2000 and 0.95"),
        ({"samples": 0}, "got 5, 0 and 0.95"),
        ({"confidence": 1.0}, "got 5, 2000 and 1"),
    ],
)
def test_bad_settings_are_one_clear_error(settings, text):
    series = np.arange(100.0)
    settings = {"statistic": "sharpe", "block": 5} | settings
    with pytest.raises(ConfigError, match=text):
        beats(series, series, **settings)


def test_series_of_different_sessions_are_an_error():
    with pytest.raises(DataError, match=r"\(100,\) and \(99,\)"):
        beats(np.arange(100.0), np.arange(99.0), "mean_loss", block=5)
