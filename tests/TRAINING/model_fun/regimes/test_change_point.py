from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import ChangePointTrainer
from TRAINING.model_fun.context import predict_with_context
from TRAINING.model_fun.regimes.change_detection import segments
from TRAINING.model_fun.regimes.change_point_estimators import ChangePointClassifier, ChangePointRegressor
from TRAINING.model_fun.regimes.change_point_kernels import detect_changes, student_constants
from TRAINING.model_fun.series import SeriesOfRows

SINCE, CHANGED = "regime_bars_since_change", "regime_change_probability"
QUICK = {"longest_run": 5, "n_estimators": 30, "learning_rate": 0.3, "min_data_in_leaf": 2, "reg_lambda": 0.1}
LINEAR = {"longest_run": 5, "learner": "linear", "penalty": 0.1}
ORDER = "an answer depends on the rows before its row, which are others in a permuted table or a part of it"
ORDER_DEPENDENT = {
    "check_methods_sample_order_invariance": ORDER,
    "check_methods_subset_invariance": ORDER,
    "check_sample_weight_equivalence_on_dense_data": "a repeated row is a further row of the series",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        ChangePointRegressor(**QUICK),
        ChangePointClassifier(**QUICK),
        ChangePointRegressor(**LINEAR),
        ChangePointClassifier(**LINEAR),
    ],
    expected_failed_checks=lambda estimator: ORDER_DEPENDENT,
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def detected(series, first=None, longest=120, expected=100.0, recent=10) -> tuple[np.ndarray, np.ndarray]:
    series = np.asarray(series, float)
    first = np.zeros(len(series), np.int64) if first is None else np.asarray(first, np.int64)
    since, changed = np.empty(len(series)), np.empty(len(series))
    detect_changes(series, first, longest, expected, recent, student_constants(longest), since, changed)
    return since, changed


def run_lengths(series: np.ndarray, expected: float) -> np.ndarray:
    """P(run length = 0, 1, ..., n) after all of a series: algorithm 1 of Adams and MacKay (2007), word for word."""
    hazard = 1 / expected
    probability = np.array([1.0])
    kappa, mu, alpha, beta = (np.array([value]) for value in (1.0, 0.0, 1.0, 1.0))
    for x in series:
        scale = np.sqrt(beta * (kappa + 1) / (alpha * kappa))
        predictive = np.ones_like(mu) if np.isnan(x) else student.pdf(x, 2 * alpha, mu, scale)
        growth = probability * predictive * (1 - hazard)
        change = (probability * predictive * hazard).sum()
        probability = np.r_[change, growth] / (change + growth.sum())
        if not np.isnan(x):
            beta = beta + kappa * (x - mu) ** 2 / (2 * (kappa + 1))
            mu, kappa, alpha = (kappa * mu + x) / (kappa + 1), kappa + 1, alpha + 0.5
        kappa, mu, alpha, beta = np.r_[1, kappa], np.r_[0, mu], np.r_[1, alpha], np.r_[1, beta]
    return probability


@pytest.mark.parametrize("longest", [1, 7, 60])
def test_runs_are_those_of_the_paper(longest: int) -> None:
    random = np.random.default_rng(longest)
    series = np.r_[random.normal(size=25), 2 + random.normal(size=20), 4 * random.normal(size=15)]
    series[[0, 8, 30, 31]] = np.nan
    first = np.repeat([0, 40], [40, 20])
    expected = 15.0
    since, _ = detected(series, first, longest, expected)
    by_recent = {recent: detected(series, first, longest, expected, recent)[1] for recent in (1, 2, 5, 100)}
    for row in range(len(series)):
        begin = max(first[row], row - longest)
        paper = run_lengths(series[begin : row + 1], expected)
        assert paper[0] == pytest.approx(1 / expected)
        ago = paper[1:] / (1 - 1 / expected)
        assert since[row] == np.argmax(ago.cumsum() >= 0.5)
        for recent, changed in by_recent.items():
            assert changed[row] == pytest.approx(ago[:-1][:recent].sum(), abs=1e-12)


@pytest.mark.parametrize(
    ("later", "delay", "flagged"),
    [
        (lambda noise: noise + 3, 5, True),  # the level moves by three deviations
        (lambda noise: 3 * noise, 10, True),  # the deviation trebles
        (lambda noise: noise / 4, 30, False),  # it falls to a quarter: seen, but too late to be recent
    ],
)
def test_planted_changes_are_found_in_time(later, delay: int, flagged: bool) -> None:
    found = alarms = false_alarms = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=300)
        noise[200:] = later(noise[200:])
        since, changed = detected(noise)
        rows = np.arange(delay)
        found += (since[200 : 200 + delay] <= rows + 5).any()
        alarms += changed[200 : 200 + delay].max() > 0.5
        false_alarms += (changed[130:200] > 0.5).any()
    assert found >= 57, "19 of 20"
    assert (alarms >= 55) == flagged
    assert false_alarms <= 9, "of 60 times 70 quiet rows"


