"""Reading labeled tables: one file, or a folder of parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from CONFIG.errors import DataError, IntegrityError
from DATA_PROCESSING.columns import feature_columns, target_columns
from DATA_PROCESSING.labeled.seal import DAMAGED, SEAL, open_sealed, read_columns
from DATA_PROCESSING.sessions import holds_dates, without_zone
from DATA_PROCESSING.symbols import file_stem, printable, symbol_faults, symbol_of
from DATA_PROCESSING.times import read_timestamps

FOLDER = Path("DATA_PROCESSING/data/labeled")
OPEN = "open.parquet"  # the last part of a long table; it lists the others
_NEEDED = ("timestamp", "close", "label_end")


@dataclass(frozen=True)
class TableInfo:
    """What a labeled table says of itself, without reading its columns.

    Attributes
    ----------
    path : Path
        Its file, or the folder of its parts.
    symbol : str
    fingerprint : str
        Changes with the bars, the features or the labels.
    horizon : int or str
        Bars ahead (H) that its labels look, or the span (``5d``).
    columns : tuple of str
    settings : dict
        The run configs ``bars``, ``features`` and ``labels`` it was made with, and the sha256 of a file of features,
        ``own_features``; empty for a table of the user's own.
    both_touched_share : float
        Share of first touches in which one bar touches both barriers and counts as the lower; NaN where not known.
    rows : int
        Bars it was made from; 0 where not known.
    labeled_rows : int
        Those that have labels; 0 where not known.
    tail_start, tail_end : str
        Of a long table, the times of the first bar that it has to see again to go on, and of its last.
    parts : tuple of (str, str)
        Names and seals of the closed parts of a long table.
    latents : dict
        How its latents were made: the model, its configuration, and the sessions it was fitted on; empty without.
    """

    path: Path
    symbol: str
    fingerprint: str
    horizon: int | str
    columns: tuple[str, ...]
    settings: dict
    both_touched_share: float = float("nan")
    rows: int = 0
    labeled_rows: int = 0
    tail_start: str = ""
    tail_end: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    latents: dict = field(default_factory=dict)

    @property
    def features(self) -> list[str]:
        """Its feature columns, in order."""
        return feature_columns(self.columns)

    @property
    def targets(self) -> list[str]:
        """Its target columns, in order."""
        return target_columns(self.columns)


def table_path(folder: Path, symbol: str) -> Path:
    """Where a symbol's table lies in a folder: a file, or for a long one a folder of that name."""
    return Path(folder) / f"{file_stem(symbol)}.parquet"


