"""Splits are found where they are, and crashes are left alone."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.adjust import RATIOS, find_splits, ratio_text, scale_bars, session_bars, split_factors
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import Panel, build_panel
from DATA_PROCESSING.quality import examine
from DATA_PROCESSING.sources.demo import DemoSource

PRICES = ["open", "high", "low", "close"]
ALL_RATIOS = [*RATIOS, *(1 / ratio for ratio in RATIOS)]


def quiet_days(symbol: str = "A", sessions: int = 120, seed: int = 0) -> pd.DataFrame:
    """Sessions of a symbol that moves about 1 % a day and trades about as much every day."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, sessions)))
    open_ = np.append(100, close[:-1]) * np.exp(random.normal(0, 0.003, sessions))
    swing = np.exp(random.uniform(0.003, 0.006, sessions))
    return pd.DataFrame(
        {
            "symbol": symbol,
            "session": pd.bdate_range("2020-01-01", periods=sessions).to_numpy("datetime64[D]"),
            "open": open_,
            "high": np.maximum(open_, close) * swing,
            "low": np.minimum(open_, close) / swing,
            "close": close,
            "volume": random.uniform(900, 1100, sessions),
        }
    )


def split(days: pd.DataFrame, row: int, ratio: float, shares: bool = True) -> pd.DataFrame:
    """The same sessions with a split before ``row``; without ``shares`` the price moves and volumes do not."""
    factor = np.where(np.arange(len(days)) < row, ratio, 1.0)
    moved = scale_bars(days, factor)
    return moved if shares else moved.assign(volume=days["volume"])


def doubts(days: pd.DataFrame) -> list[str]:
    return find_splits(days)["doubt"].tolist()


# --- what a split is


@pytest.mark.parametrize("ratio", ALL_RATIOS)
def test_a_planted_split_is_found_with_its_ratio(ratio):
    days = split(quiet_days(), 60, ratio)
    (event,) = find_splits(days).itertuples()
    assert (event.symbol, event.ratio, event.doubt) == ("A", ratio, "")
    assert event.session == days["session"][60]
    assert event.move == days["close"][59] / days["open"][60]
    money, width = days["close"] * days["volume"], np.log(days["high"] / days["low"])
    assert event.money == pytest.approx(money[60] / money[40:60].median(), rel=1e-12)
    assert event.range == pytest.approx(width[60] / width[40:60].median(), rel=1e-12)


def test_quiet_sessions_have_no_event_and_nothing_has_none_either():
    assert find_splits(quiet_days()).empty
    nothing = find_splits(quiet_days()[:0])
    assert list(nothing.columns) == ["symbol", "session", "ratio", "move", "money", "range", "doubt"]


@pytest.mark.parametrize(("off", "found"), [(0.028, True), (-0.028, True), (0.034, False), (-0.034, False)])
def test_the_move_must_be_within_three_percent_of_the_ratio(off, found):
    days = quiet_days()
    days.loc[60, "open"] = days.loc[59, "close"]
    days.loc[60, "low"] = min(days.loc[60, "low"], days.loc[60, "open"])
    days.loc[60, "high"] = max(days.loc[60, "high"], days.loc[60, "open"])
    days = split(days, 60, 2 * (1 + off))
    assert len(find_splits(days)) == found


def test_two_splits_of_one_symbol_and_the_same_day_in_two():
    many = [quiet_days(f"Q{k}", seed=k) for k in range(30)]
    days = pd.concat([split(split(quiet_days("A"), 40, 2.0), 80, 3.0), split(quiet_days("B", seed=99), 80, 5.0), *many])
    found = find_splits(days.reset_index(drop=True))
    assert found[["symbol", "ratio", "doubt"]].to_numpy().tolist() == [["A", 2.0, ""], ["A", 3.0, ""], ["B", 5.0, ""]]


# --- what it is not


def test_a_crash_near_a_ratio_trades_too_much():
    days = split(quiet_days(), 60, 2.0, shares=False)
    days.loc[60, "volume"] *= 20
    (event,) = find_splits(days).itertuples()
    assert event.doubt == f"{event.money:.1f} times the usual money is traded"
    assert 9 < event.money < 11


def test_a_leap_of_a_takeover_is_no_reverse_split():
    days = split(quiet_days(), 60, 2 / 3, shares=False)
    days.loc[60, "volume"] *= 10
    assert "times the usual money" in doubts(days)[0]


def test_a_wide_session_is_no_split():
    days = split(quiet_days(), 60, 2.0)
    days.loc[60, "low"] *= 0.85
    assert "times the usual range" in doubts(days)[0]


def test_a_price_that_comes_back_is_no_split():
    days = quiet_days()
    days.loc[60:61, PRICES] /= 2
    days.loc[60:61, "volume"] *= 2
    assert doubts(days) == ["the price does not stay there"] * 2


