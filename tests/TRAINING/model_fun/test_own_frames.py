"""The tables that single kinds of model have: against what the models themselves say, and obvious counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from CONFIG.config_loader import load_model_config
from TRAINING.artifacts import pack, unpack
from TRAINING.model_fun import MODELS, trainer_class

TELLING = {
    "gmm_regime": {"regimes", "transitions"},
    "change_point": {"changes"},
    "ngboost": {"pit"},
    "quantile_lightgbm": {"quantiles"},
    "ensemble": {"weights"},
    "lightgbm": {"shap"},
    "xgboost": {"shap"},
}


def trained(model: str, X: pd.DataFrame, y: pd.Series):
    return trainer_class(model)(load_model_config(model, variant="smoke")).train(X[:300], y[:300])


@pytest.fixture(scope="module")
def told(make_planted):
    """Model to its trainer, later rows with labels (some missing), and its tables."""
    X, y = make_planted(500, "regression")
    holes = y[300:].where(np.arange(200) % 7 > 0)
    trainers = {model: trained(model, X, y) for model in TELLING}
    return {model: (one, X[300:], holes, one.own_frames(X[300:], holes)) for model, one in trainers.items()}


@pytest.mark.parametrize("model", TELLING)
def test_tables_are_as_promised(told, model) -> None:
    _, X, _, frames = told[model]
    assert set(frames) == TELLING[model]
    for frame in frames.values():
        assert frame.columns.map(type).unique().tolist() == [str]
        assert isinstance(frame.index, pd.RangeIndex)
        if "timestamp" in frame:
            assert frame["timestamp"].tolist() == X.index.get_level_values("timestamp").tolist()
        else:
            assert 0 < len(frame) <= max(10, X.shape[1])


@pytest.mark.parametrize("model", TELLING)
def test_a_model_that_was_stored_tells_the_same(told, model) -> None:
    trainer, X, y, frames = told[model]
    again = unpack(*pack(trainer), "memory").own_frames(X, y)
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(again[name], frame)


def test_most_models_have_none(make_planted) -> None:
    X, y = make_planted(400, "regression")
    others = [model for model in MODELS if model not in TELLING]
    assert len(others) == 10
    assert trained("reward_based", X, y).own_frames(X[300:], y[300:]) == {}


def test_regimes_follow_each_other_as_they_stand(told) -> None:
    trainer, X, _, frames = told["gmm_regime"]
    regime = trainer.transform(X).to_numpy().argmax(axis=1)
    assert frames["regimes"]["regime"].tolist() == regime.tolist()
    counts = frames["transitions"].set_index(["from", "to"])["count"]
    for first, second in counts.index:
        steps = sum(a == first and b == second for a, b in pairwise(regime))
        assert counts[first, second] == steps
    shares = trainer.transitions(X)
    expected = counts.unstack().div(counts.groupby("from").sum(), axis=0)
    np.testing.assert_allclose(shares, expected)


def test_no_symbol_follows_another(told) -> None:
    trainer, X, y, frames = told["gmm_regime"]
    twice = pd.concat([X, X.rename(index={"A": "B"}, level=0)])
    counts = trainer.own_frames(twice, pd.concat([y, y]))["transitions"]["count"]
    assert counts.tolist() == (2 * frames["transitions"]["count"]).tolist()


def test_changes_are_what_the_detector_says(told) -> None:
    trainer, X, _, frames = told["change_point"]
    found = frames["changes"].set_index("timestamp").add_prefix("regime_")
    pd.testing.assert_frame_equal(found, trainer.transform(X).droplevel("symbol"), check_freq=False)


def test_pit_of_rows_without_a_label_is_missing(told) -> None:
    trainer, X, y, frames = told["ngboost"]
    pit = frames["pit"]["pit"]
    assert pit.isna().tolist() == y.isna().tolist()
    np.testing.assert_array_equal(pit, trainer.pit(X, y))


def test_classes_have_no_pit(make_planted) -> None:
    X, y = make_planted(400, "binary")
    assert trained("ngboost", X, y).own_frames(X[300:], y[300:]) == {}


def test_quantiles_are_those_that_are_predicted(told) -> None:
    trainer, X, _, frames = told["quantile_lightgbm"]
    quantiles = frames["quantiles"].drop(columns="timestamp")
    assert [float(name) for name in quantiles] == trainer.config["alpha"]
    np.testing.assert_array_equal(quantiles, trainer.predict_quantiles(X))


def test_weights_are_those_of_the_parts(told) -> None:
    trainer, _, _, frames = told["ensemble"]
    pd.testing.assert_frame_equal(frames["weights"].set_index("part"), trainer.weights())


@pytest.mark.parametrize("model", ["lightgbm", "xgboost"])
def test_shap_values_are_summed_up(told, model) -> None:
    trainer, X, _, frames = told[model]
    rows = X.iloc[np.unique(np.linspace(0, 199, 100).astype(int))]
    values = trainer.shap_values(rows)[:, :-1]
    table = frames["shap"].set_index("feature")
    assert table["mean_abs"].idxmax() == "signal"
    assert table.loc["signal", "direction"] > 0.9
    for place, feature in enumerate(X):
        if not values[:, place].any():
            assert feature not in table.index
            continue
        assert table.loc[feature, "mean_abs"] == pytest.approx(np.abs(values[:, place]).mean())
        expected = spearmanr(rows[feature], values[:, place]).statistic
        assert table.loc[feature, "direction"] == pytest.approx(expected)


def test_a_direction_is_of_the_rows_that_have_the_feature(told) -> None:
    trainer, X, y, _ = told["lightgbm"]
    holes = X.copy()
    holes.loc[holes.index[::3], "signal"] = np.nan
    found = trainer.own_frames(holes, y)["shap"].set_index("feature").loc["signal", "direction"]
    rows = holes.iloc[np.unique(np.linspace(0, 199, 100).astype(int))]
    known = rows["signal"].notna().to_numpy()
    values = trainer.shap_values(rows)[:, list(X).index("signal")]
    assert found == pytest.approx(spearmanr(rows["signal"][known], values[known]).statistic)


def test_a_model_that_looks_at_nothing_has_no_shap_values(make_planted) -> None:
    X, y = make_planted(400, "regression")
    config = load_model_config("lightgbm", variant="smoke", overrides={"min_data_in_leaf": 200})
    one = X.assign(**{name: np.float32(0) for name in X if name != "signal"})
    trainer = trainer_class("lightgbm")(config | {"bagging_freq": 0}).train(one, y)
    still = one[300:].assign(signal=np.float32(1))
    assert set(trainer.own_frames(still, y[300:])["shap"]["feature"]) <= {"signal"}
