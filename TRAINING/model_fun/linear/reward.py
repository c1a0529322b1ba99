"""Reward-weighted regression: a model of positions rather than of the target."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import RowInfo
from DATA_PROCESSING.labels import label_of
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import FEWEST_ROWS, as_floats
from TRAINING.model_fun.linear.reward_estimators import (
    RewardClassifier,
    RewardRegressor,
    RewardWeighted,
    moved,
    rewards,
)

_BPS = 1e-4
_ARRAYS = ("centre_", "scale_", "slopes_")
_NUMBERS = ("intercept_", "temperature_", "share_")


class RewardBasedTrainer(Trainer):
    """A linear policy of positions, learnt from the rewards that positions would have had, after costs.

    Reward-weighted regression (Peters and Schaal 2007, "Reinforcement learning by reward-weighted regression for
    operational space control"): positions are weighted by ``exp(reward / temperature)`` and a policy is fitted to them,
    round by round. The temperature makes a configured share of them count, by Kish's effective size. Once the label is
    known so is the reward of any position, so those of a grid of positions are computed and none is drawn.

    Of a regression the target is the gain, a return such as ``fwd_ret_h``, and `predict` gives the position in [-1, 1].
    Of a binary target the gain is the label less its share among the training rows, towards the label's own side: long
    for peaks, short for valleys. What stands for its probability is that share, moved towards 1 or 0 by the policy, so
    it is above the share where a position is taken. `predict_position` gives the positions of either.

    The cost is in units of the gain: basis points of the traded value for a return; beside labels of 0 and 1, or of -1
    and 1, it is next to nothing.
    """

    name = "reward_based"
    allows_nan = True
    predicts_position = True

    def predict_position(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) positions in [-1, 1]; of a peak or a valley from none to a whole one on its side."""
        self._check_trained()
        return self._side * self._sizes(self._align(X, "X"))

    def own_scores(self, X: pd.DataFrame, y: pd.Series, rows: RowInfo | None = None) -> dict[str, float]:
        """``mean_reward`` of the labelled rows after costs, in units of the gain, and how much it is in the market.

        ``share_in_market`` is the share of rows with a position, ``mean_position`` the mean of their sizes.
        """
        self._check_trained()
        size, known = self._sizes(self._align(X, "X")), y.notna().to_numpy()
        scores = {"share_in_market": float((size != 0).mean()), "mean_position": float(np.abs(size).mean())}
        if known.any():
            gain = y.to_numpy(float)[known]
            gain = gain - self._estimator.share_ if self.task == "binary" else gain
            scores["mean_reward"] = float(rewards(size[known], gain, self._estimator.cost).mean())
        return scores

    @property
    def _side(self) -> float:
        """-1 where the target's positions are short."""
        return -1.0 if self._rule == "short_flat" else 1.0

    @property
    def _rule(self) -> str | None:
        label = label_of(str(self.target))
        return label and label.money_rule

    def _sizes(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) positions towards the target's side; below 0 only where it has none."""
        position = self._estimator.positions(as_floats(X))
        return np.maximum(position, 0.0) if self._rule in ("long_flat", "short_flat") else position

    def _minimum_rows(self, y: np.ndarray) -> float:
        return FEWEST_ROWS

    def _choose_task(self, y: np.ndarray) -> str:
        label = label_of(str(self.target))
        if label and label.money_rule is None:
            raise ConfigError(
                f"{self.name}: {self.target} says nothing of what a position earns; choose a return such as fwd_ret_5, "
                "y_first_touch, y_will_peak or y_will_valley"
            )
        return super()._choose_task(y)

    def _make(self) -> RewardWeighted:
        config = self.config
        return (RewardClassifier if self.task == "binary" else RewardRegressor)(
            cost=config["cost_bps"] * _BPS,
            effective_share=config["effective_share"],
            ridge=config["ridge"],
            iterations=config["iterations"],
            smallest_position=config["smallest_position"],
        )

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        y = y.astype(np.int64) if self.task == "binary" else y
        weight = None if rows is None else rows.sample_weight
        self._estimator = self._make().fit(X, y, weight, None if X_val is None else as_floats(X_val), y_val)
        self.rounds = self.config["iterations"]
        self.history = {part: {"regret": values} for part, values in self._estimator.regrets_.items()}

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        position = self._estimator.positions(as_floats(X))
        return moved(position, self._estimator.share_) if self.task == "binary" else position

    def _importance(self) -> np.ndarray:
        return np.abs(self._estimator.slopes_)

    def payloads(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        learnt = vars(self._estimator)
        numbers = {name: learnt[name] for name in _NUMBERS if name in learnt} | {"rounds": self.rounds}
        arrays = {name: learnt[name] for name in _ARRAYS}
        return {"policy.safetensors": save(arrays), "policy.json": json.dumps(numbers).encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        from safetensors.numpy import load

        numbers = json.loads(payloads["policy.json"])
        self.rounds, self._estimator = numbers.pop("rounds"), self._make()
        for name, value in (load(payloads["policy.safetensors"]) | numbers).items():
            setattr(self._estimator, name, value)
        self._estimator.n_features_in_ = len(self.features)
        self._estimator.feature_names_in_ = np.array(self.features, dtype=object)
        if self.task == "binary":
            self._estimator.classes_ = np.array([0, 1])
