"""Which session a bar belongs to: dates, zones, exchanges; and on which sessions a symbol is expected."""

from __future__ import annotations

import logging
import sys
from functools import cache

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.labels import build_labels
from DATA_PROCESSING.panel import Panel, build_panel
from DATA_PROCESSING.sessions import (
    Clock,
    assign_sessions,
    check_clocks,
    holds_dates,
    panel_sessions,
    row_sessions,
    session_of,
    sessions_at,
    sessions_per_year,
    without_zone,
)

SETTINGS = load_run_config("bars")
NOW = pd.Timestamp("2026-01-01", tz="UTC")
NEW_YORK, CHICAGO = Clock("America/New_York"), Clock(calendar="CMES")
XNYS = Clock(calendar="XNYS")


def days(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[D]")


def moments(*texts: str, zone: str = "UTC") -> np.ndarray:
    return without_zone(pd.DatetimeIndex([pd.Timestamp(text, tz=zone) for text in texts]))


def texts(sessions: np.ndarray) -> list[str]:
    return sessions.astype(str).tolist()


@cache
def exchange(name: str) -> exchange_calendars.ExchangeCalendar:
    return exchange_calendars.get_calendar(name, start="2022-05-01", end="2024-12-31")


def bars(timestamps, symbol: str = "A") -> pd.DataFrame:
    return pd.DataFrame(
        {"timestamp": timestamps, "symbol": symbol, "open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5, "volume": 10.0}
    )


def panel_of(*tables: pd.DataFrame, **changes) -> Panel:
    return build_panel("source", read_table(pd.concat(tables), "a.csv", ""), {}, SETTINGS | changes, NOW)


class TestDates:
    def test_a_session_is_the_date_in_utc_whatever_the_zone(self):
        moment = pd.Timestamp("2020-01-02 23:30", tz="UTC")
        for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
            stamps = pd.Series([moment.tz_convert(zone), pd.NaT])
            assert session_of(stamps)[0] == np.datetime64("2020-01-02")
            assert np.isnat(session_of(stamps)[1])

    def test_times_without_a_zone_are_utc(self):
        assert without_zone(pd.DatetimeIndex(["2020-01-02 23:30"]))[0] == np.datetime64("2020-01-02T23:30", "ns")

    def test_a_table_says_its_sessions_or_has_dates(self):
        table = bars(pd.to_datetime(["2020-01-02 23:30", "2020-01-03 00:30"], utc=True))
        assert texts(row_sessions(table)) == ["2020-01-02", "2020-01-03"]
        table["session"] = pd.to_datetime(["2020-01-03", "2020-01-03"]).astype("datetime64[ms]")
        assert texts(row_sessions(table)) == ["2020-01-03", "2020-01-03"]


class TestZone:
    def test_after_hours_in_new_york_are_the_day_that_they_end(self):
        stamps = moments("2024-07-01 09:30", "2024-07-01 19:59", "2024-07-01 20:15", "2024-07-02 04:00",
                         zone="America/New_York")  # fmt: skip
        assert texts(NEW_YORK.sessions(stamps, False)) == ["2024-07-01"] * 3 + ["2024-07-02"]
        assert texts(Clock().sessions(stamps, False)) == ["2024-07-01"] * 2 + ["2024-07-02"] * 2

    @pytest.mark.parametrize(("date", "hours"), [("2024-03-10", 23), ("2024-11-03", 25), ("2024-07-01", 24)])
    def test_daylight_saving_makes_a_session_shorter_or_longer(self, date, hours):
        stamps = pd.date_range("2024-01-01", "2024-12-31", freq="h").to_numpy()
        sessions = NEW_YORK.sessions(stamps, False)
        assert np.count_nonzero(sessions == np.datetime64(date)) == hours
        starts, ends = NEW_YORK.hours(days(date))
        assert (ends - starts)[0] == np.timedelta64(hours, "h")
        assert stamps[sessions == np.datetime64(date)][0] == starts[0]

    def test_wall_clock_times_and_offsets_say_the_same_around_daylight_saving(self):
        """Times that exist once, in March and November, as local times with tz and as instants."""
        local = ["2024-03-10 01:30", "2024-03-10 03:00", "2024-11-03 00:59", "2024-11-03 02:00"]
        offsets = ["-05:00", "-04:00", "-04:00", "-05:00"]
        wall = read_table(bars(local), "a.csv", "America/New_York", "A")
        exact = read_table(bars([a + b for a, b in zip(local, offsets, strict=True)]), "a.csv", "", "A")
        assert wall["fault"].eq("").all()
        assert wall["timestamp"].equals(exact["timestamp"])
        repeated = read_table(bars(["2024-03-10 02:30", "2024-11-03 01:30", *local]), "a.csv", "America/New_York", "A")
        assert (repeated["fault"] != "").tolist() == [True, True, False, False, False, False]
        both = read_table(bars(["2024-11-03 01:30-04:00", "2024-11-03 01:30-05:00"]), "a.csv", "", "A")
        assert both["timestamp"].diff().iloc[1] == pd.Timedelta("1h")

    def test_a_midnight_that_is_skipped_begins_an_hour_later(self):
        starts, _ = Clock("America/Sao_Paulo").hours(days("2018-11-04"))  # clocks went from 00:00 to 01:00
        assert starts[0] == np.datetime64("2018-11-04T03:00")

    def test_dates_are_never_moved(self):
        stamps = moments("2024-07-01", "2024-07-02")
        assert holds_dates(stamps)
        assert not holds_dates(moments("2024-07-01", "2024-07-02 00:01"))
        for clock in (NEW_YORK, Clock("Asia/Tokyo", stamp="end"), XNYS):
            assert texts(clock.sessions(stamps, True)) == ["2024-07-01", "2024-07-02"]

    def test_a_stamp_at_the_end_belongs_to_the_bar_before(self):
        stamps = moments("2024-07-01 23:45", "2024-07-02 00:00", "2024-07-02 00:15")
        assert texts(Clock(stamp="end").sessions(stamps, False)) == ["2024-07-01", "2024-07-01", "2024-07-02"]
        close, after = moments("2024-07-01 17:00", "2024-07-01 17:01", zone="America/Chicago")
        both = np.array([close, after])
        assert texts(Clock(calendar="CMES", stamp="end").sessions(both, False)) == ["2024-07-01", "2024-07-02"]


class TestCalendar:
    def test_an_overnight_session_begins_the_evening_before(self):
        stamps = moments("2024-01-07 17:00", "2024-01-07 23:00", "2024-01-08 16:59", "2024-01-08 17:00",
                         "2024-01-12 15:59", "2024-01-14 17:00", zone="America/Chicago")  # fmt: skip
        expected = ["2024-01-08"] * 3 + ["2024-01-09", "2024-01-12", "2024-01-15"]
        assert texts(CHICAGO.sessions(stamps, False)) == expected

    def test_bars_before_the_open_and_after_the_close_belong_to_their_date(self):
        stamps = moments("2024-07-03 04:00", "2024-07-03 12:59", "2024-07-03 13:00", "2024-07-03 19:59",
                         zone="America/New_York")  # fmt: skip
        assert texts(XNYS.sessions(stamps, False)) == ["2024-07-03"] * 4  # it closes at 13:00

    def test_days_without_a_session_have_none(self):
        stamps = moments("2024-07-04 10:00", "2024-07-06 10:00", "2024-07-08 10:00", zone="America/New_York")
        assert texts(XNYS.sessions(stamps, False)) == ["NaT", "NaT", "2024-07-08"]
        assert texts(XNYS.sessions(moments("2024-07-04", "2024-07-05"), True)) == ["NaT", "2024-07-05"]
        assert XNYS.sessions(stamps[:0], False).size == 0

    @given(
        name=st.sampled_from(["XNYS", "CMES", "XTKS", "XLON", "24/7", "us_futures"]),
        minutes=st.lists(st.integers(0, 1_000_000), min_size=1, max_size=40),
    )
    @settings(max_examples=25, deadline=None)
    def test_hours_are_the_exchange_s_and_sessions_never_go_back(self, name, minutes):
        stamps = np.datetime64("2022-06-01", "ns") + np.sort(minutes) * np.timedelta64(60_000_000_000, "ns")
        sessions = Clock(calendar=name).sessions(stamps, False)
        known = exchange(name)
        for stamp, session in zip(stamps, sessions, strict=True):
            moment = pd.Timestamp(stamp, tz="UTC")
            within = known.sessions[((known.opens <= moment) & (known.closes > moment)).to_numpy()]
            if len(within):
                assert session == within[0].to_datetime64().astype("datetime64[D]")
        placed = sessions[~np.isnat(sessions)]
        assert (placed[1:] >= placed[:-1]).all()

    def test_hours_of_a_short_day(self):
        opens, closes = XNYS.hours(days("2024-07-03"))
        assert (opens[0], closes[0]) == (np.datetime64("2024-07-03T13:30"), np.datetime64("2024-07-03T17:00"))

    def test_the_last_session_of_a_week(self):
        assert str(XNYS.last_of_week(np.datetime64("2024-03-26"))) == "2024-03-28"  # Good Friday
        assert str(Clock().last_of_week(np.datetime64("2024-03-26"))) == "2024-03-31"
        assert str(Clock().last_of_week(np.datetime64("2024-03-31"))) == "2024-03-31"

    def test_bars_older_than_a_calendar_knows_are_bad_and_said(self, caplog):
        with caplog.at_level(logging.WARNING):
            sessions = Clock(calendar="XSHG").sessions(moments("1980-01-02", "1992-01-02"), True)
        assert texts(sessions) == ["NaT", "1992-01-02"]
        assert "calendar XSHG is known from 1990-12-03 on" in caplog.text


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"session_zone": "America/New_Yrok"}, "session_zone: 'America/New_Yrok' is no time zone; did you mean"),
            ({"calendar": "XNYSE"}, "calendar: no exchange calendar 'XNYSE'; did you mean 'XNYS'?"),
            ({"calendars": {"A": "NYES"}}, "calendars: A: no exchange calendar 'NYES'; did you mean 'XNYS'?"),
            ({"calendar": "XNYS", "session_zone": "America/New_York"}, "XNYS has a zone of its own"),
        ],
    )
    def test_what_nobody_knows_is_refused(self, changes, message):
        with pytest.raises(ConfigError) as error:
            check_clocks(SETTINGS | changes)
        assert str(error.value).startswith("bars.yaml: ")
        assert message in str(error.value)

    def test_a_missing_library_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "exchange_calendars", None)
        check_clocks(SETTINGS)
        with pytest.raises(ConfigError, match=r'pip install "barzoo\[calendars\]"'):
            check_clocks(SETTINGS | {"calendar": "XNYS"})


