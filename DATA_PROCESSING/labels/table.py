"""The table of the labels: which columns there are, what they mean, and the position that a prediction stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

_HORIZON = r"([1-9]\d*[mhd]?)"
_FORWARD = re.compile(rf"(fwd_ret|fwd_excess)_{_HORIZON}")
_FURTHER = re.compile(rf"(.+)_h{_HORIZON}")


@dataclass(frozen=True)
class Label:
    """One label: its column, its task, and the position that a prediction of it stands for.

    ``money_rule`` is ``"long_flat"`` or ``"short_flat"`` (in the market when predicted 1), ``"sign"`` (the sign of the
    prediction), or None where a prediction names no position.
    """

    name: str
    task: Literal["binary", "regression"]
    money_rule: Literal["long_flat", "short_flat", "sign"] | None
    text: str


LABELS = (
    Label("y_will_peak", "binary", "long_flat", "1 if the upper barrier is touched, else 0"),
    Label("y_will_valley", "binary", "short_flat", "1 if the lower barrier is touched, else 0"),
    Label(
        "y_first_touch",
        "regression",
        "sign",
        "+1 if the upper barrier is touched first, -1 if the lower, 0 if none; a bar touching both counts as the lower",
    ),
    Label("TTH", "regression", None, "bars to the first touch of either barrier; missing if there is none"),
    Label("MFE", "regression", None, "maximum favourable excursion: highest high / close - 1, at least 0"),
    Label("MAE", "regression", None, "maximum adverse excursion: lowest low / close - 1, at most 0"),
    Label("MDD", "regression", None, "maximum drawdown along the closes from bar t on, as a fraction, at most 0"),
    Label("fwd_ret_h", "regression", "sign", "last close of the path / close - 1"),
    Label(
        "fwd_excess_h",
        "regression",
        "sign",
        "fwd_ret_h less its mean over the symbols of the panel; only with `excess: true`",
    ),
)

_BY_NAME = {label.name: label for label in LABELS}


def label_of(column: str) -> Label | None:
    """The label of a column, of whichever horizon; None for a column that is not ours."""
    if forward := _FORWARD.fullmatch(column):
        return replace(_BY_NAME[f"{forward[1]}_h"], name=column)
    further = _FURTHER.fullmatch(column)
    label = _BY_NAME.get(further[1] if further else column)
    return None if label is None or label.name.endswith("_h") else replace(label, name=column)


def label_names(settings: dict) -> list[str]:
    """The columns that `build_labels` makes with the run config ``labels``, in order."""
    names = []
    for horizon in (settings["horizon"], *settings["horizons"]):
        suffix = "" if horizon == settings["horizon"] else f"_h{horizon}"
        names += [column_name(label, horizon, suffix) for label in LABELS if label.name != "fwd_excess_h"]
        names += [f"fwd_excess_{horizon}"] if settings["excess"] else []
        names.append(f"label_end{suffix}")
    return names


def column_name(label: Label, horizon: int | str, suffix: str) -> str:
    """A label's column for a horizon; forward returns carry the horizon in their name, the others in the suffix."""
    if label.name.endswith("_h"):
        return f"{label.name.removesuffix('_h')}_{horizon}"
    return f"{label.name}{suffix}"


def horizon_of(target: str, horizon: int | str) -> int | str:
    """How far a target looks ahead, bars or a span of time: what its name says, else the table's ``horizon``."""
    named = _horizon_in(target) if label_of(target) else None
    if named is None:
        return horizon
    return int(named) if named.isdecimal() else named


def label_end_of(target: str, columns: Iterable[str]) -> str:
    """The column that says when a target becomes known: ``label_end_h<H>`` of its horizon H, else ``label_end``."""
    own = f"label_end_h{_horizon_in(target)}"
    return own if own in columns else "label_end"


def _horizon_in(target: str) -> str | None:
    named = _FORWARD.fullmatch(target) or _FURTHER.fullmatch(target)
    return named[2] if named else None


def task_of(target: str, y: np.ndarray) -> str:
    """``binary`` or ``regression``: what the label table says, else binary where every value is 0 or 1."""
    label = label_of(target)
    if label is not None:
        return label.task
    return "binary" if np.isin(y, (0, 1)).all() else "regression"
