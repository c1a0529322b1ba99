"""A cascade is its stages, each on honest predictions of those before it, and finds nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import TRAINING.strategies.cascade as cascade
from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.evaluation.splits import purged_tail
from TRAINING.model_fun import LightGBMTrainer, XGBoostTrainer
from TRAINING.model_fun.out_of_fold import predict_out_of_fold
from TRAINING.strategies import CascadeStrategy

CONFIGS = {
    "lightgbm": load_model_config("lightgbm", "smoke", {"min_data_in_leaf": 5, "early_stopping_rounds": 0}),
    "xgboost": load_model_config("xgboost", "smoke", {"min_child_weight": 1.0, "early_stopping_rounds": 0}),
}
CLASSES = {"lightgbm": LightGBMTrainer, "xgboost": XGBoostTrainer}


def strategy(*models: str, blocks: int = 5) -> CascadeStrategy:
    return CascadeStrategy(models, [CONFIGS[model] for model in models], blocks)


def panel(make_planted, task: str, rows: int = 400, horizon: int = 5) -> tuple[pd.DataFrame, pd.Series, RowInfo]:
    """Two symbols of the same sessions, each label known ``horizon`` sessions later."""
    parts = [make_planted(rows, task, seed) for seed in (1, 2)]
    X = pd.concat([part[0].rename({"A": symbol}, level=0) for symbol, part in zip("AB", parts, strict=True)])
    y = pd.concat([part[1] for part in parts]).set_axis(X.index)
    times = X.index.get_level_values("timestamp").tz_localize(None)
    return X, y, RowInfo((times + pd.offsets.BDay(horizon)).to_numpy(), np.linspace(0.5, 1, len(X)))


def test_it_is_what_the_stages_are_by_hand(make_planted) -> None:
    X, y, rows = panel(make_planted, "regression")
    model = strategy("lightgbm", "xgboost", "lightgbm", blocks=3).train(X, y, rows=rows)

    days = X.index.get_level_values("timestamp").tz_localize(None).to_numpy().astype("datetime64[D]")
    head, tail = purged_tail(days, rows.label_end.astype("datetime64[D]"), 0.2)
    X_fit, y_fit, fit, X_val, y_val = X[head], y[head], rows.take(head), X[tail], y[tail]
    X_all, stages = X, []
    for number, name in enumerate(("lightgbm", "xgboost", "lightgbm"), start=1):
        stages.append(CLASSES[name](CONFIGS[name]).train(X_fit, y_fit, X_val, y_val, rows=fit))
        score = predict_out_of_fold(lambda name=name: CLASSES[name](CONFIGS[name]), X_fit, y_fit, fit, blocks=3)
        known, column = ~np.isnan(score), f"p_{number}_{name}"
        score_val, score_all = stages[-1].predict_score(X_val), stages[-1].predict_score(X_all)
        X_fit, y_fit, fit = X_fit[known].assign(**{column: score[known].astype("f4")}), y_fit[known], fit.take(known)
        X_val = X_val.assign(**{column: score_val.astype("f4")})
        X_all = X_all.assign(**{column: score_all.astype("f4")})
    np.testing.assert_array_equal(model.predict(X), score_all)
    assert [stage.features for stage in model.stages] == [stage.features for stage in stages]
    assert [stage.history for stage in model.stages] == [stage.history for stage in stages]
    assert model.features == list(X.columns)
    assert model.stages[2].features == [*X.columns, "p_1_lightgbm", "p_2_xgboost"]
    assert (model.target, model.task) == ("outcome", "regression")
    assert [note.rpartition("trained on ")[2] for note in model.notes] == [
        f"{count} rows of outcome" for count in (630, 472, 354)
    ]


def test_given_validation_rows_are_used_as_they_are(make_planted) -> None:
    X, y = make_planted(500, "regression")
    model = strategy("lightgbm", "xgboost").train(X[:400], y[:400], X[400:], y[400:])
    alone = LightGBMTrainer(CONFIGS["lightgbm"]).train(X[:400], y[:400], X[400:], y[400:])
    np.testing.assert_array_equal(model.stages[0].predict(X), alone.predict(X))
    assert model.stages[1].history["validation"]
    assert model.notes[0] == "stage 1, lightgbm: trained on 400 rows of outcome"


def test_a_planted_signal_reaches_the_end(make_planted) -> None:
    X, y = make_planted(700, "binary")
    model = strategy("lightgbm", "xgboost").train(X[:500], y[:500])
    assert roc_auc_score(y[500:], model.predict_score(X[500:])) > 0.85
    probability = model.predict_proba(X[500:])
    np.testing.assert_array_equal(probability[:, 1], model.predict_score(X[500:]))
    np.testing.assert_array_equal(model.predict(X[500:]), probability[:, 1] > 0.5)
    importance = model.get_feature_importance()
    assert importance.sum() == pytest.approx(1)
    assert set(importance.index[:2]) == {"signal", "p_1_lightgbm"}
    with pytest.raises(ConfigError, match="no target 'outcom'; did you mean 'outcome'"):
        model.get_feature_importance("outcom")


def noise(seed: int, rows: int) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([["A"], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
    X = pd.DataFrame(random.normal(size=(rows, 5)).astype("f4"), index, list("abcde"))
    return X, pd.Series(random.permutation(np.arange(rows) % 2).astype(float), index, name="coin")


def in_fold(make_trainer, X, y, rows=None, *, blocks):
    """The leak: each row predicted by a model that was fitted on it; the same rows are dropped as without it."""
    known = ~np.isnan(predict_out_of_fold(make_trainer, X, y, rows, blocks=blocks))
    return np.where(known, make_trainer().train(X, y).predict_score(X), np.nan)


@pytest.mark.parametrize("leak", [False, True])
def test_noise_stays_noise(leak: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coin flips: no AUC is above 1/2, neither of what a stage hands on in training nor of the end on later rows.

    The AUC of n rows, half of them 1, has the standard deviation sqrt((n + 1) / (3 n^2)) around 1/2 where score and
    label are independent (Mann and Whitney 1947). The means over 8 seeds stay below 1/2 plus 3.3 of theirs (one in
    2,000). In-fold predictions fit the labels of their own rows, which the same bound catches.
    """
    handed_on, at_the_end, seeds, n = [], [], 8, 300

    class Spy(XGBoostTrainer):
        def train(self, X, y, *rest, **others):
            handed_on.append(roc_auc_score(y, X["p_1_lightgbm"]))
            return super().train(X, y, *rest, **others)

    monkeypatch.setattr(cascade, "predictor_class", {"lightgbm": LightGBMTrainer, "xgboost": Spy}.get)
    if leak:
        monkeypatch.setattr(cascade, "predict_out_of_fold", in_fold)
    for seed in range(seeds):
        X, y = noise(seed, 2 * n)
        model = strategy("lightgbm", "xgboost").train(X[:n], y[:n], X[:n], y[:n])
        at_the_end.append(roc_auc_score(y[n:], model.predict_score(X[n:])))

    def bound(rows: int) -> float:
        return 0.5 + 3.3 * np.sqrt((rows + 1) / (3 * rows**2) / seeds)

    assert np.std(at_the_end) > 0.01, "the end says something, if wrong"
    assert np.mean(at_the_end) < bound(n)
    assert (np.mean(handed_on) < bound(n * 5 // 6)) != leak


def test_the_order_of_the_stages_is_kept_and_matters(make_planted) -> None:
    X, y = make_planted(400, "regression")
    one, other = (strategy(*models).train(X, y) for models in (("lightgbm", "xgboost"), ("xgboost", "lightgbm")))
    assert [stage.name for stage in one.stages] == ["lightgbm", "xgboost"]
    assert [stage.name for stage in other.stages] == ["xgboost", "lightgbm"]
    assert not np.array_equal(one.predict(X), other.predict(X))


@pytest.mark.parametrize("with_rows", [True, False])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_order_of_the_rows_does_not_matter(make_planted, task: str, with_rows: bool) -> None:
    X, y, rows = panel(make_planted, task, 300)
    symbols = pd.CategoricalIndex(X.index.get_level_values(0), categories=["B", "A"])
    X.index = y.index = pd.MultiIndex.from_arrays([symbols, X.index.get_level_values(1)], names=X.index.names)
    order = np.random.default_rng(0).permutation(len(X))
    assert symbols[order[0]] == "B", "symbols are told apart by their names, not by who comes first"
    straight = strategy("lightgbm", "xgboost").train(X, y, rows=rows if with_rows else None)
    shuffled = strategy("lightgbm", "xgboost").train(
        X.iloc[order], y.iloc[order], rows=rows.take(order) if with_rows else None
    )
    np.testing.assert_array_equal(shuffled.predict_score(X), straight.predict_score(X))


def test_each_stage_may_have_a_target_of_its_own(make_planted) -> None:
    """Stage i takes column i and leaves out the rows without its label; the purge is that of the farthest horizon."""
    X, value = make_planted(500, "regression")
    y = pd.DataFrame({"y_will_peak": (value > 0).astype(float), "TTH_h20": value})
    y.loc[y.index[::3], "TTH_h20"] = np.nan
    model = strategy("lightgbm", "xgboost").train(X, y)
    assert [(stage.target, stage.task) for stage in model.stages] == [
        ("y_will_peak", "binary"),
        ("TTH_h20", "regression"),
    ]
    assert (model.target, model.task) == ("TTH_h20", "regression")
    fit = y[:380]
    alone = LightGBMTrainer(CONFIGS["lightgbm"]).train(X[:380], fit["y_will_peak"], X[400:], y["y_will_peak"][400:])
    np.testing.assert_array_equal(model.stages[0].predict_score(X), alone.predict_score(X))
    behind = fit["TTH_h20"][64:].notna().sum()  # 380 sessions in 6 parts, the first of which has 64
    assert model.notes[1] == f"stage 2, xgboost: trained on {behind} rows of TTH_h20"
    assert "p_1_lightgbm" not in model.get_feature_importance("y_will_peak").index
    assert "p_1_lightgbm" in model.get_feature_importance("TTH_h20").index


def test_predicting_needs_the_features_alone_in_any_order(make_planted) -> None:
    X, y = make_planted(400, "regression")
    model = strategy("lightgbm", "xgboost").train(X, y)
    turned = X[X.columns[::-1]].assign(unused=1.0, p_1_lightgbm=7.0)
    np.testing.assert_array_equal(model.predict(turned), model.predict(X))
    with pytest.raises(DataError, match="lightgbm: X lacks 1 of the 10 training columns: signal"):
        model.predict(X.drop(columns="signal"))
    with pytest.raises(DataError, match="lightgbm: X must be a DataFrame"):
        model.predict(X.to_numpy())
    with pytest.raises(ConfigError, match="predict_proba needs a binary target"):
        model.predict_proba(X)


def test_notes_of_the_stages_are_told(make_planted) -> None:
    X, y = make_planted(400, "regression")
    model = strategy("lightgbm", "xgboost").train(X.assign(hollow=np.float32(np.nan)), y)
    assert "stage 2, xgboost: features without any value in training, so unused: hollow" in model.notes


def test_inputs_stay_as_they_were(make_planted) -> None:
    X, y = make_planted(400, "regression")
    before_X, before_y = X.copy(deep=True), y.copy(deep=True)
    strategy("lightgbm", "xgboost").train(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before_X)
    pd.testing.assert_series_equal(y, before_y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (CascadeStrategy(["lightgbm", "xgboost", "prophet"]), "no model 'prophet'; choose from change_point"),
        (CascadeStrategy(["lightgbm", "xgbost"]), "no model 'xgbost'; did you mean 'xgboost'"),
        (CascadeStrategy("lightgbm"), "models must be a list of at least one model, got 'lightgbm'"),
        (CascadeStrategy([]), r"models must be a list of at least one model, got \[\]"),
        (CascadeStrategy(["lightgbm", "xgboost"], [None]), "2 models need as many model_configs, got 1"),
        (strategy("lightgbm", "xgboost", blocks=0), "blocks must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_a_cascade_is_told(make_planted, wrong: CascadeStrategy, message: str) -> None:
    X, y = make_planted(300, "regression")
    with pytest.raises(ConfigError, match=message):
        wrong.train(X, y)


def test_data_that_cannot_be_used_is_told(make_planted) -> None:
    X, y = make_planted(300, "regression")
    two = strategy("lightgbm", "xgboost")
    both = pd.DataFrame({"a": y, "b": y})
    with pytest.raises(DataError, match="y_train has 3 missing labels; drop those rows first"):
        two.train(X, y.where(np.arange(300) >= 3))
    with pytest.raises(DataError, match="X_val and y_val come together"):
        two.train(X, y, X)
    with pytest.raises(DataError, match="y_train has 1 targets, the cascade 2 stages; give a column per stage"):
        two.train(X, y.to_frame())
    with pytest.raises(DataError, match=r"y_val has the targets \['outcome', 'outcome'\], y_train \['a', 'b'\]"):
        two.train(X, both, X, y)
    with pytest.raises(DataError, match="y_val has no label of b in 300 rows"):
        two.train(X, both, X, both.assign(b=np.nan))
    with pytest.raises(DataError, match="y_train must be a Series or a DataFrame, got ndarray"):
        two.train(X, y.to_numpy())
    with pytest.raises(DataError, match="X_train has a column 'p_1_lightgbm', as stage 1 names its predictions"):
        two.train(X.assign(p_1_lightgbm=0.0), y)
    with pytest.raises(DataError, match="different indexes"):
        two.train(X, y.iloc[::-1])
