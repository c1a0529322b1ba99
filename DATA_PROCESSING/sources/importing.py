"""Bars of any SOURCE in the project's own layout: a folder with one Parquet file per symbol, which reads fastest.

Valid rows are written as they come, unadjusted and in time order; rows that are no bars go to ``_bad_rows/``, which
readers of the folder pass over, with what stood in them. A file says what it was made from, so that an import that was
stopped goes on where it was, and one that is repeated writes only what has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from CONFIG.errors import ConfigError, DataError, LockedError, did_you_mean
from DATA_PROCESSING.atomic import replacing, write_atomically
from DATA_PROCESSING.bars import judge_rows, sort_rows
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.sources.source import CHUNK_ROWS, Source
from DATA_PROCESSING.symbols import file_stem, symbol_faults

BAD_ROWS = "_bad_rows"
ROW_GROUP = 65_536
_KEY, _LAYOUT = b"barzoo_bars", 1
_TOGETHER = 1_000_000  # rows of short symbols that are read at once
_OPTIONS = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_page_checksum": True}


@dataclass(frozen=True)
class Imported:
    """What became of one symbol.

    Attributes
    ----------
    symbol : str
    rows, bad_rows, duplicates : int
        Bars written, rows set aside, and rows dropped because they repeat another.
    is_new : bool
        False where the file was there already, made from the same.
    problem : str
        Why there is no file; empty where there is one, or no row in the range of time that was asked for.
    """

    symbol: str
    rows: int = 0
    bad_rows: int = 0
    duplicates: int = 0
    is_new: bool = True
    problem: str = ""


class BarImport:
    """Writes the bars of a source, a Parquet file per symbol; memory stays bounded however long one is.

    Parameters
    ----------
    source : Source
        Opened with ``keep_text``, so that nothing of a bad row is lost.
    folder : Path
        Made if it is not there.
    settings : dict
        The run config ``bars`` that the source was opened with.
    symbols : list of str, optional
        Only these.
    start, end : Timestamp, optional
        Only rows with ``start <= timestamp < end``.
    now : Timestamp, optional
        Bars after it are bad; the present by default.

    Attributes
    ----------
    symbols : list of str
        Those that it writes.

    Raises
    ------
    ConfigError
        A wanted symbol that the source does not have.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        settings: dict,
        symbols: list[str] | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        now: pd.Timestamp | None = None,
    ) -> None:
        self.source, self.folder, self.settings = source, Path(folder), settings
        self.start, self.end, self.now = start, end, now or pd.Timestamp.now("UTC")
        self._sizes, problems = source.sizes(), source.problems()
        known = sorted({*self._sizes, *problems})
        for symbol in symbols or ():
            if symbol not in known:
                raise ConfigError(f"{source.name}: no symbol {symbol!r}{did_you_mean(symbol, known)}")
        faults = dict(zip(known, symbol_faults(known), strict=True))
        self.symbols = [symbol for symbol in known if symbols is None or symbol in symbols]
        self._problems = {symbol: problems.get(symbol) or faults[symbol] for symbol in self.symbols}

    def run(self) -> Iterator[Imported]:
        """Write what is not there yet, or no longer right; yields each symbol once it is done.

        Raises
        ------
        LockedError
            Another import writes to the folder.
        OSError
            The folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".import.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LockedError(
                f"{self.folder}: another import writes there; wait for it or choose another folder"
            ) from error
        try:
            for left_over in self.folder.glob(".*.tmp"):  # of an import that was killed
                left_over.unlink()
            readable = []
            for symbol in self.symbols:
                problem = self._problems[symbol]
                kept = None if problem else self._kept(symbol)
                if problem or kept:
                    yield kept or Imported(symbol, problem=problem)
                else:
                    readable.append(symbol)
            yield from self._write_all(readable)
        finally:
            lock.release()

    def _path(self, symbol: str) -> Path:
        return self.folder / f"{file_stem(symbol)}.parquet"

    def _origin(self, symbol: str) -> dict:
        """What a symbol's file is made from."""
        return {
            "layout": _LAYOUT,
            "symbol": symbol,
            "source": self.source.name,
            "state": self.source.state(symbol),
            "range": [None if bound is None else bound.isoformat() for bound in (self.start, self.end)],
            "tz": self.settings["tz"],
            "columns": self.settings["columns"],
        }

    def _kept(self, symbol: str) -> Imported | None:
        """A file that is there already, made from what the source holds now."""
        try:
            about = read_origin(self._path(symbol))
            if about is None or {**about, "counts": None} != {**self._origin(symbol), "counts": None}:
                return None
        except DataError:  # a damaged file is written anew, and an unreadable symbol says so when it is read
            return None
        return Imported(symbol, **about["counts"], is_new=False)

    def _write_all(self, symbols: list[str]) -> Iterator[Imported]:
        together: list[str] = []
        for symbol in symbols:
            size = self._sizes[symbol]
            if size is None or size > CHUNK_ROWS:
                yield self._write(symbol, lambda symbol=symbol: self.source.chunks(symbol, self.start, self.end))
                continue
            if sum(self._sizes[other] for other in together) + size > _TOGETHER:
                yield from self._write_together(together)
                together = []
            together.append(symbol)
        if together:
            yield from self._write_together(together)

    def _write_together(self, symbols: list[str]) -> Iterator[Imported]:
        """Symbols so short that they are read at once."""
        try:
            table, problems = self.source.read(symbols, self.start, self.end)
        except DataError as error:
            yield from (Imported(symbol, problem=str(error)) for symbol in symbols)
            return
        groups = {symbol: rows.index for symbol, rows in table.groupby("symbol")}
        for symbol in symbols:
            if symbol in problems:
                yield Imported(symbol, problem=problems[symbol])
                continue
            rows = table.loc[groups[symbol]].reset_index(drop=True) if symbol in groups else table[:0]
            if "adj_close" in rows and rows["adj_close"].isna().all():
                rows = rows.drop(columns="adj_close")
            yield self._write(symbol, lambda rows=rows: [rows] if len(rows) else [])

    def _write(self, symbol: str, chunks: Callable[[], Iterable[pd.DataFrame]]) -> Imported:
        """Write one symbol's file and its bad rows; the file, which comes last, is what makes both valid."""
        path = self._path(symbol)
        try:
            if path.exists() and read_origin(path) is None:
                return Imported(symbol, problem=f"{path}: not written by an import; move it away first")
        except DataError:
            pass  # damaged: written anew
        try:
            origin = self._origin(symbol)
            with replacing(path) as temporary:
                writer = _Writer(temporary)
                try:
                    for chunk in chunks():
                        writer.add(chunk, self.now)
                    bad_rows = writer.bad_rows()
                    counts = {"rows": writer.rows, "bad_rows": len(bad_rows), "duplicates": writer.duplicates}
                    writer.close(json.dumps(origin | {"counts": counts}, sort_keys=True))
                except BaseException:
                    writer.abandon()
                    raise
                self._write_bad_rows(symbol, bad_rows)
                if not writer.rows:
                    raise _NoBarsError(bad_rows)
        except _NoBarsError as error:
            path.unlink(missing_ok=True)
            return Imported(symbol, bad_rows=len(error.bad_rows), problem=str(error))
        except DataError as error:
            return Imported(symbol, problem=str(error))
        return Imported(symbol, **counts)

    def _write_bad_rows(self, symbol: str, bad_rows: pd.DataFrame) -> None:
        path = self.folder / BAD_ROWS / f"{file_stem(symbol)}.csv"
        if len(bad_rows):
            write_atomically(path, bad_rows.assign(row=bad_rows["row"] + 1).to_csv(index=False))  # people count from 1
        else:
            path.unlink(missing_ok=True)


