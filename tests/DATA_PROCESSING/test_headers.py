from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import DataError
from DATA_PROCESSING.headers import name_columns, read_numbers

YAHOO = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]
STOOQ = ["Date", "Open", "High", "Low", "Close", "Volume"]
STOOQ_ASCII = ["<TICKER>", "<PER>", "<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>", "<OPENINT>"]
NAMES = ["timestamp", "open", "high", "low", "close", "volume"]


def refusal(call) -> str:
    """The message of the `DataError` that a call raises, or nothing."""
    try:
        call()
    except DataError as error:
        return str(error)
    return ""


class TestNames:
    def test_yahoo(self):
        expected = dict(zip(YAHOO, ["timestamp", "open", "high", "low", "close", "adj_close", "volume"], strict=True))
        assert name_columns(YAHOO, "x") == expected

    def test_stooq(self):
        assert list(name_columns(STOOQ, "x").values()) == NAMES
        named = name_columns(STOOQ_ASCII, "x")
        assert list(named.values()) == ["symbol", "timestamp", "time", "open", "high", "low", "close", "volume"]
        assert "<PER>" not in named
        assert "<OPENINT>" not in named

    def test_time_alone_is_the_timestamp(self):
        assert name_columns(["time", *NAMES[1:]], "x")["time"] == "timestamp"

    def test_what_means_nothing_is_left_out(self):
        assert list(name_columns([*NAMES, "Dividends", "Stock Splits", ""], "x")) == NAMES

    def test_a_missing_column_is_named_with_what_is_there(self):
        with pytest.raises(DataError, match=r"^x\.csv: no column close; bars need .*, got 'Date', .*'Volume'$"):
            name_columns([name for name in STOOQ if name != "Close"], "x.csv")

    @pytest.mark.parametrize("other", ["close", "CLOSE", "last"])
    def test_two_columns_of_one_meaning(self, other):
        with pytest.raises(DataError, match=rf"the columns 'close' and {other!r} both mean close"):
            name_columns([*NAMES, other], "x.csv")

    def test_ts_is_a_timestamp(self):
        assert name_columns(["ts", *NAMES[1:]], "x")["ts"] == "timestamp"

    def test_a_missing_volume_is_asked_for_or_made(self):
        prices = NAMES[:-1]
        constant = "; where no volume is known, as of currencies, write a column volume that is 1 in every row"
        asked = "; is it there under another name? columns: {volume: HEADER} in a bars.yaml given with --config says so"
        assert refusal(lambda: name_columns(prices, "x.csv")).endswith(f"'close'{constant}")
        assert refusal(lambda: name_columns([*prices, "Traded"], "x.csv")).endswith(f"'Traded'{asked}{constant}")
        near = refusal(lambda: name_columns([*prices, "tick_volume"], "x.csv"))
        assert near.endswith("columns: {volume: tick_volume} in a bars.yaml given with --config says so")

    def test_a_header_that_the_mapping_gives_to_another_column(self):
        told = refusal(lambda: name_columns(["Date", "open", "high", "low", "volume"], "x.csv", {"close": "open"}))
        assert "no column open; " in told
        assert told.endswith("columns: in bars.yaml says that 'open' is its close already; which header is its open?")
        told = refusal(lambda: name_columns(STOOQ, "x.csv", {"close": "Open"}))
        assert told.endswith("columns: in bars.yaml says that 'Open' is its close already; which header is its open?")

    @pytest.mark.parametrize("mark", [";", "\t", "|"])
    def test_other_separators_are_recognised(self, mark):
        with pytest.raises(DataError, match="its header is parted by"):
            name_columns([mark.join(STOOQ)], "x.csv")

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=40))
    def test_any_header_gives_names_or_one_short_line(self, columns):
        told = refusal(lambda: name_columns(columns, "x.csv"))
        assert told.isprintable()
        assert len(told) < 6000


class TestNumbers:
    @pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "float64", "Int64", "Float64"])
    def test_numbers_of_any_type(self, dtype):
        numbers, is_text = read_numbers(pd.Series([1, 2], dtype=dtype))
        assert numbers.dtype == float
        assert numbers.tolist() == [1.0, 2.0]
        assert not is_text.any()

    @pytest.mark.parametrize(
        ("value", "number"),
        [("1.5", 1.5), (" 1.5 ", 1.5), ("+1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("inf", np.inf),
         ("-Infinity", -np.inf), ("1e999", np.inf), (decimal.Decimal("1.5"), 1.5), (3, 3.0)],
    )  # fmt: skip
    def test_texts_that_are_numbers(self, value, number):
        numbers, is_text = read_numbers(pd.Series([value], dtype=object))
        assert numbers.tolist() == [number]
        assert not is_text.any()

    @pytest.mark.parametrize(
        "value", ["abc", "1,234.5", "1,5", "1_000", "0x10", "$5", "1 000", "--1", "٣", "-", True, b"1.5"]
    )
    def test_what_is_no_number_is_text(self, value):
        numbers, is_text = read_numbers(pd.Series([value], dtype=object))
        assert np.isnan(numbers).all()
        assert is_text.all()

    @pytest.mark.parametrize("value", ["", "  ", "NA", "nan", "null", None, np.nan, pd.NA])
    def test_nothing_is_missing_and_no_text(self, value):
        numbers, is_text = read_numbers(pd.Series(["1", value], dtype=object))
        assert np.isnan(numbers[1])
        assert not is_text.any()

    @pytest.mark.parametrize("values", [[True, False], pd.to_datetime(["2020-01-01"]), pd.to_timedelta([1])])
    def test_columns_that_are_not_of_numbers(self, values):
        _, is_text = read_numbers(pd.Series(values))
        assert is_text.all()

    def test_minus_zero_is_zero(self):
        for values in (pd.Series([-0.0]), pd.Series(["-0.0"])):
            assert not np.signbit(read_numbers(values)[0]).any()

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.floats(allow_nan=False), min_size=1))
    def test_every_float_reads_back_exactly(self, values):
        for column in (pd.Series([repr(value) for value in values]), pd.Series(map(repr, values), dtype="category")):
            numbers, is_text = read_numbers(column)
            assert numbers.tolist() == values
            assert not is_text.any()
