"""Models in a row: each sees the features and what the models before it predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.out_of_fold import predict_out_of_fold
from TRAINING.model_fun.registry import predictor_class
from TRAINING.strategies.base import Target, check_rows, in_time_order, take, with_label, with_validation


@dataclass(frozen=True)
class CascadeModel:
    """Trained stages, used as one model: the last stage's, whose task and target are the cascade's.

    Attributes
    ----------
    stages : tuple of Trainer
        In their order. Each predicts with the columns ``p_<stage>_<model>``, the scores of those before it.
    notes : list of str
        The stages' notes, and how many rows each was trained on.
    """

    stages: tuple[Trainer, ...]
    notes: list[str] = field(default_factory=list)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) class labels 0 and 1 (``binary``) or values; columns are found by name, their order does not matter."""
        return self.stages[-1].predict(self._with_scores(X))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """(n, 2) probabilities of the classes 0 and 1; an error where the last stage is a regression."""
        return self.stages[-1].predict_proba(self._with_scores(X))

    def predict_score(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) the probability of class 1 (``binary``) or the value."""
        return self.stages[-1].predict_score(self._with_scores(X))

    def get_feature_importance(self, target: str | None = None) -> pd.Series:
        """Share of each feature, and of each earlier stage's prediction, in the last stage that has the target.

        Descending, summing to 1; without a target, in the last stage.
        """
        for stage in reversed(self.stages):
            if target in (None, stage.target):
                return stage.get_feature_importance()
        raise ConfigError(f"cascade: no target {target!r}{did_you_mean(target, {s.target for s in self.stages})}")

    @property
    def features(self) -> list[str]:
        """The columns that X needs: those of the first stage."""
        return self.stages[0].features

    @property
    def target(self) -> str:
        """What the last stage was trained on."""
        return self.stages[-1].target

    @property
    def task(self) -> str:
        """``binary`` or ``regression``, the last stage's."""
        return self.stages[-1].task

    def _with_scores(self, X: pd.DataFrame) -> pd.DataFrame:
        for number, stage in enumerate(self.stages[:-1], start=1):
            X = _with_score(X, _column(number, stage.name), stage.predict_score(X))
        return X


@dataclass(frozen=True)
class CascadeStrategy:
    """Train models one after the other, each on the features and the predictions of those before it.

    A stage is trained on *out-of-fold* predictions of the earlier ones, see
    `TRAINING.model_fun.out_of_fold.predict_out_of_fold`: the rows before a stage's first block have none, so the stages
    behind it are trained without them. To predict, each stage is fitted once more on all the rows it may see. On the
    validation rows a stage sees what the fitted earlier ones predict; these chose their rounds by the same rows.

    Parameters
    ----------
    models : sequence of str
        Models of the zoo, the first stage first.
    model_configs : sequence of dict or None, optional
        One per model, as `CONFIG.config_loader.load_model_config` returns it; None is the model's default.
    blocks : int
        Into how many blocks, behind a first part, the sessions are cut; a stage is fitted ``blocks + 1`` times, the
        last one once.
    """

    models: Sequence[str]
    model_configs: Sequence[dict | None] | None = None
    blocks: int = 5

    def train(
        self,
        X_train: pd.DataFrame,
        y_train: Target,
        X_val: pd.DataFrame | None = None,
        y_val: Target | None = None,
        *,
        rows: RowInfo | None = None,
    ) -> CascadeModel:
        """Train all stages and return the model that they are together. The order of the rows does not matter.

        Parameters
        ----------
        X_train, X_val : DataFrame
            As `SingleTaskStrategy` takes them: without ``X_val`` the purged tail of the training rows is held out.
        y_train, y_val : Series or DataFrame
            (n,) the target of all stages, without missing labels; or (n, stages), of which column i is the target of
            stage i, where a missing label (NaN) takes its row from that stage's training only.
        rows : RowInfo, optional
            With several targets, ``label_end`` is that of the farthest horizon.

        Raises
        ------
        ConfigError
            No model, an unknown one, or another number of configurations than of models.
        DataError
            Rows that cannot be trained on, or too few of them for the blocks.
        """
        makers = self._makers()
        check_rows(X_train, y_train, X_val, y_val, rows)
        for number, name in enumerate(self.models, start=1):
            if (column := _column(number, name)) in X_train:
                raise DataError(f"cascade: X_train has a column {column!r}, as stage {number} names its predictions")
        X, y, rows = in_time_order(X_train, self._targets(y_train, "y_train"), rows)
        if X_val is not None:
            X_val, y_val, _ = in_time_order(X_val, self._targets(y_val, "y_val"), None)
            if list(y_val.columns) != list(y.columns):
                raise DataError(f"cascade: y_val has the targets {list(y_val.columns)}, y_train {list(y.columns)}")
        X, y, X_val, y_val, rows = with_validation(X, y, X_val, y_val, rows)
        stages, notes = [], []
        for number, (name, make) in enumerate(zip(self.models, makers, strict=True), start=1):
            target, later = y.iloc[:, number - 1], y_val.iloc[:, number - 1]
            fit_X, fit_y, fit_rows = with_label(X, target, rows, "y_train")
            stage = make().train(fit_X, fit_y, *with_label(X_val, later, None, "y_val")[:2], rows=fit_rows)
            stages.append(stage)
            notes.append(f"stage {number}, {name}: trained on {len(fit_X)} rows of {target.name}")
            notes += [f"stage {number}, {name}: {note}" for note in stage.notes]
            if number == len(makers):
                break
            score = predict_out_of_fold(make, X, target, rows, blocks=self.blocks)
            known, column = np.isfinite(score), _column(number, name)
            X, y, rows = take(_with_score(X, column, score), y, rows, known)
            X_val = _with_score(X_val, column, stage.predict_score(X_val))
        return CascadeModel(tuple(stages), notes)

    def _makers(self) -> list[partial]:
        if isinstance(self.models, str) or not self.models:
            raise ConfigError(f"cascade: models must be a list of at least one model, got {self.models!r}")
        configs = [None] * len(self.models) if self.model_configs is None else self.model_configs
        if len(configs) != len(self.models):
            raise ConfigError(
                f"cascade: {len(self.models)} models need as many model_configs, got {len(configs)}; write None for a "
                "model's default"
            )
        return [partial(predictor_class(name), config) for name, config in zip(self.models, configs, strict=True)]

    def _targets(self, y: Target, where: str) -> pd.DataFrame:
        """(n, stages) the target of each stage."""
        stages = len(self.models)
        if isinstance(y, pd.DataFrame):
            if y.shape[1] != stages:
                raise DataError(
                    f"cascade: {where} has {y.shape[1]} targets, the cascade {stages} stages; give a column per stage, "
                    "or one target for all as a Series"
                )
            return y
        if not isinstance(y, pd.Series):
            raise DataError(f"cascade: {where} must be a Series or a DataFrame, got {type(y).__name__}")
        if y.isna().any():
            raise DataError(f"cascade: {where} has {int(y.isna().sum())} missing labels; drop those rows first")
        return pd.concat([y] * stages, axis=1)


def _column(number: int, name: str) -> str:
    return f"p_{number}_{name}"


def _with_score(X: pd.DataFrame, column: str, score: np.ndarray) -> pd.DataFrame:
    """X and a stage's scores, single like most features, so that X keeps its size."""
    return X.assign(**{column: score.astype(np.float32)})
