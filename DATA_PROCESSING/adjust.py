"""Adjustment of prices for splits and dividends."""

from __future__ import annotations

import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS


def adjust_bars(bars: pd.DataFrame, method: str) -> pd.DataFrame:
    """Scale prices by ``adj_close / close`` and volume inversely.

    Parameters
    ----------
    bars : DataFrame
        Valid bars of one symbol.
    method : {"adj_close", "none"}
        ``adj_close`` leaves bars without that column as they are.

    Returns
    -------
    DataFrame
        The columns ``timestamp, open, high, low, close, volume``. High and low are widened to contain open and close
        where floating-point products break the order by a last digit.
    """
    adjusted = bars[["timestamp", *BAR_COLUMNS]].copy()
    if method == "none" or "adj_close" not in bars:
        return adjusted
    factor = bars["adj_close"] / bars["close"]
    for column in PRICE_COLUMNS:
        adjusted[column] *= factor
    adjusted["volume"] /= factor
    body = adjusted[["open", "close"]]
    adjusted["high"] = adjusted["high"].clip(lower=body.max(axis=1))
    adjusted["low"] = adjusted["low"].clip(upper=body.min(axis=1))
    return adjusted
