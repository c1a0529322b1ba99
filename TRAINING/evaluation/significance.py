"""Does a model beat a baseline? Block-bootstrap intervals over sessions.

Sessions are resampled in blocks, because overlapping labels and volatility make neighbours alike, with the stationary
bootstrap: blocks of random, geometric length, the series taken as a circle (Politis & Romano, "The Stationary
Bootstrap", *Journal of the American Statistical Association* 89, 1994).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean

# With fewer blocks the resamples are too alike, and the intervals far too narrow.
FEWEST_BLOCKS = 8


@dataclass(frozen=True)
class Interval:
    """A point estimate and its bootstrap interval; all NaN, with a reason, where undefined."""

    point: float
    low: float
    high: float
    reason: str | None = None

    @property
    def beats(self) -> bool:
        """Whether the whole interval is above 0, the good side in :func:`beats`."""
        return self.low > 0


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


def _sharpe(values: np.ndarray) -> np.ndarray:
    """Mean over standard deviation (ddof 1); NaN where the returns do not vary."""
    varies = values.min(axis=-1) < values.max(axis=-1)
    return values.mean(axis=-1) / np.where(varies, values.std(axis=-1, ddof=1), np.nan)


@dataclass(frozen=True)
class Statistic:
    """A row of the table: ``function`` reduces the last axis (sessions); ``annualised`` times sqrt(periods a year)."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool
    annualised: bool


STATISTICS: tuple[Statistic, ...] = (
    Statistic("mean_loss", _mean, higher_is_better=False, annualised=False),
    Statistic("sharpe", _sharpe, higher_is_better=True, annualised=True),
)


def default_block(n_sessions: int, horizon: int = 1, bars_per_session: float = 1.0) -> int:
    """Mean block length in sessions: the label's horizon, at least the cube root of the number of sessions.

    Parameters
    ----------
    n_sessions : int
    horizon : int
        Bars that the label looks ahead.
    bars_per_session : float
        Bars of a symbol in a session, which turn the horizon into sessions.
    """
    return max(ceil(horizon / bars_per_session), ceil(round(n_sessions ** (1 / 3), 9)))


@lru_cache(maxsize=2)
def bootstrap_indices(n_sessions: int, block: int, samples: int, seed: int) -> np.ndarray:
    """Draw the stationary bootstrap's resamples.

    Returns
    -------
    (samples, n_sessions) int, read-only
        Positions. Each next one follows the one before (the first follows the last) or, with probability
        ``1 / block``, starts a new block anywhere.
    """
    random = np.random.default_rng(seed)
    starts = random.integers(n_sessions, size=(samples, n_sessions))
    new_block = random.random((samples, n_sessions)) < 1 / block
    place = np.arange(n_sessions)
    block_place = np.maximum.accumulate(np.where(new_block, place, 0), axis=1)
    indices = (np.take_along_axis(starts, block_place, axis=1) + place - block_place) % n_sessions
    indices.flags.writeable = False
    return indices


def bootstrap_interval(
    series: ArrayLike,
    statistic: str,
    *,
    block: int,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    periods_per_year: float = 1.0,
) -> Interval:
    """Percentile interval of a statistic of one series.

    Parameters
    ----------
    series : (n_sessions,)
        One value per session, in time order.
    statistic : {"mean_loss", "sharpe"}
        Mean; mean over standard deviation (ddof 1) times ``sqrt(periods_per_year)``.
    block : int
        Mean block length in sessions, see :func:`default_block`.
    samples, confidence, seed
        Number of resamples, probability of the interval, random seed.
    periods_per_year : float
        Sessions in a year; 1 leaves Sharpe ratios per session.

    Returns
    -------
    Interval
        Undefined when a value is missing, when the series is shorter than ``FEWEST_BLOCKS`` blocks, or when the
        statistic is undefined on the series or on a resample.

    Raises
    ------
    ConfigError
        If the statistic is unknown, or ``block``, ``samples`` or ``confidence`` is out of range.
    """
    row = _statistic(statistic)
    scale = periods_per_year**0.5 if row.annualised else 1.0
    return _interval(lambda values: scale * row.function(values), (series,), block, samples, confidence, seed)


