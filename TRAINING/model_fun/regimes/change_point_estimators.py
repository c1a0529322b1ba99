"""scikit-learn estimators that know of change points: in the weights of training rows, and in two further columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from TRAINING.model_fun.boosting.boosters import import_lightgbm
from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.regimes.change_detection import Detector, segments
from TRAINING.model_fun.robust_linear import LinearModel
from TRAINING.model_fun.series import SeriesOfRows


class ChangePointModel(TableEstimator):
    """What regressor and classifier share: change points weigh the training rows, and tell a learner where it stands.

    Offline, the training rows of each symbol are cut into segments; the newest weighs most. Online, two columns join
    the features: how many rows ago the current run began, and how probable it is that it began lately. The learner
    reads both. A DataFrame with the index (symbol, timestamp) may hold several symbols, in any order; an array is one
    series in time order. Rows of weight 0 are not learnt from, but they are part of the series.

    Parameters
    ----------
    series : int, optional
        Column whose changes matter; without, the first principal component.
    longest_run, expected_run, recent_rows : int, float, int
        See `TRAINING.model_fun.regimes.change_point_kernels.detect_changes`.
    segment_penalty, shortest_segment : float, int
        See `TRAINING.model_fun.regimes.change_detection.segments`.
    segment_decay : float
        Weight of a segment, in that of the next one.
    learner : str
        ``lightgbm`` or ``linear``: ridge, or logistic regression.
    penalty : float
        Of the linear learner, see `TRAINING.model_fun.robust_linear.fit_linear`.
    n_estimators, learning_rate, num_leaves, min_data_in_leaf, feature_fraction, bagging_fraction, reg_lambda, \
early_stopping_rounds, n_jobs
        Of LightGBM. Early stopping needs validation rows in `fit`.
    random_state : int
    """

    _binary = False
    lean = False  # whether `fit` leaves out the learning curve of training rows

    def __init__(
        self,
        series=None,
        longest_run=120,
        expected_run=100.0,
        recent_rows=10,
        segment_penalty=1.0,
        shortest_segment=40,
        segment_decay=0.8,
        learner="lightgbm",
        penalty=10000.0,
        n_estimators=400,
        learning_rate=0.01,
        num_leaves=4,
        min_data_in_leaf=40,
        feature_fraction=0.5,
        bagging_fraction=0.8,
        reg_lambda=100.0,
        early_stopping_rounds=40,
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.series = series
        self.longest_run = longest_run
        self.expected_run = expected_run
        self.recent_rows = recent_rows
        self.segment_penalty = segment_penalty
        self.shortest_segment = shortest_segment
        self.segment_decay = segment_decay
        self.learner = learner
        self.penalty = penalty
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_data_in_leaf = min_data_in_leaf
        self.feature_fraction = feature_fraction
        self.bagging_fraction = bagging_fraction
        self.reg_lambda = reg_lambda
        self.early_stopping_rounds = early_stopping_rounds
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the answers; the two further columns count for what their series is made of."""
        check_is_fitted(self)
        importance = importance_of(self.detector_, self.learner_)
        return importance / (importance.sum() or np.nan)

    def _learn(self, X, values, y, sample_weight, validation) -> None:
        weight = (
            np.ones(len(values)) if sample_weight is None else _check_sample_weight(sample_weight, values, dtype=float)
        )
        order = SeriesOfRows.of(X, len(values))
        self.detector_ = Detector.learn(values, self.series, self.longest_run, self.expected_run, self.recent_rows)
        weight = weight * self._segment_weights(self.detector_.series(values), order)
        learnt = weight > 0
        rows = np.column_stack([values, self.detector_.detect(values, order)])[learnt]
        y, weight = y[learnt], weight[learnt] / weight[learnt].mean()
        self.training_ = np.array([self.segments_, weight.sum() ** 2 / (weight**2).sum()])
        self.history_ = {}
        if self.learner == "linear":
            self.learner_ = LinearLearner(LinearModel.learn(rows, y, weight, self.penalty, self._binary), self._binary)
            return
        later = None
        if validation is not None:
            known = ~np.isnan(validation[1])
            values = np.asarray(validation[0])
            columns = self.detector_.detect(values, SeriesOfRows.of(validation[0], len(values)))
            later = np.column_stack([values, columns])[known], validation[1][known]
        self._boost(rows, y, weight, later)

    def _segment_weights(self, series: np.ndarray, order: SeriesOfRows) -> np.ndarray:
        arranged, weight, counts = order.arrange(series), np.ones(len(series)), []
        for part in order.parts():
            number = segments(arranged[part], self.segment_penalty, self.shortest_segment)
            weight[part] = self.segment_decay ** (number[-1] - number)
            counts.append(number[-1] + 1)
        self.segments_ = float(np.mean(counts))
        return order.restore(weight)

    def _boost(self, rows, y, weight, later) -> None:
        lightgbm = import_lightgbm()
        parameters = {
            "objective": "binary" if self._binary else "regression",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.reg_lambda,
            "max_bin": 31,
            "seed": self.random_state,
            "num_threads": self.n_jobs,
            "force_col_wise": True,
            "deterministic": True,
            "verbose": -1,
        }
        train = lightgbm.Dataset(rows, y, weight=weight)
        parts = {} if self.lean else {"train": train}
        callbacks = [lightgbm.record_evaluation(self.history_)]
        if later is not None:
            parts["validation"] = train.create_valid(*later)
            if self.early_stopping_rounds:
                callbacks.append(lightgbm.early_stopping(self.early_stopping_rounds, verbose=False))
        booster = lightgbm.train(
            parameters, train, self.n_estimators, valid_sets=list(parts.values()), valid_names=list(parts),
            callbacks=callbacks, keep_training_booster=True,
        )  # fmt: skip
        self.learner_ = BoostedLearner(booster)

    def _answer(self, X) -> np.ndarray:
        values = self._validate_later(X)
        return answer(self.detector_, self.learner_, X, values)

    def _check(self, X, y, **checks):
        if self.learner not in ("lightgbm", "linear"):
            raise ValueError(f"learner must be 'lightgbm' or 'linear', got {self.learner!r}")
        return self._validate(X, y, ensure_min_samples=2, **checks)


