"""From predictions to signals, positions and net returns.

A signal is within [-1, 1] and may use what is known at the close of its bar: :func:`signals`.

The signal ``s_t`` from the close of bar t fills at the close of bar t + L (``execution_lag``), so
``position_u = s_{u-L}`` and the return of bar u is
``position_{u-1} * (C_u / C_{u-1} - 1) - cost_bps / 1e4 * |position_{u-1} - position_{u-2}|``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.sessions import without_zone


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """One symbol's backtest: float64 arrays (n_bars,), one value per bar; the first bar, with no close before it, is 0.

    Attributes
    ----------
    position
        The position that earns the bar's return: held from the close before to this close, as a fraction of capital.
    position_change
        ``|change of position|`` at the close before.
    asset_return
        ``C_u / C_{u-1} - 1``.
    cost
        Fraction of capital paid for the change of position.
    net_return
        ``position * asset_return - cost``.
    """

    position: np.ndarray
    position_change: np.ndarray
    asset_return: np.ndarray
    cost: np.ndarray
    net_return: np.ndarray


def _long_flat(prediction: np.ndarray, threshold: ArrayLike) -> np.ndarray:
    return np.where(prediction > threshold, 1.0, 0.0)


def _short_flat(prediction: np.ndarray, threshold: ArrayLike) -> np.ndarray:
    return np.where(prediction > threshold, -1.0, 0.0)


THRESHOLD_RULES = {"long_flat": _long_flat, "short_flat": _short_flat}
RULES = (*THRESHOLD_RULES, "sign")
SIGNAL_RULES = ("label", "probability", "rank", "position")


def signals(
    rule: str,
    prediction: ArrayLike,
    money_rule: str | None,
    *,
    threshold: ArrayLike | None = None,
    sections: ArrayLike | None = None,
    upper: float = 0.5,
    lower: float = 0.0,
    rank_share: float = 0.2,
) -> np.ndarray | None:
    """Turn predictions into signals in {-1, 0, 1}, or within [-1, 1] by the rule ``position``.

    A high prediction means long, and short for a label whose money rule is ``short_flat`` (a coming fall).

    Parameters
    ----------
    rule : {"label", "probability", "rank", "position"}
        ``label``: the label's own, see :func:`label_signal`. ``probability``: into the position that a high prediction
        means above ``upper``, into the opposite one below ``lower``, flat between. ``rank``: in each cross-section,
        into that position with the highest ``rank_share`` of the predictions and into the opposite one with the lowest
        (as many symbols, rounded down). Predictions tied with one beyond the share are left out, so equal predictions
        are no position; neither is a cross-section whose share is less than one symbol. ``position``: values are the
        positions themselves; a probability is that of a model which raises it above the threshold where a position is
        worth taking, and by how much of what is left up to 1.
    prediction : (n,)
        Probabilities or values. NaN gives no position, and does not count in its cross-section.
    money_rule : str or None
        Of the label: ``long_flat``, ``short_flat`` or ``sign``; None (the label does not say whether prices rise) gives
        None under every rule.
    threshold : float or (n,), optional
        ``label`` and ``position`` only: the base rate of the training rows.
    sections : (n,), optional
        ``rank`` only: the cross-section of each row, see :func:`cross_sections`.
    upper, lower : float
        ``probability`` only; ``lower <= upper``, and 0 never takes the opposite position.
    rank_share : float
        ``rank`` only, within (0, 0.5].

    Raises
    ------
    ConfigError
        An unknown rule, thresholds in the wrong order, a share out of its range, or ``probability`` for a label whose
        predictions are values.
    DataError
        ``rank`` without a cross-section for each row.
    """
    if rule not in SIGNAL_RULES:
        raise ConfigError(f"backtest: the rule {rule!r} is unknown{did_you_mean(rule, SIGNAL_RULES)}")
    if money_rule is None or rule == "label":
        return label_signal(prediction, money_rule, threshold)
    if money_rule not in RULES:
        raise ConfigError(f"money rule: {money_rule!r} is unknown{did_you_mean(money_rule, RULES)}")
    values = np.asarray(prediction, dtype=np.float64)
    side = -1.0 if money_rule == "short_flat" else 1.0
    if rule == "rank":
        return side * _ranked(values, sections, rank_share)
    if rule == "position":
        share = values if money_rule == "sign" else np.maximum((values - threshold) / (1 - np.asarray(threshold)), 0.0)
        return np.nan_to_num(side * np.clip(share, -1.0, 1.0), nan=0.0)
    if money_rule == "sign":
        raise ConfigError(
            "backtest: rule: probability compares probabilities, and the predictions of this label are values; "
            "choose label or rank, or a binary target"
        )
    if not 0 <= lower <= upper <= 1:
        raise ConfigError(f"backtest: 0 <= lower <= upper <= 1 is needed; got lower {lower:g} and upper {upper:g}")
    return np.where(values > upper, side, np.where(values < lower, -side, 0.0))


def _ranked(values: np.ndarray, sections: ArrayLike | None, share: float) -> np.ndarray:
    """1 for the highest share of each section, -1 for the lowest, 0 between."""
    if not 0 < share <= 0.5:
        raise ConfigError(f"backtest: rank_share must be within (0, 0.5]; got {share:g}")
    if sections is None or len(sections) != len(values):
        got = "none" if sections is None else len(sections)
        raise DataError(f"backtest: rule: rank needs the cross-section of each of {len(values)} rows; got {got}")
    grouped = pd.Series(values).groupby(np.asarray(sections))
    taken = np.floor(share * grouped.transform("count") + 1e-9)  # 0.29 * 100 is a little less than 29
    # With "max", all of a tie have the rank of its last one: beyond the share when that one is.
    high = grouped.rank(method="max", ascending=False) <= taken
    low = grouped.rank(method="max") <= taken
    return high.to_numpy(float) - low.to_numpy(float)


def cross_sections(symbol: ArrayLike, session: ArrayLike, timestamp: ArrayLike) -> np.ndarray:
    """Number the rows that are compared with one another: those of a session.

    Where a symbol has several bars in a session, those of a timestamp.

    Parameters
    ----------
    symbol, session, timestamp : (n,)
        Of one model's rows, in any order.

    Returns
    -------
    (n,) int
        From 0 on, in time order.
    """
    sessions = pd.DataFrame({"symbol": np.asarray(symbol), "session": np.asarray(session)})
    moment = without_zone(timestamp) if sessions.duplicated().any() else sessions["session"].to_numpy()
    return pd.factorize(moment, sort=True)[0]


def label_signal(prediction: ArrayLike, rule: str | None, threshold: ArrayLike | None = None) -> np.ndarray | None:
    """Turn predictions into signals in {-1, 0, 1} by the money rule of their label.

    Parameters
    ----------
    prediction : (n,)
        Probabilities for ``long_flat`` and ``short_flat``, values for ``sign``. NaN gives no position (0).
    rule : str or None
        ``long_flat``: 1 where the prediction is above the threshold; ``short_flat``: -1 there; ``sign``: the
        prediction's sign. None: the label has no money rule, and neither has its signal (None is returned).
    threshold : float or (n,)
        For the first two: the base rate of the training rows.
    """
    if rule is None:
        return None
    values = np.asarray(prediction, dtype=np.float64)
    if rule == "sign":
        return np.nan_to_num(np.sign(values), nan=0.0)
    if rule not in THRESHOLD_RULES:
        raise ConfigError(f"money rule: {rule!r} is unknown{did_you_mean(rule, RULES)}")
    if threshold is None:
        raise ConfigError(f"money rule: {rule} compares with a threshold, the base rate of the training rows; got none")
    return THRESHOLD_RULES[rule](values, threshold)


def hold(signal: ArrayLike, horizon: int) -> np.ndarray:
    """Hold each signal for ``horizon`` bars: the mean of the last ``horizon`` signals; those before the first are 0."""
    if horizon < 1:
        raise ConfigError(f"backtest: horizon must be at least 1 bar; got {horizon}")
    values = np.asarray(signal, dtype=np.float64)
    total = values.copy()
    for lag in range(1, min(horizon, len(values))):
        total[lag:] += values[:-lag]
    return total / horizon


def backtest(
    close: ArrayLike, signal: ArrayLike, horizon: int = 1, execution_lag: int = 1, cost_bps: float = 5.0
) -> BacktestResult:
    """Trade one symbol on a signal, after costs.

    Capital is constant: the position is a fraction of it, restored at every close without cost when it does not change.
    The last position stays open, so its closing is not charged.

    Parameters
    ----------
    close : (n_bars,)
        Adjusted closes, finite and above 0, in time order.
    signal : (n_bars,)
        Finite; ``signal[t]`` may use bars up to t. See :func:`label_signal`.
    horizon : int
        Bars each signal is held, see :func:`hold`.
    execution_lag : int
        Bars from the close that gave the signal to the close that fills it.

        .. warning:: 0 fills at the very close the signal was computed from, which flatters the result.
    cost_bps : float
        Cost of a change of position by 1, in basis points of capital.

    Raises
    ------
    ConfigError
        If the horizon is below 1, or the lag or the cost is negative.
    DataError
        If lengths differ, a close is not a positive finite number, or a signal is not finite.
    """
    if execution_lag < 0:
        raise ConfigError(
            f"backtest: execution_lag must be at least 0, or it trades on the future; got {execution_lag}"
        )
    if not cost_bps >= 0:
        raise ConfigError(f"backtest: cost_bps must be at least 0; got {cost_bps}")
    prices = np.asarray(close, dtype=np.float64)
    held = hold(signal, horizon)
    if prices.shape != held.shape:
        raise DataError(f"backtest: one signal per close is needed; got {len(held)} signals for {len(prices)} closes")
    if not ((prices > 0) & (prices < np.inf)).all():
        raise DataError("backtest: closes must be finite and above 0; check the bars first")
    if not np.isfinite(held).all():
        raise DataError("backtest: signals must be finite; give 0 where there is no position")

    # A bar earns with the position taken at the close before it, whose signal is execution_lag bars older still.
    delay = execution_lag + 1
    position = np.zeros_like(prices)
    position[delay:] = held[:-delay]
    position_change = np.abs(np.diff(position, prepend=0.0))
    asset_return = np.zeros_like(prices)
    asset_return[1:] = prices[1:] / prices[:-1] - 1
    cost = cost_bps / 1e4 * position_change
    return BacktestResult(position, position_change, asset_return, cost, position * asset_return - cost)
