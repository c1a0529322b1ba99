"""Kernels shared by the feature families: rolling windows, and the one recursive average.

All take contiguous float64 arrays in time order and return one of the same length, NaN where a value is undefined.
A rolling value is computed from its own window alone, in the same order of operations at every row. So it does not
drift after huge values, a constant window has a deviation of exactly zero, and a shorter history gives the same bits.

The loops run over a block of rows inside, which the compiler turns into vector code. Sums run over the lags outside,
four at a time, so that they stay in registers in between: for windows of a few hundred bars this beats updating a
running sum. Extremes double the span of the values they compare until it fills the window.
"""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled

BLOCK = 512  # rows per block: input and output of a block stay in the first-level cache


@compiled
def block_mean(x: np.ndarray, start: int, stop: int, window: int, mean: np.ndarray) -> None:
    """Set ``mean`` to the mean of the last ``window`` values at rows ``start`` to ``stop``."""
    now = x[start:stop]
    mean[:] = 0.0
    single = 1 + (window - 1) % 4
    for lag in range(1, single):
        past = x[start - lag : stop - lag]
        for row in range(now.size):
            mean[row] += past[row] - now[row]  # relative to the newest value: exact for a constant window
    for lag in range(single, window, 4):
        a, b = x[start - lag : stop - lag], x[start - lag - 1 : stop - lag - 1]
        c, d = x[start - lag - 2 : stop - lag - 2], x[start - lag - 3 : stop - lag - 3]
        for row in range(now.size):
            newest = now[row]
            mean[row] = mean[row] + (a[row] - newest) + (b[row] - newest) + (c[row] - newest) + (d[row] - newest)
    for row in range(now.size):
        mean[row] = now[row] + mean[row] / window


