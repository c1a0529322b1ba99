"""Bars of a symbol that are too many to hold: every pass reads, judges and adjusts them anew, a chunk at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.adjust import adjust_bars, scale_bars, session_bars, split_factors
from DATA_PROCESSING.bars import CleanRows, clean_rows
from DATA_PROCESSING.resample import check_coarser, join_bars
from DATA_PROCESSING.sessions import Clock, weekday

LONG_ROWS = 1_000_000  # a symbol with more rows than this is never held as a whole
MANY_ROWS = 50_000_000  # nor is any of a source with more than this
_BAD_ROWS = 10_000  # that are kept to be shown


@dataclass(frozen=True)
class LongBars:
    """The bars of one long symbol.

    Attributes
    ----------
    symbol : str
    read : callable
        Gives the symbol's rows as `DATA_PROCESSING.bars.read_table` does, in chunks, in time order.
    settings : dict
        The run config ``bars``.
    clock : Clock
    now : Timestamp
        Bars after it are bad.
    sessions : (k,) ndarray of datetime64[D]
        Those that it traded on, as the survey found.
    splits : DataFrame or None
        The events that its bars are adjusted for, as `judge_splits` returns them.
    """

    symbol: str
    read: Callable[[], Iterator[pd.DataFrame]]
    settings: dict
    clock: Clock
    now: pd.Timestamp
    sessions: np.ndarray | None = None
    splits: pd.DataFrame | None = None

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Valid, adjusted bars in time order: ``timestamp, session, open, high, low, close, volume``."""
        adjusted = (self._adjusted(rows.good) for rows in self._judged())
        return self._resampled(adjusted) if self.settings["resample"] else adjusted

    def survey(self) -> Survey:
        """What one pass over the bars tells of them."""
        found = Survey()
        for rows in self._judged():
            found.add(rows, self._adjusted(rows.good), self)
        return found

    def _judged(self) -> Iterator[CleanRows]:
        for table in self.read():
            yield clean_rows(table, self.settings, {self.symbol: self.clock}, self.now, "adj_close" in table)

    def _adjusted(self, good: pd.DataFrame) -> pd.DataFrame:
        bars = adjust_bars(good)
        bars.insert(1, "session", good["session"])
        if self.splits is not None and len(self.splits):
            bars = scale_bars(bars, split_factors(bars["session"].to_numpy("datetime64[D]"), self.splits))
        return bars.reset_index(drop=True)

    def _resampled(self, chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Coarser bars, of whole sessions (weeks) at a time, so that no bucket is cut in two."""
        interval, held = self.settings["resample"], None
        for bars in chunks:
            rows = bars if held is None else pd.concat([held, bars], ignore_index=True)
            if rows.empty:
                continue
            sessions = rows["session"].to_numpy("datetime64[D]")
            begin = sessions[-1] - (weekday(sessions[-1:])[0] if interval == "1w" else 0)
            cut = int(np.searchsorted(sessions, begin))
            if cut:
                # The first bar behind the cut shows that what lies before it is complete.
                joined = join_bars(rows.iloc[: cut + 1], interval, self.clock)
                yield joined[joined["session"].to_numpy("datetime64[D]") < begin].reset_index(drop=True)
            held = rows.iloc[cut:].reset_index(drop=True)
        if held is not None:
            yield join_bars(held, interval, self.clock)


class Survey:
    """What a pass over a long symbol tells of it, in place of its bars."""

    def __init__(self) -> None:
        self.rows, self.duplicates, self.unsorted, self.adjusted = 0, 0, False, False
        self.first = self.last = pd.NaT
        self.bar_length = np.timedelta64("NaT")
        self.problem = ""
        self._reasons: Counter[str] = Counter()
        self._bad: list[pd.DataFrame] = []
        self._days: list[pd.DataFrame] = []

    def add(self, rows: CleanRows, bars: pd.DataFrame, long: LongBars) -> None:
        """Take in the next chunk."""
        self.duplicates += len(rows.repeats)
        self.unsorted |= bool(rows.unsorted)
        self.adjusted |= "adj_close" in rows.good
        self._reasons.update(rows.bad["reason"])
        if sum(map(len, self._bad)) < _BAD_ROWS:
            self._bad.append(rows.bad.astype({"symbol": object}))
        if bars.empty:
            return
        if self.rows == 0:
            self.first = bars["timestamp"].iloc[0]
            self._look_at_interval(bars, long)
        self.rows, self.last = self.rows + len(bars), bars["timestamp"].iloc[-1]
        codes = np.zeros(len(bars), int)
        self._days.append(session_bars(bars, codes, bars["session"].to_numpy("datetime64[D]")))

    def _look_at_interval(self, bars: pd.DataFrame, long: LongBars) -> None:
        self.bar_length = bar_length(bars)
        try:
            if long.settings["resample"]:
                check_coarser(bars, long.settings["resample"])
        except DataError as error:
            self.problem = str(error)

    @property
    def reasons(self) -> str:
        """The bad rows by reason, as text."""
        return "; ".join(f"{count} {reason}" for reason, count in sorted(self._reasons.items()))

    @property
    def bad_rows(self) -> pd.DataFrame:
        """The bad rows, the first ten thousand or so where there are more."""
        return stack(self._bad)

    @property
    def bad_count(self) -> int:
        """How many rows are bad."""
        return self._reasons.total()

    def days(self, symbol: str) -> pd.DataFrame:
        """The symbol's `session_bars`."""
        days = stack(self._days)
        days = session_bars(days, days["symbol"].to_numpy(), days["session"].to_numpy("datetime64[D]"))
        return days.assign(symbol=symbol)


def stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames below each other, numbered anew; the types of empty ones do not count."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def survey_all(long: dict[str, LongBars], problems: dict[str, str]) -> tuple[dict[str, LongBars], dict[str, Survey]]:
    """Survey long symbols; those that turn out unusable go, with the reason, into ``problems``."""
    kept, surveys = {}, {}
    for symbol, bars in long.items():
        try:
            found = bars.survey()
        except DataError as error:
            problems[symbol] = str(error)
            continue
        surveys[symbol] = found
        if found.rows and not found.problem:
            kept[symbol] = replace(bars, sessions=found.days(symbol)["session"].to_numpy("datetime64[D]"))
            if bars.settings["resample"]:
                coarse = pd.concat([own[["timestamp", "session"]] for own in bars.chunks()])
                if coarse.empty:
                    interval = bars.settings["resample"]
                    found.problem = f"resample: its {found.rows:,} bars do not fill one bar of {interval}"
                    del kept[symbol]
                    continue
                found.bar_length = bar_length(coarse)
                kept[symbol] = replace(bars, sessions=np.unique(coarse["session"].to_numpy("datetime64[D]")))
    return kept, surveys


def bar_length(bars: pd.DataFrame) -> np.timedelta64:
    """The usual time from bar to bar; NaT for fewer than two bars."""
    steps = np.diff(bars["timestamp"].to_numpy("datetime64[ns]")).view(np.int64)
    return np.timedelta64(int(np.median(steps)), "ns") if len(steps) else np.timedelta64("NaT")
