"""What every strategy needs: the purged tail of the training rows for early stopping."""

from __future__ import annotations

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from DATA_PROCESSING.sessions import session_of
from TRAINING.evaluation.splits import purged_tail


def hold_out_tail(X: pd.DataFrame, rows: RowInfo | None) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows to fit on and of the later rows for early stopping.

    Parameters
    ----------
    X : DataFrame
        Training features; index (symbol, timestamp), or a plain index for one symbol in time order.
    rows : RowInfo, optional
        With it, rows whose label ends in the tail are purged; without it, ``purge_rows`` of run_config/split.yaml.

    Returns
    -------
    head, tail : ndarray of bool
        (n,) each; purged rows are in neither.
    """
    split = load_run_config("split")
    if isinstance(X.index, pd.MultiIndex):
        symbols, timestamps = X.index.get_level_values(0), pd.DatetimeIndex(X.index.get_level_values(1))
        timestamps = timestamps if timestamps.tz is not None else timestamps.tz_localize("UTC")
        sessions = session_of(timestamps)
    elif isinstance(X.index, pd.DatetimeIndex):
        index = X.index if X.index.tz is not None else X.index.tz_localize("UTC")
        symbols, sessions = np.zeros(len(X), int), session_of(index)
    else:
        symbols, sessions = np.zeros(len(X), int), np.arange(len(X)).astype("datetime64[D]")
        if rows is not None:
            raise DataError(
                "rows with label_end needs X with timestamps in its index; set (symbol, timestamp) as the index"
            )
    label_sessions = None
    if rows is not None and rows.sessions is not None:
        sessions, label_sessions = rows.sessions, rows.label_sessions
    elif rows is not None:
        label_sessions = rows.label_end.astype("datetime64[D]")
    return purged_tail(
        sessions, label_sessions, split["early_stopping"], symbols=np.asarray(symbols), purge_rows=split["purge_rows"]
    )
