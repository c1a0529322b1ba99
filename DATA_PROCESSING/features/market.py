"""The market of a panel, and each symbol against it: market returns, beta, correlation, what the market leaves over."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import rolling_mean
from DATA_PROCESSING.sessions import without_zone

log = logging.getLogger("barzoo")
FEWEST_SYMBOLS = 2  # with fewer at a time there is no market but a symbol


def market_returns(bars: dict[str, pd.DataFrame], index: str = "") -> pd.Series:
    """The market's log return at each time at which there is a market.

    Parameters
    ----------
    bars : dict of str to DataFrame
        Per symbol its bars, increasing in time.
    index : str
        The symbol that is the market, with a bar at the times of its own bars. Without one the market is the mean of
        the symbols, each with the same weight, and has a bar at times at which two symbols or more have one.

    Returns
    -------
    Series of float64, indexed by time (UTC)
        The index's log return since its bar before; or the mean log return, each since the symbol's own bar before,
        of the symbols with a bar at that time and one before it. NaN where fewer than two have one, and first of all.

    Raises
    ------
    ConfigError
        The panel has no such index.
    """
    if index:
        if index not in bars:
            raise ConfigError(f"features.yaml: index: no symbol {index!r} in the panel{did_you_mean(index, bars)}")
        times, market = without_zone(bars[index]["timestamp"]), _log_returns(bars[index])
        _warn_of_gaps(index, times, _distinct_times(bars))
    else:
        times = _distinct_times(bars)
        total, returns, known = np.zeros(len(times)), np.zeros(len(times), int), np.zeros(len(times), int)
        for symbol in sorted(bars):  # always in the same order, so that sums have the same bits
            rows = np.searchsorted(times, without_zone(bars[symbol]["timestamp"]))
            known[rows] += 1
            total[rows[1:]] += _log_returns(bars[symbol])[1:]
            returns[rows[1:]] += 1
        market = np.where(returns >= FEWEST_SYMBOLS, total / np.maximum(returns, 1), np.nan)
        times, market = times[known >= FEWEST_SYMBOLS], market[known >= FEWEST_SYMBOLS]
    return pd.Series(market, pd.DatetimeIndex(times, tz="UTC"), name="market_return")


def align(market: pd.Series, timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """The market's log return over the span of each bar of a symbol: since the symbol's bar before.

    Parameters
    ----------
    market : Series
        As `market_returns` gives it.
    timestamps : (n,)
        Of the symbol's bars, increasing.

    Returns
    -------
    (n,) float64
        The sum of the market's returns after the bar before, up to this one. NaN for the first bar, and where the
        market has no bar at the time of this one or of the one before: then it is not known over the same span.
    """
    times, moments = without_zone(market.index), without_zone(timestamps)
    aligned = np.full(len(moments), np.nan)
    place = np.searchsorted(times, moments)
    known = np.flatnonzero(np.append(times, np.datetime64("NaT"))[place] == moments)
    if len(known) < 2:
        return aligned
    returns = market.to_numpy(np.float64)[: place[known[-1]] + 1]
    sums = np.add.reduceat(returns, place[known[:-1]] + 1)  # between one known bar and the next
    follows = np.diff(known) == 1
    aligned[known[1:][follows]] = sums[follows]
    return aligned


def _log_returns(bars: pd.DataFrame) -> np.ndarray:
    close = bars["close"].to_numpy(np.float64)
    with np.errstate(over="ignore"):  # prices may leap by any factor
        return np.log(close / lagged(close, 1))


def _distinct_times(bars: dict[str, pd.DataFrame]) -> np.ndarray:
    """The times at which any symbol has a bar, sorted."""
    times = np.empty(0, "datetime64[ns]")
    for frame in sorted(bars.values(), key=len, reverse=True):
        new = np.setdiff1d(without_zone(frame["timestamp"]), times, assume_unique=True)
        times = np.union1d(times, new) if len(new) else times
    return times


def _warn_of_gaps(index: str, times: np.ndarray, all_times: np.ndarray) -> None:
    missing = np.setdiff1d(all_times, times, assume_unique=True)
    if len(missing):
        log.warning(
            "index %s has no bar at %s of the panel's %s times (the first %s); there, and where it was missing at the "
            "bar before, the market columns know no return",
            index,
            f"{len(missing):,}",
            f"{len(all_times):,}",
            np.datetime_as_string(missing[0], unit="m"),
        )


def paired_return(bars: BarsView) -> np.ndarray:
    """The market's log return, where the symbol has one too."""
    return np.where(np.isfinite(bars.log_return), bars.market_return, np.nan)


