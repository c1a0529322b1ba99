"""Where the close stands within a band, and how wide the band is."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.windows import rolling_max, rolling_mean, rolling_min, rolling_std


def bollinger_position(bars: BarsView, window: int, width: float) -> np.ndarray:
    half = width * bars.over("close", rolling_std, window, 0)
    return 0.5 + 0.5 * (bars.close - bars.over("close", rolling_mean, window)) / half


def bollinger_width(bars: BarsView, window: int, width: float) -> np.ndarray:
    return 2.0 * width * bars.over("close", rolling_std, window, 0) / bars.over("close", rolling_mean, window)


def keltner_position(bars: BarsView, window: int, range_window: int, width: float) -> np.ndarray:
    half = width * bars.wilder("true_range", bars.true_range, range_window)
    return 0.5 + 0.5 * (bars.close - bars.exponential("close", bars.close, window)) / half


def donchian_position(bars: BarsView, window: int) -> np.ndarray:
    lowest = bars.over("low", rolling_min, window)
    return (bars.close - lowest) / (bars.over("high", rolling_max, window) - lowest)


BANDS = (
    Feature(
        "bollinger_position_20",
        bollinger_position,
        (20, 2.0),
        19,
        "(close - lower) / (upper - lower), 20-bar mean of close -+ 2 standard deviations (ddof 0)",
    ),
    Feature("bollinger_width_20", bollinger_width, (20, 2.0), 19, "(upper - lower) / middle of the same bands"),
    Feature(
        "keltner_position_20",
        keltner_position,
        (20, 10, 2.0),
        19,
        "(close - lower) / (upper - lower), 20-bar exponential average of close -+ 2 x 10-bar atr",
        recursive=True,
    ),
    Feature(
        "donchian_position_20",
        donchian_position,
        (20,),
        19,
        "(close - lowest low) / (highest high - lowest low), 20 bars",
    ),
    Feature(
        "donchian_position_60",
        donchian_position,
        (60,),
        59,
        "(close - lowest low) / (highest high - lowest low), 60 bars",
    ),
)
