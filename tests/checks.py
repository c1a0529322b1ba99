"""The contract of every trainer, checked over the whole registry. A new model is covered by being in the table."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone, is_classifier
from sklearn.feature_selection import RFECV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV

import TRAINING.model_fun.base as base
from CONFIG.config_loader import load_model_config, model_names
from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import MODELS, predictor_class, trainer_class
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.registry import PREDICTORS

TASKS = ("binary", "regression")
# Those that make features have a contract for these too, in tests/TRAINING/model_fun/test_feature_trainers.py.
each_model = pytest.mark.parametrize("model", sorted(MODELS))
each_task = pytest.mark.parametrize("task", TASKS)
# Of noise, the default variant loses this share of the base rate's loss at most (log loss, squared error), and what it
# gains is within so many standard errors of nothing.
NOISE_MARGIN, BY_CHANCE = 0.01, 3.0


def smoke(model: str, **overrides) -> dict:
    """A configuration for tests. Latents know no target: they keep a lone column where they are more than columns."""
    wide = {"latent_dim": 24} if trainer_class(model).makes_features else {}
    return load_model_config(model, variant="smoke", overrides=wide | overrides)


def trained(model: str, X: pd.DataFrame, y: pd.Series, *validation, **overrides) -> Trainer:
    return predictor_class(model)(smoke(model, **overrides)).train(X, y, *validation)


def rounds_key(model: str) -> str:
    """What a model calls its rounds: trees, epochs of a net, passes or iterations."""
    names = ("n_estimators", "passes", "iterations")
    return next((name for name in names if name in load_model_config(model)), "epochs")


def few_rounds(model: str, count: int) -> dict[str, int]:
    """The override for so many rounds; none for a model without rounds."""
    return {rounds_key(model): count} if rounds_key(model) in load_model_config(model) else {}


def label_ends(X: pd.DataFrame) -> np.ndarray:
    """A week behind each row, when its label is known."""
    return X.index.get_level_values(1).tz_localize(None).to_numpy() + np.timedelta64(7, "D")


def skill(trainer: Trainer, X: pd.DataFrame, y: pd.Series) -> float:
    score = trainer.predict_score(X)
    if trainer.task == "regression" and trainer.predicts_position:  # whose size is not the target's
        correlation = spearmanr(y, score).statistic
        return correlation * abs(correlation)
    return roc_auc_score(y, score) if trainer.task == "binary" else r2_score(y, score)


def losses(task: str, y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) log losses or squared errors."""
    return (y - score) ** 2 if task == "regression" else -np.log(np.where(y == 1, score, 1 - score))


@pytest.fixture(autouse=True)
def a_task_that_it_learns(request: pytest.FixtureRequest) -> None:
    """Skips the tasks that a model declares not to learn; it refuses them, which its own tests show."""
    chosen = getattr(request.node, "callspec", None)
    task = chosen and chosen.params.get("task", chosen.params.get("planted"))
    if task and "model" in chosen.params and task not in predictor_class(chosen.params["model"]).tasks:
        pytest.skip(f"it does not learn {task} targets")


@pytest.fixture(scope="module", params=TASKS)
def planted(request: pytest.FixtureRequest, make_planted) -> tuple[pd.DataFrame, pd.Series]:
    return make_planted(600, request.param)


@pytest.fixture(scope="module")
def shared(planted) -> Callable[[str], Trainer]:
    """Each model trained once, on 400 rows of ``planted`` and stopped by the others, for tests that only ask it."""
    X, y = planted
    return cache(lambda model: trained(model, X[:400], y[:400], X[400:], y[400:]))


def test_table_yaml_and_class_are_in_step() -> None:
    assert set(MODELS) == set(model_names())
    for model in MODELS:
        for made in {trainer_class(model), predictor_class(model)}:
            assert made.name == model
            assert issubclass(made, Trainer)
            assert inspect.getdoc(made)


@each_model
def test_public_name_is_importable(model: str) -> None:
    import TRAINING.model_fun as package

    assert getattr(package, predictor_class(model).__name__) is predictor_class(model)


@each_model
def test_learns_a_planted_signal_and_no_noise(model: str, planted) -> None:
    X, y = planted
    train, test = slice(0, 400), slice(400, None)
    trainer = trained(model, X[train], y[train])
    floor = 0.75 if trainer.task == "binary" else 0.35
    assert skill(trainer, X[test], y[test]) > floor

    shuffled = pd.Series(np.random.default_rng(1).permutation(y.to_numpy()), index=y.index, name=y.name)
    noise = trained(model, X[train], shuffled[train])
    ceiling = 0.62 if trainer.task == "binary" else 0.1
    assert skill(noise, X[test], shuffled[test]) < ceiling


