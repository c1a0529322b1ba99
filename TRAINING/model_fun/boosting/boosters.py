"""Gradient-boosted trees: LightGBM and XGBoost, one thread each, so that the phases run many side by side."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import pandas as pd

from CONFIG.errors import BarzooError
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import as_floats

_SHAP_ROWS = 100  # of a test window, for `own_frames`: a small part of the time that training takes


class _BoostingTrainer(Trainer):
    """What both libraries share: native trees that take NaN, early stopping on later rows, importance by gain."""

    allows_nan = True

    @property
    def rounds(self) -> int:
        """Trees that predictions use."""
        return self._best_rounds()

    def shap_values(self, X: pd.DataFrame) -> np.ndarray:
        """(n, features + 1) exact SHAP values of the trees (Lundberg et al. 2020), and at last what they start from.

        A row sums to its raw score: the log-odds of class 1 (``binary``) or the value.
        """
        self._check_trained()
        return np.asarray(self._contributions(self._align(X, "X")), dtype=float)

    def own_frames(self, X: pd.DataFrame, y: pd.Series) -> dict[str, pd.DataFrame]:
        """How far features move predictions, by `shap_values` of some rows that are evenly spread over X.

        Returns
        -------
        dict of str to DataFrame
            ``shap``: per ``feature`` that moves any ``mean_abs``, the mean size of its values, and ``direction``, the
            rank correlation of feature and value: above 0, more of the feature raises the prediction; NaN where the
            feature is constant.
        """
        rows = X.iloc[np.unique(np.linspace(0, len(X) - 1, min(_SHAP_ROWS, len(X))).astype(int))][self.features]
        values = pd.DataFrame(self.shap_values(rows)[:, :-1], rows.index, rows.columns)
        values = values.loc[:, values.any()]
        rows = rows[values.columns]
        direction = values.where(rows.notna()).rank().corrwith(rows.rank())
        table = {
            "feature": values.columns,
            "mean_abs": values.abs().mean().to_numpy(),
            "direction": direction.to_numpy(),
        }
        return {"shap": pd.DataFrame(table)}

    @abstractmethod
    def _contributions(self, X: pd.DataFrame) -> np.ndarray:
        """What `shap_values` gives; columns are in training order."""


class LightGBMTrainer(_BoostingTrainer):
    """Gradient-boosted trees grown leaf by leaf (Ke et al. 2017): fast, and strong on small noisy tables."""

    name = "lightgbm"
    _advice = "give more rows or lower min_data_in_leaf"

    def _minimum_rows(self, y: np.ndarray) -> float:
        # Each tree sees a bag of the rows.
        bag = self.config["bagging_fraction"] if self.config["bagging_freq"] else 1.0
        return np.ceil(2 * self.config["min_data_in_leaf"] / bag)

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        lightgbm = import_lightgbm()
        config = self.config
        parameters = {
            "n_estimators": config["n_estimators"],
            "learning_rate": config["learning_rate"],
            "num_leaves": config["num_leaves"],
            "max_depth": config["max_depth"],
            "min_child_samples": config["min_data_in_leaf"],
            "colsample_bytree": config["feature_fraction"],
            "subsample": config["bagging_fraction"],
            "subsample_freq": config["bagging_freq"],
            "reg_alpha": config["reg_alpha"],
            "reg_lambda": config["reg_lambda"],
            "random_state": config["seed"],
            "n_jobs": config["n_jobs"],
            "max_bin": config["max_bin"],
            "force_col_wise": config["force_col_wise"],
            "deterministic": True,
            "verbose": -1,
        }
        binary, weight = self.task == "binary", None if rows is None else rows.sample_weight
        stops = X_val is not None and bool(config["early_stopping_rounds"])
        callbacks = [lightgbm.early_stopping(config["early_stopping_rounds"], verbose=False)] if stops else []
        if self.lean:
            # The library's own training without its estimator: the same trees, but no copies of frames, parameters and
            # booster, which take a tenth of the time or more on a year of days. It knows these names as aliases.
            train = lightgbm.Dataset(as_floats(X), y, weight=weight, feature_name=self.features)
            validation = [train.create_valid(as_floats(X_val), y_val)] if stops else None
            parameters |= {"objective": "binary" if binary else "regression"}
            self._booster = lightgbm.train(
                parameters, train, valid_sets=validation, callbacks=callbacks, keep_training_booster=True
            )
            self.history = {}
            return
        parts = {"train": (X, y.astype(np.int64) if binary else y)}
        if X_val is not None:
            parts["validation"] = (X_val, y_val)
        estimator = (lightgbm.LGBMClassifier if binary else lightgbm.LGBMRegressor)(
            **parameters, importance_type="gain"
        ).fit(
            *parts["train"],
            sample_weight=weight,
            eval_X=tuple(part for part, _ in parts.values()),
            eval_y=tuple(labels for _, labels in parts.values()),
            eval_names=list(parts),
            callbacks=callbacks,
        )
        self._estimator, self._booster = estimator, estimator.booster_
        self.history = {
            part: {metric: list(values) for metric, values in curves.items()}
            for part, curves in estimator.evals_result_.items()
        }

    def _best_rounds(self) -> int:
        return self._booster.best_iteration if self._booster.best_iteration > 0 else self._booster.num_trees()

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self._booster.predict(X.to_numpy(), num_threads=1))

    def _contributions(self, X: pd.DataFrame) -> np.ndarray:
        return self._booster.predict(X.to_numpy(), num_threads=1, pred_contrib=True)

    def _importance(self) -> np.ndarray:
        return self._booster.feature_importance("gain", iteration=self._best_rounds())

    def payloads(self) -> dict[str, bytes]:
        return {"model.txt": self._booster.model_to_string().encode()}

    def restore(self, payloads: dict[str, bytes]) -> None:
        self._booster = import_lightgbm().Booster(model_str=payloads["model.txt"].decode())


class XGBoostTrainer(_BoostingTrainer):
    """Gradient-boosted trees with second-order splits (Chen and Guestrin 2016): regularised, grown level by level."""

    name = "xgboost"
    _advice = "give more rows or lower min_child_weight"

    def _minimum_rows(self, y: np.ndarray) -> float:
        # A row weighs its second derivative: 1 for squared error, p(1 - p) for the logistic loss.
        weight = y.mean() * (1 - y.mean()) if self.task == "binary" else 1.0
        return max(2.0, np.ceil(2 * self.config["min_child_weight"] / weight / self.config["subsample"]))

    def _fit(self, X, y, X_val, y_val, rows) -> None:
        import xgboost

        config = self.config
        binary = self.task == "binary"
        stops = X_val is not None and bool(config["early_stopping_rounds"])
        estimator_class = xgboost.XGBClassifier if binary else xgboost.XGBRegressor
        estimator = estimator_class(
            n_estimators=config["n_estimators"],
            learning_rate=config["learning_rate"],
            max_depth=config["max_depth"],
            min_child_weight=config["min_child_weight"],
            subsample=config["subsample"],
            colsample_bytree=config["colsample_bytree"],
            reg_alpha=config["reg_alpha"],
            reg_lambda=config["reg_lambda"],
            max_bin=config["max_bin"],
            random_state=config["seed"],
            n_jobs=config["n_jobs"],
            tree_method="hist",
            importance_type="gain",
            eval_metric="logloss" if binary else "rmse",
            early_stopping_rounds=config["early_stopping_rounds"] if stops else None,
        )
        y = y.astype(np.int64) if binary else y
        parts = {} if self.lean else {"train": (X, y)}
        if stops or (X_val is not None and not self.lean):
            parts["validation"] = (X_val, y_val)
        estimator.fit(
            X,
            y,
            sample_weight=None if rows is None else rows.sample_weight,
            eval_set=list(parts.values()) or None,
            verbose=False,
        )
        estimator.set_params(early_stopping_rounds=None)  # a clone in GridSearchCV has no validation rows
        self._estimator, self._booster = estimator, estimator.get_booster()
        evaluated = estimator.evals_result().values() if parts else ()
        self.history = {
            part: {metric: list(values) for metric, values in curves.items()}
            for part, curves in zip(parts, evaluated, strict=True)
        }

    def _best_rounds(self) -> int:
        best = self._booster.attr("best_iteration")
        return self._booster.num_boosted_rounds() if best is None else int(best) + 1

    def _predict(self, X: pd.DataFrame) -> np.ndarray:
        rounds = (0, self._best_rounds())
        score = self._booster.inplace_predict(X.to_numpy(), iteration_range=rounds, validate_features=False)
        return np.asarray(score, dtype=float)

    def _contributions(self, X: pd.DataFrame) -> np.ndarray:
        import xgboost

        rows = xgboost.DMatrix(X.to_numpy(), nthread=1)
        rounds = (0, self._best_rounds())
        return self._booster.predict(rows, pred_contribs=True, iteration_range=rounds, validate_features=False)

    def _importance(self) -> np.ndarray:
        gain = self._booster[: self._best_rounds()].get_score(importance_type="total_gain")
        return np.array([gain.get(feature, 0.0) for feature in self.features])

    def payloads(self) -> dict[str, bytes]:
        return {"model.ubj": bytes(self._booster.save_raw("ubj"))}

    def restore(self, payloads: dict[str, bytes]) -> None:
        import xgboost

        self._booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(payloads["model.ubj"]))


def import_lightgbm():
    """The library, or an error that names the system library it lacks."""
    try:
        import lightgbm
    except OSError as error:
        raise BarzooError(
            f"lightgbm cannot load a system library ({error}); on Debian or Ubuntu: apt install libgomp1"
        ) from error
    return lightgbm
