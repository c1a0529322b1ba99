"""The report's part on what only some kinds of model tell: regimes, changes, distributions, weights, Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from TRAINING.reports import answers_plots as plots
from TRAINING.reports.columns import number, percent, short, text, typeset, whole, words
from TRAINING.reports.panels import Key, Order, Panel
from TRAINING.reports.tables import Table

Frames = Mapping[str, pd.DataFrame]
CHANGED = 0.5  # a change is marked where its probability rises above

# What stands above the pictures of each topic.
_REGIMES = (
    "The most probable regime of each test bar, numbered from the calmest, and how they follow each other: of the bars "
    "in one, the share whose next bar is in each. How long a regime lasts is told as if nothing but the current one "
    "counted; – where no bar left it."
)
_CHANGES = (
    f"A line stands where the probability of a change within the last bars rises above {CHANGED:.0%}. That is known at "
    "the line's bar, so it comes later than the change itself."
)
_DISTRIBUTIONS = (
    "Where the test labels fall in their predicted distributions (the probability integral transform). Flat is "
    "calibrated: high outer bars say that forecasts are too sure, high inner ones that they are not sure enough. Of "
    "calibrated forecasts, 19 bars of 20 end within the grey band; it counts sessions in blocks, because labels that "
    "overlap and symbols that move together are not independent."
)
_QUANTILES = (
    "A quantile of level 25% is to have 25% of the labels below it. The dots are how many more or fewer there were, "
    "with 95% intervals by blocks of sessions; on the dashed line there are as many as were asked for."
)
_WEIGHTS = (
    "How much each part has to say in the answers: the median over the symbols, and a bar from the lowest to the "
    "highest. The mean of the target has no skill; its weight is what the parts could not earn out of fold."
)
_SCORES = (
    "What only one kind of model can be asked, over the symbols; own_scores of the model says what it is. The tables "
    "of all symbols have the single values."
)


@dataclass(frozen=True)
class Topic:
    """A part of the section: pictures, small tables beside each other, and one long table."""

    title: str
    lead: str
    panels: list[Panel] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    whole_table: Table | None = None


def topics(frames: Frames, order: Order) -> list[Topic]:
    """What there is to tell; empty where no model tells anything.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        As `TRAINING.phases.answers` collects them, each with ``model`` and ``target``; any may be missing.
    order : Order
    """
    regimes, changes = list(_regimes(frames, order)), list(_changes(frames, order))
    found = (
        Topic("Regimes", _REGIMES, regimes, list(_transitions(frames, order))),
        Topic("Changes", _CHANGES, changes),
        Topic("Distributions", _DISTRIBUTIONS, list(_pit(frames, order))),
        Topic("Quantiles", _QUANTILES, list(_quantiles(frames, order)), list(_pinball(frames, order))),
        Topic("Weights", _WEIGHTS, list(_weights(frames, order))),
        Topic("Scores of their own", _SCORES, whole_table=_scores(frames, order)),
    )
    return [topic for topic in found if topic.panels or topic.tables or topic.whole_table]


def shap(frames: Frames, order: Order) -> list[Panel]:
    """Mean size of the Shapley values of the strongest features, of each model that knows them."""
    panels = []
    for target, model, rows in _groups(frames, "shap", order):
        label = f"Mean size of the SHAP values of {model} on {target}"
        picture = plots.shap_bars(rows, name=f"shap-{len(panels)}", label=label)
        unit, symbols = text(rows["unit"].iloc[0]), rows["symbols"].iloc[0]
        panels.append(Panel(model, f"{target} · {unit} · {_symbols(symbols)}", picture))
    return panels


def _groups(frames: Frames, name: str, order: Order) -> list[tuple[str, str, pd.DataFrame]]:
    return order.groups(frames[name]) if name in frames else []


def _alike(
    frames: Frames, name: str, order: Order, what: Callable[[pd.DataFrame], ArrayLike]
) -> list[tuple[str, str, pd.DataFrame]]:
    """As `_groups`, in time order; targets of a model for which ``what`` is the same stand together, by commas."""
    found: dict[tuple[str, str, bytes], tuple[list[str], pd.DataFrame]] = {}
    for target, model, rows in _groups(frames, name, order):
        rows = rows.sort_values("timestamp")
        key = model, text(rows["symbol"].iloc[0]), np.asarray(what(rows)).tobytes()
        found.setdefault(key, ([], rows))[0].append(target)
    return [(", ".join(targets), model, rows) for (model, _, _), (targets, rows) in found.items()]


def _marks(rows: pd.DataFrame) -> np.ndarray:
    """Positions where the probability of a change rises above `CHANGED`."""
    above = rows["change_probability"].to_numpy(float) > CHANGED
    return np.flatnonzero(above & ~np.append(False, above[:-1]))


def _symbols(count: int) -> str:
    return f"{whole(count)} symbol{'s' if count != 1 else ''}"


def _regimes(frames: Frames, order: Order) -> Iterator[Panel]:
    for place, (target, model, rows) in enumerate(_alike(frames, "regimes", order, lambda rows: rows["regime"])):
        symbol, label = text(rows["symbol"].iloc[0]), f"Close by regime of {model} on {target}"
        picture = plots.price_by_regime(rows, name=f"regimes-{place}", label=label)
        shares = rows["regime"].value_counts(normalize=True).sort_index()
        colours = plots.REGIME_COLOURS
        legend = tuple(
            Key(f"regime {regime} {percent(share, 0)}", colours[regime % len(colours)], "area")
            for regime, share in shares.items()
        )
        yield Panel(f"{symbol} by regime", f"{model} · {target}", picture, legend=legend)


def _transitions(frames: Frames, order: Order) -> Iterator[Table]:
    for target, model, rows in _groups(frames, "transitions", order):
        counts = rows.pivot(index="from", columns="to", values="count").to_numpy(float)
        left = counts.sum(axis=1)
        heads = [("regime", False), ("rows", True), *((f"then {regime}", True) for regime in range(len(counts)))]
        table = []
        for regime, follows in enumerate(counts):
            ends = left[regime] - follows[regime]
            shares = [percent(count / left[regime]) if left[regime] else number(None) for count in follows]
            lasts = number(left[regime] / ends, 1) if ends else number(None)
            table.append([str(regime), percent(left[regime] / max(left.sum(), 1)), *shares, lasts])
        symbols, of = rows["symbols"].iloc[0], rows["of_symbols"].iloc[0]
        told = (
            f"{whole(symbols)} of {_symbols(of)}, the others have more or fewer regimes"
            if symbols < of
            else _symbols(of)
        )
        yield Table(f"{model} on {target}: {told}", [*heads, ("lasts, bars", True)], table)


def _changes(frames: Frames, order: Order) -> Iterator[Panel]:
    for place, (target, model, rows) in enumerate(_alike(frames, "changes", order, _marks)):
        marks = _marks(rows)
        symbol, label = text(rows["symbol"].iloc[0]), f"Close and detected changes of {model} on {target}"
        picture = plots.price_with_changes(rows, marks, name=f"changes-{place}", label=label)
        told = f"{len(marks)} change{'s' if len(marks) != 1 else ''} detected in {whole(len(rows))} bars"
        yield Panel(f"{symbol}, {told}", f"{model} · {target}", picture)


def _pit(frames: Frames, order: Order) -> Iterator[Panel]:
    for place, (target, model, rows) in enumerate(_groups(frames, "pit", order)):
        label = f"PIT histogram of {model} on {target}"
        picture = plots.pit_histogram(rows, colour=order.colour(model), name=f"pit-{place}", label=label)
        facts = [
            f"{name} {typeset(write(value))}"
            for score, name, write in (("coverage_90", "90% intervals hold", percent), ("crps", "CRPS", short))
            for value in _median(frames, model, target, score)
        ]
        told = " · ".join([target, f"{whole(rows['rows'].iloc[0])} rows", *facts])
        yield Panel(f"{model}: where the labels fall", told, picture)


def _quantiles(frames: Frames, order: Order) -> Iterator[Panel]:
    for place, (target, model, rows) in enumerate(_groups(frames, "quantiles", order)):
        rows = rows.sort_values("level")
        label = f"Coverage of the quantiles of {model} on {target}"
        picture = plots.quantile_coverage(rows, colour=order.colour(model), name=f"quantiles-{place}", label=label)
        told = [target, f"{whole(rows['rows'].iloc[0])} rows"]
        if len(rows) > 1:
            held, asked = (rows[name].iloc[-1] - rows[name].iloc[0] for name in ("below", "level"))
            told.append(f"{percent(held)} between the outer quantiles, {percent(asked, 0)} asked")
        yield Panel(f"{model}: coverage", " · ".join(told), picture)


def _pinball(frames: Frames, order: Order) -> Iterator[Table]:
    heads = [("level", True), ("labels below", True), ("95% interval", True), ("pinball loss", True)]
    for target, model, rows in _groups(frames, "quantiles", order):
        rows = rows.sort_values("level")
        table = [
            [percent(level, 0), percent(below), f"{percent(low)} to {percent(high)}", short(loss)]
            for level, below, low, high, loss in rows[["level", "below", "low", "high", "pinball"]].to_numpy(float)
        ]
        yield Table(f"{model} on {target}", heads, table)


def _weights(frames: Frames, order: Order) -> Iterator[Panel]:
    for place, (target, model, rows) in enumerate(_groups(frames, "weights", order)):
        label = f"Weights of the parts of {model} on {target}"
        picture = plots.part_weights(rows, colour=order.colour(model), name=f"weights-{place}", label=label)
        yield Panel(f"{model}: weights of its parts", f"{target} · {_symbols(rows['symbols'].max())}", picture)


def _scores(frames: Frames, order: Order) -> Table | None:
    heads = [("score", False), ("median", True), ("lowest", True), ("highest", True)]
    heads += [("model", False), ("target", False), ("symbols", True)]
    rows = []
    for target, model, part in _groups(frames, "scores", order):
        for row in part.sort_values("score").itertuples():
            values = [typeset(short(value)) for value in (row.median, row.low, row.high)]
            rows.append([words(row.score), *values, model, target, whole(row.symbols)])
    return Table("", heads, rows) if rows else None


def _median(frames: Frames, model: str, target: str, score: str) -> list[float]:
    """The median of one score over the symbols; empty where there is none."""
    if "scores" not in frames:
        return []
    table = frames["scores"]
    chosen = (table["model"] == model) & (table["target"] == target) & (table["score"] == score)
    return table.loc[chosen, "median"].tolist()
