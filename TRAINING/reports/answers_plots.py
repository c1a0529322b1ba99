"""Pictures of what only some kinds of model tell, each one function of a frame, as inline SVG (see ``style``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import style
from TRAINING.reports.columns import percent, short, typeset
from TRAINING.reports.plots import NARROW, feature_bars, shorten
from TRAINING.reports.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 800  # of a price line; of more, as many evenly spread ones
REGIME_COLOURS = ("green", "sky", "amber", "orange", "purple", "blue")  # from the calmest; then again from the first
FEATURES = 12  # bars of one picture
CLEAR = 0.5  # from here on a rank correlation is a direction


def price_by_regime(frame: pd.DataFrame, *, name: str, label: str) -> Markup:
    """Closes over the colours of the regimes: columns ``timestamp``, ``close``, ``regime`` (0, 1, ...)."""
    rows = frame.sort_values("timestamp")
    rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows))).astype(int))]
    times, regime = _times(rows), rows["regime"].to_numpy()

    def paint(figure: Figure) -> None:
        axis = _price(figure, times, rows["close"].to_numpy(float))
        begins = np.flatnonzero(np.diff(regime, prepend=regime[0] - 1))
        ends = [*begins[1:], len(times) - 1]
        for number in np.unique(regime):
            spans = [
                (times[begin], times[end] - times[begin])
                for begin, end in zip(begins, ends, strict=True)
                if regime[begin] == number
            ]
            axis.broken_barh(spans, (0, 1), transform=axis.get_xaxis_transform(), linewidth=0, alpha=0.4,
                             color=LIGHT[REGIME_COLOURS[number % len(REGIME_COLOURS)]], zorder=0)  # fmt: skip

    return style.svg(paint, NARROW, 230, name=name, label=label)


def price_with_changes(frame: pd.DataFrame, marks: np.ndarray, *, name: str, label: str) -> Markup:
    """Closes with upright lines where ``marks`` (n,) are: columns ``timestamp``, ``close``, ``change_probability``.

    The probability stands beneath.
    """
    order = frame["timestamp"].argsort().to_numpy()
    kept = np.zeros(len(frame), bool)
    kept[np.linspace(0, len(frame) - 1, min(MOST_ROWS, len(frame))).astype(int)] = True
    rows, marked = frame.iloc[order], _times(frame)[marks]
    rows = rows[kept]
    times, height = _times(rows), 290
    pixel = (NARROW * (marked - times[0]) / max(times[-1] - times[0], 1e-9)).astype(int)
    marked = marked[np.unique(pixel, return_index=True)[1]]

    def paint(figure: Figure) -> None:
        price = _price(figure, times, rows["close"].to_numpy(float))
        chance = style.axes(figure, 50, 226, NARROW - 8, height - 32, sharex=price)
        price.tick_params(labelbottom=False)
        chance.fill_between(times, 0, rows["change_probability"].to_numpy(float), step="post", color=LIGHT["blue"],
                            alpha=0.5, linewidth=0)  # fmt: skip
        for axis in (price, chance):
            axis.vlines(marked, 0, 1, transform=axis.get_xaxis_transform(), color=LIGHT["orange"], linewidth=1.2)
        chance.set(ylim=(0, 1), yticks=[0, 1])
        chance.set_yticklabels(["0%", "100%"])
        chance.text(0, 1.1, "probability of a recent change", transform=chance.transAxes, color=LIGHT["muted"],
                    fontsize=11.5)  # fmt: skip
        style.dates(chance, 5)

    return style.svg(paint, NARROW, height, name=name, label=label)


def _times(rows: pd.DataFrame) -> np.ndarray:
    from matplotlib.dates import date2num

    return date2num(pd.DatetimeIndex(rows["timestamp"]).tz_localize(None).to_numpy())


def _price(figure: Figure, times: np.ndarray, close: np.ndarray) -> Axes:
    axis = style.axes(figure, 50, 22, NARROW - 8, 198)
    axis.plot(times, close, color=LIGHT["ink"], linewidth=1.2)
    axis.xaxis_date()
    axis.margins(x=0.01)
    axis.spines["bottom"].set_visible(False)
    style.ticks(axis, 4, lambda value: f"{value:,.4g}")
    style.dates(axis, 5)
    axis.text(0, 1.05, "close", transform=axis.transAxes, color=LIGHT["muted"], fontsize=11.5)
    return axis


def pit_histogram(frame: pd.DataFrame, *, colour: str, name: str, label: str) -> Markup:
    """Shares of the labels per part of their forecasts, and where chance leaves those of calibrated ones.

    Columns ``low, high, share, chance_low, chance_high``, the last two NaN where chance is not known.
    """
    bins = frame.sort_values("low")
    low, share = bins["low"].to_numpy(float), bins["share"].to_numpy(float)
    width = bins["high"].to_numpy(float) - low
    edges = np.append(low, low[-1] + width[-1])
    band = bins[["chance_low", "chance_high"]].to_numpy(float)
    height = 250

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 52, 24, NARROW - 10, height - 40)
        axis.bar(low, share, width=0.94 * width, align="edge", color=LIGHT[colour], alpha=0.75)
        if np.isfinite(band).all():
            axis.stairs(band[:, 1], edges, baseline=band[:, 0], fill=True, color=LIGHT["ink"], alpha=0.18, linewidth=0)
        axis.stairs(width, edges, baseline=None, color=LIGHT["ink"], linewidth=1, linestyle=(0, (4, 3)))
        axis.set(xlim=(0, 1), ylim=(0, 1.08 * max(share.max(), np.nanmax(band, initial=0.0), width.max())))
        axis.text(0, 1.05, "share of the labels", transform=axis.transAxes, color=LIGHT["muted"])
        axis.set_xlabel("predicted probability of a value up to the label")
        style.ticks(axis, 5, lambda value: percent(value, 0))
        style.ticks(axis, 5, lambda value: percent(value, 0), along="x")

    return style.svg(paint, NARROW, height, name=name, label=label)


def quantile_coverage(frame: pd.DataFrame, *, colour: str, name: str, label: str) -> Markup:
    """How far the share of labels up to a quantile is from its level: ``level``, ``below``, ``low``, ``high``."""
    bins = frame.sort_values("level")
    level = bins["level"].to_numpy(float)
    off, low, high = (bins[column].to_numpy(float) - level for column in ("below", "low", "high"))
    height = 250

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 60, 24, NARROW - 10, height - 40)
        axis.axhline(0, color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        axis.vlines(level, low, high, color=LIGHT[colour], alpha=0.5, linewidth=3)
        axis.plot(level, off, color=LIGHT[colour], marker="o", markersize=6, linestyle="none")
        reach = 1.1 * max(0.02, np.nanmax(np.abs(np.concatenate([off, low, high]))))
        axis.set(xlim=(-0.04, 1.04), ylim=(-reach, reach))
        axis.text(0, 1.05, "share below less the level, points", transform=axis.transAxes, color=LIGHT["muted"])
        axis.set_xlabel("level of the quantile")
        style.ticks(axis, 5, lambda value: f"{100 * value:+.3g}" if value else "0")
        axis.set_xticks(level, [percent(value, 0) for value in level])

    return style.svg(paint, NARROW, height, name=name, label=label)


def part_weights(frame: pd.DataFrame, *, colour: str, name: str, label: str) -> Markup:
    """Median and range over the symbols of each part's weight: columns ``part``, ``median``, ``low``, ``high``."""
    height = 34 * len(frame) + 44
    low, median, high = (frame[column].to_numpy(float) for column in ("low", "median", "high"))

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 90, 4, NARROW - 60, height - 30)
        places = np.arange(len(frame))
        axis.hlines(places, low, high, color=LIGHT[colour], alpha=0.35, linewidth=7)
        axis.plot(median, places, color=LIGHT[colour], marker="o", markersize=8, linestyle="none")
        for place, value in zip(places, median, strict=True):
            axis.text(1.03, place, percent(value, 0), transform=axis.get_yaxis_transform(), va="center",
                      color=LIGHT["ink"])  # fmt: skip
        axis.set_yticks(places, [shorten(part, 12) for part in frame["part"]])
        axis.tick_params(axis="y", colors=LIGHT["ink"])
        axis.set(xlim=(0, 1), ylim=(len(frame) - 0.5, -0.5))
        axis.grid(visible=True, axis="x")
        axis.grid(visible=False, axis="y")
        axis.spines["bottom"].set_visible(False)
        style.ticks(axis, 5, lambda value: percent(value, 0), along="x")

    return style.svg(paint, NARROW, height, name=name, label=label)


def shap_bars(frame: pd.DataFrame, *, name: str, label: str) -> Markup:
    """The features that move predictions farthest, coloured by direction: ``feature``, ``mean_abs``, ``direction``."""
    bars = frame.sort_values(["mean_abs", "feature"], ascending=[False, True]).head(FEATURES)
    sizes = bars["mean_abs"].to_numpy(float)
    texts = [typeset(short(size)) for size in sizes]
    colours = [LIGHT[direction_colour(value)] for value in bars["direction"]]
    return feature_bars(bars["feature"], sizes, texts, colours, name=name, label=label)


def direction_colour(direction: float) -> str:
    """Of a feature that raises predictions, lowers them, or does neither clearly."""
    return "blue" if direction >= CLEAR else "orange" if direction <= -CLEAR else "strong"
