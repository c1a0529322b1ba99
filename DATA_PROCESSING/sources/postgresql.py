"""Rows of PostgreSQL as arrays: the server puts each symbol's columns into arrays, which numpy takes as they come.

Fetched row by row and value by value, as drivers do, they cost more than reading them from the disk. For columns of
numbers and times only; `DATA_PROCESSING.sources.rows` reads all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg.adapt import Loader
from psycopg.pq import Format

from DATA_PROCESSING.sources.rows import compile_query
from DATA_PROCESSING.sources.source import CHUNK_ROWS, VALUE_COLUMNS, symbol_text

MOST_ROWS = 2_000_000  # of one query: the arrays grow in the server's memory
_EPOCH = 946_684_800_000_000  # microseconds from 1970 to 2000, where PostgreSQL's begin
_ENDLESS = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)  # minus infinity and infinity
_ELEMENTS = 20  # bytes before the first: dimensions, flags, type, length, first index


def can_read(columns: Mapping[str, sa.Column]) -> bool:
    """Whether the columns have types that this module reads."""
    return (
        "time" not in columns
        and isinstance(columns["timestamp"].type, sa.DateTime | sa.Date)
        and all(
            isinstance(columns[name].type, sa.Numeric | sa.Float | sa.Integer)
            for name in VALUE_COLUMNS
            if name in columns
        )
    )


def read(
    connection: sa.Connection, columns: Mapping[str, sa.Column], conditions: Sequence[sa.ColumnElement] = ()
) -> Iterator[pa.Table]:
    """Read rows, those of a symbol at a time; see `DATA_PROCESSING.sources.rows.read`."""
    for symbol, arrays in _arrays(connection, columns, conditions):
        yield _table(symbol, arrays, columns)


def read_ordered(
    connection: sa.Connection, columns: Mapping[str, sa.Column], conditions: Sequence[sa.ColumnElement] = ()
) -> Iterator[pa.Table]:
    """Read one symbol's rows in the order of their timestamps, about `CHUNK_ROWS` at a time; see `read`.

    Rows without a timestamp come first.
    """
    column = columns["timestamp"]
    for condition in _windows(connection, column, conditions) if len(columns) > 1 else (sa.true(),):
        for symbol, arrays in _arrays(connection, columns, [*conditions, condition]):
            order = np.argsort(arrays["timestamp"], kind="stable")
            yield _table(symbol, {name: array[order] for name, array in arrays.items()}, columns)


def _windows(
    connection: sa.Connection, column: sa.Column, conditions: Sequence[sa.ColumnElement]
) -> list[sa.ColumnElement]:
    """Conditions that part rows by time, so that each is met by about as many as a chunk has."""
    found = [arrays["timestamp"] for _, arrays in _arrays(connection, {"timestamp": column}, conditions)]
    times = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
    cuts = np.unique(times[CHUNK_ROWS::CHUNK_ROWS])
    zone = UTC if getattr(column.type, "timezone", False) else None
    cuts = cuts[(cuts > _of_year(1)) & (cuts < _of_year(9999))]  # what Python can name
    bounds = [datetime(2000, 1, 1, tzinfo=zone) + timedelta(microseconds=int(cut)) for cut in cuts]
    if not bounds:
        return [sa.true()]
    between = [(column >= low) & (column < high) for low, high in pairwise(bounds)]
    return [(column < bounds[0]) | column.is_(None), *between, column >= bounds[-1]]


def _of_year(year: int) -> int:
    return int(np.datetime64(f"{year:04}-01-02", "us").astype(np.int64)) - _EPOCH


def _arrays(
    connection: sa.Connection, columns: Mapping[str, sa.Column], conditions: Sequence[sa.ColumnElement]
) -> Iterator[tuple[str | None, dict[str, np.ndarray]]]:
    """Each symbol's columns: float64, and for timestamps microseconds since 2000."""
    named = {name: column for name, column in columns.items() if name != "symbol"}
    query = sa.select(*(sa.func.array_agg(_complete(name, column)) for name, column in named.items()))
    query = query.where(*conditions)
    if "symbol" in columns:
        query = query.add_columns(sa.cast(columns["symbol"], sa.Text)).group_by(columns["symbol"])
    text, values = compile_query(connection, query)
    with connection.connection.driver_connection.cursor(binary=True) as cursor:
        for kind, loader in (("float8", _Floats), ("timestamp", _Integers), ("timestamptz", _Integers)):
            cursor.adapters.register_loader(psycopg.postgres.types[kind].array_oid, loader)
        for row in cursor.stream(text, values, binary=True):
            if row[0] is not None:  # no row at all, in a table of one symbol
                symbol = symbol_text(row[-1]) if "symbol" in columns else None
                yield symbol, dict(zip(named, row, strict=False))


def _complete(name: str, column: sa.Column) -> sa.ColumnElement:
    """A column of eight bytes a value: what is missing becomes NaN, or endlessly long ago."""
    if name != "timestamp":
        number = column if isinstance(column.type, sa.Double) else sa.cast(column, sa.Double)
        return sa.func.coalesce(number, sa.literal_column("'NaN'"))
    moment = column if isinstance(column.type, sa.DateTime) else sa.cast(column, sa.DateTime)
    return sa.func.coalesce(moment, sa.literal_column("'-infinity'"))


class _Floats(Loader):
    """An array of float8 that has one dimension and no NULL, from its binary form."""

    format = Format.BINARY
    element = np.dtype([("size", ">i4"), ("value", ">f8")])

    def load(self, data: bytes) -> np.ndarray:
        values = np.frombuffer(data, self.element, offset=_ELEMENTS)["value"]
        return values.astype(values.dtype.newbyteorder("="))


class _Integers(_Floats):
    """The same of timestamps."""

    element = np.dtype([("size", ">i4"), ("value", ">i8")])


def _table(symbol: str | None, arrays: dict[str, np.ndarray], columns: Mapping[str, sa.Column]) -> pa.Table:
    made = {name: pa.array(array) for name, array in arrays.items()}
    times = arrays["timestamp"]
    never = np.isin(times, _ENDLESS)
    zone = "UTC" if getattr(columns["timestamp"].type, "timezone", False) else None
    moments = pa.array(np.where(never, 0, times) + _EPOCH, mask=never)
    made["timestamp"] = moments.cast(pa.timestamp("us", zone))
    if symbol is not None:
        made["symbol"] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(times), np.int32)), [symbol])
    return pa.table({name: made[name] for name in columns})
