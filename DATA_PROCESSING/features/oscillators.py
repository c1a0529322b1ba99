"""Oscillators: where the price stands between recent extremes, or gains against losses."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import BLOCK, rolling_max, rolling_mean, rolling_min


def relative_strength(bars: BarsView, window: int) -> np.ndarray:
    change = bars.close - lagged(bars.close, 1)
    gain = bars.wilder("gain", np.maximum(change, 0.0), window)
    loss = bars.wilder("loss", np.maximum(-change, 0.0), window)
    return 100.0 * gain / (gain + loss)


def stochastic(bars: BarsView, window: int) -> np.ndarray:
    lowest = bars.over("low", rolling_min, window)
    return 100.0 * (bars.close - lowest) / (bars.over("high", rolling_max, window) - lowest)


def stochastic_k(bars: BarsView, window: int, smoothing: int) -> np.ndarray:
    return rolling_mean(bars.once(stochastic, window), smoothing)


def stochastic_d(bars: BarsView, window: int, smoothing: int, second_smoothing: int) -> np.ndarray:
    return rolling_mean(bars.once(stochastic_k, window, smoothing), second_smoothing)


def williams_r(bars: BarsView, window: int) -> np.ndarray:
    highest = bars.over("high", rolling_max, window)
    return 100.0 * (bars.close - highest) / (highest - bars.over("low", rolling_min, window))


@compiled
def rolling_mean_deviation(x: np.ndarray, mean: np.ndarray, window: int) -> np.ndarray:
    """Mean absolute deviation of the last ``window`` values from their ``mean``."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        center, deviation = mean[start:stop], out[start:stop]
        deviation[:] = 0.0
        for lag in range(window):
            past = x[start - lag : stop - lag]
            for row in range(center.size):
                deviation[row] += abs(past[row] - center[row])
        for row in range(center.size):
            deviation[row] /= window
    return out


def commodity_channel(bars: BarsView, window: int) -> np.ndarray:
    mean = rolling_mean(bars.typical_price, window)
    return (bars.typical_price - mean) / (0.015 * rolling_mean_deviation(bars.typical_price, mean, window))


def money_flow(bars: BarsView, window: int) -> np.ndarray:
    change = bars.typical_price - lagged(bars.typical_price, 1)
    sign = np.sign(np.where(np.abs(change) <= ROUNDING * bars.typical_price, 0.0, change))
    bought, sold = (rolling_mean(bars.turnover * np.maximum(side, 0.0), window) for side in (sign, -sign))
    return 100.0 * bought / (bought + sold)


def ultimate(bars: BarsView, short: int, middle: int, long: int) -> np.ndarray:
    pressure = bars.close - np.minimum(bars.low, lagged(bars.close, 1))
    ratios = (rolling_mean(pressure, n) / rolling_mean(bars.true_range, n) for n in (short, middle, long))
    return 100.0 * sum(weight * ratio for weight, ratio in zip((4, 2, 1), ratios, strict=True)) / 7.0


OSCILLATORS = (
    Feature("rsi_14", relative_strength, (14,), 14, "relative strength index, 14 bars, Wilder (1978)", recursive=True),
    Feature(
        "stochastic_k_14_3",
        stochastic_k,
        (14, 3),
        15,
        "mean over 3 bars of 100 (close - lowest low) / (highest high - lowest low), 14 bars",
    ),
    Feature("stochastic_d_14_3_3", stochastic_d, (14, 3, 3), 17, "mean of stochastic_k_14_3 over 3 bars"),
    Feature(
        "williams_r_14", williams_r, (14,), 13, "100 (close - highest high) / (highest high - lowest low), 14 bars"
    ),
    Feature(
        "cci_20",
        commodity_channel,
        (20,),
        19,
        "(typical price - its mean) / (0.015 mean absolute deviation), 20 bars, Lambert (1980)",
    ),
    Feature(
        "mfi_14",
        money_flow,
        (14,),
        14,
        "100 x share of bars with a rising typical price in typical price x volume, 14 bars",
    ),
    Feature(
        "ultimate_7_14_28",
        ultimate,
        (7, 14, 28),
        28,
        "100 (4 b7 + 2 b14 + b28) / 7, bN = sum of close - true low / sum of true range, N bars, Williams (1985)",
    ),
)
