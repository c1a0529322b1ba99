"""Where the price stands in its longer past: highs, lows and what was lost in between."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.trend import falling_low
from DATA_PROCESSING.features.windows import BLOCK, bars_since_max, rolling_max, rolling_mean, rolling_min


def to_high(bars: BarsView, window: int) -> np.ndarray:
    return np.log(bars.close / bars.over("high", rolling_max, window))


def to_low(bars: BarsView, window: int) -> np.ndarray:
    return np.log(bars.close / bars.over("low", rolling_min, window))


def high_age(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("high", bars_since_max, window + 1) / window


def low_age(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(falling_low, bars_since_max, window + 1) / window


@compiled
def rolling_drawdown(x: np.ndarray, window: int) -> np.ndarray:
    """Largest fall, as a negative share, from a value to a later one of the last ``window``; all of them above 0."""
    out = np.full(x.size, np.nan)
    block_trough = np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        drawdown, trough = out[start:stop], block_trough[: stop - start]
        trough[:] = x[start:stop]
        drawdown[:] = 1.0  # as lowest later value / value
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(trough.size):
                trough[row] = past[row] if past[row] < trough[row] else trough[row]
                left = trough[row] / past[row]
                drawdown[row] = left if left < drawdown[row] else drawdown[row]
        for row in range(trough.size):
            drawdown[row] -= 1.0
    return out


def drawdown(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("close", rolling_drawdown, window)


def ulcer(bars: BarsView, window: int) -> np.ndarray:
    fall = bars.close / bars.over("close", rolling_max, window) - 1.0
    return np.sqrt(rolling_mean(fall * fall, window))


EXTREMES = (
    *(
        Feature(
            f"to_high_{window}",
            to_high,
            (window,),
            window - 1,
            f"ln(close / highest high), {window} bars, George and Hwang (2004)",
        )
        for window in (20, 60, 250)
    ),
    *(
        Feature(f"to_low_{window}", to_low, (window,), window - 1, f"ln(close / lowest low), {window} bars")
        for window in (20, 60, 250)
    ),
    Feature("high_age_250", high_age, (250,), 250, "bars since the highest high / 250, 250 bars before and this one"),
    Feature("low_age_250", low_age, (250,), 250, "bars since the lowest low / 250, 250 bars before and this one"),
    *(
        Feature(
            f"drawdown_{window}",
            drawdown,
            (window,),
            window - 1,
            f"largest fall from a close to a later one, as a share, {window} bars",
        )
        for window in (20, 120)
    ),
    Feature(
        "ulcer_60",
        ulcer,
        (60,),
        118,
        "sqrt(mean of (close / highest close of 60 bars - 1)^2 over 60 bars), Martin and McCann (1989)",
    ),
)
