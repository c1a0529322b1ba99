"""Synthetic daily bars for the benchmarks: many symbols, clustered volatility, and returns that trend a little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.labeled import TableBuilder, label_panel
from DATA_PROCESSING.sources import read_panel


def synthetic_bars(rows: int, seed: int) -> pd.DataFrame:
    """Bars of one symbol; the drift wanders slowly, so that past returns say something of the next ones."""
    random = np.random.default_rng(seed)
    log_volatility, drift = np.zeros(rows), np.zeros(rows)
    for t in range(1, rows):
        log_volatility[t] = 0.97 * log_volatility[t - 1] + 0.12 * random.normal()
        drift[t] = 0.97 * drift[t - 1] + 0.0006 * random.normal()
    volatility = 0.015 * np.exp(log_volatility)
    close = 50 * np.exp(np.cumsum(drift + volatility * random.normal(size=rows)))
    open_ = close * np.exp(volatility * random.normal(size=rows) / 2)
    high = np.maximum(open_, close) * np.exp(volatility * np.abs(random.normal(size=rows)) / 2)
    low = np.minimum(open_, close) * np.exp(-volatility * np.abs(random.normal(size=rows)) / 2)
    volume = np.round(1e6 * np.exp(log_volatility + random.normal(size=rows) / 3))
    timestamps = pd.bdate_range("2015-01-01", periods=rows, tz="UTC").as_unit("ns")
    return pd.DataFrame(
        {"timestamp": timestamps, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
    )


def minute_bars(rows: int, seed: int) -> pd.DataFrame:
    """Minute bars of one symbol that never sleeps, of any number of rows."""
    random = np.random.default_rng(seed)
    close = 50 * np.exp(0.001 * np.cumsum(random.normal(size=rows)))
    open_ = close * np.exp(0.0005 * random.normal(size=rows))
    high = np.maximum(open_, close) * np.exp(0.0005 * np.abs(random.normal(size=rows)))
    low = np.minimum(open_, close) * np.exp(-0.0005 * np.abs(random.normal(size=rows)))
    volume = np.round(1e4 * np.exp(random.normal(size=rows))) + 1.0
    timestamps = pd.date_range("2010-01-01", periods=rows, freq="min", tz="UTC").as_unit("ns")
    return pd.DataFrame(
        {"timestamp": timestamps, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
    )


def labeled_folder(folder: Path, symbols: int, rows: int) -> Path:
    """Labeled tables of that many symbols below ``folder``."""
    bars = folder / "bars"
    bars.mkdir(parents=True)
    frames = [synthetic_bars(rows, seed).assign(symbol=f"S{seed:03}") for seed in range(symbols)]
    pd.concat(frames).to_parquet(bars / "panel.parquet")
    panel = read_panel(str(bars / "panel.parquet"), load_run_config("bars"))
    builder = TableBuilder(panel, load_run_config("features"), load_run_config("labels"))
    label_panel(builder, folder / "labeled", jobs=2)
    return folder / "labeled"
