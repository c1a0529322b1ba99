"""How far stated probabilities, intervals and distributions can be relied on: frames, and the pictures of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import style
from TRAINING.reports.columns import percent
from TRAINING.reports.plots import NARROW, WIDE
from TRAINING.reports.style import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_BLOCKS = 8  # of fewer the spread is not known


def reliability_bins(rows: pd.DataFrame, bins: int = 10, block: int = 21) -> pd.DataFrame:
    """Mean probability and observed share in quantiles of each model's probabilities.

    Rows of one time are alike, so the interval of a share is that of a ratio of sums over blocks of sessions (Cochran,
    *Sampling Techniques*, 1977, section 9A); rows counted one by one would make it far too narrow.

    Parameters
    ----------
    rows : DataFrame
        ``model``, ``session``, ``y`` (0, 1), ``prediction``; rows that lack one of the last two are left out.
    bins : int
    block : int
        Sessions that are counted as one, at least the label's horizon.

    Returns
    -------
    DataFrame
        ``model``, ``predicted``, ``observed``, ``low``, ``high`` (95 %; NaN with fewer than ``FEWEST_BLOCKS`` blocks),
        ``rows``. Equal probabilities share a bin, so there may be fewer bins.
    """
    known = rows.dropna(subset=["y", "prediction"])
    known = known.assign(block=np.unique(known["session"], return_inverse=True)[1] // block)
    frames = []
    for model, own in known.groupby("model", observed=True, sort=False):
        edges = np.unique(np.quantile(own["prediction"], np.linspace(0, 1, bins + 1)))
        own = own.assign(bin=np.searchsorted(edges[1:-1], own["prediction"]))
        table = own.groupby("bin").agg(predicted=("prediction", "mean"), observed=("y", "mean"), rows=("y", "size"))
        own["excess"] = own["y"] - own["bin"].map(table["observed"])
        excess = own.groupby(["bin", "block"])["excess"].sum()
        blocks = excess.groupby(level=0).size()
        squares = (excess**2).groupby(level=0).sum() * blocks / (blocks - 1).where(blocks >= FEWEST_BLOCKS)
        reach = blocks.map(_deviations) * np.sqrt(squares) / table["rows"]
        table["low"], table["high"] = (table["observed"] - reach).clip(0), (table["observed"] + reach).clip(upper=1)
        frames.append(table.assign(model=model))
    columns = ["model", "predicted", "observed", "low", "high", "rows"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def pit_bins(rows: pd.DataFrame, bins: int = 10, block: int = 21) -> pd.DataFrame:
    """Shares of the labels between quantiles of their forecasts (Gneiting, Balabdaoui and Raftery 2007).

    Parameters
    ----------
    rows : DataFrame
        ``session``, ``pit``: the predicted probability of a value up to the label; rows without one are left out.
    bins, block : int
        As of `reliability_bins`.

    Returns
    -------
    DataFrame
        Per bin its ends ``low, high``, the ``share`` of labels in it, ``chance_low, chance_high``: where 95 % of the
        shares of calibrated forecasts lie (NaN with fewer than ``FEWEST_BLOCKS`` blocks), and ``rows`` of all bins.
    """
    known = rows.dropna(subset="pit")
    edges = np.linspace(0, 1, bins + 1)
    hits = np.searchsorted(edges[1:-1], known["pit"], side="right")[:, None] == np.arange(bins)
    share, reach = _shares(hits, np.full(bins, 1 / bins), known["session"], block)
    low, high = np.clip(1 / bins - reach, 0, None), 1 / bins + reach
    table = {"low": edges[:-1], "high": edges[1:], "share": share, "chance_low": low, "chance_high": high}
    return pd.DataFrame(table).assign(rows=len(known))


def quantile_bins(rows: pd.DataFrame, quantiles: np.ndarray, levels: np.ndarray, block: int = 21) -> pd.DataFrame:
    """Shares of the labels up to each predicted quantile.

    Parameters
    ----------
    rows : DataFrame
        (n, ...) ``session``, ``y``, none missing.
    quantiles, levels : (n, k), (k,)
    block : int
        As of `reliability_bins`.

    Returns
    -------
    DataFrame
        ``level``, the share ``below`` it with its 95 % interval ``low, high`` (NaN with fewer than ``FEWEST_BLOCKS``
        blocks), and ``rows``.
    """
    share, reach = _shares(rows["y"].to_numpy(float)[:, None] <= quantiles, levels, rows["session"], block)
    low, high = np.clip(share - reach, 0, None), np.clip(share + reach, None, 1)
    return pd.DataFrame({"level": levels, "below": share, "low": low, "high": high}).assign(rows=len(rows))


def _shares(hits: np.ndarray, expected: np.ndarray, sessions: pd.Series, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(k,) means of the columns of (n, k), and how far their 95 % intervals reach, see `reliability_bins`.

    These are at least what independent rows of the ``expected`` (k,) means have: of no hit at all it would be 0.
    """
    if not len(hits):
        return np.full(hits.shape[1], np.nan), np.full(hits.shape[1], np.nan)
    share, blocks = hits.mean(axis=0), np.unique(sessions, return_inverse=True)[1] // block
    count = blocks.max() + 1
    if count < FEWEST_BLOCKS:
        return share, np.full(len(share), np.nan)
    excess = np.zeros((count, len(share)))
    np.add.at(excess, blocks, hits - share)
    variance = (excess**2).sum(axis=0) * count / (count - 1) / len(hits) ** 2
    return share, _deviations(count) * np.sqrt(np.maximum(variance, expected * (1 - expected) / len(hits)))


