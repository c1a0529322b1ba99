"""Natural gradient boosting: the library's own answers, natural gradients by definition, calibrated distributions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from ngboost import NGBClassifier, NGBRegressor
from ngboost.distns import Normal as LibraryNormal
from ngboost.manifold import manifold
from scipy.integrate import quad
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import NGBoostTrainer
from TRAINING.model_fun.boosting.histogram_trees import Quantiser
from TRAINING.model_fun.boosting.natural_engine import (
    Bernoulli,
    ClosedScore,
    Engine,
    HistogramTree,
    Normal,
    student_t,
)
from TRAINING.model_fun.boosting.natural_estimators import NaturalBoostingClassifier, NaturalBoostingRegressor

QUICK = {"n_estimators": 40, "learning_rate": 0.2, "min_samples_leaf": 1, "minibatch_frac": 0.9, "col_sample": 1.0}
STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is drawn and counted once",
}
DISTRIBUTIONS = ("normal", "lognormal", "studentt")


def expected(estimator: object) -> dict[str, str]:
    return STOCHASTIC


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [NaturalBoostingRegressor(**QUICK), NaturalBoostingClassifier(**QUICK)], expected_failed_checks=expected
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


# ---- what the library boosts ----


@pytest.fixture(scope="module")
def rough() -> tuple[np.ndarray, np.ndarray]:
    """Codes of features that move the mean and the deviation of a target."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 20, (200, 5)).astype(np.uint8)
    return codes, codes[:, 0] / 10 + random.normal(size=200) * np.exp(codes[:, 1] / 20)


def engine(kind: type, codes: np.ndarray, y: np.ndarray, **settings: object) -> Engine:
    """Boosted from the parameters of most likelihood."""
    boosted = Engine(kind, ClosedScore, HistogramTree(3, 1), verbose=False, random_state=0, **settings)
    boosted.begin = kind.begin(y, np.ones(len(y)))
    return boosted.fit(codes, y)


@pytest.mark.parametrize("binary", [False, True])
def test_it_boosts_as_the_library_alone(rough, binary: bool) -> None:
    """With its distributions, scikit-learn's trees and draws of columns; of rows, borders between values differ."""
    codes, y = rough
    y = (y > 1).astype(int) if binary else y
    settings = {"n_estimators": 25, "learning_rate": 0.1, "col_sample": 0.6}
    theirs = (NGBClassifier if binary else NGBRegressor)(verbose=False, random_state=0, **settings).fit(codes, y)
    ours = engine(Bernoulli if binary else Normal, codes, y, **settings)
    np.testing.assert_allclose(ours.pred_param(codes), theirs.pred_param(codes), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.evals_result["train"]["CLOSEDSCORE"], theirs.evals_result["train"]["LOGSCORE"])


def test_the_packed_forest_answers_bit_for_bit_as_the_library(rough) -> None:
    codes, y = rough
    boosted = engine(student_t(4.0), codes, y, n_estimators=30, minibatch_frac=0.7, col_sample=0.5)
    boosted.scalings[:] = np.linspace(0.3, 3, 30)  # a line search ends at powers of 2, which round nothing
    forest = boosted.forest(Quantiser.learn(codes.astype(float), 20))
    np.testing.assert_array_equal(forest.answer(codes.astype(float)), boosted.pred_param(codes).T)


PARAMETERS = {
    "normal": (Normal, [0.4, -0.3]),
    "studentt": (student_t(4.0), [0.4, -0.3]),
    "bernoulli": (Bernoulli, [0.7]),
}


def of(kind: type, parameters: np.ndarray, y: np.ndarray):
    """The library's mixture of distribution and score, with the same parameters in all rows."""
    return mixture(kind)(np.tile(np.asarray(parameters, dtype=float)[:, None], len(y)))


@cache
def mixture(kind: type) -> type:
    return manifold(ClosedScore, kind)


def densities(name: str, parameters: list[float]):
    """The same distribution by scipy."""
    if name == "bernoulli":
        return scipy.stats.bernoulli(1 / (1 + np.exp(-parameters[0])))
    loc, scale = parameters[0], np.exp(parameters[1])
    return scipy.stats.norm(loc, scale) if name == "normal" else scipy.stats.t(4.0, loc, scale)