def test_rows_before_those_looked_at_change_nothing() -> None:
    random = np.random.default_rng(0)
    series = random.normal(size=200)
    whole = detected(series, longest=30)
    other = series.copy()
    other[:100] = 50 * random.normal(size=100)
    for before, after in zip(whole, detected(other, longest=30), strict=True):
        np.testing.assert_array_equal(after[130:], before[130:])
        assert (after[101:129] != before[101:129]).any()
    for before, after in zip(whole, detected(series[69:100], longest=30), strict=True):
        assert after[-1] == before[99]


def costs(points: np.ndarray, begin: int, end: int) -> float:
    part = points[begin:end]
    return ((part - part.mean(axis=0)) ** 2).sum()


def test_segments_are_the_cheapest_of_all() -> None:
    """Against every possible cut, by dynamic programming in plain Python.

    Where segments are hardly penalised and must have several rows, ruptures prunes cuts that would be a little better.
    """
    random = np.random.default_rng(3)
    series = np.r_[random.normal(size=30), 3 * random.normal(size=25), 2 + random.normal(size=25)]
    points = np.column_stack([series, np.abs(series)])
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    for penalty, shortest in ((0.3, 5), (1.0, 10), (0.2, 1)):
        each = penalty * 3 * np.log(len(points))
        best, cut = [-each], [0]
        for end in range(1, len(points) + 1):
            options = [
                (best[begin] + costs(points, begin, end) + each, begin) for begin in range(max(0, end - shortest) + 1)
                if end - begin >= shortest and np.isfinite(best[begin])
            ]  # fmt: skip
            value, begin = min(options, default=(np.inf, 0))
            best.append(value)
            cut.append(begin)
        begins, end = [], len(points)
        while end:
            end = cut[end]
            begins.append(end)
        expected = np.searchsorted(sorted(begins), np.arange(len(points)), side="right") - 1
        np.testing.assert_array_equal(segments(series, penalty, shortest), expected)
        assert expected[-1] >= 2


def test_long_series_are_cut_in_steps() -> None:
    random = np.random.default_rng(0)
    series = np.r_[random.normal(size=9000), 2 * random.normal(size=6500)]
    number = segments(series, 1.0, 40)
    assert number.shape == (15500,)
    assert number[-1] == 1
    assert abs(int(np.argmax(number)) - 9000) < 100
    assert not segments(np.ones(5000), 1.0, 40).any()
    assert not segments(random.normal(size=50), 1.0, 40).any(), "too short for two"


