"""The report's pictures with their captions and legends, in the leaderboard's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from TRAINING.reports import plots, style
from TRAINING.reports.columns import COLUMNS, day, label_of, signed, text, typeset, whole
from TRAINING.reports.plots import Line

PLOTTED_MODELS = 6  # in one picture
SPREAD_SYMBOLS = 8  # fewer symbols have no distribution
DETAIL_FACTS = ("sharpe", "max_drawdown", "hit_rate")
NO_SKILL = {"auc": 0.5}  # the value of a metric without skill; 0 for the others


@dataclass(frozen=True)
class Key:
    """One entry of a legend: ``line`` is ``solid``, ``dashed``, ``dotted`` or ``area``."""

    label: str
    colour: str
    line: str = "solid"


@dataclass(frozen=True)
class Panel:
    """A picture with its caption.

    ``narrow`` is its form for a phone where the wide one would be too small; panels of baselines are folded away.
    """

    title: str
    subtitle: str
    picture: Markup
    narrow: Markup | None = None
    legend: tuple[Key, ...] = ()
    baseline: bool = False


@dataclass(frozen=True)
class Order:
    """Targets and models as the leaderboard has them, and one colour for each model throughout the page."""

    pairs: tuple[tuple[str, str], ...]
    baselines: frozenset[tuple[str, str]]
    colours: dict[str, str]

    @classmethod
    def of(cls, leaderboard: pd.DataFrame) -> Order:
        rows = [(str(row["target"]), str(row["model"]), row["kind"]) for row in leaderboard.to_dict("records")]
        led = [target for target, _, kind in rows if kind != "baseline"] + [target for target, _, _ in rows]
        targets = list(dict.fromkeys(led))  # by their best model
        pairs = sorted(((target, model) for target, model, _ in rows), key=lambda pair: targets.index(pair[0]))
        baselines = frozenset((target, model) for target, model, kind in rows if kind == "baseline")
        models = [[model for of, model in pairs if of == target and (of, model) not in baselines] for target in targets]
        return cls(
            pairs=tuple(dict.fromkeys(pairs)),
            baselines=baselines,
            colours=_colours(models),
        )

    def groups(self, frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
        """The frame's (target, model) groups, best first, those the leaderboard lacks behind."""
        if frame.empty:
            return []
        groups = frame.groupby(["target", "model"], observed=True)
        found = {(str(target), str(model)): rows for (target, model), rows in groups}
        ordered = [*(pair for pair in self.pairs if pair in found), *(pair for pair in found if pair not in self.pairs)]
        return [(*pair, found[pair]) for pair in ordered]

    def by_target(self, frame: pd.DataFrame) -> dict[str, list[tuple[str, pd.DataFrame]]]:
        """The same groups, as (model, rows) lists by target."""
        targets: dict[str, list[tuple[str, pd.DataFrame]]] = {}
        for target, model, rows in self.groups(frame):
            targets.setdefault(target, []).append((model, rows))
        return targets

    def colour(self, model: str) -> str:
        return self.colours.get(model, "muted")


def _colours(targets: Sequence[Sequence[str]]) -> dict[str, str]:
    """A colour for each model of some targets, best first; those in one picture differ, as far as colours are left."""
    colours: dict[str, str] = {}
    for models in (*(models[:PLOTTED_MODELS] for models in targets), *(models[PLOTTED_MODELS:] for models in targets)):
        used = [colours[model] for model in models if model in colours]
        for model in models:
            if model not in colours:
                colours[model] = min(style.SERIES, key=used.count)
                used.append(colours[model])
    return colours


