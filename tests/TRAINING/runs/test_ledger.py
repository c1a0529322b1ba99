from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CONFIG.errors import ConfigError, IntegrityError, LockedError
from TRAINING.runs import ledger as ledger_module
from TRAINING.runs.ledger import Ledger, Trial

TRIAL = Trial("run1", "lightgbm", "fwd_ret_5", config="c1", features="f1", sharpe=0.05, sessions=500)


def writer(folder: Path, run: str, trials: int) -> list[str]:
    """A process that adds trials one by one and says which are written down."""
    code = (
        "from TRAINING.runs.ledger import Ledger, Trial\n"
        f"ledger = Ledger({str(folder)!r}, 'data')\n"
        f"for number in range({trials}):\n"
        f"    ledger.add([Trial({run!r}, 'm', 't', str(number), 'f', sharpe=number / 7, sessions=9)])\n"
        "    print(number, flush=True)\n"
    )
    return [sys.executable, "-c", code]


def test_distinct_trials_count_and_the_same_one_does_not(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "runs" / ".trials", "data")
    assert (ledger.count(), ledger.sharpes(), ledger.trials()) == (0, [], [])
    assert not ledger.path.parent.exists()
    assert ledger.add([TRIAL]) == 1
    assert ledger.add([TRIAL, replace(TRIAL, sharpe=0.9)]) == 0  # the first result stays
    others = [
        replace(TRIAL, run="run2"),
        replace(TRIAL, model="xgboost"),
        replace(TRIAL, target="fwd_ret_1"),
        replace(TRIAL, config="the same with another seed"),
        replace(TRIAL, features="f2"),
        replace(TRIAL, tuning_trial="7"),
        replace(TRIAL, symbol="BRK/B"),
    ]
    assert ledger.add([*others, *others]) == 7
    assert ledger.trials() == [TRIAL, *others]
    assert Ledger(tmp_path / "runs" / ".trials", "data").count() == 8
    assert Ledger(tmp_path / "runs" / ".trials", "other data").count() == 0


def test_a_trial_without_a_sharpe_ratio_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "data")
    values = [0.05, math.nan, np.float64(-0.02), np.float32("inf")]
    ledger.add(replace(TRIAL, config=str(i), sharpe=value, sessions=np.int64(5)) for i, value in enumerate(values))
    assert ledger.count() == 4
    assert ledger.sharpes() == [0.05, -0.02]
    assert math.isnan(ledger.trials()[1].sharpe)
    assert [json.loads(line)["sharpe"] for line in ledger.path.read_text().splitlines()] == [0.05, None, -0.02, None]


def test_any_text_is_one_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "data")
    trial = replace(TRIAL, symbol="a\nb\r\x85\u2028ö\ud800", target='"{')
    ledger.add([trial])
    ledger.add([TRIAL])
    assert ledger.trials() == [trial, TRIAL]
    assert ledger.path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    ledger = Ledger(tmp_path, "data")
    ledger.add([TRIAL, replace(TRIAL, run="run2")])
    first, second = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(first + second[:kept])
    with caplog.at_level(logging.WARNING, "barzoo"):
        assert ledger.trials() == [TRIAL]
    assert "the last line was cut off" in caplog.text
    assert ledger.add([replace(TRIAL, run="run3")]) == 1
    caplog.clear()
    assert [trial.run for trial in ledger.trials()] == ["run1", "run3"]
    assert not caplog.text


def test_a_torn_line_is_dropped_before_the_same_trial_is_added_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "data")
    ledger.add([TRIAL])
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])  # all but the line's end
    assert ledger.add([TRIAL]) == 1
    assert ledger.trials() == [TRIAL]


@pytest.mark.parametrize("line", ["{", "[]", "7", "null", "{}", '{"sharpe": 1}', '{"sharpe": "x"}', "\xff", ""])
def test_a_line_that_is_no_trial_is_said(tmp_path: Path, line: str) -> None:
    ledger = Ledger(tmp_path, "data")
    ledger.add([TRIAL])
    ledger.path.write_bytes(ledger.path.read_bytes() + line.encode("latin-1") + b"\n")
    for call in (ledger.count, lambda: ledger.add([replace(TRIAL, run="run2")])):
        with pytest.raises(IntegrityError, match="data.jsonl: line 2 is no trial"):
            call()


def test_two_processes_lose_no_line(tmp_path: Path) -> None:
    children = [subprocess.Popen(writer(tmp_path, run, 40), stdout=subprocess.DEVNULL) for run in ("a", "b")]
    assert [child.wait() for child in children] == [0, 0]
    trials = Ledger(tmp_path, "data").trials()
    assert len(trials) == 80
    for run in ("a", "b"):
        assert [trial.config for trial in trials if trial.run == run] == [str(number) for number in range(40)]


def test_what_was_added_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen(writer(tmp_path, "a", 10**6), stdout=subprocess.PIPE, text=True) as child:
        said = [child.stdout.readline() for _ in range(15)]
        child.kill()
        said += [line for line in child.stdout if line.endswith("\n")]
    ledger = Ledger(tmp_path, "data")
    configs = [trial.config for trial in ledger.trials()]
    assert configs[: len(said)] == [line.strip() for line in said]
    assert len(configs) - len(said) in (0, 1)
    assert ledger.add([TRIAL]) == 1  # the lock died with its process


def test_a_lock_that_is_not_released_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_WAIT", 0.0)
    ledger = Ledger(tmp_path, "data")
    ledger.add([TRIAL])
    with ledger._held(), pytest.raises(LockedError, match="another process has kept it"):
        Ledger(tmp_path, "data").count()


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ledger of trials cannot be written"):
        Ledger(tmp_path / "file", "data").add([TRIAL])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        Ledger(tmp_path, "data").add([TRIAL])
