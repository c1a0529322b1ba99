"""``barzoo models``: the zoo at a glance."""

from __future__ import annotations

import json

import typer

from TRAINING.cli.terminal import console, make_table


def models(as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output.")) -> None:
    """List models, their variants and what each is for."""
    from CONFIG.config_loader import describe_model, model_names

    described = {name: describe_model(name) for name in model_names()}
    if as_json:
        typer.echo(json.dumps({
            name: {"about": about.about, "default_variant": about.default_variant, "variants": about.variants}
            for name, about in described.items()
        }))  # fmt: skip
        return
    rows = []
    for name, about in described.items():
        rows.append((name, "", about.about))
        for variant, text in about.variants.items():
            mark = " (default)" if variant == about.default_variant else ""
            rows.append(("", variant + mark, text))
    console().print(make_table(("model", "variant", "for"), rows))
