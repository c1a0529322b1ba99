"""Calibration of any classifier: a monotone map from its probabilities to the shares that were observed.

The map must be learnt from predictions of rows that the classifier was not fitted on, before the rows it is used for.
A sigmoid has two parameters and suits few rows; isotonic regression takes any monotone shape and wants about a
thousand (Niculescu-Mizil & Caruana, "Predicting Good Probabilities with Supervised Learning", *ICML* 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, IntegrityError, did_you_mean
from DATA_PROCESSING.dataset import Dataset
from DATA_PROCESSING.sessions import without_zone
from TRAINING.evaluation.metrics import Metric, Scores, collect
from TRAINING.evaluation.splits import purged_tail
from TRAINING.model_fun.base import Trainer

# ---- the maps -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A row of the table: ``fit(probability, y)`` gives parameters, ``apply(parameters, probability)`` the map."""

    name: str
    fit: Callable[[np.ndarray, np.ndarray], dict[str, list[float]]]
    apply: Callable[[dict[str, list[float]], np.ndarray], np.ndarray]
    parameters: tuple[str, str]
    text: str


def _fit_isotonic(probability: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1).fit(probability, y)
    return {"probability": fitted.X_thresholds_.tolist(), "share": fitted.y_thresholds_.tolist()}


def _apply_isotonic(parameters: dict[str, list[float]], probability: np.ndarray) -> np.ndarray:
    return np.interp(probability, parameters["probability"], parameters["share"])


