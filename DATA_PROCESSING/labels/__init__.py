"""What the models predict: barriers, time to hit, excursions, drawdown and forward returns.

A label of bar t looks at the bars of its path, those behind t up to a horizon, and is known when the last of them
closes, at ``label_end``.
"""

from DATA_PROCESSING.labels.build import build_labels, first_needed, label_columns, panel_forward_returns, settled_rows
from DATA_PROCESSING.labels.table import LABELS, Label, horizon_of, label_end_of, label_names, label_of, task_of
from DATA_PROCESSING.labels.weights import average_uniqueness, sample_weights, time_decay

__all__ = [
    "LABELS",
    "Label",
    "average_uniqueness",
    "build_labels",
    "first_needed",
    "horizon_of",
    "label_columns",
    "label_end_of",
    "label_names",
    "label_of",
    "panel_forward_returns",
    "sample_weights",
    "settled_rows",
    "task_of",
    "time_decay",
]
