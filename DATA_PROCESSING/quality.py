"""What a careful reader wants to know of bars before using them: gaps, stale prices, outliers, changes of interval.

A symbol is judged by its own clock (see `sessions`), and by its exchange's calendar where one is named. Of the panel's
sessions only those count on which at least half of the symbols that could trade do: one stray bar makes no session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import PRICE_COLUMNS
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sessions import row_sessions

FAR = 10.0  # robust standard deviations of one-bar returns; beyond it, and back at once, lies a bad tick
SHIFT = 2.0  # times the close before, or part of it; beyond it a session begins at another level
RUN = 5  # bars with one close, at least, that are stale prices; within sessions it takes a whole session of them
BLOCK = 20  # bars that show the interval between them
LATE = 5  # sessions; what starts later than others by more is told
FEW = 0.001  # share of bars without volume, or that repeat the one before, above which it is told
KEPT_RUNS = 20  # of stale prices, per symbol, the longest
MOST_PERIODS = 120  # columns of the coverage; months, or quarters, or years, so that they fit
_MEASURED = (
    "symbol", "interval", "sessions", "bars_per_session", "missing_sessions", "longest_gap", "missing_bars",
    "late_start", "early_end", "zero_volume", "repeats", "same_close", "stale_prices", "outliers", "level_shifts",
    "interval_changes",
)  # fmt: skip
MAD_TO_STD = 1.4826  # of a normal distribution
_NO_SESSIONS = np.empty(0, "datetime64[D]")


@dataclass(frozen=True)
class Findings:
    """What `examine` found in a panel.

    Attributes
    ----------
    symbols : DataFrame
        ``panel.quality`` and, for each symbol with bars (others have missing values):

        - ``interval`` (the usual time between bars), ``sessions``, ``bars_per_session`` (the usual number)
        - ``first_session``, ``last_session``
        - ``missing_sessions`` of its clock between its first and last bar, ``longest_gap`` (sessions in a row)
        - ``missing_bars``: what sessions lack of the usual number, first and last session left out
        - ``late_start``, ``early_end``: sessions of its clock before its first and after its last bar
        - ``zero_volume``: share of bars without volume
        - ``repeats``: bars whose four prices are those of the bar before; ``same_close``: bars in the longest run of
          one close
        - ``stale_prices``, ``outliers``, ``level_shifts``, ``interval_changes``: how many of those below
    gaps : DataFrame
        Missing sessions in a row: ``symbol, first, last, sessions``.
    stale_prices : DataFrame
        Runs of one close: ``symbol, first, last, bars, close``, and ``all_prices``: whether the others stay too.
    outliers : DataFrame
        Prices far off that are back with the next bar: ``symbol, timestamp, price`` (its column), ``value, move``
        (as a fraction) and ``deviations`` (robust standard deviations of one-bar returns).
    level_shifts : DataFrame
        Sessions that open far from the close before, with no split-like event of the panel and no outlier to explain
        it: ``symbol, session, close_before, open, move`` (as a fraction).
    interval_changes : DataFrame
        Bars from which on the interval is another: ``symbol, timestamp, before, after``.
    coverage : DataFrame
        Bars as a share of those to be expected: a row per symbol, a column per month (or quarter, or year, of a long
        panel), NaN where nothing is expected.
    """

    symbols: pd.DataFrame
    gaps: pd.DataFrame
    stale_prices: pd.DataFrame
    outliers: pd.DataFrame
    level_shifts: pd.DataFrame
    interval_changes: pd.DataFrame
    coverage: pd.DataFrame


def examine(panel: Panel) -> Findings:
    """Look for what is wrong, or strange, in the valid bars of a panel."""
    distinct = {symbol: np.unique(row_sessions(frame), return_counts=True) for symbol, frame in panel.everyone.items()}
    expected = _expected_sessions(panel, {symbol: days for symbol, (days, _) in distinct.items()})
    splits = {symbol: own.to_numpy("datetime64[D]") for symbol, own in panel.splits.groupby("symbol")["session"]}
    rows, gaps, runs, outliers, shifts, changes = [], [], [], [], [], []
    periods = _periods(panel.sessions)
    coverage = np.full((len(panel.bars), len(periods)), np.nan, np.float32)
    for place, (symbol, frame) in enumerate(panel.bars.items()):
        days, counts = distinct[symbol]
        per_session = int(np.bincount(counts).argmax())
        prices, times = frame[list(PRICE_COLUMNS)].to_numpy(), _times(frame)
        own_gaps = list(_gaps(days, expected[symbol]))
        own_runs = list(_stale_runs(prices, max(RUN, per_session)))
        own_outliers = list(_outliers(prices))
        own_shifts = list(_level_shifts(prices, row_sessions(frame), splits.get(symbol, _NO_SESSIONS), own_outliers))
        own_changes = list(_interval_changes(times))
        gaps += [(symbol, *gap) for gap in own_gaps]
        runs += [(symbol, times[a], times[b], b - a + 1, prices[a, 3], whole) for a, b, whole in own_runs]
        outliers += [(symbol, times[row], PRICE_COLUMNS[k], prices[row, k], *how) for row, k, *how in own_outliers]
        shifts += [(symbol, *shift) for shift in own_shifts]
        changes += [(symbol, times[row], before, after) for row, before, after in own_changes]
        coverage[place] = _coverage(days, counts, per_session, expected[symbol], periods)
        rows.append(
            {
                "symbol": symbol,
                "interval": usual_interval(times),
                "sessions": len(days),
                "bars_per_session": per_session,
                "missing_sessions": sum(gap[-1] for gap in own_gaps),
                "longest_gap": max((gap[-1] for gap in own_gaps), default=0),
                "missing_bars": int(np.maximum(per_session - counts[1:-1], 0).sum()),
                "late_start": int(np.searchsorted(expected[symbol], days[0])),
                "early_end": len(expected[symbol]) - int(np.searchsorted(expected[symbol], days[-1], "right")),
                "zero_volume": float(np.mean(frame["volume"].to_numpy() == 0)),
                "repeats": int(np.count_nonzero((prices[1:] == prices[:-1]).all(axis=1))),
                "same_close": _longest_run(prices[:, 3]),
                "stale_prices": len(own_runs),
                "outliers": len(own_outliers),
                "level_shifts": len(own_shifts),
                "interval_changes": len(own_changes),
            }
        )
    symbols = panel.quality.merge(pd.DataFrame(rows, columns=list(_MEASURED)), on="symbol", how="left")
    traded = {symbol: days for symbol, (days, _) in distinct.items()}
    traded |= {symbol: own.sessions for symbol, own in panel.long.items()}
    for name, place in (("first_session", 0), ("last_session", -1)):
        sessions = {symbol: days[place].astype("datetime64[ns]") for symbol, days in traded.items()}
        symbols[name] = pd.to_datetime(symbols["symbol"].map(sessions))
    return Findings(
        symbols=symbols,
        gaps=_frame(gaps, ("symbol", "first", "last", "sessions")),
        stale_prices=_frame(runs, ("symbol", "first", "last", "bars", "close", "all_prices")),
        outliers=_frame(outliers, ("symbol", "timestamp", "price", "value", "move", "deviations")),
        level_shifts=_frame(shifts, ("symbol", "session", "close_before", "open", "move")),
        interval_changes=_frame(changes, ("symbol", "timestamp", "before", "after")),
        coverage=pd.DataFrame(coverage, list(panel.bars), periods),
    )


def describe(symbol: object) -> list[str]:
    """What there is to be told of a symbol, in short phrases; nothing where all is well.

    Parameters
    ----------
    symbol : a row of ``Findings.symbols``, as ``itertuples`` gives it.
    """
    if symbol.problem:
        return [symbol.problem]
    if pd.isna(symbol.interval) and symbol.rows > 1:  # only counted: it is never held as a whole
        told = ((symbol.bad_rows, symbol.reasons), (symbol.duplicates, _count(symbol.duplicates, "duplicate")),
                (symbol.splits, f"split-like {symbol.splits}"), (True, "too long to be examined"))  # fmt: skip
        return [text for applies, text in told if applies]
    in_a_row = f", {symbol.longest_gap:.0f} in a row" if symbol.longest_gap > 1 else ""
    told = (
        (symbol.bad_rows, symbol.reasons),
        (symbol.duplicates, _count(symbol.duplicates, "duplicate")),
        (symbol.unsorted, "unsorted"),
        (symbol.splits, f"split-like {symbol.splits}"),
        (symbol.missing_sessions, f"{_count(symbol.missing_sessions, 'session')} missing{in_a_row}"),
        (symbol.missing_bars, f"{_count(symbol.missing_bars, 'bar')} missing within sessions"),
        (symbol.late_start > LATE, f"starts {_count(symbol.late_start, 'session')} late"),
        (symbol.stale, f"ends {_count(symbol.early_end, 'session')} early"),
        (symbol.zero_volume > FEW, f"{symbol.zero_volume:.1%} without volume"),
        (symbol.stale_prices, f"one close for {_count(symbol.same_close, 'bar')}"),
        (symbol.repeats > max(FEW * symbol.rows, RUN), f"{_count(symbol.repeats, 'bar')} like the one before"),
        (symbol.outliers, _count(symbol.outliers, "outlier")),
        (symbol.level_shifts, _count(symbol.level_shifts, "level shift")),
        (symbol.interval_changes, "the interval changes"),
    )
    return [text for applies, text in told if applies]


def _count(number: float, noun: str) -> str:
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"


def usual_interval(times: np.ndarray) -> np.timedelta64:
    """The usual time from a bar to the next: more of them are shorter or equal than nights and weekends make longer."""
    steps = np.diff(times)
    return np.partition(steps, place := 2 * (len(steps) - 1) // 5)[place] if len(steps) else np.timedelta64("NaT")


def _times(bars: pd.DataFrame) -> np.ndarray:
    return bars["timestamp"].to_numpy("datetime64[ns]")


def _frame(rows: list[tuple], columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


def _runs(mask: np.ndarray) -> np.ndarray:
    """First and last index of each run of true values, (runs, 2)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return edges.reshape(-1, 2) - [0, 1]


