"""scikit-learn estimators of regimes: a Gaussian mixture finds them, a linear expert in each answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from DATA_PROCESSING.compiled import compiled
from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.robust_linear import RobustScale, fit_linear, multiply_rows

_LEAST_VARIANCE = 1e-3  # of a component in any direction, where the first principal component has 1
_LEAST_SHARE = 0.02  # of the rows in a regime; a component of fewer holds outliers
_NO_DIRECTION = 1e-9  # a principal component of less variance, in the first one's, is rounding


@dataclass(frozen=True, eq=False)
class RegimeMixture:
    """Regimes of rows: Gaussians in the first principal components of the standardised features.

    Regimes are in order, the calmest first, or as `RegimeModel.order_by` says.

    Attributes
    ----------
    centre, spread : (features,)
        See `TRAINING.model_fun.robust_linear.RobustScale`.
    mean, directions : (features,), (features, dimensions)
        Of the principal components; the first has variance 1 in training.
    weights, means, precisions : (k,), (k, dimensions), (k, dimensions, dimensions)
        As scikit-learn's ``weights_``, ``means_`` and ``precisions_cholesky_``.
    bic : float
        Of the training rows, with all components that were fitted.
    """

    centre: np.ndarray
    spread: np.ndarray
    mean: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray
    bic: float

    def scale(self, X: np.ndarray) -> np.ndarray:
        """(n, features) standardised, bounded and without NaN."""
        return RobustScale(self.centre, self.spread).impute(X)

    def reduce(self, scaled: np.ndarray) -> np.ndarray:
        """(n, dimensions) of what `scale` gives."""
        return multiply_rows(scaled - self.mean, self.directions)

    def log_joint(self, scaled: np.ndarray) -> np.ndarray:
        """(n, k) logarithm of each component's weight times its density at a row."""
        return log_joint(self.reduce(scaled), np.log(self.weights), self.means, self.precisions)

    def probabilities(self, scaled: np.ndarray) -> np.ndarray:
        """(n, k) of each regime, given a row and nothing else."""
        return share(self.log_joint(scaled))


def learn_mixture(
    X: np.ndarray, dimensions: int, fewest: int, most: int, restarts: int, order_by: int | None, seed: int
) -> RegimeMixture:
    """Fit mixtures of ``fewest`` to ``most`` components to rows (n, features) and keep the one of the lowest BIC.

    The Bayesian information criterion (Schwarz 1978) chooses among mixtures consistently (Keribin 2000). Components of
    less than 2 % of the rows, which hold outliers, are then left out.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    scale = RobustScale.learn(X)
    scaled = scale.impute(X)
    # With several threads k-means sums in no fixed order, and the matrices are too small to gain from them.
    with threadpool_limits(1):
        found = PCA(min(dimensions, *scaled.shape), svd_solver="covariance_eigh").fit(scaled)
        variance = found.explained_variance_
        if not variance[0] > 0:
            raise ValueError("no feature varies, so there are no regimes to tell apart")
        kept = variance > _NO_DIRECTION * variance[0]
        directions = np.ascontiguousarray(found.components_[kept].T) / np.sqrt(variance[0])
        reduced = multiply_rows(scaled - found.mean_, directions)
        fits = [
            GaussianMixture(
                count, reg_covar=_LEAST_VARIANCE, n_init=restarts, max_iter=1000, random_state=seed, tol=1e-4
            ).fit(reduced)
            for count in range(fewest, most + 1)
        ]
        criteria = [fit.bic(reduced) for fit in fits]
    best = fits[int(np.argmin(criteria))]
    lasting = best.weights_ >= min(_LEAST_SHARE, best.weights_.max())
    weights = best.weights_[lasting] / best.weights_[lasting].sum()
    mixture = RegimeMixture(
        scale.centre, scale.spread, found.mean_, directions,
        weights, best.means_[lasting], best.precisions_cholesky_[lasting], float(min(criteria)),
    )  # fmt: skip
    return _in_order(mixture, scaled, order_by)


def _in_order(mixture: RegimeMixture, scaled: np.ndarray, order_by: int | None) -> RegimeMixture:
    probability = mixture.probabilities(scaled)
    rows = probability.sum(axis=0)
    if order_by is None:
        centre = probability.T @ scaled / rows[:, None]
        key = (probability.T @ scaled**2 / rows[:, None] - centre**2).mean(axis=1)
    else:
        key = probability.T @ scaled[:, order_by] / rows
    order = np.argsort(key, kind="stable")
    kept = {name: getattr(mixture, name) for name in ("centre", "spread", "mean", "directions", "bic")}
    return RegimeMixture(
        **kept, weights=mixture.weights[order], means=mixture.means[order], precisions=mixture.precisions[order]
    )


class RegimeModel(TableEstimator):
    """What regressor and classifier share: a mixture over the rows, and an expert in each of its components.

    An answer is the mean of the experts' answers, weighed by how probable each regime is at the row: a mixture of
    experts (Jacobs, Jordan, Nowlan and Hinton, *Adaptive mixtures of local experts*, 1991) whose gate is the mixture,
    fixed before the experts are fitted. Nothing but the row itself is looked at.

    Parameters
    ----------
    dimensions : int
        Principal components that the mixture sees.
    fewest_components, most_components : int
        Of the mixture; the Bayesian information criterion chooses.
    restarts : int
        First guesses that a mixture is fitted from; the likeliest stays.
    order_by : int, optional
        Column by whose mean in them regimes are ordered; without, by the mean variance of the features in them.
    borrow : float
        Weight of the other regimes' rows in an expert, above 0: 1 makes all experts one model.
    penalty : float
        Of the experts' squared coefficients, in rows, see `TRAINING.model_fun.robust_linear.fit_linear`.
    random_state : int
    """

    _binary = False

    def __init__(
        self,
        dimensions=2,
        fewest_components=2,
        most_components=4,
        restarts=3,
        order_by=None,
        borrow=0.3,
        penalty=5000.0,
        random_state=0,
    ) -> None:
        self.dimensions = dimensions
        self.fewest_components = fewest_components
        self.most_components = most_components
        self.restarts = restarts
        self.order_by = order_by
        self.borrow = borrow
        self.penalty = penalty
        self.random_state = random_state

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the experts' answers; NaN if none has any."""
        check_is_fitted(self)
        importance = importance_of(self.mixture_, self.experts_)
        return importance / (importance.sum() or np.nan)

    def _learn(self, X, y, sample_weight) -> None:
        weight = np.ones(len(X)) if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=float)
        if not 1 <= self.fewest_components <= self.most_components:
            raise ValueError(
                f"fewest_components must be from 1 to most_components, {self.most_components}; "
                f"got {self.fewest_components}"
            )
        self.mixture_ = learn_mixture(
            X, self.dimensions, self.fewest_components, self.most_components, self.restarts, self.order_by,
            self.random_state,
        )  # fmt: skip
        scaled = self.mixture_.scale(X)
        self.experts_ = np.column_stack(
            [
                fit_linear(scaled, y, weight * part, self.penalty, self._binary)
                for part in (self.borrow + (1 - self.borrow) * self.mixture_.probabilities(scaled)).T
            ]
        )

    def _answer(self, X) -> np.ndarray:
        X = self._validate_later(X)
        return answer(self.mixture_, self.experts_, X, self._binary)

    def _check(self, X, y, **checks):
        return self._validate(X, y, ensure_min_samples=max(2, self.most_components), **checks)


