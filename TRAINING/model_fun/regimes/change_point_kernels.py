"""Online Bayesian detection of change points: how long ago the current run of a series began, row by row."""

from __future__ import annotations

import math

import numpy as np

from DATA_PROCESSING.compiled import compiled

_NEGLIGIBLE = 1e-100  # a share below counts as 0: numbers near the smallest ones are slow


def student_constants(most: int) -> np.ndarray:
    """(most + 1,) what the density of a Student t distribution is at 0, on scale 1, of 2, 3, 4, ... degrees."""
    freedom = 2.0 + np.arange(most + 1)
    gammas = [math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) for degrees in freedom]
    return np.exp(gammas) / np.sqrt(np.pi * freedom)


@compiled
def detect_changes(
    series: np.ndarray,
    first: np.ndarray,
    longest: int,
    expected: float,
    recent: int,
    constants: np.ndarray,
    since: np.ndarray,
    changed: np.ndarray,
) -> None:
    """Fill ``since``, the median of the rows since a row's run began, and ``changed``, how probable a recent change is.

    The recursion of Adams and MacKay (*Bayesian online changepoint detection*, 2007) with a constant hazard of
    ``1 / expected``, made to begin anew for each row, ``longest`` rows before it or at the first row of its symbol: so
    an answer depends on these rows alone, whatever is before them. Runs that began earlier count as if they began
    there. In the paper's words the share of the runs that began k rows ago is P(run length = k + 1 | observations) /
    (1 - hazard), since its run of length 0 begins with the next row.

    A run's values are normal, of a mean and variance with the normal-inverse-gamma prior of mean 0, one pseudo row,
    shape 1 and scale 1 (Murphy, *Conjugate Bayesian analysis of the Gaussian distribution*, 2007): on a series of
    deviation 1 it expects runs of any usual level and volatility. A missing value says nothing.

    Parameters
    ----------
    series : (n,) float64
        By symbol in time order.
    first : (n,) int64
        Where the symbol of each row begins.
    longest, expected : int, float
        Rows.
    recent : int
        ``changed`` is the probability that the run began within the last so many rows, the row itself counted. That it
        began where the recursion does is no change.
    constants : (longest + 1,)
        `student_constants`.
    since, changed : (n,) float64
    """
    width = longest + 1
    hazard = 1 / expected
    predicted = np.zeros((width, width))  # density of a row after runs of so many rows, of the last rows in turn
    share = np.zeros(width + 3)
    for row in range(series.size):
        now = predicted[row % width]
        value = series[row]
        seen, mean, squares = 0, 0.0, 0.0
        for run in range(width):  # the run of this many rows before the row, so ever further back
            if run > row - first[row]:
                break
            if run:
                before = series[row - run]
                if not np.isnan(before):
                    seen += 1
                    step = before - mean
                    mean += step / seen
                    squares += step * (before - mean)
            if np.isnan(value):
                now[longest - run] = 1.0
                continue
            rows, shape = 1.0 + seen, 1.0 + 0.5 * seen
            scale = 1.0 + 0.5 * (squares + seen * mean * mean / rows)
            variance = scale * (rows + 1) / (shape * rows)
            distance = value - seen * mean / rows
            freedom = 2 * shape
            power = np.exp(-0.5 * (freedom + 1) * np.log1p(distance * distance / (freedom * variance)))
            now[longest - run] = constants[seen] * power / np.sqrt(variance)
        begin = max(first[row], row - longest)
        share[:] = 0.0
        share[0] = 1.0
        stays = 1.0
        for time in range(begin + 1, row + 1):
            runs = time - begin  # begun before this time; a share belongs to the begin of a run
            density = predicted[time % width, longest - runs :]
            for run in range(runs):
                likely = share[run] * stays * density[run]
                share[run] = likely if likely > _NEGLIGIBLE else 0.0
            one, two, three, four = 0.0, 0.0, 0.0, 0.0  # side by side, as each addition waits for the one before
            for run in range(0, runs, 4):  # beyond the runs are zeros
                one += share[run]
                two += share[run + 1]
                three += share[run + 2]
                four += share[run + 3]
            fresh = hazard * density[runs]
            every = (1 - hazard) * (one + two + three + four) + fresh
            stays = (1 - hazard) / every
            share[runs] = fresh / (1 - hazard)
        share *= stays
        below, lately = 0.0, 0.0
        since[row] = row - begin
        for ago in range(row - begin):
            below += share[row - begin - ago]
            if ago < recent:
                lately = below
            if below >= 0.5:
                since[row] = min(since[row], ago)
        changed[row] = lately
