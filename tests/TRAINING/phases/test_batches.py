"""Units that train together: what they come to, after a kill as well, and when one of them fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import DataError
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.nets.tabular import MLPTrainer
from TRAINING.model_fun.nets.trainer import NetTrainer

TARGET = "y_will_peak"


@pytest.fixture
def plan(plan_for):
    return plan_for(models=["mlp"], target=TARGET)


@pytest.fixture(scope="module")
def sizes() -> list[int]:
    return []


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """``sizes`` are those of the batches that trained."""
    sizes.clear()
    together = NetTrainer.fit_many
    monkeypatch.setattr(
        NetTrainer, "fit_many", lambda self, datasets: sizes.append(len(datasets)) or together(self, datasets)
    )


def predictions(folder: Path) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in sorted(folder.glob(f"units/mlp/{TARGET}/*/predictions.parquet"))]
    return pd.concat(parts)


def test_a_batch_predicts_as_one_by_one(plan, run, tmp_path: Path, sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    run(plan, tmp_path / "together")
    assert sizes == [3]
    monkeypatch.setattr(NetTrainer, "fit_many", Trainer.fit_many)
    run(plan, tmp_path / "alone")
    together, alone = (predictions(tmp_path / name) for name in ("together", "alone"))
    np.testing.assert_allclose(together["prediction"], alone["prediction"], atol=1e-4)
    assert together["prediction"].nunique() > 250


def test_what_was_lost_comes_out_the_same_again(plan, run, tmp_path: Path, results_of, sizes) -> None:
    run(plan, tmp_path)
    before = results_of(tmp_path)
    kept = tmp_path / "units" / "mlp" / TARGET / "AAA" / "manifest.json"
    written = kept.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "units" / "mlp" / TARGET / "BBB")
    outcome, listener = run(plan, tmp_path)
    assert results_of(tmp_path) == before
    assert kept.stat().st_mtime_ns == written
    assert len(listener.stages["train"]) == len(plan.todo)
    assert sizes == [3, 3], "in the same company, or the rounding differs"
    run(plan, tmp_path)
    assert len(sizes) == 2


def test_one_symbols_fault_is_its_own(plan, run, tmp_path: Path, sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = MLPTrainer._fit

    def faulty(self, X, *others) -> None:
        if X.index.get_level_values("symbol")[0] == "BBB":
            raise DataError("mlp: nothing to learn here")
        fit(self, X, *others)

    monkeypatch.setattr(MLPTrainer, "_fit", faulty)
    outcome, _ = run(plan, tmp_path)
    units = outcome.results.units.query("model == 'mlp'").set_index("symbol")
    assert units["status"].to_dict() == {"AAA": "done", "BBB": "failed", "CCC": "done"}
    assert units.loc["BBB", "reason"] == "mlp: nothing to learn here"
    assert outcome.exit_code == 6


def test_two_workers_come_to_the_same(plan_for, run, tmp_path: Path, results_of) -> None:
    plan = plan_for(models=["mlp"])
    for jobs in (1, 2):
        run(plan, tmp_path / str(jobs), jobs=jobs)
    assert results_of(tmp_path / "1") == results_of(tmp_path / "2")