def beats(
    model: ArrayLike,
    baseline: ArrayLike,
    statistic: str,
    *,
    block: int,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    periods_per_year: float = 1.0,
) -> Interval:
    """Interval of a model's improvement over a baseline, both on the same resampled sessions.

    The improvement is positive where the model is better: baseline minus model for ``mean_loss`` (lower is better),
    model minus baseline for ``sharpe``. The model beats the baseline only when the whole interval is above 0.

    Parameters
    ----------
    model, baseline : (n_sessions,)
        Losses or net returns of the same sessions, in time order.
    statistic : {"mean_loss", "sharpe"}
    block, samples, confidence, seed, periods_per_year
        As in :func:`bootstrap_interval`.

    Returns
    -------
    Interval
        Its ``beats`` is the verdict: false, with a reason, where undefined (as in :func:`bootstrap_interval`).

    Raises
    ------
    ConfigError
        As :func:`bootstrap_interval`.
    DataError
        If the series differ in length.
    """
    row = _statistic(statistic)
    scale = (periods_per_year**0.5 if row.annualised else 1.0) * (1 if row.higher_is_better else -1)
    return _interval(
        lambda ours, theirs: scale * (row.function(ours) - row.function(theirs)),
        (model, baseline),
        block,
        samples,
        confidence,
        seed,
    )


def _statistic(name: str) -> Statistic:
    rows = {row.name: row for row in STATISTICS}
    if name not in rows:
        raise ConfigError(f"significance: the statistic {name!r} is unknown{did_you_mean(name, rows)}")
    return rows[name]


def _interval(
    estimate: Callable[..., np.ndarray],
    series: tuple[ArrayLike, ...],
    block: int,
    samples: int,
    confidence: float,
    seed: int,
) -> Interval:
    if block < 1 or samples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"significance: block and samples must be at least 1 and confidence within (0, 1); "
            f"got {block}, {samples} and {confidence:g}"
        )
    arrays = [np.asarray(values, dtype=np.float64) for values in series]
    n_sessions = len(arrays[0])
    if any(array.shape != (n_sessions,) for array in arrays):
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise DataError(f"significance: series of the same sessions are needed; got {shapes}")

    missing = int((~np.isfinite(arrays)).any(axis=0).sum())
    if missing:
        return _undefined(f"{missing} of {n_sessions} sessions have no value")
    if n_sessions < FEWEST_BLOCKS * block:
        return _undefined(f"{n_sessions} sessions are fewer than {FEWEST_BLOCKS} blocks of {block}")
    indices = bootstrap_indices(n_sessions, block, samples, seed)
    point = float(estimate(*arrays))
    resampled = estimate(*(array[indices] for array in arrays))
    if np.isnan(point):
        return _undefined("a series does not vary")
    undefined = int(np.isnan(resampled).sum())
    if undefined:
        return _undefined(f"a series does not vary in {undefined} of {samples} resamples")
    tail = _tail_probability(n_sessions / block, confidence)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(point, float(low), float(high))


def _tail_probability(n_blocks: float, confidence: float) -> float:
    """Resamples cut off on each side: fewer than ``(1 - confidence) / 2``, as plain percentiles are too narrow.

    This is the expanded percentile interval with blocks for observations: on a mean it has the width of Student's
    (Hesterberg, "What Teachers Should Know About the Bootstrap", *The American Statistician* 69, 2015).
    """
    from scipy.special import ndtr, stdtrit

    student = stdtrit(n_blocks - 1, (1 - confidence) / 2)
    return float(ndtr(student * (n_blocks / (n_blocks - 1)) ** 0.5))


def _undefined(reason: str) -> Interval:
    return Interval(np.nan, np.nan, np.nan, reason)
