"""How well one column alone foretells another, with an error that knows that neighbouring sessions are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.999  # of an interval: hundreds of columns are looked at, and none should stand out by luck
FEWEST_BLOCKS = 16  # with fewer the error is too uncertain for so wide an interval


@dataclass(frozen=True)
class Association:
    """A strength within [-1, 1]: rank correlation, or 2 AUC - 1 with a binary outcome; 0 is chance.

    Attributes
    ----------
    strength : float
        NaN where undefined.
    error : float
        Half the width of its interval.
    rows : int
    """

    strength: float
    error: float
    rows: int

    @property
    def least(self) -> float:
        """The end of the interval of its size that is nearer to 0, at least 0; NaN where undefined."""
        return float(np.fmax(abs(self.strength) - self.error, 0.0) if np.isfinite(self.strength) else np.nan)

    @property
    def interval(self) -> tuple[float, float]:
        """What the strength may be but for luck, within [-1, 1]."""
        return max(self.strength - self.error, -1.0), min(self.strength + self.error, 1.0)


UNDEFINED = Association(np.nan, np.nan, 0)


def centred_ranks(values: ArrayLike) -> np.ndarray:
    """Ranks spread evenly over (-0.5, 0.5), equal values sharing one; NaN stays NaN."""
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    ranks = np.full(len(values), np.nan)
    ranks[known] = (rankdata(values[known]) - 0.5) / max(known.sum(), 1) - 0.5
    return ranks


@dataclass(frozen=True, eq=False)
class Outcome:
    """What columns may foretell.

    Attributes
    ----------
    name : str
    centred : (n,) float64
        Centred ranks, or a binary outcome less its mean; NaN where missing.
    binary : bool
    block : (n,) int
        The block of sessions that each row lies in: as long as the outcome looks ahead, or longer.
    """

    name: str
    centred: np.ndarray
    binary: bool
    block: np.ndarray

    @classmethod
    def of(cls, name: str, values: np.ndarray, session: np.ndarray, horizon: int, binary: bool = False) -> Outcome:
        """Cut ``session``, (n,) positions among the panel's sessions, into blocks of at least ``horizon`` sessions."""
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values)
        centred = values - values[known].mean() if binary and known.any() else centred_ranks(values)
        length = max(horizon, ceil(np.unique(session).size ** (1 / 3)))
        return cls(name, centred, binary, session // length)

    def foretold_by(self, ranks: np.ndarray) -> Association:
        """How well centred ranks foretell this outcome.

        The error is that of a sum over blocks of sessions, by the delta method; of fewer than ``FEWEST_BLOCKS`` blocks
        nothing is said.
        """
        known = np.isfinite(ranks) & np.isfinite(self.centred)
        x, y, block = ranks[known], self.centred[known], self.block[known]
        blocks = np.count_nonzero(np.bincount(block)) if len(x) else 0
        if blocks < FEWEST_BLOCKS or x.min() == x.max() or y.min() == y.max():
            return UNDEFINED
        # Each row's share of the estimate, and of what a block adds to its error: the estimate's derivative.
        if self.binary:
            ones = y > 0
            means = x[~ones].mean(), x[ones].mean()
            strength = 2 * (means[1] - means[0])  # of ranks over (-0.5, 0.5)
            influence = 2 * np.where(ones, (x - means[1]) / ones.mean(), (means[0] - x) / (1 - ones.mean()))
        else:
            x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
            product = x * y
            strength = product.mean()
            influence = product - strength * (x * x + y * y) / 2
        sums = np.bincount(block, influence)
        error = np.sqrt((sums * sums).sum() * blocks / (blocks - 1)) / len(x)
        return Association(float(strength), float(error) * _student(blocks - 1), len(x))

    def chance(self, ranks: np.ndarray) -> float:
        """How strong luck alone may be: the error where the outcomes are those of other times."""
        moved = replace(self, centred=np.roll(self.centred, len(self.centred) // 2))
        return moved.foretold_by(ranks).error


@cache
def _student(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
