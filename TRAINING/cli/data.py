"""``barzoo data``: look at bars, and turn them into labeled tables."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.options import names
from TRAINING.cli.terminal import console, make_table, progress

app = typer.Typer(help="Check bars and build labeled tables.", no_args_is_help=True)
_SOURCE = typer.Argument(help="demo, a folder of CSV or Parquet files, or a file.")
_CONFIG = typer.Option([], help="The user's own run config (bars.yaml, labels.yaml, ...); repeatable.")
_JSON = typer.Option(False, "--json", help="Print JSON on standard output.")
_DEBUG = typer.Option(False, "--debug", help="Show the traceback of an error.")


@app.command(epilog="Example:  barzoo data check bars/")
def check(
    source: str = _SOURCE,
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    config: list[Path] = _CONFIG,
    as_json: bool = _JSON,
    debug: bool = _DEBUG,
) -> None:
    """Show what is in a SOURCE and what is wrong with it; nothing is written."""
    from CONFIG.config_loader import load_run_config
    from DATA_PROCESSING.sources import read_panel

    panel = read_panel(source, load_run_config("bars", files=config), names(symbols, "--symbols"))
    if as_json:
        frames = {"symbols": panel.quality, "bad_rows": panel.bad_rows}
        typer.echo(
            json.dumps(
                {name: json.loads(frame.to_json(orient="records", date_format="iso")) for name, frame in frames.items()}
            )
        )
        return
    rows = []
    for row in panel.quality.itertuples():
        flags = [word for word in ("unsorted", "adjusted", "stale") if getattr(row, word)]
        first, last = (f"{day:%Y-%m-%d}" if row.rows else "" for day in (row.first, row.last))
        told = row.problem or "; ".join(filter(None, [row.reasons, *flags]))
        rows.append((row.symbol, row.rows, first, last, row.bad_rows, row.duplicates, told))
    columns = ("symbol", "bars", "first", "last", "bad", "duplicates", "")
    out = console()
    out.print(make_table(columns, rows, right=("bars", "bad", "duplicates")))
    for reason, group in panel.bad_rows.groupby("reason") if len(panel.bad_rows) else ():
        first = group.iloc[0]
        count = "1 bad row" if len(group) == 1 else f"{len(group)} bad rows, the first"
        out.print(f"{count}: {reason}: row {first['row'] + 1} of {first['file']} ({first['symbol']})", markup=False)
    out.print(f"{len(panel.bars)} of {len(panel.quality)} symbols usable, {len(panel.sessions)} sessions")


@app.command(epilog="Example:  barzoo data build bars/ --output-dir DATA_PROCESSING/data/labeled --horizon 5")
def build(
    source: str = _SOURCE,
    output_dir: Path = typer.Option(..., help="Where the labeled tables go, one Parquet file per symbol."),
    horizon: int = typer.Option(None, min=1, help="Bars ahead that labels look. [default: run_config/labels.yaml]"),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    jobs: int = typer.Option(None, min=1, help="Symbols at once. [default: the cores]"),
    config: list[Path] = _CONFIG,
    as_json: bool = _JSON,
    debug: bool = _DEBUG,
) -> None:
    """Compute features and labels of every symbol; tables that are up to date already are left alone."""
    from joblib import cpu_count

    from CONFIG.config_loader import load_run_config
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.labeled import label_panel
    from DATA_PROCESSING.sources import read_panel

    overrides = {} if horizon is None else {"horizon": horizon}
    labels, features = load_run_config("labels", overrides, config), load_run_config("features", files=config)
    panel = read_panel(source, load_run_config("bars", files=config), names(symbols, "--symbols"))
    try:
        with progress().stage("label", len(panel.bars)) as step:
            made = label_panel(panel, output_dir, features, labels, jobs=jobs or cpu_count(), on_step=step)
    except OSError as error:
        raise ConfigError(
            f"{output_dir}: cannot write there ({error.strerror}); choose another --output-dir"
        ) from error
    kept = len(panel.bars) - len(made)
    problems = panel.quality[panel.quality["problem"] != ""]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "folder": str(output_dir),
                    "made": made,
                    "kept": kept,
                    "problems": dict(problems[["symbol", "problem"]].to_numpy()),
                }
            )
        )
    else:
        console().print(f"{output_dir}: {len(made)} tables made, {kept} up to date already", markup=False)
    for row in problems.itertuples():
        typer.echo(f"left out: {row.symbol}: {row.problem}", err=True)
    raise typer.Exit(6 if len(problems) else 0)
