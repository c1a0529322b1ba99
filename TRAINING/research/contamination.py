"""Whether test rows are also training rows, under their own name or another's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from TRAINING.evaluation.splits import Windows
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "contamination"
FEWEST_SHARED = 60  # sessions that two symbols need in common before their returns are compared
LAST = 500  # sessions compared
ALIKE = 0.9999  # correlation of the returns of one series under two names
SURPRISE = 5.0  # standard deviations above what chance gives


def check_contamination(subject: Subject, windows: Windows | None = None) -> Check:
    """Look for rows in both the training and the test window, and for one series under two names.

    Parameters
    ----------
    subject : Subject
    windows : Windows, optional
        The core phase's by default.
    """
    masks = subject.windows(subject.targets[0]) if windows is None else windows
    train, test = masks.train | masks.validation, masks.test
    if not train.any() or not test.any():
        return Check(NAME, "not applicable", "a window has no row")
    shared = _repeated_moments(subject, train, test)
    same, expected = _identical_rows(subject, train, test)
    twins = _twins(subject.closes)
    numbers = {
        "training_rows": int(train.sum()),
        "test_rows": int(test.sum()),
        "shared_moments": shared,
        "identical_rows": same,
        "identical_rows_by_chance": expected,
        "twins": [{"symbols": [one, other], "correlation": value} for one, other, value in twins],
    }
    faults = [f"{shared:,} test rows are a training row's symbol and timestamp"] if shared else []
    if same > expected + SURPRISE * np.sqrt(expected + 1):
        faults.append(
            f"the features of {same:,} of {numbers['test_rows']:,} test rows are those of a training row; chance gives "
            f"about {expected:,.0f}"
        )
    if faults:
        return Check(NAME, "failed", "; ".join(faults), numbers)
    if twins:
        more = f", and {len(twins) - 1} more pairs" if len(twins) > 1 else ""
        one, other, _ = twins[0]
        return Check(NAME, "warned", f"{one} and {other} are one series under two names{more}; keep one", numbers)
    told = f"none of {numbers['test_rows']:,} test rows is a training row; no series has two names"
    if same:
        told = f"{same:,} test rows have the features of a training row, no more than chance; no series has two names"
    return Check(NAME, "passed", told, numbers)


def _repeated_moments(subject: Subject, train: np.ndarray, test: np.ndarray) -> int:
    moments = pd.MultiIndex.from_arrays([subject.codes, subject.table["timestamp"]])
    return int(moments[test].isin(moments[train]).sum())


def _identical_rows(subject: Subject, train: np.ndarray, test: np.ndarray) -> tuple[int, float]:
    """Test rows whose features are those of a training row, and how many chance gives.

    Of features that take few values chance repeats many rows. The probability that a new row was seen before is, after
    Good, "The population frequencies of species", Biometrika 40 (1953), the share of rows that are not single.
    """
    features = subject.table[subject.features]
    usable = features.notna().mean(axis=1).to_numpy() > 0.5
    hashes = pd.util.hash_pandas_object(features.astype(np.float32), index=False).to_numpy()
    known, counts = np.unique(hashes[train & usable], return_counts=True)
    tested = hashes[test & usable]
    seen_before = 1 - (counts == 1).sum() / max(counts.sum(), 1)
    return int(np.isin(tested, known).sum()), float(seen_before * len(tested))


def _twins(closes: dict[str, pd.Series]) -> list[tuple[str, str, float]]:
    """Pairs of symbols whose returns are the same, whatever their prices."""
    if len(closes) < 2:
        return []
    returns = {symbol: np.log(close / close.shift()) for symbol, close in closes.items()}
    table = pd.DataFrame(returns).sort_index().tail(LAST).to_numpy(np.float64)
    known = np.isfinite(table)
    table = np.where(known, table, 0.0)
    pairs = known.T.astype(np.float32) @ known.astype(np.float32)
    squares = (table**2).T @ known  # over the sessions that both have
    with np.errstate(all="ignore"):
        together = (table.T @ table) / np.sqrt(squares * squares.T)
    alike = np.argwhere(np.triu((together > ALIKE) & (pairs >= FEWEST_SHARED), 1))
    names = list(closes)
    return [(names[one], names[other], float(together[one, other])) for one, other in alike]
