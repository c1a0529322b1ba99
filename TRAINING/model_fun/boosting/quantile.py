"""Quantiles by gradient-boosted trees: LightGBM with the pinball loss, a booster per level."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.evaluation.quantile_metrics import pinball_loss, score_quantiles
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.boosting.boosters import import_lightgbm
from TRAINING.model_fun.boosting.quantile_estimators import QuantileBoosters, QuantileLightGBM, nearest_to_median
from TRAINING.model_fun.input_checks import as_floats


class QuantileLightGBMTrainer(Trainer):
    """Quantiles of a value: gradient-boosted trees (Ke et al. 2017) that minimise the pinball loss (Koenker 1978).

    A booster per level, all on the same bags of rows and features and of as many rounds: those with the lowest mean
    loss over the levels on validation rows. A single level would rather follow the noise in its few rows beyond.

    Boosters know nothing of each other, so their quantiles can cross. The quantiles of a row are sorted, the
    rearrangement of Chernozhukov, Fernandez-Val and Galichon (*Quantile and Probability Curves Without Crossing*,
    Econometrica 78, 2010): the sum of their losses never rises by it, whatever the label. `predict` gives the level
    nearest to the median.
    """

    name = "quantile_lightgbm"
    tasks = ("regression",)
    allows_nan = True
    _advice = "give more rows or lower min_data_in_leaf"

    @property
    def rounds(self) -> int:
        """Trees of each level that predictions use."""
        return self._quantiles.rounds

    def predict_quantiles(self, X: pd.DataFrame, levels: Sequence[float] | None = None) -> pd.DataFrame:
        """(n, levels) quantiles with the index of X; the columns are the levels, and values rise with them.

        Parameters
        ----------
        X : DataFrame
        levels : sequence of float, optional
            Some of the trained levels; all by default.

        Raises
        ------
        ConfigError
            A level that it was not trained for.
        """
        self._check_trained()
        trained = self.config["alpha"]
        chosen = trained if levels is None else np.atleast_1d(levels).tolist()
        if unknown := [level for level in chosen if level not in trained]:
            raise ConfigError(f"{self.name}: trained for the levels {trained}, not {unknown}; alpha says for which")
        quantiles = np.sort(self._quantiles.predict(as_floats(self._align(X, "X"))), axis=1)
        return pd.DataFrame(quantiles, X.index, pd.Index(trained, name="level"))[chosen]

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Of the quantiles; rows without a label are left out.

        Returns
        -------
        dict of str to float
            ``pinball_<level>``, such as ``pinball_0_05``: mean pinball loss of each level; ``pinball``: their mean;
            ``crps``: continuous ranked probability score, see `TRAINING.evaluation.quantile_metrics`; ``coverage``:
            share of the labels from the lowest to the highest quantile, and ``coverage_asked``: what it is to be;
            ``crossed``: share of rows whose quantiles crossed before they were sorted. Of one level, its loss only.
        """
        self._check_trained()
        known = y.notna().to_numpy()
        if not known.any():
            return {}
        levels, labels = self.config["alpha"], y.to_numpy(float)[known]
        raw = self._quantiles.predict(as_floats(self._align(X, "X")))[known]
        quantiles = np.sort(raw, axis=1)
        losses = pinball_loss(labels, quantiles, levels).mean(axis=0)
        scores = {f"pinball_{level!r}".replace(".", "_"): loss for level, loss in zip(levels, losses, strict=True)}
        scores |= score_quantiles(labels, quantiles, levels).values
        if len(levels) > 1:
            scores["coverage"] = np.mean((quantiles[:, 0] <= labels) & (labels <= quantiles[:, -1]))
            scores["coverage_asked"] = levels[-1] - levels[0]
            scores["crossed"] = np.mean((np.diff(raw, axis=1) < 0).any(axis=1))
        return {name: float(score) for name, score in scores.items()}

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """``quantiles``: ``timestamp`` and `predict_quantiles` of each row of X, a column per level, as ``0.05``."""
        quantiles = self.predict_quantiles(X).rename(columns=repr).rename_axis(columns=None)
        quantiles.insert(0, "timestamp", X.index.get_level_values(-1))
        return {"quantiles": quantiles.reset_index(drop=True)}

    def _choose_task(self, y: np.ndarray) -> str:
        task = super()._choose_task(y)
        if task not in self.tasks and len(np.unique(y)) > 1:
            raise ConfigError(
                f"{self.name}: the target {self.target!r} is binary, and classes have no quantiles; choose a target of "
                "values, such as fwd_ret_5, or a model of probabilities, such as lightgbm"
            )
        return "regression"

    def _minimum_rows(self, y: np.ndarray) -> float:
        # Each tree sees a bag of the rows.
        bag = self.config["bagging_fraction"] if self.config["bagging_freq"] else 1.0
        return np.ceil(2 * self.config["min_data_in_leaf"] / bag)

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config = self.config
        estimator = QuantileLightGBM(
            levels=tuple(config["alpha"]),
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
            force_col_wise=config["force_col_wise"],
            early_stopping_rounds=config["early_stopping_rounds"],
            n_jobs=config["n_jobs"],
            random_state=config["seed"],
        )
        later = (None, None) if X_val is None else (as_floats(X_val), y_val)
        weight = None if rows is None else rows.sample_weight
        estimator.fit(X, y, weight, *later, curves=not self.lean)
        self._estimator, self._quantiles = estimator, estimator.quantiles_
        self.history = {part: {"pinball": losses} for part, losses in estimator.history_.items()}

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        quantiles = np.sort(self._quantiles.predict(as_floats(X)), axis=1)
        return quantiles[:, nearest_to_median(self.config["alpha"])]

    def _importance(self) -> np.ndarray:
        return self._quantiles.importance()

    def payloads(self) -> dict[str, bytes]:
        rounds = self._quantiles.rounds
        levels = {
            f"level_{number}.txt": booster.model_to_string(num_iteration=rounds).encode()
            for number, booster in enumerate(self._quantiles.boosters)
        }
        return levels | {"levels.json": json.dumps({"rounds": rounds}).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        load = import_lightgbm().Booster
        texts = [payloads[f"level_{number}.txt"].decode() for number in range(len(self.config["alpha"]))]
        rounds = json.loads(payloads["levels.json"])["rounds"]
        self._quantiles = QuantileBoosters(tuple(load(model_str=text) for text in texts), rounds)
