from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.symbols import LONGEST_STEM, file_stem, printable, symbol_faults, symbol_of

FOLDER = Path("/data/labeled")
ANY_TEXT = st.text(max_size=40)
NASTY = (
    "NO",
    "BRK/B",
    "../x",
    "..",
    ".",
    "CON",
    "con.x",
    "Lpt9",
    "a b",
    "ÄÖ",
    "🚀",
    "%41",
    "~",
    "a\\b",
    "a:b",
    "a\nb",
    "x\0y",
)


@pytest.mark.parametrize(
    ("symbol", "stem"),
    [("AAPL", "AAPL"), ("NO", "NO"), ("BRK.B", "BRK.B"), ("BRK/B", "BRK%2FB"), ("../x", "%2E.%2Fx"), ("CON", "%43ON")],
)
def test_stems_are_these(symbol, stem):
    assert file_stem(symbol) == stem


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
@example("%2F")
@example("A.")
@example("..")
def test_any_text_comes_back_and_stays_in_its_folder(symbol):
    stem = file_stem(symbol)
    assert symbol_of(stem) == symbol
    assert re.fullmatch(r"[A-Za-z0-9_~%.-]*", stem)
    assert not stem.endswith(".")  # Windows drops the dot of a folder
    path = FOLDER / f"{stem}.parquet"
    assert path.resolve().parent == FOLDER.resolve()
    assert path.stem == stem or symbol == ""


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_TEXT, unique=True, max_size=10))
@example(list(NASTY))
def test_different_symbols_have_different_stems(symbols):
    assert len({file_stem(symbol) for symbol in symbols}) == len(symbols)


@pytest.mark.parametrize("symbol", ["CON", "nul", "com1", "LPT9.x", "aux."])
def test_no_stem_is_a_device_of_windows(symbol):
    base = file_stem(symbol).split(".")[0].upper()
    assert base not in {"CON", "NUL", "COM1", "LPT9", "AUX"}
    assert symbol_of(file_stem(symbol)) == symbol


@pytest.mark.parametrize("stem", ["my file", "CON", "%41", "100%", "%ff", "A%2fB", ".hidden", "caf\udce9"])
def test_a_name_that_was_not_encoded_is_its_own_symbol(stem):
    assert symbol_of(stem) == stem


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=20))
@example("a\nb\x1b[31m")
@example("caf\udce9")
def test_printable_text_prints_on_one_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert not text.isprintable() or shown == text


def test_faults_name_what_cannot_be_a_symbol():
    symbols = ["AAPL", "", "aapl", "x" * LONGEST_STEM, "x" * (LONGEST_STEM + 1), "🚀" * 17, *NASTY]
    faults = dict(zip(symbols, symbol_faults(symbols), strict=True))
    assert faults[""] == "symbol is empty"
    assert faults["aapl"] == "symbol differs from 'AAPL' only by case"
    assert faults["x" * (LONGEST_STEM + 1)] == faults["🚀" * 17] == "symbol is too long for a file name"
    assert [symbol for symbol in symbols if not faults[symbol]] == ["AAPL", "x" * LONGEST_STEM, *NASTY]


def test_letters_that_are_escaped_may_differ_by_case_alone():
    assert symbol_faults(["é", "É"]) == ["", ""]
