"""A small tuning: three symbols, two folds, short trees, and a runner that draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request
from TRAINING.search.plan import TunePlan, make_tune_plan
from TRAINING.search.run import TuneOutcome, run_tune

QUICK = """\
defaults:
  n_estimators: 8
  early_stopping_rounds: 0
search:
  learning_rate: {low: 0.01, high: 1.0, log: true}
  num_leaves: {choices: [2, 4, 31]}
  max_depth: null
  min_data_in_leaf: {low: 5, high: 60}
  feature_fraction: null
  bagging_fraction: null
  reg_lambda: null
"""


class Listener:
    def __init__(self, on_step: Callable[[str], None] = lambda text: None) -> None:
        self.on_step, self.told = on_step, []

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        def step(text: str) -> None:
            if what == "tune":
                self.told.append(text)
                self.on_step(text)

        yield step


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Configs that make it quick; the user's own folder is an empty one."""
    monkeypatch.setenv("BARZOO_CONFIG_DIR", str(tmp_path / "own"))
    files = tmp_path / "lightgbm.yaml", tmp_path / "walkforward.yaml"
    files[0].write_text(QUICK)
    files[1].write_text("defaults:\n  min_train_samples: 100\n")
    return files


@pytest.fixture
def plan_for(bars_folder: Path, quick: tuple[Path, Path]) -> Callable[..., TunePlan]:
    def make(source: Path = bars_folder, *, target: str = "y_will_peak", folds: int = 2, **named) -> TunePlan:
        request = Request("walkforward", str(source), ["lightgbm"], None, target, files=quick)
        return make_tune_plan(request, open_inputs(str(source), None, quick), folds=folds, **named)

    return make


@pytest.fixture
def tune() -> Callable[..., tuple[TuneOutcome, Listener]]:
    def go(plan: TunePlan, folder: Path, *, trials: int = 5, jobs: int = 1, on_step=lambda text: None, **named):
        listener = Listener(on_step)
        named = {"variant": "tuned"} | named
        return run_tune(plan, folder, trials=trials, jobs=jobs, progress=listener, **named), listener

    return go
