"""The feature table: the rows of every family, in the order of the columns, and the sets that are made of them."""

from __future__ import annotations

from DATA_PROCESSING.features.averages import AVERAGES, MORE_AVERAGES
from DATA_PROCESSING.features.bands import BANDS, MORE_BANDS
from DATA_PROCESSING.features.dates import DATES, MORE_DATES
from DATA_PROCESSING.features.extremes import EXTREMES
from DATA_PROCESSING.features.feature import Feature
from DATA_PROCESSING.features.interactions import INTERACTIONS
from DATA_PROCESSING.features.liquidity import LIQUIDITY
from DATA_PROCESSING.features.market import MARKET
from DATA_PROCESSING.features.momentum import MOMENTUM, MORE_MOMENTUM
from DATA_PROCESSING.features.oscillators import MORE_OSCILLATORS, OSCILLATORS
from DATA_PROCESSING.features.ranges import MORE_RANGES, RANGES
from DATA_PROCESSING.features.ranks import MORE_RANKS, RANKS
from DATA_PROCESSING.features.returns import MORE_RETURNS, RETURNS
from DATA_PROCESSING.features.trend import MORE_TREND, TREND
from DATA_PROCESSING.features.volatility import MORE_VOLATILITY, VOLATILITY
from DATA_PROCESSING.features.volume import MORE_VOLUME, VOLUME

SIMPLE: dict[str, tuple[Feature, ...]] = {
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

COMPREHENSIVE: dict[str, tuple[Feature, ...]] = {
    "returns": RETURNS + MORE_RETURNS,
    "volatility": VOLATILITY + MORE_VOLATILITY,
    "momentum": MOMENTUM + MORE_MOMENTUM,
    "averages": AVERAGES + MORE_AVERAGES,
    "oscillators": OSCILLATORS + MORE_OSCILLATORS,
    "bands": BANDS + MORE_BANDS,
    "trend": TREND + MORE_TREND,
    "volume": VOLUME + MORE_VOLUME,
    "liquidity": LIQUIDITY,
    "ranges": RANGES + MORE_RANGES,
    "extremes": EXTREMES,
    "dates": DATES + MORE_DATES,
    "ranks": RANKS + MORE_RANKS,
    "interactions": INTERACTIONS,
    "market": MARKET,
}

SETS = {"simple": SIMPLE, "comprehensive": COMPREHENSIVE}


def feature_table(set_name: str) -> tuple[Feature, ...]:
    """Return the features of a set, ``simple`` or ``comprehensive``, in the order of their columns."""
    return tuple(feature for family in SETS[set_name].values() for feature in family)


FEATURES = feature_table("simple")
