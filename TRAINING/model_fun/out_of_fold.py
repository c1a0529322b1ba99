"""Training rows split in time: when each label is known, the tail for early stopping, and out-of-fold predictions.

A model that is trained on the predictions of another must not see predictions of rows that the other was fitted on:
they fit those rows' labels better than any later row's (Wolpert, *Stacked generalization*, 1992). And a model fitted on
labels that are known only within the block it predicts has seen that block's bars (Lopez de Prado, *Advances in
Financial Machine Learning*, 2018, chapter 7). So rows are predicted block by block, each by a model of earlier rows
whose labels are known before the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from DATA_PROCESSING.labels import horizon_of
from TRAINING.evaluation.splits import purged_tail
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.context import predict_with_context, symbols_and_times, with_context

_NEVER = np.datetime64("9999-12-31", "D")  # the session of labels that are known behind the last row


def predict_out_of_fold(
    make_trainer: Callable[[], Trainer],
    X: pd.DataFrame,
    y: pd.Series,
    rows: RowInfo | None = None,
    *,
    blocks: int = 5,
) -> np.ndarray:
    """Predict training rows by models that know nothing of them or of what came later.

    The sessions are cut into ``blocks + 1`` parts of equal length, as scikit-learn's ``TimeSeriesSplit`` cuts rows. The
    first part is only trained on. Each later one is predicted by a model of all labelled rows before it whose label is
    known before it; the purged tail of those rows stops its training early.

    Parameters
    ----------
    make_trainer : callable
        Gives an untrained trainer of a single target.
    X : DataFrame
        (n, features); index (symbol, timestamp), or a plain index for one symbol in time order.
    y : Series
        (n,) same index. Rows without a label (NaN) are predicted and never trained on.
    rows : RowInfo, optional
        When each label becomes known, and sample weights; without it, see `label_times`.
    blocks : int
        How many parts are predicted, at least 1.

    Returns
    -------
    ndarray
        (n,) what `Trainer.predict_score` gives; NaN in the first part.

    Raises
    ------
    DataError
        Fewer sessions than parts, or a block whose model cannot be trained; the message names the block.
    """
    sessions, label_sessions = label_times(X, rows, [y.name])
    data, labelled = Dataset(X, y, rows or RowInfo(np.full(len(X), _NEVER))), y.notna().to_numpy()
    fraction = load_run_config("split")["early_stopping"]
    prediction = np.full(len(X), np.nan)
    for number, (before, inside) in enumerate(cut_blocks(sessions, label_sessions, blocks), start=1):
        known = np.flatnonzero(labelled & before)
        try:
            head, tail = purged_tail(sessions[known], label_sessions[known], fraction)
            fit, stop = known[head], known[tail]
            trainer = make_trainer()
            learnt, later = (with_context(data.take(part), data, part, trainer.context_rows) for part in (fit, stop))
            trainer.train(learnt.X, learnt.y, later.X, later.y, rows=None if rows is None else learnt.rows)
        except DataError as error:
            raise DataError(
                f"out of fold: block {number} of {blocks}, from {sessions[inside].min()} on, has {len(known)} rows "
                f"with a known label before it: {error}"
            ) from error
        prediction[inside] = predict_with_context(trainer, X, np.flatnonzero(inside))
    return prediction


def cut_blocks(
    sessions: np.ndarray, label_sessions: np.ndarray, blocks: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut rows into ``blocks`` blocks behind a first part, of equally many sessions each.

    Parameters
    ----------
    sessions, label_sessions : (n,) datetime64[D]
        As `label_times` gives them.
    blocks : int
        At least 1.

    Yields
    ------
    before, inside : (n,) bool
        Rows before a block whose label is known before it, and the block's own rows; the earliest block comes first.

    Raises
    ------
    ConfigError
        Less than one block.
    DataError
        Fewer sessions than parts.
    """
    if blocks < 1:
        raise ConfigError(f"out of fold: blocks must be at least 1, got {blocks}")
    distinct = np.unique(sessions)
    if len(distinct) <= blocks:
        raise DataError(
            f"out of fold: {blocks} blocks and the rows before them need at least {blocks + 1} sessions, the training "
            f"rows have {len(distinct)}; give more sessions or fewer blocks"
        )
    for block in np.array_split(distinct, blocks + 1)[1:]:
        before = (sessions < block[0]) & (label_sessions < block[0])
        yield before, (sessions >= block[0]) & (sessions <= block[-1])


