"""Features of a symbol of any length, chunk by chunk, bit for bit as if all its bars were there at once.

A chunk is computed on a view that begins before it, with twice as many bars as the longest lookback reaches. In the
first half of these, whatever needs a window becomes exact; there the recursive averages go on from the state that the
chunk before left, and in the second half what is computed from them becomes exact too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, Memory
from DATA_PROCESSING.features.timeframes import CoarseBars

TIMES = ("timestamp", "session")
CHUNK_ROWS = 32_768  # rows computed at once: with all their columns about 100 MB
LARGEST = float(np.finfo(np.float32).max)


@compiled
def store(values: np.ndarray, column: np.ndarray) -> None:
    """Write float64 values to a float32 column; what is infinite or beyond float32 is undefined: NaN."""
    for row in range(values.size):
        column[row] = values[row] if abs(values[row]) <= LARGEST else np.nan


class FeatureStream:
    """Computes feature columns of one symbol from its bars, pushed in time order in chunks of any size.

    Parameters
    ----------
    features : tuple of Feature
    timeframes : dict of str to tuple of Feature
        Per coarser interval (``1h``) the features that are computed from its closed bars too.
    stamp : {"start", "end"}
        What the timestamp of a bar marks; decides into which coarser bar it falls.

    Attributes
    ----------
    rows : int
        Bars pushed so far.
    tail : DataFrame or None
        The last of them, which the next chunk needs.
    """

    def __init__(
        self,
        features: tuple[Feature, ...],
        timeframes: dict[str, tuple[Feature, ...]] | None = None,
        stamp: str = "start",
    ):
        self.features = features
        self.reach = max((feature.lookback for feature in features), default=0)
        self.rows = 0
        self.tail: pd.DataFrame | None = None
        self._averages: dict[str, tuple[int, float]] = {}
        self._timeframes = {
            interval: _Timeframe(interval, rows, stamp) for interval, rows in (timeframes or {}).items()
        }

    @property
    def names(self) -> list[str]:
        """The columns, in order."""
        coarse = (name for timeframe in self._timeframes.values() for name in timeframe.names)
        return [*(feature.name for feature in self.features), *coarse]

    def push(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Compute the features of the next bars.

        Parameters
        ----------
        bars : DataFrame of n rows
            Bars that follow the last ones pushed, as for `DATA_PROCESSING.features.build.build_features`.

        Returns
        -------
        DataFrame of n rows
            float32, with the index of ``bars``.
        """
        return pd.DataFrame(self.push_values(bars).T, index=bars.index, columns=self.names, copy=False)

    def push_values(self, bars: pd.DataFrame) -> np.ndarray:
        """As `push`, but (columns, n) float32."""
        values = np.empty((len(self.names), len(bars)), np.float32)
        for start in range(0, len(bars), CHUNK_ROWS):
            self._compute(bars.iloc[start : start + CHUNK_ROWS], values[:, start : start + CHUNK_ROWS])
        return values

    def _compute(self, bars: pd.DataFrame, values: np.ndarray) -> None:
        """Fill ``values`` (columns, n) with the features of n bars."""
        known = 0 if self.tail is None else len(self.tail)
        whole = bars if self.tail is None else pd.concat([self.tail, bars], ignore_index=True)
        from_start = self.rows == known
        first = 0 if from_start else self.reach
        begin_next = max(len(whole) - 2 * self.reach, 0)  # of the next view
        memory = Memory(first, begin_next + self.reach, {} if from_start else self._averages)
        view = BarsView.of(whole, memory)
        with np.errstate(all="ignore"):  # undefined ratios are meant to become NaN
            for column, feature in zip(values, self.features, strict=False):
                store(feature.compute(view, *feature.arguments)[known:], column)
        filled = len(self.features)
        for timeframe in self._timeframes.values():
            filled += timeframe.fill(bars, values[filled:])
        self.rows += len(bars)
        self.tail = whole.iloc[begin_next:].reset_index(drop=True)
        self._averages = memory.after

    def state(self) -> dict[str, Any]:
        """Arrays from which `restore` goes on; keys of timeframes begin with their interval and a slash."""
        names = sorted(self._averages)
        arrays = {
            "rows": np.array(self.rows),
            "averages": np.array(names, str),
            "seen": np.array([self._averages[name][0] for name in names], np.int64),
            "average": np.array([self._averages[name][1] for name in names], np.float64),
        }
        if self.tail is not None:
            arrays |= to_arrays(self.tail, "tail.")
        for interval, timeframe in self._timeframes.items():
            arrays |= {f"{interval}/{key}": value for key, value in timeframe.state().items()}
        return arrays

    def restore(self, arrays: dict[str, Any]) -> FeatureStream:
        """Go on where the stream was that gave this state; returns itself."""
        self.rows = int(arrays["rows"])
        states = zip(arrays["averages"], arrays["seen"], arrays["average"], strict=True)
        self._averages = {str(name): (int(seen), float(average)) for name, seen, average in states}
        self.tail = from_arrays(arrays, "tail.")
        for interval, timeframe in self._timeframes.items():
            own = {key.partition("/")[2]: value for key, value in arrays.items() if key.startswith(f"{interval}/")}
            timeframe.restore(own)
        return self


class _Timeframe:
    """Features of the closed bars of one coarser interval, as each bar of the symbol sees them."""

    def __init__(self, interval: str, features: tuple[Feature, ...], stamp: str):
        self.names = [f"{feature.name}_{interval}" for feature in features]
        self._coarse = CoarseBars(interval, stamp)
        self._stream = FeatureStream(features)
        self._last = np.full(len(features), np.nan, np.float32)  # of the last closed bar

    def fill(self, bars: pd.DataFrame, values: np.ndarray) -> int:
        """Fill the first of ``values`` (columns, n); returns how many."""
        closed_before = self._stream.rows
        closed, position = self._coarse.push(bars)
        known = np.column_stack([self._last, self._stream.push_values(closed)])
        values[: len(self.names)] = known[:, position - closed_before]
        self._last = known[:, -1]
        return len(self.names)

    def state(self) -> dict[str, Any]:
        inner = {f"stream.{key}": value for key, value in self._stream.state().items()}
        return {"last": self._last, **inner, **{f"open.{key}": value for key, value in self._coarse.state().items()}}

    def restore(self, arrays: dict[str, Any]) -> None:
        def under(prefix: str) -> dict[str, Any]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        self._last = arrays["last"]
        self._stream.restore(under("stream."))
        self._coarse.restore(under("open."))


def to_arrays(table: pd.DataFrame, prefix: str) -> dict[str, np.ndarray]:
    """A table of times, dates and numbers as arrays for a file without objects."""
    return {
        f"{prefix}{name}": column.to_numpy("datetime64[ns]" if name in TIMES else None)
        for name, column in table.items()
    }


def from_arrays(arrays: dict[str, np.ndarray], prefix: str) -> pd.DataFrame | None:
    """The table that `to_arrays` took apart; None where there was none."""
    columns = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    if not columns:
        return None
    columns["timestamp"] = pd.DatetimeIndex(columns["timestamp"], tz="UTC")
    if "session" in columns:
        columns["session"] = columns["session"].astype("datetime64[ms]")
    return pd.DataFrame(columns, copy=False)
