"""From a panel of bars to labeled tables."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import BarzooError, ConfigError
from DATA_PROCESSING.atomic import sync_folder
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.features.audit import audit
from DATA_PROCESSING.features.build import FeatureSet
from DATA_PROCESSING.features.context import PanelContext
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.labeled.columns import join_columns, to_frame
from DATA_PROCESSING.labeled.read import TableInfo, read_info, table_path
from DATA_PROCESSING.labeled.stream import RowDigest, TableStream
from DATA_PROCESSING.labeled.write import (
    SHORT_ROWS,
    LongTable,
    open_long,
    parts_are_whole,
    write_file,
)
from DATA_PROCESSING.labels import label_names, panel_forward_returns
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.resample import interval_text

log = logging.getLogger("barzoo")
_MANY_BOTH_TOUCHED = 0.01  # above it, the order of touches within a bar matters too much to be guessed


def needs_others(features: dict, labels: dict) -> bool:
    """Whether the tables of some symbols need the bars of the panel's others too; the run configs of these names."""
    return features["set"] == "comprehensive" or labels["excess"]


class TableBuilder:
    """Makes the labeled tables of a panel.

    Parameters
    ----------
    panel : Panel
    features, labels : dict
        The run configs of these names.
    """

    def __init__(self, panel: Panel, features: dict, labels: dict):
        _check_spans(labels, panel.bar_length)
        self.panel, self.labels = panel, labels
        self.features = FeatureSet.of(features, panel.bar_length, panel.stamp)
        if self.features.own:
            samples = panel.everyone | {symbol: next(panel.chunks(symbol))[0] for symbol in panel.long}
            audit(self.features.own, samples, feature_table(features["set"]))
        self._context = PanelContext(panel.everyone, self.features)
        self._returns = _panel_returns(panel, labels) if labels["excess"] else {}
        recipe = {
            "version": metadata.version("barzoo"),
            "features": self.features.recipe,
            "columns": self.columns,
            "labels": labels,
        }
        self._seed = json.dumps(recipe, sort_keys=True)
        self._recipe = hashlib.sha256(self._seed.encode()).hexdigest()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of every table, in order."""
        return ("timestamp", "session", *BAR_COLUMNS, *self.features.names, *label_names(self.labels))

    def fingerprint(self, symbol: str) -> str:
        """Identity of a symbol's table, known before it is made."""
        return self._digests(self._rows(symbol), 0)[1].hexdigest()

    def table(self, symbol: str) -> pd.DataFrame:
        """A symbol's table: a row per bar, the last rows without labels included."""
        stream = self._stream()
        return to_frame(join_columns([*map(stream.push, self._rows(symbol)), stream.rest()]))

    def newest(self, symbol: str) -> tuple[pd.DataFrame, pd.Series]:
        """Features and timestamps of a symbol's bars, the last of them where it is long."""
        stream, last = self.features.stream(), []
        for rows in self._rows(symbol):
            made = pd.concat([stream.push(rows), rows[self.features.panel_names]], axis=1)
            last = [*last[-1:], (made, rows["timestamp"])]
        features, timestamps = zip(*last, strict=True)
        return pd.concat(features, ignore_index=True), pd.concat(timestamps, ignore_index=True)

    def write(self, folder: Path, symbol: str) -> tuple[bool, float]:
        """Write a symbol's table where it is not there yet, or no longer right.

        A long table whose bars have grown at the end alone is continued: only the new rows are computed.

        Returns
        -------
        made : bool
            False if it was there.
        both_touched_share : float
            Share of first touches in which one bar touches both barriers.
        """
        path = table_path(folder, symbol)
        kept = _info(path)
        chunks = _Chunks(partial(self._rows, symbol), symbol in self.panel.long)
        before, digest = self._digests(chunks, kept.rows if kept else 0)
        fingerprint = digest.hexdigest()
        if kept is not None and kept.fingerprint == fingerprint and parts_are_whole(path, kept.parts):
            return False, kept.both_touched_share
        stream, table, known = self._stream(), LongTable(path), 0
        if kept is not None and kept.parts and kept.fingerprint == before != fingerprint:
            continued = open_long(path, stream, self._recipe)
            if continued is not None:
                table, known = continued.table, kept.rows
        settled, is_long = [], digest.rows > SHORT_ROWS
        for rows in chunks.after(known):
            settled.append(stream.push(rows))
            if is_long:
                table.append(settled.pop())
        if is_long:
            self._commit(table, symbol, stream, digest)
        else:
            about = self._about(symbol, stream, digest)
            write_file(path, join_columns([*settled, stream.rest()]), about)
        return True, stream.both_touched_share

    def knows_others(self, after: pd.Timestamp) -> bool:
        """Whether bars up to a time are enough for the place of every symbol with later ones among the others."""
        if self.features.market is None:
            return True
        reach = max(self.features.ranked_reach, 1)
        times = (bars["timestamp"] for bars in self.panel.everyone.values())
        return all((own <= after).sum() > reach for own in times if own.iloc[-1] > after)

    def add_newest(self, folder: Path, symbol: str) -> bool:
        """Continue a symbol's long table, where the panel's bars of it begin within the last that it was made from.

        Older bars are trusted to be what they were. False, and nothing is done, where the table cannot go on: it is
        short or damaged, was made with other settings, or the bars that both know differ (a new adjustment factor).
        """
        path, stream, digest = table_path(folder, symbol), self._stream(), RowDigest(self._seed)
        kept = None if self.labels["excess"] else open_long(path, stream, self._recipe)
        if kept is None:
            return False
        digest.restore(
            {name.removeprefix("digest:"): x for name, x in kept.state.items() if name.startswith("digest:")}
        )
        rows, known = pd.concat(self._rows(symbol), ignore_index=True), stream.tail
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
            self._commit(kept.table, symbol, stream, digest)
        return True

    def _commit(self, table: LongTable, symbol: str, stream: TableStream, digest: RowDigest) -> None:
        state = stream.state() | {f"digest:{name}": array for name, array in digest.state().items()}
        times = stream.tail["timestamp"]
        tail = {"tail_start": times.iloc[0].isoformat(), "tail_end": times.iloc[-1].isoformat()}
        table.commit(stream.rest(), self._about(symbol, stream, digest) | tail, state)

    def _about(self, symbol: str, stream: TableStream, digest: RowDigest) -> dict:
        about = {"symbol": symbol, "fingerprint": digest.hexdigest(), "labels": self.labels, "rows": digest.rows}
        about["recipe"] = self._recipe
        if np.isfinite(stream.both_touched_share):  # JSON has no NaN
            about["both_touched_share"] = stream.both_touched_share
        return about

    def _stream(self) -> TableStream:
        return TableStream(self.features.stream(), self.features.panel_names, self.labels)

    def _rows(self, symbol: str) -> Iterator[pd.DataFrame]:
        """What a table is made from, in chunks."""
        for bars, numbers in self.panel.chunks(symbol):
            rows = self._context.rows(symbol, bars).assign(number=numbers)
            if symbol in self._returns:
                rows = pd.concat([rows, self._returns[symbol]], axis=1)
            yield rows

    def _digests(self, chunks: Iterable[pd.DataFrame], known: int) -> tuple[str, RowDigest]:
        """The fingerprint of the first ``known`` rows, and the digest of all."""
        digest, before = RowDigest(self._seed), ""
        for rows in chunks:
            cut = known - digest.rows
            if 0 < cut <= len(rows):
                digest.update(rows.iloc[:cut])
                before, rows = digest.hexdigest(), rows.iloc[cut:]
            digest.update(rows)
        return before, digest