def read_info(path: Path, default_horizon: int) -> TableInfo:
    """Read what a labeled table says of itself.

    A table that was not built here is known by its file name, its bytes' hash and ``default_horizon``.

    Raises
    ------
    IntegrityError
        Not a whole Parquet file, or a table built here that was edited.
    DataError
        A column that every labeled table needs is missing, one is there twice, or the symbol cannot be one.
    """
    file_path = path / OPEN if path.is_dir() else path
    file, about = open_sealed(file_path)
    names = file.schema_arrow.names
    missing = [column for column in _NEEDED if column not in names]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, missing))}; a labeled table needs {', '.join(_NEEDED)}, "
            "features and targets (see docs/04_DATA_PIPELINE.md)"
        )
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise DataError(f"{path}: two columns are called {twice!r}; rename one")
    symbol = about.get("symbol", printable(symbol_of(path.stem)))
    (fault,) = symbol_faults([symbol])
    if fault:
        raise DataError(f"{path}: {fault}; rename the file")
    settings = about.get("settings", {})
    return TableInfo(
        path=path,
        symbol=symbol,
        fingerprint=about.get("fingerprint") or hashlib.sha256(file_path.read_bytes()).hexdigest(),
        horizon=settings.get("labels", {}).get("horizon", default_horizon),
        columns=tuple(names),
        settings=settings,
        both_touched_share=about.get("both_touched_share", float("nan")),
        rows=about.get("rows", 0),
        labeled_rows=about.get("labeled_rows", 0),
        tail_start=about.get("tail_start", ""),
        tail_end=about.get("tail_end", ""),
        parts=tuple((name, seal) for name, seal in about.get("parts", ())),
        latents=about.get("latents", {}),
    )


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a labeled table, checking its seal and page checksums, in time order.

    Returns
    -------
    DataFrame
        Its columns (or those asked for); ``timestamp`` and ``label_end`` in UTC.

    Raises
    ------
    IntegrityError
        A file is truncated or missing, or was built here and edited.
    DataError
        A table of the user's own has times that cannot be read, labels that end before their row, text where numbers
        belong, or rows of several symbols.
    """
    if path.is_dir():
        parts = [_read_part(path / name, seal, columns) for name, seal in read_info(path, 1).parts]
        return _to_frame(pa.concat_tables([*parts, _read_part(path / OPEN, None, columns)]))
    file, about = open_sealed(path)
    table = _to_frame(read_columns(file, path, columns))
    if not about:
        _mend_own(table, path)
    if not table["timestamp"].is_monotonic_increasing:
        table = table.sort_values("timestamp", kind="stable", ignore_index=True)
    return table


def _to_frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(ignore_metadata=True, date_as_object=False)


def _read_part(path: Path, seal: str | None, columns: list[str] | None) -> pa.Table:
    file, about = open_sealed(path)
    if not about or seal not in (None, about[SEAL]):
        raise IntegrityError(f"{path}: not the part that was built here; build the table again")
    return read_columns(file, path, columns)


def _mend_own(table: pd.DataFrame, path: Path) -> None:
    """Bring the times of a user's own table to UTC, in place; refuse what no trainer can use."""
    ends = [column for column in table if column.startswith("label_end")]
    for column in [*({"timestamp"} & set(table.columns)), *ends]:
        # The last rows have no label, so nothing says when it ends.
        given = table[column].dropna() if column in ends else table[column]
        times, faults = read_timestamps(given, None, "", f"{path}, {column}")
        if faults.any():
            raise DataError(f"{path}: {np.count_nonzero(faults)} rows of {column} hold no readable time")
        table[column] = pd.Series(times, given.index).reindex(table.index)
    for column in ends if "timestamp" in table else ():
        if (table[column] < table["timestamp"]).any():
            early = int((table[column] < table["timestamp"]).sum())
            raise DataError(
                f"{path}: {early} rows have a {column} before their timestamp, as if known before it happens"
            )
    if "session" in table:
        dates, faults = read_timestamps(table["session"], None, "UTC", f"{path}, session")
        if faults.any() or not holds_dates(without_zone(dates)):
            raise DataError(f"{path}: 'session' must hold the date of each row's session; write dates or leave it out")
        table["session"] = dates.tz_convert(None).astype("datetime64[ms]")
    if "symbol" in table and table["symbol"].nunique(dropna=False) > 1:
        found = ", ".join(map(repr, table["symbol"].unique()[:3]))
        raise DataError(f"{path}: the rows of a table are of one symbol, and its column symbol holds {found}; split it")
    for column in {"close", *feature_columns(table.columns), *target_columns(table.columns)} & set(table.columns):
        if not pd.api.types.is_numeric_dtype(table[column].dtype):
            kind = table[column].dtype
            raise DataError(f"{path}: {column!r} holds {kind}; close, features and targets must be numbers")


def labeled_files(source: Path) -> list[Path]:
    """The Parquet files of a folder (or the one file) if any is a labeled table, else nothing.

    The others are among them, so that `read_info` tells what is wrong with each.
    """
    source = Path(source)
    if source.is_dir() and not (source / OPEN).exists():
        paths = sorted(source.iterdir())
    else:
        paths = [source]
    paths = [path for path in paths if path.suffix.lower() == ".parquet" and not path.name.startswith(".")]
    return paths if any(_is_labeled(path) for path in paths) else []


def _is_labeled(path: Path) -> bool:
    try:
        return "label_end" in pq.read_schema(path / OPEN if path.is_dir() else path).names
    except DAMAGED:
        return False
