"""Long tables: parts in a folder, the same rows as in one piece, continued when bars are added at the end."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import IntegrityError
from DATA_PROCESSING.labeled import TableBuilder, label_panel, labeled_files, read_info, read_table, table_path
from DATA_PROCESSING.labeled import write as writing
from DATA_PROCESSING.labeled.stream import RowDigest
from DATA_PROCESSING.labeled.update import add_newest
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sources import read_panel

BARS = load_run_config("bars")
LABELS = load_run_config("labels", {"horizons": [20, "3d"]})
SIMPLE, COMPREHENSIVE = (load_run_config("features", {"set": name}) for name in ("simple", "comprehensive"))
SYMBOLS = ["AAPL", "GOOG", "IBM", "MSFT"]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return read_panel("demo", BARS, SYMBOLS)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daily bars of some years are long here."""
    monkeypatch.setattr(writing, "PART_ROWS", 700)
    monkeypatch.setattr(writing, "OPEN_ROWS", 100)
    for module in ("write", "make"):
        monkeypatch.setattr(f"DATA_PROCESSING.labeled.{module}.SHORT_ROWS", 300)


def until(panel: Panel, rows: int) -> Panel:
    """The panel as it was when AAPL had so many bars."""
    end = panel.bars["AAPL"]["timestamp"].iloc[rows - 1]
    bars = {symbol: own[own["timestamp"] <= end] for symbol, own in panel.everyone.items()}
    sessions = panel.sessions[panel.sessions <= np.datetime64(end.tz_convert(None), "D")]
    return replace(panel, bars={s: own for s, own in bars.items() if s in panel.bars and len(own)},
                   others={s: own for s, own in bars.items() if len(own)}, sessions=sessions)  # fmt: skip


def assert_tables_are(builder: TableBuilder, folder) -> None:
    for symbol in builder.panel.symbols:
        table = read_table(table_path(folder, symbol))
        pd.testing.assert_frame_equal(table, builder.table(symbol), check_exact=True)
        assert tuple(table) == builder.columns
        assert read_info(table_path(folder, symbol), 1).fingerprint == builder.fingerprint(symbol)


@pytest.mark.parametrize("features", [SIMPLE, COMPREHENSIVE], ids=["simple", "comprehensive"])
def test_bars_that_are_added_cost_only_themselves_and_change_no_bit(panel, tmp_path, features, monkeypatch):
    pushed = []
    push = writing.LongTable.append
    monkeypatch.setattr(writing.LongTable, "append",
                        lambda table, rows: (pushed.append(len(rows["timestamp"])), push(table, rows)))  # fmt: skip
    before = 0
    for rows in (2000, 2001, 2002, 2050, 2450, 3270):
        builder, pushed[:] = TableBuilder(until(panel, rows), features, LABELS), []
        made = label_panel(builder, tmp_path)
        assert made == builder.panel.symbols
        assert_tables_are(builder, tmp_path)
        if before:  # what was settled since, and the settled rows of the open part; not the table
            assert sum(pushed) / len(made) <= rows - before + writing.OPEN_ROWS + 30
        before = rows
    assert label_panel(builder, tmp_path) == []


def test_a_table_that_grows_long_becomes_a_folder_and_back(panel, tmp_path):
    path = table_path(tmp_path, "AAPL")
    for rows, is_folder in ((250, False), (400, True), (200, False)):
        builder = TableBuilder(until(panel, rows), SIMPLE, LABELS)
        label_panel(builder, tmp_path)
        assert path.is_dir() == is_folder
        assert_tables_are(builder, tmp_path)


def test_pandas_reads_the_folder_as_one_table(panel, tmp_path):
    builder = TableBuilder(panel, SIMPLE, LABELS)
    label_panel(builder, tmp_path, symbols=["AAPL"])
    names = ["timestamp", "close", "rsi_14", "y_will_peak"]
    plain = pd.read_parquet(table_path(tmp_path, "AAPL"), columns=names)
    pd.testing.assert_frame_equal(plain, read_table(table_path(tmp_path, "AAPL"), names), check_dtype=False)
    assert labeled_files(tmp_path) == [tmp_path / "AAPL.parquet"]
    assert labeled_files(tmp_path / "AAPL.parquet") == [tmp_path / "AAPL.parquet"]


