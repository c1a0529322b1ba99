"""``barzoo predict``: a finished run's models on the newest bars."""

from __future__ import annotations

import json
from itertools import chain, count
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
    output: Path = typer.Option(None, help="The CSV to write. [default: RUN/predictions-TIME.csv, the newest bar's]"),
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
    from TRAINING.reports.columns import moment, short

    chosen = names(models, "--models")
    _check_chosen(run, chosen, target)
    newest = predict_newest(run, bars, chosen, target)
    last_bars = [moment(time) for time in newest.rows["timestamp"]]
    written = newest.rows.to_csv(index=False, lineterminator="\n")
    try:
        path = output or _free_path(run, max(last_bars), written)
        write_atomically(path, written)
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
                last_bar,
                short(row.prediction),
                "–" if isnan(row.signal) else f"{row.signal:+.2f}".replace(".00", ""),
                "–" if isnan(row.position) else f"{row.position:+.2f}",
                row.warning,
            )
            for row, last_bar in zip(newest.rows.itertuples(), last_bars, strict=True)
        ]
        last_bar = "last bar (UTC)" if any(":" in text for text in last_bars) else "last bar"
        columns = ("target", "symbol", "model", last_bar, "prediction", "signal", "position", "warning")
        console().print(make_table(columns, rows, right=columns[4:7]))
    for row in newest.problems.itertuples():
        typer.echo(f"not predicted: {row.model} {row.target} {row.symbol}: {row.reason}", err=True)
    typer.echo(f"predictions: {path}", err=True)
    raise typer.Exit(6 if len(newest.problems) else 0)


def _check_chosen(run: Path, models: list[str] | None, target: str | None) -> None:
    """Refuse models and a target that the run does not have; a run without any is refused when it is read."""
    from CONFIG.errors import ConfigError, did_you_mean
    from DATA_PROCESSING.symbols import symbol_of
    from TRAINING.phases.plan import BASELINES
    from TRAINING.runs.manifest import NAME

    units = (path.parts[-4:-2] for path in run.glob(f"units/*/*/*/{NAME}"))
    pairs = {tuple(map(symbol_of, unit)) for unit in units if unit[0] != BASELINES}
    if not pairs:
        return
    for option, chosen, known in (
        ("--models", models or (), {model for model, _ in pairs}),
        ("--target", [target] if target else (), {its_target for _, its_target in pairs}),
    ):
        for name in chosen:
            if name not in known:
                raise ConfigError(f"{option}: {run} has no {name!r}{did_you_mean(name, known)}")
    if models and target and not any((model, target) in pairs for model in models):
        there = ", ".join(sorted(model for model, its_target in pairs if its_target == target))
        raise ConfigError(f"--models: {run} has none of them for {target}, but {there}")


def _free_path(run: Path, time: str, written: str) -> Path:
    """Where predictions of a moment go: what says something else is not overwritten."""
    stem = f"predictions-{time.replace(' ', 'T').replace(':', '')}"
    paths = (run / f"{stem}{end}.csv" for end in chain([""], (f"-{number}" for number in count(2))))
    return next(path for path in paths if not path.exists() or path.read_text("utf-8") == written)
