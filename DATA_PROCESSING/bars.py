"""The bar schema: what a valid bar is, and what happens to those that are not.

A bar table has the columns ``symbol, timestamp (UTC), open, high, low, close, volume`` and maybe ``adj_close``. It is
valid when every number is finite, prices are above zero, ``low <= min(open, close)``, ``high >= max(open, close)``,
``volume >= 0``, and timestamps are unique, increasing and not in the future.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.adjust import adjust_bars
from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS
from DATA_PROCESSING.headers import name_columns, read_numbers, read_timestamps
from DATA_PROCESSING.sessions import panel_sessions, session_numbers

log = logging.getLogger("barzoo")


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
        A row per symbol, those without one usable bar included: ``symbol, rows, first, last, bad_rows, reasons,
        duplicates, unsorted, adjusted, stale, problem``.
    bad_rows : DataFrame
        The rows set aside: ``symbol, row`` (its position in the source), ``timestamp``, the values, ``reason``.
    sessions : ndarray of datetime64[D]
        The panel's trading days.
    """

    name: str
    bars: dict[str, pd.DataFrame]
    quality: pd.DataFrame
    bad_rows: pd.DataFrame
    sessions: np.ndarray


def read_table(raw: pd.DataFrame, where: str, tz: str, symbol: str | None = None) -> pd.DataFrame:
    """Give a source's table the project's column names and types; nothing is dropped yet.

    Parameters
    ----------
    raw : DataFrame
        Columns as the source calls them.
    where : str
        Named in errors.
    tz : str
        Zone of clock times that carry none.
    symbol : str, optional
        The table's symbol when it has no symbol column.

    Returns
    -------
    DataFrame
        ``symbol, row, timestamp, open, high, low, close, volume[, adj_close], text``, where ``text`` names the first
        column whose value was no number (else empty).
    """
    named = raw.rename(columns=name_columns(list(raw.columns), where))
    if named.empty:
        raise DataError(f"{where}: no rows; expected bars below the header")
    table = pd.DataFrame({"row": np.arange(len(named))})
    if "symbol" in named:
        table.insert(0, "symbol", named["symbol"].astype("string").str.strip().to_numpy(object, na_value=symbol or ""))
    elif symbol is not None:
        table.insert(0, "symbol", symbol)
    else:
        raise DataError(f"{where}: no symbol column; a file of several symbols needs one")
    times = named["time"].reset_index(drop=True) if "time" in named else None
    table["timestamp"] = read_timestamps(named["timestamp"].reset_index(drop=True), times, tz, where)
    text = np.full(len(table), "", object)
    for column in (*BAR_COLUMNS, "adj_close"):
        if column in named:
            table[column], is_text = read_numbers(named[column])
            text[is_text & (text == "")] = column
    table["text"] = text
    return table


def bad_reasons(table: pd.DataFrame, now: pd.Timestamp) -> np.ndarray:
    """Why each row is not a valid bar by itself, or an empty text; duplicates are judged elsewhere."""
    prices = table[list(PRICE_COLUMNS)].to_numpy(float)
    numbers = table[[column for column in (*BAR_COLUMNS, "adj_close") if column in table]].to_numpy(float)
    open_, high, low, close = prices.T
    with np.errstate(invalid="ignore"):
        rules = [
            ("symbol is empty", (table["symbol"] == "").to_numpy(bool)),
            ("unreadable timestamp", table["timestamp"].isna().to_numpy(bool)),
            ("timestamp in the future", (table["timestamp"] > now).to_numpy(bool)),
            *((f"text in {column}", (table["text"] == column).to_numpy(bool)) for column in (*BAR_COLUMNS, "adj_close")),
            ("missing value", np.isnan(numbers).any(axis=1)),
            ("infinite value", np.isinf(numbers).any(axis=1)),
            ("price not above zero", (prices <= 0).any(axis=1)),
            ("adj_close not above zero", (table["adj_close"] <= 0).to_numpy(bool) if "adj_close" in table else False),
            ("volume below zero", (table["volume"] < 0).to_numpy(bool)),
            ("high below low", high < low),
            ("high below open or close", high < np.maximum(open_, close)),
            ("low above open or close", low > np.minimum(open_, close)),
        ]
    reasons = np.full(len(table), "", object)
    for reason, broken in rules:
        reasons[broken & (reasons == "")] = reason
    return reasons


