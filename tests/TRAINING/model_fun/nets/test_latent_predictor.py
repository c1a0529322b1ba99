"""What only a linear model on latents promises; the contract of all models is in tests/checks.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import TRAINING.model_fun as zoo
from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import MODELS, GANPredictor, VAEPredictor, predictor_class, trainer_class
from TRAINING.model_fun.feature_trainer import FeatureTrainer
from TRAINING.model_fun.nets.generative_estimators import GANTransformer, VAETransformer
from TRAINING.model_fun.nets.latent_estimators import LatentClassifier, LatentRegressor
from TRAINING.model_fun.registry import PREDICTORS
from TRAINING.model_fun.robust_linear import RobustScale
from TRAINING.strategies import CascadeStrategy, SingleTaskStrategy
from TRAINING.walkforward import WalkForwardEngine

QUICK = {"latent_dim": 24, "hidden": (16,), "epochs": 2, "batch_size": 16}
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "weights are the linear model's; in the net every row is one"
    for kind in ("dense", "sparse")
}
TASKS = ("regression", "binary")
each_model = pytest.mark.parametrize("model", sorted(PREDICTORS))
each_task = pytest.mark.parametrize("task", TASKS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        kind(make(**QUICK), penalty=1.0)
        for kind in (LatentRegressor, LatentClassifier)
        for make in (VAETransformer, GANTransformer)
    ],
    expected_failed_checks=lambda estimator: WEIGHTS,
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def shared_factor(rows: int, task: str, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Six columns that say the same with noise, and six that say nothing; the target is what the six say."""
    random = np.random.default_rng(seed)
    factor = random.normal(size=rows)
    values = np.column_stack([factor[:, None] + 0.5 * random.normal(size=(rows, 6)), random.normal(size=(rows, 6))])
    names = [*(f"told_{i}" for i in range(6)), *(f"noise_{i}" for i in range(6))]
    index = pd.MultiIndex.from_product([["A"], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
    value = factor + 0.5 * random.normal(size=rows)
    y = (value > 0).astype(float) if task == "binary" else value
    X = pd.DataFrame(values.astype(np.float32), index.set_names(["symbol", "timestamp"]), names)
    return X, pd.Series(y, X.index, name="outcome")


def make(model: str, **overrides):
    return predictor_class(model)(load_model_config(model, variant="smoke", overrides=overrides))


def test_every_model_that_makes_features_has_a_predictor() -> None:
    for model in MODELS:
        made = issubclass(trainer_class(model), FeatureTrainer)
        assert (model in PREDICTORS) == made == trainer_class(model).makes_features
        predictor = predictor_class(model)
        assert (predictor.name, predictor.makes_features) == (model, False)
        assert getattr(zoo, predictor.__name__) is predictor
        assert predictor is not trainer_class(model) or not made
    assert (predictor_class("vae"), predictor_class("gan")) == (VAEPredictor, GANPredictor)
    with pytest.raises(ConfigError, match="no model 'vea'; did you mean 'vae'"):
        predictor_class("vea")


@each_model
@each_task
def test_what_many_columns_share_is_learnt(model: str, task: str) -> None:
    X, y = shared_factor(800, task)
    # A critic needs more latents for what principal components say in one.
    trainer = make(model, latent_dim=4 if model == "vae" else 24).train(X[:500], y[:500], X[500:], y[500:])
    score = trainer.predict_score(X[500:])
    # The best that these columns allow: R2 0.77 and AUC 0.93.
    assert roc_auc_score(y[500:], score) > 0.88 if task == "binary" else r2_score(y[500:], score) > 0.65
    importance = trainer.get_feature_importance()
    assert all(name.startswith("told") for name in importance.index[:6])
    assert importance[:6].sum() > 0.75


@each_model
@each_task
def test_it_is_scikit_learns_linear_model_on_the_same_latents(model: str, task: str) -> None:
    """The feature trainer of the same configuration makes the latents; the target has no part in them."""
    X, y = shared_factor(400, task)
    later, weight = X[300:], np.linspace(0.2, 2, 300)
    rows = RowInfo(np.full(300, np.datetime64("2030-01-01", "ns")), weight)
    trainer = make(model, penalty=30.0).train(X[:300], y[:300], later, y[300:], rows=rows)
    maker = trainer_class(model)(trainer.config)
    latents = maker.train(X[:300], None, later)
    assert (trainer.history, trainer.rounds, trainer.notes) == (maker.history, maker.rounds, maker.notes)
    scale = RobustScale.learn(latents)
    oracle = LogisticRegression(C=4 / 30, tol=1e-8) if task == "binary" else Ridge(30.0)
    oracle.fit(scale.impute(latents), y[:300], sample_weight=weight)
    features = scale.impute(maker.transform(later))
    expected = expit(oracle.decision_function(features)) if task == "binary" else oracle.predict(features)
    np.testing.assert_allclose(trainer.predict_score(later), expected, atol=1e-4)


@each_model
def test_a_stronger_pull_answers_nearer_to_the_mean(model: str) -> None:
    X, y = shared_factor(300, "regression")
    spreads = [np.std(make(model, penalty=penalty).train(X, y).predict(X)) for penalty in (1.0, 300.0, 1e6)]
    assert spreads[0] > spreads[1] > 100 * spreads[2]


@each_model
def test_holes_and_flat_columns_are_taken(model: str) -> None:
    X, y = shared_factor(300, "regression")
    holes = X.mask(np.random.default_rng(0).random(X.shape) < 0.1).assign(hollow=np.float32(np.nan), flat=1.0)
    trainer = make(model).train(holes, y)
    assert np.isfinite(trainer.predict(holes)).all()
    assert trainer.get_feature_importance()[["hollow", "flat"]].to_list() == [0, 0]
    hollow = [note for note in trainer.notes if note.endswith("so unused: hollow")]
    assert len(hollow) == 1, "told once, not by the net again"


@each_model
def test_one_name_two_kinds_of_artifact(model: str, tmp_path: Path) -> None:
    X, y = shared_factor(200, "binary")
    maker, predictor = trainer_class(model)(load_model_config(model, variant="smoke")), make(model).train(X, y)
    maker.train(X)
    for trainer, folder in ((maker, tmp_path / "made"), (predictor, tmp_path / "predicts")):
        save_artifact(trainer, folder)
        assert type(load_artifact(folder)) is type(trainer)
    loaded = load_artifact(tmp_path / "predicts")
    assert loaded.rounds == predictor.rounds
    np.testing.assert_array_equal(loaded.predict_proba(X), predictor.predict_proba(X))
    assert {path.name for path in (tmp_path / "predicts").iterdir()} == {
        "manifest.json", "history.json", "net.json", "net.safetensors", "head.safetensors",
    }  # fmt: skip


@each_model
def test_strategies_and_the_walk_forward_take_it(model: str) -> None:
    X, y = shared_factor(300, "regression")
    config = load_model_config(model, variant="smoke", overrides={"epochs": 2})
    parts = X[:200], y[:200], X[200:], y[200:]
    alone, own = SingleTaskStrategy(model, config).train(*parts), predictor_class(model)(config).train(*parts)
    np.testing.assert_array_equal(alone.predict(X), own.predict(X))
    configs = [config, load_model_config("lightgbm", variant="smoke")]
    cascade = CascadeStrategy([model, "lightgbm"], configs).train(*parts)
    assert np.isfinite(cascade.predict(X)).all()
    rows = X.assign(fwd_ret_5=y / 100, close=100.0, label_end=X.index.get_level_values("timestamp"))
    engine = WalkForwardEngine(rows, train_days=150, test_days=50, step_days=50, min_train_samples=100)
    results = engine.run(model, config)
    assert (results.folds["status"] == "done").any()
    assert np.isfinite(results.predictions.query("model == @model")["prediction"]).all()
