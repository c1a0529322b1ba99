"""The trainer contract: what every model of the zoo takes, checks and gives."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config, load_model_config
from CONFIG.errors import BarzooError, ConfigError, DataError, did_you_mean
from DATA_PROCESSING.dataset import Dataset, RowInfo
from DATA_PROCESSING.labels import task_of
from TRAINING.model_fun.input_checks import InputChecks

log = logging.getLogger("barzoo")


class Trainer(InputChecks, ABC):
    """One model: a configuration, then `train`, then `predict`.

    A subclass sets the class attributes and writes `_fit`, `_predict`, `_importance`, `payloads` and `restore`; checks,
    column order and the meaning of predictions are settled here once.

    Parameters
    ----------
    config : dict, optional
        Values as `CONFIG.config_loader.load_model_config` returns them; missing keys take the YAML's defaults. ``None``
        loads the model's configuration (so ``MODEL_VARIANT`` applies).

    Attributes
    ----------
    history : dict
        Learning curves: part (``"train"``, ``"validation"``) -> metric -> one value per round.
    features, target, task : list of str, str, str
        What it was trained on; ``task`` is ``"binary"`` or ``"regression"``.
    notes : list of str
        What the user should know of the training rows, such as features without any value.
    context_rows : int
        How many rows of its symbol before a row the model looks back at; the configuration says it. `predict` answers
        every row of X from the rows of X. So the caller puts so many rows before the first one that it asks for, and
        leaves their answers out, see `TRAINING.model_fun.context`; without them a model answers from what there is.
    """

    name: ClassVar[str]
    allows_nan: ClassVar[bool] = False
    many_targets: ClassVar[bool] = False  # whether `train` takes a table of targets
    makes_features: ClassVar[bool] = False  # whether `train` gives features, see `feature_trainer`
    predicts_position: ClassVar[bool] = False  # whether a regression's prediction is the position itself, in [-1, 1]
    tasks: ClassVar[tuple[str, ...]] = ("binary", "regression")  # what it can learn
    context_rows: ClassVar[int] = 0
    symbols_per_batch: ClassVar[int] = 1  # how many symbols `fit_many` likes to get at once

    def __init__(self, config: dict | None = None) -> None:
        self.config = load_model_config(self.name) if config is None else config

    def train(
        self,
        X_train: pd.DataFrame,
        y_train: pd.Series,
        X_val: pd.DataFrame | None = None,
        y_val: pd.Series | None = None,
        *,
        rows: RowInfo | None = None,
    ) -> Trainer:
        """Check the data and fit the model.

        Parameters
        ----------
        X_train : DataFrame
            (n, features); index (symbol, timestamp), or a plain index for one symbol in time order.
        y_train : Series
            (n,) same index; the name chooses the task where it is one of the project's labels. For a model that looks
            back (``context_rows`` above 0), a row with NaN is context: later rows read its features, and it is not
            learnt from. Any other model refuses it.
        X_val, y_val : DataFrame, Series, optional
            Later rows for early stopping, with context of their own; without them all rounds run.
        rows : RowInfo, optional
            When each training label becomes known, and sample weights.

        Raises
        ------
        DataError
            Values, labels or sizes that cannot be trained on; the message names them.
        ConfigError
            A configuration fault.
        """
        self.config = check_model_config(self.name, self.config)
        self.features = self._check_columns(X_train)
        y = self._check_labels(X_train, y_train, "y_train")
        self.target = str(y_train.name) if getattr(y_train, "name", None) is not None else None
        known = y[~np.isnan(y)]
        self.task = self._choose_task(known)
        self._check_classes(known)
        self.notes = []
        self._check_values(X_train, "X_train")
        needed = self._minimum_rows(known)
        if len(known) < needed:
            raise DataError(
                f"{self.name}: {len(known)} training rows, but no split is possible below {needed:g}; {self._advice}"
            )
        if (X_val is None) != (y_val is None):
            raise DataError(f"{self.name}: X_val and y_val come together; only one was given")
        if X_val is not None:
            X_val = self._align(X_val, "X_val")
            y_val = self._check_labels(X_val, y_val, "y_val")
        if rows is not None:
            self._check_rows(rows, len(y))
            if rows.sample_weight is not None:
                self._check_classes(known[np.asarray(rows.sample_weight)[~np.isnan(y)] > 0], "rows with a weight")
        self._fit(X_train, y, X_val, y_val, rows)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) class labels 0 and 1 (``binary``) or values; columns are found by name, their order does not matter."""
        score = self.predict_score(X)
        return (score > 0.5).astype(np.int64) if self.task == "binary" else score

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """(n, 2) probabilities of the classes 0 and 1.

        Raises
        ------
        ConfigError
            The model was trained on a regression.
        """
        self._check_trained()
        if self.task != "binary":
            raise ConfigError(
                f"{self.name}: predict_proba needs a binary target, {self.target!r} is a regression; use predict"
            )
        score = self.predict_score(X)
        return np.column_stack([1 - score, score])

    def predict_score(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) what results are made of: the probability of class 1 (``binary``) or the value."""
        self._check_trained()
        return self._predict(self._align(X, "X"))

    @property
    def model(self):
        """The scikit-learn estimator, after training: clonable, and usable in ``RFECV`` or ``GridSearchCV``.

        Raises
        ------
        BarzooError
            Not trained, or lean, or loaded from an artifact, which holds what predicts only.
        """
        if not hasattr(self, "_estimator"):
            raise BarzooError(
                f"{self.name}: no estimator; it exists after train, not in a lean model or one loaded from an artifact"
            )
        return self._estimator

    @model.setter
    def model(self, estimator) -> None:
        self._estimator = estimator

    def get_feature_importance(self, target: str | None = None) -> pd.Series:
        """Share of each feature in the model, descending, summing to 1; NaN where the model uses no feature at all.

        Parameters
        ----------
        target : str, optional
            The trained target; any other is an error.
        """
        self._check_trained()
        if target is not None and target != self.target:
            raise ConfigError(f"{self.name}: no target {target!r}{did_you_mean(target, [str(self.target)])}")
        importance = np.asarray(self._importance(), dtype=float)
        total = importance.sum()
        order = np.argsort(-importance, kind="stable")
        return pd.Series(
            importance[order] / (total if total > 0 else np.nan), np.array(self.features, dtype=object)[order]
        )

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """Scores that only this kind of model has, such as the loss of its quantiles; none unless a subclass says more.

        Parameters
        ----------
        X, y : DataFrame, Series
            (n,) rows that it was not trained on, in the order of their index; y is NaN without label, and where a row
            is only looked back at.
        rows : RowInfo, optional
            When each label becomes known, for a model that goes on to learn along these rows.

        Returns
        -------
        dict of str to float
            Finite values, for the report.
        """
        return {}

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """Small tables that only this kind of model has, for the report; X and y as of `own_scores`.

        By a name that `TRAINING.phases.answers` knows, with plain columns. A table with the column ``timestamp`` has a
        row per row of X, any other one is of a bounded size.
        """
        return {}

    def fit_many(self, datasets: Sequence[tuple[Dataset, Dataset | None]]) -> list[Trainer | BarzooError]:
        """Train one model per (training, validation) pair, with this trainer's configuration.

        The loop is the default; a model that can train several symbols faster together overrides it.

        Returns
        -------
        list
            Per pair the trained trainer, or the error that stopped it.
        """
        results: list[Trainer | BarzooError] = []
        for number, (train, validation) in enumerate(datasets):
            val = (validation.X, validation.y) if validation is not None else (None, None)
            trainer = type(self)(self.config)
            trainer.folder = None if self.folder is None else self.folder / str(number)
            try:
                results.append(trainer.train(train.X, train.y, *val, rows=train.rows))
            except BarzooError as error:
                results.append(error)
        return results

    # What a model writes for itself.

    folder: Path | None = None  # where a long training leaves checkpoints and goes on from them, where the model can
    lean = False  # whether it only has to predict, which is faster: `history` and `model` may then be missing
    rounds: int | None = None  # rounds of training that predictions use, where the model has rounds
    _advice: ClassVar[str] = "give more rows or lower the model's minimum"

    def _minimum_rows(self, y: np.ndarray) -> float:
        """Fewest rows with which the configuration can make one split."""
        return 2

    @property
    def stops_early(self) -> bool:
        """Whether validation rows would end its training."""
        return bool(self.config.get("early_stopping_rounds"))

    @abstractmethod
    def _fit(self, X: pd.DataFrame, y: np.ndarray, X_val: pd.DataFrame | None, y_val: np.ndarray | None, rows) -> None:
        """Fit on checked data; sets `model` and `history`."""

    @abstractmethod
    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) what `predict_score` gives; columns are in training order."""

    @abstractmethod
    def _importance(self) -> np.ndarray:
        """(features,) not negative, of any sum."""

    @abstractmethod
    def payloads(self) -> dict[str, bytes]:
        """The trained model as files (name -> bytes), in a format that cannot run code."""

    @abstractmethod
    def restore(self, payloads: dict[str, bytes]) -> None:
        """Take back what `payloads` gave; `features`, `target`, `task` and `history` are set by the caller."""


def find_task(target: str, y: np.ndarray, asked: str) -> str:
    """The task of a target, which a configuration cannot change where models and baselines are compared by one loss.

    Raises
    ------
    DataError
        It asks for another task.
    """
    task = task_of(target, y[~np.isnan(y)])
    if asked not in ("auto", task):
        raise DataError(f"the configuration asks for task: {asked}, but {target} is {task}; leave it at auto")
    return task
