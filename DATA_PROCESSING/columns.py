"""Which column of a labeled table is what. Names starting with a reserved prefix are never features."""

from __future__ import annotations

from collections.abc import Iterable

PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICE_COLUMNS, "volume")
RESERVED_PREFIXES = ("y_", "TTH", "MFE", "MAE", "MDD", "fwd_", "label_")
STORED_INDEX = "__index_level_"  # how pandas names an index without a name in a Parquet file: row numbers, mostly
UNIVERSE = "in_universe"  # marks the rows of a walk-forward that may be trained on and traded
LATENT_PREFIX = "latent_"  # of features that a model made
IN_FIT = "in_fit"  # marks the rows in the range that latents were fitted on, which are no test of anything
NOT_FEATURES = frozenset(("symbol", "timestamp", "session", "adj_close", UNIVERSE, IN_FIT, *BAR_COLUMNS))


def is_label(column: str) -> bool:
    """Whether ``column`` holds something that is known only after its row's bar."""
    return column.startswith(RESERVED_PREFIXES)


def feature_columns(columns: Iterable[str]) -> list[str]:
    """The columns a model may see, in the given order: neither bars nor labels nor an index."""
    return [
        column
        for column in columns
        if column not in NOT_FEATURES and not is_label(column) and not column.startswith(STORED_INDEX)
    ]


def target_columns(columns: Iterable[str]) -> list[str]:
    """The columns a model may be trained on, in the given order."""
    return [column for column in columns if is_label(column) and not column.startswith("label_")]
