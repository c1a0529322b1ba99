"""Bars and tables that several tests use: small, seeded, with a signal that is known to be there."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own variables do not reach the tests."""
    import os

    for name in list(os.environ):
        if name.endswith("_VARIANT") or name.startswith("BARZOO_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def make_bars():
    """`random_bars`."""
    return random_bars


@pytest.fixture
def make_planted():
    """`planted_table`."""
    return planted_table
