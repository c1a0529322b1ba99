"""Out-of-fold predictions know nothing of their own rows, of later ones, or of labels that were not known yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.model_fun import LightGBMTrainer
from TRAINING.model_fun.out_of_fold import hold_out_tail, label_times, predict_out_of_fold

NEVER = np.datetime64("9999-12-31", "D")


class Spy:
    """Stands in for a trainer: remembers the numbers of the rows it was given, and predicts their mean label."""

    context_rows = 0
    seen: list[Spy]

    def train(self, X, y, X_val, y_val, *, rows):
        assert y.index.equals(X.index)
        assert y_val.index.equals(X_val.index)
        self.fit, self.stop, self.rows = X["number"].to_numpy(), X_val["number"].to_numpy(), rows
        self.mean = y.mean()
        self.seen.append(self)
        return self

    def predict_score(self, X):
        self.predicted = X["number"].to_numpy()
        return np.full(len(X), self.mean)


def spies() -> type[Spy]:
    return type("Spies", (Spy,), {"seen": []})


class Everything:
    """The mean label of all the rows it was given."""

    context_rows = 0

    def train(self, X, y, X_val, y_val, *, rows):
        self.mean = pd.concat([y, y_val]).mean()
        return self

    def predict_score(self, X):
        return np.full(len(X), self.mean)


class Nearest:
    """The label of the nearest row it was given: fits those rows without an error, the worst that can be leaked."""

    context_rows = 0

    def train(self, X, y, X_val, y_val, *, rows):
        X, y = pd.concat([X, X_val]), pd.concat([y, y_val])
        order = np.argsort(X["x"].to_numpy(), kind="stable")
        self.x, self.y = X["x"].to_numpy()[order], y.to_numpy()[order]
        return self

    def predict_score(self, X):
        x = X["x"].to_numpy()
        right = np.clip(np.searchsorted(self.x, x), 1, len(self.x) - 1)
        return self.y[np.where(x - self.x[right - 1] <= self.x[right] - x, right - 1, right)]


@st.composite
def panels(draw) -> tuple[pd.DataFrame, pd.Series, RowInfo]:
    """Symbols with sessions of their own, several bars a session, labels of uneven length and some missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days = np.arange("2020-01-01", "2020-04-10", dtype="datetime64[D]")
    parts = []
    for symbol in "ABC"[: draw(st.integers(1, 3))]:
        own = np.sort(random.choice(days, draw(st.integers(60, 90)), replace=False))
        times = (own[:, None] + np.array([10, 14], "timedelta64[h]")).ravel().astype("datetime64[ns]")
        ends = np.append(times, np.full(7, "NaT", "datetime64[ns]"))[
            np.arange(len(times)) + random.integers(0, 8, len(times))
        ]
        parts.append(pd.DataFrame({"symbol": symbol, "timestamp": times, "end": ends}))
    table = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=draw(st.integers(0, 99)))
    X = pd.DataFrame({"number": np.arange(len(table))})
    X.index = pd.MultiIndex.from_frame(table[["symbol", "timestamp"]])
    y = pd.Series(random.normal(size=len(X)), X.index, name="mine").where(random.random(len(X)) > 0.1)
    return X, y, RowInfo(table["end"].to_numpy(), random.random(len(X)))


@settings(max_examples=25, deadline=None)
@given(panels(), st.integers(1, 4))
def test_each_block_is_trained_on_what_a_slow_loop_chooses(panel, blocks: int) -> None:
    X, y, rows = panel
    spy = spies()
    prediction = predict_out_of_fold(spy, X, y, rows, blocks=blocks)
    every, label = range(len(X)), y.tolist()
    day = [time.date() for time in X.index.get_level_values("timestamp")]
    end = [None if pd.isna(time) else time.date() for time in pd.DatetimeIndex(rows.label_end)]
    parts = np.array_split(sorted(set(day)), blocks + 1)
    assert len(spy.seen) == blocks
    assert np.flatnonzero(np.isnan(prediction)).tolist() == [r for r in every if day[r] in parts[0]]
    for part, model in zip(parts[1:], spy.seen, strict=True):
        known = [r for r in every if label[r] == label[r] and end[r] and end[r] < part[0]]
        days_known = sorted({day[r] for r in known})
        held = days_known[-int(len(days_known) * 0.2 + 0.5)]
        assert model.stop.tolist() == [r for r in known if day[r] >= held]
        assert model.fit.tolist() == [r for r in known if end[r] < held]
        assert model.predicted.tolist() == [r for r in every if part[0] <= day[r] <= part[-1]]
        assert (prediction[model.predicted] == model.mean).all()
        np.testing.assert_array_equal(model.rows.sample_weight, rows.sample_weight[model.fit])


