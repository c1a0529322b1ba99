"""What a download calls its columns and writes in them, turned into the project's names and types."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from CONFIG.errors import ConfigError, DataError
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
TEXT_COLUMNS = ("timestamp", "time", "symbol")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none")  # in columns of numbers

_NAME_OF = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_TIMESTAMP = (  # RE2 syntax, matched whole
    r"^(?P<date>\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d|\d{4}\.\d\d\.\d\d|\d{8}(?:\.0)?)"
    r"(?:[T ](?P<clock>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(?P<zone>Z|UTC|[+-]\d\d(?::?\d\d)?)?)?$"
)
_ZONE = re.compile(r"([+-]\d\d):?(\d\d)?")
_NUMBER = r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))$"
_DAY = 86_400_000_000_000  # nanoseconds

UNREADABLE = "unreadable timestamp"
SKIPPED = "clock time that daylight saving skips or repeats"


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
        twin = next((other for other, its_name in named.items() if its_name == name), None)
        if twin is not None or column in named:
            raise DataError(f"{where}: the columns {str(twin)!r} and {str(column)!r} both mean {name}; keep one")
        named[column] = name
    if "timestamp" not in named.values():
        named = {column: "timestamp" if name == "time" else name for column, name in named.items()}
    missing = [name for name in ("timestamp", *BAR_COLUMNS) if name not in named.values()]
    if missing:
        mark = next((mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in str(columns[0])), None)
        cure = f"; its header is parted by {mark!r}, write commas (and points in numbers)" if mark else ""
        raise DataError(
            f"{where}: no column {', '.join(missing)}; bars need timestamp, {', '.join(BAR_COLUMNS)}, "
            f"got {listed(columns)}{cure}"
        )
    return named


def listed(names: list[str]) -> str:
    """The first names of a list in one printable line, and how many more there are."""
    shown = ", ".join(repr(str(name)[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def check_zone(tz: str) -> None:
    """Refuse a ``tz`` setting that names no time zone.

    Raises
    ------
    ConfigError
    """
    try:
        if tz:
            ZoneInfo(tz)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"bars.yaml: tz: {tz!r} is no time zone; use a name such as America/New_York") from error


def read_timestamps(
    dates: pd.Series, times: pd.Series | None, tz: str, where: str
) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Timestamps in UTC, and what is wrong with each that could not be read.

    A column whose values all lie at midnight (of the zone that they name, if any) holds session dates: midnight UTC of
    that date. Other clock times that name no zone are taken in ``tz``.

    Parameters
    ----------
    dates : Series
        Dates, timestamps, or texts such as ``2020-01-31``, ``20200131`` or ``2020-01-31 15:30:00-05:00``.
    times : Series, optional
        Clock times of ``dates``: ``15:30``, ``15:30:00`` or ``153000``.
    tz : str
        A zone that `check_zone` accepts, or nothing.
    where : str
        Named in errors.

    Returns
    -------
    timestamps : DatetimeIndex
        Nanoseconds, UTC; NaT where a value cannot be read.
    faults : ndarray of object
        The reason there, an empty text elsewhere.

    Raises
    ------
    DataError
        Clock times without a zone while ``tz`` is empty, zones on some rows only, or no readable value at all.
    """
    if times is not None and times.notna().any():
        dates = _join(dates, times)
    if pd.api.types.is_datetime64_any_dtype(dates.dtype):
        zoned = getattr(dates.dt, "tz", None) is not None
        wall = _nanoseconds(dates.dt.tz_localize(None))
        instant = _nanoseconds(dates.dt.tz_convert(None)) if zoned else None
    else:
        wall, instant = _parse(dates, where)
    unread = np.isnat(wall)
    if unread.size and unread.all():
        example = str(dates.iloc[0])
        epoch = "a bare number has no unit; " if re.fullmatch(r"\d{9,}(\.0)?", example) else ""
        raise DataError(
            f"{where}: no readable timestamp, for example {example[:40]!r}; {epoch}write dates as 2020-01-31"
        )
    faults = np.where(unread, UNREADABLE, "").astype(object)
    clocked = (wall.astype(np.int64) % _DAY != 0) & ~unread
    if not clocked.any():
        instant = wall
    elif instant is None:
        if not tz:
            raise DataError(
                f"{where}: clock times without a zone, for example '{pd.Timestamp(wall[clocked][0])}'; "
                "set tz: (such as America/New_York) in a bars.yaml given with --config, or write the offset"
            )
        local = pd.DatetimeIndex(wall).tz_localize(ZoneInfo(tz), ambiguous="NaT", nonexistent="NaT")
        instant = local.tz_convert(None).to_numpy()
        faults[np.isnat(instant) & ~unread] = SKIPPED
    return pd.DatetimeIndex(instant, tz="UTC"), faults


