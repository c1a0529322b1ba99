"""What a row of the feature table is, and the view of the bars that its function computes from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.features.windows import smoothed

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
        only; NaN or infinity stands for an undefined value. Values come from windows of at most ``lookback + 1`` bars,
        and from `BarsView.exponential` and `BarsView.wilder` for all that remembers more.
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


@dataclass
class Memory:
    """What recursive averages know of the bars before a view, and what the next view has to know.

    Attributes
    ----------
    first : int
        Row of the view from which they go on.
    keep : int
        Row of the view before which their state is kept for the next view.
    before, after : dict of str to (int, float)
        Their states before ``first`` and before ``keep``; none for an average that has seen nothing.
    """

    first: int = 0
    keep: int = 0
    before: dict[str, tuple[int, float]] = field(default_factory=dict)
    after: dict[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class BarsView:
    """Arrays of one symbol's bars in time order; what several features need is computed once and kept.

    ``market_return`` is the market's log return from the bar before to this one, NaN where it is not known.
    """

    timestamp: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    market_return: np.ndarray
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, bars: pd.DataFrame, memory: Memory | None = None) -> BarsView:
        """View a table of bars; without a column ``market_return`` there is no market, and all of it is NaN."""
        numbers = [bars[name].to_numpy(np.float64) for name in BAR_COLUMNS]
        numbers.append(
            bars["market_return"].to_numpy(np.float64) if "market_return" in bars else np.full(len(bars), np.nan)
        )
        # Kernels get one kind of array, contiguous and writable, so they compile only once.
        arrays = (np.require(x, requirements="CW") for x in numbers)
        return cls(bars["timestamp"].to_numpy("datetime64[ns]"), *arrays, memory or Memory())

    def once(self, compute: Callable[..., Any], *arguments: Hashable) -> Any:
        """Return ``compute(self, *arguments)``, computed once."""
        key = (compute, *arguments)
        if key not in self._known:
            self._known[key] = compute(self, *arguments)
        return self._known[key]

    def over(
        self, series: str | Callable[[BarsView], np.ndarray], kernel: Callable[..., np.ndarray], *arguments: Hashable
    ) -> np.ndarray:
        """Return ``kernel(x, *arguments)``, computed once.

        ``series`` says what x is: an array of this view by its name, or a function that computes one from this view.
        """
        key = (kernel, series, *arguments)
        if key not in self._known:
            x = getattr(self, series) if isinstance(series, str) else self.once(series)
            self._known[key] = kernel(x, *arguments)
        return self._known[key]

    def exponential(self, name: str, x: np.ndarray, window: int) -> np.ndarray:
        """Exponential moving average of x, weight 2 / (window + 1); ``name`` tells x from all other series."""
        return self._smoothed(f"{name} exponential {window}", x, window, 2.0 / (window + 1))

    def wilder(self, name: str, x: np.ndarray, window: int) -> np.ndarray:
        """Average of x after Wilder, New Concepts in Technical Trading Systems (1978), weight 1 / window."""
        return self._smoothed(f"{name} wilder {window}", x, window, 1.0 / window)

    def _smoothed(self, name: str, x: np.ndarray, window: int, weight: float) -> np.ndarray:
        if name not in self._known:
            seen, average = self.memory.before.get(name, (0, 0.0))
            self._known[name], *after = smoothed(x, window, weight, seen, average, self.memory.first, self.memory.keep)
            self.memory.after[name] = tuple(after)
        return self._known[name]

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
