"""The tables of a walk-forward's report as texts, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from TRAINING.reports.columns import (
    COLUMNS,
    DASH,
    Column,
    label_of,
    number,
    percent,
    short,
    text,
    three,
    typeset,
    whole,
    yes,
)
from TRAINING.reports.leaderboard import tally
from TRAINING.reports.panels import Order
from TRAINING.reports.tables import Entry, Group, Scale, Table, Value, cell, failures

EXTREME_SYMBOLS = 20  # best and worst ones that are shown
STABLE_FEATURES = 15
EXAMPLES = 3  # of reasons beneath a table


def _p_value(value: object) -> str:
    return "< 0.001" if pd.notna(value) and value < 0.001 else three(value)


def _hundredths(value: object) -> str:
    return percent(value, 2)


def _five(value: object) -> str:
    return number(value, 5)


def _basis_points(value: object) -> str:
    return number(value * 1e4 if pd.notna(value) else value, 1)


_COLUMNS = COLUMNS | {
    column.name: column
    for column in (
        Column("information", "mean rank IC", three),
        Column("t_statistic", "its t", number),
        Column("psr", "PSR", percent),
        Column("dsr", "deflated", percent),
        Column("dm_p", "DM p", _p_value),
        Column("rival", "against", text),
        Column("loss_gain", "loss lower by", _hundredths),
        Column("loss_low", "from", _hundredths),
        Column("loss_high", "to", _hundredths),
        Column("better_loss", "beats", yes),
        Column("sharpe_gain", "Sharpe higher by", number),
        Column("sharpe_low", "from", number),
        Column("sharpe_high", "to", number),
        Column("better_sharpe", "beats", yes),
        Column("strategies", "models", whole),
        Column("effective", "different ones", number),
        Column("probability", "overfitting", percent),
        Column("loss_probability", "loses money", percent),
        Column("cost_bps", "cost in bps", whole),
        Column("mean", "mean share", percent),
        Column("low", "lowest", percent),
        Column("high", "highest", percent),
        Column("top", "in the first ten", percent),
        Column("rank_correlation", "mean rank correlation", number),
        Column("year", "year", text),
        Column("expected_calibration_error", "calibration error", percent),
        Column("miscalibration", "miscalibration", _five),
        Column("discrimination", "discrimination", _five),
        Column("uncertainty", "uncertainty", _five),
        Column("asked", "to be held", percent),
        Column("coverage", "held", percent),
        Column("mean_width", "mean width", short),
        Column("interval_score", "interval score", short),
        Column("blocked", "blocked", whole),
        Column("share", "of them", percent),
        Column("unknown", "not predicted", whole),
        Column("exposure_kept", "exposure kept", percent),
        Column("return_blocked", "bps a bar of the blocked", _basis_points),
        Column("return_kept", "of the kept", _basis_points),
        Column("beats_loss", "beats on loss", text),
        Column("beats_sharpe", "beats on Sharpe", text),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Listing(Table):
    """A table; ``reasons`` say why values are undefined, and a ``folded`` one opens on a click."""

    reasons: tuple[str, ...] = ()
    folded: bool = False


def table(
    frame: pd.DataFrame, names: Sequence[str], title: str = "", reasons: Sequence[str] = (), folded: bool = False
) -> Listing:
    """The named columns that hold anything; the first stays."""
    kept = [name for place, name in enumerate(names) if not place or frame[name].map(text).ne("").any()]
    columns = [_COLUMNS.get(name) or Column(name, label_of(name), text) for name in kept]
    values = [[cell(column, value) for value in frame[column.name]] for column in columns]
    heads = [(column.label, column.numeric) for column in columns]
    return Listing(title, heads, [list(row) for row in zip(*values, strict=True)], tuple(reasons), folded)


# ---- leaderboard ----------------------------------------------------------------------------------------------------

_BOARD = ("score", "information", "t_statistic", "psr", "dsr", "annual_return", "max_drawdown", "turnover")
_MINOR = ("information", "turnover", "psr")


def board_groups(board: pd.DataFrame) -> list[Group]:
    """Per target its rows in rank order, with the lines of the Sharpe ratios."""
    order, groups = Order.of(board), []
    for target, rows in _by_target(board, order):
        scale = Scale.of(rows[["sharpe", "sharpe_low", "sharpe_high"]].to_numpy(float))
        shown = [name for name in _BOARD if rows[name].notna().any()]
        entries = [_entry(row, board, order, scale, shown) for row in rows.to_dict("records")]
        groups.append(Group(target, entries, _board_reasons(rows)))
    return groups


def _entry(row: dict, board: pd.DataFrame, order: Order, scale: Scale, shown: Sequence[str]) -> Entry:
    baseline, values = row["kind"] == "baseline", []
    for name in shown:
        column = COLUMNS[row["score_name"]] if name == "score" else _COLUMNS[name]
        written = "" if baseline and name == "dsr" else cell(column, row[name])
        values.append(Value(column.label, written, name in _MINOR))
    values.append(Value("beats on loss", tally(board, row, "loss")))
    values.append(Value("beats on Sharpe", tally(board, row, "sharpe")))
    values.append(Value("DM p", "" if baseline else typeset(_p_value(row["dm_p"]))))
    return Entry.of(row, order, scale, values)


def _board_reasons(rows: pd.DataFrame) -> list[str]:
    return _grouped((why, row["model"]) for row in rows.to_dict("records")
                    for why in (text(row["reason"]), text(row.get("dsr_reason"))) if why)  # fmt: skip


def _grouped(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each reason once, with what it is of."""
    whys: dict[str, list[str]] = {}
    for why, of in found:
        whys.setdefault(why, []).append(of)
    return [f"{why} ({_listed(names)})" for why, names in whys.items()]


