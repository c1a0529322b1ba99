from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.times import SKIPPED, UNREADABLE, Times, check_zone, parse_times, read_timestamps


def stamps(values, times=None, tz="") -> list[str]:
    """What `read_timestamps` makes of values, as texts in UTC without the zone; ``NaT`` where unreadable."""
    times = None if times is None else pd.Series(times)
    index, _ = read_timestamps(pd.Series(values), times, tz, "x.csv")
    assert str(index.dtype) == "datetime64[ns, UTC]"
    return [str(stamp).removesuffix("+00:00") for stamp in index]


def refusal(call) -> str:
    """The message of the `DataError` that a call raises, or nothing."""
    try:
        call()
    except DataError as error:
        return str(error)
    return ""


class TestTimestamps:
    @pytest.mark.parametrize(
        "value", ["2020-01-31", "20200131", " 2020-01-31 ", "2020/01/31", "2020.01.31", "2020-01-31 00:00", 20200131,
                  20200131.0, datetime.date(2020, 1, 31), "2020-01-31T00:00:00-05:00", "2020-01-31 00:00:00+09:00"]
    )  # fmt: skip
    def test_a_date_is_its_session_at_midnight_utc(self, value):
        assert stamps([value]) == ["2020-01-31 00:00:00"]

    @pytest.mark.parametrize(
        ("text", "utc"),
        [
            ("2020-01-31 15:30:00-05:00", "2020-01-31 20:30:00"),
            ("2020-01-31T15:30-0500", "2020-01-31 20:30:00"),
            ("2020-01-31 15:30-05", "2020-01-31 20:30:00"),
            ("2020-01-31 15:30:00 +05:30", "2020-01-31 10:00:00"),
            ("2020-01-31T15:30:00Z", "2020-01-31 15:30:00"),
            ("2020-01-31 15:30:00 UTC", "2020-01-31 15:30:00"),
            ("20200131 15:30:00.123456789-00:30", "2020-01-31 16:00:00.123456789"),
        ],
    )
    def test_offsets(self, text, utc):
        assert stamps([text]) == [utc]

    @pytest.mark.parametrize(
        "value",
        ["01/31/2020", "31.01.2020", "31/01/2020", "2020-1-31", "2020-02-30", "2020-13-01", "2020", "2020-01",
         "Jan 31, 2020", "2020-01-31 25:00", "2020-01-31 3pm", "2020-01-31Z", "rubbish", "", None, True,
         "1600-01-01", "9999-12-31", "20200131153000", 202001, -20200131, 20200131.5, float("nan"),
         float("inf"), "２０２０-01-31"],
    )  # fmt: skip
    def test_what_is_no_timestamp_is_a_fault_of_its_row(self, value):
        index, faults = read_timestamps(pd.Series(["2020-01-02", value], dtype=object), None, "", "x")
        assert faults.tolist() == ["", UNREADABLE]
        assert index.isna().tolist() == [False, True]

    def test_no_readable_row_at_all(self):
        with pytest.raises(
            DataError, match=r"^x\.csv: no readable timestamp, for example '01/31/2020'; write dates as"
        ):
            stamps(["01/31/2020", "02/01/2020"])

    @pytest.mark.parametrize("value", [1577836800, 1577836800000, 1577836800000000000, 1577836800.0])
    def test_epoch_numbers_are_refused(self, value):
        with pytest.raises(DataError, match="a bare number has no unit"):
            stamps([value, value])

    def test_clock_times_without_a_zone_need_tz(self):
        with pytest.raises(DataError, match=r"clock times without a zone, for example '2020-01-31 15:30:00'; set tz:"):
            stamps(["2020-01-31 00:00", "2020-01-31 15:30"])
        with pytest.raises(DataError, match="clock times without a zone"):
            stamps(pd.to_datetime(["2020-01-31 15:30"]))

    def test_clock_times_are_taken_in_tz(self):
        texts = ["2020-01-31 00:00", "2020-01-31 15:30", "2020-07-31 15:30"]
        expected = ["2020-01-31 05:00:00", "2020-01-31 20:30:00", "2020-07-31 19:30:00"]
        assert stamps(texts, tz="America/New_York") == expected
        assert stamps(pd.to_datetime(texts), tz="America/New_York") == expected

    def test_tz_does_not_move_session_dates(self):
        assert stamps(["2020-01-31"], tz="America/New_York") == ["2020-01-31 00:00:00"]

    def test_times_that_daylight_saving_skips_or_repeats(self):
        texts = ["2021-03-14 01:30", "2021-03-14 02:30", "2021-03-14 03:30", "2021-11-07 01:30", "2021-11-07 02:30"]
        index, faults = read_timestamps(pd.Series(texts), None, "America/New_York", "x")
        assert faults.tolist() == ["", SKIPPED, "", SKIPPED, ""]
        assert index.isna().tolist() == [False, True, False, True, False]

    @pytest.mark.parametrize("other", ["2020-01-31", "2020-01-31 15:30-05:00"])
    def test_rows_of_different_kinds(self, other):
        with pytest.raises(DataError, match=r"'2020-01-30 15:30' and '2020-01-31.*'; write all alike"):
            stamps(["2020-01-30 15:30", other], tz="America/New_York")

    @pytest.mark.parametrize(
        ("clock", "utc"),
        [("153000", "15:30:00"), (93000, "09:30:00"), ("093000", "09:30:00"), ("15:30", "15:30:00"),
         ("15:30:15", "15:30:15"), (153000.0, "15:30:00"), (datetime.time(15, 30), "15:30:00")],
    )  # fmt: skip
    @pytest.mark.parametrize("date", ["2020-01-31", "20200131", 20200131, pd.Timestamp("2020-01-31")])
    def test_a_column_of_clock_times(self, date, clock, utc):
        assert stamps([date], [clock], tz="UTC") == [f"2020-01-31 {utc}"]

    @pytest.mark.parametrize("clock", ["000000", 0, "0", "00:00:00", "00:00", None])
    def test_midnight_all_over_means_session_dates(self, clock):
        assert stamps(["20200131", "20200203"], [clock, clock]) == ["2020-01-31 00:00:00", "2020-02-03 00:00:00"]

    def test_a_row_that_lacks_its_clock_time_is_unreadable(self):
        index, faults = read_timestamps(pd.Series(["20200131"] * 3), pd.Series(["153000", None, "1530"]), "UTC", "x")
        assert faults.tolist() == ["", UNREADABLE, UNREADABLE]  # 1530 may be 15:30 or 00:15:30
        assert index[0] == pd.Timestamp("2020-01-31 15:30", tz="UTC")

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "Asia/Tokyo", "+05:30"])
    def test_dates_of_any_type_and_zone(self, unit, zone):
        dates = (
            pd.Series(pd.to_datetime(["2020-01-31", "2020-07-31"])).astype(f"datetime64[{unit}]").dt.tz_localize(zone)
        )
        assert stamps(dates) == ["2020-01-31 00:00:00", "2020-07-31 00:00:00"]

    def test_moments_of_another_zone(self):
        moments = pd.Series(pd.to_datetime(["2020-01-31 09:00", "2020-01-31 00:00"])).dt.tz_localize("Asia/Tokyo")
        assert stamps(moments) == ["2020-01-31 00:00:00", "2020-01-30 15:00:00"]

    def test_dates_beyond_nanoseconds_are_unreadable(self):
        dates = pd.Series(np.array(["2020-01-31", "1600-01-01", "9999-12-31", "NaT"], "datetime64[ms]"))
        for given_dates in (dates, dates.dt.tz_localize("UTC")):
            assert stamps(given_dates) == ["2020-01-31 00:00:00", "NaT", "NaT", "NaT"]

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=1, max_size=8))
    def test_texts_read_as_they_were_written(self, moments):
        expected = [str(pd.Timestamp(moment)) for moment in moments]
        assert stamps([f"{moment.isoformat(sep=' ', timespec='microseconds')}+00:00" for moment in moments]) == expected

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.text(max_size=12) | st.integers() | st.floats() | st.none() | st.booleans() | st.dates(), min_size=1
        )
    )
    def test_anything_is_read_or_refused_in_one_line(self, values):
        told = refusal(lambda: read_timestamps(pd.Series(values, dtype=object), None, "UTC", "x"))
        assert told.isprintable()
        if not told:
            index, faults = read_timestamps(pd.Series(values, dtype=object), None, "UTC", "x")
            assert ((faults != "") == index.isna()).all()


