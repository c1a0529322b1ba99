"""``barzoo data build``: labeled tables from bars."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.options import FEATURES, FEATURES_FROM, feature_overrides, names
from TRAINING.cli.terminal import console, progress


def build(
    source: str = typer.Argument(help="demo, a folder of bar files, a file, or a database's address."),
    output_dir: Path = typer.Option(..., help="Where the labeled tables go, one per symbol."),
    horizon: str = typer.Option(
        None, help="Bars ahead that labels look, or 30m, 5d. [default: run_config/labels.yaml]"
    ),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    newest: bool = typer.Option(False, "--newest", help="Trust older bars: read only what long tables go on with."),
    jobs: int = typer.Option(None, min=1, help="Symbols at once. [default: the cores]"),
    config: list[Path] = typer.Option([], help="The user's own run config (bars.yaml, labels.yaml, ...); repeatable."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Compute features and labels of every symbol.

    Tables that are up to date already are left alone, and long ones whose bars have grown are continued: after the
    older bars have been verified, or with --newest without reading them.
    """
    from joblib import cpu_count

    from CONFIG.config_loader import load_run_config
    from CONFIG.errors import ConfigError

    horizons = {} if horizon is None else {"horizon": int(horizon) if horizon.isdecimal() else horizon}
    settings = {
        "bars": load_run_config("bars", files=config),
        "features": load_run_config("features", feature_overrides(features, features_from), config),
        "labels": load_run_config("labels", horizons, config),
    }
    jobs, wanted = jobs or cpu_count(), names(symbols, "--symbols")
    if Path(source).exists() and output_dir.resolve().is_relative_to(Path(source).resolve()):
        raise ConfigError(
            f"--output-dir: {output_dir} is within {source}, where tables would pass for bars; choose one beside it"
        )
    try:
        continued = _continue(source, output_dir, settings, jobs) if newest else []
        made, kept, problems = _build(source, output_dir, settings, wanted, set(continued), jobs)
    except OSError as error:
        raise ConfigError(
            f"{output_dir}: cannot write there ({error.strerror}); choose another --output-dir"
        ) from error
    if as_json:
        told = {"folder": str(output_dir), "made": made, "kept": kept, "continued": continued, "problems": problems}
        typer.echo(json.dumps(told))
    else:
        told = f", {len(continued)} continued" if newest else ""
        console().print(f"{output_dir}: {len(made)} tables made, {kept} up to date already{told}", markup=False)
    for symbol, problem in problems.items():
        typer.echo(f"left out: {symbol}: {problem}", err=True)
    raise typer.Exit(6 if problems else 0)


def _continue(source: str, folder: Path, settings: dict[str, dict], jobs: int) -> list[str]:
    from DATA_PROCESSING.labeled.read import OPEN
    from DATA_PROCESSING.labeled.update import add_newest

    with progress().stage("newest", len(list(folder.glob(f"*/{OPEN}")))) as step:
        return add_newest(source, folder, settings, jobs=jobs, on_step=step)


def _build(
    source: str, folder: Path, settings: dict[str, dict], wanted: list[str] | None, done: set[str], jobs: int
) -> tuple[list[str], int, dict[str, str]]:
    """Build the tables that are not done; returns the symbols made, how many were there, and what is wrong."""
    from DATA_PROCESSING.labeled import TableBuilder, label_panel, needs_others
    from DATA_PROCESSING.sources import open_source, read_panel

    if done:
        known = open_source(source, settings["bars"]).sizes()
        wanted = [symbol for symbol in (known if wanted is None else wanted) if symbol not in done]
        if not wanted:
            return [], 0, {}
    others = needs_others(settings["features"], settings["labels"])
    panel = read_panel(source, settings["bars"], wanted, others=others)
    builder = TableBuilder(panel, settings["features"], settings["labels"])
    with progress().stage("label", len(panel.symbols)) as step:
        made = label_panel(builder, folder, jobs=jobs, on_step=step)
    problems = panel.quality[panel.quality["problem"] != ""]
    return made, len(panel.symbols) - len(made), dict(problems[["symbol", "problem"]].to_numpy())
