"""The leaderboard: its order, its terminal table and its CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from TRAINING.reports.columns import COLUMNS, DASH, number, percent, text, three, whole

if TYPE_CHECKING:
    from rich.table import Table

FIELDS = (
    "rank", "model", "target", "kind", "symbols", "score_name", "score", "loss_name", "loss", "sharpe", "sharpe_low",
    "sharpe_high", "annual_return", "max_drawdown", "hit_rate", "profit_factor", "win_loss_ratio", "turnover",
    "exposure", "beats_score", "beats_money", "reason",
)  # fmt: skip
BEATS = {"loss": "beats_score", "sharpe": "beats_money"}


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every leaderboard field in order, absent ones missing, and its own further columns behind."""
    return frame.reindex(columns=[*FIELDS, *(name for name in frame.columns if name not in FIELDS)])


def _metric_values(frame: pd.DataFrame, by: str) -> pd.Series:
    if by in frame.columns:
        return frame[by].astype(float)
    values = pd.Series(np.nan, index=frame.index, dtype=float)
    for name, value in (("score_name", "score"), ("loss_name", "loss")):
        values = values.where(frame[name] != by, frame[value])
    if len(frame) and by not in {*frame["score_name"], *frame["loss_name"]}:
        has = [name for name in COLUMNS if name in {*frame.columns, *frame["score_name"], *frame["loss_name"]}]
        has = [name for name in has if COLUMNS[name].better]
        raise ConfigError(f"rank_by: no row of this leaderboard has {by!r}{did_you_mean(by, has)}")
    return values.astype(float)


def rank(frame: pd.DataFrame, by: str = "sharpe") -> pd.DataFrame:
    """Order a leaderboard, best first, and number its rows.

    Parameters
    ----------
    frame : one row per (model, target), baselines among them.
    by : a metric: a column (``sharpe``, ``max_drawdown``, ``score``, ...) or a name in ``score_name`` or ``loss_name``
        (``auc``, ``log_loss``, ...). Each metric knows its better direction.

    Returns
    -------
    The same rows with ``rank`` (1 is best) as first column. Money is compared over all targets; scores and losses mean
    nothing between targets, so by these the rows come target by target and each target counts from 1. Missing values
    come last, target by target in the order of ``score``; ties are ordered by model, then target.

    Raises
    ------
    ConfigError : ``by`` is not a metric with a better direction, or no row has it.
    """
    metrics = [name for name, column in COLUMNS.items() if column.better]
    if by not in metrics:
        raise ConfigError(f"rank_by: a leaderboard is ranked by a metric, got {by!r}{did_you_mean(by, metrics)}")
    frame = complete(frame).drop(columns="rank").reset_index(drop=True)
    column = COLUMNS[by]
    worst_last = _metric_values(frame, by) * -column.better
    names = {"model": frame["model"].astype(str), "target": frame["target"].astype(str)}
    keys = pd.DataFrame({"group": names["target"] if column.per_target else "", "value": worst_last, **names})
    keys["among"] = names["target"].where(worst_last.isna(), "")
    keys["score"] = (_metric_values(frame, "score") * -COLUMNS["score"].better).where(worst_last.isna(), 0.0)
    by_these = ["group", "value", "among", "score", "model", "target"]
    order = keys.sort_values(by_these, na_position="last", kind="stable").index
    ranked = frame.loc[order].reset_index(drop=True)
    groups = keys["group"].loc[order].reset_index(drop=True)
    ranked.insert(0, "rank", groups.groupby(groups).cumcount() + 1)
    return ranked


def rivals(frame: pd.DataFrame, target: object, measure: str) -> tuple[str, ...]:
    """The baselines of a target that can be beaten: those whose ``measure`` (``loss`` or ``sharpe``) is defined."""
    chosen = frame[(frame["target"] == target) & (frame["kind"] == "baseline") & frame[measure].notna()]
    return tuple(chosen["model"].astype(str))


def beaten(frame: pd.DataFrame, row: Mapping[str, object], measure: str) -> tuple[str, ...]:
    """Those of a row's rivals that its ``beats_score`` (for ``loss``) or ``beats_money`` (for ``sharpe``) names."""
    names = text(row[BEATS[measure]]).split(",")
    return tuple(name for name in rivals(frame, row["target"], measure) if name in names)


def tally(frame: pd.DataFrame, row: Mapping[str, object], measure: str) -> str:
    """``3/4``: how many rivals a model beats; empty for a baseline, a dash where nothing can be compared."""
    if row["kind"] == "baseline":
        return ""
    if pd.isna(row[measure]):
        return DASH
    against = rivals(frame, row["target"], measure)
    return f"{len(beaten(frame, row, measure))}/{len(against)}" if against else DASH


def leaderboard_table(frame: pd.DataFrame) -> Table:
    """The leaderboard's essential columns, for a terminal of 100 columns.

    Baselines are dim, the best row bold; a missing value is a dash. ``beats`` counts the baselines whose bootstrap
    interval of the difference excludes zero. Off a terminal print it with a ``Console`` at least 100 wide.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, header_style="bold")
    for name in ("#", "model", "target", "score", "sharpe", "interval", "return", "draw-\ndown", "hit", "beats\nloss",
                 "beats\nsharpe"):  # fmt: skip
        is_text = name in ("model", "target")
        table.add_column(
            name,
            justify="left" if is_text else "right",
            no_wrap=not is_text,
            overflow="fold" if is_text else "ellipsis",
        )
    frame = complete(frame)
    for position, row in enumerate(frame.to_dict("records")):
        score = three(row["score"])
        interval = f"{number(row['sharpe_low'])}..{number(row['sharpe_high'])}"
        cells = (
            whole(row["rank"]), text(row["model"]), text(row["target"]),
            score if score == DASH else f"{text(row['score_name'])} {score}",
            number(row["sharpe"]), DASH if pd.isna(row["sharpe_low"]) else interval,
            percent(row["annual_return"]), percent(row["max_drawdown"]), percent(row["hit_rate"]),
            tally(frame, row, "loss"), tally(frame, row, "sharpe"),
        )  # fmt: skip
        style = "dim" if row["kind"] == "baseline" else "bold" if position == 0 else ""
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def leaderboard_csv(frame: pd.DataFrame) -> str:
    """The leaderboard as CSV: shortest floats that read back exactly, missing values empty; always the same bytes."""
    return complete(frame).to_csv(index=False, lineterminator="\n")
