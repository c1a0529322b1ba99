"""Windows of a walk-forward: against scikit-learn's splitter and an obvious loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.folds import walk_forward_folds


def days(count: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + 3 * np.arange(count)  # not every calendar day is a session


def positions(fold, sessions) -> tuple[list[int], list[int]]:
    place = {day: number for number, day in enumerate(sessions)}
    return (
        list(range(place[fold.train_start], place[fold.train_end] + 1)),
        list(range(place[fold.test_start], place[fold.test_end] + 1)),
    )


@pytest.mark.parametrize("mode", ["rolling", "expanding"])
def test_folds_are_those_of_scikit_learn_where_it_defines_the_same(mode):
    sessions = days(252 + 9 * 21)
    folds = walk_forward_folds(sessions, 252, 21, 21, mode=mode)
    split = TimeSeriesSplit(n_splits=9, test_size=21, max_train_size=252 if mode == "rolling" else None)
    expected = [(list(train), list(test)) for train, test in split.split(sessions[:, None])]
    assert [positions(fold, sessions) for fold in folds] == expected


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 120),
    train=st.integers(1, 60),
    test=st.integers(1, 30),
    step=st.integers(1, 30),
    embargo=st.integers(0, 5),
    mode=st.sampled_from(["rolling", "expanding"]),
)
def test_folds_are_those_of_an_obvious_loop(count, train, test, step, embargo, mode):
    sessions = days(count)
    arguments = (sessions[np.random.default_rng(0).permutation(np.repeat(np.arange(count), 2))], train, test, step)
    if step > test or embargo >= train:
        with pytest.raises(ConfigError):
            walk_forward_folds(*arguments, mode=mode, embargo_sessions=embargo)
        return
    expected, begin = [], 0
    while begin + train + test <= count:
        first = 0 if mode == "expanding" else begin
        expected.append((list(range(first, begin + train)), list(range(begin + train, begin + train + test))))
        begin += step
    if not expected:
        with pytest.raises(DataError, match=f"needs {train + test} sessions .* the data have {count};"):
            walk_forward_folds(*arguments, mode=mode, embargo_sessions=embargo)
        return
    folds = walk_forward_folds(*arguments, mode=mode, embargo_sessions=embargo)
    assert [positions(fold, sessions) for fold in folds] == expected
    stitched = []
    for fold, (_, tested) in zip(folds, expected, strict=True):
        assert fold.last_known == sessions[tested[0] - 1 - embargo]
        stitched += [day for day in sessions[tested] if day <= fold.stitched_end]
    assert stitched == list(sessions[expected[0][1][0] : expected[-1][1][-1] + 1])  # each day once, none left out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_days": 0}, "train_days must be a whole number of sessions, at least 1; got 0"),
        ({"step_days": 2.5}, "step_days must be a whole number of sessions, at least 1; got 2.5"),
        ({"test_days": True}, "test_days must be a whole number"),
        ({"step_days": 11}, "test_days must be at least step_days, .* got 10 and 11"),
        ({"embargo_sessions": 20}, r"embargo_sessions must be at least 0 and below train_days \(20\); got 20"),
        ({"embargo_sessions": -1}, "embargo_sessions must be at least 0"),
        ({"mode": "roling"}, "'roling' is unknown; did you mean 'rolling'"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    arguments = {"train_days": 20, "test_days": 10, "step_days": 5} | change
    with pytest.raises(ConfigError, match=message):
        walk_forward_folds(days(100), **arguments)
