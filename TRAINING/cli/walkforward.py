"""``barzoo walkforward``: train on the past, test on what follows, step forward."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.options import (
    FEATURES,
    FEATURES_FILE,
    FEATURES_FROM,
    complete_models,
    feature_overrides,
    listed_features,
    names,
)
from TRAINING.cli.running import NO_LAG, stop_on_interrupt, workers
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo walkforward demo  ·  barzoo walkforward bars/ --models lightgbm,xgboost --targets y_will_peak "
    "--scope both  ·  barzoo walkforward tables/ --train-days 252 --step-days 21 --dry-run"
)


def walkforward(
    source: str = typer.Argument(None, help="Bars or labeled tables, as for `barzoo train --input-dir`."),
    models: str = typer.Option(None, help="Models, a,b, or all. [default: lightgbm]", autocompletion=complete_models),
    targets: str = typer.Option(None, help="Target columns, a,b. [default: y_will_peak and fwd_ret_5]"),
    scope: str = typer.Option(
        None, help="pooled, symbol or both. [default: pooled]", autocompletion=lambda: ["pooled", "symbol", "both"]
    ),
    train_days: int = typer.Option(None, help="Sessions of a training window. [default: 756]"),
    test_days: int = typer.Option(None, help="Sessions of a test window. [default: 63]"),
    step_days: int = typer.Option(None, help="Sessions from one test window to the next. [default: 63]"),
    mode: str = typer.Option(
        None, help="rolling or expanding. [default: rolling]", autocompletion=lambda: ["rolling", "expanding"]
    ),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    features_file: Path = FEATURES_FILE,
    config: list[Path] = typer.Option([], help="A model's YAML or a run config; repeatable."),
    variant: str = typer.Option(None, help="Variant of every model. [default: MODEL_VARIANT, else the model's own]"),
    seed: int = typer.Option(None, min=0, help="Random seed of every model. [default: the config's]"),
    output_dir: Path = typer.Option(None, help="The run's folder. [default: runs/walkforward-HASH]"),
    jobs: int = typer.Option(None, min=1, help="Folds at once, one thread each. [default: the cores]"),
    fresh: bool = typer.Option(False, "--fresh", help="Forget what the run's folder holds."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the folds; write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Walk models through the sessions: each test window is predicted by a model trained on the sessions before it.

    Runs resume, and where the source has new bars they only add folds. Exit codes as for `barzoo train`.
    """
    from TRAINING.phases.plan import Request

    request = Request("walkforward", source, names(models, "--models"), names(symbols, "--symbols"), None, variant,
                      tuple(config), seed, features=listed_features(features_file))  # fmt: skip
    days = {"train_days": train_days, "test_days": test_days, "step_days": step_days, "mode": mode, "scope": scope}
    walk(
        request,
        names(targets, "--targets"),
        {name: value for name, value in days.items() if value is not None},
        feature_overrides(features, features_from),
        output_dir,
        jobs,
        fresh=fresh,
        dry_run=dry_run,
        as_json=as_json,
    )


def walk(
    request,
    targets: list[str] | None,
    overrides: dict,
    features: dict[str, str],
    output_dir: Path | None,
    jobs: int | None,
    *,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Do what the command asks for; ``barzoo train --phase walkforward`` comes here too."""
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import resolve_models
    from TRAINING.phases.walkforward import make_walk_plan, run_walk

    resolve_models(request)  # a typo is found before anything is read
    inputs = open_inputs(
        request.source, request.symbols, request.files, features, on_read=lambda text: typer.echo(text, err=True)
    )
    plan = make_walk_plan(request, inputs, targets, overrides)
    if dry_run:
        _show_plan(plan, as_json)
        return
    if plan.settings["backtest"]["execution_lag"] == 0:
        typer.echo(NO_LAG, err=True)
    folder = output_dir or Path("runs") / plan.run_id
    outcome = run_walk(
        plan, folder, jobs=jobs or workers(plan.models), progress=progress(), fresh=fresh, stop=stop_on_interrupt()
    )
    _show_outcome(outcome, as_json)
    raise typer.Exit(outcome.exit_code)


def _show_plan(plan, as_json: bool) -> None:
    from TRAINING.phases.walkforward import engine_of, read_labeled_panel

    panel = read_labeled_panel(plan, None)
    rows = []
    for scope in plan.scopes:
        for fold in engine_of(plan, panel, scope).folds:
            spans = (fold.train_start, fold.train_end, fold.test_start, fold.test_end)
            rows.append((scope, fold.number, *map(str, spans)))
    columns = ("scope", "fold", "train from", "to", "test from", "to ")
    if as_json:
        folds = [
            dict(zip(("scope", "fold", "train_start", "train_end", "test_start", "test_end"), row, strict=True))
            for row in rows
        ]
        typer.echo(
            json.dumps({"run": plan.run_id, "models": list(plan.models), "targets": plan.targets, "folds": folds})
        )
        return
    out = console()
    out.print(make_table(columns, rows, right=columns[1:2]))
    walks = len(list(plan.units()))  # those of gates too
    out.print(f"{len(rows)} folds, {len(panel.symbols)} symbols, {len(panel.table):,} rows, {walks} walks")
    out.print(f"run: {Path('runs') / plan.run_id} (nothing was written)", markup=False)


def _show_outcome(outcome, as_json: bool) -> None:
    from TRAINING.reports.leaderboard import leaderboard_table

    if as_json:
        board = json.loads(outcome.leaderboard.to_json(orient="records"))
        failed = list(outcome.failed.values())
        typer.echo(json.dumps({"run": str(outcome.folder), "leaderboard": board, "failed": failed}))
    elif not outcome.interrupted:
        console().print(leaderboard_table(outcome.leaderboard))
    for (model, target, scope), reason in outcome.failed.items():
        typer.echo(f"failed: {model} {target} {scope}: {reason}", err=True)
    for (model, target, scope), results in outcome.results.items():
        counts = results.folds["status"].value_counts().to_dict()
        typer.echo(
            f"{model} {target} {scope}: {', '.join(f'{count} {status}' for status, count in counts.items())} folds",
            err=True,
        )
    if outcome.interrupted:
        typer.echo(f"run the same command again to resume {outcome.folder}", err=True)
    else:
        typer.echo(f"leaderboard: {outcome.folder / 'leaderboard.csv'}", err=True)
        typer.echo(f"report:      {outcome.folder / 'report.html'}", err=True)
