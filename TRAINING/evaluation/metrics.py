"""Scores of predictions and of money: tables of metrics, each a few lines.

They are computed for every symbol, so they use numpy and scipy's ranks: scikit-learn's own functions spend about 1 ms
a call on checks, and serve as the oracle in the tests. A metric that is undefined on the given rows is NaN with a
reason, never 0 or 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean


class Undefined(Exception):
    """Raised by a metric that has no value on the given rows; its text is the reason."""


@dataclass(frozen=True)
class Metric:
    """A row of the tables: ``function(y, prediction)`` or, in ``MONEY_METRICS``, ``function(money)``."""

    name: str
    function: Callable[..., float]
    higher_is_better: bool
    text: str


@dataclass(frozen=True)
class Scores:
    """``values``: metric -> value, NaN where undefined; ``reasons``: undefined metric -> why."""

    values: dict[str, float]
    reasons: dict[str, str]
    rows: int
    left_out: int

    @property
    def reason(self) -> str:
        """Each reason once, after the metrics that it leaves undefined."""
        whys = dict.fromkeys(self.reasons.values())
        return "; ".join(f"{', '.join(n for n, why in self.reasons.items() if why == one)}: {one}" for one in whys)


@dataclass(frozen=True, eq=False)
class Money:
    """What the money metrics read, see :func:`score_money`."""

    net_return: np.ndarray
    position: np.ndarray
    asset_return: np.ndarray
    position_change: np.ndarray
    periods_per_year: float


# ---- predictions ----------------------------------------------------------------------------------------------------


def row_loss(task: str, y: ArrayLike, prediction: ArrayLike) -> np.ndarray:
    """Loss of each row, lower is better: log loss for ``binary``, squared error for ``regression``.

    Parameters
    ----------
    task : {"binary", "regression"}
    y, prediction : (n,)
        Labels and probabilities of class 1, or values. NaN in either gives a NaN loss.

    Returns
    -------
    (n,) float64
        Probabilities are clipped to [eps, 1 - eps] of float64, as scikit-learn does, so every loss is finite.
    """
    y, prediction = _pair(task, y, prediction)
    if task == "regression":
        return (y - prediction) ** 2
    clipped = np.clip(prediction, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return -np.log(np.where(np.isnan(y), np.nan, np.where(y == 1, clipped, 1 - clipped)))


def auc(y: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half."""
    from scipy.stats import rankdata

    positives = int(y.sum())
    negatives = len(y) - positives
    if not (positives and negatives):
        raise Undefined("the labels have one class only")
    rank_sum = rankdata(probability)[y == 1].sum()
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def rank_ic(y: np.ndarray, prediction: np.ndarray) -> float:
    """Spearman's rank correlation."""
    from scipy.stats import rankdata

    return ic(rankdata(y), rankdata(prediction))