@pytest.mark.parametrize("name", PARAMETERS)
def test_scores_are_minus_the_log_of_the_density(name: str) -> None:
    kind, parameters = PARAMETERS[name]
    y = np.array([0.0, 1.0]) if name == "bernoulli" else np.array([-3.0, 0.0, 0.4, 50.0])
    true = densities(name, parameters)
    logs = true.logpmf(y) if name == "bernoulli" else true.logpdf(y)
    np.testing.assert_allclose(of(kind, parameters, y).score(y), -logs, rtol=1e-12)


@pytest.mark.parametrize("name", PARAMETERS)
def test_gradients_are_natural(name: str) -> None:
    """Fisher's information times the natural gradient is the gradient; both by their definitions."""
    kind, parameters = PARAMETERS[name]
    true, step = densities(name, parameters), 1e-5

    def gradient(y: float) -> np.ndarray:
        slopes = []
        for number in range(len(parameters)):
            ends = [np.array(parameters), np.array(parameters)]
            ends[0][number] += step
            ends[1][number] -= step
            up, down = (of(kind, end, np.array([y])).score(np.array([y]))[0] for end in ends)
            slopes.append((up - down) / (2 * step))
        return np.array(slopes)

    def information(row: int, column: int) -> float:
        def weighted(y: float, probability) -> float:
            slopes = gradient(y)
            return slopes[row] * slopes[column] * probability(y)

        if name == "bernoulli":
            return weighted(0.0, true.pmf) + weighted(1.0, true.pmf)
        return quad(weighted, *true.interval(1 - 1e-7), args=(true.pdf,), epsrel=1e-5, limit=200)[0]

    size = range(len(parameters))
    fisher = np.array([[information(row, column) for column in size] for row in size])
    for y in (0.0, 1.0) if name == "bernoulli" else (-2.0, 0.9):
        natural = of(kind, parameters, np.array([y])).grad(np.array([y]))[0]
        np.testing.assert_allclose(fisher @ natural, gradient(y), rtol=1e-3, atol=1e-6)


def test_boosting_begins_at_most_likelihood() -> None:
    y = scipy.stats.t(4.0, 0.3, 2.0).rvs(400, random_state=0)
    _, loc, scale = scipy.stats.t.fit(y, fdf=4.0)
    np.testing.assert_allclose(student_t(4.0).begin(y, np.ones(400)), [loc, np.log(scale)], atol=1e-3)
    np.testing.assert_allclose(Normal.begin(y, np.ones(400)), LibraryNormal.fit(y), rtol=1e-12)
    twice = np.repeat([1.0, 2.0], 200)
    for kind, labels in ((student_t(4.0), y), (Normal, y), (Bernoulli, (y > 0.5).astype(float))):
        np.testing.assert_allclose(
            kind.begin(labels, twice), kind.begin(np.r_[labels, labels[200:]], np.ones(600)), rtol=1e-6
        )


# ---- the trainer ----


def trainer(**overrides) -> NGBoostTrainer:
    return NGBoostTrainer(load_model_config("ngboost", variant="smoke", overrides=overrides))


