"""The winner in the user's own file: everything else there stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from TRAINING.search.variant import _with_entry, check_variant, write_variant

SEARCHED = ["learning_rate", "num_leaves"]
OWN = """\
# my models
variants:
  mine:   # by hand
    num_leaves: 9

  # behind it
  wide:
    num_leaves: 99  # very
# the end of them
defaults:
  reg_alpha: 0.5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file of lightgbm, not yet there."""
    monkeypatch.setenv("BARZOO_CONFIG_DIR", str(tmp_path))
    return tmp_path / "model_config" / "lightgbm.yaml"


def tuned(**changes: object) -> dict:
    return load_model_config("lightgbm", "balanced") | changes


def test_a_variant_gives_the_configuration_back(own: Path) -> None:
    config = tuned(learning_rate=0.0123456789012345, num_leaves=15, reg_lambda=0.1)
    assert write_variant("lightgbm", "tuned", config, SEARCHED, "Tuned on it.") == own
    assert load_model_config("lightgbm", "tuned") == config
    held = yaml.safe_load(own.read_text())
    assert held["variants"]["tuned"] == {"learning_rate": 0.0123456789012345, "num_leaves": 15, "reg_lambda": 0.1}
    assert held["about"]["tuned"] == "Tuned on it."


def test_what_the_file_holds_stays(own: Path) -> None:
    own.parent.mkdir()
    own.write_text(OWN)
    config = tuned(num_leaves=5, reg_alpha=0.0)
    write_variant("lightgbm", "tuned", config, SEARCHED, "Tuned on it.")
    assert load_model_config("lightgbm", "tuned") == config  # though the file's defaults say otherwise
    text = own.read_text()
    for line in OWN.splitlines():
        assert line in text.splitlines()
    again = tuned(num_leaves=6, reg_alpha=0.0)
    write_variant("lightgbm", "tuned", again, SEARCHED, "Tuned on it again.")
    assert load_model_config("lightgbm", "tuned") == again
    assert own.read_text() == text.replace("num_leaves: 5", "num_leaves: 6").replace("on it.", "on it again.")


@given(
    sections=st.permutations(["about:\n  mine: A text.", "variants: {mine: {num_leaves: 3}}", "defaults:\n  seed: 3"]),
    style=st.sampled_from(["", "\n", "# a\n", "   \n"]),
    tail=st.sampled_from(["", "\nsearch:", "\nlimits:\n  num_leaves: >-\n    [2, 9]\n"]),
)
@settings(max_examples=30, deadline=None)
def test_any_layout_ends_with_the_same_data(sections: list[str], style: str, tail: str) -> None:
    text = style.join(["", *(section + "\n" for section in sections)]) + tail
    before = yaml.safe_load(text)
    edited, data = _with_entry(text, before, "variants", "tuned", {"num_leaves": 4}, "x.yaml")
    assert yaml.safe_load(edited) == data
    assert data["variants"] == {"mine": {"num_leaves": 3}, "tuned": {"num_leaves": 4}}
    assert {key: data[key] for key in before if key != "variants"} == {k: before[k] for k in before if k != "variants"}


def test_names_that_are_not_ours_are_refused(own: Path) -> None:
    own.parent.mkdir()
    own.write_text(OWN)
    check_variant("lightgbm", "tuned")
    for name, told in (
        ("balanced", "has a variant 'balanced' already"),
        ("mine", "variant 'mine' is not of barzoo tune"),
        ("model", "choose another name"),
        ("a: b", "letters, digits"),
        ("", "letters, digits"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_variant("lightgbm", name)
    write_variant("lightgbm", "tuned", tuned(), SEARCHED, "Tuned on it.")
    check_variant("lightgbm", "tuned")  # ours, so it may be written again


def test_a_folder_that_may_not_be_written_is_told_before_any_trial(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != own.parents[1])  # root may write anywhere
    with pytest.raises(ConfigError, match=r"cannot be written \(read-only\); set BARZOO_CONFIG_DIR"):
        check_variant("lightgbm", "tuned")


def test_a_folder_that_takes_no_file_is_told(own: Path) -> None:
    own.parent.write_text("no folder")
    with pytest.raises(ConfigError, match=r"cannot be written \(not a folder\); set BARZOO_CONFIG_DIR"):
        check_variant("lightgbm", "tuned")  # before any trial
    with pytest.raises(ConfigError, match="BARZOO_CONFIG_DIR"):
        write_variant("lightgbm", "tuned", tuned(), SEARCHED, "Tuned on it.")