class TestPanel:
    def test_symbols_have_clocks_of_their_own(self):
        stamps = moments("2024-01-07 23:30", "2024-01-08 14:30", "2024-01-08 23:30")
        stamps = np.concatenate([stamps, stamps, moments("2024-01-08")])
        codes = np.array([0, 0, 0, 1, 1, 1, 2])
        sessions = assign_sessions(stamps, codes, [CHICAGO, Clock(), NEW_YORK])
        assert texts(sessions[:3]) == ["2024-01-08", "2024-01-08", "2024-01-09"]
        assert texts(sessions[3:]) == ["2024-01-07", "2024-01-08", "2024-01-08", "2024-01-08"]

    def test_a_panel_of_a_stock_and_a_currency(self):
        stock = bars(pd.date_range("2024-01-02 14:30", "2024-01-12 20:30", freq="15min", tz="UTC"), "STOCK")
        stock = stock[stock["timestamp"].dt.hour.between(14, 20)]
        coin = bars(pd.date_range("2024-01-01", "2024-01-14 23:45", freq="15min", tz="UTC"), "COIN")
        panel = panel_of(stock, coin, calendars={"STOCK": "XNYS"})
        assert len(panel.sessions) == 14
        assert panel.clocks["COIN"] == Clock()
        weekend = panel.bad_rows["timestamp"].dt.strftime("%m-%d").unique().tolist()
        assert weekend == ["01-06", "01-07"]
        assert set(panel.bad_rows["reason"]) == {"outside the sessions of XNYS"}
        numbers = panel.session_numbers("STOCK")
        assert np.unique(np.diff(numbers)).tolist() == [0, 1], "from Friday to Monday is one session"
        assert panel.bars["STOCK"]["session"].dtype == "datetime64[ms]"

    def test_a_bar_is_counted_once(self):
        table = bars(["2024-07-04", "2024-07-05", "2024-07-04"])
        quality = panel_of(table, calendar="XNYS").quality.iloc[0]
        assert (quality["rows"], quality["bad_rows"], quality["duplicates"]) == (1, 1, 1)

    @pytest.mark.parametrize("horizon", [1, 2, 5])
    def test_weekends_of_others_cost_a_stock_no_label(self, horizon):
        stock = bars(pd.bdate_range("2024-01-01", periods=60).astype(str), "STOCK")
        coin = bars(pd.date_range("2024-01-01", periods=84).astype(str), "COIN")
        settings_ = {"horizon": horizon, "barrier": 1.0, "vol_window": 5}
        for panel in (panel_of(stock), panel_of(stock, coin)):
            labels = build_labels(panel.bars["STOCK"], **settings_, sessions=panel.session_numbers("STOCK"))
            assert labels["label_end"].notna().sum() == 60 - horizon

    def test_a_gap_of_a_stock_beside_a_currency_still_costs_labels(self):
        stock = bars(pd.bdate_range("2024-01-01", periods=60).delete(range(20, 30)).astype(str), "STOCK")
        coin = bars(pd.date_range("2024-01-01", periods=84).astype(str), "COIN")
        panel = panel_of(stock, coin)
        labels = build_labels(
            panel.bars["STOCK"], horizon=2, barrier=1.0, vol_window=5, sessions=panel.session_numbers("STOCK")
        )
        assert labels["label_end"].notna().sum() == 50 - 2 - 2

    @pytest.mark.parametrize(("last", "stale"), [("2024-03-15", False), ("2024-03-14", True)])
    def test_staleness_counts_the_days_on_which_a_symbol_trades(self, last, stale):
        """Five weekdays after a Friday are five sessions of a stock and nine days of a currency."""
        stock = bars(pd.bdate_range("2024-01-01", last).astype(str), "STOCK")
        coin = bars(pd.date_range("2024-01-01", "2024-03-22").astype(str), "COIN")
        quality = panel_of(stock, coin, stale_sessions=5).quality.set_index("symbol")
        assert quality["stale"].to_dict() == {"STOCK": stale, "COIN": False}

    def test_a_missing_library_stops_a_panel_with_a_calendar_only(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "exchange_calendars", None)
        assert len(panel_of(bars(["2024-01-02", "2024-01-03"])).bars["A"]) == 2
        with pytest.raises(ConfigError, match="exchange_calendars is not installed"):
            panel_of(bars(["2024-01-02", "2024-01-03"]), calendar="XNYS")

    def test_the_panel_has_each_session_once_in_order(self):
        one, two = days("2020-01-03", "2020-01-03", "2020-01-07"), days("2020-01-02", "2020-01-07")
        assert texts(panel_sessions([one, two])) == ["2020-01-02", "2020-01-03", "2020-01-07"]
        assert panel_sessions([]).size == 0


