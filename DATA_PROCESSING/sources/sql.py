"""A table of a SQLite or PostgreSQL database as a SOURCE: ``sqlite:///bars.db?table=bars``, ``postgresql://...``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from CONFIG.errors import DataError
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.headers import name_columns
from DATA_PROCESSING.sources import rows
from DATA_PROCESSING.sources.database import connected, find_table, open_database
from DATA_PROCESSING.sources.source import (
    TIME_COLUMNS,
    VALUE_COLUMNS,
    Part,
    empty_table,
    encode_symbols,
    join_tables,
    join_times,
    make_table,
    read_in_order,
    symbol_text,
    within,
)

_MOST_SYMBOLS = 10_000  # that one query names
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class _Symbol:
    """Symbols as the database writes them, and their rows: how many, and with an ``adj_close``."""

    stored: list[object] = field(default_factory=list)
    rows: int = 0
    adjusted_rows: int = 0

    def joined(self, other: _Symbol) -> _Symbol:
        """Both."""
        rows, adjusted_rows = self.rows + other.rows, self.adjusted_rows + other.adjusted_rows
        return _Symbol([*self.stored, *other.stored], rows, adjusted_rows)


class SqlSource:
    """A database table, see `DATA_PROCESSING.sources.source.Source`.

    Parameters
    ----------
    url : str
        As SQLAlchemy writes them, with ``table`` (or ``schema.table``) in the query. A table without a symbol column
        holds the bars of one symbol and is named after it.
    settings : dict
        The run config ``bars``.
    keep_text : bool
        See `DATA_PROCESSING.sources.source.make_table`.

    Raises
    ------
    DataError
        The database cannot be reached, or has no such table or column.
    ConfigError
        A URL that makes no sense or holds a password, or a missing extra.
    """

    def __init__(self, url: str, settings: dict, keep_text: bool = False) -> None:
        self._tz, self._keep_text = settings["tz"], keep_text
        self._engine, self.name, table = open_database(url)
        self._on_server = self._engine.dialect.name == "postgresql"
        with connected(self._engine, self.name) as connection:
            self._table = find_table(connection, table, self.name)
        names = name_columns([column.name for column in self._table.columns], self.name, settings["columns"])
        self._columns = {name: self._table.columns[column] for column, name in names.items()}
        self._reader = rows
        if self._on_server:
            from DATA_PROCESSING.sources import postgresql  # needs psycopg

            self._reader = postgresql if postgresql.can_read(self._columns) else rows

    @cached_property
    def _symbols(self) -> dict[str, _Symbol]:
        """The symbols by the names they have here."""
        symbols: dict[str, _Symbol] = {}
        for stored, total, adjusted in self._per_symbol(sa.func.count(), self._count_adjusted()):
            if total:
                known = symbols.get(symbol_text(stored), _Symbol())
                symbols[symbol_text(stored)] = known.joined(_Symbol([stored], total, adjusted))
        return symbols

    @cached_property
    def _states(self) -> dict[str, str]:
        """What changes when a symbol's rows do: their number, the first and the last time, and checksums."""
        moment = self._columns["timestamp"]
        ends = [sa.cast(end, sa.Text) for end in (sa.func.min(moment), sa.func.max(moment))]
        sums = [self._checksum(name) for name in VALUE_COLUMNS if name in self._columns]
        states: dict[str, str] = {}
        for stored, *told in self._per_symbol(sa.func.count(), *ends, *sums):
            states[symbol_text(stored)] = f"{states.get(symbol_text(stored), '')}{stored!r} {told}\n"
        return states

    def _per_symbol(self, *told: sa.ColumnElement) -> list[sa.Row]:
        """What the server tells of each symbol, in one pass over the table."""
        symbol = self._columns.get("symbol")
        query = sa.select(sa.literal(self._table.name) if symbol is None else symbol, *told).select_from(self._table)
        with connected(self._engine, self.name) as connection:
            return list(connection.execute(query if symbol is None else query.group_by(symbol).order_by(symbol)))

    def _count_adjusted(self) -> sa.ColumnElement:
        column = self._columns.get("adj_close")
        if column is None:
            return sa.literal(0)
        if self._reader is rows:
            return sa.func.count(column)
        return sa.func.count(sa.func.nullif(sa.cast(column, sa.Double), sa.literal_column("'NaN'")))

    def _checksum(self, name: str) -> sa.ColumnElement:
        """Of a column's values: independent of their order on PostgreSQL; on SQLite their sum as they lie."""
        column = self._columns[name]
        if not self._on_server:
            return sa.func.total(column)
        hashed = (
            sa.func.hashtext(sa.cast(column, sa.Text))
            if self._reader is rows
            else sa.func.hashfloat8(sa.cast(column, sa.Double))
        )
        return sa.func.sum(sa.cast(hashed, sa.BigInteger))

    def sizes(self) -> dict[str, int | None]:
        """See `Source`."""
        return {symbol: about.rows for symbol, about in self._symbols.items()}

    def problems(self) -> dict[str, str]:
        """See `Source`; a table is read or not."""
        return {}

    def state(self, symbol: str) -> str:
        """See `Source`: the number of rows, the first and the last time, and a checksum of each column."""
        self._known(symbol)
        return hashlib.sha256(self._states[symbol].encode()).hexdigest()

    def read(
        self,
        symbols: list[str] | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> tuple[pd.DataFrame, dict[str, str]]:
        """See `Source`; the server chooses the rows."""
        wanted = None if symbols is None else sorted(self._symbols.keys() & set(symbols))
        found: list[pa.Table] = []
        with connected(self._engine, self.name) as connection:
            for conditions in self._queries(wanted):
                found += self._reader.read(connection, self._columns, [*conditions, *self._range(start, end)])
        if not sum(map(len, found)):
            if symbols is None and start is None and end is None:
                raise DataError(f"{self.name}: no rows; expected bars in the table")
            return empty_table(), {}
        table = join_tables(found)
        codes, named = self._encode(table)
        times = join_times(found, self.name)
        timestamps = times.in_utc(self._tz, self.name, codes)
        faults = times.faults(timestamps)
        chosen = within(timestamps, start, end)
        chosen = np.ones(len(codes), bool) if chosen is None else chosen
        if wanted is not None:
            chosen &= np.isin(named, wanted)[codes]
        order = np.lexsort((timestamps, codes))  # a table has no order of its own
        order = order[chosen[order]]
        if not len(order):
            return empty_table(), {}
        if not np.array_equal(order, np.arange(len(table))):
            table = table.take(order)
        symbol, number = pd.Categorical.from_codes(codes[order], named), np.arange(len(order))
        return make_table(self.name, table, symbol, timestamps[order], faults[order], number, self._keep_text), {}

    def chunks(
        self, symbol: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
    ) -> Iterator[pd.DataFrame]:
        """See `Source`."""
        about = self._known(symbol)
        conditions = self._one(about)
        columns = {name: column for name, column in self._columns.items() if name != "symbol"}
        time_columns = {name: column for name, column in columns.items() if name in TIME_COLUMNS}
        with connected(self._engine, self.name) as connection:
            times = join_times(self._reader.read_ordered(connection, time_columns, conditions), self.name)
            part = Part(
                self.name,
                times,
                range(len(times.wall)),
                about.adjusted_rows > 0,
                lambda: self._reader.read_ordered(connection, columns, conditions),
            )
            yield from read_in_order(symbol, [part], self._tz, start, end, self._keep_text)

    def timestamps(self) -> pd.DatetimeIndex | None:
        """See `Source`; the server finds them, unless numbers are stored as text."""
        values = [self._columns[name] for name in BAR_COLUMNS]
        are_numbers = all(isinstance(column.type, sa.Numeric | sa.Float | sa.Integer) for column in values)
        if "time" in self._columns or not are_numbers:
            return None
        low, high, volume = (self._columns[name] for name in ("low", "high", "volume"))
        endless = sa.literal(float("inf"))
        valid = [low > 0, high < endless, volume >= 0, volume < endless]
        valid += [(low <= self._columns[name]) & (self._columns[name] <= high) for name in ("open", "close")]
        column = self._columns["timestamp"]
        with connected(self._engine, self.name) as connection:
            found = list(rows.read(connection, {"timestamp": column}, valid, distinct=True))
        if not found:
            return pd.DatetimeIndex([], tz="UTC")
        times = join_times(found, self.name)
        at_midnight = np.isnat(times.wall) | (times.wall == times.wall.astype("datetime64[D]"))
        if at_midnight.any() and not at_midnight.all() and (times.instant != times.wall).any() | bool(self._tz):
            return None  # which of them are dates depends on their symbols
        return pd.DatetimeIndex(times.in_utc(self._tz, self.name), tz="UTC").dropna().sort_values()

    def _known(self, symbol: str) -> _Symbol:
        if symbol not in self._symbols:
            raise DataError(f"{self.name}: no symbol {symbol!r}")
        return self._symbols[symbol]

    def _one(self, about: _Symbol) -> list[sa.ColumnElement]:
        """What the rows of some symbols have in common."""
        if "symbol" not in self._columns:
            return []
        column, given = self._columns["symbol"], [stored for stored in about.stored if stored is not None]
        return [column.in_(given) | column.is_(None) if len(given) < len(about.stored) else column.in_(given)]

    def _queries(self, wanted: list[str] | None) -> Iterator[list[sa.ColumnElement]]:
        """The conditions of queries that together give some symbols or all, each as many rows as the reader takes."""
        most = self._reader.MOST_ROWS
        if wanted is None and (most is None or sum(about.rows for about in self._symbols.values()) <= most):
            yield []
            return
        wanted = list(self._symbols) if wanted is None else wanted
        held = _Symbol()
        for symbol in wanted:
            about = self._symbols[symbol]
            if held.stored and ((most and held.rows + about.rows > most) or len(held.stored) >= _MOST_SYMBOLS):
                yield self._one(held)
                held = _Symbol()
            held = held.joined(about)
        if held.stored:
            yield self._one(held)

    def _range(self, start: pd.Timestamp | None, end: pd.Timestamp | None) -> list[sa.ColumnElement]:
        """Conditions that all rows from ``start`` to ``end`` meet, and rows up to two days beside them."""
        column = self._columns["timestamp"]
        bounds = [
            bound if bound is None else (bound + days).tz_convert(None).floor("D").to_pydatetime()
            for bound, days in ((start, -2 * _DAY), (end, 2 * _DAY))
        ]
        if not isinstance(column.type, sa.DateTime | sa.Date | sa.String) or column.info.get("unit"):
            return []
        other = []
        if isinstance(column.type, sa.String) or not self._on_server:
            column = sa.type_coerce(column, sa.Text)
            bounds = [bound if bound is None else f"{bound:%Y-%m-%d}" for bound in bounds]
            other = [~column.like("____-__-__%")]  # texts of other forms are for Python to read
        elif getattr(column.type, "timezone", False):
            bounds = [bound if bound is None else bound.replace(tzinfo=UTC) for bound in bounds]
        low, high = bounds
        conditions = [*([column >= low] if low else []), *([column < high] if high else [])]
        return [sa.or_(sa.and_(*conditions), *other)] if conditions else []

    def _encode(self, table: pa.Table) -> tuple[np.ndarray, list[str]]:
        """The symbol of each row, as a position in a list."""
        if "symbol" not in self._columns:
            return np.zeros(len(table), np.int32), [symbol_text(self._table.name)]
        return encode_symbols(table.column("symbol"))
