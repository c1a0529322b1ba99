from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import MetaLearningTrainer, MLPTrainer
from TRAINING.model_fun.nets.meta_estimators import MetaClassifier, MetaRegressor
from TRAINING.neural import modules

FEW = 15  # rows that a new symbol shows
QUICK = {
    "hidden": (16,), "adapt_rows": 4, "query_rows": 2, "inner_steps": 1, "epochs": 15, "batch_size": 32,
    "learning_rate": 0.1, "weight_decay": 0.01,
}  # fmt: skip
LEARNING = {
    "hidden": [32], "adapt_rows": FEW, "query_rows": 15, "inner_steps": 5, "inner_learning_rate": 0.2, "epochs": 30,
    "batch_size": 40,
}  # fmt: skip
BY_PLACE = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated row is a further row of the series",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [MetaRegressor(**QUICK), MetaClassifier(**QUICK)], expected_failed_checks=lambda estimator: BY_PLACE
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def symbol(name: str, values: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([[name], pd.bdate_range("2015-01-01", periods=len(y), tz="UTC")])
    columns = [f"f{number}" for number in range(values.shape[1])]
    return pd.DataFrame(values.astype(np.float32), index.set_names(["symbol", "timestamp"]), columns).assign(outcome=y)


def line(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """y follows ten features by coefficients around those of all symbols."""
    values, common = random.normal(size=(rows, 10)), np.tile([1.0, -1.0, 0.5, 1.5, -0.5], 2)
    return values, values @ (common + 0.5 * random.normal(size=10)) + 0.3 * random.normal(size=rows)


def family(names: list[str], rows: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Symbols with coefficients of their own."""
    lines = [symbol(name, *line(np.random.default_rng([seed, place]), rows)) for place, name in enumerate(names)]
    table = pd.concat(lines)
    return table.drop(columns="outcome"), table["outcome"]


def trained(X, y, *validation, rows=None, **overrides) -> MetaLearningTrainer:
    config = load_model_config("meta_learning", variant="smoke", overrides=overrides)
    return MetaLearningTrainer(config).train(X, y, *validation, rows=rows)


def error(trainer, X: pd.DataFrame, y: pd.Series) -> float:
    return float(np.mean((trainer.predict(X) - y) ** 2))


def mlp(X: pd.DataFrame, y: pd.Series, **overrides) -> MLPTrainer:
    return MLPTrainer(load_model_config("mlp", variant="smoke", overrides={"hidden": [32]} | overrides)).train(X, y)


def test_few_rows_of_a_new_symbol_do() -> None:
    """Better than the same net on these rows alone, at a rate that suits it, and than one of all symbols."""
    X, y = family([f"S{number:02}" for number in range(40)], 60)
    later_X, later_y = family(["NEW", "OTHER", "THIRD"], 200 + FEW, seed=1)
    few = (later_X.groupby(level=0).cumcount() < FEW).to_numpy()
    trainer = trained(X, y, **LEARNING)
    before = trainer.predict(later_X)
    adapted = trainer.adapt(later_X[few], later_y[few])
    np.testing.assert_array_equal(trainer.predict(later_X), before)
    scratch = []
    for name in later_X.index.levels[0]:
        mine = later_X.index.get_level_values(0) == name
        alone = mlp(later_X[mine & few], later_y[mine & few], epochs=100, batch_size=FEW, dropout=0.0)
        scratch.append(error(alone, later_X[mine & ~few], later_y[mine & ~few]))
    X_test, y_test = later_X[~few], later_y[~few]
    assert error(adapted, X_test, y_test) < 0.4 * np.mean(scratch)
    assert error(adapted, X_test, y_test) < 0.7 * error(mlp(X, y, epochs=30), X_test, y_test)
    scores = adapted.own_scores(X_test, y_test)
    assert scores["meta_loss"] + scores["adapted_minus_meta_loss"] < 0.7 * scores["meta_loss"]


def test_a_single_symbol_adapts_to_its_latest_rows() -> None:
    """Its coefficients change every 60 rows; the last ones hold on."""
    parts = [line(np.random.default_rng([2, block]), 60) for block in range(11)]
    parts[-1] = line(np.random.default_rng([2, 10]), 160)
    table = symbol("A", np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts]))
    X, y = table.drop(columns="outcome"), table["outcome"]
    trainer = trained(X[:650], y[:650], X[660:700], y[660:700], **LEARNING | {"adapt_rows": 40})
    scores = trainer.own_scores(X[700:], y[700:])
    assert scores["adapted_minus_meta_loss"] < -0.3 * scores["meta_loss"]
    assert error(trainer, X[700:], y[700:]) < 0.7 * error(mlp(X[:650], y[:650], epochs=30), X[700:], y[700:])
    assert trainer.own_scores(X[700:], y[700:] * np.nan) == {}


@pytest.fixture(scope="module")
def panel() -> tuple[pd.DataFrame, pd.Series]:
    """Three symbols, and one that is too short for a task."""
    X, y = family(["A", "B", "C", "D"], 90)
    short = (X.index.get_level_values(0) != "D") | (X.groupby(level=0).cumcount() < 8).to_numpy()
    return X[short], y[short]


@pytest.fixture(scope="module")
def trainer(panel) -> MetaLearningTrainer:
    return trained(*panel, epochs=5)


def test_each_symbol_has_its_own_weights_and_a_new_one_the_start(trainer, panel) -> None:
    X, _ = panel
    rows = X.loc[["A"]]
    answers = {
        name: trainer.predict(rows.set_axis(rows.index.set_levels([name], level=0))) for name in ("A", "B", "D", "NEW")
    }
    assert len({answer.tobytes() for answer in answers.values()}) == 4
    np.testing.assert_array_equal(answers["NEW"], trainer.predict(rows.reset_index(drop=True)))
    mixed = trainer.predict(X)
    for name in "ABCD":
        np.testing.assert_array_equal(mixed[X.index.get_level_values(0) == name], trainer.predict(X.loc[[name]]))


def test_rows_in_any_order_train_the_same(trainer, panel) -> None:
    X, y = panel
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(trained(X.iloc[order], y.iloc[order], epochs=5).predict(X), trainer.predict(X))


def test_rows_without_symbols_are_of_the_only_one(panel) -> None:
    X, y = panel[0].loc[["A"]], panel[1].loc[["A"]]
    alone = trained(X, y, epochs=3)
    np.testing.assert_array_equal(alone.predict(X), alone.predict(X.reset_index(drop=True)))
    plain = trained(X.reset_index(drop=True), y.reset_index(drop=True), epochs=3)
    np.testing.assert_array_equal(plain.predict(X.reset_index(drop=True)), alone.predict(X))


def test_validation_rows_of_unknown_symbols_count_too(panel) -> None:
    X, y = panel
    later_X, later_y = family(["A", "NEW"], 30, seed=3)
    early = trained(X, y, later_X, later_y, epochs=3, early_stopping_rounds=0)
    answer = early.predict(later_X)
    loss = np.mean((answer - later_y) ** 2) / np.std(y) ** 2
    assert early.history["validation"]["loss"][-1] == pytest.approx(loss, rel=1e-3)


def test_an_adapted_trainer_comes_back_from_an_artifact(trainer, panel, tmp_path) -> None:
    X, y = panel
    new_X, new_y = family(["B", "NEW"], 20, seed=5)
    adapted = trainer.adapt(new_X, new_y)
    save_artifact(adapted, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    both = pd.concat([X, new_X])
    np.testing.assert_array_equal(loaded.predict(both), adapted.predict(both))
    np.testing.assert_array_equal(adapted.model.predict(both), adapted.predict(both))
    for name, changed in {"A": False, "B": True, "C": False, "D": False}.items():
        assert (adapted.predict(X.loc[[name]]) != trainer.predict(X.loc[[name]])).any() == changed
    back = loaded.adapt(X.loc[["B"]], y.loc[["B"]])
    np.testing.assert_allclose(back.predict(X), trainer.predict(X), atol=1e-5)


def test_one_class_and_one_row_are_enough_to_adapt(make_planted) -> None:
    X, y = make_planted(200, "binary")
    trainer = trained(X, y, epochs=3)
    new = X[:1].set_axis(pd.MultiIndex.from_tuples([("NEW", X.index[0][1])], names=X.index.names))
    before = trainer.predict_proba(new)[0, 1]
    for label in (0.0, 1.0):
        after = trainer.adapt(new, pd.Series([label], new.index)).predict_proba(new)[0, 1]
        assert abs(label - after) < abs(label - before)
    with pytest.raises(DataError, match=r"binary target must be 0 or 1, got \[2.0\]"):
        trainer.adapt(new, pd.Series([2.0], new.index))
    with pytest.raises(DataError, match="1 missing or infinite labels"):
        trainer.adapt(new, pd.Series([np.nan], new.index))
    with pytest.raises(DataError, match="lacks 1 of the 10 training columns: signal"):
        trainer.adapt(new.drop(columns="signal"), pd.Series([1.0], new.index))


def test_sample_weights_count_when_adapting(trainer) -> None:
    X, y = family(["NEW"], 20, seed=6)
    weight = np.r_[np.zeros(10), np.ones(10)]
    info = RowInfo(np.full(20, np.datetime64("2016-01-01", "ns")), weight)
    weighted, half = trainer.adapt(X, y, rows=info), trainer.adapt(X[10:], y[10:])
    np.testing.assert_allclose(weighted.predict(X), half.predict(X), atol=1e-5)
    assert np.abs(weighted.predict(X) - trainer.adapt(X, y).predict(X)).max() > 0.01


def test_too_few_tasks_are_told(panel) -> None:
    X, y = panel[0].loc[["A"]], panel[1].loc[["A"]]
    assert trained(X, y, epochs=1, adapt_rows=45).rounds == 1  # 45 rows, 5 that are purged, and 2 tasks of 20
    with pytest.raises(
        DataError, match=r"1 series of up to 90 rows make 1 tasks, each 46 rows .* up to 5 whose labels"
    ):
        trained(X, y, adapt_rows=46)
    never = RowInfo(np.full(90, np.datetime64("2030-01-01", "ns")))
    with pytest.raises(DataError, match="make 0 tasks, .* up to 89 whose labels are not known yet"):
        trained(X, y, rows=never)


def test_an_adaptation_that_explodes_is_told(panel) -> None:
    X, y = panel
    wild = trained(X, y, epochs=1, gradient_clip=0.0, inner_steps=1, inner_learning_rate=10.0)
    wild.config = wild.config | {"inner_steps": 1000}
    with pytest.raises(
        DataError, match="^meta_learning: adapting to the last 30 rows of A made weights infinite; lower"
    ):
        wild.adapt(X, y)


def test_a_table_too_large_to_be_standardised_twice_trains_the_same(
    trainer, panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "_STANDARDISED_ONCE", 0)
    np.testing.assert_array_equal(trained(*panel, epochs=5).predict(panel[0]), trainer.predict(panel[0]))
