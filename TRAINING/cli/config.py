"""``barzoo config``: what a configuration resolves to, and which line set each value."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from TRAINING.cli.terminal import console, make_table

app = typer.Typer(help="Show configurations.", no_args_is_help=True)


def _names() -> list[str]:
    from CONFIG.config_loader import model_names, run_topics

    return [*model_names(), *run_topics()]


@app.callback()
def _group() -> None:
    """Show configurations."""


@app.command(epilog="Example:  barzoo config show lightgbm --variant conservative --set learning_rate=0.05")
def show(
    name: str = typer.Argument(help="A model or a run config.", autocompletion=_names),
    variant: str = typer.Option(None, help="The model's variant."),
    set_: list[str] = typer.Option([], "--set", help="key=value, on top; repeatable."),
    config: list[Path] = typer.Option([], help="The user's own YAML, merged over the shipped one; repeatable."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on standard output."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Print each value with the file and line that set it."""
    from CONFIG.config_loader import model_names, resolve_model_config, resolve_run_config, run_topics
    from CONFIG.errors import ConfigError, did_you_mean

    overrides = dict(_override(text) for text in set_)
    if name in model_names():
        resolved = resolve_model_config(name, variant, overrides, config)
    elif name in run_topics():
        if variant is not None:
            raise ConfigError(f"{name}: run configs have no variants; leave --variant out")
        resolved = resolve_run_config(name, overrides, config)
    else:
        raise ConfigError(f"no model or run config {name!r}{did_you_mean(name, _names())}")
    if as_json:
        typer.echo(
            json.dumps(
                {"name": name, "variant": resolved.variant, "values": resolved.values, "origins": resolved.origins}
            )
        )
        return
    rows = [(key, json.dumps(value), resolved.origins[key]) for key, value in resolved.values.items()]
    console().print(make_table((resolved.variant or name, "value", "set by"), rows, right=("value",)))


def _override(text: str) -> tuple[str, object]:
    from CONFIG.errors import ConfigError
    from CONFIG.strict_yaml import parse_yaml

    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text!r}: write it as key=value")
    return key.strip(), parse_yaml(f"value: {value}", f"--set {text}")[0]["value"]
