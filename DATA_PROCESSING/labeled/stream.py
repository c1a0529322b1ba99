"""The rows of a labeled table from the bars of one symbol, in chunks of any size and with the same bits for all."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from DATA_PROCESSING.columns import BAR_COLUMNS, is_label
from DATA_PROCESSING.features.stream import TIMES, FeatureStream, from_arrays, to_arrays
from DATA_PROCESSING.labeled.columns import Columns, as_array, join_columns, slice_columns
from DATA_PROCESSING.labels import first_needed, label_columns, settled_rows

_BLOCK = 128  # rows hashed at once: few enough that the begun block is a small part of the state


class RowDigest:
    """A fingerprint of the rows so far, which does not depend on the chunks they come in."""

    def __init__(self, seed: str):
        self._chain = hashlib.sha256(seed.encode()).digest()
        self._begun = np.empty(0, np.uint8)
        self.rows = 0

    def update(self, rows: pd.DataFrame) -> None:
        """Add rows: times, dates and numbers."""
        columns = [column.to_numpy("M8[ns]" if name in TIMES else np.float64) for name, column in rows.items()]
        table = np.column_stack([column.view(np.uint64) for column in columns])  # row by row
        data = np.concatenate([self._begun, table.view(np.uint8).ravel()])
        size = _BLOCK * table.shape[1] * 8
        whole = len(data) // size * size
        for start in range(0, whole, size):
            self._chain = hashlib.sha256(self._chain + data[start : start + size].tobytes()).digest()
        self._begun = data[whole:]
        self.rows += len(rows)

    def hexdigest(self) -> str:
        """The fingerprint; more rows may follow."""
        return hashlib.sha256(self._chain + self._begun.tobytes()).hexdigest()

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that `restore` takes."""
        return {"chain": np.frombuffer(self._chain, np.uint8), "begun": self._begun, "rows": np.array(self.rows)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        self._chain, self._begun, self.rows = arrays["chain"].tobytes(), arrays["begun"], int(arrays["rows"])


class LabelStream:
    """Labels of the bars pushed so far, as soon as no later bar can change them."""

    def __init__(self, settings: dict):
        self._settings = settings
        self._rows: pd.DataFrame | None = None  # those that the next labels need
        self._settled = 0  # of these
        self._counts = np.zeros(3)  # first touches by a bar that touches both barriers, all of them, rows with a label

    def push(self, rows: pd.DataFrame) -> Columns:
        """Labels of the rows that are settled now and were not before, in order.

        ``rows`` hold bars, their session's ``number`` in the panel, and the panel's returns where labels need them.
        """
        held = rows if self._rows is None else pd.concat([self._rows, rows], ignore_index=True)
        numbers = held["number"].to_numpy()
        before, settled = self._settled, settled_rows(held, self._settings, numbers)
        labels, both_touched_share = label_columns(held, self._settings, numbers, slice(before, settled))
        touched = np.count_nonzero(np.isfinite(labels["TTH"]))
        self._counts += [touched * np.nan_to_num(both_touched_share), touched, count_labeled(labels)]
        begin = first_needed(held, self._settings, settled, numbers)
        self._rows, self._settled = held.iloc[begin:].reset_index(drop=True), settled - begin
        return labels

    def rest(self) -> Columns:
        """What is known so far of the labels of the rows that are not settled."""
        numbers, rows = self._rows["number"].to_numpy(), slice(self._settled, len(self._rows))
        return label_columns(self._rows, self._settings, numbers, rows)[0]

    @property
    def both_touched_share(self) -> float:
        """Share of first touches by a bar that touches both barriers; NaN without any."""
        both, touched, _ = self._counts
        return both / touched if touched else float("nan")

    @property
    def labeled_rows(self) -> int:
        """How many of the settled rows have labels."""
        return int(self._counts[2])

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that `restore` takes."""
        return {"settled": np.array(self._settled), "counts": self._counts, **to_arrays(self._rows, "rows.")}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        self._settled, self._counts = int(arrays["settled"]), arrays["counts"]
        self._rows = from_arrays(arrays, "rows.")


def count_labeled(rows: Columns) -> int:
    """How many rows have labels."""
    return int(np.count_nonzero(~np.isnat(rows["label_end"])))


class TableStream:
    """Bars, features and labels of one symbol, from rows pushed in time order.

    Parameters
    ----------
    features : FeatureStream
    ready : list of str
        Feature columns that the rows bring with them, because they come from the whole panel.
    labels : dict
        The run config ``labels``.
    """

    def __init__(self, features: FeatureStream, ready: list[str], labels: dict):
        self._features, self._ready = features, ready
        self._labels = LabelStream(labels)
        self._waiting: Columns = {}  # bars and features of the rows whose labels are not settled

    def push(self, rows: pd.DataFrame) -> Columns:
        """Add the next rows; returns the rows of the table that are settled now and were not before."""
        rows = rows.reset_index(drop=True)
        made = {name: as_array(rows[name]) for name in ("timestamp", "session", *BAR_COLUMNS)}
        made |= zip(self._features.names, self._features.push_values(rows), strict=True)
        made |= {name: rows[name].to_numpy(np.float32) for name in self._ready}
        waiting = join_columns([self._waiting, made]) if self._waiting else made
        labels = self._labels.push(rows)
        settled = len(labels["label_end"])
        self._waiting = slice_columns(waiting, settled, None)
        return slice_columns(waiting, 0, settled) | labels

    def rest(self) -> Columns:
        """The rows that are not settled, with what is known of their labels."""
        return self._waiting | self._labels.rest()

    @property
    def both_touched_share(self) -> float:
        """Share of first touches by a bar that touches both barriers; NaN without any."""
        return self._labels.both_touched_share

    @property
    def labeled_rows(self) -> int:
        """How many of the settled rows have labels."""
        return self._labels.labeled_rows

    @property
    def tail(self) -> pd.DataFrame:
        """The last rows that were pushed."""
        return self._features.tail

    def state(self) -> dict[str, Any]:
        """Arrays from which `restore` goes on."""
        return {f"{name}:{key}": value for name, part in self._parts.items() for key, value in part.state().items()}

    def restore(self, arrays: dict[str, Any], waiting: Columns) -> None:
        """Go on from a state and the rows of the table that were not settled."""
        for name, part in self._parts.items():
            own = {key.removeprefix(f"{name}:"): value for key, value in arrays.items() if key.startswith(f"{name}:")}
            part.restore(own)
        self._waiting = {name: column for name, column in waiting.items() if not is_label(name)}

    @property
    def _parts(self) -> dict[str, Any]:
        return {"features": self._features, "labels": self._labels}
