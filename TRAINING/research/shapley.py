"""Shapley values of any model's predictions, by shap's sampling of permutations."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from TRAINING.model_fun.base import Trainer

PERMUTATIONS = 2  # each walked forth and back


def permutation_values(
    trainer: Trainer, X: pd.DataFrame, places: np.ndarray, training: pd.DataFrame, seed: int = 0
) -> np.ndarray:
    """Shapley values of predicted scores: what each feature adds to the prediction of the usual training row.

    A feature that is left out takes its median in training, in the row and in all rows before it that the model looks
    back at (Sundararajan and Najmi 2020, "The many Shapley values for model explanation": baseline Shapley). Values are
    means over random orders of the features, each also walked backwards; they sum exactly, whatever the orders.

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
        Of the orders.

    Returns
    -------
    ndarray
        (n, features + 1), the last column the prediction of the median row.

    Raises
    ------
    ConfigError
        shap is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of matplotlib, for the colours of its plots
            from shap import maskers
            from shap.explainers import Permutation
    except ImportError as error:
        raise ConfigError(
            f"{trainer.name}: explaining any model but boosted trees needs shap; pip install 'barzoo[explain]'"
        ) from error
    usual = training.median().to_numpy(X.to_numpy().dtype)
    length, width = trainer.context_rows + 1, X.shape[1]
    table, symbol = X.to_numpy(), X.index[0][0]
    masker = maskers.Independent(np.zeros((1, width)), max_samples=1)
    shares = np.empty((len(places), width + 1))
    for number, place in enumerate(places):
        window = table[place + 1 - length : place + 1]

        def score(present: np.ndarray, window: np.ndarray = window) -> np.ndarray:
            mixed = np.where(present[:, None, :] > 0, window, usual).reshape(-1, width)
            # One window behind the other: the last row of each looks back at its own window and no further.
            times = pd.date_range("2000-01-01", periods=len(mixed), freq="min", tz="UTC")
            index = pd.MultiIndex.from_product([[symbol], times], names=["symbol", "timestamp"])
            return trainer.predict_score(pd.DataFrame(mixed, index, X.columns))[length - 1 :: length]

        explainer = Permutation(score, masker, seed=seed)
        found = explainer(np.ones((1, width)), max_evals=PERMUTATIONS * (2 * width + 1), silent=True)
        shares[number, :-1], shares[number, -1] = found.values[0], found.base_values[0]
    return shares
