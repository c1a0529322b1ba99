"""Several targets behind one interface: one model of all, or one model per target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import TRAINING.strategies.multi_task as multi_task
from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun.base import Trainer
from TRAINING.strategies import MultiTaskModel, MultiTaskStrategy, SingleTaskStrategy

SMOKE = load_model_config("lightgbm", "smoke", {"min_data_in_leaf": 10})
TARGETS = ["TTH", "MDD", "MFE"]


@pytest.fixture
def excursions(make_planted) -> tuple[pd.DataFrame, pd.DataFrame, RowInfo]:
    """X, three targets of which TTH is missing in two rows of five, and when they are known."""
    X, value = make_planted(500, "regression")
    y = pd.DataFrame({"MFE": value.abs(), "MDD": -value.abs(), "TTH": value.clip(0, 3)})
    y.loc[np.arange(500) % 5 < 2, "TTH"] = np.nan
    times = X.index.get_level_values("timestamp").tz_localize(None)
    return X, y, RowInfo((times + pd.offsets.BDay(5)).to_numpy(), np.linspace(0.5, 1, 500))


@pytest.mark.parametrize("with_rows", [True, False])
def test_each_target_is_trained_as_alone_on_the_rows_that_have_it(excursions, with_rows: bool) -> None:
    X, y, rows = excursions
    model = MultiTaskStrategy("lightgbm", TARGETS, model_config=SMOKE).train(X, y, rows=rows if with_rows else None)
    assert isinstance(model, MultiTaskModel)
    assert (model.targets, model.features) == (TARGETS, list(X.columns))
    assert model.predict(X).shape == (500, 3)
    for place, target in enumerate(TARGETS):
        labelled = y[target].notna().to_numpy()
        alone = SingleTaskStrategy("lightgbm", SMOKE).train(
            X[labelled], y.loc[labelled, target], rows=rows.take(labelled) if with_rows else None
        )
        np.testing.assert_array_equal(model.predict(X)[:, place], alone.predict(X))
        np.testing.assert_array_equal(model.predict_score(X)[:, place], alone.predict_score(X))
        pd.testing.assert_series_equal(model.get_feature_importance(target), alone.get_feature_importance())


def test_given_validation_rows_stop_each_target_by_its_own_labels(excursions) -> None:
    X, y, _ = excursions
    model = MultiTaskStrategy("lightgbm", TARGETS, [1.0, 1.0, 1.0], SMOKE).train(X[:400], y[:400], X[400:], y[400:])
    known = y["TTH"].notna()
    fit, stop = known & (np.arange(500) < 400), known & (np.arange(500) >= 400)
    alone = SingleTaskStrategy("lightgbm", SMOKE).train(X[fit], y["TTH"][fit], X[stop], y["TTH"][stop])
    np.testing.assert_array_equal(model.predict(X)[:, 0], alone.predict(X))


def test_binary_targets_predict_labels_and_score_probabilities(make_planted) -> None:
    X, value = make_planted(500, "regression")
    y = pd.DataFrame({"y_will_peak": (value > 0).astype(float), "MFE": value})
    model = MultiTaskStrategy("lightgbm", ["y_will_peak", "MFE"], model_config=SMOKE).train(X, y)
    score, prediction = model.predict_score(X), model.predict(X)
    np.testing.assert_array_equal(prediction[:, 0], score[:, 0] > 0.5)
    assert set(np.unique(prediction[:, 0])) == {0.0, 1.0}
    np.testing.assert_array_equal(prediction[:, 1], score[:, 1])


def test_importance_without_a_target_is_the_mean(excursions) -> None:
    X, y, _ = excursions
    model = MultiTaskStrategy("lightgbm", TARGETS, model_config=SMOKE).train(X, y)
    mean = model.get_feature_importance()
    assert mean.sum() == pytest.approx(1)
    assert mean.is_monotonic_decreasing
    shares = [model.get_feature_importance(target)["signal"] for target in TARGETS]
    assert mean["signal"] == pytest.approx(np.mean(shares))
    with pytest.raises(ConfigError, match="no target 'MFF'; did you mean 'MFE'"):
        model.get_feature_importance("MFF")


def test_notes_name_their_target(excursions) -> None:
    X, y, _ = excursions
    hollow = X.assign(hollow=np.float32(np.nan))
    model = MultiTaskStrategy("lightgbm", ["MDD", "TTH"], model_config=SMOKE).train(hollow, y)
    text = "features without any value in training, so unused: hollow"
    assert model.notes == [f"MDD: {text}", f"TTH: {text}"]


class Together(Trainer):
    """A model of several targets: predicts their weighted means."""

    name = "together"
    many_targets = True

    def __init__(self, config: dict) -> None:
        self.config = config

    def train(self, X_train, y_train, X_val=None, y_val=None, *, rows=None):
        self.given = X_train, y_train, X_val, y_val, rows
        return self

    def predict(self, X):
        return np.tile(self.given[1].mean() * self.config["loss_weights"], (len(X), 1))

    _fit = _predict = _importance = payloads = restore = None


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_task, "predictor_class", {"together": Together}.get)


def test_a_model_of_several_targets_gets_them_all(excursions, together) -> None:
    """In the order asked for, with missing labels, with the weights in its configuration."""
    X, y, rows = excursions
    strategy = MultiTaskStrategy("together", TARGETS, [1.0, 0.5, 2], {"width": 8, "loss_weights": [1.0, 1.0, 1.0]})
    model = strategy.train(X[:400], y[:400], X[400:], y[400:], rows=rows.take(np.arange(400)))
    X_fit, y_fit, X_val, y_val, known = model.given
    assert model.config == {"width": 8, "loss_weights": [1.0, 0.5, 2.0]}
    pd.testing.assert_frame_equal(y_fit, y[:400][TARGETS])
    pd.testing.assert_frame_equal(y_val, y[400:][TARGETS])
    assert X_fit.equals(X[:400])
    assert X_val.equals(X[400:])
    assert len(known.label_end) == 400
    np.testing.assert_allclose(model.predict(X)[0], y[:400][TARGETS].mean() * [1, 0.5, 2])
    assert strategy.model_config["loss_weights"] == [1.0, 1.0, 1.0], "what the user gave stays"


def test_its_tail_is_held_out_by_the_farthest_horizon(excursions, together) -> None:
    X, y, _ = excursions
    y = y.rename(columns={"MDD": "MDD_h30"})
    strategy = MultiTaskStrategy("together", ["TTH", "MDD_h30"], model_config={"loss_weights": [3.0, 1.0]})
    X_fit, y_fit, X_val, y_val, _ = strategy.train(X, y).given
    assert (len(X_fit), len(y_fit), len(X_val), len(y_val)) == (370, 370, 100, 100)
    assert strategy.train(X, y).config == {"loss_weights": [3.0, 1.0]}


def test_a_model_that_is_not_there_is_told(excursions) -> None:
    X, y, _ = excursions
    with pytest.raises(ConfigError, match="no model 'multi_tusk'"):
        MultiTaskStrategy("multi_tusk", TARGETS, [1.0, 0.5, 0.5]).train(X, y)


@pytest.mark.parametrize(
    ("targets", "weights", "message"),
    [
        (TARGETS, [1.0, 0.5, 0.5], r"lightgbm trains one model per target, on which \[1.0, 0.5, 0.5\] have no effect"),
        (TARGETS, [1.0, 1.0], "loss_weights: expected 3 finite numbers above 0, one per target, got"),
        (TARGETS, [1.0, 0.0, 1.0], "above 0"),
        (TARGETS, [1.0, np.nan, 1.0], "finite"),
        (TARGETS, [1.0, "much", 1.0], "loss_weights: expected 3 finite numbers"),
        ("TTH", None, "target_names: expected a list of different targets, got 'TTH'"),
        ([], None, "target_names: expected a list"),
        (["TTH", "TTH"], None, "target_names: expected a list of different targets"),
    ],
)
def test_settings_that_cannot_be_used_are_told(excursions, targets, weights, message: str) -> None:
    X, y, _ = excursions
    with pytest.raises(ConfigError, match=message):
        MultiTaskStrategy("lightgbm", targets, weights, SMOKE).train(X, y)


def test_data_that_cannot_be_used_is_told(excursions) -> None:
    X, y, rows = excursions
    strategy = MultiTaskStrategy("lightgbm", TARGETS, model_config=SMOKE)
    with pytest.raises(DataError, match="y_train must be a DataFrame with a column per target, got Series"):
        strategy.train(X, y["TTH"])
    with pytest.raises(DataError, match="y_train has no target 'MFE'; did you mean 'MAE'"):
        strategy.train(X, y.rename(columns={"MFE": "MAE"}))
    with pytest.raises(DataError, match="y_val has no target 'TTH'"):
        strategy.train(X, y, X, y.drop(columns="TTH"))
    with pytest.raises(DataError, match="y_train has no label of TTH in 500 rows"):
        strategy.train(X, y.assign(TTH=np.nan))
    with pytest.raises(DataError, match="y_val has no label of TTH in 500 rows"):
        strategy.train(X, y, X, y.assign(TTH=np.nan))
    with pytest.raises(DataError, match="X_train has 400 rows, its y has 500"):
        strategy.train(X[:400], y)
    with pytest.raises(DataError, match="X_val and y_val come together"):
        strategy.train(X, y, X)
    with pytest.raises(DataError, match="rows describes 3 rows, X_train has 500"):
        strategy.train(X, y, rows=rows.take(np.arange(3)))
