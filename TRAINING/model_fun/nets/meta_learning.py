"""Meta-learning: a net that has learnt to learn from few rows, adapted to each symbol."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.nets.meta_estimators import AdaptedSeries, MetaClassifier, MetaNet, MetaRegressor
from TRAINING.model_fun.out_of_fold import label_times

_ADAPTED = "adapted."  # before the names of weights that belong to symbols
_SETTINGS = (
    "activation", "loss", "adapt_rows", "query_rows", "inner_steps", "inner_learning_rate", "epochs", "batch_size",
    "learning_rate", "weight_decay", "gradient_clip", "early_stopping_rounds", "n_jobs",
)  # fmt: skip


class MetaLearningTrainer(Trainer):
    """First-order MAML (Finn, Abbeel and Levine 2017): weights from which a few steps on few rows make a symbol's net.

    It learns from tasks: adapt to the last ``adapt_rows`` rows of a symbol whose labels are known at a moment, answer
    the ``query_rows`` rows that follow. Symbols of a pooled panel give tasks, and so do the times of a single one.
    Early stopping looks at validation rows, answered by nets that are adapted to the last training rows. So are the
    rows of a known symbol when they are predicted, by weights that an artifact keeps; a symbol that was not trained on
    is answered by the weights that all start from, until `adapt` has seen a few rows of it. Rows without symbols are
    one series.
    """

    name = "meta_learning"
    allows_nan = True

    def adapt(self, X: pd.DataFrame, y: pd.Series, *, rows: RowInfo | None = None) -> MetaLearningTrainer:
        """A trainer that is adapted to the last ``adapt_rows`` of these rows, for new symbols or for known ones.

        Parameters
        ----------
        X, y : DataFrame, Series
            (n, features) and (n,) rows whose labels are known; others of their symbols are forgotten, those of other
            symbols stay. A few rows do, and all may be of one class.
        rows : RowInfo, optional
            Sample weights.

        Returns
        -------
        MetaLearningTrainer
            A new one; this one stays as it is.

        Raises
        ------
        DataError
            Rows that cannot be learnt from; the message names them.
        """
        self._check_trained()
        X = self._align(X, "X")
        labels = self._check_labels(X, y, "y")
        if self.task == "binary" and not np.isin(labels, (0, 1)).all():
            raise DataError(f"{self.name}: the binary target must be 0 or 1, got {np.unique(labels)[:5].tolist()}")
        if rows is not None:
            self._check_rows(rows, len(labels))
        weight = None if rows is None else rows.sample_weight
        other = copy.copy(self)
        try:
            other._fitted = self._make().adapt_fitted(self._fitted, X, as_floats(X), labels, weight)
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error
        if hasattr(self, "_estimator"):
            other._estimator = copy.copy(self._estimator)
            other._estimator.fitted_ = other._fitted
        return other

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """What adapting is worth on later rows: ``meta_loss``, and ``adapted_minus_meta_loss``, below 0 where it helps.

        Losses are mean squared errors in squared standard deviations of the training target, or cross-entropies;
        nothing where no row has a label.
        """
        self._check_trained()
        X = self._align(X, "X")
        labels = np.asarray(y, dtype=float)
        known = ~np.isnan(labels)
        if not known.any():
            return {}
        rows, labels = X[known], labels[known]
        meta, adapted = (self._loss(self._answer(rows, each), labels) for each in (False, True))
        return {"meta_loss": meta, "adapted_minus_meta_loss": adapted - meta}

    def _loss(self, score: np.ndarray, labels: np.ndarray) -> float:
        if self.task == "binary":
            score = np.clip(score, 1e-7, 1 - 1e-7)
            return float(-np.mean(np.where(labels > 0.5, np.log(score), np.log1p(-score))))
        return float(np.mean((score - labels) ** 2)) / float(self._fitted.net.net.spread[0]) ** 2

    def _minimum_rows(self, y: np.ndarray) -> float:
        return FEWEST_ROWS

    def _make(self) -> MetaNet:
        """The estimator that the configuration describes, not fitted."""
        config = self.config
        return (MetaClassifier if self.task == "binary" else MetaRegressor)(
            hidden=tuple(config["hidden"]), random_state=config["seed"], **{key: config[key] for key in _SETTINGS}
        )

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        estimator = self._make()
        if self.lean and not self.config["early_stopping_rounds"]:
            X_val = y_val = None
        labels = y.astype(np.int64) if self.task == "binary" else y
        weight = None if rows is None else rows.sample_weight
        try:
            estimator.fit(X, labels, weight, X_val, y_val, label_times(X, rows, [self.target]))
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error
        result = estimator.result_
        self._estimator, self._fitted, self.rounds = estimator, estimator.fitted_, result.epochs
        self.notes += result.notes
        self.history = {part: {"loss": losses} for part, losses in result.history.items()}

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return self._answer(X)

    def _answer(self, X: pd.DataFrame, adapted: bool = True) -> np.ndarray:
        return self._fitted.answer(X, as_floats(X), self.config["n_jobs"], adapted)

    def _importance(self) -> np.ndarray:
        return (self._estimator.importances_ if hasattr(self, "_estimator") else self._stored_importances)[0]

    def payloads(self) -> dict[str, bytes]:
        from safetensors.torch import save

        net = self._fitted.net
        adapted = {_ADAPTED + name: weight.contiguous() for name, weight in net.adapted.items()}
        about = {
            "net": self._fitted.shape.as_dict(),
            "symbols": self._fitted.names,
            "rounds": self.rounds,
            "importances": [self._importance().tolist()],
        }
        return {
            "net.safetensors": save(net.net.state_dict() | adapted),
            "net.json": json.dumps(about).encode(),
        }

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.torch import load

        from TRAINING.neural.meta import AdaptedNet
        from TRAINING.neural.nets import MLPConfig

        about, tensors = json.loads(payloads["net.json"]), load(payloads["net.safetensors"])
        shape, self.rounds = MLPConfig.from_dict(about["net"]), about["rounds"]
        self._stored_importances = np.array(about["importances"])
        net = shape.build()
        net.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(_ADAPTED)})
        adapted = {name.removeprefix(_ADAPTED): value for name, value in tensors.items() if name.startswith(_ADAPTED)}
        self._fitted = AdaptedSeries(shape, AdaptedNet(net, adapted), about["symbols"])
