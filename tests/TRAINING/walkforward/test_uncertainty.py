"""Intervals and calibrated probabilities inside a walk-forward: against obvious loops, and blind to the future."""

from __future__ import annotations

from math import ceil, exp

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config, load_run_config
from CONFIG.errors import ConfigError
from TRAINING.calibration import calibrate_folds
from TRAINING.evaluation.metrics import row_loss
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults, uncertainty
from TRAINING.walkforward.summary import summarise

WINDOWS = {"train_days": 120, "test_days": 20, "step_days": 20, "min_train_samples": 100}
METRICS = ["sharpe", "coverage", "mean_width", "interval_score"]


def walk(panel: pd.DataFrame, config: dict, target: str, **settings) -> WalkForwardResults:
    own = {name: settings.pop(name) for name in ("calibration", "intervals") if name in settings}
    metrics, backtest = settings.pop("metrics", None), settings.pop("backtest", None)
    engine = WalkForwardEngine(panel, **WINDOWS | settings)
    engine.settings |= own
    return engine.run("lightgbm", config, metrics, target, backtest=backtest)


def model_rows(results: WalkForwardResults, name: str = "lightgbm") -> pd.DataFrame:
    return results.predictions[results.predictions["model"] == name].reset_index(drop=True)


def other_labels(panel: pd.DataFrame, day: pd.Timestamp, target: str) -> pd.DataFrame:
    """The panel with other labels wherever these are known on the day or later."""
    changed, random = panel.copy(), np.random.default_rng(0)
    later = (panel["label_end"] >= day) & panel[target].notna()
    values = random.integers(0, 2, later.sum()) if target.startswith("y_") else random.normal(size=later.sum())
    changed.loc[later, target] = values.astype(float)
    return changed


# ---- intervals ------------------------------------------------------------------------------------------------------


def obvious_intervals(rows: pd.DataFrame, coverage: float) -> pd.DataFrame:
    """The half-widths of one symbol by a plain loop over its bars, written for its plainness."""
    rows = rows.reset_index(drop=True)
    half, error, theta, seen, width = {}, (rows["y"] - rows["prediction"]).abs(), 0.0, [], np.nan
    for bar, row in rows.iterrows():
        news = [i for i in rows.index[error.notna() & (rows["label_end"] <= row["timestamp"])] if i not in seen]
        for told in news:
            if half[told] == half[told]:
                theta += 0.05 * (float(error[told] > half[told]) - (1 - coverage))
            seen.append(told)
        if news and len(seen) >= 9:
            latest = sorted(error[seen[-250:]])
            width = latest[ceil(round((len(latest) + 1) * coverage, 9)) - 1] * exp(theta)
        half[bar] = width
    half = pd.Series(half)
    return pd.DataFrame({"lower": rows["prediction"] - half, "upper": rows["prediction"] + half})


def test_intervals_are_those_of_an_obvious_loop(panel, small):
    results = walk(panel, small, "fwd_ret_5", metrics=METRICS)
    rows = model_rows(results)
    for _, own in rows.groupby("symbol"):
        expected = obvious_intervals(own, 0.9)
        np.testing.assert_allclose(own[["lower", "upper"]], expected, rtol=1e-12)
        assert expected["lower"].isna().sum() == 5 + 8  # the horizon, and 9 errors for 90 %
    known = rows.dropna(subset=["y", "lower"])
    held = known["y"].between(known["lower"], known["upper"]).mean()
    assert results.metrics.loc["lightgbm", "coverage"] == pytest.approx(held)
    assert abs(held - 0.9) < 0.03
    width = known["upper"] - known["lower"]
    outside = (known["lower"] - known["y"]).clip(lower=0) + (known["y"] - known["upper"]).clip(lower=0)
    assert results.metrics.loc["lightgbm", "mean_width"] == pytest.approx(width.mean())
    assert results.metrics.loc["lightgbm", "interval_score"] == pytest.approx((width + 20 * outside).mean())


