"""``barzoo select``: features that are worth keeping."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.options import FEATURES, FEATURES_FROM, complete_models, feature_overrides, names
from TRAINING.cli.terminal import console, make_table, progress

EXAMPLES = (
    "Examples:  barzoo select demo --target fwd_ret_5 --output features.txt, then barzoo train --features-file "
    "features.txt  ·  barzoo select tables/ --method permutation --count 20"
)
SHOWN = 40


def select(
    source: str = typer.Argument(None, help="Bars or labeled tables, as for `barzoo train --input-dir`."),
    model: str = typer.Option("lightgbm", help="The model to select for.", autocompletion=complete_models),
    target: str = typer.Option("y_will_peak", help="The target column."),
    method: str = typer.Option(
        "importance",
        help="importance, rfecv or permutation.",
        autocompletion=lambda: ["importance", "rfecv", "permutation"],
    ),
    count: int = typer.Option(None, min=1, help="Features to choose at most. [default: 30; rfecv: as many as serve]"),
    folds: int = typer.Option(5, min=2, help="Folds, all before the window that phases test on."),
    output: Path = typer.Option(Path("features.txt"), help="The list to write, for --features-file."),
    symbols: str = typer.Option(None, help="Symbols, A,B. [default: all]"),
    features: str = FEATURES,
    features_from: str = FEATURES_FROM,
    config: list[Path] = typer.Option([], help="A model's YAML or a run config; repeatable."),
    variant: str = typer.Option(None, help="Variant of the model. [default: MODEL_VARIANT, else the model's own]"),
    seed: int = typer.Option(None, min=0, help="Random seed of the model. [default: the config's]"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Choose features on purged walk-forward folds, and say how stable the choice is.

    importance: what fitted models use. rfecv: leave out the weakest, again and again, and keep the fewest that predict
    about as well as any number. permutation: what later rows lose when groups of like features are shuffled; features
    that only fit noise are left out. The window that phases test on is never looked at.
    """
    from CONFIG.config_loader import load_run_config
    from CONFIG.errors import ConfigError, did_you_mean
    from DATA_PROCESSING.feature_list import write_feature_list
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, named_targets, resolve_models
    from TRAINING.research.select import METHODS, select_features

    if method not in METHODS:
        raise ConfigError(f"--method: {method!r} is unknown{did_you_mean(method, METHODS)}")
    request = Request("core", source, [model], names(symbols, "--symbols"), target, variant, tuple(config), seed)
    settings = resolve_models(request)[model]  # a typo is found before anything is read
    overrides = feature_overrides(features, features_from)
    inputs = open_inputs(
        source, request.symbols, request.files, overrides, on_read=lambda text: typer.echo(text, err=True)
    )
    (target,) = named_targets([target], inputs)
    with progress().stage("select", folds) as step:
        found = select_features(
            inputs,
            model,
            settings,
            target,
            method,
            split=load_run_config("split", files=request.files),
            count=count,
            folds=folds,
            on_step=step,
        )
    if not found.features:
        raise ConfigError(
            f"--method {method}: no feature helps {model} predict {target} in later rows; nothing written"
        )
    about = (
        f"{len(found.features)} of {len(found.table)} features, for {model} on {target} of {inputs.source}",
        f"method {method}, {len(found.folds)} folds from {found.development[0]} to {found.development[1]}, "
        f"stability {_stability(found)}",
    )
    write_feature_list(output, found.features, about)
    if as_json:
        frames = {name: getattr(found, name) for name in ("table", "folds", "sizes")}
        shown = {name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()}
        stability = None if found.stability != found.stability else found.stability
        top = {"model": model, "target": target, "method": method, "file": str(output), "stability": stability}
        typer.echo(json.dumps({**top, "development": found.development, "features": found.features, **shown}))
    else:
        _show(found, about)
    typer.echo(f"features: {output}; use them with --features-file {output}", err=True)


def _show(found, about: tuple[str, ...]) -> None:
    from TRAINING.reports.columns import percent, short

    chosen = found.table[found.table["chosen"]]
    columns = ["", "feature", "score", "in folds"]
    rows = [
        [str(place), row.feature, short(row.score), percent(row.share, 0)]
        for place, row in enumerate(chosen.head(SHOWN).itertuples(), 1)
    ]
    if chosen["cluster"].notna().any():
        columns.append("group, with")
        for row, name in zip(rows, chosen["feature"], strict=False):
            row.append(_group(found.table, name))
    out = console()
    out.print(make_table(columns, rows, right=("", "score", "in folds")))
    if len(chosen) > len(rows):
        out.print(f"{len(chosen) - len(rows)} more are in the file")
    columns = ("fold", "tested from", "to", "rows", "chosen", "loss: mean", "all features", "chosen by the fold before")
    rows = [
        (
            row.fold,
            row.test_start,
            row.test_end,
            f"{row.test_rows:,}",
            row.chosen,
            short(row.loss_base),
            short(row.loss_all),
            short(row.loss_chosen),
        )
        for row in found.folds.itertuples()
    ]
    out.print(make_table(columns, rows, right=(columns[0], *columns[3:])))
    for line in (*about, "stability: 1 is the same choice in every fold, 0 what chance would do"):
        out.print(line, markup=False)


def _stability(found) -> str:
    if found.stability == found.stability:
        return f"{found.stability:.2f}"
    return "undefined: every fold chose all features" if len(found.features) else "undefined"


def _group(table, name: str) -> str:
    """The other features of a feature's group."""
    group = table.loc[table["feature"] == name, "cluster"].iloc[0]
    others = table.loc[(table["cluster"] == group) & (table["feature"] != name), "feature"].tolist()
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"{group:.0f} {', '.join(others[:3])}{more}".strip()
