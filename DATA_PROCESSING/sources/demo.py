"""The demo: daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000 to 2013, from bokeh-sampledata (public domain).

The bars are unadjusted and carry an adjusted close. FB was listed in 2012 and has 196 rows.
"""

from __future__ import annotations

import pandas as pd

from DATA_PROCESSING.bars import read_table

NAME = "demo"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def read_tables() -> pd.DataFrame:
    """The demo's rows, as `DATA_PROCESSING.bars.read_table` returns them."""
    from bokeh_sampledata import stocks

    tables = [read_table(pd.DataFrame(getattr(stocks, symbol)), f"{NAME} {symbol}", "", symbol) for symbol in SYMBOLS]
    return pd.concat(tables, ignore_index=True)
