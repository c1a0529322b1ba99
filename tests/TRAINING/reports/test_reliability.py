from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from sklearn.calibration import calibration_curve

from TRAINING.reports.reliability import (
    coverage_by_session,
    coverage_through_time,
    pit_bins,
    quantile_bins,
    reliability_bins,
    reliability_diagram,
)

DAYS = pd.bdate_range("2020-01-01", periods=400)
MODELS = {"one": "blue", "other": "orange"}


def predictions(seed=0, symbols=5):
    """Probabilities of two models on a panel; labels of one day are alike."""
    random = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([list(MODELS), DAYS, range(symbols)], names=["model", "session", "symbol"])
    rows = index.to_frame(index=False)
    rows["prediction"] = random.uniform(0.1, 0.6, len(rows))
    mood = rows["session"].map(pd.Series(random.random(len(DAYS)), DAYS))
    rows["y"] = (mood < rows["prediction"]).astype(float)
    rows.loc[random.random(len(rows)) < 0.05, "y"] = np.nan
    return rows.sample(frac=1, random_state=seed).set_index("symbol")  # an index that repeats


def intervals(seed=0):
    rows = predictions(seed).rename(columns={"y": "up"})
    random = np.random.default_rng(seed)
    rows["y"] = np.where(rows["up"].isna(), np.nan, random.normal(size=len(rows)))
    half = np.where(rows["model"] == "one", 1.645, random.uniform(1, 2, len(rows)))
    return rows.assign(lower=-half, upper=half)


# ---- frames ----


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_bins_equal_scikit_learns_curve(seed):
    rows = predictions(seed)
    frame = reliability_bins(rows)
    for model, own in rows.dropna().groupby("model"):
        observed, predicted = calibration_curve(own["y"], own["prediction"], n_bins=10, strategy="quantile")
        bins = frame[frame["model"] == model]
        np.testing.assert_allclose(bins["observed"], observed)
        np.testing.assert_allclose(bins["predicted"], predicted)
        assert bins["rows"].sum() == len(own)


