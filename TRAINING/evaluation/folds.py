"""The windows of a walk-forward: train on past sessions, test on the ones that follow, step forward, again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean

MODES = ("rolling", "expanding")


@dataclass(frozen=True)
class Fold:
    """One step of a walk-forward; the days are sessions, both ends included.

    Attributes
    ----------
    number : int
        From 0 up.
    train_start, train_end, test_start, test_end : datetime64[D]
    last_known : datetime64[D]
        The last session in which a training label may become known: the one before the test window, less the embargo.
    stitched_end : datetime64[D]
        The last session whose predictions count in the stitched series; later ones belong to the next fold.
    """

    number: int
    train_start: np.datetime64
    train_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    last_known: np.datetime64
    stitched_end: np.datetime64


def walk_forward_folds(
    sessions: ArrayLike,
    train_days: int,
    test_days: int,
    step_days: int,
    *,
    mode: str = "rolling",
    embargo_sessions: int = 0,
) -> list[Fold]:
    """Cut a panel's sessions into the folds of a walk-forward.

    Fold k tests the ``test_days`` sessions behind the first ``train_days + k * step_days``. A rolling window trains on
    the ``train_days`` sessions before them, an expanding one on all. Only whole test windows are folds, so up to
    ``step_days - 1`` of the newest sessions are in none.

    Parameters
    ----------
    sessions : (n_sessions,) dates
        The panel's sessions; duplicates and order do not matter.
    train_days, test_days, step_days : int
        In sessions; ``test_days`` at least ``step_days``, or sessions would go untested.
    mode : {"rolling", "expanding"}
    embargo_sessions : int
        Sessions left free between the last training label and the test window.

    Raises
    ------
    ConfigError
        A number out of its range, or an unknown mode.
    DataError
        Too few sessions for one fold.
    """
    if mode not in MODES:
        raise ConfigError(f"walk-forward: mode {mode!r} is unknown{did_you_mean(mode, MODES)}")
    days = {"train_days": train_days, "test_days": test_days, "step_days": step_days}
    for name, value in days.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ConfigError(f"walk-forward: {name} must be a whole number of sessions, at least 1; got {value!r}")
    if test_days < step_days:
        raise ConfigError(
            f"walk-forward: test_days must be at least step_days, or sessions between two test windows are never "
            f"tested; got {test_days} and {step_days}"
        )
    if not 0 <= embargo_sessions < train_days:
        raise ConfigError(
            f"walk-forward: embargo_sessions must be at least 0 and below train_days ({train_days}); "
            f"got {embargo_sessions}"
        )
    distinct = np.unique(np.asarray(sessions, dtype="datetime64[D]"))
    count = (len(distinct) - train_days - test_days) // step_days + 1
    if count < 1:
        raise DataError(
            f"walk-forward: one fold needs {train_days + test_days} sessions (train_days {train_days} + test_days "
            f"{test_days}), the data have {len(distinct)}; shorten the windows or give more data"
        )
    folds = []
    for number in range(count):
        test = train_days + number * step_days
        is_last = number == count - 1
        folds.append(
            Fold(
                number,
                distinct[0 if mode == "expanding" else number * step_days],
                distinct[test - 1],
                distinct[test],
                distinct[test + test_days - 1],
                distinct[test - 1 - embargo_sessions],
                distinct[test + (test_days if is_last else step_days) - 1],
            )
        )
    return folds
