"""Search spaces: read, checked against the limits, and merged with the user's own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from CONFIG.config_loader import (
    check_model_config,
    describe_model,
    load_model_config,
    load_search_space,
    model_names,
    user_model_file,
)  # fmt: skip
from CONFIG.errors import ConfigError
from CONFIG.schema import Interval, Rule
from CONFIG.search_space import Space


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file of lightgbm, not yet there."""
    monkeypatch.setenv("BARZOO_CONFIG_DIR", str(tmp_path))
    (tmp_path / "model_config").mkdir()
    return tmp_path / "model_config" / "lightgbm.yaml"


def test_a_space_is_an_interval_or_choices() -> None:
    rate = Rule(float, limit=Interval.parse("(0, 1]"))
    assert Space.of(rate, {"low": 0.005, "high": 1, "log": True}) == Space(0.005, 1.0, True)
    assert Space.of(Rule(int), {"low": 4, "high": 64}) == Space(4, 64)
    lists = Space.of(Rule(int, "list"), {"choices": [[16], [32, 16]]})
    assert lists.choices == ([16], [32, 16])
    assert [32, 16] in lists
    assert [32] not in lists
    assert 4 in Space(4, 64)
    assert 65 not in Space(4, 64)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"low": 0.1}, "high is missing"),
        ({"low": 0.1, "high": 2}, r"high: must be within \(0, 1\], got 2.0"),
        ({"low": 0, "high": 1}, r"low: must be within \(0, 1\], got 0.0"),
        ({"low": 0.5, "high": 0.5}, "low must be below high, got 0.5 and 0.5"),
        ({"low": 0.5, "high": 0.1}, "low must be below high"),
        ({"low": "a", "high": 0.1}, "low: expected a finite number, got 'a'"),
        ({"low": 0.1, "high": 1, "log": 1}, "expected true or false, got 1"),
        ({"low": 0.1, "hihg": 1}, "no 'hihg'; did you mean 'high'"),
        ({"choices": [0.1]}, "a list of at least two"),
        ({"choices": [0.1, 0.1]}, "there twice"),
        ({"choices": [0.1, 2]}, "choices: must be within"),
        ({"choices": [0.1, 0.2], "low": 0.1}, "choices stand alone"),
        (0.1, "expected {low, high} or {choices}, got 0.1"),
    ],
)
def test_a_faulty_space_is_told(value: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Space.of(Rule(float, limit=Interval.parse("(0, 1]")), value)


def test_only_numbers_have_ends() -> None:
    with pytest.raises(ConfigError, match="only a number has low and high"):
        Space.of(Rule(str), {"low": 1, "high": 2})
    with pytest.raises(ConfigError, match="a logarithmic scale begins above 0, got low 0"):
        Space.of(Rule(int), {"low": 0, "high": 2, "log": True})


@pytest.mark.parametrize("model", model_names())
def test_shipped_spaces_hold_what_is_shipped_as_balanced(model: str) -> None:
    """A space that leaves the default out would search somewhere else."""
    config = load_model_config(model, "balanced")
    for key, space in load_search_space(model).items():
        assert config[key] in space, key


@pytest.mark.parametrize("model", model_names())
def test_every_model_has_a_space_of_configurations_that_are_valid(model: str) -> None:
    """Its ends, and what lies between; 3 to 7 keys, so that few trials say something."""
    spaces, random = load_search_space(model), np.random.default_rng(0)
    assert 3 <= len(spaces) <= 7
    for end in (0.0, 1.0, *random.random(30)):
        values = {}
        for key, space in spaces.items():
            share = end if end in (0, 1) else random.random()
            if space.choices:
                values[key] = space.choices[min(int(share * len(space.choices)), len(space.choices) - 1)]
            elif isinstance(space.low, int):
                values[key] = round(space.low + share * (space.high - space.low))
            elif space.log:
                values[key] = min(space.low * (space.high / space.low) ** share, space.high)
            else:
                values[key] = space.low + share * (space.high - space.low)
        assert check_model_config(model, values) == load_model_config(model) | values


def test_a_space_outside_the_limits_is_told_with_its_line(own: Path) -> None:
    own.write_text("search:\n  learning_rate: {low: 0.1, high: 2.0}\n  num_leavs: {low: 2, high: 3}\n")
    load_model_config("lightgbm")  # trains all the same
    with pytest.raises(ConfigError) as caught:
        load_search_space("lightgbm")
    assert f"{own}:2: learning_rate: high: must be within (0, 1], got 2.0" in str(caught.value)
    assert f"{own}:3: lightgbm has no key 'num_leavs'; did you mean 'num_leaves'" in str(caught.value)


def test_a_users_space_takes_the_place_of_the_shipped_one(own: Path) -> None:
    shipped = load_search_space("lightgbm")
    own.write_text("search:\n  num_leaves: {choices: [4, 8]}\n  max_depth: null\n")
    found = load_search_space("lightgbm")
    assert found["num_leaves"] == Space(choices=(4, 8))
    assert set(shipped) - set(found) == {"max_depth"}
    assert found["learning_rate"] == shipped["learning_rate"]


def test_the_users_folder_merges_before_files_that_are_given(own: Path, tmp_path: Path) -> None:
    assert user_model_file("lightgbm") == own
    own.write_text(
        "about:\n  mine: My own.\ndefaults:\n  reg_alpha: 0.25\nvariants:\n  mine:\n    num_leaves: 9\n"
        "    max_depth: 4\n"
    )
    given = tmp_path / "lightgbm.yaml"
    given.write_text("variants:\n  mine:\n    max_depth: 6\n")
    assert describe_model("lightgbm").variants["mine"] == "My own."
    config = load_model_config("lightgbm", "mine", files=[given])
    assert (config["num_leaves"], config["max_depth"], config["reg_alpha"]) == (9, 6, 0.25)
    assert check_model_config("lightgbm", {})["reg_alpha"] == 0.0  # an artifact does not change with the user's folder
    assert load_model_config("xgboost")["reg_alpha"] == 0.0


def test_the_users_folder_is_below_home_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BARZOO_CONFIG_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_model_file("mlp") == tmp_path / ".config" / "barzoo" / "model_config" / "mlp.yaml"