def _deviations(blocks: int) -> float:
    """Standard errors, found from so many blocks, on each side of a 95 % interval (Student 1908)."""
    from scipy.stats import t

    return float(t.ppf(0.975, blocks - 1))


def coverage_by_session(rows: pd.DataFrame, window: int = 63) -> pd.DataFrame:
    """Share of the labels that their intervals held, and mean width, over trailing sessions.

    Parameters
    ----------
    rows : DataFrame
        ``model``, ``session`` (of the prediction), ``y``, ``lower``, ``upper``; rows that lack one of the last three
        are left out.
    window : int
        Sessions; each row in them counts once.

    Returns
    -------
    DataFrame
        ``model``, ``session``, ``coverage``, ``width``, in time order; NaN until a window is full.
    """
    known = rows.dropna(subset=["y", "lower", "upper"])
    known = known.assign(held=known["y"].between(known["lower"], known["upper"]), width=known["upper"] - known["lower"])
    frames = []
    for model, own in known.groupby("model", observed=True, sort=False):
        sums = own.groupby("session").agg(held=("held", "sum"), width=("width", "sum"), rows=("y", "size"))
        sums = sums.rolling(window).sum()
        table = pd.DataFrame({"coverage": sums["held"] / sums["rows"], "width": sums["width"] / sums["rows"]})
        frames.append(table.reset_index().assign(model=model))
    columns = ["model", "session", "coverage", "width"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def reliability_diagram(frame: pd.DataFrame, colours: Mapping[str, str], *, name: str, label: str) -> Markup:
    """Observed share over mean probability with its interval, against the diagonal: what `reliability_bins` gives.

    ``colours`` maps the models to be drawn to names of the palette, the one on top first.
    """
    height = 330
    shown = frame[frame["model"].isin(colours)]
    values = shown[["predicted", "observed", "low", "high"]].to_numpy(float)
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.05

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 52, 24, NARROW - 10, height - 40)
        axis.plot([0, 1], [0, 1], color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        for model, colour in reversed(colours.items()):
            bins = shown[shown["model"] == model].sort_values("predicted")
            across, up = bins["predicted"].to_numpy(float), bins["observed"].to_numpy(float)
            axis.vlines(
                across, bins["low"].to_numpy(float), bins["high"].to_numpy(float), color=LIGHT[colour], alpha=0.5
            )
            axis.plot(across, up, color=LIGHT[colour], marker="o", markersize=5, linewidth=1.4)
        axis.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
        axis.text(0, 1.05, "observed share, with 95% intervals", transform=axis.transAxes, color=LIGHT["muted"])
        style.ticks(axis, 6, lambda value: percent(value, 0))
        style.ticks(axis, 6, lambda value: percent(value, 0), along="x")
        axis.set_xlabel("predicted probability")

    return style.svg(paint, NARROW, height, name=name, label=label)


def coverage_through_time(
    frame: pd.DataFrame, colours: Mapping[str, str], *, coverage: float, name: str, label: str, narrow: bool
) -> Markup:
    """Trailing coverage against what was asked for, and the mean width beneath: what `coverage_by_session` gives.

    ``colours`` maps the models to be drawn to names of the palette, the one on top first.
    """
    width, height, split = (NARROW, 330, 200) if narrow else (WIDE, 360, 220)
    shown = frame[frame["model"].isin(colours)].dropna(subset=["coverage"])

    def paint(figure: Figure) -> None:
        upper = style.axes(figure, 58, 24, width - 8, split)
        lower = style.axes(figure, 58, split + 34, width - 8, height - 32, sharex=upper)
        upper.axhline(coverage, color=LIGHT["strong"], linewidth=1, linestyle=(0, (4, 3)))
        for model, colour in reversed(colours.items()):
            own = shown[shown["model"] == model].sort_values("session")
            for axis, column in ((upper, "coverage"), (lower, "width")):
                axis.plot(own["session"].to_numpy(), own[column].to_numpy(float), color=LIGHT[colour])
        upper.set_ylim(min(shown["coverage"].min(), coverage) - 0.03 if len(shown) else 0, 1.005)
        lower.set_ylim(bottom=0)
        upper.tick_params(labelbottom=False)
        style.ticks(upper, 5, lambda value: percent(value, 0))
        style.ticks(lower, 3, lambda value: f"{value:.3g}")
        for axis, title in ((upper, f"labels held, {percent(coverage, 0)} asked for"), (lower, "mean width")):
            axis.text(0, 1.05, title, transform=axis.transAxes, color=LIGHT["muted"])
            axis.margins(x=0.01)
        if len(shown):
            style.dates(lower, 5 if narrow else 10)

    return style.svg(paint, width, height, name=name, label=label)
