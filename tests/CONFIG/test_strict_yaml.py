from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from CONFIG.strict_yaml import MAX_BYTES, MAX_LEVELS, parse_yaml, read_yaml


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-2.5e+1", -25.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("''", ""),
        ("[1, 1.0, NO]", [1, 1.0, "NO"]),
        ("{b: {c: []}}", {"b": {"c": []}}),
    ],
)
def test_a_value_is_read_as_its_type(written, value):
    data, _ = parse_yaml(f"a: {written}", "text")
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


NOT_NUMBERS = ["010", "0x1F", "0b1", "1:30", "1_000", ".nan", ".inf", "nan", "1.2.3", "+", ".", "9" * 19]
NOT_TYPED = ["NO", "no", "ON", "on", "yes", "y", "True", "FALSE", "Null", "2020-01-01", "2020-01-01 10:00:00"]
SYMBOLS = ["BRK/B", "../x", "CON", "<<", "="]


@pytest.mark.parametrize("written", NOT_NUMBERS + NOT_TYPED + SYMBOLS)
def test_what_looks_like_another_type_stays_text(written):
    assert parse_yaml(f"a: {written}", "text")[0] == {"a": written}
    assert parse_yaml(f"a: [{written}, x]", "text")[0] == {"a": [written, "x"]}


def test_lines_are_those_of_keys_and_list_items():
    _, lines = parse_yaml("# comment\na: 1\nb:\n  c: >\n    long\n    text\n  d:\n    - 1\n    - 2\n", "text")
    assert lines == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "d"): 7,
        ("b", "d", 0): 8,
        ("b", "d", 1): 9,
    }


REFUSED = {
    "python tag": ("a: 1\nb: !!python/object/apply:os.system [ls]\n", ":2: tag !!python/object/apply:os.system"),
    "plain tag": ("a: !!int 1\n", ":1: tag !!int"),
    "local tag": ("a: !mine 1\n", ":1: tag !mine"),
    "non-specific tag": ("a: ! 1\n", ":1: tag !"),
    "anchor": ("a: 1\nb: &x 1\n", ":2: anchor &x"),
    "anchored mapping": ("a: &x {b: 1}\n", ":1: anchor &x"),
    "alias": ("a: 1\nb: *x\n", ":2: alias *x"),
    "alias as key": ("*x : 1\n", ":1: alias *x"),
    "duplicate key": ("a:\n  b: 1\n  c: 2\n  b: 3\n", ":4: duplicate key 'b', first on line 2"),
    "duplicate quoted key": ("a: 1\n'a': 2\n", ":2: duplicate key 'a', first on line 1"),
    "two documents": ("a: 1\n---\nb: 2\n", ":2: "),
    "list on top": ("\n- 1\n", ":2: expected a mapping of keys to values on top"),
    "scalar on top": ("5\n", ":1: expected a mapping of keys to values on top"),
    "number as key": ("1: a\n", ":1: a key must be text"),
    "boolean as key": ("a: {true: 1}\n", ":1: a key must be text"),
    "list as key": ("? [a]\n: 1\n", ":1: a key must be text"),
    "NUL": ("a: 1\nb: \0\n", ":2: character U+0000"),
    "not UTF-8": (b"a: 1\nb: \xff\n", ":2: byte 0xff is not UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), ":1: byte 0xff is not UTF-8"),
    "syntax": ("a: 1\nb: [1\n", ":3: while parsing a flow sequence"),
    "tab": ("a:\n\tb: 1\n", ":2: "),
    "lone surrogate": ('a: "\\ud800"\n', ":1: not a character or number"),
    "escape out of range": ('a: "\\UFFFFFFFF"\n', ":1: not a character or number"),
    "escape above Unicode": ('a: "\\U00110000"\n', ":1: not a character or number"),
    "version with 5,000 digits": (f"%YAML {'9' * 5000}.1\n---\na: 1\n", ":1: not a character or number"),
    "3,000 flow lists": ("a: " + "[" * 3000, f":1: nested more than {MAX_LEVELS} levels"),
    "3,000 closed flow lists": ("a: " + "[" * 3000 + "]" * 3000, f":1: nested more than {MAX_LEVELS} levels"),
    "3,000 flow mappings": ("{a: " * 3000 + "}" * 3000, f":1: nested more than {MAX_LEVELS} levels"),
    "3,000 block lists": ("a:\n  " + "- " * 3000 + "1\n", f":2: nested more than {MAX_LEVELS} levels"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_one_line_with_file_and_line(write, content, message):
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    text = str(caught.value)
    assert text.startswith(f"{path}{message}")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 250


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "---\n...\n"])
def test_an_empty_file_is_refused(write, content):
    path = write(content)
    with pytest.raises(ConfigError, match=r"(empty; )?expected a mapping") as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}:")


def test_a_merge_key_is_an_ordinary_key():
    assert parse_yaml("a:\n  <<: {b: 1}\n", "text")[0] == {"a": {"<<": {"b": 1}}}


def test_the_size_is_capped_at_256_kib(write):
    head = "a: 1\n#"
    assert read_yaml(write(head + "x" * (MAX_BYTES - len(head))))[0] == {"a": 1}
    path = write(head + "x" * (MAX_BYTES - len(head) + 1))
    with pytest.raises(ConfigError, match="larger than 256 KiB") as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_megabyte_is_refused_before_it_is_parsed(write, monkeypatch):
    monkeypatch.setattr("CONFIG.strict_yaml.parse_yaml", lambda text, source: pytest.fail("parsed"))
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        read_yaml(write("a: [" + "1," * 500_000 + "]"))


def test_nesting_is_capped_at_20_levels():
    data, _ = parse_yaml("{a: " * MAX_LEVELS + "1" + "}" * MAX_LEVELS, "text")
    for _ in range(MAX_LEVELS):
        data = data["a"]
    assert data == 1
    with pytest.raises(ConfigError, match="nested more than 20 levels"):
        parse_yaml("{a: " * (MAX_LEVELS + 1) + "1" + "}" * (MAX_LEVELS + 1), "text")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="not a file"):
        read_yaml(tmp_path)


def test_messages_use_the_given_source(write):
    with pytest.raises(ConfigError, match=r"^CONFIG/x\.yaml:1: "):
        read_yaml(write("a: ["), "CONFIG/x.yaml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(write):
    assert read_yaml(write(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")) == ({"a": 1, "b": "x"}, {("a",): 1, ("b",): 2})


PIECES = ["a", "b: ", "- ", "[", "]", "{", "}", ",", "\n", "  ", '"', "'", "\\U", "\\ud800", "FFFFFFFF", "&x ", "*x"]
PIECES += [
    "!!",
    "!<",
    "%ff",
    "|2",
    ">-",
    "? ",
    "---",
    "...",
    "%YAML ",
    "%TAG ",
    "#",
    "\t",
    "\r",
    "\0",
    "é",
    "\ufeff",
    "1e",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text):
    fault = None
    try:
        data, _ = parse_yaml(text, "text")
    except ConfigError as error:
        fault = str(error)
    if fault is None:
        assert isinstance(data, dict)
    else:
        assert fault.startswith("text:")
        assert "\n" not in fault


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**17), 10**17),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}x", fullmatch=True), SCALARS, min_size=1))
@settings(max_examples=100, deadline=None)
def test_what_python_writes_is_read_back(data):
    def written(value):
        return f"'{value.replace(chr(39), chr(39) * 2)}'" if isinstance(value, str) else str(value).lower()

    text = "\n".join(f"{key}: {written(value)}" for key, value in data.items())
    assert parse_yaml(text, "text")[0] == data
