"""What `ngboost` boosts here: histogram trees, and distributions whose natural gradients are written out.

The loop, its line search and its draws of rows and columns are the library's. Its own trees sort every feature at every
node, and its distributions make a scipy object at every step, which is nearly all of its time.
"""

from __future__ import annotations

import numpy as np
from ngboost import NGBoost
from ngboost.distns import Distn
from ngboost.scores import LogScore

from TRAINING.model_fun.boosting.histogram_trees import Forest, Quantiser, grow_tree, subtract_trees

_LOGIT_BOUND = 30.0  # beyond, the gradient of a probability is only rounding
_ZERO, _ROOT = np.zeros(1), np.zeros((1, 1), np.int32)


class HistogramTree:
    """A base learner on codes, see `TRAINING.model_fun.boosting.histogram_trees`."""

    def __init__(self, max_depth: int, min_samples_leaf: int) -> None:
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf

    def __sklearn_clone__(self) -> HistogramTree:
        return HistogramTree(self.max_depth, self.min_samples_leaf)

    def fit(self, codes, y, sample_weight=None) -> HistogramTree:
        """Grow it on codes (n, features) and gradients (n,)."""
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        self.feature, self.left, self.right, self.threshold, self.value, self.gain = grow_tree(
            np.ascontiguousarray(codes), np.ascontiguousarray(y), weight, self.max_depth, self.min_samples_leaf
        )
        return self

    def predict(self, codes) -> np.ndarray:
        """(n,) gradients."""
        nodes = (self.feature, self.left, self.right, self.threshold, self.value)
        return -subtract_trees(np.ascontiguousarray(codes), _ZERO, _ROOT, *nodes)[0]


class ClosedScore(LogScore):
    """A log score whose natural gradient needs no matrix of Fisher's information."""

    def grad(self, Y, natural=True) -> np.ndarray:
        """(n, parameters) natural gradient; no other is asked for."""
        return self.natural_gradient(Y)


class _NormalScore(ClosedScore):
    def score(self, Y) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # the library tries steps that are far too large
            z = (Y - self.loc) * np.exp(-self.log_scale)
            return 0.5 * z * z + self.log_scale + 0.5 * np.log(2 * np.pi)

    def natural_gradient(self, Y) -> np.ndarray:
        z = (Y - self.loc) * np.exp(-self.log_scale)
        return np.column_stack([self.loc - Y, 0.5 * (1 - z * z)])


class _StudentTScore(ClosedScore):
    def score(self, Y) -> np.ndarray:
        from scipy.special import gammaln

        df = self.degrees_of_freedom
        constant = gammaln(df / 2) - gammaln((df + 1) / 2) + 0.5 * np.log(df * np.pi)
        with np.errstate(over="ignore", invalid="ignore"):
            z = (Y - self.loc) * np.exp(-self.log_scale)
            return constant + self.log_scale + (df + 1) / 2 * np.log1p(z * z / df)

    def natural_gradient(self, Y) -> np.ndarray:
        df = self.degrees_of_freedom
        z = (Y - self.loc) * np.exp(-self.log_scale)
        pull = (df + 1) / (df + z * z)  # how much a row counts; little far out
        return np.column_stack([(df + 3) / (df + 1) * pull * (self.loc - Y), (df + 3) / (2 * df) * (1 - pull * z * z)])


class _LogisticScore(ClosedScore):
    def score(self, Y) -> np.ndarray:
        return np.logaddexp(0.0, self.logit) - Y * self.logit

    def natural_gradient(self, Y) -> np.ndarray:
        logit = np.clip(self.logit, -_LOGIT_BOUND, _LOGIT_BOUND)
        return np.where(Y > 0.5, -1 - np.exp(-logit), 1 + np.exp(logit))[:, None]


class _LocationScale(Distn):
    n_params = 2

    def __init__(self, params) -> None:
        super().__init__(params)
        self.loc, self.log_scale = params


