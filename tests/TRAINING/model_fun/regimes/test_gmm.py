from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import GMMRegimeTrainer
from TRAINING.model_fun.regimes.gmm_estimators import RegimeClassifier, RegimeRegressor

QUICK = {"most_components": 2, "restarts": 1, "penalty": 1.0}
WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "weights are the experts'; in the mixture every row is one",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [RegimeRegressor(**QUICK), RegimeClassifier(**QUICK)], expected_failed_checks=lambda estimator: WEIGHTS
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def regimes(
    rows: int = 900, seed: int = 0, symbols: str = "A", spreads=(0.3, 0.6, 1.2)
) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Three states that last, of rising spread and other places; the slope of y on x is another one in each."""
    random = np.random.default_rng(seed)
    parts, states = [], []
    for symbol in symbols:
        state = np.repeat(random.permutation(np.arange(rows // 30) % 3), 30)
        values = np.array(spreads)[state, None] * random.normal(size=(rows, 4))
        values[:, 1:] += np.array([[0, 0, 0], [6, 0, 0], [0, 6, 0]])[state]
        index = pd.MultiIndex.from_product([[symbol], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
        part = pd.DataFrame(values, index.set_names(["symbol", "timestamp"]), list("xabc"))
        parts.append(part.assign(y=np.array([3.0, -2.0, 0.5])[state] * values[:, 0] + 0.1 * random.normal(size=rows)))
        states.append(state)
    table = pd.concat(parts)
    return table[list("xabc")], table["y"].rename("outcome"), np.concatenate(states)


def trained(X: pd.DataFrame, y: pd.Series, rows=None, **overrides) -> GMMRegimeTrainer:
    overrides = {"dimensions": 4, "most_components": 5, "borrow": 0.001, "penalty": 0.1} | overrides
    config = load_model_config("gmm_regime", variant="smoke", overrides=overrides)
    return GMMRegimeTrainer(config).train(X, y, rows=rows)


@pytest.fixture(scope="module")
def planted() -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    return regimes()


@pytest.fixture(scope="module")
def trainer(planted) -> GMMRegimeTrainer:
    return trained(*planted[:2])


def test_planted_regimes_are_counted_and_told_apart(trainer) -> None:
    X, y, state = regimes(seed=1)
    probability = trainer.transform(X)
    assert list(probability) == ["regime_0", "regime_1", "regime_2"], "the calmest first"
    assert probability.index.equals(X.index)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability.to_numpy().argmax(axis=1) == state).mean() > 0.98
    assert trainer.own_scores(X, y)["components"] == 3


def test_experts_of_regimes_beat_one_model(trainer, planted) -> None:
    X, y, _ = regimes(seed=1)
    one = trained(*planted[:2], fewest_components=1, most_components=1)
    errors = [np.mean((each.predict(X) - y) ** 2) / y.var() for each in (trainer, one)]
    assert errors[0] < 0.2 < 0.5 < errors[1]
    alike = trained(*planted[:2], borrow=1.0).predict(X)
    np.testing.assert_allclose(alike, one.predict(X), atol=1e-9)


def test_probabilities_and_densities_are_those_of_scikit_learn(trainer) -> None:
    X, y, _ = regimes(seed=2)
    mixture = trainer.model.mixture_
    reduced = mixture.reduce(mixture.scale(X.to_numpy()))
    theirs = GaussianMixture(len(mixture.weights))
    theirs.weights_, theirs.means_, theirs.precisions_cholesky_ = mixture.weights, mixture.means, mixture.precisions
    np.testing.assert_allclose(trainer.transform(X), theirs.predict_proba(reduced), rtol=0, atol=1e-9)
    assert trainer.own_scores(X, y)["log_likelihood"] == pytest.approx(theirs.score(reduced), abs=1e-9)


def test_the_number_of_regimes_is_that_of_the_lowest_criterion(trainer, planted) -> None:
    X, y, _ = planted
    criteria = {
        count: trained(X, y, fewest_components=count, most_components=count).own_scores(X, y)["bic"]
        for count in (2, 3, 4, 5)
    }
    assert min(criteria, key=criteria.get) == 3
    assert trainer.own_scores(X, y)["bic"] == pytest.approx(criteria[3])


def test_an_expert_is_a_ridge_weighted_by_its_regime(planted) -> None:
    X, y, _ = planted
    weight = np.linspace(0.1, 2, len(X))
    rows = RowInfo(np.full(len(X), np.datetime64("2030-01-01", "ns")), weight)
    trainer = trained(X, y, rows, borrow=0.2, penalty=7.0)
    mixture, probability = trainer.model.mixture_, trainer.transform(X).to_numpy()
    scaled = mixture.scale(X.to_numpy())
    expected = np.zeros(len(X))
    for regime in range(3):
        expert = Ridge(alpha=7.0).fit(scaled, y, weight * (0.2 + 0.8 * probability[:, regime]))
        expected += probability[:, regime] * expert.predict(scaled)
    np.testing.assert_allclose(trainer.predict(X), expected, atol=1e-9)


def test_a_row_has_the_same_regime_alone(trainer) -> None:
    X, _, _ = regimes(30, seed=3)
    alone = pd.concat([trainer.transform(X[i : i + 1]) for i in range(30)])
    pd.testing.assert_frame_equal(alone, trainer.transform(X), check_exact=True)
    reversed_rows = X[::-1]
    pd.testing.assert_frame_equal(trainer.transform(reversed_rows), alone[::-1], check_exact=True)


def test_regimes_keep_their_numbers(trainer, planted) -> None:
    X, y, state = planted
    for other in (trained(X, y, seed=7), trained(X[::-1], y[::-1]), trained(*regimes(seed=5)[:2])):
        assert (other.transform(X).to_numpy().argmax(axis=1) == state).mean() > 0.98
    by_feature = trained(X, y, order_by="a").transform(X).to_numpy().argmax(axis=1)
    assert pd.Series(X["a"].to_numpy()).groupby(by_feature).mean().is_monotonic_increasing
    assert (by_feature == 2).sum() == (state == 1).sum()


def test_transitions_are_counted_by_symbol_in_time_order() -> None:
    X, y, _ = regimes(300, symbols="AB")
    trainer = trained(X, y)
    regime = trainer.transform(X).to_numpy().argmax(axis=1)
    counts = np.zeros((3, 3))
    for symbol in "AB":
        own = regime[X.index.get_level_values(0) == symbol]
        for before, after in pairwise(own):
            counts[before, after] += 1
    table = trainer.transitions(X)
    np.testing.assert_allclose(table, counts / counts.sum(axis=1, keepdims=True))
    assert (np.diag(table) > 0.9).all(), "planted states last"
    assert (table.index.name, table.columns.name) == ("from", "to")
    shuffled = X.iloc[np.random.default_rng(0).permutation(len(X))]
    pd.testing.assert_frame_equal(trainer.transitions(shuffled), table)
    never = trainer.transitions(X[regime == 1])
    assert never.loc["regime_0"].isna().all()
    assert never.loc["regime_1", "regime_1"] == 1


def test_outliers_are_no_regime() -> None:
    X, y, state = regimes(spreads=(0.4, 0.5, 0.6))
    broken = X.copy()
    broken.iloc[::300, 1] = 1e6
    found = trained(broken, y, restarts=3).transform(broken).to_numpy()
    usual = np.arange(len(X)) % 300 != 0
    assert found.shape[1] == 3
    assert (found.argmax(axis=1) == state)[usual].mean() > 0.98
    assert np.isfinite(found).all()


def test_a_row_with_holes_still_has_a_regime(planted) -> None:
    X, y, state = planted
    holes = X.copy()
    holes.iloc[::40, 2] = np.nan
    found = trained(holes, y).transform(holes).to_numpy()
    assert (found.argmax(axis=1) == state).mean() > 0.97
    assert np.isfinite(found).all()


def test_an_artifact_knows_the_regimes(trainer, planted, tmp_path) -> None:
    X, y, _ = planted
    save_artifact(trainer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    pd.testing.assert_frame_equal(loaded.transform(X), trainer.transform(X), check_exact=True)
    assert loaded.own_scores(X, y) == trainer.own_scores(X, y)


def test_a_class_that_a_regime_lacks_is_no_fault(planted) -> None:
    X, _, state = planted
    y = pd.Series((state == 1).astype(float), X.index, name="outcome")
    probability = trained(X, y).predict_score(X)
    assert probability[state == 1].min() > 0.8 > 0.2 > probability[state != 1].max()


def test_faults_are_named(planted) -> None:
    X, y, _ = planted
    with pytest.raises(DataError, match=r"gmm_regime: 20 training rows.*below 25; .* lower most_components"):
        trained(X[:20], y[:20])
    with pytest.raises(DataError, match="none of the 4 features varies in 900 training rows"):
        trained(X * 0, y)
    with pytest.raises(ConfigError, match="fewest_components, 4, is above most_components, 3"):
        trained(X, y, fewest_components=4, most_components=3)
    with pytest.raises(ConfigError, match="order_by is spread or a feature.*choose from"):
        trained(X, y, order_by="vol")
    with pytest.raises(ConfigError, match="not trained yet"):
        GMMRegimeTrainer().transform(X)
