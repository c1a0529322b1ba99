"""What the models predict: barriers, time to hit, excursions, drawdown and forward returns.

A label of bar t looks at bars t+1 to t+horizon and is known when the last of them closes, at ``label_end``. The kernels
double the span step by step: the extremes over 2, 4, 8, ... bars give those over any span from a few parts, so cost
grows with the logarithm of the horizon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import lagged
from DATA_PROCESSING.features.windows import rolling_std

TOUCHES = ("high_low", "close")
BLOCK = 1024  # rows per block: the doubled spans of a block stay in the second-level cache


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
    Label("fwd_ret_h", "regression", "sign", "close h bars later / close - 1"),
)

_BY_NAME = {label.name: label for label in LABELS}
_FORWARD_RETURN = _BY_NAME.pop("fwd_ret_h")


def label_of(column: str) -> Label | None:
    """The label of a column, ``fwd_ret_<h>`` for any horizon h included; None for a column that is not ours."""
    if re.fullmatch(r"fwd_ret_[1-9]\d*", column):
        return replace(_FORWARD_RETURN, name=column)
    return _BY_NAME.get(column)


def label_names(horizon: int) -> list[str]:
    """The columns that `build_labels` makes, in order."""
    return [label.name.replace("fwd_ret_h", f"fwd_ret_{horizon}") for label in LABELS] + ["label_end"]


def horizon_of(target: str, horizon: int) -> int:
    """Bars that a target looks ahead: the h of ``fwd_ret_<h>``, else the table's ``horizon``."""
    ahead = re.fullmatch(r"fwd_ret_([1-9]\d*)", target)
    return int(ahead[1]) if ahead else horizon


def task_of(target: str, y: np.ndarray) -> str:
    """``binary`` or ``regression``: what the label table says, else binary where every value is 0 or 1."""
    label = label_of(target)
    if label is not None:
        return label.task
    return "binary" if np.isin(y, (0, 1)).all() else "regression"