class _Chunks:
    """The rows of a symbol, which are gone through twice: those of a long one are read anew, others are held."""

    def __init__(self, read: Callable[[], Iterator[pd.DataFrame]], is_long: bool):
        self._read = read
        self._held = None if is_long else list(read())

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return self._read() if self._held is None else iter(self._held)

    def after(self, known: int) -> Iterator[pd.DataFrame]:
        """The rows but for the first ones, in pieces."""
        first = 0
        for rows in self:
            for start in range(max(known - first, 0), len(rows), SHORT_ROWS):
                yield rows.iloc[start : start + SHORT_ROWS]
            first += len(rows)


def label_panel(
    builder: TableBuilder,
    folder: Path,
    *,
    symbols: list[str] | None = None,
    jobs: int = 1,
    on_step: Callable[[str], None] = lambda symbol: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Write the labeled tables of a panel; a table that is up to date already is left alone.

    Parameters
    ----------
    builder : TableBuilder
    folder : Path
        Made if it is not there.
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
        return symbol, *((False, np.nan) if stopped() else builder.write(folder, symbol))

    # Threads serve: the kernels and the Parquet writer run without Python's lock.
    calls = (delayed(label)(symbol) for symbol in (builder.panel.symbols if symbols is None else symbols))
    made, shares = [], []
    for symbol, is_new, share in Parallel(jobs, backend="threading", return_as="generator_unordered")(calls):
        made += [symbol] if is_new else []
        shares += [share] if np.isfinite(share) else []
        on_step(symbol)
    sync_folder(folder)
    if shares:
        share = float(np.mean(shares))
        log.log(
            logging.WARNING if share > _MANY_BOTH_TOUCHED else logging.INFO,
            "in %.2f %% of first touches one bar touches both barriers; it counts as the lower (mean over symbols)",
            100 * share,
        )
    return sorted(made)


def _check_spans(labels: dict, bar_length: np.timedelta64) -> None:
    """Refuse a span of the clock that is shorter than the usual bar, before anything is made."""
    for span in (labels["horizon"], *labels["horizons"]):
        if isinstance(span, str) and span[-1] in "mh" and np.timedelta64(int(span[:-1]), span[-1]) < bar_length:
            raise ConfigError(
                f"labels.yaml: horizon: {span} is shorter than a bar ({interval_text(bar_length)}); give a longer one, "
                "or a number of bars"
            )


def _panel_returns(panel: Panel, labels: dict) -> dict[str, pd.DataFrame]:
    numbers = {symbol: panel.session_numbers(symbol) for symbol in panel.everyone}
    return panel_forward_returns(panel.everyone, labels, numbers)


def _info(path: Path) -> TableInfo | None:
    """What a whole table says of itself; None for none, or a damaged one: it is made again."""
    try:
        return read_info(path, 1) if path.exists() else None
    except BarzooError:
        return None
