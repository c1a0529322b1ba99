"""Reward-weighted regression against scikit-learn's ridge on weighted samples; positions, their sides and costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.evaluation.backtest import label_signal
from TRAINING.model_fun import RewardBasedTrainer
from TRAINING.model_fun.linear.reward_estimators import RewardClassifier, RewardRegressor, moved


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([RewardRegressor(cost=0.0, ridge=1.0), RewardClassifier(ridge=1.0)])
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def reward_based(**overrides) -> RewardBasedTrainer:
    return RewardBasedTrainer(load_model_config("reward_based", variant="smoke", overrides=overrides))


@pytest.fixture
def returns(make_planted) -> tuple[pd.DataFrame, pd.Series]:
    """A planted signal in units of returns: 1 % a deviation."""
    X, y = make_planted(600, "regression")
    return X, (y / 100).rename("fwd_ret_5")


def slow(X, gain, weight, cost, share, ridge, rounds):
    """The same on one sample per row and position, each round a ridge regression of scikit-learn."""
    Z = (X - np.average(X, axis=0, weights=weight)) / np.sqrt(np.cov(X.T, aweights=weight, ddof=0).diagonal())
    Z = np.clip(Z, -3, 3)
    actions = np.arange(-10, 11) / 10
    rewards = gain[:, None] * actions - cost * np.abs(actions)

    def samples(mean, deviation, temperature):
        chance = np.exp(-(((actions - mean[:, None]) / deviation) ** 2) / 2)
        chance /= chance.sum(axis=1, keepdims=True)
        return chance, np.exp((rewards - rewards.max(axis=1, keepdims=True)) / temperature)

    def effective(temperature):
        chance, tilt = samples(np.zeros(len(Z)), actions.std(), temperature)
        kish = (chance * tilt).sum(axis=1) ** 2 / (chance * tilt**2).sum(axis=1)
        return np.average(kish, weights=weight)

    temperatures = np.geomspace(1e-4, 1e2, 200_001)[::200]
    near = int(np.argmin([abs(effective(temperature) - share) for temperature in temperatures]))
    fine = np.geomspace(temperatures[near - 1], temperatures[near + 1], 3000)
    temperature = fine[int(np.argmin([abs(effective(one) - share) for one in fine]))]
    mean, deviation = np.zeros(len(Z)), actions.std()
    for _ in range(rounds):
        chance, tilt = samples(mean, deviation, temperature)
        joint = chance * tilt
        joint *= (weight / joint.sum(axis=1))[:, None]
        rows, action = np.repeat(Z, len(actions), axis=0), np.tile(actions, len(Z))
        fitted = Ridge(alpha=ridge).fit(rows, action, sample_weight=joint.ravel())
        mean = fitted.predict(Z)
        deviation = np.sqrt(np.average((action - fitted.predict(rows)) ** 2, weights=joint.ravel()))
    return temperature, fitted.coef_, np.clip(mean, -1, 1)


def test_equals_weighted_ridge_on_samples_of_positions() -> None:
    random = np.random.default_rng(2)
    X = random.normal(3, 2, size=(60, 3))
    gain, weight = 0.3 * X[:, 0] - 1 + random.normal(size=60), random.uniform(0.2, 3, 60)
    estimator = RewardRegressor(0.2, 0.7, 5.0, 4, 0.0).fit(X, gain, weight)
    temperature, slopes, position = slow(X, gain, weight, 0.2, 0.7, 5.0, 4)
    assert estimator.temperature_ == pytest.approx(temperature, rel=1e-4)
    np.testing.assert_allclose(estimator.slopes_, slopes, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimator.predict(X), position, rtol=1e-4, atol=1e-6)


def test_positions_are_on_the_side_of_the_gain_and_earn(returns) -> None:
    X, y = returns
    trainer = reward_based(iterations=10).train(X[:400], y[:400], X[400:], y[400:])
    position = trainer.predict(X[400:])
    assert np.abs(position).max() <= 1
    assert np.corrcoef(position, X["signal"][400:])[0, 1] > 0.9
    earned, best = position * y[400:].to_numpy(), np.abs(y[400:]).mean()
    assert earned.mean() > 0.5 * best
    assert trainer.get_feature_importance().index[0] == "signal"
    for regrets in (trainer.history["train"]["regret"], trainer.history["validation"]["regret"]):
        assert len(regrets) == trainer.rounds == 10
        assert regrets[-1] < 0.95 * regrets[0]
    by_hand = np.maximum(np.abs(y[400:]) - 0.001, 0) - (earned - 0.001 * np.abs(position))
    assert trainer.history["validation"]["regret"][-1] == pytest.approx(by_hand.mean())


def test_a_search_compares_what_positions_earn(returns) -> None:
    X, y = (part.to_numpy() for part in returns)
    search = GridSearchCV(RewardRegressor(0.001, ridge=1.0), {"ridge": [1.0, 1e9]}, cv=2).fit(X, y)
    assert search.best_params_ == {"ridge": 1.0}, "so large a penalty knows no signal"
    position = search.best_estimator_.predict(X)
    earned = (position * y - 0.001 * np.abs(position))[100:].mean()
    weight = np.r_[np.zeros(100), np.ones(500)]
    assert search.best_estimator_.score(X, y, weight) == pytest.approx(earned)


def test_cost_takes_positions_away(returns) -> None:
    X, y = returns
    sizes = []
    for cost_bps in (0.0, 50.0, 1000.0):
        trainer = reward_based(cost_bps=cost_bps, smallest_position=0.1).train(X[:400], y[:400])
        position = trainer.predict_position(X[400:])
        assert not (np.abs(position[position != 0]) < 0.1).any()
        scores = trainer.own_scores(X[400:], y[400:])
        assert scores["mean_position"] == pytest.approx(np.abs(position).mean())
        by_hand = (position * y[400:] - cost_bps / 1e4 * np.abs(position)).mean()
        assert scores["mean_reward"] == pytest.approx(by_hand)
        assert scores["share_in_market"] == (position != 0).mean()
        sizes.append(scores["mean_position"])
    assert sizes[0] > sizes[1] > sizes[2] == 0


@pytest.mark.parametrize(("target", "low", "high"), [("y_will_peak", 0, 1), ("y_will_valley", -1, 0), ("mine", -1, 1)])
def test_a_label_has_its_side(make_planted, target, low, high) -> None:
    X, y = make_planted(500, "binary")
    y = (y * (np.arange(500) % 2)).rename(target)  # a quarter
    trainer = reward_based().train(X[:400], y[:400])
    position, score = trainer.predict_position(X), trainer.predict_score(X)
    assert trainer.task == "binary"
    assert low <= position.min() <= low / 10 <= high / 10 <= position.max() <= high
    assert ((score >= 0) & (score <= 1)).all()
    share = np.average(y[:400])
    signal = label_signal(score, "short_flat" if target == "y_will_valley" else "long_flat", share)
    np.testing.assert_array_equal(signal != 0, position > 0 if target == "mine" else position != 0)
    np.testing.assert_array_equal(score == share, trainer.model.positions(X) == 0)
    np.testing.assert_allclose(moved(np.array([-1.0, -0.5, 0.0, 0.5, 1.0]), 0.2), [0, 0.1, 0.2, 0.6, 1])
    if target != "mine":  # a run can tell positions from scores and the training rows' share
        np.testing.assert_allclose(np.abs(position), np.maximum((score - share) / (1 - share), 0), atol=1e-12)
    gain = y[400:] - share
    by_hand = np.abs(position[400:]) * gain if target != "mine" else position[400:] * gain
    assert trainer.own_scores(X[400:], y[400:])["mean_reward"] == pytest.approx(
        (by_hand - 0.001 * np.abs(position[400:])).mean()
    )


def test_large_moves_alone_are_no_reason_for_a_position() -> None:
    """One row in ten gains nine times what the others lose; on the whole nothing is gained."""
    random = np.random.default_rng(4)
    X = pd.DataFrame(random.normal(size=(4000, 2)), columns=["a", "b"])
    y = pd.Series(np.where(np.arange(4000) % 10 == 0, 1.0, 0.0))
    position = RewardBasedTrainer(load_model_config("reward_based")).train(X, y).predict_position(X)
    assert np.abs(position).mean() < 0.05


def test_weights_of_nought_are_rows_left_out(returns) -> None:
    X, y = returns
    weight = np.where(np.arange(600) < 400, 1.0, 0.0)
    rows = RowInfo(np.full(600, np.datetime64("2030-01-01", "ns")), weight)
    few = reward_based().train(X[:400], y[:400])
    np.testing.assert_allclose(reward_based().train(X, y, rows=rows).predict(X), few.predict(X), rtol=1e-9)


def test_an_estimator_comes_back_from_an_artifact(make_planted, tmp_path) -> None:
    X, y = make_planted(300, "binary")
    trainer = reward_based().train(X, y.rename("y_will_valley"))
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict_position(X), trainer.predict_position(X))
    np.testing.assert_array_equal(loaded.model.predict_proba(X), trainer.model.predict_proba(X))
    assert loaded.own_scores(X, y) == trainer.own_scores(X, y)


def test_targets_without_a_position_are_refused(make_planted) -> None:
    X, y = make_planted(300, "regression")
    for target in ("TTH", "MFE", "MDD"):
        with pytest.raises(ConfigError, match=f"{target} says nothing of what a position earns; choose a return"):
            reward_based().train(X, y.rename(target))
    scores = reward_based().train(X, y).own_scores(X, y * np.nan)
    assert set(scores) == {"share_in_market", "mean_position"}


def test_features_that_say_nothing_give_no_position(returns) -> None:
    _, y = returns
    X = pd.DataFrame({"zero": 0.0, "flat": 0.1, "hollow": np.nan}, index=y.index)
    trainer = reward_based().train(X, y - y.mean())
    assert (trainer.predict(X) == 0).all()
    assert trainer.get_feature_importance().isna().all()
