"""The stack knows nothing of later rows, finds the best weights and stays in the range of its parts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import EnsembleTrainer
from TRAINING.model_fun.ensemble.estimators import Stack, StackClassifier, StackRegressor, find_weights
from TRAINING.model_fun.ensemble.parts import PARTS, Bins, log_odds
from TRAINING.strategies import CascadeStrategy

QUICK = {"boosting_trees": 20, "boosting_rate": 0.3, "boosting_penalty": 0.0, "forest_trees": 5, "min_samples_leaf": 2,
         "max_features": 1.0, "linear_penalty": 0.1, "blocks": 2}  # fmt: skip
COUNTS = {
    "check_sample_weight_equivalence_on_dense_data": "min_samples_leaf, the bins and the blocks count rows",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [StackRegressor(**QUICK), StackClassifier(**QUICK)], expected_failed_checks=lambda estimator: COUNTS
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def trainer(**overrides) -> EnsembleTrainer:
    return EnsembleTrainer(load_model_config("ensemble", "smoke", overrides))


def known_after(X: pd.DataFrame, days: int = 7) -> np.ndarray:
    return X.index.get_level_values(1).tz_localize(None).to_numpy() + np.timedelta64(days, "D")


def by_corners(scores: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Least squares on a simplex: the best of all sets of parts whose weights, of sum 1, come out without a sign."""
    best, least = None, np.inf
    for size in range(1, scores.shape[1] + 1):
        for chosen in map(list, combinations(range(scores.shape[1]), size)):
            root = np.sqrt(weight)[:, None]
            base, others = scores[:, chosen[-1:]], scores[:, chosen[:-1]]
            free = np.linalg.lstsq(root * (others - base), root[:, 0] * (y - base[:, 0]), rcond=None)[0]
            mix = np.zeros(scores.shape[1])
            mix[chosen] = np.r_[free, 1 - free.sum()]
            loss = weight @ (y - scores @ mix) ** 2
            if (mix >= -1e-12).all() and loss < least:
                best, least = mix, loss
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1.0, 1e4]))
def test_weights_of_values_are_the_least_squares(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    scores, weight = random.normal(size=(60, 4)), random.uniform(0.1, 2, 60)
    y = scores @ random.normal(0.3, 0.6, 4) + random.normal(size=60)
    found = find_weights(scale * scores, scale * y, weight, binary=False)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, by_corners(scores, y, weight), atol=2e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_other_weights_have_a_lower_log_loss(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, weight = random.normal(size=(80, 3)), random.uniform(0.1, 2, 80)
    y = (scores @ random.normal(0.3, 1, 3) + random.normal(size=80) > 0).astype(float)

    def loss(mix) -> float:
        probability = 1 / (1 + np.exp(-scores @ mix))
        return -weight @ (y * np.log(probability) + (1 - y) * np.log(1 - probability))

    grid = [(a, b, 20 - a - b) for a in range(21) for b in range(21 - a)]
    found = find_weights(scores, y, weight, binary=True)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    assert loss(found) <= min(loss(np.array(mix) / 20) for mix in grid) + 1e-6


class Parts:
    """Stands in for fitted parts: remembers the rows that it predicted."""

    def scores(self, X: np.ndarray, n_jobs: int) -> np.ndarray:
        self.predicted = X[:, 0].astype(int).tolist()
        return np.random.default_rng(0).normal(size=(len(X), len(PARTS)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_blocks_are_predicted_by_rows_known_before_them(seed: int, blocks: int) -> None:
    """Two symbols with days of their own, labels of uneven length, rows in any order: against a slow loop."""
    random = np.random.default_rng(seed)
    days = np.arange("2020-01-01", "2020-05-01", dtype="datetime64[D]").astype("datetime64[ns]")
    parts = [pd.DataFrame({"symbol": name, "time": np.sort(random.choice(days, 90, replace=False))}) for name in "AB"]
    table = pd.concat(parts).sample(frac=1, random_state=seed % 1000)
    ends = table["time"].to_numpy() + random.integers(0, 9, len(table)).astype("timedelta64[D]")
    X = pd.DataFrame({"number": np.arange(len(table), dtype=float)})
    X.index = pd.MultiIndex.from_arrays([table["symbol"], table["time"]])
    y = pd.Series(random.normal(size=len(X)), X.index, name="mine")
    seen: list[tuple[list[int], Parts]] = []

    def remember(self, X, y, weight) -> Parts:
        seen.append((X[:, 0].astype(int).tolist(), Parts()))
        return seen[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "_fit_parts", remember)
        estimator = trainer(blocks=blocks, min_samples_leaf=1).train(X, y, rows=RowInfo(ends)).model
    day, every = table["time"].dt.date.tolist(), range(len(X))
    end = [time.date() for time in pd.DatetimeIndex(ends)]
    cut = np.array_split(sorted(set(day)), blocks + 1)[1:]
    assert len(seen) == blocks + 1
    for part, (fitted, model) in zip(cut, seen[:-1], strict=True):
        assert fitted == [row for row in every if end[row] < part[0]]
        assert model.predicted == [row for row in every if part[0] <= day[row] <= part[-1]]
    assert seen[-1][0] == list(every), "the parts that stay are fitted to all rows"
    assert estimator.predicted_ == sum(day[row] >= cut[0][0] for row in every)


def test_weights_follow_what_is_known(make_planted) -> None:
    """A straight signal goes to the linear part; of noise the mean is best."""
    X, y = make_planted(600, "regression")
    weights = trainer(equal_share=0.0).train(X, y).weights()
    assert weights.index.tolist() == list(PARTS)
    assert weights["weight"].idxmax() == weights["loss"].idxmin() == "linear"
    assert weights["weight"]["mean"] < 0.01
    share = trainer(equal_share=0.6).train(X, y).weights()["weight"]
    np.testing.assert_allclose(share, 0.6 / 4 + 0.4 * weights["weight"])
    noise = y.sample(frac=1, random_state=0).set_axis(y.index)
    means = [trainer(equal_share=0.0, seed=seed).train(X, noise).weights()["weight"]["mean"] for seed in range(3)]
    assert min(means) > 0.5


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_answers_stay_in_the_range_of_the_parts(make_planted, task) -> None:
    X, y = make_planted(300, task)
    model = trainer().train(X, y)
    wild = X.copy()
    wild.iloc[::3] *= 1e6
    wild.iloc[1::7, 2] = np.nan
    parts = model.model.parts_.scores(wild.to_numpy(), 1)
    score = model.predict_score(wild)
    score = log_odds(score) if task == "binary" else score
    assert (parts.min(axis=1) - 1e-9 <= score).all()
    assert (score <= parts.max(axis=1) + 1e-9).all()
    assert np.abs(score).max() < (10 if task == "binary" else 10 * y.abs().max())


def test_validation_rows_are_one_more_block(make_planted) -> None:
    X, y = make_planted(500, "binary")
    plain = trainer().train(X[:400], y[:400])
    later = trainer().train(X[:400], y[:400], X[400:], y[400:])
    assert plain.model.predicted_ == 266
    assert later.model.predicted_ == 366
    assert not np.allclose(plain.weights()["weight"], later.weights()["weight"])
    assert not plain.stops_early


def test_too_few_rows_out_of_fold_are_weighed_equally(make_planted) -> None:
    X, y = make_planted(70, "regression")
    few = trainer(blocks=2).train(X, y)
    assert few.weights()["weight"].tolist() == [0.25] * 4
    assert few.weights()["loss"].isna().all()
    (note,) = few.notes
    assert note.startswith("the parts have equal weights: 23 rows could be predicted out of fold")
    # 60 symbols of two days: no session before the blocks.
    index = pd.MultiIndex.from_product([range(60), pd.bdate_range("2020-01-01", periods=2)])
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(120, 3)), index, list("abc"))
    (note,) = trainer(blocks=2).train(X, X["a"].rename("mine")).notes
    assert "0 rows could be predicted" in note
    # One class until late: the blocks cannot be predicted.
    X, y = make_planted(300, "binary")
    late = trainer(blocks=2).train(X, y.where(np.arange(300) > 250, 0.0))
    assert "0 rows could be predicted" in late.notes[0]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_without_weight_are_as_if_they_were_not_there(make_planted, task) -> None:
    X, y = make_planted(500, task)
    weight = np.where(np.arange(500) % 3, np.linspace(0.5, 1.5, 500), 0.0)
    rows = RowInfo(known_after(X), weight)
    kept = np.flatnonzero(weight)
    all_of_them = trainer().train(X, y, rows=rows).predict_score(X)
    without = trainer().train(X.iloc[kept], y.iloc[kept], rows=rows.take(kept)).predict_score(X)
    np.testing.assert_array_equal(all_of_them, without)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_importance_is_the_parts_by_weight(make_planted, task) -> None:
    X, y = make_planted(400, task)
    model = trainer().train(X, y)
    parts = model.model.parts_
    gain = pd.Series(0.0, X.columns)
    for (tree,) in parts.boosting._predictors:
        for node in tree.nodes:
            if not node["is_leaf"]:
                gain.iloc[node["feature_idx"]] += node["gain"]
    forest = pd.Series(parts.forest.feature_importances_, X.columns)
    linear = pd.Series(np.abs(parts.linear.coefficients[:-1]), X.columns)
    weight = model.weights()["weight"]
    expected = sum(
        weight[name] * part / part.sum() for name, part in (("boosting", gain), ("forest", forest), ("linear", linear))
    )
    importance = model.get_feature_importance()
    pd.testing.assert_series_equal(importance.sort_index(), (expected / expected.sum()).sort_index(), check_names=False)
    assert importance.index[0] == "signal"


def test_own_scores_are_those_of_scikit_learn(make_planted) -> None:
    for task, name, score in (("binary", "log_loss", log_loss), ("regression", "rmse", root_mean_squared_error)):
        X, y = make_planted(500, task)
        model = trainer().train(X[:300], y[:300])
        holes = y[300:].mask(np.arange(200) % 4 == 0)
        known = holes.notna()
        own = model.own_scores(X[300:], holes)
        assert own["weight_forest"] == model.weights()["weight"]["forest"]
        values = model.model.parts_.scores(X[300:][known].to_numpy(), 1)
        for number, part in enumerate(PARTS):
            value = 1 / (1 + np.exp(-values[:, number])) if task == "binary" else values[:, number]
            assert own[f"{name}_{part}"] == pytest.approx(score(holes[known], value))
        assert len(own) == 8
        assert set(model.own_scores(X, y * np.nan)) == {f"weight_{part}" for part in PARTS}


@pytest.mark.parametrize("forest", ["extra_trees", "random_forest"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_loaded_ensemble_is_the_estimator_itself(make_planted, tmp_path, task, forest) -> None:
    X, y = make_planted(300, task)
    rows = RowInfo(known_after(X), np.linspace(0.5, 1, 300))
    model = trainer(forest=forest).train(X.assign(hollow=np.nan), y, rows=rows)
    X = X.assign(hollow=1.0)
    save_artifact(model, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict_score(X), model.predict_score(X))
    np.testing.assert_array_equal(loaded.model.predict(X), model.model.predict(X))
    pd.testing.assert_frame_equal(loaded.weights(), model.weights())
    again = trainer(forest=forest).train(X.assign(hollow=np.nan), y, rows=rows)
    assert again.payloads() == model.payloads(), "the same training gives the same bytes"


def test_a_forest_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="'extra_treess' is not a choice; did you mean 'extra_trees'"):
        trainer(forest="extra_treess")


def test_outliers_do_not_move_bins() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    X[:, 2] = np.nan
    X[5, 0] = np.nan
    bins = Bins.learn(X, 8)
    numbers = bins.apply(X)
    assert np.isnan(numbers[5, 0])
    assert (numbers[:, 2] == 0).all()
    counts = np.bincount(numbers[:, 1].astype(int))
    assert len(counts) == 8
    assert counts.min() == counts.max() == 25
    far = X.copy()
    far[np.argmax(X[:, 1]), 1] = 1e30
    np.testing.assert_array_equal(Bins.learn(far, 8).apply(far), numbers)
    np.testing.assert_array_equal(bins.apply(X[5:6]), numbers[5:6])


def test_it_ends_a_cascade(make_planted) -> None:
    X, y = make_planted(600, "binary")
    names = ["lightgbm", "xgboost", "ensemble"]
    configs = [load_model_config(name, "smoke", {"n_estimators": 5} if name != "ensemble" else {}) for name in names]
    model = CascadeStrategy(names, configs, blocks=2).train(X, y)
    assert np.mean(model.predict(X) == y) > 0.7
    assert "p_1_lightgbm" in model.get_feature_importance().index


def test_threads_change_no_bit() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(1000, 6))
    y = X[:, 0] + random.normal(size=1000)
    alone, several = (StackRegressor(boosting_trees=10, blocks=2, n_jobs=jobs).fit(X, y) for jobs in (1, 4))
    np.testing.assert_array_equal(several.weights_, alone.weights_)
    for _ in range(3):
        np.testing.assert_array_equal(several.predict(X), alone.predict(X))
