"""Columns that foretell too well: a feature that alone beats what past returns and volatility say has seen the future.

Nothing is fitted, so every row is out of sample. Each column is tried as it is, as its change since the bar before and,
where it is a price level, relative to the close: the next close as a level says little, relative to this close all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import target_columns
from TRAINING.research.association import Association, Outcome, centred_ranks
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME = "foresight"
HORIZONS = (1, 5, 20, 60)  # bars ahead of the returns that are tried beside the table's own targets
LEVEL = 0.5  # rank correlation with the close above which a column may be a price
SHOWN = 5
AS_IS = "as it is"


@dataclass(frozen=True, eq=False)
class _Yardstick:
    """An outcome, and the strength with which the best of the references foretells it."""

    outcome: Outcome
    usual: float
    reference: str

    def score(self, strength: float) -> float:
        """A strength as AUC or rank IC."""
        return 0.5 + strength / 2 if self.outcome.binary else strength


@dataclass(frozen=True, eq=False)
class _Finding:
    """What a column, in some form, says of an outcome."""

    column: str
    form: str
    ranks: np.ndarray
    yardstick: _Yardstick
    association: Association

    @property
    def excess(self) -> float:
        """How far its whole interval is above what the references say."""
        return self.association.least - self.yardstick.usual


def check_foresight(subject: Subject, margin: float, columns: list[str] | None = None) -> Check:
    """Name the feature columns that foretell a label, or the bars ahead, too well.

    Parameters
    ----------
    subject : Subject
    margin : float
        A column fails whose strength (rank correlation, or 2 AUC - 1 of a binary target) is above that of the best of
        some past returns and volatilities by more than this, with its whole interval; a warning from half of it on.
    columns : list of str, optional
        Only these; all features by default.
    """
    columns = subject.features if columns is None else columns
    if not columns:
        return Check(NAME, "not applicable", "the table has no feature")
    references = [(name, centred_ranks(values)) for name, values in _references(subject)]
    yardsticks = [_measured(outcome, references) for outcome in _outcomes(subject)]
    yardsticks = [yardstick for yardstick in yardsticks if np.isfinite(yardstick.usual)]
    if not yardsticks:
        few = f"{len(subject.sessions)} sessions are too few to tell luck from foresight"
        return Check(NAME, "not applicable", few)
    close = centred_ranks(subject.values("close"))
    findings = [_strongest(subject, column, close, yardsticks) for column in columns]
    findings = sorted(filter(None, findings), key=lambda finding: -finding.excess)
    failed = [finding for finding in findings if finding.excess > margin]
    named = failed or [finding for finding in findings if finding.excess > margin / 2]
    numbers = {
        "columns": len(columns),
        "named": [finding.column for finding in named],
        "strongest": [_numbers(finding) for finding in findings[: max(len(named), SHOWN)]],
        "usual": {one.outcome.name: {"score": one.score(one.usual), "of": one.reference} for one in yardsticks},
    }
    if named:
        more = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        told = "; ".join(map(_told, named[:SHOWN])) + more
        return Check(NAME, "failed" if failed else "warned", told, numbers)
    if not findings:
        return Check(NAME, "not applicable", f"none of {len(columns)} columns has values to judge", numbers)
    return Check(NAME, "passed", f"of {len(columns)} columns the strongest: {_told(findings[0])}", numbers)


def usual_strength(subject: Subject, target: str) -> float:
    """The strength with which the best of some past returns and volatilities foretells a target; NaN if undefined."""
    references = [(name, centred_ranks(values)) for name, values in _references(subject)]
    return _measured(_target(subject, target), references).usual


def _target(subject: Subject, target: str) -> Outcome:
    horizon = subject.horizon(target)
    return Outcome.of(target, subject.values(target), subject.session, horizon, subject.is_binary(target))


def _outcomes(subject: Subject) -> Iterator[Outcome]:
    """The table's targets, and what the bars ahead say."""
    for target in target_columns(subject.table.columns):
        yield _target(subject, target)
    sessions_per_bar = len(np.unique(subject.session)) / max(1, _bars_of_longest(subject))
    with np.errstate(all="ignore"):
        close = subject.values("close")
        for bars in HORIZONS:
            change = np.log(subject.ahead("close", bars) / close)
            horizon = int(np.ceil(bars * sessions_per_bar))
            name = "the next bar" if bars == 1 else f"the next {bars} bars"
            yield Outcome.of(f"the return of {name}", change, subject.session, horizon)
            yield Outcome.of(f"the size of the return of {name}", np.abs(change), subject.session, horizon)
        for column in ("open", "high", "low", "volume"):
            if column in subject.table:
                base = subject.values(column) if column == "volume" else close
                change = np.log(subject.ahead(column, 1) / base)
                yield Outcome.of(f"the next {column}", change, subject.session, 1)