class TestExpectedSessions:
    panel = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")

    def test_a_symbol_is_expected_where_the_panel_trades(self):
        assert Clock().expected_sessions(self.panel[3:9], self.panel) is self.panel

    def test_weekdays_that_its_life_did_not_meet_count(self):
        one_bar = self.panel[10:11]
        assert len(Clock().expected_sessions(one_bar, self.panel)) == len(self.panel)
        assert Clock().age(one_bar, self.panel) == len(self.panel) - 11

    def test_a_symbol_that_seldom_trades_is_expected_all_the_same(self):
        year = np.arange("2024-01-01", "2025-01-01", dtype="datetime64[D]")
        seldom = year[np.random.default_rng(0).random(len(year)) < 0.3]
        assert len(Clock().expected_sessions(seldom, year)) == len(year)

    def test_weekly_bars_are_expected_weekly(self):
        mondays = self.panel[::7]
        np.testing.assert_array_equal(Clock().expected_sessions(mondays, self.panel), mondays)
        assert Clock().age(mondays[:-2], self.panel) == 2

    def test_a_holiday_is_a_session_of_the_calendar_or_none(self):
        weekdays = self.panel[np.is_busday(self.panel)]
        traded = weekdays[~np.isin(weekdays, days("2024-01-01", "2024-01-15", "2024-02-19"))]
        np.testing.assert_array_equal(Clock().expected_sessions(traded, self.panel), weekdays)
        np.testing.assert_array_equal(XNYS.expected_sessions(traded[5:], self.panel), traded)


