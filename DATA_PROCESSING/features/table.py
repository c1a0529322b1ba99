"""The feature table: every family's rows, in the order of the columns."""

from __future__ import annotations

from DATA_PROCESSING.features.averages import AVERAGES
from DATA_PROCESSING.features.bands import BANDS
from DATA_PROCESSING.features.dates import DATES
from DATA_PROCESSING.features.feature import Feature
from DATA_PROCESSING.features.momentum import MOMENTUM
from DATA_PROCESSING.features.oscillators import OSCILLATORS
from DATA_PROCESSING.features.ranges import RANGES
from DATA_PROCESSING.features.ranks import RANKS
from DATA_PROCESSING.features.returns import RETURNS
from DATA_PROCESSING.features.trend import TREND
from DATA_PROCESSING.features.volatility import VOLATILITY
from DATA_PROCESSING.features.volume import VOLUME

FAMILIES: dict[str, tuple[Feature, ...]] = {
    "returns": RETURNS,
    "volatility": VOLATILITY,
    "momentum": MOMENTUM,
    "averages": AVERAGES,
    "oscillators": OSCILLATORS,
    "bands": BANDS,
    "trend": TREND,
    "volume": VOLUME,
    "ranges": RANGES,
    "dates": DATES,
    "ranks": RANKS,
}

FEATURES: tuple[Feature, ...] = tuple(feature for family in FAMILIES.values() for feature in family)
