from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.splits import core_windows, purged_tail, split_dates

START = np.datetime64("2020-01-01")
NAT = np.datetime64("NaT", "D")


@st.composite
def panels(draw):
    """Rows of a few symbols with gaps: (panel sessions, row sessions, label ends, symbol codes), shuffled."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_sessions = draw(st.integers(10, 60))
    panel = START + np.sort(random.choice(n_sessions * 2, n_sessions, replace=False))
    horizon = draw(st.integers(1, 7))
    sessions, ends, codes = [], [], []
    for code in range(draw(st.integers(1, 4))):
        own = panel[random.random(n_sessions) < 0.8]
        sessions.append(own)
        known = np.append(own[horizon:], np.full(min(horizon, len(own)), NAT))
        known[random.random(len(own)) < 0.05] = NAT
        ends.append(known)
        codes.append(np.full(len(own), code))
    sessions, ends, codes = map(np.concatenate, (sessions, ends, codes))
    order = random.permutation(len(sessions))
    return panel, sessions[order], ends[order], codes[order]


def gap_start(panel, cut, embargo):
    return panel[list(panel).index(cut) - embargo]


def test_split_dates_are_the_sixty_and_eighty_percent_sessions():
    sessions = START + np.arange(10)
    assert split_dates(sessions) == (sessions[6], sessions[8])
    shuffled_twice = np.random.default_rng(0).permutation(np.tile(sessions, 2))
    assert split_dates(shuffled_twice) == (sessions[6], sessions[8])


@pytest.mark.parametrize("n_sessions", range(5))
def test_split_dates_names_the_sessions_needed_and_had(n_sessions):
    sessions = START + np.arange(n_sessions)
    if n_sessions == 4:  # 2, 1 and 1: enough for one each
        assert split_dates(sessions) == (sessions[2], sessions[3])
    else:
        with pytest.raises(DataError, match=rf"{n_sessions} sessions give.*5 sessions are enough"):
            split_dates(sessions)


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_split_dates_gives_three_windows_or_an_error_whose_number_is_enough(train, validation, n_sessions):
    sessions = START + np.arange(n_sessions)
    try:
        first, second = split_dates(sessions, train, validation)
    except ConfigError:
        assert train + validation > 1 - 1e-8
    except DataError as error:
        enough = int(str(error).split(" sessions are enough")[0].split()[-1])
        split_dates(START + np.arange(enough), train, validation)
    else:
        assert sessions[0] < first < second <= sessions[-1]
        assert abs((first - START).astype(int) - n_sessions * train) <= 0.5


@pytest.mark.parametrize(
    ("train", "validation"), [(0.8, 0.2), (0.95, 0.05), (0, 0.2), (0.6, 0), (1.2, -0.5), (np.nan, 0.2)]
)
def test_shares_without_a_test_window_are_refused(train, validation):
    with pytest.raises(ConfigError, match="sum below 1"):
        split_dates(START + np.arange(100), train, validation)


def test_a_row_without_a_session_is_an_error():
    with pytest.raises(DataError, match="1 of 3 have none"):
        split_dates(np.array([START, NAT, START + 1]))


def test_core_windows_purge_by_label_end():
    sessions = START + np.arange(10)
    ends = np.append(sessions[2:], [NAT, NAT])
    windows = core_windows(sessions, ends, sessions, sessions[6], sessions[8])
    assert np.flatnonzero(windows.train).tolist() == [0, 1, 2, 3]  # row 4's label ends in session 6
    assert np.flatnonzero(windows.validation).tolist() == []  # 6 reaches 8, 7 reaches 9
    assert np.flatnonzero(windows.test).tolist() == [8, 9]  # without labels, for live prediction
    embargoed = core_windows(sessions, ends, sessions, sessions[6], sessions[8], embargo_sessions=1)
    assert np.flatnonzero(embargoed.train).tolist() == [0, 1, 2]  # one free session, 5, before the validation window


@given(panels(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_core_windows_equal_a_slow_loop(panel_rows, embargo):
    panel, sessions, ends, _ = panel_rows
    validation_start, test_start = split_dates(panel, 0.5, 0.25)
    try:
        windows = core_windows(sessions, ends, panel, validation_start, test_start, embargo)
    except DataError:
        assert embargo >= min(
            (panel < validation_start).sum(), ((panel >= validation_start) & (panel < test_start)).sum()
        )
        return
    for row, (session, end) in enumerate(zip(sessions, ends, strict=True)):
        if session >= test_start:
            expected = "test"
        elif np.isnat(end):
            expected = None
        elif session < validation_start:
            expected = "train" if end < gap_start(panel, validation_start, embargo) else None
        else:
            expected = "validation" if end < gap_start(panel, test_start, embargo) else None
        found = [name for name in ("train", "validation", "test") if getattr(windows, name)[row]]
        assert found == ([expected] if expected else [])

    # No label of a window reaches the next one, and the embargo's sessions are free, for every symbol alike.
    for mask, cut in ((windows.train, validation_start), (windows.validation, test_start)):
        if mask.any():
            assert ((panel > ends[mask].max()) & (panel < cut)).sum() >= embargo
            assert ends[mask].max() < cut
    # The order of the rows changes nothing.
    order = np.random.default_rng(0).permutation(len(sessions))
    shuffled = core_windows(sessions[order], ends[order], panel[::-1], validation_start, test_start, embargo)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(windows, name)[order])


@pytest.mark.parametrize("embargo", [-1, 2, 100])
def test_an_embargo_that_takes_a_window_is_an_error(embargo):
    sessions = START + np.arange(10)
    with pytest.raises(DataError, match=rf"6 and 2\); got {embargo}"):
        core_windows(sessions, sessions, sessions, sessions[6], sessions[8], embargo)


@given(panels(), st.floats(0.05, 0.9))
@settings(max_examples=80, deadline=None)
def test_purged_tail_equals_a_slow_loop(panel_rows, fraction):
    _, sessions, ends, _ = panel_rows
    distinct = sorted(set(sessions))
    n_tail = int(len(distinct) * fraction + 0.5)
    expected = []
    for session, end in zip(sessions, ends, strict=True):
        in_tail = n_tail > 0 and session in distinct[-n_tail:]
        part = "tail" if in_tail else "head"
        known = not np.isnat(end) and (in_tail or (n_tail > 0 and end < distinct[-n_tail]))
        expected.append(part if known else None)
    try:
        head, tail = purged_tail(sessions, ends, fraction)
    except DataError:
        assert "head" not in expected or "tail" not in expected
        return
    assert ["head" if h else "tail" if t else None for h, t in zip(head, tail, strict=True)] == expected
    assert ends[head].max() < sessions[tail].min()


def test_an_empty_part_is_an_error_with_numbers():
    sessions = START + np.arange(10)
    with pytest.raises(DataError, match="20% of 2 sessions leaves a head of 2 and a tail of 0"):
        purged_tail(sessions[:2], sessions[:2], 0.2)
    with pytest.raises(DataError, match="0 of 8 rows before it after the purge and 2 labelled"):
        purged_tail(sessions, sessions + 10, 0.2)
    with pytest.raises(DataError, match="8 of 8 rows before it after the purge and 0 labelled"):
        purged_tail(sessions, np.where(sessions < sessions[8], sessions, NAT), 0.2)
    with pytest.raises(DataError, match="of 0 sessions"):
        purged_tail(sessions[:0], sessions[:0], 0.2)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, np.nan])
def test_a_fraction_outside_zero_and_one_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction"):
        purged_tail(START + np.arange(10), START + np.arange(10), fraction)
