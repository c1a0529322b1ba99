"""Dates and clock times as tables write them, turned into timestamps in UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from CONFIG.errors import ConfigError, DataError, did_you_mean

_TIMESTAMP = (  # RE2 syntax, matched whole
    r"^(?P<date>\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d|\d{4}\.\d\d\.\d\d|\d{8}(?:\.0)?)"
    r"(?:[T ](?P<clock>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(?P<zone>Z|UTC|[+-]\d\d(?::?\d\d)?)?)?$"
)
_ZONE = re.compile(r"([+-]\d\d):?(\d\d)?")
_ISO_LENGTHS = (10, 16, 19, *range(21, 30))  # of a date, of minutes, of seconds, and of fractions
_ISO_ZONE = re.compile(r"(?<=\d)(?:Z|[+-]\d\d:\d\d)$|^(?:Z|[+-]\d\d:\d\d)$", re.ASCII)
_DAY = 86_400_000_000_000  # nanoseconds

UNREADABLE = "unreadable timestamp"
SKIPPED = "clock time that daylight saving skips or repeats"


def check_zone(zone: str, key: str) -> None:
    """Refuse a setting of the run config ``bars`` that names no time zone.

    Raises
    ------
    ConfigError
    """
    try:
        if zone:
            ZoneInfo(zone)
            pd.DatetimeIndex([], tz=zone)  # pandas has a list of its own
    except (KeyError, ValueError, OSError) as error:
        near = did_you_mean(zone, available_timezones())
        cure = near if near.startswith("; did") else "; use a name such as America/New_York"
        raise ConfigError(f"bars.yaml: {key}: {zone!r} is no time zone{cure}") from error


@dataclass(frozen=True)
class Times:
    """The times of some rows as their table writes them.

    Attributes
    ----------
    wall : (n,) datetime64[ns]
        What the clock on the wall showed; NaT where a value cannot be read.
    instant : (n,) datetime64[ns]
        UTC, where a zone is named; else ``wall`` itself.
    form : (bool, bool), optional
        Whether they name a clock time, and a zone; none where no value could be read.
    example : object
        One of the values.
    """

    wall: np.ndarray
    instant: np.ndarray
    form: tuple[bool, bool] | None
    example: object

    @classmethod
    def joined(cls, parts: Sequence[Times], where: str) -> Times:
        """The times of all rows, from those of parts that follow each other.

        Raises
        ------
        DataError
            Parts are written in different ways.
        """
        readable = [part for part in parts if part.form is not None] or list(parts[:1])
        for part in readable:
            if part.form != readable[0].form:
                _refuse_mixture(where, readable[0].example, part.example)
        wall = instant = np.concatenate([part.wall for part in parts])
        if any(part.instant is not part.wall for part in parts):
            instant = np.concatenate([part.instant for part in parts])
        return cls(wall, instant, readable[0].form, readable[0].example)

    def of(self, rows: np.ndarray | slice) -> Times:
        """The times of some rows."""
        wall = self.wall[rows]
        return replace(self, wall=wall, instant=wall if self.instant is self.wall else self.instant[rows])

    def in_utc(self, tz: str, where: str, symbols: np.ndarray | None = None) -> np.ndarray:
        """Timestamps in UTC, NaT where a value cannot be read; see `read_timestamps`.

        Parameters
        ----------
        tz, where : str
        symbols : (n,) ndarray of int, optional
            The symbol of each row, from 0 up; all rows are one symbol's by default.
        """
        unread = np.isnat(self.wall)
        if unread.size and unread.all():
            example = str(self.example)
            epoch = "a bare number has no unit; " if re.fullmatch(r"\d{9,}(\.0)?", example) else ""
            raise DataError(
                f"{where}: no readable timestamp, for example {example[:40]!r}; {epoch}write dates as 2020-01-31"
            )
        clocked = (self.wall.view(np.int64) % _DAY != 0) & ~unread
        if not clocked.any():
            return self.wall
        first = self.wall[np.argmax(clocked)]
        if symbols is not None:
            clocked = (np.bincount(symbols, clocked) > 0)[symbols]
        elif len(clocked):
            clocked[:] = True
        if self.form is not None and self.form[1]:
            return self.instant if clocked.all() else np.where(clocked, self.instant, self.wall)
        if not tz:
            raise DataError(
                f"{where}: clock times without a zone, for example '{pd.Timestamp(first)}'; "
                "set tz: (such as America/New_York) in a bars.yaml given with --config, or write the offset"
            )
        local = pd.DatetimeIndex(self.wall[clocked]).tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
        instants = self.wall.copy()
        instants[clocked] = local.tz_convert(None).to_numpy()
        return instants

    def faults(self, timestamps: np.ndarray) -> np.ndarray:
        """What is wrong with each time, given what `in_utc` made of it; an empty text for nothing."""
        faults = np.full(len(self.wall), "", object)
        faults[np.isnat(timestamps)] = SKIPPED
        faults[np.isnat(self.wall)] = UNREADABLE
        return faults


def read_timestamps(
    dates: pd.Series, times: pd.Series | None, tz: str, where: str, symbols: np.ndarray | None = None
) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Timestamps in UTC, and what is wrong with each that could not be read.

    The times of a symbol that all lie at midnight (of the zone that they name, if any) are session dates: midnight UTC
    of that date. Other clock times that name no zone are taken in ``tz``.

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
    symbols : (n,) ndarray of int, optional
        The symbol of each row, from 0 up; all rows are one symbol's by default.

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
    found = parse_times(dates, times, where)
    timestamps = found.in_utc(tz, where, symbols)
    return pd.DatetimeIndex(timestamps, tz="UTC"), found.faults(timestamps)


def parse_times(dates: pd.Series | pa.ChunkedArray, times: pd.Series | None, where: str) -> Times:
    """What a column of times says, before it is known whether they are clock times; see `read_timestamps`.

    Raises
    ------
    DataError
        Clock times or zones on some rows only.
    """
    if isinstance(dates, pa.ChunkedArray):
        quick = _parse_iso(dates) if times is None else None
        if quick is not None:
            return quick
        dates = dates.to_pandas(date_as_object=False, strings_to_categorical=True)
    if times is not None and times.notna().any():
        dates = _join(dates, times)
    if not pd.api.types.is_datetime64_any_dtype(dates.dtype):
        return _parse(dates, where)
    zoned = getattr(dates.dt, "tz", None) is not None
    wall = _nanoseconds(dates.dt.tz_localize(None))
    instant = _nanoseconds(dates.dt.tz_convert(None)) if zoned and str(dates.dt.tz) != "UTC" else wall
    return Times(wall, instant, None if np.isnat(wall).all() else (True, zoned), dates.iloc[0] if len(dates) else "")


def _parse_iso(dates: pa.ChunkedArray) -> Times | None:
    """Texts that are all as long as each other, written as ``2020-01-31 15:30:00`` or so; None for others."""
    if not len(dates) or not (pa.types.is_string(dates.type) or pa.types.is_large_string(dates.type)):
        return None
    length = pc.min_max(pc.binary_length(dates)).as_py()
    zone = _ISO_ZONE.search(dates[0].as_py() or "")
    width = len(zone[0]) if zone else 0
    size = length["min"] - width
    if dates.null_count or length["min"] != length["max"] or size not in _ISO_LENGTHS[bool(zone) :]:
        return None
    try:
        wall = pc.cast(pc.utf8_slice_codeunits(dates, 0, size), pa.timestamp("ns")).to_numpy()
    except pa.ArrowInvalid:
        return None
    form, example = (size > 10, zone is not None), dates[0].as_py()
    if not zone:
        return Times(wall, wall, form, example)
    zones = pc.utf8_slice_codeunits(dates, -width, length["max"]).combine_chunks().dictionary_encode()
    names = zones.dictionary.to_pylist()
    if not all(_ISO_ZONE.fullmatch(name) for name in names):
        return None
    offsets = np.array([_offset(name) for name in names], "timedelta64[m]")
    instant = wall - offsets[zones.indices.to_numpy()] if offsets.any() else wall
    return Times(wall, instant, form, example)


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


def _parse(dates: pd.Series, where: str) -> Times:
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
        _refuse_mixture(where, distinct[read[0]], distinct[read[np.argmin(alike)]])
    wall = np.append(wall, np.datetime64("NaT"))[codes].astype("datetime64[ns]")
    form = (bool(has_clock[read[0]]), bool(has_zone[read[0]])) if len(read) else None
    example = distinct[read[0]] if len(read) else dates.iloc[0] if len(dates) else ""
    if form is None or not form[1]:
        return Times(wall, wall, form, example)
    zones = zone.dictionary_encode()
    offsets = np.array([_offset(name) for name in zones.dictionary.to_pylist()])[zones.indices.to_numpy()]
    return Times(wall, wall - np.append(offsets, np.timedelta64(0))[codes], form, example)


def _refuse_mixture(where: str, one: object, other: object) -> NoReturn:
    raise DataError(
        f"{where}: some timestamps name a clock time or a zone and others do not, for example "
        f"{one!r} and {other!r}; write all alike"
    )


def _offset(zone: str) -> np.timedelta64:
    """An ISO 8601 offset from UTC, in minutes."""
    match = _ZONE.fullmatch(zone)
    hours, minutes = (int(match[1]), int(match[1][0] + (match[2] or "0"))) if match else (0, 0)
    return np.timedelta64(60 * hours + minutes, "m")
