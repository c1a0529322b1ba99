"""The last value against its own recent past: ranks and z-scores."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import ROUNDING, BarsView, Feature
from DATA_PROCESSING.features.windows import BLOCK, rolling_mean, rolling_std


@compiled
def rolling_rank(x: np.ndarray, window: int, rounding: float) -> np.ndarray:
    """Rank of the newest of the last ``window`` values as a share in (0, 1].

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
                rank[row] += 0.5 if abs(lead) <= rounding * abs(now[row]) else (1.0 if lead > 0.0 else 0.0)
        for row in range(now.size):
            rank[row] /= window
    return out


def rank(bars: BarsView, series: str, window: int) -> np.ndarray:
    return rolling_rank(getattr(bars, series), window, ROUNDING)


def z_score(bars: BarsView, series: str, window: int) -> np.ndarray:
    mean, deviation = bars.over(series, rolling_mean, window), bars.over(series, rolling_std, window, 1)
    return (getattr(bars, series) - mean) / deviation


RANKS = (
    Feature("close_rank_120", rank, ("close", 120), 119, "rank of close among 120 bars, as a share"),
    Feature("range_rank_60", rank, ("range_ratio", 60), 59, "rank of high / low among 60 bars, as a share"),
    Feature(
        "return_z_60",
        z_score,
        ("log_return", 60),
        60,
        "(1-bar log return - its mean) / its standard deviation, 60 bars",
    ),
    Feature("close_z_60", z_score, ("close", 60), 59, "(close - its mean) / its standard deviation, 60 bars"),
    Feature("volume_z_60", z_score, ("volume", 60), 59, "(volume - its mean) / its standard deviation, 60 bars"),
)
