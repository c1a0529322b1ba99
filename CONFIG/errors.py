"""The errors a user can meet. Each message is one line: what, where, the rule, the value got, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BarzooError(Exception):
    """Base of every error meant for the user; ``exit_code`` is what the command returns."""

    exit_code = 1


class ConfigError(BarzooError, ValueError):
    """A wrong option, variant, key or value."""

    exit_code = 2


class DataError(BarzooError, ValueError):
    """Bars, tables or arrays that cannot be used."""

    exit_code = 3


class IntegrityError(BarzooError):
    """A file of ours that is truncated, edited or missing."""

    exit_code = 4


class LockedError(BarzooError):
    """Another run is using the folder."""

    exit_code = 5


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest choice, or the list of choices when none is near."""
    choices = sorted(map(str, choices))
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {by_lower[near[0]]!r}?"
    return f"; choose from {', '.join(choices)}" if choices else ""
