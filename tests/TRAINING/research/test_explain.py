"""Shapley values: they add up, they are those of slow definitions, and they are of the run's own predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from math import factorial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from CONFIG.errors import ConfigError, IntegrityError
from TRAINING.artifacts import pack, unpack
from TRAINING.model_fun.registry import trainer_class
from TRAINING.phases.finished import open_run
from TRAINING.research.explain import explain
from TRAINING.research.shapley import permutation_values


@pytest.mark.parametrize("model", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_tree_values_add_up_to_the_raw_score(make_planted, model, task):
    X, y = make_planted(400, task)
    trainer = trainer_class(model)({"n_estimators": 200}).train(X[:250], y[:250], X[250:320], y[250:320])
    rows = X[320:].copy()
    rows.iloc[0, 0] = np.nan
    shares = trainer.shap_values(rows[rows.columns[::-1]])
    score = trainer.predict_score(rows)
    assert shares.shape == (80, 11)
    assert np.ptp(score) > 0.2
    raw = logit(score) if task == "binary" else score
    np.testing.assert_allclose(shares.sum(axis=1), raw, atol=1e-6)
    assert np.abs(shares[:, :-1]).mean(axis=0).argmax() == list(X.columns).index("signal")
    again = unpack(*pack(trainer), "memory")
    np.testing.assert_array_equal(again.shap_values(rows), shares)


def exact(value: Callable[[tuple[int, ...]], float], count: int) -> np.ndarray:
    """Shapley values by their definition, over all subsets."""
    shares = np.zeros(count)
    for feature in range(count):
        others = [other for other in range(count) if other != feature]
        for size in range(count):
            for subset in combinations(others, size):
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                shares[feature] += weight * (value((*subset, feature)) - value(subset))
    return shares


def stand_in(score: Callable[[np.ndarray], np.ndarray], context_rows: int = 0) -> SimpleNamespace:
    """A model of the last ``context_rows + 1`` rows, given as (n, rows, features)."""

    def predict_score(X: pd.DataFrame) -> np.ndarray:
        assert X.index.get_level_values(1).is_monotonic_increasing
        table = np.concatenate([np.full((context_rows, X.shape[1]), np.nan), X.to_numpy()])
        return score(np.stack([table[at : at + context_rows + 1] for at in range(len(X))]))

    return SimpleNamespace(name="stand_in", context_rows=context_rows, predict_score=predict_score)


def frame(rows: int, columns: int) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["A"], pd.date_range("2020-01-01", periods=rows, tz="UTC")])
    values = np.random.default_rng(0).normal(size=(rows, columns))
    return pd.DataFrame(values, index, [f"f{number}" for number in range(columns)])


@pytest.mark.parametrize("context_rows", [0, 3])
def test_sampled_values_of_a_sum_are_exact(context_rows):
    X, weights = frame(40, 5), np.arange(5.0)
    model = stand_in(lambda windows: windows.sum(axis=1) @ weights, context_rows)
    places = np.array([10, 30])
    shares = permutation_values(model, X, places, X[:20])
    windows = np.stack([X.to_numpy()[place - context_rows : place + 1] for place in places])
    usual = X[:20].median().to_numpy()
    np.testing.assert_allclose(shares[:, :-1], (windows - usual).sum(axis=1) * weights, atol=1e-9)
    np.testing.assert_allclose(shares[:, -1], (context_rows + 1) * usual @ weights)


def test_sampled_values_of_interactions():
    """Forth and back, a permutation is exact for pairs; of any function the values add up."""
    X = frame(30, 4)
    usual, row = X[:20].median().to_numpy(), X.to_numpy()[25]
    pairs = lambda rows: rows[..., 0] * rows[..., 1] + rows[..., 2]  # noqa: E731
    triple = lambda rows: rows[..., 0] * rows[..., 1] * rows[..., 2]  # noqa: E731

    def value(function, subset):
        return function(np.where(np.isin(np.arange(4), subset), row, usual))

    shares = permutation_values(stand_in(lambda windows: pairs(windows[:, -1])), X, np.array([25]), X[:20])
    np.testing.assert_allclose(shares[0, :-1], exact(lambda subset: value(pairs, subset), 4), atol=1e-9)
    shares = permutation_values(stand_in(lambda windows: triple(windows[:, -1])), X, np.array([25]), X[:20])
    np.testing.assert_allclose(shares.sum(), triple(row), atol=1e-9)


def test_whole_numbers_are_explained_against_their_true_medians():
    X = (10 * frame(30, 2)).round().astype(int)
    training = X[:2]  # the median of two is often half a number
    shares = permutation_values(stand_in(lambda windows: windows[:, -1] @ [1.0, 2.0]), X, np.array([25]), training)
    np.testing.assert_allclose(shares[0, :2], (X.iloc[25] - training.median()) * [1, 2])
    assert (training.median() % 1 != 0).any()


def test_sampled_values_repeat_and_do_not_depend_on_other_rows():
    X = frame(30, 6)
    model = stand_in(lambda windows: np.tanh(windows.sum(axis=(1, 2))) * windows[:, -1, 0], 2)
    both = permutation_values(model, X, np.array([12, 25]), X[:20], seed=3)
    np.testing.assert_array_equal(permutation_values(model, X, np.array([25]), X[:20], seed=3), both[1:])
    assert (permutation_values(model, X, np.array([25]), X[:20], seed=4) != both[1:]).any()


@pytest.fixture(scope="module")
def run(bars_folder: Path, barzoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    done = barzoo("train", "--input-dir", bars_folder, "--models", "lightgbm,mlp", "--symbols", "AAA,BBB",
                  "--variant", "smoke", "--target", "y_will_peak", "--output-dir", "run", "--jobs", 1,
                  cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize(("model", "link"), [("lightgbm", logit), ("mlp", lambda score: score)])
def test_the_values_are_of_the_runs_own_predictions(run, model, link):
    found = explain(run, model=model, symbol="BBB", rows=6)
    made = open_run(run).frames((model, "y_will_peak", "BBB"))["predictions"].loc[model]
    assert len(found.values) == 6
    assert found.unit == ("log-odds" if model == "lightgbm" else "probability")
    times = found.values.index.get_level_values("timestamp")
    assert times[0] == made.index[0]
    assert times[-1] == made.index[-1]
    np.testing.assert_allclose(found.score.to_numpy(), link(made.loc[times, "prediction"].to_numpy()), atol=1e-6)


def test_directions_are_signs():
    from TRAINING.research.explain import Explanation

    x = pd.DataFrame({"up": [1.0, 2, 3, np.nan], "down": [1.0, 2, 3, 4], "flat": 1.0, "off": [1.0, 2, 3, 4]})
    values = pd.DataFrame({"up": x["up"].fillna(-9), "down": -2 * x["down"], "flat": [1.0, -1, 1, -1], "off": 0.0})
    table = Explanation("m", "t", "regression", "", "value", 0, values, x, pd.Series(0.5, x.index)).strongest()
    assert table["feature"].tolist() == ["down", "up", "flat", "off"]
    assert table["direction"].tolist()[:2] == pytest.approx([-1, 1])
    assert table["direction"].isna().tolist() == [False, False, True, True]
    assert table["share"].sum() == pytest.approx(1)
    assert table["mean_abs"].tolist() == [5, 3.75, 1, 0]


def test_the_command(run, barzoo):
    done = barzoo("explain", "run", "--model", "lightgbm", "--rows", 20, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert "mean |value|, log-odds" in done.stdout
    assert "lightgbm on y_will_peak: 20 test rows, values exact" in done.stdout
    page = (run / "explain-lightgbm-y_will_peak.html").read_text()
    assert "moves its predictions most" in page
    assert "<h2>How to read this</h2>" in page
    said = json.loads(barzoo("explain", "run", "--symbol", "AAA", "--model", "lightgbm", "--rows", 20, "--json",
                             "--output", "mine.html", cwd=run.parent).stdout)  # fmt: skip
    assert said["symbols"] == ["AAA"]
    assert said["rows"] == 20
    assert said["page"] == "mine.html"
    sizes = [row["mean_abs"] for row in said["features"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--symbol", "BBC"], "--symbol: {run} has no 'BBC'; did you mean 'BBB'?"),
        (["--target", "fwd_ret_5"], "--target: {run} has no 'fwd_ret_5'"),
        (["--model", "baselines"], "--model: {run} has no 'baselines'; choose from lightgbm, mlp"),
    ],
)
def test_what_is_not_there_is_told(run, barzoo, arguments, told):
    done = barzoo("explain", "run", *arguments, cwd=run.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("error: " + told.format(run="run"))
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("tune", "a tune run, which has no predictions; name a core"),
        ("features", "a features run, which has no predictions; name a core"),
        ("walkforward", "a walk-forward keeps no models; explain a core or sequential run"),
    ],
)
def test_runs_without_models_are_refused(run, monkeypatch, phase, told):
    manifest = open_run(run).manifest | {"phase": phase, "scopes": []}
    monkeypatch.setattr("TRAINING.phases.finished.read_sealed", lambda folder: (manifest, {}))
    with pytest.raises(ConfigError, match=told):
        explain(run)


def test_another_table_is_refused(run, monkeypatch):
    manifest = open_run(run).manifest | {"tables": {"AAA": "another", "BBB": "another"}}
    monkeypatch.setattr("TRAINING.phases.finished.read_sealed", lambda folder: (manifest, {}))
    with pytest.raises(IntegrityError, match="the table of AAA is not the one that was learnt from"):
        explain(run)
