"""One bar file, CSV or Parquet: its headers, and its rows as Arrow tables with the project's column names."""

from __future__ import annotations

import csv
import zipfile
from abc import ABC, abstractmethod
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from CONFIG.errors import DataError
from DATA_PROCESSING.headers import MISSING, TEXT_COLUMNS, name_columns, name_of
from DATA_PROCESSING.sources.source import TIME_COLUMNS, encode_symbols, join_tables, symbol_text, table_times
from DATA_PROCESSING.sources.storage import DAMAGED, StoredFile, reason_of
from DATA_PROCESSING.times import Times

BATCH_ROWS = 65_536
BLOCK = 1 << 20  # bytes of a CSV file that are parsed at once; some are read ahead
_SMALL = 32 << 20  # bytes of a CSV file that is read at once, even where its rows are wanted one after the other
_FAILURES = (*DAMAGED, pa.ArrowException, csv.Error)


@dataclass(frozen=True)
class Keys:
    """What tells a file's rows apart.

    Attributes
    ----------
    times : Times
        Of n rows.
    codes : (n,) ndarray of int
        The symbol of each row, as a position in ``symbols``.
    symbols : list of str
    is_adjusted : ndarray of bool
        Which symbols have an ``adj_close``.
    """

    times: Times
    codes: np.ndarray
    symbols: list[str]
    is_adjusted: np.ndarray


class BarFile(ABC):
    """A file of bars; `open_file` chooses the format.

    Parameters
    ----------
    stored : StoredFile
    mapping : mapping of str to str
        Headers by the project's names, see `name_columns`.

    Raises
    ------
    DataError
        Its headers cannot be read, or are not those of bars. So do all methods, where the file is damaged.
    """

    def __init__(self, stored: StoredFile, mapping: Mapping[str, str]) -> None:
        self.stored = stored
        self.where = stored.where
        with self._reading():
            headers = self._headers()
        own = {name_of(header) for header in headers}
        # A partition date=2020-01-31/ is a column that the file itself leaves out.
        self._constants = {
            key: value
            for key, value in stored.partitions.items()
            if name_of(key) in TIME_COLUMNS and name_of(key) not in own
        }
        self._names = name_columns([*headers, *self._constants], self.where, mapping)
        self._constants = {key: value for key, value in self._constants.items() if key in self._names}

    @property
    def has_symbols(self) -> bool:
        """Whether a column names the symbol of each row."""
        return "symbol" in self._names.values()

    def count(self) -> int | None:
        """Its rows, where they are found without parsing them, or are few; those of a large CSV file are its lines."""
        return None

    @cached_property
    def symbol_counts(self) -> dict[str, int]:
        """The rows of each symbol, from the symbol column alone."""
        counts: dict[str, int] = {}
        for batch in self.batches(("symbol",)):
            for value, count in zip(*(column.to_pylist() for column in _counted(batch.column("symbol"))), strict=True):
                symbol = symbol_text(value)
                counts[symbol] = counts.get(symbol, 0) + count
        return counts

    def keys(self) -> Keys:
        """Times and symbols of all rows."""
        times, codes, adjusted = [], [], set()
        position: dict[str, int] = {} if self.has_symbols else {symbol_text(self.stored.symbol): 0}
        for batch in self.batches((*TEXT_COLUMNS, "adj_close")):
            times.append(table_times(batch, self.where))
            here = np.broadcast_to(np.int32(0), len(batch))
            if self.has_symbols:
                in_batch, symbols = encode_symbols(batch.column("symbol"))
                here = np.array([position.setdefault(symbol, len(position)) for symbol in symbols], np.int32)[in_batch]
            codes.append(here)
            if "adj_close" in batch.column_names:
                adjusted |= set(np.unique(here[_is_given(batch.column("adj_close"))]))
        if not sum(map(len, codes)):
            raise DataError(f"{self.where}: no rows; expected bars below the header")
        is_adjusted = np.isin(np.arange(len(position)), list(adjusted))
        joined = Times.joined(times, self.where)
        code = np.concatenate(codes) if self.has_symbols else np.broadcast_to(np.int32(0), len(joined.wall))
        return Keys(joined, code, list(position), is_adjusted)

    def batches(self, names: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        """All rows, some thousand at a time: the columns of these names that it has, all by default."""
        wanted = {header: name for header, name in self._names.items() if names is None or name in names}
        physical = [header for header in wanted if header not in self._constants]
        with self._reading():
            for table in self._tables(physical):
                table = table.rename_columns([wanted[header] for header in table.column_names])
                for key in wanted.keys() & self._constants.keys():
                    value = pa.scalar(self._constants[key], pa.string())
                    table = table.append_column(wanted[key], pa.repeat(value, len(table)))
                yield table

    def rows(self, chosen: np.ndarray | None) -> pa.Table:
        """All columns of some rows; of all where ``chosen`` is None."""
        tables, first = [], 0
        for batch in self.batches():
            here = slice(first, first + len(batch))
            tables.append(batch if chosen is None else batch.filter(pa.array(chosen[here])))
            first += len(batch)
        return join_tables(tables)

    def let_go(self) -> None:  # noqa: B027, most keep none
        """Forget rows that are kept from one call to the next."""

    @abstractmethod
    def _headers(self) -> list[str]:
        """What the file calls its columns."""

    @abstractmethod
    def _tables(self, headers: list[str]) -> Iterator[pa.Table]:
        """Its rows, in pieces, with these columns."""

    def _reading(self) -> _Reading:
        return _Reading(self.stored)


class _Reading:
    """Turns what damaged bytes lead to into one line."""

    def __init__(self, stored: StoredFile) -> None:
        self.stored = stored

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _FAILURES) and not isinstance(error, DataError):
            raise DataError(
                f"{self.stored.where}: cannot be read ({reason_of(error)}); is it a whole {self.stored.ending} file?"
            ) from error


