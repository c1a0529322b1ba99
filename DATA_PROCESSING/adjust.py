"""Adjustment of prices for splits and dividends: by the adjusted close, or by splits inferred from the bars."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS
from DATA_PROCESSING.headers import listed

log = logging.getLogger("barzoo")
RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)  # new shares for an old one; a reverse split has the inverse
TOLERANCE = 0.03  # how far the overnight move may be from its ratio
BEFORE, HELD = 20, 5  # sessions that say what is usual, and sessions that the new price must hold
# Measured on 505 large companies over five years: half of the true moves above 14 % overnight trade more than 8.7 times
# the usual money, 1.6 % of all sessions more than 3 times; 0.4 % of all sessions have 4 times the usual range.
MOST_MONEY, MOST_RANGE = 3.0, 4.0
MOST_PAUSE = 5.0  # times the usual time between sessions
MOST_ALONG = 0.05  # share of the panel's other symbols that move half as far in the same session
_KNOWN = np.sort([*RATIOS, *(1 / ratio for ratio in RATIOS)])
_FAR = np.log(min(RATIOS)) / 2
_FEW, _FREQUENT = 2, 0.02  # a symbol with more far moves than both (a number, a share of sessions) has no events
_SPLIT_TYPES = {
    "symbol": object, "session": "datetime64[s]", "ratio": float, "move": float, "money": float, "range": float,
    "doubt": object,
}  # fmt: skip
_EXTREME = 1e300  # beyond it scaled numbers may leave the range of floating point


def adjustable(bars: pd.DataFrame) -> np.ndarray:
    """Whether `adjust_bars` leaves each row with prices above zero and finite numbers; true without ``adj_close``.

    False where ``adj_close / close`` is so extreme that a product leaves the range of floating-point numbers.
    """
    if "adj_close" not in bars:
        return np.ones(len(bars), bool)
    with np.errstate(all="ignore"):
        factor = (bars["adj_close"] / bars["close"]).to_numpy()
        least, most = bars["low"].to_numpy() * factor, bars["high"].to_numpy() * factor
        volume = bars["volume"].to_numpy() / factor
    return np.isnan(bars["adj_close"].to_numpy()) | ((least > 0) & np.isfinite(most) & np.isfinite(volume))


def adjust_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Scale prices by ``adj_close / close`` and volume inversely.

    Parameters
    ----------
    bars : DataFrame
        Valid bars. Without the column ``adj_close``, and in rows where it is NaN, they stay as they are.

    Returns
    -------
    DataFrame
        The columns ``timestamp, open, high, low, close, volume``. Low, open, close and high keep their order, because
        rounding never turns the order of two products with one factor.
    """
    adjusted = bars[["timestamp", *BAR_COLUMNS]].copy()
    if "adj_close" not in bars:
        return adjusted
    return scale_bars(adjusted, (bars["adj_close"] / bars["close"]).fillna(1.0).to_numpy())


def scale_bars(bars: pd.DataFrame, factor: np.ndarray) -> pd.DataFrame:
    """Bars with the prices of each row multiplied by its factor, and the volume divided by it."""
    prices = {column: bars[column] * factor for column in PRICE_COLUMNS}
    return bars.assign(**prices, volume=bars["volume"] / factor)


def session_bars(bars: pd.DataFrame, symbols: np.ndarray, sessions: np.ndarray) -> pd.DataFrame:
    """One bar per symbol and session: first open, highest high, lowest low, last close, sum of volumes.

    The parts of a long symbol can be summarised one by one: of the parts' bars, put together, this makes the whole's.

    Parameters
    ----------
    bars : DataFrame
        n bars, ordered by symbol and time.
    symbols : (n,) ndarray
        The symbol of each, as text or as a number.
    sessions : (n,) ndarray of datetime64[D]
        The session of each.

    Returns
    -------
    DataFrame
        ``symbol, session, open, high, low, close, volume``.
    """
    is_first = np.append(True, (symbols[1:] != symbols[:-1]) | (sessions[1:] != sessions[:-1]))[: len(bars)]
    first = np.flatnonzero(is_first)
    open_, high, low, close, volume = (bars[column].to_numpy() for column in BAR_COLUMNS)
    if len(first) < len(bars):
        high, low = np.maximum.reduceat(high, first), np.minimum.reduceat(low, first)
        with np.errstate(over="ignore"):
            volume = np.add.reduceat(volume, first)
    return pd.DataFrame(
        {"symbol": symbols[first], "session": sessions[first], "open": open_[first], "high": high, "low": low,
         "close": close[np.append(first[1:], len(bars)) - 1] if len(first) else close, "volume": volume}
    )  # fmt: skip


