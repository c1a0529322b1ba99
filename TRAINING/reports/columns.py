"""What each column of a report is called, how it is written, and which way is better."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

DASH = "–"


def number(value: object, digits: int = 2) -> str:
    """Fixed decimals with thousands separators; a missing value is a dash, an infinite one ``inf``."""
    if value is None or pd.isna(value):
        return DASH
    value = float(value)
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    written = f"{value:,.{digits}f}"
    return written.lstrip("-") if float(written.replace(",", "")) == 0 else written


def percent(value: object, digits: int = 1) -> str:
    """A fraction as a percentage: 0.123 is ``12.3%``."""
    if value is None or pd.isna(value) or math.isinf(value):
        return number(value)
    return number(100 * float(value), digits) + "%"


def signed(value: float) -> str:
    """A change as a percentage with its sign, typeset."""
    return typeset(percent(value)) if value < 0 else f"+{percent(value)}"


def whole(value: object) -> str:
    """A count."""
    return number(value, 0)


def three(value: object) -> str:
    """Three decimals, for scores between 0 and 1."""
    return number(value, 3)


def short(value: object) -> str:
    """Four significant digits, for values whose size is not known beforehand (losses, errors)."""
    if value is None or pd.isna(value) or math.isinf(value):
        return number(value)
    return f"{float(value):#.4g}".removesuffix(".")


def day(value: object) -> str:
    """The date of a timestamp."""
    return DASH if value is None or pd.isna(value) else pd.Timestamp(value).strftime("%Y-%m-%d")


def moment(value: object) -> str:
    """A timestamp: its date, and its time (UTC) unless that is midnight."""
    written = DASH if value is None or pd.isna(value) else pd.Timestamp(value).strftime("%Y-%m-%d %H:%M:%S")
    return written.removesuffix(" 00:00:00").removesuffix(":00")


def text(value: object) -> str:
    """Anything else; a missing value is empty."""
    if isinstance(value, str):
        return value
    return "" if value is None or pd.isna(value) else str(value)


def yes(value: object) -> str:
    """A flag: ``yes``, ``no`` or a dash."""
    return DASH if value is None or pd.isna(value) else ("yes" if value else "no")


def typeset(written: str) -> str:
    """A written number as print has it: a minus sign for the hyphen, ∞ for ``inf``."""
    return written.replace("-", "−").replace("inf", "∞")


@dataclass(frozen=True)
class Column:
    """One column: ``better`` is +1 where higher is better, -1 where lower is, 0 where neither.

    ``per_target`` marks what cannot be compared between targets: one label's AUC says nothing against another's.
    """

    name: str
    label: str
    write: Callable[[object], str]
    better: int = 0
    per_target: bool = False

    @property
    def numeric(self) -> bool:
        return self.write not in (text, day, moment, yes)


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("score", "score", three, 1, True),
        Column("auc", "AUC", three, 1, True),
        Column("accuracy", "accuracy", percent, 1, True),
        Column("rank_ic", "rank IC", three, 1, True),
        Column("ic", "IC", three, 1, True),
        Column("r2", "R²", three, 1, True),
        Column("loss", "loss", short, -1, True),
        Column("log_loss", "log loss", short, -1, True),
        Column("brier", "Brier", short, -1, True),
        Column("rmse", "RMSE", short, -1, True),
        Column("mae", "MAE", short, -1, True),
        Column("l1", "absolute error", short, -1, True),
        Column("l2", "squared error", short, -1, True),
        Column("logloss", "log loss", short, -1, True),
        Column("binary_logloss", "log loss", short, -1, True),
        Column("pinball", "pinball", short, -1, True),
        Column("crps", "CRPS", short, -1, True),
        Column("sharpe", "Sharpe", number, 1),
        Column("sortino", "Sortino", number, 1),
        Column("calmar", "Calmar", number, 1),
        Column("annual_return", "return a year", percent, 1),
        Column("volatility", "volatility a year", percent, -1),
        Column("max_drawdown", "drawdown", percent, 1),
        Column("hit_rate", "hit rate", percent, 1),
        Column("profit_factor", "profit factor", number, 1),
        Column("win_loss_ratio", "win/loss", number, 1),
        Column("turnover", "turnover a year", number, -1),
        Column("exposure", "exposure", percent, -1),
        Column("model", "model", text),
        Column("target", "target", text),
        Column("symbol", "symbol", text),
        Column("reason", "reason", text),
        Column("reasons", "reasons", text),
        Column("notes", "notes", text),
        Column("rows", "rows", whole),
        Column("bad_rows", "bad rows", whole),
        Column("duplicates", "duplicates", whole),
        Column("first", "first", day),
        Column("last", "last", day),
        Column("problem", "problem", text),
        Column("unsorted", "unsorted", yes),
        Column("adjusted", "adjusted", yes),
        Column("stale", "stale", yes),
        Column("splits", "splits", text),
        Column("findings", "findings", text),
        Column("interval", "every", text),
        Column("sessions", "sessions", whole),
        Column("missing_sessions", "sessions missing", whole),
        Column("longest_gap", "longest gap", whole),
        Column("missing_bars", "bars missing", whole),
        Column("late_start", "sessions late", whole),
        Column("early_end", "sessions early", whole),
        Column("zero_volume", "without volume", percent),
        Column("repeats", "repeats", whole),
        Column("same_close", "same close", whole),
        Column("outliers", "outliers", whole),
        Column("session", "session", day),
        Column("timestamp", "time", moment),
        Column("from", "from", moment),
        Column("to", "to", moment),
        Column("move", "move", percent),
        Column("deviations", "deviations", number),
        Column("money", "money", number),
        Column("range", "range", number),
        Column("volume", "volume", whole),
        Column("train_rows", "train rows", whole),
        Column("validation_rows", "validation rows", whole),
        Column("test_rows", "test rows", whole),
        Column("rounds", "rounds", whole),
        Column("seconds", "seconds", number),
    )
}


def column_of(name: str, values: pd.Series) -> Column:
    """The column of that name; one we do not know is written by its type."""
    if name in COLUMNS:
        return COLUMNS[name]
    label = words(name)
    if pd.api.types.is_bool_dtype(values):
        return Column(name, label, yes)
    if pd.api.types.is_integer_dtype(values):
        return Column(name, label, whole)
    if pd.api.types.is_float_dtype(values):
        return Column(name, label, short)
    if pd.api.types.is_datetime64_any_dtype(values):
        return Column(name, label, day)
    return Column(name, label, text)


def label_of(name: object) -> str:
    """The label of a metric's name, for example ``AUC`` of ``auc``; empty where there is none."""
    name = text(name)
    return COLUMNS[name].label if name in COLUMNS else words(name)


def words(name: str) -> str:
    """A name as it is read: ``pinball 0.05`` of ``pinball_0_05``."""
    return re.sub(r"(\d)_(\d)", r"\1.\2", name).replace("_", " ")
