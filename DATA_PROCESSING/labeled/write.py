"""Writing labeled tables.

A short table is one file. A long one is a folder of that name, of parts that follow each other: closed ones, which
never change again, named after their first row, and the open one, with the newest rows and those whose labels are not
known yet. The open part is written last and lists the others: replacing it is what makes a change of the table valid.
Beside it lies the state that the next new bars go on from.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CONFIG.errors import IntegrityError
from DATA_PROCESSING.atomic import write_atomically
from DATA_PROCESSING.labeled.columns import Columns, count_rows, from_arrow, join_columns, slice_columns, to_arrow
from DATA_PROCESSING.labeled.read import OPEN
from DATA_PROCESSING.labeled.seal import is_sealed, open_sealed, read_columns, write_sealed
from DATA_PROCESSING.labeled.stream import TableStream

SHORT_ROWS = 16_384  # a table up to this length is one file, and is built afresh when its bars have changed
PART_ROWS = 32_768  # of a closed part, at most
OPEN_ROWS = 1_024  # with more settled rows than this, the open part gives them to a closed one
_STATE = "_state-"  # readers of a folder of Parquet files pass over names that begin with an underscore


def write_file(path: Path, rows: Columns, about: dict) -> None:
    """Write a short table in place of what lies there."""
    if path.is_dir():
        shutil.rmtree(path)
    write_sealed(path, to_arrow(rows), about)


class LongTable:
    """The parts of a long table, being written or continued.

    Parameters
    ----------
    path : Path
        The folder. A crash before `commit` leaves what `read_table` refuses, and the next build makes again.
    parts : tuple of (str, str)
        Closed parts that are kept, with their seals; none for a new table.
    rows : int
        Rows in them.
    """

    def __init__(self, path: Path, parts: tuple[tuple[str, str], ...] = (), rows: int = 0):
        self.path = path
        self._parts = list(parts)
        self._closed_rows = rows
        self._held: list[Columns] = []  # settled rows that no closed part holds yet
        self._held_rows = 0

    def append(self, rows: Columns) -> None:
        """Add settled rows; a part that is full is written."""
        self._held.append(rows)
        self._held_rows += count_rows(rows)
        while self._held_rows >= PART_ROWS:
            self._close(PART_ROWS)

    def commit(self, open_rows: Columns, about: dict, state: dict[str, Any]) -> None:
        """Write the open part and the state, which makes the table valid, and remove what it no longer needs."""
        if self._held_rows > OPEN_ROWS or not self._parts:
            self._close(self._held_rows)
        payload = pack_arrays(state)
        digest = hashlib.sha256(payload).hexdigest()
        name = f"{_STATE}{digest[:16]}"
        write_atomically(self.path / name, payload)
        about = about | {"parts": self._parts, "closed_rows": self._closed_rows, "state": [name, digest]}
        about["settled_rows"] = self._held_rows
        write_sealed(self.path / OPEN, to_arrow(join_columns([*self._held, open_rows])), about, compression="none")
        needed = {OPEN, name, *(part for part, _ in self._parts)}
        for other in self.path.iterdir():
            if other.name not in needed:
                other.unlink()

    def _close(self, count: int) -> None:
        """Make the first settled rows a closed part."""
        if count == 0:
            return
        if self.path.is_file():  # it was a short table
            self.path.unlink()
        rows = join_columns(self._held)
        name = f"{self._closed_rows:012}.parquet"
        seal = write_sealed(self.path / name, to_arrow(slice_columns(rows, 0, count)), {"first_row": self._closed_rows})
        self._parts.append((name, seal))
        self._closed_rows += count
        self._held, self._held_rows = [slice_columns(rows, count, None)], count_rows(rows) - count


def parts_are_whole(path: Path, parts: tuple[tuple[str, str], ...]) -> bool:
    """Whether the closed parts of a long table are there and undamaged; reads all of them."""
    return all(is_sealed(path / name, seal) for name, seal in parts)


@dataclass(frozen=True)
class Continued:
    """A long table that goes on: its parts, what it says of itself, and its state."""

    table: LongTable
    about: dict
    state: dict[str, np.ndarray]


def open_long(path: Path, stream: TableStream, recipe: str) -> Continued | None:
    """Bring ``stream`` to where a long table ends; None where there is none, or a damaged one, or of another recipe.

    Closed parts are only looked for, not read.
    """
    try:
        file, about = open_sealed(path / OPEN)
        rows = from_arrow(read_columns(file, path / OPEN))
        if about.get("recipe") != recipe:
            return None
        name, digest = about["state"]
        payload = (path / name).read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            return None
        state = unpack_arrays(payload)
    except (IntegrityError, OSError, ValueError):
        return None
    parts, settled = tuple((part, seal) for part, seal in about["parts"]), about["settled_rows"]
    if not all((path / part).exists() for part, _ in parts):
        return None
    stream.restore(state, slice_columns(rows, settled, None))
    table = LongTable(path, parts, about["closed_rows"])
    table.append(slice_columns(rows, 0, settled))
    return Continued(table, about, state)


def pack_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as bytes: a line of JSON with their names, types and shapes, then their values.

    There are a hundred small ones in a state, for which numpy's own archive takes ten times as long.
    """
    header = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    return b"".join([json.dumps(header).encode(), b"\n", *(array.tobytes() for array in arrays.values())])


def unpack_arrays(payload: bytes) -> dict[str, np.ndarray]:
    """What `pack_arrays` was given."""
    header, _, rest = payload.partition(b"\n")
    values, arrays, start = bytearray(rest), {}, 0  # these can be written
    for name, kind, shape in json.loads(header):
        arrays[name] = np.frombuffer(values, kind, math.prod(shape), start).reshape(shape)
        start += arrays[name].nbytes
    return arrays