@settings(max_examples=25, deadline=None)
@given(panels(), st.integers(1, 4), st.data())
def test_what_is_known_later_changes_no_earlier_prediction(panel, blocks: int, data) -> None:
    """Every label that is not known before a block's first day is replaced; predictions of up to that day stay."""
    X, y, rows = panel
    sessions, ends = label_times(X, rows, [])
    day = np.array_split(np.unique(sessions), blocks + 1)[data.draw(st.integers(1, blocks))][0]
    other = y.mask(~(ends < day), y + 1)
    assert not other.equals(y)
    before, after = (predict_out_of_fold(Everything, X, labels, rows, blocks=blocks) for labels in (y, other))
    np.testing.assert_array_equal(before[sessions <= day], after[sessions <= day])


def overlapping_noise(seed: int, rows: int = 600, horizon: int = 40) -> tuple[pd.DataFrame, pd.Series, RowInfo]:
    """Sums of the next ``horizon`` coin flips, and a feature that moves slowly: neighbours in x share most flips."""
    random = np.random.default_rng(seed)
    flips = random.choice([-1.0, 1.0], rows + horizon)
    y = np.convolve(flips, np.ones(horizon), "valid")[1 : rows + 1]
    times = pd.bdate_range("2015-01-01", periods=rows + horizon, tz="UTC")
    index = pd.MultiIndex.from_product([["A"], times[:rows]], names=["symbol", "timestamp"])
    ends = times[horizon:].tz_localize(None).to_numpy()
    return pd.DataFrame({"x": np.arange(rows, dtype=float)}, index), pd.Series(y, index, name="mine"), RowInfo(ends)


def test_labels_that_reach_into_a_block_are_purged() -> None:
    """The nearest row lies just before the block: purged, it shares no flip with any row of it; unpurged, up to 39.

    Purged, prediction and label are independent, so their products have the mean 0. A block of 100 rows has one
    prediction and its labels' mean has a standard deviation of at most sd(y), so 5 blocks x 20 seeds bound the mean of
    the products, in units of var(y), by 4 / sqrt(100) = 0.4.
    """
    products = {"purged": [], "unpurged": []}
    for seed in range(20):
        X, y, rows = overlapping_noise(seed)
        unpurged = RowInfo(X.index.get_level_values("timestamp").tz_localize(None).to_numpy())
        for name, known in (("purged", rows), ("unpurged", unpurged)):
            prediction = predict_out_of_fold(Nearest, X, y, known)
            first = [block[:10] for block in np.array_split(np.arange(600), 6)[1:]]
            products[name] += [np.mean(prediction[rows_] * y.to_numpy()[rows_]) / 40 for rows_ in first]
    assert abs(np.mean(products["purged"])) < 4 / np.sqrt(100)
    assert np.mean(products["unpurged"]) > 0.6


