"""What every SOURCE can do, and how its rows become bar tables, whole or in pieces."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.columns import BAR_COLUMNS, PRICE_COLUMNS
from DATA_PROCESSING.symbols import printable
from DATA_PROCESSING.times import Times, parse_times

log = logging.getLogger("barzoo")
CHUNK_ROWS = 250_000
TIME_COLUMNS = ("timestamp", "time")
VALUE_COLUMNS = (*BAR_COLUMNS, "adj_close")
_TYPES = {
    "symbol": object,
    "file": object,
    "row": np.int64,
    "timestamp": "datetime64[ns, UTC]",
    **dict.fromkeys(BAR_COLUMNS, float),
    "fault": object,
}


class Source(Protocol):
    """Where bars come from. Tables are as `DATA_PROCESSING.bars.read_table` returns them.

    Attributes
    ----------
    name : str
        What the user called it, without secrets.
    """

    name: str

    def sizes(self) -> dict[str, int | None]:
        """The rows of each symbol, found without reading their values; None where they are few, but not counted."""

    def problems(self) -> dict[str, str]:
        """What cannot even be opened, and why, under the symbol (the file where that symbol is taken)."""

    def read(
        self,
        symbols: list[str] | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> tuple[pd.DataFrame, dict[str, str]]:
        """Read rows: all of them, or those of some symbols, with ``start <= timestamp < end``.

        Returns
        -------
        table : DataFrame
            Empty where nothing could be read, or nothing was asked for.
        problems : dict of str to str
            What could not be read, and why, as `problems` names it.
        """

    def chunks(
        self, symbol: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
    ) -> Iterator[pd.DataFrame]:
        """Read one symbol in pieces of about `CHUNK_ROWS` rows, in time order.

        Rows of one timestamp are in one piece; rows whose time cannot be read come where they stand. The column
        ``adj_close`` is there exactly where the symbol has such a value, in this piece or another.

        Raises
        ------
        DataError
            The symbol is not there, or cannot be read.
        """

    def timestamps(self) -> pd.DatetimeIndex | None:
        """The distinct timestamps (UTC) of all rows that are valid by themselves; None where only `read` would tell."""

    def state(self, symbol: str) -> str:
        """A text that changes when the symbol's rows do, found without reading them."""


def empty_table() -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _TYPES.items()})


def make_table(
    where: str,
    values: pa.Table,
    symbols: pd.Categorical | str,
    timestamps: np.ndarray,
    faults: np.ndarray,
    rows: np.ndarray,
    keep_text: bool,
) -> pd.DataFrame:
    """The table of some rows whose times have been read.

    Parameters
    ----------
    where : str
    values : Table
        The rows, with the project's column names.
    symbols : Categorical or str
        Of each row, or of all.
    timestamps : (n,) datetime64[ns]
        UTC.
    faults : (n,) ndarray of object
        What is wrong with each row's time.
    rows : (n,) ndarray of int
        Their numbers in the file.
    keep_text : bool
        Add a column ``given``: as JSON what stands in a row that cannot be read, else an empty text.
    """
    numbers = values.select([name for name in values.column_names if name in VALUE_COLUMNS])
    raw = numbers.to_pandas(ignore_metadata=True, date_as_object=False, strings_to_categorical=True)
    raw["timestamp"] = pd.DatetimeIndex(timestamps, tz="UTC")
    if not isinstance(symbols, str):
        raw["symbol"] = symbols
    table = read_table(raw, where, "", symbols if isinstance(symbols, str) else None, faults)
    table["row"] = rows
    if keep_text:
        given, bad = np.full(len(table), "", object), np.flatnonzero(table["fault"] != "")
        for row, record in zip(bad, values.take(bad).to_pylist(), strict=True):
            given[row] = json.dumps(record, default=str, ensure_ascii=False)
        table["given"] = given
    return table


def within(times: np.ndarray, start: pd.Timestamp | None, end: pd.Timestamp | None) -> np.ndarray | None:
    """Which times (datetime64[ns], UTC) lie in a range, NaT excluded; None where no range is given."""
    if start is None and end is None:
        return None
    low, high = (bound and bound.tz_convert(None).to_datetime64() for bound in (start, end))
    chosen = ~np.isnat(times)
    if low is not None:
        chosen &= times >= low
    if high is not None:
        chosen &= times < high
    return chosen


def plausible(values: pa.Table) -> np.ndarray | None:
    """Which rows hold a valid bar, as far as their numbers tell; None where some are no numbers."""
    columns = [values.column(name) for name in BAR_COLUMNS]
    if not all(pa.types.is_floating(column.type) or pa.types.is_integer(column.type) for column in columns):
        return None
    of = {name: column.to_numpy().astype(float) for name, column in zip(BAR_COLUMNS, columns, strict=True)}
    valid = (of["low"] > 0) & (of["high"] < np.inf) & (of["volume"] >= 0) & (of["volume"] < np.inf)
    for name in PRICE_COLUMNS:
        valid &= (of["low"] <= of[name]) & (of[name] <= of["high"])
    return valid


