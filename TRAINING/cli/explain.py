"""``barzoo explain``: which features move the predictions of a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.options import complete_models
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo explain runs/core-0123456789  ·  barzoo explain runs/core-0123456789 --symbol AAPL --model "
    "xgboost --target fwd_ret_5"
)
SHOWN = 20


def explain(
    run: Path = typer.Argument(help="The folder of a finished core or sequential run."),
    symbol: str = typer.Option(None, help="Only this symbol. [default: all, each by its own model]"),
    model: str = typer.Option(
        None, help="The model. [default: the leaderboard's first]", autocompletion=complete_models
    ),
    target: str = typer.Option(None, help="The target. [default: the leaderboard's first]"),
    rows: int = typer.Option(200, min=1, help="Test rows to explain, spread evenly over the test window."),
    output: Path = typer.Option(None, help="The HTML page to write. [default: RUN/explain-MODEL-TARGET.html]"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Say which features move a model's test predictions, and which way: SHAP values.

    Exact for lightgbm and xgboost; of any other model they are sampled, which takes longer. A model that looks back is
    asked about a feature in its whole window at once. What moves a model need not move prices.
    """
    from CONFIG.errors import ConfigError
    from DATA_PROCESSING.atomic import write_atomically
    from DATA_PROCESSING.symbols import file_stem
    from TRAINING.phases.finished import open_run
    from TRAINING.reports.explanation import render_explanation
    from TRAINING.research.explain import chosen_units
    from TRAINING.research.explain import explain as explain_run

    units = chosen_units(open_run(run), model, target, symbol)
    with progress().stage("explain", len(units)) as step:
        found = explain_run(run, model=model, target=target, symbol=symbol, rows=rows, on_step=step)
    strongest = found.strongest()
    name = "-".join(["explain", found.model, found.target] + ([file_stem(symbol)] if symbol else []))
    path = output or run / f"{name}.html"
    symbols = sorted({str(unit[2]) for unit in units})
    page = render_explanation(
        model=found.model,
        target=found.target,
        unit=found.unit,
        meta={
            "run": run.resolve().name,
            "rows": f"{len(found.values):,} of the test window",
            "symbols": ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else ""),
            "values": found.method,
            "looks back": f"{found.context_rows} rows",
        },
        strongest=strongest,
        values=found.values,
        features=found.features,
    )
    try:
        write_atomically(path, page)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write there ({error.strerror}); choose another --output") from error
    if as_json:
        about = {key: getattr(found, key) for key in ("model", "target", "task", "method", "unit", "context_rows")}
        about |= {"symbols": symbols, "rows": len(found.values), "page": str(path)}
        typer.echo(json.dumps({**about, "features": json.loads(strongest.to_json(orient="records"))}))
    else:
        _show(found, strongest)
    typer.echo(f"page: {path}", err=True)


def _show(found, strongest) -> None:
    from TRAINING.reports.columns import number, percent, short

    used = strongest[strongest["mean_abs"] > 0]
    columns = ("", "feature", f"mean |value|, {found.unit}", "share", "direction")
    rows = [
        (str(place), row.feature, short(row.mean_abs), percent(row.share), number(row.direction))
        for place, row in enumerate(used.head(SHOWN).itertuples(), 1)
    ]
    out = console()
    out.print(make_table(columns, rows, right=(columns[0], *columns[2:])))
    unused = len(strongest) - len(used)
    more = f"; {len(used) - len(rows)} weaker ones are on the page" if len(used) > len(rows) else ""
    out.print(f"{found.model} on {found.target}: {len(found.values):,} test rows, values {found.method}", markup=False)
    out.print(f"{len(strongest)} features, {unused} of them without any effect here{more}", markup=False)
    if found.context_rows:
        window = found.context_rows + 1
        out.print(f"a feature's value is that of its {window} last rows together, which the model sees at once")
