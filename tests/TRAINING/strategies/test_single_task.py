from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from TRAINING.evaluation.splits import purged_tail
from TRAINING.model_fun import LightGBMTrainer
from TRAINING.model_fun.out_of_fold import hold_out_tail
from TRAINING.strategies import SingleTaskStrategy

SMOKE = {"n_estimators": 30, "early_stopping_rounds": 5, "min_data_in_leaf": 10}


def make_strategy() -> SingleTaskStrategy:
    return SingleTaskStrategy("lightgbm", load_model_config("lightgbm", variant="smoke", overrides=SMOKE))


def test_given_validation_rows_are_used_as_they_are(make_planted) -> None:
    X, y = make_planted(500, "regression")
    model = make_strategy().train(X[:400], y[:400], X[400:], y[400:])
    alone = LightGBMTrainer(make_strategy().model_config).train(X[:400], y[:400], X[400:], y[400:])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


def test_without_them_the_purged_tail_stops_early(make_planted) -> None:
    """The held-out rows are the last 20 % of sessions; rows whose label ends there are in neither part."""
    X, y = make_planted(500, "regression")
    timestamps = X.index.get_level_values("timestamp")
    ends = np.full(500, np.datetime64("NaT", "ns"))
    ends[:-5] = timestamps.tz_localize(None)[5:]
    rows = RowInfo(ends)
    model = make_strategy().train(X, y, rows=rows)
    assert set(model.history) == {"train", "validation"}

    days = timestamps.tz_localize(None).to_numpy().astype("datetime64[D]")
    head, tail = purged_tail(days, ends.astype("datetime64[D]"), 0.2)
    assert tail.sum() == 95  # 100 sessions, the last 5 without a label
    assert head.sum() == 395
    alone = LightGBMTrainer(make_strategy().model_config).train(X[head], y[head], X[tail], y[tail])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


def test_the_tail_goes_by_the_sessions_of_the_rows(make_planted) -> None:
    """Two bars a session, the first of which comes in the evening before."""
    X, _ = make_planted(500, "regression")
    sessions = np.arange("2020-01-01", "2020-09-07", dtype="datetime64[D]").repeat(2)
    times = sessions.astype("datetime64[ns]") + np.tile(np.array([-1, 12], "timedelta64[h]"), 250)
    index = pd.MultiIndex.from_arrays([["A"] * 500, times])
    ends = np.append(times[1:], np.datetime64("NaT"))
    label_sessions = np.append(sessions[1:], np.datetime64("NaT"))
    rows = RowInfo(ends, sessions=sessions, label_sessions=label_sessions)
    head, tail = hold_out_tail(X.set_axis(index), rows, [])
    assert np.flatnonzero(tail).tolist() == list(range(400, 499))
    assert np.flatnonzero(head).tolist() == list(range(399)), "the label of row 399 is known in the tail"


def test_without_rows_a_fixed_number_is_purged(make_planted) -> None:
    X, y = make_planted(500, "regression")
    plain = X.reset_index(drop=True), y.reset_index(drop=True)
    model = make_strategy().train(*plain)
    alone = LightGBMTrainer(make_strategy().model_config).train(
        plain[0][:395], plain[1][:395], plain[0][400:], plain[1][400:]
    )
    np.testing.assert_array_equal(model.predict(plain[0]), alone.predict(plain[0]))
    with pytest.raises(DataError, match="timestamps in its index"):
        make_strategy().train(*plain, rows=RowInfo(np.full(500, np.datetime64("2030-01-01", "ns"))))


def test_unknown_model_is_suggested(make_planted) -> None:
    X, y = make_planted(500, "regression")
    with pytest.raises(ConfigError, match="did you mean 'lightgbm'"):
        SingleTaskStrategy("lightgmb").train(X, y)


def test_a_far_horizon_in_the_targets_name_purges_more(make_planted) -> None:
    """Labels that look 60 rows ahead would let the tail's bars into the rows before it."""
    X, y = make_planted(500, "regression")
    model = make_strategy().train(X, y.rename("fwd_ret_60"))
    alone = LightGBMTrainer(make_strategy().model_config).train(X[:340], y[:340].rename("fwd_ret_60"), X[400:], y[400:])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


def test_what_does_not_go_together_is_told(make_planted) -> None:
    X, y = make_planted(500, "regression")
    rows = RowInfo(np.full(499, np.datetime64("2030-01-01", "ns")))
    with pytest.raises(DataError, match="X_train must be a DataFrame with named columns, got ndarray"):
        make_strategy().train(X.to_numpy(), y)
    with pytest.raises(DataError, match=r"X_train has 500 rows, its y has 499; align them, for example y.loc\[X.index"):
        make_strategy().train(X, y[:499])
    with pytest.raises(DataError, match="X_val has 500 rows, its y has 2"):
        make_strategy().train(X, y, X, y[:2])
    with pytest.raises(DataError, match="rows describes 499 rows, X_train has 500"):
        make_strategy().train(X, y, rows=rows)
    with pytest.raises(DataError, match="X_val and y_val come together"):
        make_strategy().train(X, y, X)
