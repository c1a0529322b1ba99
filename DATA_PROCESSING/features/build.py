"""Build the feature columns of one symbol."""

from __future__ import annotations

import numpy as np
import pandas as pd

from DATA_PROCESSING.compiled import compiled
from DATA_PROCESSING.features.feature import BarsView
from DATA_PROCESSING.features.table import FEATURES

LARGEST = float(np.finfo(np.float32).max)


@compiled
def store(values: np.ndarray, column: np.ndarray) -> None:
    """Write float64 values to a float32 column; what is infinite or beyond float32 is undefined: NaN."""
    for row in range(values.size):
        column[row] = values[row] if abs(values[row]) <= LARGEST else np.nan


def feature_names() -> list[str]:
    """Return the names of the feature columns, in their order."""
    return [feature.name for feature in FEATURES]


def build_features(bars: pd.DataFrame) -> pd.DataFrame:
    """Compute every feature of one symbol's bars.

    Parameters
    ----------
    bars : DataFrame of n rows
        Valid, adjusted bars in strictly increasing time: ``timestamp`` (datetime64[ns, UTC]), ``open``, ``high``,
        ``low``, ``close`` and ``volume`` (float64).

    Returns
    -------
    DataFrame of n rows
        float32 columns named by `feature_names`, with the index of ``bars``. Row t depends on bars up to t only, and
        on prices and volumes only through ratios. NaN where a feature is undefined: before its lookback, and where a
        ratio divides by zero (no range, no volume, no variation). Infinity never appears.
    """
    view = BarsView.of(bars)
    values = np.empty((len(FEATURES), len(bars)), dtype=np.float32)
    with np.errstate(all="ignore"):  # undefined ratios are meant to become NaN
        for column, feature in zip(values, FEATURES, strict=True):
            store(feature.compute(view, *feature.arguments), column)
    return pd.DataFrame(values.T, index=bars.index, columns=feature_names(), copy=False)
