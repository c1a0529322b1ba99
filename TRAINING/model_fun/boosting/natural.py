"""Natural gradient boosting: trees that predict a whole distribution."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.boosting.distributions import DISTRIBUTIONS, score_distribution
from TRAINING.model_fun.boosting.histogram_trees import Forest
from TRAINING.model_fun.input_checks import as_floats


class NGBoostTrainer(Trainer):
    """Distributions by natural gradient boosting (Duan et al. 2020, *NGBoost*, ICML).

    Each round grows a tree per parameter of the distribution, by the library's own loop. The trees are grown on
    histograms of quantised features, and gradients are written out, which takes a small part of the library's time. A
    missing value counts as the median of the training rows.

    The configuration names the distribution of values; two classes are always Bernoulli. `predict` gives the mean. Only
    ``studentt`` of up to one degree of freedom has none, and gives the median.

    The trees stand on a standardised target (its log, of ``lognormal``), so the learning curves are log scores of it.
    """

    name = "ngboost"
    allows_nan = True
    _advice = "give more rows or lower min_samples_leaf"

    @property
    def rounds(self) -> int:
        """Rounds that predictions use."""
        return len(self._forecaster.forest.roots)

    def predict_distribution(self, X: pd.DataFrame) -> pd.DataFrame:
        """Parameters of the distribution of every row, so that ``scipy.stats.norm(**parameters)`` is all of them.

        Parameters
        ----------
        X : DataFrame
            (n, features).

        Returns
        -------
        DataFrame
            (n, parameters), in the names of `scipy.stats`: ``loc, scale`` of ``norm``; ``s, scale`` of ``lognorm``;
            ``df, loc, scale`` of ``t``; ``p`` of ``bernoulli``.
        """
        self._check_trained()
        X = self._align(X, "X")
        return pd.DataFrame(self._forecaster.parameters(as_floats(X)), X.index)

    def predict_quantiles(self, X: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
        """(n, levels) quantiles with the index of X; the columns are the levels.

        Raises
        ------
        ConfigError
            Of two classes, or levels that do not rise within (0, 1).
        """
        self._check_continuous("predict_quantiles")
        try:
            given = np.asarray(levels, dtype=float)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.name}: the levels of quantiles must be numbers ({error})") from error
        if given.ndim != 1 or not len(given) or not (np.diff(given, prepend=0, append=1) > 0).all():
            raise ConfigError(f"{self.name}: the levels of quantiles must rise within (0, 1); got {given.tolist()}")
        columns = {name: values.to_numpy()[:, None] for name, values in self.predict_distribution(X).items()}
        return pd.DataFrame(self._kind.frozen(columns).ppf(given), X.index, pd.Index(given, name="level"))

    def pit(self, X: pd.DataFrame, y: pd.Series) -> pd.Series:
        """Probability integral transform: the predicted probability of a value up to the label (Dawid 1984).

        Parameters
        ----------
        X, y : DataFrame, Series
            (n,) rows that it was not trained on.

        Returns
        -------
        Series
            (n,) uniform on [0, 1] where forecasts are calibrated; NaN without label.

        Raises
        ------
        ConfigError
            Of two classes.
        """
        self._check_continuous("pit")
        frozen = self._kind.frozen(self.predict_distribution(X))
        return pd.Series(frozen.cdf(np.asarray(y, dtype=float)), X.index, name="pit")

    def pit_histogram(self, X: pd.DataFrame, y: pd.Series, bins: int = 10) -> pd.DataFrame:
        """Share of the labels per tenth of their predicted distribution (Gneiting, Balabdaoui and Raftery 2007).

        Returns
        -------
        DataFrame
            ``low, high``: ends of each bin of `pit`; ``share``: of the labels within, ``1 / bins`` if calibrated. High
            outer bins say that forecasts are too sure, high inner ones that they are not sure enough.
        """
        values = self.pit(X, y).dropna()
        borders = np.linspace(0, 1, bins + 1)
        share = np.histogram(values, borders)[0] / len(values) if len(values) else np.full(bins, np.nan)
        return pd.DataFrame({"low": borders[:-1], "high": borders[1:], "share": share})

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """``crps``, ``log_score``, ``coverage_90`` and ``pit_ks``, see `score_distribution`; none of two classes.

        The usual scores of two classes, Brier and log loss, are these already.
        """
        self._check_trained()
        known = y.notna().to_numpy()
        if self.task == "binary" or not known.any():
            return {}
        parameters = self._forecaster.parameters(as_floats(self._align(X[known], "X")))
        return score_distribution(self._kind, y.to_numpy(float)[known], parameters)

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """``pit``: ``timestamp`` and `pit` of each row of X, NaN without label; none of two classes."""
        self._check_trained()
        if self.task == "binary":
            return {}
        values = {"timestamp": X.index.get_level_values(-1), "pit": self.pit(X, y).to_numpy()}
        return {"pit": pd.DataFrame(values)}

    @property
    def _kind(self):
        return DISTRIBUTIONS[self._forecaster.distribution]

    def _check_continuous(self, method: str) -> None:
        self._check_trained()
        if self.task == "binary":
            raise ConfigError(
                f"{self.name}: {method} needs a target of values, {self.target!r} is binary; use predict_proba"
            )

    def _minimum_rows(self, y: np.ndarray) -> float:
        # Each tree sees a draw of the rows.
        return max(2.0, np.ceil(2 * self.config["min_samples_leaf"] / self.config["minibatch_frac"]))

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        from TRAINING.model_fun.boosting.natural_estimators import NaturalBoostingClassifier, NaturalBoostingRegressor

        config = self.config
        boosting = {
            "n_estimators": config["n_estimators"],
            "learning_rate": config["learning_rate"],
            "max_depth": config["max_depth"],
            "min_samples_leaf": config["min_samples_leaf"],
            "minibatch_frac": config["minibatch_frac"],
            "col_sample": config["col_sample"],
            "max_bin": config["max_bin"],
            "early_stopping_rounds": config["early_stopping_rounds"],
            "random_state": config["seed"],
        }
        forecast = {"distribution": config["distribution"], "degrees_of_freedom": config["degrees_of_freedom"]}
        if self.task == "binary":
            estimator, y = NaturalBoostingClassifier(**boosting), y.astype(np.int64)
        else:
            estimator = NaturalBoostingRegressor(**forecast, **boosting)
            self._check_sign(y, "y_train")
            if y_val is not None:
                self._check_sign(y_val, "y_val")
        later = (None, None) if X_val is None else (as_floats(X_val), y_val)
        estimator.fit(X, y, None if rows is None else rows.sample_weight, *later)
        self._estimator, self._forecaster, self.history = estimator, estimator.forecaster_, estimator.history_

    def _check_sign(self, y: np.ndarray, where: str) -> None:
        low = y <= 0
        if DISTRIBUTIONS[self.config["distribution"]].positive and low.any():
            raise DataError(
                f"{self.name}: distribution: {self.config['distribution']} needs a target above 0, but {low.sum()} of "
                f"{len(y)} values of {self.target!r} in {where} are not, the lowest {y.min():g}; choose normal or "
                "studentt"
            )

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return self._forecaster.mean(as_floats(X))

    def _importance(self) -> np.ndarray:
        """The mean of the shares in the trees of location and of scale."""
        return self._forecaster.shares()

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        model = self._forecaster
        arrays = {field.name: getattr(model.forest, field.name) for field in fields(Forest)}
        arrays |= {"medians": model.medians, "importances": model.importances}
        about = {name: getattr(model, name) for name in ("distribution", "degrees_of_freedom", "centre", "spread")}
        return {"model.safetensors": save(arrays), "model.json": json.dumps(about).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        from TRAINING.model_fun.boosting.natural_estimators import Forecaster

        arrays = load(payloads["model.safetensors"])
        forest = Forest(**{field.name: arrays.pop(field.name) for field in fields(Forest)})
        self._forecaster = Forecaster(**json.loads(payloads["model.json"]), **arrays, forest=forest)
