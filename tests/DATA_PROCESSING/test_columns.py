from __future__ import annotations

from DATA_PROCESSING.columns import feature_columns, is_label, target_columns
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.labels import LABELS

COLUMNS = ["timestamp", "close", "adj_close", "return_1", "y_will_peak", "fwd_ret_5", "TTH_h10", "label_end", "range_x"]


def test_features_and_targets_part_the_columns_in_order():
    assert feature_columns(COLUMNS) == ["return_1", "range_x"]
    assert target_columns(COLUMNS) == ["y_will_peak", "fwd_ret_5", "TTH_h10"]


def test_no_shipped_feature_is_taken_for_a_label():
    names = [feature.name for feature in feature_table("comprehensive")]
    assert feature_columns(names) == names


def test_every_shipped_label_is_a_target():
    names = [label.name for label in LABELS]
    assert target_columns(names) == names


def test_label_end_is_known_later_but_is_no_target():
    assert is_label("label_end")
    assert target_columns(["label_end"]) == []


def test_an_index_that_pandas_stored_is_no_feature():
    assert feature_columns(["__index_level_0__", "x"]) == ["x"]
