"""scikit-learn estimators of natural gradient boosting: a regressor of distributions, and a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from TRAINING.model_fun.boosting.distributions import DISTRIBUTIONS
from TRAINING.model_fun.boosting.histogram_trees import Forest, Quantiser
from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator

_TOLERANCE = 1e-4  # mean step, in standard deviations of the target, below which boosting ends; the library's


@dataclass(frozen=True, eq=False)
class Forecaster:
    """What predicting needs: medians for missing values, the trees, and the target's scale.

    Attributes
    ----------
    distribution : str
        Row of `TRAINING.model_fun.boosting.distributions.DISTRIBUTIONS`.
    degrees_of_freedom : float
        Of ``studentt``.
    centre, spread : float
        What the target (its log, of ``lognormal``) was standardised with.
    medians : (features,) float64
    importances : (parameters, features) float64
        Of any sum.
    forest : Forest
    """

    distribution: str
    degrees_of_freedom: float
    centre: float
    spread: float
    medians: np.ndarray
    importances: np.ndarray
    forest: Forest

    def parameters(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Parameter of `scipy.stats` -> (n,), of rows (n, features)."""
        from scipy.special import expit

        rows = np.asarray(rows, dtype=np.float64)
        raw = self.forest.answer(np.where(np.isnan(rows), self.medians, rows))
        if self.distribution == "bernoulli":
            return {"p": expit(raw[0])}
        loc, scale = self.centre + self.spread * raw[0], self.spread * np.exp(raw[1])
        if self.distribution == "lognormal":
            return {"s": scale, "scale": np.exp(loc)}
        if self.distribution == "studentt":
            return {"df": np.full(len(loc), self.degrees_of_freedom), "loc": loc, "scale": scale}
        return {"loc": loc, "scale": scale}

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """(n,) means, medians where there is none, probabilities of two classes."""
        return DISTRIBUTIONS[self.distribution].mean(self.parameters(rows))

    def shares(self) -> np.ndarray:
        """(features,) mean over the parameters of each one's shares, of sum 1; zeros where no tree splits."""
        total = self.importances.sum(axis=1, keepdims=True)
        shares = np.divide(self.importances, total, out=np.zeros_like(self.importances), where=total > 0)
        return shares.sum(axis=0) / max(1, int((total > 0).sum()))


