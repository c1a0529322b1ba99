"""What an import writes, what it sets aside, and that stopping it costs nothing but time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, LockedError
from DATA_PROCESSING.sources import open_source, read_panel
from DATA_PROCESSING.sources.importing import BarImport, Imported, read_origin

SETTINGS = load_run_config("bars")
ROOT = Path(__file__).parents[3]
NOW = pd.Timestamp("2024-01-01", tz="UTC")


def run(source, folder, symbols=None, start=None, end=None, **changes) -> dict[str, Imported]:
    settings = SETTINGS | changes
    work = BarImport(open_source(source, settings, keep_text=True), folder, settings, symbols, start, end, NOW)
    done = list(work.run())
    assert sorted(about.symbol for about in done) == work.symbols
    return {about.symbol: about for about in done}


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".import.lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def small(monkeypatch):
    """Pieces, row groups and batches so small that a few hundred rows need several."""
    monkeypatch.setattr("DATA_PROCESSING.sources.source.CHUNK_ROWS", 70)
    monkeypatch.setattr("DATA_PROCESSING.sources.importing.CHUNK_ROWS", 70)
    monkeypatch.setattr("DATA_PROCESSING.sources.importing.ROW_GROUP", 64)
    monkeypatch.setattr("DATA_PROCESSING.sources.importing._TOGETHER", 100)


def test_what_is_imported_is_what_the_source_holds(tmp_path, make_bars, small):
    sizes = {"A": 200, "BRK/B": 30, "CON": 40, "D": 69, "../x": 5}
    bars = pd.concat([make_bars(rows, seed).assign(symbol=symbol) for seed, (symbol, rows) in enumerate(sizes.items())])
    bars["adj_close"] = bars["close"].where(bars["symbol"] == "A") / 2
    bars.sample(frac=1, random_state=0).to_csv(tmp_path / "panel.csv", index=False)
    done = run(tmp_path / "panel.csv", tmp_path / "new")
    assert {symbol: about.rows for symbol, about in done.items()} == sizes
    for settings in (SETTINGS, SETTINGS | {"adjust": "none"}):
        before, after = read_panel(tmp_path / "panel.csv", settings), read_panel(tmp_path / "new", settings)
        assert sorted(before.bars) == sorted(after.bars)
        for symbol in before.bars:
            assert before.bars[symbol].equals(after.bars[symbol])


def test_the_layout(tmp_path, make_bars, small):
    make_bars(200).assign(adj_close=1.0).to_csv(tmp_path / "A.csv", index=False)
    make_bars(10).to_csv(tmp_path / "B%2FB.csv", index=False)
    folder = tmp_path / "new"
    run(tmp_path, folder)
    assert sorted(contents(folder)) == ["A.parquet", "B%2FB.parquet"]
    file = pq.ParquetFile(folder / "A.parquet", page_checksum_verification=True)
    columns = ["timestamp", "open", "high", "low", "close", "volume"]
    assert file.schema_arrow.names == [*columns, "adj_close"]
    assert pq.read_schema(folder / "B%2FB.parquet").names == columns
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [64, 64, 64, 8]
    assert str(file.schema_arrow.field("timestamp").type) == "timestamp[ns, tz=UTC]"
    assert file.read()["timestamp"].to_pandas().is_monotonic_increasing
    about = read_origin(folder / "A.parquet")
    assert (about["symbol"], about["counts"]) == ("A", {"rows": 200, "bad_rows": 0, "duplicates": 0})


def test_a_changed_page_is_found(tmp_path, make_bars):
    make_bars(200).to_csv(tmp_path / "A.csv", index=False)
    run(tmp_path, tmp_path / "new")
    path = tmp_path / "new" / "A.parquet"
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 3] ^= 1
    path.write_bytes(payload)
    assert "cannot be read" in open_source(path, SETTINGS).read()[1]["A"]


def test_bad_rows_are_kept_with_what_stood_in_them(tmp_path, make_bars):
    bars = make_bars(10).assign(timestamp=lambda t: t["timestamp"].dt.strftime("%Y-%m-%d")).astype(object)
    bars.loc[2, "close"], bars.loc[4, "timestamp"], bars.loc[6, "low"] = "oops", "soon", -1
    bars = pd.concat([bars, bars[8:9], bars[9:].assign(volume=1)])
    bars.to_csv(tmp_path / "A.csv", index=False)
    done = run(tmp_path, tmp_path / "new")["A"]
    assert done == Imported("A", rows=6, bad_rows=5, duplicates=1)
    kept = pd.read_csv(tmp_path / "new" / "_bad_rows" / "A.csv", keep_default_na=False).sort_values("row")
    assert kept["row"].tolist() == [3, 5, 7, 10, 12]  # from 1, as `barzoo data check` counts
    assert kept["reason"].tolist() == ["text in close", "unreadable timestamp", "price not above zero",
                                       *["conflicting rows for one timestamp"] * 2]  # fmt: skip
    assert json.loads(kept["given"].iloc[0])["close"] == "oops"
    assert json.loads(kept["given"].iloc[1])["timestamp"] == "soon"
    assert float(kept["low"].iloc[2]) == -1
    panel = read_panel(tmp_path / "new", SETTINGS)  # which passes them over
    assert list(panel.bars) == ["A"]
    assert panel.bad_rows.empty


def test_bad_rows_that_are_mended_are_no_longer_kept(tmp_path, make_bars):
    path, folder = tmp_path / "A.csv", tmp_path / "new"
    make_bars(10).assign(low=lambda t: t["low"].where(t.index != 3, -1)).to_csv(path, index=False)
    run(path, folder)
    assert sorted(contents(folder)) == ["A.parquet", "_bad_rows/A.csv"]
    make_bars(11).to_csv(path, index=False)
    assert run(path, folder)["A"].rows == 11
    assert sorted(contents(folder)) == ["A.parquet"]


def test_what_cannot_be_imported(tmp_path, make_bars):
    for symbol in ("A", "aa", "AA"):
        make_bars(10).to_csv(tmp_path / f"{symbol}.csv", index=False)
    make_bars(10).assign(close=-1).to_csv(tmp_path / "BAD.csv", index=False)
    (tmp_path / "NONE.csv").write_text("x\n")
    (tmp_path / "CUT.parquet").write_bytes(b"PAR1")
    folder = tmp_path / "new"
    problems = {symbol: about.problem for symbol, about in run(tmp_path, folder).items() if about.problem}
    assert problems["aa"] == "symbol differs from 'AA' only by case"
    assert problems["BAD"] == "no valid bar: 10 price not above zero"
    assert "no column timestamp" in problems["NONE"]
    assert "cannot be read" in problems["CUT"]
    assert len(problems) == 4
    assert sorted(contents(folder)) == ["A.parquet", "AA.parquet", "_bad_rows/BAD.csv"]


def test_a_file_of_the_users_own_is_left_alone(tmp_path, make_bars):
    make_bars(10).to_csv(tmp_path / "A.csv", index=False)
    folder = tmp_path / "new"
    folder.mkdir()
    make_bars(3).to_parquet(folder / "A.parquet")
    before = contents(folder)
    assert "not written by an import; move it away first" in run(tmp_path / "A.csv", folder)["A"].problem
    assert contents(folder) == before


def test_some_symbols_and_a_range(tmp_path, make_bars):
    for symbol in "ABC":
        make_bars(100).to_parquet(tmp_path / f"{symbol}.parquet")
    start, end = (pd.Timestamp(day, tz="UTC") for day in ("2015-02-01", "2015-03-01"))
    done = run(tmp_path, tmp_path / "new", ["A", "C"], start, end)
    assert sorted(done) == ["A", "C"]
    times = pd.read_parquet(tmp_path / "new" / "C.parquet")["timestamp"]
    assert len(times) == 20
    assert (times.min() >= start, times.max() < end) == (True, True)
    assert run(tmp_path, tmp_path / "new", ["A"])["A"].rows == 100, "another range is another import"
    assert run(tmp_path, tmp_path / "new", ["A"], end=pd.Timestamp("1999", tz="UTC"))["A"] == Imported("A")
    with pytest.raises(ConfigError, match="no symbol 'AAPL'"):
        run(tmp_path, tmp_path / "new", ["AAPL"])


# --- again, and again


@pytest.mark.parametrize("layout", ["files", "panel", "database"])
def test_only_what_has_changed_is_imported_again(tmp_path, make_bars, sqlite, layout):
    bars = {symbol: make_bars(30, seed) for seed, symbol in enumerate("AB")}
    folder = tmp_path / "new"

    def write():
        if layout == "files":
            (tmp_path / "bars").mkdir(exist_ok=True)
            for symbol, frame in bars.items():
                path = tmp_path / "bars" / f"{symbol}.csv"
                text = frame.to_csv(index=False)
                if not path.exists() or path.read_text() != text:
                    path.write_text(text)
            return tmp_path / "bars"
        panel = pd.concat([frame.assign(symbol=symbol) for symbol, frame in bars.items()])
        if layout == "panel":
            panel.to_parquet(tmp_path / "panel.parquet")
            return tmp_path / "panel.parquet"
        return sqlite.write("bars", panel.assign(timestamp=panel["timestamp"].astype(str)),
                            "text real real real real real text")  # fmt: skip

    first = run(write(), folder)
    assert [about.is_new for about in first.values()] == [True, True]
    before = contents(folder)
    again = run(write() if layout != "panel" else tmp_path / "panel.parquet", folder)
    assert [about.is_new for about in again.values()] == [False, False]
    assert [(about.rows, about.bad_rows) for about in again.values()] == [(30, 0), (30, 0)]
    assert contents(folder) == before
    bars["B"] = bars["B"].assign(close=lambda t: t["close"].where(t.index != 5, (t["low"] + t["close"]) / 2))
    third = run(write(), folder)
    assert (third["A"].is_new, third["B"].is_new) == (layout == "panel", True)
    assert contents(folder)["A.parquet"][:500] == before["A.parquet"][:500]
    assert contents(folder)["B.parquet"] != before["B.parquet"]


def test_other_settings_are_another_import(tmp_path, make_bars):
    make_bars(30).assign(date=lambda t: t["timestamp"].dt.strftime("%Y-%m-%d 10:00")).drop(columns="timestamp").to_csv(
        tmp_path / "A.csv", index=False)  # fmt: skip
    for tz in ("America/New_York", "Asia/Tokyo"):
        assert run(tmp_path / "A.csv", tmp_path / "new", tz=tz)["A"].is_new
        assert not run(tmp_path / "A.csv", tmp_path / "new", tz=tz)["A"].is_new


def test_a_damaged_file_is_imported_again(tmp_path, make_bars):
    make_bars(30).to_csv(tmp_path / "A.csv", index=False)
    run(tmp_path / "A.csv", tmp_path / "new")
    before = contents(tmp_path / "new")
    (tmp_path / "new" / "A.parquet").write_bytes(before["A.parquet"][:100])
    assert run(tmp_path / "A.csv", tmp_path / "new")["A"].is_new
    assert contents(tmp_path / "new") == before


CHILD = """
import os, signal, sys
import pandas as pd
from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.sources import importing, open_source

