"""``barzoo audit``: is there anything in a SOURCE, or a run, that knows the future?"""

from __future__ import annotations

from pathlib import Path

import typer

from TRAINING.cli.options import FEATURES, FEATURES_FROM, feature_overrides, names
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo audit demo  ·  barzoo audit bars/ --features-from my_features.py  ·  barzoo audit tables/ "
    "--output audit.json  ·  barzoo audit runs/core-1a2b3c4d5e"
)
_STYLES = {"passed": "green", "failed": "bold red", "warned": "yellow", "not applicable": "dim"}


def audit(
    source: str = typer.Argument(help="demo, bars, labeled tables (your own too), or a run's folder."),
    targets: str = typer.Option(None, help="Targets that models are trained on, a,b. [default: the core phase's]"),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all; of many, some are looked at]"),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    null_runs: int = typer.Option(None, min=5, help="Shuffles of the labels. [default: run_config/audit.yaml]"),
    config: list[Path] = typer.Option([], help="The user's own run config (audit.yaml, bars.yaml, ...); repeatable."),
    output: Path = typer.Option(None, help="Write all numbers there as JSON. [default: audit.json in a run's folder]"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Look for what knows the future: in features, labels, splits, and results on labels that mean nothing.

    Exit codes: 1 when a check failed, 0 otherwise, warnings included; 2 usage or config, 3 data, 4 integrity.
    """
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.atomic import write_atomically
    from TRAINING.phases.walkforward import is_finished, write_audited_report
    from TRAINING.research.audit import audit as audit_source
    from TRAINING.research.runs import is_run, is_walk

    path = output or (Path(source) / "audit.json" if is_run(source) else None)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)  # a typo is found before any work
        report = audit_source(
            source,
            symbols=names(symbols, "--symbols"),
            targets=names(targets, "--targets"),
            files=config,
            feature_overrides=feature_overrides(features, features_from),
            settings={} if null_runs is None else {"null_runs": null_runs},
            on_read=lambda text: typer.echo(text, err=True),
            progress=progress(),
        )
        if path is not None:
            write_atomically(path, report.to_json() + "\n")
        report_path = Path(source) / "report.html" if is_walk(source) else None
        if report_path and is_finished(Path(source)):
            write_audited_report(Path(source), report.frame())
    except OSError as error:
        raise ConfigError(f"{path}: cannot write there ({error.strerror}); choose another --output") from error
    if as_json:
        typer.echo(report.to_json())
    else:
        _show(report)
        if path is not None:
            typer.echo(f"audit: {path}", err=True)
        if report_path:
            unfinished = "" if is_finished(Path(source)) else " is not written: the run did not finish; run it again"
            typer.echo(f"report: {report_path}{unfinished}", err=True)
    raise typer.Exit(report.exit_code)


def _show(report) -> None:
    from rich.text import Text

    table = make_table(("check", "verdict", "why"), ())
    for check in report.checks:
        table.add_row(check.name, Text(check.verdict, _STYLES[check.verdict]), Text(check.reason))
    out, about = console(), report.about
    out.print(table)
    looked = f"{about['rows']:,} rows of {about['symbols_looked_at']} of {about['symbols']} symbols"
    out.print(f"{looked}, {about['features']} features, targets {', '.join(about['targets'])}", markup=False)