def find_splits(days: pd.DataFrame) -> pd.DataFrame:
    """Find overnight moves that look like splits, and say which of them rather are something else.

    A split changes the price between one session's close and the next one's open by a simple ratio, and nothing else:
    the money traded and the range of prices stay usual, the new price lasts, and other symbols do not move along. A
    crash that happens to halve the price trades many times the usual money.

    Parameters
    ----------
    days : DataFrame
        The panel's sessions as `session_bars` gives them, ordered by symbol and session.

    Returns
    -------
    DataFrame
        A row per event: ``symbol, session`` (the first at the new price), ``ratio`` (new shares for an old one, 2
        where the price halves), ``move`` (close over the next open, as it was), ``money`` and ``range`` (the session's
        close times volume, and log of high over low, as multiples of their medians over 20 sessions before it), and
        ``doubt``: why it is taken for no split, empty where it is one. A symbol that moves so far every now and then,
        such as one whose price is a few ticks, has no events.
    """
    codes, symbols = pd.factorize(days["symbol"])
    edges = np.append(np.flatnonzero(np.append(True, np.diff(codes) != 0)[: len(days)]), len(days))
    sessions, close = days["session"].to_numpy("datetime64[D]"), days["close"].to_numpy()
    with np.errstate(all="ignore"):
        move = np.append(np.nan, close[:-1])[: len(days)] / days["open"].to_numpy()
        move[edges[:-1]] = np.nan
        size = np.log(move)
        far = np.flatnonzero(np.abs(size) >= _FAR)
        money = close * days["volume"].to_numpy()
        width = np.log(days["high"].to_numpy() / days["low"].to_numpy())
    ratio = _KNOWN[np.searchsorted(np.sqrt(_KNOWN[1:] * _KNOWN[:-1]), move[far])]
    moves_often = np.bincount(codes[far], minlength=len(symbols)) > np.maximum(_FEW, _FREQUENT * np.diff(edges))
    is_event = (np.abs(move[far] / ratio - 1) <= TOLERANCE) & ~moves_often[codes[far]]
    per_session = np.sort(sessions)
    low, volume = days["low"].to_numpy(), days["volume"].to_numpy()
    events = []
    for row, new_shares in zip(far[is_event], ratio[is_event], strict=True):
        start, stop = edges[codes[row] : codes[row] + 2]
        usual = slice(max(start, row - BEFORE), row)
        event = {
            "symbol": symbols[codes[row]],
            "session": sessions[row],
            "ratio": new_shares,
            "move": move[row],
            "money": _times(money[row], money[usual]),
            "range": _times(width[row], width[usual]),
        }
        beside = far[(sessions[far] == sessions[row]) & (far != row)]
        along = np.count_nonzero(size[beside] / np.log(new_shares) >= 0.5)
        traded = np.searchsorted(per_session, sessions[row], "right") - np.searchsorted(per_session, sessions[row])
        with np.errstate(all="ignore"):
            prices = np.median(close[max(start, row - HELD) : row]) / np.median(close[row : min(stop, row + HELD)])
            held = np.log(prices) / np.log(new_shares)
        pause = _times(sessions[row] - sessions[row - 1], np.diff(sessions[usual]))
        doubts = (
            (row - start < HELD, f"only {row - start} sessions lie before it"),
            (pause > MOST_PAUSE, f"no bar in the {(sessions[row] - sessions[row - 1]).astype(int)} days before it"),
            (not 0 < event["money"] < np.inf, "there is no volume to judge it by"),
            (event["money"] > MOST_MONEY, f"{event['money']:.1f} times the usual money is traded"),
            (event["range"] > MOST_RANGE, f"{event['range']:.1f} times the usual range"),
            (not 0.5 <= held <= 1.5, "the price does not stay there"),
            (along > MOST_ALONG * (traded - 1), f"{along} more symbols move along"),
            (
                low[start:row].min() < 1 / _EXTREME or volume[start:row].max() > _EXTREME,
                "prices or volumes are too extreme to be scaled",
            ),
        )
        events.append(event | {"doubt": next((text for applies, text in doubts if applies), "")})
    return pd.DataFrame(events, columns=list(_SPLIT_TYPES)).astype(_SPLIT_TYPES)


