"""What only the VAE, or only the GAN, promises; their common contract is in test_feature_trainers.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import GANTrainer, VAETrainer
from TRAINING.model_fun.nets.generative_estimators import GANTransformer, VAETransformer

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "batch_size": 16}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([VAETransformer(**QUICK), GANTransformer(**QUICK)])
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


@pytest.fixture
def rows() -> pd.DataFrame:
    """Six features of two causes, of two symbols; the first feature drifts from row to row."""
    random = np.random.default_rng(5)
    causes = random.normal(size=(600, 2))
    values = causes @ random.normal(size=(2, 6)) + 0.2 * random.normal(size=(600, 6))
    values[:, 0] = np.concatenate([np.cumsum(random.normal(size=300)) / 8, np.cumsum(random.normal(size=300)) / 8])
    index = pd.MultiIndex.from_product([["A", "B"], pd.bdate_range("2015-01-01", periods=300, tz="UTC")])
    names = [f"x_{i}" for i in range(6)]
    return pd.DataFrame(values.astype(np.float32), index.set_names(["symbol", "timestamp"]), names)


def vae(**overrides) -> VAETrainer:
    return VAETrainer(load_model_config("vae", variant="smoke", overrides=overrides))


def gan(**overrides) -> GANTrainer:
    return GANTrainer(load_model_config("gan", variant="smoke", overrides=overrides))


def test_as_in_the_guide(rows) -> None:
    """``latent = trainer.train(X_train, y_train)``."""
    latent = VAETrainer(load_model_config("vae")).train(rows, rows["x_0"] * 0)
    assert latent.shape == (600, 16)


def test_two_latents_hold_two_causes(rows) -> None:
    few, more = vae(latent_dim=1), vae(latent_dim=3)
    for trainer in (few, more):
        trainer.train(rows)
    assert few.explained_variance(rows) < 0.8
    assert more.explained_variance(rows) > 0.93
    assert more.quality(rows) == {"explained_variance": more.explained_variance(rows)}


def test_latents_that_say_nothing_are_noted(rows) -> None:
    trainer = vae(latent_dim=9)
    latents = trainer.train(rows)
    collapsed = [name for name in latents if latents[name].var() < 0.01]
    assert len(collapsed) >= 3, "nine latents of six features"
    (note,) = trainer.notes
    assert note.startswith(
        f"{len(collapsed)} of 9 latents say nothing of the rows (collapsed): {', '.join(collapsed)};"
    )
    quiet = vae(latent_dim=2)
    quiet.train(rows)
    assert quiet.notes == []


def test_samples_have_names_and_follow_their_seed(rows) -> None:
    trainer = gan()
    trainer.train(rows)
    made = trainer.sample(50)
    assert list(made) == list(rows)
    assert made.shape == (50, 6)
    pd.testing.assert_frame_equal(made, trainer.sample(50))
    assert not made.equals(trainer.sample(50, seed=1))
    with pytest.raises(ConfigError, match="at least 1 row; got 0"):
        trainer.sample(0)


def test_the_report_is_what_it_says(rows) -> None:
    trainer = gan()
    trainer.train(rows)
    report, made = trainer.sample_report(), trainer.sample(600)
    assert set(report.index) == set(rows)
    assert report["ks"].is_monotonic_decreasing
    for name in rows:
        assert report.loc[name, "ks"] == pytest.approx(ks_2samp(rows[name], made[name]).statistic)
        assert report.loc[name, "sample_std"] == pytest.approx(made[name].std(ddof=0))
    gaps = np.abs(spearmanr(rows).statistic - spearmanr(made).statistic)
    assert report.loc["x_2", "correlation_gap"] == pytest.approx(gaps[2].max())
    assert report.loc["x_0", "autocorrelation"] > 0.8 > 0.2 > abs(report.loc["x_1", "autocorrelation"])


def test_the_report_tells_good_samples_from_bad(rows) -> None:
    little, much = gan(epochs=1), gan(epochs=60, hidden=[64, 64], batch_size=32, critic_steps=2)
    for trainer in (little, much):
        trainer.train(rows)
    bad, good = little.quality(rows), much.quality(rows)
    assert good["largest_correlation_gap"] < 0.6 * bad["largest_correlation_gap"]
    assert 0 < good["median_ks"] <= good["largest_ks"] < 1


def test_a_report_of_flat_and_hollow_features_has_gaps(rows) -> None:
    holes = rows.assign(flat=np.float32(2), hollow=np.float32(np.nan))
    trainer = gan()
    trainer.train(holes)
    report = trainer.sample_report()
    assert report.loc[["flat", "hollow"], "ks"].isna().all()
    assert report.loc["flat", "sample_mean"] == 2
    assert np.isfinite(report.loc[list(rows), ["ks", "wasserstein", "correlation_gap"]].to_numpy()).all()


def test_a_loaded_gan_samples_as_before_and_wants_rows_to_compare(rows, tmp_path) -> None:
    trainer = gan()
    trainer.train(rows)
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    pd.testing.assert_frame_equal(loaded.sample(20), trainer.sample(20))
    with pytest.raises(ConfigError, match="an artifact holds no training rows"):
        loaded.sample_report()
    pd.testing.assert_frame_equal(loaded.sample_report(rows), trainer.sample_report(rows))
