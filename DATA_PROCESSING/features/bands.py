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


def donchian_width(bars: BarsView, window: int) -> np.ndarray:
    return np.log(bars.over("high", rolling_max, window) / bars.over("low", rolling_min, window))


def squeeze(bars: BarsView, window: int) -> np.ndarray:
    spread = bars.over("close", rolling_std, window, 0)
    return 2.0 * spread / (1.5 * bars.wilder("true_range", bars.true_range, window))


def chandelier(bars: BarsView, window: int) -> np.ndarray:
    fall = bars.over("high", rolling_max, window) - bars.close
    return fall / bars.wilder("true_range", bars.true_range, window)


def bollinger_position_over(window: int) -> Feature:
    return Feature(
        f"bollinger_position_{window}",
        bollinger_position,
        (window, 2.0),
        window - 1,
        f"(close - lower) / (upper - lower), {window}-bar mean of close -+ 2 standard deviations (ddof 0)",
    )


def keltner_position_over(window: int, range_window: int) -> Feature:
    return Feature(
        f"keltner_position_{window}",
        keltner_position,
        (window, range_window, 2.0),
        max(window - 1, range_window),
        f"(close - lower) / (upper - lower), {window}-bar exponential average of close -+ 2 x {range_window}-bar atr",
        recursive=True,
    )


def donchian_position_over(window: int) -> Feature:
    return Feature(
        f"donchian_position_{window}",
        donchian_position,
        (window,),
        window - 1,
        f"(close - lowest low) / (highest high - lowest low), {window} bars",
    )


BANDS = (
    bollinger_position_over(20),
    Feature("bollinger_width_20", bollinger_width, (20, 2.0), 19, "(upper - lower) / middle of the same bands"),
    keltner_position_over(20, 10),
    donchian_position_over(20),
    donchian_position_over(60),
)

MORE_BANDS = (
    *(bollinger_position_over(window) for window in (10, 120)),
    Feature(
        "bollinger_width_60",
        bollinger_width,
        (60, 2.0),
        59,
        "4 standard deviations (ddof 0) / mean of close, 60 bars, Bollinger (2001)",
    ),
    *(donchian_position_over(window) for window in (10, 120, 250)),
    *(
        Feature(
            f"donchian_width_{window}",
            donchian_width,
            (window,),
            window - 1,
            f"ln(highest high / lowest low), {window} bars",
        )
        for window in (20, 120)
    ),
    Feature(
        "squeeze_20",
        squeeze,
        (20,),
        20,
        "2 standard deviations (ddof 0) of close / 1.5 x 20-bar atr: below 1 the Bollinger bands lie within the "
        "Keltner channel, Carter (2005)",
        recursive=True,
    ),
    Feature(
        "chandelier_22",
        chandelier,
        (22,),
        22,
        "(highest high - close) / Wilder's average true range, 22 bars, LeBeau (1999)",
        recursive=True,
    ),
)
