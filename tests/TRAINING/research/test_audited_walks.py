"""A walk-forward's folder under audit: its windows, its purge, its predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request
from TRAINING.phases.walkforward import make_walk_plan, run_walk
from TRAINING.research.audit import audit
from TRAINING.research.runs import open_run
from TRAINING.research.subject import Subject
from TRAINING.research.walks import check_walks
from TRAINING.walkforward import WalkForwardResults

PLACE = Path("results", "lightgbm", "fwd_ret_5", "pooled")
WINDOWS = {"train_days": 200, "test_days": 60, "step_days": 60, "embargo_sessions": 2, "min_train_samples": 100}


class Silent:
    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        yield lambda text: None


@pytest.fixture(scope="module")
def walked(bars_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model for all symbols, and one per symbol."""
    folder = tmp_path_factory.mktemp("walked") / "run"
    request = Request(phase="walkforward", source=str(bars_folder), models=["lightgbm"], variant="smoke")
    plan = make_walk_plan(request, open_inputs(str(bars_folder)), ["fwd_ret_5"], {**WINDOWS, "scope": "both"})
    run_walk(plan, folder, jobs=1, progress=Silent())
    return folder


@pytest.fixture(scope="module")
def subject(walked: Path) -> Subject:
    return open_run(walked, 100_000)[0]


def test_a_walk_passes(walked: Path) -> None:
    report = audit(walked, settings={"null_runs": 5})
    assert report.exit_code == 0, report.frame().to_string()
    check = report.check("run")
    assert check.verdict == "passed"
    assert {place: found["folds"] for place, found in check.numbers.items()} == {
        "lightgbm/fwd_ret_5/pooled": 5,
        "lightgbm/fwd_ret_5/symbol": 15,
    }
    assert report.about["targets"] == ["fwd_ret_5"]


def test_a_walk_over_some_symbols_is_audited_on_them(walked: Path, tmp_path: Path) -> None:
    tables = walked / "labeled"
    symbols = sorted(open_inputs(str(tables)).symbols)[:2]
    request = Request("walkforward", str(tables), ["lightgbm"], symbols, variant="smoke")
    plan = make_walk_plan(request, open_inputs(str(tables), symbols), ["fwd_ret_5"], WINDOWS)
    run_walk(plan, tmp_path / "run", jobs=1, progress=Silent())
    looked_at, check = open_run(tmp_path / "run", 100_000)
    assert sorted(looked_at.spans) == symbols
    assert "purged as the tables' labels ask" in check.reason
    fewer = open_run(tmp_path / "run", 500)[1]
    assert "the purge not counted" in fewer.reason


def late(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.assign(fold=predictions["fold"].replace({1: 0}))


FAULTS: dict[str, Callable[[WalkForwardResults], dict]] = {
    "windows": lambda r: {"folds": r.folds.assign(train_end=r.folds["test_start"])},
    "predictions outside the test window of their fold": lambda r: {"predictions": late(r.predictions)},
    "predictions made twice": lambda r: {"predictions": pd.concat([r.predictions, r.predictions[:3]])},
    "labels that are not those of the table": lambda r: {"predictions": r.predictions.assign(y=-r.predictions["y"])},
    "folds with labels that reach the test window": lambda r: {"folds": r.folds.assign(purged_rows=3 * 5)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_results_fail(walked: Path, subject: Subject, tmp_path: Path, fault: str) -> None:
    folder = Path(shutil.copytree(walked, tmp_path / "run"))
    results = WalkForwardResults.load(folder / PLACE)
    replace(results, **FAULTS[fault](results)).save(folder / PLACE)
    check = check_walks(folder, subject)
    assert check.verdict == "failed"
    assert fault in check.reason
    assert check.numbers["lightgbm/fwd_ret_5/pooled"][fault] > 0
    assert check.numbers["lightgbm/fwd_ret_5/symbol"][fault] == 0


def test_a_walk_without_results_is_not_judged(walked: Path, subject: Subject, tmp_path: Path) -> None:
    assert check_walks(tmp_path, subject).verdict == "not applicable"
