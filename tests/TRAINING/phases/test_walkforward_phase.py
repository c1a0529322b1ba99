"""The walk-forward as a phase: folders that resume and grow, and what the command says."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from CONFIG.errors import ConfigError, DataError, IntegrityError
from TRAINING.cli import app
from TRAINING.phases.finished import open_run
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.run import run_plan
from TRAINING.phases.walkforward import make_walk_plan, run_walk, write_audited_report
from TRAINING.walkforward import WalkForwardResults

WINDOWS = {"train_days": 200, "test_days": 40, "step_days": 40, "min_train_samples": 100}


@pytest.fixture
def walk_plan(bars_folder: Path):
    def make(source: Path = bars_folder, targets=("fwd_ret_5",), **overrides):
        request = Request("walkforward", str(source), variant="smoke")
        return make_walk_plan(request, open_inputs(request.source), list(targets), WINDOWS | overrides)

    return make


class Quiet:
    """Counts the steps of each stage, and can stop."""

    def __init__(self, stop: threading.Event | None = None, after: int = 0):
        self.steps: list[str] = []
        self.stop, self.after = stop, after

    def stage(self, what: str, total: int):
        from contextlib import contextmanager

        @contextmanager
        def lasting():
            yield self.step

        return lasting()

    def step(self, text: str) -> None:
        self.steps.append(text)
        if self.stop and len(self.steps) >= self.after:
            self.stop.set()


def files(folder: Path) -> dict[str, bytes]:
    paths = [*folder.glob("results/**/*.*"), folder / "leaderboard.csv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_run_has_results_beside_the_baselines(walk_plan, tmp_path):
    plan = walk_plan(targets=("fwd_ret_5", "y_will_peak"), scope="both")
    outcome = run_walk(plan, tmp_path / "run", jobs=2, progress=Quiet())
    assert outcome.exit_code == 0
    assert set(outcome.results) == {("lightgbm", target, scope) for target in ("fwd_ret_5", "y_will_peak")
                                    for scope in ("pooled", "symbol")}  # fmt: skip
    board = pd.read_csv(tmp_path / "run" / "leaderboard.csv", keep_default_na=False)
    peaks = board[board["target"] == "y_will_peak"]
    scoped = ("lightgbm", "base_rate", "vol_ratio", "logistic")
    names = [f"{name} ({scope})" for name in scoped for scope in ("pooled", "symbol")]
    assert set(peaks["model"]) == {*names, "buy_and_hold"}
    assert set(peaks.loc[peaks["kind"] == "model", "model"]) == {"lightgbm (pooled)", "lightgbm (symbol)"}
    for (model, target, scope), found in outcome.results.items():
        row = board[(board["model"] == f"{model} ({scope})") & (board["target"] == target)].iloc[0]
        assert float(row["sharpe"]) == pytest.approx(found.metrics.loc[model, "sharpe"], rel=1e-12)
    again = WalkForwardResults.load(tmp_path / "run" / "results" / "lightgbm" / "fwd_ret_5" / "pooled")
    pd.testing.assert_frame_equal(again.metrics, outcome.results["lightgbm", "fwd_ret_5", "pooled"].metrics)


def test_a_run_that_was_stopped_resumes_to_the_same_files(walk_plan, tmp_path):
    whole = run_walk(walk_plan(), tmp_path / "whole", jobs=1, progress=Quiet())
    stop = threading.Event()
    half = run_walk(walk_plan(), tmp_path / "half", jobs=1, progress=Quiet(stop, 6), stop=stop)
    assert (half.interrupted, half.exit_code, half.results) == (True, 130, {})
    assert not (tmp_path / "half" / "leaderboard.csv").exists()
    kept = len(list((tmp_path / "half" / "folds").rglob("manifest.json")))
    assert 0 < kept < len(whole.results["lightgbm", "fwd_ret_5", "pooled"].folds)
    resumed = run_walk(walk_plan(), tmp_path / "half", jobs=2, progress=Quiet())
    assert resumed.exit_code == 0
    assert files(tmp_path / "half") == files(tmp_path / "whole")


def test_every_run_on_a_history_counts(walk_plan, bars_folder, tmp_path):
    first = run_walk(walk_plan(), tmp_path / "first", jobs=1, progress=Quiet())
    again = run_walk(walk_plan(), tmp_path / "first", jobs=1, progress=Quiet())
    other = run_walk(walk_plan(targets=("fwd_ret_5", "MFE")), tmp_path / "other", jobs=1, progress=Quiet())
    request = Request("core", str(bars_folder), ["lightgbm", "xgboost"], target="fwd_ret_5", variant="smoke")
    run_plan(make_plan(request, open_inputs(request.source)), tmp_path / "core", jobs=1, progress=Quiet())
    last = run_walk(walk_plan(), tmp_path / "first", jobs=1, progress=Quiet())
    counted = [outcome.leaderboard["trials"].max() for outcome in (first, again, other, last)]
    assert counted == [1, 1, 3, 5]  # two models on one target by the core phase
    deflated = [outcome.leaderboard.set_index("model").loc["lightgbm", "dsr"] for outcome in (first, last)]
    assert deflated[1] < deflated[0]
    assert len(list((tmp_path / "ledger").glob("*.jsonl"))) == 1


def test_an_audit_enters_the_report(walk_plan, tmp_path):
    run = tmp_path / "run"
    run_walk(walk_plan(targets=("fwd_ret_5", "y_will_peak")), run, jobs=2, progress=Quiet())
    before = files(run)
    verdicts = pd.DataFrame({"check": ["canary"], "verdict": ["passed"], "reason": ["6 of 6 planted leaks"]})
    assert "6 of 6 planted leaks" not in (run / "report.html").read_text()
    write_audited_report(run, verdicts)
    assert "6 of 6 planted leaks" in (run / "report.html").read_text()
    assert files(run) == before
    (run / "results" / "lightgbm" / "fwd_ret_5" / "pooled" / "metrics.json").write_text("{}")
    with pytest.raises(IntegrityError, match="metrics.json"):
        write_audited_report(run, verdicts)


def test_an_audited_run_keeps_its_ledger_by_whatever_name_it_is_called(walk_plan, tmp_path, monkeypatch):
    run_walk(walk_plan(), tmp_path / "other", jobs=2, progress=Quiet())
    run_walk(walk_plan(), tmp_path / "run", jobs=2, progress=Quiet())
    (ledger,) = tmp_path.glob("ledger/*.jsonl")
    before = ledger.read_text()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path / "run")
    for name in (Path("."), Path("../link")):
        write_audited_report(name, pd.DataFrame({"check": ["a"], "verdict": ["passed"], "reason": [str(name)]}))
        written = Path("report.md").read_text()
        assert "trials counted: 2" in written
    assert ledger.read_text() == before
    assert not Path("ledger").exists()


def test_a_run_that_stops_on_new_bars_is_no_finished_run(walk_plan, tmp_path, bars_folder):
    source, run, stop = tmp_path / "bars", tmp_path / "run", threading.Event()
    source.mkdir()
    for path in bars_folder.glob("*.csv"):
        (source / path.name).write_text("\n".join(path.read_text().splitlines()[:-60]) + "\n")
    run_walk(walk_plan(source), run, jobs=1, progress=Quiet())
    open_run(run)
    for path in bars_folder.glob("*.csv"):
        (source / path.name).write_text(path.read_text())
    outcome = run_walk(walk_plan(source), run, jobs=1, progress=Quiet(stop, 4), stop=stop)
    assert outcome.interrupted
    with pytest.raises(IntegrityError, match="half finished"):
        open_run(run)
    with pytest.raises(ConfigError, match="the run was not finished"):
        write_audited_report(run, pd.DataFrame(columns=["check", "verdict", "reason"]))
    assert "is not written: the run did not finish" in audited(run)
    run_walk(walk_plan(source), run, jobs=1, progress=Quiet())
    assert open_run(run).manifest["bars"]["AAA"]["rows"] == 500
    assert "did not finish" not in audited(run)


def audited(run: Path) -> str:
    """What the audit of a run's folder says."""
    done = CliRunner().invoke(app, ["audit", str(run), "--null-runs", "5"])
    assert "canary" in done.stdout, done.exception
    return done.stderr


