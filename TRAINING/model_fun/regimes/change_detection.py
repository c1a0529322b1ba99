"""Change points of a series: online, for each row from those before it, and offline, for rows to be trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TRAINING.model_fun.regimes.change_point_kernels import detect_changes, student_constants
from TRAINING.model_fun.robust_linear import RobustScale, multiply_rows
from TRAINING.model_fun.series import SeriesOfRows

COLUMNS = ("regime_bars_since_change", "regime_change_probability")
_MOST_POINTS = 2_000  # of one symbol that are segmented; more rows are taken together in turn, so cost stays linear


@dataclass(frozen=True, eq=False)
class Detector:
    """Online detection of changes in one series: a feature, or the first principal component of them all.

    Attributes
    ----------
    scale : RobustScale
        Of the features.
    column : int
        The feature; -1 is the principal component.
    loadings : (features,)
        How the series is made of the standardised features.
    longest, expected, recent : int, float, int
        See `TRAINING.model_fun.regimes.change_point_kernels.detect_changes`.
    """

    scale: RobustScale
    column: int
    loadings: np.ndarray
    longest: int
    expected: float
    recent: int

    @classmethod
    def learn(cls, X: np.ndarray, column: int | None, longest: int, expected: float, recent: int) -> Detector:
        """Of training rows (n, features); without a column, of their first principal component."""
        scale = RobustScale.learn(X)
        loadings = np.eye(X.shape[1])[0 if column is None else column]
        if column is None:
            from sklearn.decomposition import PCA

            scaled, loadings = scale.impute(X), np.zeros(X.shape[1])
            if scaled.any():  # else no feature varies, and nothing will be seen to change
                direction = PCA(1, svd_solver="covariance_eigh").fit(scaled).components_[0]
                loadings = direction / RobustScale.learn(scaled @ direction[:, None]).spread
        return cls(scale, -1 if column is None else column, loadings, longest, expected, recent)

    def series(self, X: np.ndarray) -> np.ndarray:
        """(n,) of usual deviation 1; NaN where the feature is missing."""
        if self.column >= 0:
            return np.ascontiguousarray(self.scale.apply(X)[:, self.column])
        return multiply_rows(self.scale.impute(X), self.loadings[:, None])[:, 0]

    def detect(self, X: np.ndarray, order: SeriesOfRows) -> np.ndarray:
        """(n, 2) `COLUMNS` of rows (n, features), each from the ``longest`` rows of its symbol before it."""
        columns = np.empty((2, len(X)))
        series, constants = order.arrange(self.series(X)), student_constants(self.longest)
        detect_changes(series, order.first, self.longest, self.expected, self.recent, constants, *columns)
        return order.restore(columns.T)


def segments(series: np.ndarray, penalty: float, shortest: int) -> np.ndarray:
    """(n,) the number of the segment of each row of a series: its level or its volatility changes between them.

    Segments lower the squared deviations of the series and of its absolute values from their means in a segment, less
    ``penalty`` times what the Bayesian information criterion asks for a further one (Killick, Fearnhead and Eckley,
    *Optimal detection of changepoints with a linear computational cost*, 2012; Celisse et al. 2018).

    Parameters
    ----------
    series : (n,)
        All of it is looked at: for training rows only. NaN counts as 0.
    penalty : float
    shortest : int
        Rows of a segment at least.
    """
    from ruptures import KernelCPD

    together = -(-len(series) // _MOST_POINTS)
    filled = np.nan_to_num(series, nan=0.0)
    begins = np.arange(0, len(series), together)
    counts = np.diff(begins, append=len(series))
    points = np.column_stack([np.add.reduceat(part, begins) / counts for part in (filled, np.abs(filled))])
    spread = points.std(axis=0)
    least = max(1, -(-shortest // together))
    if len(points) < 2 * least or not spread.any():
        return np.zeros(len(series), int)
    points = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    criterion = 3 * np.log(len(points))  # of two means and a place
    ends = KernelCPD(kernel="linear", min_size=least).fit(points).predict(pen=penalty * criterion)
    return np.repeat(np.searchsorted(ends, np.arange(len(points)), side="right"), counts)
