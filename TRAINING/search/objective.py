"""What a trial is worth: the loss of its predictions on each fold, beside that of the base rate or of cash."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.metrics import SCORES
from TRAINING.evaluation.sharpe import return_moments
from TRAINING.model_fun.registry import predicts_position
from TRAINING.search.plan import TunePlan
from TRAINING.walkforward import WalkForwardEngine

BASE = {"binary": "base_rate", "regression": "mean"}
RISK_AVERSION = 2.0  # Morningstar's


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold of one trial.

    Attributes
    ----------
    loss : float
        The model's loss over that of the base rate (of the training rows' mean; of cash): below 1 it has learnt
        something.
    returns : Series
        Net returns per session; empty where the target is not traded.
    """

    loss: float
    returns: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))


def run_trial_fold(plan: TunePlan, engine: WalkForwardEngine, config: dict, number: int) -> FoldResult:
    """Train and test a configuration on one fold, everything fitted again on its training rows.

    The loss is the log loss, or the mean squared error, relative to the base rate's on the same rows: folds of wild and
    of calm years then weigh alike, and one less it is what a skill score says (Brier skill; out-of-sample R squared,
    Campbell and Thompson 2008). Positions have no error; see `disutility` for their loss.

    Raises
    ------
    DataError
        The fold cannot be trained, or its labels leave the loss undefined.
    """
    alone = copy.copy(engine)
    alone.folds = [engine.folds[number]]
    found = alone.run(plan.model, config, target=plan.target, backtest=plan.settings["backtest"])
    rows = found.returns["model"] == plan.model if len(found.returns) else slice(0)
    returns = found.returns.loc[rows].set_index("session")["net_return"].dropna()
    if predicts_position(plan.model):
        per_year = sessions_per_year(engine.panel.sessions)
        return FoldResult(disutility(returns.to_numpy(), per_year), returns)
    task = found.manifest["task"]
    losses = found.metrics[SCORES[task][1]]
    loss = float(losses[plan.model] / losses[BASE[task]])
    if task == "regression":
        loss **= 2  # of root mean squared errors
    if not np.isfinite(loss):
        raise DataError(f"tune: the loss of fold {number} is undefined, {losses[plan.model]:g} for {plan.model} and "
                        f"{losses[BASE[task]]:g} for {BASE[task]}")  # fmt: skip
    return FoldResult(loss, returns)


def disutility(returns: np.ndarray, per_year: float) -> float:
    """Mean of ``(1 + r)^-2``, over a year: 1 for cash, below it for positions that earn more than their risk costs.

    The loss behind Morningstar's risk-adjusted return M, which is ``(1 + M)^-2`` ("The Morningstar Rating Methodology",
    2009, of power utility).

    Parameters
    ----------
    returns : (n,) float
        Net returns per session, fractions above -1.
    per_year : float
        Sessions in a year.

    Raises
    ------
    DataError
        No returns, or one that loses everything.
    """
    if not len(returns) or returns.min() <= -1:
        lowest = f"one of {returns.min():g}" if len(returns) else "none"
        raise DataError(f"tune: positions are compared by net returns above -1; got {lowest}")
    return float(np.mean((1 + returns) ** -RISK_AVERSION) ** per_year)


def sharpe_of(results: list[FoldResult]) -> tuple[float, int]:
    """Sharpe ratio per session of the folds' returns in a row, NaN where undefined, and how many sessions these are."""
    returns = pd.concat([result.returns for result in results])
    moments = return_moments(returns)
    return moments.sharpe, moments.periods
