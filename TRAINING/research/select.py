"""Feature selection on purged walk-forward folds, before the window that the phases test on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.dataset import Dataset
from TRAINING.evaluation.folds import Fold, walk_forward_folds
from TRAINING.evaluation.metrics import row_loss
from TRAINING.evaluation.splits import purged_tail, split_dates
from TRAINING.model_fun.base import Trainer, find_task
from TRAINING.model_fun.context import predict_with_context, with_context
from TRAINING.model_fun.registry import predictor_class
from TRAINING.phases.inputs import Inputs
from TRAINING.research.clusters import cluster_features, permutation_losses
from TRAINING.walkforward.panel import LabeledPanel, join_symbols

METHODS = ("importance", "rfecv", "permutation")
COUNT = 30  # features, where nobody says how many
_KEPT = 0.8  # share of the features that a round of elimination keeps


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen features, and how sure the choice is.

    Attributes
    ----------
    features : list of str
        Strongest first.
    table : DataFrame
        A row per feature, strongest first: ``feature``, ``score`` (mean over the folds; see `select_features`),
        ``share`` (of the folds in which it was chosen), ``cluster`` (a number; ``permutation`` only), ``chosen``.
    folds : DataFrame
        A row per fold: ``fold``, ``train_start``, ``train_end``, ``test_start``, ``test_end``, ``train_rows``,
        ``test_rows``, ``chosen``, and losses on its later rows (log loss, or squared error): ``loss_base`` of the
        training rows' mean, ``loss_all`` of a model of all features, ``loss_chosen`` of one of the features that the
        fold *before* chose, which has not seen these rows (NaN in the first fold; ``loss_base`` if it chose none).
    sizes : DataFrame
        ``rfecv`` only: ``features``, ``loss``, mean over the folds.
    stability : float
        Of the folds' choices, see `stability_of`.
    development : tuple of str
        First and last session that was looked at.
    """

    features: list[str]
    table: pd.DataFrame
    folds: pd.DataFrame
    sizes: pd.DataFrame
    stability: float
    development: tuple[str, str]