left = int(sys.argv[3])
add = importing._Writer.add
def add_or_die(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(*arguments)
importing._Writer.add = add_or_die
importing.ROW_GROUP = 64
importing.CHUNK_ROWS = 70
settings = load_run_config("bars")
now = pd.Timestamp("2024-01-01", tz="UTC")
list(importing.BarImport(open_source(sys.argv[1], settings, True), sys.argv[2], settings, now=now).run())
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_import_leaves_no_half_file_and_goes_on(tmp_path, make_bars, small, after):
    bars = tmp_path / "bars"
    bars.mkdir()
    for seed, symbol in enumerate("ABCD"):
        table = make_bars(200, seed).assign(low=lambda t: t["low"].where(t.index != 3, -1))
        table.to_parquet(bars / f"{symbol}.parquet")
    run(bars, tmp_path / "whole")
    expected = contents(tmp_path / "whole")

    killed = tmp_path / "killed"
    child = subprocess.run([sys.executable, "-c", CHILD, bars, killed, str(after)], cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL
    written = [path.name for path in killed.glob("[!.]*.parquet")]
    assert written == [f"{symbol}.parquet" for symbol in "ABCD"[:after]]
    done = run(bars, killed)
    assert [about.is_new for about in done.values()] == [symbol >= "ABCD"[after] for symbol in "ABCD"]
    assert contents(killed) == expected


def test_two_imports_do_not_write_to_one_folder(tmp_path, make_bars):
    make_bars(30).to_csv(tmp_path / "A.csv", index=False)
    (tmp_path / "new").mkdir()
    with FileLock(tmp_path / "new" / ".import.lock"), pytest.raises(LockedError, match="another import writes there"):
        run(tmp_path / "A.csv", tmp_path / "new")


def test_long_and_short_symbols_of_a_database(database, tmp_path, make_bars, small):
    sizes = {"A": 200, "B": 30, "C": 60, "D": 71, "E": 40}
    bars = pd.concat([make_bars(rows, seed).assign(symbol=symbol) for seed, (symbol, rows) in enumerate(sizes.items())])
    bars.to_parquet(tmp_path / "panel.parquet")
    kind = "text" if database.kind == "sqlite" else "timestamptz"
    stored = bars.assign(timestamp=bars["timestamp"].astype(str)) if kind == "text" else bars
    source = database.write("bars", stored.sample(frac=1, random_state=0), f"{kind} {'float8 ' * 5} text")
    done = run(source, tmp_path / "new")
    assert {symbol: about.rows for symbol, about in done.items()} == sizes
    before, after = read_panel(tmp_path / "panel.parquet", SETTINGS), read_panel(tmp_path / "new", SETTINGS)
    for symbol in sizes:
        assert before.bars[symbol].equals(after.bars[symbol])
    assert not any(about.is_new for about in run(source, tmp_path / "new").values())


def test_the_same_bytes_whatever_the_pieces(tmp_path, make_bars, monkeypatch):
    bars = make_bars(1000)
    bars.loc[100:140, "timestamp"] = bars["timestamp"][100]
    bars["adj_close"] = np.where(bars.index < 500, np.nan, bars["close"])
    bars.to_parquet(tmp_path / "A.parquet", row_group_size=90)
    run(tmp_path / "A.parquet", tmp_path / "one")
    for name in ("source.CHUNK_ROWS", "importing.CHUNK_ROWS", "formats.BATCH_ROWS"):
        monkeypatch.setattr(f"DATA_PROCESSING.sources.{name}", 50)
    run(tmp_path / "A.parquet", tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
