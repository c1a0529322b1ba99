from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.metrics import MONEY_METRICS, PREDICTION_METRICS
from TRAINING.model_fun import MODELS
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import BASELINES, Request, make_plan, resolve_models


def test_default_plan_covers_models_targets_symbols(plan_for) -> None:
    plan = plan_for(models=None)
    models = ["lightgbm", "xgboost", "ensemble", "multi_task"]
    assert plan.targets == ["y_will_peak", "fwd_ret_5"]
    assert list(plan.models) == models
    assert len(plan.units) == 3 * 2 * 5
    assert {unit.model for unit in plan.units} == {*models, BASELINES}
    assert not any(unit.skip for unit in plan.units)
    sessions = plan.inputs.sessions
    assert (plan.validation_start, plan.test_start) == (sessions[300], sessions[400])
    assert all(unit.rows == (300, 100, 100) for unit in plan.units)
    assert sorted(len(batch) for batch in plan.batches()) == [1] * 24 + [6], "the nets train together"


def test_identity_holds_and_changes_with_what_matters(plan_for, bars_folder, tmp_path: Path) -> None:
    plan = plan_for()
    assert plan_for().identity == plan.identity
    assert plan_for(seed=1).identity != plan.identity
    assert plan_for(variant="balanced").identity != plan.identity
    assert plan_for(symbols=["AAA"]).identity != plan.identity
    alone = {unit.identity for unit in plan_for(symbols=["AAA"]).units}
    assert alone <= {unit.identity for unit in plan.units}, "the same sessions, so the same units"

    costs = tmp_path / "backtest.yaml"
    costs.write_text("defaults:\n  cost_bps: 7.0\n")
    assert plan_for(files=(costs,)).identity != plan.identity
    ranking = tmp_path / "phases.yaml"
    ranking.write_text("defaults:\n  rank_by: calmar\n")
    assert plan_for(files=(ranking,)).identity == plan.identity, "only the leaderboard's order changes"


def test_changed_bars_change_their_own_symbol_only(plan_for, bars_folder, tmp_path: Path) -> None:
    for path in bars_folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bars = pd.read_csv(tmp_path / "AAA.csv")
    bars.loc[250, "volume"] += 1
    bars.to_csv(tmp_path / "AAA.csv", index=False)
    before = {(unit.model, unit.target, unit.symbol): unit.identity for unit in plan_for().units}
    after = {(unit.model, unit.target, unit.symbol): unit.identity for unit in plan_for(source=str(tmp_path)).units}
    assert {key[2] for key in before if before[key] != after[key]} == {"AAA"}