class _NaturalBoosting(TableEstimator):
    """What both share: `ngboost` on quantised features, see `TRAINING.model_fun.boosting.natural_engine`.

    Parameters
    ----------
    n_estimators : int
        Rounds; each grows a tree per parameter of the distribution.
    learning_rate : float
    max_depth, min_samples_leaf : int
        Of each tree.
    minibatch_frac, col_sample : float
        Share of rows and of features drawn for each round.
    max_bin : int
        Distinct values a feature is quantised to, at most 256.
    early_stopping_rounds : int
        Rounds without a better log score on the validation rows of `fit` before boosting stops; 0 is never.
    random_state : int
    """

    def __init__(
        self,
        n_estimators=200,
        learning_rate=0.01,
        max_depth=2,
        min_samples_leaf=20,
        minibatch_frac=0.5,
        col_sample=0.5,
        max_bin=32,
        early_stopping_rounds=30,
        random_state=0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.minibatch_frac = minibatch_frac
        self.col_sample = col_sample
        self.max_bin = max_bin
        self.early_stopping_rounds = early_stopping_rounds
        self.random_state = random_state

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the splits, the mean over the distribution's parameters."""
        check_is_fitted(self)
        return self.forecaster_.shares()

    def _boost(self, distribution: str, X, y: np.ndarray, weight, validation, centre=0.0, spread=1.0, df=5.0) -> None:
        """Boost on a target in the units of the trees; ``validation`` is a pair (X, y) or None."""
        from TRAINING.model_fun.boosting.natural_engine import (
            Bernoulli,
            ClosedScore,
            Engine,
            HistogramTree,
            Normal,
            student_t,
        )

        if distribution == "studentt":
            boosted = student_t(df)
        else:
            boosted = Bernoulli if distribution == "bernoulli" else Normal
        quantiser = Quantiser.learn(X, self.max_bin)
        rows = max(2, int(self.minibatch_frac * len(X)))  # the library rounds down, to none of one row
        engine = Engine(
            boosted,
            ClosedScore,
            HistogramTree(self.max_depth, self.min_samples_leaf),
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            minibatch_frac=1.0 if rows >= len(X) else rows / len(X),
            col_sample=self.col_sample,
            verbose=False,
            tol=_TOLERANCE,
            random_state=self.random_state,
        )
        engine.begin = boosted.begin(y, np.ones(len(y)) if weight is None else weight)
        later = (None, None) if validation is None else (quantiser.encode(validation[0]), validation[1])
        engine.fit(
            quantiser.encode(X),
            y,
            *later,
            sample_weight=weight,
            early_stopping_rounds=self.early_stopping_rounds or None,
        )
        self.forecaster_ = Forecaster(
            distribution,
            float(df),
            float(centre),
            float(spread),
            quantiser.medians,
            engine.importances(),
            engine.forest(quantiser),
        )
        self.rounds_ = engine.rounds
        names = {"train": "train", "val": "validation"}
        self.history_ = {
            names[part]: {"log_score": [float(score) for curve in curves.values() for score in curve]}
            for part, curves in engine.evals_result.items()
        }

    def _answer(self, X) -> np.ndarray:
        X = self._validate_later(X)
        return self.forecaster_.mean(X)


class NaturalBoostingRegressor(RegressorMixin, _NaturalBoosting):
    """Boosted trees of the parameters of a distribution (Duan et al. 2020).

    Parameters
    ----------
    distribution : str
        ``normal``, ``lognormal`` (positive targets only) or ``studentt``.
    degrees_of_freedom : float
        Of ``studentt``, alike in all rows.
    **shared
        As of `_NaturalBoosting`.
    """

    def __init__(
        self,
        distribution="studentt",
        degrees_of_freedom=5.0,
        n_estimators=200,
        learning_rate=0.01,
        max_depth=2,
        min_samples_leaf=20,
        minibatch_frac=0.5,
        col_sample=0.5,
        max_bin=32,
        early_stopping_rounds=30,
        random_state=0,
    ) -> None:
        own = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(**{name: own[name] for name in own if name not in ("distribution", "degrees_of_freedom")})
        self.distribution = distribution
        self.degrees_of_freedom = degrees_of_freedom

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2, y_numeric=True)
        y, later = y.astype(float), None if X_val is None else np.asarray(y_val, dtype=float)
        if DISTRIBUTIONS[self.distribution].positive:
            if (low := min(y.min(), np.inf if later is None else later.min())) <= 0:
                raise ValueError(f"a {self.distribution} distribution needs positive targets; got {low:g}")
            y, later = np.log(y), None if later is None else np.log(later)
        centre = np.average(y, weights=weight)
        spread = np.sqrt(np.average((y - centre) ** 2, weights=weight))
        if spread == 0:  # the library would look for a step without end
            raise ValueError("the target does not vary in the rows with a weight; there is nothing to learn")
        validation = None if later is None else (np.asarray(X_val), (later - centre) / spread)
        self._boost(
            self.distribution, X, (y - centre) / spread, weight, validation, centre, spread, self.degrees_of_freedom
        )
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) means."""
        return self._answer(X)

    def predict_parameters(self, X) -> dict[str, np.ndarray]:
        """Parameter of `scipy.stats` -> (n,)."""
        X = self._validate_later(X)
        return self.forecaster_.parameters(X)


class NaturalBoostingClassifier(TwoClassEstimator, _NaturalBoosting):
    """Boosted trees of the log odds of two classes, by natural gradients."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping."""
        X, y, weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2)
        self._take_classes(y)
        later = None if X_val is None else (np.asarray(X_val), self._codes(y_val))
        self._boost("bernoulli", X, self._codes(y), weight, later)
        return self
