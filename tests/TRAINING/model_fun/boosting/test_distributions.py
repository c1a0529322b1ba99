"""Scores of predicted distributions, against scoringrules and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from TRAINING.model_fun.boosting.distributions import DISTRIBUTIONS, score_distribution

Y = np.array([-3.0, -0.5, 0.0, 0.02, 0.7, 12.0])
LOC = np.array([0.0, 1.0, 0.0, 0.01, -2.0, 3.0])
SCALE = np.array([1.0, 0.5, 2.0, 0.03, 4.0, 0.1])
POSITIVE = np.array([0.01, 0.5, 1.0, 2.0, 7.0, 40.0])
# As scoringrules 0.10.0 prints them: crps_normal(Y, LOC, SCALE), crps_lognormal(POSITIVE, LOC, s) and
# crps_t(Y, df, LOC, SCALE), whose mulog is the log of scipy's scale.
CASES = {
    "normal": (
        Y,
        {"loc": LOC, "scale": SCALE},
        [
            2.43657472508634,
            1.21828736254317,
            0.467389954510218,
            0.00832847935151163,
            1.63545457818256,
            8.94358104164522,
        ],
    ),
    "lognormal": (
        POSITIVE,
        {"s": np.array([1.0, 0.5, 2.0, 0.03, 1.4, 0.1]), "scale": np.exp(LOC)},
        [0.780562057664091, 1.72911233968976, 0.826088662765524, 0.972393002400598, 6.41748833043692, 18.675846978447],
    ),
    "studentt": (
        Y,
        {"df": np.array([5.0, 1.5, 3.0, 2.2, 30.0, 8.0]), "loc": LOC, "scale": SCALE},
        [2.33875894625358, 1.07495817415214, 0.551328895421792, 0.0100349333074133, 1.64309629206825, 8.93638049381628],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_crps_is_that_of_scoringrules(name: str) -> None:
    y, parameters, printed = CASES[name]
    np.testing.assert_allclose(DISTRIBUTIONS[name].crps(y, parameters), printed, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "parameters", "y"),
    [
        ("normal", {"loc": 0.3, "scale": 0.7}, 1.1),
        ("lognormal", {"s": 0.6, "scale": 1.4}, 0.9),
        ("lognormal", {"s": 0.6, "scale": 1.4}, -0.5),
        ("studentt", {"df": 4.0, "loc": -0.2, "scale": 0.5}, 0.4),
    ],
)
def test_crps_is_the_squared_distance_of_two_distributions(name: str, parameters: dict, y: float) -> None:
    arrays = {key: np.array([value]) for key, value in parameters.items()}
    below = DISTRIBUTIONS[name].frozen(parameters).cdf
    lower, upper = (quad(lambda x: (below(x) - (x >= y)) ** 2, *ends, limit=200)[0] for ends in ((-60, y), (y, 60)))
    assert DISTRIBUTIONS[name].crps(np.array([y]), arrays)[0] == pytest.approx(lower + upper, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_mean_is_that_of_scipy(name: str) -> None:
    _, parameters, _ = CASES[name]
    kind = DISTRIBUTIONS[name]
    np.testing.assert_allclose(kind.mean(parameters), kind.frozen(parameters).mean(), rtol=1e-12)


def test_without_a_mean_the_median_is_told_and_no_crps() -> None:
    kind, parameters = DISTRIBUTIONS["studentt"], {"df": np.array([1.0]), "loc": np.array([2.0]), "scale": np.ones(1)}
    assert kind.mean(parameters)[0] == kind.frozen(parameters).median()[0] == 2
    assert np.isinf(kind.crps(np.zeros(1), parameters))
    assert set(score_distribution(kind, np.zeros(1), parameters)) == {"log_score", "coverage_90", "pit_ks"}


def test_a_probability_has_the_score_of_brier() -> None:
    assert DISTRIBUTIONS["bernoulli"].crps(np.array([0, 1]), {"p": np.array([0.2, 0.7])}) == pytest.approx([0.04, 0.09])


def test_scores_know_a_true_forecast_from_one_that_is_too_sure() -> None:
    y = np.random.default_rng(0).normal(size=5000)
    kind = DISTRIBUTIONS["normal"]
    true, sure = (score_distribution(kind, y, {"loc": np.zeros(5000), "scale": np.full(5000, s)}) for s in (1, 0.5))
    assert true == pytest.approx(
        {"crps": 1 / np.sqrt(np.pi), "log_score": 0.5 * np.log(2 * np.pi * np.e), "coverage_90": 0.9, "pit_ks": 0},
        abs=0.02,
    )
    assert sure["crps"] > true["crps"] + 0.02
    assert sure["log_score"] > true["log_score"] + 0.5
    assert sure["coverage_90"] == pytest.approx(0.589, abs=0.02)  # 2 ndtr(1.645 / 2) - 1
    assert sure["pit_ks"] > 0.1


def test_an_impossible_label_has_no_log_score() -> None:
    parameters = {"s": np.ones(2), "scale": np.ones(2)}
    scores = score_distribution(DISTRIBUTIONS["lognormal"], np.array([-1.0, 1.0]), parameters)
    assert set(scores) == {"crps", "coverage_90", "pit_ks"}
