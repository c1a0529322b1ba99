"""Gates: a classifier's probability blocks or scales the position that another model asks for.

One model says the side, a second how far to trust it: *meta-labeling* (Lopez de Prado, *Advances in Financial Machine
Learning*, 2018, section 3.6), with the bet sized by the probability as in its section 10.3. The settings are the run
configuration ``gates``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.labels import label_of

RULES = ("block", "scale")
SIDES = ("long", "short", "both")
_REPORT = ["gate", "rule", "side", "rows", "blocked", "unknown", "share"]
_REPORT += ["exposure_kept", "return_blocked", "return_kept"]


@dataclass(frozen=True, eq=False)
class Gate:
    """One classifier's say over the positions of n rows.

    Parameters
    ----------
    name : str
        How the report calls it, for example the classifier's target.
    probability : (n,)
        Of class 1, known when the signal is. NaN (no prediction) lets no position through, as a missing prediction
        gives no signal.
    rule : str
        ``block``: the position is 0 where the probability is below the threshold, else as it was. ``scale``: it is
        multiplied by ``2 * Phi(z) - 1`` with ``z = (p - threshold) / sqrt(p * (1 - p))``, and 0 where that is negative;
        the threshold 1/2 gives the book's size for two outcomes, 1/K that for K.
    threshold : float or (n,)
        Within (0, 1): the probability that is worth nothing, mostly the class's share in the training rows.
    side : str
        ``long`` or ``short`` positions only, or ``both``, see `side_of`.
    """

    name: str
    probability: ArrayLike
    rule: Literal["block", "scale"] = "block"
    threshold: ArrayLike = 0.5
    side: Literal["long", "short", "both"] = "both"


def side_of(target: str) -> str:
    """The positions a classifier of the target speaks of: ``long`` for peaks, ``short`` for valleys, else ``both``."""
    label = label_of(target)
    return {"long_flat": "long", "short_flat": "short"}.get(label.money_rule if label else None, "both")


def apply_gates(signal: ArrayLike, gates: Sequence[Gate]) -> np.ndarray:
    """Pass signals through gates; their order does not matter.

    Parameters
    ----------
    signal : (n,)
        Finite, the sign is the side.
    gates : sequence of Gate

    Returns
    -------
    (n,) float64
        Never larger than the signal, never of the other side.

    Raises
    ------
    ConfigError
        An unknown rule or side, or a threshold that is not within (0, 1).
    DataError
        Lengths that differ, a signal that is not finite, or a probability that is not within [0, 1].
    """
    gated = _signal(signal)
    for gate in gates:
        gated = gated * _passed(gated, gate)
    return gated + 0.0  # no negative zeros


def gate_report(signal: ArrayLike, earned: ArrayLike, gates: Sequence[Gate]) -> pd.DataFrame:
    """What each gate alone did, and what all did together.

    Parameters
    ----------
    signal : (n,)
        Before the gates.
    earned : (n,)
        What a position of 1 on the row's signal earns, as a fraction; NaN where that is not known yet, which leaves the
        row out of the mean returns only.
    gates : sequence of Gate

    Returns
    -------
    DataFrame
        A row per gate, and a row ``all`` where there are several. ``rule``, ``side``; ``rows``: with a position of its
        side; ``blocked``: those that it set to 0; ``unknown``: those of them without a probability; ``share``: of the
        rows that were blocked; ``exposure_kept``: share of the position's size that is left; ``return_blocked`` and
        ``return_kept``: mean return per unit of position taken away, and of position left. A gate is worth its cost
        where the first is below the second. NaN: nothing was taken away, was left, or is known of it.
    """
    before, earned = _signal(signal), np.asarray(earned, dtype=np.float64)
    if earned.shape != before.shape:
        raise DataError(f"gates: one return per signal is needed, got {earned.shape} for {before.shape}")
    lines = [_line(gate.name, gate.rule, gate.side, before, earned, [gate]) for gate in gates]
    if len(gates) > 1:
        lines.append(_line("all", "", "both", before, earned, gates))
    return pd.DataFrame(lines, columns=_REPORT)


def _line(name: str, rule: str, side: str, before: np.ndarray, earned: np.ndarray, gates: Sequence[Gate]) -> tuple:
    after = apply_gates(before, gates)
    own = _of_side(before, side) & (before != 0)
    blocked = own & (after == 0)
    unknown = blocked & np.any([np.isnan(gate.probability) & _of_side(before, gate.side) for gate in gates], axis=0)
    size = np.abs(before[own])
    lost, kept = size - np.abs(after[own]), np.abs(after[own])
    outcome = np.sign(before[own]) * earned[own]
    share = blocked.sum() / own.sum() if own.any() else np.nan
    exposure = kept.sum() / size.sum() if own.any() else np.nan
    counts = (int(own.sum()), int(blocked.sum()), int(unknown.sum()))
    return name, rule, side, *counts, share, exposure, _mean(outcome, lost), _mean(outcome, kept)


def _mean(outcome: np.ndarray, weight: np.ndarray) -> float:
    known = ~np.isnan(outcome)
    total = weight[known].sum()
    return float(outcome[known] @ weight[known] / total) if total > 0 else np.nan


def _passed(signal: np.ndarray, gate: Gate) -> np.ndarray:
    """(n,) the share of each signal that a gate lets through, within [0, 1]."""
    from scipy.special import ndtr

    for word, value, choices in (("rule", gate.rule, RULES), ("side", gate.side, SIDES)):
        if value not in choices:
            raise ConfigError(f"gate {gate.name}: {word} {value!r} is unknown{did_you_mean(value, choices)}")
    p, threshold = np.asarray(gate.probability, float), np.asarray(gate.threshold, float)
    if p.shape != signal.shape or threshold.shape not in ((), signal.shape):
        raise DataError(
            f"gate {gate.name}: one probability per signal is needed, and one threshold, or one for all; got {p.shape} "
            f"and {threshold.shape} for {signal.shape}"
        )
    if not ((threshold > 0) & (threshold < 1)).all():
        raise ConfigError(f"gate {gate.name}: threshold must be within (0, 1), got {threshold.min():g}")
    outside = (p < 0) | (p > 1)
    if outside.any():
        raise DataError(
            f"gate {gate.name}: probabilities must be within [0, 1]; {outside.sum()} of {p.size} are not, the first "
            f"{p[outside][0]:g} in row {int(outside.argmax())}"
        )
    if gate.rule == "block":
        share = (p >= threshold).astype(float)
    else:
        with np.errstate(divide="ignore"):
            z = (p - threshold) / np.sqrt(p * (1 - p))
        share = np.nan_to_num(np.clip(2 * ndtr(z) - 1, 0, 1), nan=0.0)
    return np.where(_of_side(signal, gate.side), share, 1.0)


def _of_side(signal: np.ndarray, side: str) -> np.ndarray:
    return {"long": signal > 0, "short": signal < 0, "both": np.ones(signal.shape, dtype=bool)}[side]


def _signal(signal: ArrayLike) -> np.ndarray:
    values = np.asarray(signal, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("gates: signals must be finite; give 0 where there is no position")
    return values
