"""The page of ``barzoo data check``: what is in a source, and what a careful reader would want to know of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from DATA_PROCESSING.adjust import ratio_text
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.quality import describe
from DATA_PROCESSING.resample import interval_text
from TRAINING.reports import plots, style
from TRAINING.reports.columns import DASH, column_of, day, typeset, whole
from TRAINING.reports.page import render_page
from TRAINING.reports.panels import Key, Panel
from TRAINING.reports.style import LIGHT
from TRAINING.reports.tables import Table, cell, frame_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYMBOL_ROWS, EVENT_ROWS = 2500, 200  # of a table, so that the page stays light
SAMPLES = 3  # bad rows shown of each reason
LONGEST_TEXT = 40  # of what stands in a bad row
PRICES = ("open", "close", "close before", "value")  # written here, and yet numbers
NAMED_ROWS, BANDS = 40, 60  # symbols that have a line of their own in the coverage; lines where there are more
LEVELS = ((0.99, "blue", "99% and more"), (0.9, "green", "90%"), (0.5, "amber", "half"), (0.0, "orange", "less"))
SYMBOL_COLUMNS = (
    "symbol", "findings", "rows", "interval", "first", "last", "bad_rows", "duplicates", "missing_sessions",
    "longest_gap", "missing_bars", "late_start", "early_end", "zero_volume", "repeats", "same_close", "outliers",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One kind of finding: a section with a table, or with the sentence that says there is none."""

    name: str
    title: str
    lead: str
    none: str
    table: Table
    left_out: int

    @classmethod
    def of(cls, name: str, title: str, lead: str, none: str, frame: pd.DataFrame, by: str = "") -> Finding:
        """The first rows of a frame, or those with the largest values of the column ``by``."""
        shown = frame.sort_values(by, ascending=False, kind="stable") if by else frame
        table = frame_table(shown.head(EVENT_ROWS), list(frame.columns))
        table = replace(table, heads=[(label, numeric or label in PRICES) for label, numeric in table.heads])
        return cls(name, title, lead, none, table, max(len(frame) - EVENT_ROWS, 0))


def render_quality(
    *,
    title: str,
    settings: Mapping[str, object],
    symbols: pd.DataFrame,
    bad_rows: pd.DataFrame,
    splits: pd.DataFrame,
    gaps: pd.DataFrame,
    stale_prices: pd.DataFrame,
    outliers: pd.DataFrame,
    level_shifts: pd.DataFrame,
    interval_changes: pd.DataFrame,
    coverage: pd.DataFrame,
) -> str:
    """Render what was found in a source as one HTML page.

    Parameters
    ----------
    title : what the page is called.
    settings : the run config ``bars``.
    bad_rows, splits : of the ``Panel``; with the column ``given`` of bad rows the page shows what stood in them.
    symbols, gaps, stale_prices, outliers, level_shifts, interval_changes, coverage : the ``Findings``.

    Returns
    -------
    The page's text. All but ``symbols`` may be empty; the same input gives the same bytes.
    """
    told = pd.Series(["; ".join(describe(row)) for row in symbols.itertuples()], symbols.index, dtype=object)
    usable = symbols["problem"] == ""
    interval = symbols["interval"].map(interval_text)
    symbols = symbols.assign(first=symbols["first_session"], last=symbols["last_session"])
    listed = symbols.assign(findings=told, interval=interval).sort_values(
        ["findings", "symbol"], key=lambda column: column == "" if column.name == "findings" else column
    )
    return render_page(
        "quality.html.j2",
        title=title,
        headline=_headline(int(usable.sum()), len(symbols), int((told[usable] != "").sum())),
        meta=_facts(symbols[usable], interval[usable], settings),
        notes=[],
        settings={name: str(value) for name, value in settings.items() if value not in ("", {}, [])},
        tiles=_tiles(symbols, splits),
        coverage=_coverage(coverage),
        symbols=frame_table(listed.head(SYMBOL_ROWS), [name for name in SYMBOL_COLUMNS if name in listed]),
        resample=settings["resample"],
        symbols_left_out=max(len(listed) - SYMBOL_ROWS, 0),
        findings=[
            _splits(splits),
            _gaps(gaps),
            _bad_rows(bad_rows),
            _zero_volume(symbols),
            _stale_prices(stale_prices),
            _outliers(outliers),
            _level_shifts(level_shifts),
            _interval_changes(interval_changes),
        ],
    )


