"""Whether recent moves carry on."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import BLOCK, rolling_mean, rolling_std


def return_to_volatility(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.log_return, window) / bars.over("log_return", rolling_std, window, 1)


def direction(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.direction, window)


@compiled
def rolling_correlation(x: np.ndarray, y: np.ndarray, window: int) -> np.ndarray:
    """Pearson correlation of the last ``window`` pairs in two passes; NaN where either side is constant."""
    out = np.full(x.size, np.nan)
    block_mean_x, block_mean_y, block_xx, block_yy = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now_x, now_y, xy = x[start:stop], y[start:stop], out[start:stop]
        mean_x, mean_y = block_mean_x[: xy.size], block_mean_y[: xy.size]
        xx, yy = block_xx[: xy.size], block_yy[: xy.size]
        mean_x[:] = mean_y[:] = xx[:] = yy[:] = xy[:] = 0.0
        for lag in range(1, window):
            past_x, past_y = x[start - lag : stop - lag], y[start - lag : stop - lag]
            for row in range(xy.size):
                mean_x[row] += past_x[row] - now_x[row]
                mean_y[row] += past_y[row] - now_y[row]
        for row in range(xy.size):
            mean_x[row] = now_x[row] + mean_x[row] / window
            mean_y[row] = now_y[row] + mean_y[row] / window
        for lag in range(window):
            past_x, past_y = x[start - lag : stop - lag], y[start - lag : stop - lag]
            for row in range(xy.size):
                from_x, from_y = past_x[row] - mean_x[row], past_y[row] - mean_y[row]
                xx[row] += from_x * from_x
                xy[row] += from_x * from_y
                yy[row] += from_y * from_y
        for row in range(xy.size):
            xy[row] /= np.sqrt(xx[row]) * np.sqrt(yy[row])
    return out


def autocorrelation(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(bars.log_return, lagged(bars.log_return, 1), window)


def macd_line(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.exponential("close", bars.close, short) - bars.exponential("close", bars.close, long)


def macd(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.once(macd_line, short, long) / bars.close


def macd_histogram(bars: BarsView, short: int, long: int, signal: int) -> np.ndarray:
    line = bars.once(macd_line, short, long)
    return (line - bars.exponential(f"macd_{short}_{long}", line, signal)) / bars.close


MOMENTUM = (
    Feature(
        "return_to_vol_20", return_to_volatility, (20,), 20, "mean / standard deviation of 1-bar log returns, 20 bars"
    ),
    Feature(
        "return_to_vol_60", return_to_volatility, (60,), 60, "mean / standard deviation of 1-bar log returns, 60 bars"
    ),
    Feature("direction_20", direction, (20,), 20, "(rising closes - falling closes) / 20, 20 bars"),
    Feature(
        "autocorrelation_60",
        autocorrelation,
        (60,),
        61,
        "correlation of 1-bar log returns with those one bar before, 60 bars",
    ),
    Feature("macd_12_26", macd, (12, 26), 25, "(12-bar - 26-bar exponential average of close) / close", recursive=True),
    Feature(
        "macd_histogram_12_26_9",
        macd_histogram,
        (12, 26, 9),
        33,
        "(12-bar - 26-bar exponential average of close, less its own 9-bar exponential average) / close",
        recursive=True,
    ),
)
