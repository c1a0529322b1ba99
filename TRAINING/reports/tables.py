"""The report's tables as rows of text: leaderboard, symbols, data quality, failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from TRAINING.reports import plots
from TRAINING.reports.columns import COLUMNS, Column, column_of, number, text, typeset, whole
from TRAINING.reports.leaderboard import tally
from TRAINING.reports.panels import Order

SYMBOL_ROWS = 2500  # of all per-symbol tables together, so that the page stays light
FLAGGED_SYMBOLS = 60
EXAMPLES = 8  # symbols named for one reason
MONEY = ("annual_return", "max_drawdown", "hit_rate", "profit_factor", "win_loss_ratio", "turnover", "exposure")
MINOR = ("symbols", "profit_factor", "win_loss_ratio", "turnover", "exposure")
FLAGS = ("bad_rows", "duplicates", "unsorted", "stale")


@dataclass(frozen=True)
class Table:
    """``heads`` are (label, numeric) pairs, ``rows`` texts of the same length; the first cell names the row."""

    title: str
    heads: list[tuple[str, bool]]
    rows: list[list[str]]


@dataclass(frozen=True)
class Scale:
    """Maps Sharpe ratios, zero among them, to percent of a cell's width."""

    low: float
    span: float

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        finite = np.append(values[np.isfinite(values)], 0.0)
        return cls(finite.min(), max(finite.max() - finite.min(), 1e-9))

    def at(self, value: float) -> float | None:
        return round(4 + 92 * (value - self.low) / self.span, 2) if np.isfinite(value) else None