def _fit_sigmoid(probability: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Logistic regression on the log-odds, with Platt's targets, which keep the slope finite on separable rows.

    A negative slope would turn the classifier's order around; the best slope that does not is 0.
    """
    from sklearn.linear_model import LogisticRegression

    ones = y.sum()
    one, zero = (ones + 1) / (ones + 2), 1 / (len(y) - ones + 2)  # Platt, "Probabilistic Outputs for SVMs", 1999
    target = np.where(y == 1, one, zero)
    odds = _log_odds(probability)
    slope, intercept = 0.0, float(_log_odds(target.mean()))
    if odds.min() < odds.max():
        # Each row stands twice, once for each class with the weight of its target.
        rows, classes = np.concatenate([odds, odds])[:, None], np.repeat([1, 0], len(y))
        weights = np.concatenate([target, 1 - target])
        fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(rows, classes, weights)
        if fitted.coef_[0, 0] > 0:
            slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return {"slope": [slope], "intercept": [intercept]}


def _apply_sigmoid(parameters: dict[str, list[float]], probability: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(parameters["slope"][0] * _log_odds(probability) + parameters["intercept"][0])


def _log_odds(probability: np.ndarray) -> np.ndarray:
    from scipy.special import logit

    edge = float(np.finfo(np.float32).eps)  # a certain prediction is as sure as single precision can say
    return logit(np.clip(probability, edge, 1 - edge))


METHODS: tuple[Method, ...] = (
    Method("sigmoid", _fit_sigmoid, _apply_sigmoid, ("slope", "intercept"), "a line in the log-odds (Platt)"),
    Method("isotonic", _fit_isotonic, _apply_isotonic, ("probability", "share"), "any monotone curve"),
)


@dataclass(frozen=True)
class Calibration:
    """A fitted map; its fields are plain text and numbers, so that it is saved as JSON."""

    method: str
    parameters: dict[str, list[float]]

    def apply(self, probability: ArrayLike) -> np.ndarray:
        """(n,) calibrated probabilities within [0, 1], in the order of those given; NaN stays NaN."""
        return _method(self.method).apply(self.parameters, np.asarray(probability, dtype=np.float64))

    def to_dict(self) -> dict:
        """What :meth:`from_dict` takes back, bit for bit also through ``json``."""
        return {"method": self.method, "parameters": self.parameters}

    @classmethod
    def from_dict(cls, saved: dict, where: str) -> Calibration:
        """Take back a saved map; one that is not monotone within [0, 1] is an IntegrityError that names ``where``."""
        try:
            method = _method(saved["method"])
            parameters = {name: [float(value) for value in saved["parameters"][name]] for name in method.parameters}
            if method.name == "sigmoid":
                (slope,), (intercept,) = parameters.values()
                sound = slope >= 0 and np.isfinite([slope, intercept]).all()
            else:
                bends, shares = map(np.array, parameters.values())
                sound = 0 < len(bends) == len(shares) and (np.diff(bends) > 0).all() and (np.diff(shares) >= 0).all()
                sound = sound and np.isfinite(bends).all() and 0 <= shares[0] <= shares[-1] <= 1
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise IntegrityError(f"{where}: holds no calibration, or one that is not monotone within [0, 1]")
        return cls(method.name, parameters)


def fit_calibration(y: ArrayLike, probability: ArrayLike, method: str = "sigmoid") -> Calibration:
    """Learn the map from probabilities that were predicted out of fold.

    Parameters
    ----------
    y : (n,)
        0 or 1; NaN without label.
    probability : (n,)
        Of class 1, from models that were fitted on none of these rows nor later ones, such as those of
        :func:`TRAINING.model_fun.out_of_fold.predict_out_of_fold`; NaN where there is none. Rows that lack either are
        left out.
    method : {"sigmoid", "isotonic"}

    Raises
    ------
    ConfigError
        If the method is unknown.
    DataError
        If lengths differ, values are not labels and probabilities, or the rows have one class only.
    """
    chosen = _method(method)
    y, probability = _checked(y, probability)
    known = ~(np.isnan(y) | np.isnan(probability))
    y, probability = y[known], probability[known]
    if not 0 < y.sum() < len(y):
        classes = f"only class {y[0]:g}" if len(y) else "none"
        raise DataError(f"calibration: rows of both classes are needed; {len(y)} rows have {classes}; give more rows")
    return Calibration(chosen.name, chosen.fit(probability, y))


# ---- classifiers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CalibratedClassifier:
    """A trained classifier whose probabilities pass through a map."""

    model: Trainer
    calibration: Calibration

    def predict_score(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) calibrated probability of class 1."""
        return self.calibration.apply(self.model.predict_proba(X)[:, 1])

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """(n, 2) calibrated probabilities of the classes 0 and 1."""
        score = self.predict_score(X)
        return np.column_stack([1 - score, score])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) classes, 1 where its calibrated probability is above 0.5."""
        return (self.predict_score(X) > 0.5).astype(np.int64)


def train_calibrated(
    train: Callable[[Dataset], Trainer], data: Dataset, method: str = "sigmoid", *, fraction: float = 0.2
) -> CalibratedClassifier:
    """Train on the head of the rows and learn the map on their later tail.

    Parameters
    ----------
    train : callable
        Trains a classifier on the rows it is given, such as ``lambda data: strategy.train(data.X, data.y,
        rows=data.rows)``.
    data : Dataset
        Training rows; those without a label are left out.
    method : {"sigmoid", "isotonic"}
    fraction : float in (0, 1)
        Share of the sessions that makes the tail. Rows whose label is known only within the tail are purged.

    Raises
    ------
    ConfigError, DataError
        As :func:`fit_calibration`.
    """
    data = data.take(data.y.notna().to_numpy())
    head, tail = (data.take(rows) for rows in purged_tail(data.sessions, data.label_sessions, fraction))
    model = train(head)
    return CalibratedClassifier(model, fit_calibration(tail.y, model.predict_proba(tail.X)[:, 1], method))


def fold_calibrations(
    rows: pd.DataFrame, method: str = "sigmoid", fewest: int = 2
) -> tuple[dict[tuple[str, int], Calibration], dict[tuple[str, int], str]]:
    """Learn a map for each fold of a walk-forward from the predictions whose labels were known before it began.

    Parameters
    ----------
    rows : DataFrame
        Predictions out of sample: ``model``, ``fold``, ``timestamp``, ``label_end``, ``y``, ``prediction``
        (probabilities), in any order. All symbols of a model share the map.
    method : {"sigmoid", "isotonic"}
    fewest : int
        Labelled predictions that a map needs.

    Returns
    -------
    maps : dict of (model, fold) -> Calibration
    reasons : dict of (model, fold) -> str
        Why a fold has none, such as the first.
    """
    _method(method)
    label_end, timestamp = without_zone(rows["label_end"]), without_zone(rows["timestamp"])
    y, probability = _checked(rows["y"], rows["prediction"])
    maps, reasons = {}, {}
    for model, own in rows.groupby("model", observed=True).indices.items():
        begins = pd.Series(timestamp[own]).groupby(rows["fold"].to_numpy()[own]).min()
        for fold, begin in begins.items():
            # A comparison with NaT is false, which leaves out rows whose label is never known.
            known = own[(label_end[own] < begin.to_datetime64()) & ~np.isnan(y[own] + probability[own])]
            if len(known) < fewest:
                reasons[str(model), int(fold)] = f"{len(known)} labels were known before it; {fewest} are needed"
                continue
            try:
                maps[str(model), int(fold)] = fit_calibration(y[known], probability[known], method)
            except DataError as error:
                reasons[str(model), int(fold)] = str(error)
    return maps, reasons


def calibrate_folds(rows: pd.DataFrame, method: str = "sigmoid") -> tuple[pd.Series, dict[tuple[str, int], str]]:
    """Calibrate the folds of a walk-forward, each by the predictions whose labels were known before it began.

    Parameters
    ----------
    rows, method
        As for :func:`fold_calibrations`.

    Returns
    -------
    calibrated : Series
        Index of ``rows``; NaN in the first fold and wherever no map can be learnt.
    reasons : dict of (model, fold) -> str
        Why a fold has none.
    """
    maps, reasons = fold_calibrations(rows, method)
    probability, calibrated = rows["prediction"].to_numpy(np.float64), np.full(len(rows), np.nan)
    for (model, fold), inside in rows.groupby(["model", "fold"], observed=True).indices.items():
        if (str(model), int(fold)) in maps:
            calibrated[inside] = maps[str(model), int(fold)].apply(probability[inside])
    return pd.Series(calibrated, index=rows.index, name="prediction"), reasons


# ---- scores ---------------------------------------------------------------------------------------------------------


def expected_calibration_error(y: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Mean distance of predicted and observed shares over bins of as many rows, weighted by their rows.

    (Naeini, Cooper & Hauskrecht, *AAAI* 2015; here the bins are quantiles of the probabilities, and equal
    ones share a bin.) It is above 0 for a perfect classifier too, the more so the fewer the rows.
    """
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1))
    place = np.searchsorted(edges[1:-1], probability)
    gaps = np.bincount(place, probability - y, minlength=bins)
    return np.abs(gaps).sum() / len(y)


