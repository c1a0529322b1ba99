"""scikit-learn estimators of the ensemble: boosting, a forest, a linear model and the mean, stacked in time order."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from CONFIG.errors import DataError
from TRAINING.model_fun.ensemble.parts import PARTS, Bins, Parts, limited_threads, log_odds
from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.out_of_fold import cut_blocks, label_times
from TRAINING.model_fun.robust_linear import LinearModel

FEWEST_PREDICTED = 50  # out-of-fold rows, below which weights say nothing
_FORESTS = {"extra_trees": "ExtraTrees", "random_forest": "RandomForest"}


class Stack(TableEstimator):
    """What regressor and classifier share: four unlike models, and their weights.

    The weights are not negative and sum to 1 (Breiman, *Stacked regressions*, 1996), so an answer never leaves the
    range of the parts'. They minimise the loss of out-of-fold predictions (Wolpert, *Stacked generalization*, 1992),
    each made by parts that were fitted to earlier rows whose labels were known, see
    `TRAINING.model_fun.out_of_fold.cut_blocks`. Validation rows, where given, are one more block, predicted by the
    parts that stay. Log-odds are mixed where the target is a class.

    One of the parts is the mean of the target: where the others know nothing, answers draw near to it. Weights found on
    few noisy rows favour one part by chance, so they are drawn to equal ones (Diebold and Pauly, *The use of prior
    information in forecast combination*, 1990). Where too few rows could be predicted, they are equal.

    Parameters
    ----------
    bins : int
        Of each feature, for boosting and forest.
    boosting_trees, boosting_leaves : int
        Trees, and leaves of a tree at most.
    boosting_rate, boosting_penalty : float
        Share of each tree's answer that is added, and L2 penalty on leaves, in rows.
    forest : str
        ``extra_trees`` (Geurts, Ernst and Wehenkel 2006) or ``random_forest`` (Breiman 2001).
    forest_trees : int
    min_samples_leaf : int
        Rows in a leaf at least, of either's trees.
    max_features : float
        Share of the features that a split is chosen from, in either.
    linear_penalty : float
        Of squared coefficients, in rows, see `TRAINING.model_fun.robust_linear.fit_linear`.
    blocks : int
        Of out-of-fold predictions.
    equal_share : float
        Share of the weights that is equal, within [0, 1].
    n_jobs, random_state : int

    Attributes
    ----------
    parts_ : Parts
        Fitted to all rows.
    weights_ : (4,)
        Of the parts, in the order of `PARTS`.
    losses_ : (4,)
        Mean squared error or log loss of the parts' out-of-fold predictions; NaN where too few rows were predicted.
    predicted_ : int
        Rows that the weights were found on.
    """

    _binary = False

    def __init__(
        self,
        bins=32,
        boosting_trees=60,
        boosting_rate=0.03,
        boosting_leaves=4,
        boosting_penalty=50.0,
        forest="extra_trees",
        forest_trees=50,
        min_samples_leaf=50,
        max_features=0.3,
        linear_penalty=5000.0,
        blocks=4,
        equal_share=0.5,
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.bins = bins
        self.boosting_trees = boosting_trees
        self.boosting_rate = boosting_rate
        self.boosting_leaves = boosting_leaves
        self.boosting_penalty = boosting_penalty
        self.forest = forest
        self.forest_trees = forest_trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.linear_penalty = linear_penalty
        self.blocks = blocks
        self.equal_share = equal_share
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) mean of the parts' shares by weight, see `Parts.importances`; NaN if no part uses a feature."""
        check_is_fitted(self)
        importance = self.weights_ @ self.parts_.importances()
        return importance / (importance.sum() or np.nan)

    def _check(self, X, y, **checks):
        return self._validate(X, y, ensure_min_samples=2, **checks)

    def _learn(self, X, y, sample_weight, times, later) -> None:
        """On checked arrays; ``times`` as `label_times` gives them, ``later`` a pair of validation arrays or None."""
        weight = np.ones(len(X)) if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=float)
        counts = weight > 0
        X, y, weight, times = X[counts], y[counts], weight[counts], [part[counts] for part in times]
        if self._binary and np.ptp(y) == 0:
            raise ValueError("the rows with a weight have one class only; the stack needs two classes")
        weight = weight / weight.mean()
        blocks = []
        for before, inside in _blocks(times, self.blocks):
            if before.sum() >= 2 * self.min_samples_leaf and np.ptp(y[before]) > 0:
                parts = self._fit_parts(X[before], y[before], weight[before])
                blocks.append((parts.scores(X[inside], self.n_jobs), y[inside], weight[inside]))
        self.parts_ = self._fit_parts(X, y, weight)
        if later is not None:
            X_val, y_val = np.asarray(later[0]), np.asarray(later[1], float)
            blocks.append((self.parts_.scores(X_val, self.n_jobs), y_val, np.ones(len(y_val))))
        self.predicted_ = sum(len(labels) for _, labels, _ in blocks)
        equal = np.full(len(PARTS), 1 / len(PARTS))
        self.weights_, self.losses_ = equal, np.full(len(PARTS), np.nan)
        if self.predicted_ >= FEWEST_PREDICTED:
            scores, labels, weight = (np.concatenate(part) for part in zip(*blocks, strict=True))
            found = find_weights(scores, labels, weight, self._binary)
            self.weights_ = self.equal_share * equal + (1 - self.equal_share) * found
            self.losses_ = np.average(losses(scores, labels[:, None], self._binary), axis=0, weights=weight)

    def _fit_parts(self, X, y, weight) -> Parts:
        from sklearn import ensemble

        kind = "Classifier" if self._binary else "Regressor"
        boosting = getattr(ensemble, f"HistGradientBoosting{kind}")(
            max_iter=self.boosting_trees,
            learning_rate=self.boosting_rate,
            max_leaf_nodes=self.boosting_leaves,
            max_bins=self.bins,
            l2_regularization=self.boosting_penalty,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            early_stopping=False,
            random_state=self.random_state,
        )
        forest = getattr(ensemble, f"{_FORESTS[self.forest]}{kind}")(
            self.forest_trees,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        bins, mean = Bins.learn(X, self.bins), np.average(y, weights=weight)
        binned = bins.apply(X)
        with limited_threads(self.n_jobs):
            boosting.fit(binned, y, weight)
            forest.fit(binned, y, weight)
            forest.n_jobs = 1  # several threads add up the trees' answers in no fixed order
            linear = LinearModel.learn(X, y, weight, self.linear_penalty, self._binary)
        return Parts(bins, boosting, forest, linear, float(log_odds(mean) if self._binary else mean))

    def _answer(self, X) -> np.ndarray:
        """(n,) values, or log-odds of classes."""
        X = self._validate_later(X)
        return (self.parts_.scores(X, self.n_jobs) * self.weights_).sum(axis=1)


class StackRegressor(RegressorMixin, Stack):
    """Boosting, a forest, a ridge regression and the mean, stacked."""

    def fit(self, X, y, sample_weight=None, times=None, X_val=None, y_val=None):
        """Fit to rows (n, features), NaN where missing, and values (n,).

        Parameters
        ----------
        times : pair of (n,) arrays, optional
            As `TRAINING.model_fun.out_of_fold.label_times` gives them; found there without, from the index of X.
        X_val, y_val : array, optional
            Later rows.
        """
        frame, name = X, getattr(y, "name", None)
        X, y = self._check(X, y, y_numeric=True)
        times = _times(frame, len(X), name) if times is None else times
        self._learn(X, y.astype(float), sample_weight, times, None if X_val is None else (X_val, y_val))
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)


