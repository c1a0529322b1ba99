"""Does one model predict better than another? The test of Diebold and Mariano, over sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.autocorrelation import default_lags, newey_west_mean
from TRAINING.evaluation.significance import FEWEST_BLOCKS


@dataclass(frozen=True)
class Comparison:
    """A model's improvement over a rival and how surprising it were if both predicted alike.

    Attributes
    ----------
    improvement : float
        Mean loss of the rival minus that of the model: positive where the model is better.
    statistic : float
        Student's t under the hypothesis that the mean losses are equal.
    p_value : float
        Two-sided.
    lags : int
        Autocorrelations that the variance takes in.
    reason : str, optional
        Why the numbers are NaN.
    """

    improvement: float
    statistic: float
    p_value: float
    lags: int
    reason: str | None = None

    def better(self, level: float = 0.05) -> Literal["model", "rival"] | None:
        """Who is better, if the difference is significant at ``level``; ``None`` too where it is undefined."""
        if not self.p_value < level:
            return None
        return "model" if self.improvement > 0 else "rival"


def diebold_mariano(model: ArrayLike, rival: ArrayLike, *, horizon: int = 1, lags: int | None = None) -> Comparison:
    """Test whether two models' mean losses differ.

    The mean difference over its Newey-West standard error, times the correction for few observations of Harvey,
    Leybourne & Newbold for the lags used, is compared with Student's t.

    Parameters
    ----------
    model, rival : (n_sessions,)
        Mean loss of each session, the same sessions of both, in time order. Rows of one session are alike, so they
        must be averaged first.
    horizon : int
        Sessions that a label looks ahead.
    lags : int, optional
        By default as :func:`~TRAINING.evaluation.autocorrelation.default_lags`. With ``horizon - 1`` the result is
        that of R's ``forecast::dm.test(h = horizon, varestimator = "bartlett")``.

    Returns
    -------
    Comparison
        Undefined when a session has no loss, when there are fewer than ``FEWEST_BLOCKS`` horizons of sessions or not
        more than ``lags + 1``, or when the difference does not vary.

    Raises
    ------
    ConfigError
        If ``horizon`` is below 1 or ``lags`` below 0.
    DataError
        If the losses differ in length.

    References
    ----------
    Diebold & Mariano, "Comparing Predictive Accuracy", *Journal of Business & Economic Statistics* 13, 1995.
    Harvey, Leybourne & Newbold, "Testing the Equality of Prediction Mean Squared Errors", *International Journal of
    Forecasting* 13, 1997.
    """
    from scipy.special import stdtr

    ours, theirs = (np.asarray(losses, dtype=np.float64) for losses in (model, rival))
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise DataError(f"comparison: losses of the same sessions are needed; got {ours.shape} and {theirs.shape}")
    if horizon < 1 or (lags is not None and lags < 0):
        raise ConfigError(f"comparison: horizon must be at least 1 and lags at least 0; got {horizon} and {lags}")
    n = len(ours)
    if lags is None:
        lags = default_lags(n, horizon)

    difference = theirs - ours
    missing = int((~np.isfinite(difference)).sum())
    if missing:
        return _undefined(lags, f"{missing} of {n} sessions have no loss")
    if n < FEWEST_BLOCKS * horizon:
        return _undefined(lags, f"{n} sessions are fewer than {FEWEST_BLOCKS} horizons of {horizon}")
    if n <= lags + 1:
        return _undefined(lags, f"{n} sessions are too few for {lags} lags")
    improvement, error = newey_west_mean(difference, lags)
    if np.isnan(error):
        return _undefined(lags, "the difference of the losses does not vary")
    h = lags + 1
    correction = ((n - h) * (n - h + 1)) ** 0.5 / n
    statistic = improvement / error * correction
    return Comparison(improvement, statistic, float(2 * stdtr(n - 1, -abs(statistic))), lags)


def _undefined(lags: int, reason: str) -> Comparison:
    return Comparison(np.nan, np.nan, np.nan, lags, reason)
