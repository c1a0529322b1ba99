"""A panel: the valid, adjusted bars of several symbols, and what was wrong with the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.adjust import adjust_bars, judge_splits, scale_bars, session_bars, split_factors
from DATA_PROCESSING.bars import CleanRows, clean_rows
from DATA_PROCESSING.headers import listed
from DATA_PROCESSING.long_bars import LongBars, Survey, bar_length, stack, survey_all
from DATA_PROCESSING.resample import resample_panel
from DATA_PROCESSING.sessions import Clock, panel_sessions, read_clocks

log = logging.getLogger("barzoo")


@dataclass(frozen=True)
class Panel:
    """Valid, adjusted bars of several symbols, and what was wrong with the rest.

    Attributes
    ----------
    name : str
        The SOURCE they came from.
    bars : dict of str to DataFrame
        Per symbol ``timestamp, session, open, high, low, close, volume``, increasing in time.
    quality : DataFrame
        A row per symbol, those without one usable bar included: ``symbol, rows`` (valid bars), ``first, last, bad_rows,
        reasons, duplicates, unsorted, adjusted, stale, splits`` (the split-like events, as text), ``problem``. A row
        that was read is counted once, as one of ``rows``, ``bad_rows`` and ``duplicates``.
    bad_rows : DataFrame
        The rows set aside: ``symbol, file, row`` (from 0 below the file's header), ``timestamp``, the values and
        ``reason``.
    splits : DataFrame
        Events that look like splits, as `judge_splits` returns them.
    sessions : ndarray of datetime64[D]
        The panel's trading days.
    clocks : dict of str to Clock
        What decides the session of each symbol's bars.
    bar_length : timedelta64
        The shortest of the symbols' usual times from bar to bar; NaT where no symbol has two bars.
    long : dict of str to LongBars
        Symbols with too many bars to be in ``bars``.
    settings : dict
        The run config ``bars`` that it was made with.
    others : dict of str to DataFrame, optional
        The bars of all symbols, where `only` has left some out of ``bars``.
    """

    name: str
    bars: dict[str, pd.DataFrame]
    quality: pd.DataFrame
    bad_rows: pd.DataFrame
    splits: pd.DataFrame
    sessions: np.ndarray
    clocks: dict[str, Clock]
    bar_length: np.timedelta64
    long: dict[str, LongBars] = field(default_factory=dict, repr=False)
    settings: dict = field(default_factory=dict, repr=False)
    others: dict[str, pd.DataFrame] | None = field(default=None, repr=False)

    @property
    def everyone(self) -> dict[str, pd.DataFrame]:
        """The bars of all symbols of the source, those that `only` left out included."""
        return self.bars if self.others is None else self.others

    @property
    def symbols(self) -> list[str]:
        """The symbols that have bars, sorted."""
        return sorted({*self.bars, *self.long})

    @property
    def stamp(self) -> str:
        """What timestamps mark: the start or the end of bars."""
        return next(iter(self.clocks.values())).stamp

    def chunks(self, symbol: str) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """A symbol's bars in time order, with `session_numbers`, in one piece or more."""
        if symbol not in self.long:
            yield self.bars[symbol], self.session_numbers(symbol)
            return
        expected = self.clocks[symbol].expected_sessions(self.long[symbol].sessions, self.sessions)
        for bars in self.long[symbol].chunks():
            yield bars, np.searchsorted(expected, bars["session"].to_numpy("datetime64[D]"))

    def row_sessions(self, symbol: str) -> np.ndarray:
        """The session of each bar of a symbol."""
        return np.concatenate([bars["session"].to_numpy("datetime64[D]") for bars, _ in self.chunks(symbol)])

    def session_numbers(self, symbol: str) -> np.ndarray:
        """The position of each bar's session among those on which the symbol is expected to trade."""
        traded = self.everyone[symbol]["session"].to_numpy("datetime64[D]")
        return np.searchsorted(self.clocks[symbol].expected_sessions(traded, self.sessions), traded)

    def only(self, symbols: list[str]) -> Panel:
        """Some symbols of the panel, with the sessions of all.

        Raises
        ------
        DataError
            None of them has a usable bar.
        """
        bars = {symbol: frame for symbol, frame in self.bars.items() if symbol in symbols}
        quality = self.quality[self.quality["symbol"].isin(symbols)].reset_index(drop=True)
        bad_rows, splits = (
            frame[frame["symbol"].isin(symbols)].reset_index(drop=True) for frame in (self.bad_rows, self.splits)
        )
        long = {symbol: own for symbol, own in self.long.items() if symbol in symbols}
        panel = replace(
            self, bars=bars, long=long, others=self.everyone, quality=quality, bad_rows=bad_rows, splits=splits
        )
        if not panel.symbols:
            message = f"{self.name}: no usable bar of {listed(symbols)}: {quality['problem'].iloc[0]}"
            raise UnusableSource(message, panel)
        return panel


class UnusableSource(DataError):
    """A source without one usable bar; the ``quality`` and ``bad_rows`` of its ``panel`` say why."""

    def __init__(self, message: str, panel: Panel) -> None:
        super().__init__(message)
        self.panel = panel


def build_panel(
    name: str,
    table: pd.DataFrame,
    problems: dict[str, str],
    settings: dict,
    now: pd.Timestamp | None = None,
    readers: dict[str, Callable[[], Iterator[pd.DataFrame]]] | None = None,
    more_sessions: np.ndarray | None = None,
) -> Panel:
    """Validate, then adjust, the rows of a source.

    Parameters
    ----------
    name : str
        The SOURCE, for messages.
    table : DataFrame
        Rows as `DATA_PROCESSING.bars.read_table` returns them, of any number of symbols in any order.
    problems : dict of str to str
        What could not be read at all (a symbol, or a file's name), and why.
    settings : dict
        The run config ``bars``.
    now : Timestamp, optional
        Bars after it are bad; the present by default.
    readers : dict of str to callable, optional
        Per symbol that is too long to be held, what reads its rows in chunks, as `LongBars` needs it.
    more_sessions : (k,) ndarray of datetime64[D], optional
        Those of symbols of the source that are not among the rows.

    Raises
    ------
    UnusableSource
        No usable bar in the whole source.
    DataError
        Bad rows or unreadable files under ``on_bad: fail``.
    """
    now, readers, problems = now or pd.Timestamp.now("UTC"), readers or {}, dict(problems)
    clocks = read_clocks(settings, sorted({*table["symbol"].unique(), *problems, *readers}))
    long, surveys = survey_all(
        {symbol: LongBars(symbol, read, settings, clocks[symbol], now) for symbol, read in readers.items()}, problems
    )
    rows = clean_rows(table, settings, {symbol: clocks[symbol] for symbol in clocks if symbol not in surveys}, now)
    if rows.unsorted:
        log.warning("%s: rows of %s are not in time order; sorted", name, listed(rows.unsorted))
    bad_rows = stack([rows.bad.astype({"symbol": object}), *(found.bad_rows for found in surveys.values())])
    if settings["on_bad"] == "fail":
        _refuse(name, bad_rows, problems)
    good, quality = rows.good, _quality(rows, surveys, problems)
    adjusted, symbols = adjust_bars(good), good["symbol"].cat
    adjusted.insert(1, "session", good["session"])
    dates = adjusted["session"].to_numpy("datetime64[D]")
    days = session_bars(adjusted, symbols.codes.to_numpy(), dates)
    days["symbol"] = symbols.categories.to_numpy()[days["symbol"]]
    days = stack([days, *(surveys[symbol].days(symbol) for symbol in long)])
    splits = judge_splits(name, days, quality, settings["adjust"])
    own_splits = dict(iter(splits[splits["adjusted"]].groupby("symbol")))
    edges = np.searchsorted(symbols.codes, np.arange(len(symbols.categories) + 1))
    bars = {}
    for symbol, start, stop in zip(symbols.categories, edges[:-1], edges[1:], strict=True):
        if start < stop:
            bars[symbol] = adjusted.iloc[start:stop].reset_index(drop=True)
            if symbol in own_splits:
                bars[symbol] = scale_bars(bars[symbol], split_factors(dates[start:stop], own_splits[symbol]))
    long = {symbol: replace(own, splits=own_splits.get(symbol)) for symbol, own in long.items()}
    if settings["resample"]:
        bars, refused = resample_panel(bars, clocks, settings["resample"])
        clocks = dict.fromkeys(clocks, Clock()) if settings["resample"] == "1w" else clocks  # weeks have no calendar
        quality["problem"] = quality["symbol"].map(refused).fillna(quality["problem"])
    traded = {symbol: frame["session"].to_numpy("datetime64[D]") for symbol, frame in bars.items()}
    traded |= {symbol: own.sessions for symbol, own in long.items()}
    sessions = panel_sessions([*traded.values(), *([] if more_sessions is None else [more_sessions])])
    ages = {symbol: clocks[symbol].age(own, sessions) for symbol, own in traded.items()}
    quality["stale"] = quality["symbol"].map(ages) > settings["stale_sessions"]
    lengths = [*map(bar_length, bars.values()), *(surveys[symbol].bar_length for symbol in long)]
    shortest = min((length for length in lengths if not np.isnat(length)), default=np.timedelta64("NaT"))
    panel = Panel(
        name, bars, quality, bad_rows, splits, sessions, clocks, shortest, long, settings
    )  # fmt: skip
    if not panel.symbols:
        symbol, problem = quality.loc[0, ["symbol", "problem"]]
        message = f"{name}: no usable bar in {len(quality)} symbols, the first {symbol!r}: {problem}"
        raise UnusableSource(message, panel)
    return panel


def _quality(rows: CleanRows, surveys: dict[str, Survey], problems: dict[str, str]) -> pd.DataFrame:
    """A row per symbol (the categories of the good rows, the long ones) or unreadable file; see `Panel`."""
    good, bad, repeats = rows.good, rows.bad, rows.repeats
    bars = good.groupby("symbol", observed=False)
    symbols = good["symbol"].cat.categories
    reasons = dict.fromkeys(symbols, "")
    for symbol, told in bad.groupby("symbol", observed=True)["reason"]:
        reasons[symbol] = "; ".join(f"{count} {reason}" for reason, count in told.value_counts().sort_index().items())
    quality = pd.DataFrame(
        {
            "symbol": symbols,
            "rows": bars.size().to_numpy(),
            "first": bars["timestamp"].min().array,
            "last": bars["timestamp"].max().array,
            "bad_rows": bad.groupby("symbol", observed=False).size().to_numpy(),
            "reasons": list(reasons.values()),
            "duplicates": repeats.groupby("symbol", observed=False).size().to_numpy(),
            "unsorted": symbols.isin(rows.unsorted),
            "adjusted": bars["adj_close"].count().to_numpy() > 0 if "adj_close" in good else False,
            "stale": False,
            "splits": "",
        }
    )
    quality = stack([quality, _quality_of_long(surveys)]).sort_values("symbol", ignore_index=True)
    told = ("no valid bar: " + quality["reasons"]).where(quality["rows"] == 0, "")
    known = {symbol: found.problem for symbol, found in surveys.items() if found.problem} | problems
    return quality.assign(
        problem=[known.get(symbol, text) for symbol, text in zip(quality["symbol"], told, strict=True)]
    )


def _quality_of_long(surveys: dict[str, Survey]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "symbol": symbol,
                "rows": found.rows,
                "first": found.first,
                "last": found.last,
                "bad_rows": found.bad_count,
                "reasons": found.reasons,
                "duplicates": found.duplicates,
                "unsorted": found.unsorted,
                "adjusted": found.adjusted,
                "stale": False,
                "splits": "",
            }
            for symbol, found in surveys.items()
        ]
    )


def _refuse(name: str, bad_rows: pd.DataFrame, problems: dict[str, str]) -> None:
    """Raise the first fault of a source that must have none."""
    cure = "mend them, or set on_bad: quarantine in bars.yaml"
    if problems:
        first = next(iter(problems.values()))
        raise DataError(f"{name}: {len(problems)} files cannot be used, the first: {first}; {cure}")
    if len(bad_rows):
        first = bad_rows.iloc[0]
        raise DataError(
            f"{name}: {len(bad_rows)} bad rows, the first {first['symbol']} at {first['timestamp']} "
            f"(row {first['row'] + 1} of {first['file']}): {first['reason']}; {cure}"
        )
