"""Models that predict positions are traded as they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from TRAINING.artifacts import load_artifact
from TRAINING.evaluation.backtest import signals


@pytest.mark.parametrize("target", ["fwd_ret_5", "y_will_peak", "y_will_valley"])
def test_a_run_takes_the_positions_that_the_model_predicts(plan_for, run, tmp_path: Path, target: str) -> None:
    plan = plan_for(models=["reward_based"], symbols=["AAA"], target=target, seed=3)
    assert "seed" not in plan.models["reward_based"], "it draws nothing"
    outcome, _ = run(plan, tmp_path / "run")
    folder = outcome.folder / "units/reward_based" / target / "AAA"
    rows, record = pd.read_parquet(folder / "predictions.parquet"), json.loads((folder / "manifest.json").read_text())
    table = plan.inputs.table("AAA", outcome.folder / "labeled")
    trainer = load_artifact(folder)
    expected = trainer.predict_position(table[trainer.features].tail(len(rows)))
    rule = {"fwd_ret_5": "sign", "y_will_peak": "long_flat", "y_will_valley": "short_flat"}[target]
    taken = signals("position", rows["prediction"], rule, threshold=record["threshold"])
    np.testing.assert_allclose(taken, expected, atol=1e-6)
    assert ((np.abs(taken) > 0) & (np.abs(taken) < 1)).any(), "positions have sizes"
    scores = record["scores"]["reward_based"]
    assert ("rmse" in scores) == ("mae" in scores) == ("r2" in scores) is False
    assert "mean_reward" in scores
    board = outcome.results.leaderboard.set_index("model")
    assert np.isnan(board.loc["reward_based", "loss"]) == (target == "fwd_ret_5")
    assert ("reward_based" in set(outcome.results.calibration["model"])) == (target != "fwd_ret_5")
