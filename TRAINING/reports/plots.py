"""The report's pictures, each one function of a frame, as inline SVG (see ``style``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import style
from TRAINING.reports.columns import label_of, number, percent, typeset, whole
from TRAINING.reports.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW, WIDE = 440, 1080  # pixels: a phone or a panel; the whole page
COVERAGE_BARS = 30  # more symbols than this are counted, not shown one by one


@dataclass(frozen=True)
class Line:
    """One equity line: returns per session and how they are drawn; ``colour`` is a name of the palette."""

    label: str
    returns: pd.Series
    colour: str
    dash: object = style.SOLID
    weight: float = 1.8

    @property
    def growth(self) -> pd.Series:
        """Growth of 1 after each session, missing returns left out."""
        return (1 + self.returns.dropna()).cumprod()

    @property
    def drawdown(self) -> pd.Series:
        """Fall below the highest growth so far, at most 0; the starting 1 counts as a height."""
        growth = self.growth
        return growth / growth.cummax().clip(lower=1) - 1


def shorten(name: object, length: int) -> str:
    """The name, its middle left out where it is longer than ``length``."""
    name = str(name)
    head = (length - 1) // 2
    return name if len(name) <= length else f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def paint_equity(upper: Axes, lower: Axes, lines: Sequence[Line], dates: int) -> None:
    """Growth on ``upper``, drawdown on ``lower``; growth is on a logarithmic scale where it spans a factor of 3."""
    from matplotlib.ticker import LogLocator, NullLocator

    floor, top = min(line.growth.min() for line in lines), max(line.growth.max() for line in lines)
    logarithmic = floor > 0 and top > 3 * floor
    start = 1 if logarithmic else 0
    for position, line in reversed(list(enumerate(lines))):
        growth, drawdown = line.growth, line.drawdown
        look = {"color": LIGHT[line.colour], "linestyle": line.dash, "linewidth": line.weight}
        upper.plot(growth.index, growth.to_numpy() - 1 + start, **look)
        lower.plot(drawdown.index, drawdown.to_numpy(), **(look | {"linewidth": 0.7 * line.weight}))
        if position == 0:
            lower.fill_between(
                drawdown.index, drawdown.to_numpy(), 0, color=LIGHT[line.colour], alpha=0.15, linewidth=0
            )
    upper.axhline(start, color=LIGHT["strong"], linewidth=1)
    lower.axhline(0, color=LIGHT["strong"], linewidth=1)
    style.ticks(upper, 5, lambda value: percent(value, 0))
    style.ticks(lower, 3, lambda value: percent(value, 0))
    if logarithmic:
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        upper.yaxis.set_minor_locator(NullLocator())
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    for axis in (upper, lower):
        axis.margins(x=0.01)
        axis.spines["bottom"].set_visible(False)
    upper.tick_params(labelbottom=False)
    style.dates(lower, dates)


def equity(lines: Sequence[Line], *, name: str, label: str, narrow: bool) -> Markup:
    """Equity after costs above, drawdown beneath; the first line is the one the drawdown is filled for."""
    width, height, fall = (NARROW, 420, 124) if narrow else (WIDE, 474, 134)

    def paint(figure: Figure) -> None:
        upper = style.axes(figure, 52, 26, width - 4, height - fall - 56)
        lower = style.axes(figure, 52, height - fall - 16, width - 4, height - 44, sharex=upper)
        paint_equity(upper, lower, lines, 5 if narrow else 10)
        for axis, title in ((upper, "growth after costs"), (lower, "drawdown")):
            axis.text(0, 1.04, title, transform=axis.transAxes, color=LIGHT["muted"])

    return style.svg(paint, width, height, name=name, label=label)


def importance(frame: pd.DataFrame, *, colour: str, name: str, label: str, top: int = 20) -> Markup:
    """The ``top`` features as bars: columns ``feature``, ``importance`` (sums to 1 over all features)."""
    bars = frame.dropna(subset="importance").sort_values(["importance", "feature"], ascending=[False, True]).head(top)
    shares = bars["importance"].to_numpy(float)
    return feature_bars(bars["feature"], shares, list(map(percent, shares)), LIGHT[colour], name=name, label=label)


def feature_bars(
    features: Iterable[str],
    sizes: np.ndarray,
    texts: Sequence[str],
    colours: str | Sequence[str],
    *,
    name: str,
    label: str,
) -> Markup:
    """A bar per feature, its text behind it, in the order given; ``sizes`` (n,) are 0 or more."""
    height = 20 * len(sizes) + 12

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 182, 4, NARROW - 66, height - 6)
        places = np.arange(len(sizes))
        axis.barh(places, sizes, height=0.62, color=colours)
        for place, size, text in zip(places, sizes, texts, strict=True):
            axis.annotate(text, (size, place), (5, 0), textcoords="offset pixels", va="center", color=LIGHT["muted"],
                          fontsize=11.5)  # fmt: skip
        axis.set_yticks(places, [shorten(feature, 24) for feature in features])
        axis.tick_params(axis="y", colors=LIGHT["ink"], labelsize=12)
        axis.set_xticks([])
        axis.grid(visible=False)
        axis.set(xlim=(0, max(sizes.max(), 1e-12)), ylim=(len(sizes) - 0.4, -0.6))
        axis.spines["bottom"].set_visible(False)

    return style.svg(paint, NARROW, height, name=name, label=label)


def learning_curves(frame: pd.DataFrame, *, metric: str, stop: float, colour: str, name: str, label: str) -> Markup:
    """Median and quartiles over symbols by round: columns ``part``, ``round``, ``value``, ``low``, ``high``.

    ``stop`` is the median round kept by early stopping (NaN: none is drawn).
    """
    height = 250

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 52, 24, NARROW - 8, height - 40)
        for part, look in (("train", ("muted", style.DASHED)), ("validation", (colour, "-"))):
            rows = frame[frame["part"] == part].sort_values("round")
            rounds = rows["round"].to_numpy(float)
            axis.plot(rounds, rows["value"].to_numpy(float), color=LIGHT[look[0]], linestyle=look[1])
            axis.fill_between(rounds, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=LIGHT[look[0]],
                              alpha=0.15, linewidth=0)  # fmt: skip
        if np.isfinite(stop):
            axis.axvline(stop, color=LIGHT["strong"], linewidth=1, linestyle=(0, (2, 2)))
        axis.text(0, 1.05, label_of(metric), transform=axis.transAxes, color=LIGHT["muted"])
        axis.set_xlabel("rounds")
        axis.margins(x=0.01)
        axis.xaxis.get_major_locator().set_params(integer=True)
        style.ticks(axis, 5, lambda value: f"{value:.4g}")

    return style.svg(paint, NARROW, height, name=name, label=label)


def calibration(frame: pd.DataFrame, *, task: str, colour: str, name: str, label: str) -> Markup:
    """Predicted against observed per bin, the diagonal, and the rows in each bin beneath.

    Columns ``predicted``, ``observed``, ``rows``; ``task`` ``binary`` gives probabilities, else values.
    """
    height = 330
    bins = frame.dropna(subset=["predicted", "observed"]).sort_values("predicted")
    predicted, observed = bins["predicted"].to_numpy(float), bins["observed"].to_numpy(float)
    binary = task == "binary"

    def write(value: float) -> str:
        return percent(value, 0) if binary else f"{value:.3g}"

    def limits(*values: np.ndarray) -> tuple[float, float]:
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        pad = 0.08 * (high - low) or 0.05 * max(abs(high), 1e-9)
        return low - pad, high + pad

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 56, 24, NARROW - 10, height - 108)
        counts = style.axes(figure, 56, height - 84, NARROW - 10, height - 40, sharex=axis)
        across, up = limits(predicted), limits(predicted, observed) if binary else limits(observed)
        ends = np.array([min(across[0], up[0]), max(across[1], up[1])])
        axis.plot(ends, ends, color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        if not binary:
            axis.axhline(0, color=LIGHT["strong"], linewidth=0.8)
        axis.plot(predicted, observed, color=LIGHT[colour], marker="o", markersize=5, linewidth=1.4)
        axis.set(xlim=across, ylim=up)
        axis.tick_params(labelbottom=False)
        title = "observed share" if binary else "mean of what came"
        axis.text(0, 1.05, title, transform=axis.transAxes, color=LIGHT["muted"])
        style.ticks(axis, 5, write)
        widths = 0.5 * np.min(np.diff(predicted)) if len(predicted) > 1 and np.min(np.diff(predicted)) > 0 else 0
        counts.bar(predicted, bins["rows"].to_numpy(float), width=max(widths, 0.012 * (across[1] - across[0])),
                   color=LIGHT[colour], alpha=0.45)  # fmt: skip
        counts.set_yticks([bins["rows"].max()], [whole(bins["rows"].max())])
        counts.text(0, 1.08, "rows", transform=counts.transAxes, color=LIGHT["muted"], fontsize=11.5)
        style.ticks(counts, 5, write, along="x")
        counts.set_xlabel("predicted probability" if binary else "predicted value")

    return style.svg(paint, NARROW, height, name=name, label=label)


def distributions(
    values: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
    *,
    metric: str,
    reference: float,
    name: str,
    label: str,
) -> Markup:
    """How a metric spreads over the symbols: one row and histogram per model, its median marked.

    ``values`` maps a model to one finite value per symbol; ``reference`` is the value of no skill (a line).
    """
    row = 62
    height = row * len(values) + 46
    everything = np.concatenate([*values.values(), [reference]])
    # The farthest hundredth is drawn at the edge, so that one wild symbol does not squeeze the others.
    low, high = (
        np.quantile(everything, [0.005, 0.995]) if len(everything) > 200 else (everything.min(), everything.max())
    )
    low, high = min(low, reference), max(high, reference)
    pad = 0.04 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, 33)

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 18, 4, NARROW - 18, height - 40)
        for place, (model, found) in enumerate(values.items()):
            shares, _ = np.histogram(np.clip(found, edges[0], edges[-1]), edges)
            heights = 0.62 * shares / max(shares.max(), 1)
            base = len(values) - 1 - place
            colour = LIGHT[colours[model]]
            axis.stairs(base + heights, edges, baseline=base, fill=True, color=colour, alpha=0.35)
            median = float(np.median(found))
            axis.plot([median, median], [base, base + 0.68], color=colour, linewidth=2)
            axis.text(edges[0], base + 0.74, shorten(model, 24), color=LIGHT["ink"], va="bottom")
            facts = (
                f"median {typeset(number(median, 3))} · {percent(np.mean(found > reference), 0)} above {reference:g}"
            )
            axis.text(edges[-1], base + 0.74, facts, color=LIGHT["muted"], va="bottom", ha="right", fontsize=11.5)
            axis.axhline(base, color=LIGHT["line"], linewidth=0.8)
        axis.axvline(reference, color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        axis.set(xlim=(edges[0], edges[-1]), ylim=(-0.02, len(values)), yticks=[])
        axis.grid(visible=False)
        axis.spines["bottom"].set_visible(False)
        style.ticks(axis, 7, lambda value: f"{value:g}", along="x")
        axis.set_xlabel(f"{label_of(metric)} per symbol")

    return style.svg(paint, NARROW, height, name=name, label=label)


def coverage(quality: pd.DataFrame, *, name: str, label: str, narrow: bool) -> Markup:
    """Which symbols have bars when: columns ``symbol``, ``first``, ``last``.

    One bar per symbol; of more than ``COVERAGE_BARS`` symbols the number over time.
    """
    from matplotlib.dates import date2num

    width = NARROW if narrow else WIDE
    spans = quality.dropna(subset=["first", "last"]).sort_values(["first", "symbol"], kind="stable")
    first, last = (pd.to_datetime(spans[side]).to_numpy() for side in ("first", "last"))
    single = len(spans) <= COVERAGE_BARS
    height = 20 * len(spans) + 52 if single else 212

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 96 if single else 44, 8, width - 12, height - 42)
        if single:
            axis.barh(np.arange(len(spans)), date2num(last) - date2num(first), left=date2num(first), height=0.45,
                      color=LIGHT["blue"], alpha=0.75)  # fmt: skip
            axis.xaxis_date()
            axis.set_yticks(np.arange(len(spans)), [shorten(symbol, 12) for symbol in spans["symbol"]])
            axis.tick_params(axis="y", colors=LIGHT["ink"])
            axis.set_ylim(len(spans) - 0.4, -0.6)
            axis.grid(visible=False, axis="y")
            axis.grid(visible=True, axis="x")
        else:
            days = np.unique(np.concatenate([first, last]))
            alive = np.searchsorted(np.sort(first), days, "right") - np.searchsorted(np.sort(last), days, "left")
            axis.step(days, alive, where="post", color=LIGHT["blue"])
            axis.fill_between(days, alive, step="post", color=LIGHT["blue"], alpha=0.15, linewidth=0)
            axis.set_ylim(0, 1.08 * alive.max())
            style.ticks(axis, 4, whole)
        axis.spines["bottom"].set_visible(False)
        style.dates(axis, 5 if narrow else 10)

    return style.svg(paint, width, height, name=name, label=label)


def symbol_detail(frame: pd.DataFrame, *, colour: str, name: str, label: str) -> Markup:
    """One symbol: its close over the shaded position, and growth after costs beneath against holding it.

    Columns ``session``, ``close``, ``position`` (-1..1), ``net_return``. The shade's height is the position's size,
    blue for long and orange for short.
    """
    height = 312
    rows = frame.sort_values("session")
    sessions, position = rows["session"].to_numpy(), rows["position"].fillna(0).to_numpy(float)
    held = Line("", rows.set_index("session")["close"].pct_change(fill_method=None), "muted", style.DOTTED, 1.2)
    traded = Line("", rows.set_index("session")["net_return"], colour, "-", 1.6)

    def paint(figure: Figure) -> None:
        price = style.axes(figure, 50, 22, NARROW - 8, 158)
        growth = style.axes(figure, 50, 188, NARROW - 8, height - 42, sharex=price)
        for sign, shade in ((1, "blue"), (-1, "orange")):
            size = np.clip(sign * position, 0, 1)
            if size.any():
                price.fill_between(sessions, 0, size, step="post", transform=price.get_xaxis_transform(),
                                   color=LIGHT[shade], alpha=0.2, linewidth=0)  # fmt: skip
        price.plot(sessions, rows["close"].to_numpy(float), color=LIGHT["ink"], linewidth=1.2)
        price.tick_params(labelbottom=False)
        style.ticks(price, 4, lambda value: f"{value:,.4g}")
        for line in (held, traded):
            growth.plot(line.growth.index, line.growth.to_numpy() - 1, color=LIGHT[line.colour], linestyle=line.dash,
                        linewidth=line.weight)  # fmt: skip
        growth.axhline(0, color=LIGHT["strong"], linewidth=0.8)
        style.ticks(growth, 3, lambda value: percent(value, 0))
        style.dates(growth, 5)
        for axis, title in ((price, "close and position"), (growth, "growth after costs")):
            axis.text(0, 1.05, title, transform=axis.transAxes, color=LIGHT["muted"], fontsize=11.5)
            axis.margins(x=0.01)
            axis.spines["bottom"].set_visible(False)

    return style.svg(paint, NARROW, height, name=name, label=label)
