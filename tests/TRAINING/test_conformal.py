from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.conformal import (
    ConformalRegressor,
    adaptive_intervals,
    calibrate_intervals,
    fewest_errors,
    half_width_of,
    score_intervals,
    train_conformal,
)
from TRAINING.model_fun import LightGBMTrainer

seeds = st.integers(0, 2**32 - 1)
START = pd.Timestamp("2020-01-01", tz="UTC")


@dataclass
class LineModel:
    """Predicts the column ``x``."""

    task: str = "regression"
    name: str = "line"
    target: str = "outcome"

    def predict(self, X):
        return X["x"].to_numpy(float)


def make_data(values, error, symbol="A"):
    """Rows of one symbol whose label is ``x + error`` and becomes known one bar later."""
    times = pd.bdate_range(START, periods=len(values) + 1)
    symbols = pd.Categorical([symbol] * len(values))
    index = pd.MultiIndex.from_arrays([symbols, times[:-1]], names=["symbol", "timestamp"])
    X = pd.DataFrame({"x": values, "volatility": np.ones(len(values))}, index=index, dtype=float)
    return Dataset(X, (X["x"] + error).rename("outcome"), RowInfo(times[1:].tz_localize(None).to_numpy()))


def join(*parts):
    return Dataset(
        pd.concat([part.X for part in parts]),
        pd.concat([part.y for part in parts]),
        RowInfo(np.concatenate([part.rows.label_end for part in parts])),
    )


@st.composite
def panels(draw, symbols=4, horizon=6):
    """Predictions of a few symbols with gaps, late and missing labels; shuffled."""
    random = np.random.default_rng(draw(seeds))
    frames = []
    for code in range(draw(st.integers(1, symbols))):
        first, last = random.integers(0, 40), random.integers(50, 90)
        days = first + np.flatnonzero(random.random(last - first) < 0.9)
        y = random.normal(0, 1 + (days > 40), len(days))
        y[random.random(len(days)) < 0.1] = np.nan
        frame = pd.DataFrame({"symbol": f"S{code}", "timestamp": START + pd.to_timedelta(days, "D"), "y": y})
        frame["label_end"] = frame["timestamp"] + pd.to_timedelta(random.integers(1, horizon + 1, len(days)), "D")
        frames.append(
            frame.assign(prediction=random.normal(size=len(days)), volatility=random.uniform(1, 2, len(days)))
        )
    rows = pd.concat(frames, ignore_index=True)
    return rows.iloc[random.permutation(len(rows))]


def flat_panel(error, horizon=1, symbol="A"):
    """One symbol, a prediction of 0 each day, and a label ``error`` that is known ``horizon`` days later."""
    times = START + pd.to_timedelta(np.arange(len(error)), "D")
    frame = pd.DataFrame({"symbol": symbol, "timestamp": times, "y": error, "prediction": 0.0})
    return frame.assign(label_end=times + pd.Timedelta(horizon, "D"))


def covered(rows, intervals):
    """Per row with an interval, whether it holds the label."""
    shown = intervals["lower"].notna() & rows["y"].notna()
    return rows["y"].between(intervals["lower"], intervals["upper"])[shown].to_numpy()


# ---- split ----


def test_half_widths_equal_those_of_crepes():
    """Residuals and the ends of ``crepes.ConformalRegressor().fit(residuals).predict_int([0.0], confidence=...)``."""
    residuals = [
        0.346, 0.822, 0.33, -1.303, 0.905, 0.446, -0.537, 0.581, 0.365, 0.294, 0.028, 0.547, -0.736, -0.163, -0.482,
        0.599, 0.04, -0.292, -0.782, -0.257, 0.008, -0.276, 1.294, 1.007, -2.711, -1.889, -0.175, -0.422, 0.214, 0.217,
        2.118, -1.112, -0.378, 2.043, 0.647, 0.663, -0.514,
    ]  # fmt: skip
    widths = [half_width_of(np.abs(residuals), coverage) for coverage in (0.8, 0.9, 0.95)]
    assert widths == [1.112, 2.043, 2.711]


