"""The demo: daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000 to 2013, from bokeh-sampledata (public domain).

The bars are unadjusted and carry an adjusted close. FB was listed in 2012 and has 196 rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.sources.source import empty_table, within

NAME = "demo"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


class DemoSource:
    """The demo's bars, see `DATA_PROCESSING.sources.source.Source`."""

    name = NAME

    def sizes(self) -> dict[str, int | None]:
        """See `Source`."""
        return {symbol: len(self._table(symbol)) for symbol in SYMBOLS}

    def problems(self) -> dict[str, str]:
        """See `Source`."""
        return {}

    def read(
        self,
        symbols: list[str] | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> tuple[pd.DataFrame, dict[str, str]]:
        """See `Source`."""
        tables = [self._table(symbol, start, end) for symbol in SYMBOLS if symbols is None or symbol in symbols]
        return pd.concat(tables, ignore_index=True) if tables else empty_table(), {}

    def chunks(
        self, symbol: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
    ) -> Iterator[pd.DataFrame]:
        """See `Source`."""
        if symbol not in SYMBOLS:
            raise DataError(f"{NAME}: no symbol {symbol!r}")
        yield self._table(symbol, start, end)

    def timestamps(self) -> None:
        """See `Source`; so few rows are read whole."""
        return

    def state(self, symbol: str) -> str:
        """See `Source`."""
        return f"bokeh-sampledata {metadata.version('bokeh-sampledata')}"

    def _table(self, symbol: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None) -> pd.DataFrame:
        from bokeh_sampledata import stocks

        table = read_table(pd.DataFrame(getattr(stocks, symbol)), f"{NAME} {symbol}", "", symbol)
        chosen = within(table["timestamp"].to_numpy("datetime64[ns]"), start, end)
        return table if chosen is None else table[chosen].reset_index(drop=True)
