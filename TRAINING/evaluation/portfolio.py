"""From rows of single symbols to equal-weight portfolios: returns per session, scores, what costs do to them.

Rows are those of a walk-forward or of a phase: one per model, symbol and bar, in time order within a symbol, with
``model, symbol, session, position, position_change, asset_return, net_return``; the last four are missing where the
target has no money rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.metrics import MONEY_METRICS, Scores, collect, score_money


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows put in order by group, symbol and session.

    Attributes
    ----------
    names : list of tuple
        The values of the keys, of each group.
    places : list of slice
        Where each group lies in the arrays below.
    order : (n,) int
        Positions of the rows.
    symbol, session : (n,) int
        Codes.
    sessions : (k,) datetime64[ns]
        What the codes of sessions stand for, sorted.
    """

    names: list[tuple]
    places: list[slice]
    order: np.ndarray
    symbol: np.ndarray
    session: np.ndarray
    sessions: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, keys: Sequence[str]) -> Groups:
        """Group rows by ``keys``, in order of their values; bars of one symbol and session keep their order."""
        group, names = np.zeros(len(rows), np.int64), [()]
        for key in keys:
            code, values = pd.factorize(rows[key], sort=True)
            group = group * len(values) + code
            names = [(*name, value) for name in names for value in values]
        session, sessions = pd.factorize(rows["session"], sort=True)
        symbol = pd.factorize(rows["symbol"])[0]
        # Small integers are sorted by counting.
        order = np.argsort(group.astype(np.min_scalar_type(len(names))), kind="stable")
        within = (group * (symbol.max(initial=0) + 1) + symbol) * len(sessions) + session
        if (np.diff(within[order]) < 0).any():
            order = np.argsort(within, kind="stable")
        group = group[order]
        begins = np.flatnonzero(np.diff(group, prepend=-1))
        places = [slice(*place) for place in pairwise([*begins, len(group)])]
        names = [names[code] for code in group[begins]]
        return cls(names, places, order, symbol[order], session[order], np.asarray(sessions, "datetime64[ns]"))

    def present(self, place: slice) -> np.ndarray:
        """Codes of the sessions of a group, sorted."""
        return np.flatnonzero(np.bincount(self.session[place]))

    def average(self, place: slice, values: np.ndarray, *, total: bool) -> np.ndarray:
        """Mean over a group's symbols per session: each symbol counts the same, however many bars it has.

        Parameters
        ----------
        place : slice
            The group.
        values : (n,)
            In order; NaN is left out.
        total : bool
            A symbol's bars of a session are added up, else averaged.

        Returns
        -------
        (k,) float64
            One value per session; NaN where no symbol has one.
        """
        values, symbol, session = values[place], self.symbol[place], self.session[place]
        if (missing := np.isnan(values)).any():
            values, symbol, session = values[~missing], symbol[~missing], session[~missing]
        first = np.append(True, (np.diff(symbol) | np.diff(session)) != 0)[: len(values)]
        active = np.bincount(session[first], minlength=len(self.sessions))
        if not (total or first.all()):
            bars = np.diff(np.append(np.flatnonzero(first), len(values)))
            values = values / np.repeat(bars, bars)
        with np.errstate(invalid="ignore"):
            return np.bincount(session, values, len(self.sessions)) / active


def portfolio(rows: pd.DataFrame, keys: Sequence[str] = ("model",)) -> pd.DataFrame:
    """The portfolio that holds the same share of capital in each symbol active in a session.

    A symbol is active in the sessions in which it has a bar with a position, be it 0.

    Parameters
    ----------
    rows : DataFrame
    keys : columns whose values each make a portfolio of their own

    Returns
    -------
    DataFrame
        A row per portfolio and session, in order: ``keys``, ``session``, ``net_return`` and ``gross_return`` (fractions
        of capital, after and before costs), ``turnover`` (mean change of position) and ``exposure`` (mean size of the
        position). NaN where no symbol is active.
    """
    position = rows["position"].astype(float)
    money = {
        "net_return": rows["net_return"].astype(float),
        "gross_return": position * rows["asset_return"].astype(float),
        "turnover": rows["position_change"].astype(float),
        "exposure": position.abs(),
    }
    return by_session(
        rows[[*dict.fromkeys([*keys, "session", "symbol"])]].assign(**money), keys, [*money][:3], [*money][3:]
    )


