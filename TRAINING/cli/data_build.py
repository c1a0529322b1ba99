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
    jobs: int = typer.Option(None, min=1, help="Symbols at once. [default: the cores]"),
    config: list[Path] = typer.Option([], help="The user's own run config (bars.yaml, labels.yaml, ...); repeatable."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Compute features and labels of every symbol.

    Tables that are up to date already are left alone, and long ones whose bars have grown are continued.
    """
    from joblib import cpu_count

    from CONFIG.config_loader import load_run_config
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.labeled import TableBuilder, label_panel, needs_others
    from DATA_PROCESSING.sources import read_panel

    feature_settings = load_run_config("features", feature_overrides(features, features_from), config)
    horizons = {} if horizon is None else {"horizon": int(horizon) if horizon.isdecimal() else horizon}
    label_settings = load_run_config("labels", horizons, config)
    others = needs_others(feature_settings, label_settings)
    panel = read_panel(source, load_run_config("bars", files=config), names(symbols, "--symbols"), others=others)
    builder = TableBuilder(panel, feature_settings, label_settings)
    try:
        with progress().stage("label", len(panel.symbols)) as step:
            made = label_panel(builder, output_dir, jobs=jobs or cpu_count(), on_step=step)
    except OSError as error:
        raise ConfigError(
            f"{output_dir}: cannot write there ({error.strerror}); choose another --output-dir"
        ) from error
    kept = len(panel.symbols) - len(made)
    problems = panel.quality[panel.quality["problem"] != ""]
    if as_json:
        told = {"folder": str(output_dir), "made": made, "kept": kept}
        typer.echo(json.dumps({**told, "problems": dict(problems[["symbol", "problem"]].to_numpy())}))
    else:
        console().print(f"{output_dir}: {len(made)} tables made, {kept} up to date already", markup=False)
    for row in problems.itertuples():
        typer.echo(f"left out: {row.symbol}: {row.problem}", err=True)
    raise typer.Exit(6 if len(problems) else 0)
