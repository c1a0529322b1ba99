"""Whether labels begin after their bar and end by their ``label_end``, judged by the returns that they depend on.

A label that depends on the bars after t, up to its end, is correlated with their returns, and with no return before or
behind them: prices have next to no memory. So it shows how far a label truly looks, whoever made it.
"""

from __future__ import annotations

from itertools import takewhile

import numpy as np

from DATA_PROCESSING.columns import target_columns
from TRAINING.research.association import Outcome, centred_ranks
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "labels"
BESIDE = 10  # bars looked at before a label begins, and behind its end
SHARE = 0.25  # of the correlation on the path; one as large beside the path is no echo of it


def check_labels(subject: Subject) -> Check:
    """Look for labels that know bars at or before their own, or bars behind their ``label_end``.

    A label whose sign does not follow the returns on its path, such as a time to a touch, cannot be judged so.
    """
    reaches = {target: _reach(subject, target) for target in target_columns(subject.table.columns)}
    numbers = {target: found for target, found in reaches.items() if found}
    unclear = [target for target in reaches if target not in numbers]
    early = [target for target, found in numbers.items() if found["before"]]
    late = [target for target, found in numbers.items() if found["behind"]]
    if early or late:
        told = [_early(numbers[early[0]], early)] if early else []
        told += [_late(numbers[late[0]], late)] if late else []
        return Check(NAME, "failed", "; ".join(told), numbers)
    if not numbers:
        return Check(NAME, "not applicable", f"{', '.join(unclear)}: do not follow the returns on their path")
    told = f"{', '.join(numbers)}: no return outside the path from bar to label_end counts"
    return Check(NAME, "passed", told + (f"; {', '.join(unclear)} cannot be judged so" if unclear else ""), numbers)


def _early(found: dict, targets: list[str]) -> str:
    return (
        f"{_named(targets)} the return of the row's own bar: begins {_bars(found['before'])} too early (correlation "
        f"{found['before_correlation']:.2f}; {found['path_correlation']:.2f} on its path)"
    )


def _late(found: dict, targets: list[str]) -> str:
    return (
        f"{_named(targets)} returns up to {_bars(found['behind'])} behind label_end, past which rows are not purged "
        f"(correlation {found['behind_correlation']:.2f}; {found['path_correlation']:.2f} on its path)"
    )


def _named(targets: list[str]) -> str:
    more = len(targets) - 1
    return f"{targets[0]} {f'and {more} more know' if more else 'knows'}"


def _bars(count: int) -> str:
    return f"{count} bar{'s' * (count != 1)}"


def _reach(subject: Subject, target: str) -> dict | None:
    """How many bars before and behind its path a target knows; None where it does not follow returns at all."""
    path = subject.path(target)
    labelled = np.flatnonzero(path)
    if not len(labelled):
        return None
    with np.errstate(all="ignore"):
        returns = centred_ranks(np.log(subject.values("close") / subject.ahead("close", -1)))
    outcome = Outcome.of(
        target, subject.values(target), subject.session, subject.horizon(target), subject.is_binary(target)
    )

    def foretold(first: np.ndarray, offset: int) -> tuple[float, float]:
        """The signed strength of the return ``offset`` bars after the bar ``first`` bars ahead, and its least size."""
        place = np.arange(len(path)) + first + offset
        inside = (path > 0) & (place >= 0) & (place < len(path))
        place = np.clip(place, 0, len(path) - 1)
        inside &= subject.codes[place] == subject.codes
        association = outcome.foretold_by(np.where(inside, returns[place], np.nan))
        return association.strength, association.least

    usual = int(np.median(path[labelled]))
    inside = [
        foretold(np.zeros_like(path), step) for step in np.unique(np.linspace(1, usual, min(usual, 10)).astype(int))
    ]
    follows = [strength for strength, least in inside if least > 0]
    if not follows or np.isnan(inside[0][0]):
        return None
    typical = float(np.median(follows))
    steps = np.unique([*range(1, BESIDE + 1), *np.linspace(1, 4 * usual, 4 * BESIDE).astype(int)])
    sides = {
        "before": {step: foretold(np.zeros_like(path), 1 - step) for step in steps[:BESIDE]},
        "behind": {step: foretold(path, step) for step in steps},
    }
    numbers = {"bars": usual, "path_correlation": typical}
    for name, side in sides.items():
        # Only what has the sign of the path: prices that turn back between bid and ask are no leak. And only what is
        # next to the path, without a gap: luck lies anywhere.
        known = takewhile(lambda item: item[1][1] > 0 and item[1][0] / typical >= SHARE, side.items())
        numbers[name] = int(max((step for step, _ in known), default=0))
        numbers[f"{name}_correlation"] = side[1][0]
    return numbers
