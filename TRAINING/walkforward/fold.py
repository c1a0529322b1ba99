"""One fold: fit on the purged training window, stop on its tail, predict the test window."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from CONFIG.errors import BarzooError, DataError
from DATA_PROCESSING.dataset import Dataset
from DATA_PROCESSING.labels import sample_weights
from TRAINING.evaluation.baselines import BUY_AND_HOLD, baseline_predictions
from TRAINING.evaluation.folds import Fold
from TRAINING.evaluation.splits import purged_tail
from TRAINING.model_fun.context import predict_with_context, with_context
from TRAINING.model_fun.registry import predictor_class


@dataclass(frozen=True)
class Work:
    """What is the same for all folds of a run.

    Attributes
    ----------
    data : Dataset
        Features and the target of all rows, in time order.
    session, label_session : (n,) int
        Positions among the panel's sessions; the latter -1 where there is no label.
    in_universe : (n,) bool
    symbol : (n,) int
        The code of each row's symbol.
    sessions : (k,) datetime64[D]
    settings : dict
        The run config ``walkforward``, and those of ``split`` that weigh rows and hold out the tail.
    model_name : str
    config : dict
    task : str
    fitted_until : datetime64[D]
        The last session that latents were fitted on; NaT without latents.
    """

    data: Dataset
    session: np.ndarray
    label_session: np.ndarray
    in_universe: np.ndarray
    symbol: np.ndarray
    sessions: np.ndarray
    settings: dict
    model_name: str
    config: dict
    task: str
    fitted_until: np.datetime64


RECORD = (
    "window_rows", "purged_rows", "train_rows", "validation_rows", "test_rows", "rounds", "status", "reason", "notes"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a fold, or of one symbol in it.

    Attributes
    ----------
    record : dict
        Its row of ``folds``, the keys `RECORD`: sizes, ``status`` (``done``, ``skipped`` or ``failed``), ``reason``.
    rows : (m,) int
        Positions of the test rows in the panel's table; the whole test window.
    predictions : dict of str to (m,) float
        Of the model first, then of each baseline.
    thresholds : dict of str to float
        Above it, a classifier's probability is worth a position.
    importance : dict of str to float
    """

    record: dict
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)


def run_fold(work: Work, fold: Fold, symbol: int | None = None, folder: Path | None = None) -> Outcome:
    """Train one model and the baselines on a fold, of all symbols or of one; an error becomes the outcome's reason.

    A long training of a net leaves checkpoints in ``folder`` and goes on from them.
    """
    days = np.searchsorted(work.sessions, [fold.train_start, fold.test_start, fold.test_end, fold.last_known])
    begin, cut, stop = np.searchsorted(work.session, [days[0], days[1], days[2] + 1])
    usable = np.ones(stop - begin, bool) if symbol is None else work.symbol[begin:stop] == symbol
    usable &= work.in_universe[begin:stop]
    rows = begin + np.flatnonzero(usable)
    known = work.label_session[rows]
    window, test = rows < cut, rows[rows >= cut]
    labelled = window & (known >= 0)
    train = rows[labelled & (known <= days[3])]
    record = {
        "window_rows": int(labelled.sum()),
        "purged_rows": int(labelled.sum()) - len(train),
        "train_rows": 0,
        "validation_rows": 0,
        "test_rows": len(test),
        "rounds": np.nan,
        "status": "done",
        "reason": "",
        "notes": "",
    }
    needed = work.settings["min_train_samples"]
    try:
        if fold.test_start <= work.fitted_until:
            return _without(
                record,
                "skipped",
                f"its test window begins in the rows that latents were fitted on, until {work.fitted_until}",
            )
        if record["window_rows"] < needed:
            return _without(
                record, "skipped", f"{record['window_rows']} labelled rows in the training window; {needed} are needed"
            )
        if not len(test):
            return _without(record, "skipped", "no row in the test window")
        return _train(work, train, test, begin, record, folder)
    except BarzooError as error:
        return _without(record, "failed", str(error))


def _without(record: dict, status: str, reason: str) -> Outcome:
    return Outcome(record | {"status": status, "reason": reason})


def _train(work: Work, train: np.ndarray, test: np.ndarray, begin: int, record: dict, folder: Path | None) -> Outcome:
    """A model that looks back does so to ``begin``, the position where the training window begins."""
    sessions = work.sessions[work.session[train]]
    if not len(train):
        raise DataError("the purge leaves no training row; give a longer window, or a smaller embargo or horizon")
    ends = work.sessions[work.label_session[train]]
    trainer = predictor_class(work.model_name)(work.config)
    trainer.lean, trainer.folder = True, folder
    head, tail, later = np.ones(len(train), bool), np.zeros(len(train), bool), ()
    if trainer.stops_early:  # else the newest rows are too good to be held out
        head, tail = purged_tail(sessions, ends, work.settings["early_stopping"])
        rows = train[tail]
        validation = with_context(work.data.take(rows), work.data, rows, trainer.context_rows, begin)
        later = validation.X, validation.y
    fitted = work.data.take(train[head])
    fitted = replace(fitted, rows=replace(fitted.rows, sample_weight=_weights(work, train[head])))
    learnt = with_context(fitted, work.data, train[head], trainer.context_rows, begin)
    trainer.train(learnt.X, learnt.y, *later, rows=learnt.rows)
    X_train, X_test = fitted.X if head.all() else work.data.X.iloc[train], work.data.X.iloc[test]
    y = work.data.y.to_numpy(float)[train]
    baselines, missing = baseline_predictions(work.task, X_train, y, X_test)
    predictions = {
        work.model_name: predict_with_context(trainer, work.data.X, test, begin),
        **baselines,
        BUY_AND_HOLD: np.full(len(test), np.nan),
    }
    # A classifier trades where it sees a higher probability than the base rate of the rows that it was fitted on.
    thresholds = dict.fromkeys(predictions, float(y.mean()) if work.task == "binary" else 0.0)
    if work.task == "binary":
        thresholds[work.model_name] = float(np.average(fitted.y.to_numpy(float), weights=fitted.rows.sample_weight))
    importance = trainer.get_feature_importance()
    record |= {
        "train_rows": int(head.sum()),
        "validation_rows": int(tail.sum()),
        "rounds": trainer.rounds,
        "notes": "; ".join([*trainer.notes, *(f"{name}: {reason}" for name, reason in missing.items())]),
    }
    shares = dict(zip(importance.index, importance.to_numpy().tolist(), strict=True))
    return Outcome(record, test, predictions, thresholds, {} if np.isnan(importance.to_numpy()).any() else shares)


def _weights(work: Work, rows: np.ndarray) -> np.ndarray | None:
    """Weights of training rows, per symbol as for labels of one symbol, of mean 1."""
    kind = work.settings["weights"]
    if kind == "none":
        return None
    age = work.session[rows].max() - work.session[rows]
    weights = np.empty(len(rows))
    for code in np.unique(work.symbol[rows]):
        own = np.flatnonzero(work.symbol[rows] == code)
        # Positions among the symbol's sessions stand for its bars.
        begin, end = work.session[rows[own]], work.label_session[rows[own]]
        weights[own] = sample_weights(kind, begin, end, age[own], work.settings["half_life"])
    return weights / weights.mean()
