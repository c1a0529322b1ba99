"""The bar schema: what a valid bar is, and what happens to those that are not.

A bar table has the columns ``symbol, timestamp (UTC), open, high, low, close, volume`` and maybe ``adj_close``. It is
valid when every number is finite, prices are above zero, ``low <= min(open, close)``, ``high >= max(open, close)``,
``volume >= 0``, and timestamps are unique, increasing and not in the future.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.adjust import adjustable
from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS
from DATA_PROCESSING.headers import name_columns, read_numbers
from DATA_PROCESSING.sessions import OUTSIDE, Clock, assign_sessions
from DATA_PROCESSING.symbols import printable, symbol_faults
from DATA_PROCESSING.times import read_timestamps

TEXT_IN = "text in "


def read_table(
    raw: pd.DataFrame, where: str, tz: str, symbol: str | None = None, faults: np.ndarray | None = None
) -> pd.DataFrame:
    """Give a source's table the project's column names and types; nothing is dropped yet.

    Parameters
    ----------
    raw : DataFrame
        Columns as the source calls them.
    where : str
        The file, named in errors and beside bad rows.
    tz : str
        Zone of clock times that carry none.
    symbol : str, optional
        The table's symbol when it has no symbol column.
    faults : ndarray of object, optional
        What `read_timestamps` says of each row, where the column ``timestamp`` is its result already.

    Returns
    -------
    DataFrame
        ``symbol, file, row, timestamp, open, high, low, close, volume[, adj_close], fault``, where ``fault`` says what
        could not be read of a row (else empty).

    Raises
    ------
    DataError
        A column is missing, there is no row, or no timestamp can be read.
    """
    named = raw.rename(columns=name_columns(list(raw.columns), where)).reset_index(drop=True)
    if named.empty:
        raise DataError(f"{where}: no rows; expected bars below the header")
    codes = None
    if "symbol" in named:
        codes, distinct = pd.factorize(named["symbol"])  # a missing value is -1, the last
        codes = np.where(codes < 0, len(distinct), codes)
        symbols = np.array([*(printable(str(value).strip()) for value in distinct), ""], object)[codes]
    elif symbol is not None:
        symbols = printable(symbol.strip())
    else:
        raise DataError(f"{where}: no symbol column; a file of several symbols needs one")
    if faults is None:
        timestamps, faults = read_timestamps(named["timestamp"], named.get("time"), tz, where, codes)
    else:
        timestamps, faults = named["timestamp"], faults.copy()
    table = {"symbol": symbols, "file": where, "row": np.arange(len(named)), "timestamp": timestamps}
    for column in (*BAR_COLUMNS, "adj_close"):
        if column in named:
            table[column], is_text = read_numbers(named[column])
            faults[is_text & (faults == "")] = f"{TEXT_IN}{column}"
    return pd.DataFrame({**table, "fault": faults})


def sort_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Order rows by symbol (made categorical) and time, unreadable times last; also say which symbols were unsorted."""
    codes, symbols = pd.factorize(table["symbol"], sort=True)
    table = table.assign(symbol=pd.Categorical.from_codes(codes, symbols))
    times = table["timestamp"].to_numpy("datetime64[ns]")
    lexical = (np.diff(codes) > 0) | ((np.diff(codes) == 0) & (times[1:] >= times[:-1]))
    if lexical.all():
        return table, []
    known = np.flatnonzero(~np.isnat(times))
    known = known[np.argsort(codes[known], kind="stable")]
    backwards = (np.diff(codes[known]) == 0) & (times[known][1:] < times[known][:-1])
    unsorted = np.unique(codes[known][1:][backwards])
    return table.iloc[np.lexsort((times, codes))], list(symbols[unsorted])