@pytest.mark.parametrize("tz", ["Amercia/New_York", "../etc", "America", "\0", "EST5EDT4"])
def test_an_unknown_zone_is_refused(tz):
    with pytest.raises(ConfigError, match=r"^bars\.yaml: tz: .* is no time zone; (use a name such as|did you mean)"):
        check_zone(tz, "tz")


@pytest.mark.parametrize("tz", ["", "UTC", "America/New_York"])
def test_a_known_zone_is_accepted(tz):
    check_zone(tz, "tz")


# --- many rows at once, in parts

WRITTEN = st.sampled_from(
    ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S"]
)


@settings(max_examples=150, deadline=None)
@given(
    moments=st.lists(
        st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=1, max_size=6
    ),
    written=WRITTEN,
    zones=st.sampled_from([[""], ["Z"], ["-05:00", "-04:00"], ["+0530"], [" UTC"]]),
    spoilt=st.sampled_from(["", "", "x", "2020-13-01 10:00:00", "2020-01-01"]),
)
def test_whole_columns_are_read_as_their_texts_one_by_one(moments, written, zones, spoilt):
    zones = zones if "%H" in written else [""]
    texts = [f"{moment:{written}}{zones[number % len(zones)]}" for number, moment in enumerate(moments)]
    texts += [spoilt] if spoilt else []

    def told(dates) -> object:
        try:
            times = parse_times(dates, None, "x")
        except DataError as error:
            return str(error)
        return times.wall.tolist(), times.instant.tolist(), times.form

    assert told(pa.chunked_array([texts])) == told(pd.Series(texts, dtype=object))


def test_parts_are_joined():
    parts = [
        parse_times(pd.Series(texts), None, "x") for texts in (["soon"], ["2020-01-02 10:00"], ["2020-01-03 11:00"])
    ]
    joined = Times.joined(parts, "x")
    timestamps = joined.in_utc("Asia/Tokyo", "x")
    assert timestamps.astype(str).tolist() == ["NaT", "2020-01-02T01:00:00.000000000", "2020-01-03T02:00:00.000000000"]
    assert joined.faults(timestamps).tolist() == [UNREADABLE, "", ""]
    with pytest.raises(DataError, match="'2020-01-02 10:00' and '2020-01-03'; write all alike"):
        Times.joined([parts[1], parse_times(pd.Series(["2020-01-03"]), None, "x")], "x")


def test_symbols_are_dates_or_clock_times_each_by_itself():
    texts = pd.Series(
        ["2020-01-02 00:00+09:00", "2020-01-03 00:00+09:00", "2020-01-02 00:00+09:00", "2020-01-02 10:00+09:00"]
    )
    found, _ = read_timestamps(texts, None, "", "x", np.array([0, 0, 1, 1]))
    assert found.astype(str).tolist() == ["2020-01-02 00:00:00+00:00", "2020-01-03 00:00:00+00:00",
                                          "2020-01-01 15:00:00+00:00", "2020-01-02 01:00:00+00:00"]  # fmt: skip
