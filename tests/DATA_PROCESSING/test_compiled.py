"""Kernels compile and are kept even where neither the package nor the user's cache folder can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from DATA_PROCESSING.compiled import temporary_cache_folder

MODULE = """
from DATA_PROCESSING.compiled import compiled

@compiled
def ratio(x, y):
    return x / y

print(ratio(1.0, 0.0), sum(ratio.stats.cache_hits.values()))
"""


def test_machine_code_is_kept_in_the_temporary_folder_when_all_else_is_refused(tmp_path):
    (tmp_path / "kernel.py").write_text(MODULE)
    (tmp_path / "__pycache__").touch()  # a file, so no folder of that name can be made
    (tmp_path / "home").touch()
    (tmp_path / "temporary").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    outputs = [
        subprocess.run(
            [sys.executable, str(tmp_path / "kernel.py")], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert outputs == [["inf", "0"], ["inf", "1"]]
    assert list((tmp_path / "temporary").glob("barzoo-kernels-*/*/*.nbc"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes of folders are POSIX")
def test_a_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = temporary_cache_folder()
    assert temporary_cache_folder() == first
    first.chmod(0o777)
    other = temporary_cache_folder()
    assert other != first
    assert other.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes of folders are POSIX")
def test_a_link_in_its_place_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"barzoo-kernels-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert temporary_cache_folder().resolve() != tmp_path / "elsewhere"
