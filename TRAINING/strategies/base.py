"""What every strategy needs: later rows for early stopping, rows with a label, rows in time order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.out_of_fold import hold_out_tail, symbols_and_times

Target = pd.Series | pd.DataFrame


def check_rows(
    X_train: pd.DataFrame, y_train: Target, X_val: pd.DataFrame | None, y_val: Target | None, rows: RowInfo | None
) -> None:
    """Refuse X, y and ``rows`` that do not go together, and only one of ``X_val`` and ``y_val``."""
    if (X_val is None) != (y_val is None):
        raise DataError("X_val and y_val come together; only one was given")
    for where, X, y in (("X_train", X_train, y_train), ("X_val", X_val, y_val)):
        if where == "X_val" and X is None:
            continue
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"{where} must be a DataFrame with named columns, got {type(X).__name__}")
        if len(y) != len(X):
            raise DataError(f"{where} has {len(X)} rows, its y has {len(y)}; align them, for example y.loc[X.index]")
    if rows is not None and len(rows.label_end) != len(X_train):
        raise DataError(f"rows describes {len(rows.label_end)} rows, X_train has {len(X_train)}")


def with_validation(
    X_train: pd.DataFrame, y_train: Target, X_val: pd.DataFrame | None, y_val: Target | None, rows: RowInfo | None
) -> tuple[pd.DataFrame, Target, pd.DataFrame, Target, RowInfo | None]:
    """The checked rows as given; without validation rows, the purged tail of the training rows is taken for them."""
    check_rows(X_train, y_train, X_val, y_val, rows)
    if X_val is not None:
        return X_train, y_train, X_val, y_val, rows
    targets = y_train.columns if isinstance(y_train, pd.DataFrame) else [getattr(y_train, "name", None)]
    head, tail = hold_out_tail(X_train, rows, targets)
    X_head, y_head, rows = take(X_train, y_train, rows, head)
    return X_head, y_head, X_train[tail], y_train[tail], rows


def with_label(
    X: pd.DataFrame, y: pd.Series, rows: RowInfo | None, where: str
) -> tuple[pd.DataFrame, pd.Series, RowInfo | None]:
    """The rows that have a label of the target ``y``.

    Raises
    ------
    DataError
        No row has.
    """
    labelled = y.notna().to_numpy()
    if not labelled.any():
        raise DataError(f"{where} has no label of {y.name} in {len(y)} rows; give other rows, or leave the target out")
    return take(X, y, rows, labelled)


def in_time_order(X: pd.DataFrame, y: Target, rows: RowInfo | None) -> tuple[pd.DataFrame, Target, RowInfo | None]:
    """The rows sorted by symbol and timestamp, so that their order does not change what is drawn in a bag."""
    symbols, times = symbols_and_times(X)
    if times is None:
        return X, y, rows
    order = np.lexsort((times, symbols))
    if (order == np.arange(len(order))).all():
        return X, y, rows
    return X.iloc[order], y.iloc[order], None if rows is None else rows.take(order)


def take(
    X: pd.DataFrame, y: Target, rows: RowInfo | None, mask: np.ndarray
) -> tuple[pd.DataFrame, Target, RowInfo | None]:
    """The rows that a mask chooses."""
    return X[mask], y[mask], None if rows is None else rows.take(mask)
