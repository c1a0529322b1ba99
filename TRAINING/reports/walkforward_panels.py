"""The pictures of a walk-forward's report with their captions and legends, section by section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from TRAINING.reports import panels as run_panels
from TRAINING.reports import plots, style
from TRAINING.reports import walkforward_plots as pictures
from TRAINING.reports.columns import COLUMNS, day, label_of, signed, three, whole
from TRAINING.reports.panels import NO_SKILL, PLOTTED_MODELS, Key, Order, Panel
from TRAINING.reports.reliability import coverage_through_time, reliability_diagram
from TRAINING.reports.walkforward_tables import STABLE_FEATURES

if TYPE_CHECKING:
    from TRAINING.reports.walkforward import Summary


def panels(summary: Summary) -> dict[str, list[Panel]]:
    """The pictures by the anchors of their sections."""
    order = Order.of(summary.leaderboard)
    return {
        "folds": [_timeline(summary.folds)],
        "money": _equity(summary, order),
        "stability": _stability(summary, order),
        "information": _information(summary, order),
        "calibration": [*_coverage(summary, order), *_calibration(summary, order)],
        "importance": _importance(summary, order),
        "costs": _costs(summary, order),
    }


def _looks(summary: Summary, target: str, measure: str, order: Order) -> dict[str, tuple[str, object]]:
    """The best models of a target, its best baseline by a measure (``score``, ``sharpe``), and how they are drawn."""
    rows = summary.leaderboard[summary.leaderboard["target"] == target].dropna(subset=measure)
    models = rows.loc[rows["kind"] == "model", "model"].head(PLOTTED_MODELS)
    baselines = rows[rows["kind"] == "baseline"].sort_values([measure, "model"], ascending=[False, True])["model"]
    looks: dict[str, tuple[str, object]] = {name: (order.colour(name), style.SOLID) for name in models}
    return looks | dict.fromkeys(baselines.head(1), ("muted", style.DASHED))


def _legend(looks: dict[str, tuple[str, object]]) -> tuple[Key, ...]:
    return tuple(Key(name, colour, style.LINE_NAMES[dash]) for name, (colour, dash) in looks.items())


def _targets(order: Order) -> list[str]:
    return list(dict.fromkeys(target for target, _ in order.pairs))


def _timeline(folds: pd.DataFrame) -> Panel:
    windows = ["train_start", "validation_start", "train_end", "test_start", "test_end"]
    done = folds["status"].eq("done").groupby(folds["fold"]).mean()
    frame = folds.drop_duplicates("fold").sort_values("fold")[["fold", *windows]]
    frame["status"] = np.select([done == 1, done == 0], ["done", "none"], "some")
    wide, narrow = (
        pictures.timeline(frame, name=f"timeline{suffix}", label="Training and test windows of the folds",
                          narrow=bool(suffix))
        for suffix in ("", "-narrow")
    )  # fmt: skip
    legend = [Key("training", "strong", "cell"), Key("its tail, for early stopping", "blue", "area"),
              Key("test", "blue", "cell")]  # fmt: skip
    missing = {
        "some": Key("test, missing for some", "amber", "cell"),
        "none": Key("test, missing for all", "orange", "cell"),
    }
    legend += [key for status, key in missing.items() if (frame["status"] == status).any()]
    return Panel("Windows", f"{whole(len(frame))} folds", wide, narrow, tuple(legend))


def _equity(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target, lines in run_panels.equity_lines(summary.returns, summary.leaderboard, order).items():
        band = summary.bands[(summary.bands["target"] == target) & (summary.bands["model"] == lines[0].label)]
        label = f"Growth after costs and drawdown on {target}: " + ", ".join(line.label for line in lines)
        wide, narrow = (
            pictures.equity(lines, band, name=f"equity-{len(found)}{suffix}", label=label, narrow=bool(suffix))
            for suffix in ("", "-narrow")
        )
        legend = [Key(f"{line.label} {signed(line.growth.iloc[-1] - 1)}", line.colour, style.LINE_NAMES[line.dash])
                  for line in lines]  # fmt: skip
        if len(band):
            legend.append(Key(f"95 % of resampled histories of {lines[0].label}", lines[0].colour, "area"))
        sessions = np.unique(np.concatenate([line.returns.index.to_numpy() for line in lines]))
        subtitle = f"{day(sessions[0])} to {day(sessions[-1])}, {whole(len(sessions))} sessions"
        found.append(Panel(target, subtitle, wide, narrow, tuple(legend)))
    return found


def _stability(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target in _targets(order):
        rows = summary.fold_scores[summary.fold_scores["target"] == target]
        score = summary.leaderboard.loc[summary.leaderboard["target"] == target, "score_name"].iloc[0]
        for metric, measure in ((score, "score"), ("sharpe", "sharpe")):
            looks = _looks(summary, target, measure, order)
            if not looks or rows[metric].isna().all():
                continue
            picture = pictures.curves(
                rows, "start", metric, looks, title=f"{label_of(metric)} of each fold", write=COLUMNS[metric].write,
                reference=NO_SKILL.get(metric, 0.0), marker="o", name=f"stability-{len(found)}",
                label=f"{label_of(metric)} by fold on {target}",
            )  # fmt: skip
            found.append(Panel(target, label_of(metric), picture, legend=_legend(looks)))
    return found


def _information(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target in _targets(order):
        rows = summary.information[summary.information["target"] == target]
        looks = {name: look for name, look in _looks(summary, target, "score", order).items()
                 if name in set(rows["model"])}  # fmt: skip
        if not looks:
            continue
        banded = next(iter(looks))  # one band is legible, six are not
        rows = rows.assign(
            low=rows["low"].where(rows["model"] == banded), high=rows["high"].where(rows["model"] == banded)
        )
        wide, narrow = (
            pictures.curves(
                rows, "session", "rank_ic", looks, title="rank IC", write=three, reference=0.0, narrow=bool(suffix),
                name=f"information-{len(found)}{suffix}", label=f"Rank IC through time on {target}",
            )
            for suffix in ("", "-narrow")
        )  # fmt: skip
        legend = (*_legend(looks), Key(f"95 % interval of {banded}", looks[banded][0], "area"))
        methods = summary.leaderboard.loc[summary.leaderboard["target"] == target, "method"].dropna()
        how = "through time, mean over symbols" if "time series" in set(methods) else "over the symbols of each session"
        subtitle = f"trailing {whole(rows['sessions'].iloc[0])} sessions, correlation {how}"
        found.append(Panel(target, subtitle, wide, narrow, legend))
    return found


def _calibration(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target, groups in order.by_target(summary.calibration).items():
        rows = pd.concat([part for _, part in groups])
        looks = _looks(summary, target, "score", order)
        if rows["task"].iloc[0] == "binary":
            picture = reliability_diagram(
                rows, {name: colour for name, (colour, _) in looks.items()}, name=f"calibration-{len(found)}",
                label=f"Predicted probability against observed share on {target}",
            )  # fmt: skip
            legend = tuple(Key(name, colour) for name, (colour, _) in looks.items())
            found.append(Panel(target, "tenths of the probabilities", picture, legend=legend))
            continue
        for name, part in groups:
            if name not in order.colours or name not in looks or len(part) < 2:
                continue
            picture = plots.calibration(
                part, task="regression", colour=looks[name][0], name=f"calibration-{len(found)}",
                label=f"Predicted against realised values of {name} on {target}",
            )  # fmt: skip
            found.append(Panel(name, f"{target} · {whole(part['rows'].sum())} rows", picture))
    return found


def _coverage(summary: Summary, order: Order) -> list[Panel]:
    """Of the best models that have intervals; a legend where there are several."""
    found = []
    if "held" not in summary.returns:
        return found
    rows = summary.returns.dropna(subset="held").rename(columns={"held": "coverage"})
    for target, groups in order.by_target(rows[["target", "model", "session", "coverage", "width"]]).items():
        colours = {model: order.colour(model) for model, _ in groups[:PLOTTED_MODELS]}
        lines = pd.concat([part.iloc[:: -(-len(part) // pictures.POINTS)] for _, part in groups[:PLOTTED_MODELS]])
        asked = summary.leaderboard.loc[summary.leaderboard["target"] == target, "asked"].max()
        wide, narrow = (
            coverage_through_time(
                lines, colours, coverage=asked, name=f"coverage-{len(found)}{suffix}", narrow=bool(suffix),
                label=f"Share of the labels of {target} that intervals held, and their mean width, through time",
            )
            for suffix in ("", "-narrow")
        )  # fmt: skip
        legend = tuple(Key(model, colour) for model, colour in colours.items())
        found.append(Panel(target, "labels that intervals held, trailing sessions", wide, narrow, legend))
    return found


def _importance(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target, groups in order.by_target(summary.importance).items():
        for model, rows in groups[:PLOTTED_MODELS]:
            picture = pictures.importance_ranges(
                rows.head(STABLE_FEATURES), colour=order.colour(model), name=f"importance-{len(found)}",
                label=f"Feature importance of {model} on {target} and its range over the folds",
            )  # fmt: skip
            found.append(Panel(model, f"{target} · mean and range of {whole(rows['folds'].iloc[0])} folds", picture))
    return found


def _costs(summary: Summary, order: Order) -> list[Panel]:
    found = []
    for target in _targets(order):
        rows, looks = summary.costs[summary.costs["target"] == target], _looks(summary, target, "sharpe", order)
        if not looks:
            continue
        picture = pictures.curves(
            rows, "cost_bps", "sharpe", looks, title="Sharpe", write=COLUMNS["sharpe"].write, reference=0.0, marker="o",
            across="cost of a change of position by 1, bps", name=f"costs-{len(found)}",
            label=f"Sharpe ratio by costs on {target}",
        )  # fmt: skip
        found.append(Panel(target, "Sharpe by costs", picture, legend=_legend(looks)))
    return found
