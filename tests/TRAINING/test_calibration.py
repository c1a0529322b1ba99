from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.calibration import (
    METHODS,
    CalibratedClassifier,
    Calibration,
    calibrate_folds,
    fit_calibration,
    score_calibration,
    train_calibrated,
)
from TRAINING.model_fun import LightGBMTrainer

seeds = st.integers(0, 2**32 - 1)
methods = st.sampled_from([method.name for method in METHODS])
both_methods = pytest.mark.parametrize("method", [method.name for method in METHODS])


def overconfident_rows(seed, n_rows=400):
    """Labels, and probabilities whose log-odds are twice too large, some of them equal."""
    random = np.random.default_rng(seed)
    odds = random.normal(-0.5, 1, n_rows)
    y = (random.random(n_rows) < expit(odds)).astype(float)
    y[:2] = 0, 1
    return y, np.round(expit(2 * odds), random.choice([2, 12]))


@dataclass
class ShareModel:
    """Predicts the column ``x`` as a probability."""

    task: str = "binary"

    def predict_proba(self, X):
        score = X["x"].to_numpy(float)
        return np.column_stack([1 - score, score])


# ---- the maps ----


class LogOdds(ClassifierMixin, BaseEstimator):
    """A fitted scikit-learn classifier whose decision function is its only column."""

    def __init__(self):
        self.classes_ = np.array([0, 1])

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return X[:, 0]

    def predict(self, X):
        return (X[:, 0] > 0).astype(int)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_sigmoid_equals_that_of_scikit_learn_on_the_log_odds(seed):
    y, probability = overconfident_rows(seed)
    probability = probability.clip(0.01, 0.99)
    odds = logit(probability)[:, None]
    theirs = CalibratedClassifierCV(FrozenEstimator(LogOdds()), method="sigmoid", cv=2, ensemble=False).fit(odds, y)
    ours = fit_calibration(y, probability, "sigmoid")
    np.testing.assert_allclose(ours.apply(probability), theirs.predict_proba(odds)[:, 1], atol=1e-4)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_isotonic_equals_that_of_scikit_learn(seed):
    y, probability = overconfident_rows(seed)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probability, y)
    new = np.linspace(0, 1, 301)
    np.testing.assert_allclose(fit_calibration(y, probability, "isotonic").apply(new), theirs.predict(new), atol=1e-12)


@given(seeds, methods, st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_every_map_is_monotone_within_zero_and_one_and_survives_json(seed, method, n_rows):
    random = np.random.default_rng(seed)
    y = np.append([0, 1], random.integers(0, 2, n_rows - 2))
    probability = random.choice([0, 1, 0.5, 1e-12, 1 - 1e-12, *random.random(5)], n_rows)
    calibration = fit_calibration(y, probability, method)
    new = np.sort(np.concatenate([random.random(50), probability, [0, 1]]))
    calibrated = calibration.apply(new)
    assert (np.diff(calibrated) >= 0).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())), "here")
    np.testing.assert_array_equal(again.apply(new), calibrated)


@both_methods
def test_overconfident_probabilities_are_mended_on_new_rows(method):
    y, probability = overconfident_rows(1, 6000)
    new_y, new = overconfident_rows(2, 6000)
    calibrated = fit_calibration(y, probability, method).apply(new)
    before, after = score_calibration(new_y, new).values, score_calibration(new_y, calibrated).values
    assert before["expected_calibration_error"] > 0.08
    assert after["expected_calibration_error"] < 0.025
    assert after["miscalibration"] < before["miscalibration"] / 5
    assert sklearn.metrics.roc_auc_score(new_y, calibrated) == pytest.approx(
        sklearn.metrics.roc_auc_score(new_y, new), abs=0.005
    )


def test_probabilities_that_are_right_stay_as_they_are():
    random = np.random.default_rng(3)
    probability = random.uniform(0.05, 0.95, 50_000)
    calibration = fit_calibration(random.random(50_000) < probability, probability, "sigmoid")
    assert calibration.parameters["slope"] == pytest.approx([1], abs=0.05)
    assert calibration.parameters["intercept"] == pytest.approx([0], abs=0.05)


