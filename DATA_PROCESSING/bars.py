"""The bar schema: what a valid bar is, and what happens to those that are not.

A bar table has the columns ``symbol, timestamp (UTC), open, high, low, close, volume`` and maybe ``adj_close``. It is
valid when every number is finite, prices are above zero, ``low <= min(open, close)``, ``high >= max(open, close)``,
``volume >= 0``, and timestamps are unique, increasing and not in the future.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.adjust import adjust_bars, adjustable
from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS
from DATA_PROCESSING.headers import listed, name_columns, read_numbers, read_timestamps
from DATA_PROCESSING.sessions import panel_sessions, session_numbers
from DATA_PROCESSING.symbols import printable, symbol_faults

log = logging.getLogger("barzoo")
TEXT_IN = "text in "
_NO_TIME = np.timedelta64(0)


@dataclass(frozen=True)
class Panel:
    """Valid, adjusted bars of several symbols, and what was wrong with the rest.

    Attributes
    ----------
    name : str
        The SOURCE they came from.
    bars : dict of str to DataFrame
        Per symbol ``timestamp, open, high, low, close, volume``, increasing in time.
    quality : DataFrame
        A row per symbol, those without one usable bar included: ``symbol, rows`` (valid bars), ``first, last, bad_rows,
        reasons, duplicates, unsorted, adjusted, stale, problem``. A row that was read is counted once, as one of
        ``rows``, ``bad_rows`` and ``duplicates``.
    bad_rows : DataFrame
        The rows set aside: ``symbol, file, row`` (from 0 below the file's header), ``timestamp``, the values and
        ``reason``.
    sessions : ndarray of datetime64[D]
        The panel's trading days.
    """

    name: str
    bars: dict[str, pd.DataFrame]
    quality: pd.DataFrame
    bad_rows: pd.DataFrame
    sessions: np.ndarray

    def only(self, symbols: list[str]) -> Panel:
        """Some symbols of the panel, with the sessions of all.

        Raises
        ------
        DataError
            None of them has a usable bar.
        """
        bars = {symbol: frame for symbol, frame in self.bars.items() if symbol in symbols}
        quality = self.quality[self.quality["symbol"].isin(symbols)].reset_index(drop=True)
        if not bars:
            raise DataError(f"{self.name}: no usable bar of {listed(symbols)}: {quality['problem'].iloc[0]}")
        bad_rows = self.bad_rows[self.bad_rows["symbol"].isin(symbols)].reset_index(drop=True)
        return replace(self, bars=bars, quality=quality, bad_rows=bad_rows)


def read_table(raw: pd.DataFrame, where: str, tz: str, symbol: str | None = None) -> pd.DataFrame:
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
    if "symbol" in named:
        codes, distinct = pd.factorize(named["symbol"])  # a missing value is -1, the last
        symbols = np.array([*(printable(str(value).strip()) for value in distinct), ""], object)[codes]
    elif symbol is not None:
        symbols = printable(symbol.strip())
    else:
        raise DataError(f"{where}: no symbol column; a file of several symbols needs one")
    timestamps, fault = read_timestamps(named["timestamp"], named.get("time"), tz, where)
    table = {"symbol": symbols, "file": where, "row": np.arange(len(named)), "timestamp": timestamps}
    for column in (*BAR_COLUMNS, "adj_close"):
        if column in named:
            table[column], is_text = read_numbers(named[column])
            fault[is_text & (fault == "")] = f"{TEXT_IN}{column}"
    return pd.DataFrame({**table, "fault": fault})


def sort_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Order rows by symbol (made categorical) and time, unreadable times last; also say which symbols were unsorted."""
    codes, symbols = pd.factorize(table["symbol"], sort=True)
    table = table.assign(symbol=pd.Categorical.from_codes(codes, symbols))
    times = table["timestamp"].to_numpy("datetime64[ns]")
    lexical = (np.diff(codes) > 0) | ((np.diff(codes) == 0) & (np.diff(times) >= _NO_TIME))
    if lexical.all():
        return table, []
    known = np.flatnonzero(~np.isnat(times))
    known = known[np.argsort(codes[known], kind="stable")]
    backwards = (np.diff(codes[known]) == 0) & (np.diff(times[known]) < _NO_TIME)
    unsorted = np.unique(codes[known][1:][backwards])
    return table.iloc[np.lexsort((times, codes))], list(symbols[unsorted])


def judge_rows(table: pd.DataFrame, now: pd.Timestamp) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that are no valid bars, and those that repeat another.

    Parameters
    ----------
    table : DataFrame
        n rows of `read_table`, as `sort_rows` orders them.
    now : Timestamp
        Bars after it are bad.

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
    is_adjusted = np.isin(codes, np.unique(codes[~np.isnan(adj_close)]))
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
    same = (np.diff(codes[valid]) == 0) & (np.diff(times[valid]) == _NO_TIME)
    shared = valid[np.append(False, same) | np.append(same, False)] if same.any() else valid[:0]
    repeated[shared] = table.iloc[shared].drop(columns=["file", "row"]).duplicated()
    distinct = shared[~repeated[shared]]
    conflict = table.iloc[distinct].duplicated(["symbol", "timestamp"], keep=False).to_numpy()
    faults[distinct[conflict]] = "conflicting rows for one timestamp"
    return faults, repeated


def build_panel(
    name: str, table: pd.DataFrame, problems: dict[str, str], settings: dict, now: pd.Timestamp | None = None
) -> Panel:
    """Validate, then adjust, the rows of a source.

    Parameters
    ----------
    name : str
        The SOURCE, for messages.
    table : DataFrame
        Rows as `read_table` returns them, of any number of symbols in any order.
    problems : dict of str to str
        What could not be read at all (a symbol, or a file's name), and why.
    settings : dict
        The run config ``bars``.
    now : Timestamp, optional
        Bars after it are bad; the present by default.

    Raises
    ------
    DataError
        No usable bar in the whole source, or bad rows or unreadable files under ``on_bad: fail``.
    """
    if settings["adjust"] == "none":
        table = table.drop(columns="adj_close", errors="ignore").replace({"fault": {f"{TEXT_IN}adj_close": ""}})
    table, unsorted = sort_rows(table)
    if unsorted:
        log.warning("%s: rows of %s are not in time order; sorted", name, listed(unsorted))
    faults, repeated = judge_rows(table, now or pd.Timestamp.now("UTC"))
    names = sorted({*table["symbol"].cat.categories, *problems})
    table = table.assign(symbol=table["symbol"].cat.set_categories(names))
    is_bad = faults != ""
    bad_rows = table.drop(columns="fault")[is_bad].assign(reason=faults[is_bad])
    bad_rows = bad_rows.sort_values(["symbol", "file", "row"], ignore_index=True)
    if settings["on_bad"] == "fail":
        _refuse(name, bad_rows, problems)
    good = table[~is_bad & ~repeated]
    quality = _quality(good, bad_rows, table[repeated], unsorted, problems)
    if good.empty:
        symbol, problem = quality.loc[0, ["symbol", "problem"]]
        raise DataError(f"{name}: no usable bar in {len(quality)} symbols, the first {symbol!r}: {problem}")
    adjusted, symbols = adjust_bars(good), good["symbol"].cat
    edges = np.searchsorted(symbols.codes, np.arange(len(symbols.categories) + 1))
    bars = {
        symbol: adjusted.iloc[start:stop].reset_index(drop=True)
        for symbol, start, stop in zip(symbols.categories, edges[:-1], edges[1:], strict=True)
        if start < stop
    }
    sessions = panel_sessions([adjusted["timestamp"]])
    usable = quality["rows"] > 0
    age = len(sessions) - 1 - session_numbers(quality.loc[usable, "last"], sessions)
    quality.loc[usable, "stale"] = age > settings["stale_sessions"]
    return Panel(name, bars, quality, bad_rows.astype({"symbol": object}), sessions)


def _quality(
    good: pd.DataFrame, bad: pd.DataFrame, repeats: pd.DataFrame, unsorted: list[str], problems: dict[str, str]
) -> pd.DataFrame:
    """A row per symbol (the categories of ``good``) or unreadable file; `Panel` names the columns."""
    bars = good.groupby("symbol", observed=False)
    symbols = good["symbol"].cat.categories
    reasons = dict.fromkeys(symbols, "")
    for symbol, rows in bad.groupby("symbol", observed=True)["reason"]:
        reasons[symbol] = "; ".join(f"{count} {reason}" for reason, count in rows.value_counts().sort_index().items())
    quality = pd.DataFrame(
        {
            "symbol": symbols,
            "rows": bars.size().to_numpy(),
            "first": bars["timestamp"].min().array,
            "last": bars["timestamp"].max().array,
            "bad_rows": bad.groupby("symbol", observed=False).size().to_numpy(),
            "reasons": list(reasons.values()),
            "duplicates": repeats.groupby("symbol", observed=False).size().to_numpy(),
            "unsorted": symbols.isin(unsorted),
            "adjusted": bars["adj_close"].count().to_numpy() > 0 if "adj_close" in good else False,
            "stale": False,
        }
    )
    told = ("no valid bar: " + quality["reasons"]).where(quality["rows"] == 0, "")
    return quality.assign(problem=[problems.get(symbol, text) for symbol, text in zip(symbols, told, strict=True)])


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


def bars_fingerprint(bars: pd.DataFrame) -> str:
    """The sha256 of a symbol's bars, equal for equal values in time order."""
    digest = hashlib.sha256(np.ascontiguousarray(bars["timestamp"].to_numpy("datetime64[ns]")).tobytes())
    for column in BAR_COLUMNS:
        digest.update(np.ascontiguousarray(bars[column].to_numpy(float)).tobytes())
    return digest.hexdigest()
