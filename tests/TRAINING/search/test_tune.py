"""Tuning end to end: values, folds, pruning, resuming, and what it leaves behind."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError, IntegrityError, LockedError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request
from TRAINING.phases.run import ledger_of
from TRAINING.runs.store import RunFolder
from TRAINING.search import run as tuning
from TRAINING.search.objective import FoldResult, disutility
from TRAINING.search.plan import engine_of, make_tune_plan
from TRAINING.search.study import Snapshot, TrialStore

ROOT = Path(__file__).parents[3]


def seen(outcome: tuning.TuneOutcome) -> list[tuple]:
    """What must not depend on workers, kills or the clock."""
    return [(t.number, t.state, repr(t.value), t.losses, t.params, repr(t.sharpe)) for t in outcome.trials]


def test_a_value_is_the_mean_over_folds_of_the_loss_beside_the_base_rates(plan_for, tune, tmp_path) -> None:
    """Against log losses taken by hand from the predictions of one walk over all folds."""
    plan = plan_for()
    outcome, _ = tune(plan, tmp_path / "run", trials=1)
    walk = engine_of(plan, None).run("lightgbm", plan.base, target="y_will_peak")
    rows = walk.predictions.dropna(subset=["y", "prediction"])
    shares = []
    for _, fold in rows.groupby("fold"):
        loss = {}
        for name, group in fold.groupby("model", observed=True):
            p, y = group["prediction"].to_numpy(), group["y"].to_numpy()
            loss[name] = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        shares.append(loss["lightgbm"] / loss["base_rate"])
    assert len(shares) == 2
    assert outcome.trials[0].value == pytest.approx(np.mean(shares), rel=1e-9)
    assert outcome.trials[0].params == {}


def test_values_of_a_regression_are_squared(plan_for, tune, tmp_path) -> None:
    plan = plan_for(target="fwd_ret_5")
    outcome, _ = tune(plan, tmp_path / "run", trials=1)
    walk = engine_of(plan, None).run("lightgbm", plan.base, target="fwd_ret_5")
    rows = walk.predictions.dropna(subset=["y", "prediction"])
    squares = ((rows["y"] - rows["prediction"]) ** 2).groupby([rows["fold"], rows["model"]], observed=True).mean()
    table = squares.unstack()
    assert outcome.trials[0].value == pytest.approx((table["lightgbm"] / table["mean"]).mean(), rel=1e-6)


def test_no_trial_sees_the_test_window_of_the_phases(plan_for, tune, bars_folder, tmp_path) -> None:
    """Other bars from its first session on change neither a trial nor a value."""
    plan = plan_for()
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in bars_folder.glob("*.csv"):
        bars = pd.read_csv(path, float_precision="round_trip")
        late = pd.to_datetime(bars["timestamp"], utc=True).dt.date >= plan.test_start.astype(object)
        assert late.sum() == 100
        prices = ["open", "high", "low", "close"]
        wild = 1 + 0.5 * np.random.default_rng(1).random(int(late.sum()))
        bars.loc[late, prices] = bars.loc[late, prices].mul(wild, axis=0)
        bars.to_csv(changed / path.name, index=False)
    other = plan_for(changed)
    assert other.identity != plan.identity
    first, second = (tune(each, tmp_path / name, trials=3)[0] for each, name in ((plan, "a"), (other, "b")))
    assert seen(first) == seen(second)
    last = engine_of(plan, None).folds[-1]
    assert last.test_end < plan.test_start
    assert engine_of(plan, None).panel.sessions[-1] < plan.test_start


def rough(plan, engine, config, number: int) -> FoldResult:
    """A fold that takes no time, and whose loss jumps about, so that some trials are pruned."""
    noise = np.sin(1e4 * config["learning_rate"] + config["min_data_in_leaf"] + 2 * number)
    return FoldResult(float(1 + 0.2 * noise + 0.01 * config["num_leaves"]), pd.Series(dtype=float))


def test_workers_and_stops_change_nothing(plan_for, tune, tmp_path, monkeypatch) -> None:
    """Trials of one worker, of three, and of a study begun small, stopped in a round and resumed, are the same."""
    monkeypatch.setattr(tuning, "run_trial_fold", rough)
    plan = plan_for(folds=3)
    whole, _ = tune(plan, tmp_path / "whole", trials=22)
    assert {trial.state for trial in whole.trials} == {"complete", "pruned"}
    many, _ = tune(plan, tmp_path / "many", trials=22, jobs=3)
    assert seen(many) == seen(whole)
    few, _ = tune(plan, tmp_path / "cut", trials=3)
    assert [trial.number for trial in few.trials] == [0, 1, 2]
    stop = threading.Event()
    cut, _ = tune(plan, tmp_path / "cut", trials=22, stop=stop, on_step=lambda told: "trial 11:" in told and stop.set())
    assert cut.interrupted
    assert cut.exit_code == 130
    assert any(trial.state == "waiting" for trial in cut.trials)
    again, listener = tune(plan, tmp_path / "cut", trials=22, jobs=2)
    assert seen(again) == seen(whole)
    assert len(listener.told) <= 12  # what was finished was kept


def test_workers_change_no_real_trial(plan_for, tune, tmp_path) -> None:
    plan = plan_for()
    assert seen(tune(plan, tmp_path / "one", trials=4)[0]) == seen(tune(plan, tmp_path / "three", trials=4, jobs=3)[0])


KILLED = """
import os, signal, sys
from pathlib import Path
from TRAINING.cli import main
from TRAINING.search import run
real, left = run.run_trial_fold, int(sys.argv.pop())
def until_killed(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
run.run_trial_fold = until_killed
main()
"""


def test_a_study_killed_three_times_goes_on_and_loses_no_trial(plan_for, tune, quick, bars_folder, tmp_path) -> None:
    whole, _ = tune(plan_for(), tmp_path / "whole", trials=5)
    folds = sum(len(trial.losses) for trial in whole.trials)
    places = np.random.default_rng(6).integers(1, folds // 3, 3)
    arguments = ["tune", bars_folder, "--model", "lightgbm", "--target", "y_will_peak", "--trials", 5, "--folds", 2,
                 "--jobs", 1, "--config", quick[0], "--config", quick[1], "--output-dir", tmp_path / "cut"]  # fmt: skip
    for at in places:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *map(str, arguments), str(at)], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == -9, (places, done.stderr)
        with sqlite3.connect(tmp_path / "cut" / "study.db") as store:
            (running,) = store.execute("select count(*) from trials where state = 'RUNNING'").fetchone()
        assert running >= 1
    plan = plan_for()
    resumed, _ = tune(plan, tmp_path / "cut", trials=5)
    assert seen(resumed) == seen(whole), places
    counted = [trial for trial in ledger_of(RunFolder(tmp_path / "cut"), plan.inputs.history).trials()
               if trial.run == "cut"]  # fmt: skip
    assert sorted(int(trial.tuning_trial) for trial in counted) == list(range(5))
    if resumed.variant_file:
        assert resumed.variant_file.read_text().count("  tuned:") == 2  # the text about it and the variant


def test_the_winner_is_written_and_every_trial_counted(plan_for, tune, tmp_path) -> None:
    plan = plan_for()
    outcome, _ = tune(plan, tmp_path / "run", trials=11)
    assert outcome.exit_code == 0
    whole = [trial for trial in outcome.trials if trial.state == "complete"]
    assert outcome.best.value == min(trial.value for trial in whole) < outcome.trials[0].value
    assert load_model_config("lightgbm", "tuned") == plan.base | outcome.best.params
    assert outcome.variant_file == tmp_path / "own" / "model_config" / "lightgbm.yaml"
    ledger = ledger_of(RunFolder(tmp_path / "run"), plan.inputs.history)
    counted = ledger.trials()
    assert sorted(int(trial.tuning_trial) for trial in counted) == list(range(11))
    by_number = {int(trial.tuning_trial): trial.sharpe for trial in counted}
    assert all(np.isfinite(by_number[trial.number]) == (trial.state == "complete") for trial in outcome.trials)
    tune(plan, tmp_path / "run", trials=11)
    assert ledger.count() == 11
    table = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert len(table) == 11
    assert table["value"].min() == outcome.best.value
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"{outcome.best.value:.4f} of the base rate" in page
    assert set(outcome.importance["feature"]) == {"learning_rate", "num_leaves", "min_data_in_leaf"}
    assert outcome.importance["importance"].sum() == pytest.approx(1)


def test_the_search_finds_what_matters(plan_for, tune, tmp_path, monkeypatch) -> None:
    """On a bowl whose bottom is known it comes closer than the first round."""

    def bowl(plan, engine, config, number):
        loss = 1 + abs(np.log10(config["learning_rate"]) + 1) + 0.1 * (config["num_leaves"] != 4)
        return FoldResult(loss, pd.Series(dtype=float))

    monkeypatch.setattr(tuning, "run_trial_fold", bowl)
    outcome, _ = tune(plan_for(), tmp_path / "run", trials=41)
    first = min(trial.losses[0] for trial in outcome.trials[:9])
    assert outcome.best.value < 1.05 < first + 1
    assert outcome.best.value <= first
    assert outcome.best.params["num_leaves"] == 4
    assert outcome.importance["feature"].iloc[0] == "learning_rate"


def test_a_trial_worse_than_the_median_is_pruned_behind_its_second_fold(plan_for) -> None:
    import optuna

    def trial(values: list[float]):
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE, value=values[-1], intermediate_values=dict(enumerate(values))
        )

    earlier = [trial([1.0, 1.0 + 0.01 * number, 1.0]) for number in range(5)]
    snapshot = Snapshot(plan_for(), earlier)
    assert snapshot.is_hopeless([1.0, 1.03])
    assert not snapshot.is_hopeless([1.0, 1.01])
    assert snapshot.is_hopeless([0.9, 1.03])  # the first fold was luck
    assert not snapshot.is_hopeless([9.0])  # one fold says too little
    assert not Snapshot(plan_for(), earlier[:4]).is_hopeless([1.0, 9.0])  # so do four trials


@pytest.mark.parametrize("best", [0.99, 1.0])
def test_a_page_says_when_no_trial_has_skill(best) -> None:
    from TRAINING.reports.tuning import render_tuning

    trials = pd.DataFrame({"trial": [0, 1], "state": "complete", "value": [1.1, best], "folds": 2, "mean": [1.1, best],
                           "num_leaves": [4, 5], "sharpe": 0.0, "seconds": 1.0, "reason": ""})  # fmt: skip
    page = render_tuning(trials, pd.DataFrame({"feature": [], "importance": []}), "the base rate", {})
    assert ("No trial is better than the base rate" in page) == (best == 1)
    assert f"{best:.4f} of the base rate" in page


def test_a_trial_that_fails_is_told_and_the_search_goes_on(plan_for, tune, tmp_path, monkeypatch) -> None:
    real = tuning.run_trial_fold

    def failing(plan, engine, config, number):
        if config["num_leaves"] == 31:
            raise DataError("no such tree")
        return real(plan, engine, config, number)

    monkeypatch.setattr(tuning, "run_trial_fold", failing)
    outcome, _ = tune(plan_for(), tmp_path / "run", trials=9)
    failed = [trial for trial in outcome.trials if trial.state == "failed"]
    assert failed
    assert all(trial.params["num_leaves"] == 31 and trial.reason == "no such tree" for trial in failed)
    assert outcome.exit_code == 6
    assert outcome.variant_file is not None
    plan = plan_for()
    assert ledger_of(RunFolder(tmp_path / "run"), plan.inputs.history).count() == 9 - len(failed)


def test_trials_see_the_listed_features_alone(bars_folder, quick, tune, tmp_path) -> None:
    request = Request("walkforward", str(bars_folder), ["lightgbm"], None, "y_will_peak", files=quick,
                      features=["rsi_14", "vol_20"])  # fmt: skip
    inputs = open_inputs(str(bars_folder), None, quick)
    plan = make_tune_plan(request, inputs, folds=2)
    assert plan.identity != make_tune_plan(replace(request, features=None), inputs, folds=2).identity
    assert engine_of(plan, None).panel.dataset("y_will_peak").X.columns.tolist() == ["vol_20", "rsi_14"]
    tune(plan, tmp_path / "run", trials=1)
    with pytest.raises(ConfigError, match="holds the results of another plan"):
        tune(make_tune_plan(replace(request, features=None), inputs, folds=2), tmp_path / "run", trials=1)


def test_positions_are_compared_with_cash(bars_folder, quick, tune, tmp_path) -> None:
    """The loss of a fold by hand: Morningstar's, of a year's net returns."""
    request = Request("walkforward", str(bars_folder), ["reward_based"], None, "fwd_ret_5", files=quick[1:])
    plan = make_tune_plan(request, open_inputs(str(bars_folder), None, quick[1:]), folds=2)
    outcome, _ = tune(plan, tmp_path / "run", trials=2)
    engine = engine_of(plan, None)
    walk = engine.run("reward_based", plan.base, target="fwd_ret_5", backtest=plan.settings["backtest"])
    per_year = sessions_per_year(engine.panel.sessions)
    returns = walk.returns[walk.returns["model"] == "reward_based"].set_index("session")["net_return"]
    assert returns.abs().max() > 0
    first = returns[: pd.Timestamp(engine.folds[0].test_end)]
    assert outcome.trials[0].losses[0] == pytest.approx((1 / (1 + first) ** 2).mean() ** per_year, rel=1e-9)
    assert disutility(np.zeros(9), 252) == 1
    assert disutility(np.full(252, 0.001), 252) == pytest.approx(1.001**-504)
    assert disutility(np.array([0.05, -0.05]), 252) > 1  # risk for nothing
    for wrong in ([], [0.1, -1.0]):
        with pytest.raises(DataError, match="net returns above -1"):
            disutility(np.array(wrong), 252)
    assert "a share of cash" in (tmp_path / "run" / "report.html").read_text()


def test_two_at_once_on_one_store(plan_for, tune, tmp_path) -> None:
    from TRAINING.runs.lock import locked

    plan = plan_for()
    tune(plan, tmp_path / "run", trials=1)
    with locked(tmp_path / "run"), pytest.raises(LockedError):
        tune(plan, tmp_path / "run", trials=2)


def test_a_first_trial_that_fails_ends_the_search(plan_for, tune, tmp_path) -> None:
    plan = plan_for()
    plan.settings["walkforward"]["min_train_samples"] = 10_000
    with pytest.raises(DataError, match=r"begins from cannot be trained; .*min_train_samples \(10000\)"):
        tune(plan, tmp_path / "run")


def test_too_few_sessions_are_told(plan_for) -> None:
    with pytest.raises(DataError, match="400 sessions before .* give no 500 test windows; lower --folds"):
        engine_of(plan_for(folds=500), None)


def test_a_timeout_leaves_the_rest_for_later(plan_for, tune, tmp_path) -> None:
    outcome, listener = tune(plan_for(), tmp_path / "run", trials=9, timeout=1e-9)
    assert listener.told == []
    assert outcome.interrupted
    outcome, _ = tune(plan_for(), tmp_path / "run", trials=9)
    assert not outcome.interrupted
    assert len(outcome.trials) == 9


def test_a_store_of_a_different_study_is_refused(plan_for, tune, tmp_path) -> None:
    tune(plan_for(), tmp_path / "one", trials=1)
    other = plan_for(seed=1)
    with pytest.raises(ConfigError, match="holds the results of another plan"):
        tune(other, tmp_path / "one", trials=1)
    tune(other, tmp_path / "two", trials=1)
    shutil.copy(tmp_path / "one" / "study.db", tmp_path / "two" / "study.db")
    with pytest.raises(ConfigError, match="holds the trials of a different study"):
        tune(other, tmp_path / "two", trials=2)
    outcome, _ = tune(other, tmp_path / "two", trials=2, fresh=True)
    assert len(outcome.trials) == 2


def test_a_store_of_another_optuna_is_told(plan_for, tune, tmp_path) -> None:
    plan = plan_for()
    tune(plan, tmp_path / "run", trials=1)
    with sqlite3.connect(tmp_path / "run" / "study.db") as store:
        store.execute("update version_info set schema_version = 99")
        store.execute("update alembic_version set version_num = 'v99.0.0.a'")
    with pytest.raises(ConfigError, match="another version of optuna wrote it"):
        tune(plan, tmp_path / "run", trials=2)


def test_a_damaged_store_is_told(plan_for, tune, tmp_path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(IntegrityError, match="not a whole store of trials"):
        TrialStore.open(plan_for(), tmp_path)


def test_without_optuna_it_says_what_to_install(plan_for, tune, tmp_path, monkeypatch) -> None:
    plan = plan_for()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'needs optuna; pip install "barzoo\[tune\]"'):
        tune(plan, tmp_path / "run")


def test_the_command(barzoo, bars_folder, quick, tmp_path) -> None:
    import json

    base = ["tune", bars_folder, "--model", "lightgbm", "--target", "y_will_peak", "--folds", 2, "--config", quick[0],
            "--config", quick[1]]  # fmt: skip
    plain = barzoo(*base, "--dry-run", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert "nothing was written" in plain.stdout
    assert not (tmp_path / "runs").exists()
    done = barzoo(*base, "--trials", 4, "--jobs", 1, "--variant", "mine", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["trials"] == {"complete": 4}
    assert told["best"]["value"] <= told["default"]
    again = barzoo(*base, "--trials", 4, "--variant", "mine", cwd=tmp_path)
    assert "the first" in again.stdout
    shown = barzoo("config", "show", "lightgbm", "--variant", "mine", cwd=tmp_path)
    assert "lightgbm.yaml" in shown.stdout
    listed = tmp_path / "listed.txt"
    listed.write_text("vol_20\nrsi_41\n")
    for wrong, said in (
        (["--model", "lightgbmm"], "no model 'lightgbmm'"),
        (["--model", "lightgbm,xgboost"], "one model at a time"),
        (["--trials", 0], "Invalid value for '--trials'"),
        (["--symbols", "AAB"], "no symbol 'AAB'; did you mean 'AAA'"),
        (["--features-file", tmp_path / "none.txt"], "cannot read the list of features"),
        (["--features-file", listed], "has no feature 'rsi_41'; did you mean 'rsi_14'"),
        (["--target", "y_will_peek"], "no target 'y_will_peek'"),
        (["--variant", "balanced"], "has a variant 'balanced' already"),
    ):
        failed = barzoo(*base[:6], "--folds", 2, *wrong, cwd=tmp_path)
        assert failed.returncode == 2, failed.stderr
        assert said in failed.stderr
