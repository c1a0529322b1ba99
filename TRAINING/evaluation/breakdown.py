"""Metrics by symbol, calendar year, regime of volatility and fold: where a model's result comes from.

Rows are those of `TRAINING.evaluation.portfolio`, with ``fold, close, y, prediction`` besides. Baselines are models
like any other, so each table has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.metrics import PREDICTION_METRICS, Scores, collect, score_predictions
from TRAINING.evaluation.portfolio import Groups, score_portfolio

REGIMES = ("calm", "middle", "turbulent")
UNKNOWN = "unknown"
REGIME_WINDOW = 60


def regimes(market: pd.Series, window: int = REGIME_WINDOW) -> pd.Series:
    """Name the regime of each session by what was known before it began.

    The volatility is the standard deviation of the ``window`` sessions before; a session is calm or turbulent when that
    is in the lowest or in the highest third of all such volatilities so far, its own included.

    Parameters
    ----------
    market : Series
        The market's return per session, in time order, indexed by session.
    window : int
        Sessions; as many volatilities are needed for the thirds, so the first ``2 * window - 1`` sessions are unknown.

    Returns
    -------
    Series of text
        ``calm``, ``middle``, ``turbulent`` or ``unknown``; same index.
    """
    volatility = market.dropna().rolling(window).std().shift(1)
    low, high = (volatility.expanding(window).quantile(share) for share in (1 / 3, 2 / 3))
    names = np.select([low.isna(), volatility <= low, volatility > high], [UNKNOWN, "calm", "turbulent"], "middle")
    return pd.Series(names, volatility.index, name="regime").reindex(market.index, fill_value=UNKNOWN)


def market_returns(rows: pd.DataFrame) -> pd.Series:
    """The mean return of the symbols in each session, close to close; the first session of the rows has none.

    Parameters
    ----------
    rows : DataFrame
        ``model, symbol, session, close``; the closes are read from the model with the most rows.
    """
    largest = rows["model"].value_counts().idxmax()
    closes = rows.loc[rows["model"] == largest, ["symbol", "session", "close"]]
    closes = closes.drop_duplicates(["symbol", "session"], keep="last")
    change = closes["close"] / closes.groupby("symbol", observed=True)["close"].shift() - 1
    return change.groupby(closes["session"]).mean().rename("market")


def _years(rows: pd.DataFrame, known: pd.Series | None) -> np.ndarray:
    day, days = pd.factorize(rows["session"])
    return pd.DatetimeIndex(days).year.to_numpy()[day]


def _regimes(rows: pd.DataFrame, known: pd.Series | None) -> pd.Categorical:
    known = regimes(market_returns(rows)) if known is None else known
    day, days = pd.factorize(rows["session"])
    names = pd.Categorical(known.reindex(days).fillna(UNKNOWN), [*REGIMES, UNKNOWN], ordered=True)
    return names[day]


GROUPS: dict[str, Callable[[pd.DataFrame, pd.Series | None], ArrayLike]] = {
    "symbol": lambda rows, known: rows["symbol"],
    "year": _years,
    "regime": _regimes,
    "fold": lambda rows, known: rows["fold"],
}


def breakdown(
    rows: pd.DataFrame, task: str, by: str, known_regimes: pd.Series | None = None, positions: Collection[str] = ()
) -> pd.DataFrame:
    """Score each model on each part of its rows.

    Predictions are scored over all rows of a part, money over the sessions of its equal-weight portfolio, annualised by
    the sessions of the model's rows (of a symbol's rows, by symbol).

    Parameters
    ----------
    rows : DataFrame
        See the module.
    task : {"binary", "regression"}
    by : {"symbol", "year", "regime", "fold"}
    known_regimes : Series of text, optional
        The regime of each session, from :func:`regimes` of a market that is longer than the rows; by default that of
        their own closes, whose first sessions are unknown.
    positions : collection of str
        Models whose values are positions rather than forecasts, which have no error.

    Returns
    -------
    DataFrame
        A row per part and model, in this order: ``by, model, rows, sessions, symbols``, the metrics, and the ``reason``
        why some are NaN.

    Raises
    ------
    ConfigError
        An unknown task or part.
    DataError
        No rows.
    """
    if by not in GROUPS:
        raise ConfigError(f"breakdown: by: {by!r} is unknown{did_you_mean(by, GROUPS)}")
    if task not in PREDICTION_METRICS:
        raise ConfigError(f"breakdown: the task {task!r} is unknown{did_you_mean(task, PREDICTION_METRICS)}")
    if not len(rows):
        raise DataError("breakdown: there are no rows")

    part = GROUPS[by](rows, known_regimes)
    groups = Groups.of(rows[["model", "symbol", "session"]].assign(**{by: part}), (by, "model"))
    y, prediction, position, asset_return, net_return, turnover = (
        rows[name].to_numpy(float)[groups.order]
        for name in ("y", "prediction", "position", "asset_return", "net_return", "position_change")
    )
    days = groups.sessions.astype("datetime64[D]")
    traded = {model: np.zeros(len(days), bool) for _, model in groups.names}
    for (_, model), place in zip(groups.names, groups.places, strict=True):
        traded[model][groups.session[place]] = True
    yearly = {model: sessions_per_year(days[among]) for model, among in traded.items()}

    table = []
    for (name, model), place in zip(groups.names, groups.places, strict=True):
        sessions = groups.present(place)
        predicted = _score(task, y[place], prediction[place], model in positions)
        earned = score_portfolio(
            groups.average(place, net_return, total=True)[sessions],
            groups.average(place, turnover, total=True)[sessions],
            position[place],
            asset_return[place],
            sessions_per_year(days[sessions]) if by == "symbol" else yearly[model],
        )
        table.append(
            {
                by: name,
                "model": model,
                "rows": place.stop - place.start,
                "sessions": len(sessions),
                "symbols": 1 + np.count_nonzero(np.diff(groups.symbol[place])),
                **predicted.values,
                **earned.values,
                "reason": "; ".join(scores.reason for scores in (predicted, earned) if scores.reasons),
            }
        )
    return pd.DataFrame(table)


def _score(task: str, y: np.ndarray, prediction: np.ndarray, is_position: bool) -> Scores:
    if np.isnan(prediction).all():
        return collect(PREDICTION_METRICS[task], (), "no predictions", 0, len(y))
    return score_predictions(task, y, prediction, is_position=is_position)