class StackClassifier(TwoClassEstimator, Stack):
    """Boosting, a forest, a logistic regression and the base rate of two classes, stacked."""

    _binary = True

    def fit(self, X, y, sample_weight=None, times=None, X_val=None, y_val=None):
        """Fit as `StackRegressor.fit`; y has two classes, y_val is 0 and 1, the second class."""
        frame, name = X, getattr(y, "name", None)
        X, y = self._check(X, y)
        self._take_classes(y)
        y = self._codes(y)
        times = _times(frame, len(X), name) if times is None else times
        self._learn(X, y, sample_weight, times, None if X_val is None else (X_val, y_val))
        return self

    def _probability(self, X) -> np.ndarray:
        return expit(self._answer(X))


def find_weights(scores: np.ndarray, y: np.ndarray, weight: np.ndarray, binary: bool) -> np.ndarray:
    """Weights of the parts, not negative and of sum 1, that minimise the mean loss of the mixed scores.

    Parameters
    ----------
    scores : (n, parts)
        Values, or log-odds of class 1.
    y, weight : (n,)
    binary : bool
        Whether the loss is the log loss rather than the squared error. It is convex in the weights either way.

    Returns
    -------
    (parts,)
    """
    from scipy.optimize import minimize

    count = scores.shape[1]
    start = np.full(count, 1 / count)
    unit = np.average(losses(scores @ start, y, binary), weights=weight) or 1.0
    share = weight / weight.sum() / unit

    def loss_and_slope(mix: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = scores @ mix
        error = (expit(mixed) if binary else 2 * mixed) - (y if binary else 2 * y)
        return share @ losses(mixed, y, binary), (share * error) @ scores

    found = minimize(
        loss_and_slope,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda mix: mix.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-10, "maxiter": 200},
    )
    mix = np.clip(found.x, 0, None)
    return mix / mix.sum()


def losses(scores: np.ndarray, y: np.ndarray, binary: bool) -> np.ndarray:
    """Squared errors of values, or log losses of log-odds, of the shape of ``scores``."""
    return np.logaddexp(0, scores) - y * scores if binary else (scores - y) ** 2


def _times(X, count: int, target: str | None) -> tuple[np.ndarray, np.ndarray]:
    """By the index of X; rows without one are in time order."""
    return label_times(X if isinstance(X, pd.DataFrame) else pd.DataFrame(index=range(count)), None, [target])


def _blocks(times, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """As `cut_blocks`; none where there are fewer sessions than blocks."""
    try:
        return list(cut_blocks(*times, count))
    except DataError:
        return []
