"""The models of the ensemble: boosting and a forest on binned features, a linear model, and the mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import logit
from sklearn.base import BaseEstimator, is_classifier

from TRAINING.model_fun.robust_linear import LinearModel

PARTS = ("boosting", "forest", "linear", "mean")
_LEAST_PROBABILITY = 0.001  # of a part, so that its log-odds are finite


@dataclass(frozen=True, eq=False)
class Bins:
    """Equally many training rows in each bin of a feature; trees see the bins' numbers, so outliers do not move them.

    scikit-learn's boosting bins by itself, but with sample weights that takes ten times as long as its training.

    Attributes
    ----------
    edges : (bins - 1, features)
        NaN of a feature without any value.
    """

    edges: np.ndarray

    @classmethod
    def learn(cls, X: np.ndarray, count: int) -> Bins:
        """Of rows (n, features), NaN where missing."""
        empty = np.isnan(X).all(axis=0)
        edges = np.nanquantile(np.where(empty, 0, X), np.arange(1, count) / count, axis=0)
        return cls(np.where(empty, np.nan, edges))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """(n, features) float32; NaN stays, but in a feature that had no value, which boosting would not take."""
        numbers = np.empty(X.shape, np.float32)
        for feature, edges in enumerate(self.edges.T):
            numbers[:, feature] = np.searchsorted(edges, X[:, feature], side="right")
        numbers[np.isnan(X)] = np.nan
        numbers[:, np.isnan(self.edges[0])] = 0
        return numbers


@dataclass(frozen=True, eq=False)
class Parts:
    """The fitted models of a stack.

    Attributes
    ----------
    bins : Bins
        Of the rows that boosting and forest see.
    boosting, forest : estimator
    linear : LinearModel
    mean : float
        Of the target; the log-odds of a class.
    """

    bins: Bins
    boosting: BaseEstimator
    forest: BaseEstimator
    linear: LinearModel
    mean: float

    def scores(self, X: np.ndarray, n_jobs: int) -> np.ndarray:
        """(n, parts) values, or log-odds of classes."""
        binned = self.bins.apply(X)
        with limited_threads(n_jobs):
            if is_classifier(self.forest):
                trees = [log_odds(part.predict_proba(binned)[:, 1]) for part in (self.boosting, self.forest)]
            else:
                trees = [part.predict(binned) for part in (self.boosting, self.forest)]
        return np.column_stack([*trees, self.linear.scores(X), np.full(len(X), self.mean)])

    def importances(self) -> np.ndarray:
        """(parts, features) shares: of the splits' gain, or of the absolute coefficients; the mean has none."""
        slopes = self.linear.importance()
        each = np.array([_gain(self.boosting), self.forest.feature_importances_, slopes, np.zeros_like(slopes)])
        total = each.sum(axis=1, keepdims=True)
        return each / np.where(total > 0, total, 1)


def limited_threads(n_jobs: int):
    """Within it scikit-learn's boosting, and BLAS, which take all cores otherwise, take ``n_jobs``; -1 is all."""
    return _thread_pools().limit(limits=None if n_jobs < 0 else n_jobs)


@cache
def _thread_pools():
    """Found once: looking for them takes as long as predicting a row."""
    import sklearn.ensemble  # noqa: F401  # loads OpenMP
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _gain(boosting) -> np.ndarray:
    """(features,) sum of the gains of the splits on each; scikit-learn gives histogram boosting no importance."""
    gain = np.zeros(boosting.n_features_in_)
    for trees in boosting._predictors:
        for tree in trees:
            splits = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(gain, splits["feature_idx"], splits["gain"])
    return gain


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Of probabilities, which count as at least 0.001 and at most 0.999."""
    return logit(np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY))