@both_methods
def test_a_classifier_that_is_wrong_way_round_is_not_turned_around(method):
    y, probability = overconfident_rows(4, 2000)
    calibrated = fit_calibration(1 - y, probability, method).apply(np.linspace(0.2, 0.8, 5))
    np.testing.assert_allclose(calibrated, np.mean(1 - y), atol=0.02)


@both_methods
def test_a_constant_probability_becomes_the_base_rate(method):
    y = np.repeat([1.0, 0.0], [30, 70])
    assert fit_calibration(y, np.full(100, 0.8), method).apply([0.0, 0.8]) == pytest.approx([0.3] * 2, abs=0.01)


def test_rows_that_a_threshold_separates_keep_a_finite_slope():
    """Platt's targets are 11/12 and 1/12 here, so the sigmoid never says more than these."""
    y, probability = np.repeat([0.0, 1.0], 10), np.repeat([0.4, 0.6], 10)
    calibrated = fit_calibration(y, probability, "sigmoid").apply([0.4, 0.6])
    assert calibrated == pytest.approx([1 / 12, 11 / 12], abs=1e-6)


@both_methods
def test_rows_without_a_label_or_a_prediction_are_left_out(method):
    y, probability = overconfident_rows(5)
    holes = y.copy()
    holes[::3] = np.nan
    missing = probability.copy()
    missing[:100] = np.nan
    kept = ~np.isnan(holes) & ~np.isnan(missing)
    assert fit_calibration(holes, missing, method) == fit_calibration(y[kept], probability[kept], method)
    assert np.isnan(fit_calibration(y, probability, method).apply([np.nan, 0.5])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("y", "probability", "method", "error", "text"),
    [
        ([0, 1], [0.1, 0.9], "isotone", ConfigError, "did you mean 'isotonic'"),
        ([1, 1, np.nan], [0.1, 0.9, 0.5], "sigmoid", DataError, "2 rows have only class 1"),
        ([0, 1], [np.nan, 0.9], "isotonic", DataError, "1 rows have only class 1"),
        ([], [], "isotonic", DataError, "0 rows have none"),
        ([0, 1], [0.1], "sigmoid", DataError, "one probability per label"),
        ([0, 0.3], [0.1, 0.9], "sigmoid", DataError, "0, 1 or missing"),
        ([0, 1], [0.1, 1.9], "sigmoid", DataError, r"within \[0, 1\]"),
        ([0, 1], [0.1, np.inf], "isotonic", DataError, r"within \[0, 1\]"),
    ],
)
def test_rows_that_cannot_be_calibrated_on_are_one_clear_error(y, probability, method, error, text):
    with pytest.raises(error, match=text):
        fit_calibration(y, probability, method)


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"method": "platt", "parameters": {}},
        {"method": "sigmoid", "parameters": {"slope": [-1], "intercept": [0]}},
        {"method": "sigmoid", "parameters": {"slope": [np.nan], "intercept": [0]}},
        {"method": "sigmoid", "parameters": {"slope": [1, 2], "intercept": [0]}},
        {"method": "sigmoid", "parameters": {"slope": ["x"], "intercept": [0]}},
        {"method": "isotonic", "parameters": {"probability": [], "share": []}},
        {"method": "isotonic", "parameters": {"probability": [0.1, 0.2], "share": [0.5]}},
        {"method": "isotonic", "parameters": {"probability": [0.2, 0.1], "share": [0.1, 0.5]}},
        {"method": "isotonic", "parameters": {"probability": [0.1, 0.2], "share": [0.5, 0.1]}},
        {"method": "isotonic", "parameters": {"probability": [0.1, 0.2], "share": [0.5, 1.1]}},
        {"method": "isotonic", "parameters": {"probability": [0.1, 0.2], "share": [np.nan, 0.5]}},
    ],
)
def test_an_edited_map_is_refused(saved):
    with pytest.raises(IntegrityError, match="here: holds no calibration"):
        Calibration.from_dict(saved, "here")


# ---- classifiers ----


