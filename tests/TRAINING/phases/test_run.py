from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import TRAINING.phases.unit as unit_module
from CONFIG.errors import ConfigError, DataError, IntegrityError, LockedError
from DATA_PROCESSING.labeled import read_table, table_path
from TRAINING.evaluation.backtest import backtest, label_signal
from TRAINING.evaluation.metrics import score_money
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import NAME, read_sealed


@pytest.fixture(scope="module")
def finished(bars_folder, tmp_path_factory):
    """A folder with a finished run over three symbols, and its outcome."""
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, make_plan

    folder = tmp_path_factory.mktemp("finished") / "run"
    request = Request(source=str(bars_folder), models=["lightgbm", "xgboost"], variant="smoke")
    plan = make_plan(request, open_inputs(request.source))
    from TRAINING.cli.terminal import Lines
    from TRAINING.phases.run import run_plan

    return run_plan(plan, folder, jobs=1, progress=Lines()), plan


def test_a_run_leaves_what_it_promises(finished) -> None:
    outcome, plan = finished
    names = {path.name for path in outcome.folder.iterdir()}
    assert names >= {
        "config.resolved.yaml", "env.json", "manifest.json", "log.txt", "metrics.jsonl", "units", "leaderboard.csv",
        "units.csv", "report.html", "summary.png", "labeled",
    }  # fmt: skip
    assert outcome.exit_code == 0
    assert len(outcome.results.units) == 12
    board = pd.read_csv(outcome.folder / "leaderboard.csv")
    assert set(board["model"]) == {
        "lightgbm", "xgboost", "base_rate", "mean", "vol_ratio", "logistic", "ridge", "buy_and_hold"
    }  # fmt: skip
    lines = [json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 18
    assert not list(outcome.folder.rglob("*.pkl"))


def test_a_units_numbers_follow_from_its_rows(finished) -> None:
    """Prediction, signal, position, return and Sharpe ratio of one unit, computed again from the table."""
    outcome, plan = finished
    record, files = read_sealed(outcome.folder / "units/lightgbm/y_will_peak/AAA")
    rows = pd.read_parquet(outcome.folder / "units/lightgbm/y_will_peak/AAA/predictions.parquet")
    table = read_table(table_path(outcome.folder / "labeled", "AAA"))
    test = table[table["timestamp"] >= pd.Timestamp(plan.test_start, tz="UTC")]
    assert len(rows) == len(test) == record["test_rows"] == 100

    train = table[table["label_end"] < pd.Timestamp(plan.validation_start, tz="UTC")].dropna(subset="y_will_peak")
    assert record["train_rows"] == len(train)
    assert record["threshold"] == pytest.approx(train["y_will_peak"].mean())

    from TRAINING.artifacts import load_artifact

    prediction = load_artifact(outcome.folder / "units/lightgbm/y_will_peak/AAA").predict_score(test)
    np.testing.assert_array_equal(rows["prediction"], prediction)
    signal = label_signal(prediction, "long_flat", record["threshold"])
    money = backtest(test["close"], signal, horizon=5, execution_lag=1, cost_bps=5.0)
    np.testing.assert_array_equal(rows["net_return"], money.net_return)
    again = score_money(money.net_return, money.position, money.asset_return, 261.0)
    assert record["scores"]["lightgbm"]["sharpe"] == pytest.approx(again.values["sharpe"], rel=0.01)


def test_no_training_row_knows_the_next_window(finished) -> None:
    outcome, plan = finished
    table = read_table(table_path(outcome.folder / "labeled", "BBB"))
    from TRAINING.phases.windows import make_windows

    unit = next(unit for unit in plan.units if unit.symbol == "BBB" and unit.model == "lightgbm")
    data = make_windows(unit, plan, table)
    assert data.train.label_sessions.max() < plan.validation_start <= data.validation.sessions.min()
    assert data.validation.label_sessions.max() < plan.test_start <= data.test.sessions.min()


def test_running_again_trains_nothing(finished, plan_for, run, results_of) -> None:
    outcome, plan = finished
    before = results_of(outcome.folder)
    lines = (outcome.folder / "metrics.jsonl").read_text()
    again, _ = run(plan, outcome.folder)
    assert (outcome.folder / "metrics.jsonl").read_text() == lines
    assert results_of(outcome.folder) == before
    pd.testing.assert_frame_equal(again.results.leaderboard, outcome.results.leaderboard)


def test_two_workers_give_the_same_bytes(finished, plan_for, run, results_of, tmp_path: Path) -> None:
    outcome, plan = finished
    run(plan, tmp_path / "two", jobs=2)
    assert results_of(tmp_path / "two") == results_of(outcome.folder)


def test_shuffled_rows_give_the_same_bytes(finished, bars_folder, plan_for, run, results_of, tmp_path: Path) -> None:
    outcome, plan = finished
    for path in bars_folder.glob("*.csv"):
        pd.read_csv(path, float_precision="round_trip").sample(frac=1, random_state=0).to_csv(
            tmp_path / path.name, index=False
        )
    shuffled = plan_for(source=str(tmp_path))
    assert shuffled.identity == plan.identity
    run(shuffled, tmp_path / "run")
    assert results_of(tmp_path / "run") == results_of(outcome.folder)


def test_killed_runs_resume_to_the_same_bytes(finished, bars_folder, run, results_of, tmp_path: Path) -> None:
    """kill -9 after some units, twice, then a run to the end equals one that was never cut off."""
    outcome, plan = finished
    folder = tmp_path / "run"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from contextlib import contextmanager\n"
        "from TRAINING.phases.inputs import open_inputs\n"
        "from TRAINING.phases.plan import Request, make_plan\n"
        "from TRAINING.phases.run import run_plan\n"
        "class Killer:\n"
        "    @contextmanager\n"
        "    def stage(self, what, total):\n"
        "        done = []\n"
        "        def step(text):\n"
        "            done.append(text)\n"
        "            if what == sys.argv[3] and len(done) == int(sys.argv[4]):\n"
        "                os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield step\n"
        "request = Request(source=sys.argv[1], variant='smoke', models=['lightgbm', 'xgboost'])\n"
        "plan = make_plan(request, open_inputs(sys.argv[1]))\n"
        "run_plan(plan, Path(sys.argv[2]), jobs=2, progress=Killer())\n"
    )
    for stage, steps in (("label", "2"), ("train", "5")):
        command = [sys.executable, "-c", code, str(bars_folder), str(folder), stage, steps]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    finished_before = len(list(folder.glob(f"units/*/*/*/{NAME}")))
    assert 5 <= finished_before < 18
    resumed, _ = run(plan, folder)
    assert results_of(folder) == results_of(outcome.folder)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) <= 18 + 2, "finished units were not trained again"
    assert resumed.exit_code == 0


