"""Where bars come from. A SOURCE is one word: ``demo``, a folder, or a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.bars import Panel, build_panel
from DATA_PROCESSING.sources import demo, files


def read_panel(
    source: str | Path, settings: dict, symbols: list[str] | None = None, now: pd.Timestamp | None = None
) -> Panel:
    """Read, validate and adjust the bars of a SOURCE.

    Parameters
    ----------
    source : str or Path
        ``demo``, a folder of CSV or Parquet files (one per symbol, named after it), or one file with a symbol column
        (or of one symbol, named after it).
    settings : dict
        The run config ``bars``.
    symbols : list of str, optional
        Only these; all by default.
    now : Timestamp, optional
        Bars after it are bad; the present by default.

    Raises
    ------
    DataError
        Nothing there, or nothing usable in it.
    ConfigError
        A wanted symbol that the source does not have.
    """
    if str(source) == demo.NAME:
        tables, problems = demo.read_tables(settings["tz"])
    else:
        tables, problems = files.read_tables(Path(source), settings["tz"])
    if symbols is not None:
        known = set(tables) | set(problems)
        for symbol in symbols:
            if symbol not in known:
                raise ConfigError(f"{source}: no symbol {symbol!r}{did_you_mean(symbol, known)}")
        tables = {symbol: table for symbol, table in tables.items() if symbol in symbols}
        problems = {symbol: problem for symbol, problem in problems.items() if symbol in symbols}
    if not tables and len(problems) == 1:
        raise DataError(next(iter(problems.values())))
    return build_panel(str(source), tables, problems, settings, now)
