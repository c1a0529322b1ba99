"""A symbol read in pieces is the symbol read at once, from every kind of source."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import DataError
from DATA_PROCESSING.sources import open_source, read_panel

SETTINGS = load_run_config("bars")
SIZE = 50


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Pieces of `SIZE` rows, files in batches of less, and no file so small that it is read at once."""
    monkeypatch.setattr("DATA_PROCESSING.sources.source.CHUNK_ROWS", SIZE)
    monkeypatch.setattr("DATA_PROCESSING.sources.postgresql.CHUNK_ROWS", SIZE)
    monkeypatch.setattr("DATA_PROCESSING.sources.rows.BATCH_ROWS", 17)
    monkeypatch.setattr("DATA_PROCESSING.sources.formats.BATCH_ROWS", 17)
    monkeypatch.setattr("DATA_PROCESSING.sources.formats._SMALL", 0)
    monkeypatch.setattr("DATA_PROCESSING.sources.formats.BLOCK", 2_000)


def dirty(make_bars, rows: int = 400) -> pd.DataFrame:
    """Bars in time order with repeated timestamps, missing values, and an adj_close that begins late."""
    bars = make_bars(rows)
    bars["timestamp"] = bars["timestamp"] + pd.Timedelta("15h")
    bars.loc[range(40, 65), "timestamp"] = bars["timestamp"][40]
    bars.loc[range(120, 130), "high"] = np.nan
    bars["adj_close"] = bars["close"].where(np.arange(rows) > 300)
    return bars


LAYOUTS = {
    "parquet": lambda folder, bars: bars.to_parquet(folder / "A.parquet", row_group_size=70),
    "csv": lambda folder, bars: bars.to_csv(folder / "A.csv", index=False),
    "csv.gz": lambda folder, bars: bars.to_csv(folder / "A.csv.gz", index=False),
    "zip": lambda folder, bars: bars.to_csv(folder / "A.zip", index=False,
                                            compression={"method": "zip", "archive_name": "A.csv"}),
    "text among the numbers": lambda folder, bars: bars.astype(object).assign(
        low=lambda t: t["low"].where(t.index != 333, "oops")).to_csv(folder / "A.csv", index=False),
    "panel": lambda folder, bars: pd.concat(
        [bars.assign(symbol="A"), bars.assign(symbol="B")]).sort_values("timestamp", kind="stable").to_parquet(
        folder / "panel.parquet", row_group_size=90),
    "panel csv": lambda folder, bars: pd.concat([bars.assign(symbol="B"), bars.assign(symbol="A")]).to_csv(
        folder / "panel.csv", index=False),
    "two files": lambda folder, bars: [(folder / "A").mkdir(), bars[150:].to_csv(folder / "A" / "1.csv", index=False),
                                       bars[:150].to_parquet(folder / "A" / "2.parquet")],
    "date and time": lambda folder, bars: bars.assign(
        date=bars["timestamp"].dt.strftime("%Y%m%d"), time="15:00:00Z").drop(columns="timestamp").to_csv(
        folder / "A.csv", index=False),
}  # fmt: skip


def whole(source, start=None, end=None) -> pd.DataFrame:
    table, problems = source.read(["A"], start, end)
    assert problems == {}
    return table.sort_values("timestamp", kind="stable", ignore_index=True)


def check(source, start=None, end=None) -> list[int]:
    """Pieces make the whole, cut between timestamps; returns their lengths."""
    pieces = list(source.chunks("A", start, end))
    joined, expected = pd.concat(pieces, ignore_index=True), whole(source, start, end)
    key = ["timestamp", "open", "high", "low", "close"]  # rows of one timestamp have no order
    pd.testing.assert_frame_equal(*(table.drop(columns="row").sort_values(key, ignore_index=True)
                                    for table in (joined, expected)))  # fmt: skip
    assert joined["timestamp"].is_monotonic_increasing
    for before, after in pairwise(pieces):
        assert before["timestamp"].iloc[-1] < after["timestamp"].iloc[0]
        assert list(before.columns) == list(after.columns)
    return [len(piece) for piece in pieces]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_pieces_of_files_make_the_whole(tmp_path, make_bars, layout):
    layout(tmp_path, dirty(make_bars))
    lengths = check(open_source(tmp_path, SETTINGS))
    assert sum(lengths) == 400
    assert max(lengths) <= SIZE
    assert len(lengths) < 12


def test_rows_and_files_are_named_as_when_read_at_once(tmp_path, make_bars):
    LAYOUTS["panel"](tmp_path, dirty(make_bars))
    source = open_source(tmp_path, SETTINGS)
    columns = ["file", "row"]
    pd.testing.assert_frame_equal(pd.concat(source.chunks("A"), ignore_index=True)[columns], whole(source)[columns])


