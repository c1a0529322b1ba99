"""Change points of the market, offline to weigh training rows and online to predict."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config
from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.boosting.boosters import import_lightgbm
from TRAINING.model_fun.context import without_context
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.regimes.change_detection import COLUMNS, Detector
from TRAINING.model_fun.regimes.change_point_estimators import (
    BoostedLearner,
    ChangePointClassifier,
    ChangePointRegressor,
    LinearLearner,
    answer,
    importance_of,
)
from TRAINING.model_fun.robust_linear import LinearModel, RobustScale
from TRAINING.model_fun.series import SeriesOfRows

_RETURNS = "log_return_1"  # what `series: auto` takes where it is there
_COMPONENT = "component"  # the first principal component
_AS_THEY_ARE = (
    "longest_run", "expected_run", "recent_rows", "segment_penalty", "shortest_segment", "segment_decay", "learner",
    "penalty", "n_estimators", "learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction",
    "bagging_fraction", "reg_lambda", "early_stopping_rounds", "n_jobs",
)  # fmt: skip


class ChangePointTrainer(Trainer):
    """A small model that knows how long the market has been as it is.

    Offline, the training rows of each symbol are cut where the level or the volatility of a series changes (Killick et
    al. 2012, Celisse et al. 2018), and older segments weigh less. Online, Bayesian detection (Adams and MacKay 2007)
    tells each row how many rows ago the current run of the series began and how probable a recent change is; a learner
    reads both beside the features. The detector begins anew ``longest_run`` rows before each row, or at the symbol's
    first row, so `predict` looks back at these rows (``context_rows``) and at nothing else.
    """

    name = "change_point"
    allows_nan = True

    @property
    def context_rows(self) -> int:
        """Rows before the first predicted one."""
        config = self.config if "longest_run" in self.config else check_model_config(self.name, self.config)
        return config["longest_run"]

    @property
    def rounds(self) -> int | None:
        """Trees that predictions use; none of a linear learner."""
        return self._learner.rounds

    @property
    def stops_early(self) -> bool:
        """Whether validation rows would end its training."""
        return self.config["learner"] == "lightgbm" and bool(self.config["early_stopping_rounds"])

    @property
    def _advice(self) -> str:
        return "give more rows" + (" or lower min_data_in_leaf" if self.config["learner"] == "lightgbm" else "")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """What online detection says of rows, each from the ``context_rows`` rows of its symbol before it.

        Returns
        -------
        DataFrame
            (n, 2) with the index of X. ``regime_bars_since_change``: median of the rows since the current run began,
            at most ``longest_run``, and at most as many as X has before the row. ``regime_change_probability``: of a
            change within the last ``recent_rows`` rows; that X begins is none.
        """
        self._check_trained()
        values = as_floats(self._align(X, "X"))
        return pd.DataFrame(self._detector.detect(values, SeriesOfRows.of(X, len(X))), X.index, list(COLUMNS))

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Of the training rows, and of what the detector says of rows of X with a label.

        Returns
        -------
        dict of str to float
            ``segments``: of a symbol's training rows, in the mean; ``effective_rows``: how many rows of equal weight
            tell as much as the weighted ones (Kish 1965); ``change_probability``: mean over the rows of X.
        """
        detected = self.transform(X)[y.notna().to_numpy()]
        scores = dict(zip(("segments", "effective_rows"), self._training.tolist(), strict=True))
        return scores | ({"change_probability": float(detected[COLUMNS[1]].mean())} if len(detected) else {})

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """``changes``: per row of X its ``timestamp`` and what `transform` says of it, without the prefix."""
        detected = self.transform(X).rename(columns=lambda name: name.removeprefix("regime_"))
        detected.insert(0, "timestamp", X.index.get_level_values(-1))
        return {"changes": detected.reset_index(drop=True)}

    def _minimum_rows(self, y: np.ndarray) -> float:
        if self.config["learner"] == "linear":
            return FEWEST_ROWS
        return max(FEWEST_ROWS, np.ceil(2 * self.config["min_data_in_leaf"] / self.config["bagging_fraction"]))

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config = self.config
        estimator = (ChangePointClassifier if self.task == "binary" else ChangePointRegressor)(
            series=self._series(config["series"]),
            random_state=config["seed"],
            **{key: config[key] for key in _AS_THEY_ARE},
        )
        estimator.lean = self.lean
        y, weight = without_context(y, None if rows is None else rows.sample_weight)
        estimator.fit(X, y.astype(np.int64) if self.task == "binary" else y, weight, X_val, y_val)
        self._estimator, self._detector, self._learner = estimator, estimator.detector_, estimator.learner_
        self._training, self.history = estimator.training_, {} if self.lean else estimator.history_

    def _series(self, name: str) -> int | None:
        if name == _COMPONENT or (name == "auto" and _RETURNS not in self.features):
            return None
        name = _RETURNS if name == "auto" else name
        if name not in self.features:
            raise ConfigError(
                f"{self.name}: series is auto, {_COMPONENT} or a feature"
                f"{did_you_mean(name, ['auto', _COMPONENT, *self.features])}"
            )
        return self.features.index(name)

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return answer(self._detector, self._learner, X, as_floats(X))

    def _importance(self) -> np.ndarray:
        return importance_of(self._detector, self._learner)

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        detector = self._detector
        arrays = {
            "centre": detector.scale.centre,
            "spread": detector.scale.spread,
            "loadings": detector.loadings,
            "column": np.array([detector.column]),
            "training": self._training,
        }
        files = {}
        if isinstance(self._learner, LinearLearner):
            scale, coefficients = self._learner.model.scale, self._learner.model.coefficients
            arrays |= {
                "linear": np.stack([scale.centre, scale.spread, coefficients[:-1]]),
                "intercept": coefficients[-1:],
            }
        else:
            files = {"model.txt": self._learner.booster.model_to_string().encode()}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return {"changes.safetensors": save(arrays), **files}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        arrays = {name: array.copy() for name, array in load(payloads["changes.safetensors"]).items()}
        config = check_model_config(self.name, self.config)
        self._detector = Detector(
            RobustScale(arrays["centre"], arrays["spread"]), int(arrays["column"][0]), arrays["loadings"],
            config["longest_run"], config["expected_run"], config["recent_rows"],
        )  # fmt: skip
        self._training = arrays["training"]
        if "linear" in arrays:
            centre, spread, slopes = arrays["linear"]
            coefficients = np.r_[slopes, arrays["intercept"]]
            model = LinearModel(RobustScale(centre, spread), coefficients)
            self._learner = LinearLearner(model, self.task == "binary")
        else:
            self._learner = BoostedLearner(import_lightgbm().Booster(model_str=payloads["model.txt"].decode()))
