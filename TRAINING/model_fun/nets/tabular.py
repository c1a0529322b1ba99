"""Nets on tables of features: the MLP, and one net of several targets."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config
from CONFIG.errors import ConfigError, DataError, did_you_mean
from TRAINING.model_fun.base import find_task
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.nets.estimators import NeuralClassifier, NeuralMultiTask, NeuralRegressor
from TRAINING.model_fun.nets.trainer import NetTrainer

TOUCH = "touch"  # the head beside TTH: was a barrier touched at all?


class MLPTrainer(NetTrainer):
    """A multi-layer perceptron; it standardises, bounds and imputes its features itself, from training rows only."""

    name = "mlp"
    allows_nan = True

    def _minimum_rows(self, y: np.ndarray) -> float:
        return FEWEST_ROWS

    def _settings(self) -> dict:
        config = self.config
        return {
            "hidden": tuple(config["hidden"]),
            "activation": config["activation"],
            "norm": config["norm"],
            "dropout": config["dropout"],
            "missing_indicators": config["missing_indicators"],
            "loss": config["loss"],
            "epochs": config["epochs"],
            "batch_size": config["batch_size"],
            "learning_rate": config["learning_rate"],
            "weight_decay": config["weight_decay"],
            "schedule": config["schedule"],
            "warmup": config["warmup"],
            "gradient_clip": config["gradient_clip"],
            "early_stopping_rounds": config["early_stopping_rounds"],
            "device": config["device"],
            "precision": config["precision"],
            "n_jobs": config["n_jobs"],
            "random_state": config["seed"],
        }

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        estimator = (NeuralClassifier if self.task == "binary" else NeuralRegressor)(**self._settings())
        weight = None if rows is None else rows.sample_weight
        self._train(estimator, X, y.astype(np.int64) if self.task == "binary" else y, X_val, y_val, weight)

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return self._answers(X)[:, self._head]

    @property
    def _head(self) -> int:
        """The place of the target among the net's heads: of a net of several targets, the one that has its name."""
        return next((place for place, head in enumerate(self._shape.heads) if head.name == self.target), 0)

    def _answers(self, X: pd.DataFrame) -> np.ndarray:
        """(n, heads) values and probabilities."""
        from TRAINING.neural.threads import limited_threads

        with limited_threads(self.config["n_jobs"]):
            return self._net.predict(as_floats(X))

    def _importances(self) -> np.ndarray:
        """(heads, features) of any sum."""
        return self._estimator.importances_ if hasattr(self, "_estimator") else self._stored_importances

    def _importance(self) -> np.ndarray:
        return self._importances()[self._head]

    def payloads(self) -> dict[str, bytes]:
        from safetensors.torch import save

        about = {"net": self._shape.as_dict(), "rounds": self.rounds, "importances": self._importances().tolist()}
        return {"net.safetensors": save(self._net.state_dict()), "net.json": json.dumps(about).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.torch import load

        from TRAINING.neural.nets import MLPConfig

        about = json.loads(payloads["net.json"])
        self._shape, self.rounds = MLPConfig.from_dict(about["net"]), about["rounds"]
        self._stored_importances = np.array(about["importances"])
        self._net = self._shape.build()
        self._net.load_state_dict(load(payloads["net.safetensors"]))


class MultiTaskTrainer(MLPTrainer):
    """One net of several targets: they share a trunk, and each has a head, a value or a probability.

    `train` takes a table of targets, NaN where missing, or one target, which makes it an MLP. Of a table, ``target`` is
    the list of its columns, and ``task`` is ``"multi_task"``. TTH is missing where no barrier was touched, so that its
    head estimates it given a touch; a further head, `predict_touch`, says how likely a touch is.
    """

    name = "multi_task"
    many_targets = True

    def train(self, X_train, y_train, X_val=None, y_val=None, *, rows=None) -> MultiTaskTrainer:
        """Check the data and fit the net; as `Trainer.train`, but y may be a DataFrame (n, targets) with NaN.

        Raises
        ------
        DataError, ConfigError
            As there; a target without labels or variation, or a number of ``loss_weights`` that is not theirs.
        """
        if not isinstance(y_train, pd.DataFrame):
            return super().train(X_train, y_train, X_val, y_val, rows=rows)
        self.config = check_model_config(self.name, self.config)
        self.features = self._check_columns(X_train)
        self.notes = []
        self._check_values(X_train, "X_train")
        if (X_val is None) != (y_val is None):
            raise DataError(f"{self.name}: X_val and y_val come together; only one was given")
        if rows is not None:
            self._check_rows(rows, len(X_train))
        y = self._check_table(X_train, y_train, "y_train")
        targets = list(y.columns)
        kinds = [self._kind(y[target].dropna().to_numpy(), target) for target in targets]
        if rows is not None and rows.sample_weight is not None:
            weighted = y[np.asarray(rows.sample_weight) > 0]
            for target in targets:
                self._kind(weighted[target].dropna().to_numpy(), target, "rows with a weight")
        if X_val is not None:
            X_val, y_val = self._align(X_val, "X_val"), self._check_table(X_val, y_val, "y_val")
            if list(y_val.columns) != targets:
                raise DataError(f"{self.name}: y_val has the targets {list(y_val.columns)}, y_train has {targets}")
        weights = self._weights(len(targets))
        heads = list(zip(targets, kinds, weights, strict=True))
        touched = _touched(y) if self.config["touch_head"] else None
        if touched is not None and touched.nunique() == 2:
            heads.append((TOUCH, "binary", max(weights)))
            y = y.assign(**{TOUCH: touched})
            y_val = None if y_val is None else y_val.assign(**{TOUCH: _touched(y_val)})
        known = y.notna().any(axis=1).to_numpy()
        if known.sum() < FEWEST_ROWS:
            raise DataError(f"{self.name}: {known.sum()} rows with a label, but it takes {FEWEST_ROWS} to learn")
        later = (None, None) if y_val is None else (X_val, y_val.to_numpy(float))
        estimator = NeuralMultiTask(heads, **self._settings())
        weight = None if rows is None else rows.take(known).sample_weight
        self._train(estimator, X_train[known], y[known].to_numpy(float), *later, weight)
        self.target, self.task = targets, "multi_task"
        return self

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        self._weights(1)
        self.config["touch_head"]  # of a table with TTH only
        super()._fit(X, y, X_val, y_val, rows)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n, targets) values, and classes 0 and 1 of binary targets, as float; (n,) for one target."""
        score = self.predict_score(X)
        if self.task != "multi_task":
            return super().predict(X)
        binary = [head.kind == "binary" for head in self._shape.heads[: score.shape[1]]]
        return np.where(binary, score > 0.5, score)

    def of_target(self, target: str) -> MultiTaskTrainer:
        """This net, trained on several targets, as a model of one of them.

        Raises
        ------
        ConfigError
            It was not trained on it.
        """
        self._check_trained()
        if target not in self.target:
            raise ConfigError(f"{self.name}: no target {target!r}{did_you_mean(target, self.target)}")
        one = copy.copy(self)
        one.target, one.task = target, self._shape.heads[self.target.index(target)].kind
        return one

    def predict_touch(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) probability that a barrier is touched within the horizon.

        Raises
        ------
        ConfigError
            It was not trained with TTH beside another target, or ``touch_head`` is off.
        """
        self._check_trained()
        if self._shape.heads[-1].name != TOUCH:
            raise ConfigError(f"{self.name}: no touch head; train on TTH and another target, with touch_head: true")
        return self._answers(self._align(X, "X"))[:, -1]

    def get_feature_importance(self, target: str | None = None) -> pd.Series:
        """Share of each feature, descending, summing to 1: in one target's answers, or the mean over the targets."""
        if getattr(self, "task", None) != "multi_task":
            return super().get_feature_importance(target)
        if target is not None and target not in self.target:
            raise ConfigError(f"{self.name}: no target {target!r}{did_you_mean(target, self.target)}")
        each = self._importances()[: len(self.target)]
        share = each / np.where(each.sum(axis=1, keepdims=True) > 0, each.sum(axis=1, keepdims=True), np.nan)
        chosen = share.mean(axis=0) if target is None else share[self.target.index(target)]
        return pd.Series(chosen, index=self.features).sort_values(ascending=False, kind="stable")

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return self._answers(X)[:, : len(self.target)] if self.task == "multi_task" else super()._predict(X)

    def _check_table(self, X: pd.DataFrame, y: pd.DataFrame, where: str) -> pd.DataFrame:
        if not isinstance(y, pd.DataFrame) or not len(y.columns) or not y.columns.is_unique:
            raise DataError(f"{self.name}: {where} must be a DataFrame with one column per target, no name twice")
        if len(y) != len(X) or not y.index.equals(X.index):
            raise DataError(f"{self.name}: {where} ({len(y)} rows) and X ({len(X)}) have different indexes; align them")
        for target in y:
            if not pd.api.types.is_numeric_dtype(y[target]) or np.isinf(y[target].to_numpy(float)).any():
                raise DataError(
                    f"{self.name}: {where}, target {target!r}: must be finite numbers, or NaN where missing"
                )
        return y.astype(float)

    def _kind(self, known: np.ndarray, target: str, which: str = "rows") -> str:
        if not len(known):
            raise DataError(f"{self.name}: the target {target!r} has no label in the training {which}; leave it out")
        self.target, self.task = target, find_task(target, known, self.config["task"])
        self._check_classes(known, which)
        return self.task

    def _weights(self, count: int) -> list[float]:
        weights = self.config["loss_weights"]
        if len(weights) not in (1, count):
            raise ConfigError(
                f"{self.name}: loss_weights has {len(weights)} numbers for {count} targets; give one each"
            )
        return weights if len(weights) == count else weights * count


def _touched(y: pd.DataFrame) -> pd.Series | None:
    """1 where TTH is known, 0 where only others are, NaN where nothing is; ``None`` without TTH beside others."""
    if "TTH" not in y or y.shape[1] < 2:
        return None
    others = y.drop(columns="TTH").notna().any(axis=1)
    return y["TTH"].notna().astype(float).where(others | y["TTH"].notna())
