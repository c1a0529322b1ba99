"""What choosing the best of many backtests is worth, and how many of them are different trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.sharpe import Estimate, varies

FEWEST_SESSIONS = 5  # of a block: half of 16 blocks are then 40 sessions
_HARDLY = 1e-12  # a variance so small beside that of all sessions is rounding


@dataclass(frozen=True, eq=False)
class Overfitting:
    """How the strategy that is best in one half of the sessions fares in the other half.

    Attributes
    ----------
    probability : float
        Share of the ways to halve the sessions in which the best strategy of one half is below the median of all in
        the other; ties with the median count half. 0.5 when the choice is worth nothing.
    in_sample, out_of_sample : (n_ways,)
        Sharpe ratios, per session, of the chosen strategy in the half where it was chosen and in the other.
    logits : (n_ways,)
        Of the chosen strategy's relative rank in the other half: below 0 where it is below the median.
    reason : str, optional
        Why the probability is NaN and the arrays are empty.
    """

    probability: float
    in_sample: np.ndarray = field(repr=False)
    out_of_sample: np.ndarray = field(repr=False)
    logits: np.ndarray = field(repr=False)
    reason: str | None = None

    @property
    def loss_probability(self) -> float:
        """Share of the ways in which the chosen strategy loses money in the other half; NaN where undefined."""
        return float((self.out_of_sample < 0).mean()) if len(self.out_of_sample) else np.nan


def backtest_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting, by combinatorially symmetric cross-validation of Sharpe ratios.

    The sessions are cut into blocks of equal length; every half of the blocks serves once to choose the strategy with
    the best Sharpe ratio, and the other half to rank it among all (Bailey, Borwein, López de Prado & Zhu, "The
    Probability of Backtest Overfitting", *Journal of Computational Finance* 20, 2017).

    Parameters
    ----------
    returns : (n_sessions, n_strategies)
        Net returns of everything that was tried, the same sessions of all, in time order. First sessions that do not
        fill a block are left out.
    blocks : int
        Even; 16 give 12,870 ways to halve them.

    Returns
    -------
    Overfitting
        Undefined for a single strategy, when a value is missing, when a block has fewer than ``FEWEST_SESSIONS``, or
        when a strategy's returns do not vary in a half.

    Raises
    ------
    ConfigError
        If ``blocks`` is not even and positive.
    DataError
        If ``returns`` is not a matrix.
    """
    if blocks < 2 or blocks % 2:
        raise ConfigError(f"overfitting: blocks must be even and at least 2; got {blocks}")
    returns = _matrix(returns)
    n_sessions, n_strategies = returns.shape
    length = n_sessions // blocks
    reason = _missing(returns)
    if n_strategies < 2:
        reason = "nothing was chosen: there is one strategy only" if n_strategies else "there is no strategy"
    elif length < FEWEST_SESSIONS:
        reason = f"{n_sessions} sessions are fewer than {blocks} blocks of {FEWEST_SESSIONS}"
    if reason:
        return _undefined(reason)
    cut = returns[n_sessions - blocks * length :].reshape(blocks, length, n_strategies)
    sharpes = _sharpes_of_halves(cut, _halves(blocks))
    still = int(np.isnan(sharpes).any(axis=0).sum())
    if still:
        return _undefined(f"the returns of {still} of {n_strategies} strategies do not vary in some halves")
    others = sharpes[::-1]  # the ways are in lexicographic order, so the n-th last is what the n-th leaves
    way = np.arange(len(sharpes))
    best = sharpes.argmax(axis=1)
    in_sample, out_of_sample = sharpes[way, best], others[way, best]
    below = (others < out_of_sample[:, None]).sum(axis=1)
    ties = (others == out_of_sample[:, None]).sum(axis=1)
    rank = below + (ties + 1) / 2
    logits = np.log(rank / (n_strategies + 1 - rank))
    # The paper counts ranks at the median as overfit, which of an odd number of equal strategies are too many.
    probability = (logits < 0).mean() + (logits == 0).mean() / 2
    return Overfitting(float(probability), in_sample, out_of_sample, logits)


def _halves(blocks: int) -> np.ndarray:
    """Every way to choose half of the blocks: (n_ways, blocks) of 0 and 1."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves


def _sharpes_of_halves(cut: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Sharpe ratio (ddof 1) of every strategy in every half, from sums over the blocks: (n_ways, n_strategies).

    NaN where a strategy hardly varies in a half, measured by how it varies over all sessions.
    """
    blocks, length, n_strategies = cut.shape
    n = blocks * length // 2
    centre = cut.mean(axis=(0, 1))  # sums of squares about it lose no digits
    spread = np.where(varies(cut.reshape(-1, n_strategies)), cut.std(axis=(0, 1)), np.nan)
    scaled = (cut - centre) / spread
    mean = halves @ scaled.sum(axis=1) / n
    variance = (halves @ (scaled**2).sum(axis=1) - n * mean**2) / (n - 1)
    return (mean + centre / spread) / np.sqrt(np.where(variance > _HARDLY, variance, np.nan))


def effective_trials(returns: ArrayLike) -> Estimate:
    """Number of independent trials that are as different as the given ones.

    The participation ratio of the eigenvalues of their correlations, ``sum(eigenvalue)**2 / sum(eigenvalue**2)``, is
    the number of trials where they are uncorrelated and 1 where they are all alike (Bretherton et al., "The Effective
    Number of Spatial Degrees of Freedom of a Time-Varying Field", *Journal of Climate* 12, 1999). With the mean
    squared correlation of pairs it is ``n / (1 + (n - 1) * mean)``; squares are adjusted for the length of the
    series, as R squared is, since chance alone would make independent trials look alike.

    Parameters
    ----------
    returns : (n_sessions, n_trials)
        Net returns of the trials, the same sessions of all.

    Returns
    -------
    Estimate
        From 1 to ``n_trials``. Undefined when a value is missing, when there are fewer than 3 sessions or no trial, or
        when a trial's returns do not vary.

    Raises
    ------
    DataError
        If ``returns`` is not a matrix.
    """
    returns = _matrix(returns)
    n_sessions, n_trials = returns.shape
    reason = _missing(returns)
    if n_sessions < 3 or not n_trials:
        reason = f"{n_sessions} sessions of {n_trials} trials are too few"
    if reason:
        return Estimate(np.nan, reason)
    still = n_trials - int(varies(returns).sum())
    if still:
        return Estimate(np.nan, f"the returns of {still} of {n_trials} trials do not vary")
    if n_trials == 1:
        return Estimate(1.0)
    squares = np.corrcoef(returns, rowvar=False) ** 2
    mean = (squares.sum() - n_trials) / (n_trials * (n_trials - 1))
    adjusted = np.clip(1 - (1 - mean) * (n_sessions - 1) / (n_sessions - 2), 0, 1)
    return Estimate(float(n_trials / (1 + (n_trials - 1) * adjusted)))


def _matrix(returns: ArrayLike) -> np.ndarray:
    matrix = np.asarray(returns, dtype=np.float64)
    if matrix.ndim != 2:
        raise DataError(f"overfitting: returns of shape (sessions, strategies) are needed; got {matrix.shape}")
    return matrix


def _missing(returns: np.ndarray) -> str | None:
    missing = int((~np.isfinite(returns)).any(axis=1).sum())
    return f"{missing} of {len(returns)} sessions have no value" if missing else None


def _undefined(reason: str) -> Overfitting:
    empty = np.empty(0)
    return Overfitting(np.nan, empty, empty, empty, reason)
