from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import MLPTrainer, MultiTaskTrainer
from TRAINING.model_fun.nets.estimators import NeuralClassifier, NeuralMultiTask, NeuralRegressor
from TRAINING.strategies import MultiTaskStrategy

QUICK = {"hidden": (16,), "epochs": 25, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.01, "dropout": 0.0}
STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated row falls into other batches than one row of weight 2",
}


def expected(estimator: object) -> dict[str, str]:
    return STOCHASTIC


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [NeuralRegressor(**QUICK), NeuralClassifier(**QUICK), NeuralMultiTask(**QUICK)], expected_failed_checks=expected
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


@pytest.fixture
def tables(make_planted) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four targets of one signal, of very different scale; TTH is missing where nothing was touched."""
    X, _ = make_planted(500, "regression")
    signal, random = X["signal"].to_numpy(float), np.random.default_rng(3)
    y = pd.DataFrame(
        {
            "TTH": np.where(signal > -0.5, 3 - signal + 0.2 * random.normal(size=500), np.nan),
            "MDD": -0.02 * np.abs(signal - 1) + 0.001 * random.normal(size=500),
            "y_will_peak": (signal + 0.3 * random.normal(size=500) > 0).astype(float),
        },
        index=X.index,
    )
    y.iloc[-5:] = np.nan
    y.iloc[10:20, 1] = np.nan
    return X, y


def multi_task(**overrides) -> MultiTaskTrainer:
    return MultiTaskTrainer(load_model_config("multi_task", variant="smoke", overrides=overrides))


def test_every_head_learns_whatever_its_scale(tables) -> None:
    X, y = tables
    trainer = multi_task(epochs=60).train(X[:350], y[:350], X[350:], y[350:])
    score, later = trainer.predict_score(X[350:]), y[350:]
    for column, target in enumerate(y):
        known = later[target].notna().to_numpy()
        assert np.corrcoef(score[known, column], later[target][known])[0, 1] > 0.6, target
    prediction = trainer.predict(X[350:])
    assert prediction.shape == (150, 3)
    assert set(prediction[:, 2]) <= {0, 1}
    touched = trainer.predict_touch(X[:350])
    signal = X["signal"][:350]
    assert touched[signal > 0.5].mean() > 0.8 > 0.4 > touched[signal < -1.5].mean()
    assert trainer.target == list(y)
    for target in (None, *y):
        importance = trainer.get_feature_importance(target)
        assert importance.index[0] == "signal"
        assert importance.sum() == pytest.approx(1)


def test_several_targets_come_back_from_an_artifact(tables, tmp_path) -> None:
    X, y = tables
    trainer = multi_task().train(X, y)
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    np.testing.assert_array_equal(loaded.predict_touch(X), trainer.predict_touch(X))
    pd.testing.assert_series_equal(loaded.get_feature_importance("MDD"), trainer.get_feature_importance("MDD"))


def test_the_strategy_trains_it_on_a_table(tables) -> None:
    X, y = tables
    config = load_model_config("multi_task", variant="smoke")
    strategy = MultiTaskStrategy("multi_task", ["TTH", "MDD"], [1.0, 0.5], config)
    assert strategy.train(X[:400], y[:400], X[400:], y[400:]).predict(X).shape == (500, 2)


def test_loss_weights_move_the_net(tables) -> None:
    X, y = tables
    even, uneven = (multi_task(loss_weights=w).train(X, y).predict_score(X) for w in ([1.0], [1.0, 0.01, 1.0]))
    known = y["MDD"].notna().to_numpy()
    error = [np.mean((score[known, 1] - y["MDD"][known]) ** 2) for score in (even, uneven)]
    assert error[0] < error[1]


def test_a_table_of_targets_is_checked(tables) -> None:
    X, y = tables
    with pytest.raises(DataError, match="'MDD' has no label in the training rows"):
        multi_task().train(X, y.assign(MDD=np.nan))
    with pytest.raises(DataError, match="'MDD' is constant"):
        multi_task().train(X, y.assign(MDD=0.5))
    days = X.index.get_level_values("timestamp").to_numpy()
    one = RowInfo(days, (np.arange(len(X)) == np.flatnonzero(y["TTH"].notna())[0]).astype(float))
    with pytest.raises(DataError, match="in all 1 rows with a weight"):
        multi_task().train(X, y, rows=one)
    with pytest.raises(DataError, match="'TTH': must be finite"):
        multi_task().train(X, y.assign(TTH=np.inf))
    with pytest.raises(DataError, match="different indexes"):
        multi_task().train(X, y[::-1])
    with pytest.raises(ConfigError, match="loss_weights has 2 numbers for 3 targets"):
        multi_task(loss_weights=[1.0, 2.0]).train(X, y)
    with pytest.raises(ConfigError, match="no touch head"):
        multi_task(touch_head=False).train(X, y).predict_touch(X)
    with pytest.raises(ConfigError, match="did you mean 'MDD'"):
        multi_task().train(X, y).get_feature_importance("MDDD")


def test_missing_indicators_tell_what_is_missing(make_planted) -> None:
    X, _ = make_planted(400, "regression")
    hidden = np.random.default_rng(0).random(400) < 0.5
    X.loc[hidden, "noise_1"] = np.nan
    y = pd.Series(hidden + 0.1 * np.random.default_rng(1).normal(size=400), X.index, name="outcome")
    fits = {}
    for told in (False, True):
        config = load_model_config("mlp", variant="smoke", overrides={"missing_indicators": told})
        trainer = MLPTrainer(config).train(X[:300], y[:300])
        fits[told] = np.corrcoef(trainer.predict(X[300:]), y[300:])[0, 1]
        if told:
            assert trainer.get_feature_importance().index[0] == "noise_1"
    assert fits[True] > 0.9 > 0.5 > fits[False]


def test_forty_rows_and_a_batch_larger_than_the_table_train(make_planted) -> None:
    X, y = make_planted(40, "regression")
    trainer = MLPTrainer({"batch_size": 100_000, "epochs": 5}).train(X, y)
    assert np.isfinite(trainer.predict(X)).all()
