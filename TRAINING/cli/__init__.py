"""The ``barzoo`` command: one file per group of commands, heavy libraries imported where they are used."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback

import typer

from CONFIG.errors import BarzooError
from TRAINING.cli import audit, config, data, explain, models, predict, report, rerun, select, train, tune, walkforward
from TRAINING.cli.terminal import first_of_kind

app = typer.Typer(
    name="barzoo",
    help="A config-driven zoo of models for market bars: which model, on which target, survives out of sample, after "
    "costs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # rich's own markup would take "[default: ...]" for a style and leave it out
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("walkforward", epilog=walkforward.EXAMPLES)(walkforward.walkforward)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("select", epilog=select.EXAMPLES)(select.select)
app.command("explain", epilog=explain.EXAMPLES)(explain.explain)
app.command("audit", epilog=audit.EXAMPLES)(audit.audit)
app.command("rerun", epilog=rerun.EXAMPLES)(rerun.rerun)
app.command("tune", epilog=tune.EXAMPLES)(tune.tune)
app.command("models")(models.models)
app.add_typer(config.app, name="config")
app.add_typer(data.app, name="data")
app.add_typer(report.app, name="report")


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    # --debug is read in main, which also sees it behind a command.
    if version:
        from TRAINING import __version__

        typer.echo(__version__)
        raise typer.Exit


def _interrupted(number: int, frame: object) -> None:
    # Not through sys.stderr, as in TRAINING.cli.train.
    os.write(2, b"\ninterrupted: what is done is kept; the same command goes on from there\n")
    raise SystemExit(130)


def main() -> None:
    """Run the command; an error of the user's is one line and its exit code (see docs/01_QUICK_START.md)."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    handler.addFilter(first_of_kind())
    logger = logging.getLogger("barzoo")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    signal.signal(signal.SIGINT, _interrupted)
    try:
        app()
    except BarzooError as error:
        if "--debug" in sys.argv:
            traceback.print_exception(error)
        else:
            typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
