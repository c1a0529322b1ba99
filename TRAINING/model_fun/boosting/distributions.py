"""Predicted distributions: their parameters by the names of `scipy.stats`, and how they are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Parameters = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Distribution:
    """A kind of distribution.

    Attributes
    ----------
    scipy_name : str
        Of `scipy.stats`.
    mean : callable
        (n,) of the parameters; the median where there is no mean.
    crps : callable
        (n,) of labels and parameters, see the functions below.
    positive : bool
        Whether labels at or below 0 are impossible.
    """

    scipy_name: str
    mean: Callable[[Parameters], np.ndarray]
    crps: Callable[[np.ndarray, Parameters], np.ndarray]
    positive: bool = False

    def frozen(self, parameters: Parameters):
        """The distribution of every row, of `scipy.stats`."""
        import scipy.stats

        return getattr(scipy.stats, self.scipy_name)(**parameters)


def crps_normal(y: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Continuous ranked probability score of normal forecasts (Gneiting et al. 2005, equation 5)."""
    from scipy.special import ndtr

    z = (y - parameters["loc"]) / parameters["scale"]
    return parameters["scale"] * (z * (2 * ndtr(z) - 1) + 2 * _density(z) - 1 / np.sqrt(np.pi))


def crps_lognormal(y: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Continuous ranked probability score of log-normal forecasts (Baran and Lerch 2015, equation 5)."""
    from scipy.special import ndtr

    s, scale = parameters["s"], parameters["scale"]
    z = np.log(y / scale, out=np.full(np.shape(y), -np.inf), where=np.asarray(y) > 0) / s
    tail = scale * np.exp(s * s / 2) * (ndtr(z - s) + ndtr(s / np.sqrt(2)) - 1)
    return y * (2 * ndtr(z) - 1) - 2 * tail


def crps_student_t(y: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Continuous ranked probability score of Student's t (Jordan, Krüger and Lerch 2019); infinite up to 1 degree."""
    from scipy.special import beta, stdtr
    from scipy.stats import t

    df, scale = parameters["df"], parameters["scale"]
    if (df <= 1).any():
        return np.full(np.shape(y), np.inf)
    z = (y - parameters["loc"]) / scale
    spread = 2 * np.sqrt(df) / (df - 1) * beta(0.5, df - 0.5) / beta(0.5, df / 2) ** 2
    return scale * (z * (2 * stdtr(df, z) - 1) + 2 * t.pdf(z, df) * (df + z * z) / (df - 1) - spread)


def crps_bernoulli(y: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Continuous ranked probability score of two classes, which is the squared error (Brier)."""
    return (parameters["p"] - y) ** 2


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


DISTRIBUTIONS = {
    "normal": Distribution("norm", lambda parameters: parameters["loc"], crps_normal),
    "lognormal": Distribution(
        "lognorm", lambda parameters: parameters["scale"] * np.exp(parameters["s"] ** 2 / 2), crps_lognormal, True
    ),
    "studentt": Distribution("t", lambda parameters: parameters["loc"], crps_student_t),
    "bernoulli": Distribution("bernoulli", lambda parameters: parameters["p"], crps_bernoulli),
}


def score_distribution(kind: Distribution, y: np.ndarray, parameters: Parameters) -> dict[str, float]:
    """Mean scores of continuous forecasts; those that are infinite are left out.

    Parameters
    ----------
    kind : Distribution
    y : (n,)
        Labels, none missing.
    parameters : mapping of str to (n,)

    Returns
    -------
    dict
        ``crps``: continuous ranked probability score, in the target's units. ``log_score``: minus the log of the
        density at the label. ``coverage_90``: share of labels within the central interval of 90 %. ``pit_ks``: largest
        distance of the distribution of the probabilities below the labels from the uniform one, 0 to 1.
    """
    from scipy.stats import kstest

    frozen = kind.frozen(parameters)
    low, high = frozen.interval(0.9)
    scores = {
        "crps": np.mean(kind.crps(y, parameters)),
        "log_score": -np.mean(frozen.logpdf(y)),
        "coverage_90": np.mean((low <= y) & (y <= high)),
        "pit_ks": kstest(frozen.cdf(y), "uniform", method="asymp").statistic,
    }
    return {name: float(score) for name, score in scores.items() if np.isfinite(score)}
