"""How much each training row counts: less where labels overlap, less the older it is."""

from __future__ import annotations

import numpy as np


def average_uniqueness(row: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Average uniqueness of labels: the mean, over the bars of a label's path, of 1 / the labels whose path has it.

    Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 4. A path begins behind the label's own bar,
    since the first return that its label is made of ends there.

    Parameters
    ----------
    row, end : (n,) int
        Positions of each label's bar and of its path's last bar, among the bars of one symbol.

    Returns
    -------
    (n,) float64
        Within (0, 1]; 1 for a label that shares no bar, and for one without a path.
    """
    if not len(row):
        return np.ones(0)
    size = int(end.max()) + 2
    labels = np.cumsum(np.bincount(row + 1, minlength=size) - np.bincount(end + 1, minlength=size))
    share = np.cumsum(1.0 / np.maximum(labels, 1))
    length = end - row
    return np.where(length > 0, (share[end] - share[row]) / np.maximum(length, 1), 1.0)


def time_decay(age: np.ndarray, half_life: float) -> np.ndarray:
    """Weight 1 for rows of age 0, half of that after every ``half_life``; both in sessions."""
    return 0.5 ** (age / half_life)


def sample_weights(kind: str, row: np.ndarray, end: np.ndarray, age: np.ndarray, half_life: float) -> np.ndarray | None:
    """Weights of one symbol's training rows.

    Parameters
    ----------
    kind : {"none", "uniqueness", "decay", "both"}
        ``both`` is the product.
    row, end : (n,) int
        As for `average_uniqueness`; of the training rows alone, so that no later label has a part in them.
    age : (n,) int
        Sessions from each row's to the newest of these rows.
    half_life : float
        In sessions.

    Returns
    -------
    (n,) float64 of mean 1, or None for ``none``
    """
    if kind == "none" or not len(row):
        return None
    weight = np.ones(len(row))
    if kind in ("uniqueness", "both"):
        weight *= average_uniqueness(row, end)
    if kind in ("decay", "both"):
        weight *= time_decay(age, half_life)
    return weight / weight.mean()