def brier_parts(y: np.ndarray, probability: np.ndarray) -> tuple[float, float, float]:
    """Miscalibration, discrimination and uncertainty; the Brier score is the first less the second plus the third.

    Murphy's reliability, resolution and uncertainty, by isotonic regression instead of bins, so that the sum is exact
    for any probabilities (Dimitriadis, Gneiting & Jordan, "Stable reliability diagrams for probabilistic
    classifiers", *PNAS* 118, 2021): what a perfect monotone map would gain, what its result gains over the base rate,
    and the base rate's own score.
    """
    best = _apply_isotonic(_fit_isotonic(probability, y), probability)
    score, calibrated, constant = (((y - guess) ** 2).mean() for guess in (probability, best, y.mean()))
    return score - calibrated, constant - calibrated, constant


CALIBRATION_METRICS: tuple[Metric, ...] = (
    Metric(
        "expected_calibration_error", expected_calibration_error, False, "distance of predicted and observed shares"
    ),
    Metric("miscalibration", lambda y, p: brier_parts(y, p)[0], False, "Brier score that a monotone map would save"),
    Metric("discrimination", lambda y, p: brier_parts(y, p)[1], True, "Brier score saved against the base rate then"),
    Metric("uncertainty", lambda y, p: brier_parts(y, p)[2], False, "Brier score of the rows' own base rate"),
)


def score_calibration(y: ArrayLike, probability: ArrayLike) -> Scores:
    """Expected calibration error and the parts of the Brier score.

    Parameters
    ----------
    y : (n,)
        0 or 1; rows with NaN are left out and counted.
    probability : (n,)
        Of class 1. One that is missing on a labelled row makes every metric undefined.

    Raises
    ------
    DataError
        If lengths differ, or values are not labels and probabilities.
    """
    y, probability = _checked(y, probability)
    labelled = ~np.isnan(y)
    y, probability = y[labelled], probability[labelled]
    missing = int(np.isnan(probability).sum())
    if not len(y):
        reason = "no row has a label"
    elif missing:
        reason = f"{missing} of {len(y)} predictions are missing"
    else:
        reason = None
    return collect(CALIBRATION_METRICS, (y, probability), reason, len(y), len(labelled) - len(y))


def _checked(y: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y, probability = np.asarray(y, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if y.ndim != 1 or y.shape != probability.shape:
        raise DataError(f"calibration: one probability per label is needed; got {probability.shape} for {y.shape}")
    if not ((y == 0) | (y == 1) | np.isnan(y)).all():
        raise DataError("calibration: labels must be 0, 1 or missing; a regression has intervals instead")
    if not (((probability >= 0) & (probability <= 1)) | np.isnan(probability)).all():
        raise DataError("calibration: probabilities must be within [0, 1]; got others")
    return y, probability


def _method(name: str) -> Method:
    methods = {method.name: method for method in METHODS}
    if name not in methods:
        raise ConfigError(f"calibration: the method {name!r} is unknown{did_you_mean(name, methods)}")
    return methods[name]