def judge_splits(name: str, days: pd.DataFrame, quality: pd.DataFrame, adjust: str) -> pd.DataFrame:
    """Find a panel's splits, and say which of them its bars are to be adjusted for.

    Parameters
    ----------
    name : str
        The SOURCE, for the warning of splits that are left in the bars.
    days : DataFrame
        See `find_splits`; after adjustment by ``adj_close``.
    quality : DataFrame
        That of the panel: ``symbol, adjusted`` (by ``adj_close``). The splits are entered in place, as ``splits``, and
        ``adjusted`` becomes true for those adjusted by them.
    adjust : str
        The setting of ``bars.yaml``.

    Returns
    -------
    DataFrame
        The events of `find_splits`, and ``adjusted``: whether to adjust for them.
    """
    splits = find_splits(days)
    is_split = splits["doubt"] == ""
    has_adj_close = splits["symbol"].isin(quality.loc[quality["adjusted"], "symbol"])
    splits["adjusted"] = is_split & (adjust == "infer") & ~has_adj_close
    texts = [f"{ratio_text(row.ratio)} on {row.session:%Y-%m-%d}" for row in splits.itertuples()]
    told = splits.assign(text=pd.Series(texts, dtype=object))[is_split]
    quality["splits"] = quality["symbol"].map(told.groupby("symbol")["text"].agg("; ".join)).fillna("")
    quality["adjusted"] |= quality["symbol"].isin(splits.loc[splits["adjusted"], "symbol"])
    left = told[~told["adjusted"]]
    if len(left):
        cure = "" if adjust == "infer" else "; adjust: infer in bars.yaml adjusts for them where there is no adj_close"
        events = listed(list(left["symbol"] + " " + left["text"]))
        log.warning("%s: moves that look like splits are left in the bars: %s%s", name, events, cure)
    return splits


def _times(value: np.ndarray, usual: np.ndarray) -> float:
    """A value as a multiple of the median of others; NaN where there are none, or both are zero."""
    with np.errstate(all="ignore"):
        return float(value / np.median(usual)) if len(usual) else np.nan


def split_factors(sessions: np.ndarray, splits: pd.DataFrame) -> np.ndarray:
    """What one symbol's prices are multiplied by, so that they are in new shares throughout.

    Parameters
    ----------
    sessions : (n,) ndarray of datetime64[D]
        The session of each bar.
    splits : DataFrame
        The symbol's splits: ``session, ratio``.

    Returns
    -------
    (n,) ndarray of float
        The product of 1 / ratio over the splits after each bar's session.
    """
    splits = splits.sort_values("session")
    ahead = np.append(np.cumprod(1 / splits["ratio"].to_numpy(float)[::-1])[::-1], 1.0)
    return ahead[np.searchsorted(splits["session"].to_numpy("datetime64[D]"), sessions, "right")]


def ratio_text(ratio: float) -> str:
    """A split's ratio as it is spoken of: ``3:2`` where 3 new shares replace 2 old ones."""
    fraction = Fraction(ratio).limit_denominator(10)
    return f"{fraction.numerator}:{fraction.denominator}"
