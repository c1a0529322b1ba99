"""Regimes of the market as a Gaussian mixture, with an expert for each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import as_floats
from TRAINING.model_fun.regimes.gmm_estimators import (
    RegimeClassifier,
    RegimeMixture,
    RegimeRegressor,
    answer,
    importance_of,
)
from TRAINING.model_fun.series import SeriesOfRows

_ROWS_PER_COMPONENT = 5  # below, a mixture fits single rows
_SPREAD = "spread"


class GMMRegimeTrainer(Trainer):
    """Regimes found by a Gaussian mixture, and a linear model in each, mixed by how probable the regimes are.

    The features are standardised robustly, imputed and reduced to principal components; the Bayesian information
    criterion (Schwarz 1978) chooses the number of regimes. The experts (Jacobs et al. 1991) are ridge regressions, or
    logistic ones of a binary target, fitted to all rows with the regime's probabilities as weights. Regimes are
    numbered from the calmest, so they keep their meaning from one training to the next. A row's regime depends on the
    row alone. Sample weights are the experts'; every row counts the same in the mixture.
    """

    name = "gmm_regime"
    allows_nan = True
    _advice = "give more rows or lower most_components"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """(n, regimes) probabilities ``regime_0``, ``regime_1``, ... of rows, with their index; each row by itself."""
        self._check_trained()
        probabilities = self._mixture.probabilities(self._mixture.scale(as_floats(self._align(X, "X"))))
        return pd.DataFrame(probabilities, X.index, [f"regime_{number}" for number in range(probabilities.shape[1])])

    def transitions(self, X: pd.DataFrame) -> pd.DataFrame:
        """How often each regime is followed by each other one, from row to row of a symbol in time order.

        Returns
        -------
        DataFrame
            (regimes, regimes): index ``from``, columns ``to``, each row sums to 1. A row's regime is its most probable
            one. NaN for a regime that no row leaves.
        """
        counts = _steps(self.transform(X))
        left = counts.sum(axis=1)
        return counts.div(left.where(left > 0), axis=0).rename_axis(index="from", columns="to")

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Of the mixture.

        Returns
        -------
        dict of str to float
            ``components``; ``bic``: Bayesian information criterion of the training rows, lower is better;
            ``log_likelihood``: mean logarithm of the density at the rows of X, in the principal components.
        """
        self._check_trained()
        joint = self._mixture.log_joint(self._mixture.scale(as_floats(self._align(X, "X"))))
        return {
            "components": float(len(self._mixture.weights)),
            "bic": self._mixture.bic,
            "log_likelihood": float(np.logaddexp.reduce(joint, axis=1).mean()),
        }

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """The most probable regimes of X.

        Returns
        -------
        dict of str to DataFrame
            ``regimes``: ``timestamp`` and ``regime``, a number, per row; ``transitions``: how many rows (``count``) of
            the regime ``from`` are followed by one of ``to``, for each pair of regimes.
        """
        probabilities = self.transform(X)
        counts = _steps(probabilities).to_numpy()
        number = np.arange(len(counts))
        steps = {"from": np.repeat(number, len(counts)), "to": np.tile(number, len(counts)), "count": counts.ravel()}
        regimes = {"timestamp": X.index.get_level_values(-1), "regime": probabilities.to_numpy().argmax(axis=1)}
        return {"regimes": pd.DataFrame(regimes), "transitions": pd.DataFrame(steps)}

    def _minimum_rows(self, y: np.ndarray) -> float:
        return _ROWS_PER_COMPONENT * max(self.config["most_components"], 2)

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config = self.config
        if config["fewest_components"] > config["most_components"]:
            raise ConfigError(
                f"{self.name}: fewest_components, {config['fewest_components']}, is above most_components, "
                f"{config['most_components']}; they are the ends of a range"
            )
        values = as_floats(X)
        if not (np.nanmax(values, axis=0, initial=-np.inf) > np.nanmin(values, axis=0, initial=np.inf)).any():
            raise DataError(
                f"{self.name}: none of the {X.shape[1]} features varies in {len(X)} training rows, so there are no "
                "regimes to tell apart"
            )
        estimator = (RegimeClassifier if self.task == "binary" else RegimeRegressor)(
            dimensions=config["dimensions"],
            fewest_components=config["fewest_components"],
            most_components=config["most_components"],
            restarts=config["restarts"],
            order_by=self._order_by(config["order_by"]),
            borrow=config["borrow"],
            penalty=config["penalty"],
            random_state=config["seed"],
        )
        weight = None if rows is None else rows.sample_weight
        estimator.fit(X, y.astype(np.int64) if self.task == "binary" else y, weight)
        self._estimator, self._mixture, self._experts = estimator, estimator.mixture_, estimator.experts_
        self.history = {}

    def _order_by(self, name: str) -> int | None:
        if name == _SPREAD:
            return None
        if name not in self.features:
            raise ConfigError(
                f"{self.name}: order_by is {_SPREAD} or a feature{did_you_mean(name, [_SPREAD, *self.features])}"
            )
        return self.features.index(name)

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return answer(self._mixture, self._experts, as_floats(X), self.task == "binary")

    def _importance(self) -> np.ndarray:
        return importance_of(self._mixture, self._experts)

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(value) for name, value in vars(self._mixture).items()}
        return {"regimes.safetensors": save({**arrays, "experts": self._experts})}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        arrays = {name: array.copy() for name, array in load(payloads["regimes.safetensors"]).items()}
        self._experts = arrays.pop("experts")
        self._mixture = RegimeMixture(**{**arrays, "bic": float(arrays["bic"].item())})


def _steps(probabilities: pd.DataFrame) -> pd.DataFrame:
    """(regimes, regimes) how often each most probable regime is followed by each, row by row of a symbol in time."""
    series = SeriesOfRows.of(probabilities, len(probabilities))
    regimes, symbols = (series.arrange(part) for part in (probabilities.to_numpy().argmax(axis=1), series.codes))
    follows = symbols[1:] == symbols[:-1]
    counts = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(counts, (regimes[:-1][follows], regimes[1:][follows]), 1)
    return pd.DataFrame(counts, probabilities.columns, probabilities.columns)