def equity_lines(returns: pd.DataFrame, leaderboard: pd.DataFrame, order: Order) -> dict[str, list[Line]]:
    """Per target: the best models, the best of them before costs, buy and hold, and the best other baseline."""
    targets = {}
    for target, groups in order.by_target(returns).items():
        series = {model: _by_session(rows, "net_return") for model, rows in groups}
        series = {model: values for model, values in series.items() if len(values)}
        others = [name for name in series if (target, name) in order.baselines or name == "buy_and_hold"]
        models = [name for name in series if name not in others][:PLOTTED_MODELS]
        lines = [
            Line(name, series[name], order.colour(name), weight=1.6 if position else 2.2)
            for position, name in enumerate(models)
        ]
        if models and len(gross := _by_session(dict(groups)[models[0]], "gross_return")):
            lines.append(Line(f"{models[0]} before costs", gross, order.colour(models[0]), style.DOTTED, 1.3))
        if "buy_and_hold" in others:
            lines.append(Line("buy_and_hold", series["buy_and_hold"], "ink", style.DASHED, 1.4))
        rest = [name for name in others if name != "buy_and_hold"]
        lines += [Line(name, series[name], "muted", style.DOTTED, 1.6) for name in _best(rest, target, leaderboard)]
        if lines:
            targets[target] = lines
    return targets


def equity(returns: pd.DataFrame, leaderboard: pd.DataFrame, order: Order) -> list[Panel]:
    """Growth after costs and drawdown, one wide panel per target."""
    panels = []
    for target, lines in equity_lines(returns, leaderboard, order).items():
        sessions = np.unique(np.concatenate([line.returns.index.to_numpy() for line in lines]))
        label = f"Growth after costs and drawdown on {target}: " + ", ".join(line.label for line in lines)
        wide, narrow = (
            plots.equity(lines, name=f"equity-{len(panels)}{suffix}", label=label, narrow=bool(suffix))
            for suffix in ("", "-narrow")
        )
        legend = tuple(
            Key(f"{line.label} {signed(line.growth.iloc[-1] - 1)}", line.colour, style.LINE_NAMES[line.dash])
            for line in lines
        )
        subtitle = f"{day(sessions[0])} to {day(sessions[-1])}, {whole(len(sessions))} sessions"
        panels.append(Panel(target, subtitle, wide, narrow, legend))
    return panels


def _by_session(rows: pd.DataFrame, column: str) -> pd.Series:
    if column not in rows:
        return pd.Series(dtype=float)
    return rows.set_index("session")[column].sort_index().dropna()


def _best(names: Sequence[str], target: str, leaderboard: pd.DataFrame) -> list[str]:
    """The baseline with the highest Sharpe ratio, as a list of at most one."""
    rows = leaderboard[(leaderboard["target"].astype(str) == target) & leaderboard["model"].isin(names)]
    rows = rows.dropna(subset="sharpe").sort_values(["sharpe", "model"], ascending=[False, True])
    return [str(name) for name in rows["model"].head(1)]


def importance(frame: pd.DataFrame, order: Order) -> list[Panel]:
    """The strongest features of each model."""
    panels = []
    for target, model, rows in order.groups(frame.dropna(subset="importance") if len(frame) else frame):
        label = f"Feature importance of {model} on {target}"
        name = f"importance-{len(panels)}"
        picture = plots.importance(rows, colour=order.colour(model), name=name, label=label)
        panels.append(Panel(model, target, picture))
    return panels


def learning_curves(frame: pd.DataFrame, units: pd.DataFrame, order: Order) -> list[Panel]:
    """Train and validation metric by round, one panel per model and metric; a single round makes no curve."""
    rounds = units.reindex(columns=["target", "model", "rounds"])
    kept = rounds.astype({"rounds": float}).groupby(["target", "model"], observed=True)["rounds"].median().to_dict()
    panels = []
    for target, model, rows in order.groups(frame):
        rows = rows.dropna(subset=["round", "value"])
        for metric, curve in rows.groupby("metric", observed=True):
            if curve["round"].nunique() < 2:
                continue
            picture = plots.learning_curves(
                curve, metric=str(metric), stop=float(kept.get((target, model), np.nan)), colour=order.colour(model),
                name=f"curve-{len(panels)}", label=f"{label_of(metric)} of {model} on {target} by round",
            )  # fmt: skip
            panels.append(Panel(model, f"{target} · {label_of(metric)}", picture))
    return panels