def _join(dates: pd.Series, times: pd.Series) -> pd.Series:
    """Dates and clock times as one text; a row that lacks one of them becomes unreadable."""
    clock = times.astype(str).str.strip().str.replace(r"\.0$", "", regex=True)
    clock = clock.str.replace(r"^0+$", "000000", regex=True)
    clock = clock.str.replace(r"^(\d{5})$", r"0\1", regex=True)  # 93000 is Stooq's 093000 stored as a number
    clock = clock.str.replace(r"^(\d\d)(\d\d)(\d\d)$", r"\1:\2:\3", regex=True)
    return dates.astype(str).str.strip() + " " + clock


def _nanoseconds(values: pd.Series) -> np.ndarray:
    """Times as datetime64[ns]; NaT where they lie outside its range (1677 to 2262)."""
    times = values.to_numpy()
    inside = (times > np.datetime64("1677-09-22")) & (times < np.datetime64("2262-04-11"))
    return np.where(inside, times, np.datetime64("NaT")).astype("datetime64[ns]")


def _parse(dates: pd.Series, where: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Texts as wall clock times, and as instants (UTC) where they name a zone; NaT where they cannot be read."""
    codes, distinct = pd.factorize(dates)  # a panel repeats its timestamps; a missing one is -1, the last
    text = pc.utf8_trim_whitespace(pa.array(map(str, distinct), pa.string()))
    parts = pc.extract_regex(text, _TIMESTAMP)
    date, clock, zone = (parts.field(name) for name in ("date", "clock", "zone"))  # empty texts where nothing matched
    date = pc.replace_substring_regex(date, r"^(\d{4})\D?(\d\d)\D?(\d\d).*$", r"\1-\2-\3")
    has_clock, has_zone = (pc.not_equal(part, "").to_numpy(zero_copy_only=False) for part in (clock, zone))
    moment = pc.binary_join_element_wise(date, pc.if_else(has_clock, clock, "00:00"), "T")
    wall = pd.to_datetime(moment.to_pandas(), format="ISO8601", errors="coerce").to_numpy()
    read = np.flatnonzero(~np.isnat(wall))
    alike = (has_clock[read] == has_clock[read[:1]]) & (has_zone[read] == has_zone[read[:1]])
    if not alike.all():
        one, other = distinct[read[0]], distinct[read[np.argmin(alike)]]
        raise DataError(
            f"{where}: some timestamps name a clock time or a zone and others do not, for example "
            f"{one!r} and {other!r}; write all alike"
        )
    wall = np.append(wall, np.datetime64("NaT"))
    if not has_zone.any():
        return wall[codes], None
    zones = zone.dictionary_encode()
    offsets = np.array([_offset(name) for name in zones.dictionary.to_pylist()])[zones.indices.to_numpy()]
    return wall[codes], (wall - np.append(offsets, np.timedelta64(0)))[codes]


def _offset(zone: str) -> np.timedelta64:
    """An ISO 8601 offset from UTC, in minutes."""
    match = _ZONE.fullmatch(zone)
    hours, minutes = (int(match[1]), int(match[1][0] + (match[2] or "0"))) if match else (0, 0)
    return np.timedelta64(60 * hours + minutes, "m")


def read_numbers(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as float64, and where it held text (or something else) that is no number, as opposed to nothing."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return values.to_numpy(float, na_value=np.nan) + 0.0, np.zeros(len(values), bool)  # -0.0 becomes 0.0
    codes, distinct = pd.factorize(values)  # a missing value is -1, the last
    text = pd.Series([*map(str, distinct), ""], dtype=object).str.strip()
    is_number = text.str.fullmatch(_NUMBER).to_numpy(bool)
    numbers = np.full(len(text), np.nan)
    # Not pandas.to_numeric: it misses the nearest float in one of six numbers.
    numbers[is_number] = text[is_number].to_numpy(object).astype(float) + 0.0
    is_text = ~is_number & ~text.isin(MISSING).to_numpy()
    return numbers[codes], is_text[codes]
