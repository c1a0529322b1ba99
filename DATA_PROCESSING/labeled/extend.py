"""A labeled table with latents: features that a model learnt from some of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.columns import IN_FIT, LATENT_PREFIX
from DATA_PROCESSING.labeled.columns import as_array
from DATA_PROCESSING.labeled.write import write_file


def check_without_latents(columns: tuple[str, ...], where: str) -> None:
    """Refuse a table that has latents, of which a second set would take the names."""
    there = [column for column in columns if column.startswith(LATENT_PREFIX) or column == IN_FIT]
    if there:
        raise DataError(f"{where}: has {there[0]!r} already; give tables without latents as --input-dir")


def write_extended(path: Path, table: pd.DataFrame, latents: pd.DataFrame, in_fit: np.ndarray, about: dict) -> None:
    """Write a labeled table and its latents as one file, in place of what lies there.

    Parameters
    ----------
    path : Path
    table : DataFrame of n rows
        As `read_table` gives it.
    latents : DataFrame
        (n, latents) ``latent_0``, ...
    in_fit : (n,) bool
        Whether a row lies in the range that latents were fitted on, which no test may use; the column ``in_fit``.
    about : dict
        What the table says of itself: ``symbol``, ``fingerprint``, ``settings``, and ``latents``, how they were made.
    """
    rows = {name: as_array(column) for name, column in table.items()}
    rows |= {name: column.to_numpy() for name, column in latents.items()} | {IN_FIT: in_fit}
    write_file(path, rows, about | {"rows": len(table)})
