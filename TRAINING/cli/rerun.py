"""``barzoo rerun``: repeat a run from its papers, and say whether every number came out the same."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from TRAINING.cli.running import stop_on_interrupt, workers
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo rerun runs/core-1a2b3c4d5e  ·  barzoo rerun runs/walk --output-dir runs/again  ·  barzoo rerun "
    "runs/walk --source /new/place/bars"
)
SHOWN = 20  # rows of a table; all of them are in --json


def rerun(
    run: Path = typer.Argument(help="The folder of a finished run."),
    source: str = typer.Option(None, help="Where its data are now. [default: where the run read them]"),
    output_dir: Path = typer.Option(None, help="New folder that keeps the repeated run. [default: it is not kept]"),
    jobs: int = typer.Option(None, min=1, help="Models or folds at once, one thread each. [default: the cores]"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Repeat a run from its papers and compare every number bit for bit: predictions, metrics, folds, leaderboard.

    Where some differ it says which, by how much, and what has changed since: data, configuration or versions.

    Exit codes: 0 all the same, 1 some differ; 2 usage or config, 3 data, 4 integrity, 130 interrupted.
    """
    from TRAINING.phases.compare import compare_numbers, compare_papers
    from TRAINING.phases.finished import open_run
    from TRAINING.phases.rerun import repeat

    first = open_run(run)
    with TemporaryDirectory() as temporary:
        folder = output_dir or Path(temporary) / "run"
        outcome = repeat(
            first,
            folder,
            jobs=jobs or workers(first.manifest["config"]["models"]),
            progress=progress(),
            source=source,
            stop=stop_on_interrupt(),
            on_read=lambda text: typer.echo(text, err=True),
        )
        if outcome.interrupted:
            raise typer.Exit(130)
        second = open_run(folder)
        compared, changes = compare_numbers(first, second), compare_papers(first, second)
    changes = changes[changes["what"] != "source"] if source else changes
    if as_json:
        found = {"differences": compared.differences, "changes": changes}
        frames = {name: json.loads(frame.to_json(orient="records")) for name, frame in found.items()}
        about = {"run": str(run), "rerun": str(output_dir) if output_dir else None, "same": compared.same}
        typer.echo(json.dumps({**about, "units": compared.units, "values": compared.values, **frames}))
    else:
        _show(compared, changes)
    if output_dir:
        typer.echo(f"rerun: {output_dir}", err=True)
    raise typer.Exit(0 if compared.same else 1)


def _show(compared, changes) -> None:
    from TRAINING.reports.columns import short

    out = console()
    if not compared.same:
        columns = ("unit", "table", "column", "values", "differ", "at most", "first")
        rows = [
            (row.unit, row.table, row.column, f"{row.values:,}", f"{row.differing:,}", short(row.largest), row.first)
            for row in compared.differences.itertuples(index=False, name="Row")
        ]
        out.print(make_table(columns, rows[:SHOWN], right=columns[3:6]))
        show_rest(len(rows), "differences")
    if len(changes):
        show_changes(changes, "then", "now")
    counted = f"{compared.values:,} values of {compared.units} units"
    if compared.same:
        also = "" if changes.empty else ", although the above has changed"
        out.print(f"the same: {counted}, bit for bit{also}", markup=False)
    else:
        told = "the above has changed" if len(changes) else "data, configuration and versions are those of then"
        out.print(f"different: {counted} compared; {told}", markup=False)


def show_changes(changes, a: str, b: str) -> None:
    """What two runs were made from and with, where it differs."""
    columns = ("what", "", a, b)
    rows = [
        (row.kind, f"{row.where} {row.what}".strip(), _value(row.a), _value(row.b))
        for row in changes.itertuples(index=False)
    ]
    console().print(make_table(columns, rows[:SHOWN]))
    show_rest(len(rows), "changes")


def show_rest(count: int, what: str) -> None:
    """How many rows a table has left out."""
    if count > SHOWN:
        console().print(f"and {count - SHOWN:,} more {what}: --json has them all", markup=False)


def _value(value: object) -> str:
    """A value as one would write it; of a fingerprint, its beginning."""
    if value is None or value != value:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:10]}…" if len(text) == 64 and " " not in text else text
