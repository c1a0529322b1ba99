"""From one file of many symbols to labeled tables: how much of the time goes into kernels and Parquet writing.

``python benchmarks/table_build.py [FILE] [--features simple] [--rounds 3]`` reads FILE (by default a synthetic panel of
500 symbols with 1,250 bars), builds all tables with one worker and with as many as there are cores, in turn, and prints
the share of the one-worker time spent in feature kernels, label kernels and the writing of Parquet files, and how much
faster more workers are, the start of their processes included. All of it is of everything behind the imports: reading,
checking and hashing included.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor
from panel import synthetic_bars

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.labeled import TableBuilder, label_panel, write
from DATA_PROCESSING.labeled import stream as table_stream
from DATA_PROCESSING.sources import read_panel

SPENT: dict[str, float] = defaultdict(float)


def timed(name: str, function: Callable) -> Callable:
    """The function, whose time is added up."""

    def run(*arguments, **named):
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            SPENT[name] += time.perf_counter() - started

    return run


def build(source: Path, features: dict, folder: Path, jobs: int) -> float:
    started = time.perf_counter()
    panel = read_panel(source, load_run_config("bars"))
    SPENT["reading and checking"] += time.perf_counter() - started
    label_panel(TableBuilder(panel, features, load_run_config("labels")), folder, jobs=jobs)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--features", default="simple")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("barzoo").setLevel(logging.ERROR)
    FeatureStream.push_values = timed("feature kernels", FeatureStream.push_values)
    table_stream.label_columns = timed("label kernels", table_stream.label_columns)
    write.write_sealed = timed("Parquet writing", write.write_sealed)
    work = Path(tempfile.mkdtemp())
    source, features = options.file or work / "panel.parquet", load_run_config("features", {"set": options.features})
    if options.file is None:
        pd.concat([synthetic_bars(1250, seed).assign(symbol=f"S{seed:03}") for seed in range(500)]).to_parquet(source)
    try:
        build(source, features, work / "warm", 1)
        alone, together = [], []
        for _ in range(options.rounds):
            shutil.rmtree(work / "warm")
            get_reusable_executor().shutdown()  # so that each round starts its processes
            together.append(build(source, features, work / "warm", cpu_count()))
            shutil.rmtree(work / "warm")
            SPENT.clear()
            alone.append(build(source, features, work / "warm", 1))
            parts = dict(SPENT)
    finally:
        shutil.rmtree(work)
    wall, native = alone[-1], sum(parts.values()) - parts["reading and checking"]
    print(f"one worker {wall:.2f} s: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))
    print(f"kernels and Parquet writing: {native / wall:.0%} of the time (wanted: at least 60 %)")
    print(f"{cpu_count()} workers: {min(alone) / min(together):.2f} times as fast")


if __name__ == "__main__":
    main()
