from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.baselines import BASELINES, LOGISTIC_PENALTY, RIDGE_PENALTY, TASKS, baseline_predictions

NAMES = {"binary": {"base_rate", "vol_ratio", "logistic"}, "regression": {"mean", "vol_ratio", "ridge"}}


def tables(seed, n_train=200, n_test=40, n_columns=6, missing=0.1):
    """Training and test features with gaps, a binary and a continuous label."""
    random = np.random.default_rng(seed)
    values = random.normal(3, 2, (n_train + n_test, n_columns))
    signal = values[:, 0] - values[:, 1]
    values[random.random(values.shape) < missing] = np.nan
    frame = pd.DataFrame(values, columns=["vol_ratio", *(f"f{i}" for i in range(1, n_columns))], dtype="float32")
    noisy = signal + random.normal(0, 1, len(signal))
    y = {"binary": (noisy > 0).astype(float), "regression": noisy}
    return frame[:n_train], {task: labels[:n_train] for task, labels in y.items()}, frame[n_train:]


def pipeline(model):
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.6]), st.sampled_from([21, 200]))
@settings(max_examples=20, deadline=None)
def test_baselines_equal_scikit_learn_pipelines(seed, missing, n_train):
    X_train, y, X_test = tables(seed, n_train=n_train, missing=missing)
    train, test = X_train.astype(float), X_test.astype(float)
    predictions, reasons = baseline_predictions("regression", X_train, y["regression"], X_test)
    assert (set(predictions), reasons) == (NAMES["regression"], {})
    np.testing.assert_allclose(predictions["mean"], y["regression"].mean())
    ridge = pipeline(Ridge(alpha=RIDGE_PENALTY)).fit(train, y["regression"])
    np.testing.assert_allclose(predictions["ridge"], ridge.predict(test), rtol=1e-8)
    linear = pipeline(LinearRegression()).fit(train[["vol_ratio"]], y["regression"])
    np.testing.assert_allclose(predictions["vol_ratio"], linear.predict(test[["vol_ratio"]]), rtol=1e-8)

    if y["binary"].min() < y["binary"].max():
        predictions, reasons = baseline_predictions("binary", X_train, y["binary"], X_test)
        assert (set(predictions), reasons) == (NAMES["binary"], {})
        np.testing.assert_allclose(predictions["base_rate"], y["binary"].mean())
        logistic = pipeline(LogisticRegression(C=1 / LOGISTIC_PENALTY)).fit(train, y["binary"])
        np.testing.assert_allclose(predictions["logistic"], logistic.predict_proba(test)[:, 1], atol=1e-6)
        single = pipeline(LogisticRegression()).fit(train[["vol_ratio"]], y["binary"])
        np.testing.assert_allclose(predictions["vol_ratio"], single.predict_proba(test[["vol_ratio"]])[:, 1], atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_useless_columns_change_nothing(task):
    X_train, y, X_test = tables(0)
    expected, _ = baseline_predictions(task, X_train, y[task], X_test)
    useless = {"empty": np.float32(np.nan), "constant": 0.3}  # 0.3 in float64 has a deviation by rounding
    tiny = np.resize([0, 1e-200], len(X_train))  # varies, but its deviation underflows to 0
    wider, reasons = baseline_predictions(
        task,
        X_train.assign(**useless, tiny=tiny),
        y[task],
        X_test.assign(empty=np.float32(np.nan), constant=5.0, tiny=1.0),
    )
    assert reasons == {}
    # A column that is only known in the test window is useless too.
    late, _ = baseline_predictions(task, X_train.assign(late=np.nan), y[task], X_test.assign(late=5.0))
    for name, prediction in expected.items():
        np.testing.assert_allclose(wider[name], prediction, rtol=1e-12)
        np.testing.assert_allclose(late[name], prediction, rtol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_the_test_rows_do_not_reach_the_fit(task):
    X_train, y, X_test = tables(1)
    whole, _ = baseline_predictions(task, X_train, y[task], X_test)
    disturbed = X_test.copy()
    disturbed.iloc[10:] = 1e6
    other, _ = baseline_predictions(task, X_train, y[task], disturbed)
    for name, prediction in whole.items():
        np.testing.assert_allclose(other[name][:10], prediction[:10], rtol=1e-12)
        assert np.isfinite(other[name]).all()


@pytest.mark.parametrize("task", TASKS)
def test_inputs_are_left_alone_and_results_repeat(task):
    X_train, y, X_test = tables(2)
    before = X_train.copy(), y[task].copy(), X_test.copy()
    first, _ = baseline_predictions(task, X_train, y[task], X_test)
    second, _ = baseline_predictions(task, X_train, y[task], X_test)
    pd.testing.assert_frame_equal(X_train, before[0])
    np.testing.assert_array_equal(y[task], before[1])
    pd.testing.assert_frame_equal(X_test, before[2])
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_what_cannot_be_fitted_is_missing_with_a_reason():
    X_train, y, X_test = tables(3)
    predictions, reasons = baseline_predictions("binary", X_train, np.ones(len(X_train)), X_test)
    assert set(predictions) == {"base_rate"}
    assert set(reasons.values()) == {"the training rows have one class only"}
    for spoilt in (X_train.drop(columns="vol_ratio"), X_train.assign(vol_ratio=1.0), X_train.assign(vol_ratio=np.nan)):
        predictions, reasons = baseline_predictions("regression", spoilt, y["regression"], X_test[spoilt.columns])
        assert set(predictions) == {"mean", "ridge"}
        assert reasons == {"vol_ratio": "no column vol_ratio that varies in the training rows"}
    predictions, reasons = baseline_predictions("regression", X_train[[]], y["regression"], X_test[[]])
    assert set(predictions) == {"mean"}
    assert reasons["ridge"] == "no column varies in the training rows"
    predictions, reasons = baseline_predictions("binary", X_train[:1], [1], X_test)
    assert set(predictions) == {"base_rate"}


@pytest.mark.parametrize("scale", [1e-35, 1e30])
@pytest.mark.parametrize("task", TASKS)
def test_wild_columns_raise_no_warning(task, scale):
    X_train, y, X_test = tables(4, missing=0)
    random = np.random.default_rng(0)
    wild = random.standard_cauchy(len(X_train) + len(X_test)) * scale
    wild = wild.astype("float32")
    predictions, reasons = baseline_predictions(
        task, X_train.assign(wild=wild[: len(X_train)]), y[task], X_test.assign(wild=wild[len(X_train) :])
    )
    assert reasons == {}
    assert all(np.isfinite(prediction).all() for prediction in predictions.values())


def test_bad_input_is_one_clear_error():
    X_train, y, X_test = tables(5)
    labels = y["regression"]
    with pytest.raises(ConfigError, match="did you mean 'regression'"):
        baseline_predictions("regresion", X_train, labels, X_test)
    with pytest.raises(DataError, match=r"differ in \['f5'\]"):
        baseline_predictions("regression", X_train, labels, X_test.drop(columns="f5"))
    with pytest.raises(DataError, match="differ in their order"):
        baseline_predictions("regression", X_train, labels, X_test[X_test.columns[::-1]])
    with pytest.raises(DataError, match="'f2' is"):
        baseline_predictions("regression", X_train, labels, X_test.assign(f2=np.inf))
    with pytest.raises(DataError, match="0 rows"):
        baseline_predictions("regression", X_train[:0], labels[:0], X_test)
    with pytest.raises(DataError, match="one label per training row"):
        baseline_predictions("regression", X_train, labels[:-1], X_test)
    with pytest.raises(DataError, match="labels must be finite"):
        baseline_predictions("regression", X_train, np.append(labels[:-1], np.nan), X_test)


def test_the_table_names_each_baseline_of_a_task_once():
    for task in TASKS:
        rows = [baseline for baseline in BASELINES if task in baseline.tasks]
        assert {row.name for row in rows} == NAMES[task] | {"buy_and_hold"}
        assert [row.name for row in rows if row.predict is None] == ["buy_and_hold"]
        assert len(rows) == len({row.name for row in rows})
        assert all(row.text for row in rows)
