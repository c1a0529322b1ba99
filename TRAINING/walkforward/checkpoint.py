"""Finished folds on the disk, so that a walk-forward that was stopped goes on, and one of a longer table adds folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import IntegrityError
from DATA_PROCESSING.symbols import file_stem
from TRAINING.evaluation.folds import Fold
from TRAINING.runs.manifest import digest, environment, read_sealed
from TRAINING.runs.store import training_folder, write_sealed
from TRAINING.walkforward.fold import Outcome, Work
from TRAINING.walkforward.panel import LabeledPanel

_PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The finished folds of one model and target in a folder.

    A fold is found again where everything that its result depends on is the same: the rows of its windows, the model's
    configuration, the settings and the libraries.
    """

    folder: Path
    panel: LabeledPanel
    work: Work

    def find(self, fold: Fold, symbol: str) -> Outcome | None:
        """A fold's outcome; None if there is none, or it is damaged or of something else."""
        try:
            record, files = read_sealed(self._path(fold, symbol))
        except IntegrityError:
            return None
        if record.get("identity") != self._identity(fold, symbol):
            return None
        made = pd.read_parquet(BytesIO(files[_PREDICTIONS]))
        rows = made.pop("row").to_numpy() + self._begin(fold)
        predictions = {name: column.to_numpy() for name, column in made.items()}
        return Outcome(record["record"], rows, predictions, record["thresholds"], record["importance"])

    def keep(self, fold: Fold, symbol: str, outcome: Outcome) -> None:
        """Write an outcome, whole or not at all."""
        buffer = BytesIO()
        # Rows count from the window's first, so that history added before it moves nothing.
        made = pd.DataFrame({"row": outcome.rows - self._begin(fold), **outcome.predictions})
        made.to_parquet(buffer, index=False)
        body = {
            "identity": self._identity(fold, symbol),
            "record": outcome.record,
            "thresholds": outcome.thresholds,
            "importance": outcome.importance,
        }
        write_sealed(self._path(fold, symbol), body, {_PREDICTIONS: buffer.getvalue()})

    def training(self, fold: Fold, symbol: str) -> Path:
        """Where the fold's net leaves checkpoints while it trains."""
        return training_folder(self._path(fold, symbol), self._identity(fold, symbol))

    def _path(self, fold: Fold, symbol: str) -> Path:
        return self.folder / f"{fold.test_start}" / file_stem(symbol or "pooled")

    def _begin(self, fold: Fold) -> int:
        return int(np.searchsorted(self.work.session, np.searchsorted(self.panel.sessions, fold.train_start)))

    def _identity(self, fold: Fold, symbol: str) -> str:
        first, last = np.searchsorted(self.panel.sessions, [fold.train_start, fold.test_end])
        rows = [item.hex() for item in self.panel.session_digests[first : last + 1]]
        windows = [str(day) for day in (fold.train_start, fold.test_start, fold.test_end, fold.last_known)]
        return digest([self._common, symbol, windows, rows])

    @cached_property
    def _common(self) -> dict:
        work = self.work
        return {
            "model": work.model_name,
            "config": work.config,
            "target": str(work.data.y.name),
            "features": list(work.data.X.columns),
            "settings": {
                name: work.settings[name] for name in ("min_train_samples", "early_stopping", "weights", "half_life")
            },
            "packages": environment()["packages"],
        }
