"""What a phase trains on: bars that it labels first, or labeled tables, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, ConfigError, DataError, did_you_mean
from DATA_PROCESSING import labeled
from DATA_PROCESSING.bars import Panel
from DATA_PROCESSING.columns import BAR_COLUMNS, feature_columns, target_columns
from DATA_PROCESSING.features.build import feature_names
from DATA_PROCESSING.labels import label_names
from DATA_PROCESSING.sessions import panel_sessions, session_of
from DATA_PROCESSING.sources import read_panel


@dataclass(frozen=True)
class SymbolInput:
    """One symbol before its table is read: enough to plan with."""

    symbol: str
    fingerprint: str
    horizon: int
    columns: tuple[str, ...]
    sessions: np.ndarray = field(repr=False)
    path: Path | None = None

    @property
    def features(self) -> list[str]:
        return feature_columns(self.columns)

    @property
    def targets(self) -> list[str]:
        return target_columns(self.columns)


@dataclass(frozen=True)
class Inputs:
    """The symbols of a SOURCE, what was wrong with others, and the panel's sessions.

    ``panel`` and ``settings`` (the run configs ``bars``, ``features`` and ``labels``) are there only where the source
    holds bars, which the run labels itself.
    """

    source: str
    symbols: dict[str, SymbolInput]
    problems: dict[str, str]
    sessions: np.ndarray
    quality: pd.DataFrame
    panel: Panel | None = None
    settings: dict[str, dict] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """``bars`` (labeled by the run) or ``labeled tables``."""
        return "labeled tables" if self.panel is None else "bars"

    def table(self, symbol: str, folder: Path | None) -> pd.DataFrame:
        """A symbol's labeled table, from its file; bars are labeled in ``folder`` (``None``: in memory, now)."""
        about = self.symbols[symbol]
        if about.path is None and folder is None:
            return labeled.build_table(self.panel, symbol, self.settings["labels"])
        return read_labeled(about.path or labeled.table_path(folder, symbol), about.fingerprint)


@lru_cache(maxsize=8)
def read_labeled(path: Path, fingerprint: str) -> pd.DataFrame:
    """A labeled table; the last few stay in memory, since a symbol's units come one after the other."""
    return labeled.read_table(path)


def default_source() -> str:
    """The folder of labeled tables below the current folder if it holds some, else the demo."""
    return str(labeled.FOLDER) if labeled.labeled_files(labeled.FOLDER) else "demo"


def open_inputs(
    source: str | None,
    symbols: list[str] | None = None,
    files: Iterable[Path] = (),
    on_read: Callable[[str], None] = lambda text: None,
) -> Inputs:
    """Find out what a SOURCE holds.

    Parameters
    ----------
    source : str, optional
        ``demo``, or a folder or file of bars or of labeled tables; `default_source` by default.
    symbols : list of str, optional
        Only these.
    files : iterable of Path
        The user's own run configs.
    on_read : callable
        Told in a sentence what is read.
    """
    source = source or default_source()
    on_read(f"reading {source}")
    paths = labeled.labeled_files(Path(source)) if source != "demo" else []
    if paths:
        return _open_tables(source, paths, symbols, load_run_config("labels", files=files)["horizon"])
    labels, features = load_run_config("labels", files=files), load_run_config("features", files=files)
    bars_settings = load_run_config("bars", files=files)
    panel = read_panel(source, bars_settings, symbols)
    columns = ("timestamp", *BAR_COLUMNS, *feature_names(), *label_names(labels["horizon"]))
    known = {
        symbol: SymbolInput(
            symbol=symbol,
            fingerprint=labeled.table_fingerprint(panel, symbol, features, labels),
            horizon=labels["horizon"],
            columns=columns,
            sessions=session_of(bars["timestamp"]),
        )
        for symbol, bars in panel.bars.items()
    }
    problems = dict(panel.quality.loc[panel.quality["problem"] != "", ["symbol", "problem"]].to_numpy())
    settings = {"bars": bars_settings, "features": features, "labels": labels}
    return Inputs(source, known, problems, panel.sessions, panel.quality, panel, settings)


def _measured_horizon(table: pd.DataFrame, default: int) -> int:
    """Bars from a row to its ``label_end``, the usual number, in a table of the user's own."""
    known = table["label_end"].notna().to_numpy()
    if not known.any():
        return default
    ends = np.searchsorted(table["timestamp"].to_numpy(), table["label_end"].to_numpy()[known])
    return max(1, int(np.median(ends - np.flatnonzero(known))))


def _open_tables(source: str, paths: list[Path], symbols: list[str] | None, horizon: int) -> Inputs:
    known, problems, rows, stamps = {}, {}, [], []
    for path in paths:
        try:
            info = labeled.read_info(path, horizon)
            table = labeled.read_table(path, ["timestamp", "label_end"])
            timestamps = table["timestamp"]
            if info.symbol in known:
                raise DataError(
                    f"{path}: a second table of {info.symbol!r}, which {known[info.symbol].path} holds; keep one"
                )
            if not timestamps.is_unique:
                raise DataError(
                    f"{path}: {int(timestamps.duplicated().sum())} rows repeat a timestamp; a table holds one symbol"
                )
        except BarzooError as error:
            problems[labeled.symbol_of(path.stem)] = str(error)
            continue
        known[info.symbol] = SymbolInput(
            info.symbol,
            info.fingerprint,
            info.horizon if info.labels else _measured_horizon(table, horizon),
            info.columns,
            session_of(timestamps),
            path,
        )
        stamps.append(timestamps)
        rows.append(
            {"symbol": info.symbol, "rows": len(timestamps), "first": timestamps.iloc[0], "last": timestamps.iloc[-1]}
        )
    if symbols is not None:
        for symbol in symbols:
            if symbol not in known and symbol not in problems:
                raise ConfigError(f"{source}: no symbol {symbol!r}{did_you_mean(symbol, [*known, *problems])}")
        known = {symbol: known[symbol] for symbol in known if symbol in symbols}
        problems = {symbol: problems[symbol] for symbol in problems if symbol in symbols}
    if not known:
        raise DataError(next(iter(problems.values()), f"{source}: no labeled table"))
    quality = pd.DataFrame(
        [row for row in rows if row["symbol"] in known]
        + [{"symbol": symbol, "rows": 0, "problem": problem} for symbol, problem in problems.items()]
    )
    return Inputs(source, known, problems, panel_sessions(stamps), quality)