def calibration(frame: pd.DataFrame, order: Order) -> list[Panel]:
    """Predicted against observed, one panel per model."""
    panels = []
    usable = frame.dropna(subset=["predicted", "observed"]) if len(frame) else frame
    for place, (target, model, rows) in enumerate(order.groups(usable)):
        task = text(rows["task"].iloc[0])
        picture = plots.calibration(rows, task=task, colour=order.colour(model), name=f"calibration-{place}",
                                    label=f"Predicted against observed of {model} on {target}")  # fmt: skip
        subtitle = f"{target} · {whole(rows['rows'].sum())} rows"
        panels.append(Panel(model, subtitle, picture, baseline=(target, model) in order.baselines))
    return sorted(panels, key=lambda panel: panel.baseline)


def distributions(units: pd.DataFrame, leaderboard: pd.DataFrame, order: Order) -> list[Panel]:
    """How the score and the Sharpe ratio spread over the symbols, per target."""
    panels = []
    score_names = dict(zip(leaderboard["target"].astype(str), leaderboard["score_name"].map(text), strict=True))
    for target, groups in order.by_target(units).items():
        for metric in dict.fromkeys((score_names.get(target, ""), "sharpe")):
            values = {
                model: pd.to_numeric(rows[metric], errors="coerce")
                .replace([np.inf, -np.inf], np.nan)
                .dropna()
                .to_numpy()
                for model, rows in groups[:PLOTTED_MODELS]
                if metric in rows
            }
            values = {model: found for model, found in values.items() if len(found) >= SPREAD_SYMBOLS}
            if not values:
                continue
            picture = plots.distributions(
                values, {model: order.colour(model) for model in values}, metric=metric,
                reference=NO_SKILL.get(metric, 0.0), name=f"spread-{len(panels)}",
                label=f"{label_of(metric)} per symbol on {target}",
            )  # fmt: skip
            panels.append(Panel(target, f"{label_of(metric)}, {max(map(len, values.values()))} symbols", picture))
    return panels


def coverage(quality: pd.DataFrame) -> list[Panel]:
    """Which symbols have bars when; empty where no symbol has any."""
    spans = (
        quality.dropna(subset=["first", "last"]) if {"symbol", "first", "last"} <= set(quality.columns) else quality[:0]
    )
    if spans.empty:
        return []
    single = len(spans) <= plots.COVERAGE_BARS
    wide, narrow = (
        plots.coverage(spans, name=f"coverage{suffix}", label="Dates covered by the bars", narrow=bool(suffix))
        for suffix in ("", "-narrow")
    )
    subtitle = "first to last bar of each symbol" if single else "symbols with bars, by date"
    return [Panel("Coverage", subtitle, wide, narrow)]


def symbol_details(frame: pd.DataFrame, units: pd.DataFrame, order: Order) -> list[Panel]:
    """Price, position and growth of the symbols chosen by the caller, best Sharpe ratio first within each model."""
    panels = []
    facts = units.reindex(columns=["target", "model", "symbol", *DETAIL_FACTS])
    facts = facts.set_index(["target", "model", "symbol"])[~facts.duplicated(["target", "model", "symbol"]).to_numpy()]
    for target, model, rows in order.groups(frame):
        known = facts.reindex([(target, model, symbol) for symbol in sorted(rows["symbol"].unique())])
        known = known.sort_values("sharpe", ascending=False, kind="stable")  # missing values last
        for (_, _, symbol), values in known.iterrows():
            bars = rows[rows["symbol"] == symbol].dropna(subset="close")
            if len(bars) < 2:
                continue
            label = f"Close, position and growth of {symbol} by {model} on {target}"
            name = f"symbol-{len(panels)}"
            picture = plots.symbol_detail(bars, colour=order.colour(model), name=name, label=label)
            written = [f"{COLUMNS[fact].label} {typeset(COLUMNS[fact].write(values[fact]))}" for fact in DETAIL_FACTS]
            panels.append(Panel(str(symbol), " · ".join([model, target, *written]), picture))
    return panels
