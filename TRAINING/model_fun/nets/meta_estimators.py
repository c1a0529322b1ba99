"""scikit-learn estimators of a net that is adapted to each series of rows."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin

from CONFIG.errors import DataError
from TRAINING.model_fun.estimators import TwoClassEstimator, seed_of
from TRAINING.model_fun.nets.estimators import TableNet, optimisation_of
from TRAINING.model_fun.series import SeriesOfRows

_EXPLAINED_ROWS = 256  # training rows that importance is measured on
_EXPLAINED_SERIES = 16  # series that they come from, at most


@dataclass(frozen=True, eq=False)
class AdaptedSeries:
    """A net adapted to the series of a table: what predicts, and all that an artifact holds.

    Attributes
    ----------
    shape, net : MLPConfig, AdaptedNet
        See `TRAINING.neural.nets` and `TRAINING.neural.meta`.
    names : list of str
        Of the series, in the order of the adapted weights.
    """

    shape: object
    net: object
    names: list[str]

    def answer(self, X: object, values: np.ndarray, threads: int, adapted: bool = True) -> np.ndarray:
        """(n,) values or probabilities of rows whose numbers are ``values``; of the start without ``adapted``."""
        from TRAINING.neural.threads import limited_threads

        series = SeriesOfRows.of(X, len(values))
        codes = series.among(self.names)[series.codes] if adapted else np.full(len(values), -1)
        with limited_threads(threads):
            return self.net.predict(values, codes)[:, 0]


class MetaNet(TableNet):
    """What the estimators share: an MLP whose weights are learnt to be adapted, see `TRAINING.neural.meta`.

    A DataFrame with the index (symbol, timestamp) may hold several symbols, in any order; an array is one series in
    time order. After `fit` the rows of a known symbol are answered by weights adapted to its last training rows, and
    others by those that all start from.

    Parameters
    ----------
    hidden : sequence of int
        Width of each layer.
    activation, loss : str
        As of `TRAINING.model_fun.nets.estimators.TableNet`.
    adapt_rows, inner_steps, inner_learning_rate : int, int, float
        See `TRAINING.neural.meta.Adaptation`.
    query_rows, epochs, batch_size, early_stopping_rounds, n_jobs, random_state : int
        See `TRAINING.neural.meta.MetaSettings`; early stopping needs validation rows in `fit`.
    learning_rate, weight_decay, gradient_clip : float
        Of the weights that all start from, see `TRAINING.neural.modules.Optimisation`; the clip also bounds the steps
        of an adaptation.
    """

    def __init__(
        self,
        hidden=(32, 16),
        activation="silu",
        loss="squared",
        adapt_rows=60,
        query_rows=20,
        inner_steps=2,
        inner_learning_rate=0.03,
        epochs=60,
        batch_size=16,
        learning_rate=0.0003,
        weight_decay=10.0,
        gradient_clip=1.0,
        early_stopping_rounds=12,
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.loss = loss
        self.adapt_rows = adapt_rows
        self.query_rows = query_rows
        self.inner_steps = inner_steps
        self.inner_learning_rate = inner_learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.gradient_clip = gradient_clip
        self.early_stopping_rounds = early_stopping_rounds
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def importances_(self) -> np.ndarray:
        """(1, features) share of each feature in the adapted nets' answers, of any sum; a mean over up to 16 series."""
        if self._importances is None:
            from TRAINING.neural.explain import integrated_gradients
            from TRAINING.neural.threads import limited_threads

            with limited_threads(self.n_jobs):
                each = [integrated_gradients(self.fitted_.net.net_of(code), rows) for code, rows in self._samples]
            self._importances = np.mean(each, axis=0)
        return self._importances

    def _prepare(self, net, shape, series: SeriesOfRows, values, targets, weight):
        """What adapts a net, and the rows of a table in the order of their series and times."""
        from TRAINING.neural.meta import Adaptation, Adapter, Panel
        from TRAINING.neural.modules import SupervisedModule

        module, order = SupervisedModule(net, shape.heads, optimisation_of(self), self.loss), series.order
        adapter = Adapter(
            module, Adaptation(self.adapt_rows, self.inner_steps, self.inner_learning_rate, self.gradient_clip)
        )
        weight = None if weight is None else np.asarray(weight, dtype=float)[order]
        return adapter, Panel.of(module, series.codes[order], values[order], targets[order, None], weight)

    def _learn_tasks(self, X, values, targets, head, weight, validation, times) -> None:
        """Train on X, whose numbers are ``values``, and (n,) targets; ``validation`` is (X, (n,) targets) or None."""
        from TRAINING.neural.data import make_generator
        from TRAINING.neural.meta import AdaptedNet, MetaSettings, Panel, Tasks, known_before, meta_fit
        from TRAINING.neural.nets import MLPConfig, initialise
        from TRAINING.neural.threads import limited_threads

        seed, series = seed_of(self.random_state), SeriesOfRows.of(X, len(values))
        shape = MLPConfig(values.shape[1], (head,), hidden=tuple(self.hidden), activation=self.activation)
        with limited_threads(self.n_jobs):
            net = shape.build()
            initialise(net, make_generator(seed))
            net.learn_scales(values, targets[:, None])
            adapter, panel = self._prepare(net, shape, series, values, targets, weight)
            order = np.arange(len(values))
            sessions, known = (order, order) if times is None else (part[series.order] for part in times)
            tasks = Tasks(panel, known_before(sessions, known, panel), self.adapt_rows, self.query_rows)
            if len(tasks) < 2:
                raise DataError(self._too_few_tasks(tasks, series))
            later = None
            if validation is not None:
                follow = SeriesOfRows.of(validation[0], len(validation[1]))
                rows, y_val = np.asarray(validation[0])[follow.order], validation[1][follow.order, None]
                panel_later = Panel.of(adapter.module, follow.codes[follow.order], rows, y_val)
                later = panel_later, follow.among(series.names)
            settings = MetaSettings(
                self.query_rows, self.epochs, self.batch_size, seed, self.early_stopping_rounds, self.n_jobs
            )
            self.result_ = meta_fit(adapter, tasks, later, settings)
            self.fitted_ = AdaptedSeries(shape, AdaptedNet(net, _adapt(adapter, panel, series)), series.names)
        self._samples, self._importances = _samples(series, values), None

    def _too_few_tasks(self, tasks, series: SeriesOfRows) -> str:
        longest = int(np.bincount(series.codes).max())
        waiting = int((np.arange(len(tasks.known)) - tasks.known).max())
        return (
            f"{len(series.names)} series of up to {longest} rows make {len(tasks)} tasks, each {self.adapt_rows} rows "
            f"to adapt to, up to {waiting} whose labels are not known yet, and {self.query_rows} to answer; learning "
            "to adapt takes 2; give more rows or symbols, or lower adapt_rows or query_rows"
        )

    def adapt(self, X, y, sample_weight=None) -> MetaNet:
        """A copy that is adapted to the last of these rows, of new series or of known ones."""
        values = self._validate_later(X)
        other = copy.copy(self)
        other.fitted_ = self.adapt_fitted(self.fitted_, X, values, self._numbers(y), sample_weight)
        return other

    def adapt_fitted(self, fitted: AdaptedSeries, X, values, targets, weight) -> AdaptedSeries:
        """What ``fitted`` becomes with the series of X adapted to these rows, from the start; others stay."""
        import torch

        from TRAINING.neural.meta import AdaptedNet
        from TRAINING.neural.threads import limited_threads

        series, net = SeriesOfRows.of(X, len(values)), fitted.net.net
        with limited_threads(self.n_jobs):
            adapter, panel = self._prepare(net, fitted.shape, series, values, targets, weight)
            found = _adapt(adapter, panel, series)
        kept = [place for place, name in enumerate(fitted.names) if name not in series.names]
        weights = {name: torch.cat([weight[kept], found[name]]) for name, weight in fitted.net.adapted.items()}
        names = [fitted.names[place] for place in kept] + series.names
        return AdaptedSeries(fitted.shape, AdaptedNet(net, weights), names)

    def _answer(self, X) -> np.ndarray:
        values = self._validate_later(X)
        return self.fitted_.answer(X, values, self.n_jobs)


