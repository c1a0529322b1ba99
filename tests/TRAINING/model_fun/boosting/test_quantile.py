"""Quantiles rise with their level, are LightGBM's own, hold what they promise on planted data, and are scored right."""

from __future__ import annotations

from itertools import pairwise

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.evaluation.quantile_metrics import pinball_loss
from TRAINING.model_fun import QuantileLightGBMTrainer
from TRAINING.model_fun.boosting.quantile_estimators import QuantileLightGBM

QUICK = QuantileLightGBM(
    levels=(0.3, 0.5), n_estimators=40, learning_rate=0.2, min_child_samples=3, colsample_bytree=1.0, reg_lambda=0.0
)
COUNTS = {
    "check_sample_weight_equivalence_on_dense_data": "min_child_samples counts rows, and bags are drawn of rows",
}
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([QUICK], expected_failed_checks=lambda estimator: COUNTS)
def test_scikit_learn_accepts_the_estimator(estimator, check) -> None:
    check(estimator)


def trainer(**overrides) -> QuantileLightGBMTrainer:
    return QuantileLightGBMTrainer(load_model_config("quantile_lightgbm", "smoke", overrides))


def spread_table(rows: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """y is normal around a signal; its deviation, from 0.5 to 2.5, follows another feature."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.uniform(-1, 1, (rows, 6)).astype(np.float32), columns=list("abcdef"))
    deviation = 1.5 + X["b"].to_numpy(float)
    y = X["a"].to_numpy(float) + deviation * random.normal(size=rows)
    return X, pd.Series(y, name="fwd_ret_5"), deviation


@pytest.fixture(scope="module")
def spread():
    return spread_table(2000)


@pytest.fixture(scope="module")
def trained(spread) -> QuantileLightGBMTrainer:
    X, y, _ = spread
    return trainer(n_estimators=60, learning_rate=0.1).train(X[:1500], y[:1500])


def test_each_level_is_lightgbms_own(spread, trained) -> None:
    X, y, _ = spread
    config = trained.config
    quantiles = np.column_stack(
        [
            lightgbm.LGBMRegressor(
                objective="quantile",
                alpha=level,
                n_estimators=config["n_estimators"],
                learning_rate=config["learning_rate"],
                num_leaves=config["num_leaves"],
                max_depth=config["max_depth"],
                min_child_samples=config["min_data_in_leaf"],
                colsample_bytree=config["feature_fraction"],
                subsample=config["bagging_fraction"],
                subsample_freq=config["bagging_freq"],
                reg_lambda=config["reg_lambda"],
                max_bin=config["max_bin"],
                random_state=config["seed"],
                n_jobs=1,
                deterministic=True,
                force_col_wise=True,
                verbose=-1,
            )
            .fit(X[:1500], y[:1500])
            .predict(X)
            for level in LEVELS
        ]
    )
    np.testing.assert_array_equal(trained.predict_quantiles(X), np.sort(quantiles, axis=1))
    np.testing.assert_array_equal(trained.model.predict_quantiles(X), trained.predict_quantiles(X))


def test_some_of_the_trained_levels_can_be_asked_for(spread, trained) -> None:
    X = spread[0][1500:]
    some = [LEVELS[-1], LEVELS[0]]
    pd.testing.assert_frame_equal(trained.predict_quantiles(X, some), trained.predict_quantiles(X)[some])
    for levels in ([0.123], "a", 0.123):
        with pytest.raises(ConfigError, match="trained for the levels"):
            trained.predict_quantiles(X, levels)


def test_quantiles_hold_their_share_of_later_rows(spread, trained) -> None:
    X, y, deviation = (part[1500:] for part in spread)
    quantiles = trained.predict_quantiles(X)
    assert quantiles.columns.tolist() == LEVELS
    assert quantiles.index.equals(X.index)
    below = (y.to_numpy()[:, None] <= quantiles).mean()
    # 500 rows: three standard deviations of a share are at most 0.067.
    np.testing.assert_allclose(below, LEVELS, atol=0.067)
    width = quantiles[0.95] - quantiles[0.05]
    assert np.corrcoef(width, deviation)[0, 1] > 0.85
    assert set(trained.get_feature_importance().index[:2]) == {"a", "b"}
    np.testing.assert_array_equal(trained.predict(X), quantiles[0.5])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sorting_never_raises_the_loss(data) -> None:
    numbers = st.floats(-100, 100)
    count = data.draw(st.integers(2, 6))
    levels = np.sort(data.draw(st.lists(st.floats(0.01, 0.99), min_size=count, max_size=count, unique=True)))
    raw = np.array([data.draw(st.lists(numbers, min_size=count, max_size=count))])
    y = [data.draw(numbers)]
    assert pinball_loss(y, np.sort(raw), levels).sum() <= pinball_loss(y, raw, levels).sum() + 1e-9


def test_crossed_quantiles_are_counted_and_sorted() -> None:
    X, y, _ = spread_table(300)
    levels = [0.4, 0.45, 0.5, 0.55]
    wild = trainer(alpha=levels, n_estimators=100, learning_rate=0.5, min_data_in_leaf=3).train(X[:200], y[:200])
    raw = wild.model.quantiles_.predict(X[200:].to_numpy())
    crossed = np.mean([any(a > b for a, b in pairwise(row)) for row in raw])
    assert wild.own_scores(X[200:], y[200:])["crossed"] == crossed > 0
    assert (np.diff(wild.predict_quantiles(X[200:]), axis=1) >= 0).all()


def test_own_scores_are_those_of_scikit_learn(spread, trained) -> None:
    X, y, _ = (part[1500:] for part in spread)
    holes = y.mask(np.arange(len(y)) % 3 == 0)
    known = holes.notna()
    quantiles = trained.predict_quantiles(X)[known]
    scores = trained.own_scores(X, holes)
    losses = [mean_pinball_loss(y[known], quantiles[level], alpha=level) for level in LEVELS]
    names = ["pinball_0_05", "pinball_0_25", "pinball_0_5", "pinball_0_75", "pinball_0_95"]
    assert [scores[name] for name in names] == pytest.approx(losses)
    assert scores["pinball"] == pytest.approx(np.mean(losses))
    inside = [low <= value <= high for low, value, high in zip(quantiles[0.05], y[known], quantiles[0.95], strict=True)]
    assert scores["coverage"] == pytest.approx(np.mean(inside))
    assert scores["coverage_asked"] == pytest.approx(0.9)
    assert set(scores) == {*names, "pinball", "crps", "coverage", "coverage_asked", "crossed"}
    assert trained.own_scores(X, y * np.nan) == {}


def test_one_number_is_one_level(spread) -> None:
    X, y, _ = spread
    config = load_model_config("quantile_lightgbm", "smoke", overrides={"alpha": 0.9})
    assert config["alpha"] == [0.9]
    one = QuantileLightGBMTrainer(config).train(X[:1500], y[:1500])
    assert np.mean(y[1500:] <= one.predict(X[1500:])) == pytest.approx(0.9, abs=0.05)
    assert set(one.own_scores(X, y)) == {"pinball_0_9", "pinball", "crps"}


@pytest.mark.parametrize(("levels", "middle"), [([0.1, 0.4, 0.9], 0.4), ([0.25, 0.75], 0.25), ([0.8], 0.8)])
def test_the_prediction_is_the_level_nearest_to_the_median(spread, levels, middle) -> None:
    X, y, _ = spread
    some = trainer(alpha=levels, n_estimators=3).train(X, y)
    np.testing.assert_array_equal(some.predict(X), some.predict_quantiles(X)[middle])


@pytest.mark.parametrize("levels", [[0.5, 0.1], [0.1, 0.5, 0.5]])
def test_levels_that_do_not_rise_are_refused(spread, levels) -> None:
    X, y, _ = spread
    with pytest.raises(ConfigError, match="quantile_lightgbm: alpha, .* must rise within .*; got"):
        trainer(alpha=levels).train(X, y)


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, [0.5, 1.0], []])
def test_levels_outside_of_0_to_1_are_refused(level) -> None:
    with pytest.raises(ConfigError, match=r"alpha: (must be within \(0, 1\), got|expected at least one number)"):
        trainer(alpha=level)


@pytest.mark.parametrize("name", ["y_will_peak", "mine"])
def test_classes_have_no_quantiles(spread, name) -> None:
    X, y, _ = spread
    with pytest.raises(ConfigError, match=f"the target '{name}' is binary, and classes have no quantiles; choose"):
        trainer().train(X, (y > 0).astype(float).rename(name))
    asked = trainer(task="regression", n_estimators=2).train(X, (y > 0).astype(float).rename(name))
    assert asked.task == "regression"
    with pytest.raises(ConfigError, match="'binary' is not a choice"):
        trainer(task="binary")


def test_training_stops_by_the_mean_of_the_levels(spread) -> None:
    X, y, _ = spread
    parts = X[:300], y[:300], X[300:600], y[300:600]
    settings_ = {"n_estimators": 80, "learning_rate": 0.3, "min_data_in_leaf": 5}
    every = trainer(**settings_, early_stopping_rounds=0).train(*parts)
    assert every.rounds == 80
    curve, best = every.history["validation"]["pinball"], 0
    for number, loss in enumerate(curve):
        best = number if loss < curve[best] else best
        if number - best == 7:
            break
    stopped = trainer(**settings_, early_stopping_rounds=7).train(*parts)
    assert stopped.rounds == best + 1 < 70
    assert stopped.history["validation"]["pinball"] == curve[: best + 8]
    by_hand = pinball_loss(parts[3], stopped.predict_quantiles(parts[2]), LEVELS).mean()
    assert curve[best] == pytest.approx(by_hand, rel=0.01)  # the curve's quantiles are not sorted


def test_quantiles_come_back_from_an_artifact(spread, tmp_path) -> None:
    X, y, _ = spread
    parts = X[:300], y[:300], X[300:600], y[300:600]
    stopped = trainer(learning_rate=0.5, n_estimators=60, early_stopping_rounds=3, min_data_in_leaf=5).train(*parts)
    save_artifact(stopped, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    pd.testing.assert_frame_equal(loaded.predict_quantiles(X), stopped.predict_quantiles(X), check_exact=True)
    assert loaded.rounds == stopped.rounds < 60
    assert loaded.own_scores(X, y) == stopped.own_scores(X, y)