def _headline(usable: int, symbols: int, with_findings: int) -> str:
    if not usable:
        return f"None of {whole(symbols)} symbols is usable." if symbols > 1 else "The symbol is not usable."
    look = f"{whole(with_findings)} of {{}} call{'s' if with_findings == 1 else ''} for a look"
    if symbols == 1:
        return f"The symbol is usable; {'it calls for a look' if with_findings else 'all is well'}."
    if usable == symbols:
        return f"All {whole(symbols)} symbols are usable; {look.format('them') if with_findings else 'all is well'}."
    be, others_be = ("is" if count == 1 else "are" for count in (usable, symbols - usable))
    usable_ones = f"{whole(usable)} of {whole(symbols)} symbols {be} usable, {whole(symbols - usable)} {others_be} not"
    return f"{usable_ones}; {look.format('the usable') if with_findings else 'nothing else calls for a look'}."


def _facts(usable: pd.DataFrame, intervals: pd.Series, settings: Mapping[str, object]) -> dict[str, str]:
    facts = {"rows": whole(usable["rows"].sum())}
    if len(usable):
        facts["from"], facts["to"] = day(usable["first"].min()), day(usable["last"].max())
        kinds = intervals.value_counts().index
        facts["every"] = ", ".join(kinds[:4]) + (" and others" if len(kinds) > 4 else "")
    adjusted = settings["adjust"]
    if adjusted != "none" and not usable["adjusted"].any():
        adjusted = "nothing: there is no adj_close" + (" and no split" if adjusted == "infer" else "")
    return facts | {"adjusted by": str(adjusted), "bad rows": str(settings["on_bad"])}


def _tiles(symbols: pd.DataFrame, splits: pd.DataFrame) -> list[tuple[str, str]]:
    counts = {
        "symbols": len(symbols),
        "adjusted": symbols["adjusted"].sum(),
        "rows": symbols["rows"].sum(),
        "bad rows": symbols["bad_rows"].sum(),
        "duplicates": symbols["duplicates"].sum(),
        "sessions missing": symbols["missing_sessions"].sum(),
        "bars missing within sessions": symbols["missing_bars"].sum(),
        "split-like events": len(splits),
        "outliers": symbols["outliers"].sum(),
        "end early": symbols["stale"].sum(),
    }
    return [(label, whole(count)) for label, count in counts.items()]


def _splits(splits: pd.DataFrame) -> Finding:
    ends = np.where(splits["adjusted"], "adjusted for", np.where(splits["doubt"] == "", "left as it is", "no split: "))
    shown = pd.DataFrame(
        {
            "symbol": splits["symbol"],
            "session": splits["session"],
            "new for old": splits["ratio"].map(ratio_text).astype(object),
            "taken as": ends + splits["doubt"],
            "close over open": splits["move"],
            "money": splits["money"],
            "range": splits["range"],
        }
    )
    return Finding.of(
        "splits",
        "Split-like events",
        "Overnight moves within 3 % of a simple ratio. A split changes nothing else: the money traded and the range of "
        "the session (as multiples of their medians over the 20 sessions before) stay usual, the new price lasts, and "
        "the other symbols do not move along.",
        "No overnight move is near the ratio of a split.",
        shown,
    )


def _gaps(gaps: pd.DataFrame) -> Finding:
    return Finding.of(
        "gaps",
        "Gaps",
        "Sessions without a bar between a symbol's first and last, on which its calendar, or else at least half of the "
        "symbols that could, traded. The longest first.",
        "No session is missing.",
        gaps.rename(columns={"first": "from", "last": "to"}),
        by="sessions",
    )


