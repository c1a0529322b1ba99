"""A symbol of millions of bars: the memory of its labeled table, and the cost of one more bar for many symbols.

``python benchmarks/long_symbol.py [--rows N] [--symbols N] [--history N] [--compare N]`` prints, all in one run, on
comprehensive features of minute bars:

- the peak memory of building the labeled table of one long symbol, in a process of its own;
- whether features made in parts equal those of one view of all bars, bit for bit (one view takes memory);
- the time of one more bar per symbol, read from its Parquet file, beside that of building a symbol's table.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from panel import minute_bars

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.features import stream
from DATA_PROCESSING.labeled import TableBuilder, label_panel, read_table, table_path
from DATA_PROCESSING.labeled.update import add_newest
from DATA_PROCESSING.labeled.write import OPEN_ROWS, SHORT_ROWS
from DATA_PROCESSING.sources import read_panel

BARS, LABELS = load_run_config("bars"), load_run_config("labels")
FEATURES = load_run_config("features", {"set": "comprehensive"})
MEBIBYTE = 2**20
CHILD = r"""
import json, re, sys, time
from pathlib import Path
from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.labeled import TableBuilder, label_panel
from DATA_PROCESSING.sources import read_panel

def peak():  # in KiB, on Linux; that of getrusage begins with the memory of the process that started this one
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

features = load_run_config("features", {"set": "comprehensive"})
started = time.perf_counter()
panel = read_panel(sys.argv[1], load_run_config("bars"))
builder = TableBuilder(panel, features, load_run_config("labels"))
surveyed = peak()
label_panel(builder, Path(sys.argv[2]))
print(json.dumps({"seconds": time.perf_counter() - started, "surveyed": surveyed, "peak": peak()}))
"""


def write_bars(path: Path, bars: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(bars, preserve_index=False), path, row_group_size=65_536)


def memory(folder: Path, rows: int) -> None:
    write_bars(folder / "bars" / "LONG.parquet", minute_bars(rows, 0))
    command = [sys.executable, "-c", CHILD, str(folder / "bars"), str(folder / "labeled")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in (folder / "labeled").rglob("*.parquet")) / MEBIBYTE
    print(f"{rows:,} bars, comprehensive: {found['seconds']:.0f} s, {size:,.0f} MiB of tables, "
          f"peak memory {found['peak'] / 1024:,.0f} MiB (wanted: below 1,024), "
          f"{found['surveyed'] / 1024:,.0f} of them before the first row was made")  # fmt: skip


def same_bits(folder: Path, rows: int) -> None:
    write_bars(folder / "bars" / "A.parquet", minute_bars(rows, 1))
    builder = TableBuilder(read_panel(folder / "bars", BARS), FEATURES, LABELS)
    label_panel(builder, folder / "labeled")
    at_once = builder.features.stream()
    stream.CHUNK_ROWS = rows  # one view of all bars
    values = at_once.push(builder.panel.bars["A"])
    table = read_table(table_path(folder / "labeled", "A"))
    pd.testing.assert_frame_equal(table[at_once.names], values, check_exact=True)
    print(f"{rows:,} bars: {len(at_once.names)} feature columns in parts equal those of one view, bit for bit")


def newest(folder: Path, symbols: int, history: int) -> None:
    settings = {"bars": BARS, "features": FEATURES, "labels": LABELS}
    bars, few = minute_bars(history, 2), ("A", "B", "C", "D")
    for name in few:
        write_bars(folder / "few" / f"{name}.parquet", bars)
    full = timed(lambda: build(folder / "few", folder / "few_tables")) / len(few)
    shutil.rmtree(folder / "few_tables")
    # What one more bar costs does not depend on the history, so short ones save the disk; the open part is half full.
    names = [f"S{number:03}" for number in range(symbols)]
    more = []
    for end in (0, OPEN_ROWS // 2, OPEN_ROWS // 2 + 1, OPEN_ROWS // 2 + 2):
        for name in names:
            write_bars(folder / "many" / f"{name}.parquet", bars.iloc[: SHORT_ROWS + 1 + end])
        if end == 0:
            build(folder / "many", folder / "tables")
        else:
            more.append(timed(lambda: add_newest(folder / "many", folder / "tables", settings, jobs=2)) / symbols)
    one = min(more[1:])
    print(
        f"one more bar, per symbol of {symbols}: {1e3 * one:.0f} ms; a full build of {history:,} bars: {full:.1f} s; "
        f"share {one / full:.2%} (wanted: below 1 %); below 1 % from {100 * one / full * history:,.0f} bars on"
    )


def build(bars: Path, folder: Path) -> None:
    label_panel(TableBuilder(read_panel(bars, BARS), FEATURES, LABELS), folder, jobs=2)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--history", type=int, default=500_000)
    parser.add_argument("--compare", type=int, default=300_000)
    options = parser.parse_args()
    logging.getLogger("barzoo").setLevel(logging.ERROR)
    work = Path(tempfile.mkdtemp())
    try:
        memory(work / "long", options.rows)
        shutil.rmtree(work / "long")
        same_bits(work / "same", options.compare)
        newest(work / "newest", options.symbols, options.history)
    finally:
        shutil.rmtree(work)
