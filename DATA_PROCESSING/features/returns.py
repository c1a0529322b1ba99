"""Returns over several spans, by day and by night, and the shape of their distribution."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import BLOCK, rolling_correlation, rolling_max, rolling_mean, rolling_min


def log_return(bars: BarsView, window: int) -> np.ndarray:
    return bars.log_return if window == 1 else np.log(bars.close / lagged(bars.close, window))


def earlier_return(bars: BarsView, bars_ago: int) -> np.ndarray:
    return lagged(bars.log_return, bars_ago)


def overnight(bars: BarsView) -> np.ndarray:
    return np.log(bars.open / lagged(bars.close, 1))


def intraday(bars: BarsView) -> np.ndarray:
    return np.log(bars.close / bars.open)


def overnight_return(bars: BarsView, window: int) -> np.ndarray:
    return window * bars.over(overnight, rolling_mean, window)


def intraday_return(bars: BarsView, window: int) -> np.ndarray:
    return window * bars.over(intraday, rolling_mean, window)


def overnight_share(bars: BarsView, window: int) -> np.ndarray:
    by_night, by_day = (rolling_mean(np.abs(bars.once(part)), window) for part in (overnight, intraday))
    return by_night / (by_night + by_day)


def overnight_to_intraday(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(bars.once(overnight), bars.once(intraday), window)


@compiled
def rolling_shape(x: np.ndarray, mean: np.ndarray, window: int, power: int) -> np.ndarray:
    """Mean of the last ``window`` deviations from ``mean`` to that power, in standard deviations; power 3 or 4."""
    out = np.full(x.size, np.nan)
    block_squares = np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        center, powers, squares = mean[start:stop], out[start:stop], block_squares[: stop - start]
        powers[:] = squares[:] = 0.0
        for lag in range(window):
            past = x[start - lag : stop - lag]
            for row in range(center.size):
                deviation = past[row] - center[row]
                square = deviation * deviation
                squares[row] += square
                powers[row] += square * (deviation if power == 3 else square)
        for row in range(center.size):
            variance = squares[row] / window
            powers[row] /= window * variance * (np.sqrt(variance) if power == 3 else variance)
    return out


def skew(bars: BarsView, window: int) -> np.ndarray:
    return rolling_shape(bars.log_return, bars.over("log_return", rolling_mean, window), window, 3)


def kurtosis(bars: BarsView, window: int) -> np.ndarray:
    return rolling_shape(bars.log_return, bars.over("log_return", rolling_mean, window), window, 4) - 3.0


def largest_return(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("log_return", rolling_max, window)


def smallest_return(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("log_return", rolling_min, window)


def return_over(window: int) -> Feature:
    return Feature(f"log_return_{window}", log_return, (window,), window, f"ln(close[t] / close[t - {window}])")


RETURNS = tuple(return_over(window) for window in (1, 5, 10, 20, 60, 120))

MORE_RETURNS = (
    *(return_over(window) for window in (2, 40, 250)),
    *(
        Feature(
            f"log_return_1_lag_{ago}", earlier_return, (ago,), ago + 1, f"ln(close[t - {ago}] / close[t - {ago + 1}])"
        )
        for ago in (1, 2, 3)
    ),
    *(
        Feature(
            f"overnight_{window}",
            overnight_return,
            (window,),
            window,
            f"sum of ln(open / previous close), {window} bars, Lou, Polk and Skouras (2019)",
        )
        for window in (5, 20, 60)
    ),
    Feature("intraday_1", intraday_return, (1,), 0, "ln(close / open)"),
    Feature("intraday_5", intraday_return, (5,), 4, "sum of ln(close / open), 5 bars"),
    Feature(
        "overnight_share_20",
        overnight_share,
        (20,),
        20,
        "sum of |ln(open / previous close)| / (that + sum of |ln(close / open)|), 20 bars",
    ),
    Feature(
        "overnight_to_intraday_60",
        overnight_to_intraday,
        (60,),
        60,
        "correlation of ln(open / previous close) with ln(close / open), 60 bars",
    ),
    *(
        Feature(
            f"skew_{window}",
            skew,
            (window,),
            window,
            f"skewness of 1-bar log returns, {window} bars, Amaya, Christoffersen, Jacobs and Vasquez (2015)",
        )
        for window in (20, 60, 120)
    ),
    *(
        Feature(
            f"kurtosis_{window}", kurtosis, (window,), window, f"excess kurtosis of 1-bar log returns, {window} bars"
        )
        for window in (60, 120)
    ),
    Feature(
        "largest_return_20",
        largest_return,
        (20,),
        20,
        "largest 1-bar log return, 20 bars, Bali, Cakici and Whitelaw (2011)",
    ),
    Feature("smallest_return_20", smallest_return, (20,), 20, "smallest 1-bar log return, 20 bars"),
)
