"""Imports go down only: DESIGN's levels, read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The longest matching name decides; rooms of one level never import each other.
LEVELS = {
    "CONFIG": 1,
    "DATA_PROCESSING": 2,
    "TRAINING": 0,  # the package's own __init__: a version, no imports
    "TRAINING.evaluation": 3,
    "TRAINING.runs": 3,
    "TRAINING.reports": 3,
    "TRAINING.neural": 3,
    "TRAINING.model_fun": 4,
    "TRAINING.artifacts": 5,
    "TRAINING.calibration": 5,
    "TRAINING.conformal": 5,
    "TRAINING.strategies": 6,
    "TRAINING.walkforward": 7,
    "TRAINING.phases": 8,
    "TRAINING.research": 9,
    "TRAINING.search": 9,
    "TRAINING.cli": 10,
    "TRAINING.EXPERIMENTS": 11,
    "TRAINING.__main__": 11,
}
HEAVY = {"torch", "lightning", "lightgbm", "xgboost", "ngboost"}
SLOW = {"pandas", "numpy", "sklearn", "scipy", "numba", "matplotlib", "pyarrow", "joblib"}
MODULES = sorted(
    path for package in ("CONFIG", "DATA_PROCESSING", "TRAINING") for path in (ROOT / package).rglob("*.py")
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return max((room for room in LEVELS if f"{module}.".startswith(f"{room}.")), key=len)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = name_of(path)
    room = room_of(module)
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in HEAVY:
            apart = room == "TRAINING.neural" and top in ("torch", "lightning")
            assert apart or LEVELS[room] > 3, f"{module} imports {imported}; levels 1 to 3 do without it"
        if top not in ("CONFIG", "DATA_PROCESSING", "TRAINING"):
            continue
        other = room_of(imported)
        if other == "TRAINING":
            continue
        assert other == room or LEVELS[other] < LEVELS[room], f"{module} imports {imported}: not downward"


def test_the_walk_sees_the_house() -> None:
    assert len(MODULES) > 40
    assert room_of("TRAINING.phases.plan") == "TRAINING.phases"
    assert "TRAINING.evaluation.splits.split_dates" in imports(ROOT / "TRAINING/phases/plan.py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["config", "show", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    """Start-up stays quick because nothing heavy is imported on the way to the help page."""
    code = (
        "import sys\n"
        "from TRAINING.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print('LOADED', sorted(set({sorted(HEAVY | SLOW)!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "LOADED []" in done.stdout, done.stdout
    assert "Usage" in done.stdout
