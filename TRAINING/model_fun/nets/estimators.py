"""scikit-learn estimators over `TRAINING.neural`: a regressor, a classifier, and one of several targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from TRAINING.model_fun.estimators import TableEstimator, TwoClassEstimator, seed_of

_CHECKPOINT_SECONDS = 60  # a shorter training writes no checkpoint
_EXPLAINED_ROWS = 256  # training rows that importance is measured on


class TableNet(TableEstimator):
    """What the estimators share: an MLP with a head per target, trained by `TRAINING.neural.fit.fit`.

    Parameters
    ----------
    hidden : sequence of int
        Width of each layer.
    activation : str
        ``gelu``, ``mish``, ``relu`` or ``silu``.
    norm : bool
        Whether a layer norm precedes each activation.
    dropout : float
        Share of each layer's values that is dropped while training.
    missing_indicators : bool
        Whether a column says where each feature was missing; without, a missing value is the median.
    loss : str
        ``squared`` or ``huber``, of regression targets in standard deviations.
    epochs, batch_size, early_stopping_rounds, random_state : int
        Early stopping needs validation rows in `fit`.
    learning_rate, weight_decay, schedule, warmup, gradient_clip : float or str
        See `TRAINING.neural.modules.Optimisation`.
    device, precision, n_jobs : str, str, int
        See `TRAINING.neural.fit.FitSettings`.
    """

    def __init__(
        self,
        hidden=(64, 32),
        activation="silu",
        norm=False,
        dropout=0.4,
        missing_indicators=False,
        loss="squared",
        epochs=100,
        batch_size=256,
        learning_rate=0.0005,
        weight_decay=10.0,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=0.0,
        early_stopping_rounds=16,
        device="auto",
        precision="auto",
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.norm = norm
        self.dropout = dropout
        self.missing_indicators = missing_indicators
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.gradient_clip = gradient_clip
        self.early_stopping_rounds = early_stopping_rounds
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state

    waits = False  # whether `fit` only prepares, and `fit_together` trains
    folder = None  # where `fit` leaves checkpoints and goes on from them

    @property
    def feature_importances_(self) -> np.ndarray:
        """(features,) share of each in the answers, by integrated gradients on training rows; NaN if none has any."""
        check_is_fitted(self)
        importance = self.importances_.mean(axis=0)
        return importance / (importance.sum() or np.nan)

    @property
    def importances_(self) -> np.ndarray:
        """(targets, features) as `feature_importances_`, of any sum."""
        if self._importances is None:
            from TRAINING.neural.explain import integrated_gradients
            from TRAINING.neural.threads import limited_threads

            with limited_threads(self.n_jobs):
                self._importances = integrated_gradients(self.net_, self._sample)
        return self._importances

    def _learn(self, X, targets, heads, sample_weight, validation) -> None:
        """Train on checked arrays, (n, features) and (n, heads); ``validation`` is a pair of such arrays or None."""
        from TRAINING.neural.data import TensorTable, make_generator
        from TRAINING.neural.modules import SupervisedModule
        from TRAINING.neural.nets import MLPConfig, initialise
        from TRAINING.neural.threads import limited_threads

        holes = np.flatnonzero(np.isnan(X).any(axis=0) & ~np.isnan(X).all(axis=0)) if self.missing_indicators else ()
        shape = MLPConfig(
            X.shape[1], tuple(heads), len(holes), tuple(self.hidden), self.activation, self.norm, self.dropout
        )
        seed = seed_of(self.random_state)
        with limited_threads(self.n_jobs):
            net = shape.build()
            initialise(net, make_generator(seed))
            net.learn_scales(X, targets, holes)
            module = SupervisedModule(net, shape.heads, optimisation_of(self), self.loss)
            train = TensorTable.of(X, net, targets, sample_weight)
            later = None if validation is None else TensorTable.of(validation[0], net, validation[1])
        self._run(module, train, later, seed)
        self.shape_, self.net_ = shape, net
        self._sample, self._importances = X[:: -(-len(X) // _EXPLAINED_ROWS)].astype(np.float32), None

    def _run(self, module, train, later, seed: int) -> None:
        """Train a module on its samples, or leave it to `fit_together`."""
        from TRAINING.neural.fit import fit

        settings = settings_of(self, seed)
        if self.waits:
            self._waiting = (module, train, later), settings
        else:
            self.result_ = fit(module, train, later, settings)

    def _answer(self, X) -> np.ndarray:
        """(n, heads) values and probabilities."""
        from TRAINING.neural.threads import limited_threads

        X = self._validate_later(X)
        with limited_threads(self.n_jobs):
            return self.net_.predict(X)

    def _check_rows(self, X, sample_weight):
        X = self._validate(X)
        return X, self._validate_weight(X, sample_weight)


class NeuralRegressor(RegressorMixin, TableNet):
    """An MLP of one value."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping."""
        from TRAINING.neural.nets import Head

        X, y, weight = self._validate_weighted(X, y, sample_weight, y_numeric=True)
        later = None if X_val is None else (np.asarray(X_val), np.asarray(y_val, dtype=float)[:, None])
        self._learn(X, y.astype(float)[:, None], [Head("y")], weight, later)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)[:, 0]


