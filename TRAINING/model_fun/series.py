"""Which rows of a table belong to which symbol, and their order in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from TRAINING.model_fun.context import symbols_and_times

NO_SYMBOL = ""  # the series of rows without symbols


@dataclass(frozen=True, eq=False)
class SeriesOfRows:
    """A table's rows as series, one per symbol.

    Attributes
    ----------
    names : list of str
        The symbols, in order; `NO_SYMBOL` where there are none.
    codes : (n,) int
        The number of each row's symbol.
    order : (n,) int
        Positions of the rows by symbol and time.
    """

    names: list[str]
    codes: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, X: object, rows: int) -> SeriesOfRows:
        """Of so many rows, by a DataFrame's index (symbol, timestamp); others are one series in time order."""
        if not isinstance(X, pd.DataFrame):
            return cls([NO_SYMBOL], np.zeros(rows, int), np.arange(rows))
        codes, times = symbols_and_times(X)
        order = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
        if not isinstance(X.index, pd.MultiIndex):
            return cls([NO_SYMBOL], codes, order)
        first = np.unique(codes, return_index=True)[1]
        return cls([str(name) for name in X.index.get_level_values(0)[first]], codes, order)

    @property
    def first(self) -> np.ndarray:
        """(n,) int64: where the series of each row begins, in order."""
        ordered = self.codes[self.order]
        return np.searchsorted(ordered, ordered).astype(np.int64)

    def parts(self) -> list[slice]:
        """The rows of each series, in order."""
        begins = np.unique(self.first)
        return [slice(begin, end) for begin, end in zip(begins, [*begins[1:], len(self.order)], strict=True)]

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """A table's values in order."""
        return np.ascontiguousarray(values[self.order])

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Values in order, as the table has its rows."""
        restored = np.empty_like(values)
        restored[self.order] = values
        return restored

    def among(self, names: Sequence[str]) -> np.ndarray:
        """(series,) the number of each series among others, -1 for an unknown one.

        Rows without symbols belong to the only one there is, where there is only one.
        """
        if self.names == [NO_SYMBOL] and NO_SYMBOL not in names and len(names) == 1:
            return np.zeros(1, int)
        places = {name: place for place, name in enumerate(names)}
        return np.array([places.get(name, -1) for name in self.names])
