"""How much prices move, from closes and from ranges."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.returns import intraday, overnight
from DATA_PROCESSING.features.windows import rolling_correlation, rolling_max, rolling_mean, rolling_std


def volatility(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("log_return", rolling_std, window, 1)


def volatility_ratio(bars: BarsView, short: int, long: int) -> np.ndarray:
    return volatility(bars, short) / volatility(bars, long)


def squared_return(bars: BarsView) -> np.ndarray:
    return bars.log_return**2


def squared_loss(bars: BarsView) -> np.ndarray:
    return np.where(bars.log_return > 0, 0.0, bars.once(squared_return))  # NaN stays NaN


def absolute_return(bars: BarsView) -> np.ndarray:
    return np.abs(bars.log_return)


def downside_share(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(squared_loss, rolling_mean, window) / bars.over(squared_return, rolling_mean, window)


def downside_deviation(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(bars.over(squared_loss, rolling_mean, window))


def exponential_volatility(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(bars.exponential("squared_return", bars.once(squared_return), window))


def volatility_of_volatility(bars: BarsView, window: int, long: int) -> np.ndarray:
    return rolling_std(volatility(bars, window), long, 1) / rolling_mean(volatility(bars, window), long)


def volatility_change(bars: BarsView, window: int) -> np.ndarray:
    return np.log(volatility(bars, window) / lagged(volatility(bars, window), window))


def jump_share(bars: BarsView, window: int) -> np.ndarray:
    size = bars.once(absolute_return)
    bipower = 0.5 * np.pi * rolling_mean(size * lagged(size, 1), window)
    return 1.0 - bipower / bars.over(squared_return, rolling_mean, window)


def leverage(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(lagged(bars.log_return, 1), bars.once(absolute_return), window)


def clustering(bars: BarsView, window: int) -> np.ndarray:
    size = bars.once(absolute_return)
    return rolling_correlation(size, lagged(size, 1), window)


def largest_move(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(absolute_return, rolling_max, window) / volatility(bars, window)


def log_range_squared(bars: BarsView) -> np.ndarray:
    return np.log(bars.range_ratio) ** 2


def parkinson(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(bars.over(log_range_squared, rolling_mean, window) / (4.0 * np.log(2.0)))


def parkinson_to_volatility(bars: BarsView, window: int) -> np.ndarray:
    return parkinson(bars, window) / volatility(bars, window)


def garman_klass_variance(bars: BarsView) -> np.ndarray:
    return 0.5 * bars.once(log_range_squared) - (2.0 * np.log(2.0) - 1.0) * bars.once(intraday) ** 2


def garman_klass(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(bars.over(garman_klass_variance, rolling_mean, window))


def rogers_satchell_variance(bars: BarsView) -> np.ndarray:
    high, low = np.log(bars.high / bars.open), np.log(bars.low / bars.open)
    return high * (high - bars.once(intraday)) + low * (low - bars.once(intraday))


def rogers_satchell(bars: BarsView, window: int) -> np.ndarray:
    return np.sqrt(bars.over(rogers_satchell_variance, rolling_mean, window))


def yang_zhang(bars: BarsView, window: int) -> np.ndarray:
    weight = 0.34 / (1.34 + (window + 1) / (window - 1))
    by_night, by_day = (bars.over(part, rolling_std, window, 1) ** 2 for part in (overnight, intraday))
    within = bars.over(rogers_satchell_variance, rolling_mean, window)
    return np.sqrt(by_night + weight * by_day + (1.0 - weight) * within)


def average_true_range(bars: BarsView, window: int) -> np.ndarray:
    return bars.wilder("true_range", bars.true_range, window) / bars.close


def average_range_ratio(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.wilder("true_range", bars.true_range, short) / bars.wilder("true_range", bars.true_range, long)


def volatility_over(window: int) -> Feature:
    text = f"standard deviation of 1-bar log returns, {window} bars"
    return Feature(f"vol_{window}", volatility, (window,), window, text)


VOLATILITY = (
    *(volatility_over(window) for window in (10, 20, 60)),
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

MORE_VOLATILITY = (
    *(volatility_over(window) for window in (5, 120, 250)),
    *(
        Feature(f"vol_{short}_to_{long}", volatility_ratio, (short, long), long, f"vol_{short} / vol_{long}")
        for short, long in ((5, 20), (20, 120), (60, 250))
    ),
    Feature("vol_change_20", volatility_change, (20,), 40, "ln(vol_20 / vol_20 20 bars before)"),
    *(
        Feature(
            f"vol_of_vol_{window}_{long}",
            volatility_of_volatility,
            (window, long),
            window + long - 1,
            f"standard deviation / mean of vol_{window}, {long} bars",
        )
        for window, long in ((10, 60), (20, 120))
    ),
    Feature(
        "ewma_vol_32",
        exponential_volatility,
        (32,),
        32,
        "sqrt(32-bar exponential average of squared 1-bar log returns), RiskMetrics (1996)",
        recursive=True,
    ),
    Feature(
        "downside_share_60",
        downside_share,
        (60,),
        60,
        "share of falling bars in the sum of squared 1-bar log returns, 60 bars",
    ),
    *(
        Feature(
            f"downside_deviation_{window}",
            downside_deviation,
            (window,),
            window,
            f"sqrt(mean of min(1-bar log return, 0)^2), {window} bars, Sortino and van der Meer (1991)",
        )
        for window in (20, 60)
    ),
    *(
        Feature(
            f"parkinson_{window}",
            parkinson,
            (window,),
            window - 1,
            f"sqrt(mean of ln(high / low)^2 over {window} bars / (4 ln 2)), Parkinson (1980)",
        )
        for window in (5, 60)
    ),
    Feature("parkinson_to_vol_20", parkinson_to_volatility, (20,), 20, "parkinson_20 / vol_20"),
    Feature(
        "rogers_satchell_20",
        rogers_satchell,
        (20,),
        19,
        "sqrt(mean of ln(high / open) ln(high / close) + ln(low / open) ln(low / close)), 20 bars, "
        "Rogers and Satchell (1991)",
    ),
    *(
        Feature(
            f"yang_zhang_{window}",
            yang_zhang,
            (window,),
            window,
            "sqrt(variance of ln(open / previous close) + k variance of ln(close / open) + (1 - k) mean of "
            "ln(high / open) ln(high / close) + ln(low / open) ln(low / close)), "
            f"k = 0.34 / (1.34 + (n + 1) / (n - 1)), n = {window} bars, Yang and Zhang (2000)",
        )
        for window in (20, 60)
    ),
    *(
        Feature(
            f"jump_share_{window}",
            jump_share,
            (window,),
            window + 1,
            "1 - (pi / 2) mean of |r[t]| |r[t - 1]| / mean of r[t]^2, r the 1-bar log return, "
            f"{window} bars, Barndorff-Nielsen and Shephard (2004)",
        )
        for window in (20, 60)
    ),
    Feature(
        "leverage_60",
        leverage,
        (60,),
        61,
        "correlation of |1-bar log return| with the 1-bar log return one bar before, 60 bars, Black (1976)",
    ),
    Feature(
        "clustering_60",
        clustering,
        (60,),
        61,
        "correlation of |1-bar log return| with the one before, 60 bars, Ding, Granger and Engle (1993)",
    ),
    Feature("largest_move_60", largest_move, (60,), 60, "largest |1-bar log return| / vol_60, 60 bars"),
    Feature("atr_50", average_true_range, (50,), 50, "Wilder's average true range, 50 bars / close", recursive=True),
    Feature(
        "atr_14_to_50",
        average_range_ratio,
        (14, 50),
        50,
        "Wilder's average true range, 14 bars / the same, 50 bars",
        recursive=True,
    ),
)
