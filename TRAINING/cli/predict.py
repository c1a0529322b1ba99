"""``barzoo predict``: a finished run's models on the newest bars."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import typer

from TRAINING.cli.options import complete_models, names
from TRAINING.cli.terminal import console, make_table

EXAMPLES = "Example:  barzoo predict runs/core-0123456789 --bars bars/"


def predict(
    run: Path = typer.Argument(help="A run folder."),
    bars: str = typer.Option(..., help="Bars up to now: demo, a folder or a file."),
    models: str = typer.Option(None, help="Only these models, a,b.", autocompletion=complete_models),
    target: str = typer.Option(None, help="Only this target."),
    output: Path = typer.Option(None, help="The CSV to write. [default: RUN/predictions-DATE.csv, the newest session]"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Predict the newest bar of every symbol and say which position that implies.

    A position (-1 to 1) is the mean of the last H signals, H being the target's horizon; a signal from this close fills
    execution_lag bars later (1 by default: at the next close).
    """
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.atomic import write_atomically
    from TRAINING.phases.predict import predict_newest

    newest = predict_newest(run, bars, names(models, "--models"), target)
    if newest.rows.empty:
        raise ConfigError(f"{run}: no model fits --models {models} --target {target}")
    path = output or run / f"predictions-{newest.rows['timestamp'].max():%Y-%m-%d}.csv"
    try:
        write_atomically(path, newest.rows.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot write there ({error.strerror}); choose another --output") from error
    if as_json:
        typer.echo(
            json.dumps(
                {"file": str(path), "predictions": json.loads(newest.rows.to_json(orient="records", date_format="iso"))}
            )
        )
    else:
        rows = [
            (
                row.target,
                row.symbol,
                row.model,
                f"{row.timestamp:%Y-%m-%d}",
                f"{row.prediction:.4f}",
                "–" if isnan(row.signal) else f"{row.signal:+.0f}",
                "–" if isnan(row.position) else f"{row.position:+.2f}",
                row.warning,
            )
            for row in newest.rows.itertuples()
        ]
        columns = ("target", "symbol", "model", "last bar", "prediction", "signal", "position", "warning")
        console().print(make_table(columns, rows, right=columns[4:7]))
    for row in newest.problems.itertuples():
        typer.echo(f"not predicted: {row.model} {row.target} {row.symbol}: {row.reason}", err=True)
    typer.echo(f"predictions: {path}", err=True)
    raise typer.Exit(6 if len(newest.problems) else 0)