@each_model
@each_task
def test_the_default_variant_is_honest_about_noise(model: str, task: str, make_planted) -> None:
    """Beside the base rate of its training rows, on rows it has not seen and as reports train it: stopped early."""
    if model in PREDICTORS:
        pytest.skip("test_feature_trainers.py has the noise of latents")
    X, y = make_planted(2500, task, seed=2)
    y = pd.Series(np.random.default_rng(3).permutation(y.to_numpy()), index=X.index, name=y.name)
    trainer = predictor_class(model)(load_model_config(model)).train(X[:800], y[:800], X[800:1000], y[800:1000])
    score, later = trainer.predict_score(X[1000:]), y[1000:].to_numpy()
    base = losses(task, later, np.full(len(later), y[:800].mean()))
    if task == "regression" and trainer.predicts_position:
        gain = score * later  # what the positions earn
    else:
        gain = base - losses(task, later, score)
        assert -gain.mean() < NOISE_MARGIN * base.mean()
    assert gain.mean() < BY_CHANCE * max(gain.std(), 1e-12) / len(gain) ** 0.5


@each_model
def test_same_seed_same_predictions(model: str, planted) -> None:
    X, y = planted
    few, draws = few_rounds(model, 5), "seed" in load_model_config(model)
    seeds = [{"seed": seed} for seed in (5, 5, 6)] if draws else [{}, {}]
    first, second, *others = (trained(model, X, y, **seed, **few).predict_score(X) for seed in seeds)
    np.testing.assert_array_equal(first, second)
    assert not any(np.array_equal(first, other) for other in others)


@each_model
def test_a_lean_trainer_predicts_the_same(model: str, planted, shared) -> None:
    X, y = planted
    lean = predictor_class(model)(smoke(model))
    lean.lean = True
    lean.train(X[:400], y[:400], X[400:], y[400:])
    assert not shared(model).lean
    np.testing.assert_array_equal(lean.predict_score(X), shared(model).predict_score(X))


@each_model
def test_inputs_stay_as_they_were(model: str, planted) -> None:
    X, y = planted
    before_X, before_y = X.copy(deep=True), y.copy(deep=True)
    trainer = trained(model, X[:400], y[:400], X[400:], y[400:])
    trainer.predict(X)
    pd.testing.assert_frame_equal(X, before_X)
    pd.testing.assert_series_equal(y, before_y)


@each_model
def test_one_row_predicts_as_in_a_batch(model: str, planted, shared) -> None:
    X, _ = planted
    trainer = shared(model)
    if trainer.context_rows:
        pytest.skip("a sequence model needs the rows before")
    batch = trainer.predict_score(X[:20])
    one_by_one = np.concatenate([trainer.predict_score(X[i : i + 1]) for i in range(20)])
    np.testing.assert_array_equal(one_by_one, batch)


@each_model
def test_later_rows_and_other_symbols_do_not_matter(model: str, planted, shared) -> None:
    """An answer is made of the rows of its symbol up to its own, bit for bit."""
    X, _ = planted
    trainer, until = shared(model), 300
    answers = trainer.predict_score(X)
    other = pd.concat([X[:until], -10 * X[until:]])
    np.testing.assert_array_equal(trainer.predict_score(other)[:until], answers[:until])
    np.testing.assert_array_equal(trainer.predict_score(X[:until]), answers[:until])
    both = pd.concat([other.rename({"A": "0"}, level="symbol"), X, other.rename({"A": "B"}, level="symbol")])
    np.testing.assert_array_equal(trainer.predict_score(both)[len(X) : 2 * len(X)], answers)


@each_model
def test_predictions_have_shape_and_meaning(model: str, planted, shared) -> None:
    X, _ = planted
    trainer = shared(model)
    prediction = trainer.predict(X)
    assert prediction.shape == (len(X),)
    if trainer.task == "binary":
        assert set(prediction) <= {0, 1}
        probability = trainer.predict_proba(X)
        assert probability.shape == (len(X), 2)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        np.testing.assert_array_equal(prediction, probability[:, 1] > 0.5)
    else:
        np.testing.assert_array_equal(prediction, trainer.predict_score(X))
        with pytest.raises(ConfigError, match="predict_proba needs a binary target"):
            trainer.predict_proba(X)


