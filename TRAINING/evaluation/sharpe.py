"""How much a Sharpe ratio proves: by its length, by the shape of the returns, and by how many were tried.

All Sharpe ratios here are *per period* (per session), never annualised, but for the ends of :func:`sharpe_interval`.
The formulas hold for returns that do not depend on those before; where they do, the bootstrap of
:mod:`TRAINING.evaluation.significance` is to be believed.

References
----------
Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier", *Journal of Risk* 15, 2012.
Bailey & López de Prado, "The Deflated Sharpe Ratio", *Journal of Portfolio Management* 40, 2014.
Mertens, "Comments on Variance of the IID Estimator in Lo (2002)", 2002.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.significance import Interval

FEWEST_PERIODS = 20  # third and fourth moments of fewer returns say nothing
_HARDLY = 1e-10  # a spread so small beside the returns is rounding


@dataclass(frozen=True)
class Estimate:
    """A number; NaN, with a reason, where undefined."""

    value: float
    reason: str | None = None


@dataclass(frozen=True)
class ReturnMoments:
    """What the formulas need of a series of returns; NaN, with a reason, where undefined.

    Attributes
    ----------
    sharpe : float
        Mean over standard deviation (ddof 1), per period.
    skewness, kurtosis : float
        Third and fourth standardised moment; the kurtosis of a normal distribution is 3.
    periods : int
    reason : str, optional
    """

    sharpe: float
    skewness: float
    kurtosis: float
    periods: int
    reason: str | None = None

    @property
    def variance_factor(self) -> float:
        """Variance of the Sharpe ratio times ``periods - 1``: 1 + half its square for normal returns."""
        # Below 0 only by rounding, as no distribution has a kurtosis below 1 + its skewness squared.
        return max(1 - self.skewness * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2, 0.0)

    @property
    def standard_error(self) -> float:
        """Standard error of the Sharpe ratio, per period."""
        return (self.variance_factor / (self.periods - 1)) ** 0.5


def return_moments(returns: ArrayLike) -> ReturnMoments:
    """Sharpe ratio and shape of the distribution of returns.

    Parameters
    ----------
    returns : (n_periods,)
        Net return of each session.

    Returns
    -------
    ReturnMoments
        Undefined when a value is missing, when there are fewer than ``FEWEST_PERIODS``, or when they do not vary.

    Raises
    ------
    DataError
        If ``returns`` has more than one dimension.
    """
    returns = np.asarray(returns, dtype=np.float64)
    if returns.ndim != 1:
        raise DataError(f"sharpe: one series of returns is needed; got an array of shape {returns.shape}")
    n = len(returns)
    missing = int((~np.isfinite(returns)).sum())
    if missing:
        return _undefined(n, f"{missing} of {n} sessions have no value")
    if n < FEWEST_PERIODS:
        return _undefined(n, f"{n} sessions are fewer than {FEWEST_PERIODS}")
    if not varies(returns):
        return _undefined(n, "the returns do not vary")
    from scipy.stats import kurtosis, skew

    sharpe = returns.mean() / returns.std(ddof=1)
    return ReturnMoments(float(sharpe), float(skew(returns)), float(kurtosis(returns, fisher=False)), n)


def varies(returns: np.ndarray) -> np.ndarray:
    """Whether returns vary by more than rounding; (n_periods,) or, column by column, (n_periods, n)."""
    return np.ptp(returns, axis=0) > _HARDLY * np.abs(returns).max(axis=0)


def _undefined(periods: int, reason: str) -> ReturnMoments:
    return ReturnMoments(np.nan, np.nan, np.nan, periods, reason)


def probabilistic_sharpe(moments: ReturnMoments, benchmark: float = 0.0) -> Estimate:
    """Probability that the true Sharpe ratio is above ``benchmark`` (Bailey & López de Prado 2012).

    Parameters
    ----------
    moments : ReturnMoments
        See :func:`return_moments`.
    benchmark : float
        Per period.
    """
    if moments.reason:
        return Estimate(np.nan, moments.reason)
    if moments.standard_error == 0:
        return Estimate(np.nan, "the standard error of the Sharpe ratio is 0: the returns have two values only")
    from scipy.special import ndtr

    return Estimate(float(ndtr((moments.sharpe - benchmark) / moments.standard_error)))


def minimum_track_record(moments: ReturnMoments, benchmark: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Periods after which such returns prove a Sharpe ratio above ``benchmark`` (Bailey & López de Prado 2012).

    Parameters
    ----------
    moments : ReturnMoments
    benchmark : float
        Per period.
    confidence : float
        The probabilistic Sharpe ratio that counts as a proof, within (0.5, 1).

    Returns
    -------
    Estimate
        In periods. Undefined when the Sharpe ratio is not above the benchmark: no length would do.

    Raises
    ------
    ConfigError
        If ``confidence`` is out of range.
    """
    if not 0.5 < confidence < 1:
        raise ConfigError(f"sharpe: confidence must be within (0.5, 1); got {confidence:g}")
    if moments.reason:
        return Estimate(np.nan, moments.reason)
    if moments.sharpe <= benchmark:
        return Estimate(np.nan, f"the Sharpe ratio is not above {benchmark:g}, which no length of returns changes")
    from scipy.special import ndtri

    return Estimate(float(1 + moments.variance_factor * (ndtri(confidence) / (moments.sharpe - benchmark)) ** 2))