def test_a_move_of_the_whole_panel_is_no_split():
    days = [split(quiet_days(symbol, seed=seed), 60, 2.0) for seed, symbol in enumerate("ABC")]
    assert doubts(pd.concat(days, ignore_index=True)) == ["2 more symbols move along"] * 3
    other_day = [split(quiet_days(symbol, seed=seed), 60 + seed, 2.0) for seed, symbol in enumerate("ABC")]
    assert doubts(pd.concat(other_day, ignore_index=True)) == [""] * 3


def test_without_volume_there_is_no_telling():
    days = split(quiet_days(), 60, 2.0).assign(volume=0.0)
    assert doubts(days) == ["there is no volume to judge it by"]


def test_the_first_sessions_and_those_after_a_long_pause_say_nothing():
    assert doubts(split(quiet_days(), 4, 2.0)) == ["only 4 sessions lie before it"]
    assert doubts(split(quiet_days(), 5, 2.0)) == [""]
    paused = split(quiet_days(), 60, 2.0).drop(index=range(50, 60)).reset_index(drop=True)
    assert doubts(paused) == ["no bar in the 15 days before it"]


def test_a_split_in_the_last_session_is_found():
    assert doubts(split(quiet_days(), 119, 2.0)) == [""]


def test_a_symbol_that_doubles_and_halves_all_the_time_has_no_events():
    days = quiet_days()
    ticks = np.where(np.random.default_rng(0).random(len(days)) < 0.5, 1.0, 2.0)
    assert find_splits(scale_bars(days, ticks)).empty


def test_numbers_too_extreme_to_be_scaled_are_left_alone():
    days = split(quiet_days(), 60, 2.0)
    days.loc[3, "volume"] = 1e307
    assert doubts(days) == ["prices or volumes are too extreme to be scaled"]


# --- the demo, whose adjusted close tells the truth

TRUTH = [("AAPL", "2000-06-21", "2:1"), ("AAPL", "2005-02-28", "2:1"), ("MSFT", "2003-02-18", "2:1")]


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return DemoSource().read()[0]


def panel_of(table: pd.DataFrame, adjust: str) -> Panel:
    return build_panel("demo", table, {}, load_run_config("bars", {"adjust": adjust}))


def told(splits: pd.DataFrame) -> list[tuple]:
    return [(row.symbol, f"{row.session:%Y-%m-%d}", ratio_text(row.ratio)) for row in splits.itertuples()]


def test_the_three_splits_of_the_demo_are_found_and_nothing_else(raw, caplog):
    with caplog.at_level(logging.WARNING, "barzoo"):
        panel = panel_of(raw.drop(columns="adj_close"), "infer")
    assert told(panel.splits) == TRUTH
    assert panel.splits["doubt"].eq("").all()
    assert panel.splits["adjusted"].all()
    assert not caplog.records
    by_symbol = panel.quality.set_index("symbol")
    assert by_symbol["adjusted"].to_dict() == {"AAPL": True, "FB": False, "GOOG": False, "IBM": False, "MSFT": True}
    assert by_symbol.loc["AAPL", "splits"] == "2:1 on 2000-06-21; 2:1 on 2005-02-28"
    dividends_only = panel_of(raw, "adj_close")
    for symbol, bars in panel.bars.items():  # what remains between the two adjustments are dividends: slow and small
        factor = bars["close"] / dividends_only.bars[symbol]["close"]
        assert np.abs(np.diff(np.log(factor))).max() < 0.12  # Microsoft's 3 dollars of 2004 are the largest


def test_splits_are_told_where_they_are_not_adjusted_for(raw, caplog):
    with caplog.at_level(logging.WARNING, "barzoo"):
        panel = panel_of(raw, "none")
    assert told(panel.splits) == TRUTH
    assert not panel.splits["adjusted"].any()
    assert not panel.quality["adjusted"].any()
    (record,) = caplog.records
    assert (
        "'AAPL 2:1 on 2000-06-21', 'AAPL 2:1 on 2005-02-28', 'MSFT 2:1 on 2003-02-18'; adjust: infer" in record.message
    )
    assert panel.only(["MSFT"]).splits["symbol"].tolist() == ["MSFT"]


def test_an_adjusted_close_goes_before_inference(raw, caplog):
    with caplog.at_level(logging.WARNING, "barzoo"):
        by_close, inferred = (panel_of(raw, adjust) for adjust in ("adj_close", "infer"))
    assert inferred.splits.empty
    assert not caplog.records
    for symbol, bars in by_close.bars.items():
        pd.testing.assert_frame_equal(inferred.bars[symbol], bars)


