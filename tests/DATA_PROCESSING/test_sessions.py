from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from DATA_PROCESSING.sessions import panel_sessions, session_numbers, session_of, sessions_per_year, without_zone


def days(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[D]")


def test_a_session_is_the_date_in_utc_whatever_the_zone():
    moment = pd.Timestamp("2020-01-02 23:30", tz="UTC")
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        stamps = pd.Series([moment.tz_convert(zone), pd.NaT])
        assert session_of(stamps)[0] == np.datetime64("2020-01-02")
        assert np.isnat(session_of(stamps)[1])


def test_times_without_a_zone_are_utc():
    assert without_zone(pd.DatetimeIndex(["2020-01-02 23:30"]))[0] == np.datetime64("2020-01-02T23:30", "ns")


def test_the_panel_has_each_session_once_in_order():
    one = pd.Series(pd.to_datetime(["2020-01-03 10:00", "2020-01-03 11:00", "2020-01-07 10:00"], utc=True))
    two = pd.Series(pd.to_datetime(["2020-01-02", "2020-01-07"], utc=True))
    sessions = panel_sessions([one, two])
    assert list(sessions) == list(days("2020-01-02", "2020-01-03", "2020-01-07"))
    assert list(session_numbers(one, sessions)) == [1, 1, 2]


def test_no_symbol_no_session():
    assert panel_sessions([]).size == 0


def test_sessions_per_year_over_four_years_of_weekdays():
    weekdays = np.arange("2016-01-01", "2020-01-01", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)]
    assert sessions_per_year(weekdays) == pytest.approx(365.25 * 5 / 7, rel=1e-3)


@pytest.mark.parametrize("count", [0, 1])
def test_sessions_per_year_is_undefined_without_a_span(count):
    assert np.isnan(sessions_per_year(days("2020-01-02")[:count]))