def test_damaged_units_and_tables_are_made_again(finished, run, results_of) -> None:
    outcome, plan = finished
    before = results_of(outcome.folder)
    model = outcome.folder / "units/xgboost/fwd_ret_5/BBB/model.ubj"
    model.write_bytes(model.read_bytes()[:100])
    table = table_path(outcome.folder / "labeled", "CCC")
    table.write_bytes(table.read_bytes()[:1000])
    run(plan, outcome.folder)
    assert results_of(outcome.folder) == before


def test_one_bad_symbol_costs_only_itself(bars_folder, plan_for, run, tmp_path: Path) -> None:
    for path in bars_folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "DDD.csv").write_text("timestamp,open,high,low,volume\n2015-01-01,1,1,1,1\n")
    flat = pd.read_csv(tmp_path / "CCC.csv")
    flat[["open", "high", "low", "close"]] = 50.0
    flat.to_csv(tmp_path / "CCC.csv", index=False)
    outcome, _ = run(plan_for(source=str(tmp_path), target="fwd_ret_5"), tmp_path / "run")
    units = outcome.results.units.set_index(["symbol", "model"])
    assert outcome.exit_code == 6
    assert units.loc[("AAA", "lightgbm"), "status"] == "done"
    assert units.loc[("CCC", "lightgbm"), "status"] == "failed"
    assert "constant" in units.loc[("CCC", "lightgbm"), "reason"]
    assert units.loc[("DDD", ""), "status"] == "failed"
    assert "no column close" in units.loc[("DDD", ""), "reason"]
    assert "no column close" in (outcome.folder / "report.html").read_text()


