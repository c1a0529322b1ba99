"""Shuffled labels: what moves, what stays, and pipelines that find something in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from TRAINING.evaluation.splits import Windows
from TRAINING.research import null
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject


def test_a_shuffle_moves_blocks_of_sessions_of_all_symbols_alike(clean: Subject) -> None:
    y = np.arange(len(clean.table), dtype=float)
    moved = null.shuffle(y, clean, 5, np.random.default_rng(0))
    parts = [moved[rows] - rows.start for rows in clean.rows_of_symbols()]
    assert np.array_equal(parts[0], parts[1])
    assert np.array_equal(np.sort(parts[0]), np.arange(500))
    breaks = np.flatnonzero(np.diff(parts[0]) != 1) + 1
    assert 0 < len(breaks) <= 500 // 15
    assert np.diff(breaks).min() >= 500 % 15  # whole blocks, but for the last one
    assert np.mean(parts[0] == np.arange(500)) < 0.2
    again = null.shuffle(y, clean, 5, np.random.default_rng(0))
    assert np.array_equal(moved, again)


def test_a_clean_pipeline_finds_nothing_in_them(clean: Subject) -> None:
    steps = []
    check = null.check_null(clean, 8, 0.2, steps.append)
    assert check.verdict == "passed", check.reason
    assert len(steps) == 2 * (8 + 1)
    for target, chance in (("y_will_peak", 0.5), ("fwd_ret_5", 0.0)):
        numbers = check.numbers[target]
        assert numbers["null_low"] < chance < numbers["null_high"]
        assert len(set(numbers["null_scores"])) == 8
        assert 1 / 9 <= numbers["share_of_null_as_good"] <= 1
    assert null.check_null(clean, 8, 0.2).numbers == check.numbers


def test_a_pipeline_that_trains_on_its_test_rows_fails(clean: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(subject: Subject, target: str) -> Windows:
        test = subject.session >= np.searchsorted(subject.sessions, subject.cuts[1])
        return Windows(test, test, test)

    monkeypatch.setattr(Subject, "windows", mixed)
    check = null.check_null(clean, 8, 0.2)
    assert check.verdict == "failed"
    assert "better than chance where there is nothing to find" in check.reason


def test_a_leak_over_two_columns_is_too_good(clean: Subject) -> None:
    """The label hides in the difference of two columns."""
    random, y = np.random.default_rng(0), clean.values("fwd_ret_5")
    noise = random.normal(size=len(y))
    subject = replace(clean, targets=("fwd_ret_5",))

    def check(share: float) -> Check:
        y_and_noise = np.nan_to_num(y / np.nanstd(y)) + share * noise
        return null.check_null(subject.with_table(subject.table.assign(one=y_and_noise, other=noise)), 5, 0.2)

    assert check(1e3).verdict == "passed"
    assert check(1.0).verdict == "failed"
    assert "too good to be true" in check(1.0).reason


def test_too_few_rows_are_not_judged(clean: Subject) -> None:
    rows = clean.table.groupby("symbol", observed=True).head(120).index
    few = clean.with_table(clean.table.loc[rows].reset_index(drop=True))
    steps = []
    check = null.check_null(few, 5, 0.2, steps.append)
    assert check.verdict == "not applicable"
    assert len(steps) == 12


def test_scores_are_those_within_symbols(clean: Subject) -> None:
    """A label that some symbols have more of is not foretold by knowing the symbol."""
    level = clean.codes * 10.0
    y = level + np.random.default_rng(0).normal(size=len(level))
    table = clean.table[["symbol", "timestamp", "close", "label_end"]].assign(fwd_mine=y, which=level)
    subject = replace(clean.with_table(table), targets=("fwd_mine",))
    found = null.score(subject, subject.dataset("fwd_mine"), subject.windows("fwd_mine"), False)
    assert abs(found) < 0.2
