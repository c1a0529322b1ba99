"""What a trial is worth: the loss of its predictions on each fold, beside that of the base rate."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from TRAINING.evaluation.metrics import SCORES
from TRAINING.evaluation.sharpe import return_moments
from TRAINING.search.plan import TunePlan
from TRAINING.walkforward import WalkForwardEngine

BASE = {"binary": "base_rate", "regression": "mean"}


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold of one trial.

    Attributes
    ----------
    loss : float
        The model's loss over that of the base rate (or of the training rows' mean): below 1 it has learnt something.
    returns : Series
        Net returns per session; empty where the target is not traded.
    """

    loss: float
    returns: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))


def run_trial_fold(plan: TunePlan, engine: WalkForwardEngine, config: dict, number: int) -> FoldResult:
    """Train and test a configuration on one fold, everything fitted again on its training rows.

    The loss is the log loss, or the mean squared error, relative to the base rate's on the same rows: folds of wild and
    of calm years then weigh alike, and one less it is what a skill score says (Brier skill; out-of-sample R squared,
    Campbell and Thompson 2008).

    Raises
    ------
    DataError
        The fold cannot be trained, or its labels leave the loss undefined.
    """
    alone = copy.copy(engine)
    alone.folds = [engine.folds[number]]
    found = alone.run(plan.model, config, target=plan.target, backtest=plan.settings["backtest"])
    task = found.manifest["task"]
    losses = found.metrics[SCORES[task][1]]
    loss = float(losses[plan.model] / losses[BASE[task]])
    if task == "regression":
        loss **= 2  # of root mean squared errors
    if not np.isfinite(loss):
        raise DataError(f"tune: the loss of fold {number} is undefined, {losses[plan.model]:g} for {plan.model} and "
                        f"{losses[BASE[task]]:g} for {BASE[task]}")  # fmt: skip
    rows = found.returns["model"] == plan.model if len(found.returns) else slice(0)
    return FoldResult(loss, found.returns.loc[rows].set_index("session")["net_return"].dropna())


def sharpe_of(results: list[FoldResult]) -> tuple[float, int]:
    """Sharpe ratio per session of the folds' returns in a row, NaN where undefined, and how many sessions these are."""
    returns = pd.concat([result.returns for result in results])
    moments = return_moments(returns)
    return moments.sharpe, moments.periods