@dataclass(frozen=True)
class Forest:
    """A Sharpe ratio with its interval, in percent of the cell's width."""

    zero: float | None
    point: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Value:
    """``minor`` values are left out for baselines on a phone."""

    label: str
    text: str
    minor: bool = False


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard."""

    rank: str
    model: str
    baseline: bool
    colour: str
    sharpe: str
    interval: str
    forest: Forest
    values: list[Value]

    @classmethod
    def of(cls, row: dict, order: Order, scale: Scale, values: list[Value]) -> Entry:
        """The row of a model or a baseline, with the values to be shown behind its Sharpe ratio."""
        baseline, low, high = row["kind"] == "baseline", row["sharpe_low"], row["sharpe_high"]
        return cls(
            rank=whole(row["rank"]),
            model=text(row["model"]),
            baseline=baseline,
            colour="muted" if baseline else order.colour(text(row["model"])),
            sharpe=typeset(number(row["sharpe"])),
            interval="" if pd.isna(low) or pd.isna(high) else typeset(f"{number(low)} to {number(high)}"),
            forest=Forest(scale.at(0.0), scale.at(row["sharpe"]), scale.at(low), scale.at(high)),
            values=values,
        )


@dataclass(frozen=True)
class Group:
    """One target of the leaderboard; ``reasons`` say why values are undefined."""

    target: str
    entries: list[Entry]
    reasons: list[str]


def cell(column: Column, value: object) -> str:
    """A value as its column writes it."""
    return typeset(column.write(value)) if column.numeric else column.write(value)


def frame_table(frame: pd.DataFrame, names: list[str], title: str = "") -> Table:
    """The named columns, those without any value left out but for the first."""
    kept = [name for place, name in enumerate(names) if not place or frame[name].map(text).ne("").any()]
    columns = [column_of(name, frame[name]) for name in kept]
    values = [[cell(column, value) for value in frame[column.name]] for column in columns]
    rows = [list(row) for row in zip(*values, strict=True)]
    return Table(title, [(column.label, column.numeric) for column in columns], rows)


def leaderboard_groups(leaderboard: pd.DataFrame, order: Order) -> list[Group]:
    """Per target: its rows in rank order."""
    groups = []
    for target in dict.fromkeys(target for target, _ in order.pairs):
        rows = leaderboard[leaderboard["target"].astype(str) == target]
        columns = _shown(rows)
        scale = Scale.of(rows[["sharpe", "sharpe_low", "sharpe_high"]].to_numpy(float))
        entries = [_entry(row, leaderboard, order, columns, scale) for row in rows.to_dict("records")]
        reasons = [
            f"{text(row['model'])}: {text(row['reason'])}" for row in rows.to_dict("records") if text(row["reason"])
        ]
        groups.append(Group(target, entries, reasons))
    return groups


def _shown(rows: pd.DataFrame) -> dict[str, Column]:
    """A target's columns that hold anything, by field; ``score`` and ``loss`` stand under their metric's name."""
    columns = {name: COLUMNS[name] for name in ("score", "loss", *MONEY) if rows[name].notna().any()}
    for name in ("score", "loss"):
        metrics = rows[f"{name}_name"].dropna().unique()
        if name in columns and len(metrics) == 1 and metrics[0] in COLUMNS:
            columns[name] = COLUMNS[metrics[0]]
    if rows["symbols"].nunique() > 1:  # where all rows trade the same number, it is not worth a column
        columns["symbols"] = Column("symbols", "symbols", whole)
    return columns


def _entry(row: dict, leaderboard: pd.DataFrame, order: Order, columns: dict[str, Column], scale: Scale) -> Entry:
    values = [Value(column.label, cell(column, row[name]), name in MINOR) for name, column in columns.items()]
    values.append(Value("beats\u00a0on loss", tally(leaderboard, row, "loss")))
    values.append(Value("beats\u00a0on Sharpe", tally(leaderboard, row, "sharpe")))
    return Entry.of(row, order, scale, values)


def symbol_tables(units: pd.DataFrame, order: Order) -> tuple[list[Table], int]:
    """One table per model and target while ``SYMBOL_ROWS`` allows, best Sharpe ratio first; and the number left out."""
    hidden = {"model", "target", "status", "reason", "notes", "train_rows", "validation_rows", "seconds"}
    shown = [name for name in dict.fromkeys(("symbol", "sharpe", *COLUMNS, *units.columns)) if name not in hidden]
    tables, used, left_out = [], 0, 0
    for target, model, rows in order.groups(done(units)):
        used += len(rows)
        if used > SYMBOL_ROWS and tables:
            left_out += 1
            continue
        names = [name for name in shown if name in rows]
        by = ["sharpe", "symbol"] if "sharpe" in rows else ["symbol"]
        rows = rows.sort_values(by, ascending=[name != "sharpe" for name in by], kind="stable")
        tables.append(frame_table(rows, names, f"{model} on {target}"))
    return tables, left_out


def done(units: pd.DataFrame) -> pd.DataFrame:
    """The units that were trained."""
    return units[units["status"] == "done"] if "status" in units else units


@dataclass(frozen=True)
class Ending:
    """Units that ended for the same reason."""

    status: str
    reason: str
    count: int
    where: str
    symbols: str


def failures(units: pd.DataFrame) -> list[Ending]:
    """Failed and skipped units by reason, the most frequent first; the remarks on finished ones behind.

    Reasons that differ in their numbers only count as one, shown by its first.
    """
    if units.empty:
        return []
    frame = units.reindex(columns=["model", "target", "symbol", "status", "reason", "notes"]).map(text)
    frame = frame.sort_values(["model", "target", "symbol"], kind="stable")
    ended = frame[frame["status"] != "done"]
    ended = ended.assign(reason=ended["reason"].where(ended["reason"] != "", "no reason was recorded"))
    remarked = frame[(frame["status"] == "done") & (frame["notes"] != "")]
    found = []
    for rows in (ended, remarked.assign(status="remark", reason=remarked["notes"])):
        kinds = rows["reason"].str.replace(r"\d[\d.,:-]*", "#", regex=True)
        groups = [_ending(group) for _, group in rows.groupby([rows["status"], kinds])]
        found += sorted(groups, key=lambda ending: (-ending.count, ending.status, ending.reason))
    return found


def _ending(group: pd.DataFrame) -> Ending:
    reason = group["reason"].iloc[0] + (" (and alike)" if group["reason"].nunique() > 1 else "")
    where = (group["model"] + " on " + group["target"]).where(group["model"] != "", "reading the data")
    return Ending(group["status"].iloc[0], reason, len(group), _listed(where), _listed(group["symbol"]))


def _listed(names: pd.Series) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - EXAMPLES} more" if len(unique) > EXAMPLES else ""
    return ", ".join(unique[:EXAMPLES]) + more


def quality_tiles(quality: pd.DataFrame) -> list[tuple[str, str]]:
    """The panel's totals: label, value."""
    if quality.empty:
        return []
    tiles = [("symbols", whole(len(quality)))]
    totals = quality.reindex(columns=["rows", "bad_rows", "duplicates"]).apply(pd.to_numeric, errors="coerce")
    tiles += [(COLUMNS[name].label, whole(totals[name].sum())) for name in totals if totals[name].notna().any()]
    for flag in ("adjusted", "stale"):
        if flag in quality:
            tiles.append((flag, whole(quality[flag].eq(True).sum())))
    return tiles


def quality_table(quality: pd.DataFrame) -> tuple[Table | None, int]:
    """The symbols with a problem, bad rows, duplicates or a stale end (all, where they are few), the worst first.

    Returns the table and how many flagged symbols it leaves out.
    """
    if quality.empty:
        return None, 0
    quality = quality.reset_index(drop=True)
    flags = quality.reindex(columns=list(FLAGS)).apply(pd.to_numeric, errors="coerce").fillna(0).sum(axis=1)
    problem = quality.reindex(columns=["problem"])["problem"].map(text) != ""
    order = pd.DataFrame({"problem": ~problem, "flags": -flags.astype(float), "symbol": quality["symbol"].map(text)})
    order = order.sort_values(["problem", "flags", "symbol"]).index
    if len(quality) > plots.COVERAGE_BARS:
        order = order[(problem | (flags > 0)).loc[order]]
    chosen = quality.loc[order]
    names = ["symbol", *(name for name in chosen.columns if name != "symbol")]
    return frame_table(chosen.head(FLAGGED_SYMBOLS), names), max(len(chosen) - FLAGGED_SYMBOLS, 0)
