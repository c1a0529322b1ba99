"""A small labeled panel: three symbols, of which one begins later."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from DATA_PROCESSING.labels import build_labels


def labeled_symbol(symbol: str, seed: int, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    count = len(sessions)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, count)))
    wide = np.abs(random.normal(0, 0.01, count))
    bars = pd.DataFrame({"timestamp": sessions, "open": close, "high": close * (1 + wide), "low": close * (1 - wide)})
    bars = bars.assign(close=close, volume=1e6)
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=20)
    features = pd.DataFrame(random.normal(size=(count, 4)), columns=["a", "b", "c", "vol_ratio"]).astype(np.float32)
    features["a"] += labels["fwd_ret_5"].fillna(0).to_numpy(np.float32) * 20  # something to learn
    bars = bars.assign(session=bars["timestamp"].dt.tz_localize(None).dt.normalize(), symbol=symbol)
    return pd.concat([bars, features, labels], axis=1)


@pytest.fixture(scope="session")
def panel() -> pd.DataFrame:
    sessions = pd.bdate_range("2015-01-01", periods=400, tz="UTC").as_unit("ns")
    parts = [labeled_symbol("A", 1, sessions), labeled_symbol("B", 2, sessions), labeled_symbol("C", 3, sessions[150:])]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def small() -> dict:
    """The configuration of a small model."""
    return {"n_estimators": 20, "learning_rate": 0.1, "min_data_in_leaf": 10, "early_stopping_rounds": 5}
