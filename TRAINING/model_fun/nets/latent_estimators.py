"""scikit-learn estimators that predict from latents: a transformer without a target, then a linear model."""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from sklearn.base import RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.robust_linear import LinearModel, RobustScale


class LatentModel(TableEstimator):
    """What regressor and classifier share: a linear probe (Alain and Bengio 2016) of a representation.

    Parameters
    ----------
    transformer : Generative
        A `TRAINING.model_fun.nets.generative_estimators.Generative`; a copy of it is fitted, to the rows alone.
    penalty : float
        Of the linear model's squared coefficients, in rows, see `TRAINING.model_fun.robust_linear.fit_linear`.
    """

    _binary = False
    folder = None  # where `fit` leaves checkpoints and goes on from them

    def __init__(self, transformer, penalty=5000.0) -> None:
        self.transformer = transformer
        self.penalty = penalty

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the absolute correlations of features with the answers; NaN if none has any."""
        check_is_fitted(self)
        return self.correlations_ / (self.correlations_.sum() or np.nan)

    def _learn(self, X, y, sample_weight, X_val) -> None:
        self.transformer_ = clone(self.transformer)
        self.transformer_.folder = self.folder
        latents = self.transformer_.fit(X, X_val=X_val).transform(X)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        self.linear_ = LinearModel.learn(latents, y, weight, self.penalty, self._binary)
        self.correlations_ = _correlations(RobustScale.learn(X).impute(X), self.linear_.scores(latents))

    def _answer(self, X) -> np.ndarray:
        X = self._validate_later(X)
        return answer(self.linear_, self.transformer_.transform(X), self._binary)


class LatentRegressor(RegressorMixin, LatentModel):
    """A ridge regression on latents."""

    def fit(self, X, y, sample_weight=None, X_val=None):
        """Fit; the weights are the linear model's, ``X_val`` are rows for early stopping of the transformer."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, y_numeric=True, ensure_min_samples=2)
        self._learn(X, y.astype(float), weight, X_val)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)


class LatentClassifier(TwoClassEstimator, LatentModel):
    """A logistic regression of two classes on latents."""

    _binary = True

    def fit(self, X, y, sample_weight=None, X_val=None):
        """Fit; the weights are the linear model's, ``X_val`` are rows for early stopping of the transformer."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2)
        self._take_classes(y)
        self._learn(X, self._codes(y), weight, X_val)
        return self


def answer(linear: LinearModel, latents: np.ndarray, binary: bool) -> np.ndarray:
    """(n,) values or probabilities of rows with these latents, (n, latents)."""
    scores = linear.scores(latents)
    return expit(scores) if binary else scores


def _correlations(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(features,) absolute, of columns of (n, features) with (n,); 0 where one of the two does not vary.

    Latents share out what a feature says among them, with either sign: summed per latent, a feature that they cancel
    would count as one that they use.
    """
    rows, scores = rows - rows.mean(axis=0), scores - scores.mean()
    spread = np.sqrt((rows**2).sum(axis=0) * (scores**2).sum())
    return np.abs(scores @ rows) / np.where(spread > 0, spread, np.inf)
