"""Information coefficients: do predictions order what comes?

The coefficient of a session is the correlation of predictions and labels over its symbols (Pearson's: IC; Spearman's:
rank IC; Grinold & Kahn, *Active Portfolio Management*, 2000, chapter 6). In panels of few symbols it says next to
nothing; there it is the correlation through time of each symbol, averaged over symbols.

Rows are those of `TRAINING.evaluation.breakdown`. Rows without a label are left out; a labelled row without a
prediction makes a coefficient undefined, so that a model cannot choose its rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from TRAINING.evaluation.autocorrelation import default_lags, newey_west_mean
from TRAINING.evaluation.backtest import cross_sections
from TRAINING.evaluation.significance import FEWEST_BLOCKS

FEWEST_SYMBOLS = 5
COEFFICIENTS = ("ic", "rank_ic")


def session_information(rows: pd.DataFrame, fewest_symbols: int = FEWEST_SYMBOLS) -> pd.DataFrame:
    """The coefficients of each session; where symbols have several bars in a session, the mean over its timestamps.

    Parameters
    ----------
    rows : DataFrame
        ``model, symbol, session, timestamp, y, prediction``.
    fewest_symbols : int
        Labelled symbols that a cross-section needs, at least 2.

    Returns
    -------
    DataFrame
        ``model, session, symbols`` (the most at one time)``, ic, rank_ic``, in order. NaN where the symbols are too
        few, a prediction is missing, or labels or predictions do not vary.

    Raises
    ------
    ConfigError
        ``fewest_symbols`` is below 2.
    """
    if fewest_symbols < 2:
        raise ConfigError(f"information: fewest_symbols must be at least 2; got {fewest_symbols}")
    columns = ["model", "session", "symbols", *COEFFICIENTS]
    frames = [pd.DataFrame(columns=columns)]
    for model, own in rows[rows["y"].notna()].groupby("model", observed=True):
        section = cross_sections(own["symbol"], own["session"], own["timestamp"])
        symbols = np.bincount(section)
        table = pd.DataFrame({"session": own["session"].to_numpy()[np.unique(section, return_index=True)[1]]})
        table["symbols"] = symbols
        for coefficient in COEFFICIENTS:
            values = _correlations(own, section, coefficient)
            table[coefficient] = np.where(symbols < fewest_symbols, np.nan, values)
        joined = table.groupby("session").agg({"symbols": "max", "ic": "mean", "rank_ic": "mean"}).reset_index()
        frames.append(joined.assign(model=model)[columns])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def information(rows: pd.DataFrame, horizon: float = 1, fewest_symbols: int = FEWEST_SYMBOLS) -> pd.DataFrame:
    """The mean coefficients of each model, and how sure they are.

    Parameters
    ----------
    rows : DataFrame
        See :func:`session_information`.
    horizon : float
        Of the labels, in sessions; those of neighbouring sessions overlap.
    fewest_symbols : int
        Where fewer than half of a model's sessions have as many, the coefficient is the one through time.

    Returns
    -------
    DataFrame
        Two rows per model, ``ic`` and ``rank_ic``: ``model, coefficient``, ``method`` (``cross-section`` or ``time
        series``), ``mean``, ``deviation`` of the sessions (ddof 1), ``icir`` (mean over deviation, not annualised),
        ``t_statistic`` with Newey-West errors, ``sessions`` that have a value, ``left_out`` (that have none) and
        ``reason``: why the method is the other one and why numbers are NaN.

    Raises
    ------
    ConfigError
        As :func:`session_information`.
    """
    columns = ["model", "coefficient", "method", "mean", "deviation", "icir", "t_statistic", "sessions", "left_out"]
    by_session = dict(iter(session_information(rows, fewest_symbols).groupby("model")))
    table = []
    for model, own in rows.groupby("model", observed=True):
        known = own[own["y"].notna()]
        missing = int((~np.isfinite(known["prediction"].to_numpy(float))).sum())
        for coefficient in COEFFICIENTS:
            row = {"model": model, "coefficient": coefficient, "method": "", "sessions": 0, "left_out": 0}
            if missing or not len(known):
                table.append(row | {"reason": _why(missing, len(known))})
            elif (by_session[model]["symbols"] >= fewest_symbols).mean() >= 0.5:
                row["method"] = "cross-section"
                table.append(row | _summary(by_session[model][coefficient].to_numpy(float), horizon))
            else:
                summary = _summary(_through_time(known, coefficient), horizon)
                few = f"fewer than {fewest_symbols} symbols in most sessions: mean over symbols of each one's own"
                row |= summary | {"method": "time series", "deviation": np.nan, "icir": np.nan}
                table.append(row | {"reason": "; ".join(filter(None, [few, summary["reason"]]))})
    return pd.DataFrame(table).reindex(columns=[*columns, "reason"])


def decay(
    rows: pd.DataFrame,
    lags: Sequence[int] = (0, 1, 2, 5, 10, 20),
    horizon: float = 1,
    fewest_symbols: int = FEWEST_SYMBOLS,
) -> pd.DataFrame:
    """How long predictions keep their worth: :func:`information` of labels and the predictions ``lag`` bars before.

    Parameters
    ----------
    rows : DataFrame
        In time order within a symbol.
    lags : bars, at least 0

    Returns
    -------
    DataFrame
        As :func:`information`, with ``lag`` in front; the first ``lag`` bars of each symbol are left out.

    Raises
    ------
    ConfigError
        A lag below 0, which would look ahead.
    """
    if wrong := [lag for lag in lags if lag < 0]:
        raise ConfigError(f"information: lags must be at least 0; got {wrong[0]}")
    bars = rows.groupby(["model", "symbol"], observed=True, sort=False)
    place, frames = bars.cumcount(), []
    for lag in lags:
        moved = rows.assign(prediction=bars["prediction"].shift(lag))[place >= lag]
        frame = information(moved, horizon, fewest_symbols)
        frame.insert(0, "lag", lag)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _why(missing: int, labelled: int) -> str:
    if missing < labelled:
        return f"{missing} of {labelled} predictions are not finite"
    return "no predictions" if labelled else "no row has a label"


def _summary(values: np.ndarray, horizon: float) -> dict:
    """Mean, deviation and t-statistic of one value per session; NaN among them counts as left out."""
    known = values[~np.isnan(values)]
    n = len(known)
    row = {"sessions": n, "left_out": len(values) - n, "reason": ""}
    if not n:
        return row | {"reason": "labels or predictions do not vary in any session"}
    mean, error = newey_west_mean(known, default_lags(n, max(1, round(horizon))))
    row["mean"] = mean
    if n > 1 and known.min() < known.max():
        row["deviation"] = known.std(ddof=1)
        row["icir"] = mean / row["deviation"]
    if n < FEWEST_BLOCKS * max(horizon, 1):
        return row | {"reason": f"no t-statistic: {n} sessions are fewer than {FEWEST_BLOCKS} horizons of {horizon:g}"}
    if np.isnan(error):
        return row | {"reason": "no t-statistic: the sessions do not vary"}
    return row | {"t_statistic": mean / error}


def _through_time(rows: pd.DataFrame, coefficient: str) -> np.ndarray:
    """One value per session whose mean is the mean over symbols of each symbol's correlation through time.

    A correlation is a mean of products of standardised values; the products are spread over the sessions they are of.
    """
    symbol = pd.factorize(rows["symbol"])[0]
    product, varies = _products(rows, symbol, coefficient)
    used = varies[symbol]
    if not used.any():
        return np.empty(0)
    session = pd.factorize(rows["session"][used], sort=True)[0]
    sums = np.bincount(session, product[used])
    return sums * (len(sums) / varies.sum())


def _correlations(rows: pd.DataFrame, group: np.ndarray, coefficient: str) -> np.ndarray:
    """Correlation of predictions and labels in each group; NaN where either does not vary or is missing."""
    product, varies = _products(rows, group, coefficient)
    return np.where(varies, np.bincount(group, product), np.nan)


def _products(rows: pd.DataFrame, group: np.ndarray, coefficient: str) -> tuple[np.ndarray, np.ndarray]:
    """Each row's part in the correlation of its group, and whether both columns vary in each group."""
    product, varies = 1.0, True
    for name in ("prediction", "y"):
        grouped = pd.Series(rows[name].to_numpy(float)).groupby(group)
        # By its extremes: rounding gives some constant columns a deviation.
        varies &= (grouped.min() < grouped.max()).to_numpy()
        values = (grouped.rank() if coefficient == "rank_ic" else grouped.obj).to_numpy()
        centred = values - (np.bincount(group, values) / np.bincount(group))[group]
        with np.errstate(invalid="ignore", divide="ignore"):
            product = product * centred / np.sqrt(np.bincount(group, centred**2))[group]
    return product, varies
