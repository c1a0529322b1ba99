"""Coarser bars from finer ones: minutes and hours within a session, a bar per session (``1d``) or per week (``1w``)."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.sessions import Clock, holds_dates, weekday

_INTERVAL = re.compile(r"([1-9]\d{0,3})([mh])|1[dw]", re.ASCII)
_DAY = 86_400_000_000_000  # nanoseconds
_LENGTHS = {"m": 60_000_000_000, "h": 3_600_000_000_000, "d": _DAY, "w": 7 * _DAY}
_PLACES = 1 << 16  # buckets that an id has room for within a session
_FEW = 10  # one bar in so many may be longer than the interval asked for
_RECENT = 1000  # bars that show how long the last one is


def interval_length(interval: str, key: str = "resample") -> int:
    """Nanoseconds of an interval: minutes or hours below a day (``5m``, ``4h``), ``1d`` or ``1w``.

    Raises
    ------
    ConfigError
        Anything else; ``key`` is the setting that the message names.
    """
    if not _INTERVAL.fullmatch(interval):
        raise ConfigError(f"{key}: expected minutes or hours such as 5m or 1h, or 1d or 1w, got {interval!r}")
    length = int(interval[:-1]) * _LENGTHS[interval[-1]]
    if interval[-1] in "mh" and length >= _DAY:
        raise ConfigError(f"{key}: minutes and hours lie within a session, got {interval!r}; write 1d or 1w")
    return length


def interval_text(length: object) -> str:
    """A length of time as configs write it: ``5m``, ``1h``, ``2d``; seconds where it is no whole number of minutes.

    A number is nanoseconds; an empty text stands for none (NaT).
    """
    if pd.isna(length):
        return ""
    nanoseconds = pd.Timedelta(length).value
    unit = next((unit for unit in "dhm" if nanoseconds and nanoseconds % _LENGTHS[unit] == 0), None)
    return f"{nanoseconds // _LENGTHS[unit]}{unit}" if unit else f"{nanoseconds / 1e9:g}s"


def bucket_ids(
    timestamps: np.ndarray,
    sessions: np.ndarray,
    interval: str,
    stamp: str = "start",
    starts: np.ndarray | None = None,
) -> np.ndarray:
    """The bucket that each bar falls into; none but those of a week hold bars of two sessions.

    An id depends on its own bar alone, so a table has the same ids whole and in parts.

    Parameters
    ----------
    timestamps : (n,) datetime64[ns]
        UTC.
    sessions : (n,) datetime64[D]
    interval : str
        As `interval_length` takes it. Weeks go from Monday to Sunday.
    stamp : {"start", "end"}
        What a timestamp marks. A bar that ends where a bucket ends is that bucket's.
    starts : (n,) datetime64[ns], optional
        When each bar's session starts: a bucket begins there, and bars before it fall into buckets before. By default
        midnight UTC of the session's date.

    Returns
    -------
    (n,) int64
        Equal for the bars of a bucket, larger for those of a later one.
    """
    length, days = interval_length(interval), sessions.astype("datetime64[D]").astype(np.int64)
    if interval == "1w":
        return (days - weekday(sessions)) // 7
    if interval == "1d":
        return days
    starts = sessions.astype("datetime64[ns]") if starts is None else starts
    return days * _PLACES + _PLACES // 2 + _places(timestamps, starts, length, stamp)


def _places(timestamps: np.ndarray, starts: np.ndarray, length: int, stamp: str) -> np.ndarray:
    """Which bucket of its session a bar falls into: 0 from the session's start on, below 0 before it."""
    return (timestamps.view(np.int64) - starts.view(np.int64) - (stamp == "end")) // length


def resample_bars(bars: pd.DataFrame, interval: str, clock: Clock) -> pd.DataFrame:
    """Join the bars of one symbol: first open, highest high, lowest low, last close, and the sum of the volumes.

    Buckets of minutes or hours are counted from the open of each session where the clock has a calendar, else from
    midnight in its zone; they are stamped with their start, or their end where the clock's ``stamp`` says so. A ``1d``
    bar is stamped with its session, a ``1w`` bar with the Sunday that ends its week, which is its session too.

    The last bucket is left out unless it is known to be complete: bars reach its end, or that of its session (of the
    last session of its week). A session ends with its close, where the clock has a calendar and no bar of the symbol
    lies behind a close; else at midnight. Bars of dates are there when their session is over.

    Parameters
    ----------
    bars : DataFrame of n rows
        ``timestamp, session, open, high, low, close, volume`` in time order.
    interval : str
        As `interval_length` takes it.
    clock : Clock
        What gave the bars their sessions.

    Returns
    -------
    DataFrame
        The same columns, a row per bucket with bars.

    Raises
    ------
    DataError
        The interval is shorter than the bars.
    """
    check_coarser(bars, interval)
    return join_bars(bars, interval, clock)


