"""Parquet files that tell when one byte of them was changed.

Page checksums leave out the footer: names, types, metadata. The seal covers all: it is the sha256 of the file with
zeros in the seal's place, and lies in the metadata beside what the file says of itself.
"""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from CONFIG.errors import IntegrityError
from DATA_PROCESSING.atomic import write_atomically

KEY, SEAL, _UNSEALED = "barzoo", "barzoo_sha256", "0" * 64
DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError)  # what pyarrow raises


def write_sealed(path: Path, table: pa.Table, about: dict, compression: str = "zstd") -> str:
    """Write a table in one step, with page checksums and what it says of itself; returns its seal."""
    options = {"use_dictionary": False, "compression": compression, "write_page_checksum": True}
    options |= {"write_statistics": ["timestamp"]}  # for those who read a span of time with another program
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({KEY: json.dumps(about | {SEAL: _UNSEALED}, sort_keys=True)})
    payload = bytearray(buffer.getbuffer())
    place, seal = _seal(payload)
    payload[place] = seal.encode()
    write_atomically(path, payload)
    return seal


def open_sealed(path: Path) -> tuple[pq.ParquetFile, dict]:
    """A Parquet file and what it says of itself: nothing if another program wrote it.

    The seal is checked before a parser sees the bytes.

    Raises
    ------
    IntegrityError
        Not a whole Parquet file, or one of ours that was edited.
    """
    try:
        payload = path.read_bytes()
        sealed = _seal(payload)
        if sealed and payload[sealed[0]] != sealed[1].encode():
            raise IntegrityError(f"{path}: edited or damaged after it was built; build it again")
        file = pq.ParquetFile(pa.BufferReader(payload), page_checksum_verification=True)
        about = json.loads((file.metadata.metadata or {}).get(KEY.encode(), b"{}"))
    except DAMAGED as error:
        raise IntegrityError(f"{path}: not a whole Parquet file ({first_line(error)})") from error
    if about and not sealed:
        raise IntegrityError(f"{path}: its seal is gone; build it again")
    return file, about


def read_columns(file: pq.ParquetFile, path: Path, columns: list[str] | None = None) -> pa.Table:
    """Columns of an open file, their page checksums verified.

    Raises
    ------
    IntegrityError
        A page is damaged.
    """
    try:
        return file.read(columns=columns)
    except DAMAGED as error:
        raise IntegrityError(f"{path}: the table is damaged ({first_line(error)}); build it again") from error


def is_sealed(path: Path, seal: str) -> bool:
    """Whether a file is there, and is the one with this seal, whole."""
    try:
        sealed = _seal(path.read_bytes())
    except OSError:
        return False
    return sealed is not None and sealed[1] == seal


def _seal(payload: bytes | bytearray) -> tuple[slice, str] | None:
    """Where the seal of a table lies in its bytes, and what it must be; None where they have no place for one."""
    mark = f'"{SEAL}": "'.encode()
    found = payload.rfind(mark)
    if found < 0:
        return None
    place = slice(found + len(mark), found + len(mark) + len(_UNSEALED))
    digest = hashlib.sha256(memoryview(payload)[: place.start])
    digest.update(_UNSEALED.encode())
    digest.update(memoryview(payload)[place.stop :])
    return place, digest.hexdigest()


def first_line(error: Exception) -> str:
    """The first line of an error's message, cut to a line's length."""
    return str(error).partition("\n")[0][:200]
