"""``barzoo data check``: what is in a SOURCE, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from TRAINING.cli.options import names
from TRAINING.cli.terminal import console, make_table

if TYPE_CHECKING:
    import pandas as pd

    from DATA_PROCESSING.panel import Panel
    from DATA_PROCESSING.quality import Findings

SHOWN = 60  # symbols; of more, those of which there is something to tell
EVENTS = 12  # split-like events that are named


def check(
    source: str = typer.Argument(help="demo, a folder of CSV or Parquet files, or a file."),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    report: Path = typer.Option(None, help="Write all of it as an HTML page there."),
    config: list[Path] = typer.Option([], help="The user's own run config (bars.yaml); repeatable."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Show what is in a SOURCE and what is wrong with it; exit code 3 where nothing is usable."""
    from CONFIG.config_loader import load_run_config
    from DATA_PROCESSING.panel import UnusableSource
    from DATA_PROCESSING.quality import examine
    from DATA_PROCESSING.sources import read_panel

    settings, unusable = load_run_config("bars", files=config), None
    try:
        panel = read_panel(source, settings, names(symbols, "--symbols"))
    except UnusableSource as error:
        panel, unusable = error.panel, error
    findings = examine(panel)
    if report is not None:
        _write_report(report, panel, findings, settings)
    if as_json:
        typer.echo(json.dumps({name: _records(frame) for name, frame in _frames(panel, findings).items()}))
    else:
        _print(panel, findings)
    if unusable is not None:
        raise unusable


def _frames(panel: Panel, findings: Findings) -> dict[str, pd.DataFrame]:
    return {
        "symbols": findings.symbols,
        "bad_rows": panel.bad_rows,
        "splits": panel.splits,
        "gaps": findings.gaps,
        "stale_prices": findings.stale_prices,
        "outliers": findings.outliers,
        "interval_changes": findings.interval_changes,
    }


def _records(frame: pd.DataFrame) -> list[dict]:
    from DATA_PROCESSING.resample import interval_text

    spans = frame.columns.intersection(["interval", "before", "after"])
    frame = frame.assign(**{name: [interval_text(span) for span in frame[name]] for name in spans})
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def _print(panel: Panel, findings: Findings) -> None:
    from DATA_PROCESSING.adjust import ratio_text
    from DATA_PROCESSING.quality import describe
    from DATA_PROCESSING.resample import interval_text

    rows = []
    for row in findings.symbols.itertuples():
        first, last = (f"{day:%Y-%m-%d}" if row.rows else "" for day in (row.first, row.last))
        told = "; ".join(describe(row))
        if told or len(findings.symbols) <= SHOWN:
            rows.append((row.symbol, row.rows, interval_text(row.interval), first, last, row.bad_rows, told))
    out = console()
    out.print(make_table(("symbol", "bars", "every", "first", "last", "bad", ""), rows, right=("bars", "every", "bad")))
    if left_out := len(findings.symbols) - len(rows):
        out.print(f"{left_out} more symbols, of which there is nothing to tell")
    for reason, group in panel.bad_rows.groupby("reason") if len(panel.bad_rows) else ():
        first = group.iloc[0]
        count = "1 bad row" if len(group) == 1 else f"{len(group)} bad rows, the first"
        out.print(f"{count}: {reason}: row {first['row'] + 1} of {first['file']} ({first['symbol']})", markup=False)
    for event in panel.splits.head(EVENTS).itertuples():
        end = event.doubt and f"taken for none: {event.doubt}"
        end = end or ("adjusted" if event.adjusted else "not adjusted")
        event_text = f"split-like: {event.symbol} {ratio_text(event.ratio)} on {event.session:%Y-%m-%d}, {end}"
        out.print(event_text, markup=False)
    if len(panel.splits) > EVENTS:
        out.print(f"{len(panel.splits) - EVENTS} more split-like events: see --report or --json")
    usable, adjusted = f"{len(panel.symbols)} of {len(panel.quality)} symbols usable", panel.quality["adjusted"].sum()
    out.print(f"{usable}, {adjusted} adjusted, {len(panel.sessions)} sessions")


def _write_report(path: Path, panel: Panel, findings: Findings, settings: dict) -> None:
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.atomic import write_atomically
    from TRAINING.reports.quality import render_quality

    page = render_quality(
        title=f"data check · {panel.name}", settings=settings, coverage=findings.coverage, **_frames(panel, findings)
    )
    try:
        write_atomically(path, page.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot write there ({error.strerror}); choose another --report") from error
