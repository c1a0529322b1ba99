"""Options that several commands share."""

from __future__ import annotations

from CONFIG.config_loader import model_names
from CONFIG.errors import ConfigError


def names(text: str | None, option: str) -> list[str] | None:
    """``a,b`` as a list, ``None`` where the option was not given."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ConfigError(f"{option}: no name in {text!r}; write them as a,b")
    return found


def complete_models(incomplete: str) -> list[str]:
    """Tab completion of a comma-separated list of models."""
    given, _, last = incomplete.rpartition(",")
    done = f"{given}," if given else ""
    return [done + name for name in model_names() if name.startswith(last)]
