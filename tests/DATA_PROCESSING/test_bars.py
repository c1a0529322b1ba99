from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import Panel, build_panel

NOW = pd.Timestamp("2020-06-01", tz="UTC")
SETTINGS = load_run_config("bars")
VALUES = ["open", "high", "low", "close", "volume"]
COLUMNS = ["symbol", "timestamp", *VALUES]


def panel_of(raw: pd.DataFrame, problems: dict[str, str] | None = None, **settings) -> Panel:
    return build_panel("source", read_table(raw, "a.csv", ""), problems or {}, SETTINGS | settings, NOW)


def good(symbol: str = "A", days: int = 4, start: str = "2020-01-06") -> pd.DataFrame:
    """Valid bars as a source has them, dates as texts."""
    dates = pd.bdate_range(start, periods=days).strftime("%Y-%m-%d")
    close = 10.0 + np.arange(days)
    return pd.DataFrame(
        {"symbol": symbol, "timestamp": dates, "open": close - 0.5, "high": close + 1, "low": close - 1, "close": close,
         "volume": 100.0}
    )  # fmt: skip


def with_value(column: str, value: object, row: int = 1) -> pd.DataFrame:
    table = good().astype({column: object})
    table.loc[row, column] = value
    return table


# --- each rule by itself


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", np.nan, "missing value"),
        ("volume", None, "missing value"),
        ("open", "abc", "text in open"),
        ("close", "1,234.5", "text in close"),
        ("volume", True, "text in volume"),
        ("high", np.inf, "infinite value"),
        ("volume", np.inf, "infinite value"),
        ("low", 0.0, "price not above zero"),
        ("low", -1.0, "price not above zero"),
        ("close", -np.inf, "infinite value"),
        ("volume", -1.0, "volume below zero"),
        ("high", 1.0, "high below low"),
        ("high", 10.9, "high below open or close"),
        ("low", 10.6, "low above open or close"),
        ("timestamp", "2020-06-02", "timestamp in the future"),
        ("timestamp", "rubbish", "unreadable timestamp"),
        ("timestamp", "", "unreadable timestamp"),
        ("symbol", "", "symbol is empty"),
        ("symbol", None, "symbol is empty"),
        ("symbol", "x" * 300, "symbol is too long for a file name"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(column, value, reason):
    panel = panel_of(with_value(column, value))
    assert panel.bad_rows["reason"].tolist() == [reason]
    assert panel.bad_rows[["file", "row"]].to_numpy().tolist() == [["a.csv", 1]]
    assert len(panel.bars["A"]) == 3
    bad = panel.quality.set_index("symbol").query("bad_rows > 0").iloc[0]
    assert bad["reasons"] == f"1 {reason}"


@pytest.mark.parametrize("timestamp", ["2020-06-01", "1700-01-01"])
def test_the_present_and_the_far_past_are_valid(timestamp):
    assert panel_of(with_value("timestamp", timestamp, row=3)).bad_rows.empty


def test_a_bar_without_range_or_volume_is_valid():
    flat = good().assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=0.0)
    assert panel_of(flat).bad_rows.empty


def test_identical_duplicates_are_dropped_and_conflicting_ones_are_bad():
    table = pd.concat([good(), good().iloc[[1, 1]], good().iloc[[2]].assign(volume=101.0)])
    panel = panel_of(table)
    assert panel.bars["A"]["close"].tolist() == [10.0, 11.0, 13.0]
    assert panel.bad_rows[["row", "reason"]].to_numpy().tolist() == [
        [2, "conflicting rows for one timestamp"],
        [6, "conflicting rows for one timestamp"],
    ]
    assert panel.quality.loc[0, ["rows", "bad_rows", "duplicates"]].tolist() == [3, 2, 2]


def test_a_valid_row_outlives_a_bad_one_of_its_timestamp():
    panel = panel_of(pd.concat([good(), good().iloc[[1]].assign(close=np.nan)]))
    assert panel.bars["A"]["close"].tolist() == [10.0, 11.0, 12.0, 13.0]


def test_newest_first_is_sorted_with_one_warning(caplog):
    tables = [good(f"S{number:02}")[::-1] for number in range(20)]
    with caplog.at_level(logging.WARNING, "barzoo"):
        panel = panel_of(pd.concat([*tables, good("T")]))
    (record,) = caplog.records
    assert "'S11' and 8 more are not in time order; sorted" in record.message
    assert panel.bars["S00"]["close"].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert panel.quality["unsorted"].tolist() == [True] * 20 + [False]


