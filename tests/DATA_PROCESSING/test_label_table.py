"""What the names of label columns say: task, money rule, horizon, and the column that tells when it is known."""

from __future__ import annotations

import numpy as np
import pytest

from DATA_PROCESSING.columns import is_label
from DATA_PROCESSING.labels import LABELS, horizon_of, label_end_of, label_of, task_of


@pytest.mark.parametrize("suffix", ["", "_h20", "_h30m", "_h5d"])
def test_labels_of_every_horizon_have_their_task_and_money_rule(suffix):
    rows = {name: label_of(f"{name}{suffix}") for name in (label.name for label in LABELS[:7])}
    assert [row.name for row in rows.values()] == [f"{name}{suffix}" for name in rows]
    assert {name for name, row in rows.items() if row.task == "binary"} == {"y_will_peak", "y_will_valley"}
    assert {name: row.money_rule for name, row in rows.items() if row.money_rule} == {
        "y_will_peak": "long_flat",
        "y_will_valley": "short_flat",
        "y_first_touch": "sign",
    }
    for name in ("fwd_ret", "fwd_excess"):
        row = label_of(f"{name}_{suffix[2:] or 5}")
        assert (row.task, row.money_rule) == ("regression", "sign")


@pytest.mark.parametrize(
    "column",
    ["y_mine", "mfe", "fwd_ret_0", "fwd_ret_h", "fwd_excess_h", "fwd_ret_5x", "fwd_ret_h_h5", "MFE_h0", "MFE_5",
     "y_will_peak_h", "label_end", "label_end_h20"],
)  # fmt: skip
def test_other_columns_are_not_ours(column):
    assert label_of(column) is None
    assert task_of(column, np.array([0, 1, 1])) == "binary"
    assert task_of(column, np.array([0, 1, 2])) == "regression"


def test_the_task_of_our_labels_does_not_depend_on_values():
    assert task_of("fwd_ret_5", np.array([0, 1])) == "regression"
    assert task_of("y_will_peak_h5d", np.array([0.5])) == "binary"


@pytest.mark.parametrize(
    ("target", "horizon"),
    [("y_will_peak", 5), ("y_will_peak_h20", 20), ("TTH_h30m", "30m"), ("fwd_ret_7", 7), ("fwd_excess_5d", "5d"),
     ("fwd_ret_5", 5), ("y_mine", 5), ("y_mine_h20", 5)],
)  # fmt: skip
def test_the_horizon_is_in_the_name_of_our_labels(target, horizon):
    assert horizon_of(target, 5) == horizon


@pytest.mark.parametrize(
    ("target", "column"),
    [("y_will_peak", "label_end"), ("y_will_peak_h20", "label_end_h20"), ("fwd_ret_20", "label_end_h20"),
     ("fwd_excess_5d", "label_end_h5d"), ("fwd_ret_5", "label_end"), ("y_mine_h20", "label_end_h20"),
     ("TTH_h7", "label_end")],
)  # fmt: skip
def test_each_target_has_its_own_label_end(target, column):
    assert label_end_of(target, ["label_end", "label_end_h20", "label_end_h5d"]) == column


def test_no_label_can_be_taken_for_a_feature():
    for label in LABELS:
        assert is_label(label.name)
    assert is_label("label_end_h20")
