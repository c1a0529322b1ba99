"""What a configuration key accepts: the type of its default, and an interval or a list of choices as its limit."""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

from CONFIG.errors import ConfigError, did_you_mean

# What a default of this type accepts, in words and as a type (numpy's numbers count as Python's).
_TYPES: dict[type, tuple[str, type]] = {
    bool: ("true or false", bool),
    int: ("an integer", Integral),
    float: ("a finite number", Real),
    str: ("text", str),
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTERVAL = re.compile(rf"([\[(])\s*({_NUMBER}|-inf)\s*,\s*({_NUMBER}|inf)\s*([\])])", re.ASCII)
_OR_SPAN = " or span"
_SPAN = re.compile(r"[1-9]\d{0,5}[mhd]", re.ASCII)


@dataclass(frozen=True)
class Interval:
    """An interval of the real line, written as mathematicians do: ``(0, 1]``, ``[2, inf)``."""

    text: str
    low: float
    high: float
    low_closed: bool
    high_closed: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Parse ``text``; a malformed or empty interval is a :class:`ConfigError`."""
        match = _INTERVAL.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"expected an interval such as '(0, 1]' or '[2, inf)', got {reprlib.repr(text)}")
        low, high = float(match[2]), float(match[3])
        low_closed, high_closed = match[1] == "[", match[4] == "]"
        if (math.isinf(low) and low_closed) or (math.isinf(high) and high_closed):
            raise ConfigError(f"an interval is open at infinity, got {reprlib.repr(text)}")
        if low > high or (low == high and not (low_closed and high_closed)):
            raise ConfigError(f"no number is within {reprlib.repr(text)}")
        return cls(text.strip(), low, high, low_closed, high_closed)

    def __contains__(self, number: float) -> bool:
        above = self.low <= number if self.low_closed else self.low < number
        below = number <= self.high if self.high_closed else number < self.high
        return above and below


@dataclass(frozen=True)
class Rule:
    """What one key accepts; for a list or a mapping from text, what each of its items does.

    A list of numbers may only be empty (``may_be_empty``) where its default is.

    ``or_span`` lets an integer, or the items of a list, be a span of time too, such as ``30m``, ``4h`` or ``5d``.
    """

    type: type
    shape: Literal["value", "list", "mapping"] = "value"
    limit: Interval | tuple[Any, ...] | None = None
    or_span: bool = False
    may_be_empty: bool = True

    @classmethod
    def of(cls, default: Any) -> Rule:
        """Return the rule that a default sets by its type; empty lists and mappings are of text."""
        shape = {list: "list", dict: "mapping"}.get(type(default), "value")
        items = list(default.values()) if shape == "mapping" else default
        example = default if shape == "value" else items[0] if items else ""
        if type(example) not in _TYPES:
            got = reprlib.repr(default)
            raise ConfigError(
                f"a default is true, false, a number, text, or a list or mapping of one of these, got {got}"
            )
        numbers = shape == "list" and type(example) in (int, float)
        return cls(type(example), shape, may_be_empty=not numbers)

    def limited(self, limit: Any) -> Rule:
        """Return this rule with ``limit``: an interval as text (for numbers), or a list of choices."""
        if isinstance(limit, list) and limit:
            item = Rule(self.type)
            return replace(self, limit=tuple(item.fit(choice) for choice in limit))
        if isinstance(limit, str) and limit.endswith(_OR_SPAN) and (self.type is int or self.shape == "list"):
            return replace(self, type=int, limit=Interval.parse(limit.removesuffix(_OR_SPAN)), or_span=True)
        if isinstance(limit, str) and self.type in (int, float):
            return replace(self, limit=Interval.parse(limit))
        words = "an interval in quotes or a list of choices" if self.type in (int, float) else "a list of choices"
        raise ConfigError(f"expected {words}, got {reprlib.repr(limit)}")

    def fit(self, value: Any) -> Any:
        """Return ``value`` as plain Python of this type; what does not fit is a :class:`ConfigError`."""
        if self.shape == "value":
            return self._fit_item(value)
        if self.shape == "mapping":
            if not isinstance(value, dict):
                raise ConfigError(f"expected keys and values, got {reprlib.repr(value)}")
            return {key: self._fit_item(item) for key, item in value.items()}
        if isinstance(value, Real):  # one number is a list of one
            value = [value]
        if not isinstance(value, list | tuple):
            raise ConfigError(f"expected a list, got {reprlib.repr(value)}")
        if not value and not self.may_be_empty:
            raise ConfigError("expected at least one number, got []")
        return [self._fit_item(item) for item in value]

    def _fit_item(self, value: Any) -> Any:
        words, accepted = _TYPES[self.type]
        if self.or_span:
            words += " or a span such as 30m, 4h or 5d"
            if isinstance(value, str) and _SPAN.fullmatch(value):
                return str(value)
        wrong = f"expected {words}, got {reprlib.repr(value)}"
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type is not bool):
            raise ConfigError(wrong)
        try:
            value = self.type(value)
        except OverflowError:  # an integer too large for a float
            raise ConfigError(wrong) from None
        if self.type is float and not math.isfinite(value):
            raise ConfigError(wrong)
        if isinstance(self.limit, Interval) and value not in self.limit:
            raise ConfigError(f"must be within {self.limit.text}, got {value!r}")
        if isinstance(self.limit, tuple) and value not in self.limit:
            raise ConfigError(f"{reprlib.repr(value)} is not a choice{did_you_mean(value, self.limit)}")
        return value
