"""The contract of every trainer that makes features, over all of them in the table of models."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

import TRAINING.model_fun.feature_trainer as feature_trainer
from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import MODELS, predictor_class, trainer_class

FEATURE_MODELS = sorted(model for model in MODELS if trainer_class(model).makes_features)
each_model = pytest.mark.parametrize("model", FEATURE_MODELS)


def make(model: str, **overrides):
    return trainer_class(model)(load_model_config(model, variant="smoke", overrides=overrides))


@pytest.fixture
def planted(make_planted) -> tuple[pd.DataFrame, pd.Series]:
    return make_planted(400, "regression")


def test_the_table_has_some() -> None:
    assert set(FEATURE_MODELS) >= {"gan", "vae"}


@each_model
def test_training_gives_latents_and_so_does_transform(model: str, planted) -> None:
    X, y = planted
    trainer = make(model)
    latents = trainer.train(X[:300], y[:300])
    assert list(latents) == [f"latent_{number}" for number in range(trainer.config["latent_dim"])]
    assert latents.index.equals(X.index[:300])
    assert np.isfinite(latents.to_numpy()).all()
    pd.testing.assert_frame_equal(trainer.transform(X).iloc[:300], latents)
    one_by_one = pd.concat([trainer.transform(X[i : i + 1]) for i in range(10)])
    pd.testing.assert_frame_equal(one_by_one, latents[:10])


@each_model
def test_columns_are_found_by_name_and_inputs_stay(model: str, planted) -> None:
    X, y = planted
    before, trainer = X.copy(deep=True), make(model)
    latents = trainer.train(X, y, X[300:], y[300:])
    pd.testing.assert_frame_equal(trainer.transform(X[X.columns[::-1]].assign(unused=1.0)), latents)
    pd.testing.assert_frame_equal(X, before)
    with pytest.raises(DataError, match=r"lacks 1 of the 10 training columns: signal; unknown to it: signl"):
        trainer.transform(X.rename(columns={"signal": "signl"}))


@each_model
def test_targets_do_not_matter_and_the_seed_does(model: str, planted) -> None:
    X, y = planted
    first, second, other = (make(model, seed=seed).train(X, target) for seed, target in ((1, y), (1, None), (2, y)))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)


@each_model
def test_it_predicts_nothing_itself_and_says_what_does(model: str, planted) -> None:
    X, y = planted
    trainer = make(model)
    with pytest.raises(ConfigError, match="not trained yet"):
        trainer.transform(X)
    trainer.train(X, y)
    told = f"{model}: makes features and predicts nothing itself; .*{predictor_class(model).__name__}, a linear"
    for call in (trainer.predict, trainer.predict_score, trainer.predict_proba, trainer.get_feature_importance):
        with pytest.raises(ConfigError, match=told):
            call(X)


@each_model
def test_faults_are_named(model: str, planted) -> None:
    X, y = planted
    broken = X.copy()
    broken.iloc[[7, 9], 3] = np.inf
    with pytest.raises(DataError, match="'signal' has 2 infinite values"):
        make(model).train(broken, y)
    with pytest.raises(DataError, match="5 training rows"):
        make(model).train(X[:5], y[:5])
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        trainer_class(model)({"epochz": 5}).train(X)
    weights = RowInfo(np.full(len(X), np.datetime64("2030-01-01", "ns")), np.ones(len(X)))
    with pytest.raises(ConfigError, match="leave sample_weight out"):
        make(model).train(X, y, rows=weights)


@each_model
def test_holes_and_hollow_columns_are_taken(model: str, planted) -> None:
    X, _ = planted
    holes = X.mask(np.random.default_rng(0).random(X.shape) < 0.1).assign(hollow=np.float32(np.nan), flat=1.0)
    trainer = make(model)
    assert np.isfinite(trainer.train(holes).to_numpy()).all()
    assert "features without any value in training, so unused: hollow" in trainer.notes


@each_model
def test_early_stopping_needs_validation_rows(model: str, planted) -> None:
    X, _ = planted
    settings = {"epochs": 60, "early_stopping_rounds": 2, "learning_rate": 0.3}
    without, early = make(model, **settings), make(model, **settings)
    without.train(X[:300])
    early.train(X[:300], None, X[300:])
    assert (without.rounds, set(without.history)) == (60, {"train"})
    (curve,) = early.history["validation"].values()
    assert early.rounds == np.argmin(curve) + 1 < 60


@each_model
def test_an_artifact_transforms_as_before_and_is_checked(model: str, planted, tmp_path: Path) -> None:
    X, _ = planted
    trainer, folder = make(model), tmp_path / "artifact"
    latents = trainer.train(X, None, X[300:])
    save_artifact(trainer, folder)
    loaded = load_artifact(folder)
    pd.testing.assert_frame_equal(loaded.transform(X), latents)
    assert (loaded.history, loaded.config, loaded.task) == (trainer.history, trainer.config, "features")
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(IntegrityError, match="train this unit again"):
            load_artifact(folder)
        path.write_bytes(whole)


@each_model
def test_the_estimator_serves_scikit_learn(model: str, planted, tmp_path: Path) -> None:
    X, y = planted
    trainer = make(model)
    latents = trainer.train(X, y)
    assert clone(trainer.model).get_params() == trainer.model.get_params()
    joblib.dump(trainer.model, tmp_path / "model.pkl")
    np.testing.assert_allclose(joblib.load(tmp_path / "model.pkl").transform(X), latents, rtol=1e-6)
    assert list(trainer.model.get_feature_names_out()) == list(latents)
    assert np.isfinite(make_pipeline(clone(trainer.model), Ridge()).fit(X, y).predict(X)).all()


class ReadKeys(dict):
    """A configuration that remembers which keys were read."""

    def __init__(self, values: dict) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        self.read.add(key)
        return super().__getitem__(key)


@each_model
def test_every_key_is_read(model: str, planted, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = planted
    config = ReadKeys(load_model_config(model, variant="smoke"))
    monkeypatch.setattr(feature_trainer, "check_model_config", lambda name, given: given)
    trainer_class(model)(config).train(X, None, X[300:])
    assert set(config) - config.read == {"task", "penalty"}, "what predicts reads them, see checks.py"
    json.dumps(config)


@each_model
def test_latents_of_noise_tell_nothing_of_later_rows(model: str) -> None:
    """A classifier on latents that were fitted on the rows before scores like chance."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(7)
    X = pd.DataFrame(random.normal(size=(1500, 10)).astype(np.float32), columns=[f"x_{i}" for i in range(10)])
    y = random.integers(0, 2, 1500)
    trainer = make(model)
    latents = trainer.train(X[:750])
    classifier = LogisticRegression().fit(latents, y[:750])
    assert 0.44 < roc_auc_score(y[750:], classifier.predict_proba(trainer.transform(X[750:]))[:, 1]) < 0.56