@each_model
def test_predictions_are_the_estimators_own(model: str, planted, shared) -> None:
    """What a user gets from ``joblib.load(...).predict(X)`` is what the trainer says."""
    X, _ = planted
    trainer = shared(model)
    own = trainer.model.predict_proba(X)[:, 1] if is_classifier(trainer.model) else trainer.model.predict(X)
    np.testing.assert_allclose(trainer.predict_score(X), own, rtol=1e-6)


@each_model
def test_column_order_at_predict_does_not_matter(model: str, planted, shared) -> None:
    X, _ = planted
    trainer = shared(model)
    assert trainer.features == list(X.columns)
    shuffled = X[X.columns[::-1]].assign(unused=1.0)
    np.testing.assert_array_equal(trainer.predict_score(shuffled), trainer.predict_score(X))


@each_model
def test_missing_columns_are_shown(model: str, planted, shared) -> None:
    X, _ = planted
    trainer = shared(model)
    renamed = X.rename(columns={"signal": "signl"})
    with pytest.raises(DataError, match=r"lacks 1 of the 10 training columns: signal; unknown to it: signl"):
        trainer.predict(renamed)


@each_model
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_named(model: str, planted, shared, value: float) -> None:
    X, y = planted
    broken = X.copy()
    broken.iloc[[7, 9], 3] = value
    with pytest.raises(DataError, match=rf"'signal' has 2 infinite values, the first at .*{X.index[7][1].date()}"):
        trained(model, broken, y)
    trainer = shared(model)
    with pytest.raises(DataError, match="'signal' has 2 infinite values"):
        trainer.predict(broken)


@each_model
def test_missing_values_as_declared(model: str, planted) -> None:
    X, y = planted
    holes = X.copy()
    holes.iloc[5, 2] = np.nan
    if predictor_class(model).allows_nan:
        assert np.isfinite(trained(model, holes, y).predict_score(holes)).all()
    else:
        with pytest.raises(DataError, match="1 missing values"):
            trained(model, holes, y)


@each_model
def test_features_that_say_nothing_are_survived_or_refused(model: str, planted) -> None:
    X, y = planted
    try:
        trainer = trained(model, X * 0, y)
    except DataError as error:
        assert "varies" in str(error)  # noqa: PT017
        return
    assert np.isfinite(trainer.predict_score(X * 0)).all()
    assert not (trainer.get_feature_importance() < 0).any()


@each_model
def test_a_feature_without_any_value_is_noted(model: str, planted) -> None:
    X, y = planted
    empty = X.assign(hollow=np.float32(np.nan))
    if not predictor_class(model).allows_nan:
        pytest.skip("missing values are refused")
    assert trained(model, empty, y).notes[:1] == ["features without any value in training, so unused: hollow"]


@each_model
def test_labels_are_checked(model: str, planted) -> None:
    X, y = planted
    with pytest.raises(DataError, match="600 rows.*599|599 rows.*600"):
        trained(model, X, y[:-1])
    with pytest.raises(DataError, match="different indexes"):
        trained(model, X, y.iloc[::-1])
    if not predictor_class(model)().context_rows:  # else a row without a label is there to be looked back at
        with pytest.raises(DataError, match="3 missing or infinite labels"):
            trained(model, X, y.mask(np.arange(len(y)) < 3))
    with pytest.raises(DataError, match="1 missing or infinite labels"):
        trained(model, X, y.where(np.arange(len(y)) != 3, np.inf))
    with pytest.raises(DataError, match="600 missing or infinite labels"):
        trained(model, X, (y + 1) * 1e200)
    with pytest.raises(DataError, match="X_val and y_val come together"):
        trained(model, X, y, X)
    if not predictor_class(model).many_targets:
        with pytest.raises(DataError, match="one target, got a table of 2"):
            trained(model, X, pd.concat([y, y], axis=1))


@each_model
def test_a_target_that_does_not_vary_is_refused(model: str, make_planted) -> None:
    for task, value, words in (("binary", 1, "one class only, 1"), ("regression", 0.5, "constant, 0.5")):
        if task in predictor_class(model).tasks:
            X, y = make_planted(300, task)
            with pytest.raises(DataError, match=f"{words} in all 300 rows"):
                trained(model, X, y * 0 + value)