def test_new_bars_go_to_the_same_folder(walk_plan, bars_folder, tmp_path):
    source = tmp_path / "bars"
    source.mkdir()
    for path in bars_folder.iterdir():
        pd.read_csv(path).iloc[:-40].to_csv(source / path.name, index=False)
    before = walk_plan(source)
    run_walk(before, tmp_path / "run", jobs=1, progress=Quiet())
    for path in bars_folder.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    after = walk_plan(source)
    assert after.run_id == before.run_id
    outcome = run_walk(after, tmp_path / "run", jobs=1, progress=Quiet())
    fresh = run_walk(after, tmp_path / "fresh", jobs=1, progress=Quiet())
    key = "lightgbm", "fwd_ret_5", "pooled"
    pd.testing.assert_frame_equal(outcome.results[key].predictions, fresh.results[key].predictions)
    with pytest.raises(ConfigError, match="holds the results of another plan"):
        run_walk(walk_plan(source, step_days=20), tmp_path / "run", jobs=1, progress=Quiet())


def test_what_cannot_be_planned(walk_plan, bars_folder):
    with pytest.raises(ConfigError, match="--scope: 'pool' is unknown; did you mean 'pooled'"):
        walk_plan(scope="pool")
    with pytest.raises(ConfigError, match="no target 'fwd_ret_6'; did you mean 'fwd_ret_5'"):
        walk_plan(targets=("fwd_ret_6",))
    with pytest.raises(ConfigError, match="train_days: must be within"):
        walk_plan(train_days=0)


def test_no_fold_is_an_error_with_the_numbers(walk_plan, tmp_path):
    with pytest.raises(DataError, match="one fold needs 640 sessions .* the data have 500"):
        run_walk(walk_plan(train_days=600), tmp_path / "run", jobs=1, progress=Quiet())
    with pytest.raises(DataError, match=r"min_train_samples \(5000\)"):
        run_walk(walk_plan(min_train_samples=5000), tmp_path / "other", jobs=1, progress=Quiet())


def test_the_command(bars_folder, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from TRAINING.cli import app

    monkeypatch.chdir(tmp_path)
    common = ["walkforward", str(bars_folder), "--variant", "smoke", "--train-days", "200", "--test-days", "40",
              "--step-days", "40", "--targets", "fwd_ret_5"]  # fmt: skip
    planned = CliRunner().invoke(app, [*common, "--dry-run", "--json"])
    folds = json.loads(planned.stdout)["folds"]
    assert len(folds) == (500 - 240) // 40 + 1
    assert not Path("runs").exists()
    done = CliRunner().invoke(app, [*common, "--json", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {row["model"] for row in told["leaderboard"]} == {"lightgbm", "mean", "vol_ratio", "ridge", "buy_and_hold"}
    assert Path(told["run"], "leaderboard.csv").exists()
    shown = CliRunner().invoke(app, common)
    assert "fwd_ret_5" in shown.stdout
    assert "lightgbm" in shown.stdout