def test_a_short_symbol_is_skipped_with_numbers(bars_folder, make_bars, tmp_path: Path) -> None:
    for path in bars_folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    make_bars(2, start="2015-01-01").to_csv(tmp_path / "TWO.csv", index=False)
    make_bars(500)[450:].to_csv(tmp_path / "LATE.csv", index=False)
    inputs = open_inputs(str(tmp_path))
    plan = make_plan(Request(models=["lightgbm", "xgboost"], variant="smoke"), inputs)
    skipped = {unit.symbol: unit.skip for unit in plan.units if unit.skip}
    assert set(skipped) == {"TWO", "LATE"}
    assert "too short: 2 rows before" in skipped["TWO"]
    assert "too short: 0 rows before" in skipped["LATE"]
    assert len(plan.todo) == 18


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"phase": "sequental"}, "no phase 'sequental'; did you mean 'sequential'"),
        ({"phase": "cor"}, "did you mean 'core'"),
        ({"models": ["lightgmb"]}, "no model 'lightgmb'; did you mean 'lightgbm'"),
        ({"models": ["all", "lightgbm"]}, "all means every model and stands alone; got all, lightgbm"),
        ({"variant": "consrvative"}, "did you mean 'conservative'"),
        ({"files": (Path("nowhere/lightgbm.yaml"),)}, "nowhere/lightgbm.yaml"),
        ({"files": (Path("nowhere/lightgmb.yaml"),)}, "did you mean"),
    ],
)
def test_typos_are_found_before_anything_is_read(request_: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_models(Request(**request_))


def test_unknown_target_and_symbol_are_suggested(plan_for) -> None:
    with pytest.raises(ConfigError, match="did you mean 'y_will_peak'"):
        plan_for(target="y_wil_peak")
    with pytest.raises(ConfigError, match="did you mean 'AAA'"):
        plan_for(symbols=["AAB"])


def test_config_file_names_the_model_and_its_variant(tmp_path: Path) -> None:
    mine = tmp_path / "xgboost.yaml"
    mine.write_text("variants:\n  mine:\n    n_estimators: 7\n")
    models = resolve_models(Request(files=(mine,), variant="mine"))
    assert list(models) == ["xgboost"]
    assert models["xgboost"]["n_estimators"] == 7
    with pytest.raises(ConfigError, match="--config names xgboost, which is not among the models lightgbm"):
        resolve_models(Request(files=(mine,), models=["lightgbm"]))


def test_windows_do_not_overlap(plan_for) -> None:
    windows = list(plan_for().windows.values())
    for (_, last), (first, _) in pairwise(windows):
        assert np.datetime64(last) < np.datetime64(first)


def test_the_ranking_has_a_metric_of_ours_that_some_target_has(plan_for, tmp_path: Path) -> None:
    known = {row.name for table in (*PREDICTION_METRICS.values(), MONEY_METRICS) for row in table}
    ranking = tmp_path / "phases.yaml"
    for metric in ("calmar", "auc", "rmse"):
        assert metric in known
        ranking.write_text(f"defaults:\n  rank_by: {metric}\n")
        assert plan_for(files=(ranking,)).settings["phases"]["rank_by"] == metric
    with pytest.raises(ConfigError, match="rank_by: rmse is a score of regression targets; got y_will_peak"):
        plan_for(files=(ranking,), target="y_will_peak")
    ranking.write_text("defaults:\n  rank_by: sharp\n")
    with pytest.raises(ConfigError, match="did you mean 'sharpe'"):
        plan_for(files=(ranking,))


def test_chosen_symbols_keep_the_sessions_of_all(bars_folder, make_bars, tmp_path: Path) -> None:
    """One symbol trained alone has the cut dates that it has among the others."""
    for path in bars_folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    make_bars(900, start="2013-06-03").to_csv(tmp_path / "OLD.csv", index=False)
    whole = make_plan(Request(variant="smoke"), open_inputs(str(tmp_path)))
    alone = make_plan(Request(variant="smoke"), open_inputs(str(tmp_path), ["AAA"]))
    assert alone.windows == whole.windows
    assert {unit.identity for unit in alone.units} <= {unit.identity for unit in whole.units}


def test_a_target_may_not_look_further_than_label_end(tmp_path: Path, make_bars) -> None:
    """A table of the user's own: purging by a label_end that is too early would leak."""
    bars = make_bars(500)
    bars["f"] = bars["close"].pct_change().fillna(0.0)
    bars["label_end"] = bars["timestamp"].shift(-5)
    bars["fwd_ret_20"] = bars["close"].shift(-20) / bars["close"] - 1
    bars.to_parquet(tmp_path / "MINE.parquet")
    inputs = open_inputs(str(tmp_path))
    with pytest.raises(ConfigError, match="fwd_ret_20 looks 20 bars ahead, but label_end of its table only 5"):
        make_plan(Request(target="fwd_ret_20"), inputs)
    bars["label_end"] = bars["timestamp"].shift(-20)
    bars.to_parquet(tmp_path / "MINE.parquet")
    inputs = open_inputs(str(tmp_path))
    assert inputs.symbols["MINE"].horizon == 20
    assert len(make_plan(Request(models=["lightgbm"], target="fwd_ret_20"), inputs).todo) == 2


def test_both_phases_together_and_all_are_the_whole_zoo() -> None:
    core, sequential = (list(resolve_models(Request(phase))) for phase in ("core", "sequential"))
    assert sorted(core + sequential) == sorted(MODELS)
    assert list(resolve_models(Request(models=["all"]))) == list(MODELS)


def test_a_model_that_cannot_learn_a_target_is_skipped_with_the_reason(plan_for, run, tmp_path: Path) -> None:
    plan = plan_for(models=["quantile_lightgbm", "lightgbm"])
    (reason,) = {unit.skip for unit in plan.units if unit.skip}
    assert reason == "quantile_lightgbm learns regression targets only, and y_will_peak is binary"
    assert {(unit.model, unit.target) for unit in plan.units if unit.skip} == {("quantile_lightgbm", "y_will_peak")}
    alone = plan_for(models=["quantile_lightgbm"], target="y_will_peak")
    with pytest.raises(DataError, match=f"nothing to train, every unit is skipped; {reason}"):
        run(alone, tmp_path / "run")
