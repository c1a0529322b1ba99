"""What ``barzoo rerun`` and ``barzoo report diff`` say, and their exit codes; the comparison has tests of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from CONFIG.errors import ConfigError, DataError
from TRAINING.cli import app

WALK = ["--targets", "fwd_ret_5", "--variant", "smoke", "--train-days", "250", "--test-days", "120", "--step-days",
        "120", "--symbols", "AAA", "--config", "walkforward.yaml"]  # fmt: skip


@pytest.fixture(scope="module")
def place(bars_folder: Path, tmp_path_factory) -> Path:
    """A folder with bars and two walk-forwards of them."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(bars_folder, place / "bars")
    (place / "walkforward.yaml").write_text("defaults: {min_train_samples: 100}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, more in (("runs/one", []), ("runs/two", ["--seed", "3"])):
            done = CliRunner().invoke(app, ["walkforward", "bars", *WALK, "--output-dir", name, *more])
            assert done.exit_code == 0, done.output
    return place


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_the_same(here):
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    done = CliRunner().invoke(app, ["rerun", "runs/one"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("the same: ")
    assert done.stdout.endswith(" values of 1 units, bit for bit\n")
    # Nothing is left there, and no trial was counted.
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_different(here, tmp_path):
    run, bars = tmp_path / "run", tmp_path / "bars"
    shutil.copytree("runs/one", run)
    shutil.copytree("bars", bars)
    lines = (bars / "AAA.csv").read_text().splitlines()
    (bars / "AAA.csv").write_text("\n".join(lines[:-60]) + "\n")
    arguments = ["rerun", str(run), "--source", str(bars)]
    done = CliRunner().invoke(app, [*arguments, "--output-dir", str(tmp_path / "again")])
    assert done.exit_code == 1, done.output
    assert "500 from 2015-01-01 to 2016-11-30" in done.stdout
    assert "only in the first run" in done.stdout
    assert "the above has changed" in done.stdout
    assert (tmp_path / "again" / "leaderboard.csv").exists()
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["same"] is False
    assert [change["where"] for change in found["changes"]] == ["AAA"]
    assert {"unit", "table", "column", "values", "differing", "largest", "first"} == set(found["differences"][0])


def test_errors_are_those_of_the_house(here, tmp_path):
    for arguments, error in (
        (["rerun", "runs/none"], ConfigError),
        (["rerun", "runs/one", "--source", str(tmp_path / "none")], DataError),
        (["rerun", "runs/one", "--output-dir", "runs/two"], ConfigError),
        (["report", "diff", "runs/one", "bars"], ConfigError),
    ):
        assert isinstance(CliRunner().invoke(app, arguments).exception, error)


def test_two_runs_side_by_side(here):
    done = CliRunner().invoke(app, ["report", "diff", "runs/one", "runs/two"])
    assert done.exit_code == 0, done.output
    assert "lightgbm seed" in done.stdout
    assert "sharpe, b - a" in done.stdout
    assert "chance" in done.stdout
    found = json.loads(CliRunner().invoke(app, ["report", "diff", "runs/one", "runs/two", "--json"]).stdout)
    assert found["changes"] == [{"kind": "seed", "where": "lightgbm", "what": "seed", "a": 0, "b": 3}]
    metrics = pd.DataFrame(found["metrics"]).set_index(["model", "metric"])
    for name in "ab":
        board = pd.read_csv(Path("runs", {"a": "one", "b": "two"}[name], "leaderboard.csv")).set_index("model")
        assert metrics.loc[("lightgbm", "sharpe"), name] == pytest.approx(board.loc["lightgbm", "sharpe"])
    assert found["sharpe"][0]["low"] < found["sharpe"][0]["high"]
    same = CliRunner().invoke(app, ["report", "diff", "runs/one", "runs/one"]).stdout
    assert "the same data, configuration, seed and code" in same
    assert "the same returns" in same
    assert "may be chance" not in same
