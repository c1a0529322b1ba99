"""Trading days. A session is a distinct date (UTC) on which any symbol of the panel has a bar."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd


def without_zone(timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """Timestamps as ``datetime64[ns]`` in UTC; those without a zone are in UTC already."""
    index = pd.DatetimeIndex(timestamps)
    return (index if index.tz is None else index.tz_convert(None)).to_numpy("datetime64[ns]")


def session_of(timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """The session of each timestamp, as ``datetime64[D]``; NaT stays NaT."""
    return without_zone(timestamps).astype("datetime64[D]")


def panel_sessions(timestamps: Iterable[pd.Series]) -> np.ndarray:
    """The sorted distinct sessions of several symbols' timestamps."""
    distinct = [np.unique(session_of(column)) for column in timestamps]
    return np.unique(np.concatenate(distinct)) if distinct else np.empty(0, "datetime64[D]")


def session_numbers(timestamps: pd.Series, sessions: np.ndarray) -> np.ndarray:
    """The position of each timestamp's session among the panel's ``sessions``, which must hold it."""
    return np.searchsorted(sessions, session_of(timestamps))


def sessions_per_year(sessions: np.ndarray) -> float:
    """Sessions in a year of 365.25 days, measured over the span of ``sessions``; NaN for fewer than two."""
    if len(sessions) < 2:
        return float("nan")
    days = (sessions[-1] - sessions[0]).astype(int)
    return (len(sessions) - 1) / days * 365.25
