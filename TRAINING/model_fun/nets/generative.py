"""Nets that learn rows rather than targets: a VAE, whose latents are features, and a GAN, which makes rows."""

from __future__ import annotations

import json
from abc import abstractmethod

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from TRAINING.model_fun.feature_trainer import FeatureTrainer
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.nets.generative_estimators import GANTransformer, Generative, VAETransformer

_COLLAPSED = 0.01  # a latent of lower variance says nothing of a row (Burda, Grosse and Salakhutdinov 2016)
_COMPARED_ROWS = 5_000  # training rows that samples are compared with


class GenerativeTrainer(FeatureTrainer):
    """What VAE and GAN share: a scikit-learn transformer inside, and a net on disk."""

    allows_nan = True

    @abstractmethod
    def make(self) -> Generative:
        """The transformer that the configuration describes, not fitted."""

    def _shared(self) -> dict:
        config = self.config
        return {
            "latent_dim": config["latent_dim"],
            "hidden": tuple(config["hidden"]),
            "activation": config["activation"],
            "epochs": config["epochs"],
            "batch_size": config["batch_size"],
            "learning_rate": config["learning_rate"],
            "weight_decay": config["weight_decay"],
            "schedule": config["schedule"],
            "warmup": config["warmup"],
            "early_stopping_rounds": config["early_stopping_rounds"],
            "device": config["device"],
            "precision": config["precision"],
            "n_jobs": config["n_jobs"],
            "random_state": config["seed"],
        }

    def _check_count(self, count: int) -> None:
        if count < FEWEST_ROWS:
            raise DataError(f"{self.name}: {count} training rows, but it takes {FEWEST_ROWS} to learn; give more rows")

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        estimator = self.make()
        estimator.folder = self.folder
        self.take(estimator.fit(X, X_val=X_val), X)

    def take(self, estimator: Generative, X: pd.DataFrame) -> None:
        """Take the net and its curves from a transformer that was fitted to X."""
        result = estimator.result_
        self._estimator, self._net, self._shape = estimator, estimator.net_, estimator.shape_
        self.rounds = result.epochs
        self.notes += result.notes
        self.history = {part: {self._measures[part]: losses} for part, losses in result.history.items()}
        self._note_collapsed(X)

    def _note_collapsed(self, X: pd.DataFrame) -> None:
        names = [f"latent_{number}" for number in np.flatnonzero(self.encode(as_floats(X)).var(axis=0) < _COLLAPSED)]
        if names:
            self.notes.append(
                f"{len(names)} of {self.config['latent_dim']} latents say nothing of the rows (collapsed): "
                f"{', '.join(names)}; {self._against_collapse}"
            )

    def encode(self, X: np.ndarray) -> np.ndarray:
        from TRAINING.neural.threads import limited_threads

        with limited_threads(self.config["n_jobs"]):
            return self._net.encode(X)

    def payloads(self) -> dict[str, bytes]:
        from safetensors.torch import save

        about = {"net": self._shape.as_dict(), "rounds": self.rounds}
        return {"net.safetensors": save(self._net.state_dict()), "net.json": json.dumps(about).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.torch import load

        about = json.loads(payloads["net.json"])
        self._shape, self.rounds = self._read_shape(about["net"]), about["rounds"]
        self._net = self._shape.build()
        self._net.load_state_dict(load(payloads["net.safetensors"]))
        self._net.eval()


class VAETrainer(GenerativeTrainer):
    """A variational autoencoder: few latents from which the features come back as well as they can.

    Rows are standardised, bounded and imputed inside, from training rows only. It starts as probabilistic PCA and adds
    what is not linear.
    """

    name = "vae"
    _measures = {"train": "loss", "validation": "loss"}  # noqa: RUF012
    _against_collapse = "lower latent_dim or beta"

    def make(self) -> VAETransformer:
        config = self.config
        own = {"beta": config["beta"], "kl_warmup": config["kl_warmup"], "gradient_clip": config["gradient_clip"]}
        return VAETransformer(**self._shared(), **own)

    def explained_variance(self, X: pd.DataFrame) -> float:
        """Share of the standardised features' variance that comes back from the latents; 1 is all, as of PCA.

        Parameters
        ----------
        X : DataFrame
            (n, features); missing values are left out. NaN where no feature varies.
        """
        self._check_trained()
        return self._net.explained(as_floats(self._align(X, "X")))

    def quality(self, X: pd.DataFrame) -> dict[str, float]:
        """`explained_variance`."""
        return {"explained_variance": self.explained_variance(X)}

    @staticmethod
    def _read_shape(values: dict):
        from TRAINING.neural.generative import VAEConfig

        return VAEConfig(**values)


class GANTrainer(GenerativeTrainer):
    """A generative adversarial network: it makes rows like those it was trained on; latents are what its critic sees.

    Rows are made independently of each other: they have no order, so nothing in them follows from the row before.
    """

    name = "gan"
    _measures = {"train": "critic_distance", "validation": "sliced_wasserstein"}  # noqa: RUF012
    _against_collapse = "lower latent_dim or train longer"

    def make(self) -> GANTransformer:
        config = self.config
        own = {"noise_dim": config["noise_dim"], "critic_steps": config["critic_steps"]}
        return GANTransformer(**self._shared(), **own)

    def take(self, estimator: GANTransformer, X: pd.DataFrame) -> None:
        super().take(estimator, X)
        self._compared = X.iloc[:: -(-len(X) // _COMPARED_ROWS)]

    def sample(self, count: int, seed: int = 0) -> pd.DataFrame:
        """(count, features) made rows in the features' units, within their range in training; none is missing."""
        from TRAINING.neural.data import make_generator

        self._check_trained()
        if count < 1:
            raise ConfigError(f"{self.name}: sample makes at least 1 row; got {count}")
        return pd.DataFrame(self._net.sample(count, make_generator(seed)), columns=self.features)

    def sample_report(self, X: pd.DataFrame | None = None, seed: int = 0) -> pd.DataFrame:
        """How well as many made rows match true ones, a row per feature.

        Parameters
        ----------
        X : DataFrame, optional
            (n, features) true rows, best such as were not trained on; training rows by default.
        seed : int
            Of the made rows.

        Returns
        -------
        DataFrame
            Index: features, the worst first. ``ks``: largest distance of the two distributions (Kolmogorov and
            Smirnov), 0 to 1; ``wasserstein``: their distance in true standard deviations; ``mean, sample_mean, std,
            sample_std``; ``correlation_gap``: largest difference in a (rank) correlation with another feature;
            ``autocorrelation``: of the true rows, one symbol's row after the other. That of made rows is 0, since each
            is made by itself. NaN where a feature does not vary.

        Raises
        ------
        ConfigError
            Loaded from an artifact, which has no training rows, and no ``X`` given.
        """
        from scipy.stats import ks_2samp, wasserstein_distance

        self._check_trained()
        if X is None and not hasattr(self, "_compared"):
            raise ConfigError(f"{self.name}: an artifact holds no training rows; give sample_report rows to compare")
        true = self._align(self._compared if X is None else X, "X")
        made = self.sample(len(true), seed)
        gap = (made.corr("spearman") - true.corr("spearman")).abs()
        apart = gap.where(~np.eye(len(gap), dtype=bool)).max()
        by_symbol = true.groupby(level="symbol") if "symbol" in true.index.names else None
        before = true.shift() if by_symbol is None else by_symbol.shift()
        rows = {}
        for name in self.features:
            there, like = true[name].dropna().to_numpy(float), made[name].to_numpy(float)
            spread = there.std() if len(there) else 0.0
            varies = spread > 0
            rows[name] = {
                "ks": ks_2samp(there, like, method="asymp").statistic if varies else np.nan,
                "wasserstein": wasserstein_distance(there, like) / spread if varies else np.nan,
                "mean": there.mean() if len(there) else np.nan,
                "sample_mean": like.mean(),
                "std": spread,
                "sample_std": like.std(),
                "correlation_gap": apart[name],
                "autocorrelation": true[name].corr(before[name]) if varies else np.nan,
            }
        return pd.DataFrame.from_dict(rows, orient="index").sort_values("ks", ascending=False, kind="stable")

    def quality(self, X: pd.DataFrame) -> dict[str, float]:
        """Of `sample_report`: the median and the largest ``ks`` over features, and the largest ``correlation_gap``."""
        report = self.sample_report(X)
        return {
            "median_ks": float(report["ks"].median()),
            "largest_ks": float(report["ks"].max()),
            "largest_correlation_gap": float(report["correlation_gap"].max()),
        }

    @staticmethod
    def _read_shape(values: dict):
        from TRAINING.neural.generative import GANConfig

        return GANConfig(**values)