class _NoBarsError(Exception):
    def __init__(self, bad_rows: pd.DataFrame) -> None:
        counts = bad_rows["reason"].value_counts() if len(bad_rows) else {}
        told = "; ".join(f"{count} {reason}" for reason, count in counts.items())
        super().__init__(f"no valid bar: {told}" if told else "")
        self.bad_rows = bad_rows


class _Writer:
    """One symbol's Parquet file, in row groups of one size whatever the chunks that it is given."""

    def __init__(self, path: Path) -> None:
        self.rows = self.duplicates = 0
        self._path, self._file, self._writer = path, None, None
        self._held: list[pa.Table] = []
        self._bad: list[pd.DataFrame] = []

    def bad_rows(self) -> pd.DataFrame:
        """The rows set aside so far."""
        return pd.concat(self._bad, ignore_index=True) if self._bad else pd.DataFrame()

    def add(self, chunk: pd.DataFrame, now: pd.Timestamp) -> None:
        """Judge rows, write the valid ones and keep the others."""
        table, _ = sort_rows(chunk)
        faults, repeated = judge_rows(table, now, adjusted="adj_close" in table)
        is_bad = faults != ""
        if is_bad.any():
            self._bad.append(table.drop(columns="fault")[is_bad].assign(reason=faults[is_bad]))
        self.duplicates += int(np.count_nonzero(repeated))
        good = table[~is_bad & ~repeated]
        self.rows += len(good)
        columns = ["timestamp", *BAR_COLUMNS, *(["adj_close"] if "adj_close" in good else [])]
        self._held.append(pa.Table.from_pandas(good[columns], preserve_index=False).replace_schema_metadata(None))
        if sum(map(len, self._held)) >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def close(self, about: str) -> None:
        """Write the rest, and what the file says of itself."""
        self._flush(1)
        if self._writer is not None:
            self._writer.add_key_value_metadata({_KEY: about.encode()})
            self._writer.close()
        else:
            self._path.touch()

    def abandon(self) -> None:
        """Let go of a file that is not wanted any more."""
        if self._writer is not None:
            self._writer.close()

    def _flush(self, at_least: int) -> None:
        held = pa.concat_tables(self._held) if self._held else None
        while held is not None and len(held) >= at_least:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, held.schema, **_OPTIONS)
            self._writer.write_table(held[:ROW_GROUP], row_group_size=ROW_GROUP)
            held = held[ROW_GROUP:]
        self._held = [held] if held is not None and len(held) else []


def read_origin(path: Path) -> dict | None:
    """What an imported file was made from; None for a file that no import wrote, and where there is none.

    Raises
    ------
    DataError
        It is damaged.
    """
    if not path.exists():
        return None
    try:
        about = (pq.read_metadata(path).metadata or {}).get(_KEY)
        return None if about is None else json.loads(about)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole Parquet file") from error
