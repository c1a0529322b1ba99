"""Code that looks ahead, in features and in labels, and the project's, which does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from TRAINING.research import truncation
from TRAINING.research.subject import Subject, open_subject

PEEKING = """
import numpy as np
from DATA_PROCESSING.features.feature import Feature

def tomorrow(bars):
    return np.append(bars.close[1:] / bars.close[:-1] - 1, np.nan)

FEATURES = (Feature("tomorrow", tomorrow, (), 1, "return of the next bar"),)
"""


@pytest.fixture(scope="module")
def bars(bars_folder: Path) -> Subject:
    return open_subject(bars_folder)


@pytest.fixture
def few_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truncation, "CUTS", 9)


def test_the_simple_set_and_the_labels_pass(bars: Subject) -> None:
    check = truncation.check_truncation(bars)
    assert check.verdict == "passed"
    assert check.reason.startswith("67 features and 8 labels stay the same")
    assert check.numbers["symbols"] == ["AAA", "BBB", "CCC"]


def test_the_comprehensive_set_passes_with_the_panel_cut_too(bars_folder: Path, few_cuts: None) -> None:
    subject = open_subject(bars_folder, feature_overrides={"set": "comprehensive"})
    check = truncation.check_truncation(subject)
    assert check.verdict == "passed", check.reason
    assert int(check.reason.split()[0]) > 250


def test_excess_labels_of_further_horizons_pass(bars_folder: Path, tmp_path: Path, few_cuts: None) -> None:
    (tmp_path / "labels.yaml").write_text("defaults:\n  excess: true\n  horizons: [10, 1]\n")
    check = truncation.check_truncation(open_subject(bars_folder, files=[tmp_path / "labels.yaml"]))
    assert check.verdict == "passed", check.reason


def next_return(bars: BarsView) -> np.ndarray:
    return -lagged(bars.log_return[::-1], 1)[::-1]


def mean_of_all(bars: BarsView) -> np.ndarray:
    return bars.close / bars.close.mean()


def warned_of_crashes(bars: BarsView) -> np.ndarray:
    """Looks ahead only before the largest falls."""
    ahead = -next_return(bars)
    return np.where(ahead < -0.03, 1.0, 0.0)


@pytest.mark.parametrize("compute", [next_return, mean_of_all, warned_of_crashes])
def test_a_feature_that_looks_ahead_is_named_with_the_row(bars: Subject, compute) -> None:
    row = Feature("peek", compute, (), 1, "looks ahead")
    features = bars.builder.features
    check = truncation.check_truncation(bars, replace(features, features=(*features.features, row)))
    assert check.verdict == "failed"
    assert list(check.numbers["changed"]) == ["peek"]
    assert check.reason.startswith("peek looks ahead: ")
    assert "when the bars end at" in check.reason


def test_a_file_of_features_that_look_ahead_fails_with_its_row(bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PEEKING)
    subject = open_subject(bars_folder, feature_overrides={"features_from": str(tmp_path / "mine.py")})
    check = truncation.check_truncation(subject)
    assert check.verdict == "failed"
    assert "mine.py: tomorrow: looks ahead: " in check.reason
    assert "tomorrow" not in subject.features
    (tmp_path / "mine.py").write_text(PEEKING.replace("FEATURES", "ROWS"))
    with pytest.raises(ConfigError, match="no FEATURES"):
        open_subject(bars_folder, feature_overrides={"features_from": str(tmp_path / "mine.py")})


def test_a_good_file_of_features_is_among_those_that_pass(bars_folder: Path, tmp_path: Path, few_cuts: None) -> None:
    good = PEEKING.replace("np.append(bars.close[1:] / bars.close[:-1] - 1, np.nan)", "bars.close / bars.open - 1")
    (tmp_path / "mine.py").write_text(good)
    subject = open_subject(bars_folder, feature_overrides={"features_from": str(tmp_path / "mine.py")})
    check = truncation.check_truncation(subject)
    assert check.verdict == "passed"
    assert check.reason.startswith("68 features (1 of your own)")


def test_labels_that_are_known_later_than_they_say_are_found(bars: Subject, monkeypatch, few_cuts: None) -> None:
    to_frame = truncation.to_frame

    def early(columns: dict) -> object:
        frame = to_frame(columns)
        return frame.assign(label_end=frame["label_end"].shift(1))

    monkeypatch.setattr(truncation, "to_frame", early)
    check = truncation.check_truncation(bars)
    assert check.verdict == "failed"
    assert {"fwd_ret_5", "MDD"} <= set(check.numbers["changed"])


def test_tables_have_no_code_to_try(clean: Subject) -> None:
    assert truncation.check_truncation(clean).verdict == "not applicable"
