"""CSV and Parquet files as a SOURCE: a folder with files per symbol, a panel file, partitions, archives, URLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from CONFIG.errors import DataError
from DATA_PROCESSING.sources.formats import BarFile, Keys, open_file
from DATA_PROCESSING.sources.source import Part, empty_table, make_table, plausible, read_in_order, symbol_text, within
from DATA_PROCESSING.sources.storage import StoredFile, list_files, safe_name


class FileSource:
    """Bar files, see `DATA_PROCESSING.sources.source.Source`.

    Parameters
    ----------
    source : str
        A path or a URL.
    settings : dict
        The run config ``bars``.
    keep_text : bool
        See `DATA_PROCESSING.sources.source.make_table`.

    Raises
    ------
    DataError
        Nothing there.
    ConfigError
        A URL that cannot be opened.
    """

    def __init__(self, source: str, settings: dict, keep_text: bool = False) -> None:
        self.name = safe_name(source)
        self._tz, self._mapping, self._keep_text = settings["tz"], settings["columns"], keep_text
        self._stored = list_files(source)

    @cached_property
    def _files(self) -> tuple[list[BarFile], dict[StoredFile, str]]:
        """The files that can be opened, and why others cannot."""
        opened, failed = [], {}
        for stored in self._stored:
            try:
                opened.append(open_file(stored, self._mapping))
            except DataError as error:
                failed[stored] = str(error)
        return opened, failed

    @cached_property
    def _counts(self) -> tuple[list[tuple[BarFile, dict[str, int | None]]], dict[StoredFile, str]]:
        """The rows of each symbol in each file, and why others have none."""
        opened, failed = self._files
        counts, failed = [], dict(failed)
        for file in opened:
            try:
                counts.append((file, file.symbol_counts if file.has_symbols else {_symbol(file): file.count()}))
            except DataError as error:
                failed[file.stored] = str(error)
        return counts, failed

    def sizes(self) -> dict[str, int | None]:
        """See `Source`; a CSV file of one symbol does not tell its rows, one of many does."""
        sizes: dict[str, int | None] = {}
        for _, counts in self._counts[0]:
            for symbol, count in counts.items():
                before = sizes.get(symbol, 0)
                sizes[symbol] = None if count is None or before is None else before + count
        return sizes

    def problems(self) -> dict[str, str]:
        """See `Source`."""
        return self._told(self._counts[1], set(self.sizes()))

    def _told(self, failed: dict[StoredFile, str], known: set[str]) -> dict[str, str]:
        problems: dict[str, str] = {}
        for stored in sorted(failed, key=self._stored.index):
            symbol = symbol_text(stored.symbol)
            problems[stored.inner if symbol in known or symbol in problems else symbol] = failed[stored]
        return problems

    def read(
        self,
        symbols: list[str] | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> tuple[pd.DataFrame, dict[str, str]]:
        """See `Source`; files of other symbols are not read, nor are the row groups of a Parquet file."""
        opened, failed = self._files
        failed, tables, wanted = dict(failed), [], None if symbols is None else set(symbols)
        for file in opened:
            if wanted is None or file.has_symbols or _symbol(file) in wanted:
                try:
                    tables.append(self._table(file, wanted, start, end))
                except DataError as error:
                    failed[file.stored] = str(error)
                file.let_go()
        tables = [table for table in tables if len(table)]
        table = pd.concat(tables, ignore_index=True) if tables else empty_table()
        if wanted is not None:
            failed = {stored: problem for stored, problem in failed.items() if symbol_text(stored.symbol) in wanted}
        return table, self._told(failed, set(table["symbol"].unique()))

    def _table(
        self, file: BarFile, wanted: set[str] | None, start: pd.Timestamp | None, end: pd.Timestamp | None
    ) -> pd.DataFrame:
        keys = file.keys()
        timestamps = keys.times.in_utc(self._tz, file.where, keys.codes)
        chosen = within(timestamps, start, end)
        if wanted is not None and file.has_symbols:
            of_wanted = np.array([symbol in wanted for symbol in keys.symbols])[keys.codes]
            chosen = of_wanted if chosen is None else chosen & of_wanted
        rows = np.arange(len(timestamps)) if chosen is None else np.flatnonzero(chosen)
        if not len(rows):
            return empty_table()
        values = file.rows(None if chosen is None or chosen.all() else chosen)
        named = pd.Categorical.from_codes(keys.codes[rows], keys.symbols) if file.has_symbols else keys.symbols[0]
        faults = keys.times.of(rows).faults(timestamps[rows])
        return make_table(file.where, values, named, timestamps[rows], faults, rows, self._keep_text)

    def chunks(
        self, symbol: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
    ) -> Iterator[pd.DataFrame]:
        """See `Source`."""
        files = self._files_of(symbol)
        try:
            parts = [_part(file, symbol) for file in files]
            yield from read_in_order(symbol, parts, self._tz, start, end, self._keep_text)
        finally:
            for file in files:
                file.let_go()

    def timestamps(self) -> pd.DatetimeIndex | None:
        """See `Source`; only Parquet files tell."""
        found = [np.empty(0, "datetime64[ns]")]
        for file in self._files[0]:
            if file.stored.ending != ".parquet":
                return None
            try:
                keys = file.keys()
                times = keys.times.in_utc(self._tz, file.where, keys.codes)
                valid = [plausible(batch) for batch in file.batches()]
            except DataError:  # no row of it will be read
                continue
            if any(of_batch is None for of_batch in valid):
                return None
            found.append(np.unique(times[np.concatenate(valid) & ~np.isnat(times)]))
        return pd.DatetimeIndex(np.unique(np.concatenate(found)), tz="UTC")

    def state(self, symbol: str) -> str:
        """See `Source`: names, sizes and times of change of the symbol's files."""
        about = [f"{file.stored.inner} {file.stored.state}" for file in self._files_of(symbol)]
        return hashlib.sha256("\n".join(about).encode()).hexdigest()

    @cached_property
    def _by_symbol(self) -> dict[str, list[BarFile]]:
        found: dict[str, list[BarFile]] = {}
        for file, counts in self._counts[0]:
            for symbol in counts:
                found.setdefault(symbol, []).append(file)
        return found

    def _files_of(self, symbol: str) -> list[BarFile]:
        if symbol not in self._by_symbol:
            raise DataError(self.problems().get(symbol, f"{self.name}: no symbol {symbol!r}"))
        return self._by_symbol[symbol]


def _symbol(file: BarFile) -> str:
    return symbol_text(file.stored.symbol)


def _part(file: BarFile, symbol: str) -> Part:
    keys: Keys = file.keys()
    code = keys.symbols.index(symbol)
    is_adjusted = bool(keys.is_adjusted[code])
    chosen = keys.codes == code
    if chosen.all():
        return Part(file.where, keys.times, range(len(chosen)), is_adjusted, file.batches)
    rows = np.flatnonzero(chosen)

    def batches() -> Iterator[pa.Table]:
        first = 0
        for batch in file.batches():
            here = chosen[first : first + len(batch)]
            first += len(batch)
            if here.any():
                yield batch.filter(pa.array(here))

    return Part(file.where, keys.times.of(rows), rows, is_adjusted, batches)