class Normal(_LocationScale):
    """Parameters: loc, log of scale (the standard deviation)."""

    scores = (_NormalScore,)

    @staticmethod
    def begin(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Parameters of most likelihood, alike in all rows."""
        mean = np.average(y, weights=weight)
        return np.array([mean, 0.5 * np.log(np.average((y - mean) ** 2, weights=weight))])


class Bernoulli(Distn):
    """Parameter: the logit of class 1."""

    n_params = 1
    scores = (_LogisticScore,)

    def __init__(self, params) -> None:
        super().__init__(params)
        (self.logit,) = params

    @staticmethod
    def begin(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Parameters of most likelihood, alike in all rows."""
        share = np.clip(np.average(y, weights=weight), 1e-6, 1 - 1e-6)
        return np.array([np.log(share / (1 - share))])


def student_t(degrees_of_freedom: float) -> type[Distn]:
    """Student's t of these degrees of freedom; parameters: loc, log of scale."""

    class StudentT(_LocationScale):
        scores = (_StudentTScore,)

        @staticmethod
        def begin(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
            """Parameters of most likelihood, alike in all rows, by the EM of Lange, Little and Taylor (1989)."""
            loc, log_scale = Normal.begin(y, weight)
            variance = np.exp(2 * log_scale)
            for _ in range(200):
                pull = weight * (degrees_of_freedom + 1) / (degrees_of_freedom + (y - loc) ** 2 / variance)
                loc, before = np.average(y, weights=pull), variance
                variance = np.sum(pull * (y - loc) ** 2) / weight.sum()
                if abs(variance - before) <= 1e-10 * before:
                    break
            return np.array([loc, 0.5 * np.log(variance)])

    StudentT.degrees_of_freedom = degrees_of_freedom
    return StudentT


class Engine(NGBoost):
    """The library's boosting, begun where weighted rows are most likely; it begins where all count alike."""

    begin: np.ndarray

    def fit_init_params_to_marginal(self, Y, sample_weight=None, iters=1000) -> None:
        """Called by `fit`."""
        self.init_params = self.begin

    @property
    def rounds(self) -> int:
        """Rounds up to the best validation score, all without validation rows."""
        best = self.best_val_loss_itr
        return len(self.scalings) if best is None else best + 1

    def forest(self, quantiser: Quantiser) -> Forest:
        """The trees of `rounds`, with thresholds in the features' units."""
        parts: dict[str, list] = {name: [] for name in ("feature", "left", "right", "threshold", "value")}
        roots, nodes = np.zeros((self.rounds, self.Manifold.n_params), np.int32), 0
        for number in range(self.rounds):
            columns, scale = self.col_idxs[number], self.scalings[number]
            for output, tree in enumerate(self.base_models[number]):
                splits = np.flatnonzero(tree.feature >= 0)
                feature, threshold = tree.feature.copy(), np.zeros(len(tree.feature))
                feature[splits] = columns[tree.feature[splits]]
                for node in splits:
                    threshold[node] = quantiser.borders[feature[node]][int(tree.threshold[node])]
                parts["feature"].append(feature)
                parts["left"].append(tree.left + nodes)
                parts["right"].append(tree.right + nodes)
                parts["threshold"].append(threshold)
                parts["value"].append(self.learning_rate * tree.value * scale)
                roots[number, output] = nodes
                nodes += len(feature)
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        joined |= {name: joined[name].astype(np.int32) for name in ("feature", "left", "right")}
        return Forest(np.asarray(self.begin, dtype=float), roots, **joined)

    def importances(self) -> np.ndarray:
        """(parameters, features) by how much the splits of `rounds` lower the squares of their steps, of any sum."""
        total = np.zeros((self.Manifold.n_params, self.n_features))
        for number in range(self.rounds):
            step = (self.learning_rate * self.scalings[number]) ** 2
            for output, tree in enumerate(self.base_models[number]):
                splits = np.flatnonzero(tree.feature >= 0)
                np.add.at(total[output], self.col_idxs[number][tree.feature[splits]], step * tree.gain[splits])
        return total
