"""``barzoo train --phase features``: labeled tables with latents."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.terminal import console, make_table, progress


def make_features(
    request,
    features: dict[str, str],
    output_dir: Path | None,
    jobs: int | None,
    *,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Do what the command asks for."""
    from TRAINING.cli.running import stop_on_interrupt, workers
    from TRAINING.phases.features import make_features_plan, run_features
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import resolve_models

    resolve_models(request)  # a typo is found before anything is read
    inputs = open_inputs(
        request.source, request.symbols, request.files, features, on_read=lambda text: typer.echo(text, err=True)
    )
    plan = make_features_plan(request, inputs)
    if dry_run:
        _show_plan(plan, as_json)
        return
    folder = output_dir or Path("runs") / plan.run_id
    outcome = run_features(
        plan, folder, jobs=jobs or workers(plan.models), progress=progress(), fresh=fresh, stop=stop_on_interrupt()
    )
    _show_outcome(plan, outcome, as_json)
    raise typer.Exit(outcome.exit_code)


def _show_plan(plan, as_json: bool) -> None:
    symbols = sorted(plan.inputs.symbols.items())
    rows = [(symbol, len(about.sessions), int((about.sessions < plan.cut).sum())) for symbol, about in symbols]
    first, last = plan.fit_range
    if as_json:
        tables = [dict(zip(("symbol", "rows", "fit_rows"), row, strict=True)) for row in rows]
        about = {"run": plan.run_id, "source": plan.inputs.source, "model": plan.model, "fit": [first, last]}
        typer.echo(json.dumps({**about, "latents": plan.latents, "tables": tables, "problems": plan.inputs.problems}))
        return
    out = console()
    shown = [*rows, *((symbol, "", f"unreadable: {problem}") for symbol, problem in plan.inputs.problems.items())]
    out.print(make_table(("symbol", "rows", "fitted on"), shown, right=("rows", "fitted on")))
    out.print(f"model:   {plan.model}, {len(plan.latents)} latents of {len(plan.features)} features")
    out.print(f"fit on:  {first} to {last}, all symbols together")
    out.print(f"run:     {Path('runs') / plan.run_id} (nothing was written)", markup=False)


def _show_outcome(plan, outcome, as_json: bool) -> None:
    first, last = plan.fit_range
    counts = outcome.tables["status"].value_counts().to_dict()
    if as_json:
        about = {"run": str(outcome.folder), "model": plan.model, "fit": [first, last], **outcome.about}
        typer.echo(json.dumps({**about, "latents": plan.latents, "tables": counts}))
    for row in outcome.tables[outcome.tables["status"] == "failed"].itertuples():
        typer.echo(f"failed: {row.symbol}: {row.reason}", err=True)
    for note in outcome.about["notes"]:
        typer.echo(f"note: {note}", err=True)
    told = ", ".join(f"{name} {value:.3f}" for name, value in outcome.about["quality"].items())
    typer.echo(f"{plan.model} on {outcome.about['held_out_rows']} rows held out: {told}", err=True)
    typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    if outcome.interrupted:
        typer.echo(f"run the same command again to resume {outcome.folder}", err=True)
    else:
        typer.echo(f"tables:  {outcome.folder}\nfit on:  {first} to {last}; test later rows only", err=True)