def _bad_rows(bad_rows: pd.DataFrame) -> Finding:
    counts = bad_rows["reason"].value_counts()
    samples = bad_rows.groupby("reason").head(SAMPLES)
    samples = samples.assign(count=samples["reason"].map(counts), row=samples["row"] + 1)
    samples = samples.sort_values(["count", "reason", "symbol", "row"], ascending=[False, True, True, True])
    samples.insert(0, "of", samples.pop("count"))
    samples.insert(0, "broken rule", samples.pop("reason"))
    return Finding(
        "bad-rows",
        "Bad rows",
        f"Rows that are no valid bars and were set aside: {SAMPLES} samples of each broken rule, and how many there "
        "are. Rows are counted from 1 below the header.",
        "Every row is a valid bar.",
        _as_given(samples.head(EVENT_ROWS)),
        max(len(samples) - EVENT_ROWS, 0),
    )


def _as_given(samples: pd.DataFrame) -> Table:
    """Bad rows with all their digits, and with what stood where there is no number and no time."""
    given = [json.loads(text or "{}") for text in samples.get("given", [""] * len(samples))]
    heads, columns = [], []
    for name in samples.columns.drop("given", errors="ignore"):
        column = column_of(name, samples[name])
        write = _exact if name in (*BAR_COLUMNS, "adj_close") else partial(cell, column)
        cells = [
            str(stood[name])[:LONGEST_TEXT] if pd.isna(value) and stood.get(name) is not None else write(value)
            for value, stood in zip(samples[name], given, strict=True)
        ]
        if {*cells} - {"", DASH}:
            heads.append((column.label, column.numeric))
            columns.append(cells)
    return Table("", heads, [list(row) for row in zip(*columns, strict=True)])


def _exact(value: float) -> str:
    """A number with as many digits as it has."""
    return DASH if pd.isna(value) else typeset(f"{value:,}".removesuffix(".0"))


def _price(value: float) -> str:
    """An adjusted price, whose last digits mean nothing."""
    return _exact(float(f"{value:.7g}"))


def _zero_volume(symbols: pd.DataFrame) -> Finding:
    idle = symbols.loc[symbols["zero_volume"] > 0, ["symbol", "rows", "zero_volume"]]
    return Finding.of(
        "volume",
        "Bars without volume",
        "Nobody traded, or the volume is not known. Prices of such bars cannot be had.",
        "Every bar has volume.",
        idle,
        by="zero_volume",
    )


def _stale_prices(runs: pd.DataFrame) -> Finding:
    return Finding.of(
        "stale-prices",
        "Stale prices",
        "One close for five bars or more, within sessions for as many bars as a session has: a halt, an illiquid "
        "symbol, or a feed that repeats itself. The longest runs first.",
        "No price stays for long.",
        runs.assign(close=runs["close"].map(_price)).rename(
            columns={"first": "from", "last": "to", "all_prices": "open, high, low too"}
        ),
        by="bars",
    )


def _outliers(outliers: pd.DataFrame) -> Finding:
    return Finding.of(
        "outliers",
        "Outliers",
        "Prices more than ten robust standard deviations of a bar's return away from both neighbours: bad ticks, "
        "mostly, and true flash crashes. Nothing is done about them.",
        "No price stands out.",
        outliers.assign(value=outliers["value"].map(_price)),
        by="deviations",
    )


def _level_shifts(shifts: pd.DataFrame) -> Finding:
    return Finding.of(
        "level-shifts",
        "Level shifts",
        "Sessions that open more than twice as high as the close before, or less than half as high, in no ratio of a "
        "split: a crash, a spin-off, another ratio, another unit or currency. Nothing is done about them.",
        "No session opens at another level, but for splits and outliers.",
        shifts.assign(**{name: shifts[name].map(_price) for name in ("close_before", "open")}),
    )


