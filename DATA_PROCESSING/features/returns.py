"""Returns over several spans."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged


def log_return(bars: BarsView, window: int) -> np.ndarray:
    return bars.log_return if window == 1 else np.log(bars.close / lagged(bars.close, window))


RETURNS = tuple(
    Feature(f"log_return_{window}", log_return, (window,), window, f"ln(close[t] / close[t - {window}])")
    for window in (1, 5, 10, 20, 60, 120)
)
