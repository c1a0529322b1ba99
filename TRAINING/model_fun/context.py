"""The rows before a row that a sequence model looks back at: found per symbol, features only.

A row without a label is *context*: its features are read in the windows of later rows, it is not learnt from.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from DATA_PROCESSING.sessions import without_zone


class Predicts(Protocol):
    """A trained model that looks back at ``context_rows`` rows."""

    context_rows: int

    def predict_score(self, X: pd.DataFrame) -> np.ndarray: ...


def with_context(part: Dataset, data: Dataset, rows: np.ndarray, count: int, first: int = 0) -> Dataset:
    """A part of some data, preceded by the rows that a model looks back at; these have no label.

    Parameters
    ----------
    part : Dataset
        The chosen rows of ``data``.
    data : Dataset
    rows : (n,) int
        Their positions there, ascending.
    count : int
        `Trainer.context_rows`; 0 gives ``part`` itself.
    first : int
        The first position of ``data`` that may be looked back at.
    """
    if not count:
        return part
    taken, own = rows_and_context(data.X, rows, count, first)
    y = np.full(len(taken), np.nan)
    y[own] = part.y.to_numpy(float)
    info, weight = data.rows.take(taken), part.rows.sample_weight
    if weight is not None:
        weights = np.zeros(len(taken))
        weights[own] = weight
        info = RowInfo(info.label_end, weights, info.sessions, info.label_sessions)
    X = data.X.iloc[taken]
    return Dataset(X, pd.Series(y, X.index, name=part.y.name), info)


def predict_with_context(model: Predicts, X: pd.DataFrame, rows: np.ndarray, first: int = 0) -> np.ndarray:
    """(n,) scores of the rows at ascending positions of X, with the rows before them that the model looks back at."""
    if not model.context_rows:
        return model.predict_score(X.iloc[rows])
    taken, own = rows_and_context(X, rows, model.context_rows, first)
    return model.predict_score(X.iloc[taken])[own]


def without_context(y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels and weights (n,) for an estimator that knows no missing label: a row without one has any, and weighs 0."""
    known = ~np.isnan(y)
    if known.all():
        return y, weight
    return np.where(known, y, y[known][0]), np.where(known, 1.0 if weight is None else weight, 0.0)


def rows_and_context(X: pd.DataFrame, rows: np.ndarray, count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions of chosen rows and of the ``count`` rows of their symbols before each.

    Parameters
    ----------
    X : DataFrame
        Index (symbol, timestamp), or a plain index for one symbol in time order; rows in any order.
    rows : (n,) int
        Ascending.
    count, first : int
        As of `with_context`.

    Returns
    -------
    taken : (m,) int
        Ascending positions in X.
    chosen : (m,) bool
        Which of them are ``rows``.
    """
    symbols, times = symbols_and_times(X.iloc[first:])
    order = np.arange(len(symbols)) if times is None else np.lexsort((times, symbols))
    chosen = np.zeros(len(symbols), bool)
    chosen[np.asarray(rows) - first] = True
    ordered, place = symbols[order], np.arange(len(order))
    # The nearest chosen row at or behind each row, in the symbols' time order.
    ahead = np.minimum.accumulate(np.where(chosen[order], place, len(place) + count)[::-1])[::-1]
    near = ahead - place <= count
    near[near] = ordered[ahead[near]] == ordered[near]
    taken = np.sort(order[near])
    return taken + first, chosen[taken]


def symbols_and_times(X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None]:
    """(n,) codes of the symbols in the order of their names, and (n,) times, UTC; None where the index has no times."""
    index = X.index
    if isinstance(index, pd.MultiIndex):
        names, index = np.asarray(index.get_level_values(0)), index.get_level_values(1)
        if not isinstance(index, pd.DatetimeIndex):
            raise DataError(
                f"X must have the index (symbol, timestamp); its second level must be datetime64, got {index.dtype}"
            )
        return pd.factorize(names, sort=True)[0], without_zone(index)
    return np.zeros(len(X), int), without_zone(index) if isinstance(index, pd.DatetimeIndex) else None
