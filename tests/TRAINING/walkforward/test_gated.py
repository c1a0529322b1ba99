"""Gates inside a walk-forward: against an obvious loop, and what they must not do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults
from TRAINING.walkforward.gated import gate_results
from TRAINING.walkforward.summary import summarise

WINDOWS = {"train_days": 120, "test_days": 40, "step_days": 40, "min_train_samples": 100}
BLOCK = load_run_config("gates", {"targets": ["y_will_peak"]})
NAME = "lightgbm gated"


def walks(panel: pd.DataFrame, config: dict, *targets: str, **settings) -> list[WalkForwardResults]:
    engine = WalkForwardEngine(panel, **WINDOWS | settings)
    return [engine.run("lightgbm", config, target=target) for target in targets]


def model_rows(results: WalkForwardResults) -> pd.DataFrame:
    return results.predictions[results.predictions["model"] == results.manifest["model"]].reset_index(drop=True)


@pytest.fixture(scope="module")
def walked(panel) -> dict[str, WalkForwardResults]:
    config = {"n_estimators": 20, "learning_rate": 0.1, "min_data_in_leaf": 10, "early_stopping_rounds": 5}
    targets = ("fwd_ret_5", "y_will_peak", "y_will_valley", "MFE")
    return dict(zip(targets, walks(panel, config, *targets), strict=True))


def test_gated_money_is_that_of_an_obvious_loop(walked):
    found = gate_results(walked["fwd_ret_5"], [walked["y_will_peak"]], BLOCK)
    rows, plain = model_rows(found), model_rows(walked["fwd_ret_5"])
    gate = walked["y_will_peak"].predictions
    chance, share = (gate[gate["model"] == name].set_index(["symbol", "timestamp"])["prediction"]
                     for name in ("lightgbm", "base_rate"))  # fmt: skip
    kept, lost, blocked = [], [], 0
    for symbol, own in plain.groupby("symbol"):
        bars = own.to_dict("records")
        signal = [0.0 if bar["signal"] > 0 and chance[symbol, bar["timestamp"]] < share[symbol, bar["timestamp"]]
                  else bar["signal"] for bar in bars]  # fmt: skip
        before = 0.0
        for u in range(len(bars)):
            position = sum(signal[u - lag] for lag in range(2, 7) if u >= lag) / 5  # lag 1, held for 5 bars
            earned = bars[u]["close"] / bars[u - 1]["close"] - 1 if u else 0.0
            expected = position * earned - 5e-4 * abs(position - before)
            assert rows.loc[own.index[u], "net_return"] == pytest.approx(expected, abs=1e-15)
            assert rows.loc[own.index[u], "position"] == pytest.approx(position, abs=1e-15)
            before = position
        for t, bar in enumerate(bars):
            if bar["signal"] > 0:
                blocked += signal[t] == 0
                if t + 6 < len(bars):
                    coming = np.mean([bars[t + j]["close"] / bars[t + j - 1]["close"] - 1 for j in range(2, 7)])
                    (kept if signal[t] else lost).append(coming)
    (line,) = found.manifest["gates"]
    assert (line["gate"], line["rule"], line["side"], line["blocked"]) == ("y_will_peak", "block", "long", blocked)
    assert line["return_kept"] == pytest.approx(np.mean(kept))
    assert line["return_blocked"] == pytest.approx(np.mean(lost))
    assert 0 < blocked < line["rows"] == (plain["signal"] > 0).sum()


def test_a_gated_result_is_like_any_other(walked, tmp_path):
    plain = walked["fwd_ret_5"]
    found = gate_results(plain, [walked["y_will_peak"]], BLOCK)
    rows = model_rows(found)
    assert list(found.metrics.index) == [NAME, "mean", "vol_ratio", "ridge", "buy_and_hold"]
    pd.testing.assert_frame_equal(found.metrics.drop(NAME), plain.metrics.drop("lightgbm"))
    assert found.metrics.loc[NAME, "rank_ic"] == plain.metrics.loc["lightgbm", "rank_ic"]
    net = found.returns[found.returns["model"] == NAME]["net_return"].to_numpy()
    np.testing.assert_allclose(net, rows.groupby("session")["net_return"].mean())
    for metric in ("sharpe", "exposure", "turnover"):
        assert found.metrics.loc[NAME, metric] != plain.metrics.loc["lightgbm", metric]
    assert found.metrics.loc[NAME, "exposure"] == pytest.approx(rows["position"].abs().mean())
    again = WalkForwardResults.load(found.save(tmp_path / "gated"))
    for name in ("folds", "predictions", "returns", "metrics"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name))
    assert again.manifest == found.manifest


def test_an_open_gate_changes_nothing(panel, small):
    member = (panel["symbol"] != "B") | ~panel["timestamp"].between("2015-10-01", "2016-02-01")
    plain, peaks = walks(panel.assign(in_universe=member), small, "fwd_ret_5", "y_will_peak")
    found = gate_results(plain, [peaks], BLOCK | {"threshold": 1e-9})
    assert (plain.predictions["fold"] < 0).any()  # B leaves, and its position runs out
    expected = plain.predictions.replace({"model": {"lightgbm": NAME}})
    pd.testing.assert_frame_equal(found.predictions, expected, rtol=1e-12)
    pd.testing.assert_frame_equal(found.metrics, plain.metrics.rename(index={"lightgbm": NAME}), rtol=1e-9)
    ratios = ["hit_rate", "exposure", "max_drawdown", "rank_ic"]
    pd.testing.assert_frame_equal(found.folds[ratios], plain.folds[ratios], rtol=1e-9)


def test_gates_that_block_all_leave_reasons(walked):
    gates = [walked["y_will_peak"], walked["y_will_valley"]]
    found = gate_results(walked["fwd_ret_5"], gates, BLOCK | {"threshold": 0.999999})
    assert (model_rows(found)[["signal", "position", "net_return"]] == 0).all(None)
    assert np.isnan(found.metrics.loc[NAME, "sharpe"])
    assert found.manifest["reasons"][NAME]["sharpe"] == "the returns do not vary"
    assert [line["gate"] for line in found.manifest["gates"]] == ["y_will_peak", "y_will_valley", "all"]
    assert found.manifest["gates"][2]["exposure_kept"] == 0
    assert found.manifest["gates"][2]["return_kept"] is None


def test_scaled_positions_are_never_larger(walked):
    found = gate_results(walked["fwd_ret_5"], [walked["y_will_peak"]], BLOCK | {"rule": "scale"})
    before, after = model_rows(walked["fwd_ret_5"])["signal"], model_rows(found)["signal"]
    assert (after.abs() <= before.abs()).all()
    assert (after * before >= 0).all()
    assert ((after > 0) & (after < before)).any()
    assert (after[before < 0] == before[before < 0]).all()  # a peak speaks of long positions only


def test_no_gate_knows_a_later_label(panel, small):
    day = pd.Timestamp("2016-02-15", tz="UTC")
    changed, random = panel.copy(), np.random.default_rng(0)
    later = (panel["label_end"] >= day) & panel["y_will_peak"].notna()
    changed.loc[later, "y_will_peak"] = random.integers(0, 2, later.sum()).astype(float)
    rows, other = (model_rows(gate_results(*(lambda plain, peaks: (plain, [peaks]))(
        *walks(data, small, "fwd_ret_5", "y_will_peak")), BLOCK)) for data in (panel, changed))  # fmt: skip
    before = rows["timestamp"] < day
    columns = ["symbol", "timestamp", "signal", "position", "net_return"]
    pd.testing.assert_frame_equal(rows.loc[before, columns], other.loc[before, columns], check_exact=True)
    assert (rows.loc[~before, "signal"] != other.loc[~before, "signal"]).any()


def test_what_the_gate_did_not_predict_is_no_position(walked):
    peaks = walked["y_will_peak"]
    rows = peaks.predictions
    without = WalkForwardResults(peaks.folds, rows[rows["fold"] != 1], peaks.returns, peaks.metrics, peaks.importance,
                                 peaks.manifest)  # fmt: skip
    found = model_rows(gate_results(walked["fwd_ret_5"], [without], BLOCK))
    assert (found.loc[found["fold"] == 1, "signal"] <= 0).all()
    assert (found.loc[found["fold"] == 2, "signal"] > 0).any()


def test_gates_that_make_no_sense(panel, small, walked):
    with pytest.raises(ConfigError, match="gates: there is none; name binary targets"):
        gate_results(walked["fwd_ret_5"], [], BLOCK)
    with pytest.raises(ConfigError, match="gates: MFE is a regression, and a gate needs a probability"):
        gate_results(walked["fwd_ret_5"], [walked["MFE"]], BLOCK)
    with pytest.raises(ConfigError, match="gates: MFE is not traded"):
        gate_results(walked["MFE"], [walked["y_will_peak"]], BLOCK)
    (other,) = walks(panel, small, "y_will_peak", train_days=100)
    with pytest.raises(DataError, match="y_will_peak and fwd_ret_5 differ in train_days"):
        gate_results(walked["fwd_ret_5"], [other], BLOCK)
    (other,) = walks(panel[panel["symbol"] != "A"], small, "y_will_peak")
    with pytest.raises(DataError, match="differ in data"):
        gate_results(walked["fwd_ret_5"], [other], BLOCK)


# ---- the report -----------------------------------------------------------------------------------------------------


def test_the_report_says_what_gates_did_and_how_reliable_intervals_are(walked):
    gated = gate_results(walked["fwd_ret_5"], [walked["y_will_peak"]], BLOCK)
    alone = summarise([walked["fwd_ret_5"], walked["y_will_peak"]])
    summary = summarise([walked["fwd_ret_5"], gated, walked["y_will_peak"]])
    board = summary.leaderboard.set_index(["target", "model"])
    assert board.loc[("fwd_ret_5", NAME), "kind"] == "model"
    rows = model_rows(walked["fwd_ret_5"]).dropna(subset=["y", "lower"])
    held = rows["y"].between(rows["lower"], rows["upper"])
    assert board.loc[("fwd_ret_5", "lightgbm"), ["asked", "coverage"]].tolist() == [0.9, pytest.approx(held.mean())]
    assert board["coverage"].notna().sum() == 1
    peaks = model_rows(walked["y_will_peak"]).dropna(subset="y")
    score = ((peaks["y"] - peaks["prediction"]) ** 2).mean()
    parts = board.loc[("y_will_peak", "lightgbm"), ["miscalibration", "discrimination", "uncertainty"]]
    assert parts @ [1, -1, 1] == pytest.approx(score)
    years = summary.years.query("model == 'lightgbm' and target == 'fwd_ret_5'").set_index("year")["coverage"]
    np.testing.assert_allclose(years, held.groupby(rows["session"].dt.year).mean())
    through = summary.returns.query("model == 'lightgbm' and target == 'fwd_ret_5'").dropna(subset="held")
    window = model_rows(gated).dropna(subset="lower")["session"].nunique() // 4
    last = np.sort(rows["session"].unique())[-window:]
    assert through["held"].iloc[-1] == pytest.approx(held[rows["session"].isin(last)].mean())
    did = summary.comparisons.query("kind == 'gate'")
    assert did[["model", "rival", "blocked"]].to_numpy().tolist() == [
        [NAME, "y_will_peak", gated.manifest["gates"][0]["blocked"]]
    ]
    for name in ("information", "calibration"):  # its predictions are those of the model before the gates
        pd.testing.assert_frame_equal(getattr(summary, name), getattr(alone, name))
    assert (
        summary.settings[f"{NAME} on fwd_ret_5"]
        .splitlines()[0]
        .endswith("gates y_will_peak: block below the class's share")
    )


@pytest.mark.parametrize("scope", ["pooled", "symbol"])
def test_folds_that_are_not_calibrated_are_noted(panel, small, scope):
    engine = WalkForwardEngine(panel, **WINDOWS | {"min_train_samples": 50}, scope=scope)
    engine.settings["calibration"] = "sigmoid"
    summary = summarise([engine.run("lightgbm", small, target="y_will_peak")])
    assert [note for note in summary.notes if "calibrated" in note] == [
        "lightgbm on y_will_peak: 2 of 7 folds are not calibrated; fold 1: 70 labels were known before it; "
        "100 are needed"
    ]