def check_coarser(bars: pd.DataFrame, interval: str) -> None:
    """Refuse an interval that is shorter than the bars; see `resample_bars`."""
    timestamps, sessions = bars["timestamp"].to_numpy("datetime64[ns]"), bars["session"].to_numpy("datetime64[D]")
    _check_coarser(_bar_lengths(timestamps, sessions), sessions, interval)


def join_bars(bars: pd.DataFrame, interval: str, clock: Clock) -> pd.DataFrame:
    """`resample_bars` without its check."""
    length = interval_length(interval)
    if bars.empty:
        return bars
    timestamps, sessions = bars["timestamp"].to_numpy("datetime64[ns]"), bars["session"].to_numpy("datetime64[D]")
    lengths = _bar_lengths(timestamps, sessions)
    (starts, closes), (begins, ends) = _per_bar(clock.hours, sessions), _per_bar(clock.bounds, sessions)
    first = _firsts(bucket_ids(timestamps, sessions, interval, clock.stamp, starts))
    last = np.append(first[1:], len(bars)) - 1
    stamps = of_bucket = sessions[first]
    if interval == "1w":
        stamps = of_bucket = of_bucket + (6 - weekday(of_bucket))
    elif interval != "1d":
        bucket_starts = starts[first] + length * _places(timestamps[first], starts[first], length, clock.stamp)
        bucket_ends = np.minimum(bucket_starts + length, ends[first])
        stamps = bucket_ends if clock.stamp == "end" else np.maximum(bucket_starts, begins[first])
    joined = pd.DataFrame(
        {
            "timestamp": pd.DatetimeIndex(stamps.astype("datetime64[ns]"), tz="UTC"),
            "session": of_bucket.astype("datetime64[ms]"),
            "open": bars["open"].to_numpy()[first],
            "high": np.maximum.reduceat(bars["high"].to_numpy(), first),
            "low": np.minimum.reduceat(bars["low"].to_numpy(), first),
            "close": bars["close"].to_numpy()[last],
            "volume": np.add.reduceat(bars["volume"].to_numpy(), first),
        }
    )
    reached = timestamps[-1] + (np.gcd.reduce(lengths[-_RECENT:]) if clock.stamp == "start" else 0)
    behind = timestamps > closes if clock.stamp == "end" else timestamps >= closes
    is_over = holds_dates(timestamps) or reached >= (ends if behind.any() else closes)[-1]
    if interval == "1w":
        is_over &= sessions[-1] == clock.last_of_week(sessions[-1])
    elif interval != "1d":
        is_over |= reached >= bucket_ends[-1]
    return joined if is_over else joined[:-1]


def resample_panel(
    bars: dict[str, pd.DataFrame], clocks: dict[str, Clock], interval: str
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """`resample_bars` for every symbol: the bars of those that have some, and why the others have none."""
    joined, problems = {}, {}
    for symbol, own in bars.items():
        try:
            joined[symbol] = resample_bars(own, interval, clocks[symbol])
        except DataError as error:
            problems[symbol] = str(error)
            continue
        if joined[symbol].empty:
            problems[symbol] = f"resample: its {len(own)} bars do not fill one bar of {interval}"
            del joined[symbol]
    return joined, problems


def _firsts(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def _per_bar(times_of: Callable[[np.ndarray], tuple], sessions: np.ndarray) -> list[np.ndarray]:
    """What is asked of sessions (their hours, their bounds), for the session of each bar."""
    edges = _firsts(sessions)
    counts = np.diff(np.append(edges, len(sessions)))
    return [np.repeat(times, counts) for times in times_of(sessions[edges])]


def _bar_lengths(timestamps: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Nanoseconds that each bar lasts, at most, as far as the others show it; 0 where too few do.

    Bars with a clock time: the greatest common divisor of the steps within their session, which missing bars do not
    change. Bars of dates: the shortest steps but a tenth, at least a day.
    """
    steps = np.diff(timestamps.view(np.int64))
    if holds_dates(timestamps):
        shortest = np.partition(steps, len(steps) // _FEW)[len(steps) // _FEW] if len(steps) else _DAY
        return np.full(len(timestamps), max(shortest, _DAY))
    edges = _firsts(sessions)
    counts = np.diff(np.append(edges, len(sessions)))
    steps[edges[1:] - 1] = 0  # from session to session
    divisors = np.gcd.reduceat(np.append(steps, 0), edges)
    return np.repeat(np.where(counts > 2, divisors, 0), counts)


def _check_coarser(lengths: np.ndarray, sessions: np.ndarray, interval: str) -> None:
    longer = lengths > interval_length(interval)
    if np.count_nonzero(longer) * _FEW > len(lengths):
        usual = interval_text(int(np.median(lengths[longer])))
        raise DataError(
            f"resample: {np.mean(longer):.0%} of its bars last {usual}, from {sessions[longer.argmax()]} on, and a bar "
            f"cannot be parted; got {interval}, ask for {usual} or more"
        )