@pytest.mark.parametrize("change", ["an old bar", "a setting", "an earlier begin", "a repeated state"])
def test_what_is_not_the_same_table_grown_is_built_afresh(panel, tmp_path, change):
    label_panel(TableBuilder(until(panel, 2000), SIMPLE, LABELS), tmp_path, symbols=["AAPL"])
    grown, labels = until(panel, 2010), LABELS
    if change == "an old bar":
        bars = grown.bars["AAPL"].copy()
        bars.loc[3, "volume"] += 1
        grown = replace(grown, bars=grown.bars | {"AAPL": bars}, others=None)
    elif change == "a setting":
        labels = LABELS | {"barrier": 2.0}
    elif change == "an earlier begin":
        grown = replace(grown, bars=grown.bars | {"AAPL": grown.bars["AAPL"].iloc[5:].reset_index(drop=True)},
                        others=None)  # fmt: skip
    else:
        (state,) = table_path(tmp_path, "AAPL").glob("_state*")
        state.write_bytes(state.read_bytes()[:-1])
    builder = TableBuilder(grown, SIMPLE, labels)
    assert label_panel(builder, tmp_path, symbols=["AAPL"]) == ["AAPL"]
    pd.testing.assert_frame_equal(read_table(table_path(tmp_path, "AAPL")), builder.table("AAPL"), check_exact=True)


@pytest.mark.parametrize("damage", ["a part is gone", "a part is another's", "a byte", "the open part is gone"])
def test_damage_is_refused_and_mended_by_the_next_build(panel, tmp_path, damage):
    builder = TableBuilder(panel, SIMPLE, LABELS)
    label_panel(builder, tmp_path, symbols=["AAPL", "IBM"])
    folder = table_path(tmp_path, "AAPL")
    part = folder / "000000000700.parquet"
    if damage == "a part is gone":
        part.unlink()
    elif damage == "a part is another's":
        part.write_bytes((table_path(tmp_path, "IBM") / part.name).read_bytes())
    elif damage == "a byte":
        payload = bytearray(part.read_bytes())
        payload[5000] ^= 1
        part.write_bytes(payload)
    else:
        (folder / "open.parquet").unlink()
    with pytest.raises(IntegrityError):
        read_table(folder)
    assert label_panel(builder, tmp_path, symbols=["AAPL", "IBM"]) == ["AAPL"]
    pd.testing.assert_frame_equal(read_table(folder), builder.table("AAPL"), check_exact=True)


def test_a_build_that_was_killed_leaves_nothing_that_passes_for_a_table(panel, tmp_path, monkeypatch):
    label_panel(TableBuilder(until(panel, 2000), SIMPLE, LABELS), tmp_path, symbols=["AAPL"])
    changed = TableBuilder(panel, SIMPLE, LABELS | {"barrier": 2.0})

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.LongTable, "commit", die)
    with pytest.raises(KeyboardInterrupt):
        label_panel(changed, tmp_path, symbols=["AAPL"])
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        read_table(table_path(tmp_path, "AAPL"))
    assert label_panel(changed, tmp_path, symbols=["AAPL"]) == ["AAPL"]
    pd.testing.assert_frame_equal(read_table(table_path(tmp_path, "AAPL")), changed.table("AAPL"), check_exact=True)


def test_a_fingerprint_does_not_depend_on_chunks_but_on_every_value():
    rows = pd.DataFrame({"timestamp": pd.date_range("2024", periods=500, tz="UTC"), "x": np.arange(500.0)})

    def digest(frame: pd.DataFrame, *cuts: int) -> str:
        made, start = RowDigest("recipe"), 0
        for cut in (*cuts, len(frame)):
            made.update(frame.iloc[start:cut])
            start = cut
        return made.hexdigest()

    assert digest(rows) == digest(rows, 1, 127, 128, 129, 400) == digest(rows, *range(1, 500))
    for other in (rows.assign(x=rows["x"] + (rows.index == 317)), rows.iloc[1:], rows.iloc[:-1]):
        assert digest(other) != digest(rows)


