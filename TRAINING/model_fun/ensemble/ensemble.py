"""The ensemble: unlike models of the same target, mixed by weights that out-of-fold predictions choose."""

from __future__ import annotations

import numpy as np
import pandas as pd

from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun import skops_payload
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.ensemble.estimators import StackClassifier, StackRegressor, losses
from TRAINING.model_fun.ensemble.parts import PARTS
from TRAINING.model_fun.input_checks import as_floats
from TRAINING.model_fun.out_of_fold import label_times

_TYPES = frozenset(
    [
        "TRAINING.model_fun.ensemble.estimators.StackClassifier",
        "TRAINING.model_fun.ensemble.estimators.StackRegressor",
        "TRAINING.model_fun.ensemble.parts.Bins",
        "TRAINING.model_fun.robust_linear.LinearModel",
        "TRAINING.model_fun.ensemble.parts.Parts",
        "TRAINING.model_fun.robust_linear.RobustScale",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.ExtraTreesRegressor",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._classes.ExtraTreeClassifier",
        "sklearn.tree._classes.ExtraTreeRegressor",
        "sklearn.tree._tree.Tree",
        "numpy.random._generator.Generator",
    ]
)


class EnsembleTrainer(Trainer):
    """Histogram boosting, a forest and a ridge (for classes a logistic) regression, stacked in time order.

    They and the mean of the target are mixed by weights of sum 1, none negative, that minimise the loss of out-of-fold
    predictions, see `TRAINING.model_fun.ensemble.estimators.Stack`. Predictions are never shuffled: each part of the
    sessions is predicted by models of earlier rows whose labels were known before it. It does not stop early;
    validation rows take part in choosing the weights.

    The forest is of extremely randomised trees: on daily bars their loss and rank correlation out of sample were
    better than a random forest's on each of four targets, in half of the time.
    """

    name = "ensemble"
    allows_nan = True
    _advice = "give more rows or lower min_samples_leaf"

    def weights(self) -> pd.DataFrame:
        """Index: the parts ``boosting, forest, linear, mean``. ``weight``: their share in the answers, of sum 1.

        ``loss``: mean squared error or log loss of their out-of-fold predictions; NaN where too few were made.
        """
        self._check_trained()
        values = {"weight": self._estimator.weights_, "loss": self._estimator.losses_}
        return pd.DataFrame(values, pd.Index(PARTS, name="part"))

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Of the parts; rows without a label are left out.

        Returns
        -------
        dict of str to float
            ``weight_<part>``, such as ``weight_boosting``, see `weights`; ``rmse_<part>``, or ``log_loss_<part>`` of a
            binary target: of each part by itself.
        """
        scores = {f"weight_{part}": float(weight) for part, weight in self.weights()["weight"].items()}
        known = y.notna().to_numpy()
        if known.any():
            labels, binary = y.to_numpy(float)[known, None], self.task == "binary"
            values = self._estimator.parts_.scores(as_floats(self._align(X, "X"))[known], self.config["n_jobs"])
            mean = losses(values, labels, binary).mean(axis=0)
            name = "log_loss" if binary else "rmse"
            for part, loss in zip(PARTS, mean if binary else np.sqrt(mean), strict=True):
                scores[f"{name}_{part}"] = float(loss)
        return scores

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """``weights``: a row per ``part``, see `weights`."""
        return {"weights": self.weights().reset_index()}

    def _minimum_rows(self, y: np.ndarray) -> float:
        return 2 * self.config["min_samples_leaf"]

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config = self.config
        binary = self.task == "binary"
        estimator = (StackClassifier if binary else StackRegressor)(
            bins=config["bins"],
            boosting_trees=config["boosting_trees"],
            boosting_rate=config["boosting_rate"],
            boosting_leaves=config["boosting_leaves"],
            boosting_penalty=config["boosting_penalty"],
            forest=config["forest"],
            forest_trees=config["forest_trees"],
            min_samples_leaf=config["min_samples_leaf"],
            max_features=config["max_features"],
            linear_penalty=config["linear_penalty"],
            blocks=config["blocks"],
            equal_share=config["equal_share"],
            n_jobs=config["n_jobs"],
            random_state=config["seed"],
        )
        times = label_times(X, rows, [self.target])
        weight = None if rows is None else rows.sample_weight
        self._estimator = estimator.fit(X, y.astype(np.int64) if binary else y, weight, times, X_val, y_val)
        self.history = {}
        if np.isnan(estimator.losses_).any():
            self.notes.append(
                f"the parts have equal weights: {estimator.predicted_} rows could be predicted out of fold, too few to "
                "choose by; give more rows or fewer blocks"
            )

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        if self.task == "binary":
            return self._estimator.predict_proba(X)[:, 1]
        return self._estimator.predict(X)

    def _importance(self) -> np.ndarray:
        return np.nan_to_num(self._estimator.feature_importances_)

    def payloads(self) -> dict[str, bytes]:
        return {"ensemble.skops": skops_payload.dump(self._estimator)}

    def restore(self, payloads: dict[str, bytes]) -> None:
        self._estimator = skops_payload.load(payloads["ensemble.skops"], _TYPES)
