"""CSV and Parquet: a folder with a file per symbol, or one file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from CONFIG.errors import DataError
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.headers import name_columns
from DATA_PROCESSING.symbols import symbol_of

ENDINGS = (".csv", ".parquet")


def list_files(source: Path) -> list[Path]:
    """The bar files of a folder, or the one file itself.

    Raises
    ------
    DataError
        Nothing at that path, or no file of a kind we read.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; a SOURCE is demo, a folder of CSV or Parquet files, or a file")
    if source.is_file():
        if source.suffix.lower() not in ENDINGS:
            raise DataError(f"{source}: not a bar file; files end in {' or '.join(ENDINGS)}, got {source.suffix!r}")
        return [source]
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    if not paths:
        raise DataError(f"{source}: the folder holds no {' or '.join(ENDINGS)} file")
    return paths


def read_tables(source: Path, tz: str) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Read every file of a SOURCE.

    Returns
    -------
    tables : dict of str to DataFrame
        Per symbol what `DATA_PROCESSING.bars.read_table` returns.
    problems : dict of str to str
        Symbols (by file name) whose file could not be read, and why; the others go on.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    problems: dict[str, str] = {}
    for path in list_files(source):
        symbol = symbol_of(path.stem)
        try:
            table = read_table(_read_file(path), str(path), tz, symbol)
        except DataError as error:
            problems[symbol] = str(error)
            continue
        for name, part in table.groupby("symbol", sort=False):
            parts.setdefault(str(name), []).append(part)
    tables = {
        symbol: pd.concat(parts_of, ignore_index=True) if len(parts_of) > 1 else parts_of[0].reset_index(drop=True)
        for symbol, parts_of in parts.items()
    }
    return tables, {symbol: problem for symbol, problem in problems.items() if symbol not in tables}


def _read_file(path: Path) -> pd.DataFrame:
    try:
        return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}); is it a whole {path.suffix} file?") from error


def _read_csv(path: Path) -> pd.DataFrame:
    header = list(pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns)
    names = name_columns(header, str(path))
    texts = {column: str for column, name in names.items() if name in ("symbol", "timestamp", "time")}
    # A symbol may be called NA or NULL: only columns of numbers know missing values.
    missing = {column: ["", "NA", "N/A", "NaN", "nan", "null", "None"] for column in names if column not in texts}
    return pd.read_csv(
        path,
        usecols=list(names),
        dtype=texts,
        keep_default_na=False,
        na_values=missing,
        encoding="utf-8-sig",
        low_memory=False,
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    names = name_columns(file.schema_arrow.names, str(path))
    return file.read(columns=list(names)).to_pandas(ignore_metadata=True)
