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
EVENTS = 12  # split-like events, and level shifts, that are named


def check(
    source: str = typer.Argument(help="demo, a folder of bar files, a file, or the URL of files or of a database."),
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
        panel = read_panel(source, settings, names(symbols, "--symbols"), keep_text=True)
    except UnusableSource as error:
        panel, unusable = error.panel, error
    findings = examine(panel)
    if report is not None:
        _write_report(report, panel, findings, settings)
    if as_json:
        frames = _frames(panel, findings)
        frames["bad_rows"] = panel.bad_rows.assign(row=panel.bad_rows["row"] + 1)  # people count from 1
        typer.echo(json.dumps({name: _records(frame) for name, frame in frames.items()}))
    else:
        _print(panel, findings, settings["resample"])
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
        "level_shifts": findings.level_shifts,
        "interval_changes": findings.interval_changes,
    }


def _records(frame: pd.DataFrame) -> list[dict]:
    from DATA_PROCESSING.resample import interval_text

    spans = frame.columns.intersection(["interval", "before", "after"])
    frame = frame.assign(**{name: [interval_text(span) for span in frame[name]] for name in spans})
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def _print(panel: Panel, findings: Findings, resample: str) -> None:
    import pandas as pd

    from DATA_PROCESSING.adjust import ratio_text
    from DATA_PROCESSING.quality import describe
    from DATA_PROCESSING.resample import interval_text

    rows = []
    for row in findings.symbols.itertuples():
        first, last = ("" if pd.isna(day) else f"{day:%Y-%m-%d}" for day in (row.first_session, row.last_session))
        told = "; ".join(describe(row))
        if told or len(findings.symbols) <= SHOWN:
            rows.append((row.symbol, row.rows, interval_text(row.interval), first, last, row.bad_rows, told))
    out = console()
    out.print(make_table(("symbol", "rows", "every", "first", "last", "bad", ""), rows, right=("rows", "every", "bad")))
    if resample:
        out.print(f"rows and bad rows are those of the source; the rest is of the {resample} bars they are joined to")
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
    for shift in findings.level_shifts.head(EVENTS).itertuples():
        moved = f"from {shift.close_before:.6g} to {shift.open:.6g} ({shift.move:+.0%})"
        out.print(f"level shift: {shift.symbol} {moved} on {shift.session:%Y-%m-%d}", markup=False)
    if len(findings.level_shifts) > EVENTS:
        out.print(f"{len(findings.level_shifts) - EVENTS} more level shifts: see --report or --json")
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
