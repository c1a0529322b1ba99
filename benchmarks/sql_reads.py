"""Reading bars from SQLite and PostgreSQL beside the drivers' own fetching of the same rows.

Run as ``python benchmarks/sql_reads.py [--rows 1000000] [--symbols 100]``. The driver's side is a plain ``SELECT`` and
``fetchall``: rows of Python objects, which nobody can compute with yet; psycopg's in its text and its binary protocol.
Ours ends in a table with checked types, times in UTC and rows in order. The PostgreSQL part starts a server of its own,
for which it needs the server's programs and, as root, the user ``postgres``.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from panel import minute_bars

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.sources import open_source

REPEATS = 5
COLUMNS = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]


def bars_of(rows: int, symbols: int) -> pd.DataFrame:
    frames = [minute_bars(rows // symbols, seed).assign(symbol=f"S{seed:04}") for seed in range(symbols)]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def alternate(jobs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each job, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(REPEATS):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(database: str, rows: int, seconds: dict[str, float]) -> None:
    ours = seconds["barzoo"]
    for name, value in seconds.items():
        ratio = "" if name == "barzoo" else f"   barzoo takes {ours / value:.2f} of it"
        print(f"{database:<11} {name:<28} {value:7.2f} s   {rows / value / 1e6:6.2f} M rows/s{ratio}", flush=True)


def read(source: str) -> None:
    table, problems = open_source(source, load_run_config("bars")).read()
    assert not problems
    assert not table["fault"].any()


def measure_sqlite(bars: pd.DataFrame, folder: Path) -> None:
    path = folder / "bars.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bars (symbol TEXT, timestamp TEXT, open REAL, high REAL, low REAL, "
                           "close REAL, volume REAL)")  # fmt: skip
        stored = bars.assign(timestamp=bars["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S+00:00"))
        connection.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", stored.itertuples(index=False))
    connection.close()

    def fetch() -> None:
        connection = sqlite3.connect(path)
        connection.execute("SELECT * FROM bars").fetchall()
        connection.close()

    jobs = {"sqlite3 fetchall": fetch, "barzoo": lambda: read(f"sqlite:///{path}?table=bars")}
    report("SQLite", len(bars), alternate(jobs))


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The folder of the socket of a server that lives as long as the block."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not folders:
        raise FileNotFoundError("no server is installed: neither pg_ctl on the PATH nor /usr/lib/postgresql/*/bin")
    folder = Path(tempfile.mkdtemp(prefix="barzoo"))
    user = []
    if os.getuid() == 0:  # as which PostgreSQL refuses to run
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
    pg_ctl = [*user, folders[0] / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
    try:
        initdb = [*user, folders[0] / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust", "-E", "UTF8"]
        subprocess.run(initdb, **run)
        subprocess.run([*pg_ctl, "-o", f"-c listen_addresses='' -k {folder}", "start"], **run)
        try:
            yield str(folder)
        finally:
            subprocess.run([*pg_ctl, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder)


def measure_postgresql(bars: pd.DataFrame, socket: str) -> None:
    import psycopg

    where = f"host={socket} user=postgres dbname=postgres"
    with psycopg.connect(where, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bars (symbol text, timestamp timestamptz, open float8, high float8, low float8, "
                       "close float8, volume float8)")  # fmt: skip
        with cursor.copy("COPY bars FROM STDIN") as copy:
            for row in bars.itertuples(index=False):
                copy.write_row(row)
        cursor.execute("VACUUM ANALYZE bars")

    def fetch(binary: bool) -> None:
        with psycopg.connect(where) as connection, connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT * FROM bars").fetchall()

    url = f"postgresql://postgres@/postgres?host={socket}&table=bars"
    jobs = {
        "psycopg fetchall": lambda: fetch(False),
        "psycopg fetchall, binary": lambda: fetch(True),
        "barzoo": lambda: read(url),
    }
    report("PostgreSQL", len(bars), alternate(jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=100)
    options = parser.parse_args()
    bars = bars_of(options.rows, options.symbols)
    read("demo")  # imports
    print(f"{len(bars):,} rows of {options.symbols} symbols, numpy {np.__version__}, median of {REPEATS}")
    with tempfile.TemporaryDirectory() as folder:
        measure_sqlite(bars, Path(folder))
    try:
        with postgresql_server() as socket:
            measure_postgresql(bars, socket)
    except FileNotFoundError as error:
        print(f"PostgreSQL  not measured: {error}")


if __name__ == "__main__":
    main()