def test_the_intervals_of_shares_go_by_blocks_of_sessions():
    """All rows of a block have the same label: there are as many facts as blocks."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 20).astype(float)
    sessions = np.repeat(DAYS[: 20 * 21], 50)[: 400 * 50]
    y = np.repeat(labels, 21 * 50)[: len(sessions)]
    rows = pd.DataFrame({"model": "one", "session": sessions, "y": y, "prediction": 0.3})
    (found,) = reliability_bins(rows).to_dict("records")
    share = y.mean()
    excess = [((y - share)[start : start + 21 * 50]).sum() for start in range(0, len(y), 21 * 50)]
    reach = t.ppf(0.975, len(excess) - 1) * np.sqrt(np.square(excess).sum() * 20 / 19) / len(y)
    assert (found["low"], found["high"]) == pytest.approx((share - reach, share + reach))
    assert reach > 5 * 1.96 * np.sqrt(share * (1 - share) / len(y))


def test_the_intervals_of_shares_hold_the_truth_as_often_as_they_say():
    """Of a model that is right, on labels that are alike within a day."""
    held = []
    for seed in range(40):
        bins = reliability_bins(predictions(seed), bins=4)
        held += bins["predicted"].between(bins["low"], bins["high"]).tolist()
    assert 0.88 < np.mean(held) < 0.99


def test_few_blocks_have_no_interval_and_equal_probabilities_one_bin():
    rows = predictions()
    short = reliability_bins(rows[rows["session"] < DAYS[21 * 7]])
    assert short[["low", "high"]].isna().to_numpy().all()
    assert short["observed"].notna().all()
    constant = reliability_bins(rows.assign(prediction=0.3))
    assert constant["model"].value_counts().to_dict() == {"one": 1, "other": 1}
    assert constant[["low", "high"]].notna().to_numpy().all()


@given(st.integers(0, 1000), st.sampled_from([1, 5, 63]))
@settings(max_examples=5, deadline=None)
def test_coverage_equals_a_loop_over_sessions(seed, window):
    rows = intervals(seed)
    frame = coverage_by_session(rows, window)
    for model, found in frame.groupby("model"):
        own = rows[(rows["model"] == model) & rows["y"].notna()]
        days = np.unique(own["session"])
        assert found["session"].to_numpy().tolist() == days.tolist()
        assert found["coverage"].isna().sum() == window - 1
        for place in (window - 1, len(days) // 2 + window // 2, len(days) - 1):
            inside = own[own["session"].isin(days[place - window + 1 : place + 1])]
            held = (inside["lower"] <= inside["y"]) & (inside["y"] <= inside["upper"])
            assert found["coverage"].iloc[place] == pytest.approx(held.mean())
            assert found["width"].iloc[place] == pytest.approx((inside["upper"] - inside["lower"]).mean())


def test_rows_without_a_label_or_an_interval_are_left_out():
    rows = intervals()
    holes = rows.assign(lower=rows["lower"].where(rows["session"] >= DAYS[100]))
    assert coverage_by_session(holes, 10)["session"].min() == DAYS[100]
    nothing = rows.assign(y=np.nan)
    assert coverage_by_session(nothing).columns.tolist() == ["model", "session", "coverage", "width"]
    assert coverage_by_session(nothing).empty
    assert reliability_bins(nothing).columns.tolist() == ["model", "predicted", "observed", "low", "high", "rows"]


# ---- pictures ----


def texts(drawn):
    return [text.text for text in ElementTree.fromstring(str(drawn)).iter("text")]


def test_the_diagram_draws_the_models_it_is_given():
    frame = reliability_bins(predictions())
    drawn = reliability_diagram(frame, MODELS, name="reliability", label="Reliability")
    assert "predicted probability" in texts(drawn)
    assert all(f"var(--{colour})" in drawn for colour in MODELS.values())
    assert "var(--orange)" not in reliability_diagram(frame, {"one": "blue"}, name="reliability", label="")
    assert drawn == reliability_diagram(frame, MODELS, name="reliability", label="Reliability")


@pytest.mark.parametrize("narrow", [True, False])
def test_coverage_is_drawn_against_what_was_asked_for(narrow):
    frame = coverage_by_session(intervals())
    drawn = coverage_through_time(frame, MODELS, coverage=0.9, name="coverage", label="Coverage", narrow=narrow)
    assert "labels held, 90% asked for" in texts(drawn)
    assert all(f"var(--{colour})" in drawn for colour in MODELS.values())


def test_pictures_of_little_or_nothing_are_still_pictures():
    one_bin = reliability_bins(predictions().assign(prediction=0.3).query("session < '2020-01-10'"))
    for frame in (one_bin, one_bin[:0]):
        assert "<svg" in reliability_diagram(frame, MODELS, name="r", label="")
    short = coverage_by_session(intervals())[:5]
    assert short["coverage"].isna().all()
    for frame in (short, short[:0]):
        assert "<svg" in coverage_through_time(frame, MODELS, coverage=0.9, name="c", label="", narrow=True)


# ---- distributions and quantiles ----


def forecasts(seed, days=250, symbols=4):
    """PIT values of calibrated forecasts over five days; neighbouring days and the symbols of one day are alike."""
    random = np.random.default_rng(seed)
    sessions = np.repeat(pd.bdate_range("2020-01-01", periods=days), symbols)
    market = np.convolve(random.normal(size=days + 4), np.full(5, 5**-0.5), "valid")
    common, own = np.repeat(market, symbols), random.normal(size=days * symbols)
    return pd.DataFrame({"session": sessions, "pit": norm.cdf(np.sqrt(0.9) * common + np.sqrt(0.1) * own)})


def test_pit_bins_count_labels():
    rows = pd.concat([forecasts(0), pd.DataFrame({"session": [DAYS[0]], "pit": [np.nan]})]).sample(frac=1)
    frame = pit_bins(rows, bins=5)
    expected = np.histogram(rows["pit"].dropna(), np.linspace(0, 1, 6))[0] / 1000
    np.testing.assert_allclose(frame["share"], expected)
    assert frame["rows"].tolist() == [1000] * 5
    assert frame["low"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    ends = pit_bins(pd.DataFrame({"session": DAYS[:3], "pit": [0.0, 0.2, 1.0]}), bins=5)
    np.testing.assert_allclose(ends["share"], [1 / 3, 1 / 3, 0, 0, 1 / 3])


def test_calibrated_forecasts_lie_within_the_band_nearly_always():
    """Rows counted one by one would give a band that is left far more often, as symbols of one day are alike."""
    frames = [pit_bins(forecasts(seed, days=500)) for seed in range(60)]
    within = np.mean([frame["share"].between(frame["chance_low"], frame["chance_high"]) for frame in frames])
    assert 0.9 < within < 0.98
    naive = 1.96 * np.sqrt(0.1 * 0.9 / 2000)
    assert np.mean([np.abs(frame["share"] - 0.1) < naive for frame in frames]) < 0.8
    sure = forecasts(1, days=2000).assign(pit=lambda rows: norm.cdf(2 * norm.ppf(rows["pit"])))
    frame = pit_bins(sure)
    assert (frame["share"] > frame["chance_high"]).iloc[[0, -1]].all()


def test_quantile_bins_equal_an_obvious_loop():
    rows = forecasts(3)
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.tile(levels, (len(rows), 1)) + np.random.default_rng(0).normal(0, 0.01, (len(rows), 3))
    frame = quantile_bins(rows.rename(columns={"pit": "y"}), quantiles, levels, block=10)
    blocks = np.unique(rows["session"], return_inverse=True)[1] // 10
    for place, level in enumerate(levels):
        below = (rows["pit"] <= quantiles[:, place]).to_numpy()
        sums = [np.sum(below[blocks == block] - below.mean()) for block in range(25)]
        reach = t.ppf(0.975, 24) * np.sqrt(np.sum(np.square(sums)) * 25 / 24) / len(rows)
        row = frame.iloc[place]
        assert row["level"] == level
        assert row["below"] == pytest.approx(below.mean())
        assert row["high"] - row["below"] == pytest.approx(reach)
        assert row["below"] - row["low"] == pytest.approx(reach)


def test_a_share_of_no_rows_is_not_certain():
    """Where no label fell, or all did, blocks do not differ; chance alone would still spread the shares so far."""
    centre = pit_bins(forecasts(0).assign(pit=0.55))
    reach = t.ppf(0.975, len(np.unique(forecasts(0)["session"])) // 21) * np.sqrt(0.1 * 0.9 / 1000)
    np.testing.assert_allclose(centre["chance_high"], 0.1 + reach)
    np.testing.assert_allclose(centre["chance_low"], 0.1 - reach)
    rows = forecasts(0, days=200, symbols=1).rename(columns={"pit": "y"})
    frame = quantile_bins(rows, np.tile([-1.0, 2.0], (200, 1)), np.array([0.01, 0.99]))
    reach = t.ppf(0.975, 199 // 21) * np.sqrt(0.01 * 0.99 / 200)
    np.testing.assert_allclose(frame[["below", "low", "high"]], [[0, 0, reach], [1, 1 - reach, 1]])


def test_a_few_blocks_have_no_band():
    assert pit_bins(forecasts(0, days=100)).filter(like="chance").isna().all(None)
    assert pit_bins(forecasts(0, days=100), block=10).filter(like="chance").notna().all(None)
    assert pit_bins(forecasts(0)[:0])["rows"].tolist() == [0] * 10
