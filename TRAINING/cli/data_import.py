"""``barzoo data import``: bars of any SOURCE into a folder of Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from TRAINING.cli.options import names
from TRAINING.cli.terminal import console, progress

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = "Example:  barzoo data import 'sqlite:///bars.db?table=bars' --to bars/"


def import_(
    source: str = typer.Argument(help="demo, a folder of CSV or Parquet files, a file, or a URL."),
    to: Path = typer.Option(..., help="The folder to write to, one Parquet file per symbol."),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    start: str = typer.Option(None, help="Only bars from this date or time (UTC) on."),
    end: str = typer.Option(None, help="Only bars before this date or time (UTC)."),
    config: list[Path] = typer.Option([], help="The user's own run config (bars.yaml); repeatable."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Write the bars of a SOURCE as Parquet files that read fast; run it again to resume, or to update."""
    from dataclasses import asdict

    from CONFIG.config_loader import load_run_config
    from CONFIG.errors import ConfigError, DataError
    from DATA_PROCESSING.sources import open_source
    from DATA_PROCESSING.sources.importing import BAD_ROWS, BarImport

    settings = load_run_config("bars", files=config)
    first, last = _moment(start, "--start"), _moment(end, "--end")
    if first is not None and last is not None and first >= last:
        raise ConfigError(f"--end: {end} is not after --start {start}")
    if Path(source).exists() and to.resolve().is_relative_to(Path(source).resolve()):
        raise ConfigError(f"--to: {to} is within {source}, whose bars would be there twice; choose a folder beside it")
    opened = open_source(source, settings, keep_text=True)
    work = BarImport(opened, to, settings, names(symbols, "--symbols"), first, last)
    done = []
    try:
        with progress().stage("import", len(work.symbols)) as step:
            for about in work.run():
                done.append(about)
                step(f"{about.symbol}: failed, {about.problem}" if about.problem else about.symbol)
    except OSError as error:
        raise ConfigError(f"{to}: cannot write there ({error.strerror}); choose another --to") from error
    failed = [about for about in done if about.problem]
    written = [about for about in done if about.rows]
    if not written:
        raise DataError(failed[0].problem if failed else f"{opened.name}: no bar in this range of time")
    if as_json:
        typer.echo(json.dumps({"folder": str(to), "symbols": [asdict(about) for about in done]}))
    else:
        new, rows, bad = (sum(getattr(about, name) for about in written) for name in ("is_new", "rows", "bad_rows"))
        told = f"{new} symbols imported, {len(written) - new} up to date already, {rows:,} bars"
        console().print(f"{to}: {told}", markup=False)
        if bad:
            console().print(f"{bad:,} bad row{'s' * (bad > 1)} set aside in {to / BAD_ROWS}", markup=False)
    raise typer.Exit(6 if failed else 0)


def _moment(text: str | None, option: str) -> pd.Timestamp | None:
    import pandas as pd

    from CONFIG.errors import ConfigError

    if text is None:
        return None
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} is no date or time; write 2020-01-31 or 2020-01-31T15:30") from error
    return moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")
