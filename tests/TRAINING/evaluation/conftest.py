from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from TRAINING.evaluation.backtest import backtest


def stitched_rows(
    seed: int, symbols: int = 4, sessions: int = 30, bars: int = 1, task: str = "binary", cost_bps: float = 5.0
) -> pd.DataFrame:
    """Rows as a walk-forward stitches them: two models and buy and hold; symbols begin, end and pause in mid-panel."""
    random = np.random.default_rng(seed)
    days = pd.bdate_range("2020-11-02", periods=sessions)
    moments = (days.to_numpy()[:, None] + np.arange(bars) * np.timedelta64(1, "h")).ravel()
    frames = []
    for symbol in range(symbols):
        present = random.random(len(moments)) < 0.9
        present[: random.integers(0, 4) * bars] = False
        n = int(present.sum())
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, n)))
        y = (random.random(n) < 0.4).astype(float) if task == "binary" else random.normal(0, 0.02, n)
        y[max(n - 3, 0) :] = np.nan
        for model in ("ours", "base_rate", "buy_and_hold"):
            signal = np.ones(n) if model == "buy_and_hold" else random.choice([-1.0, 0.0, 1.0], n)
            money = backtest(close, signal, 2, 1, cost_bps)
            names = ("position", "position_change", "asset_return", "net_return")
            session = np.repeat(days.to_numpy(), bars)[present]
            frames.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "symbol": f"S{symbol}",
                        "timestamp": pd.DatetimeIndex(moments[present], tz="UTC"),
                        "session": session,
                        "fold": np.searchsorted(days, session) // 10,
                        "y": y,
                        "prediction": np.nan if model == "buy_and_hold" else random.random(n).round(2),
                        "signal": signal,
                        "close": close,
                    }
                    | {name: getattr(money, name) for name in names}
                )
            )
    return pd.concat(frames).sort_values(["symbol", "timestamp"], kind="stable", ignore_index=True)


@pytest.fixture
def make_rows():
    """`stitched_rows`."""
    return stitched_rows
