"""Rows of a database as its driver fetches them, for every type that a column may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import pyarrow as pa
import sqlalchemy as sa

from DATA_PROCESSING.headers import MISSING
from DATA_PROCESSING.sources.source import TIME_COLUMNS, VALUE_COLUMNS, join_tables

BATCH_ROWS = 65_536
_FETCHED = 1_024  # rows at once: few enough to be in the processor's cache when they are taken apart
MOST_ROWS = None  # of one query


def read(
    connection: sa.Connection,
    columns: Mapping[str, sa.Column],
    conditions: Sequence[sa.ColumnElement] = (),
    distinct: bool = False,
) -> Iterator[pa.Table]:
    """Read rows in any order, some thousand at a time.

    Parameters
    ----------
    connection : Connection
    columns : mapping of str to Column
        By the project's names; a column's ``info`` may hold the ``unit`` of times that are numbers.
    conditions : sequence of ColumnElement
        That all rows meet.
    distinct : bool
        Whether rows that repeat are left out.
    """
    query = sa.select(*map(_exact, columns.values())).where(*conditions)
    return _fetch(connection, columns, query.distinct() if distinct else query)


def read_ordered(
    connection: sa.Connection, columns: Mapping[str, sa.Column], conditions: Sequence[sa.ColumnElement] = ()
) -> Iterator[pa.Table]:
    """Read rows in the order in which the server sorts their timestamps; see `read`."""
    query = sa.select(*map(_exact, columns.values())).where(*conditions)
    return _fetch(connection, columns, query.order_by(*(columns[name] for name in TIME_COLUMNS if name in columns)))


def _exact(column: sa.Column) -> sa.ColumnElement:
    """A decimal as the nearest float, which the server finds sooner than Python does."""
    is_decimal = isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float)
    on_server = column.table.info.get("dialect") == "postgresql"
    return sa.cast(column, sa.Double) if is_decimal and on_server else column


def _fetch(connection: sa.Connection, columns: Mapping[str, sa.Column], query: sa.Select) -> Iterator[pa.Table]:
    text, values = compile_query(connection, query)
    driver = connection.connection.driver_connection
    # A cursor with a name stays on the PostgreSQL server; SQLite's never holds more than a row.
    cursor = driver.cursor(name="bars") if connection.dialect.name == "postgresql" else driver.cursor()
    held: list[pa.Table] = []
    try:
        cursor.execute(text, values)
        while fetched := cursor.fetchmany(_FETCHED):
            arrays = [
                _array(name, [row[place] for row in fetched], columns[name]) for place, name in enumerate(columns)
            ]
            held.append(pa.table(arrays, names=list(columns)))
            if sum(map(len, held)) >= BATCH_ROWS:
                yield join_tables(held)
                held = []
        if held:
            yield join_tables(held)
    finally:
        cursor.close()


def compile_query(connection: sa.Connection, query: sa.Select) -> tuple[str, tuple | dict]:
    """A query's text, with names quoted by SQLAlchemy, and its values as the driver takes them."""
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params()
    return str(compiled), values if compiled.positiontup is None else tuple(map(values.get, compiled.positiontup))


def _array(name: str, values: list, column: sa.Column) -> pa.Array:
    """A column's values: floats, times, or texts where they are something else."""
    unit = column.info.get("unit")
    wanted: pa.DataType | None = pa.string()
    if name in VALUE_COLUMNS:
        wanted = pa.float64()
    elif name in TIME_COLUMNS and unit:
        wanted = pa.timestamp(unit, "UTC")
    elif name == "timestamp" and all(isinstance(value, date | None) for value in values[:1]):
        wanted = None  # a date or a datetime, in which all others are found
    try:
        return pa.array(values, wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = [None if value is None else str(value) for value in values]
    return pa.array([None if text in MISSING else text for text in texts] if name in VALUE_COLUMNS else texts)