def test_only_the_model_has_intervals(panel, small):
    results = walk(panel, small, "fwd_ret_5", metrics=METRICS, intervals=0.8)
    columns = list(results.predictions)
    assert columns[columns.index("prediction") + 1 :][:2] == ["lower", "upper"]
    assert results.predictions.loc[results.predictions["model"] != "lightgbm", ["lower", "upper"]].isna().all(None)
    assert results.metrics.drop("lightgbm")[METRICS[1:]].isna().all(None)
    assert results.manifest["reasons"]["ridge"]["coverage"] == "only the model has intervals"
    assert abs(results.metrics.loc["lightgbm", "coverage"] - 0.8) < 0.04


def test_without_intervals_all_else_is_the_same(panel, small):
    with_them, without = (walk(panel, small, "fwd_ret_5", metrics=METRICS, intervals=share) for share in (0.9, 0.0))
    pd.testing.assert_frame_equal(with_them.predictions.drop(columns=["lower", "upper"]), without.predictions)
    pd.testing.assert_frame_equal(with_them.folds, without.folds)
    assert np.isnan(without.metrics.loc["lightgbm", "coverage"])
    assert without.manifest["reasons"]["lightgbm"]["coverage"] == "intervals is 0"
    binary = walk(panel, small, "y_will_peak")
    assert "lower" not in binary.predictions


def test_positions_have_no_intervals(panel):
    engine = WalkForwardEngine(panel, **WINDOWS)
    config = load_model_config("reward_based", variant="smoke")
    results = engine.run("reward_based", config, None, "fwd_ret_5")
    assert "lower" not in results.predictions
    assert not {"coverage", "interval_score"} & set(results.metrics)
    told = [note for note in summarise([results]).notes if "no intervals" in note]
    assert told == ["reward_based on fwd_ret_5: no intervals; a position is no guess at the label"]
    asked = engine.run("reward_based", config, METRICS, "fwd_ret_5")
    assert asked.metrics["coverage"].isna().all()
    assert asked.manifest["reasons"]["reward_based"]["coverage"] == "a position is no guess at the label"
    both = summarise([results, engine.run("lightgbm", {"n_estimators": 5}, None, "fwd_ret_5")])
    assert both.leaderboard.set_index("model")["coverage"].notna().to_dict()["lightgbm"]


def test_positions_have_no_error(panel):
    engine = WalkForwardEngine(panel, **WINDOWS)
    config = load_model_config("reward_based", variant="smoke")
    results = [engine.run("reward_based", config, None, "fwd_ret_5")]
    results += [engine.run("lightgbm", {"n_estimators": 5}, None, "fwd_ret_5")]
    summary = summarise(results)
    board = summary.leaderboard.set_index("model")
    assert board.loc["reward_based", ["loss", "dm_p", "rival"]].isna().all()
    assert board.loc[["lightgbm", "ridge"], "loss"].notna().all()
    assert "have no error" in board.loc["reward_based", "reason"]
    assert board.loc["reward_based", ["score", "sharpe"]].notna().all()
    own = summary.comparisons.query("model == 'reward_based' or rival == 'reward_based'")
    assert own["loss_gain"].isna().all()
    assert own["sharpe_gain"].notna().any()
    assert "reward_based" not in set(summary.calibration["model"])
    for table in (summary.symbols, summary.years, summary.regimes, summary.fold_scores):
        missing = table.groupby("model", observed=True)["rmse"].agg(lambda values: values.isna().all())
        assert missing["reward_based"]
        assert not missing["lightgbm"]


@pytest.mark.parametrize("day", ["2015-09-01", "2016-02-15"])
def test_no_interval_knows_a_later_label(panel, small, day):
    day = pd.Timestamp(day, tz="UTC")
    rows, other = (
        model_rows(walk(data, small, "fwd_ret_5")) for data in (panel, other_labels(panel, day, "fwd_ret_5"))
    )
    before = rows["timestamp"] < day
    columns = ["symbol", "timestamp", "prediction", "lower", "upper"]
    pd.testing.assert_frame_equal(rows.loc[before, columns], other.loc[before, columns], check_exact=True)
    after = (rows["timestamp"] >= day) & (rows["timestamp"] < day + pd.Timedelta(20, "D"))
    assert (rows.loc[after, "upper"] != other.loc[after, "upper"]).any()


def test_a_label_without_an_end_is_not_learnt_from(panel, small):
    ended = panel.assign(label_end=panel["label_end"].where(panel["symbol"] != "B"))
    rows = model_rows(walk(ended, small, "fwd_ret_5"))
    assert rows.loc[rows["symbol"] == "B", "upper"].isna().all()
    assert rows.loc[rows["symbol"] == "A", "upper"].notna().any()


