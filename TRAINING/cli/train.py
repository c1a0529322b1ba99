"""``barzoo train``: the phases (``./train_all_symbols.sh`` is the same command)."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from math import isnan
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
    "Examples:  barzoo train --phase core  ·  barzoo train --phase core --input-dir bars/ --models lightgbm --dry-run"
    "  ·  barzoo train --phase core --config CONFIG/model_config/lightgbm.yaml --variant conservative"
)


def train(
    phase: str = typer.Option(
        "core",
        help="What to run: features, core, sequential or walkforward.",
        autocompletion=lambda: ["features", "core", "sequential", "walkforward"],
    ),
    input_dir: str = typer.Option(
        None,
        help="Bars or labeled tables: demo, a folder or a file. [default: "
        "DATA_PROCESSING/data/labeled if it holds tables, else demo]",
    ),
    output_dir: Path = typer.Option(None, help="The run's folder. [default: runs/PHASE-HASH, the hash of the plan]"),
    config: list[Path] = typer.Option(
        [], help="A model's YAML (its stem names the model) or a run config; repeatable."
    ),
    variant: str = typer.Option(None, help="Variant of every model. [default: MODEL_VARIANT, else the model's own]"),
    models: str = typer.Option(
        None, help="Models, a,b, or all. [default: the phase's]", autocompletion=complete_models
    ),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    features_file: Path = FEATURES_FILE,
    target: str = typer.Option(None, help="One target column. [default: y_will_peak and fwd_ret_5]"),
    latent_dim: int = typer.Option(None, min=1, help="Latents, of --phase features. [default: the model's]"),
    jobs: int = typer.Option(None, min=1, help="Models trained at once, one thread each. [default: the cores]"),
    seed: int = typer.Option(None, min=0, help="Random seed of every model. [default: the config's]"),
    fresh: bool = typer.Option(False, "--fresh", help="Forget what the run's folder holds."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and an estimate; write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    fast_dev_run: bool = typer.Option(
        False, "--fast-dev-run", help="One symbol, one epoch or tree of each model, nothing kept: does it run?"
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Train models per symbol, test them out of sample after costs, and report.

    Runs resume: finished units are kept when the same command runs again. Exit codes: 0 ok, 2 usage or config, 3 data,
    4 integrity, 5 folder in use, 6 some units failed, 130 interrupted.
    """
    from CONFIG.config_loader import load_run_config
    from TRAINING.phases.plan import Request, make_plan, resolve_models

    request = Request(phase, input_dir, names(models, "--models"), names(symbols, "--symbols"), target, variant,
                      tuple(config), seed, latent_dim, fast_dev_run, listed_features(features_file))  # fmt: skip
    if phase == "features":
        from TRAINING.cli.features import make_features

        make_features(request, feature_overrides(features, features_from), output_dir, jobs,
                      fresh=fresh, dry_run=dry_run, as_json=as_json)  # fmt: skip
        return
    if phase == "walkforward":
        from TRAINING.cli.walkforward import walk

        overrides = feature_overrides(features, features_from)
        walk(request, [target] if target else None, {}, overrides, output_dir, jobs,
             fresh=fresh, dry_run=dry_run, as_json=as_json)  # fmt: skip
        return
    resolve_models(request)  # a typo is found before anything is read
    backtest = load_run_config("backtest", files=request.files)
    from TRAINING.phases.inputs import open_inputs

    overrides = feature_overrides(features, features_from)
    inputs = open_inputs(
        input_dir, request.symbols, request.files, overrides, on_read=lambda text: typer.echo(text, err=True)
    )
    plan = make_plan(request, inputs)
    jobs = jobs or workers(plan.models)
    if dry_run:
        _show_plan(plan, jobs, as_json)
        return
    if backtest["execution_lag"] == 0:
        typer.echo(NO_LAG, err=True)
    from TRAINING.phases.run import run_plan

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run" if fast_dev_run else output_dir or Path("runs") / plan.run_id
        outcome = run_plan(plan, folder, jobs=jobs, progress=progress(), fresh=fresh, stop=stop_on_interrupt())
    _show_outcome(outcome, as_json, kept=not fast_dev_run)
    raise typer.Exit(outcome.exit_code)


