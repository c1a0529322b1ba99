"""Coarser bars while the finer ones come in: a bar sees those that closed before it, never the open one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.resample import bucket_ids, interval_length
from DATA_PROCESSING.sessions import row_sessions, without_zone

# Computed on coarser bars too; the columns carry the interval: rsi_14_1h.
TIMEFRAME_FEATURES = (
    "log_return_1",
    "log_return_5",
    "vol_20",
    "return_to_vol_20",
    "close_to_sma_20",
    "rsi_14",
    "bollinger_position_20",
    "donchian_position_20",
    "atr_14",
    "volume_to_mean_20",
)


def coarser_than(length: np.timedelta64, intervals: Iterable[str]) -> list[str]:
    """Those of the intervals that are longer than a bar, the shortest first.

    Parameters
    ----------
    length : timedelta64
        The usual time from bar to bar; NaT where there is none, and then nothing is longer.
    intervals : iterable of str
        Such as ``5m``, ``1h``, ``1d`` and ``1w``.

    Raises
    ------
    ConfigError
        Not an interval.
    """
    lengths = {interval: np.timedelta64(interval_length(interval, "timeframes"), "ns") for interval in intervals}
    return sorted((interval for interval in lengths if lengths[interval] > length), key=lengths.__getitem__)


class CoarseBars:
    """Joins the bars of one symbol, pushed in time order in chunks of any size, into coarser ones.

    A coarser bar closes when the first bar of a later bucket comes; so what a bar sees does not depend on whether
    timestamps mark the start or the end of bars, nor on bars that are missing.

    Parameters
    ----------
    interval : str
        Minutes or hours within a session (``5m``, ``1h``), ``1d`` for sessions or ``1w`` for weeks of them.
    stamp : {"start", "end"}
        What timestamps mark: decides into which bucket a bar falls.
    """

    def __init__(self, interval: str, stamp: str = "start"):
        interval_length(interval, "timeframes")
        self.interval, self.stamp = interval, stamp
        self._closed = 0
        # The bar that is not closed, if there is one: arrays of no or one row.
        self._bucket = np.empty(0, np.int64)
        self._begin = np.empty(0, "datetime64[ns]")
        self._values = np.empty((0, len(BAR_COLUMNS)))

    def push(self, bars: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        """Add the next bars.

        Parameters
        ----------
        bars : DataFrame of n rows
            ``timestamp, open, high, low, close, volume``, and ``session`` (else dates in UTC are sessions).

        Returns
        -------
        closed : DataFrame
            The coarser bars that these bars closed: first open, highest high, lowest low, last close, and the sum of
            the volumes, at the timestamp of their first bar.
        position : (n,) int64
            How many coarser bars closed before each of these bars, counted from the first push on.
        """
        timestamps = without_zone(bars["timestamp"])
        begun = len(self._bucket)
        bucket = np.append(self._bucket, bucket_ids(timestamps, row_sessions(bars), self.interval, self.stamp))
        begin = np.append(self._begin, timestamps)
        values = np.vstack([self._values, bars[list(BAR_COLUMNS)].to_numpy(np.float64)])
        changes = bucket[1:] != bucket[:-1]
        first = np.flatnonzero(np.append(len(bucket) > 0, changes)[: len(bucket)])
        joined = join_runs(np.ascontiguousarray(values), first)
        position = self._closed + np.append(0, np.cumsum(changes))[begun : len(bucket)]
        closed = pd.DataFrame(joined[:-1], columns=list(BAR_COLUMNS))
        closed.insert(0, "timestamp", pd.DatetimeIndex(begin[first[:-1]], tz="UTC"))
        self._closed += len(closed)
        self._bucket, self._begin, self._values = bucket[first[-1:]], begin[first[-1:]], joined[-1:]
        return closed, position

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` goes on."""
        return {
            "closed": np.array(self._closed),
            "bucket": self._bucket,
            "begin": self._begin,
            "values": self._values,
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> CoarseBars:
        """Go on where the one was that gave this state; returns itself."""
        self._closed = int(arrays["closed"])
        self._bucket, self._begin, self._values = arrays["bucket"], arrays["begin"], arrays["values"]
        return self


@compiled
def join_runs(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Join runs of bars (open, high, low, close, volume) that begin at rows ``first``.

    Volumes are added one by one in time order, so that a run that was joined up to some bar goes on with the same bits.
    """
    joined = values[first]
    for run in range(first.size):
        stop = first[run + 1] if run + 1 < first.size else values.shape[0]
        for row in range(first[run] + 1, stop):
            joined[run, 1] = max(joined[run, 1], values[row, 1])
            joined[run, 2] = min(joined[run, 2], values[row, 2])
            joined[run, 3] = values[row, 3]
            joined[run, 4] += values[row, 4]
    return joined