def panel(symbols: str = "AB", rows: int = 260, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Returns whose deviation changes, noise, and a y that is high just after a change."""
    parts = []
    for number, symbol in enumerate(symbols):
        random = np.random.default_rng([seed, number])
        place = np.arange(rows)
        lengths = random.integers(30, 60, rows // 30 + 1).cumsum()
        run = np.searchsorted(lengths, place, side="right")
        since = place - np.r_[0, lengths][run]
        values = {
            "log_return_1": np.where(run % 2, 0.03, 0.005) * random.normal(size=rows),
            "noise": random.normal(size=rows),
        }
        index = pd.MultiIndex.from_product([[symbol], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
        part = pd.DataFrame(values, index.set_names(["symbol", "timestamp"]))
        parts.append(part.assign(y=((since < 15) & (run > 0)) + 0.1 * random.normal(size=rows)))
    table = pd.concat(parts)
    return table.drop(columns="y"), table["y"].rename("outcome")


def trained(X: pd.DataFrame, y: pd.Series, *validation, **overrides) -> ChangePointTrainer:
    config = load_model_config("change_point", variant="smoke", overrides=overrides)
    return ChangePointTrainer(config).train(X, y, *validation)


def test_a_row_is_told_from_the_rows_that_it_looks_back_at() -> None:
    X, y = panel()
    trainer = trained(X, y)
    assert trainer.context_rows == 30
    by_time = X.sort_index(level=["timestamp", "symbol"])
    whole = trainer.predict_score(by_time)
    rows = np.arange(200, 300)
    np.testing.assert_array_equal(predict_with_context(trainer, by_time, rows), whole[rows])
    assert not np.array_equal(trainer.predict_score(by_time.iloc[rows]), whole[rows])
    cut = by_time.index.get_level_values(1) < by_time.index[300][1]
    np.testing.assert_array_equal(trainer.predict_score(by_time[cut]), whole[cut])
    np.testing.assert_array_equal(trainer.predict_score(X.loc[["B"]]), pd.Series(whole, by_time.index)["B"])
    told = trainer.transform(X)
    assert list(told) == [SINCE, CHANGED]
    pd.testing.assert_frame_equal(trainer.transform(by_time), told.loc[by_time.index], check_exact=True)
    assert told[SINCE].between(0, 30).all()
    assert told[CHANGED].between(0, 1).all()


@pytest.mark.parametrize("learner", ["lightgbm", "linear"])
def test_what_follows_a_change_is_learnt(learner: str, tmp_path) -> None:
    X, y = panel("ABCD", 600)
    late = (X.groupby(level=0).cumcount() >= 400).to_numpy()
    trainer = trained(X[~late], y[~late], learner=learner)
    assert np.corrcoef(trainer.predict(X)[late], y[late])[0, 1] > 0.3
    plain = trained(X[~late], y[~late], learner=learner, longest_run=2)
    assert np.corrcoef(plain.predict(X)[late], y[late])[0, 1] < 0.25
    importance = trainer.get_feature_importance()
    assert importance["log_return_1"] > 0.7, "the two columns count for the series that they are made of"
    assert (trainer.rounds is None) == (learner == "linear")
    assert trainer.stops_early == (learner == "lightgbm")
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    pd.testing.assert_frame_equal(loaded.transform(X), trainer.transform(X), check_exact=True)
    pd.testing.assert_series_equal(loaded.get_feature_importance(), importance)
    assert loaded.own_scores(X, y) == trainer.own_scores(X, y)
    assert loaded.rounds == trainer.rounds


def test_newer_segments_weigh_more() -> None:
    """The slope of y turns round when volatility changes: what is learnt is the newest slope."""
    random = np.random.default_rng(0)
    new = np.arange(600) >= 400
    X = pd.DataFrame(
        {"log_return_1": np.where(new, 0.03, 0.01) * random.normal(size=600), "x": random.normal(size=600)}
    )
    y = pd.Series(np.where(new, 1.0, -1.0) * X["x"] + 0.1 * random.normal(size=600), name="outcome")
    slopes = {}
    for decay in (0.01, 1.0):
        trainer = trained(X, y, learner="linear", penalty=1.0, segment_decay=decay)
        ends = pd.DataFrame({"log_return_1": [0.0, 0.0], "x": [-1.0, 1.0]})
        slopes[decay] = np.diff(trainer.predict(ends))[0] / 2
        scores = trainer.own_scores(X, y)
        assert scores["segments"] == 2
    assert slopes[0.01] > 0.9
    assert slopes[1.0] < 0
    assert scores["effective_rows"] == pytest.approx(600)


def test_the_component_stands_for_all_features(make_planted) -> None:
    X, y = make_planted(300, "regression")
    moved = X.copy()
    moved.iloc[200:, :5] += 4
    trainer = trained(moved, y)
    assert trainer.model.series is None
    assert trainer.transform(moved)[CHANGED].iloc[200:206].max() > 0.5
    reordered = trained(moved, y, series="noise_0")
    assert reordered.model.series == 0
    assert reordered.transform(moved)[CHANGED].iloc[200:206].max() > 0.5
    assert reordered.transform(moved.assign(noise_0=np.nan)[:50])[SINCE].tolist() == list(range(31)) + [30] * 19


def test_labels_of_context_are_not_learnt_and_its_features_are() -> None:
    X, y = panel("A")
    hidden = y.mask(np.arange(len(y)) < 60)
    first = trained(X, hidden, X, hidden).predict_score(X)
    moved = X.copy()
    moved.iloc[40:60, 0] += 0.1
    assert not np.array_equal(trained(moved, hidden, X, hidden).predict_score(X), first)
    elsewhere = X.copy()
    elsewhere.iloc[:60, 1] *= 10
    np.testing.assert_array_equal(trained(elsewhere, hidden, X, hidden).predict_score(X), first)
    labelled = y.where(np.arange(len(y)) >= 60, 100.0)
    assert trained(X, hidden).predict_score(X).max() < 5 < trained(X, labelled).predict_score(X).max()


def test_symbols_are_series_of_their_own() -> None:
    X, _ = panel("AB", 4)
    shuffled = X.iloc[[5, 0, 7, 2, 1, 4, 3, 6]]
    runs = SeriesOfRows.of(shuffled, 8)
    assert shuffled.iloc[runs.order].index.equals(X.index)
    assert runs.first.tolist() == [0] * 4 + [4] * 4
    assert runs.parts() == [slice(0, 4), slice(4, 8)]
    np.testing.assert_array_equal(runs.restore(runs.arrange(np.arange(8))), np.arange(8))


def test_faults_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = panel("A")
    with pytest.raises(ConfigError, match="series is auto, component or a feature; did you mean 'log_return_1'"):
        trained(X, y, series="log_retrun_1")