def test_an_unexpected_error_costs_only_its_unit(plan_for, run, tmp_path: Path, monkeypatch) -> None:
    real = unit_module.SingleTaskStrategy.train_many

    def sometimes(self, datasets, folder):
        if datasets[0][0].X.index[0][0] == "BBB" and self.model_name == "xgboost":
            raise RuntimeError("a library broke")
        return real(self, datasets, folder)

    monkeypatch.setattr(unit_module.SingleTaskStrategy, "train_many", sometimes)
    outcome, _ = run(plan_for(target="fwd_ret_5"), tmp_path / "run")
    failed = outcome.results.units.query("status == 'failed'")
    assert list(zip(failed["model"], failed["symbol"], failed["reason"], strict=True)) == [
        ("xgboost", "BBB", "RuntimeError: a library broke")
    ]
    assert "Traceback" in (outcome.folder / "log.txt").read_text()
    monkeypatch.undo()
    again, _ = run(plan_for(target="fwd_ret_5"), tmp_path / "run")
    assert again.exit_code == 0, "running again tries what failed"


def test_an_interrupt_finishes_what_runs_and_resumes(finished, plan_for, run, results_of, tmp_path: Path) -> None:
    outcome, plan = finished
    stop = threading.Event()
    cut, listener = run(
        plan, tmp_path / "run", on_step=lambda text: text.startswith("xgboost") and stop.set(), stop=stop
    )
    assert (cut.exit_code, cut.interrupted) == (130, True)
    assert not (tmp_path / "run" / "report.html").exists()
    done = [text for text in listener.stages["train"] if text.endswith("done")]
    assert 0 < len(done) < 18
    run(plan, tmp_path / "run")
    assert results_of(tmp_path / "run") == results_of(outcome.folder)


def test_another_plan_keeps_out_unless_fresh(plan_for, run, tmp_path: Path) -> None:
    first, other = plan_for(symbols=["AAA"], target="fwd_ret_5"), plan_for(symbols=["BBB"], target="fwd_ret_5")
    run(first, tmp_path / "run")
    with pytest.raises(ConfigError, match="holds the results of another plan"):
        run(other, tmp_path / "run")
    assert (tmp_path / "run/units/lightgbm/fwd_ret_5/AAA").exists(), "nothing is lost"
    run(other, tmp_path / "run", fresh=True)
    assert not (tmp_path / "run/units/lightgbm/fwd_ret_5/AAA").exists()


def test_a_damaged_run_manifest_is_said(plan_for, run, tmp_path: Path) -> None:
    plan = plan_for(symbols=["AAA"], target="fwd_ret_5")
    run(plan, tmp_path / "run")
    (tmp_path / "run" / NAME).write_text("{")
    with pytest.raises(IntegrityError, match="--fresh"):
        run(plan, tmp_path / "run")
    assert run(plan, tmp_path / "run", fresh=True)[0].exit_code == 0


def test_a_second_run_in_the_folder_is_kept_out(plan_for, run, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError):
        run(plan_for(), tmp_path)


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(plan_for, run, tmp_path: Path, monkeypatch) -> None:
    plan = plan_for(target="fwd_ret_5")
    real, written = unit_module.write_sealed, []

    def fills_up(folder, *arguments):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(folder)
        real(folder, *arguments)

    monkeypatch.setattr(unit_module, "write_sealed", fills_up)
    with pytest.raises(ConfigError, match="No space left on device.*finished units are kept"):
        run(plan, tmp_path / "run")
    monkeypatch.undo()
    _, listener = run(plan, tmp_path / "run")
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 9


