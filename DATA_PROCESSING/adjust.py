"""Adjustment of prices for splits and dividends."""

from __future__ import annotations

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS


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
    factor = (bars["adj_close"] / bars["close"]).fillna(1.0)
    for column in PRICE_COLUMNS:
        adjusted[column] *= factor
    adjusted["volume"] /= factor
    return adjusted
