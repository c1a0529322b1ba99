"""Several targets at once: one model that learns them together, or one model per target that looks like one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.registry import predictor_class
from TRAINING.strategies.base import check_rows, with_label, with_validation
from TRAINING.strategies.single_task import SingleTaskStrategy


@dataclass(frozen=True)
class MultiTaskModel:
    """One trained model per target, used as one model.

    Attributes
    ----------
    trainers : dict
        Target -> its trainer, in the order of the targets.
    """

    trainers: dict[str, Trainer]

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n, n_targets) values, and class labels 0 and 1 of binary targets, as float."""
        return np.column_stack([trainer.predict(X) for trainer in self.trainers.values()]).astype(float)

    def predict_score(self, X: pd.DataFrame) -> np.ndarray:
        """(n, n_targets) values, and probabilities of class 1 of binary targets."""
        return np.column_stack([trainer.predict_score(X) for trainer in self.trainers.values()])

    def get_feature_importance(self, target: str | None = None) -> pd.Series:
        """Share of each feature in a target's model, descending, summing to 1; without a target the models' mean.

        A model that uses no feature (NaN) has no part in the mean.
        """
        if target is None:
            shares = pd.concat([trainer.get_feature_importance() for trainer in self.trainers.values()], axis=1)
            return shares.loc[self.features].mean(axis=1).sort_values(ascending=False, kind="stable")
        if target not in self.trainers:
            raise ConfigError(f"no target {target!r}{did_you_mean(target, self.trainers)}")
        return self.trainers[target].get_feature_importance()

    @property
    def features(self) -> list[str]:
        """What every model was trained on."""
        return next(iter(self.trainers.values())).features

    @property
    def targets(self) -> list[str]:
        """The targets, in the order of the columns that `predict` gives."""
        return list(self.trainers)

    @property
    def notes(self) -> list[str]:
        """The trainers' notes, each with its target."""
        return [f"{target}: {note}" for target, trainer in self.trainers.items() for note in trainer.notes]


@dataclass(frozen=True)
class MultiTaskStrategy:
    """Train on several targets of the same rows, such as TTH, MDD and MFE.

    A model of several targets (its class says ``many_targets = True``) is trained on all of them together. Of any other
    model one is trained per target, as `SingleTaskStrategy` would, like scikit-learn's ``MultiOutputRegressor``.

    Parameters
    ----------
    model_name : str
        A model of the zoo.
    target_names : sequence of str
        Columns of the targets; predictions have their order.
    loss_weights : sequence of float, optional
        Above 0, one per target: what a target's loss counts in the sum that one model of several targets learns from.
        They become ``loss_weights`` in its configuration. Models of one target share no loss: there only equal weights
        are taken, others are an error rather than without effect.
    model_config : dict, optional
        As `CONFIG.config_loader.load_model_config` returns it; the model's default otherwise.
    """

    model_name: str
    target_names: Sequence[str]
    loss_weights: Sequence[float] | None = None
    model_config: dict | None = None

    def train(
        self,
        X_train: pd.DataFrame,
        y_train: pd.DataFrame,
        X_val: pd.DataFrame | None = None,
        y_val: pd.DataFrame | None = None,
        *,
        rows: RowInfo | None = None,
    ) -> MultiTaskModel | Trainer:
        """Train and return what predicts (n, n_targets) by ``predict`` and ``predict_score``.

        Parameters
        ----------
        X_train, X_val : DataFrame
            As `SingleTaskStrategy` takes them.
        y_train, y_val : DataFrame
            (n, targets) same index, with a column per target name. A missing label (NaN) takes its row from that
            target only.
        rows : RowInfo, optional
            With targets of several horizons, ``label_end`` is that of the farthest.

        Returns
        -------
        MultiTaskModel or Trainer
            The trainer itself where the model takes several targets.

        Raises
        ------
        ConfigError
            An unknown model, a repeated target, or loss weights that cannot be used.
        DataError
            A target that is not a column of y, or has no label in the training or the validation rows.
        """
        model = predictor_class(self.model_name)
        together = model.many_targets
        self._check_settings(together)
        y_train = self._choose(y_train, "y_train")
        y_val = None if y_val is None else self._choose(y_val, "y_val")
        if together:
            config = load_model_config(self.model_name) if self.model_config is None else self.model_config
            if self.loss_weights is not None:
                config = {**config, "loss_weights": [float(weight) for weight in self.loss_weights]}
            X_train, y_train, X_val, y_val, rows = with_validation(X_train, y_train, X_val, y_val, rows)
            return model(config).train(X_train, y_train, X_val, y_val, rows=rows)
        check_rows(X_train, y_train, X_val, y_val, rows)
        single, trainers = SingleTaskStrategy(self.model_name, self.model_config), {}
        for target in self.target_names:
            X, y, known = with_label(X_train, y_train[target], rows, "y_train")
            later = (None, None) if y_val is None else with_label(X_val, y_val[target], None, "y_val")[:2]
            trainers[target] = single.train(X, y, *later, rows=known)
        return MultiTaskModel(trainers)

    def _check_settings(self, together: bool) -> None:
        names = self.target_names
        if isinstance(names, str) or not len(names) or len(set(names)) < len(names):
            raise ConfigError(f"target_names: expected a list of different targets, got {names!r}")
        if self.loss_weights is None:
            return
        weights = self.loss_weights
        if len(weights) != len(names) or not all(isinstance(w, Real) and 0 < w < np.inf for w in weights):
            raise ConfigError(
                f"loss_weights: expected {len(names)} finite numbers above 0, one per target, got {weights!r}"
            )
        if not together and len(set(weights)) > 1:
            raise ConfigError(
                f"loss_weights: {self.model_name} trains one model per target, on which {list(weights)} have "
                "no effect; leave them out, or choose a model of several targets"
            )

    def _choose(self, y: pd.DataFrame, where: str) -> pd.DataFrame:
        if not isinstance(y, pd.DataFrame):
            raise DataError(f"{where} must be a DataFrame with a column per target, got {type(y).__name__}")
        for target in self.target_names:
            if target not in y:
                raise DataError(f"{where} has no target {target!r}{did_you_mean(target, y.columns)}")
        return y[list(self.target_names)]