@dataclass(frozen=True, eq=False)
class _Choice:
    """What one fold says: ``scores`` (features,), higher is better, and the chosen; ``losses`` by size for rfecv."""

    scores: pd.Series
    chosen: list[str]
    losses: dict[int, float]


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for all folds: data of the development part, in time order, and how a model is fitted."""

    data: Dataset
    model: str
    config: dict
    task: str
    early_stopping: float

    @property
    def features(self) -> list[str]:
        return list(self.data.X.columns)

    def fit(self, rows: np.ndarray, features: list[str]) -> Trainer:
        """A model of some features, trained on rows and stopped on their purged tail where it stops early."""
        data = replace(self.data, X=self.data.X[features])
        trainer = predictor_class(self.model)(self.config)
        trainer.lean = True
        head, later = np.ones(len(rows), bool), ()
        if trainer.stops_early:
            head, tail = purged_tail(data.sessions[rows], data.label_sessions[rows], self.early_stopping)
            held = with_context(data.take(rows[tail]), data, rows[tail], trainer.context_rows)
            later = held.X, held.y
        train = with_context(data.take(rows[head]), data, rows[head], trainer.context_rows)
        return trainer.train(train.X, train.y, *later, rows=train.rows)

    def loss(self, trainer: Trainer, rows: np.ndarray) -> float:
        """Mean loss of a model on rows."""
        score = predict_with_context(trainer, self.data.X[trainer.features], rows)
        return float(row_loss(self.task, self.data.y.to_numpy(float)[rows], score).mean())


def select_features(
    inputs: Inputs,
    model: str,
    config: dict,
    target: str,
    method: str,
    *,
    split: Mapping[str, float],
    count: int | None = None,
    folds: int = 5,
    on_step: Callable[[str], None] = lambda text: None,
) -> Selection:
    """Choose features for a model and a target.

    All symbols are one pool. The window that the phases test on is never read. The first half of the sessions before it
    is the first training window; the second half is cut into the folds' test windows, each predicted by a model of all
    sessions before it, purged. Everything is fitted again in each fold. Training rows are not weighted.

    ``importance`` scores a feature by the fitted model's own importance. ``rfecv`` leaves out the weakest fifth of the
    features again and again (Guyon et al. 2002, recursive elimination), scores each size on the folds' later rows, and
    takes the smallest size within one standard error of the best, unless ``count`` says one; a feature's score is the
    share of the rounds that it survives. ``permutation`` groups features that rank alike, permutes each group together
    in the later rows, and scores its features by the loss that this adds (Lopez de Prado 2020, *Machine Learning for
    Asset Managers*, chapter 6); it takes from each group that matters the strongest feature first, then the second of
    each, and so on.

    Parameters
    ----------
    inputs : Inputs
    model, config : str, dict
    target : str
    method : {"importance", "rfecv", "permutation"}
    split : mapping
        The run config ``split``.
    count : int, optional
        Features to choose at most: 30 by default, for ``rfecv`` as many as serve.
    folds : int
    on_step : callable
        Told each fold that is done.

    Raises
    ------
    ConfigError
        An unknown method, a count or number of folds out of range, a model that predicts positions, which have no loss,
        or latents that were fitted on rows of the folds.
    DataError
        Too few sessions or rows for the folds.
    """
    if method not in METHODS:
        raise ConfigError(f"--method: {method!r} is unknown{did_you_mean(method, METHODS)}")
    if folds < 2 or (count is not None and count < 1):
        raise ConfigError(f"select: needs at least 2 folds and 1 feature; got {folds} folds and a count of {count}")
    if predictor_class(model).predicts_position:
        raise ConfigError(f"{model} predicts positions, which have no loss to compare; select for another model")
    panel = LabeledPanel.of(join_symbols({name: inputs.table(name, None) for name in sorted(inputs.symbols)}))
    _, end = split_dates(panel.sessions, split["train"], split["validation"])
    data = panel.dataset(target)
    data = data.take(panel.in_universe & (data.sessions < end))
    if panel.fitted_until >= data.sessions.min():
        raise ConfigError("select: the table has latents, which were fitted on rows of the folds; select without them")
    task = find_task(target, data.y.to_numpy(float), config["task"])
    work = _Work(data, model, config, task, split["early_stopping"])
    if count is not None and count > len(work.features):
        raise ConfigError(f"--count: {count} of {len(work.features)} features; choose fewer")
    # Whatever is known by the end of the development part only: a label that reaches beyond it is no test either.
    known = data.y.notna().to_numpy() & (data.label_sessions < end)
    sessions = np.unique(data.sessions)
    days = (len(sessions) - len(sessions) // 2) // folds
    if days < 1:
        raise DataError(
            f"select: {len(sessions)} sessions before {end} give no {folds} test windows; "
            "lower --folds or give more data"
        )
    cuts = walk_forward_folds(
        sessions,
        len(sessions) - days * folds,
        days,
        days,
        mode="expanding",
        embargo_sessions=split["embargo_sessions"],
    )
    choose = {"importance": _by_importance, "rfecv": _by_elimination, "permutation": _by_permutation}[method]
    choices, records = [], []
    for fold in cuts:
        train, test = _rows(data, fold, known)
        trainer = work.fit(train, work.features)
        record = {
            **{name: str(getattr(fold, name)) for name in ("train_start", "train_end", "test_start", "test_end")},
            "train_rows": len(train),
            "test_rows": len(test),
            "loss_base": _base_loss(work, train, test),
            "loss_all": work.loss(trainer, test),
            "loss_chosen": np.nan,
        }
        if choices:
            before = choices[-1].chosen
            record["loss_chosen"] = work.loss(work.fit(train, before), test) if before else record["loss_base"]
        choice = choose(work, trainer, train, test, count)
        choices.append(choice)
        records.append({"fold": fold.number, "chosen": len(choice.chosen), **record})
        on_step(f"{fold.test_start} to {fold.test_end}: {len(choice.chosen)} features")
    sizes = pd.DataFrame({"features": [], "loss": []})
    if method == "rfecv":
        losses = pd.DataFrame([choice.losses for choice in choices])
        sizes = losses.mean().rename_axis("features").rename("loss").reset_index()
        count = count or _fewest(losses)
        choices = [replace(choice, chosen=_strongest(choice.scores, count)) for choice in choices]
        for record, choice in zip(records, choices, strict=True):
            record["chosen"] = len(choice.chosen)
    score = pd.concat([choice.scores for choice in choices], axis=1).reindex(work.features).mean(axis=1)
    chosen = np.array([[name in set(choice.chosen) for name in work.features] for choice in choices])
    groups, ever = pd.Series(np.nan, work.features), score[chosen.any(axis=0)]
    if method == "permutation":
        groups = cluster_features(data.X[known])
        features = _one_of_each(ever, groups[ever.index], count or COUNT)
    else:
        features = _strongest(ever, count or COUNT)
    table = pd.DataFrame({"score": score, "share": chosen.mean(axis=0)})
    table["cluster"], table["chosen"] = groups, [name in set(features) for name in work.features]
    order = np.lexsort((-table["share"], -table["score"], ~table["chosen"]))
    return Selection(
        features,
        table.iloc[order].rename_axis("feature").reset_index(),
        pd.DataFrame(records),
        sizes,
        stability_of(chosen),
        (str(sessions[0]), str(sessions[-1])),
    )


def stability_of(chosen: np.ndarray) -> float:
    """How alike several choices of features are, corrected for chance: 1 the same, about 0 as if drawn at random.

    Nogueira, Sechidis and Brown 2018, "On the Stability of Feature Selection Algorithms", equation 4.

    Parameters
    ----------
    chosen : (choices, features) bool

    Returns
    -------
    float
        NaN for fewer than two choices, and where all features or none are chosen.
    """
    choices, features = chosen.shape
    mean = chosen.sum(axis=1).mean() / features
    if choices < 2 or mean in (0, 1):
        return np.nan
    share = chosen.mean(axis=0)
    return float(1 - (choices / (choices - 1) * share * (1 - share)).mean() / (mean * (1 - mean)))


def _rows(data: Dataset, fold: Fold, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a fold's purged training rows and of its labelled test rows."""
    sessions = data.sessions
    train = known & (sessions <= fold.train_end) & (data.label_sessions <= fold.last_known)
    test = known & (sessions >= fold.test_start) & (sessions <= fold.test_end)
    if not train.any() or not test.any():
        raise DataError(
            f"select: the fold tested from {fold.test_start} has {train.sum()} labelled rows to train on and "
            f"{test.sum()} to test on; give more data or fewer --folds"
        )
    return np.flatnonzero(train), np.flatnonzero(test)


