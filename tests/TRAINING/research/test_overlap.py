"""The purge, recomputed by a slow loop, and rows that escaped it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from DATA_PROCESSING.sessions import without_zone
from TRAINING.evaluation.splits import Windows
from TRAINING.research.overlap import check_overlap, unpurged
from TRAINING.research.subject import Subject


def reaching(subject: Subject, target: str, windows: Windows) -> int:
    """Labelled training rows whose label is known only in the validation window, one by one."""
    first = min(subject.sessions[subject.session[windows.validation]])
    rows = subject.table[windows.train & subject.table[target].notna().to_numpy()]
    return sum(np.datetime64(end.date()) >= first for end in rows["label_end"])


def test_the_purge_holds(clean: Subject) -> None:
    check = check_overlap(clean)
    assert check.verdict == "passed"
    for target in clean.targets:
        assert reaching(clean, target, clean.windows(target)) == 0
        training = check.numbers[target]["training"]
        labelled = clean.table[target].notna().to_numpy() & (
            clean.session < np.searchsorted(clean.sessions, clean.cuts[0])
        )
        assert training["purged"] == pytest.approx(3 * 5 / labelled.sum())  # 3 symbols, 5 bars
        assert training["sessions_between"] == 0


def test_rows_without_purge_are_found(clean: Subject) -> None:
    windows = {target: unpurged(clean, target) for target in clean.targets}
    check = check_overlap(clean, windows)
    assert check.verdict == "failed"
    for target in clean.targets:
        numbers = check.numbers[target]["training"]
        assert numbers["rows_that_reach_the_next_window"] == reaching(clean, target, windows[target]) == 3 * 5
    assert "15 training rows reach the validation window, such as that of CCC at 2016-" in check.reason


def test_one_row_is_enough(clean: Subject) -> None:
    target = clean.targets[0]
    windows = clean.windows(target)
    extra = np.flatnonzero(unpurged(clean, target).train & ~windows.train)[0]
    train = windows.train.copy()
    train[extra] = True
    check = check_overlap(clean, {target: replace(windows, train=train)})
    assert check.numbers[target]["training"]["rows_that_reach_the_next_window"] == 1
    assert check.verdict == "failed"


def test_the_embargo_counts(clean: Subject) -> None:
    split = clean.split | {"embargo_sessions": 3}
    with_embargo = replace(clean, split=split, _datasets={})
    check = check_overlap(with_embargo)
    assert check.verdict == "passed"
    assert check.numbers[clean.targets[0]]["training"]["sessions_between"] == 3
    check = check_overlap(with_embargo, {target: clean.windows(target) for target in clean.targets})
    assert check.verdict == "failed"
    assert "the embargo of 3 sessions" in check.reason


def test_a_label_whose_end_nobody_knows_is_found(clean: Subject) -> None:
    target = clean.targets[0]
    ends = clean.table["label_end"].where(clean.table.index != 100)
    check = check_overlap(clean.with_table(clean.table.assign(label_end=ends)), {target: clean.windows(target)})
    assert check.verdict == "failed"
    assert "1 training rows have a label but no label_end" in check.reason


def test_a_label_that_ends_with_its_own_bar_is_found(clean: Subject) -> None:
    ends = clean.table["label_end"].where(clean.table.index != 100, clean.table["timestamp"])
    check = check_overlap(clean.with_table(clean.table.assign(label_end=ends)))
    assert check.verdict == "failed"
    assert "1 labels have a label_end that is not behind their bar" in check.reason


def test_labels_that_end_between_bars_end_on_their_date(clean: Subject) -> None:
    later = clean.table.assign(label_end=clean.table["label_end"] + pd.Timedelta("10h"))
    assert check_overlap(clean.with_table(later)).verdict == "passed"
    next_day = clean.table.assign(label_end=clean.table["label_end"] + pd.Timedelta("34h"))
    windows = {target: clean.windows(target) for target in clean.targets}
    assert (without_zone(next_day["label_end"]) != without_zone(later["label_end"])).any()
    assert check_overlap(clean.with_table(next_day), windows).verdict == "failed"


def test_nothing_to_compare_is_not_applicable(clean: Subject) -> None:
    none = np.zeros(len(clean.table), bool)
    check = check_overlap(clean, {clean.targets[0]: Windows(none, none, ~none)})
    assert check.verdict == "not applicable"
