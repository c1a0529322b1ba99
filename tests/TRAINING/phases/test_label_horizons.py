"""Targets of further horizons and spans through the phases, and the weights of training rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.labels import average_uniqueness, time_decay
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import BASELINES, Request, make_plan
from TRAINING.phases.windows import make_windows
from TRAINING.runs.manifest import read_sealed


@pytest.fixture
def labels_file(tmp_path: Path):
    path = tmp_path / "labels.yaml"
    path.write_text("defaults:\n  horizons: [20, 10d]\n")
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def windows_of(plan, model: str = "lightgbm"):
    unit = next(unit for unit in plan.units if unit.model == model and unit.symbol == "AAA")
    table = plan.inputs.table("AAA", None)
    return make_windows(unit, plan, table), table


@pytest.mark.parametrize(("target", "end", "bars"), [("y_will_peak", "label_end", 5),
    ("y_will_peak_h20", "label_end_h20", 20), ("fwd_ret_20", "label_end_h20", 20), ("TTH_h10d", "label_end_h10d", 10),
])  # fmt: skip
def test_a_target_is_purged_by_its_own_end_and_held_over_its_own_horizon(plan_for, labels_file, target, end, bars):
    plan = plan_for(target=target, files=(labels_file,))
    windows, table = windows_of(plan)
    known = table[end].dt.tz_localize(None).to_numpy("datetime64[D]")
    training = (known < plan.validation_start) & table[target].notna()
    assert windows.train.y.tolist() == table[target][training].tolist()
    assert windows.train.label_sessions.max() < plan.validation_start
    assert windows.validation.label_sessions.max() < plan.test_start
    assert windows.horizon == bars
    if target != "TTH_h10d":
        assert len(windows.train) == 300 - 60 * target.startswith("y_") - bars


def test_units_of_a_further_horizon_finish_and_hold_their_signals(plan_for, labels_file, run, tmp_path) -> None:
    plan = plan_for(target="fwd_ret_10d", files=(labels_file,), symbols=["AAA"], models=["lightgbm"])
    outcome, _ = run(plan, tmp_path / "run")
    assert outcome.exit_code == 0
    rows = pd.read_parquet(tmp_path / "run/units/lightgbm/fwd_ret_10d/AAA/predictions.parquet")
    signal = np.sign(rows["prediction"]).to_numpy()
    held = [signal[max(0, t - 9) : t + 1].sum() / 10 for t in range(len(signal))]
    np.testing.assert_allclose(rows["position"][2:], held[:-2], atol=1e-12)


def test_tables_of_unlike_horizons_are_named(bars_folder) -> None:
    inputs = open_inputs(str(bars_folder))
    inputs.symbols["BBB"] = replace(inputs.symbols["BBB"], horizon="5d")
    with pytest.raises(ConfigError, match=r"tables of different horizons \(BBB 5d, CCC 5\)"):
        make_plan(Request(), inputs)


def test_a_table_of_ones_own_may_tell_the_end_of_each_horizon(tmp_path: Path, make_bars) -> None:
    bars = make_bars(500)
    bars["f"] = bars["close"].pct_change().fillna(0.0)
    bars["label_end"] = bars["timestamp"].shift(-5)
    bars["fwd_ret_20"] = bars["close"].shift(-20) / bars["close"] - 1
    bars["label_end_h20"] = bars["timestamp"].shift(-20)
    folder = tmp_path / "mine"
    folder.mkdir()
    bars.to_parquet(folder / "AAA.parquet")
    plan = make_plan(Request(target="fwd_ret_20"), open_inputs(str(folder)))
    windows, _ = windows_of(plan)
    assert (len(windows.train), windows.horizon) == (280, 20)


@pytest.mark.parametrize("kind", ["uniqueness", "decay", "both"])
def test_training_rows_are_weighed_and_no_others(plan_for, tmp_path: Path, kind) -> None:
    files = (written(tmp_path / "split.yaml", f"defaults:\n  weights: {kind}\n  half_life: 50\n"),)
    plan = plan_for(target="fwd_ret_5", files=files)
    windows, table = windows_of(plan)
    weight = windows.train.rows.sample_weight
    row = np.arange(295)  # the purge leaves these of 300
    expected = np.ones(295)
    expected *= average_uniqueness(row, row + 5) if kind != "decay" else 1
    expected *= time_decay(294 - row, 50) if kind != "uniqueness" else 1
    np.testing.assert_allclose(weight, expected / expected.mean())
    assert windows.validation.rows.sample_weight is None
    assert windows.test.rows.sample_weight is None

    cut = table[table["timestamp"] < pd.Timestamp(plan.test_start, tz="UTC")]
    unit = next(unit for unit in plan.units if unit.model == "lightgbm")
    np.testing.assert_array_equal(make_windows(unit, plan, cut).train.rows.sample_weight, weight)
    assert windows_of(plan, BASELINES)[0].train.rows.sample_weight is None


def test_weights_change_predictions_and_the_threshold(plan_for, run, tmp_path: Path) -> None:
    options = {"symbols": ["AAA"], "models": ["lightgbm"], "target": "y_will_peak"}
    weighted = plan_for(
        **options, files=(written(tmp_path / "split.yaml", "defaults:\n  weights: decay\n  half_life: 20\n"),)
    )
    for name, plan in (("plain", plan_for(**options)), ("weighted", weighted)):
        run(plan, tmp_path / name)

    def predictions(name: str, model: str) -> pd.DataFrame:
        return pd.read_parquet(tmp_path / name / f"units/{model}/y_will_peak/AAA/predictions.parquet")

    assert not predictions("plain", "lightgbm")["prediction"].equals(predictions("weighted", "lightgbm")["prediction"])
    pd.testing.assert_frame_equal(predictions("plain", BASELINES), predictions("weighted", BASELINES))
    train = windows_of(weighted)[0].train
    record, _ = read_sealed(tmp_path / "weighted/units/lightgbm/y_will_peak/AAA")
    assert record["threshold"] == pytest.approx(np.average(train.y, weights=train.rows.sample_weight))