class NeuralClassifier(TwoClassEstimator, TableNet):
    """An MLP of two classes."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping."""
        from TRAINING.neural.nets import Head

        X, y, weight = self._validate_weighted(X, y, sample_weight)
        self._take_classes(y)
        later = None if X_val is None else (np.asarray(X_val), self._codes(y_val)[:, None])
        self._learn(X, self._codes(y)[:, None], [Head("y", "binary")], weight, later)
        return self

    def _probability(self, X) -> np.ndarray:
        return self._answer(X)[:, 0]


class NeuralMultiTask(RegressorMixin, TableNet):
    """An MLP of several targets: a shared trunk, and a head each for values and for probabilities (Caruana 1997).

    Parameters
    ----------
    heads : sequence of (name, kind, weight), optional
        Per column of y, see `TRAINING.neural.nets.Head`; without, values of one weight.
    **shared
        As of `NeuralRegressor`.
    """

    def __init__(
        self,
        heads=None,
        hidden=(64, 32),
        activation="silu",
        norm=False,
        dropout=0.4,
        missing_indicators=False,
        loss="squared",
        epochs=100,
        batch_size=256,
        learning_rate=0.0005,
        weight_decay=10.0,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=0.0,
        early_stopping_rounds=16,
        device="auto",
        precision="auto",
        n_jobs=1,
        random_state=0,
    ) -> None:
        own = {name: value for name, value in locals().items() if name not in ("self", "heads", "__class__")}
        super().__init__(**own)
        self.heads = heads

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit on y (n, targets), NaN where missing; ``X_val`` and ``y_val`` are rows for early stopping."""
        from TRAINING.neural.nets import Head

        X, weight = self._check_rows(X, sample_weight)
        if y is None:
            raise ValueError("NeuralMultiTask requires y to be passed, but the target y is None")
        y = check_array(y, dtype=float, ensure_all_finite="allow-nan", ensure_2d=False, input_name="y")
        check_consistent_length(X, y)
        self._flat, y = y.ndim == 1, y.reshape(len(y), -1)
        if np.isnan(y).all(axis=0).any():
            raise ValueError("Input y contains NaN in all rows of a target")
        heads = (
            [Head(*row) for row in self.heads]
            if self.heads is not None
            else [Head(f"y{column}") for column in range(y.shape[1])]
        )
        later = None if X_val is None else (np.asarray(X_val), np.asarray(y_val, dtype=float).reshape(len(y_val), -1))
        self._learn(X, y, heads, weight, later)
        return self

    def predict(self, X) -> np.ndarray:
        """(n, targets) values, and probabilities of binary targets; (n,) where y was."""
        answer = self._answer(X)
        return answer[:, 0] if self._flat else answer


def fit_together(estimators: Sequence[TableNet]) -> None:
    """Train estimators of the same settings whose `fit` has only prepared, see `TRAINING.neural.fit_many`."""
    from TRAINING.neural.fit_many import Job, fit_many

    waiting = [estimator.__dict__.pop("_waiting") for estimator in estimators]
    results = fit_many([Job(*job) for job, _ in waiting], waiting[0][1]) if waiting else []
    for estimator, result in zip(estimators, results, strict=True):
        estimator.result_, estimator.waits = result, False


def optimisation_of(estimator):
    """The `TRAINING.neural.modules.Optimisation` of an estimator's parameters; what it lacks stays as it is there."""
    from TRAINING.neural.modules import Optimisation

    names = (field.name for field in fields(Optimisation))
    return Optimisation(**{name: getattr(estimator, name) for name in names if hasattr(estimator, name)})


def settings_of(estimator, seed: int):
    """The `TRAINING.neural.fit.FitSettings` of an estimator's parameters."""
    from TRAINING.neural.fit import FitSettings

    return FitSettings(
        estimator.epochs,
        estimator.batch_size,
        seed,
        estimator.early_stopping_rounds,
        estimator.device,
        estimator.precision,
        estimator.n_jobs,
        estimator.folder,
        _CHECKPOINT_SECONDS,
        resume=True,
    )
