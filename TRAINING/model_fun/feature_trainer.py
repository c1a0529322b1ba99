"""The contract of trainers that make features: they learn rows without a target, and give latents."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NoReturn

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config
from CONFIG.errors import ConfigError
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import as_floats
from TRAINING.model_fun.registry import PREDICTORS, class_name


class FeatureTrainer(Trainer):
    """A model that makes features: `train` returns them, `transform` makes them of other rows, nothing is predicted.

    What predicts from them is another class of the same name, see `TRAINING.model_fun.registry.predictor_class`.
    A subclass writes `_fit`, `encode`, `payloads` and `restore`. ``task`` is ``"features"``, ``target`` is ``None``.
    """

    makes_features: ClassVar[bool] = True

    def train(self, X_train, y_train=None, X_val=None, y_val=None, *, rows=None) -> pd.DataFrame:
        """Check the rows, fit the model to them, and return their latents.

        Parameters
        ----------
        X_train : DataFrame
            (n, features); index (symbol, timestamp), or any other.
        y_train, y_val : optional
            Not looked at: taken so that it can be trained as any other model.
        X_val : DataFrame, optional
            Later rows for early stopping; without them all rounds run.
        rows : RowInfo, optional
            Checked; weights are refused.

        Returns
        -------
        DataFrame
            (n, latents) ``latent_0``, ``latent_1``, ... with the index of ``X_train``.

        Raises
        ------
        DataError
            Values or sizes that cannot be learnt; the message names them.
        ConfigError
            A configuration fault, or sample weights.
        """
        self.config = check_model_config(self.name, self.config)
        self.features = self._check_columns(X_train)
        self.notes = []
        self._check_values(X_train, "X_train")
        self._check_count(len(X_train))
        if X_val is not None:
            X_val = self._align(X_val, "X_val")
        if rows is not None:
            self._check_rows(rows, len(X_train))
            if rows.sample_weight is not None:
                raise ConfigError(f"{self.name}: learns all rows alike; leave sample_weight out")
        self._fit(X_train, None, X_val, None, rows)
        self.target, self.task = None, "features"
        return self.transform(X_train)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """(n, latents) float32 of rows, with their index; columns are found by name, a row gives the same alone."""
        self._check_trained()
        latents = self.encode(as_floats(self._align(X, "X"))).astype(np.float32)
        return pd.DataFrame(latents, X.index, [f"latent_{number}" for number in range(latents.shape[1])])

    def predict_score(self, X: pd.DataFrame) -> NoReturn:
        """There is nothing to predict.

        Raises
        ------
        ConfigError
            Always.
        """
        self._refuse()

    def predict_proba(self, X: pd.DataFrame) -> NoReturn:
        """As `predict_score`."""
        self._refuse()

    def get_feature_importance(self, target: str | None = None) -> NoReturn:
        """As `predict_score`: nothing is predicted, so no feature matters for it."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._check_trained()
        raise ConfigError(
            f"{self.name}: makes features and predicts nothing itself; use transform, or train "
            f"TRAINING.model_fun.{class_name(PREDICTORS[self.name])}, a linear model of what it gives"
        )

    def _predict(self, X: pd.DataFrame) -> NoReturn:
        self._refuse()

    def _importance(self) -> NoReturn:
        self._refuse()

    def _check_count(self, count: int) -> None:
        """Refuse too few rows."""

    @abstractmethod
    def quality(self, X: pd.DataFrame) -> dict[str, float]:
        """How well the model knows rows, best such as it was not trained on, as numbers with names."""

    @abstractmethod
    def encode(self, X: np.ndarray) -> np.ndarray:
        """(n, features), columns in training order -> (n, latents)."""
