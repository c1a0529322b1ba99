"""A walk-forward's results under audit: are windows, purge, predictions and labels those that its tables give?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import UNIVERSE
from TRAINING.research.checks import Check
from TRAINING.research.overlap import known_in_session
from TRAINING.research.subject import Subject
from TRAINING.walkforward import WalkForwardResults

RUN = "run"
SHOWN = 3
_UNPURGED = "folds with labels that reach the test window"


def check_walks(folder: Path, subject: Subject) -> Check:
    """Hold the folds and predictions of a run against its tables.

    A fold must test what follows its training window; have purged as many rows as have labels that reach its test
    window; and every prediction must lie in the test window of its fold, once, with the label of the table. The purge
    is counted where all symbols of the run are looked at, the labels of those that are.
    """
    faults, numbers = [], {}
    for path in sorted((folder / "results").glob("*/*/*")):
        place, results = "/".join(path.parts[-3:]), WalkForwardResults.load(path)
        folds = results.folds[results.folds["status"] == "done"]
        made = results.predictions[results.predictions["model"] == results.manifest["model"]]
        found = {
            "windows": _wrong_windows(folds),
            "predictions outside the test window of their fold": _outside(folds, made),
            "predictions made twice": int(made.duplicated(["symbol", "timestamp"]).sum()),
            "labels that are not those of the table": _other_labels(subject, results.manifest["target"], made),
            _UNPURGED: _unpurged(subject, results.manifest, folds),
        }
        numbers[place] = {"folds": len(folds), "predictions": len(made), **found}
        faults += [f"{place}: {count} {what}" for what, count in found.items() if count]
    if faults:
        more = f"; and {len(faults) - SHOWN} more faults" if len(faults) > SHOWN else ""
        return Check(RUN, "failed", "; ".join(faults[:SHOWN]) + more, numbers)
    if not numbers:
        return Check(RUN, "not applicable", "the run has no results yet")
    told = sum(one["predictions"] for one in numbers.values()), sum(one["folds"] for one in numbers.values())
    counted = all(one[_UNPURGED] is not None for one in numbers.values())
    purge = "purged as the tables' labels ask" if counted else "the purge not counted, as some symbols are left out"
    reason = f"{told[0]:,} predictions of {told[1]} folds lie in their test windows, {purge}"
    return Check(RUN, "passed", reason, numbers)


def _wrong_windows(folds: pd.DataFrame) -> int:
    """Windows that end before they begin, or train on what they test."""
    begins = (folds["train_start"] <= folds["train_end"]) & (folds["test_start"] <= folds["test_end"])
    return int((~begins | (folds["train_end"] >= folds["test_start"])).sum())


def _outside(folds: pd.DataFrame, made: pd.DataFrame) -> int:
    windows = folds.drop_duplicates("fold").set_index("fold")[["test_start", "test_end"]].reindex(made["fold"])
    session = made["session"].to_numpy()
    return int((~((session >= windows["test_start"].to_numpy()) & (session <= windows["test_end"].to_numpy()))).sum())


def _other_labels(subject: Subject, target: str, made: pd.DataFrame) -> int:
    table = subject.table[["symbol", "timestamp", target]].astype({"symbol": str})
    both = made[["symbol", "timestamp", "y"]].merge(table, on=["symbol", "timestamp"])
    return int((~np.isclose(both["y"], both[target].astype(float), rtol=1e-6, atol=0, equal_nan=True)).sum())


def _unpurged(subject: Subject, manifest: dict, folds: pd.DataFrame) -> int | None:
    """Folds that purged another number of rows than have labels that reach the test window, or its embargo.

    None where only some of the symbols are looked at, so that rows cannot be counted.
    """
    names = subject.table["symbol"].astype(str).to_numpy()
    if set(np.unique(names)) != set(manifest["symbols"]):
        return None
    known_in = known_in_session(subject, manifest["target"])
    usable = np.isfinite(subject.values(manifest["target"]))
    if UNIVERSE in subject.table:
        usable &= subject.table[UNIVERSE].to_numpy(bool)
    wrong = 0
    for fold in folds.itertuples():
        days = np.array([fold.train_start, fold.train_end, fold.test_start], "datetime64[D]")
        first, last, test = np.searchsorted(subject.sessions, days)
        rows = usable & (subject.session >= first) & (subject.session <= last)
        rows &= (names == fold.symbol) | (fold.symbol not in manifest["symbols"])
        reach = known_in[rows] + manifest["settings"]["embargo_sessions"] >= test
        wrong += int(reach.sum() != fold.purged_rows)
    return wrong
