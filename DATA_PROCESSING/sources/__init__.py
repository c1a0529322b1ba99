"""Where bars come from. A SOURCE is one word: ``demo``, a folder, a file, or the URL of files or of a database."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.headers import check_mapping
from DATA_PROCESSING.long_bars import LONG_ROWS, MANY_ROWS
from DATA_PROCESSING.panel import Panel, build_panel
from DATA_PROCESSING.resample import interval_length
from DATA_PROCESSING.sessions import Clock, check_clocks, read_clocks
from DATA_PROCESSING.sources import demo, files
from DATA_PROCESSING.sources.source import Source
from DATA_PROCESSING.sources.storage import DATABASE
from DATA_PROCESSING.times import check_zone

log = logging.getLogger("barzoo")


def open_source(source: str | Path, settings: dict, keep_text: bool = False) -> Source:
    """Open a SOURCE; its rows are not read yet.

    Parameters
    ----------
    source : str or Path
        ``demo``, a folder, a file, or a URL; see docs/08_BRING_YOUR_DATA.md.
    settings : dict
        The run config ``bars``.
    keep_text : bool
        Give tables a column ``given``: as JSON what stands in a row that cannot be read.

    Raises
    ------
    DataError
        Nothing there.
    ConfigError
        ``tz`` or ``columns`` make no sense, an extra is not installed, or a URL holds a password.
    """
    check_zone(settings["tz"], "tz")
    check_mapping(settings["columns"])
    if str(source) == demo.NAME:
        return demo.DemoSource()
    if DATABASE.match(str(source)):
        try:
            from DATA_PROCESSING.sources.sql import SqlSource
        except ModuleNotFoundError as error:
            raise ConfigError('databases need SQLAlchemy; pip install "barzoo[storage]"') from error
        return SqlSource(str(source), settings, keep_text)
    return files.FileSource(str(source), settings, keep_text)


def read_panel(
    source: str | Path,
    settings: dict,
    symbols: list[str] | None = None,
    now: pd.Timestamp | None = None,
    others: bool = True,
    keep_text: bool = False,
) -> Panel:
    """Read, validate and adjust the bars of a SOURCE.

    Parameters
    ----------
    source : str or Path
        See `open_source`.
    settings : dict
        The run config ``bars``.
    symbols : list of str, optional
        Only these; all by default. Sessions stay those of the whole source, and with them every cut date.
    now : Timestamp, optional
        Bars after it are bad; the present by default.
    others : bool
        Whether the bars of other symbols are wanted too, for what looks across the panel. Without them only the rows
        of ``symbols`` are read where the source can tell its sessions; a row of another symbol then counts for them
        if it is valid by itself, and splits, which need the panel, are judged among ``symbols``.
    keep_text : bool
        See `open_source`.

    Raises
    ------
    DataError
        Nothing there, or nothing usable in it.
    ConfigError
        A wanted symbol that the source does not have, or settings that make no sense.
    """
    check_clocks(settings)
    if settings["resample"]:
        interval_length(settings["resample"], "bars.yaml: resample")
    opened = open_source(source, settings, keep_text)
    sizes, problems = opened.sizes(), opened.problems()
    known = {*sizes, *problems}
    for symbol in symbols or ():
        if symbol not in known:
            raise ConfigError(f"{opened.name}: no symbol {symbol!r}{did_you_mean(symbol, known)}")
    for symbol in sorted(settings["calendars"].keys() - known):  # no error: it may be another source's
        near = did_you_mean(symbol, known)
        cure = near if near.startswith("; did") else "; its calendar is not used"
        log.warning("bars.yaml: calendars: %s has no symbol %r%s", opened.name, symbol, cure)
    sessions = _sessions(opened, settings) if symbols is not None and not others else None
    wanted = set(sizes) if sessions is None else set(sizes) & set(symbols)
    rows = {symbol: sizes[symbol] or 0 for symbol in wanted}
    long = {symbol for symbol in wanted if rows[symbol] > (LONG_ROWS if sum(rows.values()) <= MANY_ROWS else 0)}
    whole = not long and sessions is None
    table, problems = opened.read(None if whole else sorted(wanted - long | set(problems)))
    if table.empty and not long:
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise DataError(next(iter(problems.values()), f"{opened.name}: no rows; expected bars") + more)
    readers = {symbol: partial(opened.chunks, symbol) for symbol in sorted(long)}
    panel = build_panel(opened.name, table, problems, settings, now, readers, sessions)
    return panel if symbols is None else panel.only(symbols)


def _sessions(opened: Source, settings: dict) -> np.ndarray | None:
    """The sessions of a whole source; None where only its bars would tell."""
    if settings["adjust"] == "infer" or settings["resample"] or settings["calendars"]:
        return None
    timestamps = opened.timestamps()
    if timestamps is None:
        return None
    times = timestamps.to_numpy("datetime64[ns]")
    clock = read_clocks(settings, [""])[""]
    dates = times == times.astype("datetime64[D]")
    if clock != Clock() and dates.any() and not dates.all():
        return None  # which of those at midnight are dates depends on their symbols
    sessions = clock.sessions(times, bool(dates.all()))
    return np.unique(sessions[~np.isnat(sessions)])