def _expected_sessions(panel: Panel, traded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The sessions of the whole panel in which each symbol should have bars."""
    expected = {symbol: panel.clocks[symbol].expected_sessions(own, panel.sessions) for symbol, own in traded.items()}
    free = [symbol for symbol in traded if not panel.clocks[symbol].calendar]
    trade, could = np.zeros(len(panel.sessions), int), np.zeros(len(panel.sessions), int)
    for symbol in free:
        own = traded[symbol]
        trade[np.searchsorted(panel.sessions, own)] += 1
        lived = expected[symbol][(expected[symbol] >= own[0]) & (expected[symbol] <= own[-1])]
        could[np.searchsorted(panel.sessions, lived)] += 1
    is_common = 2 * trade >= could
    for symbol in free:
        expected[symbol] = expected[symbol][is_common[np.searchsorted(panel.sessions, expected[symbol])]]
    return expected


def _gaps(days: np.ndarray, expected: np.ndarray) -> Iterator[tuple]:
    """First and last missing session, and how many there are, of each gap."""
    lived = expected[(expected >= days[0]) & (expected <= days[-1])]
    missing = days[np.minimum(np.searchsorted(days, lived), len(days) - 1)] != lived
    for start, stop in _runs(missing):
        yield lived[start], lived[stop], int(stop - start + 1)


def _longest_run(closes: np.ndarray) -> int:
    runs = _runs(closes[1:] == closes[:-1])
    return int((runs[:, 1] - runs[:, 0]).max()) + 2 if len(runs) else 1


def _stale_runs(prices: np.ndarray, least: int) -> Iterator[tuple[int, int, bool]]:
    """First and last bar of the longest runs of one close, and whether the other prices stay too; in time order."""
    same = prices[1:] == prices[:-1]
    runs = _runs(same[:, 3])
    lengths = runs[:, 1] - runs[:, 0] + 2
    longest = np.argsort(-lengths, kind="stable")[:KEPT_RUNS]
    for start, stop in runs[np.sort(longest[lengths[longest] >= least])]:
        yield start, stop + 1, bool(same[start : stop + 1].all())


def _outliers(prices: np.ndarray) -> Iterator[tuple[int, int, float, float]]:
    """Row, column, move and deviations of prices that stand far out from both neighbours, in time order."""
    logs = np.log(prices)
    open_, high, low, close = logs.T
    returns = np.abs(np.diff(close))
    moved = returns[returns > 0]
    if len(moved) < RUN:
        return
    scale = MAD_TO_STD * np.median(moved)
    before, here, after = slice(None, -2), slice(1, -1), slice(2, None)
    rise, fall = np.diff(close)[:-1], -np.diff(close)[1:]
    reverts = (rise * fall > 0) & (np.abs(rise - fall) < np.minimum(np.abs(rise), np.abs(fall)) / 2)
    apart = np.where(reverts, np.sign(rise) * np.minimum(np.abs(rise), np.abs(fall)), 0.0)
    body_top, body_end = np.maximum(open_, close), np.minimum(open_, close)
    above = high[here] - np.maximum.reduce([body_top[here], high[before], high[after]])
    below = low[here] - np.minimum.reduce([body_end[here], low[before], low[after]])
    with np.errstate(over="ignore"):
        found = [
            (row + 1, column, float(np.expm1(far[row])), float(abs(far[row]) / scale))
            for column, far in ((3, apart), (1, np.maximum(above, 0)), (2, np.minimum(below, 0)))
            for row in np.flatnonzero(np.abs(far) > FAR * scale)
        ]
    yield from sorted(found)


def _level_shifts(
    prices: np.ndarray, sessions: np.ndarray, splits: np.ndarray, outliers: list[tuple]
) -> Iterator[tuple[np.datetime64, float, float, float]]:
    """Session, close before, open and move where neither a split-like event nor an outlier beside it explains it."""
    open_, before = prices[1:, 0], prices[:-1, 3]
    far = (sessions[1:] != sessions[:-1]) & (np.abs(np.log(open_ / before)) > np.log(SHIFT))
    far &= np.diff(np.searchsorted(splits, sessions, "right")) == 0
    explained = {row for row, *_ in outliers}
    for last in np.flatnonzero(far):  # the bar before
        if not explained & {last, last + 1}:
            session = sessions[last + 1].astype("datetime64[ns]")
            yield session, before[last], open_[last], open_[last] / before[last] - 1


def _interval_changes(times: np.ndarray) -> Iterator[tuple[int, np.timedelta64, np.timedelta64]]:
    """Row of the first bar at another interval, the interval before and after; both must hold for 40 bars."""
    steps = np.diff(times)
    blocks = steps[: len(steps) // BLOCK * BLOCK].reshape(-1, BLOCK)
    usual = np.sort(blocks, axis=1)[:, 2 * BLOCK // 5]
    steady = np.count_nonzero(blocks == usual[:, None], axis=1) * 2 >= BLOCK
    held = steady & np.append(False, (usual[1:] == usual[:-1]) & steady[:-1])  # the block and the one before it
    ends = np.flatnonzero(held)  # of two like blocks
    slower, quicker = (how(usual[ends[1:]], usual[ends[:-1]]) for how in (np.maximum, np.minimum))
    for place in np.flatnonzero(2 * slower > 3 * quicker):  # months are not alike, and yet one interval
        (one, other), first = ends[place : place + 2], ends[place] * BLOCK + BLOCK
        part = steps[first : (other + 1) * BLOCK]
        votes = np.cumsum(np.where(part == usual[one], 1, np.where(part == usual[other], -1, 0)))
        yield first + (int(votes.argmax()) + 1 if votes.max() > 0 else 0), usual[one], usual[other]


def _periods(sessions: np.ndarray) -> pd.DatetimeIndex:
    """First days of the months from the first session to the last; of quarters, years, ... where they are too many."""
    if not len(sessions):
        return pd.DatetimeIndex([])
    first, last = sessions[[0, -1]].astype("datetime64[M]").astype(int)
    step = next((step for step in (1, 3, 12, 60) if (last - first) // step < MOST_PERIODS), 600)
    starts = np.arange(first // step * step, last + 1, step).astype("datetime64[M]")
    return pd.DatetimeIndex(starts.astype("datetime64[ns]"))


def _coverage(
    days: np.ndarray, counts: np.ndarray, per_session: int, expected: np.ndarray, periods: pd.DatetimeIndex
) -> np.ndarray:
    starts = periods.to_numpy("datetime64[D]")
    had, asked = (
        np.bincount(np.searchsorted(starts, when, "right") - 1, bars, len(starts))
        for when, bars in ((days, np.minimum(counts, per_session)), (expected, np.full(len(expected), per_session)))
    )
    with np.errstate(all="ignore"):
        return np.where(asked > 0, np.minimum(had / asked, 1), np.nan)
