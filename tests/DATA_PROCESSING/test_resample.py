"""Resampled bars against an obvious loop and pandas; no bar changes once it is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import Panel, UnusableSource, build_panel
from DATA_PROCESSING.resample import bucket_ids, interval_length, interval_text, resample_bars
from DATA_PROCESSING.sessions import Clock, holds_dates
from DATA_PROCESSING.sources import read_panel

SETTINGS = load_run_config("bars")
NOW = pd.Timestamp("2026-01-01", tz="UTC")
CLOCKS = [Clock(), Clock("America/New_York"), Clock(calendar="XNYS"), Clock(calendar="CMES"), Clock("Asia/Kolkata")]
CLOCKS += [Clock(clock.zone, clock.calendar, "end") for clock in CLOCKS]
PRICES = ["open", "high", "low", "close"]


def make_bars(stamps: np.ndarray, clock: Clock, seed: int = 0) -> pd.DataFrame:
    """Random bars at the stamps that lie in a session; whole volumes, so that sums are exact."""
    sessions = clock.sessions(stamps, holds_dates(stamps))
    stamps, sessions = stamps[~np.isnat(sessions)], sessions[~np.isnat(sessions)]
    random = np.random.default_rng(seed)
    low, high = np.sort(random.uniform(1, 2, (2, len(stamps))), axis=0)
    open_, close = random.uniform(low, high, (2, len(stamps)))
    volume = random.integers(0, 100, len(stamps)).astype(float)
    return pd.DataFrame(
        {
            "timestamp": pd.DatetimeIndex(stamps, tz="UTC"),
            "session": sessions.astype("datetime64[ms]"),
            **dict(zip(PRICES, (open_, high, low, close), strict=True)),
            "volume": volume,
        }
    )


def minutes(first: str, last: str, step: str = "1min", zone: str = "UTC") -> np.ndarray:
    index = pd.date_range(first, last, freq=step, tz=zone, inclusive="left")
    return index.tz_convert(None).as_unit("ns").to_numpy()


def by_loop(bars: pd.DataFrame, interval: str, clock: Clock) -> list[tuple]:
    """Every bucket that has bars, complete or not, word by word."""
    buckets: dict[tuple, list] = {}
    for row in bars.itertuples(index=False):
        day = row.session.to_datetime64().astype("datetime64[D]")
        start = pd.Timestamp(clock.hours(np.array([day]))[0][0], tz="UTC")
        if interval == "1w":
            sunday = row.session + pd.Timedelta(6 - row.session.weekday(), "D")
            stamp, session = sunday.tz_localize("UTC"), sunday
        elif interval == "1d":
            stamp, session = row.session.tz_localize("UTC"), row.session
        else:
            length = pd.Timedelta(interval)
            begin = start
            moment = row.timestamp - pd.Timedelta(1, "ns") if clock.stamp == "end" else row.timestamp
            while begin > moment:
                begin -= length
            while begin + length <= moment:
                begin += length
            earliest, latest = (pd.Timestamp(bound[0], tz="UTC") for bound in clock.bounds(np.array([day])))
            stamp = min(begin + length, latest) if clock.stamp == "end" else max(begin, earliest)
            session = row.session
        buckets.setdefault((stamp, session), []).append(row)
    return [
        (*key, rows[0].open, max(r.high for r in rows), min(r.low for r in rows), rows[-1].close,
         sum(r.volume for r in rows))
        for key, rows in buckets.items()
    ]  # fmt: skip


@given(
    chosen=st.lists(st.integers(0, 14 * 1440), min_size=8, max_size=120, unique=True),
    start=st.sampled_from(["2024-03-04", "2024-10-28", "2024-07-01"]),
    clock=st.sampled_from(CLOCKS),
    interval=st.sampled_from(["7m", "30m", "1h", "4h", "5h", "1d", "1w"]),
)
@settings(max_examples=120, deadline=None)
def test_resampled_bars_equal_a_loop(chosen, start, clock, interval):
    """Around both changes of daylight saving and a half day; only the last bucket may be missing."""
    stamps = np.datetime64(start, "ns") + np.sort(chosen) * np.timedelta64(60_000_000_000, "ns")
    bars = make_bars(stamps, clock)
    try:
        joined = resample_bars(bars, interval, clock)
    except DataError:
        return  # so few bars may look longer than they are
    expected = by_loop(bars, interval, clock)
    assert len(joined) in (len(expected), len(expected) - 1)
    assert list(joined.itertuples(index=False, name=None)) == expected[: len(joined)]
    if len(joined):
        assert joined["timestamp"].is_monotonic_increasing
        assert joined["timestamp"].is_unique


@pytest.mark.parametrize("stamp", ["start", "end"])
@pytest.mark.parametrize(("interval", "rule"), [("5m", "5min"), ("1h", "1h"), ("4h", "4h"), ("1d", "1D"), ("1w", "1W")])
def test_round_the_clock_it_is_what_pandas_does(stamp, interval, rule):
    clock = Clock(stamp=stamp)
    first = "2024-01-01" if stamp == "start" else "2024-01-01 00:01"
    stamps = minutes(first, "2024-01-15" if stamp == "start" else "2024-01-15 00:01")
    stamps = stamps[np.random.default_rng(1).random(len(stamps)) < 0.9]
    bars = make_bars(stamps, clock)
    side = {"closed": "left", "label": "left"} if stamp == "start" else {"closed": "right", "label": "right"}
    if rule in ("1D", "1W"):
        side["label"] = "left"
    if rule == "1W":  # pandas ends weeks at the start of Sunday
        expected = bars.groupby(bars["session"].dt.to_period("W")).agg(
            open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"),
            volume=("volume", "sum"),
        )  # fmt: skip
        stamps_of = expected.index.end_time.normalize().tz_localize("UTC")
    else:
        expected = bars.set_index("timestamp").resample(rule, **side).agg(
            {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        )  # fmt: skip
        stamps_of = expected.index
    joined = resample_bars(bars, interval, clock)
    assert len(joined) >= len(expected) - 1
    np.testing.assert_array_equal(joined["timestamp"], stamps_of[: len(joined)].as_unit("ns"))
    np.testing.assert_array_equal(joined[[*PRICES, "volume"]], expected[: len(joined)])


@given(cut=st.integers(30, 1500), clock=st.sampled_from(CLOCKS), interval=st.sampled_from(["15m", "1h", "1d", "1w"]))
@settings(max_examples=60, deadline=None)
def test_a_bar_that_is_there_never_changes(cut, clock, interval):
    """What is made of the first bars is the beginning of what is made of all."""
    zone = "America/Chicago" if clock.calendar == "CMES" else "America/New_York"
    stamps = minutes("2024-03-04", "2024-03-19", "5min", zone)
    hours = pd.DatetimeIndex(stamps, tz="UTC").tz_convert(zone)
    if clock.calendar == "XNYS":  # regular hours, by what the stamp marks
        stamps = stamps[hours.indexer_between_time("09:30", "16:00", include_end=clock.stamp == "end",
                                                   include_start=clock.stamp == "start")]  # fmt: skip
    bars = make_bars(stamps, clock)
    cut = min(cut, len(bars))
    part, whole = resample_bars(bars[:cut], interval, clock), resample_bars(bars, interval, clock)
    pd.testing.assert_frame_equal(part, whole[: len(part)])


class TestNewYork:
    hours = minutes("2024-07-01 09:30", "2024-07-01 16:00", zone="America/New_York")

    def test_with_a_calendar_hours_count_from_the_open(self):
        joined = resample_bars(make_bars(self.hours, CLOCKS[2]), "1h", CLOCKS[2])
        local = joined["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M").tolist()
        assert local == ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]

    def test_without_one_they_are_the_clock_s(self):
        joined = resample_bars(make_bars(self.hours, CLOCKS[1]), "1h", CLOCKS[1])
        local = joined["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M").tolist()
        assert local == ["09:00", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]

    def test_an_open_is_the_open_on_both_sides_of_daylight_saving(self):
        stamps = np.concatenate(
            [minutes(f"{day} 09:30", f"{day} 16:00", "5min", "America/New_York")
             for day in ("2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04")]
        )  # fmt: skip
        for clock in (CLOCKS[1], CLOCKS[2]):
            joined = resample_bars(make_bars(stamps, clock), "30m", clock)
            local = joined["timestamp"].dt.tz_convert("America/New_York")
            assert (joined.groupby("session")["timestamp"].count() == 13).all()
            assert set(local[~joined["session"].duplicated()].dt.strftime("%H:%M")) == {"09:30"}

    def test_bars_before_the_open_fall_into_buckets_before_it(self):
        stamps = minutes("2024-07-01 08:00", "2024-07-01 16:00", zone="America/New_York")
        joined = resample_bars(make_bars(stamps, CLOCKS[2]), "1h", CLOCKS[2])
        local = joined["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M").tolist()
        assert local[:3] == ["07:30", "08:30", "09:30"]

    @pytest.mark.parametrize(
        ("last", "calendar", "bars"),
        [("16:00", "XNYS", 1), ("15:59", "XNYS", 0), ("16:00", "", 0), ("20:00", "XNYS", 0)],
    )
    def test_the_last_day_is_there_once_its_close_is_known_to_have_passed(self, last, calendar, bars):
        clock = Clock(calendar=calendar) if calendar else CLOCKS[1]
        stamps = minutes("2024-07-01 09:30", f"2024-07-01 {last}", zone="America/New_York")
        assert len(resample_bars(make_bars(stamps, clock), "1d", clock)) == bars

    def test_a_stamp_at_the_end_puts_the_last_minute_into_the_last_bucket(self):
        clock = Clock(calendar="XNYS", stamp="end")
        joined = resample_bars(make_bars(self.hours + np.timedelta64(60, "s"), clock), "30m", clock)
        local = joined["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M").tolist()
        assert (len(local), local[0], local[-1]) == (13, "10:00", "16:00")


class TestOvernight:
    def test_a_day_of_chicago_begins_the_evening_before(self):
        clock = Clock(calendar="CMES")
        stamps = minutes("2024-01-07 17:00", "2024-01-09 17:00", "15min", "America/Chicago")
        bars = make_bars(stamps, clock)
        joined = resample_bars(bars, "1d", clock)
        assert joined["timestamp"].astype(str).tolist() == ["2024-01-08 00:00:00+00:00", "2024-01-09 00:00:00+00:00"]
        assert joined["open"][0] == bars["open"][0]
        assert joined["close"][0] == bars["close"][95]

    def test_no_bucket_goes_on_in_the_next_session(self):
        clock = Clock(calendar="CMES")
        stamps = minutes("2024-01-07 17:00", "2024-01-10 17:00", "15min", "America/Chicago")
        joined = resample_bars(make_bars(stamps, clock), "5h", clock)
        assert joined.groupby("session").size().tolist() == [5, 5, 5]


class TestWeeks:
    daily = make_bars(minutes("2024-03-18", "2024-03-30", "1D"), CLOCKS[2])  # until Good Friday's eve

    def test_a_week_is_dated_by_its_sunday_and_complete_with_its_last_session(self):
        joined = resample_bars(self.daily, "1w", CLOCKS[2])
        assert joined["session"].astype(str).tolist() == ["2024-03-24", "2024-03-31"]
        assert joined["close"].tolist() == self.daily["close"].iloc[[4, 8]].tolist()

    def test_without_a_calendar_only_a_later_week_says_that_it_is_over(self):
        assert len(resample_bars(self.daily, "1w", Clock())) == 1
        assert len(resample_bars(self.daily[:-1], "1w", CLOCKS[2])) == 1

    def test_daily_bars_as_days_stay_as_they_are(self):
        pd.testing.assert_frame_equal(resample_bars(self.daily, "1d", CLOCKS[2]), self.daily)


class TestFinerThanTheBars:
    def test_an_interval_shorter_than_the_bars_is_refused(self):
        hourly = make_bars(minutes("2024-01-01", "2024-01-15", "1h"), Clock())
        with pytest.raises(
            DataError, match=r"100% of its bars last 1h, from 2024-01-01 on.*got 5m, ask for 1h or more"
        ):
            resample_bars(hourly, "5m", Clock())
        daily = make_bars(minutes("2024-01-01", "2024-03-01", "1D"), Clock())
        with pytest.raises(DataError, match="last 1d"):
            resample_bars(daily, "4h", Clock())
        with pytest.raises(DataError, match="last 7d"):
            resample_bars(make_bars(minutes("2024-01-05", "2024-12-01", "7D"), Clock()), "1d", Clock())

    def test_bars_that_become_longer_half_way_are_refused(self):
        stamps = np.append(minutes("2024-01-01", "2024-01-15", "5min"), minutes("2024-01-15", "2024-06-15", "1h"))
        bars = make_bars(stamps, Clock())
        with pytest.raises(DataError, match=r"last 1h, from 2024-01-15 on"):
            resample_bars(bars, "15m", Clock())
        joined = resample_bars(bars, "2h", Clock())
        assert [tuple(row) for row in joined.itertuples(index=False)] == by_loop(bars, "2h", Clock())[: len(joined)]

    def test_missing_bars_do_not_make_bars_longer(self):
        stamps = minutes("2024-01-01", "2024-03-01")
        seldom = stamps[np.random.default_rng(2).random(len(stamps)) < 0.02]
        assert len(resample_bars(make_bars(seldom, Clock()), "5m", Clock()))

    def test_the_same_interval_leaves_bars_as_they_are(self):
        bars = make_bars(minutes("2024-01-01", "2024-01-03", "5min"), Clock())
        pd.testing.assert_frame_equal(resample_bars(bars, "5m", Clock()), bars)


class TestBuckets:
    @given(
        parts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
        interval=st.sampled_from(["7m", "1h", "1d", "1w"]),
        clock=st.sampled_from(CLOCKS[:2] + CLOCKS[5:7]),
    )
    @settings(max_examples=40, deadline=None)
    def test_ids_are_the_same_whole_and_in_parts(self, parts, interval, clock):
        stamps = minutes("2024-03-09", "2024-03-13", "17min")[: sum(parts)]
        sessions = clock.sessions(stamps, False)
        whole = bucket_ids(stamps, sessions, interval, clock.stamp)
        assert (np.diff(whole) >= 0).all()
        edges = np.cumsum(parts)[:-1]
        pieces = [
            bucket_ids(a, b, interval, clock.stamp)
            for a, b in zip(np.split(stamps, edges), np.split(sessions, edges), strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)

    def test_sessions_never_share_a_bucket(self):
        stamps = minutes("2024-01-07 22:30", "2024-01-07 23:30", "15min")
        ids = bucket_ids(stamps, CLOCKS[3].sessions(stamps, False)[2:].repeat(2), "4h")
        assert len(set(ids)) == 1
        ids = bucket_ids(stamps, np.array(["2024-01-07", "2024-01-07", "2024-01-08", "2024-01-08"], "M8[D]"), "4h")
        assert ids[1] < ids[2]

    @pytest.mark.parametrize("interval", ["", "0m", "5", "1 h", "2d", "1D", "60s", "24h", "1440m", "h1", "-5m"])
    def test_an_interval_that_is_none_is_refused(self, interval):
        with pytest.raises(ConfigError, match="^resample: .*got "):
            interval_length(interval)

    @pytest.mark.parametrize("text", ["1m", "90m", "1h", "4h", "1d", "7d", "1s"])
    def test_lengths_are_written_as_they_are_read(self, text):
        assert interval_text(pd.Timedelta(text).value) == text


class TestPanel:
    def panel_of(self, *tables: tuple[str, np.ndarray], **changes) -> Panel:
        frames = [make_bars(stamps, Clock()).drop(columns="session").assign(symbol=symbol) for symbol, stamps in tables]
        table = read_table(pd.concat(frames), "a.parquet", "")
        return build_panel("source", table, {}, SETTINGS | changes, NOW)

    def test_a_panel_is_resampled_symbol_by_symbol(self):
        minute, hourly = minutes("2024-01-01", "2024-01-04"), minutes("2024-01-01", "2024-01-04", "1h")
        panel = self.panel_of(("M", minute), ("H", hourly), resample="30m")
        assert list(panel.bars) == ["M"]
        assert len(panel.bars["M"]) == 3 * 48
        problem = panel.quality.set_index("symbol")["problem"]
        assert problem["M"] == ""
        assert "its bars last 1h" in problem["H"]
        assert len(panel.sessions) == 3

    def test_bars_that_fill_no_bucket_are_a_problem(self):
        minute = minutes("2024-01-01", "2024-01-01 05:00")
        panel = self.panel_of(("A", minute), ("B", minutes("2024-01-01", "2024-01-03")), resample="1d")
        assert panel.quality["problem"][0] == "resample: its 300 bars do not fill one bar of 1d"
        with pytest.raises(UnusableSource, match="do not fill one bar of 1d"):
            self.panel_of(("A", minute), resample="1d")

    def test_weekly_bars_of_a_calendar_have_a_panel_of_weeks(self):
        daily = minutes("2024-01-01", "2024-06-01", "1D")
        panel = self.panel_of(("A", daily[np.is_busday(daily.astype("M8[D]"))]), resample="1w", calendar="XNYS")
        assert np.unique(np.diff(panel.session_numbers("A"))).tolist() == [1]
        assert not panel.quality["stale"].any()

    def test_a_wrong_interval_is_found_before_anything_is_read(self):
        with pytest.raises(ConfigError, match=r"^bars\.yaml: resample: expected minutes or hours"):
            read_panel("no/such/folder", SETTINGS | {"resample": "2d"})
