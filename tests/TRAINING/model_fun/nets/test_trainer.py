from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import clone

from CONFIG.config_loader import load_model_config
from CONFIG.errors import DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.model_fun import MLPTrainer, MultiTaskTrainer

LABEL_END = np.datetime64("2030-01-01", "ns")


def make_dataset(rows: int, seed: int, targets: list[str] | None = None) -> tuple[Dataset, Dataset]:
    """Training and validation rows; a table of targets where they are named, else one."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(size=(rows + 50, 4)), columns=list("abcd"))
    value = X["a"] + 0.3 * random.normal(size=len(X))
    y = value.rename("outcome")
    if targets:
        y = pd.DataFrame({name: value * 10.0**-place for place, name in enumerate(targets)})
        y.iloc[::7, 0] = np.nan
    rows_known = RowInfo(np.full(rows, LABEL_END), random.uniform(0.5, 1, rows))
    later = RowInfo(np.full(50, LABEL_END))
    return Dataset(X[:rows], y[:rows], rows_known), Dataset(X[rows:], y[rows:], later)


def check_same(trainer_class: type, datasets: list[tuple[Dataset, Dataset]], **overrides) -> list:
    config = load_model_config(trainer_class.name, variant="smoke", overrides=overrides)
    together = trainer_class(config).fit_many(datasets)
    for trainer, (train, later) in zip(together, datasets, strict=True):
        alone = trainer_class(config).train(train.X, train.y, later.X, later.y, rows=train.rows)
        np.testing.assert_allclose(trainer.predict_score(later.X), alone.predict_score(later.X), atol=1e-4)
        assert (trainer.rounds, trainer.task, trainer.target) == (alone.rounds, alone.task, alone.target)
        assert {part: len(curve["loss"]) for part, curve in trainer.history.items()} == {
            part: len(curve["loss"]) for part, curve in alone.history.items()
        }
        np.testing.assert_allclose(
            trainer.get_feature_importance().sort_index(), alone.get_feature_importance().sort_index(), atol=1e-4
        )
    return together


def test_one_target() -> None:
    trainers = check_same(MLPTrainer, [make_dataset(rows, rows) for rows in (100, 170, 101)])
    assert len({trainer.rounds for trainer in trainers}) > 1


def test_several_targets() -> None:
    check_same(MultiTaskTrainer, [make_dataset(rows, rows, ["TTH", "MDD"]) for rows in (100, 130)])


def test_indicators_of_other_features() -> None:
    datasets = [make_dataset(100, seed) for seed in range(3)]
    for column, (train, _) in zip("aab", datasets, strict=True):
        train.X.loc[::5, column] = np.nan
    datasets[2][0].X.loc[::3, "c"] = np.nan
    check_same(MLPTrainer, datasets, missing_indicators=True)


def test_a_fault_stands_in_its_place() -> None:
    datasets = [make_dataset(100, seed) for seed in range(3)]
    train, later = datasets[1]
    faulty = (Dataset(train.X.replace(train.X.iloc[3, 2], np.inf), train.y, train.rows), later)
    first, error, last = MLPTrainer(load_model_config("mlp", variant="smoke")).fit_many(
        [datasets[0], faulty, datasets[2]]
    )
    assert isinstance(error, DataError)
    assert "infinite" in str(error)
    assert np.corrcoef(first.predict_score(later.X), later.X["a"])[0, 1] > 0.8
    assert last.rounds


def test_only_faults_and_nothing() -> None:
    trainer = MLPTrainer(load_model_config("mlp", variant="smoke"))
    train, _ = make_dataset(5, 0)
    assert [type(outcome) for outcome in trainer.fit_many([(train, None)])] == [DataError]
    assert trainer.fit_many([]) == []


def test_the_estimators_train_by_themselves_afterwards() -> None:
    train, later = make_dataset(100, 0)
    (trainer,) = MLPTrainer(load_model_config("mlp", variant="smoke")).fit_many([(train, later)])
    fitted = clone(trainer.model).fit(train.X, train.y)
    assert fitted.predict(later.X).shape == (50,)
    assert trainer.model.fit(train.X, train.y).result_.epochs == 20
