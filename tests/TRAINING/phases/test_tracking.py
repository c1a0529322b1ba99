"""What a run tells TensorBoard and MLflow, and a try that keeps nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from CONFIG.errors import ConfigError
from TRAINING.cli import app

TARGET = "y_will_peak"


def config_file(folder: Path, loggers: list[str]) -> Path:
    path = folder / "phases.yaml"
    path.write_text(yaml.safe_dump({"defaults": {"loggers": loggers}}))
    return path


# MLflow's own tables use what SQLAlchemy 2.1 warns of.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
def test_units_are_told_to_tensorboard_and_mlflow(plan_for, run, tmp_path: Path, monkeypatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    files = (config_file(tmp_path, ["tensorboard", "mlflow"]),)
    plan = plan_for(models=["mlp", "lightgbm"], symbols=["AAA"], target=TARGET, files=files)
    outcome, _ = run(plan, tmp_path / "run")
    unit = outcome.folder / "units/mlp" / TARGET / "AAA"
    scores = json.loads((unit / "manifest.json").read_text())["scores"]["mlp"]
    curve = json.loads((unit / "history.json").read_text())["validation"]["loss"]

    events = EventAccumulator(str(outcome.folder / "tensorboard/mlp" / TARGET / "AAA")).Reload()
    assert [event.value for event in events.Scalars("loss/validation")] == pytest.approx(curve)
    assert [event.step for event in events.Scalars("loss/validation")] == list(range(len(curve)))
    assert events.Scalars("test/auc")[-1].value == pytest.approx(scores["auc"])
    assert (outcome.folder / "tensorboard/lightgbm" / TARGET / "AAA").is_dir()

    with sqlite3.connect(outcome.folder / "mlflow.db") as database:
        names = {name for (name,) in database.execute("select name from runs where status = 'FINISHED'")}
        assert names == {f"{model}/{TARGET}/AAA" for model in ("mlp", "lightgbm")}
        rows = database.execute(
            "select value from metrics join runs using (run_uuid) "
            "where name like 'mlp%' and key = 'loss/validation' order by step"
        )
        assert [value for (value,) in rows] == pytest.approx(curve)


def test_a_logger_that_is_not_installed_is_said_before_anything_is_trained(
    plan_for, run, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("TRAINING.neural.loggers.find_spec", lambda name: None)
    plan = plan_for(models=["lightgbm"], files=(config_file(tmp_path, ["tensorboard"]),))
    with pytest.raises(ConfigError, match=r"tensorboard is not installed; pip install \"barzoo\[tracking\]\""):
        run(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        plan_for(models=["lightgbm"], files=(config_file(tmp_path, ["tensorbord"]),))


def test_a_fast_dev_run_tries_every_model_on_one_symbol_and_keeps_nothing(
    plan_for, run, bars_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    plan = plan_for(models=["lightgbm", "mlp", "lstm"], fast_dev_run=True, variant="balanced")
    assert {unit.symbol for unit in plan.units} == {"AAA"}
    assert [plan.models["lightgbm"]["n_estimators"], *(plan.models[net]["epochs"] for net in ("mlp", "lstm"))] == [
        1
    ] * 3
    monkeypatch.chdir(tmp_path)
    options = ["--models", "mlp", "--input-dir", str(bars_folder), "--variant", "smoke", "--fast-dev-run"]
    done = CliRunner().invoke(app, ["train", *options])
    assert done.exit_code == 0
    assert "nothing was kept" in done.output
    assert not list(tmp_path.iterdir())
    refused = CliRunner().invoke(app, ["train", "--phase", "walkforward", *options])
    assert "--fast-dev-run is of --phase core and sequential" in str(refused.exception)