@pytest.mark.parametrize(("coverage", "fewest"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_the_fewest_errors_have_their_largest_as_half_width(coverage, fewest):
    assert fewest_errors(coverage) == fewest
    assert half_width_of(np.arange(fewest), coverage) == fewest - 1
    with pytest.raises(DataError, match=f"need {fewest} finite errors; got {fewest - 1}"):
        half_width_of(np.arange(fewest - 1), coverage)
    with pytest.raises(DataError, match="finite errors"):
        half_width_of([*range(fewest), np.nan], coverage)


def test_the_rank_is_not_raised_by_rounding():
    assert 0.55 * 100 > 55
    assert half_width_of(np.arange(1, 100), 0.55) == 55


def test_exchangeable_labels_are_covered_as_often_as_asked():
    """Over many splits, P(covered) = ceil(0.9 * 51) / 51; the mean lies within 4 binomial deviations of it."""
    random = np.random.default_rng(0)
    repeats, exact = 4000, 46 / 51
    errors = np.abs(random.standard_t(3, (repeats, 51)))
    held = [row[50] <= half_width_of(row[:50], 0.9) for row in errors]
    assert abs(np.mean(held) - exact) < 4 * np.sqrt(exact * (1 - exact) / repeats)


def test_each_symbol_has_its_own_half_width_or_all_have_one():
    calm = make_data(np.arange(20.0), np.linspace(0, 1, 20), "A")
    wild = make_data(np.arange(20.0), np.linspace(0, 10, 20), "B")
    few = make_data(np.arange(3.0), np.zeros(3), "C")
    data = join(calm, wild, few)
    model = LineModel()
    own = calibrate_intervals(model, data, 0.9)
    assert own.half_width == {"A": pytest.approx(18 / 19), "B": pytest.approx(180 / 19)}  # rank 19 of 20
    ends = own.predict_interval(data.X)
    np.testing.assert_allclose(ends[:20], data.X["x"].to_numpy()[:20, None] + [-18 / 19, 18 / 19])
    np.testing.assert_allclose(ends[20:40], data.X["x"].to_numpy()[20:40, None] + [-180 / 19, 180 / 19])
    assert np.isnan(ends[40:]).all()
    np.testing.assert_array_equal(own.predict(data.X), data.X["x"])

    with pytest.raises(DataError, match=r"need X with the index \(symbol, timestamp\)"):
        own.predict_interval(data.X.reset_index(drop=True))

    pooled = calibrate_intervals(model, data, 0.9, pooled=True)
    assert pooled.half_width == half_width_of((data.y - data.X["x"]).abs(), 0.9)
    assert np.ptp(pooled.predict_interval(data.X) - data.X[["x"]].to_numpy(), axis=0) == pytest.approx([0, 0])


def test_a_scale_makes_wide_intervals_where_errors_are_large():
    random = np.random.default_rng(1)
    data = make_data(np.zeros(400), 0.0)
    volatility = np.tile([1.0, 10.0], 200)
    X = data.X.assign(volatility=volatility)
    data = Dataset(X, pd.Series(volatility * random.normal(size=400), X.index, name="outcome"), data.rows)
    intervals = calibrate_intervals(LineModel(), data, 0.9, scale="volatility").predict_interval(X)
    held = (np.abs(data.y) <= intervals[:, 1]).to_numpy()
    assert intervals[1, 1] == pytest.approx(10 * intervals[0, 1])
    for part in (held[::2], held[1::2]):
        assert abs(part.mean() - 0.9) < 0.07
    with pytest.raises(DataError, match="must be above 0; 1 rows"):
        calibrate_intervals(LineModel(), Dataset(X.assign(volatility=[0.0] + [1.0] * 399), data.y, data.rows),
                            scale="volatility")  # fmt: skip
    with pytest.raises(ConfigError, match="no column 'vol'"):
        calibrate_intervals(LineModel(), data, scale="vol")


def test_training_stops_before_the_rows_whose_errors_are_measured():
    """The head that is trained on has no label that becomes known in the tail, and rows without a label are out."""
    data = make_data(np.arange(100.0), 0.0)
    data.y.iloc[[3, 90]] = np.nan
    seen = []

    def train(head):
        seen.append(head)
        return LineModel()

    data.y.iloc[80:] += np.linspace(1, 3, 20)
    intervals = train_conformal(train, data, 0.8)
    kept = seen[0].X["x"].to_numpy()
    assert kept.tolist() == [*range(3), *range(4, 78)]  # 98 labelled sessions, the tail from 79 on; 78 is purged
    assert intervals.half_width["A"] == pytest.approx(np.linspace(1, 3, 20)[16])  # rank 17 of 20, bar 90 left out


def test_a_real_model_gets_intervals(make_planted):
    X, y = make_planted(500, "regression")
    config = load_model_config("lightgbm", variant="smoke")
    ends = np.append(X.index.get_level_values(1)[1:].tz_localize(None), np.datetime64("NaT"))
    data = Dataset(X, y, RowInfo(ends))
    trained = train_conformal(lambda head: LightGBMTrainer(config).train(head.X, head.y), data.take(np.arange(400)))
    lower, upper = trained.predict_interval(X[400:]).T
    assert 0.8 < ((lower <= y[400:]) & (y[400:] <= upper)).mean() < 0.98


def test_intervals_need_a_regression_and_enough_rows():
    data = make_data(np.arange(8.0), 0.0)
    with pytest.raises(ConfigError, match="line on 'outcome' is binary; calibrate its probabilities"):
        calibrate_intervals(LineModel(task="binary"), data)
    with pytest.raises(DataError, match="no symbol has the 9 labelled rows"):
        calibrate_intervals(LineModel(), data)
    with pytest.raises(DataError, match="need 9 finite errors; got 8 of 8"):
        calibrate_intervals(LineModel(), data, pooled=True)
    for coverage in (0, 1, 90, np.nan):
        with pytest.raises(ConfigError, match=r"coverage must be within \(0, 1\)"):
            calibrate_intervals(LineModel(), data, coverage)


# ---- adaptive ----


def slow_intervals(rows, coverage, *, window, step, pooled):
    """Each symbol (``pooled``: all of them), row by row, looking at everything again."""
    half = {}
    for _, own in rows.groupby(np.zeros(len(rows)) if pooled else "symbol"):
        own = own.sort_values(["timestamp", "symbol"])
        error = (own["y"] - own["prediction"]).abs()
        bars = list(zip(own.index, own["timestamp"], own["label_end"], own["symbol"], error, strict=True))
        theta, learnt, symbols = 0.0, [], 1
        for index, now, *_ in bars:
            told = sorted((end, time, name, bar) for bar, time, end, name, wrong in bars if end <= now and wrong >= 0)
            for *_, bar in told[len(learnt) :]:
                learnt.append(error[bar])
                symbols = len({name for _, _, name, _ in told[: len(learnt)]})
                if bar in half:
                    theta += step / symbols * ((error[bar] > half[bar]) - (1 - coverage))
            errors = sorted(learnt[-window * symbols :])
            rank = ceil(round((len(errors) + 1) * coverage, 9))
            if rank <= len(errors):
                half[index] = errors[rank - 1] * np.exp(theta)
    half = pd.Series(half, dtype=float).reindex(rows.index)
    return pd.DataFrame({"lower": rows["prediction"] - half, "upper": rows["prediction"] + half})


@given(panels(), st.sampled_from([0.5, 0.8, 0.9]), st.sampled_from([0.0, 0.05, 0.5]), st.sampled_from([10, 30]),
       st.booleans())  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_adaptive_intervals_equal_a_slow_loop(rows, coverage, step, window, pooled):
    settings = {"window": window, "step": step, "pooled": pooled}
    found = adaptive_intervals(rows, coverage, **settings)
    pd.testing.assert_frame_equal(found, slow_intervals(rows, coverage, **settings), rtol=1e-12)


@given(panels(), st.booleans(), st.sampled_from([None, "volatility"]), st.integers(0, 90), seeds)
@settings(max_examples=60, deadline=None)
def test_later_labels_never_change_earlier_intervals(rows, pooled, scale, day, seed):
    """Whatever becomes known after a moment, the intervals of all bars up to it stay the same bits."""
    random = np.random.default_rng(seed)
    moment = START + pd.Timedelta(day, "D")
    later = rows["label_end"] > moment
    changed = rows.assign(y=rows["y"].where(~later, random.choice([np.nan, 0.0, 50.0], len(rows))))
    settings = {"coverage": 0.8, "pooled": pooled, "scale": scale, "step": 0.3}
    before, after = (adaptive_intervals(table, **settings) for table in (rows, changed))
    past = rows["timestamp"] <= moment
    pd.testing.assert_frame_equal(before[past], after[past], check_exact=True)
    cut = adaptive_intervals(rows[past], **settings)
    pd.testing.assert_frame_equal(before[past], cut, check_exact=True)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_label_is_learnt_at_the_bar_at_which_it_becomes_known(pooled):
    rows = flat_panel(np.ones(40), horizon=5)
    changed = rows.assign(y=rows["y"].where(rows.index != 20, 9.0))
    one, other = (adaptive_intervals(table, 0.8, pooled=pooled)["upper"] for table in (rows, changed))
    assert (one[:25] == other[:25])[one[:25].notna()].all()
    assert one[25] < other[25], "a miss at bar 20, known at bar 25, widens the interval there"


@given(panels(), st.booleans(), seeds)
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, pooled, seed):
    shuffled = rows.sample(frac=1, random_state=seed % 2**31)
    one, other = (adaptive_intervals(table, 0.8, pooled=pooled, window=10) for table in (rows, shuffled))
    pd.testing.assert_frame_equal(one, other.loc[one.index], check_exact=True)


@given(seeds, st.sampled_from([0.02, 0.1, 0.5]), st.integers(1, 20), st.sampled_from(["jumps", "drift", "noise"]))
@settings(max_examples=40, deadline=None)
def test_any_sequence_is_covered_within_the_bound(seed, step, horizon, kind):
    random = np.random.default_rng(seed)
    error = np.abs(random.normal(size=600)) + 0.01
    if kind == "jumps":
        error *= np.exp(random.choice([-3, 0, 3], 6)).repeat(100)
    if kind == "drift":
        error *= np.exp(random.choice([-1, 1]) * np.linspace(0, 6, 600))
    rows = flat_panel(error, horizon)
    quantile = adaptive_intervals(rows, step=0.0)["upper"].to_numpy()
    spread = np.nanmax(np.abs(np.log(error / quantile)))
    told = covered(rows, adaptive_intervals(rows, step=step))[:-horizon]  # the last ones are not learnt from
    assert abs(told.mean() - 0.9) <= (spread + step * (horizon + 1)) / (step * len(told))


def test_exchangeable_rows_are_covered_as_often_as_asked():
    random = np.random.default_rng(3)
    for step in (0.0, 0.05):
        rows = flat_panel(random.normal(size=4000))
        held = covered(rows, adaptive_intervals(rows, step=step))
        assert abs(held.mean() - 0.9) < 4 * np.sqrt(0.09 / len(held)), step


def test_after_a_variance_break_adaptive_intervals_recover_and_split_ones_do_not():
    random = np.random.default_rng(4)
    error = random.normal(size=1200) * np.repeat([1.0, 3.0], 600)
    rows = flat_panel(error, horizon=5)
    split = half_width_of(np.abs(error[:600]), 0.9)
    assert (np.abs(error[600:]) <= split).mean() < 0.5
    adaptive = adaptive_intervals(rows)
    held = rows["y"].between(adaptive["lower"], adaptive["upper"])
    assert held[600:630].mean() < 0.75, "the break itself cannot be foreseen"
    assert abs(held[700:].mean() - 0.9) < 0.04
    window_alone = adaptive_intervals(rows, step=0.0)
    assert rows["y"].between(window_alone["lower"], window_alone["upper"])[640:760].mean() < held[640:760].mean() - 0.04


def test_pooled_intervals_are_for_symbols_with_few_rows():
    random = np.random.default_rng(5)
    old = [flat_panel(random.normal(size=300), symbol=f"S{code}") for code in range(5)]
    young = flat_panel(random.normal(size=300), symbol="NEW").iloc[295:]
    rows = pd.concat([*old, young], ignore_index=True)
    new = rows["symbol"] == "NEW"
    assert adaptive_intervals(rows)[new].isna().to_numpy().all()
    pooled = adaptive_intervals(rows, pooled=True)
    assert pooled[new].notna().to_numpy().all()
    assert pooled.groupby(rows["timestamp"])["upper"].nunique().max() == 1
    assert abs(covered(rows, pooled).mean() - 0.9) < 0.03


def test_a_scale_carries_over_from_symbol_to_symbol():
    random = np.random.default_rng(6)
    rows = pd.concat(
        [flat_panel(size * random.normal(size=300), symbol=f"S{size}").assign(volatility=size) for size in (1.0, 20.0)],
        ignore_index=True,
    )
    intervals = adaptive_intervals(rows, pooled=True, scale="volatility")
    per_symbol = {name: covered(own, intervals.loc[own.index]).mean() for name, own in rows.groupby("symbol")}
    assert all(abs(share - 0.9) < 0.05 for share in per_symbol.values()), per_symbol
    blind = adaptive_intervals(rows, pooled=True)
    per_symbol = {name: covered(own, blind.loc[own.index]).mean() for name, own in rows.groupby("symbol")}
    assert per_symbol["S1.0"] == 1
    assert per_symbol["S20.0"] < 0.85


def test_each_model_is_treated_alone_and_one_without_predictions_has_no_intervals():
    one = flat_panel(np.linspace(1, 2, 60)).assign(model="one")
    other = flat_panel(np.full(60, 7.0)).assign(model="other")
    none = flat_panel(np.ones(60)).assign(model="buy_and_hold", prediction=np.nan)
    rows = pd.concat([one, other, none], ignore_index=True)
    together = adaptive_intervals(rows)
    for part in (one, other):
        inside = (rows["model"] == part["model"].iloc[0]).to_numpy()
        alone = adaptive_intervals(part)
        pd.testing.assert_frame_equal(together[inside].reset_index(drop=True), alone, check_exact=True)
    assert together[rows["model"] == "buy_and_hold"].isna().to_numpy().all()


def test_bad_rows_and_settings_are_one_clear_error():
    rows = flat_panel(np.ones(30))
    with pytest.raises(ConfigError, match="lack the columns label_end, y"):
        adaptive_intervals(rows.drop(columns=["label_end", "y"]))
    with pytest.raises(ConfigError, match="a window of at least 9 errors"):
        adaptive_intervals(rows, window=8)
    with pytest.raises(ConfigError, match="a step of at least 0; got 250 and -1"):
        adaptive_intervals(rows, step=-1)
    with pytest.raises(DataError, match="A has several at 2020-01-01"):
        adaptive_intervals(pd.concat([rows, rows[:1]]))
    for label_end in (rows["timestamp"], pd.NaT):
        with pytest.raises(DataError, match="30 labelled rows have a label_end missing or not after the timestamp"):
            adaptive_intervals(rows.assign(label_end=label_end))


def test_rows_without_any_label_have_no_interval():
    rows = flat_panel(np.full(30, np.nan)).assign(label_end=pd.NaT)
    assert adaptive_intervals(rows).isna().to_numpy().all()
    assert adaptive_intervals(rows[:0]).empty


# ---- scores ----


def test_interval_scores_by_hand_and_as_scoringrules_has_them():
    """``scoringrules.interval_score([0, 3, -1.5], -1, 2, 0.1)`` is [3, 23, 13]; its alpha is one less the coverage."""
    scores = score_intervals([0, 3, -1.5, np.nan, 1], [-1, -1, -1, -1, np.nan], [2, 2, 2, 2, np.nan], 0.9)
    assert scores.values == pytest.approx({"coverage": 1 / 3, "mean_width": 3, "interval_score": 13})
    assert (scores.rows, scores.left_out, scores.reasons) == (3, 2, {})


def test_an_end_holds_its_own_label():
    assert score_intervals([0, 1], [0, 0], [1, 1], 0.9).values["coverage"] == 1


def test_the_interval_score_is_best_at_the_true_quantiles():
    y = np.random.default_rng(7).normal(size=20000)
    score = {z: score_intervals(y, np.full(20000, -z), np.full(20000, z), 0.9).values["interval_score"]
             for z in (1.2, 1.645, 2.2)}  # fmt: skip
    assert score[1.645] == min(score.values())


def test_undefined_interval_scores_are_nan_with_a_reason():
    for y, ends in (([], []), ([np.nan], [0.0]), ([1.0], [np.nan])):
        scores = score_intervals(y, ends, ends, 0.9)
        assert np.isnan(list(scores.values.values())).all()
        assert set(scores.reasons.values()) == {"no row has a label and an interval"}
    endless = score_intervals([0.0, 1.0], [-np.inf, 0], [np.inf, 2], 0.9)
    assert endless.values["coverage"] == 1
    assert set(endless.reasons) == {"mean_width", "interval_score"}


@pytest.mark.parametrize(
    ("y", "lower", "upper", "text"),
    [([0.0], [0.0, 1], [1.0, 1], "one interval per label"), ([0.0, 1], [0, 2.0], [1.0, 1], "1 intervals have a lower")],
)
def test_bad_intervals_are_one_clear_error(y, lower, upper, text):
    with pytest.raises(DataError, match=text):
        score_intervals(y, lower, upper, 0.9)


def test_a_conformal_regressor_is_plain_data():
    trained = ConformalRegressor(LineModel(), 0.9, 2.0)
    X = pd.DataFrame({"x": [1.0, 5.0]})
    assert trained.predict_interval(X).tolist() == [[-1, 3], [3, 7]]
