"""Moving averages, as ratios."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature, lagged
from DATA_PROCESSING.features.momentum import repeated_exponential
from DATA_PROCESSING.features.windows import rolling_mean, rolling_slope


def close_to_simple(bars: BarsView, window: int) -> np.ndarray:
    return bars.close / bars.over("close", rolling_mean, window) - 1.0


def close_to_exponential(bars: BarsView, window: int) -> np.ndarray:
    return bars.close / bars.exponential("close", bars.close, window) - 1.0


def simple_to_simple(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.over("close", rolling_mean, short) / bars.over("close", rolling_mean, long) - 1.0


def weighted_mean(bars: BarsView, window: int) -> np.ndarray:
    slope = bars.over("close", rolling_slope, window)
    return bars.over("close", rolling_mean, window) + slope * (window - 1) / 6.0


def close_to_hull(bars: BarsView, window: int, smoothing: int) -> np.ndarray:
    lead = 2.0 * weighted_mean(bars, window // 2) - weighted_mean(bars, window)
    hull = rolling_mean(lead, smoothing) + rolling_slope(lead, smoothing) * (smoothing - 1) / 6.0
    return bars.close / hull - 1.0


def close_to_double(bars: BarsView, window: int) -> np.ndarray:
    once, twice, _ = bars.once(repeated_exponential, window)
    return bars.close / (2.0 * once - twice) - 1.0


def close_to_triple(bars: BarsView, window: int) -> np.ndarray:
    once, twice, thrice = bars.once(repeated_exponential, window)
    return bars.close / (3.0 * (once - twice) + thrice) - 1.0


def distance_in_ranges(bars: BarsView, window: int, range_window: int) -> np.ndarray:
    distance = bars.close - bars.over("close", rolling_mean, window)
    return distance / bars.wilder("true_range", bars.true_range, range_window)


def simple_change(bars: BarsView, window: int, span: int) -> np.ndarray:
    mean = bars.over("close", rolling_mean, window)
    return mean / lagged(mean, span) - 1.0


def share_above(bars: BarsView, window: int, span: int) -> np.ndarray:
    lead = bars.close - bars.over("close", rolling_mean, window)
    return rolling_mean(np.where(lead > ROUNDING * bars.close, 1.0, 0.0 * lead), span)  # NaN stays NaN


def close_to_simple_over(window: int) -> Feature:
    text = f"close / {window}-bar mean of close - 1"
    return Feature(f"close_to_sma_{window}", close_to_simple, (window,), window - 1, text)


def simple_to_simple_over(short: int, long: int) -> Feature:
    text = f"{short}-bar mean of close / {long}-bar mean of close - 1"
    return Feature(f"sma_{short}_to_sma_{long}", simple_to_simple, (short, long), long - 1, text)


def close_to_exponential_over(window: int) -> Feature:
    text = f"close / {window}-bar exponential average of close - 1"
    return Feature(f"close_to_ema_{window}", close_to_exponential, (window,), window - 1, text, recursive=True)


AVERAGES = (
    *(close_to_simple_over(window) for window in (10, 20, 50, 100)),
    simple_to_simple_over(10, 50),
    close_to_exponential_over(20),
)

MORE_AVERAGES = (
    *(close_to_simple_over(window) for window in (5, 200)),
    *(simple_to_simple_over(short, long) for short, long in ((5, 20), (20, 100), (50, 200))),
    *(close_to_exponential_over(window) for window in (10, 200)),
    Feature(
        "close_to_hull_20",
        close_to_hull,
        (20, 4),
        22,
        "close / 4-bar weighted mean of (2 x 10-bar - 20-bar weighted mean of close) - 1, Hull (2005)",
    ),
    Feature(
        "close_to_dema_20",
        close_to_double,
        (20,),
        38,
        "close / (2 e - ee) - 1, e the 20-bar exponential average of close, ee that of e, Mulloy (1994)",
        recursive=True,
    ),
    Feature(
        "close_to_tema_20",
        close_to_triple,
        (20,),
        57,
        "close / (3 e - 3 ee + eee) - 1, e the 20-bar exponential average of close, ee that of e, eee that of ee, "
        "Mulloy (1994)",
        recursive=True,
    ),
    *(
        Feature(
            f"sma_{window}_distance_in_atr",
            distance_in_ranges,
            (window, 14),
            max(window - 1, 14),
            f"(close - {window}-bar mean of close) / Wilder's average true range, 14 bars",
            recursive=True,
        )
        for window in (20, 100)
    ),
    *(
        Feature(
            f"sma_{window}_change_{span}",
            simple_change,
            (window, span),
            window + span - 1,
            f"{window}-bar mean of close / the same {span} bars before - 1",
        )
        for window, span in ((20, 5), (100, 20))
    ),
    Feature(
        "share_above_sma_50_20",
        share_above,
        (50, 20),
        68,
        "share of closes above their 50-bar mean, 20 bars",
    ),
)