def test_a_table_in_order_is_not_called_unsorted(caplog):
    table = pd.concat([good("B"), good("A")])  # the order of symbols does not matter
    with caplog.at_level(logging.WARNING, "barzoo"):
        panel = panel_of(table.sort_values("timestamp", kind="stable"))
    assert not caplog.records
    assert not panel.quality["unsorted"].any()


def test_symbols_that_differ_by_case_alone_are_one_too_many():
    panel = panel_of(pd.concat([good("aapl"), good("AAPL")]))
    assert list(panel.bars) == ["AAPL"]
    assert panel.quality["problem"].tolist() == ["", "no valid bar: 4 symbol differs from 'AAPL' only by case"]


def test_symbols_are_text_without_the_spaces_around_them():
    panel = panel_of(pd.concat([good(symbol) for symbol in (" NO ", "NA", "a\nb")]))
    assert list(panel.bars) == ["NA", "NO", "a\\nb"]
    assert list(panel_of(good().assign(symbol=600000)).bars) == ["600000"]


# --- adj_close


def test_adj_close_adjusts_and_none_ignores_it():
    table = good().assign(adj_close=[5.0, 5.5, 12.0, 13.0])
    adjusted, plain = panel_of(table), panel_of(table, adjust="none")
    assert adjusted.bars["A"]["close"].tolist() == [5.0, 5.5, 12.0, 13.0]
    assert adjusted.bars["A"]["volume"].tolist() == [200.0, 200.0, 100.0, 100.0]
    assert plain.bars["A"]["close"].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert adjusted.quality["adjusted"].tolist() == [True]
    assert plain.quality["adjusted"].tolist() == [False]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "missing adj_close"), (0.0, "adj_close not above zero"), (-1.0, "adj_close not above zero"),
     (np.inf, "infinite value"), ("x", "text in adj_close"), (1e-323, "adj_close out of proportion")],
)  # fmt: skip
def test_a_bad_adj_close_counts_only_where_it_is_used(value, reason):
    table = good().assign(adj_close=pd.Series([5.0, value, 6.0, 6.5], dtype=object))
    assert panel_of(table).bad_rows["reason"].tolist() == [reason]
    assert panel_of(table, adjust="none").bad_rows.empty


def test_a_symbol_without_any_adj_close_is_left_as_it_is():
    table = pd.concat([good("A").assign(adj_close=5.0), good("B").assign(adj_close=np.nan)])
    panel = panel_of(table)
    assert panel.bad_rows.empty
    assert panel.bars["B"]["close"].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert panel.quality["adjusted"].tolist() == [True, False]


# --- the panel


def test_problems_are_rows_beside_the_good_symbols():
    panel = panel_of(pd.concat([good("A"), good("C").assign(close=np.nan)]), {"B": "B.csv: cannot be read"})
    quality = panel.quality.set_index("symbol")
    assert list(quality.index) == ["A", "B", "C"]
    assert quality["problem"].tolist() == ["", "B.csv: cannot be read", "no valid bar: 4 missing value"]
    assert quality["rows"].tolist() == [4, 0, 0]
    assert quality["first"].isna().tolist() == [False, True, True]


def test_no_valid_bar_in_any_symbol():
    with pytest.raises(DataError, match="no usable bar in 1 symbols, the first 'A': no valid bar: 4 missing value"):
        panel_of(good().assign(close=np.nan))


def test_on_bad_fail_names_the_first_bad_row():
    table = pd.concat([good("B").assign(open=-1.0), with_value("close", "abc")])
    with pytest.raises(DataError, match=r"5 bad rows, the first A at 2020-01-07 .*\(row 6 of a.csv\): text in close;"):
        panel_of(table, on_bad="fail")
    with pytest.raises(DataError, match="1 files cannot be used, the first: B.csv: cannot be read"):
        panel_of(good(), {"B": "B.csv: cannot be read"}, on_bad="fail")
    assert len(panel_of(good(), on_bad="fail").bars) == 1