def ic(y: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation."""
    for values, what in ((y, "labels"), (prediction, "predictions")):
        if values.min() == values.max():
            raise Undefined(f"the {what} are constant")
    y, prediction = y - y.mean(), prediction - prediction.mean()
    return (y @ prediction) / np.sqrt((y @ y) * (prediction @ prediction))


def r2(y: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the variance of these rows' labels that is explained; below 0 when their mean predicts better."""
    if y.min() == y.max():
        raise Undefined("the labels are constant")
    return 1 - ((y - prediction) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def sign_accuracy(y: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the rows with a non-zero label whose sign is predicted; a prediction of 0 is wrong."""
    signs = np.sign(y[y != 0])
    if not len(signs) or signs.min() == signs.max():
        raise Undefined("the labels do not have both signs")
    return (signs == np.sign(prediction[y != 0])).mean()


_ACCURACY = "share of rows whose class (probability above 0.5) or sign (label not 0) is predicted"

PREDICTION_METRICS: dict[str, tuple[Metric, ...]] = {
    "binary": (
        Metric("auc", auc, True, "area under the ROC curve"),
        Metric("log_loss", lambda y, p: row_loss("binary", y, p).mean(), False, "mean log loss of the probabilities"),
        Metric("brier", lambda y, p: ((y - p) ** 2).mean(), False, "mean squared error of the probabilities"),
        Metric("accuracy", lambda y, p: ((p > 0.5) == (y == 1)).mean(), True, _ACCURACY),
    ),
    "regression": (
        Metric("rank_ic", rank_ic, True, "Spearman correlation of predictions and labels"),
        Metric("ic", ic, True, "Pearson correlation of predictions and labels"),
        Metric("rmse", lambda y, p: np.sqrt(((y - p) ** 2).mean()), False, "root mean squared error"),
        Metric("mae", lambda y, p: np.abs(y - p).mean(), False, "mean absolute error"),
        Metric("r2", r2, True, "share of the labels' variance explained"),
        Metric("accuracy", sign_accuracy, True, _ACCURACY),
    ),
}


SCORES = {"binary": ("auc", "log_loss"), "regression": ("rank_ic", "rmse")}  # what models are compared by, and the loss


def score_predictions(task: str, y: ArrayLike, prediction: ArrayLike, *, is_position: bool = False) -> Scores:
    """Score predictions against labels.

    Parameters
    ----------
    task : {"binary", "regression"}
    y : (n,)
        Labels; rows with NaN are left out and counted.
    prediction : (n,)
        Probabilities of class 1, or values. A prediction missing on a labelled row makes every metric undefined, so
        that a model cannot choose its rows.
    is_position : bool
        Whether values are positions rather than forecasts, which have no error.

    Raises
    ------
    ConfigError
        If the task is unknown.
    DataError
        If lengths differ, or a binary label is not 0 or 1, or a probability is outside [0, 1].
    """
    y, prediction = _pair(task, y, prediction)
    labelled = ~np.isnan(y)
    y, prediction = y[labelled], prediction[labelled]
    missing = int((~np.isfinite(prediction)).sum())
    if not len(y):
        reason = "no row has a label"
    elif missing:
        reason = f"{missing} of {len(y)} predictions are not finite"
    else:
        reason = None
    scores = collect(PREDICTION_METRICS[task], (y, prediction), reason, len(y), len(labelled) - len(y))
    if not is_position or task != "regression":
        return scores
    undefined = dict.fromkeys(("rmse", "mae", "r2"), "it predicts positions, which have no error")
    values = scores.values | dict.fromkeys(undefined, np.nan)
    return replace(scores, values=values, reasons=scores.reasons | undefined)


def _pair(task: str, y: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    if task not in PREDICTION_METRICS:
        raise ConfigError(f"metrics: the task {task!r} is unknown{did_you_mean(task, PREDICTION_METRICS)}")
    y, prediction = np.asarray(y, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if y.ndim != 1 or y.shape != prediction.shape:
        raise DataError(f"metrics: one prediction per label is needed; got {prediction.shape} for {y.shape}")
    if task == "binary":
        if not ((y == 0) | (y == 1) | np.isnan(y)).all():
            raise DataError("metrics: binary labels must be 0, 1 or missing; choose the regression task for others")
        if (prediction < 0).any() or (prediction > 1).any():
            raise DataError("metrics: binary predictions must be probabilities within [0, 1]; got others")
    return y, prediction


# ---- money ----------------------------------------------------------------------------------------------------------


def _spread(returns: np.ndarray) -> float:
    if len(returns) < 2:
        raise Undefined("fewer than 2 returns")
    if returns.min() == returns.max():
        raise Undefined("the returns do not vary")
    return returns.std(ddof=1)


def _wealth(returns: np.ndarray) -> np.ndarray:
    """Compound from 1; a bar that loses everything ends the account at 0 for good."""
    return np.append(1.0, np.maximum(1 + returns, 0)).cumprod()


def sharpe(money: Money) -> float:
    """Mean over standard deviation (ddof 1) of the net returns, annualised; the risk-free rate is 0."""
    return money.net_return.mean() / _spread(money.net_return) * np.sqrt(money.periods_per_year)


def sortino(money: Money) -> float:
    """Mean over downside deviation (root mean square of the losses over all bars), annualised."""
    downside = np.sqrt((np.minimum(money.net_return, 0) ** 2).mean())
    if downside == 0:
        raise Undefined("no bar loses")
    return money.net_return.mean() / downside * np.sqrt(money.periods_per_year)


def max_drawdown(money: Money) -> float:
    """Largest fall of compounded wealth from its peak, a fraction within [-1, 0]."""
    wealth = _wealth(money.net_return)
    return (wealth / np.maximum.accumulate(wealth) - 1).min()


def annual_return(money: Money) -> float:
    """Compound growth per year."""
    return _wealth(money.net_return)[-1] ** (money.periods_per_year / len(money.net_return)) - 1


def calmar(money: Money) -> float:
    """Annual return over the size of the largest drawdown."""
    drawdown = max_drawdown(money)
    if drawdown == 0:
        raise Undefined("there is no drawdown")
    return annual_return(money) / -drawdown


def hit_rate(money: Money) -> float:
    """Share of non-zero positions whose sign is the asset return's; a return of 0 is a miss."""
    taken = money.position != 0
    if not taken.any():
        raise Undefined("no position is taken")
    return (np.sign(money.position[taken]) == np.sign(money.asset_return[taken])).mean()


def profit_factor(money: Money) -> float:
    """Sum of the gains over the sum of the losses, of the net returns."""
    losses = -np.minimum(money.net_return, 0).sum()
    if losses == 0:
        raise Undefined("no bar loses")
    return np.maximum(money.net_return, 0).sum() / losses


def win_loss_ratio(money: Money) -> float:
    """Mean gain over mean loss, of the net returns."""
    gains, losses = money.net_return[money.net_return > 0], money.net_return[money.net_return < 0]
    if not len(gains):
        raise Undefined("no bar gains")
    if not len(losses):
        raise Undefined("no bar loses")
    return gains.mean() / -losses.mean()


MONEY_METRICS: tuple[Metric, ...] = (
    Metric("sharpe", sharpe, True, "mean over standard deviation of net returns, a year"),
    Metric("sortino", sortino, True, "mean over downside deviation of net returns, a year"),
    Metric("calmar", calmar, True, "annual return over the largest drawdown"),
    Metric("max_drawdown", max_drawdown, True, "largest fall from a peak, as a negative fraction"),
    Metric("annual_return", annual_return, True, "compound growth a year, after costs"),
    Metric(
        "volatility",
        lambda money: money.net_return.std(ddof=1) * np.sqrt(money.periods_per_year),
        False,
        "standard deviation of net returns, a year",
    ),
    Metric("hit_rate", hit_rate, True, "share of positions on the right side of the bar's return"),
    Metric("profit_factor", profit_factor, True, "sum of gains over sum of losses"),
    Metric("win_loss_ratio", win_loss_ratio, True, "mean gain over mean loss"),
    Metric(
        "turnover",
        lambda money: money.position_change.mean() * money.periods_per_year,
        False,
        "sum of changes of position a year, in units of capital",
    ),
    Metric("exposure", lambda money: np.abs(money.position).mean(), False, "mean size of the position"),
)


def score_money(
    net_return: ArrayLike,
    position: ArrayLike,
    asset_return: ArrayLike,
    periods_per_year: float,
    position_change: ArrayLike | None = None,
) -> Scores:
    """Score net returns, of one symbol or of a portfolio.

    Parameters
    ----------
    net_return : (n,)
        Net return of each bar (one symbol) or session (portfolio), in time order.
    position, asset_return : (m,)
        Position and asset return of each bar; for a portfolio those of all symbols, concatenated.
    periods_per_year : float
        Bars or sessions in a year.
    position_change : (m,) or (n,), optional
        ``|change of position|`` of each bar, or a portfolio's of each session. By default the consecutive differences
        of ``position``, from 0, which only suit one symbol.

    Returns
    -------
    Scores
        Undefined throughout when a value is missing or there are fewer than 2 returns.
    """
    position = np.asarray(position, dtype=np.float64)
    money = Money(
        net_return=np.asarray(net_return, dtype=np.float64),
        position=position,
        asset_return=np.asarray(asset_return, dtype=np.float64),
        position_change=np.abs(np.diff(position, prepend=0.0))
        if position_change is None
        else np.asarray(position_change, dtype=np.float64),
        periods_per_year=periods_per_year,
    )
    shapes = (money.position.shape, money.net_return.shape)
    if money.asset_return.shape != money.position.shape or money.position_change.shape not in shapes:
        raise DataError(
            f"metrics: positions, their changes and asset returns go together; got {money.position.shape}, "
            f"{money.position_change.shape} and {money.asset_return.shape}"
        )
    missing = int((~np.isfinite(money.net_return)).sum())
    if len(money.net_return) < 2 or not len(position):
        reason = f"{len(money.net_return)} returns and {len(position)} positions are too few"
    elif missing:
        reason = f"{missing} of {len(money.net_return)} returns are not finite"
    else:
        reason = None
    return collect(MONEY_METRICS, (money,), reason, len(money.net_return), 0)


# ---- both -----------------------------------------------------------------------------------------------------------


def collect(metrics: Sequence[Metric], arguments: tuple, reason: str | None, rows: int, left_out: int) -> Scores:
    """Compute each metric, or give all of them the reason why none is defined."""
    if reason is not None:
        return Scores({m.name: np.nan for m in metrics}, {m.name: reason for m in metrics}, rows, left_out)
    values, reasons = {}, {}
    with np.errstate(all="ignore"):
        for metric in metrics:
            try:
                value = float(metric.function(*arguments))
            except Undefined as undefined:
                value = np.nan
                reasons[metric.name] = str(undefined)
            if not np.isfinite(value):
                value = np.nan
                reasons.setdefault(metric.name, "the numbers are too large or too small to compute it")
            values[metric.name] = value
    return Scores(values, reasons, rows, left_out)
