"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import typer

from CONFIG.config_loader import model_names
from CONFIG.errors import ConfigError

FEATURES = typer.Option(
    None, help="simple or comprehensive. [default: run_config/features.yaml]",
    autocompletion=lambda: ["simple", "comprehensive"],
)  # fmt: skip
FEATURES_FROM = typer.Option(
    None, help="Python file with features of your own, audited on the bars before use."
)  # fmt: skip
FEATURES_FILE = typer.Option(
    None, help="Text file of the features to use, a column a line, as `barzoo select` writes. [default: all]"
)  # fmt: skip


def names(text: str | None, option: str) -> list[str] | None:
    """``a,b`` as a list, ``None`` where the option was not given."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ConfigError(f"{option}: no name in {text!r}; write them as a,b")
    return found


def feature_overrides(features: str | None, features_from: str | None) -> dict[str, str]:
    """What `FEATURES` and `FEATURES_FROM` set in the run config ``features``."""
    given = {"set": features, "features_from": features_from}
    return {key: value for key, value in given.items() if value is not None}


def listed_features(path: Path | None) -> list[str] | None:
    """The names in `FEATURES_FILE`, ``None`` where it was not given."""
    from DATA_PROCESSING.feature_list import read_feature_list

    return None if path is None else read_feature_list(path)


def complete_models(incomplete: str) -> list[str]:
    """Tab completion of a comma-separated list of models."""
    given, _, last = incomplete.rpartition(",")
    done = f"{given}," if given else ""
    return [done + name for name in [*model_names(), *([] if given else ["all"])] if name.startswith(last)]
