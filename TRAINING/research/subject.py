"""What is audited: labeled rows of a panel, how they are split, and the code that made them where it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING import labeled
from DATA_PROCESSING.columns import feature_columns, target_columns
from DATA_PROCESSING.dataset import Dataset, make_dataset
from DATA_PROCESSING.features.own import load_features
from DATA_PROCESSING.labels import label_end_of, task_of
from DATA_PROCESSING.sessions import row_sessions, without_zone
from TRAINING.evaluation.splits import Windows, core_windows, split_dates
from TRAINING.phases.inputs import Inputs, open_inputs
from TRAINING.walkforward.panel import LabeledPanel, join_symbols

LONGEST = 20_000  # rows of one symbol at most, the last ones


@dataclass(frozen=True, eq=False)
class Subject:
    """Labeled rows and what is known of their making.

    Attributes
    ----------
    source : str
    table : DataFrame of n rows
        ``symbol, timestamp, close``, features, targets and ``label_end``, sorted by symbol and timestamp; of some of
        the symbols where there are many.
    sessions : (k,) datetime64[D]
        Those of the whole panel.
    targets : tuple of str
        The targets that models are trained on here.
    split : dict
        The run config of this name.
    cuts : (datetime64[D], datetime64[D])
        The first session of the validation and of the test window.
    spans : dict of str to (datetime64[D], datetime64[D])
        Per symbol, those that are left out of the table included, its first and last session.
    closes : dict of str to Series
        Likewise its last close of each session; without symbols that are too long to be held.
    builder : TableBuilder or None
        What labels the bars; None where the rows came labeled.
    refused : str
        Why a file of the user's own features was refused; empty where it was not, or there is none.
    """

    source: str
    table: pd.DataFrame
    sessions: np.ndarray
    targets: tuple[str, ...]
    split: dict
    cuts: tuple[np.datetime64, np.datetime64]
    spans: dict[str, tuple[np.datetime64, np.datetime64]]
    closes: dict[str, pd.Series]
    builder: labeled.TableBuilder | None = None
    refused: str = ""
    _datasets: dict[str, Dataset] = field(default_factory=dict, repr=False)

    @property
    def features(self) -> list[str]:
        """The feature columns, in order."""
        return feature_columns(self.table.columns)

    @cached_property
    def codes(self) -> np.ndarray:
        """(n,) the symbol of each row as a number, in order."""
        return pd.factorize(self.table["symbol"])[0]

    @cached_property
    def session(self) -> np.ndarray:
        """(n,) position of each row's session among the panel's."""
        return np.searchsorted(self.sessions, row_sessions(self.table))

    def values(self, column: str) -> np.ndarray:
        """(n,) float64, of a column of numbers."""
        return self.table[column].to_numpy(np.float64)

    def ahead(self, column: str, bars: int) -> np.ndarray:
        """(n,) what a column holds ``bars`` rows later for the same symbol (earlier where negative); NaN beyond."""
        return _shifted(self.values(column), self.codes, bars)

    def dataset(self, target: str) -> Dataset:
        """Features, one target and row information; made once."""
        if target not in self._datasets:
            self._datasets[target] = make_dataset(self.table, target)
        return self._datasets[target]

    def windows(self, target: str) -> Windows:
        """The windows that the core phase trains and tests on."""
        data = self.dataset(target)
        embargo = self.split["embargo_sessions"]
        return core_windows(data.sessions, data.label_sessions, self.sessions, *self.cuts, embargo)

    def is_binary(self, target: str) -> bool:
        """Whether a target is a class."""
        values = self.values(target)
        return task_of(target, values[np.isfinite(values)]) == "binary"

    def path(self, target: str) -> np.ndarray:
        """(n,) bars from each row to the end of its label; 0 without a label, or without an end behind the row.

        Where no bar is stamped ``label_end``, the last one before it ends the path.
        """
        ends = without_zone(self.table[label_end_of(target, self.table.columns)])
        timestamps, bars = without_zone(self.table["timestamp"]), np.zeros(len(self.table), int)
        for rows in self.rows_of_symbols():
            known = np.flatnonzero(~np.isnat(ends[rows]))
            place = np.searchsorted(timestamps[rows], ends[rows][known], side="right") - 1
            bars[rows][known] = place - known  # a slice is a view
        return np.where(np.isfinite(self.values(target)), np.maximum(bars, 0), 0)

    def horizon(self, target: str) -> int:
        """Sessions from a row to the end of its label, the usual number, at least 1."""
        path = self.path(target)
        rows = np.flatnonzero(path)
        return max(1, int(np.median(self.session[rows + path[rows]] - self.session[rows]))) if len(rows) else 1

    def rows_of_symbols(self) -> list[slice]:
        """The rows of each symbol."""
        edges = [0, *(np.flatnonzero(np.diff(self.codes)) + 1), len(self.codes)]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    def with_table(self, table: pd.DataFrame) -> Subject:
        """The same with another table of as many rows, to plant something."""
        return replace(self, table=table, _datasets={})

    def smaller(self, most_rows: int) -> Subject:
        """Some of the symbols, so that there are no more rows than that, or one symbol."""
        rows = self.rows_of_symbols()
        kept = _spread(rows, [rows_of.stop - rows_of.start for rows_of in rows], most_rows)
        return self.with_table(pd.concat([self.table.iloc[part] for part in kept], ignore_index=True))


def open_subject(
    source: str | Path | pd.DataFrame,
    *,
    symbols: list[str] | None = None,
    targets: Iterable[str] | None = None,
    files: Iterable[Path] = (),
    feature_overrides: Mapping[str, str] | None = None,
    most_rows: int = 100_000,
    on_read: Callable[[str], None] = lambda text: None,
) -> Subject:
    """Read what is to be audited; arguments as for `TRAINING.research.audit.audit`, but for runs."""
    files = tuple(files)
    split = load_run_config("split", files=files)
    if isinstance(source, pd.DataFrame):
        if symbols is not None or feature_overrides:
            raise ConfigError("audit: a table has its symbols and features; symbols and feature_overrides are for bars")
        return with_targets(_of_frame(source, split, most_rows), targets, files)
    inputs, refused = _open(str(source), symbols, files, dict(feature_overrides or {}), on_read)
    subject = of_inputs(inputs, split, split_dates(inputs.sessions, split["train"], split["validation"]), most_rows)
    return with_targets(replace(subject, refused=refused), targets, files)


def of_inputs(inputs: Inputs, split: dict, cuts: tuple[np.datetime64, np.datetime64], most_rows: int) -> Subject:
    """The labeled rows of some symbols of a SOURCE, spread over all of them; no target is named yet."""
    names = sorted(inputs.symbols)
    lengths = [min(len(inputs.symbols[name].sessions), LONGEST) for name in names]
    tables = {name: _last_rows(inputs, name) for name in _spread(names, lengths, most_rows)}
    held = [name for name in names if inputs.panel is None or name in inputs.panel.bars]
    return Subject(
        source=inputs.source,
        table=join_symbols(tables),
        sessions=inputs.sessions,
        targets=(),
        split=split,
        cuts=cuts,
        spans={name: (about.sessions.min(), about.sessions.max()) for name, about in inputs.symbols.items()},
        closes={name: _closes(_bars(inputs, name)) for name in held},
        builder=inputs.builder,
    )


def _of_frame(frame: pd.DataFrame, split: dict, most_rows: int) -> Subject:
    panel = LabeledPanel.of(frame)
    table = panel.table.sort_values(["symbol", "timestamp"], kind="stable", ignore_index=True)
    closes = {str(symbol): _closes(rows) for symbol, rows in table.groupby("symbol", observed=True)}
    spans = {symbol: tuple(close.index.to_numpy("datetime64[D]")[[0, -1]]) for symbol, close in closes.items()}
    cuts = split_dates(panel.sessions, split["train"], split["validation"])
    return Subject("DataFrame", table, panel.sessions, (), split, cuts, spans, closes).smaller(most_rows)


def _open(
    source: str, symbols: list[str] | None, files: tuple[Path, ...], overrides: dict[str, str], on_read: Callable
) -> tuple[Inputs, str]:
    """The SOURCE, and why the user's own features were refused; then it is opened without them."""
    try:
        return open_inputs(source, symbols, files, overrides, on_read), ""
    except ConfigError as error:
        settings = load_run_config("features", overrides, files)
        if not settings["features_from"]:
            raise
        inputs = open_inputs(source, symbols, files, {**overrides, "features_from": ""}, on_read)
        if inputs.builder is None:
            raise
        load_features(
            settings["features_from"], inputs.builder.features.names
        )  # a file that does not run is no verdict
        return inputs, str(error)


