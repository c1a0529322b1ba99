"""The whole pipeline on labels that mean nothing: split, purge, train, predict, score, again and again.

Labels are shuffled in blocks of sessions, the same for all symbols, so that they overlap and move together as they did.
What a model finds in them is what the pipeline gives away for nothing: it has to be chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_model_config
from DATA_PROCESSING.dataset import Dataset
from TRAINING.evaluation.metrics import PREDICTION_METRICS, Undefined
from TRAINING.evaluation.splits import Windows
from TRAINING.model_fun.registry import trainer_class
from TRAINING.research.association import CONFIDENCE
from TRAINING.research.checks import Check, worst
from TRAINING.research.foresight import usual_strength
from TRAINING.research.subject import Subject

NAME = "null"
MODEL, VARIANT = "lightgbm", "smoke"
FEWEST_ROWS = 100  # labelled, in each window
LUCK = 3.0  # standard deviations of the shuffled scores
FEWEST_TESTED = 20  # labelled test rows of a symbol that is scored


def check_null(subject: Subject, runs: int, margin: float, on_step: Callable[[str], None] = lambda text: None) -> Check:
    """Compare the model's score on true labels with its scores on shuffled ones.

    Failed where the shuffled ones are better than chance (a t interval of their mean, after
    `TRAINING.research.association.CONFIDENCE`), and where the true score is too good: more than ``margin`` above what
    past returns and volatility say, on the scale of `TRAINING.research.foresight`.

    Parameters
    ----------
    subject : Subject
    runs : int
        Shuffles per target.
    margin : float
    on_step : callable
        Told of each run, ``runs + 1`` per target.
    """
    numbers, verdicts, told = {}, [], []
    for target in subject.targets:
        found = _judge(subject, target, runs, margin, on_step)
        verdict, reason = found.pop("verdict"), found.pop("reason")
        numbers[target] = found
        verdicts.append(verdict)
        told.append((verdict, f"{target}: {reason}"))
    verdict = worst(verdicts)
    return Check(NAME, verdict, "; ".join(text for one, text in told if one == verdict), numbers)


def _judge(subject: Subject, target: str, runs: int, margin: float, on_step: Callable[[str], None]) -> dict:
    data, windows, binary = subject.dataset(target), subject.windows(target), subject.is_binary(target)
    labelled = data.y.notna().to_numpy()
    sizes = {name: int((getattr(windows, name) & labelled).sum()) for name in ("train", "validation", "test")}
    if min(sizes.values()) < FEWEST_ROWS:
        for _ in range(runs + 1):
            on_step(f"{target}: too few rows")
        few = min(sizes, key=sizes.get)
        reason = f"{sizes[few]} labelled rows in the {few} window; {FEWEST_ROWS} are needed"
        return {"verdict": "not applicable", "reason": reason}
    true = score(subject, data, windows, binary)
    on_step(f"{target}: true labels")
    shuffled = shuffled_scores(subject, target, windows, runs, on_step)
    chance, metric = (0.5, "AUC") if binary else (0.0, "rank IC")
    low, high = interval(shuffled)
    usual = usual_strength(subject, target)
    # A test window is short: what luck adds to its score is what it adds to the shuffled ones.
    most = (0.5 + (usual + margin) / 2 if binary else usual + margin) + LUCK * float(shuffled.std(ddof=1))
    found = {
        "metric": "auc" if binary else "rank_ic",
        "score": true,
        "null_mean": float(shuffled.mean()),
        "null_low": low,
        "null_high": high,
        "null_scores": shuffled.tolist(),
        "share_of_null_as_good": float((1 + (shuffled >= true).sum()) / (1 + runs)),
        "chance": chance,
        "usual": 0.5 + usual / 2 if binary else usual,
        "rows": sizes,
    }
    of_null = f"{metric} {shuffled.mean():.3f} ({low:.3f} to {high:.3f}) on shuffled labels, {true:.3f} on true ones"
    if low > chance:
        return found | {"verdict": "failed", "reason": f"better than chance where there is nothing to find: {of_null}"}
    if true > most:
        beyond = f"more than past returns and volatility ({found['usual']:.2f}) can tell"
        return found | {"verdict": "failed", "reason": f"too good to be true: {of_null}, {beyond}"}
    return found | {"verdict": "passed", "reason": of_null}


def shuffled_scores(
    subject: Subject, target: str, windows: Windows, runs: int, on_step: Callable[[str], None] = lambda text: None
) -> np.ndarray:
    """(runs,) scores of the pipeline on labels in shuffled blocks of sessions."""
    from joblib import Parallel, cpu_count, delayed

    data, binary, horizon = subject.dataset(target), subject.is_binary(target), subject.horizon(target)

    def run(number: int) -> float:
        y = shuffle(data.y.to_numpy(np.float64), subject, horizon, np.random.default_rng(number))
        shuffled = Dataset(data.X, pd.Series(y, data.y.index, name=target), data.rows)
        return score(subject, shuffled, windows, binary)

    scores = []
    # Threads serve: LightGBM trains in native code, with one thread per model.
    for found in Parallel(cpu_count(), backend="threading", return_as="generator")(map(delayed(run), range(runs))):
        scores.append(found)
        on_step(f"{target}: shuffle {len(scores)}")
    return np.array(scores)


def shuffle(y: np.ndarray, subject: Subject, horizon: int, random: np.random.Generator) -> np.ndarray:
    """Labels of the same symbol, from other times: blocks of sessions change places, the same for all symbols.

    A block is as long as labels overlap, three times over, and at least the cube root of the number of sessions. A
    symbol with gaps keeps its labels, in the blocks' order.
    """
    count = len(subject.sessions)
    length = max(3 * horizon, int(np.ceil(count ** (1 / 3))))
    blocks = -(-count // length)
    place = random.permutation(blocks)[subject.session // length]
    moved = np.empty_like(y)
    for rows in subject.rows_of_symbols():
        moved[rows] = y[rows][np.argsort(place[rows], kind="stable")]
    return moved


def score(subject: Subject, data: Dataset, windows: Windows, binary: bool) -> float:
    """The model's test score, AUC or rank IC, the mean over symbols by their rows.

    Within symbols, because some have more of a label than others, and to know that is no skill. Where nothing can be
    learnt, or scored, it is chance.
    """
    labelled, chance = data.y.notna().to_numpy(), 0.5 if binary else 0.0
    train, validation, test = (data.take(part & labelled) for part in (windows.train, windows.validation, windows.test))
    if train.y.nunique() < 2:
        return chance
    trainer = trainer_class(MODEL)(load_model_config(MODEL, VARIANT))
    trainer.train(train.X, train.y, validation.X, validation.y, rows=train.rows)
    predicted, y = trainer.predict_score(test.X), test.y.to_numpy(np.float64)
    codes = subject.codes[windows.test & labelled]
    metric = PREDICTION_METRICS["binary" if binary else "regression"][0].function
    scores, weights = [], []
    for code in np.unique(codes):
        own = codes == code
        try:
            scores.append(metric(y[own], predicted[own]) if own.sum() >= FEWEST_TESTED else np.nan)
        except Undefined:  # one class, or the same prediction everywhere
            scores.append(np.nan)
        weights.append(own.sum())
    known = np.isfinite(scores)
    if not known.any():
        return chance
    return float(np.average(np.array(scores)[known], weights=np.array(weights)[known]))


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Of the mean of independent scores, after Student."""
    from scipy.special import stdtrit

    half = stdtrit(len(scores) - 1, (1 + CONFIDENCE) / 2) * scores.std(ddof=1) / np.sqrt(len(scores))
    return float(scores.mean() - half), float(scores.mean() + half)