@each_model
def test_too_few_rows_for_one_split_is_an_error(model: str, planted) -> None:
    X, y = planted
    with pytest.raises(DataError, match="no split is possible"):
        trained(model, X[:6], y[:6])


@each_model
def test_task_follows_our_labels_then_the_values(model: str, planted) -> None:
    if predictor_class(model).tasks != TASKS:
        pytest.skip("there is only one")
    X, y = planted
    zero_one, few = (y > 0).astype(float), few_rounds(model, 2)
    assert trained(model, X, zero_one.rename("fwd_ret_5"), **few).task == "regression"
    assert trained(model, X, zero_one.rename("y_will_peak"), **few).task == "binary"
    assert trained(model, X, zero_one.rename("mine"), **few).task == "binary"
    assert trained(model, X, zero_one.rename("mine"), task="regression", **few).task == "regression"
    with pytest.raises(DataError, match="must be 0 or 1"):
        trained(model, X, (y * 0 + np.arange(len(y)) % 3).rename("y_will_peak"))


@each_model
def test_estimator_serves_scikit_learn(model: str, planted, shared) -> None:
    X, y = (part[:300] for part in planted)
    estimator = shared(model).model
    copied, params = clone(estimator).get_params(), estimator.get_params()
    if "transformer" in params:  # itself a copy
        assert repr(copied.pop("transformer")) == repr(params.pop("transformer"))
    assert copied == params
    names = {name.rpartition("__")[2]: name for name in params}  # of a transformer inside, too
    values = {"learning_rate": [0.01, 0.03]} | {key: [5, count] for key, count in few_rounds(model, 10).items()}
    values = {names[key]: values[key] for key in values if key in names} or {"random_state": [0, 1]}
    grid = GridSearchCV(estimator, values, cv=2, scoring="neg_mean_squared_error")
    assert set(grid.fit(X, y).best_params_) == set(values)
    few = clone(estimator).set_params(**{names[key]: count for key, count in few_rounds(model, 10).items()})
    selector = RFECV(few, step=4, cv=2, scoring="neg_mean_squared_error").fit(X, y)
    assert selector.support_[3], "the planted column is kept"


@each_model
def test_estimator_survives_joblib(model: str, planted, shared, tmp_path: Path) -> None:
    X, _ = planted
    trainer = shared(model)
    joblib.dump(trainer.model, tmp_path / "model.pkl")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.pkl").predict(X), trainer.model.predict(X))
    json.dumps(trainer.config)


@each_model
def test_importance_is_a_share(model: str, planted, shared) -> None:
    X, _ = planted
    trainer = shared(model)
    importance = trainer.get_feature_importance(target="outcome")
    assert importance.index[0] == "signal"
    assert set(importance.index) == set(X.columns)
    assert importance.is_monotonic_decreasing
    assert importance.sum() == pytest.approx(1)
    with pytest.raises(ConfigError, match="did you mean 'outcome'"):
        trainer.get_feature_importance(target="outcom")


@each_model
def test_early_stopping_needs_validation_rows(model: str, planted) -> None:
    X, y = planted
    if "early_stopping_rounds" not in load_model_config(model):
        pytest.skip("it has no rounds to stop at")
    most = 100
    rounds = {rounds_key(model): most, "learning_rate": 0.5, "early_stopping_rounds": 5}
    without = trained(model, X[:400], y[:400], **rounds)
    assert without.rounds == most
    assert set(without.history) == {"train"}
    early = trained(model, X[:400], y[:400], X[400:], y[400:], **rounds)
    assert early.rounds < 60
    assert set(early.history) == {"train", "validation"}
    (metric,) = early.history["validation"]
    assert np.argmin(early.history["validation"][metric]) + 1 == early.rounds


@each_model
def test_sample_weight_is_used(model: str, planted) -> None:
    X, y = planted
    rows = RowInfo(label_ends(X), np.linspace(0.01, 1, len(X)))
    config = smoke(model)
    weighted = predictor_class(model)(config).train(X, y, rows=rows).predict_score(X)
    assert not np.array_equal(weighted, trained(model, X, y).predict_score(X))
    with pytest.raises(DataError, match="rows describes 5 rows"):
        predictor_class(model)(config).train(X, y, rows=rows.take(np.arange(5)))