def _show_plan(plan, jobs: int, as_json: bool) -> None:
    from TRAINING.phases.estimate import estimate
    from TRAINING.phases.plan import BASELINES

    cost = estimate(plan, jobs)
    units = [unit for unit in plan.units if unit.model != BASELINES]
    if as_json:
        rows = [{key: getattr(unit, key) for key in ("model", "target", "symbol", "rows", "skip")} for unit in units]
        about = {"run": plan.run_id, "source": plan.inputs.source, "windows": plan.windows, "jobs": jobs, **cost}
        typer.echo(json.dumps({**about, "units": rows, "problems": plan.inputs.problems}))
        return
    by_symbol, reasons = {}, Counter(unit.skip for unit in units if unit.skip)
    for unit in units:  # one that is trained says the rows of its symbol without more words
        by_symbol[unit.symbol] = min(by_symbol.get(unit.symbol, unit), unit, key=lambda each: bool(each.skip))
    columns = ("symbol", "train", "validation", "test", "")
    rows = [(symbol, *map(str, unit.rows), unit.skip and f"skipped: {unit.skip}") for symbol, unit in by_symbol.items()]
    partly = reasons.keys() - {unit.skip for unit in by_symbol.values()}
    rows += [(symbol, "", "", "", f"unreadable: {problem}") for symbol, problem in plan.inputs.problems.items()]
    out = console()
    out.print(make_table(columns, rows, right=columns[1:4]))
    for name, (first, last) in plan.windows.items():
        out.print(f"{name + ':':<12}{first} to {last}")
    todo = sum(not unit.skip for unit in units)
    out.print(f"{'models:':<12}{', '.join(plan.models)}\n{'targets:':<12}{', '.join(plan.targets)}")
    out.print(f"{'units:':<12}{todo} to train, {len(units) - todo} skipped, 1 fold each")
    for reason in sorted(partly):
        out.print(f"{'':<12}{reasons[reason]} skipped: {reason}")
    out.print(f"{'memory:':<12}about {cost['memory_mb']} MB")
    seconds = "unknown" if isnan(cost["seconds"]) else f"about {cost['seconds']:.0f} s"
    out.print(f"{'time:':<12}{seconds} with {jobs} at once, judged by training {cost['probe']}")
    out.print(f"{'run:':<12}{Path('runs') / plan.run_id} (nothing was written)")


def _show_outcome(outcome, as_json: bool, kept: bool) -> None:
    from TRAINING.reports.leaderboard import leaderboard_table

    results = outcome.results
    counts = results.units["status"].value_counts().to_dict()
    report = outcome.folder / "report.html"
    if as_json:
        board = json.loads(results.leaderboard.to_json(orient="records"))
        there = kept and not outcome.interrupted
        about = {
            "run": str(outcome.folder) if kept else None,
            "report": str(report) if there else None,
            "units": counts,
        }
        typer.echo(json.dumps({**about, "leaderboard": board}))
    elif not outcome.interrupted:
        console().print(leaderboard_table(results.leaderboard))
    for (status, reason), group in results.units[results.units["status"] != "done"].groupby(["status", "reason"]):
        symbols = list(dict.fromkeys(group["symbol"]))
        some = ", ".join(symbols[:10]) + (f" and {len(symbols) - 10} more" if len(symbols) > 10 else "")
        typer.echo(f"{status}: {some}: {reason}", err=True)
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    if not kept:
        typer.echo("fast dev run: nothing was kept, and the scores mean nothing", err=True)
    elif outcome.interrupted:
        typer.echo(f"run the same command again to resume {outcome.folder}", err=True)
    else:
        typer.echo(f"leaderboard: {outcome.folder / 'leaderboard.csv'}\nreport:      {report}", err=True)
