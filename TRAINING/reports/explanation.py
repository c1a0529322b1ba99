"""The page of ``barzoo explain``: which features move a model's predictions, and which way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import style
from TRAINING.reports.columns import number, percent, short, typeset
from TRAINING.reports.page import render_page
from TRAINING.reports.panels import Key, Panel
from TRAINING.reports.plots import NARROW, WIDE, shorten
from TRAINING.reports.style import LIGHT
from TRAINING.reports.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SWARMS, POINTS = 15, 200  # features drawn, and rows of each, so that the page stays light
_THIRDS = (("blue", "lowest third of the feature"), ("strong", "middle"), ("orange", "highest third"))


def render_explanation(
    *,
    model: str,
    target: str,
    unit: str,
    meta: Mapping[str, str],
    strongest: pd.DataFrame,
    values: pd.DataFrame,
    features: pd.DataFrame,
) -> str:
    """Render Shapley values as one HTML page.

    Parameters
    ----------
    model, target : what is explained.
    unit : of the values.
    meta : the settings, in the order shown.
    strongest : ``feature``, ``mean_abs``, ``share``, ``direction``, strongest first.
    values, features : (n, features) each, of the same rows.

    Returns
    -------
    The page's text; writing it is the caller's.
    """
    used = strongest[strongest["mean_abs"] > 0]
    headline = f"{model} on {target}: no feature moves its predictions"
    if len(used):
        headline = f"{model} on {target}: {used['feature'].iloc[0]} moves its predictions most"
    heads = [("feature", False), (f"mean |value|, {unit}", True), ("share", True), ("direction", True)]
    rows = [
        [str(row.feature), short(row.mean_abs), percent(row.share), typeset(number(row.direction))]
        for row in used.itertuples()
    ]
    return render_page(
        "explanation.html.j2",
        title=f"explain {model}",
        headline=headline,
        meta={str(name): str(value) for name, value in meta.items()},
        notes=[],
        swarm=_panel(used, values, features, unit) if len(used) else None,
        table=Table("", heads, rows),
        unused=len(strongest) - len(used),
    )


def _panel(used: pd.DataFrame, values: pd.DataFrame, features: pd.DataFrame, unit: str) -> Panel:
    names = [str(name) for name in used["feature"].head(SWARMS)]
    wide, narrow = (
        beeswarm(values[names], features[names], unit, name=f"swarm-{place}", narrow=bool(place)) for place in range(2)
    )
    legend = tuple(Key(label, colour) for colour, label in _THIRDS)
    return Panel("What each feature adds to a prediction", f"one dot per row, {unit}", wide, narrow, legend)


def beeswarm(values: pd.DataFrame, features: pd.DataFrame, unit: str, *, name: str, narrow: bool) -> Markup:
    """A row of dots per feature, one dot per table row: right raises the prediction; the colour is the feature's."""
    width, left, step = (NARROW, 140, 26) if narrow else (WIDE, 220, 30)
    height = step * values.shape[1] + 44
    shown = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).astype(int))
    thirds = np.floor(3 * features.rank(pct=True, method="first").to_numpy()[shown] - 1e-9)
    thirds = np.nan_to_num(np.clip(thirds, 0, 2), nan=1).astype(int)  # a missing feature is neither low nor high
    drawn = values.to_numpy()[shown]

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, left, 4, width - 8, height - 40)
        axis.axvline(0, color=LIGHT["strong"], linewidth=1)
        low, high = min(drawn.min(), 0.0), max(drawn.max(), 0.0)
        for place in range(drawn.shape[1]):
            heights = place + _spread(drawn[:, place], low, high)
            for third, (colour, _) in enumerate(_THIRDS):
                own = thirds[:, place] == third
                axis.scatter(drawn[own, place], heights[own], s=9, color=LIGHT[colour], linewidths=0)
        axis.set_yticks(range(drawn.shape[1]), [shorten(column, 18 if narrow else 28) for column in values])
        axis.tick_params(axis="y", colors=LIGHT["ink"], labelsize=12)
        axis.set(ylim=(drawn.shape[1] - 0.5, -0.5), xlabel=f"added to the prediction, {unit}")
        axis.grid(visible=False)
        style.ticks(axis, 4 if narrow else 8, lambda value: f"{value:g}", along="x")

    return style.svg(paint, width, height, name=name, label="Shapley values of the strongest features, a dot per row")


def _spread(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(n,) heights within 0.4 of 0, so that dots of like values do not cover each other."""
    column = np.floor(90 * (values - low) / max(high - low, 1e-300))
    heights = np.zeros(len(values))
    for rows in pd.Series(values).groupby(column).indices.values():
        rank = np.arange(len(rows))
        side = np.where(rank % 2, 1, -1) * ((rank + 1) // 2)
        heights[rows] = side * min(0.09, 0.8 / len(rows))
    return heights
