"""Chronological splits in units of sessions: the same cut dates for every symbol, no label reaching the next window.

A session is a trading day of the panel, ``datetime64[D]``. The label of a row is known at the end of the session
``label_end``; a row whose ``label_end`` reaches the next window would let that window's bars into training, so it is
purged (Lopez de Prado, *Advances in Financial Machine Learning*, 2018, chapter 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Windows:
    """Boolean masks over the rows, each (n,) and disjoint; purged rows are in none of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_dates(
    sessions: ArrayLike, train: float = 0.6, validation: float = 0.2
) -> tuple[np.datetime64, np.datetime64]:
    """Cut the panel's sessions by shares; what ``train`` and ``validation`` leave is the test window.

    Parameters
    ----------
    sessions : (n_sessions,) dates
        The panel's sessions; duplicates and order do not matter.
    train, validation : float
        Shares of the sessions, each above 0, together below 1.

    Returns
    -------
    validation_start, test_start : datetime64[D]
        The first session of the validation and of the test window.

    Raises
    ------
    ConfigError
        If the shares leave no test window.
    DataError
        If a window would have no session.
    """
    shares = (train, validation, 1 - train - validation)
    if not min(shares) > 1e-9:  # 1 - 0.95 - 0.05 is no test window, but rounding
        raise ConfigError(
            f"split: train and validation must be above 0 and their sum below 1, so that a test window is left; "
            f"got train {train:g} and validation {validation:g}; lower one of them"
        )
    distinct = np.unique(_sessions(sessions))
    n_sessions = len(distinct)
    first_validation = int(n_sessions * train + 0.5)
    first_test = int(n_sessions * (train + validation) + 0.5)
    lengths = (first_validation, first_test - first_validation, n_sessions - first_test)
    if min(lengths) < 1:
        # Rounding can cut a window's share by less than one session, so a share worth a whole session is enough.
        needed = ceil(round(1 / min(shares), 6))
        raise DataError(
            f"split: {n_sessions} sessions give train {lengths[0]}, validation {lengths[1]} and test {lengths[2]} "
            f"sessions, and each window needs at least 1; {needed} sessions are enough for these shares"
        )
    return distinct[first_validation], distinct[first_test]


def core_windows(
    row_sessions: ArrayLike,
    label_end_sessions: ArrayLike,
    panel_sessions: ArrayLike,
    validation_start: np.datetime64,
    test_start: np.datetime64,
    embargo_sessions: int = 0,
) -> Windows:
    """Assign rows to the train, validation and test window, purging those whose label reaches the next window.

    Parameters
    ----------
    row_sessions : (n,) dates
        The session of each row, in any order, of one symbol or of many.
    label_end_sessions : (n,) dates
        The session in which each row's label becomes known. NaT (no label) keeps a row out of train and validation;
        the test window takes every row from ``test_start`` on, so that the backtest and live prediction see all bars.
    panel_sessions : (n_sessions,) dates
        The sessions of the whole panel, in which the embargo is counted.
    validation_start, test_start : datetime64[D]
        From :func:`split_dates`.
    embargo_sessions : int
        Sessions left free, beyond the purge, between the last label of a window and the start of the next.

    Raises
    ------
    DataError
        If the embargo takes a whole window of the panel.
    """
    panel = np.unique(_sessions(panel_sessions))
    first_validation, first_test = np.searchsorted(panel, np.array([validation_start, test_start], "datetime64[D]"))
    shortest = min(first_validation, first_test - first_validation)
    if embargo_sessions < 0 or embargo_sessions >= shortest:
        raise DataError(
            f"split: embargo_sessions must be at least 0 and below the sessions of the train and validation windows "
            f"({first_validation} and {first_test - first_validation}); got {embargo_sessions}; lower it, or give "
            "more sessions"
        )
    sessions = _sessions(row_sessions)
    label_end = _days(label_end_sessions)
    # A comparison with NaT is false, which keeps rows without a label out of train and validation.
    return Windows(
        train=(sessions < validation_start) & (label_end < panel[first_validation - embargo_sessions]),
        validation=(sessions >= validation_start)
        & (sessions < test_start)
        & (label_end < panel[first_test - embargo_sessions]),
        test=sessions >= test_start,
    )


def purged_tail(
    row_sessions: ArrayLike,
    label_end_sessions: ArrayLike,
    fraction: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the last sessions of a training window, for early stopping and calibration.

    Parameters
    ----------
    row_sessions : (n,) dates
        The session of each row, of one symbol or of many.
    label_end_sessions : (n,) dates
        The session in which each label becomes known: rows before the tail whose label reaches it are purged, and rows
        with NaT are in neither part.
    fraction : float in (0, 1)
        Share of the distinct sessions that makes the tail.

    Returns
    -------
    head, tail : (n,) bool

    Raises
    ------
    ConfigError
        If ``fraction`` is not within (0, 1).
    DataError
        If either part would be empty.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"split: the tail's fraction must be within (0, 1); got {fraction:g}")
    sessions = _sessions(row_sessions)
    distinct = np.unique(sessions)
    tail_sessions = int(len(distinct) * fraction + 0.5)
    if tail_sessions == 0 or tail_sessions == len(distinct):
        raise DataError(
            f"split: {fraction:.0%} of {len(distinct)} sessions leaves a head of {len(distinct) - tail_sessions} and a "
            f"tail of {tail_sessions} sessions, and each needs at least 1; give more sessions or another fraction"
        )
    tail_start = distinct[-tail_sessions]
    tail = sessions >= tail_start
    head = ~tail
    before = int(head.sum())
    label_end = _days(label_end_sessions)
    head &= label_end < tail_start
    tail &= ~np.isnat(label_end)
    if not (head.any() and tail.any()):
        raise DataError(
            f"split: a tail from {tail_start} on leaves {int(head.sum())} of {before} rows before it after the purge "
            f"and {int(tail.sum())} labelled rows in it, and each part needs at least 1; give more rows or another "
            "fraction"
        )
    return head, tail


def _days(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype="datetime64[D]")


def _sessions(values: ArrayLike) -> np.ndarray:
    sessions = _days(values)
    unknown = int(np.isnat(sessions).sum())
    if unknown:
        raise DataError(f"split: every row needs a session; {unknown} of {len(sessions)} have none (NaT)")
    return sessions
