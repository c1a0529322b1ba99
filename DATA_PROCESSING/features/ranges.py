"""Shape of the last bar."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged


def close_position(bars: BarsView) -> np.ndarray:
    return (bars.close - bars.low) / (bars.high - bars.low)


def body(bars: BarsView) -> np.ndarray:
    return (bars.close - bars.open) / (bars.high - bars.low)


def upper_shadow(bars: BarsView) -> np.ndarray:
    return (bars.high - np.maximum(bars.open, bars.close)) / (bars.high - bars.low)


def gap(bars: BarsView) -> np.ndarray:
    return np.log(bars.open / lagged(bars.close, 1))


def true_range(bars: BarsView) -> np.ndarray:
    return bars.true_range / bars.close


def range_to_average(bars: BarsView, window: int) -> np.ndarray:
    return bars.true_range / bars.wilder("true_range", bars.true_range, window)


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