@pytest.fixture(scope="module")
def uncertain() -> tuple[pd.DataFrame, pd.Series]:
    """A target above 0; of its log one feature moves the mean and another the deviation."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(1500, 4)).astype(np.float32), columns=["a", "place", "b", "width"])
    log = 0.3 * X["place"] + 0.3 * np.exp(0.7 * np.sign(X["width"])) * random.normal(size=1500)
    return X, np.exp(log).rename("outcome")


@pytest.fixture(scope="module")
def forecasts(uncertain) -> dict[str, NGBoostTrainer]:
    """One trainer per distribution, on the first 1,000 rows; the true target is log-normal, and its log is normal."""
    X, y = uncertain
    trained = {}
    for name in DISTRIBUTIONS:
        label = _target(name, y)
        trained[name] = trainer(distribution=name, n_estimators=150, early_stopping_rounds=10, degrees_of_freedom=20.0)
        trained[name].train(X[:800], label[:800], X[800:1000], label[800:1000])
    return trained


def _target(name: str, y: pd.Series) -> pd.Series:
    return y if name == "lognormal" else np.log(y)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_are_sharp_and_calibrated(name: str, uncertain, forecasts) -> None:
    X, y = (part[1000:] for part in uncertain)
    y, model = _target(name, y), forecasts[name]
    parameters = model.predict_distribution(X)
    assert parameters.index.equals(X.index)
    widths = parameters["s" if name == "lognormal" else "scale"]
    assert widths[X["width"] > 0].mean() > 2 * widths[X["width"] < 0].mean()
    scores = model.own_scores(X, y)
    assert scores["coverage_90"] == pytest.approx(0.9, abs=0.05)
    assert scores["pit_ks"] < 0.08
    blind = trainer(distribution=name).train(X[["a"]], y).own_scores(X[["a"]], y)
    assert scores["crps"] < 0.9 * blind["crps"]
    assert scores["log_score"] < blind["log_score"] - 0.1
    assert set(model.get_feature_importance().index[:2]) == {"place", "width"}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_answers_are_those_of_scipys_distribution(name: str, uncertain, forecasts) -> None:
    X, y = (part[1000:1050] for part in uncertain)
    y, model = _target(name, y), forecasts[name]
    kind = {"normal": scipy.stats.norm, "lognormal": scipy.stats.lognorm, "studentt": scipy.stats.t}[name]
    true = kind(**model.predict_distribution(X))
    np.testing.assert_allclose(model.predict(X), true.mean(), rtol=1e-9)
    quantiles = model.predict_quantiles(X, [0.1, 0.5, 0.9])
    assert (list(quantiles.columns), quantiles.columns.name) == ([0.1, 0.5, 0.9], "level")
    np.testing.assert_allclose(quantiles[0.9], true.ppf(0.9))
    np.testing.assert_allclose(quantiles[0.5], true.median())
    holes = y.mask(np.arange(50) < 5)
    pit = model.pit(X, holes)
    assert pit[:5].isna().all()
    np.testing.assert_allclose(pit[5:], true.cdf(y)[5:])
    histogram = model.pit_histogram(X, holes)
    assert histogram["share"].sum() == pytest.approx(1)
    assert histogram["share"][0] == pytest.approx((pit[5:] < 0.1).mean())
    assert model.own_scores(X, holes) == pytest.approx(model.own_scores(X[5:], y[5:]))
    assert model.own_scores(X, y * np.nan) == {}


def test_few_degrees_of_freedom_leave_the_median_and_no_crps(uncertain) -> None:
    X, y = uncertain
    model = trainer(distribution="studentt", degrees_of_freedom=1.0).train(X, y)
    np.testing.assert_allclose(model.predict(X), model.predict_quantiles(X, [0.5])[0.5])
    assert set(model.own_scores(X, y)) == {"log_score", "coverage_90", "pit_ks"}
    assert (model.predict_distribution(X)["df"] == 1).all()


def test_the_place_and_the_width_of_a_distribution_weigh_the_same(uncertain, forecasts) -> None:
    importance = forecasts["normal"].get_feature_importance()
    located, scaled = forecasts["normal"].model.forecaster_.importances
    assert (located.argmax(), scaled.argmax()) == (1, 3)
    by_hand = (located / located.sum() + scaled / scaled.sum()) / 2
    np.testing.assert_allclose(importance[uncertain[0].columns], by_hand)


def test_a_log_normal_target_must_be_positive(uncertain) -> None:
    X, y = uncertain
    below = (y - 1).rename("fwd_ret_5")
    with pytest.raises(
        DataError, match=r"lognormal needs a target above 0.*'fwd_ret_5' in y_train.*normal or studentt"
    ):
        trainer(distribution="lognormal").train(X, below)
    with pytest.raises(DataError, match="1 of 500 values of 'outcome' in y_val are not, the lowest 0;"):
        trainer(distribution="lognormal").train(X[:1000], y[:1000], X[1000:], y[1000:].where(y[1000:].index > 1000, 0))
    with pytest.raises(ValueError, match="lognormal distribution needs positive targets"):
        NaturalBoostingRegressor("lognormal").fit(X, below)


def test_two_classes_are_bernoulli_whatever_the_distribution(make_planted) -> None:
    X, y = make_planted(300, "binary")
    model = trainer(distribution="lognormal").train(X, y)
    np.testing.assert_array_equal(model.predict_distribution(X)["p"], model.predict_proba(X)[:, 1])
    assert model.own_scores(X, y) == {}
    with pytest.raises(ConfigError, match="predict_quantiles needs a target of values, 'outcome' is binary"):
        model.predict_quantiles(X, [0.5])
    with pytest.raises(ConfigError, match="pit needs a target of values"):
        model.pit(X, y)


@pytest.mark.parametrize("levels", [[], [0.5, 0.1], [0.5, 0.5], [0.0, 0.5], [0.5, 1.0], [np.nan], [[0.1, 0.5]]])
def test_levels_rise_within_0_and_1(levels: list, uncertain, forecasts) -> None:
    with pytest.raises(ConfigError, match=r"must rise within \(0, 1\)"):
        forecasts["normal"].predict_quantiles(uncertain[0], levels)
    with pytest.raises(ConfigError, match="must be numbers"):
        forecasts["normal"].predict_quantiles(uncertain[0], "low")


def test_a_missing_value_counts_as_the_median(uncertain) -> None:
    X, y = uncertain
    holes = X.astype(float).mask(np.random.default_rng(1).random(X.shape) < 0.1)
    model = trainer().train(holes[:1000], y[:1000])
    later = holes[1000:]
    np.testing.assert_array_equal(model.predict(later), model.predict(later.fillna(holes[:1000].median())))


def test_rows_of_no_weight_say_nothing(uncertain) -> None:
    X, y = uncertain
    weight = np.where(np.arange(1500) % 3 == 0, 0.0, 1.0)
    rows = RowInfo(np.full(1500, np.datetime64("2030-01-01", "ns")), weight)
    wild = y.where(weight > 0, 1e6)
    first, second = (trainer().train(X, labels, rows=rows).predict(X) for labels in (y, wild))
    np.testing.assert_array_equal(first, second)


def test_a_target_of_tiny_units_is_learnt_alike(uncertain) -> None:
    X, y = uncertain
    plain, tiny = (trainer(distribution="normal").train(X, y * unit).predict(X) / unit for unit in (1, 2.0**-30))
    np.testing.assert_allclose(tiny, plain, rtol=1e-9)


def test_every_setting_moves_the_answer(uncertain) -> None:
    X, y = (part[:300] for part in uncertain)
    given = {"n_estimators": 10, "distribution": "studentt"}
    plain = trainer(**given).train(X, y).predict_distribution(X)["scale"]
    moved = {
        "n_estimators": 11,
        "learning_rate": 0.11,
        "max_depth": 4,
        "min_samples_leaf": 10,
        "minibatch_frac": 0.8,
        "col_sample": 1.0,
        "max_bin": 64,
        "degrees_of_freedom": 10.0,
        "distribution": "normal",
        "seed": 1,
    }
    for setting, value in moved.items():
        other = trainer(**given | {setting: value}).train(X, y).predict_distribution(X)["scale"]
        assert not np.allclose(other, plain), setting


def test_training_is_silent(uncertain, capsys) -> None:
    X, y = uncertain
    trainer().train(X[:1000], y[:1000], X[1000:], y[1000:])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_come_back_from_an_artifact(name: str, uncertain, forecasts, tmp_path) -> None:
    X, _ = uncertain
    save_artifact(forecasts[name], tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    pd.testing.assert_frame_equal(
        loaded.predict_distribution(X), forecasts[name].predict_distribution(X), check_exact=True
    )
    assert loaded.rounds == forecasts[name].rounds


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_row_alone_has_the_distribution_it_has_among_others(name: str, uncertain, forecasts) -> None:
    X, model = uncertain[0][:20], forecasts[name]
    alone = pd.concat([model.predict_distribution(X[row : row + 1]) for row in range(20)])
    pd.testing.assert_frame_equal(alone, model.predict_distribution(X), check_exact=True)


@pytest.mark.parametrize(("y", "weight"), [(np.full(60, 2.0), None), (np.arange(60.0), np.arange(60) == 7)])
def test_a_flat_target_is_refused(y, weight) -> None:
    """The library would look for a step without end."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="does not vary"):
        NaturalBoostingRegressor("normal", **QUICK).fit(X, y, weight)
