"""``barzoo tune``: search a model's configuration on purged folds of the development part."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from textwrap import wrap

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
from TRAINING.cli.running import stop_on_interrupt, workers
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo tune demo --model lightgbm --target y_will_peak --trials 50  ·  barzoo tune bars/ --model mlp "
    "--target fwd_ret_5 --timeout 600  ·  then  barzoo train --models lightgbm --variant tuned"
)
SHOWN = 10  # best trials in the terminal


def tune(
    source: str = typer.Argument(None, help="Bars or labeled tables, as for `barzoo train --input-dir`."),
    model: str = typer.Option(..., help="The model.", autocompletion=complete_models),
    target: str = typer.Option(..., help="The target column."),
    trials: int = typer.Option(50, min=1, help="Trials in all, with those of an earlier run of the same command."),
    timeout: float = typer.Option(None, min=0.001, help="Seconds after which no trial begins."),
    folds: int = typer.Option(5, min=1, max=100, help="Test windows over the second half of the development part."),
    scope: str = typer.Option(
        None,
        help="pooled or symbol. [default: run_config/walkforward.yaml]",
        autocompletion=lambda: ["pooled", "symbol"],
    ),
    variant: str = typer.Option("tuned", help="Name of the variant that the winner is written as."),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    features_file: Path = FEATURES_FILE,
    config: list[Path] = typer.Option([], help="A model's YAML or a run config; repeatable."),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help="Random seed of the search; the model keeps its own."),
    output_dir: Path = typer.Option(None, help="The run's folder. [default: runs/tune-HASH]"),
    jobs: int = typer.Option(None, min=1, help="Trials at once, one thread each, 8 at most. [default: the cores]"),
    fresh: bool = typer.Option(False, "--fresh", help="Forget what the run's folder holds."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show folds and search space; write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Search the keys of a model's `search` section, and write the winner as a variant of your own.

    No trial sees the test window of the phases. Runs resume, after a kill too; more --trials go on from the ones that
    are there. The variant is written to model_config/MODEL.yaml in BARZOO_CONFIG_DIR (~/.config/barzoo).
    """  # fmt: skip
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, resolve_models
    from TRAINING.search.plan import make_tune_plan
    from TRAINING.search.run import run_tune
    from TRAINING.search.study import optuna_module

    optuna_module()
    request = Request("walkforward", source, names(model, "--model"), names(symbols, "--symbols"), target,
                      files=tuple(config), features=listed_features(features_file))  # fmt: skip
    resolve_models(request)  # a typo is found before anything is read
    inputs = open_inputs(
        source,
        request.symbols,
        request.files,
        feature_overrides(features, features_from),
        on_read=lambda text: typer.echo(text, err=True),
    )
    overrides = {} if scope is None else {"scope": scope}
    plan = make_tune_plan(request, inputs, folds=folds, seed=seed, overrides=overrides)
    if dry_run:
        _show_plan(plan, trials, as_json)
        return
    outcome = run_tune(
        plan,
        output_dir or Path("runs") / plan.run_id,
        trials=trials,
        variant=variant,
        jobs=jobs or workers(plan.models),
        progress=progress(),
        timeout=timeout,
        fresh=fresh,
        stop=stop_on_interrupt(),
    )
    _show_outcome(plan, outcome, trials, variant, as_json)
    raise typer.Exit(outcome.exit_code)


def _show_plan(plan, trials: int, as_json: bool) -> None:
    from TRAINING.search.plan import engine_of

    engine = engine_of(plan, None)
    rows = [tuple(map(str, (f.number, f.train_start, f.train_end, f.test_start, f.test_end))) for f in engine.folds]
    if as_json:
        fields = ("fold", "train_start", "train_end", "test_start", "test_end")
        about = {"run": plan.run_id, "model": plan.model, "target": plan.target, "trials": trials}
        about |= {
            "space": {key: str(space) for key, space in plan.space.items()},
            "never_seen_from": str(plan.test_start),
        }
        typer.echo(json.dumps({**about, "folds": [dict(zip(fields, row, strict=True)) for row in rows]}))
        return
    out = console()
    out.print(make_table(("fold", "train from", "to", "test from", "to "), rows, right=("fold",)))
    spaces = [(key, json.dumps(plan.base[key]), str(space)) for key, space in plan.space.items()]
    out.print(make_table((plan.model, "now", "searched"), spaces, right=("now",)))
    out.print(f"{trials} trials of {plan.target}; sessions from {plan.test_start} on are never looked at")
    out.print(f"run: {Path('runs') / plan.run_id} (nothing was written)", markup=False)


def _show_outcome(plan, outcome, wanted: int, variant: str, as_json: bool) -> None:
    from TRAINING.reports.tuning import trial_rows
    from TRAINING.search.run import trial_table

    trials, frame = outcome.trials, trial_table(plan, outcome.trials)
    counts = frame["state"].value_counts().to_dict()
    if as_json:
        whole = any(trial.state == "complete" for trial in trials)
        about = {"run": str(outcome.folder), "model": plan.model, "target": plan.target, "trials": counts}
        if whole:
            best = outcome.best
            about |= {"best": {"trial": best.number, "value": best.value, "params": best.params}}
            about["default"] = trials[0].value if isfinite(trials[0].value) else None
        shares = dict(zip(outcome.importance["feature"], outcome.importance["importance"], strict=True))
        about |= {"importance": shares, "variant": variant if outcome.variant_file else None}
        about["variant_file"] = str(outcome.variant_file) if outcome.variant_file else None
        typer.echo(json.dumps({**about, "seconds": float(frame["seconds"].sum())}))
    elif not outcome.interrupted:
        table = trial_rows(frame, SHOWN)
        # Else a narrow terminal breaks the names of keys anywhere.
        heads = ["\n".join(wrap(label.replace("_", "_ "), 11)).replace("_ ", "_") for label, _ in table.heads]
        console().print(make_table(heads, table.rows, right=heads))
    for trial in trials:
        if trial.state == "failed":
            typer.echo(f"failed: trial {trial.number}: {trial.reason}", err=True)
    typer.echo(", ".join(f"{count} {state}" for state, count in counts.items()), err=True)
    if outcome.interrupted:
        typer.echo(f"run the same command again to resume {outcome.folder}", err=True)
        return
    if "waiting" in counts or len(trials) < wanted:
        typer.echo("the timeout has passed; run the same command again to go on", err=True)
    best, first = outcome.best, trials[0]
    if outcome.variant_file:
        typer.echo(
            f"best: trial {best.number}, {best.value:.4f} of {plan.rival}'s loss; {first.value:.4f} before", err=True
        )
        typer.echo(f"variant: {variant} in {outcome.variant_file}", err=True)
    else:
        typer.echo(
            f"no trial is better than what the search began from, {first.value:.4f}; no variant written", err=True
        )
    if best.value >= 1:
        typer.echo(f"no trial is better than {plan.rival}, whose loss is 1: it has found no skill", err=True)
    typer.echo(f"report:  {outcome.folder / 'report.html'}", err=True)
