"""Two measures together that say more than each alone: products and differences of scaled ones."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.averages import close_to_simple
from DATA_PROCESSING.features.extremes import to_high
from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.momentum import autocorrelation, direction, return_to_volatility
from DATA_PROCESSING.features.oscillators import relative_strength
from DATA_PROCESSING.features.ranges import mean_close_position
from DATA_PROCESSING.features.ranks import rank, z_score
from DATA_PROCESSING.features.returns import intraday, log_return, overnight
from DATA_PROCESSING.features.trend import average_directional, slope, time_correlation
from DATA_PROCESSING.features.volatility import volatility, volatility_ratio
from DATA_PROCESSING.features.volume import relative_volume, volume_trend


def return_and_volume(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(z_score, "log_return", window) * bars.once(z_score, "volume", window)


def move_on_volume(bars: BarsView, span: int, window: int) -> np.ndarray:
    return log_return(bars, span) / volatility(bars, window) * volume_trend(bars, span, window)


def momentum_in_regime(bars: BarsView, window: int, short: int, long: int) -> np.ndarray:
    return return_to_volatility(bars, window) / volatility_ratio(bars, short, long)


def momentum_change(bars: BarsView, short: int, long: int) -> np.ndarray:
    return return_to_volatility(bars, short) - return_to_volatility(bars, long)


def momentum_near_high(bars: BarsView, span: int, window: int) -> np.ndarray:
    return log_return(bars, span) * (1.0 + to_high(bars, window))


def straight_slope(bars: BarsView, window: int) -> np.ndarray:
    return slope(bars, window) * time_correlation(bars, window) ** 2


def continuing_return(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(z_score, "log_return", window) * autocorrelation(bars, window)


def strength_in_trend(bars: BarsView, window: int) -> np.ndarray:
    return (bars.once(relative_strength, window) - 50.0) * bars.once(average_directional, window) / 100.0


def gap_and_day(bars: BarsView, window: int) -> np.ndarray:
    size = volatility(bars, window)
    return bars.once(overnight) * bars.once(intraday) / (size * size)


def reversal_after_stretch(bars: BarsView, window: int, span: int, long: int) -> np.ndarray:
    return close_to_simple(bars, window) / volatility(bars, long) * direction(bars, span)


def place_on_volume(bars: BarsView, span: int, window: int) -> np.ndarray:
    return (2.0 * mean_close_position(bars, span) - 1.0) * relative_volume(bars, window)


def place_in_range_and_regime(bars: BarsView, window: int, short: int, long: int) -> np.ndarray:
    return (2.0 * bars.once(rank, "close", window) - 1.0) * volatility_ratio(bars, short, long)


INTERACTIONS = (
    Feature(
        "return_x_volume_60",
        return_and_volume,
        (60,),
        60,
        "return_z_60 x volume_z_60, Campbell, Grossman and Wang (1993)",
    ),
    Feature(
        "move_on_volume_5_60",
        move_on_volume,
        (5, 60),
        60,
        "log_return_5 / vol_60 x volume_5_to_60, Lee and Swaminathan (2000)",
    ),
    Feature(
        "momentum_in_calm_60",
        momentum_in_regime,
        (60, 20, 120),
        120,
        "return_to_vol_60 / vol_20_to_120, after Barroso and Santa-Clara (2015)",
    ),
    *(
        Feature(
            f"momentum_change_{short}_{long}",
            momentum_change,
            (short, long),
            long,
            f"return_to_vol_{short} - return_to_vol_{long}",
        )
        for short, long in ((20, 120), (60, 250))
    ),
    Feature(
        "momentum_near_high_120_250",
        momentum_near_high,
        (120, 250),
        249,
        "log_return_120 x (1 + to_high_250), after George and Hwang (2004)",
    ),
    *(
        Feature(
            f"straight_slope_{window}",
            straight_slope,
            (window,),
            window - 1,
            f"slope_{window} x time_correlation_{window}^2, Clenow (2015)",
        )
        for window in (20, 120)
    ),
    Feature("return_x_autocorrelation_60", continuing_return, (60,), 61, "return_z_60 x autocorrelation_60"),
    Feature("rsi_x_adx_14", strength_in_trend, (14,), 27, "(rsi_14 - 50) x adx_14 / 100", recursive=True),
    Feature("gap_x_day_20", gap_and_day, (20,), 20, "ln(open / previous close) x ln(close / open) / vol_20^2"),
    Feature(
        "stretch_x_direction_20",
        reversal_after_stretch,
        (20, 5, 60),
        60,
        "close_to_sma_20 / vol_60 x direction_5",
    ),
    Feature(
        "close_position_x_volume_5_20",
        place_on_volume,
        (5, 20),
        19,
        "(2 close_position_5 - 1) x volume_to_mean_20",
    ),
    Feature(
        "close_rank_x_vol_ratio_120",
        place_in_range_and_regime,
        (120, 10, 60),
        119,
        "(2 close_rank_120 - 1) x vol_ratio",
    ),
)