def _bars_of_longest(subject: Subject) -> int:
    return max(rows.stop - rows.start for rows in subject.rows_of_symbols())


def _references(subject: Subject) -> Iterator[tuple[str, np.ndarray]]:
    """What everybody knows at the close of a bar: past returns, volatilities, the volume's change."""
    with np.errstate(all="ignore"):
        close = subject.values("close")
        returns = np.log(close / subject.ahead("close", -1))
        for bars in (1, 5, 20):
            yield f"the return of the last {bars} bars", np.log(close / subject.ahead("close", -bars))
        yield "the size of the last return", np.abs(returns)
        rolling = pd.Series(returns).groupby(subject.codes)
        deviation = {bars: rolling.rolling(bars).std().to_numpy() for bars in (5, 20, 60)}
        for bars, values in deviation.items():
            yield f"the volatility of {bars} bars", values
        yield "the ratio of volatilities of 5 and 60 bars", deviation[5] / deviation[60]
        if "volume" in subject.table:
            volume = subject.values("volume")
            usual = pd.Series(volume).groupby(subject.codes).rolling(20).mean().to_numpy()
            yield "the change of the volume", np.log(volume / subject.ahead("volume", -1))
            yield "the volume over its mean", volume / usual


def _measured(outcome: Outcome, references: list[tuple[str, np.ndarray]]) -> _Yardstick:
    """The outcome with the reference that says most of it; NaN where nothing can be said."""
    sizes = {name: abs(outcome.foretold_by(ranks).strength) for name, ranks in references}
    known = {name: size for name, size in sizes.items() if np.isfinite(size)}
    reference = max(known, key=known.get, default="")
    return _Yardstick(outcome, known.get(reference, np.nan), reference)


def _forms(subject: Subject, column: str, close: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    ranks = centred_ranks(subject.values(column))
    yield AS_IS, ranks
    with np.errstate(all="ignore"):
        yield "as its change", centred_ranks(subject.values(column) - subject.ahead(column, -1))
        known = np.isfinite(ranks)
        together = np.corrcoef(ranks[known], close[known])[0, 1] if known.any() else np.nan
        if together > LEVEL:
            yield "relative to the close", centred_ranks(subject.values(column) / subject.values("close"))


def _strongest(subject: Subject, column: str, close: np.ndarray, yardsticks: list[_Yardstick]) -> _Finding | None:
    findings = [
        _Finding(column, form, ranks, yardstick, yardstick.outcome.foretold_by(ranks))
        for form, ranks in _forms(subject, column, close)
        for yardstick in yardsticks
    ]
    known = [finding for finding in findings if np.isfinite(finding.excess)]
    return max(known, key=lambda finding: finding.excess, default=None)


def _told(finding: _Finding) -> str:
    told = _numbers(finding)
    form = "" if told["form"] == AS_IS else f"{told['form']}: "
    metric = "AUC" if finding.yardstick.outcome.binary else "rank IC"
    return (
        f"{finding.column} ({form}{metric} {told['score']:.2f}, {told['low']:.2f} to {told['high']:.2f}) foretells "
        f"{told['foretells']}; chance gives up to {told['chance']:.2f}, past returns and volatility {told['usual']:.2f}"
    )


def _numbers(finding: _Finding) -> dict:
    yardstick, found = finding.yardstick, finding.association
    low, high = found.interval
    return {
        "column": finding.column,
        "form": finding.form,
        "foretells": yardstick.outcome.name,
        "metric": "auc" if yardstick.outcome.binary else "rank_ic",
        "score": yardstick.score(found.strength),
        "low": yardstick.score(low),
        "high": yardstick.score(high),
        "chance": yardstick.score(yardstick.outcome.chance(finding.ranks)),
        "usual": yardstick.score(yardstick.usual),
        "rows": found.rows,
    }
