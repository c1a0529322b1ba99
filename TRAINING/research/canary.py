"""Do the checks see what they look for? Each is given rows with a leak that was planted, and has to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from TRAINING.evaluation.splits import Windows
from TRAINING.research import contamination, foresight, null, overlap, reach, truncation
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "canary"
PLANTED = "planted"
NULL_RUNS = 8


@dataclass(frozen=True)
class Canary:
    """A leak, and whether the check of a name sees it: ``sees`` is None where it cannot be planted here."""

    check: str
    text: str
    sees: Callable[[Subject, float], bool | None]


def check_canary(
    subject: Subject, margin: float, applicable: set[str], on_step: Callable[[str], None] = lambda text: None
) -> Check:
    """Plant leaks and let the checks look for them.

    Parameters
    ----------
    subject : Subject
    margin : float
        As for `TRAINING.research.foresight.check_foresight`.
    applicable : set of str
        The checks that had something to look at; the others need not see anything.
    on_step : callable
        Told of each of `CANARIES`.
    """
    seen = {}
    for canary in CANARIES:
        found = canary.sees(subject, margin) if canary.check in applicable else None
        seen[canary.text] = {None: "not applicable", True: "seen", False: "missed"}[found]
        on_step(f"{canary.text}: {seen[canary.text]}")
    missed = [text for text, what in seen.items() if what == "missed"]
    count = sum(what == "seen" for what in seen.values())
    if missed:
        return Check(NAME, "failed", f"not seen although planted: {'; '.join(missed)}; to pass means little here", seen)
    if not count:
        return Check(NAME, "not applicable", "there was nothing to plant a leak in", seen)
    return Check(NAME, "passed", f"{count} of {count} planted leaks were seen", seen)


def _feature(subject: Subject, margin: float) -> bool:
    y = subject.values(subject.targets[0])
    noise = np.random.default_rng(0).normal(size=len(y)) * np.nanstd(y)
    planted = subject.with_table(subject.table.assign(**{PLANTED: y + noise}))
    return foresight.check_foresight(planted, margin, [PLANTED]).verdict == "failed"


def _label(subject: Subject, margin: float) -> bool:
    judged = reach.check_labels(subject).numbers
    late = {target: subject.ahead(target, 1) for target in judged}
    return reach.check_labels(subject.with_table(subject.table.assign(**late))).verdict == "failed"


def _purge(subject: Subject, margin: float) -> bool | None:
    unpurged = {target: overlap.unpurged(subject, target) for target in subject.targets}
    purged = {target: subject.windows(target) for target in subject.targets}
    labelled = {target: np.isfinite(subject.values(target)) for target in subject.targets}
    if all((unpurged[name].train == (purged[name].train & labelled[name])).all() for name in unpurged):
        return None  # labels end within their own session
    return overlap.check_overlap(subject, unpurged).verdict == "failed"


def _test_rows(subject: Subject, margin: float) -> bool:
    windows = subject.windows(subject.targets[0])
    every_other = windows.test & (np.arange(len(windows.test)) % 2 == 0)
    mixed = replace(windows, train=windows.train | every_other)
    return contamination.check_contamination(subject, mixed).verdict == "failed"


def _seen_rows(subject: Subject, margin: float) -> bool | None:
    target = subject.targets[0]
    test = subject.windows(target).test & np.isfinite(subject.values(target))
    if test.sum() < null.FEWEST_ROWS:
        return None
    scores = null.shuffled_scores(subject, target, Windows(test, test, test), NULL_RUNS)
    return null.interval(scores)[0] > (0.5 if subject.is_binary(target) else 0.0)


def _code(subject: Subject, margin: float) -> bool:
    row = Feature(PLANTED, _next_return, (), 1, "return of the next bar")
    features = replace(subject.builder.features, features=(row,), timeframes={}, ranked=(), market=None, own=None)
    return PLANTED in truncation.check_truncation(replace(subject, refused=""), features).numbers["changed"]


def _next_return(bars: BarsView) -> np.ndarray:
    return -lagged(bars.log_return[::-1], 1)[::-1]


CANARIES = (
    Canary(truncation.NAME, "a feature that takes the next bar's return", _code),
    Canary(reach.NAME, "labels of one bar later under the same label_end", _label),
    Canary(overlap.NAME, "windows without the purge", _purge),
    Canary(contamination.NAME, "test rows among the training rows", _test_rows),
    Canary(foresight.NAME, "a column that is the label and as much noise", _feature),
    Canary(null.NAME, "a model that is trained on its test rows", _seen_rows),
)
