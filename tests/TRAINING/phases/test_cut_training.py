"""A net that is killed in the middle of its training goes on from its checkpoint, and ends as if nothing had been."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from TRAINING.cli import app
from TRAINING.model_fun.nets import estimators
from TRAINING.neural.checkpoints import SafetensorsIO

TARGET = "fwd_ret_5"
# The command, with a checkpoint after each epoch; it kills itself after the third that it wrote.
CUT = """
import os, signal, sys
from TRAINING.cli import main
from TRAINING.model_fun.nets import estimators
from TRAINING.neural.fit import KeepBest
estimators._CHECKPOINT_SECONDS = 0
write = KeepBest._write
def cut(self, trainer):
    write(self, trainer)
    if self.finished() == 3:
        os.kill(os.getpid(), signal.SIGKILL)
KeepBest._write = cut
main()
"""


@pytest.mark.parametrize(("phase", "model"), [("sequential", "lstm"), ("features", "vae"), ("walkforward", "lstm")])
def test_a_training_that_was_killed_goes_on(
    phase: str, model: str, bars_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimators, "_CHECKPOINT_SECONDS", 0)
    config = tmp_path / "walkforward.yaml"
    config.write_text("defaults: {train_days: 300, test_days: 60, step_days: 60, min_train_samples: 200}\n")
    options = ["train", "--phase", phase, "--models", model, "--variant", "smoke", "--jobs", "1"]
    options += ["--input-dir", str(bars_folder), "--symbols", "AAA", "--config", str(config)]
    options += [] if phase == "features" else ["--target", TARGET]
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    assert CliRunner().invoke(app, [*options, "--output-dir", str(whole)]).exit_code == 0

    killed = subprocess.run([sys.executable, "-c", CUT, *options, "--output-dir", str(cut)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    (left,) = cut.rglob(".*.training")
    finished = left.parent.relative_to(cut) / left.name.split(".")[1]
    written = next(left.rglob("metrics.csv")).read_text().splitlines()
    assert written[0].startswith("epoch,train_loss")
    assert len(written) == 4

    started = []
    load = SafetensorsIO.load_checkpoint
    monkeypatch.setattr(
        SafetensorsIO,
        "load_checkpoint",
        lambda self, *given, **named: started.append(given) or load(self, *given, **named),
    )
    assert CliRunner().invoke(app, [*options, "--output-dir", str(cut)]).exit_code == 0
    assert len(started) == 1, "it went on from the checkpoint"
    assert not left.exists()
    results = {path.name for path in (whole / finished).iterdir()} - {"manifest.json"}  # which tells times
    assert results
    for name in results:
        assert (cut / finished / name).read_bytes() == (whole / finished / name).read_bytes()
    if phase == "sequential":
        curve = json.loads((cut / finished / "history.json").read_text())["train"]["loss"]
        assert len(curve) > 3
