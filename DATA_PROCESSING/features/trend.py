"""Direction and straightness of the price's path."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import BLOCK, rolling_mean, rolling_std


def directional_indicators(bars: BarsView, window: int) -> tuple[np.ndarray, np.ndarray]:
    """+DI and -DI. Equal moves up and down count as neither, equal but for rounding included."""
    up, down = bars.high - lagged(bars.high, 1), lagged(bars.low, 1) - bars.low
    lead = up - down
    lead[np.abs(lead) <= ROUNDING * bars.close] = 0.0
    plus = np.where(lead > 0, np.maximum(up, 0.0), 0.0 * lead)  # 0 * lead: NaN on the first bar
    minus = np.where(lead < 0, np.maximum(down, 0.0), 0.0 * lead)
    true_range = bars.wilder("true_range", bars.true_range, window)
    plus, minus = bars.wilder("plus", plus, window), bars.wilder("minus", minus, window)
    return 100.0 * plus / true_range, 100.0 * minus / true_range


def plus_directional(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(directional_indicators, window)[0]


def minus_directional(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(directional_indicators, window)[1]


def average_directional(bars: BarsView, window: int) -> np.ndarray:
    plus, minus = bars.once(directional_indicators, window)
    return bars.wilder(f"directional_{window}", 100.0 * np.abs(plus - minus) / (plus + minus), window)


@compiled
def bars_since_max(x: np.ndarray, window: int) -> np.ndarray:
    """Bars since the highest of the last ``window`` values, the latest of equal ones."""
    out = np.full(x.size, np.nan)
    block_highest = np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        since, highest = out[start:stop], block_highest[: stop - start]
        since[:] = 0.0
        highest[:] = x[start:stop]
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(highest.size):
                since[row] = lag if past[row] > highest[row] else since[row]
                highest[row] = past[row] if past[row] > highest[row] else highest[row]
    return out


def aroon_up(bars: BarsView, window: int) -> np.ndarray:
    return 100.0 * (1.0 - bars_since_max(bars.high, window + 1) / window)


def aroon_down(bars: BarsView, window: int) -> np.ndarray:
    return 100.0 * (1.0 - bars_since_max(-bars.low, window + 1) / window)


@compiled
def rolling_slope(x: np.ndarray, window: int) -> np.ndarray:
    """Slope per bar of the least-squares line through the last ``window`` values."""
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now, slope = x[start:stop], out[start:stop]
        slope[:] = 0.0
        for lag in range(1, window):
            time = 0.5 * (window - 1) - lag
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                slope[row] += time * (past[row] - now[row])
        for row in range(now.size):
            slope[row] *= 12.0 / (window * (window * window - 1.0))
    return out


def slope(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("close", rolling_slope, window) / bars.close


def time_correlation(bars: BarsView, window: int) -> np.ndarray:
    deviation_of_time = np.sqrt((window**2 - 1) / 12)
    return bars.over("close", rolling_slope, window) * deviation_of_time / bars.over("close", rolling_std, window, 0)


def efficiency(bars: BarsView, window: int) -> np.ndarray:
    steps = np.abs(bars.close - lagged(bars.close, 1))
    return (bars.close - lagged(bars.close, window)) / (window * rolling_mean(steps, window))


TREND = (
    Feature(
        "plus_di_14",
        plus_directional,
        (14,),
        14,
        "+DI: Wilder's average of upward moves of the high / of true ranges, 14 bars, in percent",
        recursive=True,
    ),
    Feature(
        "minus_di_14",
        minus_directional,
        (14,),
        14,
        "-DI: Wilder's average of downward moves of the low / of true ranges, 14 bars, in percent",
        recursive=True,
    ),
    Feature(
        "adx_14",
        average_directional,
        (14,),
        27,
        "Wilder's average of 100 |+DI - -DI| / (+DI + -DI), 14 bars",
        recursive=True,
    ),
    Feature(
        "aroon_up_25",
        aroon_up,
        (25,),
        25,
        "100 (1 - bars since the highest high / 25), 25 bars before and this one, Chande (1995)",
    ),
    Feature(
        "aroon_down_25",
        aroon_down,
        (25,),
        25,
        "100 (1 - bars since the lowest low / 25), 25 bars before and this one, Chande (1995)",
    ),
    Feature("slope_20", slope, (20,), 19, "slope per bar of the least-squares line through 20 closes / close"),
    Feature("time_correlation_20", time_correlation, (20,), 19, "correlation of close with time, 20 bars"),
    Feature(
        "efficiency_20",
        efficiency,
        (20,),
        20,
        "change of close over 20 bars / sum of absolute 1-bar changes, Kaufman (1995), with its sign",
    ),
)
