"""Sample weights reach the library as they are; weights that cannot be used are refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from CONFIG.config_loader import load_model_config
from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun import MODELS, predictor_class, trainer_class


def weighed(count: int, weight: np.ndarray) -> RowInfo:
    """Of `make_planted`'s rows, whose labels are known a week later."""
    days = pd.bdate_range("2015-01-01", periods=count).as_unit("ns").to_numpy()
    return RowInfo(days + np.timedelta64(7, "D"), weight)


def scores(model: str, X: pd.DataFrame, y: pd.Series, weight: np.ndarray | None) -> np.ndarray:
    config = load_model_config(model, variant="smoke")
    return predictor_class(model)(config).train(X, y, rows=weighed(len(X), weight)).predict_score(X)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_weights_are_those_of_lightgbm_itself(make_planted, task):
    X, y = make_planted(500, task)
    weight = np.linspace(0.1, 2, 500)
    trainer = trainer_class("lightgbm")(load_model_config("lightgbm", variant="smoke"))
    trainer.train(X, y, rows=weighed(500, weight))
    kind = LGBMClassifier if task == "binary" else LGBMRegressor
    own = kind(**trainer.model.get_params()).fit(X, y, sample_weight=weight)
    expected = own.predict_proba(X)[:, 1] if task == "binary" else own.predict(X)
    np.testing.assert_array_equal(trainer.predict_score(X), expected)


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_equal_weights_change_nothing(make_planted, model, task):
    if task not in predictor_class(model).tasks:
        pytest.skip(f"it does not learn {task} targets")
    X, y = make_planted(500, task)
    plain = scores(model, X, y, None)
    # A weighted mean of float32 losses rounds otherwise than a plain one.
    bits = {"rtol": 0.0, "atol": 0.0} if model in ("lightgbm", "xgboost") else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(scores(model, X, y, np.ones(500)), plain, **bits)
    assert not np.array_equal(scores(model, X, y, np.linspace(0.01, 2, 500)), plain)


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.r_[np.ones(399), np.nan], "must be finite and at least 0; 1 of 400 are not, the first nan in row 399"),
        (np.r_[np.inf, np.ones(399)], "the first inf in row 0"),
        (np.r_[1.0, -0.5, -0.5, np.ones(397)], "2 of 400 are not, the first -0.5 in row 1"),
        (np.zeros(400), "0 in all 400 rows"),
        (np.ones(399), r"has the shape \(399,\), X_train has 400 rows"),
        (np.ones((400, 1)), r"has the shape \(400, 1\)"),
    ],
)
def test_weights_that_cannot_be_used_are_named(make_planted, model, weight, message):
    X, y = make_planted(400, "regression")
    with pytest.raises(DataError, match=f"{model}: sample_weight .*{message}"):
        scores(model, X, y, weight)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_target_that_does_not_vary_where_rows_weigh_is_refused(make_planted, model):
    X, y = make_planted(400, "regression")
    weight = np.repeat([1.0, 0.0], 200)
    y = y.where(weight == 0, 0.5)
    with pytest.raises(DataError, match=f"{model}: .* is constant, 0.5 in all 200 rows with a weight"):
        scores(model, X, y, weight)
