"""Moving averages, as ratios."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.windows import rolling_mean


def close_to_simple(bars: BarsView, window: int) -> np.ndarray:
    return bars.close / bars.over("close", rolling_mean, window) - 1.0


def close_to_exponential(bars: BarsView, window: int) -> np.ndarray:
    return bars.close / bars.exponential("close", bars.close, window) - 1.0


def simple_to_simple(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.over("close", rolling_mean, short) / bars.over("close", rolling_mean, long) - 1.0


AVERAGES = (
    *(
        Feature(
            f"close_to_sma_{window}", close_to_simple, (window,), window - 1, f"close / {window}-bar mean of close - 1"
        )
        for window in (10, 20, 50, 100)
    ),
    Feature("sma_10_to_sma_50", simple_to_simple, (10, 50), 49, "10-bar mean of close / 50-bar mean of close - 1"),
    Feature(
        "close_to_ema_20",
        close_to_exponential,
        (20,),
        19,
        "close / 20-bar exponential average of close - 1",
        recursive=True,
    ),
)
