"""A labeled table as a model sees it: X, y and when each label becomes known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.columns import feature_columns, target_columns
from DATA_PROCESSING.labels import label_end_of
from DATA_PROCESSING.sessions import row_sessions, session_of, sessions_at, without_zone


@dataclass(frozen=True)
class RowInfo:
    """What is known of each training row besides X and y.

    Attributes
    ----------
    label_end : ndarray of datetime64[ns]
        (n,) when the row's label becomes known (UTC); NaT without a label.
    sample_weight : ndarray of float, optional
        (n,)
    sessions, label_sessions : ndarray of datetime64[D], optional
        (n,) each: the session of the row, and that in which its label becomes known (NaT without a label). Without
        them these are the dates (UTC) of the row's timestamp and of ``label_end``.
    """

    label_end: np.ndarray
    sample_weight: np.ndarray | None = None
    sessions: np.ndarray | None = None
    label_sessions: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.sessions is None) != (self.label_sessions is None):
            raise DataError("rows: sessions and label_sessions go together; got one of them, give both or none")

    def take(self, rows: np.ndarray) -> RowInfo:
        """The rows that a mask or positions choose."""
        optional = (self.sample_weight, self.sessions, self.label_sessions)
        return RowInfo(self.label_end[rows], *(None if values is None else values[rows] for values in optional))


@dataclass(frozen=True)
class Dataset:
    """Features, one target and row information, aligned row by row.

    Attributes
    ----------
    X : DataFrame
        (n, features), index (symbol, timestamp).
    y : Series
        (n,) same index, named after the target; NaN where the label is missing. For a model that learns several targets
        together a DataFrame (n, targets).
    rows : RowInfo
    """

    X: pd.DataFrame
    y: pd.Series
    rows: RowInfo

    def __len__(self) -> int:
        return len(self.X)

    @property
    def sessions(self) -> np.ndarray:
        """(n,) the session of each row, ``datetime64[D]``."""
        known = self.rows.sessions
        return session_of(self.X.index.get_level_values("timestamp")) if known is None else known

    @property
    def label_sessions(self) -> np.ndarray:
        """(n,) the session in which each row's label becomes known; NaT without a label."""
        known = self.rows.label_sessions
        return self.rows.label_end.astype("datetime64[D]") if known is None else known

    def take(self, rows: np.ndarray) -> Dataset:
        """The rows that a mask or positions choose."""
        X = self.X.iloc[rows]
        y = pd.Series(self.y.array[rows], index=X.index, name=self.y.name)  # with one index, which is quick to compare
        return replace(self, X=X, y=y, rows=self.rows.take(rows))


def make_dataset(table: pd.DataFrame, target: str, symbol: str | None = None) -> Dataset:
    """Choose features and one target from a labeled table.

    Parameters
    ----------
    table : DataFrame
        A row per bar, in time order: ``timestamp``, features, targets, ``label_end``, and a ``symbol`` column unless
        ``symbol`` is given. A target of a further horizon H takes ``label_end_h<H>`` where the table has it. Without a
        column ``session``, sessions are dates (UTC).
    target : str
    symbol : str, optional
        The table's symbol.

    Raises
    ------
    ConfigError
        ``target`` is not a column of the table.
    """
    if target not in table:
        raise ConfigError(f"no target {target!r} in the table{did_you_mean(target, target_columns(table.columns))}")
    symbols = table["symbol"] if symbol is None else pd.Categorical.from_codes(np.zeros(len(table), int), [symbol])
    index = pd.MultiIndex.from_arrays([symbols, pd.DatetimeIndex(table["timestamp"])], names=["symbol", "timestamp"])
    X = table[feature_columns(table.columns)].set_axis(index)
    label_end, sessions = without_zone(table[label_end_of(target, table.columns)]), row_sessions(table)
    label_sessions = np.empty_like(sessions)
    for rows in pd.Series(symbols).groupby(symbols, observed=True).indices.values():
        timestamps = without_zone(table["timestamp"].iloc[rows])
        label_sessions[rows] = sessions_at(label_end[rows], timestamps, sessions[rows])
    return Dataset(
        X, table[target].set_axis(index), RowInfo(label_end, sessions=sessions, label_sessions=label_sessions)
    )
