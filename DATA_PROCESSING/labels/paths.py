"""How far the labels of each bar look: a number of bars, a span of the clock, or a number of sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError

LONGEST = 100_000  # bars of a path; what is kept of a block of rows grows with it
_NANOSECONDS = {"m": 60_000_000_000, "h": 3_600_000_000_000}


@dataclass(frozen=True)
class Paths:
    """The paths of n bars.

    Attributes
    ----------
    ahead : (n,) int64
        Bars on the path of each bar; 0 where there is no label.
    expected : int or (n,) float64
        Bars that the path was to have, as far as bar t knew; NaN where the history is too short to tell.
    """

    ahead: np.ndarray
    expected: int | np.ndarray


def measure_paths(timestamp: np.ndarray, sessions: np.ndarray | None, horizon: int | str, window: int) -> Paths:
    """Find the path of every bar of one symbol.

    Parameters
    ----------
    timestamp : (n,) datetime64[ns]
        Strictly increasing.
    sessions : (n,) int, optional
        Position of each bar's session among those on which the symbol is expected to trade.
    horizon : int or str
        H bars: the path goes up to bar t + H, and there is none where it spans more than 2 H sessions. ``30m``,
        ``4h``: it holds the bars up to that time after t, and there is none in a gap. ``5d``: it goes up to the last
        bar of the fifth session after the bar's own; needs ``sessions``. There is none where the series ends before
        it is over, see `settled_paths`.
    window : int
        Intervals up to bar t whose median tells the usual bars of a span of the clock. For sessions, these are the
        bars of as many sessions before the bar's own.

    Raises
    ------
    ConfigError
        A path of more than `LONGEST` bars.
    """
    rows = np.arange(len(timestamp))
    last, settled = rows.copy(), settled_paths(timestamp, sessions, horizon)
    if not isinstance(horizon, str):
        last[:settled] += horizon
        if sessions is not None:
            too_long = sessions[last] - sessions > 2 * horizon
            last[too_long] = rows[too_long]
        return Paths(last - rows, horizon)
    if horizon.endswith("d"):
        count = int(horizon[:-1])
        last[:settled] = np.searchsorted(sessions, sessions[:settled] + count, side="right") - 1
        before = np.searchsorted(sessions, sessions) - np.searchsorted(sessions, sessions - count)
        expected = np.where(sessions - count >= sessions[:1], before, np.nan)
    else:
        time, span = timestamp.view(np.int64), _nanoseconds(horizon)
        last[:settled] = np.searchsorted(time, time[:settled] + span, side="right") - 1
        intervals = np.diff(time)
        usual = pd.Series(intervals, dtype=float).rolling(window).median().to_numpy()
        expected = span / np.append(np.full(min(len(rows), 1), np.nan), usual)
    ahead = last - rows
    if settled and ahead.max() > LONGEST:
        raise ConfigError(
            f"horizon: {horizon} is up to {ahead.max():,} bars here, and at most {LONGEST:,} are possible; "
            "give a shorter one, or resample the bars"
        )
    return Paths(ahead, expected)


def settled_paths(timestamp: np.ndarray, sessions: np.ndarray | None, horizon: int | str) -> int:
    """How many rows, from the first on, have paths that are over with the last bar; arguments as `measure_paths`.

    A span of the clock is over when a bar stands at its end or behind it. That a session is over only a bar of a later
    one shows.
    """
    if not isinstance(horizon, str):
        return max(len(timestamp) - horizon, 0)
    if not len(timestamp):
        return 0
    if horizon.endswith("d"):
        return int(np.searchsorted(sessions, sessions[-1] - int(horizon[:-1])))
    time = timestamp.view(np.int64)
    return int(np.searchsorted(time, time[-1] - _nanoseconds(horizon), side="right"))


def _nanoseconds(span: str) -> int:
    return int(span[:-1]) * _NANOSECONDS[span[-1]]
