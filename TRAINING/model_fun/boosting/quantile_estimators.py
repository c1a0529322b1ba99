"""A scikit-learn estimator of several quantiles by gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from CONFIG.errors import ConfigError
from TRAINING.model_fun.boosting.boosters import import_lightgbm
from TRAINING.model_fun.estimators import TableEstimator, seed_of


@dataclass(frozen=True)
class QuantileBoosters:
    """A trained booster per level, in the order of the levels, and how many of their rounds count."""

    boosters: tuple
    rounds: int

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n, levels) quantiles, which can cross."""
        return np.column_stack([b.predict(X, num_iteration=self.rounds, num_threads=1) for b in self.boosters])

    def importance(self) -> np.ndarray:
        """(features,) mean over the levels of each feature's share of the gain; a level without a split has none."""
        gain = np.array([b.feature_importance("gain", iteration=self.rounds) for b in self.boosters])
        total = gain.sum(axis=1, keepdims=True)
        return np.divide(gain, total, out=np.zeros_like(gain), where=total > 0).mean(axis=0)


class QuantileLightGBM(RegressorMixin, TableEstimator):
    """LightGBM's quantile regression for several levels at once.

    Parameters
    ----------
    levels : sequence of float
        Rising within (0, 1).
    n_estimators, early_stopping_rounds : int
        Rounds at most, and how many may pass without a lower mean loss on validation rows; 0 = all run.
    **others
        As of ``lightgbm.LGBMRegressor``. A leaf's value is the quantile of its rows' residuals, so ``reg_lambda`` only
        weighs splits.

    Attributes
    ----------
    quantiles_ : QuantileBoosters
    history_ : dict
        Mean pinball loss over the levels after each round, of the parts ``train`` and ``validation``.
    """

    def __init__(
        self,
        levels=(0.05, 0.25, 0.5, 0.75, 0.95),
        n_estimators=500,
        learning_rate=0.03,
        num_leaves=4,
        max_depth=2,
        min_child_samples=60,
        colsample_bytree=0.3,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=20.0,
        max_bin=31,
        force_col_wise=True,
        early_stopping_rounds=50,
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.levels = levels
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.colsample_bytree = colsample_bytree
        self.subsample = subsample
        self.subsample_freq = subsample_freq
        self.reg_lambda = reg_lambda
        self.max_bin = max_bin
        self.force_col_wise = force_col_wise
        self.early_stopping_rounds = early_stopping_rounds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, curves=True):
        """Fit to rows (n, features), NaN where missing, and values (n,).

        Without ``curves`` the history of training is left out, which is faster.
        """
        _check_levels(self.levels)
        X, y, sample_weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2, y_numeric=True)
        lightgbm, parameters = import_lightgbm(), self._parameters()
        stops = X_val is not None and bool(self.early_stopping_rounds)
        train = lightgbm.Dataset(X, y, weight=sample_weight, params=parameters)
        boosters = [lightgbm.Booster(parameters | {"alpha": level}, train) for level in self.levels]
        if stops or (curves and X_val is not None):
            later = train.create_valid(X_val, y_val, params=parameters)
            for booster in boosters:
                booster.add_valid(later, "validation")
        history, best = {"train": [], "validation": []}, 0
        for number in range(self.n_estimators):
            for booster in boosters:
                booster.update()
            if curves:
                history["train"].append(_mean_loss(booster.eval_train() for booster in boosters))
            losses = history["validation"]
            if stops or (curves and X_val is not None):
                losses.append(_mean_loss(booster.eval_valid() for booster in boosters))
            if stops and losses[number] < losses[best]:
                best = number
            if stops and number - best >= self.early_stopping_rounds:
                break
        self.quantiles_ = QuantileBoosters(
            tuple(booster.free_dataset() for booster in boosters), (best if stops else number) + 1
        )
        self.history_ = {part: losses for part, losses in history.items() if losses}
        return self

    def predict_quantiles(self, X) -> np.ndarray:
        """(n, levels) quantiles, rising in each row."""
        X = self._validate_later(X)
        return np.sort(self.quantiles_.predict(X), axis=1)

    def predict(self, X) -> np.ndarray:
        """(n,) quantiles of the level nearest to the median."""
        return self.predict_quantiles(X)[:, nearest_to_median(self.levels)]

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) see `QuantileBoosters.importance`."""
        check_is_fitted(self)
        return self.quantiles_.importance()

    def _parameters(self) -> dict:
        return {
            "objective": "quantile",
            "metric": "quantile",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_child_samples,
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": self.subsample_freq,
            "lambda_l2": self.reg_lambda,
            "max_bin": self.max_bin,
            "force_col_wise": self.force_col_wise,
            "num_threads": self.n_jobs,
            "seed": seed_of(self.random_state),
            "deterministic": True,
            "verbose": -1,
        }


def _check_levels(levels: Sequence[float]) -> None:
    if not len(levels) or not (np.diff(levels, prepend=0, append=1) > 0).all():
        raise ConfigError(
            f"quantile_lightgbm: alpha, the levels of the quantiles, must rise within (0, 1); got {list(levels)}; sort "
            "them and write each once"
        )


def nearest_to_median(levels: Sequence[float]) -> int:
    """The position of the level nearest to 0.5, the lower of two."""
    return int(np.abs(np.asarray(levels) - 0.5).argmin())


def _mean_loss(evaluations: Iterable[list[tuple]]) -> float:
    return float(np.mean([loss for ((_, _, loss, _),) in evaluations]))
