"""Whether any training label reaches the window that follows, told from the table's rows, not the split's code."""

from __future__ import annotations

import numpy as np
import pandas as pd

from DATA_PROCESSING.labels import label_end_of
from TRAINING.evaluation.splits import Windows
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "overlap"


def check_overlap(subject: Subject, windows: dict[str, Windows] | None = None) -> Check:
    """Compare the last session that the labels of a window know with the first session of the next window.

    Parameters
    ----------
    subject : Subject
    windows : dict of str to Windows, optional
        Per target the rows that are trained on and tested; the core phase's by default.
    """
    windows = {target: subject.windows(target) for target in subject.targets} if windows is None else windows
    numbers, faults = {}, []
    for target, masks in windows.items():
        known_in = known_in_session(subject, target)
        labelled = np.isfinite(subject.values(target))
        ends = subject.table[label_end_of(target, subject.table.columns)]
        early = labelled & (ends <= subject.table["timestamp"]).to_numpy()
        if early.any():
            faults.append(f"{target}: {int(early.sum())} labels have a label_end that is not behind their bar")
        embargo = subject.split["embargo_sessions"]
        numbers[target] = {"embargo_sessions": embargo}
        parts = {"training": masks.train, "validation": masks.validation, "test": masks.test}
        for name, following in (("training", "validation"), ("validation", "test")):
            rows, later = parts[name] & labelled, parts[following]
            if not rows.any() or not later.any():
                continue
            first, next_first = subject.session[rows].min(), subject.session[later].min()
            reaches = rows & (known_in + embargo >= next_first)
            unknown = rows & (known_in < 0)
            window = labelled & (subject.session >= first) & (subject.session < next_first)
            numbers[target][name] = {
                "rows": int(rows.sum()),
                "purged": 1 - float(rows.sum() / window.sum()),
                "sessions_between": int(next_first - known_in[rows].max() - 1),
                "rows_that_reach_the_next_window": int(reaches.sum()),
            }
            if unknown.any():
                faults.append(f"{target}: {int(unknown.sum())} {name} rows have a label but no label_end")
            if reaches.any():
                row = subject.table.loc[np.flatnonzero(reaches)[-1]]
                faults.append(
                    f"{target}: the labels of {int(reaches.sum())} {name} rows reach the {following} window"
                    f"{f' or the embargo of {embargo} sessions before it' if embargo else ''}, such as that of "
                    f"{row['symbol']} at {row['timestamp']:%Y-%m-%d %H:%M}"
                )
    if faults:
        return Check(NAME, "failed", "; ".join(faults), numbers)
    shares = [part["purged"] for parts in numbers.values() for part in parts.values() if isinstance(part, dict)]
    if not shares:
        return Check(NAME, "not applicable", "no window with labels is followed by another", numbers)
    reason = f"no label reaches the next window; {min(shares):.1%} to {max(shares):.1%} of a window's rows are purged"
    return Check(NAME, "passed", reason, numbers)


def unpurged(subject: Subject, target: str) -> Windows:
    """The windows without the purge: each labelled row by its own session alone."""
    labelled = np.isfinite(subject.values(target))
    first, second = np.searchsorted(subject.sessions, subject.cuts)
    session = subject.session
    return Windows(labelled & (session < first), labelled & (session >= first) & (session < second), session >= second)


def known_in_session(subject: Subject, target: str) -> np.ndarray:
    """(n,) position of the session in which each label becomes known; -1 where nothing says so.

    It is the session of the symbol's bar with that timestamp, or else the first of the panel from that date on.
    """
    table = subject.table[["symbol", "timestamp"]].assign(session=subject.session)
    ends = subject.table[["symbol"]].assign(timestamp=subject.table[label_end_of(target, subject.table.columns)])
    of_bar = ends.merge(table, on=["symbol", "timestamp"], how="left")["session"].to_numpy(np.float64)
    dates = pd.DatetimeIndex(ends["timestamp"]).tz_convert(None).to_numpy().astype("datetime64[D]")
    of_date = np.where(np.isnat(dates), -1, np.searchsorted(subject.sessions, dates))
    return np.where(np.isfinite(of_bar), of_bar, of_date).astype(int)
