"""scikit-learn estimators of FTRL-Proximal, a linear model that learns row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.linear import ftrl_kernels

_ARRAYS = ("z", "n", "seen", "labels")


@dataclass(eq=False)
class OnlineModel:
    """What FTRL-Proximal knows after some rows; `learn` goes on from there.

    Attributes
    ----------
    logistic : bool
        Probabilities of classes 0 and 1; else values.
    rates : tuple of float
        alpha, beta, l1 and l2.
    z, n : (features,) float64
        Sums of gradients, less what keeps weights near those before, and sums of squared gradients.
    seen : (3, features) float64
        Count, mean and squared deviations of each feature.
    labels : (3,) float64
        The same of the labels, weighted.
    """

    logistic: bool
    rates: tuple[float, float, float, float]
    z: np.ndarray
    n: np.ndarray
    seen: np.ndarray
    labels: np.ndarray

    @classmethod
    def start(cls, logistic: bool, rates: tuple[float, float, float, float], features: int) -> OnlineModel:
        """A model that has seen no row."""
        return cls(logistic, rates, np.zeros(features), np.zeros(features), np.zeros((3, features)), np.zeros(3))

    @classmethod
    def restored(cls, logistic: bool, rates: tuple[float, float, float, float], arrays: dict) -> OnlineModel:
        """A model of its own that knows what another's `arrays` say."""
        return cls(logistic, rates, *(np.array(arrays[name]) for name in _ARRAYS))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learnt."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @property
    def weights(self) -> np.ndarray:
        """(features,) of the standardised features; exactly 0 where L1 outweighs the gradients."""
        alpha, beta, l1, l2 = self.rates
        size = (self.z - np.copysign(l1, self.z)) / ((beta + np.sqrt(self.n)) / alpha + l2)
        return np.where(np.abs(self.z) > l1, -size, 0.0)

    def learn(self, X, y, sample_weight=None, known_at=None, again: bool = False) -> np.ndarray:
        """One pass over rows in time order, each label learnt when it is known.

        Parameters
        ----------
        X : (n, features)
            NaN where missing.
        y : (n,) float
            NaN where a row is only predicted.
        sample_weight : (n,), optional
        known_at : (n,) int, optional
            The first row that is predicted with the label known: the next one by default; n where none is. Labels that
            no row knows are learnt after the last one.
        again : bool
            Whether these rows were learnt before: then neither features nor labels are counted once more.

        Returns
        -------
        (n,) float64
            What was predicted of each row from the rows and labels known before it; NaN where no label was.
        """
        rows, y = len(X), np.array(y, dtype=np.float64)
        Z = np.array(X, dtype=np.float64, order="C")
        ftrl_kernels.standardise(Z, self.seen, not again)
        # A label is never known before its own row.
        known_at = np.maximum(np.arange(1, rows + 1) if known_at is None else known_at, np.arange(1, rows + 1))
        order = np.argsort(known_at, kind="stable")
        weight = np.ones(rows) if sample_weight is None else np.array(sample_weight, dtype=np.float64)
        return ftrl_kernels.learn(
            Z, y, weight, order[~np.isnan(y[order])], known_at, self.logistic, not again, self.labels,
            self.z, self.n, self.weights, *self.rates,
        )  # fmt: skip

    def predict(self, X) -> np.ndarray:
        """(n,) probabilities of class 1, or values."""
        Z = np.array(X, dtype=np.float64, order="C")
        ftrl_kernels.standardise(Z, self.seen.copy(), False)  # joblib may have mapped it read-only
        return ftrl_kernels.predict(Z, self.logistic, self.labels.copy(), self.weights)


class FTRL(TableEstimator):
    """What classifier and regressor share; rows come in time order.

    Parameters
    ----------
    alpha, beta : float
        A feature's steps are alpha / (beta + the root of the sum of its squared gradients).
    l1, l2 : float
        The sum of a feature's gradients that its weight needs to leave 0, and the pull of weights towards 0.
    passes : int
        How often `fit` goes over the rows.
    """

    def __init__(self, alpha=0.02, beta=1.0, l1=1.0, l2=10.0, passes=1) -> None:
        self.alpha = alpha
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        self.passes = passes

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the sizes of the weights of standardised features; NaN where all are 0."""
        check_is_fitted(self)
        size = np.abs(self.model_.weights)
        return size / (size.sum() or np.nan)

    def _start(self) -> OnlineModel:
        rates = (float(self.alpha), float(self.beta), float(self.l1), float(self.l2))
        return OnlineModel.start(isinstance(self, ClassifierMixin), rates, self.n_features_in_)

    def _run(self, X, y, sample_weight, known_at, X_val):
        """Learn checked rows from the start; keeps what each pass predicted of them and of later rows."""
        self.model_ = self._start()
        self.progress_, self.later_ = [], []
        for number in range(self.passes):
            self.progress_.append(self.model_.learn(X, y, sample_weight, known_at, again=number > 0))
            if X_val is not None:
                self.later_.append(self.model_.predict(X_val))
        return self

    def _answer(self, X) -> np.ndarray:
        X = self._validate_later(X)
        return self.model_.predict(X)


class FTRLRegressor(RegressorMixin, FTRL):
    """Squared loss, of labels in standard deviations from the mean of those known before."""

    def fit(self, X, y, sample_weight=None, known_at=None, X_val=None):
        """Learn rows from the start; ``known_at`` as of `OnlineModel.learn`, ``X_val`` rows to predict after passes."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, y_numeric=True)
        return self._run(X, y, weight, known_at, X_val)

    def partial_fit(self, X, y, sample_weight=None, known_at=None):
        """Learn further rows."""
        first = not hasattr(self, "model_")
        X, y, weight = self._validate_weighted(X, y, sample_weight, reset=first, y_numeric=True)
        if first:
            self.model_ = self._start()
        self.model_.learn(X, y, weight, known_at)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)


class FTRLClassifier(TwoClassEstimator, FTRL):
    """Logistic loss, of two classes; a margin of 0 is the share of the classes among the labels known before."""

    def fit(self, X, y, sample_weight=None, known_at=None, X_val=None):
        """Learn rows from the start; ``known_at`` as of `OnlineModel.learn`, ``X_val`` rows to predict after passes."""
        X, y, weight = self._validate_weighted(X, y, sample_weight)
        self._take_classes(y)
        return self._run(X, y == self.classes_[1], weight, known_at, X_val)

    def partial_fit(self, X, y, classes=None, sample_weight=None, known_at=None):
        """Learn further rows; the first time ``classes`` says which two there are, unless y has both."""
        first = not hasattr(self, "model_")
        X, y, weight = self._validate_weighted(X, y, sample_weight, reset=first)
        if first:
            self._take_classes(y if classes is None else classes)
            self.model_ = self._start()
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"FTRLClassifier knows the classes {self.classes_.tolist()}; y has {unknown[:5].tolist()}")
        self.model_.learn(X, y == self.classes_[1], weight, known_at)
        return self
