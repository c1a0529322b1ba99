"""Shape of the last bar, and of the last few."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.returns import overnight
from DATA_PROCESSING.features.windows import BLOCK, rolling_mean


def close_position(bars: BarsView) -> np.ndarray:
    return (bars.close - bars.low) / (bars.high - bars.low)


def body(bars: BarsView) -> np.ndarray:
    return (bars.close - bars.open) / (bars.high - bars.low)


def upper_shadow(bars: BarsView) -> np.ndarray:
    return (bars.high - np.maximum(bars.open, bars.close)) / (bars.high - bars.low)


def gap(bars: BarsView) -> np.ndarray:
    return bars.once(overnight)


def true_range(bars: BarsView) -> np.ndarray:
    return bars.true_range / bars.close


def range_to_average(bars: BarsView, window: int) -> np.ndarray:
    return bars.true_range / bars.wilder("true_range", bars.true_range, window)


def lower_shadow(bars: BarsView) -> np.ndarray:
    return (np.minimum(bars.open, bars.close) - bars.low) / (bars.high - bars.low)


def mean_range(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.high - bars.low, window)


def mean_close_position(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.close - bars.low, window) / bars.once(mean_range, window)


def shadow_balance(bars: BarsView, window: int) -> np.ndarray:
    upper = bars.high - np.maximum(bars.open, bars.close)
    lower = np.minimum(bars.open, bars.close) - bars.low
    return rolling_mean(upper - lower, window) / bars.once(mean_range, window)


def range_trend(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.over("true_range", rolling_mean, short) / bars.over("true_range", rolling_mean, long)


def gap_to_range(bars: BarsView, window: int) -> np.ndarray:
    return (bars.open - lagged(bars.close, 1)) / lagged(bars.wilder("true_range", bars.true_range, window), 1)


def gap_fill(bars: BarsView) -> np.ndarray:
    gap = bars.open - lagged(bars.close, 1)
    taken_back = np.where(gap > 0.0, bars.open - bars.low, bars.high - bars.open)
    return np.where(gap == 0.0, 0.0, np.minimum(taken_back / np.abs(gap), 1.0))


def containment(bars: BarsView) -> np.ndarray:
    high, low = np.sign(bars.high - lagged(bars.high, 1)), np.sign(bars.low - lagged(bars.low, 1))
    return 0.5 * (high - low)


def mean_containment(bars: BarsView, window: int) -> np.ndarray:
    return bars.over(containment, rolling_mean, window)


def overlap(bars: BarsView) -> np.ndarray:
    high, low = lagged(bars.high, 1), lagged(bars.low, 1)
    common = np.minimum(bars.high, high) - np.maximum(bars.low, low)
    return common / (np.maximum(bars.high, high) - np.minimum(bars.low, low))


@compiled
def run_length(direction: np.ndarray, window: int) -> np.ndarray:
    """Rows, at most ``window``, that the direction has been what it is, with its sign; NaN if any of them is."""
    out = np.full(direction.size, np.nan)
    block_lasting = np.empty(BLOCK)
    for start in range(window - 1, direction.size, BLOCK):
        stop = min(start + BLOCK, direction.size)
        now, length, lasting = direction[start:stop], out[start:stop], block_lasting[: stop - start]
        length[:] = now
        lasting[:] = 1.0
        for lag in range(1, window):
            past = direction[start - lag : stop - lag]
            for row in range(now.size):
                lasting[row] = lasting[row] if past[row] == now[row] else 0.0 * past[row]  # NaN stays NaN
                length[row] += lasting[row] * now[row]
    return out


def run(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("direction", run_length, window)


RANGES = (
    Feature("close_position", close_position, (), 0, "(close - low) / (high - low)"),
    Feature("body", body, (), 0, "(close - open) / (high - low)"),
    Feature("upper_shadow", upper_shadow, (), 0, "(high - max(open, close)) / (high - low)"),
    Feature("gap", gap, (), 1, "ln(open / previous close)"),
    Feature("true_range", true_range, (), 1, "(max(high, previous close) - min(low, previous close)) / close"),
    Feature(
        "range_to_atr_14",
        range_to_average,
        (14,),
        14,
        "true range / Wilder's average true range, 14 bars",
        recursive=True,
    ),
)

MORE_RANGES = (
    Feature("lower_shadow", lower_shadow, (), 0, "(min(open, close) - low) / (high - low)"),
    *(
        Feature(
            f"close_position_{window}",
            mean_close_position,
            (window,),
            window - 1,
            f"sum of close - low / sum of high - low, {window} bars",
        )
        for window in (5, 20)
    ),
    Feature(
        "shadow_balance_10",
        shadow_balance,
        (10,),
        9,
        "sum of upper less lower shadows / sum of high - low, 10 bars",
    ),
    *(
        Feature(
            f"range_{short}_to_{long}",
            range_trend,
            (short, long),
            long,
            f"{short}-bar / {long}-bar mean of the true range",
        )
        for short, long in ((5, 20), (20, 120))
    ),
    Feature(
        "gap_to_atr_14",
        gap_to_range,
        (14,),
        15,
        "(open - previous close) / Wilder's average true range, 14 bars, of the bar before",
        recursive=True,
    ),
    Feature(
        "gap_fill",
        gap_fill,
        (),
        1,
        "share of the gap from previous close to open that the bar took back, at most 1; 0 without a gap",
    ),
    Feature(
        "containment",
        containment,
        (),
        1,
        "(sign(high - previous high) - sign(low - previous low)) / 2: 1 for an outside bar, -1 for an inside bar",
    ),
    Feature("containment_20", mean_containment, (20,), 20, "mean of containment, 20 bars"),
    Feature(
        "overlap",
        overlap,
        (),
        1,
        "(lower of the last two highs - higher of the last two lows) / (higher of the highs - lower of the lows)",
    ),
    Feature("run_10", run, (10,), 10, "closes in a row that rose (fell: negative), counted up to 10"),
)