def hold_out_tail(X: pd.DataFrame, rows: RowInfo | None, targets: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the rows to fit on and of the later rows for early stopping.

    Parameters
    ----------
    X, rows, targets
        As `label_times` takes them. The tail is a share of the sessions, ``early_stopping`` of run_config/split.yaml.

    Returns
    -------
    head, tail : ndarray of bool
        (n,) each; rows of the head whose label is known only in the tail are purged: in neither.
    """
    sessions, label_sessions = label_times(X, rows, targets)
    return purged_tail(sessions, label_sessions, load_run_config("split")["early_stopping"])


def label_times(X: pd.DataFrame, rows: RowInfo | None, targets: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """The session of each training row, and that in which its label becomes known.

    Parameters
    ----------
    X : DataFrame
        Index (symbol, timestamp), timestamps, or a plain index for one symbol in time order, whose rows count as
        sessions.
    rows : RowInfo, optional
        Says it; with several targets, for the one that is known last. Without it a label is known ``purge_rows`` of
        run_config/split.yaml later, or as far ahead as the name of a target tells where that is farther.
    targets : iterable of str
        Names of the targets.

    Returns
    -------
    sessions, label_sessions : ndarray of datetime64[D]
        (n,) each. NaT where ``rows`` has no label; a day behind all others where the label's path ends behind the
        symbol's last row.

    Raises
    ------
    DataError
        ``rows``, or a target that looks a span of time ahead, needs timestamps that the index does not have.
    """
    symbols, times = symbols_and_times(X)
    if rows is not None and rows.sessions is not None:
        return rows.sessions, rows.label_sessions
    if times is None:
        sessions, moments = np.arange(len(X)).astype("datetime64[D]"), np.arange(len(X))
    else:
        sessions, moments = times.astype("datetime64[D]"), times
    if rows is not None:
        if times is None:
            raise DataError(
                "rows with label_end needs X with timestamps in its index; set (symbol, timestamp) as the index"
            )
        return sessions, rows.label_end.astype("datetime64[D]")
    horizons = {str(target): horizon_of(str(target), 0) for target in targets}
    bars = [horizon for horizon in horizons.values() if isinstance(horizon, int)]
    known = _after_rows(symbols, moments, sessions, max(load_run_config("split")["purge_rows"], *bars, 0))
    for target, horizon in horizons.items():
        if isinstance(horizon, int):
            continue
        if times is None:
            raise DataError(
                f"{target} looks {horizon} ahead, which a plain index does not tell; set (symbol, timestamp) as the "
                "index, or give rows with label_end"
            )
        known = np.maximum(known, _after_span(times, sessions, horizon))
    return sessions, known


def _after_rows(symbols: np.ndarray, moments: np.ndarray, sessions: np.ndarray, count: int) -> np.ndarray:
    """(n,) the session of the symbol's row ``count`` rows later."""
    order = np.lexsort((moments, symbols))
    ordered = symbols[order]
    later = np.minimum(np.arange(len(order)) + count, len(order) - 1)
    exists = (ordered[later] == ordered) & (np.arange(len(order)) + count < len(order))
    after = np.empty_like(sessions)
    after[order] = np.where(exists, sessions[order[later]], _NEVER)
    return after


def _after_span(times: np.ndarray, sessions: np.ndarray, span: str) -> np.ndarray:
    """(n,) the session in which a span such as ``30m``, ``4h`` or ``5d`` (sessions) is over."""
    count, unit = int(span[:-1]), span[-1]
    if unit != "d":
        return (times + np.timedelta64(count, unit)).astype("datetime64[D]")
    distinct = np.unique(sessions)
    after = np.minimum(np.searchsorted(distinct, sessions) + count, len(distinct))
    return np.append(distinct, _NEVER)[after]
