"""The demo: daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000 to 2013, from bokeh-sampledata (public domain).

The bars are unadjusted and carry an adjusted close. FB was listed in 2012 and has 196 rows.
"""

from __future__ import annotations

import pandas as pd

from DATA_PROCESSING.bars import read_table

NAME = "demo"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def read_tables(tz: str) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """The demo's tables per symbol, and no problems."""
    from bokeh_sampledata import stocks

    tables = {
        symbol: read_table(pd.DataFrame(getattr(stocks, symbol)), f"demo {symbol}", tz, symbol) for symbol in SYMBOLS
    }
    return tables, {}
