"""scikit-learn estimators of nets on windows: each row is answered from itself and the rows before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from CONFIG.errors import DataError
from TRAINING.model_fun.context import symbols_and_times
from TRAINING.model_fun.estimators import TwoClassEstimator, seed_of
from TRAINING.model_fun.nets.estimators import TableNet, optimisation_of

_EXPLAINED_WINDOWS = 128  # training windows that importance is measured on
_SCALED_ROWS = 10_000  # rows that medians and quartiles are taken from


@dataclass(frozen=True, eq=False)
class Runs:
    """A table's rows as windows read them: by symbol in time order, broken where a symbol ends or a gap is too long.

    Attributes
    ----------
    order : (n,) int, optional
        Positions in the table; ``None`` where its rows are in this order.
    starts : (n,) int64
        Where the unbroken run of each row begins, in this order.
    """

    order: np.ndarray | None
    starts: np.ndarray

    @classmethod
    def of(cls, X: object, rows: int, longest_gap: int) -> Runs:
        """Of so many rows, by a DataFrame's index (symbol, timestamp); else they are one series without gaps."""
        from TRAINING.neural.data import run_starts

        if not isinstance(X, pd.DataFrame):
            return cls(None, np.zeros(rows, np.int64))
        symbols, times = symbols_and_times(X)
        if times is None:
            return cls(None, np.zeros(rows, np.int64))
        order = np.lexsort((times, symbols))
        sorted_already = (order == np.arange(len(order))).all()
        # Weekdays stand for sessions: a table of one symbol does not tell on which days others traded.
        days = np.busday_count("1970-01-01", times.astype("datetime64[D]"))
        starts = run_starts(symbols[order], days[order], longest_gap)
        return cls(None if sorted_already else order, starts)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) rows from the start of the run to the row, both counted."""
        return np.arange(len(self.starts)) - self.starts + 1

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """A table's values (n, ...) in this order."""
        return values if self.order is None else values[self.order]


def answer(net, X: object, values: np.ndarray, window: int, longest_gap: int, threads: int) -> np.ndarray:
    """(n, heads) of a net for the rows of X, whose numbers are ``values``.

    A window that would reach behind the first row of a run repeats that row.
    """
    import torch

    from TRAINING.neural.sequence_nets import predict_windows
    from TRAINING.neural.threads import limited_threads

    runs = Runs.of(X, len(values), longest_gap)
    with limited_threads(threads):
        arranged = predict_windows(net, _shared(runs.arrange(values)), torch.from_numpy(runs.starts), window)
    if runs.order is None:
        return arranged
    answers = np.empty_like(arranged)
    answers[runs.order] = arranged
    return answers


