"""The command as a user types it: exit codes, one-line errors, nothing written by a dry run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--phase", "sequental"], 2, "no phase 'sequental'; did you mean 'sequential'"),
        (["train", "--models", "catboost"], 2, "no model 'catboost'"),
        (["train", "--models", ","], 2, "--models: no name in ','"),
        (["train", "--variant", "agressive"], 2, "did you mean 'aggressive'"),
        (["train", "--input-dir", "nowhere"], 3, "nowhere: no such file or folder"),
        (["train", "--input-dir", "."], 3, "holds no .csv or .parquet file"),
        (["train", "--target", "y_peak"], 2, "no target 'y_peak'"),
        (["train", "--symbols", "AAPL,MSTF"], 2, "no symbol 'MSTF'; did you mean 'MSFT'"),
        (["train", "--jobs", "0"], 2, "greater than or equal to 1"),
        (["train", "--moddels", "x"], 2, "No such option"),
        (["predict", "nowhere", "--bars", "demo"], 4, "manifest.json: missing"),
        (["config", "show", "lightgbn"], 2, "did you mean 'lightgbm'"),
        (["config", "show", "lightgbm", "--set", "learning_rate"], 2, "write it as key=value"),
        (["config", "show", "lightgbm", "--set", "learning_rat=0.1"], 2, "did you mean 'learning_rate'"),
        (["config", "show", "lightgbm", "--set", "learning_rate=fast"], 2, "learning_rate"),
        (["config", "show", "backtest", "--variant", "smoke"], 2, "run configs have no variants"),
        (["data", "check", "nowhere"], 3, "no such file or folder"),
        (
            ["data", "build", ".", "--output-dir", "x"],
            2,
            "--output-dir: x is within ., where tables would",
        ),
        (["data", "build", "demo", "--output-dir", "x", "--horizon", "0"], 2, "must be within [1, 1000], got 0"),
        (
            ["data", "build", "demo", "--output-dir", "x", "--horizon", "5x"],
            2,
            "a span such as 30m, 4h or 5d, got '5x'",
        ),
        (["data", "build", "demo", "--output-dir", "x", "--horizon", "30m"], 2, "30m is shorter than a bar (1d)"),
        (["data", "build", "demo", "--output-dir", "x", "--features", "all"], 2, "'all' is not a choice"),
        (["data", "build", "demo", "--output-dir", "x", "--features-from", "f.py"], 2, "features_from: f.py: No such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_clear_line(tmp_path: Path, arguments: list, code: int, message: str, barzoo) -> None:
    done = barzoo(*arguments, cwd=tmp_path)
    assert done.returncode == code
    flat = " ".join(done.stderr.replace("│", " ").split())
    assert message in flat
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_debug_shows_the_traceback(tmp_path: Path, barzoo) -> None:
    done = barzoo("train", "--models", "catboost", "--debug", cwd=tmp_path)
    assert "Traceback" in done.stderr
    assert "ConfigError" in done.stderr


def test_unknown_variant_of_the_environment_warns_in_a_run_over_many(tmp_path: Path, barzoo) -> None:
    done = barzoo("train", "--dry-run", "--symbols", "AAPL", cwd=tmp_path, MODEL_VARIANT="mine")
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stderr
    one = barzoo("train", "--dry-run", "--models", "lightgbm", cwd=tmp_path, MODEL_VARIANT="mine")
    assert one.returncode == 2


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, barzoo) -> None:
    done = barzoo("train", "--dry-run", "--variant", "smoke", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("AAPL", "FB", "skipped: too short", "32 to train, 8 skipped", "memory", "time", "2000-03-01"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(barzoo("train", "--dry-run", "--variant", "smoke", "--json", cwd=tmp_path).stdout)
    assert len(plan["units"]) == 40


def test_train_then_predict_on_the_demo(tmp_path: Path, barzoo) -> None:
    done = barzoo("train", "--variant", "smoke", "--models", "lightgbm", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reading demo" in done.stderr
    about = json.loads(done.stdout)
    assert about["units"] == {"done": 8, "skipped": 2}
    assert "buy_and_hold" in Path(tmp_path, about["report"]).read_text("utf-8")
    assert {"lightgbm", "buy_and_hold"} <= {row["model"] for row in about["leaderboard"]}
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    predicted = barzoo("predict", about["run"], "--bars", "demo", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert "2013-03-01" in predicted.stdout
    assert list(Path(tmp_path, about["run"]).glob("predictions-2013-03-01.csv"))


def test_tables_that_were_built_become_the_default_input(tmp_path: Path, barzoo) -> None:
    built = barzoo("data", "build", "demo", "--symbols", "AAPL,IBM", "--output-dir", "DATA_PROCESSING/data/labeled",
                   "--horizon", "3", cwd=tmp_path)  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "2 tables made" in built.stdout
    again = barzoo("data", "build", "demo", "--symbols", "AAPL,IBM", "--output-dir", "DATA_PROCESSING/data/labeled",
                   "--horizon", "3", cwd=tmp_path)  # fmt: skip
    assert "0 tables made, 2 up to date" in again.stdout
    plan = barzoo("train", "--dry-run", "--variant", "smoke", cwd=tmp_path)
    assert "reading DATA_PROCESSING/data/labeled" in plan.stderr
    assert "fwd_ret_3" in plan.stdout


def test_an_interrupted_run_exits_130_and_resumes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "TRAINING",
        "train",
        "--models",
        "lightgbm",
        "--target",
        "fwd_ret_5",
        "--jobs",
        "1",
    ]
    with subprocess.Popen(
        [*command, "--variant", "smoke"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as child:  # fmt: skip
        for line in child.stderr:
            if line.startswith("train 1/"):
                child.send_signal(signal.SIGINT)
                break
        rest = child.stderr.read()
    assert child.returncode == 130, rest
    assert "run the same command again to resume" in rest
    resumed = subprocess.run(
        [*command, "--variant", "smoke"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    (report,) = tmp_path.glob("runs/*/report.html")
    assert report.read_text("utf-8").count('<svg class="plot"') > 5


def test_the_script_finds_python_and_passes_everything_on(tmp_path: Path) -> None:
    script = ROOT / "train_all_symbols.sh"
    for path in (script, ROOT / "TRAINING" / "train_all_symbols.sh"):
        done = subprocess.run(
            ["bash", str(path), "--phase", "nonsense"], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        )  # fmt: skip
        assert done.returncode == 2
        assert "no phase 'nonsense'" in done.stderr
    alone = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert "not installed" in alone.stderr or alone.returncode == 0


def test_models_and_config_show_read_well(tmp_path: Path, barzoo) -> None:
    models = barzoo("models", cwd=tmp_path)
    assert models.returncode == 0
    for word in ("lightgbm", "xgboost", "conservative", "balanced (default)", "aggressive", "smoke"):
        assert word in models.stdout
    shown = json.loads(
        barzoo(
            "config", "show", "lightgbm", "--variant", "conservative", "--set", "seed=3", "--json", cwd=tmp_path
        ).stdout
    )
    assert shown["values"]["seed"] == 3
    assert shown["origins"]["seed"] == "override"
    assert shown["origins"]["num_leaves"].startswith("CONFIG/model_config/lightgbm.yaml:")


def test_data_check_tells_what_is_wrong(tmp_path: Path, make_bars, barzoo) -> None:
    bars = make_bars(50).astype({"close": object})
    bars.loc[7, "close"] = "oops"
    bars.loc[9, "low"] = 1e6
    bars.to_csv(tmp_path / "AAA.csv", index=False)
    done = barzoo("data", "check", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 text in close" in done.stdout
    told = json.loads(barzoo("data", "check", ".", "--json", cwd=tmp_path).stdout)
    assert told["symbols"][0]["bad_rows"] == 2
    assert {row["row"] for row in told["bad_rows"]} == {8, 10}