class RegimeRegressor(RegressorMixin, RegimeModel):
    """Ridge experts mixed by regime."""

    def fit(self, X, y, sample_weight=None):
        """Fit; the weights are the experts', every row counts the same in the mixture."""
        X, y = self._check(X, y, y_numeric=True)
        self._learn(X, y.astype(float), sample_weight)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)


class RegimeClassifier(TwoClassEstimator, RegimeModel):
    """Logistic experts of two classes, mixed by regime."""

    _binary = True

    def fit(self, X, y, sample_weight=None):
        """Fit; the weights are the experts', every row counts the same in the mixture."""
        X, y = self._check(X, y)
        self._take_classes(y)
        self._learn(X, self._codes(y), sample_weight)
        return self


def answer(mixture: RegimeMixture, experts: np.ndarray, X: np.ndarray, binary: bool) -> np.ndarray:
    """(n,) values or probabilities of rows (n, features); experts (features + 1, k) have their intercepts last."""
    scaled = mixture.scale(X)
    return mix(mixture.probabilities(scaled), multiply_rows(scaled, experts[:-1]), experts[-1], binary)


def importance_of(mixture: RegimeMixture, experts: np.ndarray) -> np.ndarray:
    """(features,) absolute coefficients, of features in robust standard deviations, by the weight of the regimes."""
    return np.abs(experts[:-1]) @ mixture.weights


@compiled
def log_joint(rows: np.ndarray, log_weights: np.ndarray, means: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """(n, k) log(weight * normal density) of rows (n, d); ``precisions`` are upper triangular, as scikit-learn's."""
    count, dimensions = means.shape
    joint = np.empty((rows.shape[0], count))
    for component in range(count):
        constant = log_weights[component] - 0.5 * dimensions * np.log(2 * np.pi)
        for i in range(dimensions):
            constant += np.log(precisions[component, i, i])
        for row in range(rows.shape[0]):
            distance = 0.0
            for column in range(dimensions):
                along = 0.0
                for i in range(column + 1):
                    along += (rows[row, i] - means[component, i]) * precisions[component, i, column]
                distance += along * along
            joint[row, component] = constant - 0.5 * distance
    return joint


@compiled
def share(joint: np.ndarray) -> np.ndarray:
    """(n, k) exp of rows, each divided by its sum."""
    shares = np.empty_like(joint)
    for row in range(joint.shape[0]):
        highest = joint[row].max()
        total = 0.0
        for component in range(joint.shape[1]):
            shares[row, component] = np.exp(joint[row, component] - highest)
            total += shares[row, component]
        for component in range(joint.shape[1]):
            shares[row, component] /= total
    return shares


@compiled
def mix(probability: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray, binary: bool) -> np.ndarray:
    """(n,) mean answer of experts; of classes, their answers are log-odds."""
    answers = np.zeros(probability.shape[0])
    for row in range(probability.shape[0]):
        for expert in range(probability.shape[1]):
            value = slopes[row, expert] + intercepts[expert]
            answers[row] += probability[row, expert] * (1 / (1 + np.exp(-value)) if binary else value)
    return answers