class ChangePointRegressor(RegressorMixin, ChangePointModel):
    """A regression that knows of change points."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping, NaN where a row is only looked back at."""
        values, y = self._check(X, y, y_numeric=True)
        later = None if X_val is None else (X_val, np.asarray(y_val, dtype=float))
        self._learn(X, values, y.astype(float), sample_weight, later)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)


class ChangePointClassifier(TwoClassEstimator, ChangePointModel):
    """A classification of two classes that knows of change points."""

    _binary = True

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping, missing where a row is only looked back at."""
        values, y = self._check(X, y)
        self._take_classes(y)
        later = None if X_val is None else (X_val, self._codes(y_val))
        self._learn(X, values, self._codes(y), sample_weight, later)
        return self


@dataclass(frozen=True, eq=False)
class LinearLearner:
    """A ridge or logistic regression."""

    model: LinearModel
    binary: bool
    rounds: int | None = None

    def predict(self, rows: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        score = self.model.scores(rows)
        return expit(score) if self.binary else score

    def importance(self) -> np.ndarray:
        return self.model.importance()


@dataclass(frozen=True, eq=False)
class BoostedLearner:
    """Trees of LightGBM, up to the best round."""

    booster: object

    @property
    def rounds(self) -> int:
        return self.booster.best_iteration if self.booster.best_iteration > 0 else self.booster.num_trees()

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster.predict(rows, num_threads=1))

    def importance(self) -> np.ndarray:
        return self.booster.feature_importance("gain", iteration=self.rounds)


def answer(detector: Detector, learner: LinearLearner | BoostedLearner, X: object, values: np.ndarray) -> np.ndarray:
    """(n,) values or probabilities of the rows of X, whose numbers are ``values``."""
    return learner.predict(np.column_stack([values, detector.detect(values, SeriesOfRows.of(X, len(values)))]))


def importance_of(detector: Detector, learner: LinearLearner | BoostedLearner) -> np.ndarray:
    """(features,) of any sum; the two further columns count for the features that their series is made of."""
    *importance, since, probability = learner.importance()
    made_of = np.abs(detector.loadings)
    return np.array(importance) + (since + probability) * made_of / (made_of.sum() or 1)
