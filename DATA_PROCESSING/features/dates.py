"""The season of the bar, on a circle so that December lies next to January."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature

THURSDAY = 3  # 1970-01-01, where Monday is 0


def day_of_week(bars: BarsView) -> np.ndarray:
    return (bars.timestamp.astype("datetime64[D]").astype(np.int64) + THURSDAY) % 7


def month(bars: BarsView) -> np.ndarray:
    return bars.timestamp.astype("datetime64[M]").astype(np.int64) % 12


def on_circle(bars: BarsView, position: Callable[[BarsView], np.ndarray], period: int, wave: np.ufunc) -> np.ndarray:
    return wave(2.0 * np.pi * np.arange(period) / period)[bars.once(position)]


DATES = (
    Feature("day_of_week_sin", on_circle, (day_of_week, 7, np.sin), 0, "sine of 2 pi x day / 7, Monday 0, UTC"),
    Feature("day_of_week_cos", on_circle, (day_of_week, 7, np.cos), 0, "cosine of 2 pi x day / 7, Monday 0, UTC"),
    Feature("month_sin", on_circle, (month, 12, np.sin), 0, "sine of 2 pi x month / 12, January 0, UTC"),
    Feature("month_cos", on_circle, (month, 12, np.cos), 0, "cosine of 2 pi x month / 12, January 0, UTC"),
)
