"""Direction and straightness of the price's path."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import (
    BLOCK,
    bars_since_max,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_slope,
    rolling_std,
)


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


def aroon_up(bars: BarsView, window: int) -> np.ndarray:
    return 100.0 * (1.0 - bars.over("high", bars_since_max, window + 1) / window)


def falling_low(bars: BarsView) -> np.ndarray:
    return -bars.low


def aroon_down(bars: BarsView, window: int) -> np.ndarray:
    return 100.0 * (1.0 - bars.over(falling_low, bars_since_max, window + 1) / window)


def aroon_oscillator(bars: BarsView, window: int) -> np.ndarray:
    return aroon_up(bars, window) - aroon_down(bars, window)


def slope(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("close", rolling_slope, window) / bars.close


def time_correlation(bars: BarsView, window: int) -> np.ndarray:
    deviation_of_time = np.sqrt((window**2 - 1) / 12)
    return bars.over("close", rolling_slope, window) * deviation_of_time / bars.over("close", rolling_std, window, 0)


def efficiency(bars: BarsView, window: int) -> np.ndarray:
    steps = np.abs(bars.close - lagged(bars.close, 1))
    return (bars.close - lagged(bars.close, window)) / (window * rolling_mean(steps, window))


def directional_balance(bars: BarsView, window: int) -> np.ndarray:
    plus, minus = bars.once(directional_indicators, window)
    return 100.0 * (plus - minus) / (plus + minus)


def vortex(bars: BarsView, window: int) -> np.ndarray:
    up, down = np.abs(bars.high - lagged(bars.low, 1)), np.abs(bars.low - lagged(bars.high, 1))
    return (rolling_mean(up, window) - rolling_mean(down, window)) / bars.over("true_range", rolling_mean, window)


def above_line(bars: BarsView, window: int) -> np.ndarray:
    end = bars.over("close", rolling_mean, window) + bars.over("close", rolling_slope, window) * (window - 1) / 2.0
    return bars.close / end - 1.0


def choppiness(bars: BarsView, window: int) -> np.ndarray:
    span = bars.over("high", rolling_max, window) - bars.over("low", rolling_min, window)
    return 100.0 * np.log10(window * bars.over("true_range", rolling_mean, window) / span) / np.log10(window)


def mass(bars: BarsView, smoothing: int, window: int) -> np.ndarray:
    once = bars.exponential("range", bars.high - bars.low, smoothing)
    twice = bars.exponential(f"range_{smoothing}", once, smoothing)
    return window * rolling_mean(once / twice, window)


def variance_ratio(bars: BarsView, span: int, window: int) -> np.ndarray:
    change = np.log(bars.close / lagged(bars.close, span))
    return (rolling_std(change, window, 1) / bars.over("log_return", rolling_std, window, 1)) ** 2 / span


@compiled
def rolling_excursion(x: np.ndarray, mean: np.ndarray, window: int) -> np.ndarray:
    """Range of the partial sums of the last ``window`` deviations from ``mean``, the sum of none included."""
    out = np.full(x.size, np.nan)
    block_sum, block_most, block_least = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        center, excursion = mean[start:stop], out[start:stop]
        partial, most, least = block_sum[: center.size], block_most[: center.size], block_least[: center.size]
        partial[:] = most[:] = least[:] = 0.0
        for lag in range(window):
            past = x[start - lag : stop - lag]
            for row in range(center.size):
                partial[row] += past[row] - center[row]
                most[row] = partial[row] if partial[row] > most[row] else most[row]
                least[row] = partial[row] if partial[row] < least[row] else least[row]
        for row in range(center.size):
            excursion[row] = most[row] - least[row] + 0.0 * partial[row]  # NaN stays NaN
    return out


def rescaled_range(bars: BarsView, window: int) -> np.ndarray:
    excursion = rolling_excursion(bars.log_return, bars.over("log_return", rolling_mean, window), window)
    return excursion / (np.sqrt(window) * bars.over("log_return", rolling_std, window, 0))


def fractal_dimension(bars: BarsView, window: int) -> np.ndarray:
    half = window // 2
    short = bars.over("high", rolling_max, half) - bars.over("low", rolling_min, half)
    long = bars.over("high", rolling_max, window) - bars.over("low", rolling_min, window)
    return np.log2(2.0 * (short + lagged(short, half)) / long)


def higher_highs(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(np.sign(bars.high - lagged(bars.high, 1)), window)


def higher_lows(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(np.sign(bars.low - lagged(bars.low, 1)), window)


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

MORE_TREND = (
    Feature(
        "adx_28",
        average_directional,
        (28,),
        55,
        "Wilder's average of 100 |+DI - -DI| / (+DI + -DI), 28 bars",
        recursive=True,
    ),
    Feature(
        "di_balance_14",
        directional_balance,
        (14,),
        14,
        "100 (+DI - -DI) / (+DI + -DI), 14 bars, Wilder (1978)",
        recursive=True,
    ),
    *(
        Feature(
            f"aroon_oscillator_{window}",
            aroon_oscillator,
            (window,),
            window,
            f"100 (bars since the lowest low - bars since the highest high) / {window}, {window} bars before and "
            "this one, Chande (1995)",
        )
        for window in (25, 60)
    ),
    *(
        Feature(
            f"vortex_{window}",
            vortex,
            (window,),
            window,
            "(sum of |high - previous low| - sum of |low - previous high|) / sum of true ranges, "
            f"{window} bars, Botes and Siepman (2010)",
        )
        for window in (14, 60)
    ),
    *(
        Feature(
            f"slope_{window}",
            slope,
            (window,),
            window - 1,
            f"slope per bar of the least-squares line through {window} closes / close",
        )
        for window in (10, 60, 120)
    ),
    *(
        Feature(
            f"time_correlation_{window}",
            time_correlation,
            (window,),
            window - 1,
            f"correlation of close with time, {window} bars",
        )
        for window in (10, 60, 120)
    ),
    *(
        Feature(
            f"close_to_line_{window}",
            above_line,
            (window,),
            window - 1,
            f"close / end of the least-squares line through {window} closes - 1",
        )
        for window in (20, 60, 120)
    ),
    Feature(
        "efficiency_10",
        efficiency,
        (10,),
        10,
        "change of close over 10 bars / sum of absolute 1-bar changes, Kaufman (1995), with its sign",
    ),
    *(
        Feature(
            f"choppiness_{window}",
            choppiness,
            (window,),
            window,
            f"100 log(sum of true ranges / (highest high - lowest low)) / log({window}), {window} bars, Dreiss (1993)",
        )
        for window in (14, 60)
    ),
    Feature(
        "mass_9_25",
        mass,
        (9, 25),
        40,
        "sum over 25 bars of the 9-bar exponential average of high - low / that of that average, Dorsey (1992)",
        recursive=True,
    ),
    *(
        Feature(
            f"variance_ratio_{span}_{window}",
            variance_ratio,
            (span, window),
            max(span + window - 1, window),
            f"variance of {span}-bar log returns / ({span} x variance of 1-bar log returns), {window} bars, "
            "Lo and MacKinlay (1988)",
        )
        for span, window in ((2, 60), (5, 60), (20, 240))
    ),
    *(
        Feature(
            f"rescaled_range_{window}",
            rescaled_range,
            (window,),
            window,
            "range of the partial sums of 1-bar log returns less their mean / (their standard deviation (ddof 0) x "
            f"sqrt({window})), {window} bars, Hurst (1951)",
        )
        for window in (60, 120)
    ),
    *(
        Feature(
            f"fractal_dimension_{window}",
            fractal_dimension,
            (window,),
            window - 1,
            f"log2(2 (r1 + r2) / r), r = highest high - lowest low of {window} bars, r1 and r2 of their halves, "
            "Ehlers (2005)",
        )
        for window in (20, 60)
    ),
    Feature("higher_highs_20", higher_highs, (20,), 20, "(rising highs - falling highs) / 20, 20 bars"),
    Feature("higher_lows_20", higher_lows, (20,), 20, "(rising lows - falling lows) / 20, 20 bars"),
)
