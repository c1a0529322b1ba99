"""CSV and Parquet: a folder with a file per symbol, or one file."""

from __future__ import annotations

import csv
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.headers import MISSING, TEXT_COLUMNS, name_columns
from DATA_PROCESSING.symbols import printable, symbol_of

ENDINGS = (".csv", ".parquet")
PARTITION = "symbol="


def list_files(source: Path) -> list[Path]:
    """The bar files of a folder and of its partitions (``symbol=AAPL/...``), or the one file itself.

    Raises
    ------
    DataError
        Nothing at that path, or no file of a kind we read.
    """
    where = printable(str(source))
    try:
        if not source.exists():
            raise DataError(f"{where}: no such file or folder; a SOURCE is demo, a folder of bar files, or a file")
        if source.is_file():
            if source.suffix.lower() not in ENDINGS:
                raise DataError(f"{where}: not a bar file; files end in {' or '.join(ENDINGS)}, got {source.suffix!r}")
            return [source]
        paths = [*source.iterdir(), *(path for folder in source.glob(f"{PARTITION}*/") for path in folder.iterdir())]
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error
    paths = sorted(path for path in paths if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    if not paths:
        raise DataError(f"{where}: the folder holds no {' or '.join(ENDINGS)} file")
    return paths


def symbol_of_file(path: Path) -> str:
    """The symbol of a file without a symbol column: its partition's, or what its name encodes."""
    folder = path.parent.name
    return unquote(folder.removeprefix(PARTITION)) if folder.startswith(PARTITION) else symbol_of(path.stem)


def read_tables(source: Path, tz: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read every file of a SOURCE.

    Returns
    -------
    table : DataFrame
        All rows, as `DATA_PROCESSING.bars.read_table` returns them; empty where no file could be read.
    problems : dict of str to str
        The files that could not be read, and why, under their symbols (their names where that symbol is taken).
    """
    tables: list[pd.DataFrame] = []
    failed: dict[Path, str] = {}
    for path in list_files(source):
        where = printable(str(path))
        try:
            tables.append(read_table(_read_file(path, where), where, tz, symbol_of_file(path)))
        except DataError as error:
            failed[path] = str(error)
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["symbol"])
    known = set(table["symbol"].unique())
    problems: dict[str, str] = {}
    for path, problem in failed.items():
        symbol = printable(symbol_of_file(path))
        taken = symbol in known or symbol in problems
        problems[printable(str(path.relative_to(source))) if taken else symbol] = problem
    return table, problems


def _read_file(path: Path, where: str) -> pd.DataFrame:
    """The columns of a file that mean something to us, under their own names; texts as categories."""
    try:
        table = _read_parquet(path, where) if path.suffix.lower() == ".parquet" else _read_csv(path, where)
        return table.to_pandas(ignore_metadata=True, date_as_object=False, strings_to_categorical=True)
    except DataError:
        raise
    except (pa.ArrowException, csv.Error, OSError, ValueError, KeyError) as error:  # what damaged bytes lead to
        reason = printable(str(error).partition("\n")[0][:200])
        raise DataError(f"{where}: cannot be read ({reason}); is it a whole {path.suffix} file?") from error


def _read_csv(path: Path, where: str) -> pa.Table:
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = next(filter(None, csv.reader(file)), None)
    if header is None:
        raise DataError(f"{where}: the file is empty")
    names = name_columns(header, where)

    def read(number: pa.DataType) -> pa.Table:
        types = {column: pa.string() if name in TEXT_COLUMNS else number for column, name in names.items()}
        options = pa_csv.ConvertOptions(
            include_columns=list(names),
            column_types=types,
            null_values=MISSING,
            strings_can_be_null=False,  # a symbol may be called NA
        )
        one_thread = pa_csv.ReadOptions(use_threads=False)  # so that errors name the line
        return pa_csv.read_csv(path, read_options=one_thread, convert_options=options)

    try:
        return read(pa.float64())
    except pa.ArrowInvalid:  # some text among the numbers: a bad row, not a bad file
        return read(pa.string())


def _read_parquet(path: Path, where: str) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = name_columns(file.schema_arrow.names, where)
        for column in names:
            if pa.types.is_nested(file.schema_arrow.field(column).type):
                raise DataError(f"{where}: the column {column!r} holds lists or records; expected one value a row")
        return file.read(columns=list(names))
