from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from CONFIG.schema import Interval, Rule

NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-50, 50))


@given(st.booleans(), NUMBERS, NUMBERS, st.booleans(), st.lists(NUMBERS), st.sampled_from(["", " "]))
@settings(max_examples=300, deadline=None)
def test_an_interval_holds_what_its_brackets_say(low_closed, low, high, high_closed, numbers, space):
    text = f"{'[' if low_closed else '('}{space}{low},{space}{high}{']' if high_closed else ')'}"
    if low > high or (low == high and not (low_closed and high_closed)):
        with pytest.raises(ConfigError, match="no number is within"):
            Interval.parse(text)
        return
    interval = Interval.parse(text)
    for number in (*numbers, low, high, math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        inside = low < number < high or (number == low and low_closed) or (number == high and high_closed)
        assert (number in interval) == inside, (text, number)


def test_an_interval_without_ends_holds_every_number():
    for number in (-1e308, 0, 1e308):
        assert number in Interval.parse("(-inf, inf)")
    assert 1e308 in Interval.parse("[2, inf)")
    assert 1 not in Interval.parse("[2, inf)")


MALFORMED = ["", "0, 1", "[0, 1", "0, 1]", "[0; 1]", "[0]", "[0, 1, 2]", "[0, 1]]", "[a, 1]", "[1_0, 20]", "[0x1, 2]"]
NOT_NUMBERS = ["[nan, 1]", "[0, nan)", "[٣, 4]", "[inf, 1]", "(0, -inf)", "[0, inf]", "[-inf, 0]"]
EMPTY = ["[2, 1]", "(1, 1]", "[1, 1)", "(1, 1)"]


@pytest.mark.parametrize("text", MALFORMED + NOT_NUMBERS + EMPTY)
def test_a_malformed_or_empty_interval_is_refused(text):
    with pytest.raises(ConfigError):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("default", "value", "fitted"),
    [
        (1, 2, 2),
        (1, np.int64(2), 2),
        (1.0, 2, 2.0),
        (1.0, np.float32(0.5), 0.5),
        (1.0, np.int32(2), 2.0),
        (True, False, False),
        ("a", "b", "b"),
        ("a", np.str_("b"), "b"),
        ([1], (2, np.int64(3)), [2, 3]),
        ([1.0], [2], [2.0]),
        ([1.0], 2, [2.0]),
        (["a"], [], []),
        ([], ["a"], ["a"]),
        ({}, {"close": "last"}, {"close": "last"}),
        ({"a": 1}, {}, {}),
    ],
)
def test_a_value_that_fits_becomes_plain_python(default, value, fitted):
    result = Rule.of(default).fit(value)
    assert result == fitted
    assert type(result) is type(fitted)
    if isinstance(result, list):
        assert [type(item) for item in result] == [type(item) for item in fitted]


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (1, True, "expected an integer, got True"),
        (1, 1.0, "expected an integer, got 1.0"),
        (1, "1", "expected an integer, got '1'"),
        (1, None, "expected an integer, got None"),
        (1, {"a": 1}, "expected an integer, got {'a': 1}"),
        (1.0, True, "expected a finite number, got True"),
        (1.0, "1", "expected a finite number, got '1'"),
        (1.0, math.nan, "expected a finite number, got nan"),
        (1.0, math.inf, "expected a finite number, got inf"),
        (1.0, 10**400, "expected a finite number, got 1000"),
        (1.0, 1j, "expected a finite number, got 1j"),
        (True, 1, "expected true or false, got 1"),
        (True, "true", "expected true or false, got 'true'"),
        ("a", 1, "expected text, got 1"),
        ("a", None, "expected text, got None"),
        ([1], "1", "expected a list, got '1'"),
        ([1], True, "expected an integer, got True"),
        ([1.0], 1j, "expected a list, got 1j"),
        (["a"], "abc", "expected a list, got 'abc'"),
        ([1], [1, "x"], "expected an integer, got 'x'"),
        ([1], [[1]], r"expected an integer, got \[1\]"),
        ([1], [], r"expected at least one number, got \[\]"),
        ([1.0], (), r"expected at least one number, got \[\]"),
        (1, [1], r"expected an integer, got \[1\]"),
        ({}, "a", "expected keys and values, got 'a'"),
        ({}, {"a": 1}, "expected text, got 1"),
    ],
)
def test_a_value_of_another_type_is_refused(default, value, expected):
    with pytest.raises(ConfigError, match=f"^{expected}"):
        Rule.of(default).fit(value)


@pytest.mark.parametrize("default", [None, {"a": None}, [None], [[1]]])
def test_a_default_without_a_type_is_refused(default):
    with pytest.raises(ConfigError, match="a default is true, false, a number"):
        Rule.of(default)


@pytest.mark.parametrize(
    ("default", "limit", "good", "bad", "message"),
    [
        (1, "[1, 3)", 1, 3, r"must be within \[1, 3\), got 3"),
        (0.5, "(0, 1]", 1, 0, r"must be within \(0, 1\], got 0\.0"),
        ([1], "[1, 3)", [1, 2], [1, 3], r"must be within \[1, 3\), got 3"),
        (1, [1, 3], 3, 2, "2 is not a choice; choose from 1, 3"),
        (0.5, [1, 3], 3, 2, r"2\.0 is not a choice"),
        ("aa", ["aa", "bbbb"], "bbbb", "bbb", "'bbb' is not a choice; did you mean 'bbbb'?"),
        (["aa"], ["aa", "bbbb"], ["bbbb"], ["aa", "z"], "'z' is not a choice; choose from aa, bbbb"),
        (True, [True], True, False, "False is not a choice"),
        (5, "[1, 9] or span", 9, 10, r"must be within \[1, 9\], got 10"),
        (5, "[1, 9] or span", "30m", "30s", "expected an integer or a span such as 30m, 4h or 5d, got '30s'"),
        ([], "[1, 9] or span", [2, "5d"], ["0d"], "expected an integer or a span such as 30m"),
    ],
)
def test_a_limit_is_an_interval_or_choices(default, limit, good, bad, message):
    rule = Rule.of(default).limited(limit)
    assert rule.fit(good) == good
    with pytest.raises(ConfigError, match=f"^{message}"):
        rule.fit(bad)


@pytest.mark.parametrize(
    ("default", "limit", "message"),
    [
        (1, "[3, 1]", "no number is within"),
        (1, "positive", "expected an interval such as"),
        (1, 5, "expected an interval in quotes or a list of choices, got 5"),
        (1, [], "expected an interval in quotes or a list of choices"),
        (1, [2, "inf"], "expected an integer, got 'inf'"),
        ("a", "[0, 1]", "expected a list of choices"),
        ("a", [1], "expected text, got 1"),
        (True, "[0, 1]", "expected a list of choices"),
        (1, None, "expected an interval in quotes or a list of choices, got None"),
    ],
)
def test_a_limit_that_does_not_suit_its_default_is_refused(default, limit, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        Rule.of(default).limited(limit)