class _CsvFile(BarFile):
    @property
    def _is_small(self) -> bool:
        return self.stored.size <= (_SMALL if self.stored.ending == ".csv" else _SMALL // 8)

    def count(self) -> int | None:
        if self._is_small:
            return None
        with self._reading(), self.stored.open() as file:
            blocks = iter(lambda: file.read(1 << 20), b"")
            lines, last = 0, b""
            for block in blocks:
                lines, last = lines + block.count(b"\n"), block
        return lines - last.endswith(b"\n")

    def _headers(self) -> list[str]:
        with TextIOWrapper(self.stored.open(), encoding="utf-8-sig", newline="") as file:
            try:
                header = next(filter(None, csv.reader(file)), None)
            except UnicodeDecodeError as error:
                found = "UTF-16" if error.object.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "not UTF-8"
                raise DataError(f"{self.where}: cannot be read, its text is {found}; save it as UTF-8") from error
        if header is None:
            raise DataError(f"{self.where}: the file is empty")
        return header

    def _tables(self, headers: list[str]) -> Iterator[pa.Table]:
        if self._is_small:
            yield self._whole.select(headers)
            return
        done = 0
        try:
            for table in self._stream(headers, pa.float64()):
                done += len(table)
                yield table
        except pa.ArrowInvalid:  # as below
            for table in self._stream(headers, pa.string()):
                if done < len(table):
                    yield table.slice(done)
                done = max(done - len(table), 0)

    def let_go(self) -> None:
        self.__dict__.pop("_whole", None)

    @cached_property
    def _whole(self) -> pa.Table:
        headers = [header for header in self._names if header not in self._constants]
        try:
            return self._parse(headers, pa.float64())
        except pa.ArrowInvalid:  # some text among the numbers: a bad row, not a bad file
            return self._parse(headers, pa.string())

    def _parse(self, headers: list[str], number: pa.DataType) -> pa.Table:
        one_thread = pa_csv.ReadOptions(use_threads=False)  # so that errors name the line
        with self.stored.open() as file:
            return pa_csv.read_csv(file, one_thread, convert_options=self._conversion(headers, number))

    def _stream(self, headers: list[str], number: pa.DataType) -> Iterator[pa.Table]:
        options = pa_csv.ReadOptions(use_threads=False, block_size=BLOCK)
        with self.stored.open() as file, pa_csv.open_csv(
            file, options, convert_options=self._conversion(headers, number)
        ) as reader:  # fmt: skip
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _conversion(self, headers: list[str], number: pa.DataType) -> pa_csv.ConvertOptions:
        kinds = {header: pa.string() if self._names[header] in TEXT_COLUMNS else number for header in headers}
        return pa_csv.ConvertOptions(
            include_columns=headers,
            column_types=kinds,
            null_values=MISSING,
            strings_can_be_null=False,  # a symbol may be called NA
        )


class _ParquetFile(BarFile):
    def count(self) -> int:
        with self._reading(), self._opened() as file:
            return file.metadata.num_rows

    def rows(self, chosen: np.ndarray | None) -> pa.Table:
        if chosen is None or not chosen.any():
            return super().rows(chosen)
        columns = [header for header in self._names if header not in self._constants]
        with self._reading(), self._opened() as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            needed = [number for number, end in enumerate(ends) if chosen[end - sizes[number] : end].any()]
            table = file.read_row_groups(needed, columns=columns)
        kept = np.concatenate([chosen[ends[number] - sizes[number] : ends[number]] for number in needed])
        table = table.filter(pa.array(kept)).select(columns)
        for key, value in self._constants.items():
            table = table.append_column(key, pa.repeat(pa.scalar(value, pa.string()), len(table)))
        return table.rename_columns([self._names[header] for header in table.column_names])

    def _headers(self) -> list[str]:
        with self._opened() as file:
            return file.schema_arrow.names

    def _tables(self, headers: list[str]) -> Iterator[pa.Table]:
        with self._opened() as file:
            for header in headers:
                if pa.types.is_nested(file.schema_arrow.field(header).type):
                    raise DataError(
                        f"{self.where}: the column {header!r} holds lists or records; expected one value a row"
                    )
            for batch in file.iter_batches(BATCH_ROWS, columns=headers):
                yield pa.Table.from_batches([batch]).select(headers)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with self.stored.open() as raw, pq.ParquetFile(raw, page_checksum_verification=True, pre_buffer=False) as file:
            yield file


def open_file(stored: StoredFile, mapping: Mapping[str, str]) -> BarFile:
    """Open a bar file; its headers are read, its rows not yet.

    Raises
    ------
    DataError
        As `BarFile`.
    """
    if stored.ending == ".zip":
        with _Reading(stored), stored.open() as file:
            zipfile.ZipFile(file).close()
        raise DataError(f"{stored.where}: the archive holds no .csv file")
    return (_ParquetFile if stored.ending == ".parquet" else _CsvFile)(stored, mapping)


def _counted(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    counts = pc.value_counts(column.cast(pa.string()).combine_chunks())
    return counts.field("values"), counts.field("counts")


def _is_given(column: pa.ChunkedArray) -> np.ndarray:
    """Which values are there: neither null nor NaN nor a text that stands for nothing."""
    if pa.types.is_floating(column.type):
        return ~np.isnan(column.to_numpy().astype(float))
    texts = pd.Series(column.to_pandas().astype(str)).str.strip()
    return column.is_valid().to_numpy() & ~texts.isin(MISSING).to_numpy()
