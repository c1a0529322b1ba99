"""One picture that stands for a run, for a README or a slide."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from TRAINING.reports import panels, plots, style, verdict
from TRAINING.reports.columns import number, signed, typeset
from TRAINING.reports.leaderboard import complete
from TRAINING.reports.plots import shorten
from TRAINING.reports.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1600, 900
BARS = 10  # rows of the leaderboard shown
LEGEND_COLUMNS = 5


def hero_picture(leaderboard: pd.DataFrame, returns: pd.DataFrame, *, title: str, target: str = "") -> bytes:
    """Equity, drawdown and Sharpe intervals of one target as a PNG of 1600 x 900 pixels.

    ``target`` defaults to the one of the best-ranked model. The same input gives the same bytes on the same machine.
    Without returns or models of the target the panel in question stays empty.
    """
    leaderboard = complete(leaderboard)
    order = panels.Order.of(leaderboard)
    found = verdict.evidence(leaderboard)
    target = target or (found[0].target if found else "")
    lines = panels.equity_lines(returns, leaderboard, order).get(target, [])
    rows = leaderboard[leaderboard["target"].astype(str) == target].dropna(subset="sharpe").head(BARS)

    def paint(figure: Figure) -> None:
        figure.text(56 / WIDTH, 1 - 62 / HEIGHT, title, fontsize=17, color=LIGHT["muted"])
        figure.text(56 / WIDTH, 1 - 84 / HEIGHT, fill(verdict.headline(leaderboard), 88), fontsize=29, va="top",
                    family="DejaVu Serif", linespacing=1.3)  # fmt: skip
        for left, right in ((40, 1060), (1080, 1560)):
            card = style.axes(figure, left, 196, right, 860, facecolor=LIGHT["card"], xticks=[], yticks=[])
            card.set(zorder=-1)
            card.patch.set(edgecolor=LIGHT["line"], linewidth=1)
            card.grid(visible=False)
            card.spines["bottom"].set_visible(False)
        if lines:
            more = 26 * ((len(lines) - 1) // LEGEND_COLUMNS)  # pixels of further rows of the legend, below the title
            upper = style.axes(figure, 116, 288 + more, 1036, 632)
            lower = style.axes(figure, 116, 684, 1036, 816, sharex=upper)
            plots.paint_equity(upper, lower, lines, 9)
            _legend(upper, lines)
            lower.set_title("drawdown", loc="left", fontsize=15, color=LIGHT["muted"])
            upper.set_title(f"Growth after costs, {target}", loc="left", fontsize=18, pad=44 + more)
            for axis in (upper, lower):
                axis.tick_params(labelsize=14)
        if len(rows):
            _intervals(style.axes(figure, 1110, 288, 1530, 816), rows, order)

    return style.png(paint, WIDTH, HEIGHT)


def _legend(axis: Axes, lines: list[plots.Line]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=LIGHT[line.colour], linestyle=line.dash, linewidth=line.weight) for line in lines]
    labels = [f"{shorten(line.label, 26)} {signed(line.growth.iloc[-1] - 1)}" for line in lines]
    axis.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=LEGEND_COLUMNS, frameon=False,
                fontsize=12.5, handlelength=1.6, columnspacing=1.3, handletextpad=0.5, borderpad=0.2)  # fmt: skip


def _intervals(axis: Axes, rows: pd.DataFrame, order: panels.Order) -> None:
    """The rows' Sharpe ratios with their intervals, best first."""
    places = np.arange(len(rows))
    for place, row in zip(places, rows.to_dict("records"), strict=True):
        model = str(row["model"])
        baseline = row["kind"] == "baseline"
        colour = LIGHT["muted" if baseline else order.colour(model)]
        axis.plot([row["sharpe_low"], row["sharpe_high"]], [place, place], color=colour, linewidth=3, alpha=0.55)
        axis.plot(row["sharpe"], place, marker="o", markersize=11, color=colour)
        above = {
            "xytext": (0, 17),
            "textcoords": "offset pixels",
            "xycoords": ("axes fraction", "data"),
            "fontsize": 15,
        }
        look = {"color": LIGHT["muted"]} if baseline else {"color": LIGHT["ink"], "weight": "bold"}
        card = {"boxstyle": "square,pad=0.1", "facecolor": LIGHT["card"], "edgecolor": "none"}  # over the zero line
        axis.annotate(shorten(model, 26), (0, place), bbox=card, **above, **look)
        axis.annotate(typeset(number(row["sharpe"])), (1, place), ha="right", color=LIGHT["ink"], **above)
    axis.axvline(0, color=LIGHT["strong"], linewidth=1.2, linestyle=style.DASHED)
    axis.set_ylim(max(len(rows), 5) - 0.5, -0.75)
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)
    axis.tick_params(labelsize=14)
    style.ticks(axis, 6, lambda value: f"{value:g}", along="x")
    axis.set_title("Sharpe and its interval", loc="left", fontsize=18, pad=44)
