"""Features of a user's own: what is refused when they are loaded."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.features.feature import BarsView
from DATA_PROCESSING.features.own import load_features
from DATA_PROCESSING.features.table import FEATURES

TAKEN = [feature.name for feature in FEATURES]
HEAD = """\
from DATA_PROCESSING.features.feature import Feature


def ratio(bars, n):
    return bars.close / bars.open


"""
GOOD = HEAD + 'FEATURES = (Feature("mine", ratio, (3,), 0, "close / open"),)\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "my_features.py"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str, **settings) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as refused:
        load_features(path, **settings)
    message = str(refused.value)
    assert all(line.startswith(str(path)) for line in message.splitlines())
    return message.replace(f"{path}: ", "")


def test_features_are_read_and_known_by_the_hash_of_the_file(tmp_path, make_bars):
    own = load_features(written(tmp_path, GOOD), taken=TAKEN)
    assert [feature.name for feature in own.features] == ["mine"]
    assert own.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    bars = make_bars(10, 0)
    np.testing.assert_array_equal(own.features[0].compute(BarsView.of(bars), 3), bars["close"] / bars["open"])
    assert not list(tmp_path.glob("__pycache__"))


def test_a_file_run_afresh_has_forgotten_what_it_knew(tmp_path):
    text = GOOD.replace("def ratio", "SEEN = []\n\n\ndef ratio").replace("    return", "    SEEN.append(n)\n    return")
    own = load_features(written(tmp_path, text))
    seen = own.features[0].compute.__globals__["SEEN"]
    seen.append("bars")
    written(tmp_path, "a = 1 / 0")  # it is the source that was read which runs
    assert own.afresh().features[0].compute.__globals__["SEEN"] == []
    assert own.features[0].compute.__globals__["SEEN"] == ["bars"]


def test_dataclasses_and_lists_of_features_are_fine(tmp_path):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + GOOD.replace(
        "(Feature", "[Feature"
    )
    text = text.replace(",)\n", "]\n") + "\n\n@dataclass\nclass Setting:\n    size: int = 3\n"
    assert len(load_features(written(tmp_path, text)).features) == 1


@pytest.mark.parametrize("name", ["none.py", "."])
def test_no_such_file(tmp_path, name):
    with pytest.raises(ConfigError, match=r"features_from: .*(No such file|Is a directory).*; name a Python file with"):
        load_features(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:\n    pass\n", r"does not run: SyntaxError: invalid syntax \(line 1\)"),
        ("a = 1\nimport no_such_module_at_all\n", r"does not run: ModuleNotFoundError: No module named .* \(line 2\)"),
        ("def f():\n    return {}['x']\n\n\nf()\n", r"does not run: KeyError: 'x' \(line 2\)"),
        ("import sys\nsys.exit(3)\n", r"does not run: SystemExit: 3 \(line 2\)"),
        (b"\xff\xfe\x00".decode("latin-1"), "does not run: "),
        ("Features = ()\n", r"no FEATURES; did you mean 'Features'\?; end the file with FEATURES = "),
        ("", r"no FEATURES; end the file with FEATURES = \(Feature\(\.\.\.\), \.\.\.\)"),
        ("FEATURES = 3\n", "FEATURES: expected a tuple of Feature, got 3"),
        ("FEATURES = ()\n", r"FEATURES: expected a tuple of Feature, got \(\)"),
        ("FEATURES = ('rsi',)\n", r"FEATURES\[0\]: expected a Feature, got 'rsi'"),
    ],
)
def test_files_that_hold_no_features(tmp_path, text, told):
    assert re.match(told, refusal(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('"rsi_14", ratio, (3,), 0, "x"', "rsi_14: there is a feature of that name already; choose another name"),
        ('"close", ratio, (3,), 0, "x"', "close: not free for a feature: it names bars, sessions or labels"),
        ('"session", ratio, (3,), 0, "x"', "session: not free for a feature"),
        ('"y_up", ratio, (3,), 0, "x"', "y_up: not free for a feature"),
        ('"fwd_x", ratio, (3,), 0, "x"', "fwd_x: not free for a feature"),
        ('"my feature", ratio, (3,), 0, "x"', "FEATURES[0]: name: expected a letter, then letters, digits and _"),
        ('3, ratio, (3,), 0, "x"', "FEATURES[0]: name: expected a letter, then letters, digits and _, got 3"),
        ('"a", ratio(1, 2) if 0 else None, (3,), 0, "x"', "a: compute: expected a function, got None"),
        ('"a", ratio, 3, 0, "x"', "a: arguments: expected a tuple, got 3"),
        ('"a", ratio, (3,), -1, "x"', "a: lookback: expected a whole number of bars, got -1"),
        ('"a", ratio, (3,), 2.0, "x"', "a: lookback: expected a whole number of bars, got 2.0"),
        ('"a", ratio, (3,), 0, " "', "a: text: expected the formula in words, got ' '"),
        ('"a", ratio, (3,), 0, "x", 1', "a: recursive: expected True or False, got 1"),
    ],
)
def test_rows_that_are_no_features(tmp_path, row, told):
    message = refusal(tmp_path, f"{HEAD}FEATURES = (Feature({row}),)\n", taken=TAKEN)
    assert message.startswith(told)


def test_every_fault_is_told_at_once(tmp_path):
    rows = 'Feature("a", ratio, (), 0, "x"), Feature("a", ratio, (), 0, "x"), 7, Feature("high", ratio, (), -1, "x")'
    message = refusal(tmp_path, f"{HEAD}FEATURES = ({rows})\n")
    assert [line.partition(":")[0] for line in message.splitlines()] == ["a", "FEATURES[2]", "high", "high"]
    assert "a: two rows of FEATURES have this name" in message
