"""Where bars come from. A SOURCE is one word: ``demo``, a folder, or a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.bars import Panel, build_panel
from DATA_PROCESSING.headers import check_zone
from DATA_PROCESSING.sources import demo, files


def read_panel(
    source: str | Path, settings: dict, symbols: list[str] | None = None, now: pd.Timestamp | None = None
) -> Panel:
    """Read, validate and adjust the bars of a SOURCE.

    Parameters
    ----------
    source : str or Path
        ``demo``, a folder of CSV or Parquet files (one per symbol, named after it, or with a symbol column; partitions
        ``symbol=AAPL/`` too), or one such file.
    settings : dict
        The run config ``bars``.
    symbols : list of str, optional
        Only these; all by default. Sessions stay those of the whole source, and with them every cut date.
    now : Timestamp, optional
        Bars after it are bad; the present by default.

    Raises
    ------
    DataError
        Nothing there, or nothing usable in it.
    ConfigError
        A wanted symbol that the source does not have, or a ``tz`` that is no zone.
    """
    check_zone(settings["tz"])
    if str(source) == demo.NAME:
        table, problems = demo.read_tables(), {}
    else:
        table, problems = files.read_tables(Path(source), settings["tz"])
    if symbols is not None:
        known = {*table["symbol"].unique(), *problems}
        for symbol in symbols:
            if symbol not in known:
                raise ConfigError(f"{source}: no symbol {symbol!r}{did_you_mean(symbol, known)}")
    if table.empty:
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise DataError(next(iter(problems.values())) + more)
    panel = build_panel(str(source), table, problems, settings, now)
    return panel if symbols is None else panel.only(symbols)
