"""The rows of a unit: its target's windows, purged and weighed; those of several targets joined for one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo, make_dataset
from DATA_PROCESSING.labels import horizon_of, sample_weights
from DATA_PROCESSING.sessions import without_zone
from TRAINING.evaluation.splits import Windows, core_windows
from TRAINING.model_fun.context import with_context
from TRAINING.phases.plan import BASELINES, Plan, Unit


@dataclass(frozen=True)
class UnitData:
    """A unit's rows: purged training and validation windows, the whole test window and its closes.

    ``horizon`` is the number of bars that a signal is held. Where the target looks a span of time ahead, these are the
    usual bars on the path of a training row. ``data`` has all rows of the symbol, and ``places`` the positions in it of
    the windows' rows, for models that look back at the rows before them.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    close: np.ndarray
    horizon: int
    data: Dataset
    places: Windows

    def to_train(self, context_rows: int) -> tuple[Dataset, Dataset]:
        """Training and validation rows, each behind the rows that a model looks back at; these have no label."""
        return (
            with_context(self.train, self.data, self.places.train, context_rows),
            with_context(self.validation, self.data, self.places.validation, context_rows),
        )


def make_windows(unit: Unit, plan: Plan, table: pd.DataFrame) -> UnitData:
    """Cut a symbol's labeled table into the unit's windows, purged, and weigh the training rows.

    Raises
    ------
    DataError
        No labelled row to train or to stop on.
    """
    data = make_dataset(table, unit.target, unit.symbol)
    masks = core_windows(
        data.sessions,
        data.label_sessions,
        plan.inputs.sessions,
        plan.validation_start,
        plan.test_start,
        plan.settings["split"]["embargo_sessions"],
    )
    labelled = data.y.notna().to_numpy()
    for name, mask in (("training", masks.train), ("validation", masks.validation)):
        if not (mask & labelled).any():
            raise DataError(f"no labelled row of {unit.target} in the {name} window")
    row = np.flatnonzero(masks.train & labelled)
    end = np.searchsorted(without_zone(table["timestamp"]), data.rows.label_end[row], side="right") - 1
    session = np.searchsorted(plan.inputs.sessions, data.sessions[row])
    split = plan.settings["split"]
    weights = None
    if unit.model != BASELINES:
        weights = sample_weights(split["weights"], row, end, session.max() - session, split["half_life"])
    train = data.take(row)
    train = replace(train, rows=replace(train.rows, sample_weight=weights))
    horizon = horizon_of(unit.target, plan.inputs.symbols[unit.symbol].horizon)
    if isinstance(horizon, str):
        horizon = max(1, int(np.median(end - row)))
    close = table["close"].to_numpy(float)[masks.test]
    places = Windows(row, np.flatnonzero(masks.validation & labelled), np.flatnonzero(masks.test))
    return UnitData(train, data.take(places.validation), data.take(places.test), close, horizon, data, places)


def join_targets(windows: Sequence[UnitData]) -> tuple[Dataset, Dataset]:
    """Training and validation rows of one symbol's units, for a model that learns their targets together.

    A row is there if it is in the window of any target. y is a table with a column per target, NaN where the row has no
    label of it or is purged for it; ``label_end`` is the latest of the targets', a weight the mean over them.
    """
    whole = windows[0].data
    return (
        _join(whole, [(each.train, each.places.train) for each in windows]),
        _join(whole, [(each.validation, each.places.validation) for each in windows]),
    )


def _join(whole: Dataset, parts: list[tuple[Dataset, np.ndarray]]) -> Dataset:
    places = np.unique(np.concatenate([own for _, own in parts]))
    X, sessions = whole.X.iloc[places], whole.sessions[places]
    y = pd.DataFrame(np.nan, X.index, [part.y.name for part, _ in parts])
    weight, weighed = np.zeros(len(places)), np.zeros(len(places), int)
    label_end = np.full(len(places), "NaT", parts[0][0].rows.label_end.dtype)
    label_sessions = np.full(len(places), "NaT", sessions.dtype)
    for column, (part, own) in enumerate(parts):
        at = np.searchsorted(places, own)
        y.iloc[at, column] = part.y.to_numpy(float)
        label_end[at] = np.fmax(label_end[at], part.rows.label_end)
        label_sessions[at] = np.fmax(label_sessions[at], part.label_sessions)
        if part.rows.sample_weight is not None:
            weight[at] += part.rows.sample_weight
            weighed[at] += 1
    mean = weight / weighed if weighed.any() else None
    return Dataset(X, y, RowInfo(label_end, mean, sessions, label_sessions))
