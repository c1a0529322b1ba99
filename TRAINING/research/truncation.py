"""Whether the code of features and labels looks ahead: bars are cut, and what was known before must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import feature_columns, target_columns
from DATA_PROCESSING.features.build import FeatureSet
from DATA_PROCESSING.features.context import PanelContext
from DATA_PROCESSING.labeled import TableBuilder
from DATA_PROCESSING.labeled.columns import join_columns, to_frame
from DATA_PROCESSING.labeled.stream import TableStream
from DATA_PROCESSING.labels import label_end_of, panel_forward_returns
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sessions import without_zone
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "truncation"
SYMBOLS = 3  # whose rows are compared
AMONG = 20  # symbols of the panel that they are seen among
ROWS = 3000  # bars of each, the last ones
CUTS = 24
SHOWN = 3


def check_truncation(subject: Subject, features: FeatureSet | None = None) -> Check:
    """Cut the bars of the panel at some times: every feature up to there, and every label that ends there, stays.

    Parameters
    ----------
    subject : Subject
    features : FeatureSet, optional
        In place of the builder's own.
    """
    if subject.refused:
        return Check(NAME, "failed", _one_line(subject.refused), {"refused": subject.refused.splitlines()})
    builder = subject.builder
    if builder is None:
        told = "the source holds tables, not the code that made their columns; audit the bars, with --features-from"
        return Check(NAME, "not applicable", told)
    bars, names = _sample(builder.panel)
    if not names:
        return Check(NAME, "not applicable", "every symbol has fewer than 2 bars")
    features = features or builder.features
    whole = _tables(builder, features, bars, names)
    cuts = _cuts(bars, names)
    changed: dict[str, dict] = {}
    for cut in cuts:
        for symbol, table in _tables(builder, features, _until(bars, cut), names).items():
            for column, found in _changed(whole[symbol], table, cut).items():
                changed.setdefault(column, {"symbol": symbol, **found, "cut": str(cut)[:16].replace("T", " ")})
    own = [feature.name for feature in features.own.features] if features.own else []
    numbers = {"symbols": names, "cuts": len(cuts), "own_features": own, "changed": changed}
    if changed:
        more = f"; and {len(changed) - SHOWN} more columns" if len(changed) > SHOWN else ""
        told = "; ".join(_told(column, found) for column, found in list(changed.items())[:SHOWN])
        return Check(NAME, "failed", told + more, numbers)
    columns = next(iter(whole.values())).columns
    made = f"{len(feature_columns(columns))} features{f' ({len(own)} of your own)' if own else ''}"
    told = f"{made} and {len(target_columns(columns))} labels stay the same to the bit where bars are cut"
    return Check(NAME, "passed", f"{told}, {len(cuts)} times in {', '.join(names)}", numbers)


def _sample(panel: Panel) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The last bars of some symbols, and the longest, the middle and the shortest of them, whose rows are compared."""
    symbols = sorted(panel.bars, key=lambda symbol: (-len(panel.bars[symbol]), symbol))
    among = _spread(symbols, AMONG)
    bars = {symbol: panel.bars[symbol].tail(ROWS).reset_index(drop=True) for symbol in among}
    for symbol in list(panel.long)[: SYMBOLS - min(len(among), SYMBOLS)]:
        bars[symbol] = next(panel.chunks(symbol))[0].head(ROWS).reset_index(drop=True)
    names = [symbol for symbol in bars if len(bars[symbol]) > 1]
    return bars, _spread(names, SYMBOLS)


def _spread(items: list[str], count: int) -> list[str]:
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))]


def _tables(
    builder: TableBuilder, features: FeatureSet, bars: dict[str, pd.DataFrame], names: list[str]
) -> dict[str, pd.DataFrame]:
    """Labeled tables as the builder makes them, from these bars alone."""
    panel, labels = builder.panel, builder.maker.labels
    context = PanelContext(bars, _with_index_inside(features, bars))
    numbers = {symbol: _numbers(panel, symbol, own) for symbol, own in bars.items()}
    returns = panel_forward_returns(bars, labels, numbers) if labels["excess"] else {}
    tables = {}
    for symbol in (name for name in names if name in bars):
        rows = context.rows(symbol, bars[symbol]).assign(number=numbers[symbol])
        rows = pd.concat([rows, returns[symbol]], axis=1) if symbol in returns else rows
        stream = TableStream(features.stream(), features.panel_names, labels)
        tables[symbol] = to_frame(join_columns([stream.push(rows), stream.rest()]))
    return tables


def _with_index_inside(features: FeatureSet, bars: dict[str, pd.DataFrame]) -> FeatureSet:
    """Features whose market is the mean of the symbols where their index is none of the bars."""
    return replace(features, market="") if features.market and features.market not in bars else features


def _numbers(panel: Panel, symbol: str, bars: pd.DataFrame) -> np.ndarray:
    """As `Panel.session_numbers`, of some of a symbol's bars."""
    sessions = bars["session"].to_numpy("datetime64[D]")
    return np.searchsorted(panel.clocks[symbol].expected_sessions(sessions, panel.sessions), sessions)


def _cuts(bars: dict[str, pd.DataFrame], names: list[str]) -> np.ndarray:
    """Times after which bars are cut: before the largest moves, before new months, and at random."""
    random, share = np.random.default_rng(0), max(CUTS // 3 // len(names), 1)
    times = []
    for symbol in names:
        own, close = without_zone(bars[symbol]["timestamp"]), bars[symbol]["close"].to_numpy()
        moves = np.argsort(-np.abs(np.diff(np.log(close))))[:share]
        months = random.permutation(np.flatnonzero(np.diff(own.astype("datetime64[M]").astype(int))))[:share]
        times.append(own[np.concatenate([moves, months, random.integers(len(own), size=share)]).astype(int)])
    return np.unique(np.concatenate(times))


def _until(bars: dict[str, pd.DataFrame], cut: np.datetime64) -> dict[str, pd.DataFrame]:
    kept = {symbol: own[without_zone(own["timestamp"]) <= cut] for symbol, own in bars.items()}
    return {symbol: own for symbol, own in kept.items() if len(own)}


def _changed(whole: pd.DataFrame, table: pd.DataFrame, cut: np.datetime64) -> dict[str, dict]:
    """The columns that are no longer what they were, with the last such row and both values."""
    before, found = whole.iloc[: len(table)], {}

    def compare(column: str, rows: np.ndarray) -> None:
        expected, other = (part[column].to_numpy()[rows] for part in (before, table))
        differs = np.flatnonzero(~((expected == other) | ((expected != expected) & (other != other))))
        if len(differs):
            row = differs[-1]
            moment = f"{before['timestamp'].iloc[rows[row]]:%Y-%m-%d %H:%M}"
            found[column] = {"timestamp": moment, "value": float(expected[row]), "when_cut": float(other[row])}

    for column in feature_columns(whole.columns):
        compare(column, np.arange(len(table)))
    for column in target_columns(whole.columns):
        ends = without_zone(before[label_end_of(column, whole.columns)])
        compare(column, np.flatnonzero(ends <= cut))
    return found


def _told(column: str, found: dict) -> str:
    return (
        f"{column} looks ahead: {found['symbol']} at {found['timestamp']} is {found['value']:.9g}, but "
        f"{found['when_cut']:.9g} when the bars end at {found['cut']}"
    )


def _one_line(refusal: str) -> str:
    lines = refusal.splitlines()
    return lines[0] + (f"; and {len(lines) - 1} more" if len(lines) > 1 else "")