@compiled
def first_reach(x: np.ndarray, level: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Look ahead over x[t + 1] to x[t + horizon] from every row t that has them.

    Returns
    -------
    offset : (n - horizon,) int64
        The first offset at which x reaches level[t], or horizon + 1 if it does not.
    highest : (n - horizon,) float64
        The largest of those values.
    """
    rows = max(x.size - horizon, 0)
    offset, highest = np.empty(rows, np.int64), np.empty(rows)
    doublings = 0
    while 2 << doublings <= horizon:
        doublings += 1
    longest = 1 << doublings
    block = max(BLOCK, horizon)  # each block looks horizon rows into the next one
    spans = np.empty((doublings + 1, min(block, rows) + 2 * longest))
    for start in range(0, rows, block):  # spans[k, i] becomes the highest of the 2^k values from x[start + 1 + i] on
        count = min(block, rows - start)
        width = count + 2 * longest
        present = min(width, x.size - start - 1)
        spans[0, :present] = x[start + 1 : start + 1 + present]
        spans[0, present:width] = -np.inf
        for doubling in range(1, doublings + 1):
            half = 1 << (doubling - 1)
            width -= half
            near, far, whole = spans[doubling - 1], spans[doubling - 1, half:], spans[doubling]
            for row in range(width):
                whole[row] = near[row] if near[row] > far[row] else far[row]

        top, near, far = highest[start : start + count], spans[doublings], spans[doublings, horizon - longest :]
        for row in range(count):  # two spans that overlap cover the horizon
            top[row] = near[row] if near[row] > far[row] else far[row]

        goal, below = level[start : start + count], offset[start : start + count]
        below[:] = 0  # values ahead that are known to stay below the level
        for doubling in range(doublings, -1, -1):
            span = spans[doubling]
            for row in range(count):
                below[row] += 1 << doubling if span[row + below[row]] < goal[row] else 0
        for row in range(count):
            below[row] = min(below[row], horizon) + 1
    return offset, highest


@compiled
def deepest_fall(x: np.ndarray, horizon: int) -> np.ndarray:
    """Lowest ratio, at most 1, of a value to one before it among x[t] to x[t + horizon], for every row t that has them.

    A span is summed up by its highest value, lowest value and lowest ratio. Two spans that follow each other make one:
    its lowest ratio lies in the first, in the second, or between the highest of the first and the lowest of the second.
    """
    rows = max(x.size - horizon, 0)
    path_ratio = np.ones(rows)
    block = max(BLOCK, horizon)
    shape = (2, min(block, rows) + horizon)  # spans of one length, and those twice as long
    highest, lowest, ratio, path_highest = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(block)
    for start in range(0, rows, block):
        count = min(block, rows - start)
        highest[0, : count + horizon] = lowest[0, : count + horizon] = x[start : start + count + horizon]
        ratio[0, : count + horizon] = 1.0
        path_highest[:count] = x[start : start + count]
        now, span, covered = 0, 1, 0
        while True:
            if (horizon + 1) & span:  # the path's length is a sum of powers of two: append this one
                part_ratio, part_lowest = ratio[now, covered:], lowest[now, covered:]
                part_highest, so_far = highest[now, covered:], path_ratio[start : start + count]
                for row in range(count):
                    so_far[row] = min(so_far[row], part_ratio[row], part_lowest[row] / path_highest[row])
                    path_highest[row] = max(path_highest[row], part_highest[row])
                covered += span
            if covered > horizon:
                break
            far_ratio, far_lowest, far_highest = ratio[now, span:], lowest[now, span:], highest[now, span:]
            for row in range(count + horizon + 1 - 2 * span):
                between = far_lowest[row] / highest[now, row]
                ratio[1 - now, row] = min(ratio[now, row], far_ratio[row], between)
                lowest[1 - now, row] = min(lowest[now, row], far_lowest[row])
                highest[1 - now, row] = max(highest[now, row], far_highest[row])
            now, span = 1 - now, 2 * span
    return path_ratio


def build_labels(
    bars: pd.DataFrame,
    *,
    horizon: int,
    barrier: float,
    vol_window: int,
    touch: str = "high_low",
    sessions: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compute every label of one symbol's bars.

    The barriers of bar t lie at ``close * exp(+-barrier * sigma * sqrt(horizon))``, where sigma is the standard
    deviation (ddof 1) of the ``vol_window`` 1-bar log returns that end at t; after Lopez de Prado, Advances in
    Financial Machine Learning (2018), chapter 3.

    Parameters
    ----------
    bars : DataFrame of n rows
        Valid, adjusted bars in strictly increasing time, as for `build_features`.
    horizon : int
        Bars ahead that a label looks at (H).
    barrier : float
        Distance of the barriers, in standard deviations over the horizon (k).
    vol_window : int
        Number of returns behind sigma.
    touch : {"high_low", "close"}
        Whether a bar's high and low touch a barrier, or only its close. Excursions always use high and low.
    sessions : int array of n rows, optional
        Position of each bar's session among the panel's sessions. Where the path from t to t + H spans more than 2 H
        sessions, because bars are missing, all labels of t are missing.

    Returns
    -------
    DataFrame of n rows
        The columns of `LABELS`, with ``fwd_ret_<horizon>`` for the last, then ``label_end``: the timestamp of bar
        t + H, when the labels of t are known. NaN (NaT in ``label_end``) where missing: all labels of the last H rows,
        the barrier labels (``y_*``, ``TTH``) where sigma is undefined or 0, and ``TTH`` where no barrier is touched.
        Barrier labels are float32, returns and excursions float64. ``attrs["both_touched_share"]`` is the share of
        the rows with a ``TTH`` whose first touch is a bar that touches both barriers; NaN where no row has one.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """
    _check_settings(horizon, barrier, vol_window, touch)
    timestamp = bars["timestamp"].to_numpy("datetime64[ns]")
    high, low, close = (
        np.require(bars[name].to_numpy(np.float64), requirements="CW") for name in ("high", "low", "close")
    )
    rows = max(len(bars) - horizon, 0)

    with np.errstate(over="ignore"):  # a barrier at infinity is never touched
        move = barrier * np.sqrt(horizon) * rolling_std(np.log(close / lagged(close, 1)), vol_window, 1)
        upper, lower = close * np.exp(move), close * np.exp(-move)
    up, highest = first_reach(high, upper, horizon)
    down, lowest = first_reach(-low, -lower, horizon)
    if touch == "close":
        up, down = first_reach(close, upper, horizon)[0], first_reach(-close, -lower, horizon)[0]
    first = np.minimum(up, down)

    spanned = np.ones(rows, dtype=bool) if sessions is None else sessions[horizon:] - sessions[:rows] <= 2 * horizon
    barriers = spanned & (move[:rows] > 0)
    touched = barriers & (first <= horizon)

    def column(values: np.ndarray, where: np.ndarray, dtype: type) -> np.ndarray:
        padded = np.full(len(bars), np.nan, dtype=dtype)
        padded[:rows] = np.where(where, values, np.nan)
        return padded

    price = close[:rows]
    labels = pd.DataFrame(
        {
            "y_will_peak": column(up <= horizon, barriers, np.float32),
            "y_will_valley": column(down <= horizon, barriers, np.float32),
            "y_first_touch": column(np.where(down <= first, -1, 1) * touched, barriers, np.float32),
            "TTH": column(first, touched, np.float32),
            "MFE": column(np.maximum(highest / price - 1.0, 0.0), spanned, np.float64),
            "MAE": column(np.minimum(-lowest / price - 1.0, 0.0), spanned, np.float64),
            "MDD": column(deepest_fall(close, horizon) - 1.0, spanned, np.float64),
            f"fwd_ret_{horizon}": column(close[horizon:] / price - 1.0, spanned, np.float64),
        },
        index=bars.index,
    )
    label_end = np.full(len(bars), np.datetime64("NaT"), dtype="datetime64[ns]")
    label_end[:rows] = np.where(spanned, timestamp[horizon:], label_end[:rows])
    labels["label_end"] = pd.DatetimeIndex(label_end, tz="UTC")
    labels.attrs["both_touched_share"] = float(np.mean((up == down)[touched])) if touched.any() else float("nan")
    return labels


def _check_settings(horizon: int, barrier: float, vol_window: int, touch: str) -> None:
    for name, value, least in (("horizon", horizon, 1), ("vol_window", vol_window, 2)):
        if value < least:
            raise ConfigError(f"{name}: at least {least} bars are needed, got {value}")
    if not barrier > 0:
        raise ConfigError(f"barrier: must be above 0 standard deviations, got {barrier}")
    if touch not in TOUCHES:
        raise ConfigError(f"touch: unknown value {touch!r}{did_you_mean(touch, TOUCHES)}")
