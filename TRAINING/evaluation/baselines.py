"""The baselines every table shows beside the models, fitted on the same training rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean

VOLATILITY_COLUMN = "vol_ratio"
BUY_AND_HOLD = "buy_and_hold"
# A prior that 60 standardised columns explain about 60 / RIDGE_PENALTY = 0.6 % of a label's variance. Leave-one-out
# chooses far weaker penalties, as neighbouring rows share most of their label, and loses to the mean out of sample.
RIDGE_PENALTY = 1e4
LOGISTIC_PENALTY = 0.2 * RIDGE_PENALTY  # a binary label weighs p (1 - p), about 0.2


class _Missing(Exception):
    """Raised by a baseline that cannot be fitted; its text is the reason."""


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Float64 training and test columns without missing values, standardised by the training rows."""

    train: np.ndarray
    y_train: np.ndarray
    test: np.ndarray
    columns: list[str]

    def only(self, column: str) -> _Inputs:
        if column not in self.columns:
            raise _Missing(f"no column {column} that varies in the training rows")
        position = [self.columns.index(column)]
        return _Inputs(self.train[:, position], self.y_train, self.test[:, position], [column])


def _constant(inputs: _Inputs) -> np.ndarray:
    return np.full(len(inputs.test), inputs.y_train.mean())


def _logistic(inputs: _Inputs, penalty: float = LOGISTIC_PENALTY) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    if inputs.y_train.min() == inputs.y_train.max():
        raise _Missing("the training rows have one class only")
    return LogisticRegression(C=1 / penalty, max_iter=1000).fit(*_checked(inputs)).predict_proba(inputs.test)[:, 1]


def _ridge(inputs: _Inputs) -> np.ndarray:
    from scipy.linalg.lapack import dposv

    # scikit-learn's takes ten times as long for a table of this size. The columns have a mean of 0, and the penalty
    # makes the matrix positive definite.
    X, y = _checked(inputs)
    penalised = X.T @ X + RIDGE_PENALTY * np.eye(X.shape[1])
    _, weights, _ = dposv(penalised, X.T @ (y - y.mean()))
    return y.mean() + inputs.test @ weights


def _linear(inputs: _Inputs) -> np.ndarray:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(*_checked(inputs)).predict(inputs.test)


def _checked(inputs: _Inputs) -> tuple[np.ndarray, np.ndarray]:
    if not inputs.columns:
        raise _Missing("no column varies in the training rows")
    return inputs.train, inputs.y_train


@dataclass(frozen=True)
class Baseline:
    """A row of the table; ``predict`` is None for the one that only trades."""

    name: str
    tasks: tuple[str, ...]
    predict: Callable[[_Inputs], np.ndarray] | None
    text: str


BASELINES: tuple[Baseline, ...] = (
    Baseline("base_rate", ("binary",), _constant, "the share of ones in the training rows, always"),
    Baseline("mean", ("regression",), _constant, "the mean of the training labels, always"),
    Baseline(
        "vol_ratio",
        ("binary",),
        lambda inputs: _logistic(inputs.only(VOLATILITY_COLUMN), penalty=1.0),
        "logistic regression on the ratio of short to long volatility alone",
    ),
    Baseline(
        "vol_ratio",
        ("regression",),
        lambda inputs: _linear(inputs.only(VOLATILITY_COLUMN)),
        "linear regression on the ratio of short to long volatility alone",
    ),
    Baseline("logistic", ("binary",), _logistic, "logistic regression on all features, heavy fixed L2 penalty"),
    Baseline("ridge", ("regression",), _ridge, "ridge regression on all features, heavy fixed L2 penalty"),
    Baseline(BUY_AND_HOLD, ("binary", "regression"), None, "always long: a signal of 1 at every bar"),
)
TASKS = ("binary", "regression")


def left_out(features: Collection[str]) -> str:
    """In a sentence, the baseline that features leave no column for; empty where they leave out none."""
    if VOLATILITY_COLUMN in features:
        return ""
    return (
        f"the baseline {VOLATILITY_COLUMN} is left out, as the features have no column {VOLATILITY_COLUMN}; labels of "
        "barriers are easily foretold by volatility alone"
    )


def baseline_predictions(
    task: str, X_train: pd.DataFrame, y_train: ArrayLike, X_test: pd.DataFrame
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Fit the task's baselines on the training rows and predict the test rows.

    Missing values become the training rows' median, columns are standardised by training rows, and those that are
    constant or wholly missing there are left out.

    Parameters
    ----------
    task : {"binary", "regression"}
    X_train : DataFrame (n_train, n_features)
        Numbers, NaN where missing; no infinity.
    y_train : (n_train,)
        Labels without NaN; 0 or 1 for ``binary``.
    X_test : DataFrame (n_test, n_features)
        The same columns in the same order.

    Returns
    -------
    predictions : dict of name -> (n_test,) float64
        Probabilities of class 1, or values.
    missing : dict of name -> str
        Why a baseline could not be fitted.

    Raises
    ------
    ConfigError
        If the task is unknown.
    DataError
        If there are no training rows, columns differ, a feature is infinite or a label is missing.
    """
    from sklearn import config_context

    if task not in TASKS:
        raise ConfigError(f"baselines: the task {task!r} is unknown{did_you_mean(task, TASKS)}")
    inputs = _prepare(X_train, np.asarray(y_train, dtype=np.float64), X_test)
    predictions, missing = {}, {}
    # The inputs are checked and the settings are ours, so scikit-learn need not check them for every symbol.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for baseline in BASELINES:
            if task in baseline.tasks and baseline.predict is not None:
                try:
                    predictions[baseline.name] = baseline.predict(inputs)
                except _Missing as reason:
                    missing[baseline.name] = str(reason)
    return predictions, missing


def _prepare(X_train: pd.DataFrame, y_train: np.ndarray, X_test: pd.DataFrame) -> _Inputs:
    if not X_train.columns.equals(X_test.columns):
        different = sorted(map(str, set(X_train.columns) ^ set(X_test.columns))) or "their order"
        raise DataError(f"baselines: training and test rows need the same columns; they differ in {different}")
    if not len(X_train) or len(X_train) != len(y_train):
        raise DataError(f"baselines: one label per training row is needed; got {len(y_train)} for {len(X_train)} rows")
    if not np.isfinite(y_train).all():
        raise DataError("baselines: training labels must be finite; leave out the rows without a label")
    train, test = X_train.to_numpy(dtype=np.float64), X_test.to_numpy(dtype=np.float64)
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        infinite = np.isinf(train).any(axis=0) | np.isinf(test).any(axis=0)
        if infinite.any():
            raise DataError(f"baselines: features must not be infinite; {X_train.columns[infinite][0]!r} is")
        train, test = _imputed(train, test)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    # Both tests: rounding gives some constant columns a deviation. A wholly missing column fails them too.
    varies = (train.min(axis=0) < train.max(axis=0)) & (deviation > 0)
    train, test = ((part[:, varies] - mean[varies]) / deviation[varies] for part in (train, test))
    return _Inputs(train, y_train, test, X_train.columns[varies].tolist())


def _imputed(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace NaN by the training median of its column; six times faster than ``np.nanmedian``, which also warns."""
    ordered = np.sort(train, axis=0)  # NaN last
    present = np.isfinite(train).sum(axis=0)
    column = np.arange(train.shape[1])
    median = (ordered[(present - 1) // 2, column] + ordered[present // 2, column]) / 2
    return np.where(np.isnan(train), median, train), np.where(np.isnan(test), median, test)