@pytest.fixture
def source(tmp_path):
    """A folder of bars, and a way to let it grow."""
    folder = tmp_path / "bars"
    folder.mkdir()

    def grow(panel: Panel) -> None:
        for symbol, bars in panel.everyone.items():
            bars.drop(columns="session").to_parquet(folder / f"{symbol}.parquet", row_group_size=500)

    return folder, grow


@pytest.mark.parametrize("features", [SIMPLE, COMPREHENSIVE], ids=["simple", "comprehensive"])
def test_the_newest_bars_alone_make_the_same_table(panel, tmp_path, source, features):
    folder, grow = source
    settings = {"bars": BARS, "features": features, "labels": LABELS}
    grow(until(panel, 2000))
    label_panel(TableBuilder(read_panel(folder, BARS), features, LABELS), tmp_path / "tables")
    for rows in (2001, 2002, 2040, 2300, 2300):
        grow(until(panel, rows))
        assert add_newest(folder, tmp_path / "tables", settings) == SYMBOLS
        builder = TableBuilder(read_panel(folder, BARS), features, LABELS)
        assert_tables_are(builder, tmp_path / "tables")
        assert label_panel(builder, tmp_path / "tables") == []


@pytest.mark.parametrize("change", ["a factor", "a setting", "a gap", "excess", "no table"])
def test_what_cannot_go_on_is_left_to_a_full_build(panel, tmp_path, source, change):
    folder, grow = source
    before, after = until(panel, 2000), until(panel, 2010)
    labels = LABELS | ({"horizons": [20], "excess": True} if change == "excess" else {})
    grow(before)
    label_panel(TableBuilder(read_panel(folder, BARS), SIMPLE, labels), tmp_path / "tables")
    bars = after.bars["IBM"].copy()
    if change == "a factor":
        bars[["open", "high", "low", "close"]] *= 0.99
    elif change == "a gap":
        bars = bars.iloc[:-10]
        bars = bars.drop(index=bars.index[-30])
    elif change == "a setting":
        labels = LABELS | {"barrier": 2.0}
    elif change == "no table":
        shutil.rmtree(table_path(tmp_path / "tables", "IBM"))
    grow(replace(after, bars=after.bars | {"IBM": bars}, others=None))
    done = add_newest(folder, tmp_path / "tables", {"bars": BARS, "features": SIMPLE, "labels": labels})
    assert done == ([] if change in ("a setting", "excess") else ["AAPL", "GOOG", "MSFT"])
    builder = TableBuilder(read_panel(folder, BARS), SIMPLE, labels)
    assert label_panel(builder, tmp_path / "tables") == sorted({*SYMBOLS} - {*done})
    assert_tables_are(builder, tmp_path / "tables")


def test_a_sparse_symbol_whose_past_is_not_read_leaves_ranks_to_a_full_build(panel, tmp_path, source):
    folder, grow = source
    sparse = {"IBM": panel.bars["IBM"].iloc[::12].reset_index(drop=True)}
    thin = replace(panel, bars=panel.bars | sparse, others=None)
    grow(until(thin, 2400))
    label_panel(TableBuilder(read_panel(folder, BARS), COMPREHENSIVE, LABELS), tmp_path / "tables")
    grow(until(thin, 2430))
    settings = {"bars": BARS, "features": COMPREHENSIVE, "labels": LABELS}
    assert add_newest(folder, tmp_path / "tables", settings) == []
    builder = TableBuilder(read_panel(folder, BARS), COMPREHENSIVE, LABELS)
    label_panel(builder, tmp_path / "tables")
    assert_tables_are(builder, tmp_path / "tables")
