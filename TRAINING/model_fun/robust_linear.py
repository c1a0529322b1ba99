"""What regime models share: features on one robust scale, and weighted linear models of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DATA_PROCESSING.compiled import compiled

_BOUND = 5.0  # robust standard deviations; a value beyond counts as one there
_QUARTILES_TO_DEVIATION = 1.3489795003921634  # between the quartiles of a normal distribution of deviation 1


@dataclass(frozen=True, eq=False)
class RobustScale:
    """Medians and spreads of training rows: outliers neither set the scale nor reach far on it.

    Attributes
    ----------
    centre, spread : (features,) float64
        Median, and distance of the quartiles as the standard deviation of a normal distribution has it; the standard
        deviation itself where half of the values are alike, infinite where all are.
    """

    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def learn(cls, rows: np.ndarray) -> RobustScale:
        """Of rows (n, features), NaN where missing."""
        values = np.array(rows, dtype=float)
        values[:, np.isnan(values).all(axis=0)] = 0.0
        low, centre, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
        spread = (high - low) / _QUARTILES_TO_DEVIATION
        spread = np.where(spread > 0, spread, np.nanstd(values, axis=0))
        return cls(centre, np.where(spread > 0, spread, np.inf))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) float64, within 5 spreads of the median; NaN stays."""
        return np.clip((np.asarray(rows, dtype=float) - self.centre) / self.spread, -_BOUND, _BOUND)

    def impute(self, rows: np.ndarray) -> np.ndarray:
        """As `apply`, with the median where a value is missing."""
        return np.ascontiguousarray(np.nan_to_num(self.apply(rows), nan=0.0))


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A ridge or logistic regression on robust standard deviations, the median where a value is missing.

    Attributes
    ----------
    scale : RobustScale
    coefficients : (features + 1,)
        The intercept comes last.
    """

    scale: RobustScale
    coefficients: np.ndarray

    @classmethod
    def learn(cls, X: np.ndarray, y: np.ndarray, weight: np.ndarray, penalty: float, binary: bool) -> LinearModel:
        """See `fit_linear`."""
        scale = RobustScale.learn(X)
        return cls(scale, fit_linear(scale.impute(X), y, weight, penalty, binary))

    def scores(self, X: np.ndarray) -> np.ndarray:
        """(n,) values, or log-odds of classes."""
        slopes = self.coefficients[:-1, None]
        return multiply_rows(self.scale.impute(X), slopes)[:, 0] + self.coefficients[-1]

    def importance(self) -> np.ndarray:
        """(features,) absolute coefficients."""
        return np.abs(self.coefficients[:-1])


def fit_linear(rows: np.ndarray, y: np.ndarray, weight: np.ndarray, penalty: float, binary: bool) -> np.ndarray:
    """Coefficients of a weighted ridge or, of classes 0 and 1, logistic regression with an L2 penalty.

    Parameters
    ----------
    rows : (n, features)
        On one scale, without NaN.
    y, weight : (n,)
    penalty : float
        Of squared coefficients, in rows: among n rows, a feature of deviation 1 keeps n / (n + penalty) of its slope.
        (A row of a logistic regression tells of a slope a quarter of what one of a ridge does, at most.)
    binary : bool

    Returns
    -------
    (features + 1,)
        The intercept comes last.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    model = LogisticRegression(C=4 / penalty, max_iter=1000) if binary else Ridge(alpha=penalty)
    model.fit(rows, y.astype(np.int64) if binary else y, sample_weight=weight)
    return np.r_[np.ravel(model.coef_), np.ravel(model.intercept_)]


@compiled
def multiply_rows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``rows @ columns``, (n, features) and (features, k), summed in one order: a row gives the same bits alone."""
    product = np.zeros((rows.shape[0], columns.shape[1]))
    for row in range(rows.shape[0]):
        for feature in range(rows.shape[1]):
            for column in range(columns.shape[1]):
                product[row, column] += rows[row, feature] * columns[feature, column]
    return product
