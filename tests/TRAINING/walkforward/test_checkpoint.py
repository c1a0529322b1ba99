"""Finished folds are found again, and only where their result still holds."""

from __future__ import annotations

import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults, engine
from TRAINING.walkforward.engine import Interrupted

WINDOWS = {"train_days": 120, "test_days": 30, "step_days": 20, "min_train_samples": 100}


@pytest.fixture
def trained(monkeypatch) -> list:
    """The folds that are trained, as they come."""
    found, run_fold = [], engine.run_fold

    def watched(work, fold, symbol=None, folder=None):
        found.append((str(fold.test_start), symbol))
        return run_fold(work, fold, symbol, folder)

    monkeypatch.setattr(engine, "run_fold", watched)
    return found


@pytest.fixture
def config(small) -> dict:
    return load_model_config("lightgbm", overrides=small)


def saved(results: WalkForwardResults, folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in results.save(folder).iterdir()}


@pytest.mark.parametrize("scope", ["pooled", "symbol"])
def test_a_run_that_was_stopped_goes_on_to_the_same_files(panel, config, tmp_path, trained, scope):
    walk = WalkForwardEngine(panel, **WINDOWS, scope=scope)
    whole = saved(walk.run("lightgbm", config), tmp_path / "whole")
    count = len(trained)
    trained.clear()
    with pytest.raises(Interrupted):
        walk.run("lightgbm", config, folder=tmp_path / "folds", stopped=lambda: len(trained) >= 4)
    before = len(trained)
    assert 4 <= before < count
    again = saved(walk.run("lightgbm", config, folder=tmp_path / "folds"), tmp_path / "again")
    assert again == whole
    skipped = count - len(list((tmp_path / "folds").glob("*/*/manifest.json")))
    assert len(trained) <= count + skipped
    trained.clear()
    assert saved(walk.run("lightgbm", config, folder=tmp_path / "folds"), tmp_path / "third") == whole
    assert len(trained) == skipped  # those that cannot be trained are not kept


def test_new_sessions_cost_new_folds_alone(panel, config, tmp_path, trained):
    days = sorted(panel["session"].unique())
    shorter = panel[panel["session"] <= days[349]]
    WalkForwardEngine(shorter, **WINDOWS).run("lightgbm", config, folder=tmp_path / "folds")
    trained.clear()
    walk = WalkForwardEngine(panel, **WINDOWS)
    results = walk.run("lightgbm", config, folder=tmp_path / "folds")
    assert [day for day, _ in trained] == [str(fold.test_start) for fold in walk.folds[-2:]]
    expected = walk.run("lightgbm", config)
    pd.testing.assert_frame_equal(results.predictions, expected.predictions)
    longer = panel[panel["session"] >= days[20]]  # history that is gone, or comes, moves no row of a window
    trained.clear()
    WalkForwardEngine(longer, **WINDOWS).run("lightgbm", config, folder=tmp_path / "folds")
    assert trained == []


@pytest.mark.parametrize("change", ["config", "target", "value", "setting", "damage"])
def test_what_was_made_otherwise_is_made_anew(panel, config, tmp_path, trained, change):
    walk = WalkForwardEngine(panel, **WINDOWS)
    walk.run("lightgbm", config, folder=tmp_path / "folds")
    count = len(trained)
    trained.clear()
    target, expected = "fwd_ret_5", count
    if change == "config":
        config = config | {"learning_rate": 0.2}
    elif change == "target":
        target = "MFE"
    elif change == "value":
        changed = panel.copy()
        changed.loc[changed.index[5], "b"] += 1
        walk, expected = WalkForwardEngine(changed, **WINDOWS), 1
    elif change == "setting":
        walk = WalkForwardEngine(panel, **WINDOWS, embargo_sessions=2)
    else:
        path = next((tmp_path / "folds").glob("*/pooled/predictions.parquet"))
        path.write_bytes(path.read_bytes()[:-1])
        expected = 1
    walk.run("lightgbm", config, target=target, folder=tmp_path / "folds")
    assert len(trained) == expected
