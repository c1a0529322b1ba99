"""The last value against its own recent past: ranks and z-scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.bands import bollinger_width
from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature
from DATA_PROCESSING.features.returns import log_return, overnight
from DATA_PROCESSING.features.volatility import volatility
from DATA_PROCESSING.features.windows import BLOCK, rolling_mean, rolling_std


@compiled
def rolling_rank(x: np.ndarray, window: int, rounding: float) -> np.ndarray:
    """Rank of the newest of the last ``window`` values as a share in (0, 1]; NaN if any of them is.

    Values that differ by at most a share ``rounding`` of the newest count as equal and share their mean rank.
    """
    out = np.full(x.size, np.nan)
    for start in range(window - 1, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        now, rank = x[start:stop], out[start:stop]
        rank[:] = 1.0
        for lag in range(1, window):
            past = x[start - lag : stop - lag]
            for row in range(now.size):
                lead = now[row] - past[row]
                above = 1.0 if lead > 0.0 else 0.0 * lead  # NaN stays NaN
                rank[row] += 0.5 if abs(lead) <= rounding * abs(now[row]) else above
        for row in range(now.size):
            rank[row] /= window
    return out


def rank(bars: BarsView, series: str, window: int) -> np.ndarray:
    return bars.over(series, rolling_rank, window, ROUNDING)


def rank_of(bars: BarsView, compute: Callable[..., np.ndarray], arguments: tuple, window: int) -> np.ndarray:
    return rolling_rank(bars.once(compute, *arguments), window, ROUNDING)


def z_score(bars: BarsView, series: str | Callable[[BarsView], np.ndarray], window: int) -> np.ndarray:
    mean, deviation = bars.over(series, rolling_mean, window), bars.over(series, rolling_std, window, 1)
    return ((getattr(bars, series) if isinstance(series, str) else bars.once(series)) - mean) / deviation


def log_range(bars: BarsView) -> np.ndarray:
    return np.log(bars.range_ratio)


def rank_over(name: str, series: str, text: str, window: int, lookback: int) -> Feature:
    text = f"rank of {text} among {window} bars, as a share"
    return Feature(f"{name}_rank_{window}", rank, (series, window), lookback, text)


def z_score_over(name: str, series: str | Callable, text: str, window: int, lookback: int) -> Feature:
    text = f"({text} - its mean) / its standard deviation, {window} bars"
    return Feature(f"{name}_z_{window}", z_score, (series, window), lookback, text)


RANKS = (
    rank_over("close", "close", "close", 120, 119),
    rank_over("range", "range_ratio", "high / low", 60, 59),
    z_score_over("return", "log_return", "1-bar log return", 60, 60),
    z_score_over("close", "close", "close", 60, 59),
    z_score_over("volume", "volume", "volume", 60, 59),
)

MORE_RANKS = (
    *(rank_over("close", "close", "close", window, window - 1) for window in (20, 250)),
    rank_over("range", "range_ratio", "high / low", 10, 9),
    *(rank_over("volume", "volume", "volume", window, window - 1) for window in (60, 250)),
    rank_over("return", "log_return", "1-bar log return", 60, 60),
    *(
        Feature(
            f"log_return_{span}_rank_{window}",
            rank_of,
            (log_return, (span,), window),
            span + window - 1,
            f"rank of log_return_{span} among {window} bars, as a share",
        )
        for span, window in ((5, 60), (20, 240))
    ),
    *(
        Feature(
            f"vol_{span}_rank_{window}",
            rank_of,
            (volatility, (span,), window),
            span + window - 1,
            f"rank of vol_{span} among {window} bars, as a share",
        )
        for span, window in ((10, 60), (20, 240))
    ),
    Feature(
        "bollinger_width_20_rank_120",
        rank_of,
        (bollinger_width, (20, 2.0), 120),
        138,
        "rank of bollinger_width_20 among 120 bars, as a share",
    ),
    *(z_score_over("return", "log_return", "1-bar log return", window, window) for window in (20, 250)),
    *(z_score_over("volume", "volume", "volume", window, window - 1) for window in (20, 250)),
    z_score_over("close", "close", "close", 250, 249),
    z_score_over("range", log_range, "ln(high / low)", 60, 59),
    z_score_over("gap", overnight, "ln(open / previous close)", 60, 60),
)
