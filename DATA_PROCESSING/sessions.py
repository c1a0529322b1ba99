"""Trading days: the session of a bar, when sessions begin and end, and on which of them a symbol is expected to trade.

A session is a date. It is the date (UTC) of a bar's timestamp, the date in the zone that the run config ``bars`` names,
or what an exchange's calendar says. Bars that are stamped with dates alone lie in the sessions of these dates.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.columns import IN_FIT
from DATA_PROCESSING.times import check_zone

log = logging.getLogger("barzoo")
OUTSIDE = "outside the sessions of "
_DAY = 86_400_000_000_000  # nanoseconds
_HARDLY = 0.2  # a weekday on which a symbol trades so much less often than on its best is no trading day of its own
_MOMENT = np.timedelta64(1, "ns")


@dataclass(frozen=True)
class _Calendar:
    """The sessions of an exchange, in order, and the moments (UTC) at which each opens and closes."""

    zone: str
    sessions: np.ndarray
    opens: np.ndarray
    closes: np.ndarray


@dataclass(frozen=True)
class Clock:
    """What decides to which session a bar belongs: an exchange's calendar, else the date in a zone.

    Attributes
    ----------
    zone : str
        Zone of the dates that are sessions, where there is no calendar.
    calendar : str
        A name that exchange_calendars knows, or nothing.
    stamp : {"start", "end"}
        What a bar's timestamp marks. A bar that ends as a session begins belongs to the session before.
    """

    zone: str = "UTC"
    calendar: str = ""
    stamp: str = "start"

    def sessions(self, timestamps: np.ndarray, dates: bool) -> np.ndarray:
        """The session of each bar.

        A bar within the hours of a calendar's session belongs to that session, on whichever date it opens. A bar
        outside all hours (before the open, after the close) belongs to the session of its date at the exchange.

        Parameters
        ----------
        timestamps : (n,) datetime64[ns]
            UTC.
        dates : bool
            The bars are stamped with dates alone (`holds_dates`), which no zone moves.

        Returns
        -------
        (n,) datetime64[D]
            NaT for a bar on a date on which its exchange has no session.
        """
        moments = timestamps - _MOMENT if self.stamp == "end" and not dates else timestamps
        if not self.calendar:
            return moments.astype("datetime64[D]") if dates else local_dates(moments, self.zone)
        if not len(moments):
            return np.empty(0, "datetime64[D]")
        known = self._known(moments)
        sessions = moments.astype("datetime64[D]") if dates else local_dates(moments, known.zone)
        sessions[~_among(sessions, known.sessions)] = np.datetime64("NaT")
        if not dates:
            latest = np.searchsorted(known.opens, moments, side="right") - 1
            within = (latest >= 0) & (moments < known.closes[latest])
            sessions[within] = known.sessions[latest[within]]
        return sessions

    def hours(self, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When each session begins and ends (UTC): a calendar's open and close, else midnight and midnight.

        Parameters
        ----------
        sessions : (n,) datetime64[D]
            With a calendar, sessions of it.

        Returns
        -------
        starts, ends : (n,) datetime64[ns]
        """
        if self.calendar and len(sessions):
            known = self._known(sessions)
            place = np.searchsorted(known.sessions, sessions)
            return known.opens[place], known.closes[place]
        return _midnights(sessions, self.zone), _midnights(sessions + 1, self.zone)

    def bounds(self, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between which moments (UTC) bars can belong to each session, before and after its hours; as `hours`."""
        if not (self.calendar and len(sessions)):
            return self.hours(sessions)
        known = self._known(sessions)
        place = np.searchsorted(known.sessions, sessions)
        begins, ends = _midnights(sessions, known.zone), _midnights(sessions + 1, known.zone)
        next_opens = np.append(known.opens[1:], _midnights(known.sessions[-1:] + 1, known.zone))
        return np.minimum(begins, known.opens[place]), np.minimum(ends, next_opens[place])

    def expected_sessions(self, traded: np.ndarray, panel: np.ndarray) -> np.ndarray:
        """The sessions on which a symbol is expected to trade, from the panel's first to its last.

        With a calendar these are the calendar's. Else they are the panel's, but for weekdays on which the symbol hardly
        trades while it lives: to a stock beside a currency that never rests, a weekend is no gap.

        Parameters
        ----------
        traded : (m,) datetime64[D]
            The sessions of the symbol's bars, in order.
        panel : (k,) datetime64[D]
            The panel's sessions, sorted and distinct.
        """
        if self.calendar:
            known = self._known(panel).sessions
            first, last = np.searchsorted(known, panel[0]), np.searchsorted(known, panel[-1], side="right")
            return known[first:last]
        lifetime = panel[(panel >= traded[0]) & (panel <= traded[-1])]
        chances = np.bincount(weekday(lifetime), minlength=7)
        trades = np.bincount(weekday(np.unique(traded)), minlength=7)
        with np.errstate(invalid="ignore"):
            share = trades / chances
        expected = ~(share < _HARDLY * np.nanmax(share))  # a weekday that its life did not meet says nothing
        return panel if expected.all() else panel[expected[weekday(panel)]]

    def age(self, traded: np.ndarray, panel: np.ndarray) -> int:
        """Sessions after a symbol's last bar on which it was expected to trade; arguments as `expected_sessions`."""
        expected = self.expected_sessions(traded, panel)
        return len(expected) - int(np.searchsorted(expected, traded[-1], side="right"))

    def last_of_week(self, session: np.datetime64) -> np.datetime64:
        """The last session of a session's week, which ends on a Sunday."""
        days = np.arange(session, session + 7 - weekday(session))
        return days[_among(days, self._known(days).sessions)][-1] if self.calendar else days[-1]

    def _known(self, times: np.ndarray) -> _Calendar:
        years = np.array([times.min(), times.max()]).astype("datetime64[Y]").astype(int) + 1970
        return _open_calendar(self.calendar, int(years[0]), int(years[1]))


def read_clocks(settings: dict, symbols: Iterable[str]) -> dict[str, Clock]:
    """The clock of each symbol, as the run config ``bars`` has it.

    Raises
    ------
    ConfigError
        As `check_clocks`.
    """
    check_clocks(settings)
    zone, stamp = settings["session_zone"] or "UTC", settings["stamp"]
    clocks = {name: Clock(zone, name, stamp) for name in {settings["calendar"], *settings["calendars"].values()}}
    return {symbol: clocks[settings["calendars"].get(symbol, settings["calendar"])] for symbol in symbols}


def check_clocks(settings: dict) -> None:
    """Refuse zones and calendars that nobody knows.

    Raises
    ------
    ConfigError
        An unknown zone or calendar, both for all symbols, or exchange_calendars is not installed.
    """
    check_zone(settings["session_zone"], "session_zone")
    named = {"calendar": settings["calendar"]} if settings["calendar"] else {}
    if named and settings["session_zone"]:
        raise ConfigError(
            f"bars.yaml: session_zone: {named['calendar']} has a zone of its own, got {settings['session_zone']!r} "
            "beside it; keep calendar or session_zone"
        )
    named |= {f"calendars: {symbol}": name for symbol, name in settings["calendars"].items()}
    if not named:
        return
    names = _library().get_calendar_names(include_aliases=True)
    for key, name in named.items():
        if name not in names:
            raise ConfigError(f"bars.yaml: {key}: no exchange calendar {name!r}{did_you_mean(name, names)}")


def assign_sessions(timestamps: np.ndarray, codes: np.ndarray, clocks: Sequence[Clock]) -> np.ndarray:
    """The session of every bar of a panel.

    Parameters
    ----------
    timestamps : (n,) datetime64[ns]
        UTC, none missing.
    codes : (n,) int
        The symbol of each bar, as a position in ``clocks``.
    clocks : sequence of Clock

    Returns
    -------
    (n,) datetime64[D]
        NaT where a bar lies in no session of its calendar.
    """
    is_clocked = timestamps.view(np.int64) % _DAY != 0
    dated = np.bincount(codes, is_clocked, len(clocks)) == 0
    sessions = np.empty(len(timestamps), "datetime64[D]")
    for clock in set(clocks):
        has_clock = np.array([other == clock for other in clocks])
        for dates in (True, False):
            rows = np.flatnonzero((has_clock & (dated == dates))[codes])
            sessions[rows] = clock.sessions(timestamps[rows], dates)
    return sessions


def holds_dates(timestamps: np.ndarray) -> bool:
    """Whether bars are stamped with dates alone: all of them lie at midnight UTC."""
    return not (timestamps.astype("datetime64[ns]").view(np.int64) % _DAY).any()


def without_zone(timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """Timestamps as ``datetime64[ns]`` in UTC; those without a zone are in UTC already."""
    index = pd.DatetimeIndex(timestamps)
    return (index if index.tz is None else index.tz_convert(None)).to_numpy("datetime64[ns]")


def session_of(timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """The date (UTC) of each timestamp, as ``datetime64[D]``: its session where a table does not say; NaT stays NaT."""
    return without_zone(timestamps).astype("datetime64[D]")


def row_sessions(table: pd.DataFrame) -> np.ndarray:
    """The session of each row of a table: its column ``session``, else the date (UTC) of its timestamp."""
    if "session" in table:
        return table["session"].to_numpy("datetime64[D]")
    return session_of(table["timestamp"])


NEVER = np.datetime64("NaT")  # before and after nothing


def fitted_until(table: pd.DataFrame) -> np.datetime64:
    """The last session of the rows that latents were fitted on, its column ``in_fit``; NaT without any."""
    if IN_FIT not in table:
        return NEVER
    sessions = row_sessions(table)[table[IN_FIT].fillna(False).to_numpy(bool)]
    return sessions.max() if len(sessions) else NEVER


def sessions_at(moments: np.ndarray, timestamps: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """The sessions in which labels become known, among the bars of one symbol.

    Parameters
    ----------
    moments : (m,) datetime64[ns]
        ``label_end`` of each row.
    timestamps, sessions : (n,) datetime64[ns] and datetime64[D]
        Of the symbol's bars, in time order.

    Returns
    -------
    (m,) datetime64[D]
        The session of the bar with that timestamp. Where no bar has it, the later of the moment's own date and of the
        session of the bar before. NaT for NaT.
    """
    found = np.clip(np.searchsorted(timestamps, moments, side="right") - 1, 0, None)
    of_bar = sessions[found]
    exact = timestamps[found] == moments
    return np.where(exact, of_bar, np.maximum(of_bar, moments.astype("datetime64[D]")))


def panel_sessions(sessions: Iterable[np.ndarray]) -> np.ndarray:
    """The sorted distinct sessions of several symbols' bars."""
    distinct = [np.unique(of_symbol) for of_symbol in sessions]
    return np.unique(np.concatenate(distinct)) if distinct else np.empty(0, "datetime64[D]")


def sessions_per_year(sessions: np.ndarray) -> float:
    """Sessions in a year of 365.25 days, measured over the span of distinct ``sessions``; NaN for fewer than two."""
    if len(sessions) < 2:
        return float("nan")
    days = (sessions[-1] - sessions[0]).astype(int)
    return (len(sessions) - 1) / days * 365.25


def local_dates(moments: np.ndarray, zone: str) -> np.ndarray:
    """The date of each moment (UTC) in a zone, as ``datetime64[D]``."""
    if zone == "UTC":
        return moments.astype("datetime64[D]")
    # By name: pandas converts zones of its own a hundred times faster than those of zoneinfo.
    return pd.DatetimeIndex(moments, tz="UTC").tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[D]")


def _midnights(dates: np.ndarray, zone: str) -> np.ndarray:
    """When dates begin in a zone, UTC: the first midnight of two, the first moment after it where there is none."""
    local = pd.DatetimeIndex(dates.astype("datetime64[ns]"))
    local = local.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")
    return local.tz_convert(None).to_numpy()


def weekday(sessions: np.ndarray) -> np.ndarray:
    """0 for Monday to 6 for Sunday."""
    # The first of 1970 was a Thursday.
    return (sessions.astype("datetime64[D]").astype(np.int64) + 3) % 7


def _among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which values are found in a sorted array."""
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[place] == values


def _library():
    try:
        import exchange_calendars
    except ImportError as error:
        raise ConfigError(
            'bars.yaml: calendar: exchange_calendars is not installed; pip install "barzoo[calendars]"'
        ) from error
    return exchange_calendars


@lru_cache(maxsize=64)
def _open_calendar(name: str, first_year: int, last_year: int) -> _Calendar:
    """An exchange's sessions over some years, and over a month before and after them as far as they are known."""
    library = _library()
    kind = type(library.get_calendar(name))
    start, end = pd.Timestamp(first_year - 1, 12, 1), pd.Timestamp(last_year + 1, 1, 31)
    earliest, latest = kind.bound_min() or start, kind.bound_max() or end
    if earliest > pd.Timestamp(first_year, 1, 1):
        log.warning("calendar %s is known from %s on; bars before it are bad rows", name, f"{earliest:%Y-%m-%d}")
    known = library.get_calendar(name, start=max(start, earliest), end=min(end, latest))
    opens, closes = (times.dt.tz_convert(None).to_numpy("datetime64[ns]") for times in (known.opens, known.closes))
    return _Calendar(str(known.tz), known.sessions.to_numpy("datetime64[D]"), opens, closes)