@pytest.mark.parametrize(("start", "end"), [("2015-06-01", "2015-09-01"), (None, "2015-02-01"), ("2016-01-01", None)])
def test_pieces_of_a_range(tmp_path, make_bars, start, end):
    LAYOUTS["parquet"](tmp_path, dirty(make_bars))
    check(open_source(tmp_path, SETTINGS), *(text and pd.Timestamp(text, tz="UTC") for text in (start, end)))


@pytest.mark.parametrize("adjusted", [True, False])
def test_pieces_of_databases_make_the_whole(database, make_bars, adjusted):
    bars = dirty(make_bars).assign(symbol="A")
    bars = bars if adjusted else bars.drop(columns="adj_close")
    stored = bars if database.kind == "postgresql" else bars.assign(timestamp=bars["timestamp"].astype(str))
    stored = stored.astype(object).where(stored.notna(), None)
    kinds = ["timestamptz" if database.kind == "postgresql" else "text", *["float8"] * (len(bars.columns) - 2), "text"]
    source = open_source(database.write("bars", stored, " ".join(kinds)), SETTINGS)
    assert sum(check(source)) == 400
    check(source, pd.Timestamp("2015-06-01", tz="UTC"), pd.Timestamp("2015-09-01", tz="UTC"))


def test_an_adj_close_that_is_nowhere_is_no_column(tmp_path, make_bars):
    make_bars(100).assign(adj_close=np.nan).to_parquet(tmp_path / "A.parquet")
    assert all("adj_close" not in piece for piece in open_source(tmp_path, SETTINGS).chunks("A"))


def test_rows_out_of_order_are_sorted_with_a_warning(tmp_path, make_bars, caplog):
    dirty(make_bars).sample(frac=1, random_state=0).to_csv(tmp_path / "A.csv", index=False)
    assert sum(check(open_source(tmp_path, SETTINGS))) == 400
    assert "rows of 'A' are not in time order; they are sorted in memory" in caplog.text


def test_texts_that_sort_in_another_order_than_time(sqlite, make_bars):
    bars = make_bars(6).assign(
        timestamp=["2020-11-01 01:30:00-04:00", "2020-11-01 01:00:00-05:00", "2020-11-01 00:30:00-04:00",
                   "2020-11-01 01:30:00-05:00", "2020-11-01 02:00:00-05:00", "2020-11-01 00:00:00-04:00"]
    )  # fmt: skip
    source = open_source(sqlite.write("A", bars, "text real real real real real"), SETTINGS)
    assert check(source) == [6]


def test_unreadable_times_stay_where_they_are(tmp_path, make_bars):
    bars = make_bars(120).assign(timestamp=lambda t: t["timestamp"].dt.strftime("%Y-%m-%d"))
    bars.loc[60, "timestamp"] = "soon"
    bars.to_csv(tmp_path / "A.csv", index=False)
    joined = pd.concat(open_source(tmp_path, SETTINGS).chunks("A"), ignore_index=True)
    assert joined["fault"].tolist().index("unreadable timestamp") == 60
    assert joined["row"].tolist() == list(range(120))


def test_one_timestamp_of_more_rows_than_a_piece(tmp_path, make_bars):
    bars = make_bars(300)
    bars.loc[100:250, "timestamp"] = bars["timestamp"][100]
    bars.to_parquet(tmp_path / "A.parquet")
    assert check(open_source(tmp_path, SETTINGS)) == [50, 50, 151, 49]