@pytest.mark.parametrize(("target", "count"), [("mine", 5), ("y_will_peak", 5), ("fwd_ret_3", 5), ("TTH_h20", 20)])
def test_without_rows_the_name_tells_how_far_a_label_looks(target: str, count: int) -> None:
    """Where it looks farther than ``purge_rows``; rows are those of the symbol, whatever their order."""
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
    index = pd.MultiIndex.from_arrays([["B"] * 60 + ["A"] * 30, np.append(days, days[::2])])
    X = pd.DataFrame({"x": 0.0}, index).sample(frac=1, random_state=0)
    sessions, known = label_times(X, None, ["mine", target])
    for (symbol, time), session, found in zip(X.index, sessions, known, strict=True):
        own = sorted(moment for name, moment in X.index if name == symbol)
        later = own.index(time) + count
        assert session == np.datetime64(time, "D")
        assert found == (np.datetime64(own[later], "D") if later < len(own) else NEVER)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("fwd_ret_6h", ["2020-01-02", "2020-01-02", "2020-01-03", "2020-01-07", "2020-01-07", "2020-01-08"]),
        ("MFE_h600m", ["2020-01-02", "2020-01-03", "2020-01-04", "2020-01-07", "2020-01-08", "2020-01-08"]),
        ("fwd_ret_1d", ["2020-01-03"] * 2 + ["2020-01-07"] + [str(NEVER)] * 3),
        ("fwd_ret_2d", ["2020-01-07"] * 2 + [str(NEVER)] * 4),
    ],
)
def test_spans_of_time_are_dates(monkeypatch, target: str, expected: list[str]) -> None:
    """Of the clock: when the span is over; of sessions: the rows' sessions, whatever lies between them."""
    monkeypatch.setattr("TRAINING.model_fun.out_of_fold.load_run_config", lambda topic: {"purge_rows": 0})
    times = ["2020-01-02 10:00", "2020-01-02 15:00", "2020-01-03 15:00", "2020-01-07 10:00", "2020-01-07 16:00"]
    X = pd.DataFrame({"x": 0.0}, pd.DatetimeIndex([*times, "2020-01-07 20:00"], tz="UTC"))
    assert label_times(X, None, [target])[1].astype(str).tolist() == expected
    with pytest.raises(DataError, match=f"{target} looks .* ahead, which a plain index does not tell"):
        label_times(X.reset_index(drop=True), None, [target])


def test_rows_that_know_their_sessions_need_no_times() -> None:
    X = pd.DataFrame({"x": np.zeros(3)})
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-02"], "datetime64[D]")
    rows = RowInfo(days.astype("datetime64[ns]"), sessions=days, label_sessions=days + 1)
    assert [part.tolist() for part in label_times(X, rows, [])] == [days.tolist(), (days + 1).tolist()]


def test_an_index_that_is_not_symbol_and_timestamp_is_told() -> None:
    index = pd.MultiIndex.from_product([pd.bdate_range("2020-01-01", periods=3), ["A"]])
    with pytest.raises(
        DataError, match=r"index \(symbol, timestamp\); its second level must be datetime64, got object"
    ):
        label_times(pd.DataFrame({"x": 0.0}, index), None, [])


def test_the_tail_is_held_out_by_the_horizon_of_the_name() -> None:
    X = pd.DataFrame({"x": np.zeros(100)})
    head, tail = hold_out_tail(X, None, ["fwd_ret_12"])
    assert (np.flatnonzero(head).tolist(), np.flatnonzero(tail).tolist()) == (list(range(68)), list(range(80, 100)))


def make_lightgbm() -> LightGBMTrainer:
    return LightGBMTrainer(load_model_config("lightgbm", variant="smoke", overrides={"min_data_in_leaf": 10}))


def test_a_planted_signal_is_found_out_of_fold(make_planted) -> None:
    X, y = make_planted(600, "binary")
    prediction = predict_out_of_fold(make_lightgbm, X, y)
    known = ~np.isnan(prediction)
    assert (known == (np.arange(600) >= 100)).all()
    assert np.mean((prediction > 0.5)[known] == (y > 0.5)[known]) > 0.75


def test_impossible_blocks_are_told(make_planted) -> None:
    X, y = make_planted(600, "binary")
    with pytest.raises(ConfigError, match="blocks must be at least 1, got 0"):
        predict_out_of_fold(make_lightgbm, X, y, blocks=0)
    with pytest.raises(DataError, match="need at least 6 sessions, the training rows have 5; give more sessions"):
        predict_out_of_fold(make_lightgbm, X[:5], y[:5])
    start = f"{X.index[100][1].date()}"
    one_class = y.where(np.arange(600) >= 100, 0.0)
    message = f"block 1 of 5, from {start} on, has 95 rows with a known label before it: lightgbm: .* one class only"
    with pytest.raises(DataError, match=message):
        predict_out_of_fold(make_lightgbm, X, one_class)
    with pytest.raises(DataError, match="block 1 of 5, .* has 0 rows with a known label before it"):
        predict_out_of_fold(make_lightgbm, X, y.where(np.arange(600) >= 100))