@dataclass(frozen=True)
class Part:
    """One symbol's rows in one file or database.

    Attributes
    ----------
    where : str
    times : Times
        Of each of n rows.
    rows : (n,) ndarray of int or range
        Their numbers in the file.
    is_adjusted : bool
        Whether any has an ``adj_close``.
    batches : callable
        Yields the rows again, in the same order, as tables with the project's column names.
    """

    where: str
    times: Times
    rows: np.ndarray | range
    is_adjusted: bool
    batches: Callable[[], Iterable[pa.Table]]


def read_in_order(
    symbol: str,
    parts: list[Part],
    tz: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    keep_text: bool,
) -> Iterator[pd.DataFrame]:
    """The rows of a symbol's parts as `Source.chunks` promises them.

    Parts whose rows come in time order, one part after the other, stay on the disk; others are read whole and sorted.
    """
    known = [(part, part.times.in_utc(tz, part.where)) for part in parts if len(part.rows)]
    known.sort(key=lambda of: np.nanmin(of[1]))
    is_adjusted = any(part.is_adjusted for part, _ in known)
    pieces = _pieces(symbol, known, start, end, keep_text, is_adjusted)
    if not _are_ordered([times for _, times in known]):
        log.warning("%s: the rows of %r are not in time order; they are sorted in memory", known[0][0].where, symbol)
        whole = pd.concat(pieces, ignore_index=True).sort_values("timestamp", kind="stable", ignore_index=True)
        pieces = iter([whole])
    yield from _cut(pieces)


def _are_ordered(all_times: list[np.ndarray]) -> bool:
    """Whether times increase through all arrays, one after the other, NaT left aside."""
    latest = np.datetime64("NaT")
    for times in all_times:
        if np.isnat(times).any():
            times = times[~np.isnat(times)]
        if len(times):
            if times[0] < latest or (times[1:] < times[:-1]).any():
                return False
            latest = times[-1]
    return True


def _pieces(
    symbol: str,
    known: list[tuple[Part, np.ndarray]],
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    keep_text: bool,
    is_adjusted: bool,
) -> Iterator[pd.DataFrame]:
    for part, all_times in known:
        first = 0
        for batch in part.batches():
            here = slice(first, first + len(batch))
            first += len(batch)
            if first > len(part.rows):
                break
            times, rows = all_times[here], np.asarray(part.rows[here])
            faults, chosen = part.times.of(here).faults(times), within(times, start, end)
            if chosen is not None:
                batch = batch.filter(pa.array(chosen))
                times, rows, faults = times[chosen], rows[chosen], faults[chosen]
            if not len(batch):
                continue
            if "adj_close" in batch.column_names and not is_adjusted:
                batch = batch.drop_columns("adj_close")
            if "adj_close" not in batch.column_names and is_adjusted:
                batch = batch.append_column("adj_close", pa.nulls(len(batch), pa.float64()))
            yield make_table(part.where, batch, symbol, times, faults, rows, keep_text)
        if first != len(part.rows):
            raise DataError(f"{part.where}: changed while it was read; run again")


def _cut(pieces: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Join or part pieces so that each has about `CHUNK_ROWS` rows and no timestamp is on both sides of a cut."""
    held: list[pd.DataFrame] = []
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) <= CHUNK_ROWS:
            continue
        table = pd.concat(held, ignore_index=True)
        while len(table) > CHUNK_ROWS:
            times = table["timestamp"].to_numpy("datetime64[ns]")
            begins = np.flatnonzero(times[1:] != times[:-1]) + 1  # rows that may begin a piece
            place = np.searchsorted(begins, CHUNK_ROWS, side="right")
            if not len(begins) or (place == 0 and begins[0] == len(table)):
                break
            cut = int(begins[max(place - 1, 0)])
            yield table[:cut].reset_index(drop=True)
            table = table[cut:].reset_index(drop=True)
        held = [table]
    if held:
        yield pd.concat(held, ignore_index=True)


def join_tables(tables: list[pa.Table]) -> pa.Table:
    """The rows of tables that follow each other; numbers become texts where another table has a text among them."""
    for name in tables[0].column_names:
        kinds = {table.schema.field(name).type for table in tables}
        if len(kinds) > 1 and any(pa.types.is_string(kind) for kind in kinds):
            place = tables[0].column_names.index(name)
            tables = [table.set_column(place, name, table.column(name).cast(pa.string())) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive")


def join_times(tables: Iterable[pa.Table], where: str) -> Times:
    """The times of the rows of tables that follow each other."""
    return Times.joined([table_times(table, where) for table in tables], where)


def encode_symbols(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """The symbol of each row as a position in a list of symbols."""
    found = column.combine_chunks()
    found = found if pa.types.is_dictionary(found.type) else found.cast(pa.string()).dictionary_encode()
    position: dict[str, int] = {}
    of = [position.setdefault(symbol_text(value), len(position)) for value in found.dictionary.to_pylist()]
    if found.null_count:
        of.append(position.setdefault("", len(position)))
    codes = found.indices.fill_null(len(of) - 1).to_numpy(zero_copy_only=False)
    return np.array(of, np.int32)[codes], list(position)


def symbol_text(value: object) -> str:
    """A symbol as it is known here, whatever a source holds; an empty text for a missing one."""
    return "" if value is None else printable(str(value).strip())


def table_times(table: pa.Table, where: str) -> Times:
    """The times of a table's rows."""
    clock = table.column("time").to_pandas() if "time" in table.column_names else None
    return parse_times(table.column("timestamp"), clock, where)