class MetaRegressor(RegressorMixin, MetaNet):
    """A net of one value that is adapted to each series."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, times=None):
        """Fit.

        Parameters
        ----------
        X, y, sample_weight
            (n, features), (n,), (n,)
        X_val, y_val : optional
            Later rows for early stopping.
        times : pair of (n,) datetime64, optional
            The session of each row, and that in which its label is known; without it, with the row.
        """
        from TRAINING.neural.nets import Head

        values, y, weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2, y_numeric=True)
        later = None if X_val is None else (X_val, self._numbers(y_val))
        self._learn_tasks(X, values, y.astype(float), Head("y"), weight, later, times)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)

    def _numbers(self, y) -> np.ndarray:
        return np.asarray(y, dtype=float)


class MetaClassifier(TwoClassEstimator, MetaNet):
    """A net of two classes that is adapted to each series."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, times=None):
        """Fit; see `MetaRegressor.fit`."""
        from TRAINING.neural.nets import Head

        values, y, weight = self._validate_weighted(X, y, sample_weight, ensure_min_samples=2)
        self._take_classes(y)
        later = None if X_val is None else (X_val, self._numbers(y_val))
        self._learn_tasks(X, values, self._numbers(y), Head("y", "binary"), weight, later, times)
        return self

    def _numbers(self, y) -> np.ndarray:
        return self._codes(y)


def _adapt(adapter, panel, series: SeriesOfRows):
    """The weights of each series."""
    weights = adapter.adapt_last(panel)
    finite = np.logical_and.reduce([weight.isfinite().flatten(1).all(1).numpy() for weight in weights.values()])
    if not finite.all():
        name = series.names[int(finite.argmin())] or "the table"
        raise DataError(
            f"adapting to the last {adapter.adaptation.rows} rows of {name} made weights infinite; lower "
            "inner_learning_rate, or set gradient_clip: 1.0"
        )
    return weights


def _samples(series: SeriesOfRows, values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Some rows of some series, each with its number."""
    chosen = np.arange(len(series.names))[:: -(-len(series.names) // _EXPLAINED_SERIES)]
    each = _EXPLAINED_ROWS // len(chosen)
    samples = []
    for code in chosen:
        rows = values[series.codes == code]
        samples.append((int(code), rows[:: -(-len(rows) // each)].astype(np.float32)))
    return samples
