"""How much prices move, from closes and from ranges."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.windows import rolling_mean, rolling_std


def volatility(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("log_return", rolling_std, window, 1)


def volatility_ratio(bars: BarsView, short: int, long: int) -> np.ndarray:
    return volatility(bars, short) / volatility(bars, long)


def downside_share(bars: BarsView, window: int) -> np.ndarray:
    squares = bars.log_return**2
    losses = np.where(bars.log_return > 0, 0.0, squares)  # NaN stays NaN
    return rolling_mean(losses, window) / rolling_mean(squares, window)


def log_range_squared(bars: BarsView) -> np.ndarray:
    return np.log(bars.range_ratio) ** 2


def parkinson(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(rolling_mean(bars.once(log_range_squared), window) / (4.0 * np.log(2.0)))


def garman_klass(bars: BarsView, window: int) -> np.ndarray:
    body_squared = np.log(bars.close / bars.open) ** 2
    variance = 0.5 * bars.once(log_range_squared) - (2.0 * np.log(2.0) - 1.0) * body_squared
    return np.sqrt(rolling_mean(variance, window))


def average_true_range(bars: BarsView, window: int) -> np.ndarray:
    return bars.wilder("true_range", bars.true_range, window) / bars.close


VOLATILITY = (
    *(
        Feature(
            f"vol_{window}", volatility, (window,), window, f"standard deviation of 1-bar log returns, {window} bars"
        )
        for window in (10, 20, 60)
    ),
    Feature("vol_ratio", volatility_ratio, (10, 60), 60, "vol_10 / vol_60"),
    Feature(
        "downside_share_20",
        downside_share,
        (20,),
        20,
        "share of falling bars in the sum of squared 1-bar log returns, 20 bars",
    ),
    Feature(
        "parkinson_20", parkinson, (20,), 19, "sqrt(mean of ln(high / low)^2 over 20 bars / (4 ln 2)), Parkinson (1980)"
    ),
    Feature(
        "garman_klass_20",
        garman_klass,
        (20,),
        19,
        "sqrt(mean over 20 bars of ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2), Garman and Klass (1980)",
    ),
    Feature("atr_14", average_true_range, (14,), 14, "Wilder's average true range, 14 bars / close", recursive=True),
)
