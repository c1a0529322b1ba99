"""How far probabilities and intervals can be relied on, and what gates did: frames for the report of walk-forwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from TRAINING.calibration import CALIBRATION_METRICS, score_calibration
from TRAINING.conformal import INTERVAL_METRICS, score_intervals
from TRAINING.reports.reliability import coverage_by_session
from TRAINING.walkforward.contest import Contest
from TRAINING.walkforward.results import WalkForwardResults

Named = Sequence[tuple[str, WalkForwardResults]]


def calibration_scores(contest: Contest) -> pd.DataFrame:
    """``model`` and the scores of its probabilities, of models and baselines; empty for values."""
    table = []
    for name, rows in contest.rows.groupby("model", observed=True):
        if contest.task == "binary" and rows["prediction"].notna().any():
            table.append({"model": str(name), **score_calibration(rows["y"], rows["prediction"]).values})
    return pd.DataFrame(table, columns=["model", *(metric.name for metric in CALIBRATION_METRICS)])


def coverage_scores(named: Named) -> pd.DataFrame:
    """``target, model, year`` (missing: all of them), the coverage ``asked`` for, and the scores of the intervals."""
    table = []
    for name, result in _with_intervals(named):
        asked = result.manifest["settings"]["intervals"]
        rows = result.predictions[result.predictions["lower"].notna()]
        for year, part in [(None, rows), *rows.groupby(rows["session"].dt.year)]:
            found = score_intervals(part["y"], part["lower"], part["upper"], asked)
            about = {"target": result.manifest["target"], "model": name, "year": year, "asked": asked}
            table.append(about | found.values)
    names = ["target", "model", "year", "asked", *(metric.name for metric in INTERVAL_METRICS)]
    return pd.DataFrame(table, columns=names).astype({"year": "Int64"})


def coverage_through_time(named: Named, window: Callable[[int], int]) -> pd.DataFrame:
    """``target, model, session``; ``held``, the share of the labels of trailing sessions, and mean ``width``.

    ``window`` says how many sessions these are, of so many that there are.
    """
    parts = []
    for name, result in _with_intervals(named):
        rows = result.predictions[result.predictions["lower"].notna()]
        found = coverage_by_session(rows, window(rows["session"].nunique())).rename(columns={"coverage": "held"})
        parts.append(found.assign(target=result.manifest["target"], model=name))
    columns = ["target", "model", "session", "held", "width"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _with_intervals(named: Named) -> Named:
    """Results that have intervals; those behind gates have the ones of the model in front of them."""
    return [
        (name, result)
        for name, result in named
        if not is_gated(result) and "lower" in result.predictions and result.predictions["lower"].notna().any()
    ]


def is_gated(result: WalkForwardResults) -> bool:
    """Whether positions passed through gates; the predictions are those of another result then."""
    return "gates" in result.manifest


def gate_rows(named: Named) -> list[pd.DataFrame]:
    """What each gate did, as rows of the comparisons: ``rival`` is the gate, and ``kind`` says so."""
    return [
        pd.DataFrame(result.manifest["gates"])
        .rename(columns={"gate": "rival"})
        .assign(target=result.manifest["target"], model=name, kind="gate")
        for name, result in named
        if is_gated(result)
    ]
