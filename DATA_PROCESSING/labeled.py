"""Labeled tables: bars, features and labels of one symbol in one Parquet file, with what they were made from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from CONFIG.errors import BarzooError, DataError, IntegrityError
from DATA_PROCESSING.atomic import write_atomically
from DATA_PROCESSING.bars import Panel, bars_fingerprint
from DATA_PROCESSING.columns import feature_columns, target_columns
from DATA_PROCESSING.features.build import build_features, feature_names
from DATA_PROCESSING.headers import read_timestamps
from DATA_PROCESSING.labels import build_labels
from DATA_PROCESSING.sessions import session_numbers
from DATA_PROCESSING.symbols import file_stem, printable, symbol_faults, symbol_of

log = logging.getLogger("barzoo")
FOLDER = Path("DATA_PROCESSING/data/labeled")
_KEY, _SEAL, _UNSEALED = "barzoo", "barzoo_sha256", "0" * 64
_MANY_BOTH_TOUCHED = 0.01  # above it, the order of touches within a bar matters too much to be guessed
_NEEDED = ("timestamp", "close", "label_end")
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError)  # what pyarrow raises


@dataclass(frozen=True)
class TableInfo:
    """What a labeled table's file says of itself, without reading its columns.

    Attributes
    ----------
    path : Path
    symbol : str
    fingerprint : str
        Changes with the bars, the features or the labels.
    horizon : int
        Bars ahead (H) that its labels look.
    columns : tuple of str
    labels : dict
        The run config ``labels`` it was made with, empty for a table of the user's own.
    both_touched_share : float
        Share of first touches in which one bar touches both barriers and counts as the lower; NaN where not known.
    """

    path: Path
    symbol: str
    fingerprint: str
    horizon: int
    columns: tuple[str, ...]
    labels: dict
    both_touched_share: float = float("nan")

    @property
    def features(self) -> list[str]:
        """Its feature columns, in order."""
        return feature_columns(self.columns)

    @property
    def targets(self) -> list[str]:
        """Its target columns, in order."""
        return target_columns(self.columns)


def table_path(folder: Path, symbol: str) -> Path:
    """Where a symbol's table lies in a folder."""
    return Path(folder) / f"{file_stem(symbol)}.parquet"


def table_fingerprint(panel: Panel, symbol: str, features: dict, labels: dict) -> str:
    """Identity of the table that `build_table` would make, known before it is made."""
    bars = panel.bars[symbol]
    gaps = np.diff(session_numbers(bars["timestamp"], panel.sessions))
    recipe = json.dumps(
        {"version": metadata.version("barzoo"), "features": features, "columns": feature_names(), "labels": labels},
        sort_keys=True,
    )
    text = f"{bars_fingerprint(bars)} {hashlib.sha256(gaps.tobytes()).hexdigest()} {recipe}"
    return hashlib.sha256(text.encode()).hexdigest()


def build_table(panel: Panel, symbol: str, labels: dict) -> pd.DataFrame:
    """Bars, features (float32) and labels of one symbol; a row per bar, the last rows without labels included."""
    bars = panel.bars[symbol]
    sessions = session_numbers(bars["timestamp"], panel.sessions)
    made = build_labels(bars, **labels, sessions=sessions)
    table = pd.concat([bars, build_features(bars), made], axis=1)
    table.attrs = made.attrs
    return table