def test_the_crash_of_september_2000_is_none_even_where_it_is_near_a_ratio(raw):
    panel = panel_of(raw[raw["symbol"] == "AAPL"].drop(columns="adj_close"), "none")
    bars = panel.bars["AAPL"]
    row = int(np.flatnonzero(bars["timestamp"] == pd.Timestamp("2000-09-29", tz="UTC"))[0])
    halved = bars["close"][row - 1] / 2
    bars = scale_bars(bars, np.where(np.arange(len(bars)) < row, 1.0, halved / bars["open"][row]))
    days = session_bars(bars, np.full(len(bars), "AAPL", object), bars["session"].to_numpy("datetime64[D]"))
    events = find_splits(days).set_index("session")
    assert events.loc["2000-09-29", "move"] == pytest.approx(2)
    assert "times the usual money is traded" in events.loc["2000-09-29", "doubt"]
    assert (events["doubt"] == "").sum() == 2


# --- bars within sessions, streams, and the way back


def intraday(days: pd.DataFrame, per_session: int = 4) -> tuple[pd.DataFrame, np.ndarray]:
    """Bars within each session: its open, high, low and close in the first, and nothing moves afterwards."""
    bars = days.loc[days.index.repeat(per_session)].reset_index(drop=True)
    later = np.arange(len(bars)) % per_session > 0
    bars.loc[later, ["open", "high", "low"]] = bars.loc[later, ["close", "close", "close"]].to_numpy()
    return bars.assign(volume=bars["volume"] / per_session), bars["session"].to_numpy("datetime64[D]")


def test_sessions_of_intraday_bars():
    days = pd.concat([quiet_days("A"), quiet_days("B", seed=1)], ignore_index=True)
    bars, sessions = intraday(days)
    made = session_bars(bars, bars["symbol"].to_numpy(), sessions)
    pd.testing.assert_frame_equal(made, days, check_dtype=False, rtol=1e-15)


def test_an_intraday_split_lies_before_the_first_bar_of_its_session():
    bars, sessions = intraday(split(quiet_days(), 60, 3.0))
    (event,) = find_splits(session_bars(bars, bars["symbol"].to_numpy(), sessions)).itertuples()
    assert (event.ratio, event.doubt) == (3.0, "")
    factor = split_factors(sessions, find_splits(session_bars(bars, bars["symbol"].to_numpy(), sessions)))
    assert np.flatnonzero(np.diff(factor)).tolist() == [60 * 4 - 1]
    assert sorted(set(factor)) == [1 / 3, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 480), max_size=6))
def test_summaries_of_parts_are_those_of_the_whole(cuts):
    bars, sessions = intraday(quiet_days())
    edges = [0, *sorted(cuts), len(bars)]
    parts = [session_bars(bars[a:b], np.zeros(b - a), sessions[a:b]) for a, b in pairwise(edges)]
    parts = pd.concat(parts, ignore_index=True)
    joined = session_bars(parts, parts["symbol"].to_numpy(), parts["session"].to_numpy("datetime64[D]"))
    whole = session_bars(bars, np.zeros(len(bars)), sessions)
    pd.testing.assert_frame_equal(joined, whole, rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(25, 190), st.sampled_from(ALL_RATIOS)), max_size=3),
    st.integers(0, 5),
    st.integers(1, 3),
)
def test_inferring_and_adjusting_gives_the_original_back(planted, seed, per_session):
    rows = [row for row, _ in planted]
    original, sessions = intraday(quiet_days(sessions=200, seed=seed), per_session)
    if any(abs(a - b) <= 5 for i, a in enumerate(rows) for b in rows[:i]):  # closer together neither price lasts
        return
    bars = original
    for row, ratio in planted:
        bars = split(bars, row * per_session, ratio)
    splits = find_splits(session_bars(bars, bars["symbol"].to_numpy(), sessions))
    assert splits[["ratio", "doubt"]].to_numpy().tolist() == [[ratio, ""] for _, ratio in sorted(planted)]
    adjusted = scale_bars(bars, split_factors(sessions, splits))
    pd.testing.assert_frame_equal(adjusted, original, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 30.0, 300.0]), st.sampled_from(ALL_RATIOS))
def test_whatever_the_size_of_the_numbers_bars_stay_valid(seed, decades, ratio):
    random = np.random.default_rng(seed)
    days = quiet_days(sessions=60, seed=seed)
    days[PRICES] *= 10.0 ** random.uniform(-decades, decades)
    days["volume"] *= 10.0 ** np.where(random.random(60) < 0.05, random.uniform(0, decades), 0)
    days = split(split(days, 20, ratio), 40, ratio)
    table = days.rename(columns={"session": "timestamp"}).assign(timestamp=lambda frame: frame["timestamp"].astype(str))
    panel = build_panel("x", read_table(table, "x", ""), {}, load_run_config("bars", {"adjust": "infer"}))
    examine(panel)
    values = panel.bars["A"][[*PRICES, "volume"]].to_numpy()
    assert np.isfinite(values).all()
    assert (values[:, :4] > 0).all()


def test_ratios_as_they_are_spoken_of():
    assert [ratio_text(ratio) for ratio in (2.0, 1.5, 1 / 1.5, 0.1, 7.0)] == ["2:1", "3:2", "2:3", "1:10", "7:1"]