def _base_loss(work: _Work, train: np.ndarray, test: np.ndarray) -> float:
    y = work.data.y.to_numpy(float)
    return float(row_loss(work.task, y[test], np.full(len(test), y[train].mean())).mean())


def _by_importance(work: _Work, trainer: Trainer, train: np.ndarray, test: np.ndarray, count: int | None) -> _Choice:
    scores = _importance(trainer)
    return _Choice(scores, _strongest(scores, count or COUNT), {})


def _by_elimination(work: _Work, trainer: Trainer, train: np.ndarray, test: np.ndarray, count: int | None) -> _Choice:
    left, losses, rounds, survived = work.features, {}, 0, dict.fromkeys(work.features, 0)
    is_used = _importance(trainer).max() > 0  # else no feature says anything, and none survives
    for size in _sizes(len(work.features), count):
        if size < len(left):
            left = _importance(trainer).index[:size].tolist()
            trainer = work.fit(train, left)
        losses[size] = work.loss(trainer, test)
        rounds += 1
        survived |= dict.fromkeys(left, rounds)
    # The last features differ by the importance that they had when they were left; below one round.
    last = _importance(trainer).reindex(work.features, fill_value=0.0) / 2
    scores = (pd.Series(survived) + last) / rounds * is_used
    return _Choice(scores, _strongest(scores, count or min(losses, key=lambda size: (losses[size], size))), losses)


def _by_permutation(work: _Work, trainer: Trainer, train: np.ndarray, test: np.ndarray, count: int | None) -> _Choice:
    groups = cluster_features(work.data.X.iloc[train])
    y, score = work.data.y.to_numpy(float)[test], np.zeros(len(work.features))
    added = permutation_losses(
        lambda X: row_loss(work.task, y, predict_with_context(trainer, X, test)).mean(),
        work.data.X,
        test,
        groups,
        trainer.config.get("seed", 0),
    )
    score = pd.Series(groups.map(added).to_numpy(), work.features)
    # Within a group the model's own importance decides, at a size that cannot change the order of groups.
    own = _importance(trainer).reindex(work.features, fill_value=0.0)
    score += own * 1e-9 * max(score.abs().max(), 1e-300)
    used = score[own > 0]  # a feature beside one that says the same adds nothing
    return _Choice(score, _one_of_each(used, groups[used.index], count or COUNT), {})


def _fewest(losses: pd.DataFrame) -> int:
    """The fewest features, columns of losses by fold, that lose no more than one standard error against the best.

    Breiman et al. 1984; of the differences fold by fold, since folds differ more than sizes do.
    """
    against = losses.sub(losses[losses.mean().idxmin()], axis=0)
    return int(min(against.columns[against.mean() <= against.std(ddof=1) / np.sqrt(len(against))]))


def _importance(trainer: Trainer) -> pd.Series:
    """Importances, strongest first; zeros where the model uses no feature."""
    importance = trainer.get_feature_importance()
    return importance.fillna(0.0)


def _strongest(scores: pd.Series, count: int) -> list[str]:
    """Up to ``count`` features with a score above 0, strongest first; of equals the first column."""
    scores = scores[scores > 0]
    return scores.index[np.argsort(-scores.to_numpy(), kind="stable")][:count].tolist()


def _one_of_each(score: pd.Series, groups: pd.Series, count: int) -> list[str]:
    """The strongest feature of each group that matters, by the group's mean score; then the second of each; ..."""
    strength = score.groupby(groups).transform("mean")
    place = score.groupby(groups).rank(ascending=False, method="first")
    order = np.lexsort((-strength.to_numpy(), place.to_numpy()))
    names = score.index[order]
    return names[strength.iloc[order].to_numpy() > 0][:count].tolist()


def _sizes(features: int, count: int | None) -> list[int]:
    """Numbers of features, descending to 1, ``count`` among them."""
    sizes = [features]
    while sizes[-1] > 1:
        sizes.append(min(sizes[-1] - 1, int(_KEPT * sizes[-1])))
    return sorted({*sizes, *([count] if count else [])}, reverse=True)
