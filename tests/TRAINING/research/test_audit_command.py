"""``barzoo audit`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def test_a_clean_source_exits_0_and_writes_its_numbers(bars_folder: Path, tmp_path: Path, barzoo) -> None:
    done = barzoo("audit", bars_folder, "--null-runs", 5, "--output", "here/audit.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("truncation", "passed", "6 of 6 planted leaks were seen", "1,500 rows of 3 of 3 symbols"):
        assert said in done.stdout
    assert "check 7/7 splits: passed" in done.stderr
    told = json.loads((tmp_path / "here" / "audit.json").read_text())
    assert told["settings"]["null_runs"] == 5
    assert len(told["checks"]) == 9


def test_a_leak_exits_1(labeled_frame: pd.DataFrame, tmp_path: Path, barzoo) -> None:
    (tmp_path / "tables").mkdir()
    for symbol, table in labeled_frame.assign(alpha=labeled_frame["fwd_ret_5"]).groupby("symbol"):
        table.drop(columns="symbol").to_parquet(tmp_path / "tables" / f"{symbol}.parquet", index=False)
    done = barzoo("audit", "tables", "--targets", "fwd_ret_5", "--null-runs", 5, "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert told["foresight"]["verdict"] == "failed"
    assert told["foresight"]["numbers"]["named"] == ["alpha"]
    assert told["null"]["verdict"] == "failed"  # too good to be true
    assert list(tmp_path.iterdir()) == [tmp_path / "tables"]


def test_usage_errors_are_one_line(bars_folder: Path, tmp_path: Path, barzoo) -> None:
    done = barzoo("audit", bars_folder, "--targets", "y_will_peek", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("no target 'y_will_peek'; did you mean 'y_will_peak'?")
    (tmp_path / "file").write_text("")
    done = barzoo("audit", bars_folder, "--null-runs", 5, "--output", "file/audit.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "choose another --output" in done.stderr