class TestLabelSessions:
    timestamps = moments("2024-01-04 23:30", "2024-01-05 14:30", "2024-01-07 23:30")
    sessions = days("2024-01-05", "2024-01-05", "2024-01-08")

    def test_a_label_ends_in_the_session_of_its_bar(self):
        ends = np.append(self.timestamps[1:], np.datetime64("NaT"))
        assert texts(sessions_at(ends, self.timestamps, self.sessions)) == ["2024-01-05", "2024-01-08", "NaT"]

    def test_a_label_that_ends_on_no_bar_is_not_put_too_early(self):
        ends = moments("2024-01-06 12:00", "2024-02-01", "2024-01-01", "2024-01-05 02:00")
        expected = ["2024-01-06", "2024-02-01", "2024-01-05", "2024-01-05"]
        assert texts(sessions_at(ends, self.timestamps, self.sessions)) == expected


def test_sessions_per_year_over_four_years_of_weekdays():
    weekdays = np.arange("2016-01-01", "2020-01-01", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)]
    assert sessions_per_year(weekdays) == pytest.approx(365.25 * 5 / 7, rel=1e-3)


@pytest.mark.parametrize("count", [0, 1])
def test_sessions_per_year_is_undefined_without_a_span(count):
    assert np.isnan(sessions_per_year(days("2020-01-02")[:count]))