class SequenceNet(TableNet):
    """What the estimators share: a net on windows of rows, trained by `TRAINING.neural.fit.fit`.

    A DataFrame with the index (symbol, timestamp) may hold several symbols, in any order; an array is one series in
    time order. Training rows are those at which a whole window ends. Rows of weight 0 are not learnt from, but later
    windows read their features.

    Parameters
    ----------
    net : str
        ``lstm``, ``transformer`` or ``cnn1d``.
    architecture : dict, optional
        Fields of its config in `TRAINING.neural.sequence_nets`, such as ``{"hidden": 64}``.
    window : int
        Rows that an answer is made from.
    longest_gap : int
        Most weekdays from one row to the next within a window.
    dropout, loss, epochs, batch_size, learning_rate, weight_decay, schedule, warmup, gradient_clip
        As of `TRAINING.model_fun.nets.estimators.TableNet`, and so are those that follow; the defaults suit ``lstm``.
    """

    def __init__(
        self,
        net="lstm",
        architecture=None,
        window=10,
        longest_gap=10,
        dropout=0.6,
        loss="squared",
        epochs=60,
        batch_size=64,
        learning_rate=0.001,
        weight_decay=25.0,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=1.0,
        early_stopping_rounds=8,
        device="auto",
        precision="auto",
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.net = net
        self.architecture = architecture
        self.window = window
        self.longest_gap = longest_gap
        self.dropout = dropout
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

    def _learn_windows(self, X, values, targets, head, weight, validation) -> None:
        """Train on X, whose numbers are ``values``, and (n,) targets; ``validation`` is (X, (n,) targets) or None."""
        from TRAINING.neural.data import make_generator
        from TRAINING.neural.modules import SupervisedModule
        from TRAINING.neural.sequence_nets import NETS, draw_weights
        from TRAINING.neural.threads import limited_threads

        shape = NETS[self.net](values.shape[1], (head,), self.window, dropout=self.dropout, **self.architecture or {})
        seed = seed_of(self.random_state)
        with limited_threads(self.n_jobs):
            net = shape.build()
            draw_weights(net, make_generator(seed))
            train, starts = self._windows(X, values, targets, weight, "training")
            sample = train.ends[:: -(-len(train) // _SCALED_ROWS)]
            net.learn_scales(train.values[sample].numpy(), train.targets.numpy())
            module = SupervisedModule(net, shape.heads, optimisation_of(self), self.loss)
            later = None
            if validation is not None:
                later, _ = self._windows(validation[0], np.asarray(validation[0]), validation[1], None, "validation")
                later = replace(later, targets=net.encode(later.targets))
        self._run(module, replace(train, targets=net.encode(train.targets)), later, seed)
        self.shape_, self.net_ = shape, net
        explained = train.ends[:: -(-len(train) // _EXPLAINED_WINDOWS)]
        self._sample = gather(train.values, explained, starts, self.window)
        self._importances = None

    def _windows(self, X, values, targets, weight, which: str):
        """The samples, their targets as given, and where the run of each row begins."""
        import torch

        from TRAINING.neural.data import TensorTable

        runs = Runs.of(X, len(values), self.longest_gap)
        targets = runs.arrange(np.asarray(targets, dtype=np.float32))
        weight = None if weight is None else runs.arrange(weight)
        learnt = ~np.isnan(targets) if weight is None else weight > 0
        ends = np.flatnonzero(learnt & (runs.lengths >= self.window))
        if not len(ends):
            longest = int(runs.lengths[learnt].max()) if learnt.any() else 0
            raise DataError(
                f"{self.net}: no {which} row has a window of {self.window} rows, the longest unbroken one is {longest};"
                " give more rows, lower window or raise longest_gap"
            )
        weights = None
        if weight is not None and np.ptp(weight[ends]) > 0:
            weights = torch.from_numpy((weight[ends] / weight[ends].mean()).astype(np.float32))[:, None]
        tensors = (torch.from_numpy(part) for part in (targets[ends, None], ends))
        known, ends = tensors
        table = TensorTable(_shared(runs.arrange(values)), known, weights, ends, self.window)
        return table, torch.from_numpy(runs.starts)

    def _answer(self, X) -> np.ndarray:
        values = self._validate_later(X)
        return answer(self.net_, X, values, self.window, self.longest_gap, self.n_jobs)

    def _check(self, X, y, sample_weight, **checks):
        return self._validate_weighted(X, y, sample_weight, ensure_min_samples=self.window, **checks)


class SequenceRegressor(RegressorMixin, SequenceNet):
    """A net on windows of one value."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping, NaN where a row is only looked back at."""
        from TRAINING.neural.nets import Head

        values, y, weight = self._check(X, y, sample_weight, y_numeric=True)
        later = None if X_val is None else (X_val, np.asarray(y_val, dtype=float))
        self._learn_windows(X, values, y, Head("y"), weight, later)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) values."""
        return self._answer(X)[:, 0]


class SequenceClassifier(TwoClassEstimator, SequenceNet):
    """A net on windows of two classes."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit; ``X_val`` and ``y_val`` are rows for early stopping, missing where a row is only looked back at."""
        from TRAINING.neural.nets import Head

        values, y, weight = self._check(X, y, sample_weight)
        self._take_classes(y)
        later = None if X_val is None else (X_val, self._codes(y_val))
        self._learn_windows(X, values, self._codes(y), Head("y", "binary"), weight, later)
        return self

    def _probability(self, X) -> np.ndarray:
        return self._answer(X)[:, 0]


def gather(values, ends, starts, window: int) -> np.ndarray:
    """(m, window, features) windows that end at given rows."""
    from TRAINING.neural.sequence_nets import gather_windows

    return gather_windows(values, ends, starts[ends], window).numpy()


def _shared(values: np.ndarray):
    """A float32 tensor that shares the table's memory, however it is ordered, where it can."""
    import torch

    from TRAINING.neural.nets import as_tensor

    if values.dtype == np.float32 and values.flags.writeable:
        return torch.from_numpy(values)
    return as_tensor(values)
