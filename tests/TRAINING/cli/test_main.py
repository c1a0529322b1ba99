"""What `main` makes of errors, interrupts and warnings."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from TRAINING.cli.terminal import first_of_kind

INTERRUPTED = (
    "import os, signal; from TRAINING import cli; cli.app = lambda: os.kill(os.getpid(), signal.SIGINT); cli.main()"
)


def test_an_interrupt_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "\ninterrupted: what is done is kept; the same command goes on from there\n"


@pytest.mark.parametrize(
    ("arguments", "code"), [(["data", "check", "nowhere"], 3), (["train", "--models", "catboost"], 2)]
)
def test_debug_keeps_the_exit_code(tmp_path: Path, arguments: list[str], code: int, barzoo) -> None:
    done = barzoo(*arguments, "--debug", cwd=tmp_path)
    assert done.returncode == code
    assert "Traceback" in done.stderr


def test_of_what_models_say_the_first_of_a_kind_is_shown() -> None:
    passes = first_of_kind()

    def record(path: str, line: int) -> logging.LogRecord:
        return logging.LogRecord("barzoo", logging.WARNING, path, line, "%s", ("any",), None)

    model, other = "/x/TRAINING/model_fun/base.py", "/x/DATA_PROCESSING/panel.py"
    assert passes(record(model, 1))
    assert not passes(record(model, 1))
    assert passes(record(model, 2))
    assert passes(record(other, 1))
    assert passes(record(other, 1))


def test_features_without_a_value_are_told_once_in_a_run(tmp_path: Path, make_bars, barzoo) -> None:
    bars = make_bars(600).assign(volume=1.0)
    for symbol in ("AAA", "BBB"):
        bars.to_csv(tmp_path / f"{symbol}.csv", index=False)
    done = barzoo("train", "--input-dir", ".", "--models", "lightgbm", "--variant", "smoke", "--output-dir", "run",
                  cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("features without any value") == 1
    assert (tmp_path / "run" / "units.csv").read_text("utf-8").count("features without any value") == 4