def test_a_symbol_that_is_not_there(tmp_path, make_bars):
    LAYOUTS["csv"](tmp_path, dirty(make_bars))
    (tmp_path / "BAD.csv").write_text("x\n")
    with pytest.raises(DataError, match="no symbol 'AAPL'"):
        next(open_source(tmp_path, SETTINGS).chunks("AAPL"))
    with pytest.raises(DataError, match=r"BAD\.csv: no column"):
        next(open_source(tmp_path, SETTINGS).chunks("BAD"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    minutes=st.lists(st.integers(0, 300), min_size=1, max_size=260), group=st.integers(1, 90), parts=st.integers(1, 3)
)
def test_any_times_in_any_files(tmp_path_factory, minutes, group, parts):
    folder = tmp_path_factory.mktemp("any")
    bars = pd.DataFrame({name: np.arange(len(minutes), dtype=float) for name in ("open", "high", "low", "close")})
    bars["timestamp"] = pd.Timestamp("2020-01-02", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    bars["volume"] = 1
    for number, rows in enumerate(np.array_split(np.arange(len(bars)), parts)):
        bars.iloc[rows].assign(symbol="A").to_parquet(folder / f"{number}.parquet", row_group_size=group)
    check(open_source(folder, SETTINGS))


def test_daily_and_minute_bars_in_one_file(tmp_path, make_bars):
    """What is all at midnight is a date, symbol by symbol, whichever symbols and rows are read."""
    daily, minutes = make_bars(60).assign(symbol="A"), make_bars(60, 1).assign(symbol="B")
    minutes["timestamp"] = pd.date_range("2015-01-01 14:30", periods=60, freq="min", tz="UTC").as_unit("ns")
    local = pd.concat([daily.assign(timestamp=daily["timestamp"].dt.tz_localize(None).dt.tz_localize("Asia/Tokyo")),
                       minutes.assign(timestamp=minutes["timestamp"].dt.tz_convert("Asia/Tokyo"))])  # fmt: skip
    local.to_parquet(tmp_path / "panel.parquet")
    source = open_source(tmp_path, SETTINGS)
    for table in (source.read()[0], source.read(["A"])[0], pd.concat(source.chunks("A"))):
        of_a = table[table["symbol"] == "A"]
        assert of_a["timestamp"].tolist() == daily["timestamp"].tolist()
    assert source.read(["B"])[0]["timestamp"].tolist() == minutes["timestamp"].tolist()


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_memory_is_that_of_a_piece(tmp_path, make_bars, monkeypatch, ending):
    for name in ("source.CHUNK_ROWS", "formats.BATCH_ROWS"):
        monkeypatch.setattr(f"DATA_PROCESSING.sources.{name}", 2_000)
    monkeypatch.setattr("DATA_PROCESSING.sources.formats.BLOCK", 60_000)
    bars = pd.concat([make_bars(20_000)] * 8, ignore_index=True)
    bars["timestamp"] = pd.date_range("2000-01-01", periods=len(bars), freq="min", tz="UTC").as_unit("ns")
    path = tmp_path / f"A.{ending}"
    bars.to_csv(path, index=False) if ending == "csv" else bars.to_parquet(path, row_group_size=4_000)
    list(open_source(tmp_path, SETTINGS).chunks("A", end=bars["timestamp"][10]))  # imports
    tracemalloc.start()
    try:
        for _ in open_source(path, SETTINGS).chunks("A"):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * len(bars), "the times of all rows, the numbers of some"


# --- some symbols of a folder


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_chosen_symbol_alone_has_the_sessions_of_all(tmp_path, make_bars, ending):
    for number, symbol in enumerate("ABC"):
        bars = make_bars(40 + 20 * number, number)
        bars.loc[len(bars) - 3 :, "high"] = np.nan  # of which no session is known
        path = tmp_path / f"{symbol}.{ending}"
        bars.to_csv(path, index=False) if ending == "csv" else bars.to_parquet(path)
    whole, alone = (read_panel(tmp_path, SETTINGS, ["A"], others=others) for others in (True, False))
    assert list(alone.everyone) == (["A"] if ending == "parquet" else ["A", "B", "C"])
    assert len(alone.sessions) == 77
    assert alone.sessions.tolist() == whole.sessions.tolist()
    pd.testing.assert_frame_equal(alone.bars["A"], whole.bars["A"])
    pd.testing.assert_frame_equal(alone.quality, whole.quality)


@pytest.mark.parametrize("changes", [{"adjust": "infer"}, {"calendars": {"B": "XNYS"}}, {"resample": "1w"}])
def test_what_needs_the_panel_reads_the_panel(tmp_path, make_bars, changes):
    for number, symbol in enumerate("AB"):
        make_bars(60, number).to_parquet(tmp_path / f"{symbol}.parquet")
    alone = read_panel(tmp_path, SETTINGS | changes, ["A"], others=False)
    assert list(alone.everyone) == ["A", "B"]


def test_dates_and_clock_times_together_in_a_zone_need_the_panel(tmp_path, make_bars):
    make_bars(60).to_parquet(tmp_path / "A.parquet")
    make_bars(60).assign(timestamp=lambda t: t["timestamp"] + pd.Timedelta("1h")).to_parquet(tmp_path / "B.parquet")
    for zone, everyone in (("", ["A"]), ("America/New_York", ["A", "B"])):
        panel = read_panel(tmp_path, SETTINGS | {"session_zone": zone}, ["A"], others=False)
        assert list(panel.everyone) == everyone


def test_long_symbols_are_read_in_pieces(tmp_path, make_bars, monkeypatch):
    monkeypatch.setattr("DATA_PROCESSING.sources.LONG_ROWS", 300)
    make_bars(400).to_parquet(tmp_path / "A.parquet")
    make_bars(90, 1).to_parquet(tmp_path / "B.parquet")
    panel = read_panel(tmp_path, SETTINGS)
    assert (list(panel.bars), list(panel.long)) == (["B"], ["A"])
    assert sum(len(bars) for bars, _ in panel.chunks("A")) == 400