# ---- calibration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "windows"), [("sigmoid", {}), ("isotonic", {}), ("sigmoid", {"test_days": 30})])
def test_folds_are_calibrated_by_those_before_them(panel, small, monkeypatch, method, windows):
    monkeypatch.setitem(uncertainty._FEWEST, "isotonic", 100)
    raw = walk(panel, small, "y_will_peak", **windows)
    found = walk(panel, small, "y_will_peak", calibration=method, **windows)
    for name in ("lightgbm", "vol_ratio", "logistic"):
        rows, own = model_rows(raw, name), model_rows(found, name)
        expected, _ = calibrate_folds(rows, method)
        early = rows["fold"] <= 2  # with 80 labels at most
        np.testing.assert_allclose(own["prediction"], expected.where(~early, rows["prediction"]), rtol=1e-9)
        assert (own["prediction"] != rows["prediction"]).any()
    for name in ("base_rate", "buy_and_hold"):
        pd.testing.assert_frame_equal(model_rows(found, name), model_rows(raw, name))
    assert found.manifest["notes"][:2] == [
        "lightgbm: fold 0: 0 labels were known before it; 100 are needed",
        "lightgbm: fold 1: 30 labels were known before it; 100 are needed",
    ]
    assert raw.manifest["notes"] == []


def test_money_and_metrics_see_the_calibrated_probabilities(panel, small):
    rule = {"rule": "probability", "upper": 0.3, "lower": 0.0}
    found = walk(panel, small, "y_will_peak", calibration="sigmoid", metrics=["log_loss", "sharpe"], backtest=rule)
    rows = model_rows(found)
    np.testing.assert_array_equal(rows["signal"], (rows["prediction"] > 0.3).astype(float))
    loss = pd.Series(row_loss("binary", rows["y"], rows["prediction"]))
    assert found.metrics.loc["lightgbm", "log_loss"] == pytest.approx(loss.mean())
    np.testing.assert_allclose(found.folds["log_loss"], loss.groupby(rows["fold"]).mean())


@pytest.mark.parametrize("fold", [5, 9])
def test_no_probability_knows_a_later_label(panel, small, fold):
    start = WalkForwardEngine(panel, **WINDOWS).folds[fold].test_start
    day = pd.Timestamp(start, tz="UTC") + pd.offsets.BDay(2)  # the labels of the bars before the fold are not all known
    rows, other = (
        model_rows(walk(data, small, "y_will_peak", calibration="sigmoid"))
        for data in (panel, other_labels(panel, day, "y_will_peak"))
    )
    assert rows.loc[rows["timestamp"] < day, "fold"].max() == fold
    before = rows["timestamp"] < day
    columns = ["symbol", "timestamp", "prediction", "signal", "position"]
    pd.testing.assert_frame_equal(rows.loc[before, columns], other.loc[before, columns], check_exact=True)
    assert (rows.loc[~before, "prediction"] != other.loc[~before, "prediction"]).any()


def test_models_per_symbol_share_the_map(panel, small):
    raw, found = (walk(panel, small, "y_will_peak", scope="symbol", calibration=m) for m in ("none", "sigmoid"))
    expected, _ = calibrate_folds(model_rows(raw), "sigmoid")
    late = model_rows(raw)["fold"] >= 5
    np.testing.assert_allclose(model_rows(found).loc[late, "prediction"], expected[late], rtol=1e-9)


def test_values_are_not_calibrated(panel, small):
    one, other = (walk(panel, small, "fwd_ret_5", calibration=method) for method in ("none", "isotonic"))
    pd.testing.assert_frame_equal(one.predictions, other.predictions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"intervals": 1.0}, r"intervals: must be within \[0, 1\), got 1.0"),
     ({"intervals": -0.1}, r"intervals: must be within \[0, 1\)"),
     ({"calibration": "isotonc"}, "'isotonc' is not a choice; did you mean 'isotonic'")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_run_config("walkforward", settings)


def test_coverage_is_a_metric_of_values(panel, small):
    with pytest.raises(ConfigError, match="no metric 'coverage' of a binary target; it is one of regression targets"):
        walk(panel, small, "y_will_peak", metrics=["coverage"])
