"""What became of a unit."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from TRAINING.phases.plan import Unit


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit.

    Attributes
    ----------
    status : str
        ``done``, ``failed``, ``skipped`` or ``interrupted``.
    record : dict
        Its manifest: sizes, scores, importance, notes.
    predictions : pyarrow.Table, optional
        A row per test bar and name (the model's, or each baseline's): ``name, timestamp, session, y, prediction,
        position, position_change, asset_return, net_return``; money is NaN for a target without a money rule.
    history : dict
        Learning curves.
    answers : dict of str to DataFrame
        What only this kind of model tells, see `TRAINING.phases.answers`.
    resumed : bool
        Found finished on the disk.
    """

    unit: Unit
    status: str
    reason: str = ""
    record: dict = field(default_factory=dict)
    predictions: pa.Table | None = None
    history: dict = field(default_factory=dict)
    answers: dict[str, pd.DataFrame] = field(default_factory=dict)
    resumed: bool = False
