"""Kernels shared by the feature families: rolling windows, and the one recursive average.

All take a contiguous float64 array in time order and return one of the same length, NaN where a value is undefined.
A rolling value is computed from its own window alone, in the same order of operations at every row. So it does not
drift after huge values, a constant window has a deviation of exactly zero, and a shorter history gives the same bits.
The loops run over the lags outside and over a block of rows inside, which the compiler turns into vector code: for
windows of a few hundred bars this beats updating a running sum.
"""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled

BLOCK = 512  # rows per block: input and output of a block stay in the first-level cache


@compiled
def rolling_mean(x: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last ``window`` values; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now, mean = x[start:stop], out[start:stop]
        mean[:] = 0.0
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                mean[row] += past[row] - now[row]  # relative to the newest value: exact for a constant window
        for row in range(now.size):
            mean[row] = now[row] + mean[row] / window
    return out


@compiled
def rolling_std(x: np.ndarray, window: int, ddof: int) -> np.ndarray:
    """Standard deviation of the last ``window`` values in two passes; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    block_mean = np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now, squares, mean = x[start:stop], out[start:stop], block_mean[: stop - start]
        mean[:] = 0.0
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                mean[row] += past[row] - now[row]
        for row in range(now.size):
            mean[row] = now[row] + mean[row] / window
            squares[row] = 0.0
        for lag in range(window):
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                squares[row] += (past[row] - mean[row]) ** 2
        for row in range(now.size):
            squares[row] = np.sqrt(squares[row] / (window - ddof))
    return out


@compiled
def rolling_max(x: np.ndarray, window: int) -> np.ndarray:
    """Maximum of the last ``window`` values, all of them finite."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        highest = out[start:stop]
        highest[:] = x[start:stop]
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(highest.size):
                highest[row] = past[row] if past[row] > highest[row] else highest[row]
    return out


@compiled
def rolling_min(x: np.ndarray, window: int) -> np.ndarray:
    """Minimum of the last ``window`` values, all of them finite."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        lowest = out[start:stop]
        lowest[:] = x[start:stop]
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(lowest.size):
                lowest[row] = past[row] if past[row] < lowest[row] else lowest[row]
    return out


@compiled
def smoothed(
    x: np.ndarray, window: int, weight: float, seen: int, average: float, first: int, keep: int
) -> tuple[np.ndarray, int, float]:
    """Average that gives each new value ``weight``, seeded with the plain mean of the first ``window`` values.

    It remembers every value since the first. A NaN makes it start afresh.

    Parameters
    ----------
    seen, average : int, float
        Its state before row ``first``: values since it started (counted up to ``window`` at least), and the average.
    first, keep : int
        The row from which it goes on; rows before are NaN. And the row before which its state is returned.

    Returns
    -------
    average : (n,) float64
    seen, average : int, float
        The state before row ``keep``.
    """
    out = np.full(x.size, np.nan)
    kept_seen, kept_average = seen, average
    for row in range(first, x.size):
        if row == keep:
            kept_seen, kept_average = seen, average
        if np.isnan(x[row]):
            seen, average = 0, 0.0
            continue
        seen += 1
        average += (x[row] - average) * (weight if seen > window else 1.0 / seen)
        if seen >= window:
            out[row] = average
    if keep >= x.size:
        kept_seen, kept_average = seen, average
    return out, kept_seen, kept_average
