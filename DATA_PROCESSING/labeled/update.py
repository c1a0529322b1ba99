"""New bars at the end of long tables, without reading the bars before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd

from CONFIG.errors import BarzooError
from DATA_PROCESSING.labeled.build import TableBuilder
from DATA_PROCESSING.labeled.parallel import in_parallel
from DATA_PROCESSING.labeled.read import OPEN, read_info, table_path
from DATA_PROCESSING.panel import UnusableSource, build_panel
from DATA_PROCESSING.sources import open_source

_TABLE_SECONDS = 0.05  # about what it takes to continue one


def add_newest(
    source: str | Path,
    folder: Path,
    settings: dict[str, dict],
    *,
    jobs: int = 1,
    on_step: Callable[[str], None] = lambda symbol: None,
) -> list[str]:
    """Continue the long tables of a folder with the newest bars of a SOURCE.

    Only bars from where the tables' last ones begin are read; the older ones are trusted to be what they were.

    Parameters
    ----------
    source : str or Path
    folder : Path
    settings : dict of str to dict
        The run configs ``bars``, ``features`` and ``labels``.
    jobs : int
        Symbols at once.
    on_step : callable
        Told each symbol that is ready.

    Returns
    -------
    list of str
        The symbols whose tables are up to date now. All others, short ones among them, are for `label_panel`.
    """
    folder, starts, ends = Path(folder).absolute(), {}, []
    for path in folder.glob(f"*/{OPEN}"):
        try:
            info = read_info(path.parent, 1)
        except BarzooError:
            continue
        starts[info.symbol] = pd.Timestamp(info.tail_start)
        ends.append(pd.Timestamp(info.tail_end))
    if not starts or settings["bars"]["resample"]:  # a bucket may begin before what is read
        return []
    opened = open_source(source, settings["bars"])
    table, problems = opened.read(None, start=min(starts.values()))
    try:
        panel = build_panel(opened.name, table, problems, settings["bars"])
    except UnusableSource:
        return []
    builder = TableBuilder(panel, settings["features"], settings["labels"])
    if not builder.knows_others(min(ends)):
        return []

    calls = (
        (symbol, (table_path(folder, symbol), symbol, pd.concat(builder.rows(symbol), ignore_index=True)))
        for symbol in panel.symbols
        if symbol in starts
    )
    done = []
    seconds = len(starts) * _TABLE_SECONDS
    with closing(in_parallel(builder.maker.add_newest, calls, len(starts), jobs, seconds)) as results:
        for symbol, is_done in results:
            if is_done:
                done.append(symbol)
                on_step(symbol)
    return sorted(done)