def write_table(folder: Path, symbol: str, table: pd.DataFrame, fingerprint: str, labels: dict) -> Path:
    """Write one labeled table, whole or not at all, with page checksums and a seal; returns its path.

    Page checksums leave out the footer: names, types, metadata. The seal covers all: it is the sha256 of the file with
    zeros in the seal's place, and lies in the metadata.
    """
    about = {"symbol": symbol, "fingerprint": fingerprint, "labels": labels, _SEAL: _UNSEALED}
    about |= {name: value for name, value in table.attrs.items() if np.isfinite(value)}
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    options = {"use_dictionary": False, "compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, arrow.schema, **options) as writer:
        writer.write_table(arrow)
        writer.add_key_value_metadata({_KEY: json.dumps(about, sort_keys=True)})
    payload = bytearray(buffer.getvalue())
    place, seal = _seal(payload)
    payload[place] = seal.encode()
    path = table_path(folder, symbol)
    write_atomically(path, bytes(payload))
    return path


def _seal(payload: bytes) -> tuple[slice, str] | None:
    """Where the seal of a table lies in its bytes, and what it must be; None where they have no place for one."""
    mark = f'"{_SEAL}": "'.encode()
    found = payload.rfind(mark)
    if found < 0:
        return None
    place = slice(found + len(mark), found + len(mark) + len(_UNSEALED))
    digest = hashlib.sha256(memoryview(payload)[: place.start])
    digest.update(_UNSEALED.encode())
    digest.update(memoryview(payload)[place.stop :])
    return place, digest.hexdigest()


def label_panel(
    panel: Panel,
    folder: Path,
    features: dict,
    labels: dict,
    *,
    symbols: list[str] | None = None,
    jobs: int = 1,
    on_step: Callable[[str], None] = lambda symbol: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Write the labeled tables of a panel; a table that is up to date already is left alone.

    Parameters
    ----------
    panel : Panel
    folder : Path
        Made if it is not there.
    features, labels : dict
        The run configs of these names.
    symbols : list of str, optional
        Only these.
    jobs : int
        Symbols at once.
    on_step : callable
        Told each symbol that is ready.
    stopped : callable
        Once it says so, no further table is begun.

    Returns
    -------
    list of str
        The symbols whose table was made.
    """
    from joblib import Parallel, delayed

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def label(symbol: str) -> tuple[str, bool, float]:
        fingerprint = table_fingerprint(panel, symbol, features, labels)
        kept = _current_info(table_path(folder, symbol), fingerprint)
        if kept is not None or stopped():
            return symbol, False, kept.both_touched_share if kept else np.nan
        table = build_table(panel, symbol, labels)
        write_table(folder, symbol, table, fingerprint, labels)
        return symbol, True, table.attrs["both_touched_share"]

    # Threads serve: the kernels and the Parquet writer run without Python's lock.
    calls = (delayed(label)(symbol) for symbol in (sorted(panel.bars) if symbols is None else symbols))
    made, shares = [], []
    for symbol, is_new, share in Parallel(jobs, backend="threading", return_as="generator_unordered")(calls):
        made += [symbol] if is_new else []
        shares += [share] if np.isfinite(share) else []
        on_step(symbol)
    if shares:
        share = float(np.mean(shares))
        log.log(
            logging.WARNING if share > _MANY_BOTH_TOUCHED else logging.INFO,
            "in %.2f %% of first touches one bar touches both barriers; it counts as the lower (mean over symbols)",
            100 * share,
        )
    return sorted(made)


def _current_info(path: Path, fingerprint: str) -> TableInfo | None:
    """What a whole table of that fingerprint says of itself; ``None`` for none, or a damaged one: it is made again."""
    try:
        info = read_info(path, 1) if path.exists() else None
    except BarzooError:
        return None
    return info if info is not None and info.fingerprint == fingerprint else None


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
    _, names, about = _open(path)
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
    return TableInfo(
        path=path,
        symbol=symbol,
        fingerprint=about.get("fingerprint") or hashlib.sha256(path.read_bytes()).hexdigest(),
        horizon=about.get("labels", {}).get("horizon", default_horizon),
        columns=tuple(names),
        labels=about.get("labels", {}),
        both_touched_share=about.get("both_touched_share", float("nan")),
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
        The file is truncated, or was built here and edited.
    DataError
        A table of the user's own has times that cannot be read, labels that end before their row, or text where
        numbers belong.
    """
    file, _, about = _open(path)
    try:
        table = file.read(columns=columns).to_pandas(ignore_metadata=True, date_as_object=False)
    except _DAMAGED as error:
        raise IntegrityError(f"{path}: the table is damaged ({_first_line(error)}); build it again") from error
    if not about:
        _mend_own(table, path)
    if not table["timestamp"].is_monotonic_increasing:
        table = table.sort_values("timestamp", kind="stable", ignore_index=True)
    return table


def _mend_own(table: pd.DataFrame, path: Path) -> None:
    """Bring the times of a user's own table to UTC, in place; refuse what no trainer can use."""
    for column in {"timestamp", "label_end"} & set(table.columns):
        # The last rows have no label, so nothing says when it ends.
        given = table[column].dropna() if column == "label_end" else table[column]
        times, faults = read_timestamps(given, None, "", f"{path}, {column}")
        if faults.any():
            raise DataError(f"{path}: {np.count_nonzero(faults)} rows of {column} hold no readable time")
        table[column] = pd.Series(times, given.index).reindex(table.index)
    if {"timestamp", "label_end"} <= set(table.columns) and (table["label_end"] < table["timestamp"]).any():
        early = int((table["label_end"] < table["timestamp"]).sum())
        raise DataError(f"{path}: {early} rows have a label_end before their timestamp, as if known before it happens")
    for column in {"close", *feature_columns(table.columns), *target_columns(table.columns)} & set(table.columns):
        if not pd.api.types.is_numeric_dtype(table[column].dtype):
            kind = table[column].dtype
            raise DataError(f"{path}: {column!r} holds {kind}; close, features and targets must be numbers")


def labeled_files(source: Path) -> list[Path]:
    """The Parquet files of a folder (or the one file) if any is a labeled table, else nothing.

    The others are among them, so that `read_info` tells what is wrong with each.
    """
    source = Path(source)
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    paths = [path for path in paths if path.suffix.lower() == ".parquet" and not path.name.startswith(".")]
    return paths if any(_is_labeled(path) for path in paths) else []


def _is_labeled(path: Path) -> bool:
    try:
        return "label_end" in pq.read_schema(path).names
    except _DAMAGED:
        return False


def _open(path: Path) -> tuple[pq.ParquetFile, list[str], dict]:
    """A table's file, its columns, and what it says of itself (nothing if it is the user's own).

    The seal is checked before a parser sees the bytes.
    """
    try:
        payload = path.read_bytes()
        sealed = _seal(payload)
        if sealed and payload[sealed[0]] != sealed[1].encode():
            raise IntegrityError(f"{path}: edited or damaged after it was built; build it again")
        file = pq.ParquetFile(pa.BufferReader(payload), page_checksum_verification=True)
        names = file.schema_arrow.names
        about = json.loads((file.metadata.metadata or {}).get(_KEY.encode(), b"{}"))
    except _DAMAGED as error:
        raise IntegrityError(f"{path}: not a whole Parquet file ({_first_line(error)})") from error
    if about and not sealed:
        raise IntegrityError(f"{path}: its seal is gone; build it again")
    return file, names, about


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
