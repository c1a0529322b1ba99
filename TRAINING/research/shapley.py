"""Shapley values of any model's predictions, sampled by permutations of the features."""

from __future__ import annotations

import numpy as np
import pandas as pd

from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.input_checks import as_floats

PERMUTATIONS = 2  # each walked forth and back


def permutation_values(
    trainer: Trainer, X: pd.DataFrame, places: np.ndarray, training: pd.DataFrame, seed: int = 0
) -> np.ndarray:
    """Shapley values of predicted scores: what each feature adds to the prediction of the usual training row.

    A feature that is left out takes its median in training, in the row and in all rows before it that the model looks
    back at (Sundararajan and Najmi 2020, "The many Shapley values for model explanation": baseline Shapley). Values are
    means over random orders of the features, each also walked backwards (Mitchell et al. 2022, "Sampling Permutations
    for Shapley Value Estimation"); they sum exactly, whatever the orders. The package shap has the same, but takes ten
    seconds to compile in every process, and draws from the global random state.

    Parameters
    ----------
    trainer : Trainer
    X : DataFrame
        Rows of one symbol in time order, columns in training order.
    places : (n,) int
        Positions of the rows to explain, each with ``context_rows`` rows before it.
    training : DataFrame
        The training rows.
    seed : int
        Of the orders, which are the same for every row.

    Returns
    -------
    ndarray
        (n, features + 1), the last column the prediction of the median row.
    """
    table = as_floats(X)
    usual = training.median().to_numpy(table.dtype)
    length, width = trainer.context_rows + 1, X.shape[1]
    symbol, random = X.index[0][0], np.random.default_rng(seed)
    orders = [random.permutation(width) for _ in range(PERMUTATIONS)]
    shares = np.zeros((len(places), width + 1))
    for number, place in enumerate(places):
        window = table[place + 1 - length : place + 1]
        for order in orders:
            walks = np.stack([order, order[::-1]])
            mixed = np.where(_present(walks)[:, None, :], window, usual).reshape(-1, width)
            # One window behind the other: the last row of each looks back at its own window and no further.
            times = pd.date_range("2000-01-01", periods=len(mixed), freq="min", tz="UTC")
            index = pd.MultiIndex.from_product([[symbol], times], names=["symbol", "timestamp"])
            score = trainer.predict_score(pd.DataFrame(mixed, index, X.columns))[length - 1 :: length]
            score = score.reshape(2, width + 1)
            np.add.at(shares[number], walks, np.diff(score) / (2 * PERMUTATIONS))
            shares[number, -1] = score[0, 0]
    return shares


def _present(walks: np.ndarray) -> np.ndarray:
    """(walks * (features + 1), features) which features are there on each walk, from none to all of them."""
    count, width = walks.shape
    present = np.zeros((count, width + 1, width), bool)
    steps = np.tri(width + 1, width, -1, bool)
    for walk, order in enumerate(walks):
        present[walk][:, order] = steps
    return present.reshape(-1, width)