def build_panel(
    name: str,
    tables: dict[str, pd.DataFrame],
    problems: dict[str, str],
    settings: dict,
    now: pd.Timestamp | None = None,
) -> Panel:
    """Validate, then adjust, the tables of a source.

    Parameters
    ----------
    name : str
        The SOURCE, for messages.
    tables : dict of str to DataFrame
        Per symbol what `read_table` returns.
    problems : dict of str to str
        Symbols that could not be read at all, and why.
    settings : dict
        The run config ``bars``.
    now : Timestamp, optional
        Bars after it are bad; the present by default.

    Raises
    ------
    DataError
        No usable bar in the whole source, or bad rows under ``on_bad: fail``.
    """
    now = now or pd.Timestamp.now("UTC")
    bars, rows, bad = {}, [], []
    for symbol in sorted(set(tables) | set(problems)):
        if symbol in tables:
            good, bad_rows, row = _check_symbol(symbol, tables[symbol], now)
            bad.append(bad_rows)
            if len(good):
                bars[symbol] = adjust_bars(good, settings["adjust"])
                row["adjusted"] = settings["adjust"] != "none" and "adj_close" in good
            else:
                row["problem"] = f"no valid bar: {row['reasons']}"
        else:
            row = {"symbol": symbol, "rows": 0, "bad_rows": 0, "problem": problems[symbol]}
        rows.append(row)
    quality = pd.DataFrame(rows, columns=_QUALITY_COLUMNS)
    bad_rows = pd.concat(bad, ignore_index=True) if bad else pd.DataFrame()
    if settings["on_bad"] == "fail" and len(bad_rows):
        first = bad_rows.iloc[0]
        raise DataError(
            f"{name}: {len(bad_rows)} bad rows, the first {first['symbol']} at {first['timestamp']}: {first['reason']}; "
            "mend them, or set on_bad: quarantine in run_config/bars.yaml"
        )
    if not bars:
        reason = quality["problem"].iloc[0] if len(quality) else "no symbol"
        raise DataError(f"{name}: no usable bar in {len(quality)} symbols, for example {reason}")
    sessions = panel_sessions(frame["timestamp"] for frame in bars.values())
    last = {symbol: session_numbers(frame["timestamp"].iloc[[-1]], sessions)[0] for symbol, frame in bars.items()}
    age = quality["symbol"].map(last).rsub(len(sessions) - 1)
    quality["stale"] = (age > settings["stale_sessions"]).to_numpy(bool)
    for column in ("duplicates", "bad_rows"):
        quality[column] = quality[column].fillna(0).astype(int)
    for column in ("unsorted", "adjusted"):
        quality[column] = quality[column].eq(True)
    quality["reasons"] = quality["reasons"].fillna("")
    quality["problem"] = quality["problem"].fillna("")
    return Panel(name, bars, quality, bad_rows, sessions)


_QUALITY_COLUMNS = [
    "symbol", "rows", "first", "last", "bad_rows", "reasons", "duplicates", "unsorted", "adjusted", "stale", "problem",
]  # fmt: skip


def _check_symbol(symbol: str, table: pd.DataFrame, now: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    unsorted = not table["timestamp"].dropna().is_monotonic_increasing
    if unsorted:
        log.warning("%s: rows are not in time order; sorted", symbol)
        table = table.sort_values("timestamp", kind="stable")
    values = ["timestamp", *(column for column in (*BAR_COLUMNS, "adj_close") if column in table)]
    reasons = bad_reasons(table, now)
    repeated = table.duplicated(values).to_numpy() & (reasons == "")
    candidates = (reasons == "") & ~repeated
    conflicting = np.zeros(len(table), bool)
    conflicting[candidates] = table.loc[candidates, "timestamp"].duplicated(keep=False).to_numpy()
    reasons[conflicting] = "conflicting rows for one timestamp"
    is_bad = reasons != ""
    good = table.loc[~is_bad & ~repeated, values].reset_index(drop=True)
    bad = table.loc[is_bad, ["symbol", "row", *values]].assign(reason=reasons[is_bad])
    counts = bad["reason"].value_counts().sort_index()
    row = {
        "symbol": symbol,
        "rows": len(good),
        "first": good["timestamp"].iloc[0] if len(good) else pd.NaT,
        "last": good["timestamp"].iloc[-1] if len(good) else pd.NaT,
        "bad_rows": int(is_bad.sum()),
        "reasons": "; ".join(f"{count} {reason}" for reason, count in counts.items()),
        "duplicates": int(repeated.sum()),
        "unsorted": unsorted,
    }
    return good, bad, row


def bars_fingerprint(bars: pd.DataFrame) -> str:
    """The sha256 of a symbol's bars, equal for equal values in time order."""
    digest = hashlib.sha256(np.ascontiguousarray(bars["timestamp"].to_numpy("datetime64[ns]")).tobytes())
    for column in BAR_COLUMNS:
        digest.update(np.ascontiguousarray(bars[column].to_numpy(float)).tobytes())
    return digest.hexdigest()
