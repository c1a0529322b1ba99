"""What a phase trains on: bars that it labels first, or labeled tables, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, ConfigError, DataError, did_you_mean
from DATA_PROCESSING import labeled
from DATA_PROCESSING.columns import IN_FIT, feature_columns, target_columns
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sessions import NEVER, fitted_until, panel_sessions, row_sessions
from DATA_PROCESSING.sources import read_panel
from DATA_PROCESSING.sources.storage import DATABASE, safe_name
from DATA_PROCESSING.symbols import symbol_of
from TRAINING.runs.manifest import digest

_FOR_READING = {"on_bad", "stale_sessions", "features_from", "columns", "tz"}  # two sources of the same bars may differ


@dataclass(frozen=True)
class SymbolInput:
    """One symbol before its table is read: enough to plan with.

    ``fitted_until`` is the last session that its latents were fitted on, NaT without latents.
    """

    symbol: str
    fingerprint: str
    horizon: int | str
    columns: tuple[str, ...]
    sessions: np.ndarray = field(repr=False)
    path: Path | None = None
    fitted_until: np.datetime64 = NEVER

    @property
    def features(self) -> list[str]:
        return feature_columns(self.columns)

    @property
    def targets(self) -> list[str]:
        return target_columns(self.columns)


@dataclass(frozen=True)
class Inputs:
    """The symbols of a SOURCE, what was wrong with others, and the panel's sessions.

    ``builder`` is there only where the source holds bars, which the run labels itself. ``settings`` are the run configs
    ``bars``, ``features`` and ``labels`` behind the tables; empty for tables that were not built here.
    """

    source: str
    symbols: dict[str, SymbolInput]
    problems: dict[str, str]
    sessions: np.ndarray
    quality: pd.DataFrame
    builder: labeled.TableBuilder | None = None
    settings: dict[str, dict] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()  # the features of `only`; empty where all are seen

    @property
    def kind(self) -> str:
        """``bars`` (labeled by the run) or ``labeled tables``."""
        return "labeled tables" if self.builder is None else "bars"

    @property
    def history(self) -> str:
        """The market history that trials are counted on: its symbols and when each begins.

        More bars, an adjusted past, other features or another vendor do not make it another history.
        """
        begins = {symbol: str(about.sessions[0]) for symbol, about in self.symbols.items()}
        return digest(begins)[:16]

    @property
    def features(self) -> set[str]:
        """The features that all tables have."""
        return set.intersection(*(set(about.features) for about in self.symbols.values()))

    @property
    def panel(self) -> Panel | None:
        """The bars that the run labels."""
        return self.builder and self.builder.panel

    def table(self, symbol: str, folder: Path | None) -> pd.DataFrame:
        """A symbol's labeled table, from its file; bars are labeled in ``folder`` (``None``: in memory, now)."""
        about = self.symbols[symbol]
        if about.path is None and folder is None:
            table = self.builder.table(symbol)
        else:
            table = read_labeled(about.path or labeled.table_path(folder, symbol), about.fingerprint)
        return table.drop(columns=set(feature_columns(table.columns)) - set(self.chosen)) if self.chosen else table

    def only(self, features: Sequence[str]) -> Inputs:
        """The same with these features alone, in the order of the tables; files of tables keep all.

        Raises
        ------
        ConfigError
            A table has no such feature.
        """
        chosen, symbols = set(features), {}
        for symbol, about in self.symbols.items():
            for name in features:
                if name not in about.features:
                    near = did_you_mean(name, about.features)
                    raise ConfigError(f"{self.source}: the table of {symbol} has no feature {name!r}{near}")
            hidden = set(about.features) - chosen
            kept = tuple(column for column in about.columns if column not in hidden)
            symbols[symbol] = replace(about, columns=kept)
        return replace(self, symbols=symbols, chosen=tuple(features))


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
    feature_overrides: Mapping[str, str] | None = None,
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
    feature_overrides : mapping, optional
        Values of the run config ``features`` that come before these.
    on_read : callable
        Told in a sentence what is read.
    """
    source = source or default_source()
    if "://" not in source and not DATABASE.match(source):
        source = str(Path(source))  # "bars/" and "bars" are one plan
    on_read(f"reading {safe_name(source)}")
    paths = labeled.labeled_files(Path(source)) if source != "demo" else []
    if paths:
        if feature_overrides:
            raise ConfigError(
                f"{source}: holds labeled tables, whose features are made already; got {feature_overrides}"
            )
        return _open_tables(source, paths, symbols, load_run_config("labels", files=files)["horizon"])
    labels, features = load_run_config("labels", files=files), load_run_config("features", feature_overrides, files)
    bars_settings = load_run_config("bars", files=files)
    panel = read_panel(source, bars_settings, symbols, others=labeled.needs_others(features, labels))
    builder = labeled.TableBuilder(panel, features, labels)
    known = {
        symbol: SymbolInput(
            symbol=symbol,
            fingerprint=builder.fingerprint(symbol),
            horizon=labels["horizon"],
            columns=builder.columns,
            sessions=panel.row_sessions(symbol),
        )
        for symbol in panel.symbols
    }
    problems = dict(panel.quality.loc[panel.quality["problem"] != "", ["symbol", "problem"]].to_numpy())
    settings = {"bars": bars_settings, "features": features, "labels": labels}
    if builder.features.own:
        settings["own_features"] = builder.features.own.sha256
    return Inputs(panel.name, known, problems, panel.sessions, panel.quality, builder, settings)


def _measured_horizon(table: pd.DataFrame, default: int | str) -> int | str:
    """Bars from a row to its ``label_end``, the usual number, in a table of the user's own."""
    known = table["label_end"].notna().to_numpy()
    if not known.any():
        return default
    ends = np.searchsorted(table["timestamp"].to_numpy(), table["label_end"].to_numpy()[known])
    return max(1, int(np.median(ends - np.flatnonzero(known))))