def market_return(bars: BarsView, window: int) -> np.ndarray:
    returns = bars.once(paired_return)
    return returns if window == 1 else window * rolling_mean(returns, window)


@compiled
def rolling_line(x: np.ndarray, y: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Least-squares line of y on x over the last ``window`` pairs, as far as both are finite.

    At least half of the pairs have to be. The first ``window`` rows are NaN: returns begin on the second row.

    Returns
    -------
    slope, correlation, error, deviation : (n,) float64
        Of the line; ``error`` is the standard error of its residuals (two degrees of freedom less than pairs),
        ``deviation`` the standard deviation (ddof 1) of x. NaN where x is constant; correlation also where y is.
    """
    slope, correlation = np.full(x.size, np.nan), np.full(x.size, np.nan)
    error, deviation = np.full(x.size, np.nan), np.full(x.size, np.nan)
    near_x, near_y = np.empty(window), np.empty(window)
    for row in range(window, x.size):
        pairs, sum_x, sum_y = 0, 0.0, 0.0
        for past in range(row, row - window, -1):
            if np.isfinite(x[past]) and np.isfinite(y[past]):
                near_x[pairs], near_y[pairs] = x[past], y[past]
                # relative to the newest pair: exact for a constant window
                sum_x += near_x[pairs] - near_x[0]
                sum_y += near_y[pairs] - near_y[0]
                pairs += 1
        if 2 * pairs < window:
            continue
        mean_x, mean_y = near_x[0] + sum_x / pairs, near_y[0] + sum_y / pairs
        xx, xy, yy = 0.0, 0.0, 0.0
        for pair in range(pairs):
            near_x[pair] -= mean_x
            near_y[pair] -= mean_y
            xx += near_x[pair] * near_x[pair]
            xy += near_x[pair] * near_y[pair]
            yy += near_y[pair] * near_y[pair]
        slope[row] = xy / xx
        correlation[row] = xy / (np.sqrt(xx) * np.sqrt(yy))
        squares = 0.0
        for pair in range(pairs):
            squares += (near_y[pair] - slope[row] * near_x[pair]) ** 2
        error[row] = np.sqrt(squares / (pairs - 2))
        deviation[row] = np.sqrt(xx / (pairs - 1))
    return slope, correlation, error, deviation


def market_line(bars: BarsView, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return rolling_line(bars.once(paired_return), bars.log_return, window)


def beta(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(market_line, window)[0]


def market_correlation(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(market_line, window)[1]


def idiosyncratic_volatility(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(market_line, window)[2]


def market_volatility(bars: BarsView, window: int) -> np.ndarray:
    return bars.once(market_line, window)[3]


def excess_return(bars: BarsView, window: int) -> np.ndarray:
    return np.log(bars.close / lagged(bars.close, window)) - market_return(bars, window)


def residual_return(bars: BarsView, window: int, beta_window: int) -> np.ndarray:
    earlier_beta = lagged(beta(bars, beta_window), window)
    return np.log(bars.close / lagged(bars.close, window)) - earlier_beta * market_return(bars, window)


MARKET = (
    *(
        Feature(f"market_return_{window}", market_return, (window,), window, f"log return of the market, {window} bars")
        for window in (1, 5, 20)
    ),
    Feature(
        "market_vol_20",
        market_volatility,
        (20,),
        20,
        "standard deviation of the market's log returns over the symbol's 1-bar spans, 20 bars",
    ),
    *(
        Feature(
            f"beta_{window}",
            beta,
            (window,),
            window,
            f"slope of 1-bar log returns on the market's, {window} bars, Sharpe (1964)",
        )
        for window in (60, 120)
    ),
    Feature(
        "market_correlation_60",
        market_correlation,
        (60,),
        60,
        "correlation of 1-bar log returns with the market's, 60 bars",
    ),
    *(
        Feature(
            f"residual_return_{window}",
            residual_return,
            (window, 60),
            60 + window,
            f"log_return_{window} - beta_60 of {window} bar{'s' * (window > 1)} ago x market_return_{window}",
        )
        for window in (1, 5, 20)
    ),
    *(
        Feature(
            f"idiosyncratic_vol_{window}",
            idiosyncratic_volatility,
            (window,),
            window,
            f"standard error of 1-bar log returns about their line on the market's, {window} bars, Ang et al. (2006)",
        )
        for window in (20, 60)
    ),
    *(
        Feature(
            f"excess_return_{window}",
            excess_return,
            (window,),
            window,
            f"log return less the market's, {window} bars",
        )
        for window in (20, 60)
    ),
)