@pytest.mark.parametrize(("days", "stale"), [(15, False), (14, True)])
def test_a_symbol_is_stale_beyond_that_many_sessions(days, stale):
    panel = panel_of(pd.concat([good("A", days), good("B", 20)]))
    assert panel.quality["stale"].tolist() == [stale, False]


def test_sessions_are_those_of_all_symbols():
    panel = panel_of(pd.concat([good("A", 2), good("B", 3, "2020-02-03")]))
    days = ["2020-01-06", "2020-01-07", "2020-02-03", "2020-02-04", "2020-02-05"]
    assert list(panel.sessions) == list(np.array(days, "datetime64[D]"))


def test_a_table_of_several_symbols_needs_a_symbol_column():
    with pytest.raises(DataError, match="no symbol column"):
        read_table(good().drop(columns="symbol"), "a.csv", "")


def test_a_header_without_rows():
    with pytest.raises(DataError, match=r"^a\.csv: no rows; expected bars below the header$"):
        read_table(good()[:0], "a.csv", "")


# --- properties, against a slow loop

number = st.sampled_from([1.0, 2.0, 3.0, 3.0, 4.0, 0.0, -1.0, math.nan, math.inf])
a_row = st.tuples(
    st.sampled_from(["A", "B"]), st.sampled_from(["2020-01-06", "2020-01-07", "2020-01-08", "2021-01-01", "?"]),
    st.sampled_from([2.0, 3.0, math.nan]), st.sampled_from([4.0, 4.0, 1.0]), st.sampled_from([1.0, 1.0, 3.5]), number,
    st.sampled_from([0.0, 5.0, -1.0]),
)  # fmt: skip
some_rows = st.lists(a_row, min_size=1, max_size=25)


def is_valid(row: tuple) -> bool:
    _, stamp, open_, high, low, close, volume = row
    return (
        stamp.startswith("2020")
        and all(math.isfinite(value) for value in row[2:])
        and min(open_, high, low, close) > 0
        and low <= min(open_, close)
        and high >= max(open_, close)
        and volume >= 0
    )


def slow_panel(rows: list[tuple]) -> tuple[dict, int, int]:
    """Bars per symbol by the definition, the number of bad rows, and the number of repeats."""
    found = defaultdict(Counter)
    for row in rows:
        if is_valid(row):
            found[row[:2]][row[2:]] += 1
    bars, repeats, conflicts = defaultdict(dict), 0, 0
    for (symbol, stamp), values in found.items():
        repeats += values.total() - len(values)
        if len(values) == 1:
            bars[symbol][stamp] = next(iter(values))
        else:
            conflicts += len(values)
    return bars, sum(not is_valid(row) for row in rows) + conflicts, repeats


def build(rows: list[tuple]) -> Panel | None:
    """The panel of some rows, None where they hold no valid bar."""
    if not any(row[1].startswith("20") for row in rows) or not slow_panel(rows)[0]:
        return None
    return panel_of(pd.DataFrame(rows, columns=COLUMNS))


@settings(max_examples=120, deadline=None)
@given(some_rows)
def test_bars_are_those_of_a_slow_loop_and_no_row_is_lost(rows):
    panel = build(rows)
    if panel is None:
        return
    bars, bad, repeats = slow_panel(rows)
    assert set(panel.bars) == set(bars)
    for symbol, expected in bars.items():
        frame = panel.bars[symbol]
        assert [str(stamp.date()) for stamp in frame["timestamp"]] == sorted(expected)
        assert [tuple(values) for values in frame[VALUES].to_numpy()] == [expected[stamp] for stamp in sorted(expected)]
    assert len(panel.bad_rows) == panel.quality["bad_rows"].sum() == bad
    assert panel.quality["duplicates"].sum() == repeats
    assert panel.quality[["rows", "bad_rows", "duplicates"]].to_numpy().sum() == len(rows)
    assert (panel.bad_rows["reason"] != "").all()


@settings(max_examples=60, deadline=None)
@given(some_rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    one, other = build(rows), build(shuffled)
    if one is None:
        return
    assert list(one.bars) == list(other.bars)
    for symbol, frame in one.bars.items():
        pd.testing.assert_frame_equal(frame, other.bars[symbol])
        assert frame.equals(other.bars[symbol])
    columns = ["symbol", "rows", "first", "last", "bad_rows", "reasons", "duplicates", "stale", "problem"]
    pd.testing.assert_frame_equal(one.quality[columns], other.quality[columns])
