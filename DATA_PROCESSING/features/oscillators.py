"""Oscillators: where the price stands between recent extremes, or gains against losses."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import rolling_max, rolling_mean, rolling_mean_deviation, rolling_min


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


def relative_strength_position(bars: BarsView, window: int) -> np.ndarray:
    strength = bars.once(relative_strength, window)
    lowest = rolling_min(strength, window)
    return 100.0 * (strength - lowest) / (rolling_max(strength, window) - lowest)


def median_price(bars: BarsView) -> np.ndarray:
    return 0.5 * (bars.high + bars.low)


def fisher(bars: BarsView, window: int) -> np.ndarray:
    price = bars.once(median_price)
    lowest, highest = bars.over(median_price, rolling_min, window), bars.over(median_price, rolling_max, window)
    span = highest - lowest
    position = np.where(span > ROUNDING * price, (2.0 * price - highest - lowest) / span, 0.0 * span)
    smooth = np.clip(bars.exponential(f"fisher_position_{window}", position, 5), -0.999, 0.999)
    return bars.exponential(f"fisher_{window}", np.arctanh(smooth), 3)


def detrended(bars: BarsView, window: int) -> np.ndarray:
    return (lagged(bars.close, window // 2 + 1) - bars.over("close", rolling_mean, window)) / bars.close


def awesome(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.over(median_price, rolling_mean, short) - bars.over(median_price, rolling_mean, long)


def awesome_to_close(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.once(awesome, short, long) / bars.close


def awesome_change(bars: BarsView, short: int, long: int) -> np.ndarray:
    line = bars.once(awesome, short, long)
    return (line - rolling_mean(line, short)) / bars.close


def stochastic_momentum(bars: BarsView, window: int, long: int, short: int) -> np.ndarray:
    lowest, highest = bars.over("low", rolling_min, window), bars.over("high", rolling_max, window)
    distance, span = (
        bars.exponential(f"{name}_{window}_{long}", bars.exponential(f"{name}_{window}", x, long), short)
        for name, x in (
            ("distance_to_middle", bars.close - 0.5 * (highest + lowest)),
            ("half_range", 0.5 * (highest - lowest)),
        )
    )
    return 100.0 * distance / span


def bull_power(bars: BarsView, window: int) -> np.ndarray:
    return (bars.high - bars.exponential("close", bars.close, window)) / bars.close


def bear_power(bars: BarsView, window: int) -> np.ndarray:
    return (bars.low - bars.exponential("close", bars.close, window)) / bars.close


def demarker(bars: BarsView, window: int) -> np.ndarray:
    up = rolling_mean(np.maximum(bars.high - lagged(bars.high, 1), 0.0), window)
    down = rolling_mean(np.maximum(lagged(bars.low, 1) - bars.low, 0.0), window)
    return 100.0 * up / (up + down)


def intraday_momentum(bars: BarsView, window: int) -> np.ndarray:
    body = bars.close - bars.open
    return 100.0 * rolling_mean(np.maximum(body, 0.0), window) / rolling_mean(np.abs(body), window)


def relative_strength_over(window: int) -> Feature:
    text = f"relative strength index, {window} bars, Wilder (1978)"
    return Feature(f"rsi_{window}", relative_strength, (window,), window, text, recursive=True)


def commodity_channel_over(window: int) -> Feature:
    text = f"(typical price - its mean) / (0.015 mean absolute deviation), {window} bars, Lambert (1980)"
    return Feature(f"cci_{window}", commodity_channel, (window,), window - 1, text)


def money_flow_over(window: int) -> Feature:
    text = f"100 x share of bars with a rising typical price in typical price x volume, {window} bars"
    return Feature(f"mfi_{window}", money_flow, (window,), window, text)


OSCILLATORS = (
    relative_strength_over(14),
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
    commodity_channel_over(20),
    money_flow_over(14),
    Feature(
        "ultimate_7_14_28",
        ultimate,
        (7, 14, 28),
        28,
        "100 (4 b7 + 2 b14 + b28) / 7, bN = sum of close - true low / sum of true range, N bars, Williams (1985)",
    ),
)

MORE_OSCILLATORS = (
    *(relative_strength_over(window) for window in (5, 28)),
    Feature(
        "stochastic_rsi_14",
        relative_strength_position,
        (14,),
        27,
        "100 (rsi_14 - its lowest) / (its highest - its lowest), 14 bars, Chande and Kroll (1994)",
        recursive=True,
    ),
    Feature(
        "stochastic_k_5_3",
        stochastic_k,
        (5, 3),
        6,
        "mean over 3 bars of 100 (close - lowest low) / (highest high - lowest low), 5 bars",
    ),
    Feature(
        "stochastic_momentum_13_25_2",
        stochastic_momentum,
        (13, 25, 2),
        37,
        "100 x distance of close from the middle of its 13-bar range / half that range, both smoothed by a 25-bar and "
        "a 2-bar exponential average, Blau (1993)",
        recursive=True,
    ),
    Feature(
        "fisher_20",
        fisher,
        (20,),
        25,
        "3-bar exponential average of artanh of the 5-bar one of the place of (high + low) / 2 in its 20-bar range, "
        "-1 to 1, Ehlers (2002)",
        recursive=True,
    ),
    commodity_channel_over(10),
    money_flow_over(60),
    Feature("detrended_20", detrended, (20,), 19, "(close 11 bars before - 20-bar mean of close) / close"),
    Feature(
        "awesome_5_34",
        awesome_to_close,
        (5, 34),
        33,
        "(5-bar - 34-bar mean of (high + low) / 2) / close, Williams (1998)",
    ),
    Feature(
        "awesome_change_5_34",
        awesome_change,
        (5, 34),
        37,
        "(5-bar - 34-bar mean of (high + low) / 2, less its own 5-bar mean) / close, Williams (1998)",
    ),
    Feature(
        "bull_power_13",
        bull_power,
        (13,),
        12,
        "(high - 13-bar exponential average of close) / close, Elder (1993)",
        recursive=True,
    ),
    Feature(
        "bear_power_13",
        bear_power,
        (13,),
        12,
        "(low - 13-bar exponential average of close) / close, Elder (1993)",
        recursive=True,
    ),
    Feature(
        "demarker_14",
        demarker,
        (14,),
        14,
        "100 u / (u + d), u = mean of max(high - previous high, 0), d = mean of max(previous low - low, 0), 14 bars, "
        "DeMark (1994)",
    ),
    Feature(
        "intraday_momentum_14",
        intraday_momentum,
        (14,),
        13,
        "100 x share of rising bars in the sum of |close - open|, 14 bars, Chande and Kroll (1994)",
    ),
)