def leaderboard(board: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target its rows in rank order, without pictures."""
    found = []
    for target, rows in _by_target(board, order):
        score, loss = rows["score_name"].iloc[0], rows["loss_name"].iloc[0]
        records = rows.to_dict("records")
        rows = rows.assign(
            beats_loss=[tally(board, row, "loss") for row in records],
            beats_sharpe=[tally(board, row, "sharpe") for row in records],
            **{score: rows["score"], loss: rows["loss"]},
        )
        names = ["model", score, loss, "information", "t_statistic", "sharpe", "sharpe_low", "sharpe_high"]
        names += [*_BOARD[3:], "beats_loss", "beats_sharpe", "rival", "dm_p"]
        found.append(table(rows, names, target, _board_reasons(rows)))
    return found


def _by_target(frame: pd.DataFrame, order: Order) -> list[tuple[str, pd.DataFrame]]:
    targets = dict.fromkeys(target for target, _ in order.pairs)
    rows = [(target, frame[frame["target"] == target]) for target in targets]
    return [(target, part) for target, part in rows if len(part)]


# ---- the other sections ---------------------------------------------------------------------------------------------


def comparisons(frame: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target each model against its rivals; losses in shares of the rival's."""
    names = ["model", "rival", "loss_gain", "loss_low", "loss_high", "better_loss", "dm_p", "sharpe_gain", "sharpe_low",
             "sharpe_high", "better_sharpe"]  # fmt: skip
    found = []
    for target, rows in _by_target(frame[frame["kind"] != "gate"], order):
        losses = ["loss_gain", "loss_low", "loss_high"]
        rows = rows.assign(
            better_loss=rows["better_loss"].where(rows["loss_gain"].notna()),
            better_sharpe=rows["better_sharpe"].where(rows["sharpe_gain"].notna()),
            **{name: rows[name] / rows["rival_loss"] for name in losses},
        )
        reasons = _grouped((row["reason"], f"{row['model']} against {row['rival']}")
                           for row in rows.to_dict("records") if row["reason"])  # fmt: skip
        found.append(table(rows, names, target, reasons))
    return found


def overfitting(frame: pd.DataFrame) -> list[Listing]:
    """What choosing is worth, where there was a choice."""
    if not len(frame) or not (frame["strategies"] > 1).any():
        return []
    frame = frame[frame["strategies"] > 1]
    reasons = _grouped((row["reason"], row["target"]) for row in frame.to_dict("records") if row["reason"])
    names = ["target", "strategies", "effective", "sessions", "probability", "loss_probability"]
    return [table(frame, names, "What choosing the best Sharpe ratio is worth", reasons)]


def missing_folds(folds: pd.DataFrame) -> list[Listing]:
    """Folds that were skipped or failed, and remarks, by reason."""
    where = "fold " + folds["fold"].astype(str) + folds["symbol"].map(lambda symbol: f" {symbol}" if symbol else "")
    endings = failures(folds.assign(symbol=where))
    rows = [[ending.status, f"{ending.count:,}", ending.reason, ending.where, ending.symbols] for ending in endings]
    heads = [("status", False), ("folds", True), ("reason", False), ("where", False), ("which", False)]
    return [Listing("Skipped, failed, and remarks", heads, rows)] if rows else []


def fold_wins(wins: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target in how many folds each model is better than each baseline."""
    found = []
    for target, rows in _by_target(wins[wins["folds"] > 0], order):
        written = {(row["model"], row["metric"], row["rival"]): f"{row['better']} of {row['folds']}"
                   for row in rows.to_dict("records")}  # fmt: skip
        rivals = list(dict.fromkeys(rows["rival"]))
        body = [[model, label_of(metric), *(written.get((model, metric, rival), DASH) for rival in rivals)]
                for model, metric in dict.fromkeys((model, metric) for model, metric, _ in written)]  # fmt: skip
        heads = [("model", False), ("measure", False), *((rival, True) for rival in rivals)]
        found.append(Listing(f"{target}: folds in which a model is better than each baseline", heads, body))
    return found


def gates(comparisons: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target what each gate did to the positions of a model."""
    names = ["model", "gate", "rule", "side", "rows", "blocked", "share", "unknown", "exposure_kept", "return_blocked",
             "return_kept"]  # fmt: skip
    frame = comparisons[comparisons["kind"] == "gate"].rename(columns={"rival": "gate"})
    return [table(rows, names, f"{target}: what each gate did to the positions")
            for target, rows in _by_target(frame, order)]  # fmt: skip


def calibration(board: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target how far probabilities can be relied on."""
    names = ["model", "expected_calibration_error", "miscalibration", "discrimination", "uncertainty"]
    if names[1] not in board:
        return []
    return [table(rows, names, f"{target}: probabilities and what came")
            for target, rows in _by_target(board.dropna(subset=names[1]), order)]  # fmt: skip


def coverage(board: pd.DataFrame, years: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target how many labels the intervals held, in all years and in each."""
    if "coverage" not in board:
        return []
    names = ["model", "year", "asked", "coverage", "mean_width", "interval_score"]
    both = [frame[["target", *names]].dropna(subset="coverage") for frame in (board.assign(year="all"), years)]
    return [table(pd.concat([rows for _, rows in groups]), names, f"{target}: labels that the intervals held")
            for target, groups in order.by_target(pd.concat(both)).items()]  # fmt: skip


def agreement(frame: pd.DataFrame) -> list[Listing]:
    """How alike neighbouring folds rank the features."""
    if not len(frame):
        return []
    mean = frame.groupby(["target", "model"], sort=False)["rank_correlation"].mean().reset_index()
    return [table(mean, ["model", "target", "rank_correlation"], "How alike neighbouring folds rank the features")]


def importance(frame: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target the strongest features of each model."""
    names = ["model", "feature", "mean", "low", "high", "top"]
    title = f"the {STABLE_FEATURES} strongest features of each model"
    return [table(rows.groupby("model", sort=False).head(STABLE_FEATURES), names, f"{target}: {title}", folded=True)
            for target, rows in _by_target(frame, order)]  # fmt: skip


def costs(frame: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target Sharpe ratio and return at each cost."""
    found = []
    for target, rows in _by_target(frame, order):
        if rows["sharpe"].isna().all():
            continue
        rows = rows.assign(cost=rows["cost_bps"].map(lambda bps: f"{bps:g} bps"))
        for metric in ("sharpe", "annual_return"):
            found.append(_matrix(rows, "cost", metric, target, f"{target}: {label_of(metric)}", order))
    return found


def parts(frame: pd.DataFrame, by: str, board: pd.DataFrame, order: Order) -> list[Listing]:
    """Per target Sharpe ratio and score by symbol, year or regime; the best target's are open."""
    found = []
    for target, rows in _by_target(frame, order):
        own = board[board["target"] == target]
        folded = by == "symbol" or target != order.pairs[0][0]
        for metric in ("sharpe", own["score_name"].iloc[0]):
            if rows[metric].isna().all():
                continue
            # Who predicts nothing has no score; who does not trade has no Sharpe ratio, for a reason.
            predicts = rows[metric].notna().groupby(rows["model"]).transform("any")
            chosen, aside = rows if metric == "sharpe" else rows[predicts], ""
            if by == "symbol":
                chosen, aside = _extremes(chosen, own.loc[own["kind"] == "model", "model"].iloc[0], metric)
            title = f"{target}: {label_of(metric)} by {by}{aside}"
            found.append(_matrix(chosen, by, metric, target, title, order, folded))
    return found


def _extremes(rows: pd.DataFrame, model: str, metric: str) -> tuple[pd.DataFrame, str]:
    """The symbols on which the best-ranked model does best and worst, in this order."""
    values = rows[rows["model"] == model].set_index("symbol")[metric].sort_values(ascending=False, kind="stable")
    if len(values) <= 2 * EXTREME_SYMBOLS:
        chosen, aside = list(values.index), ""
    else:
        known = values.dropna().index
        chosen = list(dict.fromkeys([*known[:EXTREME_SYMBOLS], *known[-EXTREME_SYMBOLS:]]))
        aside = f", best and worst {EXTREME_SYMBOLS} of {len(values)} for {model} (symbols.csv has all)"
    place = {symbol: position for position, symbol in enumerate(chosen)}
    rows = rows[rows["symbol"].isin(place)]
    return rows.iloc[np.argsort(rows["symbol"].map(place).to_numpy(int), kind="stable")], aside


def _matrix(
    rows: pd.DataFrame, by: str, metric: str, target: str, title: str, order: Order, folded: bool = False
) -> Listing:
    """One metric: a row per part, a column per name."""
    names = [model for of, model in order.pairs if of == target and model in set(rows["model"])]
    values = rows.set_index([rows[by].map(str), rows["model"].astype(str)])[metric]
    written = [[part, *(cell(COLUMNS[metric], values.get((part, name), np.nan)) for name in names)]
               for part in dict.fromkeys(rows[by].map(str))]  # fmt: skip
    heads = [(by, False), *((name, True) for name in names)]
    return Listing(title, heads, written, tuple(_grouped(_why(rows, by, metric))), folded)


def _why(rows: pd.DataFrame, by: str, metric: str) -> Iterator[tuple[str, str]]:
    """Reason and place of each value of a metric that is missing."""
    for row in rows[rows[metric].isna()].to_dict("records"):
        for piece in text(row["reason"]).split("; "):
            names, found, why = piece.partition(": ")
            if found and metric in names.split(", "):
                yield why, f"{row['model']}, {row[by]}"
    there = set(zip(rows["model"], rows[by], strict=True))
    for model, part in product(dict.fromkeys(rows["model"]), dict.fromkeys(rows[by])):
        if (model, part) not in there:
            yield "not tested", f"{model}, {part}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
    return "; ".join(names[:EXAMPLES]) + more


def audit(frame: pd.DataFrame) -> list[Listing]:
    """The verdict of each check."""
    return [table(frame, ["check", "verdict", "reason"])] if len(frame) else []