def test_labeled_tables_serve_as_input(finished, plan_for, run, tmp_path: Path) -> None:
    """Training on the tables a run made gives the same scores as training on the bars."""
    outcome, _ = finished
    plan = plan_for(source=str(outcome.folder / "labeled"))
    assert plan.inputs.kind == "labeled tables"
    again, _ = run(plan, tmp_path / "run")
    pd.testing.assert_frame_equal(again.results.leaderboard, outcome.results.leaderboard)
    assert not (tmp_path / "run" / "labeled").exists()


def test_leaderboard_is_ranked_and_beats_needs_an_interval(finished) -> None:
    board = finished[0].results.leaderboard
    assert board["sharpe"].dropna().is_monotonic_decreasing
    models = board[board["kind"] == "model"]
    assert set(models["beats_score"]) == {""}, "random walks: nothing is beaten"
    assert board.loc[board["model"] == "base_rate", "sharpe"].isna().all()
    assert board.loc[board["model"] == "base_rate", "reason"].str.contains("sharpe|position|vary").all()


def test_the_input_is_never_inside_the_output(finished, plan_for, run) -> None:
    outcome, _ = finished
    tables = outcome.folder / "labeled"
    plan = plan_for(source=str(tables), target="fwd_ret_5")
    for folder in (outcome.folder, tables):
        with pytest.raises(ConfigError, match="holds the input|not a run folder"):
            run(plan, folder, fresh=True)
    assert len(list(tables.iterdir())) == 3


def test_nothing_to_train_is_an_error(plan_for, run, tmp_path: Path) -> None:
    few = tmp_path / "phases.yaml"
    few.write_text("defaults:\n  min_train_rows: 5000\n")
    with pytest.raises(DataError, match="nothing to train, every unit is skipped; too short: 300 rows"):
        run(plan_for(files=(few,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configured_task_cannot_be_compared(plan_for, run, tmp_path: Path) -> None:
    mine = tmp_path / "lightgbm.yaml"
    mine.write_text("defaults:\n  task: regression\n")
    outcome, _ = run(plan_for(files=(mine,), models=None, target="y_will_peak"), tmp_path / "run")
    assert set(outcome.results.units["status"]) == {"failed"}
    assert outcome.results.units["reason"].str.contains("asks for task: regression, but y_will_peak is binary").all()
    assert "lightgbm" not in set(outcome.results.leaderboard["model"])


def test_intraday_bars_are_annualised_as_sessions_are(make_bars, plan_for, run, tmp_path: Path) -> None:
    """Buy and hold of one symbol: the unit's Sharpe ratio agrees with its portfolio's, whatever the bars' length."""
    bars = make_bars(1400, seed=3)
    days = pd.bdate_range("2015-01-01", periods=200, tz="UTC")
    bars["timestamp"] = [day + pd.Timedelta(hours=hour) for day in days for hour in range(13, 20)]
    (tmp_path / "bars").mkdir()
    bars.to_csv(tmp_path / "bars" / "INTRA.csv", index=False)
    outcome, _ = run(plan_for(source=str(tmp_path / "bars"), target="fwd_ret_5", models=["lightgbm"]), tmp_path / "run")
    record, _ = read_sealed(tmp_path / "run/units/baselines/fwd_ret_5/INTRA")
    board = outcome.results.leaderboard.set_index("model").loc["buy_and_hold"]
    assert record["scores"]["buy_and_hold"]["sharpe"] == pytest.approx(board["sharpe"], rel=0.25)
    assert record["scores"]["buy_and_hold"]["turnover"] == pytest.approx(board["turnover"])


def test_a_lost_log_line_comes_back(finished, run) -> None:
    outcome, plan = finished
    whole = (outcome.folder / "metrics.jsonl").read_text()
    (outcome.folder / "metrics.jsonl").write_text(whole[: len(whole) // 2])
    run(plan, outcome.folder)
    assert (outcome.folder / "metrics.jsonl").read_text() == whole
