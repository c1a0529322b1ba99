"""FTRL-Proximal against an obvious loop and river; labels in time; going on with live bars."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from river import linear_model, optim
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.artifacts import load_artifact, save_artifact
from TRAINING.model_fun import FTRLProximalTrainer
from TRAINING.model_fun.linear.ftrl_estimators import FTRLClassifier, FTRLRegressor, OnlineModel

ONLINE = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated row is two short steps, a row of weight 2 a long one",
}


def expected(estimator: object) -> dict[str, str]:
    return ONLINE


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [FTRLRegressor(alpha=2.0, l1=0.1, l2=0.1, passes=10), FTRLClassifier(alpha=0.5, l1=0.1)],
    expected_failed_checks=expected,
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def ftrl(**overrides) -> FTRLProximalTrainer:
    return FTRLProximalTrainer(load_model_config("ftrl_proximal", variant="smoke", overrides=overrides))


def panel(task: str, days: int = 80, delay: int = 3) -> tuple[pd.DataFrame, pd.Series, RowInfo]:
    """Two symbols one behind the other, features with holes, labels that are known ``delay`` sessions later."""
    random = np.random.default_rng(8)
    dates = pd.bdate_range("2020-01-01", periods=days + delay, tz="UTC")
    index = pd.MultiIndex.from_product([["B", "A"], dates[:days]], names=["symbol", "timestamp"])
    X = pd.DataFrame(random.normal(2, 3, (2 * days, 4)), index, list("wxyz"))
    value = X["x"].to_numpy() - 2 + random.normal(size=2 * days)
    X = X.mask(random.random(X.shape) < 0.1).assign(flat=1.5)
    y = pd.Series((value > 0).astype(float) if task == "binary" else 5 + value, index, name="outcome")
    day = np.array(dates.tz_localize(None), dtype="datetime64[D]")
    number = np.tile(np.arange(days), 2)
    weight = random.choice([0.0, 0.5, 1.0, 3.0], 2 * days)
    return X, y, RowInfo(day[number + delay].astype("datetime64[ns]"), weight, day[number], day[number + delay])


def slow(X, y, rows, config, binary, lagging=False):
    """The same in plain Python: predictions along the last pass, weights, the answer to a row of ones, and the steps.

    ``lagging``: weights are those that were needed last, not those that follow from the newest gradients.
    """
    alpha, beta, l1, l2 = (config[key] for key in ("alpha", "beta", "l1", "l2"))
    names, symbols = list(X), X.index.get_level_values(0)
    order = sorted(range(len(X)), key=lambda row: (rows.sessions[row], symbols[row]))
    z, n, w = (dict.fromkeys(names, 0.0) for _ in range(3))
    past, labels, table, steps = {name: [] for name in names}, [], {}, []

    def scaled(name, value):
        mean, spread = (np.mean(past[name]), np.std(past[name])) if past[name] else (0, 0)
        return 0.0 if math.isnan(value) or spread < 1e-12 else min(max((value - mean) / spread, -3), 3)

    def refresh():
        for name in names:
            free = abs(z[name]) > l1
            w[name] = -(z[name] - math.copysign(l1, z[name])) / ((beta + n[name] ** 0.5) / alpha + l2) if free else 0.0

    def label_scale():
        values, weights = [y.iloc[row] for row in labels], [rows.sample_weight[row] for row in labels]
        mean = np.average(values, weights=weights)
        return mean, np.average((values - mean) ** 2, weights=weights) ** 0.5, sum(weights)

    def answer(features):
        mean, spread, count = label_scale()
        margin = sum(w[name] * features[name] for name in names)
        if not binary:
            return mean + spread * margin
        share = (count * mean + 0.5) / (count + 1)
        return 1 / (1 + math.exp(-margin - math.log(share / (1 - share))))

    def learn(row, counts):
        if not rows.sample_weight[row]:
            return
        if counts:
            labels.append(row)
        mean, spread, count = label_scale()
        error = answer(table[row]) - y.iloc[row]
        slope = rows.sample_weight[row] * (error if binary else error / spread if spread > 0 else 0.0)
        share = (count * mean + 0.5) / (count + 1)
        offset = math.log(share / (1 - share)) if binary else 0.0
        target = y.iloc[row] if binary else (y.iloc[row] - mean) / spread if spread > 0 else 0.0
        steps.append((table[row], target, rows.sample_weight[row], offset))
        if lagging:
            refresh()
        for name in names:
            gradient = slope * table[row][name]
            z[name] += gradient - ((n[name] + gradient**2) ** 0.5 - n[name] ** 0.5) / alpha * w[name]
            n[name] += gradient**2
        if not lagging:
            refresh()

    for number in range(config["passes"]):
        waiting, along = list(order), []
        for row in order:
            while rows.label_sessions[waiting[0]] < rows.sessions[row]:
                learn(waiting.pop(0), number == 0)
            table[row] = {name: scaled(name, X[name].iloc[row]) for name in names}
            along.append(answer(table[row]) if labels else np.nan)
            for name in names:
                if number == 0 and not math.isnan(X[name].iloc[row]):
                    past[name].append(X[name].iloc[row])
        for row in waiting:
            learn(row, number == 0)
    return np.array(along), w, answer({name: scaled(name, 1.0) for name in names}), steps


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("config", [{"l1": 0.0, "l2": 0.0, "beta": 0.5}, {"l1": 2.0, "l2": 3.0, "passes": 2}])
def test_equals_the_obvious_loop(task, config) -> None:
    X, y, rows = panel(task)
    trainer = ftrl(**config)
    trainer.train(X, y, rows=rows)
    along, weights, answer, _ = slow(X, y, rows, trainer.config, task == "binary")
    np.testing.assert_allclose(trainer.model.progress_[-1], along, rtol=0, atol=1e-10)
    np.testing.assert_allclose(trainer.weights[list(X)], list(weights.values()), rtol=0, atol=1e-10)
    ones = pd.DataFrame(np.ones((1, 5)), columns=list(X))
    assert trainer.predict_score(ones)[0] == pytest.approx(answer, abs=1e-10)
    order = np.lexsort((X.index.get_level_values(0), rows.sessions))
    known, values = ~np.isnan(trainer.model.progress_[0]), y.to_numpy()[order]
    (loss,) = trainer.history["train"].values()
    score = trainer.model.progress_[0][known]
    hit = np.where(values[known] == 1, score, 1 - score)
    by_hand = -np.log(hit).mean() if task == "binary" else np.sqrt(((values[known] - score) ** 2).mean())
    assert loss[0] == pytest.approx(by_hand)
    assert len(loss) == trainer.rounds == config.get("passes", 1)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_river_differs_by_its_lag_only(task) -> None:
    """river predicts with the weights before the newest gradients; with L1 it also keeps weights that should be 0."""
    X, y, rows = panel(task)
    config = load_model_config("ftrl_proximal", overrides={"alpha": 0.3, "beta": 0.5, "l1": 0.0, "l2": 2.0})
    _, weights, _, steps = slow(X, y, rows, config, task == "binary", lagging=True)
    optimizer = optim.FTRLProximal(alpha=0.3, beta=0.5, l1=0.0, l2=2.0)
    kind = linear_model.LogisticRegression if task == "binary" else linear_model.LinearRegression
    theirs = kind(optimizer=optimizer, l2=0.0, intercept_lr=0.0)
    for features, target, weight, offset in steps:
        theirs.intercept = offset
        theirs.learn_one(features, target, weight if task == "binary" else weight / 2)  # its squared loss is not halved
    assert len(steps) > 100
    np.testing.assert_allclose([theirs.weights[name] for name in X], [weights[name] for name in X], rtol=0, atol=1e-10)
    trainer = ftrl(**{key: config[key] for key in ("alpha", "beta", "l1", "l2")}).train(X, y, rows=rows)
    assert 0 < np.abs(trainer.weights[list(X)] - list(weights.values())).max() < 0.1


def test_weights_are_exactly_zero_unless_gradients_outweigh_l1(make_planted) -> None:
    X, y = make_planted(400, "regression")
    none, few, all_ = (ftrl(l1=l1).train(X, y).weights for l1 in (1e6, 60.0, 0.0))
    assert (none == 0).all()
    assert few.index[few != 0].tolist() == ["signal"]
    assert (all_ != 0).all()
    trainer = ftrl(l1=1e6).train(X, y)
    assert trainer.get_feature_importance().isna().all()
    np.testing.assert_allclose(trainer.predict(X), y.mean())
    assert trainer.own_scores(X, y)["zero_weights"] == 1


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_label_is_learnt_only_after_its_end(task) -> None:
    X, y, rows = panel(task)
    order = np.lexsort((X.index.get_level_values(0), rows.sessions))
    before = ftrl().train(X, y, rows=rows).model.progress_[0]
    for place in (0, 41, 90):
        row = order[place]
        weight = rows.sample_weight.copy()
        weight[row] += 2
        other = y.copy()
        other.iloc[row] = 1 - other.iloc[row]
        after = ftrl().train(X, other, rows=RowInfo(rows.label_end, weight, rows.sessions, rows.label_sessions))
        changed = before != after.model.progress_[0]
        changed &= ~(np.isnan(before) & np.isnan(after.model.progress_[0]))
        first = rows.sessions[order[changed.argmax()]]
        known = rows.label_sessions[row]
        assert first == rows.sessions[rows.sessions > known].min(), "from the next session on"


def test_a_label_that_no_row_knows_is_learnt_at_the_end() -> None:
    X, y, rows = panel("regression", days=10, delay=20)
    trainer = ftrl().train(X, y, rows=rows)
    assert trainer.history == {}
    assert trainer.notes[-1].startswith("no label was known within the training rows")
    assert np.ptp(trainer.predict(X)) > 0


def test_rows_come_in_time_order_and_later_ones_say_nothing() -> None:
    X, y, rows = panel("regression")
    shuffled = np.random.default_rng(0).permutation(len(X))
    trainer, other = ftrl().train(X, y, rows=rows), ftrl()
    other.train(X.iloc[shuffled], y.iloc[shuffled], rows=rows.take(shuffled))
    np.testing.assert_array_equal(other.predict(X), trainer.predict(X))
    changed, last = X.copy(), rows.sessions == rows.sessions.max()
    changed[last] = 99.0
    along = ftrl().train(changed, y, rows=rows).model.progress_[0]
    np.testing.assert_array_equal(along[: -last.sum()], trainer.model.progress_[0][: -last.sum()])


def test_bars_of_a_session_come_in_the_order_of_their_times() -> None:
    X, y, rows = panel("regression")
    hours = pd.date_range("2020-01-01 09:00", periods=40, freq="30min", tz="UTC")  # of two sessions
    X.index = y.index = pd.MultiIndex.from_product([list("DCBA"), hours])
    day = np.asarray(X.index.get_level_values(1).tz_localize(None), dtype="datetime64[D]")
    rows = RowInfo(rows.label_end, None, day, day)
    along = ftrl().train(X, y, rows=rows).model.progress_[0]
    np.testing.assert_array_equal(
        np.isnan(along), np.arange(160) < 30 * 4, "the labels of a session are known after it"
    )
    backwards = ftrl().train(X[::-1], y[::-1], rows=rows.take(np.arange(160)[::-1]))
    np.testing.assert_array_equal(backwards.model.progress_[0], along)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("bars", [1, 17, 60])
def test_going_on_with_live_bars_is_training_on_all(task, bars, tmp_path) -> None:
    X, y, rows = panel(task)
    rows = replace(rows, sample_weight=rows.sample_weight + 0.1)
    whole = ftrl().train(X, y, rows=rows)
    cut = rows.sessions[30]
    head = rows.sessions <= cut
    trainer = ftrl().train(X[head], y[head], rows=rows.take(head))
    save_artifact(trainer, tmp_path / "artifact")
    trainer = load_artifact(tmp_path / "artifact")
    for sessions in np.array_split(np.unique(rows.sessions[~head]), -(-49 // bars)):
        new = np.isin(rows.sessions, sessions)
        trainer.partial_fit(X[new], y[new], rows=rows.take(new))
    np.testing.assert_array_equal(trainer.predict_score(X), whole.predict_score(X))
    np.testing.assert_array_equal(trainer.weights, whole.weights)
    with pytest.raises(DataError, match=f"up to {rows.sessions.max()}"):
        trainer.partial_fit(X[~head], y[~head], rows=rows.take(~head))
    save_artifact(trainer, tmp_path / "later")
    np.testing.assert_array_equal(load_artifact(tmp_path / "later").predict_score(X), whole.predict_score(X))


def test_live_bars_that_cannot_be_learnt_are_named() -> None:
    X, y, rows = panel("binary")
    trainer = ftrl()
    with pytest.raises(ConfigError, match="not trained yet"):
        trainer.partial_fit(X, y)
    trainer.train(X, y, rows=rows)
    with pytest.raises(DataError, match="takes later rows than those learnt, up to 2020-04-21; .* of 2020-01-01"):
        trainer.partial_fit(X, y, rows=rows)
    with pytest.raises(DataError, match="must be 0 or 1; y has others"):
        trainer.partial_fit(X, y + 1)
    with pytest.raises(DataError, match="160 missing or infinite labels"):
        trainer.partial_fit(X, y * np.nan)
    with pytest.raises(DataError, match="lacks 1 of the 5 training columns: w"):
        trainer.partial_fit(X.drop(columns="w"), y)
    plain = ftrl().train(X.reset_index(drop=True), y.reset_index(drop=True))  # without times every row is new
    before = plain.predict_score(X)
    plain.partial_fit(X[:1].reset_index(drop=True), y[:1].reset_index(drop=True))
    assert not np.array_equal(plain.predict_score(X), before)
    with pytest.raises(ValueError, match=r"knows the classes \[0, 1\]; y has \[2\]"):
        plain.model.partial_fit(X, np.full(len(X), 2))


def test_own_scores_are_those_of_going_on(make_planted) -> None:
    X, y = make_planted(500, "regression")
    flipped = X.assign(signal=X["signal"].where(np.arange(500) < 300, -X["signal"]))  # the relation turns over
    trainer = ftrl().train(flipped[:300], y[:300])
    later, labels = flipped[300:], y[300:].where(np.arange(200) < 195)
    before = trainer.predict(later)
    scores = trainer.own_scores(later, labels)
    assert set(scores) == {"online_rank_ic", "online_rmse", "zero_weights"}
    assert scores["online_rmse"] < np.sqrt(np.nanmean((labels - before) ** 2))
    np.testing.assert_array_equal(trainer.predict(later), before, "asking teaches nothing")
    binary = ftrl().train(X[:300], (y[:300] > 0).astype(float))
    assert set(binary.own_scores(X[300:], (y[300:] > 0).astype(float))) == {
        "online_auc", "online_log_loss", "zero_weights"
    }  # fmt: skip


def test_own_scores_learn_no_label_before_it_is_known() -> None:
    """The slow features tell of a label of forty rows to who has seen its neighbours', most of which is to come."""
    random, days = np.random.default_rng(3), pd.bdate_range("2010-01-04", periods=640, tz="UTC")
    index = pd.MultiIndex.from_product([["A"], days[:600]], names=["symbol", "timestamp"])
    X = pd.DataFrame(random.normal(size=(600, 10)).cumsum(axis=0), index, list("abcdefghij"))
    price = random.normal(size=640).cumsum()
    y = pd.Series((price[40:] > price[:600]).astype(float), index, name="y_will_peak")
    known = days[40:].tz_localize(None).to_numpy()
    trainer = ftrl().train(X[:300], y[:300], rows=RowInfo(known[:300]))
    later, labels = X[300:341], y[300:341]
    scores = trainer.own_scores(later, labels, RowInfo(known[300:341]))["online_log_loss"]
    hasty = trainer.own_scores(later, labels)["online_log_loss"]
    honest = trainer.model.model_.learn(later, np.full(41, np.nan))  # no label is known yet
    loss = -np.mean(np.log(np.where(labels > 0.5, honest, 1 - honest)))
    assert scores == pytest.approx(loss)
    assert hasty != pytest.approx(loss), "without rows a label counts as known five rows later"


def test_an_online_model_starts_with_the_usual_label() -> None:
    model = OnlineModel.start(True, (0.1, 1.0, 0.0, 0.0), 1)
    model.learn(np.zeros((8, 1)), np.array([1, 0, 0, 0, 1, 0, 0, 0.0]))
    np.testing.assert_allclose(model.predict(np.array([[np.nan], [7.0]])), 2.5 / 9)


def test_features_that_say_nothing_leave_the_mean(make_planted) -> None:
    _, y = make_planted(100, "regression")
    X = pd.DataFrame({"zero": 0.0, "flat": 0.1, "hollow": np.nan}, index=y.index)
    trainer = ftrl(l1=0.0).train(X, y)
    np.testing.assert_allclose(trainer.predict(X), y.mean())
    assert trainer.get_feature_importance().isna().all()
