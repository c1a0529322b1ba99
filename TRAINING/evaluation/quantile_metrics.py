"""Scores of predicted quantiles: pinball loss and CRPS. Those of intervals are in `TRAINING.conformal`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.metrics import Metric, Scores, collect


def pinball_loss(y: ArrayLike, quantiles: ArrayLike, alphas: ArrayLike) -> np.ndarray:
    """Loss of each predicted quantile: ``alpha`` times how far the label is above it, ``1 - alpha`` times below.

    Parameters
    ----------
    y : (n,)
    quantiles : (n, k)
    alphas : (k,)
        Their levels, within (0, 1).

    Returns
    -------
    (n, k) float64
        NaN where the label or the quantile is.
    """
    above = np.asarray(y, dtype=np.float64)[:, np.newaxis] - np.asarray(quantiles, dtype=np.float64)
    alphas = np.asarray(alphas, dtype=np.float64)
    return np.maximum(alphas * above, (alphas - 1) * above)


def _crps(y: np.ndarray, quantiles: np.ndarray, alphas: np.ndarray) -> float:
    """Twice the integral of the pinball loss over the levels, each of which stands for those nearest to it.

    Equation 7 of Gneiting & Ranjan, "Comparing Density Forecasts Using Threshold- and Quantile-Weighted Scoring Rules",
    *Journal of Business & Economic Statistics* 29, 2011.
    """
    borders = np.concatenate([[0.0], (alphas[1:] + alphas[:-1]) / 2, [1.0]])
    return 2 * (pinball_loss(y, quantiles, alphas).mean(axis=0) @ np.diff(borders))


QUANTILE_METRICS: tuple[Metric, ...] = (
    Metric("pinball", lambda *row: pinball_loss(*row).mean(), False, "mean pinball loss of the quantiles"),
    Metric("crps", _crps, False, "continuous ranked probability score, from the quantiles"),
)


def score_quantiles(y: ArrayLike, quantiles: ArrayLike, alphas: ArrayLike) -> Scores:
    """Score predicted quantiles against labels.

    Parameters
    ----------
    y : (n,)
        Labels; rows with NaN are left out and counted.
    quantiles : (n, k)
        A quantile missing on a labelled row makes every metric undefined.
    alphas : (k,)
        Levels, rising within (0, 1).

    Raises
    ------
    ConfigError
        If the levels do not rise or are outside (0, 1).
    DataError
        If shapes differ, or a row's quantiles fall.
    """
    y, quantiles, alphas = (np.asarray(values, dtype=np.float64) for values in (y, quantiles, alphas))
    if alphas.ndim != 1 or not len(alphas) or not (np.diff(alphas, prepend=0, append=1) > 0).all():
        raise ConfigError(f"metrics: the levels of quantiles must rise within (0, 1); got {alphas.tolist()}")
    if y.ndim != 1 or quantiles.shape != (len(y), len(alphas)):
        raise DataError(
            "metrics: one quantile per label and level is needed; "
            f"got {quantiles.shape} for {y.shape} and {alphas.shape}"
        )
    if falling := int((np.diff(quantiles, axis=1) < 0).any(axis=1).sum()):
        raise DataError(
            f"metrics: quantiles must rise with their level; they fall in {falling} of {len(y)} rows; sort them"
        )
    labelled = ~np.isnan(y)
    y, quantiles = y[labelled], quantiles[labelled]
    missing = int((~np.isfinite(quantiles)).any(axis=1).sum())
    reason = "no row has a label" if not len(y) else None
    if missing:
        reason = f"{missing} of {len(y)} rows lack a finite quantile"
    return collect(QUANTILE_METRICS, (y, quantiles, alphas), reason, len(y), len(labelled) - len(y))