def test_a_calibrated_classifier_gives_probabilities_and_classes():
    calibration = Calibration("isotonic", {"probability": [0.2, 0.8], "share": [0.1, 0.7]})
    classifier = CalibratedClassifier(ShareModel(), calibration)
    X = pd.DataFrame({"x": [0.0, 0.5, 0.9]})
    np.testing.assert_allclose(classifier.predict_score(X), [0.1, 0.4, 0.7])
    np.testing.assert_allclose(classifier.predict_proba(X), [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    assert classifier.predict(X).tolist() == [0, 0, 1]


def test_the_map_is_learnt_on_the_purged_tail():
    times = pd.bdate_range("2020-01-01", periods=101)
    index = pd.MultiIndex.from_arrays([["A"] * 100, times[:-1]], names=["symbol", "timestamp"])
    X = pd.DataFrame({"x": np.tile([0.4, 0.6], 50)}, index=index)
    y = pd.Series(np.append(np.zeros(80), np.tile([0.0, 1.0], 10)), index=index, name="up")
    y.iloc[5] = np.nan
    seen = []

    def train(head):
        seen.extend(head.X.index.get_level_values(1))
        return ShareModel()

    classifier = train_calibrated(train, Dataset(X, y, RowInfo(times[1:].to_numpy())), fraction=0.2)
    assert seen == [*times[:5], *times[6:79]]  # the label of row 79 is known in the tail
    tail = slice(80, 100)
    assert classifier.calibration == fit_calibration(y.iloc[tail], X["x"].iloc[tail])
    with pytest.raises(DataError, match="only class 0"):
        train_calibrated(train, Dataset(X[:80], y[:80], RowInfo(times[1:81].to_numpy())))


def test_a_real_classifier_is_calibrated(make_planted):
    X, y = make_planted(500, "binary")
    ends = np.append(X.index.get_level_values(1)[1:].tz_localize(None), np.datetime64("NaT"))
    config = load_model_config("lightgbm", variant="smoke")
    data = Dataset(X, y, RowInfo(ends)).take(np.arange(400))
    classifier = train_calibrated(lambda head: LightGBMTrainer(config).train(head.X, head.y), data)
    raw, calibrated = classifier.model.predict_score(X[400:]), classifier.predict_score(X[400:])
    assert (np.argsort(raw, kind="stable") == np.argsort(calibrated, kind="stable")).all()
    assert sklearn.metrics.log_loss(y[400:], calibrated) < sklearn.metrics.log_loss(y[400:], raw) + 0.02
    model = LightGBMTrainer(config).train(*make_planted(300, "regression"))
    with pytest.raises(ConfigError, match="needs a binary target"):
        CalibratedClassifier(model, classifier.calibration).predict_proba(X)


# ---- folds ----


@st.composite
def walks(draw):
    """Rows of a walk-forward of two models: 5 folds of 30 days, 3 symbols, late and missing labels; shuffled."""
    random = np.random.default_rng(draw(seeds))
    days, symbols, models = np.arange(150), ["A", "B", "C"], ["one", "other"]
    rows = pd.MultiIndex.from_product([models, symbols, days], names=["model", "symbol", "day"]).to_frame(index=False)
    rows["fold"] = rows["day"] // 30
    rows["timestamp"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rows["day"], "D")
    rows["label_end"] = rows["timestamp"] + pd.to_timedelta(random.integers(1, 10, len(rows)), "D")
    rows["prediction"] = random.random(len(rows))
    rows["y"] = (random.random(len(rows)) < rows["prediction"]).astype(float)
    unknown = random.random(len(rows)) < 0.1
    rows.loc[unknown, "y"] = np.nan
    rows.loc[unknown, "label_end"] = pd.NaT
    return rows.iloc[random.permutation(len(rows))]


@given(walks(), methods, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_a_fold_is_calibrated_by_labels_known_before_it_only(rows, method, fold):
    calibrated, reasons = calibrate_folds(rows, method)
    start = rows.loc[rows["fold"] == fold, "timestamp"].min()
    random = np.random.default_rng(0)
    later = ~(rows["label_end"] < start)
    other = rows.assign(y=rows["y"].where(~later, random.integers(0, 2, len(rows)).astype(float)))
    until = rows["fold"] <= fold
    pd.testing.assert_series_equal(calibrate_folds(other, method)[0][until], calibrated[until], check_exact=True)
    assert calibrated.isna().equals(rows["fold"] == 0)
    assert reasons == {(model, 0): reasons[model, 0] for model in ("one", "other")}
    assert reasons["one", 0] == "0 labels were known before it; 2 are needed"


@given(walks(), methods)
@settings(max_examples=10, deadline=None)
def test_folds_equal_a_loop_over_them(rows, method):
    calibrated, _ = calibrate_folds(rows, method)
    for (model, _), inside in rows[rows["fold"] > 0].groupby(["model", "fold"]):
        known = rows[(rows["model"] == model) & (rows["label_end"] < inside["timestamp"].min())]
        expected = fit_calibration(known["y"], known["prediction"], method).apply(inside["prediction"])
        np.testing.assert_array_equal(calibrated[inside.index], expected)


def test_a_fold_with_one_class_before_it_says_so():
    times = pd.date_range("2020-01-01", periods=20, tz="UTC")
    rows = pd.DataFrame({"model": "m", "fold": np.arange(20) // 10, "timestamp": times, "y": 0.0, "prediction": 0.4})
    calibrated, reasons = calibrate_folds(rows.assign(label_end=times + pd.Timedelta(2, "D")))
    assert calibrated.isna().all()
    assert "8 rows have only class 0" in reasons["m", 1]
    with pytest.raises(ConfigError, match="choose from isotonic, sigmoid"):
        calibrate_folds(rows, "beta")


# ---- scores ----


def test_the_parts_of_the_brier_score_by_hand_and_as_model_diagnostics_has_them():
    """``model_diagnostics.scoring.decompose(y, p, SquaredError())``: 0.067833, 0.123333, 0.24 and their sum 0.1845."""
    probability = [0.1, 0.2, 0.2, 0.35, 0.4, 0.55, 0.6, 0.6, 0.8, 0.9]
    y = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]
    values = score_calibration(y, probability).values
    # The pools are 0 | 0, 1, 0 | 1, 0 | 1, 1, 1, 1 with shares 0, 1/3, 1/2 and 1; the base rate is 0.6.
    assert values["uncertainty"] == pytest.approx(0.24)
    assert values["discrimination"] == pytest.approx(0.24 - (3 * (1 / 3) * (2 / 3) + 2 / 4) / 10)
    assert values["miscalibration"] == pytest.approx(0.067833, abs=5e-7)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_parts_sum_to_the_brier_score_and_none_is_negative(seed):
    y, probability = overconfident_rows(seed, 60)
    values = score_calibration(y, probability).values
    parts = values["miscalibration"] - values["discrimination"] + values["uncertainty"]
    assert parts == pytest.approx(sklearn.metrics.brier_score_loss(y, probability))
    assert min(values.values()) >= -1e-12


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_calibration_error_equals_that_of_scikit_learns_curve(seed):
    y, probability = overconfident_rows(seed, 300)
    observed, predicted = calibration_curve(y, probability, n_bins=10, strategy="quantile")
    edges = np.percentile(probability, np.linspace(0, 100, 11))
    rows = np.unique(np.searchsorted(edges[1:-1], probability), return_counts=True)[1]
    expected = np.average(np.abs(observed - predicted), weights=rows)
    assert score_calibration(y, probability).values["expected_calibration_error"] == pytest.approx(expected)


def test_the_calibration_error_by_hand():
    y, probability = np.tile([0, 1, 1, 1], 10), np.repeat([0.75, 0.5], 20)
    assert score_calibration(y, probability).values["expected_calibration_error"] == pytest.approx(0.125)


def test_undefined_calibration_scores_are_nan_with_a_reason():
    for y, probability, reason in (
        ([], [], "no row has a label"),
        ([np.nan], [0.5], "no row has a label"),
        ([0, 1, 1, np.nan], [0.5, np.nan, np.nan, np.nan], "2 of 3 predictions are missing"),
    ):
        scores = score_calibration(y, probability)
        assert np.isnan(list(scores.values.values())).all()
        assert set(scores.reasons.values()) == {reason}
    scores = score_calibration([0, 1, np.nan], [0.5, 0.5, 0.5])
    assert (scores.rows, scores.left_out) == (2, 1)
