"""The search space of one configuration key: where ``barzoo tune`` looks for its value."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from CONFIG.errors import ConfigError, did_you_mean
from CONFIG.schema import Rule

_FIELDS = ("low", "high", "log", "choices")


@dataclass(frozen=True)
class Space:
    """The values that a key may take in a search.

    Attributes
    ----------
    low, high : int or float, optional
        Both ends belong to it; integers where the key is one. ``None`` where it has ``choices``.
    log : bool
        Whether values are drawn evenly on a logarithmic scale.
    choices : tuple
        The values themselves, where it is no interval.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, rule: Rule, value: Any) -> Space:
        """Read ``{low: 0.005, high: 0.2, log: true}`` or ``{choices: [relu, silu]}``.

        Parameters
        ----------
        rule : Rule
            What the key accepts; every value of the space must be within its limits.
        value : Any
            The space as the file has it.

        Raises
        ------
        ConfigError
            It is shaped otherwise, or reaches outside the limits.
        """
        if not isinstance(value, dict):
            raise ConfigError(f"expected {{low, high}} or {{choices}}, got {reprlib.repr(value)}")
        for field in value:
            if field not in _FIELDS:
                raise ConfigError(f"a search space has no {field!r}{did_you_mean(field, _FIELDS)}")
        if "choices" in value:
            return cls(choices=_choices(rule, value))
        if rule.type not in (int, float) or rule.shape != "value":
            raise ConfigError("only a number has low and high; give {choices: [...]}")
        missing = [end for end in ("low", "high") if end not in value]
        if missing:
            raise ConfigError(f"a search space has low and high, or choices; {missing[0]} is missing")
        low, high = (_within(rule, end, value[end]) for end in ("low", "high"))
        log = Rule(bool).fit(value.get("log", False))
        if not low < high:
            raise ConfigError(f"low must be below high, got {low!r} and {high!r}; leave out what is not to be searched")
        if log and low <= 0:
            raise ConfigError(f"a logarithmic scale begins above 0, got low {low!r}")
        return cls(low, high, log)

    def __contains__(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.choices:
            return " | ".join(map(str, self.choices))
        return f"{self.low} to {self.high}{', log' if self.log else ''}"


def _within(rule: Rule, name: str, value: Any) -> Any:
    try:
        return rule.fit(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _choices(rule: Rule, value: dict[str, Any]) -> tuple[Any, ...]:
    if len(value) > 1:
        raise ConfigError(f"choices stand alone, got {', '.join(value)}")
    if not isinstance(value["choices"], list) or len(value["choices"]) < 2:
        raise ConfigError(f"choices: expected a list of at least two, got {reprlib.repr(value['choices'])}")
    found = tuple(_within(rule, "choices", choice) for choice in value["choices"])
    if any(choice in found[:number] for number, choice in enumerate(found)):
        raise ConfigError(f"choices: a value is there twice, got {reprlib.repr(value['choices'])}")
    return found