def judge_rows(table: pd.DataFrame, now: pd.Timestamp, adjusted: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that are no valid bars, and those that repeat another.

    Parameters
    ----------
    table : DataFrame
        n rows of `read_table`, as `sort_rows` orders them.
    now : Timestamp
        Bars after it are bad.
    adjusted : bool
        Whether every symbol has an ``adj_close`` on other rows than these.

    Returns
    -------
    faults : (n,) ndarray of object
        The first rule that a row breaks, or an empty text. A missing ``adj_close`` breaks one where the symbol has
        others. Rows that are valid by themselves and differ at one timestamp are all bad.
    repeated : (n,) ndarray of bool
        Valid rows that equal an earlier one.
    """
    codes = table["symbol"].cat.codes.to_numpy()
    of_symbol = np.array(symbol_faults(list(table["symbol"].cat.categories)), object)[codes]
    faults = np.where(of_symbol != "", of_symbol, table["fault"].to_numpy(object))
    prices, volume = table[list(PRICE_COLUMNS)].to_numpy(), table["volume"].to_numpy()
    open_, high, low, close = prices.T
    adj_close = table["adj_close"].to_numpy() if "adj_close" in table else np.full(len(table), np.nan)
    is_adjusted = adjusted | np.isin(codes, np.unique(codes[~np.isnan(adj_close)]))
    rules = (
        ("timestamp in the future", (table["timestamp"] > now).to_numpy()),
        ("missing value", np.isnan(prices).any(axis=1) | np.isnan(volume)),
        ("missing adj_close", np.isnan(adj_close) & is_adjusted),
        ("infinite value", np.isinf(prices).any(axis=1) | np.isinf(volume) | np.isinf(adj_close)),
        ("price not above zero", (prices <= 0).any(axis=1)),
        ("adj_close not above zero", adj_close <= 0),
        ("volume below zero", volume < 0),
        ("high below low", high < low),
        ("high below open or close", high < np.maximum(open_, close)),
        ("low above open or close", low > np.minimum(open_, close)),
        ("adj_close out of proportion", ~adjustable(table)),
    )
    for fault, broken in rules:
        rows = np.flatnonzero(broken)
        faults[rows[faults[rows] == ""]] = fault

    repeated = np.zeros(len(table), bool)
    times = table["timestamp"].to_numpy("datetime64[ns]")
    valid = np.flatnonzero(faults == "")
    same = (np.diff(codes[valid]) == 0) & (times[valid][1:] == times[valid][:-1])
    shared = valid[np.append(False, same) | np.append(same, False)] if same.any() else valid[:0]
    repeated[shared] = table.iloc[shared].drop(columns=["file", "row"]).duplicated()
    distinct = shared[~repeated[shared]]
    conflict = table.iloc[distinct].duplicated(["symbol", "timestamp"], keep=False).to_numpy()
    faults[distinct[conflict]] = "conflicting rows for one timestamp"
    return faults, repeated


@dataclass(frozen=True)
class CleanRows:
    """The rows of a source, judged: ``good`` ones by symbol and time, with their ``session``; ``bad`` ones, with the
    ``reason``; ``repeats`` of good ones; and the symbols that were not in time order."""

    good: pd.DataFrame
    bad: pd.DataFrame
    repeats: pd.DataFrame
    unsorted: list[str]


def clean_rows(
    table: pd.DataFrame, settings: dict, clocks: dict[str, Clock], now: pd.Timestamp, adjusted: bool = False
) -> CleanRows:
    """Judge the rows of a source.

    Parameters
    ----------
    table : DataFrame
        Rows as `DATA_PROCESSING.bars.read_table` returns them.
    settings : dict
        The run config ``bars``.
    clocks : dict of str to Clock
        Of these and maybe other symbols; their order becomes that of the categories of ``symbol``.
    now : Timestamp
        Bars after it are bad.
    adjusted : bool
        As for `judge_rows`.
    """
    if settings["adjust"] == "none":
        table = table.drop(columns="adj_close", errors="ignore").replace({"fault": {f"{TEXT_IN}adj_close": ""}})
    table, unsorted = sort_rows(table)
    faults, repeated = judge_rows(table, now, adjusted)
    table = table.assign(symbol=table["symbol"].cat.set_categories(list(clocks)))
    table["session"] = _place(table, faults, repeated, list(clocks.values()))
    is_bad = faults != ""
    bad = table.drop(columns=["fault", "session"])[is_bad].assign(reason=faults[is_bad])
    bad = bad.sort_values(["symbol", "file", "row"], ignore_index=True)
    return CleanRows(table[~is_bad & ~repeated], bad, table[repeated], unsorted)


def _place(table: pd.DataFrame, faults: np.ndarray, repeated: np.ndarray, clocks: list[Clock]) -> np.ndarray:
    """The session of each good row, for a column; a row outside the sessions of its exchange gets a fault, in place."""
    good = np.flatnonzero((faults == "") & ~repeated)
    codes = table["symbol"].cat.codes.to_numpy()[good]
    sessions = np.full(len(table), np.datetime64("NaT"), "datetime64[D]")
    sessions[good] = assign_sessions(table["timestamp"].to_numpy("datetime64[ns]")[good], codes, clocks)
    outside = np.isnat(sessions[good])
    faults[good[outside]] = np.array([OUTSIDE + clock.calendar for clock in clocks], object)[codes[outside]]
    return sessions.astype("datetime64[ms]")  # as a Parquet file's dates are read
