"""Nets that read a window of rows: LSTM, Transformer and one-dimensional convolutions."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.context import without_context
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.nets.sequence_estimators import SequenceClassifier, SequenceRegressor, answer

_TRAINING = (
    "window", "longest_gap", "dropout", "loss", "epochs", "batch_size", "learning_rate", "weight_decay", "schedule",
    "warmup", "gradient_clip", "early_stopping_rounds", "device", "precision", "n_jobs",
)  # fmt: skip


class SequenceTrainer(Trainer):
    """What the sequence models share: windows of a symbol's rows, over no long gap, gathered while training.

    `predict` reads the ``window - 1`` rows before a row (``context_rows``). Where a symbol has fewer, or a gap lies
    between, the first row behind it is repeated; training leaves such rows out.
    """

    allows_nan = True
    architecture: ClassVar[tuple[str, ...]]  # keys of the configuration that say what the net is made of
    _advice = "give more rows or lower window"

    @property
    def context_rows(self) -> int:
        """Rows before the first predicted one."""
        config = self.config if "window" in self.config else check_model_config(self.name, self.config)
        return config["window"] - 1

    def _minimum_rows(self, y: np.ndarray) -> float:
        return max(FEWEST_ROWS, self.config["window"])

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        config = self.config
        estimator = (SequenceClassifier if self.task == "binary" else SequenceRegressor)(
            net=self.name,
            architecture={key: config[key] for key in self.architecture},
            random_state=config["seed"],
            **{key: config[key] for key in _TRAINING},
        )
        estimator.folder = self.folder
        if self.lean and not config["early_stopping_rounds"]:
            X_val = y_val = None
        y, weight = without_context(y, None if rows is None else rows.sample_weight)
        estimator.fit(X, y.astype(np.int64) if self.task == "binary" else y, weight, X_val, y_val)
        result = estimator.result_
        self._estimator, self._net, self._shape = estimator, estimator.net_, estimator.shape_
        self.rounds = result.epochs
        self.notes += result.notes
        self.history = {part: {"loss": losses} for part, losses in result.history.items()}

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        config = self.config
        return answer(self._net, X, as_floats(X), self._shape.window, config["longest_gap"], config["n_jobs"])[:, 0]

    def _importance(self) -> np.ndarray:
        return (self._estimator.importances_ if hasattr(self, "_estimator") else self._stored_importances)[0]

    def payloads(self) -> dict[str, bytes]:
        from safetensors.torch import save

        about = {"net": self._shape.as_dict(), "rounds": self.rounds, "importances": [self._importance().tolist()]}
        return {"net.safetensors": save(self._net.state_dict()), "net.json": json.dumps(about).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.torch import load

        from TRAINING.neural.sequence_nets import NETS

        about = json.loads(payloads["net.json"])
        self._shape, self.rounds = NETS[self.name].from_dict(about["net"]), about["rounds"]
        self._stored_importances = np.array(about["importances"])
        self._net = self._shape.build()
        self._net.load_state_dict(load(payloads["net.safetensors"]))


class LSTMTrainer(SequenceTrainer):
    """Long short-term memory: reads a window row by row and answers from its last state."""

    name = "lstm"
    architecture = ("hidden", "layers")


class TransformerTrainer(SequenceTrainer):
    """A causal Transformer encoder: every row of a window looks at those before it; the last one answers."""

    name = "transformer"
    architecture = ("width", "attention_heads", "layers", "positions", "gradient_checkpointing")


class CNN1DTrainer(SequenceTrainer):
    """A temporal convolutional network: causal convolutions, further apart from layer to layer."""

    name = "cnn1d"
    architecture = ("channels", "kernel", "layers")
