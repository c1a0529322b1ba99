"""The labeled rows of a panel as a walk-forward reads them: in time order, each with its session."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import DataError
from DATA_PROCESSING.columns import UNIVERSE, feature_columns, target_columns
from DATA_PROCESSING.dataset import Dataset, make_dataset
from DATA_PROCESSING.labeled import labeled_files, read_info, read_table
from DATA_PROCESSING.sessions import fitted_until, row_sessions, without_zone


@dataclass(frozen=True, eq=False)
class LabeledPanel:
    """Labeled tables of all symbols in one, sorted by timestamp, then symbol.

    Attributes
    ----------
    table : DataFrame of n rows
        ``symbol, timestamp, session, close``, features, targets, ``label_end``.
    sessions : (k,) datetime64[D]
        The panel's distinct sessions.
    """

    table: pd.DataFrame
    sessions: np.ndarray

    @classmethod
    def of(cls, data: LabeledPanel | pd.DataFrame | str | Path) -> LabeledPanel:
        """Take a labeled DataFrame (of one symbol, or with a ``symbol``), or a folder or file of labeled tables.

        Raises
        ------
        DataError
            A column is missing, a symbol has a timestamp twice, closes are no prices, or there is nothing to read.
        """
        if isinstance(data, LabeledPanel):
            return data
        table = _from_files(Path(data)) if isinstance(data, str | Path) else _from_frame(data)
        needed = [column for column in ("close", "label_end") if column not in table]
        if needed:
            raise DataError(
                f"walk-forward: the labeled table has no column {needed[0]!r}; it needs timestamp, close, label_end, "
                "features and targets (docs/04_DATA_PIPELINE.md)"
            )
        if not len(table) or not feature_columns(table.columns) or not target_columns(table.columns):
            raise DataError(
                f"walk-forward: {len(table)} rows, {len(feature_columns(table.columns))} features and "
                f"{len(target_columns(table.columns))} targets; it needs some of each"
            )
        for name in (*feature_columns(table.columns), *target_columns(table.columns)):
            if not pd.api.types.is_numeric_dtype(table[name].dtype):
                raise DataError(
                    f"walk-forward: {name!r} holds {table[name].dtype}; features and targets must be numbers"
                )
        table = table.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
        repeated = table.duplicated(["symbol", "timestamp"])
        if repeated.any():
            first = table[repeated].iloc[0]
            raise DataError(
                f"walk-forward: {int(repeated.sum())} rows repeat a symbol and timestamp, the first "
                f"{first['symbol']!r} at {first['timestamp']}; keep one row of each"
            )
        close = table["close"].to_numpy(float)
        if not ((close > 0) & (close < np.inf)).all():
            row = int(np.argmax(~((close > 0) & (close < np.inf))))
            raise DataError(
                f"walk-forward: close must be a price above 0; got {close[row]} for {table['symbol'].iloc[row]!r} at "
                f"{table['timestamp'].iloc[row]}"
            )
        return cls(table, np.unique(row_sessions(table)))

    @cached_property
    def row_session(self) -> np.ndarray:
        """(n,) position of each row's session among the panel's."""
        return np.searchsorted(self.sessions, row_sessions(self.table))

    @cached_property
    def symbols(self) -> list[str]:
        """The symbols, sorted."""
        return self.table["symbol"].cat.categories.tolist()

    @cached_property
    def rows_of(self) -> dict[str, np.ndarray]:
        """Per symbol the positions of its rows, in time order."""
        return {str(symbol): rows for symbol, rows in self.table.groupby("symbol", observed=True).indices.items()}

    @cached_property
    def in_universe(self) -> np.ndarray:
        """(n,) whether a row may be trained on and traded; all may, without a column ``in_universe``."""
        if UNIVERSE not in self.table:
            return np.ones(len(self.table), bool)
        return self.table[UNIVERSE].fillna(False).to_numpy(bool)

    @cached_property
    def fitted_until(self) -> np.datetime64:
        """The last session that latents were fitted on, NaT without latents."""
        return fitted_until(self.table)

    def dataset(self, target: str) -> Dataset:
        """Features and one target of all rows."""
        return make_dataset(self.table, target)

    def holding_bars(self, target_ends: np.ndarray) -> int:
        """Bars from a row to the end of its label, the usual number."""
        ahead = []
        timestamps = without_zone(self.table["timestamp"])
        for rows in self.rows_of.values():
            own = timestamps[rows]
            known = np.flatnonzero(~np.isnat(target_ends[rows]))
            ahead.append(np.searchsorted(own, target_ends[rows[known]], side="right") - 1 - known)
        bars = np.concatenate(ahead)
        return max(1, int(np.median(bars))) if len(bars) else 1

    @cached_property
    def session_digests(self) -> list[bytes]:
        """Per session a hash of all that its rows hold: the identity of any window is that of its sessions."""
        values = [pd.util.hash_array(self.table["symbol"].astype(object).to_numpy())]
        for name, column in self.table.items():
            if name != "symbol":
                kind = "datetime64[ns]" if column.dtype.kind == "M" else np.float64
                values.append(np.ascontiguousarray(column.to_numpy(kind)).view(np.uint64))
        data, names = np.column_stack(values), "\n".join(map(str, self.table.columns)).encode()
        edges = np.searchsorted(self.row_session, np.arange(len(self.sessions) + 1))
        return [hashlib.sha256(names + data[start:stop].tobytes()).digest() for start, stop in pairwise(edges)]


def _from_frame(data: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"walk-forward: data must be a labeled DataFrame or a folder, got {type(data).__name__}")
    named = [name for name in data.index.names if name in ("symbol", "timestamp") and name not in data]
    if named:
        table = data.reset_index(named)
    elif isinstance(data.index, pd.DatetimeIndex) and "timestamp" not in data:
        table = data.rename_axis("timestamp").reset_index()
    else:
        table = data.copy(deep=False)
    if "timestamp" not in table:
        raise DataError("walk-forward: no timestamps; the table needs a column or an index level 'timestamp'")
    if not pd.api.types.is_datetime64_any_dtype(table["timestamp"]):
        raise DataError(f"walk-forward: timestamp holds {table['timestamp'].dtype}; convert it with pd.to_datetime")
    for name in [name for name in table if name == "timestamp" or str(name).startswith("label_end")]:
        times = pd.DatetimeIndex(table[name])
        table[name] = (times.tz_localize("UTC") if times.tz is None else times.tz_convert("UTC")).as_unit("ns")
    symbols = table["symbol"].astype(str) if "symbol" in table else np.full(len(table), "", object)
    table["symbol"] = pd.Categorical(symbols, categories=sorted(set(symbols)))
    return table


def _from_files(source: Path) -> pd.DataFrame:
    paths, tables = labeled_files(source), {}
    for path in paths:
        symbol = read_info(path, default_horizon=1).symbol
        if symbol in tables:
            raise DataError(f"{path}: a second table of {symbol!r}; keep one")
        tables[symbol] = read_table(path)
    if not tables:
        raise DataError(
            f"{source}: no labeled table; make them with `barzoo data build SOURCE --output-dir {source}`, "
            "or give bars to `barzoo walkforward`"
        )
    return join_symbols(tables)


def join_symbols(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Labeled tables of several symbols in one, with a column ``symbol``: their keys, whatever a table's own says.

    Raises
    ------
    DataError
        Their columns differ.
    """
    tables = {symbol: table.drop(columns="symbol", errors="ignore") for symbol, table in tables.items()}
    first, columns = next((symbol, list(table)) for symbol, table in tables.items())
    for symbol, table in tables.items():
        unlike = sorted(set(columns) ^ set(table))
        if unlike:
            raise DataError(
                f"walk-forward: the tables of {first!r} and {symbol!r} differ in the column {unlike[0]!r}; "
                "build them alike"
            )
    symbols = sorted(tables)
    joined = pd.concat([tables[symbol][columns] for symbol in symbols], ignore_index=True)
    codes = np.repeat(np.arange(len(symbols)), [len(tables[symbol]) for symbol in symbols])
    joined.insert(0, "symbol", pd.Categorical.from_codes(codes, symbols))
    return joined
