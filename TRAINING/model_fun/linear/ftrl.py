"""FTRL-Proximal: a linear model that learns row by row, as labels become known, and goes on with live bars."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.evaluation.metrics import SCORES, score_predictions
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.context import symbols_and_times
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.linear.ftrl_estimators import FTRLClassifier, FTRLRegressor, OnlineModel
from TRAINING.model_fun.out_of_fold import label_times


class FTRLProximalTrainer(Trainer):
    """A linear model with a learning rate per feature and exact zeros, learnt online.

    Follow the regularised leader, proximal, of McMahan et al. (2013, "Ad click prediction: a view from the trenches"):
    the weight of a feature is 0 until the sum of its gradients outweighs ``l1``, and its steps shorten with its own
    gradients. Classes have the logistic loss, values the squared one.

    Rows are taken in time order, those of several symbols side by side. A label is learnt before the first row of a
    session after the one in which it becomes known, with the weights of that moment, so each row of the first pass is
    predicted out of sample; that loss is the first value of ``history`` (prequential, Dawid 1984). Labels that no row
    knows are learnt at the end.

    Features are standardised by the rows *before* each, not by the whole window, and cut at three deviations; a missing
    value is 0 there. Values are learnt in deviations from the mean of the labels known by then, and probabilities start
    at their share. So training on some rows and then `partial_fit` of the next is training on all, bit for bit; one
    pass suits that best.
    """

    name = "ftrl_proximal"
    allows_nan = True

    @property
    def weights(self) -> pd.Series:
        """(features,) of the standardised features; exactly 0 where L1 outweighs the gradients."""
        self._check_trained()
        return pd.Series(self._online.weights, index=self.features)

    def partial_fit(self, X: pd.DataFrame, y: pd.Series, *, rows: RowInfo | None = None) -> FTRLProximalTrainer:
        """Learn further rows, once each: bars whose labels have become known since.

        Parameters
        ----------
        X, y : DataFrame, Series
            (n,) rows not learnt before, with labels; in any order, as they are put into that of time.
        rows : RowInfo, optional
            As of `train`.

        Raises
        ------
        DataError
            Values or labels that cannot be learnt, or rows of sessions before the newest one learnt.
        """
        self._check_trained()
        X = self._align(X, "X")
        labels = self._check_labels(X, y, "y")
        if self.task == "binary" and not np.isin(labels, (0, 1)).all():
            raise DataError(f"{self.name}: the binary target {self.target!r} must be 0 or 1; y has others")
        if rows is not None:
            self._check_rows(rows, len(X))
        order, known_at, sessions = self._time_order(X, rows)
        if self._newest is not None and sessions is not None and sessions.min() < self._newest:
            raise DataError(
                f"{self.name}: partial_fit takes later rows than those learnt, up to {self._newest}; the first of "
                f"these is of {sessions.min()}; leave out what was learnt"
            )
        weight = None if rows is None or rows.sample_weight is None else rows.sample_weight[order]
        self._online.learn(as_floats(X)[order], labels[order], weight, known_at)
        self._newest = self._newest if sessions is None else sessions.max()
        return self

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Scores of going on to learn along these rows, each label once it is known, and the share of zero weights.

        ``online_auc`` and ``online_log_loss``, or ``online_rank_ic`` and ``online_rmse``: beside the same scores of a
        model that stays as it is, without the prefix, they tell what learning from live bars is worth.
        """
        self._check_trained()
        X = self._align(X, "X")
        order, known_at, _ = self._time_order(X, rows)
        labels = np.asarray(y, dtype=float)[order]
        going_on = OnlineModel.restored(self.task == "binary", self._online.rates, self._online.arrays())
        scored = score_predictions(self.task, labels, going_on.learn(as_floats(X)[order], labels, None, known_at))
        scores = {f"online_{name}": scored.values[name] for name in SCORES[self.task]}
        scores["zero_weights"] = float((self._online.weights == 0).mean())
        return {name: value for name, value in scores.items() if np.isfinite(value)}

    def _minimum_rows(self, y: np.ndarray) -> float:
        return FEWEST_ROWS

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config, binary = self.config, self.task == "binary"
        order, known_at, sessions = self._time_order(X, rows)
        y = y[order]
        weight = None if rows is None or rows.sample_weight is None else rows.sample_weight[order]
        later = None if X_val is None or self.lean else as_floats(X_val)
        self._estimator = (FTRLClassifier if binary else FTRLRegressor)(
            alpha=config["alpha"], beta=config["beta"], l1=config["l1"], l2=config["l2"], passes=config["passes"]
        ).fit(X.iloc[order], y.astype(np.int64) if binary else y, weight, known_at, later)
        self._online, self._newest = self._estimator.model_, None if sessions is None else sessions.max()
        self.rounds, self.history = config["passes"], {}
        if not self.lean:
            self._keep_history(y, y_val)

    def _keep_history(self, y: np.ndarray, y_val: np.ndarray | None) -> None:
        known = ~np.isnan(self._estimator.progress_[0])
        if not known.any():
            self.notes.append("no label was known within the training rows, so no loss of learning along them")
        parts = {"train": (y[known], [answer[known] for answer in self._estimator.progress_] if known.any() else [])}
        if y_val is not None:
            parts["validation"] = (y_val, self._estimator.later_)
        loss = SCORES[self.task][1]
        self.history = {
            part: {loss: [score_predictions(self.task, labels, answer).values[loss] for answer in answers]}
            for part, (labels, answers) in parts.items()
            if answers
        }

    def _time_order(self, X: pd.DataFrame, rows: RowInfo | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Positions of the rows in time order; in it, the first row that knows each label; and the sessions, if any."""
        sessions, label_sessions = label_times(X, rows, [str(self.target)])
        symbols, times = symbols_and_times(X)
        order = np.lexsort((symbols, np.arange(len(X)) if times is None else times, sessions))
        known_at = np.searchsorted(sessions[order], label_sessions[order], side="right")
        numbered = times is None and (rows is None or rows.sessions is None)
        return order, known_at, None if numbered else sessions.astype("datetime64[D]")

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return self._online.predict(as_floats(X))

    def _importance(self) -> np.ndarray:
        return np.abs(self._online.weights)

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        about = {"newest": None if self._newest is None else str(self._newest), "rounds": self.rounds}
        return {"online.safetensors": save(self._online.arrays()), "online.json": json.dumps(about).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        about, config = json.loads(payloads["online.json"]), self.config
        self.rounds = about["rounds"]
        self._newest = None if about["newest"] is None else np.datetime64(about["newest"], "D")
        rates = (config["alpha"], config["beta"], config["l1"], config["l2"])
        self._online = OnlineModel.restored(self.task == "binary", rates, load(payloads["online.safetensors"]))
