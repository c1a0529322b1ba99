"""Small plans and a runner that listens instead of drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Plan, Request, make_plan
from TRAINING.phases.run import Outcome, run_plan


class Listener:
    """Remembers every step it is told; calls ``on_step`` with each."""

    def __init__(self, on_step: Callable[[str], None] = lambda text: None) -> None:
        self.stages: dict[str, list[str]] = {}
        self.on_step = on_step

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        steps = self.stages.setdefault(what, [])

        def step(text: str) -> None:
            steps.append(text)
            self.on_step(text)

        yield step
        assert len(steps) == total


@pytest.fixture
def plan_for(bars_folder: Path) -> Callable[..., Plan]:
    def make(**request) -> Plan:
        usual = {"source": str(bars_folder), "variant": "smoke", "models": ["lightgbm", "xgboost"]}
        request = Request(**usual | request)
        return make_plan(request, open_inputs(request.source, request.symbols, request.files))

    return make


@pytest.fixture
def run() -> Callable[..., tuple[Outcome, Listener]]:
    def go(plan: Plan, folder: Path, *, jobs: int = 1, on_step=lambda text: None, **named) -> tuple[Outcome, Listener]:
        listener = Listener(on_step)
        return run_plan(plan, folder, jobs=jobs, progress=listener, **named), listener

    return go


def result_files(folder: Path) -> dict[str, bytes]:
    """What has to be the same however a run went: everything but times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".txt", ".parquet", ".ubj", ".csv") and path.name not in ("log.txt", "units.csv"):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.fixture
def results_of() -> Callable[[Path], dict[str, bytes]]:
    return result_files
