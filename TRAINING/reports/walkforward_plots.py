"""The pictures of a walk-forward's report, each one function of a frame, as inline SVG (see ``style``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import style
from TRAINING.reports.columns import percent
from TRAINING.reports.plots import NARROW, WIDE, Line, paint_equity, shorten
from TRAINING.reports.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 500  # of a line; more are too fine to see and heavy to send
STATUS = {"done": "blue", "some": "amber", "none": "orange"}  # of a fold: all, some or no results are there


def timeline(frame: pd.DataFrame, *, name: str, label: str, narrow: bool) -> Markup:
    """The windows of each fold as bars, the first on top.

    Columns ``fold``, ``train_start``, ``validation_start``, ``train_end``, ``test_start``, ``test_end`` and ``status``,
    a key of `STATUS`. The test windows are as thick as their colour needs to be seen.
    """
    from matplotlib.dates import date2num

    width, count = NARROW if narrow else WIDE, len(frame)
    row = max(3.0, min(16.0, 640 / max(count, 1)))
    height = 60 + row * count
    days = {column: date2num(frame[column].to_numpy()) for column in frame if str(column).endswith(("start", "end"))}

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 44, 14, width - 8, height - 42)
        places = np.arange(count)
        for begin, end, colour, alpha in (
            ("train_start", "validation_start", "strong", 1.0),
            ("validation_start", "train_end", "blue", 0.3),
        ):
            axis.barh(places, days[end] - days[begin], left=days[begin], height=0.5, color=LIGHT[colour], alpha=alpha)
        axis.barh(places, np.maximum(days["test_end"] - days["test_start"], 1), left=days["test_start"], height=0.9,
                  color=[LIGHT[STATUS[status]] for status in frame["status"]])  # fmt: skip
        axis.xaxis_date()
        shown = places[:: max(1, round(18 / row))]
        axis.set_yticks(shown, [str(number) for number in frame["fold"].to_numpy()[shown]])
        axis.set_ylim(count - 0.3, -0.7)
        axis.grid(visible=False, axis="y")
        axis.grid(visible=True, axis="x")
        axis.spines["bottom"].set_visible(False)
        axis.text(0, 1, "fold", transform=axis.transAxes, color=LIGHT["muted"], ha="right", va="bottom", fontsize=11.5)
        style.dates(axis, 5 if narrow else 10)

    return style.svg(paint, width, height, name=name, label=label)


def equity(lines: Sequence[Line], band: pd.DataFrame, *, name: str, label: str, narrow: bool) -> Markup:
    """Equity after costs above, drawdown beneath, as ``plots.equity``; the band of the first line is shaded.

    ``band`` has the columns ``session, low, high``, growth of 1; it may be empty.
    """
    width, height, fall = (NARROW, 420, 124) if narrow else (WIDE, 474, 134)

    def paint(figure: Figure) -> None:
        upper = style.axes(figure, 52, 26, width - 4, height - fall - 56)
        lower = style.axes(figure, 52, height - fall - 16, width - 4, height - 44, sharex=upper)
        paint_equity(upper, lower, [_thin(line) for line in lines], 5 if narrow else 10)
        if len(band):
            limits = upper.get_ylim()
            start = 1.0 if upper.get_yscale() == "log" else 0.0
            low, high = (band[side].to_numpy(float) - 1 + start for side in ("low", "high"))
            upper.fill_between(band["session"].to_numpy(), low, high, color=LIGHT[lines[0].colour], alpha=0.12,
                               linewidth=0, zorder=0)  # fmt: skip
            upper.set_ylim(_within(limits, low, high, start))
        for axis, title in ((upper, "growth after costs"), (lower, "drawdown")):
            axis.text(0, 1.04, title, transform=axis.transAxes, color=LIGHT["muted"])

    return style.svg(paint, width, height, name=name, label=label)


def _thin(line: Line) -> Line:
    """The line at no more than `POINTS` sessions, its growth there unchanged."""
    returns = line.returns.dropna()
    step = -(-len(returns) // POINTS)
    if step < 2:
        return line
    group = np.arange(len(returns)) // step
    compound = (1 + returns).groupby(group).prod() - 1
    compound.index = returns.index[np.append(np.flatnonzero(np.diff(group)), len(returns) - 1)]
    return Line(line.label, compound, line.colour, line.dash, line.weight)


def _within(limits: tuple[float, float], low: np.ndarray, high: np.ndarray, start: float) -> tuple[float, float]:
    """Limits that show the band as far as it does not squeeze the lines to less than half."""
    bottom, top = limits
    if start:  # logarithmic
        room = (top / bottom) ** 0.5
        return max(min(bottom, low.min()), bottom / room), min(max(top, high.max()), top * room)
    room = (top - bottom) / 2
    return max(min(bottom, low.min()), bottom - room), min(max(top, high.max()), top + room)


def curves(
    frame: pd.DataFrame,
    x: str,
    y: str,
    colours: Mapping[str, tuple[str, object]],
    *,
    title: str,
    write: Callable[[object], str],
    name: str,
    label: str,
    reference: float | None = None,
    marker: str = "",
    across: str = "",
    narrow: bool = True,
) -> Markup:
    """One line per model of ``y`` over ``x``, shaded between ``low`` and ``high`` where the frame has them.

    Parameters
    ----------
    frame : DataFrame
        ``model``, the columns ``x`` (dates or numbers) and ``y``, perhaps ``low`` and ``high``; NaN breaks a line.
    colours : model -> (a name of the palette, a dash), the one on top first
    title, across : what the two axes show
    write : writes the values of ``y``
    reference : where a line is drawn across
    """
    width, height = (NARROW, 250) if narrow else (WIDE, 300)
    dated = pd.api.types.is_datetime64_any_dtype(frame[x])
    banded = {"low", "high"} <= set(frame.columns)

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 52, 24, width - 10, height - (54 if across else 40))
        if reference is not None:
            axis.axhline(reference, color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        for model, (colour, dash) in reversed(colours.items()):
            rows = frame[frame["model"] == model].sort_values(x)
            along = rows[x].to_numpy()
            axis.plot(along, rows[y].to_numpy(float), color=LIGHT[colour], linestyle=dash, marker=marker, markersize=3)
            if banded:
                axis.fill_between(along, rows["low"].to_numpy(float), rows["high"].to_numpy(float),
                                  color=LIGHT[colour], alpha=0.13, linewidth=0)  # fmt: skip
        _finish(axis, title, write)
        if dated:
            style.dates(axis, 5 if narrow else 10)
        else:
            axis.set_xticks(sorted(frame[x].unique()))
            axis.set_xlabel(across)

    return style.svg(paint, width, height, name=name, label=label)


def _finish(axis: Axes, title: str, write: Callable[[object], str]) -> None:
    axis.text(0, 1.05, title, transform=axis.transAxes, color=LIGHT["muted"])
    axis.margins(x=0.02)
    axis.spines["bottom"].set_visible(False)
    style.ticks(axis, 5, write)


def importance_ranges(frame: pd.DataFrame, *, colour: str, name: str, label: str) -> Markup:
    """Mean share of each feature as a point, its lowest and highest over the folds as a line.

    Columns ``feature``, ``mean``, ``low``, ``high``, in the order to be drawn.
    """
    height = 20 * len(frame) + 40

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 182, 4, NARROW - 14, height - 32)
        places = np.arange(len(frame))
        low, mean, high = (frame[column].to_numpy(float) for column in ("low", "mean", "high"))
        axis.hlines(places, low, high, color=LIGHT[colour], linewidth=3, alpha=0.4)
        axis.plot(mean, places, marker="o", markersize=6, linestyle="", color=LIGHT[colour])
        axis.set_yticks(places, [shorten(feature, 24) for feature in frame["feature"]])
        axis.tick_params(axis="y", colors=LIGHT["ink"], labelsize=12)
        axis.grid(visible=False, axis="y")
        axis.grid(visible=True, axis="x")
        axis.set(xlim=(0, 1.03 * max(high.max(), 1e-12)), ylim=(len(frame) - 0.4, -0.6))
        axis.spines["bottom"].set_visible(False)
        style.ticks(axis, 5, lambda value: percent(value, 0), along="x")

    return style.svg(paint, NARROW, height, name=name, label=label)