@compiled
def rolling_mean(x: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last ``window`` values; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        block_mean(x, start, stop, window, out[start:stop])
    return out


@compiled
def rolling_std(x: np.ndarray, window: int, ddof: int) -> np.ndarray:
    """Standard deviation of the last ``window`` values in two passes; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    means = np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        squares, mean = out[start:stop], means[: stop - start]
        block_mean(x, start, stop, window, mean)
        squares[:] = 0.0
        single = window % 4
        for lag in range(single):
            past = x[start - lag : stop - lag]
            for row in range(squares.size):
                squares[row] += (past[row] - mean[row]) ** 2
        for lag in range(single, window, 4):
            a, b = x[start - lag : stop - lag], x[start - lag - 1 : stop - lag - 1]
            c, d = x[start - lag - 2 : stop - lag - 2], x[start - lag - 3 : stop - lag - 3]
            for row in range(squares.size):
                m = mean[row]
                squares[row] = (
                    squares[row] + (a[row] - m) ** 2 + (b[row] - m) ** 2 + (c[row] - m) ** 2 + (d[row] - m) ** 2
                )
        for row in range(squares.size):
            squares[row] = np.sqrt(squares[row] / (window - ddof))
    return out


@compiled
def rolling_correlation(x: np.ndarray, y: np.ndarray, window: int) -> np.ndarray:
    """Pearson correlation of the last ``window`` pairs in two passes; NaN where either side is constant."""
    out = np.full(x.size, np.nan)
    means_x, means_y, squares_x, squares_y = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        xy = out[start:stop]
        mean_x, mean_y = means_x[: xy.size], means_y[: xy.size]
        xx, yy = squares_x[: xy.size], squares_y[: xy.size]
        block_mean(x, start, stop, window, mean_x)
        block_mean(y, start, stop, window, mean_y)
        xx[:] = yy[:] = xy[:] = 0.0
        if window % 2:
            for row in range(xy.size):
                from_x, from_y = x[start + row] - mean_x[row], y[start + row] - mean_y[row]
                xx[row] += from_x * from_x
                xy[row] += from_x * from_y
                yy[row] += from_y * from_y
        for lag in range(window % 2, window, 2):
            a, b = x[start - lag : stop - lag], x[start - lag - 1 : stop - lag - 1]
            c, d = y[start - lag : stop - lag], y[start - lag - 1 : stop - lag - 1]
            for row in range(xy.size):
                one_x, other_x = a[row] - mean_x[row], b[row] - mean_x[row]
                one_y, other_y = c[row] - mean_y[row], d[row] - mean_y[row]
                xx[row] = xx[row] + one_x * one_x + other_x * other_x
                xy[row] = xy[row] + one_x * one_y + other_x * other_y
                yy[row] = yy[row] + one_y * one_y + other_y * other_y
        for row in range(xy.size):
            xy[row] /= np.sqrt(xx[row]) * np.sqrt(yy[row])
    return out


@compiled
def rolling_slope(x: np.ndarray, window: int) -> np.ndarray:
    """Slope per row of the least-squares line through the last ``window`` values; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now, slope = x[start:stop], out[start:stop]
        slope[:] = 0.0
        single = 1 + (window - 1) % 4
        for lag in range(1, single):
            time = 0.5 * (window - 1) - lag
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                slope[row] += time * (past[row] - now[row])
        for lag in range(single, window, 4):
            time = 0.5 * (window - 1) - lag
            a, b = x[start - lag : stop - lag], x[start - lag - 1 : stop - lag - 1]
            c, d = x[start - lag - 2 : stop - lag - 2], x[start - lag - 3 : stop - lag - 3]
            for row in range(now.size):
                newest = now[row]
                latest, later = time * (a[row] - newest), (time - 1.0) * (b[row] - newest)
                early, earliest = (time - 2.0) * (c[row] - newest), (time - 3.0) * (d[row] - newest)
                slope[row] = slope[row] + latest + later + early + earliest
        for row in range(now.size):
            slope[row] *= 12.0 / (window * (window * window - 1.0))
    return out


@compiled
def rolling_mean_deviation(x: np.ndarray, mean: np.ndarray, window: int) -> np.ndarray:
    """Mean absolute deviation of the last ``window`` values from their ``mean``."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        center, deviation = mean[start:stop], out[start:stop]
        deviation[:] = 0.0
        single = window % 4
        for lag in range(single):
            past = x[start - lag : stop - lag]
            for row in range(center.size):
                deviation[row] += abs(past[row] - center[row])
        for lag in range(single, window, 4):
            a, b = x[start - lag : stop - lag], x[start - lag - 1 : stop - lag - 1]
            c, d = x[start - lag - 2 : stop - lag - 2], x[start - lag - 3 : stop - lag - 3]
            for row in range(center.size):
                m = center[row]
                deviation[row] = deviation[row] + abs(a[row] - m) + abs(b[row] - m) + abs(c[row] - m) + abs(d[row] - m)
        for row in range(center.size):
            deviation[row] /= window
    return out


@compiled
def rolling_max(x: np.ndarray, window: int) -> np.ndarray:
    """Maximum of the last ``window`` values; NaN if any of them is."""
    out = np.full(x.size, np.nan)
    one, other = np.empty(BLOCK + window), np.empty(BLOCK + window)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        known, wider = one[: stop - start + window - 1], other[: stop - start + window - 1]
        known[:] = x[start - window + 1 : stop]  # at each place, the maximum of the ``span`` values from there on
        span = 1
        while span < window:
            step = min(span, window - span)
            later = known[step:]
            for place in range(later.size):
                a, b = known[place], later[place]
                wider[place] = a if a > b or a != a else b
            known, wider = wider[: later.size], known[: later.size]
            span += step
        out[start:stop] = known[: stop - start]
    return out


def rolling_min(x: np.ndarray, window: int) -> np.ndarray:
    """Minimum of the last ``window`` values; NaN if any of them is."""
    return -rolling_max(-x, window)


@compiled
def bars_since_max(x: np.ndarray, window: int) -> np.ndarray:
    """Rows since the highest of the last ``window`` values, the latest of equal ones; all of them finite."""
    out = np.full(x.size, np.nan)
    one, other = np.empty(BLOCK + window), np.empty(BLOCK + window)
    since_one, since_other = np.empty(BLOCK + window), np.empty(BLOCK + window)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        size = stop - start + window - 1
        known, wider, since, since_wider = one[:size], other[:size], since_one[:size], since_other[:size]
        known[:] = x[start - window + 1 : stop]
        since[:] = 0.0  # rows from the extreme to the last of the ``span`` values
        span = 1
        while span < window:
            step = min(span, window - span)
            later, since_later = known[step:], since[step:]
            for place in range(later.size):
                wider[place] = known[place] if known[place] > later[place] else later[place]
            for place in range(later.size):
                since_wider[place] = since[place] + step if known[place] > later[place] else since_later[place]
            known, wider = wider[: later.size], known[: later.size]
            since, since_wider = since_wider[: later.size], since[: later.size]
            span += step
        out[start:stop] = since
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
