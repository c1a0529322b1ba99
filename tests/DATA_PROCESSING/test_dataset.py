from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo, make_dataset

DAYS = pd.bdate_range("2020-01-06", periods=6, tz="UTC")
TABLE = pd.DataFrame(
    {
        "timestamp": DAYS,
        "close": 1.0,
        "b": np.arange(6.0),
        "a": np.arange(6.0) * 2,
        "y_will_peak": [0.0, 1.0, 0.0, 1.0, np.nan, np.nan],
        "fwd_ret_2": 0.1,
        "label_end": pd.Series(DAYS).shift(-2),
    }
)


def test_a_dataset_is_features_target_and_label_ends_row_by_row():
    data = make_dataset(TABLE, "y_will_peak", "AAPL")
    assert list(data.X.columns) == ["b", "a"]
    assert data.X["b"].tolist() == TABLE["b"].tolist()
    assert data.X.index.names == ["symbol", "timestamp"]
    assert data.X.index.equals(data.y.index)
    assert list(data.X.index) == [("AAPL", day) for day in DAYS]
    assert data.y.name == "y_will_peak"
    np.testing.assert_array_equal(data.y, TABLE["y_will_peak"])
    assert data.rows.label_end.dtype == np.dtype("datetime64[ns]")
    assert list(data.label_sessions[:4]) == list(data.sessions[2:])
    assert np.isnat(data.label_sessions[4:]).all()
    assert len(data) == 6


def test_symbols_come_from_their_column():
    table = TABLE.assign(symbol=["A", "B"] * 3)
    assert make_dataset(table, "fwd_ret_2").X.index.get_level_values("symbol").tolist() == ["A", "B"] * 3


def test_an_unknown_target_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="no target 'y_wil_peak' in the table; did you mean 'y_will_peak'"):
        make_dataset(TABLE, "y_wil_peak", "A")


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_sessions_do_not_depend_on_the_zone_times_are_written_in(zone):
    cast = (lambda times: times.dt.tz_localize(None)) if zone is None else (lambda times: times.dt.tz_convert(zone))
    table = TABLE.assign(timestamp=cast(TABLE["timestamp"]), label_end=cast(TABLE["label_end"]))
    data, expected = make_dataset(table, "fwd_ret_2", "A"), make_dataset(TABLE, "fwd_ret_2", "A")
    np.testing.assert_array_equal(data.sessions, expected.sessions)
    np.testing.assert_array_equal(data.label_sessions, expected.label_sessions)


@pytest.mark.parametrize("rows", [np.array([True, False, True, False, False, False]), np.array([0, 2])])
def test_rows_are_taken_together(rows):
    data = make_dataset(TABLE, "y_will_peak", "A")
    part = data.take(rows)
    assert part.X["b"].tolist() == [0.0, 2.0]
    assert part.y.tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(part.rows.label_end, data.rows.label_end[[0, 2]])
    assert part.rows.sample_weight is None


def test_weights_are_taken_too():
    rows = RowInfo(np.array(["2020-01-06", "2020-01-07"], "datetime64[ns]"), np.array([1.0, 2.0]))
    assert rows.take(np.array([1])).sample_weight.tolist() == [2.0]


def test_the_table_is_not_changed():
    before = TABLE.copy()
    X = make_dataset(TABLE, "y_will_peak", "A").X
    X.iloc[0, 0] = 99.0
    pd.testing.assert_frame_equal(TABLE, before)


def test_sessions_come_from_their_column_and_label_ends_from_the_bars_they_end_at():
    """Hourly bars of a session that begins the evening before; two symbols in one table."""
    times = pd.date_range("2024-01-07 22:00", periods=6, freq="h", tz="UTC")
    sessions = pd.to_datetime(["2024-01-07", *["2024-01-08"] * 5]).astype("datetime64[ms]")
    one = TABLE.assign(timestamp=times, label_end=pd.Series(times).shift(-2), session=sessions, symbol="A")
    data = make_dataset(pd.concat([one, one.assign(symbol="B")], ignore_index=True), "fwd_ret_2")
    assert data.sessions.astype(str).tolist() == ["2024-01-07", *["2024-01-08"] * 5] * 2
    assert data.label_sessions.astype(str).tolist() == [*["2024-01-08"] * 4, "NaT", "NaT"] * 2
    assert "session" not in data.X
    part = data.take(np.array([0, 7]))
    assert part.sessions.astype(str).tolist() == ["2024-01-07", "2024-01-08"]


def test_sessions_of_rows_come_with_those_of_their_labels():
    ends = np.full(2, np.datetime64("2024-01-08", "ns"))
    with pytest.raises(DataError, match="sessions and label_sessions go together"):
        RowInfo(ends, sessions=ends.astype("datetime64[D]"))
    assert RowInfo(ends).take(np.array([0])).sessions is None


@pytest.mark.parametrize(("target", "bars"), [("y_will_peak", 2), ("fwd_ret_2", 2), ("fwd_ret_3", 3), ("MFE_h3", 3)])
def test_a_target_of_a_further_horizon_has_its_own_label_end(target, bars):
    table = TABLE.assign(fwd_ret_3=0.1, MFE_h3=0.1, label_end_h3=pd.Series(DAYS).shift(-3))
    data = make_dataset(table, target, "A")
    assert list(data.X.columns) == ["b", "a"]
    assert list(data.label_sessions[:-bars]) == list(data.sessions[bars:])
    assert np.isnat(data.rows.label_end[-bars:]).all()
