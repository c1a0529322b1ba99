"""Each finding is planted and found, and not found where it is not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import UnusableSource, build_panel
from DATA_PROCESSING.quality import RUN, Findings, describe, examine, usual_interval
from DATA_PROCESSING.resample import interval_text

PRICES = ["open", "high", "low", "close"]
NOW = pd.Timestamp("2030-01-01", tz="UTC")


def examined(tables: dict[str, pd.DataFrame], **overrides) -> Findings:
    table = pd.concat([frame.assign(symbol=symbol) for symbol, frame in tables.items()])
    return examine(build_panel("x", read_table(table, "x", ""), {}, load_run_config("bars", overrides), NOW))


@pytest.fixture
def bars(make_bars) -> pd.DataFrame:
    return make_bars(300, start="2018-01-01")


@pytest.fixture
def minutes(make_bars) -> pd.DataFrame:
    """Forty sessions of 26 bars of 15 minutes each."""
    days = pd.bdate_range("2018-01-02", periods=40, tz="UTC") + pd.Timedelta("14h30min")
    made = make_bars(40 * 26)
    made["timestamp"] = pd.DatetimeIndex([day + k * pd.Timedelta("15min") for day in days for k in range(26)])
    return made


def row_of(findings: Findings, symbol: str = "A"):
    return next(row for row in findings.symbols.itertuples() if row.symbol == symbol)


def test_clean_bars_have_no_findings(bars):
    findings = examined({"A": bars, "B": bars})
    for frame in (findings.gaps, findings.stale_prices, findings.outliers, findings.level_shifts,
                  findings.interval_changes):  # fmt: skip
        assert frame.empty
    row = row_of(findings)
    assert (row.sessions, row.bars_per_session, row.same_close) == (300, 1, 1)
    for name in ("missing_sessions", "longest_gap", "missing_bars", "late_start", "early_end", "zero_volume", "repeats",
                 "stale_prices", "outliers", "level_shifts", "interval_changes"):  # fmt: skip
        assert getattr(row, name) == 0, name
    assert describe(row) == []
    assert (findings.coverage == 1).all(axis=None)


# --- gaps


def test_gaps_are_sessions_on_which_the_others_trade(bars):
    findings = examined({"A": bars.drop(index=[*range(50, 60), 100]), "B": bars, "C": bars})
    assert findings.gaps.to_numpy().tolist() == [
        ["A", *bars["timestamp"][[50, 59]].dt.tz_localize(None), 10],
        ["A", *bars["timestamp"][[100, 100]].dt.tz_localize(None), 1],
    ]
    row = row_of(findings)
    assert (row.missing_sessions, row.longest_gap) == (11, 10)
    assert describe(row) == ["11 sessions missing, 10 in a row"]
    march = findings.coverage.loc["A", "2018-03-01"]
    assert march == pytest.approx(1 - 10 / 22)


def test_chosen_symbols_are_still_judged_by_all(bars):
    table = pd.concat([bars.drop(index=[50, 51]).assign(symbol="A"), bars.assign(symbol="B"), bars.assign(symbol="C")])
    panel = build_panel("x", read_table(table, "x", ""), {}, load_run_config("bars"), NOW)
    findings = examine(panel.only(["A"]))
    assert findings.symbols["symbol"].tolist() == ["A"]
    assert findings.gaps["sessions"].tolist() == [2]


def test_one_stray_bar_makes_no_session(bars):
    holiday = bars.drop(index=120)
    findings = examined({"A": bars, **dict.fromkeys("BCDE", holiday)})
    assert findings.gaps.empty
    assert not findings.symbols["missing_sessions"].any()


def test_a_stock_beside_a_coin_does_not_miss_its_weekends(make_bars, bars):
    coin = make_bars(420)
    coin["timestamp"] = pd.date_range("2018-01-01", periods=420, tz="UTC")
    findings = examined({"A": bars, "COIN": coin.drop(index=[200, 201])})  # a Friday, and a Saturday that is its alone
    assert findings.gaps[["symbol", "sessions"]].to_numpy().tolist() == [["COIN", 1]]
    assert row_of(findings).missing_sessions == 0


def test_an_exchange_calendar_knows_sessions_that_nobody_else_has(bars):
    holidays = pd.to_datetime(["2018-01-01", "2018-01-15", "2018-02-19", "2018-03-30", "2018-05-28", "2018-07-04",
                               "2018-09-03", "2018-11-22", "2018-12-05", "2018-12-25", "2019-01-01", "2019-01-21",
                               "2019-02-18"], utc=True)  # fmt: skip
    open_days = bars[~bars["timestamp"].isin(holidays)].reset_index(drop=True)
    assert examined({"A": open_days}, calendar="XNYS").gaps.empty
    missing = examined({"A": open_days.drop(index=[40, 41])}, calendar="XNYS").gaps
    assert missing[["symbol", "sessions"]].to_numpy().tolist() == [["A", 2]]
    assert examined({"A": open_days.drop(index=[40, 41])}).gaps.empty  # its own bars alone cannot tell


def test_late_starts_and_early_ends(bars):
    findings = examined({"A": bars[30:], "B": bars[:-10], "C": bars, "D": bars[3:-3]})
    assert findings.symbols[["late_start", "early_end"]].to_numpy().tolist() == [[30, 0], [0, 10], [0, 0], [3, 3]]
    told = [describe(row) for row in findings.symbols.itertuples()]
    assert told == [["starts 30 sessions late"], ["ends 10 sessions early"], [], []]
    assert (findings.coverage.loc["A"] == 0).sum() == 1  # January
    assert findings.gaps.empty


def test_missing_bars_within_sessions(minutes):
    holed = minutes.drop(index=[26 * 5 + 3, 26 * 5 + 4, 26 * 9, 0, 1])  # the last two lie in the first session
    row = row_of(examined({"A": holed}))
    assert (row.interval, row.bars_per_session, row.missing_bars) == (pd.Timedelta("15min"), 26, 3)
    assert describe(row) == ["3 bars missing within sessions"]


# --- prices and volumes


def test_stale_prices_are_runs_of_one_close(bars):
    bars.loc[100:106, PRICES] = bars.loc[100, PRICES].to_numpy(float)
    bars.loc[200:204, "close"] = bars.loc[200:204, "close"].mean()
    bars["high"], bars["low"] = bars[PRICES].max(axis=1), bars[PRICES].min(axis=1)
    findings = examined({"A": bars})
    assert findings.stale_prices[["bars", "all_prices"]].to_numpy().tolist() == [[7, True], [5, False]]
    assert findings.stale_prices["first"].tolist() == bars["timestamp"][[100, 200]].dt.tz_localize(None).tolist()
    row = row_of(findings)
    assert (row.repeats, row.same_close, row.stale_prices) == (6, 7, 2)
    assert describe(row) == ["one close for 7 bars", "6 bars like the one before"]


def test_four_equal_closes_are_no_stale_price(bars):
    bars.loc[100:103, PRICES] = bars.loc[100, PRICES].to_numpy(float)
    assert examined({"A": bars}).stale_prices.empty


def test_within_a_session_a_price_may_rest_for_less_than_the_session(minutes):
    minutes.loc[30:50, PRICES] = minutes.loc[30, PRICES].to_numpy(float)
    assert examined({"A": minutes}).stale_prices.empty
    minutes.loc[30:55, PRICES] = minutes.loc[30, PRICES].to_numpy(float)
    assert examined({"A": minutes}).stale_prices["bars"].tolist() == [26]


def test_zero_volume(bars):
    bars.loc[::10, "volume"] = 0
    row = row_of(examined({"A": bars}))
    assert row.zero_volume == 0.1
    assert describe(row) == ["10.0% without volume"]


@pytest.mark.parametrize("factor", [1.5, 0.6])
def test_a_price_that_is_back_at_once_is_an_outlier(bars, factor):
    bars.loc[150, PRICES] *= factor
    (found,) = examined({"A": bars}).outliers.itertuples()
    assert (found.symbol, found.price, found.value) == ("A", "close", bars["close"][150])
    assert found.timestamp == bars["timestamp"][150].tz_localize(None)
    assert found.deviations > 10
    assert np.sign(found.move) == np.sign(factor - 1)


@pytest.mark.parametrize(("price", "factor"), [("high", 2.0), ("low", 0.5)])
def test_a_high_or_low_far_beyond_its_neighbours_is_an_outlier(bars, price, factor):
    bars.loc[150, price] *= factor
    (found,) = examined({"A": bars}).outliers.itertuples()
    assert (found.price, found.value) == (price, bars[price][150])
    assert describe(row_of(examined({"A": bars}))) == ["1 outlier"]


def test_a_move_that_lasts_is_no_outlier(bars):
    bars.loc[150:, PRICES] *= 1.4
    assert examined({"A": bars}).outliers.empty


def test_a_price_that_never_moves_has_no_outliers(bars):
    bars.loc[:, PRICES] = 5.0
    findings = examined({"A": bars})
    assert findings.outliers.empty
    assert findings.stale_prices["bars"].tolist() == [300]


# --- levels


@pytest.mark.parametrize("factor", [0.4, 2.4, 100.0, 0.01])
def test_a_level_that_lasts_is_told_in_no_ratio_of_a_split(bars, factor):
    bars.loc[150:, PRICES] *= factor
    findings = examined({"A": bars})
    (found,) = findings.level_shifts.itertuples()
    assert (found.symbol, found.session) == ("A", bars["timestamp"][150].tz_localize(None))
    assert (found.close_before, found.open) == (bars["close"][149], bars["open"][150])
    assert found.move == pytest.approx(bars["open"][150] / bars["close"][149] - 1)
    assert findings.outliers.empty
    assert describe(row_of(findings)) == ["1 level shift"]


def test_a_level_that_shifts_between_the_bars_of_two_sessions(minutes):
    minutes.loc[26 * 20 :, PRICES] *= 0.4
    assert examined({"A": minutes}).level_shifts["session"].tolist() == [
        minutes["timestamp"][26 * 20].tz_localize(None).normalize()
    ]
    minutes.loc[26 * 30 + 5 :, PRICES] *= 0.4  # within a session nobody missed it
    assert len(examined({"A": minutes}).level_shifts) == 1


@pytest.mark.parametrize("factor", [0.6, 1.9])
def test_less_than_a_factor_of_two_is_no_level_shift(bars, factor):
    bars.loc[150:, PRICES] *= factor
    assert examined({"A": bars}).level_shifts.empty


@pytest.mark.parametrize("resample", ["", "1w"])
@pytest.mark.parametrize("volume", [1.0, 30.0])  # that of a split, and of a crash that halves the price
def test_what_is_like_a_split_is_no_level_shift(bars, volume, resample):
    bars["volume"] = 1000.0
    bars.loc[150:, PRICES] /= 3
    bars.loc[150, "volume"] *= volume
    assert examined({"A": bars}, resample=resample).level_shifts.empty


def test_an_outlier_that_comes_back_is_no_level_shift(bars):
    bars.loc[150, PRICES] *= 0.4
    findings = examined({"A": bars})
    assert len(findings.outliers) == 1
    assert findings.level_shifts.empty
    bars.loc[151, PRICES] *= 0.4  # two bars: no outlier any more
    findings = examined({"A": bars})
    assert findings.outliers.empty
    assert len(findings.level_shifts) == 2


def test_a_crash_of_the_newest_bar_is_told(bars):
    bars.loc[299, PRICES] *= 0.4
    assert len(examined({"A": bars}).level_shifts) == 1


def test_first_and_last_are_sessions_of_the_zone(bars):
    bars["timestamp"] += pd.Timedelta("2h")
    row = row_of(examined({"A": bars}, session_zone="America/New_York"))
    assert row.last_session == bars["timestamp"].iloc[-1].tz_localize(None).normalize() - pd.Timedelta("1d")
    assert row.first_session == bars["timestamp"].iloc[0].tz_localize(None).normalize() - pd.Timedelta("1d")


# --- the interval


def test_a_change_of_the_interval_is_found_at_its_bar(minutes):
    thinned = minutes.drop(index=[row for row in range(20 * 26, len(minutes)) if row % 2]).reset_index(drop=True)
    (change,) = examined({"A": thinned}).interval_changes.itertuples()
    assert (change.before, change.after) == (pd.Timedelta("15min"), pd.Timedelta("30min"))
    first = thinned["timestamp"][20 * 26 : 20 * 26 + 2].dt.tz_localize(None)
    assert first.iloc[0] <= change.timestamp <= first.iloc[1]


def test_daily_bars_that_become_weekly(make_bars):
    made = make_bars(200)
    daily = pd.bdate_range("2015-01-01", periods=100, tz="UTC")
    made["timestamp"] = daily.append(pd.date_range(daily[-1] + pd.Timedelta("7d"), periods=100, freq="7D"))
    (change,) = examined({"A": made}).interval_changes.itertuples()
    assert (interval_text(change.before), interval_text(change.after)) == ("1d", "7d")
    assert change.timestamp == made["timestamp"][100].tz_localize(None)


def test_holes_nights_and_months_are_no_change(make_bars, minutes):
    monthly = make_bars(200)
    monthly["timestamp"] = pd.date_range("2001-01-01", periods=200, freq="MS", tz="UTC")
    holed = minutes[np.random.default_rng(0).random(len(minutes)) > 0.1]
    assert examined({"A": monthly}).interval_changes.empty
    assert examined({"A": holed}).interval_changes.empty


@pytest.mark.parametrize(
    ("step", "text"), [("1min", "1m"), ("4h", "4h"), ("1D", "1d"), ("30s", "30s"), ("90min", "90m")]
)
def test_the_interval_is_measured_and_written_as_in_a_config(step, text):
    times = pd.date_range("2020-01-01", periods=30, freq=step).to_numpy()
    assert interval_text(usual_interval(np.delete(times, [5, 6, 20]))) == text
    assert interval_text(usual_interval(times[:1])) == ""


def test_bars_twice_a_day_have_the_shorter_interval():
    days = pd.date_range("2020-01-01", periods=50)
    times = np.sort(np.concatenate([days + pd.Timedelta("14h"), days + pd.Timedelta("18h")]))
    assert interval_text(usual_interval(times)) == "4h"


# --- the whole


def test_a_source_without_a_usable_bar_still_says_why(bars):
    table = pd.concat([bars[:3].assign(symbol="A", close=-1.0), bars[:2].assign(symbol="B", volume=np.nan)])
    with pytest.raises(UnusableSource) as caught:
        build_panel("x", read_table(table, "x", ""), {"C": "C.csv: no"}, load_run_config("bars"), NOW)
    findings = examine(caught.value.panel)
    told = [describe(row) for row in findings.symbols.itertuples()]
    assert told == [["no valid bar: 3 price not above zero"], ["no valid bar: 2 missing value"], ["C.csv: no"]]
    assert findings.coverage.empty


def test_what_reading_found_is_told_too(bars):
    raw = bars.astype({"close": object})
    raw.loc[7, "close"] = "oops"
    findings = examined({"A": pd.concat([raw, raw[:2]])[::-1], "B": bars})
    assert describe(row_of(findings)) == ["1 text in close", "2 duplicates", "unsorted", "1 session missing"]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 59), max_size=5), st.lists(st.integers(1, 3), min_size=60, max_size=60))
def test_gaps_and_runs_are_those_of_a_slow_loop(dropped, steps):
    days = pd.bdate_range("2020-01-01", periods=60, tz="UTC")
    closes = np.cumsum(np.array(steps) > 2) + 10.0
    whole = pd.DataFrame({"timestamp": days, **dict.fromkeys(PRICES, closes), "volume": 1.0})
    own = [day for day in range(60) if day not in dropped]
    findings = examined({"A": whole.iloc[own], **dict.fromkeys("BCD", whole)}, adjust="none")
    missing = [day for day in range(own[0], own[-1]) if day in dropped]
    starts = [day for day in missing if day - 1 not in missing]
    gaps = findings.gaps[findings.gaps["symbol"] == "A"]
    assert gaps["sessions"].sum() == len(missing)
    assert gaps["first"].tolist() == [days[day].tz_localize(None) for day in starts]
    lengths = [1]
    for before, after in pairwise(own):
        lengths.append(lengths[-1] + 1 if closes[before] == closes[after] else 1)
    assert row_of(findings).same_close == max(lengths)
    runs = [length for length, following in pairwise([*lengths, 1]) if following == 1 and length >= RUN]
    stale = findings.stale_prices[findings.stale_prices["symbol"] == "A"]
    assert stale["bars"].tolist() == runs
