"""What the rows of one symbol take from the rest of the panel."""

from __future__ import annotations

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.features.build import FeatureSet
from DATA_PROCESSING.features.cross_section import panel_columns
from DATA_PROCESSING.features.market import align, market_returns
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.sessions import without_zone


class PanelContext:
    """The market's returns, and the place of each symbol among the others.

    Parameters
    ----------
    bars : dict of str to DataFrame
        Of all symbols of the panel, those that are not asked for included. A symbol that is too long to be among them
        has no market and no place.
    features : FeatureSet
    """

    def __init__(self, bars: dict[str, pd.DataFrame], features: FeatureSet):
        self._known, self._names = set(bars), features.panel_names
        self._market = None if features.market is None else market_returns(bars, features.market)
        self._columns: dict[str, np.ndarray] = {}
        if features.ranked:
            values = {symbol: FeatureStream(features.ranked).push(own).to_numpy() for symbol, own in bars.items()}
            self._columns = panel_columns({s: (without_zone(bars[s]["timestamp"]), x) for s, x in values.items()})

    def rows(self, symbol: str, bars: pd.DataFrame) -> pd.DataFrame:
        """A symbol's ``timestamp, session`` and bars, ``market_return`` and panel columns where features need them."""
        rows = bars[["timestamp", "session", *BAR_COLUMNS]]
        if self._market is not None and symbol in self._known:
            rows = rows.assign(market_return=align(self._market, bars["timestamp"]))
        if self._names:
            values = self._columns.get(symbol)
            if values is None:
                values = np.full((len(rows), len(self._names)), np.nan, np.float32)
            rows = pd.concat([rows, pd.DataFrame(values, index=rows.index, columns=self._names, copy=False)], axis=1)
        return rows