def _interval_changes(changes: pd.DataFrame) -> Finding:
    spans = {side: [interval_text(span) for span in changes[side]] for side in ("before", "after")}
    return Finding.of(
        "intervals",
        "Changes of the interval",
        "From these bars on the time between bars is another one, and a lookback of 20 bars means something else.",
        "Every symbol keeps its interval.",
        changes.assign(**spans),
    )


def _coverage(shares: pd.DataFrame) -> Panel | None:
    """The share of bars that are there, by symbol and month, coloured."""
    if shares.empty:
        return None
    values = shares.fillna(0).to_numpy(float)
    starts = np.where(values.any(axis=1), (values > 0).argmax(axis=1), values.shape[1])
    order = np.lexsort((shares.index.to_numpy(str), -values.mean(axis=1).round(3), starts))
    if len(order) <= NAMED_ROWS:
        names, lines = [str(symbol) for symbol in shares.index[order]], values[order]
        subtitle = "bars that are there, of those expected"
    else:
        bands = np.array_split(order, BANDS)
        names, lines = [], np.array([values[band].mean(axis=0) for band in bands])
        subtitle = f"bars that are there, of those expected; a line is {len(bands[-1])} to {len(bands[0])} symbols"
    wide, narrow = (
        plot_coverage(lines, shares.columns, names, name=f"coverage{suffix}", narrow=bool(suffix))
        for suffix in ("", "-narrow")
    )
    legend = tuple(Key(label, colour, "cell") for _, colour, label in LEVELS)
    return Panel("Coverage", subtitle, wide, narrow, legend)


def plot_coverage(lines: np.ndarray, periods: pd.DatetimeIndex, names: list[str], *, name: str, narrow: bool) -> Markup:
    """Shares as a map of coloured cells; cells without a bar stay empty.

    Parameters
    ----------
    lines : (lines, periods), from 0 to 1
    periods : the first day of each.
    names : of the lines, or none.
    """
    from matplotlib.dates import date2num
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    width, row = plots.NARROW if narrow else plots.WIDE, 20 if names else 6
    height = row * len(lines) + 36
    starts = date2num(periods.to_numpy())
    edges = np.append(starts, starts[-1] + (np.diff(starts).mean() if len(starts) > 1 else 30))
    floors = np.array([floor for floor, _, _ in LEVELS])
    levels = np.where(lines > 0, (lines[..., None] < floors).sum(axis=-1), -1)

    def paint(figure: Figure) -> None:
        axis = style.axes(figure, 96 if names else 8, 4, width - 12, height - 32)
        for level, (_, colour, _) in enumerate(LEVELS):
            boxes = []
            for line, cells in enumerate(levels):  # neighbours of one colour are one box
                ends = np.flatnonzero(np.diff(np.concatenate([[0], cells == level, [0]]))).reshape(-1, 2)
                boxes += [(edges[start], edges[stop], line) for start, stop in ends]
            corners = [
                [(left, line + 0.08), (right, line + 0.08), (right, line + 0.92), (left, line + 0.92), (left, line)]
                for left, right, line in boxes
            ]
            if corners:
                codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(corners)
                cells = Path(np.concatenate(corners), codes)
                axis.add_patch(PathPatch(cells, facecolor=LIGHT[colour], edgecolor="none"))
        axis.set_yticks(np.arange(len(names)) + 0.5, [plots.shorten(symbol, 12) for symbol in names])
        axis.tick_params(axis="y", colors=LIGHT["ink"])
        axis.set(xlim=(edges[0], edges[-1]), ylim=(len(lines), 0))
        axis.xaxis_date()
        axis.grid(visible=False)
        axis.spines["bottom"].set_visible(False)
        style.dates(axis, 5 if narrow else 10)

    return style.svg(paint, width, height, name=name, label="Share of the expected bars, by symbol and month")
