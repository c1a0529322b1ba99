"""What trading costs: price impact and spreads, as far as daily bars show them."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.volatility import absolute_return
from DATA_PROCESSING.features.windows import rolling_mean


def return_per_turnover(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(absolute_return, rolling_mean, window) / bars.over("turnover", rolling_mean, window)


def illiquidity(bars: BarsView, short: int, long: int) -> np.ndarray:
    return return_per_turnover(bars, short) / return_per_turnover(bars, long)


def range_spread(bars: BarsView) -> np.ndarray:
    """Spread of each pair of bars, from the range of both against the ranges of each."""
    previous = lagged(bars.close, 1)
    # A gap is no trading range: the bar is moved to where it meets the previous close.
    shift = np.maximum(previous - bars.high, 0.0) - np.maximum(bars.low - previous, 0.0)
    high, low = bars.high + shift, bars.low + shift
    each = np.log(high / low) ** 2 + np.log(lagged(bars.high, 1) / lagged(bars.low, 1)) ** 2
    both = np.log(np.maximum(high, lagged(bars.high, 1)) / np.minimum(low, lagged(bars.low, 1))) ** 2
    alpha = (np.sqrt(2.0 * each) - np.sqrt(each)) / (3.0 - 2.0 * np.sqrt(2.0))
    alpha -= np.sqrt(both / (3.0 - 2.0 * np.sqrt(2.0)))
    return np.maximum(2.0 * np.tanh(0.5 * alpha), 0.0)  # 2 (e^a - 1) / (1 + e^a)


def mean_range_spread(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(range_spread, rolling_mean, window)


def middle_spread(bars: BarsView, window: int) -> np.ndarray:
    middle = bars.low * np.sqrt(bars.range_ratio)  # of ln(high) and ln(low)
    product = lagged(np.log(bars.close / middle), 1) * np.log(lagged(bars.close, 1) / middle)
    return 2.0 * np.sqrt(np.maximum(rolling_mean(product, window), 0.0))


def unmoved(bars: BarsView, window: int) -> np.ndarray:
    return 1.0 - rolling_mean(np.abs(bars.direction), window)


def illiquidity_over(short: int, long: int) -> Feature:
    return Feature(
        f"illiquidity_{short}_{long}",
        illiquidity,
        (short, long),
        long,
        f"mean |1-bar log return| / mean of typical price x volume, {short} bars to {long} bars, after Amihud (2002)",
    )


LIQUIDITY = (
    *(illiquidity_over(short, long) for short, long in ((5, 20), (60, 250))),
    *(
        Feature(
            f"range_spread_{window}",
            mean_range_spread,
            (window,),
            window,
            f"mean spread of pairs of bars from their ranges, at least 0, {window} bars, Corwin and Schultz (2012)",
        )
        for window in (20, 60)
    ),
    Feature(
        "middle_spread_60",
        middle_spread,
        (60,),
        60,
        "2 sqrt(mean of (c - m)(c - next m)), at least 0, c = ln(close), m = ln(high low) / 2, 60 bars, "
        "Abdi and Ranaldo (2017)",
    ),
    Feature(
        "unmoved_60",
        unmoved,
        (60,),
        60,
        "share of bars with the previous close, 60 bars, Lesmond, Ogden and Trzcinka (1999)",
    ),
)
