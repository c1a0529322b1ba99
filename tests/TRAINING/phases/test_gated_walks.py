"""Gates of the walk-forward as a phase: walked where they must be, beside what they gate, and free without any."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from CONFIG.errors import ConfigError
from TRAINING.cli import app
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request
from TRAINING.phases.walkforward import make_walk_plan, run_walk
from TRAINING.walkforward import WalkForwardResults

WINDOWS = {"train_days": 200, "test_days": 80, "step_days": 80, "min_train_samples": 100}
GATED = "lightgbm gated", "fwd_ret_5", "pooled"


@pytest.fixture
def walk_plan(bars_folder: Path, tmp_path: Path):
    def make(*targets: str, gates: str = "[]", more: str = "", **overrides):
        path = tmp_path / "gates.yaml"
        path.write_text(f"defaults:\n  targets: {gates}\n{more}")
        request = Request("walkforward", str(bars_folder), variant="smoke", files=(path,))
        return make_walk_plan(request, open_inputs(request.source), list(targets), WINDOWS | overrides)

    return make


class Quiet:
    """Stops after so many steps."""

    def __init__(self, stop: threading.Event | None = None, after: int = 0):
        self.steps, self.stop, self.after = 0, stop, after

    @contextmanager
    def stage(self, what: str, total: int):
        yield self.step

    def step(self, text: str) -> None:
        self.steps += 1
        if self.stop and self.steps >= self.after:
            self.stop.set()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("results/**/*.*"))}


def test_a_gate_that_is_no_target_is_walked_and_not_reported(walk_plan, tmp_path):
    outcome = run_walk(walk_plan("fwd_ret_5", "MFE", gates="[y_will_peak]"), tmp_path / "run", jobs=1, progress=Quiet())
    assert list(outcome.results) == [("lightgbm", "fwd_ret_5", "pooled"), ("lightgbm", "MFE", "pooled"), GATED]
    assert sorted(path.name for path in (tmp_path / "run" / "results").iterdir()) == ["lightgbm", "lightgbm gated"]
    assert (tmp_path / "run" / "folds" / "lightgbm" / "y_will_peak").is_dir()
    board = pd.read_csv(tmp_path / "run" / "leaderboard.csv")
    assert set(board.loc[board["kind"] == "model", "model"]) == {"lightgbm", "lightgbm gated"}
    assert set(board["target"]) == {"fwd_ret_5", "MFE"}
    again = WalkForwardResults.load(Path(tmp_path, "run", "results", *GATED))
    assert again.manifest["gates"][0]["gate"] == "y_will_peak"
    written = (tmp_path / "run" / "report.md").read_text()
    assert "what each gate did" in written
    assert "labels that the intervals held" in written


def test_a_dry_run_counts_the_walks_of_gates(bars_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gates.yaml").write_text("defaults: {targets: [y_will_peak]}\n")
    arguments = ["--targets", "fwd_ret_5", "--config", "gates.yaml", "--train-days", "200", "--scope", "both"]
    done = CliRunner().invoke(app, ["walkforward", str(bars_folder), *arguments, "--dry-run"])
    assert "rows, 4 walks" in done.stdout


def test_gates_leave_what_is_before_them_as_it_was(walk_plan, tmp_path):
    plain = run_walk(walk_plan("fwd_ret_5", "y_will_peak", scope="both"), tmp_path / "plain", jobs=1, progress=Quiet())
    assert not [walk for walk in plain.results if "gated" in walk[0]]
    plan = walk_plan("fwd_ret_5", "y_will_peak", gates="[y_will_peak]", more="  rule: scale\n", scope="both")
    run_walk(plan, tmp_path / "gated", jobs=1, progress=Quiet())
    without, with_gates = files(tmp_path / "plain"), files(tmp_path / "gated")
    assert {name: with_gates[name] for name in without} == without
    news = {str(Path(name).parent) for name in with_gates if name not in without}
    assert news == {f"results/lightgbm gated/fwd_ret_5/{scope}" for scope in ("pooled", "symbol")}


def test_a_gated_run_that_was_stopped_resumes_to_the_same_files(walk_plan, tmp_path):
    plan = walk_plan("fwd_ret_5", gates="[y_will_peak]")
    run_walk(plan, tmp_path / "whole", jobs=1, progress=Quiet())
    stop = threading.Event()
    half = run_walk(plan, tmp_path / "half", jobs=1, progress=Quiet(stop, 8), stop=stop)
    assert half.interrupted
    assert ("lightgbm", "fwd_ret_5", "pooled") in half.results
    assert GATED not in half.results
    run_walk(plan, tmp_path / "half", jobs=1, progress=Quiet())
    assert files(tmp_path / "half") == files(tmp_path / "whole")


def test_calibration_and_intervals_come_from_the_run_config(walk_plan, tmp_path):
    outcome = run_walk(
        walk_plan("fwd_ret_5", "y_will_peak", intervals=0.8, calibration="sigmoid"),
        tmp_path / "run", jobs=1, progress=Quiet(),
    )  # fmt: skip
    values, peaks = (outcome.results["lightgbm", target, "pooled"] for target in ("fwd_ret_5", "y_will_peak"))
    assert values.manifest["settings"]["intervals"] == 0.8
    assert {"lower", "upper"} <= set(values.predictions)
    assert peaks.manifest["notes"][0].startswith("lightgbm: fold 0: 0 labels were known before it")


def test_a_gate_that_fails_takes_what_it_gates_with_it(walk_plan, tmp_path, monkeypatch):
    from CONFIG.errors import DataError
    from TRAINING.walkforward import WalkForwardEngine

    run = WalkForwardEngine.run

    def failing(self, model, config, **named):
        if named["target"] == "y_will_peak":
            raise DataError("no peak")
        return run(self, model, config, **named)

    monkeypatch.setattr(WalkForwardEngine, "run", failing)
    outcome = run_walk(walk_plan("fwd_ret_5", gates="[y_will_peak]"), tmp_path / "run", jobs=1, progress=Quiet())
    assert outcome.exit_code == 6
    assert outcome.failed[GATED] == "its gate y_will_peak failed: no peak"


def test_gates_that_cannot_be_planned(walk_plan):
    with pytest.raises(ConfigError, match="no target 'y_will_peek'; did you mean 'y_will_peak'"):
        walk_plan("fwd_ret_5", gates="[y_will_peek]")
    with pytest.raises(ConfigError, match="gates: MFE is a regression, and a gate needs a probability"):
        walk_plan("fwd_ret_5", gates="[MFE]")
    with pytest.raises(ConfigError, match="no positions to gate, got the targets y_will_peak, MFE; add one that is"):
        walk_plan("y_will_peak", "MFE", gates="[y_will_peak]")
