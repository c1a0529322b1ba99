"""What an audit says: a verdict per check, one line why, and the numbers behind it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Literal

import pandas as pd

Verdict = Literal["passed", "failed", "warned", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One check of an audit.

    Attributes
    ----------
    name : str
    verdict : {"passed", "failed", "warned", "not applicable"}
    reason : str
        One line: what was found, or why there was nothing to look at.
    numbers : dict
        What JSON can hold, None where a number is undefined.
    """

    name: str
    verdict: Verdict
    reason: str
    numbers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class AuditReport:
    """The verdicts of an audit.

    Attributes
    ----------
    source : str
        What was audited.
    checks : tuple of Check
    about : dict
        Symbols, rows, targets, windows and settings of the audit.
    """

    source: str
    checks: tuple[Check, ...]
    about: dict

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "failed")

    @property
    def exit_code(self) -> int:
        """1 when a check failed, 0 otherwise; warnings are for people to judge."""
        return int(bool(self.failed))

    def check(self, name: str) -> Check:
        """The check of a name."""
        return next(check for check in self.checks if check.name == name)

    def frame(self) -> pd.DataFrame:
        """A row per check: ``check, verdict, reason``."""
        rows = [(check.name, check.verdict, check.reason) for check in self.checks]
        return pd.DataFrame(rows, columns=["check", "verdict", "reason"])

    def to_json(self) -> str:
        """All of it as JSON; what is not finite is null."""
        told = {"source": self.source, "exit_code": self.exit_code, **_plain(self.about)}
        return json.dumps(told | {"checks": [_plain(asdict(check)) for check in self.checks]}, indent=1)


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of several findings together; ``not applicable`` where all of them are, or there is none."""
    order: tuple[Verdict, ...] = ("failed", "warned", "passed", "not applicable")
    return next((verdict for verdict in order if verdict in verdicts), "not applicable")


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
