from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from DATA_PROCESSING.atomic import sync_folder, write_atomically

CHILD = """
import os, signal, sys
from pathlib import Path
from DATA_PROCESSING.atomic import write_atomically

setattr(os, sys.argv[2], lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
write_atomically(Path(sys.argv[1]), b"new" * 1000)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("last_call", ["fsync", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_killed_process_leaves_what_was_there(tmp_path, last_call, old):
    path = tmp_path / "table.parquet"
    if old is not None:
        path.write_bytes(old)
    child = subprocess.run([sys.executable, "-c", CHILD, str(path), last_call], check=False)
    assert child.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == old

    write_atomically(path, b"next")  # the dead process is in nobody's way
    assert path.read_bytes() == b"next"


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a" / "b" / "x.json"
    write_atomically(path, "é")
    write_atomically(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert os.listdir(path.parent) == ["x.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_missing_folder_cannot_be_synced(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")
