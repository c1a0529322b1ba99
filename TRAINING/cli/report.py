"""``barzoo report``: what runs say beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.rerun import SHOWN, show_changes, show_rest
from TRAINING.cli.terminal import console, make_table

app = typer.Typer(help="Compare the results of runs.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Compare the results of runs."""


@app.command(epilog="Example:  barzoo report diff runs/walkforward-1a2b3c4d5e runs/walkforward-6f7a8b9c0d")
def diff(
    run_a: Path = typer.Argument(help="The folder of a finished run."),
    run_b: Path = typer.Argument(help="That of another run of the same phase."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Say what differs between two runs, in data, configuration, seed or code, and what it did to the metrics.

    The interval of a Sharpe ratio's difference is a paired block bootstrap over the sessions and symbols that both runs
    tested; where it holds 0, the difference may be chance.
    """
    from TRAINING.phases.compare import compare_metrics, compare_papers, compare_sharpes
    from TRAINING.phases.finished import open_run

    a, b = open_run(run_a), open_run(run_b)
    metrics, changes, sharpes = compare_metrics(a, b), compare_papers(a, b), compare_sharpes(a, b)
    if as_json:
        found = {"changes": changes, "metrics": metrics, "sharpe": sharpes}
        frames = {name: json.loads(frame.to_json(orient="records")) for name, frame in found.items()}
        typer.echo(json.dumps({"a": str(run_a), "b": str(run_b), **frames}))
        return
    out = console()
    out.print(f"a: {run_a}\nb: {run_b}", markup=False)
    if len(changes):
        show_changes(changes, "a", "b")
    else:
        out.print("the same data, configuration, seed and code", markup=False)
    _show_metrics(metrics)
    _show_sharpes(sharpes)


def _show_metrics(metrics) -> None:
    from TRAINING.reports.columns import short

    both = metrics.dropna(subset=["a", "b"])
    differ = both[both["a"] != both["b"]]
    columns = ("target", "model", "metric", "a", "b", "b - a")
    rows = [
        (row.target, row.model, row.metric, short(row.a), short(row.b), short(row.difference))
        for row in differ.itertuples(index=False)
    ]
    if rows:
        console().print(make_table(columns, rows[:SHOWN], right=columns[3:]))
        show_rest(len(rows), "metrics")
    alone = len(metrics) - len(both)
    told = f"; {alone} are of one run alone: --json has them" if alone else ""
    console().print(f"{len(both) - len(rows)} of {len(both)} common metrics are the same{told}", markup=False)


def _show_sharpes(sharpes) -> None:
    from TRAINING.reports.columns import DASH, number

    columns = ("target", "model", "sharpe, b - a", "interval", "sessions", "symbols", "")
    rows = [
        (
            row.target,
            f"{row.model} {row.scope}".strip(),
            number(row.difference),
            DASH if row.low != row.low else f"{number(row.low)} to {number(row.high)}",
            f"{row.sessions:,}",
            row.symbols,
            row.reason or _verdict(row.low, row.high),
        )
        for row in sharpes.itertuples(index=False)
    ]
    if rows:
        console().print(make_table(columns, rows, right=columns[2:6]))


def _verdict(low: float, high: float) -> str:
    if low == high == 0:
        return "the same returns"
    return "may be chance" if low <= 0 <= high else "more than chance"
