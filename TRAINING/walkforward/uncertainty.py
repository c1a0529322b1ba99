"""Calibrated probabilities and intervals of stitched predictions, learnt from earlier ones whose labels were known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from DATA_PROCESSING.labels import label_end_of
from DATA_PROCESSING.sessions import without_zone
from TRAINING.calibration import fold_calibrations
from TRAINING.conformal import INTERVAL_METRICS, adaptive_intervals, score_intervals
from TRAINING.evaluation.baselines import BUY_AND_HOLD
from TRAINING.model_fun.registry import predicts_position

if TYPE_CHECKING:
    from TRAINING.evaluation.folds import Fold
    from TRAINING.walkforward.fold import Outcome
    from TRAINING.walkforward.trading import Trading

NO_INTERVALS = "a position is no guess at the label"
_FEWEST = {"sigmoid": 100, "isotonic": 1000}  # labels; of fewer, the latter makes certainties
_LEFT_AS_THEY_ARE = ("base_rate", BUY_AND_HOLD)  # the former says what it says, the latter says nothing


def calibrate_outcomes(
    trading: Trading, outcomes: list[tuple[Fold, str, Outcome]], stitched: dict[str, tuple[np.ndarray, ...]]
) -> tuple[list[tuple[Fold, str, Outcome]], list[str]]:
    """Calibrate a classifier and the baselines that learn from features, fold by fold.

    Parameters
    ----------
    trading : Trading
    outcomes : list of (Fold, str, Outcome)
    stitched : dict of str to (rows, predictions, thresholds, folds)
        What they give when stitched, per name.

    Returns
    -------
    outcomes : list of (Fold, str, Outcome)
        A fold without a map keeps its predictions.
    notes : list of str
        Those folds, and why.
    """
    method, table = trading.work.settings["calibration"], trading.panel.table
    y = trading.work.data.y.to_numpy(float)
    parts = []
    for name, (rows, prediction, _, fold) in stitched.items():
        if name not in _LEFT_AS_THEY_ARE:
            part = table[["timestamp", label_end_of(trading.target, table.columns)]].iloc[rows]
            part = part.set_axis(["timestamp", "label_end"], axis=1)
            parts.append(part.assign(model=name, fold=fold, y=y[rows], prediction=prediction))
    maps, reasons = fold_calibrations(pd.concat(parts, ignore_index=True), method, _FEWEST[method])
    calibrated = []
    for fold, symbol, outcome in outcomes:
        own = {name: maps[name, fold.number].apply(probability) if (name, fold.number) in maps else probability
               for name, probability in outcome.predictions.items()}  # fmt: skip
        calibrated.append((fold, symbol, replace(outcome, predictions=own)))
    return calibrated, [f"{name}: fold {fold}: {why}" for (name, fold), why in reasons.items()]


def add_intervals(predictions: pd.DataFrame, model: str, coverage: float) -> pd.DataFrame:
    """``predictions`` with the columns ``lower`` and ``upper``: the model's adaptive intervals, NaN for its baselines.

    A label that becomes known at its own bar, or nobody knows when, is not learnt from.
    """
    rows = predictions[predictions["model"] == model]
    late = without_zone(rows["label_end"]) > without_zone(rows["timestamp"])
    ends = adaptive_intervals(rows.assign(y=rows["y"].where(late)), coverage).reindex(predictions.index)
    place = predictions.columns.get_loc("prediction") + 1
    columns = [*predictions.columns[:place], *ends, *predictions.columns[place:]]
    return predictions.assign(**ends)[columns]


def interval_scores(
    predictions: pd.DataFrame, model: str, coverage: float, names: Iterable[str]
) -> dict[str, tuple[dict[str, float], dict[str, str]]]:
    """Coverage, mean width and interval score of each name, NaN without intervals, and the reasons.

    A model that predicts positions has no intervals: a position is no guess at the label.
    """
    scores = {}
    without = NO_INTERVALS if predicts_position(model) else "intervals is 0"
    for name in names:
        why = "only the model has intervals" if coverage else without
        scores[name] = {}, dict.fromkeys((metric.name for metric in INTERVAL_METRICS), why)
    if coverage:
        rows = predictions[predictions["model"] == model]
        found = score_intervals(rows["y"], rows["lower"], rows["upper"], coverage)
        scores[model] = found.values, found.reasons
    return scores
