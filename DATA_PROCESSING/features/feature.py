"""What a row of the feature table is, and the view of the bars that its function computes from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

ROUNDING = 1e-12  # a difference below this share of the price is rounding, not a move


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes
    ----------
    name : str
        Column name.
    compute : callable
        ``compute(bars, *arguments)`` takes a `BarsView` of n bars and returns n float64 values. Row t uses bars up to t
        only; NaN or infinity stands for an undefined value.
    arguments : tuple
        Windows and other settings for ``compute``.
    lookback : int
        Bars before the first finite value.
    text : str
        The formula in words, for the column reference.
    recursive : bool
        The value depends on all earlier bars, with fading weight, and not only on the last ``lookback``.
    """

    name: str
    compute: Callable[..., np.ndarray]
    arguments: tuple
    lookback: int
    text: str
    recursive: bool = False


@dataclass(frozen=True)
class BarsView:
    """Arrays of one symbol's bars in time order; what several features need is computed once and kept."""

    timestamp: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, bars: pd.DataFrame) -> BarsView:
        """View a table of bars; kernels get one kind of array, contiguous and writable, so they compile only once."""
        numbers = (bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume"))
        return cls(bars["timestamp"].to_numpy("datetime64[ns]"), *(np.require(x, requirements="CW") for x in numbers))

    def once(self, compute: Callable[..., Any], *arguments: Hashable) -> Any:
        """Return ``compute(self, *arguments)``, computed once."""
        key = (compute, *arguments)
        if key not in self._known:
            self._known[key] = compute(self, *arguments)
        return self._known[key]

    def over(self, series: str, kernel: Callable[..., np.ndarray], *arguments: Hashable) -> np.ndarray:
        """Return ``kernel(x, *arguments)``, computed once, for the array x of this view with the name ``series``."""
        key = (kernel, series, *arguments)
        if key not in self._known:
            self._known[key] = kernel(getattr(self, series), *arguments)
        return self._known[key]

    @cached_property
    def log_return(self) -> np.ndarray:
        """ln(close / previous close)."""
        return np.log(self.close / lagged(self.close, 1))

    @cached_property
    def direction(self) -> np.ndarray:
        """1 where the close rose, -1 where it fell, 0 where it stayed."""
        return np.sign(self.close - lagged(self.close, 1))

    @cached_property
    def true_range(self) -> np.ndarray:
        """Range of the bar together with the previous close; NaN on the first bar."""
        previous = lagged(self.close, 1)
        return np.maximum(self.high, previous) - np.minimum(self.low, previous)

    @cached_property
    def range_ratio(self) -> np.ndarray:
        """High / low."""
        return self.high / self.low

    @cached_property
    def typical_price(self) -> np.ndarray:
        """Mean of high, low and close."""
        return (self.high + self.low + self.close) / 3.0

    @cached_property
    def turnover(self) -> np.ndarray:
        """Typical price times volume: the money traded, about."""
        return self.typical_price * self.volume


def lagged(x: np.ndarray, bars: int) -> np.ndarray:
    """Return x as it was ``bars`` rows earlier, NaN on the first ``bars`` rows."""
    earlier = np.full(x.size, np.nan)
    earlier[bars:] = x[: max(x.size - bars, 0)]
    return earlier