def by_session(
    rows: pd.DataFrame, keys: Sequence[str], total: Sequence[str] = (), mean: Sequence[str] = ()
) -> pd.DataFrame:
    """Join the bars of each symbol's session, then average over symbols, so that each symbol counts the same.

    Parameters
    ----------
    rows : DataFrame
        With ``keys``, ``session``, ``symbol`` and the columns to join; missing values are left out.
    keys : columns to group by, besides the session
    total, mean : columns whose bars are added up, and averaged

    Returns
    -------
    DataFrame
        ``keys``, ``session`` and the columns, sorted by keys and session.
    """
    groups = Groups.of(rows, keys)
    columns = {name: rows[name].to_numpy(float)[groups.order] for name in (*total, *mean)}
    parts = []
    for name, place in zip(groups.names, groups.places, strict=True):
        present = groups.present(place)
        averages = {column: groups.average(place, values, total=column in total)[present]
                    for column, values in columns.items()}  # fmt: skip
        parts.append(
            pd.DataFrame(dict(zip(keys, name, strict=True)) | {"session": groups.sessions[present]} | averages)
        )
    if parts:
        return pd.concat(parts, ignore_index=True)
    return rows[[*keys, "session", *columns]].iloc[:0].reset_index(drop=True)


def score_portfolio(
    net_return: ArrayLike, turnover: ArrayLike, position: ArrayLike, asset_return: ArrayLike, sessions_a_year: float
) -> Scores:
    """Score one portfolio by the money metrics.

    Parameters
    ----------
    net_return, turnover : (n_sessions,)
        See :func:`portfolio`; sessions without a return are left out.
    position, asset_return : (n_rows,)
        Of its symbols' bars, for the metrics of single positions.
    sessions_a_year : float

    Returns
    -------
    Scores
        Undefined throughout when no session has a return: the target has no money rule.
    """
    net_return, turnover = np.asarray(net_return, dtype=np.float64), np.asarray(turnover, dtype=np.float64)
    known = ~np.isnan(net_return)
    if not known.any():
        return collect(MONEY_METRICS, (), "the target has no money rule", 0, len(known))
    return score_money(net_return[known], position, asset_return, sessions_a_year, turnover[known])


def cost_sensitivity(rows: pd.DataFrame, bps: Sequence[float] = (0, 5, 10, 20)) -> pd.DataFrame:
    """What is left of each model at other costs; positions stay as they are.

    Parameters
    ----------
    rows : DataFrame
        See the module.
    bps : costs of a change of position by 1, in basis points of capital

    Returns
    -------
    DataFrame
        A row per model and cost: ``model, cost_bps, sharpe, annual_return, max_drawdown, reason``; the reason says why
        a number is NaN.

    Raises
    ------
    ConfigError
        A cost is negative or not finite.
    """
    if wrong := [cost for cost in bps if not 0 <= cost < np.inf]:
        raise ConfigError(f"cost sensitivity: costs must be finite and at least 0 bps; got {wrong[0]:g}")
    shown = ("sharpe", "annual_return", "max_drawdown")
    table = []
    bars = dict(iter(rows[["model", "position", "asset_return"]].groupby("model", observed=True)))
    for model, sessions in portfolio(rows).groupby("model"):
        position, asset_return = bars[model]["position"], bars[model]["asset_return"]
        sessions_a_year = sessions_per_year(sessions["session"].to_numpy("datetime64[D]"))
        turnover = sessions["turnover"]
        for cost in bps:
            net_return = sessions["gross_return"] - cost / 1e4 * turnover
            scores = score_portfolio(net_return, turnover, position, asset_return, sessions_a_year)
            scores = replace(scores, reasons={name: why for name, why in scores.reasons.items() if name in shown})
            values = {name: scores.values[name] for name in shown}
            table.append({"model": model, "cost_bps": float(cost), **values, "reason": scores.reason})
    return pd.DataFrame(table, columns=["model", "cost_bps", *shown, "reason"])


def position_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of the bars on which each model is long, short and flat, and its mean position.

    Returns
    -------
    DataFrame
        A row per model: ``model, long, short, flat`` (add up to 1) and ``position``; NaN for a model without positions.
    """
    position = rows["position"].astype(float)
    sides = pd.DataFrame({"long": position > 0, "short": position < 0, "flat": position == 0}).astype(float)
    sides = sides.where(position.notna()).assign(position=position)
    shares = sides.groupby(rows["model"], observed=True).mean().reset_index()
    return shares.astype({"model": object})


def session_means(session: np.ndarray, symbol: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Per session, in time order, the mean over symbols of the sum over a symbol's bars: `portfolio` of one group.

    Parameters
    ----------
    session, symbol : (n,) int
        Codes.
    values : (n,) float
    """
    _, bar = np.unique(session * (symbol.max() + 1) + symbol, return_inverse=True)
    sums, of_session = np.bincount(bar, values), np.empty(bar.max() + 1, np.int64)
    of_session[bar] = session
    of_session -= of_session[0]
    counts = np.bincount(of_session)
    present = counts > 0
    return np.bincount(of_session, sums)[present] / counts[present]
