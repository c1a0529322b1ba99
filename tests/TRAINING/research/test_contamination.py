"""Test rows among the training rows, and series under two names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from TRAINING.research.contamination import check_contamination
from TRAINING.research.subject import Subject, open_subject


def test_a_clean_panel_passes(clean: Subject) -> None:
    check = check_contamination(clean)
    assert check.verdict == "passed"
    assert check.numbers["shared_moments"] == check.numbers["identical_rows"] == 0
    assert check.numbers["twins"] == []


def test_rows_of_both_windows_are_found(clean: Subject) -> None:
    windows = clean.windows(clean.targets[0])
    both = windows.test & (np.arange(len(windows.test)) % 10 == 0)
    check = check_contamination(clean, replace(windows, train=windows.train | both))
    assert check.verdict == "failed"
    assert check.numbers["shared_moments"] == both.sum()
    assert check.reason.startswith(f"{both.sum()} test rows are a training row's symbol and timestamp")


def test_rows_that_were_copied_to_another_time_are_found(clean: Subject) -> None:
    """As when rows are drawn anew, with repetition, to balance classes."""
    windows, table = clean.windows(clean.targets[0]), clean.table.copy()
    trained, tested = np.flatnonzero(windows.train)[200:240], np.flatnonzero(windows.test)[:40]
    table.loc[tested, clean.features] = table.loc[trained, clean.features].to_numpy()
    check = check_contamination(clean.with_table(table))
    assert check.verdict == "failed"
    assert (check.numbers["shared_moments"], check.numbers["identical_rows"]) == (0, 40)


def test_features_of_few_values_repeat_by_chance(clean: Subject) -> None:
    random = np.random.default_rng(0)
    bare = clean.table[["symbol", "timestamp", "close", "label_end", "fwd_ret_5"]]
    dice = {f"die_{number}": random.integers(6, size=len(bare)).astype(float) for number in range(3)}
    check = check_contamination(replace(clean.with_table(bare.assign(**dice)), targets=("fwd_ret_5",)))
    assert check.verdict == "passed"
    expected = check.numbers["identical_rows_by_chance"]
    assert check.numbers["identical_rows"] == pytest.approx(expected, rel=0.05)
    assert "no more than chance" in check.reason


def test_one_series_under_two_names_is_a_warning(labeled_frame: pd.DataFrame) -> None:
    first = labeled_frame[labeled_frame["symbol"] == "AAA"]
    scaled = first.assign(symbol="AAA.X", close=first["close"] * 3.7, log_return_1=first["log_return_1"] + 0.5)
    check = check_contamination(open_subject(pd.concat([labeled_frame, scaled], ignore_index=True)))
    assert check.verdict == "warned"
    assert [pair["symbols"] for pair in check.numbers["twins"]] == [["AAA", "AAA.X"]]
    near = first.assign(symbol="NEAR", close=first["close"] * np.exp(np.random.default_rng(0).normal(size=500) * 3e-4))
    check = check_contamination(open_subject(pd.concat([labeled_frame, near], ignore_index=True)))
    assert check.verdict == "passed"
