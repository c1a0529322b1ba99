"""What a download calls its columns and writes in them, turned into the project's names and types."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from CONFIG.errors import DataError, did_you_mean
from DATA_PROCESSING.columns import BAR_COLUMNS

ALIASES = {
    "timestamp": ("timestamp", "date", "datetime", "date_time", "dt"),
    "time": ("time",),
    "symbol": ("symbol", "ticker", "sym", "instrument"),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price", "last"),
    "volume": ("volume", "vol", "v"),
    "adj_close": ("adj_close", "adjclose", "adjusted_close", "close_adj"),
}
_NAME_OF = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_ZONE = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")
_DATE_ONLY = re.compile(r"^\d{4}-?\d{2}-?\d{2}$")


def name_columns(columns: list[str], where: str) -> dict[str, str]:
    """Map a file's headers to the project's column names; headers that mean nothing to us are left out.

    Case, spaces and the angle brackets of Stooq's files do not matter. A column of times alone (``<TIME>``) counts as
    the timestamp where the file has no date.

    Raises
    ------
    DataError
        A needed column is missing, or two headers mean the same.
    """
    named: dict[str, str] = {}
    for column in columns:
        name = _NAME_OF.get(re.sub(r"[^a-z0-9]+", "_", str(column).lower()).strip("_"))
        if name is None:
            continue
        if name in named.values():
            raise DataError(f"{where}: two columns mean {name!r}, one of them {str(column)!r}; keep one")
        named[column] = name
    if "timestamp" not in named.values():
        named = {column: "timestamp" if name == "time" else name for column, name in named.items()}
    missing = [name for name in ("timestamp", *BAR_COLUMNS) if name not in named.values()]
    if missing:
        others = [str(column) for column in columns if column not in named]
        hint = did_you_mean(missing[0], others) if others else ""
        raise DataError(
            f"{where}: no column {', '.join(map(repr, missing))}; bars need timestamp, {', '.join(BAR_COLUMNS)}, "
            f"got {', '.join(map(str, columns))}{hint}"
        )
    return named


def read_timestamps(dates: pd.Series, times: pd.Series | None, tz: str, where: str) -> pd.Series:
    """Timestamps in UTC; NaT where a value cannot be read.

    Dates without a clock time are session dates: midnight UTC of that date. Clock times that name no zone are taken in
    ``tz``; a time that daylight saving skips or repeats becomes NaT.

    Raises
    ------
    DataError
        Clock times without a zone while ``tz`` is empty, an unknown ``tz``, or no readable value at all.
    """
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        return dates.dt.tz_convert("UTC").astype("datetime64[ns, UTC]")
    if pd.api.types.is_datetime64_dtype(dates.dtype):
        naive = dates.astype("datetime64[ns]")
    else:
        text = dates.astype("string").str.strip().str.replace(r"\.0$", "", regex=True)
        date_only = text.str.match(_DATE_ONLY).fillna(False).to_numpy(bool)
        if times is not None and date_only.any():
            clock = times.astype("string").str.strip().str.replace(r"\.0$", "", regex=True)
            compact = clock.str.fullmatch(r"\d{1,6}").fillna(False)
            clock = clock.where(~compact, clock.str.zfill(6).str.replace(r"(\d\d)(\d\d)(\d\d)", r"\1:\2:\3", regex=True))
            text = text.where(clock.isna() | (clock == "00:00:00"), text + " " + clock)
            text = text.str.replace(r"^(\d{4})(\d{2})(\d{2}) ", r"\1-\2-\3 ", regex=True)
        parsed = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
        if len(text) and parsed.isna().all():
            raise DataError(f"{where}: no readable timestamp, for example {text.iloc[0]!r}; write dates as 2020-01-31")
        zoned = text.str.contains(_ZONE).fillna(False).to_numpy(bool) & ~date_only
        if zoned.all():
            return parsed.astype("datetime64[ns, UTC]")
        naive = parsed.dt.tz_localize(None).astype("datetime64[ns]")
        if zoned.any() and not zoned[parsed.notna()].all():
            first = text[~zoned & parsed.notna().to_numpy()].iloc[0]
            raise DataError(f"{where}: some timestamps name a zone and others, such as {first!r}, do not; write all alike")
        if zoned.any():
            return parsed.astype("datetime64[ns, UTC]")
    clocked = naive.notna() & (naive != naive.dt.normalize())
    if not clocked.any():
        return naive.dt.tz_localize("UTC")
    if not tz:
        raise DataError(
            f"{where}: clock times without a zone, for example {str(naive[clocked].iloc[0])!r}; "
            "set tz: (such as America/New_York) in run_config/bars.yaml, or write the offset"
        )
    try:
        return naive.dt.tz_localize(tz, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"{where}: tz: {tz!r} is no time zone; use a name such as America/New_York") from error


def read_numbers(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as float64, and where it held text that is no number (as opposed to nothing)."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return np.full(len(values), np.nan), np.ones(len(values), bool)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return numbers, np.zeros(len(values), bool)
    empty = values.isna() | values.astype("string").str.strip().str.lower().isin(["", "nan", "null", "none", "na", "n/a"])
    return numbers, np.isnan(numbers) & ~empty.fillna(True).to_numpy(bool)
