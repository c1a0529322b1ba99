"""VAE and GAN as models that predict: a linear model of their latents."""

from __future__ import annotations

import numpy as np
import pandas as pd

from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.nets.generative import GenerativeTrainer
from TRAINING.model_fun.nets.latent_estimators import LatentClassifier, LatentRegressor, answer
from TRAINING.model_fun.registry import trainer_class
from TRAINING.model_fun.robust_linear import LinearModel, RobustScale


class LatentPredictor(Trainer):
    """A ridge or, of a binary target, logistic regression on what a `GenerativeTrainer` makes of the features.

    The latents are learnt from the rows alone, so they keep what many features share: a target that a single feature
    tells of is out of their reach. Validation rows stop the net; sample weights are the linear model's.
    """

    allows_nan = True
    _advice = "give more rows"

    def _minimum_rows(self, y: np.ndarray) -> float:
        return FEWEST_ROWS

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        net = self._make_net()
        kind = LatentClassifier if self.task == "binary" else LatentRegressor
        estimator = kind(net.make(), self.config["penalty"])
        estimator.folder = self.folder
        weight = None if rows is None else rows.sample_weight
        estimator.fit(X, y.astype(np.int64) if self.task == "binary" else y, weight, X_val)
        net.take(estimator.transformer_, X)
        self._estimator, self._net = estimator, net
        self._linear, self._correlations = estimator.linear_, estimator.correlations_
        self.history, self.rounds = net.history, net.rounds
        self.notes += net.notes

    def _make_net(self) -> GenerativeTrainer:
        net = trainer_class(self.name)(self.config)
        net.features, net.notes = self.features, []
        return net

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return answer(self._linear, self._net.encode(as_floats(X)), self.task == "binary")

    def _importance(self) -> np.ndarray:
        return self._correlations

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        arrays = {
            "centre": self._linear.scale.centre,
            "spread": self._linear.scale.spread,
            "coefficients": self._linear.coefficients,
            "correlations": self._correlations,
        }
        head = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        return {**self._net.payloads(), "head.safetensors": head}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        arrays = {name: array.copy() for name, array in load(payloads["head.safetensors"]).items()}
        self._linear = LinearModel(RobustScale(arrays["centre"], arrays["spread"]), arrays["coefficients"])
        self._correlations = arrays["correlations"]
        self._net = self._make_net()
        self._net.restore(payloads)
        self.rounds = self._net.rounds


class VAEPredictor(LatentPredictor):
    """A linear model of the latents of a `TRAINING.model_fun.VAETrainer`."""

    name = "vae"


class GANPredictor(LatentPredictor):
    """A linear model of what the critic of a `TRAINING.model_fun.GANTrainer` sees in a row."""

    name = "gan"