@each_model
def test_fit_many_equals_one_by_one(model: str, make_planted) -> None:
    datasets = []
    for seed in range(3):
        X, y = make_planted(300, "regression", seed)
        rows = RowInfo(label_ends(X))
        whole = Dataset(X, y if seed != 1 else y * 0, rows)
        datasets.append((whole.take(np.arange(200)), whole.take(np.arange(200, 300))))
    config = load_model_config(model, variant="smoke")
    many = predictor_class(model)(config).fit_many(datasets)
    assert isinstance(many[1], DataError), "one symbol's fault stands in its place"
    for i in (0, 2):
        (train, validation), together = datasets[i], many[i]
        alone = predictor_class(model)(config).train(train.X, train.y, validation.X, validation.y, rows=train.rows)
        # Models that train in one program agree to the rounding of float32; others do just what they do alone.
        rounding = 1e-4 if predictor_class(model).symbols_per_batch > 1 else 0
        np.testing.assert_allclose(together.predict_score(train.X), alone.predict_score(train.X), rtol=0, atol=rounding)


@each_model
def test_artifact_predicts_as_before(model: str, planted, shared, tmp_path: Path) -> None:
    X, _ = planted
    trainer = shared(model)
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict_score(X), trainer.predict_score(X))
    pd.testing.assert_series_equal(loaded.get_feature_importance(), trainer.get_feature_importance())
    assert (loaded.history, loaded.config, loaded.task) == (trainer.history, trainer.config, trainer.task)
    assert not list((tmp_path / "artifact").glob("*.pkl"))


@each_model
def test_damaged_artifact_is_refused(model: str, shared, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    save_artifact(shared(model), folder)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:]):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match="train this unit again"):
                load_artifact(folder)
        path.unlink()
        with pytest.raises(IntegrityError, match="missing"):
            load_artifact(folder)
        path.write_bytes(whole)
    load_artifact(folder)


class ReadKeys(dict):
    """A configuration that remembers which keys were read."""

    def __init__(self, values: dict) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        self.read.add(key)
        return super().__getitem__(key)


@each_model
def test_every_key_is_read(model: str, planted, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = planted
    config = ReadKeys(load_model_config(model, variant="smoke"))
    monkeypatch.setattr(base, "check_model_config", lambda name, given: given)
    predictor_class(model)(config).train(X[:400], y[:400], X[400:], y[400:])
    assert set(config) == config.read


@each_model
def test_configuration_is_checked_and_completed(model: str, planted) -> None:
    X, y = planted
    given = {key: 5 for key in ("seed",) if key in load_model_config(model)} | few_rounds(model, 5)
    for key in given:
        with pytest.raises(ConfigError, match=f"{key}z.*did you mean '{key}'"):
            predictor_class(model)({f"{key}z": 5}).train(X, y)
    partial = predictor_class(model)(given).train(X, y)
    assert partial.config == {**load_model_config(model), **given}


@each_model
def test_none_takes_the_variant_of_the_environment(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_VARIANT", "conservative")
    assert predictor_class(model)().config == load_model_config(model, variant="conservative")


@each_model
def test_untrained_model_says_so(model: str, planted) -> None:
    with pytest.raises(ConfigError, match="not trained yet"):
        predictor_class(model)().predict(planted[0])


@each_model
@each_task
def test_variants_differ_in_the_promised_direction(model: str, task: str, make_planted) -> None:
    """Aggressive fits the training rows closer than conservative, in fewer rounds where there are any."""
    if model == "gan":
        pytest.skip("told what its critic sees, which no variant makes to fit a target closer")
    X, y = make_planted(300, task)
    fits = {}
    for variant in ("conservative", "aggressive"):
        config = load_model_config(model, variant=variant)
        trainer = predictor_class(model)(config).train(X, y)
        if trainer.history and not trainer_class(model).makes_features:  # else the curve is not of the target
            (curve,) = trainer.history["train"].values()
        else:
            curve = [-skill(trainer, X, y)]
        fits[variant] = (curve[-1], trainer.rounds)
    assert fits["aggressive"][0] < fits["conservative"][0]
    if fits["aggressive"][1] is not None:
        assert fits["aggressive"][1] < fits["conservative"][1]


def test_the_measured_zoo_has_every_model() -> None:
    """Both tables of docs/11_ZOO.md; benchmarks/zoo.py --write makes them."""
    page = (Path(__file__).parent.parent / "docs" / "11_ZOO.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == 2 * sorted(MODELS)
