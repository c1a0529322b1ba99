"""From the rows of one symbol to its labeled table: nothing here knows the panel, so it can be done elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import BarzooError
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.features.build import FeatureSet
from DATA_PROCESSING.labeled.columns import Columns, join_columns, to_frame
from DATA_PROCESSING.labeled.read import TableInfo, read_info
from DATA_PROCESSING.labeled.stream import RowDigest, TableStream, count_labeled
from DATA_PROCESSING.labeled.write import SHORT_ROWS, LongTable, open_long, parts_are_whole, write_file
from DATA_PROCESSING.labels import label_names

Rows = Iterable[pd.DataFrame]  # of one symbol, in time order, in one piece or more; can be gone through twice


@dataclass(frozen=True)
class Written:
    """What became of a table.

    Attributes
    ----------
    made : bool
        False if it was there.
    both_touched_share : float
        Share of first touches in which one bar touches both barriers; NaN without any.
    labeled_rows, rows : int
        How many rows have labels, of how many.
    """

    made: bool
    both_touched_share: float
    labeled_rows: int
    rows: int


class TableMaker:
    """Makes labeled tables.

    Rows hold ``timestamp, session``, bars, what features need of the panel, the session's ``number`` among those
    expected, and the panel's returns where labels need them.

    Parameters
    ----------
    features : FeatureSet
    settings : dict of str to dict
        The run configs ``labels``, and ``bars`` and ``features`` for the record.
    """

    def __init__(self, features: FeatureSet, settings: dict[str, dict]):
        self.features, self.settings, self.labels = features, settings, settings["labels"]
        recipe = {
            "format": 2,
            "version": metadata.version("barzoo"),
            "features": features.recipe,
            "columns": self.columns,
            "labels": self.labels,
        }
        self._seed = json.dumps(recipe, sort_keys=True)
        self._recipe = hashlib.sha256(self._seed.encode()).hexdigest()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of every table, in order."""
        return ("timestamp", "session", *BAR_COLUMNS, *self.features.names, *label_names(self.labels))

    def fingerprint(self, rows: Rows) -> str:
        """Identity of a table, known before it is made."""
        return self._digests(rows, 0)[1].hexdigest()

    def table(self, rows: Rows) -> pd.DataFrame:
        """A row per bar, the last rows without labels included."""
        stream = self._stream()
        return to_frame(join_columns([*map(stream.push, rows), stream.rest()]))

    def newest(self, rows: Rows) -> tuple[pd.DataFrame, pd.Series]:
        """Features and timestamps of the bars, the last of them where they come in pieces."""
        stream, last = self.features.stream(), []
        for piece in rows:
            made = pd.concat([stream.push(piece), piece[self.features.panel_names]], axis=1)
            last = [*last[-1:], (made, piece["timestamp"])]
        features, timestamps = zip(*last, strict=True)
        return pd.concat(features, ignore_index=True), pd.concat(timestamps, ignore_index=True)

    def write(self, path: Path, symbol: str, rows: Rows) -> Written:
        """Write a symbol's table where it is not there yet, or no longer right.

        A long table whose bars have grown at the end alone is continued: only the new rows are computed.
        """
        kept = _info(path)
        before, digest = self._digests(rows, kept.rows if kept else 0)
        fingerprint = digest.hexdigest()
        if kept is not None and kept.fingerprint == fingerprint and parts_are_whole(path, kept.parts):
            return Written(False, kept.both_touched_share, kept.labeled_rows, kept.rows)
        stream, table, known = self._stream(), LongTable(path), 0
        if kept is not None and kept.parts and kept.fingerprint == before != fingerprint:
            continued = open_long(path, stream, self._recipe)
            if continued is not None:
                table, known = continued.table, kept.rows
        settled, is_long = [], digest.rows > SHORT_ROWS
        for piece in _after(rows, known):
            settled.append(stream.push(piece))
            if is_long:
                table.append(settled.pop())
        rest = stream.rest()
        about = self._about(symbol, stream, digest, rest)
        if is_long:
            self._commit(table, stream, digest, rest, about)
        else:
            write_file(path, join_columns([*settled, rest]), about)
        return Written(True, stream.both_touched_share, about["labeled_rows"], digest.rows)

    def add_newest(self, path: Path, symbol: str, rows: pd.DataFrame) -> bool:
        """Continue a symbol's long table with rows that begin within the last that it was made from.

        Older bars are trusted to be what they were. False, and nothing is done, where the table cannot go on: it is
        short or damaged, was made with other settings, or the bars that both know differ (a new adjustment factor).
        """
        stream, digest = self._stream(), RowDigest(self._seed)
        kept = None if self.labels["excess"] else open_long(path, stream, self._recipe)
        if kept is None:
            return False
        digest.restore(
            {name.removeprefix("digest:"): x for name, x in kept.state.items() if name.startswith("digest:")}
        )
        known = stream.tail
        shared = rows["timestamp"] <= known["timestamp"].iloc[-1]
        before = rows[shared].tail(len(known)).reset_index(drop=True)
        if len(before) <= self.features.ranked_reach:
            return False
        known = known.tail(len(before)).reset_index(drop=True)
        shift = known["number"].iloc[-1] - before["number"].iloc[-1]
        before, names = before.assign(number=before["number"] + shift), ["timestamp", "session", *BAR_COLUMNS, "number"]
        if not before[names].equals(known[names].astype(before[names].dtypes)):
            return False
        new = rows[~shared].assign(number=lambda frame: frame["number"] + shift)
        if len(new):
            digest.update(new)
            kept.table.append(stream.push(new))
            rest = stream.rest()
            self._commit(kept.table, stream, digest, rest, self._about(symbol, stream, digest, rest))
        return True

    def _commit(self, table: LongTable, stream: TableStream, digest: RowDigest, rest: Columns, about: dict) -> None:
        state = stream.state() | {f"digest:{name}": array for name, array in digest.state().items()}
        times = stream.tail["timestamp"]
        tail = {"tail_start": times.iloc[0].isoformat(), "tail_end": times.iloc[-1].isoformat()}
        table.commit(rest, about | tail, state)

    def _about(self, symbol: str, stream: TableStream, digest: RowDigest, rest: Columns) -> dict:
        about = {"symbol": symbol, "fingerprint": digest.hexdigest(), "settings": self.settings, "rows": digest.rows}
        about |= {"labeled_rows": stream.labeled_rows + count_labeled(rest), "recipe": self._recipe}
        if np.isfinite(stream.both_touched_share):  # JSON has no NaN
            about["both_touched_share"] = stream.both_touched_share
        return about

    def _stream(self) -> TableStream:
        return TableStream(self.features.stream(), self.features.panel_names, self.labels)

    def _digests(self, rows: Rows, known: int) -> tuple[str, RowDigest]:
        """The fingerprint of the first ``known`` rows, and the digest of all."""
        digest, before = RowDigest(self._seed), ""
        for piece in rows:
            cut = known - digest.rows
            if 0 < cut <= len(piece):
                digest.update(piece.iloc[:cut])
                before, piece = digest.hexdigest(), piece.iloc[cut:]
            digest.update(piece)
        return before, digest


def _after(rows: Rows, known: int) -> Iterator[pd.DataFrame]:
    """The rows but for the first ones, in pieces."""
    first = 0
    for piece in rows:
        for start in range(max(known - first, 0), len(piece), SHORT_ROWS):
            yield piece.iloc[start : start + SHORT_ROWS]
        first += len(piece)


def _info(path: Path) -> TableInfo | None:
    """What a whole table says of itself; None for none, or a damaged one: it is made again."""
    try:
        return read_info(path, 1) if path.exists() else None
    except BarzooError:
        return None
