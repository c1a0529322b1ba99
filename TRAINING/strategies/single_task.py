"""One model per target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from CONFIG.errors import BarzooError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.registry import predictor_class
from TRAINING.strategies.base import with_validation


@dataclass(frozen=True)
class SingleTaskStrategy:
    """Train one model on one target.

    Parameters
    ----------
    model_name : str
        A model of the zoo.
    model_config : dict, optional
        As `CONFIG.config_loader.load_model_config` returns it; the model's default otherwise.
    """

    model_name: str
    model_config: dict | None = None

    def train(
        self,
        X_train: pd.DataFrame,
        y_train: pd.Series,
        X_val: pd.DataFrame | None = None,
        y_val: pd.Series | None = None,
        *,
        rows: RowInfo | None = None,
    ) -> Trainer:
        """Train and return the model, which predicts.

        Without ``X_val`` the last sessions of the training rows are held out for early stopping, and rows whose label
        is known only there are purged; without ``rows`` the target's name tells how many, or run_config/split.yaml.
        """
        trainer = predictor_class(self.model_name)(self.model_config)
        X_train, y_train, X_val, y_val, rows = with_validation(X_train, y_train, X_val, y_val, rows)
        return trainer.train(X_train, y_train, X_val, y_val, rows=rows)

    def train_many(
        self, datasets: Sequence[tuple[Dataset, Dataset]], folder: Path | None = None
    ) -> list[Trainer | BarzooError]:
        """Train one model per (training, validation) pair; an error stands in the place of the model it stopped.

        A long training of a net leaves checkpoints in ``folder`` and goes on from them.
        """
        trainer = predictor_class(self.model_name)(self.model_config)
        trainer.folder = folder
        return trainer.fit_many(datasets)
