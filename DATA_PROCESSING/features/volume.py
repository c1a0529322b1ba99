"""Volume, only as ratios: dividing all volumes by a constant changes nothing."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.windows import rolling_mean


def relative_volume(bars: BarsView, window: int) -> np.ndarray:
    return bars.volume / bars.over("volume", rolling_mean, window)


def volume_trend(bars: BarsView, short: int, long: int) -> np.ndarray:
    return rolling_mean(bars.volume, short) / bars.over("volume", rolling_mean, long)


def on_balance(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.direction * bars.volume, window) / bars.over("volume", rolling_mean, window)


def chaikin_flow(bars: BarsView, window: int) -> np.ndarray:
    location = (2.0 * bars.close - bars.high - bars.low) / (bars.high - bars.low)
    location[bars.high == bars.low] = 0.0
    flow = location * bars.volume
    return rolling_mean(flow, window) / bars.over("volume", rolling_mean, window)


def close_to_average_price(bars: BarsView, window: int) -> np.ndarray:
    return bars.close * bars.over("volume", rolling_mean, window) / bars.over("turnover", rolling_mean, window) - 1.0


def return_per_turnover(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(np.abs(bars.log_return), window) / bars.over("turnover", rolling_mean, window)


def illiquidity(bars: BarsView, short: int, long: int) -> np.ndarray:
    return return_per_turnover(bars, short) / return_per_turnover(bars, long)


VOLUME = (
    Feature("volume_to_mean_20", relative_volume, (20,), 19, "volume / its 20-bar mean"),
    Feature("volume_5_to_60", volume_trend, (5, 60), 59, "5-bar mean of volume / 60-bar mean of volume"),
    Feature(
        "obv_20",
        on_balance,
        (20,),
        20,
        "volume of rising less volume of falling bars / volume, 20 bars: change of on-balance volume",
    ),
    Feature(
        "chaikin_flow_20",
        chaikin_flow,
        (20,),
        19,
        "mean of volume x (2 close - high - low) / (high - low), 0 without range / mean of volume, 20 bars",
    ),
    Feature(
        "close_to_vwap_20",
        close_to_average_price,
        (20,),
        19,
        "close / volume-weighted mean of the typical price - 1, 20 bars",
    ),
    Feature(
        "illiquidity_20_60",
        illiquidity,
        (20, 60),
        60,
        "mean |1-bar log return| / mean of typical price x volume, 20 bars to 60 bars, after Amihud (2002)",
    ),
)
