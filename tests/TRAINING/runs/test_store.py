from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from CONFIG.errors import ConfigError, LockedError
from TRAINING.runs.lock import locked
from TRAINING.runs.store import RunFolder, write_sealed


def test_a_unit_counts_only_whole_and_of_its_identity(tmp_path: Path) -> None:
    store = RunFolder(tmp_path)
    folder = store.unit("lightgbm", "y_will_peak", "BRK/B")
    assert store.finished_unit(folder, "id") is None
    write_sealed(folder, {"identity": "id"}, {"model.txt": b"x"})
    assert store.finished_unit(folder, "id")[1] == {"model.txt": b"x"}
    assert store.finished_unit(folder, "other") is None
    (folder / "model.txt").write_bytes(b"y")
    assert store.finished_unit(folder, "id") is None


@pytest.mark.parametrize("symbol", ["../x", "..", ".", "/etc/passwd", "CON", "a/../../../b", "NO", ""])
def test_no_symbol_leaves_the_folder(tmp_path: Path, symbol: str) -> None:
    folder = RunFolder(tmp_path / "run").unit("lightgbm", "../../target", symbol).resolve()
    assert (tmp_path / "run" / "units").resolve() in folder.parents


def test_clearing_keeps_the_lock_and_what_is_not_ours(tmp_path: Path) -> None:
    store = RunFolder(tmp_path)
    store.create()
    for name in ("report.html", "leaderboard.csv", ".lock"):
        (tmp_path / name).write_text("x")
    write_sealed(store.unit("a", "b", "c"), {}, {})
    (tmp_path / "my_notes.txt").write_text("keep")
    (tmp_path / "mine").mkdir()
    store.create()
    store.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".barzoo", ".lock", "mine", "my_notes.txt"]


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json", "labeled", "units", "report.html"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    """Names that a run uses too do not make a folder a run's."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=f"not a run folder, it holds '{name}'"):
        RunFolder(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_leftovers_of_a_kill_do_not_matter(tmp_path: Path) -> None:
    for name in (".lock", ".config.resolved.yaml.123.tmp", "..barzoo.7.tmp"):
        (tmp_path / name).write_text("")
    RunFolder(tmp_path).create()
    assert (tmp_path / ".barzoo").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="cannot write there"):
        RunFolder(tmp_path / "run").create()


def test_a_second_process_is_kept_out_and_a_dead_one_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from TRAINING.runs.lock import locked\n"
        f"with locked({str(tmp_path)!r}): print('held', flush=True); sys.stdin.readline(); os._exit(9)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match="another run is writing here"), locked(tmp_path):
        pass
    child.communicate("die\n")
    with locked(tmp_path):
        assert child.returncode == 9
