"""Rows of a labeled table as arrays by column: hundreds of them go from kernels to files without pandas between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from DATA_PROCESSING.sessions import without_zone

Columns = dict[str, np.ndarray]  # all of one length; times are datetime64[ns] in UTC, sessions datetime64[D]


def as_array(column: pd.Series) -> np.ndarray:
    """A column of a frame: times, sessions, or numbers as they are."""
    if column.name == "session":
        return column.to_numpy("datetime64[D]")
    return without_zone(column) if column.dtype.kind == "M" else column.to_numpy()


def slice_columns(columns: Columns, start: int, stop: int | None) -> Columns:
    """Some rows, without copying them."""
    return {name: values[start:stop] for name, values in columns.items()}


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Rows of several parts behind each other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def count_rows(columns: Columns) -> int:
    """How many rows there are."""
    return len(columns["timestamp"])


def to_frame(columns: Columns) -> pd.DataFrame:
    """The rows as pandas has them: times in UTC."""
    frame = pd.DataFrame({name: values for name, values in columns.items() if values.dtype.kind != "M"})
    for place, (name, values) in enumerate(columns.items()):
        if name == "session":
            frame.insert(place, name, values.astype("datetime64[ms]"))
        elif values.dtype.kind == "M":
            frame.insert(place, name, pd.DatetimeIndex(values, tz="UTC"))
    return frame


def to_arrow(columns: Columns) -> pa.Table:
    """The rows as Arrow has them: times in UTC, sessions as dates; NaN stays NaN."""
    arrays = {}
    for name, values in columns.items():
        kind = None
        if values.dtype.kind == "M":
            kind = pa.date32() if name == "session" else pa.timestamp("ns", "UTC")
        arrays[name] = pa.array(np.ascontiguousarray(values), kind)
    return pa.table(arrays)


def from_arrow(table: pa.Table) -> Columns:
    """What `to_arrow` made."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        columns[name] = values.astype("datetime64[D]") if name == "session" else values
    return columns
