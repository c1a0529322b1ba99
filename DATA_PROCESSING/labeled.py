"""Labeled tables: bars, features and labels of one symbol in one Parquet file, with what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
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
from DATA_PROCESSING.labels import LABELS, build_labels
from DATA_PROCESSING.sessions import session_numbers
from DATA_PROCESSING.symbols import file_stem, symbol_of

FOLDER = Path("DATA_PROCESSING/data/labeled")
_KEY = b"barzoo"
_NEEDED = ("timestamp", "close", "label_end")


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
    """

    path: Path
    symbol: str
    fingerprint: str
    horizon: int
    columns: tuple[str, ...]
    labels: dict

    @property
    def features(self) -> list[str]:
        """Its feature columns, in order."""
        return feature_columns(self.columns)

    @property
    def targets(self) -> list[str]:
        """Its target columns, in order."""
        return target_columns(self.columns)


def label_names(horizon: int) -> list[str]:
    """The label columns that `build_table` makes, in order."""
    return [label.name.replace("fwd_ret_h", f"fwd_ret_{horizon}") for label in LABELS] + ["label_end"]


def table_path(folder: Path, symbol: str) -> Path:
    """Where a symbol's table lies in a folder."""
    return Path(folder) / f"{file_stem(symbol)}.parquet"


def table_fingerprint(panel: Panel, symbol: str, features: dict, labels: dict) -> str:
    """Identity of the table that `build_table` would make, known before it is made."""
    bars = panel.bars[symbol]
    gaps = np.diff(session_numbers(bars["timestamp"], panel.sessions))
    recipe = json.dumps({"features": features, "columns": feature_names(), "labels": labels}, sort_keys=True)
    text = f"{bars_fingerprint(bars)} {hashlib.sha256(gaps.tobytes()).hexdigest()} {recipe}"
    return hashlib.sha256(text.encode()).hexdigest()


def build_table(panel: Panel, symbol: str, labels: dict) -> pd.DataFrame:
    """Bars, features (float32) and labels of one symbol; a row per bar, the last rows without labels included."""
    bars = panel.bars[symbol]
    sessions = session_numbers(bars["timestamp"], panel.sessions)
    return pd.concat([bars, build_features(bars), build_labels(bars, **labels, sessions=sessions)], axis=1)


def write_table(folder: Path, symbol: str, table: pd.DataFrame, fingerprint: str, labels: dict) -> Path:
    """Write one labeled table, whole or not at all, with page checksums; returns its path."""
    about = {"symbol": symbol, "fingerprint": fingerprint, "labels": labels}
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)})
    buffer = BytesIO()
    pq.write_table(arrow, buffer, write_page_checksum=True, use_dictionary=False, compression="zstd", compression_level=1)
    path = table_path(folder, symbol)
    write_atomically(path, buffer.getvalue())
    return path


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

    def label(symbol: str) -> tuple[str, bool]:
        fingerprint = table_fingerprint(panel, symbol, features, labels)
        if stopped() or _is_current(table_path(folder, symbol), fingerprint):
            return symbol, False
        write_table(folder, symbol, build_table(panel, symbol, labels), fingerprint, labels)
        return symbol, True

    # Threads serve: the kernels and the Parquet writer run without Python's lock.
    calls = (delayed(label)(symbol) for symbol in symbols or sorted(panel.bars))
    made = []
    for symbol, is_new in Parallel(jobs, backend="threading", return_as="generator_unordered")(calls):
        made += [symbol] if is_new else []
        on_step(symbol)
    return sorted(made)


def _is_current(path: Path, fingerprint: str) -> bool:
    """Whether a table of that fingerprint is there, whole; a damaged one is made again."""
    try:
        return path.exists() and read_info(path, 1).fingerprint == fingerprint
    except BarzooError:
        return False


def read_info(path: Path, default_horizon: int) -> TableInfo:
    """Read what a labeled table says of itself.

    A table that was not built here is known by its file name, its bytes' hash and ``default_horizon``.

    Raises
    ------
    IntegrityError
        Not a whole Parquet file.
    DataError
        A column that every labeled table needs is missing.
    """
    schema = _open(path).schema_arrow
    missing = [column for column in _NEEDED if column not in schema.names]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, missing))}; a labeled table needs {', '.join(_NEEDED)}, "
            "features and targets (see docs/04_DATA_PIPELINE.md)"
        )
    about = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return TableInfo(
        path=path,
        symbol=about.get("symbol", symbol_of(path.stem)),
        fingerprint=about.get("fingerprint") or hashlib.sha256(path.read_bytes()).hexdigest(),
        horizon=about.get("labels", {}).get("horizon", default_horizon),
        columns=tuple(schema.names),
        labels=about.get("labels", {}),
    )


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a labeled table, checking its page checksums, in time order.

    Raises
    ------
    IntegrityError
        The file is truncated or was edited.
    """
    try:
        table = _open(path).read(columns=columns).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path}: the table is damaged ({str(error).splitlines()[0]}); build it again") from error
    if not table["timestamp"].is_monotonic_increasing:
        table = table.sort_values("timestamp", kind="stable", ignore_index=True)
    return table


def labeled_files(source: Path) -> list[Path]:
    """The labeled tables of a folder (or the one file); empty when it holds bars, or nothing."""
    source = Path(source)
    paths = [source] if source.is_file() else sorted(source.glob("*.parquet")) if source.is_dir() else []
    paths = [path for path in paths if path.suffix == ".parquet"]
    if not paths or "label_end" not in _open(paths[0]).schema_arrow.names:
        return []
    return paths


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})") from error
