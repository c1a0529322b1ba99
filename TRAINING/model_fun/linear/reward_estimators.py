"""Reward-weighted regression: scikit-learn estimators that learn positions from what positions would have earned."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from DATA_PROCESSING.compiled import compiled
from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator
from TRAINING.model_fun.robust_linear import multiply_rows

_BOUND = 3.0  # standard deviations that a feature is cut at: one wild bar must not drive the policy
_ACTIONS = np.linspace(-1.0, 1.0, 21)  # the positions that are tried on each row
_STEP = _ACTIONS[1] - _ACTIONS[0]
_HALVINGS = 35  # of the interval that the temperature is sought in


class RewardWeighted(TableEstimator):
    """What classifier and regressor share: a Gaussian policy whose mean is linear in the standardised features.

    Each round weighs the positions of a grid by how likely the policy takes them, times ``exp(reward / temperature)``,
    and then fits the policy to the weighted positions: expectation and maximisation of Peters and Schaal (2007). A
    position ``a`` on a row of gain ``g`` has the reward ``a * g - cost * |a|``. The weights of a row sum to its sample
    weight, so that positions are compared with others on the same row, as in advantage-weighted regression (Neumann and
    Peters 2009): across rows, weights would favour those of large moves, which no position has caused.

    Parameters
    ----------
    cost : float
        Of a whole position, in units of the gain.
    effective_share : float
        Share of a row's weighted positions that count, by Kish's effective size, in the mean of the rows; it sets the
        temperature: near 1 all count alike and rounds are short, near 0 only the highest rewards count.
    ridge : float
        Pull of slopes towards 0, in rows.
    iterations : int
        Rounds; each goes further from no position towards whole ones.
    smallest_position : float
        A smaller one is not taken.
    """

    def __init__(self, cost=0.001, effective_share=0.8, ridge=300.0, iterations=10, smallest_position=0.0) -> None:
        self.cost = cost
        self.effective_share = effective_share
        self.ridge = ridge
        self.iterations = iterations
        self.smallest_position = smallest_position

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the sizes of the slopes of standardised features; NaN where all are 0."""
        check_is_fitted(self)
        size = np.abs(self.slopes_)
        return size / (size.sum() or np.nan)

    def positions(self, X) -> np.ndarray:
        """(n,) within [-1, 1], of checked rows (n, features)."""
        return self._positions(self._standardise(X))

    def _positions(self, Z) -> np.ndarray:
        position = np.clip(multiply_rows(Z, self.slopes_[:, None])[:, 0] + self.intercept_, -1.0, 1.0)
        return np.where(np.abs(position) < self.smallest_position, 0.0, position)

    def _learn(self, X, gain, sample_weight, X_val, gain_val):
        """Fit the policy to checked rows; keeps the regret of its positions after each round."""
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        self.centre_, self.scale_ = _moments(X, weight)
        Z = self._standardise(X)
        self.temperature_ = self._find_temperature(gain[weight > 0], weight[weight > 0])
        self.intercept_, self.slopes_, deviation = 0.0, np.zeros(X.shape[1]), _ACTIONS.std()
        share, fitted = weight / weight.sum(), _ridge(Z, weight, self.ridge)
        parts = {"train": (Z, gain, weight)}
        if X_val is not None:
            parts["validation"] = (self._standardise(X_val), gain_val, np.ones(len(gain_val)))
        self.regrets_ = {part: [] for part in parts}
        for _ in range(self.iterations):
            mean = Z @ self.slopes_ + self.intercept_
            chosen, spread, _ = _expect(gain, mean, deviation, _ACTIONS, float(self.cost), self.temperature_)
            self.slopes_ = fitted @ chosen
            self.intercept_ = float(share @ chosen - share @ Z @ self.slopes_)
            variance = share @ ((chosen - Z @ self.slopes_ - self.intercept_) ** 2 + spread)
            deviation = max(math.sqrt(variance), _STEP)  # narrower, no position of the grid is likely
            for part, (rows, gains, weights) in parts.items():
                lost = regrets(self._positions(rows), gains, self.cost)
                self.regrets_[part].append(float(np.average(lost, weights=weights)))
        return self

    def _find_temperature(self, gain, weight) -> float:
        """The temperature at which the effective share of the first policy's weighted positions is that asked for."""
        low, high = math.log(np.abs(gain).max() or 1.0) + np.array([-10.0, 10.0])
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            start = np.zeros(len(gain)), _ACTIONS.std(), _ACTIONS
            *_, effective = _expect(gain, *start, float(self.cost), math.exp(middle))
            too_few = np.average(effective, weights=weight) < self.effective_share
            low, high = (middle, high) if too_few else (low, middle)
        return math.exp((low + high) / 2)

    def _standardise(self, X) -> np.ndarray:
        """(n, features) float64; 0 where a value is missing."""
        Z = (np.asarray(X, dtype=np.float64) - self.centre_) / self.scale_
        return np.ascontiguousarray(np.nan_to_num(np.clip(Z, -_BOUND, _BOUND), copy=False, nan=0.0))

    def _answer(self, X) -> np.ndarray:
        return self.positions(self._validate_later(X))