def _open_tables(source: str, paths: list[Path], symbols: list[str] | None, horizon: int | str) -> Inputs:
    known, problems, rows, traded, made_with, latents = {}, {}, [], [], {}, {}
    for path in paths:
        try:
            info = labeled.read_info(path, horizon)
            table = labeled.read_table(path, [*({"session", IN_FIT} & set(info.columns)), "timestamp", "label_end"])
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
            problems[symbol_of(path.stem)] = str(error)
            continue
        known[info.symbol] = SymbolInput(
            info.symbol,
            info.fingerprint,
            info.horizon if info.settings else _measured_horizon(table, horizon),
            info.columns,
            row_sessions(table),
            path,
            fitted_until(table),
        )
        traded.append(known[info.symbol].sessions)
        made_with[info.symbol] = info.settings
        latents[info.symbol] = info.latents
        rows.append(
            {"symbol": info.symbol, "rows": len(timestamps), "first": timestamps.iloc[0], "last": timestamps.iloc[-1]}
        )
    if symbols is not None:
        for symbol in symbols:
            if symbol not in known and symbol not in problems:
                raise ConfigError(f"{source}: no symbol {symbol!r}{did_you_mean(symbol, [*known, *problems])}")
        known = {symbol: known[symbol] for symbol in known if symbol in symbols}
        problems = {symbol: problems[symbol] for symbol in problems if symbol in symbols}
        made_with = {symbol: made_with[symbol] for symbol in known}
    if not known:
        raise DataError(next(iter(problems.values()), f"{source}: no labeled table"))
    _check_latents(source, {symbol: latents[symbol] for symbol in known})
    quality = pd.DataFrame(
        [row for row in rows if row["symbol"] in known]
        + [{"symbol": symbol, "rows": 0, "problem": problem} for symbol, problem in problems.items()]
    )
    return Inputs(source, known, problems, panel_sessions(traded), quality, settings=_common(source, made_with))


def _check_latents(source: str, latents: dict[str, dict]) -> None:
    """A latent of one symbol must mean what that of another does."""
    first, made = next(iter(latents.items()))
    for symbol, other in latents.items():
        if other != made:
            raise ConfigError(
                f"{source}: the tables of {first!r} and {symbol!r} have latents of different models; run --phase "
                "features on all of them together, or use --symbols"
            )


def _common(source: str, made_with: dict[str, dict]) -> dict[str, dict]:
    """The settings that all tables were made with."""
    first, settings = next(iter(made_with.items()))
    for symbol, other in made_with.items():
        unlike = difference(settings, other)
        if unlike:
            raise ConfigError(
                f"{source}: the tables of {first!r} and {symbol!r} were made with other settings ({unlike}); "
                "build them alike, or use --symbols"
            )
    return settings


def difference(settings: Mapping[str, Mapping], other: Mapping[str, Mapping]) -> str:
    """In words, the first setting in which tables differ; empty where they can stand beside each other."""
    if bool(settings) != bool(other):
        return "one was built here, the other not"
    for topic in ("bars", "features", "labels"):
        for key in sorted({*settings.get(topic, {}), *other.get(topic, {})} - _FOR_READING):
            values = [repr(given.get(topic, {}).get(key)) for given in (settings, other)]
            if values[0] != values[1]:
                return f"{topic}.{key}: {values[0]} and {values[1]}"
    if settings.get("own_features") != other.get("own_features"):
        return "the file of features has changed"
    return ""