def _bars(inputs: Inputs, symbol: str) -> pd.DataFrame:
    if inputs.panel is not None:
        return inputs.panel.bars[symbol]
    about = inputs.symbols[symbol]
    return labeled.read_table(about.path, [*({"session"} & set(about.columns)), "timestamp", "close"])


def _closes(bars: pd.DataFrame) -> pd.Series:
    closes = pd.Series(bars["close"].to_numpy(np.float64), row_sessions(bars))
    return closes[~closes.index.duplicated(keep="last")]


def _last_rows(inputs: Inputs, symbol: str) -> pd.DataFrame:
    panel, path = inputs.panel, inputs.symbols[symbol].path
    if panel is not None and symbol in panel.long:
        *_, last = inputs.builder.rows(symbol)
        return inputs.builder.maker.table([last.tail(LONGEST)])
    if path is not None and path.is_dir():
        parts = labeled.read_info(path, 1).parts
        return labeled.read_table(path / parts[-1][0] if parts else path).tail(LONGEST)
    return inputs.table(symbol, None).tail(LONGEST)


def with_targets(subject: Subject, targets: Iterable[str] | None, files: Iterable[Path] = ()) -> Subject:
    """Name the targets: those asked for, else those of the core phase that are there, else the first."""
    known = [name for name in target_columns(subject.table.columns) if subject.table[name].notna().any()]
    if not known:
        raise DataError(f"{subject.source}: no row has a label; give longer bars, or a table with targets")
    if targets is None:
        usual = [name.partition("{")[0] for name in load_run_config("phases", files=files)["core_targets"]]
        chosen = [next((column for column in known if column.startswith(name)), None) for name in usual]
        return replace(subject, targets=tuple(filter(None, chosen)) or tuple(known[:1]))
    targets = list(targets)
    for target in targets:
        if target not in known:
            raise ConfigError(f"{subject.source}: no target {target!r}{did_you_mean(target, known)}")
    return replace(subject, targets=tuple(targets))


def _spread(items: list, lengths: list[int], most: int) -> list:
    """Items spread evenly over the list, as many as have no more than ``most`` rows together; one at least."""
    count = len(items)
    while count > 1:
        chosen = np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))
        if sum(lengths[place] for place in chosen) <= most:
            break
        count = min(count - 1, int(count * most / sum(lengths[place] for place in chosen)) or 1)
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def _shifted(values: np.ndarray, codes: np.ndarray, bars: int) -> np.ndarray:
    place = np.arange(len(values)) + bars
    inside = (place >= 0) & (place < len(values))
    place = np.clip(place, 0, len(values) - 1)
    return np.where(inside & (codes[place] == codes), values[place], np.nan)
