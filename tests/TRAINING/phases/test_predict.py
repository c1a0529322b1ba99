from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import DataError, IntegrityError
from DATA_PROCESSING.features.build import build_features
from TRAINING.artifacts import load_artifact
from TRAINING.phases.predict import predict_newest


@pytest.fixture(scope="module")
def run_folder(bars_folder, tmp_path_factory) -> Path:
    from TRAINING.cli.terminal import Lines
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, make_plan
    from TRAINING.phases.run import run_plan

    folder = tmp_path_factory.mktemp("predict") / "run"
    request = Request(source=str(bars_folder), variant="smoke", models=["lightgbm"])
    run_plan(make_plan(request, open_inputs(str(bars_folder))), folder, jobs=1, progress=Lines())
    return folder


def test_every_symbol_gets_its_newest_prediction(run_folder: Path, bars_folder: Path) -> None:
    newest = predict_newest(run_folder, str(bars_folder))
    assert newest.problems.empty
    assert len(newest.rows) == 6
    bars = pd.read_csv(bars_folder / "AAA.csv", parse_dates=["timestamp"])
    bars["timestamp"] = bars["timestamp"].dt.as_unit("ns")
    X = build_features(bars)
    row = newest.rows.query("symbol == 'AAA' and target == 'fwd_ret_5'").iloc[0]
    score = load_artifact(run_folder / "units/lightgbm/fwd_ret_5/AAA").predict_score(X)
    assert row["timestamp"] == bars["timestamp"].iloc[-1]
    assert row["prediction"] == score[-1]
    assert row["signal"] == np.sign(score[-1])
    assert row["position"] == pytest.approx(np.sign(score[-5:]).mean())
    assert row["warning"] == ""


def test_predictions_are_those_of_the_run(run_folder: Path, bars_folder: Path) -> None:
    """What predict says of the last bar is what the run's own test rows say."""
    rows = pd.read_parquet(run_folder / "units/lightgbm/y_will_peak/BBB/predictions.parquet")
    newest = predict_newest(run_folder, str(bars_folder), target="y_will_peak").rows.set_index("symbol")
    assert newest.loc["BBB", "prediction"] == rows["prediction"].iloc[-1]


def test_stale_and_missing_symbols_are_named(run_folder: Path, bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_bytes((bars_folder / "AAA.csv").read_bytes())
    pd.read_csv(bars_folder / "BBB.csv")[:-20].to_csv(tmp_path / "BBB.csv", index=False)
    newest = predict_newest(run_folder, str(tmp_path), models=["lightgbm"])
    warnings = newest.rows.set_index("symbol")["warning"].to_dict()
    assert warnings == {"AAA": "", "BBB": "stale: its last bar is 20 sessions old"}
    assert set(newest.problems["symbol"]) == {"CCC"}
    assert newest.problems["reason"].str.contains("has no usable bars of it").all()


def test_a_damaged_unit_is_named_and_the_others_go_on(run_folder: Path, bars_folder: Path, tmp_path: Path) -> None:
    model = run_folder / "units/lightgbm/fwd_ret_5/AAA/model.txt"
    whole = model.read_bytes()
    model.write_bytes(whole.replace(b"leaf_value=", b"leaf_valve=", 1))
    newest = predict_newest(run_folder, str(bars_folder))
    model.write_bytes(whole)
    assert len(newest.rows) == 5
    assert newest.problems.iloc[0]["symbol"] == "AAA"
    assert "truncated or edited" in newest.problems.iloc[0]["reason"]


def test_what_is_no_run_is_said(tmp_path: Path, bars_folder: Path, make_bars, run_folder: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        predict_newest(tmp_path, str(bars_folder))
    make_bars(100).to_csv(tmp_path / "OTHER.csv", index=False)
    with pytest.raises(DataError, match="no prediction"):
        predict_newest(run_folder, str(tmp_path))


def test_swapped_units_are_refused(run_folder: Path, bars_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    units = tmp_path / "run/units/lightgbm/fwd_ret_5"
    (units / "AAA").rename(units / "x")
    (units / "BBB").rename(units / "AAA")
    (units / "x").rename(units / "BBB")
    newest = predict_newest(tmp_path / "run", str(bars_folder))
    assert sorted(newest.problems["symbol"]) == ["AAA", "BBB"]
    assert newest.problems["reason"].str.contains("holds another unit").all()


def test_nothing_but_damaged_models_is_an_integrity_error(run_folder: Path, bars_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    for path in (tmp_path / "run/units").rglob("model.txt"):
        path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="no prediction"):
        predict_newest(tmp_path / "run", str(bars_folder))