class RewardRegressor(RegressorMixin, RewardWeighted):
    """Positions for values that are gains, such as returns: a position of 1 earns the value, one of -1 its opposite."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # positions are no estimates of the values
        return tags

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows whose regret is kept."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, y_numeric=True)
        return self._learn(X, y.astype(float), weight, X_val, y_val)

    def predict(self, X) -> np.ndarray:
        """(n,) positions."""
        return self._answer(X)

    def score(self, X, y, sample_weight=None) -> float:
        """Mean of what the positions earn, less their cost; as guesses at the values they would have no meaning."""
        return float(np.average(rewards(self.predict(X), np.asarray(y, float), self.cost), weights=sample_weight))


class RewardClassifier(TwoClassEstimator, RewardWeighted):
    """Positions for two classes: the second one is a gain as far as it is more often than usual.

    A position of 1 gains ``1 - share`` on a row of the second class and loses its ``share`` among the training rows on
    one of the first. What stands for a probability is that share, moved towards 1 or 0 by the position.
    """

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows whose regret is kept."""
        X, y, weight = self._validate_weighted(X, y, sample_weight)
        self._take_classes(y)
        second = (y == self.classes_[1]).astype(float)
        self.share_ = float(np.average(second, weights=weight))
        gain_val = None if y_val is None else (np.asarray(y_val) == self.classes_[1]) - self.share_
        return self._learn(X, second - self.share_, weight, X_val, gain_val)

    def _probability(self, X) -> np.ndarray:
        return moved(self._answer(X), self.share_)


def moved(position: np.ndarray, share: float) -> np.ndarray:
    """A share, moved by positions: 1 takes it to 1, -1 to 0, and 0 leaves it."""
    return share + position * np.where(position > 0, 1 - share, share)


def rewards(position: np.ndarray, gain: np.ndarray, cost: float) -> np.ndarray:
    """(n,) what positions earn, less their cost."""
    return position * gain - cost * np.abs(position)


def regrets(position: np.ndarray, gain: np.ndarray, cost: float) -> np.ndarray:
    """(n,) how much less positions earn than the best ones in hindsight."""
    return np.maximum(np.abs(gain) - cost, 0) - rewards(position, gain, cost)


def _moments(X, weight) -> tuple[np.ndarray, np.ndarray]:
    """(features,) weighted mean and standard deviation of what is there; infinite where it does not vary."""
    present = ~np.isnan(X) * weight[:, None]
    total = np.maximum(present.sum(axis=0), 1e-300)
    values = np.nan_to_num(np.asarray(X, dtype=np.float64))
    centre = (present * values).sum(axis=0) / total
    deviation = np.sqrt((present * (values - centre) ** 2).sum(axis=0) / total)
    return centre, np.where(deviation > 1e-9 * np.abs(centre), deviation, np.inf)


def _ridge(Z, weight, penalty: float) -> np.ndarray:
    """(features, n) what takes targets to the slopes of their weighted ridge regression; its intercept is free."""
    centred = Z - weight @ Z / weight.sum()
    weighted = centred.T * weight
    return np.linalg.solve(weighted @ centred + penalty * np.eye(Z.shape[1]), weighted)


@compiled
def _expect(gain, mean, deviation, actions, cost, temperature):
    """Per row, mean and variance of the weighted positions, and the share of them that counts."""
    rows = len(gain)
    chosen, spread, effective = np.empty(rows), np.empty(rows), np.empty(rows)
    for row in range(rows):
        # Less what is the same for all positions of a row, so that the likeliest and the best weigh 1.
        nearest = min(max(mean[row], actions[0]), actions[-1])
        offset = ((nearest - mean[row]) / deviation) ** 2
        highest = max(abs(gain[row]) - cost, 0.0)
        likely = first = second = weights = squares = 0.0
        for action in actions:
            chance = math.exp((offset - ((action - mean[row]) / deviation) ** 2) / 2)
            weight = math.exp((action * gain[row] - cost * abs(action) - highest) / temperature)
            likely += chance
            weights += chance * weight
            squares += chance * weight * weight
            first += chance * weight * action
            second += chance * weight * action * action
        chosen[row] = first / weights
        spread[row] = max(second / weights - chosen[row] ** 2, 0.0)
        effective[row] = weights * weights / squares / likely
    return chosen, spread, effective
