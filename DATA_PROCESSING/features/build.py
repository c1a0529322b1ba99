"""Which feature columns there are, and all of them for one symbol's bars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from DATA_PROCESSING.features.cross_section import PANEL_FEATURES, panel_names
from DATA_PROCESSING.features.feature import Feature
from DATA_PROCESSING.features.own import OwnFeatures, load_features
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import FEATURES, feature_table
from DATA_PROCESSING.features.timeframes import TIMEFRAME_FEATURES, coarser_than


@dataclass(frozen=True)
class FeatureSet:
    """The feature columns of a run.

    Attributes
    ----------
    features : tuple of Feature
        Of the table, computed from the symbol's own bars and the market's returns.
    timeframes : dict of str to tuple of Feature
        Per coarser interval (``1h``) the features of its closed bars.
    ranked : tuple of Feature
        Compared with the other symbols of the panel at the same time.
    market : str or None
        The symbol that is the market, ``""`` for the panel's mean, None where no feature asks for one.
    recipe : dict
        The settings, with the sha256 of a file of the user's own in place of its path.
    own : OwnFeatures or None
        That file; its features follow those of the table.
    stamp : {"start", "end"}
        What the timestamp of a bar marks.
    """

    features: tuple[Feature, ...]
    timeframes: dict[str, tuple[Feature, ...]] = field(default_factory=dict)
    ranked: tuple[Feature, ...] = ()
    market: str | None = None
    recipe: dict = field(default_factory=dict)
    own: OwnFeatures | None = None
    stamp: str = "start"

    @classmethod
    def of(cls, settings: dict, bar_length: np.timedelta64, stamp: str) -> FeatureSet:
        """The set that the run config ``features`` names, for bars of a usual length (NaT: not known).

        Raises
        ------
        ConfigError
            A timeframe that is none, or a file of features that cannot be used.
        """
        features, recipe = feature_table(settings["set"]), dict(settings)
        by_name = {feature.name: feature for feature in features}
        timeframes, ranked, market = {}, (), None
        if settings["set"] == "comprehensive":
            coarse = tuple(by_name[name] for name in TIMEFRAME_FEATURES)
            timeframes = dict.fromkeys(coarser_than(bar_length, settings["timeframes"]), coarse)
            ranked, market = tuple(by_name[name] for name in PANEL_FEATURES), settings["index"]
        made = cls(features, timeframes, ranked, market, recipe, None, stamp)
        if settings["features_from"]:
            own = load_features(settings["features_from"], made.names)
            made = replace(made, recipe=recipe | {"features_from": own.sha256}, own=own)
        return made

    @property
    def names(self) -> list[str]:
        """All columns, in order."""
        return [*self.stream().names, *self.panel_names]

    @property
    def panel_names(self) -> list[str]:
        """The columns that need the whole panel."""
        return panel_names() if self.ranked else []

    @property
    def ranked_reach(self) -> int:
        """Bars before one that its place among the others depends on."""
        return max((feature.lookback for feature in self.ranked), default=0)

    def stream(self) -> FeatureStream:
        """What computes the columns of one symbol, all but those that need the whole panel."""
        own = self.own.features if self.own else ()
        return FeatureStream(self.features + own, self.timeframes, self.stamp)


def build_features(bars: pd.DataFrame, features: Iterable[Feature] = FEATURES) -> pd.DataFrame:
    """Compute features of one symbol's bars.

    Parameters
    ----------
    bars : DataFrame of n rows
        Valid, adjusted bars in strictly increasing time: ``timestamp`` (datetime64[ns, UTC]), ``open``, ``high``,
        ``low``, ``close`` and ``volume`` (float64); ``market_return`` where features need it.
    features : iterable of Feature
        The set ``simple`` by default.

    Returns
    -------
    DataFrame of n rows
        float32 columns, with the index of ``bars``. Row t depends on bars up to t only, and on prices and volumes only
        through ratios. NaN where a feature is undefined: before its lookback, and where a ratio divides by zero (no
        range, no volume, no variation). Infinity never appears.
    """
    return FeatureStream(tuple(features)).push(bars)