def sharpe_interval(moments: ReturnMoments, confidence: float = 0.95, periods_per_year: float = 1.0) -> Interval:
    """Interval of a Sharpe ratio by formula (Mertens 2002), fast where a bootstrap is too slow.

    Parameters
    ----------
    moments : ReturnMoments
    confidence : float
        Probability of the interval, within (0, 1).
    periods_per_year : float
        Sessions in a year; 1 leaves Sharpe ratios per session.

    Raises
    ------
    ConfigError
        If ``confidence`` is out of range.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"sharpe: confidence must be within (0, 1); got {confidence:g}")
    if moments.reason:
        return Interval(np.nan, np.nan, np.nan, moments.reason)
    from scipy.special import ndtri

    half = ndtri((1 + confidence) / 2) * moments.standard_error
    scale = periods_per_year**0.5
    low, high = scale * (moments.sharpe - half), scale * (moments.sharpe + half)
    return Interval(scale * moments.sharpe, float(low), float(high))


def expected_maximum_sharpe(trials: float, variance: float) -> float:
    """Sharpe ratio that the best of several trials is expected to show where none has skill.

    Parameters
    ----------
    trials : float
        Number of independent trials, at least 1; 0 is expected of a single one.
    variance : float
        Variance of the Sharpe ratios (per period) of the trials.

    Returns
    -------
    float
        Per period, at least 0 (Bailey & López de Prado 2014).

    Raises
    ------
    ConfigError
        If ``trials`` is below 1 or ``variance`` below 0.
    """
    if not (trials >= 1 and variance >= 0):
        raise ConfigError(f"sharpe: trials must be at least 1, their variance at least 0; got {trials}, {variance}")
    from scipy.special import ndtri

    # Their approximation falls below 0 where there are hardly more trials than one.
    quantiles = ndtri([1 - 1 / trials, 1 - 1 / (trials * np.e)])
    return float(variance**0.5 * max(0.0, np.dot((1 - np.euler_gamma, np.euler_gamma), quantiles)))


@dataclass(frozen=True)
class DeflatedSharpe:
    """Probability that the true Sharpe ratio is above what luck alone gives the best of so many trials.

    ``threshold`` is that Sharpe ratio, per period. NaN, with a reason, where undefined.
    """

    probability: float
    threshold: float
    trials: float
    reason: str | None = None


def deflated_sharpe(moments: ReturnMoments, trials: float, trial_sharpes: ArrayLike) -> DeflatedSharpe:
    """Deflated Sharpe ratio (Bailey & López de Prado 2014).

    Parameters
    ----------
    moments : ReturnMoments
        Of the trial that was chosen.
    trials : float
        How many were tried, the chosen one included: counted (``Ledger.count``) or effective
        (:func:`~TRAINING.evaluation.overfitting.effective_trials`).
    trial_sharpes : (n,)
        Sharpe ratios of the trials, per period; undefined ones are left out. Their variance says what luck can do.

    Returns
    -------
    DeflatedSharpe
        Of one trial the probabilistic Sharpe ratio above 0. Undefined when the returns' moments are, or when several
        trials have fewer than two Sharpe ratios.

    Raises
    ------
    ConfigError
        If ``trials`` is below 1.
    """
    sharpes = np.asarray(trial_sharpes, dtype=np.float64)
    sharpes = sharpes[np.isfinite(sharpes)]
    if trials > 1 and len(sharpes) < 2:
        reason = f"{len(sharpes)} of {trials:g} trials have a Sharpe ratio; 2 are needed for a variance"
        return DeflatedSharpe(np.nan, np.nan, trials, reason)
    threshold = expected_maximum_sharpe(trials, sharpes.var(ddof=1) if len(sharpes) > 1 else 0.0)
    probability = probabilistic_sharpe(moments, threshold)
    return DeflatedSharpe(probability.value, threshold, trials, probability.reason)
