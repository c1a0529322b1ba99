"""The page of ``barzoo tune``: how the search went, what mattered, and the best trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import plots, style
from TRAINING.reports.columns import percent
from TRAINING.reports.page import render_page
from TRAINING.reports.panels import Key, Panel
from TRAINING.reports.plots import NARROW, WIDE
from TRAINING.reports.style import LIGHT
from TRAINING.reports.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST_TRIALS = 20
_LEGEND = (Key("complete, a dot each", "blue"), Key("pruned, as far as it went", "strong"),
           Key("best so far", "orange"), Key("before the search", "muted", "dashed"))  # fmt: skip


def render_tuning(trials: pd.DataFrame, importance: pd.DataFrame, rival: str, meta: Mapping[str, str]) -> str:
    """Render a search as one HTML page.

    Parameters
    ----------
    trials : ``trial``, ``state``, ``value`` (mean loss over the rival's; NaN unless complete), ``folds``, ``mean``
        (over those folds), a column per key searched, ``sharpe``, ``seconds``, ``reason``. The first is complete: the
        configuration that the search began from.
    importance : ``feature`` (a key) and ``importance``; may be empty.
    rival : whose loss a trial's is divided by, such as ``the base rate``.
    meta : facts for the header, the first six shown there.

    Returns
    -------
    The page's text; the same input gives the same bytes.
    """
    first, best = trials["value"].iloc[0], trials["value"].min()
    counts = trials["state"].value_counts().to_dict()
    notes = [", ".join(f"{count} {state}" for state, count in counts.items())]
    if best >= 1:
        notes.append(f"No trial is better than {rival}, whose loss is 1: the search has found no skill.")
    better = f"{best:.4f} of {rival}'s loss, against {first:.4f} before the search"
    return render_page(
        "tuning.html.j2",
        title=f"tuning {meta.get('model', '')}",
        headline=f"The best trial has {better}."
        if best < first
        else "No trial is better than what the search began from.",
        meta=dict(meta),
        notes=notes,
        history=Panel(
            "History",
            f"mean loss over folds, as a share of {rival}'s",
            _history(trials, WIDE, "history"),
            _history(trials, NARROW, "history-narrow"),
            _LEGEND,
        ),
        importance=Panel(
            "Importance of the keys",
            "share of the values' variance that each explains (fANOVA)",
            plots.importance(importance, colour="blue", name="keys", label="importance of the keys searched"),
        )
        if importance["importance"].notna().any()
        else None,
        best=trial_rows(trials, BEST_TRIALS),
    )


def trial_rows(trials: pd.DataFrame, count: int) -> Table:
    """The best complete trials, the first one among them wherever it stands."""
    whole = trials[trials["state"] == "complete"].sort_values(["value", "trial"])
    shown = whole.head(count)
    if 0 not in shown["trial"].to_numpy():
        shown = pd.concat([shown, whole[whole["trial"] == 0]])
    keys = list(trials.columns[5 : trials.columns.get_loc("sharpe")])
    heads = [("trial", True), ("loss / base", True), ("against the first", True), *((key, True) for key in keys)]
    first = trials["value"].iloc[0]
    rows = []
    for row in shown.to_dict("records"):
        change = "the first" if row["trial"] == 0 else percent(row["value"] / first - 1, 2)
        rows.append([str(row["trial"]), f"{row['value']:.4f}", change, *(written(row[key]) for key in keys)])
    return Table("", heads, rows)


def written(value: object) -> str:
    """A key's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _history(trials: pd.DataFrame, width: float, name: str) -> Markup:
    """Every trial's loss by number, and the best so far."""
    height = 300
    # The worst twentieth is drawn at the edge, so that one wild trial does not squeeze the others.
    means = trials["mean"].dropna()
    low, high = (means.min(), np.quantile(means, 0.95)) if len(means) else (0.0, 1.0)
    pad = 0.08 * (high - low) or 0.01

    def paint(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axis = style.axes(figure, 56, 14, width - 12, height - 44)
        for state, colour in (("pruned", "strong"), ("complete", "blue")):
            rows = trials[trials["state"] == state]
            axis.plot(rows["trial"], rows["mean"].clip(upper=high + pad), linestyle="", marker="o", markersize=5,
                      color=LIGHT[colour])  # fmt: skip
        best = trials["value"].cummin().ffill()
        axis.step(trials["trial"], best, where="post", color=LIGHT["orange"])
        axis.axhline(trials["value"].iloc[0], color=LIGHT["muted"], linestyle=style.DASHED, linewidth=1)
        axis.set_ylim(low - pad, high + 2 * pad)
        axis.set_xlabel("trial")
        axis.margins(x=0.02)
        style.ticks(axis, 5, lambda value: f"{value:.4g}")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))

    return style.svg(paint, width, height, name=name, label="relative loss of each trial, by number")
