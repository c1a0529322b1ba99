"""Bars and tables that several tests use: small, seeded, with a signal that is known to be there."""

from __future__ import annotations

import io
import logging
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read on import; there are as many workers as cores already

import numpy as np
import pandas as pd
import pytest


def random_bars(rows: int, seed: int = 0, start: str = "2015-01-01") -> pd.DataFrame:
    """Valid daily bars of one symbol, whose volatility clusters."""
    random = np.random.default_rng(seed)
    volatility = 0.01 * np.exp(np.convolve(random.normal(size=rows + 20), np.ones(20) / 20, "valid")[:rows])
    close = 100 * np.exp(np.cumsum(random.normal(size=rows) * volatility))
    open_ = close * np.exp(random.normal(size=rows) * volatility / 2)
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(size=rows)) * volatility / 2)
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(size=rows)) * volatility / 2)
    timestamps = pd.bdate_range(start, periods=rows, tz="UTC").as_unit("ns")
    volume = random.integers(1_000, 100_000, rows).astype(float)
    return pd.DataFrame(
        {"timestamp": timestamps, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
    )


def planted_table(rows: int, task: str, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """X with one column that says something of y and nine that do not; index (symbol, timestamp)."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(size=(rows, 10)).astype(np.float32), columns=[f"noise_{i}" for i in range(10)])
    X = X.rename(columns={"noise_3": "signal"})
    value = X["signal"].to_numpy(float) + 0.5 * random.normal(size=rows)
    index = pd.MultiIndex.from_product([["A"], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
    X.index = index.set_names(["symbol", "timestamp"])
    y = pd.Series((value > 0).astype(float) if task == "binary" else value, index=X.index, name="outcome")
    return X, y


@pytest.fixture(scope="session")
def bars_folder(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the CSV bars of three symbols, 500 rows each."""
    folder = tmp_path_factory.mktemp("bars")
    for seed, symbol in enumerate(("AAA", "BBB", "CCC")):
        random_bars(500, seed).to_csv(folder / f"{symbol}.csv", index=False)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """A power cut is no part of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's own variables, and configuration, do not reach the tests."""
    for name in list(os.environ):
        if name.endswith("_VARIANT") or name.startswith("BARZOO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BARZOO_CONFIG_DIR", str(tmp_path_factory.getbasetemp() / "no-config"))


@pytest.fixture(scope="session")
def make_bars():
    """`random_bars`."""
    return random_bars


@pytest.fixture(scope="session")
def make_planted():
    """`planted_table`."""
    return planted_table


def run_barzoo(
    *arguments: object, cwd: Path, script: Path | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """`python -m TRAINING`, or a script, from its arguments to its exit code, without a process of its own."""
    command, out, err, code = ["barzoo", *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    logger, interrupt = logging.getLogger("barzoo"), signal.getsignal(signal.SIGINT)
    handlers, level = list(logger.handlers), logger.level
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            if script:
                runpy.run_path(str(script), run_name="__main__")
            else:
                runpy.run_module("TRAINING", run_name="__main__")
        except SystemExit as done:
            code = done.code or 0
        finally:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            signal.signal(signal.SIGINT, interrupt)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def barzoo() -> Callable[..., subprocess.CompletedProcess]:
    """`run_barzoo`."""
    return run_barzoo
