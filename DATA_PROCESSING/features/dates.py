"""The season and the hour of the bar, on circles so that December lies next to January."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged

MINUTE, DAY = 60_000_000_000, 86_400_000_000_000  # nanoseconds
THURSDAY = 3  # 1970-01-01, where Monday is 0


@compiled
def civil(nanoseconds: np.ndarray) -> np.ndarray:
    """Split times since 1970 into rows of weekday (Monday 0), month (January 0), day and length of the month, UTC.

    The calendar repeats every 146,097 days, and with years that begin in March a leap day is the last of its year:
    Hinnant, chrono-compatible low-level date algorithms (2013).
    """
    parts = np.empty((4, nanoseconds.size), np.int64)
    known = weekday = month = day = length = -1
    for row in range(nanoseconds.size):
        days = nanoseconds[row] // DAY
        if row == 0 or days != known:  # intraday bars share their day
            known = days
            weekday = (days + THURSDAY) % 7
            shifted = days + 719_468  # since 0000-03-01
            of_era = shifted % 146_097
            year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
            of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
            from_march = (5 * of_year + 2) // 153
            month = (from_march + 2) % 12
            day = of_year - (153 * from_march + 2) // 5 + 1
            year = year_of_era + (1 if month < 2 else 0)  # of its era: leap years repeat
            leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            length = (29 if leap else 28) if month == 1 else 30 if month in (3, 5, 8, 10) else 31
        parts[0, row], parts[1, row], parts[2, row], parts[3, row] = weekday, month, day, length
    return parts


def calendar(bars: BarsView) -> np.ndarray:
    return civil(np.require(bars.timestamp.view(np.int64), requirements="CW"))


def day_of_week(bars: BarsView) -> np.ndarray:
    return bars.once(calendar)[0]


def month(bars: BarsView) -> np.ndarray:
    return bars.once(calendar)[1]


def day_of_month(bars: BarsView) -> np.ndarray:
    return bars.once(calendar)[2] - 1


def minute_of_day(bars: BarsView) -> np.ndarray:
    return bars.timestamp.view(np.int64) // MINUTE % 1440


def on_circle(bars: BarsView, position: Callable[[BarsView], np.ndarray], period: int, wave: np.ufunc) -> np.ndarray:
    return wave(2.0 * np.pi * np.arange(period) / period)[bars.once(position)]


def month_turn(bars: BarsView) -> np.ndarray:
    _, _, day, length = bars.once(calendar)
    return ((day <= 3) | (day >= length - 1)).astype(np.float64)


def quarter_position(bars: BarsView) -> np.ndarray:
    _, month, day, length = bars.once(calendar)
    return (month % 3 + (day - 1) / length) / 3.0


def time_gap(bars: BarsView) -> np.ndarray:
    days = bars.timestamp.view(np.int64) / DAY
    return days - lagged(days, 1)


def circle(name: str, position: Callable[[BarsView], np.ndarray], period: int, text: str) -> tuple[Feature, ...]:
    """The two coordinates of a position on a circle."""
    return tuple(
        Feature(f"{name}_{short}", on_circle, (position, period, wave), 0, f"{word} of 2 pi x {text}, UTC")
        for short, word, wave in (("sin", "sine", np.sin), ("cos", "cosine", np.cos))
    )


DATES = (
    *circle("day_of_week", day_of_week, 7, "day / 7, Monday 0"),
    *circle("month", month, 12, "month / 12, January 0"),
)

MORE_DATES = (
    *circle("day_of_month", day_of_month, 31, "day / 31, first 0"),
    *circle("minute_of_day", minute_of_day, 1440, "minute / 1440, midnight 0"),
    Feature(
        "month_turn",
        month_turn,
        (),
        0,
        "1 on the first three and the last two calendar days of the month, else 0, UTC, Lakonishok and Smidt (1988)",
    ),
    Feature(
        "quarter_position",
        quarter_position,
        (),
        0,
        "share of the calendar quarter that is over, its three months as equally long, UTC",
    ),
    Feature("time_gap", time_gap, (), 1, "days since the bar before, French (1980)"),
)
