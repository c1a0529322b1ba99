from __future__ import annotations

import gzip
import os
import re
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bokeh_sampledata import stocks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sources import open_source, read_panel
from DATA_PROCESSING.sources.formats import BarFile
from DATA_PROCESSING.sources.storage import safe_name

SETTINGS = load_run_config("bars")
FB = pd.DataFrame(stocks.FB)  # date, open, high, low, close, volume, adj_close: 196 rows
YAHOO = FB.set_axis(["Date", "Open", "High", "Low", "Close", "Volume", "Adj Close"], axis=1)[
    ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]
]
PLAIN = YAHOO.drop(columns="Adj Close")
DEMO = read_panel("demo", SETTINGS, ["FB"]).bars["FB"]


def panel_of(source, symbols=None, **given_settings) -> Panel:
    return read_panel(source, SETTINGS | given_settings, symbols)


def same_bars(panel: Panel, symbol: str) -> bool:
    return panel.bars[symbol].equals(DEMO)


# --- the demo


def test_the_demo_has_five_symbols_and_no_bad_row():
    panel = panel_of("demo")
    assert list(panel.bars) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert len(panel.bars["FB"]) == len(FB) == 196
    assert panel.bad_rows.empty
    assert panel.quality["adjusted"].all()
    assert not panel.quality["stale"].any()


# --- layouts


@pytest.mark.parametrize("ending", ["csv", "parquet", "CSV"])
def test_a_yahoo_download_gives_the_demo_bars(tmp_path, ending):
    path = tmp_path / f"FB.{ending}"
    YAHOO.to_parquet(path) if ending == "parquet" else YAHOO.to_csv(path, index=False)
    assert same_bars(panel_of(tmp_path), "FB")
    assert same_bars(panel_of(path), "FB")


def test_the_numbers_of_a_csv_are_exact(tmp_path):
    random = np.random.default_rng(0)
    price = random.lognormal(3, 2, len(PLAIN))
    table = PLAIN.assign(Open=price, High=price, Low=price, Close=price)
    table.to_csv(tmp_path / "A.csv", index=False)
    table.astype({"Open": object}).to_csv(tmp_path / "B.csv", index=False)
    with open(tmp_path / "B.csv", "a") as file:
        file.write("2013-03-05,abc,1,1,1,1\n")  # a text makes the reader take another way
    panel = panel_of(tmp_path)
    for symbol in "AB":
        assert panel.bars[symbol]["close"].tolist() == price.tolist()
    assert panel.bad_rows["reason"].tolist() == ["text in open"]


def stooq(clock: object, **changes) -> pd.DataFrame:
    table = PLAIN.set_axis(["<DATE>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>"], axis=1)
    table["<DATE>"] = table["<DATE>"].astype(str).str.replace("-", "")
    return table.assign(**{"<TICKER>": "FB.US", "<PER>": "D", "<TIME>": clock, "<OPENINT>": 0, **changes})


def test_stooq_downloads(tmp_path):
    PLAIN.to_csv(tmp_path / "fb_us_d.csv", index=False)
    stooq("000000").to_csv(tmp_path / "fb.us.csv", index=False)
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["FB.US", "fb_us_d"]
    pd.testing.assert_frame_equal(panel.bars["FB.US"], panel.bars["fb_us_d"])
    assert (panel.bars["FB.US"]["timestamp"] == DEMO["timestamp"]).all()


def test_a_calendar_of_a_symbol_that_is_not_there_is_told(tmp_path, caplog):
    for symbol in ("AAPL", "ES"):
        PLAIN.to_csv(tmp_path / f"{symbol}.csv", index=False)
    settings = SETTINGS | {"calendars": {"ZZ": "XNYS", "APPL": "XNYS", "ES": "XNYS"}}
    read_panel(tmp_path, settings, ["AAPL"], others=False)
    assert caplog.messages == [
        f"bars.yaml: calendars: {tmp_path} has no symbol 'APPL'; did you mean 'AAPL'?",
        f"bars.yaml: calendars: {tmp_path} has no symbol 'ZZ'; its calendar is not used",
    ]


def test_stooq_clock_times_need_a_zone(tmp_path):
    stooq("153000").to_csv(tmp_path / "fb.csv", index=False)
    with pytest.raises(DataError, match=r"fb\.csv: clock times without a zone, for example '2012-05-18 15:30:00'"):
        panel_of(tmp_path)
    first = panel_of(tmp_path, tz="America/New_York").bars["FB.US"]["timestamp"].iloc[0]
    assert first == pd.Timestamp("2012-05-18 19:30", tz="UTC")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_panel_file(tmp_path, ending):
    symbols = ["FB", "NO", "NA", "null", "BRK/B", "../x", "CON", "a b", "🚀", "%41"]
    table = pd.concat([YAHOO.assign(Ticker=symbol) for symbol in symbols]).sort_values(["Date", "Ticker"])
    path = tmp_path / f"panel.{ending}"
    table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    panel = panel_of(path)
    assert sorted(panel.bars) == sorted(symbols)
    assert all(same_bars(panel, symbol) for symbol in symbols)


def test_files_are_named_after_their_symbols(tmp_path):
    for stem in ["NO", "NA", "BRK%2FB", "%2E.%2Fx", "%43ON", "CON.2", "my file", "%41"]:
        YAHOO.to_csv(tmp_path / f"{stem}.csv", index=False)
    assert sorted(panel_of(tmp_path).bars) == sorted(["NO", "NA", "BRK/B", "../x", "CON", "CON.2", "my file", "%41"])


def test_partitions(tmp_path):
    for folder in ("symbol=BRK%2FB", "ticker=FB/year=2012/month=5", "year=2020", "_delta_log", ".tmp"):
        (tmp_path / folder).mkdir(parents=True)
        YAHOO.to_parquet(tmp_path / folder / "IBM.parquet")
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["BRK/B", "FB", "IBM"]
    assert all(same_bars(panel, symbol) for symbol in panel.bars)


def test_a_partition_of_dates_is_a_column(tmp_path):
    for date, rows in YAHOO[:3].groupby("Date"):
        (tmp_path / f"date={date}").mkdir()
        rows.drop(columns="Date").assign(symbol="FB").to_parquet(tmp_path / f"date={date}" / "part-0.parquet")
    assert panel_of(tmp_path).bars["FB"]["timestamp"].tolist() == DEMO["timestamp"][:3].tolist()


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(FB["date"]).dt.date,
        pd.to_datetime(FB["date"]).astype("datetime64[ms]"),
        pd.to_datetime(FB["date"]).astype("datetime64[ns]"),
        pd.to_datetime(FB["date"]).dt.tz_localize("UTC"),
        pd.to_datetime(FB["date"]).dt.tz_localize("Asia/Tokyo"),
        pd.to_datetime(FB["date"]).dt.tz_localize("America/New_York"),
        pd.to_datetime(FB["date"]).dt.strftime("%Y-%m-%d"),
        pd.to_datetime(FB["date"]).dt.strftime("%Y%m%d").astype(int),
    ],
    ids=["date32", "ms", "ns", "utc", "tokyo", "new_york", "text", "number"],
)
def test_dates_of_a_parquet_file(tmp_path, dates):
    YAHOO.assign(Date=dates).to_parquet(tmp_path / "FB.parquet")
    assert same_bars(panel_of(tmp_path), "FB")


def test_numbers_of_a_parquet_file(tmp_path):
    table = pa.Table.from_pandas(YAHOO, preserve_index=False)
    for number, kind in ((2, pa.decimal128(20, 6)), (4, pa.string()), (5, pa.large_string()), (6, pa.int32())):
        table = table.set_column(number, table.column_names[number], table.column(number).cast(kind))
    pq.write_table(table, tmp_path / "FB.parquet")
    assert same_bars(panel_of(tmp_path), "FB")


@pytest.mark.parametrize("mark", ["\ufeff", "\n\n"])
def test_a_byte_order_mark_and_empty_lines_are_skipped(tmp_path, mark):
    text = mark + YAHOO.to_csv(index=False).replace("\n", "\r\n") + "\r\n\r\n"
    (tmp_path / "FB.csv").write_bytes(text.encode())
    assert same_bars(panel_of(tmp_path), "FB")


def test_a_partition_of_dates_beside_a_timestamp_that_the_user_names(tmp_path):
    (tmp_path / "date=2012-05-18").mkdir()
    YAHOO.rename(columns={"Date": "start"}).to_parquet(tmp_path / "date=2012-05-18" / "FB.parquet")
    assert same_bars(panel_of(tmp_path, columns={"timestamp": "start"}), "FB")
    assert len(open_source(tmp_path, SETTINGS | {"columns": {"timestamp": "start"}}).read(["FB"])[0]) == 196


# --- several files for one symbol


def test_files_of_one_symbol_are_joined(tmp_path):
    YAHOO[:100].to_csv(tmp_path / "FB.csv", index=False)
    YAHOO[90:].assign(symbol="FB").to_parquet(tmp_path / "later.parquet")
    panel = panel_of(tmp_path)
    assert same_bars(panel, "FB")
    assert panel.quality["duplicates"].tolist() == [10]


def test_unreadable_files_beside_others_of_their_symbol_are_not_lost(tmp_path):
    YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    for name in ("FB.parquet", "IBM.csv", "IBM.parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    panel = panel_of(tmp_path)
    assert same_bars(panel, "FB")
    assert panel.quality["symbol"].tolist() == ["FB", "FB.parquet", "IBM", "IBM.parquet"]
    assert (panel.quality["problem"] == "").tolist() == [True, False, False, False]


# --- files that cannot be read: the only one is an error, one of many is a named row

CSV = YAHOO.to_csv(index=False)
AMERICAN = re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\2/\3/\1", CSV)
LONG_ROW = CSV.replace("2012-05-22,", "2012-05-22,1,", 1)
BAD_FILES = {
    "no close": ("FB.csv", YAHOO.drop(columns="Close").to_csv(index=False).encode(), "no column close; bars need"),
    "empty": ("FB.csv", b"", "the file is empty"),
    "blank lines": ("FB.csv", b"\n\n\n", "the file is empty"),
    "header only": ("FB.csv", CSV.splitlines(keepends=True)[0].encode(), "no rows; expected bars below the header"),
    "a header without its end": ("FB.csv", CSV.splitlines()[0].encode(), "cannot be read"),
    "no header": ("FB.csv", "\n".join(CSV.splitlines()[1:]).encode(), "no column timestamp, open"),
    "binary": ("FB.csv", bytes(range(256)) * 20, "cannot be read"),
    "zeros": ("FB.csv", bytes(5000), "no column timestamp"),
    "utf-16": ("FB.csv", CSV.encode("utf-16"), "cannot be read, its text is UTF-16; save it as UTF-8"),
    "latin-1": ("FB.csv", CSV.replace("Date", "Daté").encode("latin-1"), "its text is not UTF-8; save it as UTF-8"),
    "semicolons": ("FB.csv", CSV.replace(",", ";").encode(), "its header is parted by ';'"),
    "a long row": ("FB.csv", LONG_ROW.encode(), r"Row #4: Expected 7 columns, got 8"),
    "a cut row": ("FB.csv", CSV.encode()[:-30], r"Expected 7 columns, got"),
    "an open quote": ("FB.csv", CSV.replace("2012-05-22,", '"2012-05-22,', 1).encode(), "cannot be read"),
    "American dates": ("FB.csv", AMERICAN.encode(), "'05/18/2012'; write dates"),
    "epoch": ("FB.csv", YAHOO.assign(Date=range(1577836800, 1577836996)).to_csv(index=False).encode(), "has no unit"),
    "no Parquet": ("FB.parquet", CSV.encode(), "cannot be read"),
    "an empty Parquet file": ("FB.parquet", b"", "cannot be read"),
    "a cut Parquet file": ("FB.parquet", YAHOO.to_parquet()[:-50], "cannot be read"),
    "lists": ("FB.parquet", YAHOO.assign(Close=[[1.0]] * 196).to_parquet(), "'Close' holds lists or records"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "payload", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_an_unreadable_file(tmp_path, name, payload, told):
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(DataError, match=told) as raised:
        panel_of(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600

    YAHOO.to_csv(tmp_path / "GOOD.csv", index=False)
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["GOOD"]
    assert panel.quality.set_index("symbol").loc["FB", "problem"] == str(raised.value)


def test_one_short_symbol_among_a_hundred_good_ones(tmp_path):
    table = pd.concat([YAHOO.assign(symbol=f"S{number:03}") for number in range(100)])
    pd.concat([table, YAHOO[:2].assign(symbol="TWO")]).to_parquet(tmp_path / "panel.parquet")
    panel = panel_of(tmp_path)
    assert len(panel.bars) == 101
    assert len(panel.bars["TWO"]) == 2


def test_thousands_separators_are_text_in_a_number(tmp_path):
    YAHOO.assign(Volume=YAHOO["Volume"].map("{:,}".format)).to_csv(tmp_path / "FB.csv", index=False)
    with pytest.raises(DataError, match="no valid bar: 196 text in volume"):
        panel_of(tmp_path)


def test_a_folder_of_that_name_and_a_broken_link_are_named(tmp_path):
    (tmp_path / "A.csv").mkdir()
    (tmp_path / "A.csv" / "part-0.csv").write_text("x")
    (tmp_path / "B.parquet").symlink_to(tmp_path / "nowhere")
    YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["FB"]
    assert panel.quality["symbol"].tolist() == ["A", "B", "FB"]


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
def test_a_file_name_that_is_no_text_is_escaped(tmp_path):
    YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    try:
        os.rename(tmp_path / "FB.csv", os.fsencode(tmp_path) + b"/caf\xe9.csv")
    except OSError:
        pytest.skip("the file system refuses such names")
    assert list(panel_of(tmp_path).bars) == [r"caf\udce9"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.integers(0, 400), st.booleans())
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, noise, place, with_header):
    payload = CSV.encode()[:400]
    place = max(place, 50) if with_header else place
    path = tmp_path / "FB.csv"
    path.write_bytes(payload[:place] + noise + payload[place:])
    try:
        told = panel_of(path).quality["reasons"].str.cat()
    except DataError as error:
        told = str(error)
    assert told.isprintable()


# --- the SOURCE itself


def test_nothing_there(tmp_path):
    with pytest.raises(
        DataError, match="no such file or folder; a SOURCE is demo, a folder of bar files, a file, or a URL"
    ):
        panel_of(tmp_path / "none")
    with pytest.raises(DataError, match="the folder holds no .csv or .parquet file"):
        panel_of(tmp_path)
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / ".FB.csv").write_text(CSV)
    with pytest.raises(DataError, match="the folder holds no .csv or .parquet file"):
        panel_of(tmp_path)
    with pytest.raises(DataError, match=r"README\.txt: not a bar file; files end in .csv or .parquet .*, got '.txt'"):
        panel_of(tmp_path / "README.txt")


def test_no_readable_file_at_all(tmp_path):
    for name in "ABC":
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"A\.csv: no column timestamp.* \(and 2 more files\)$"):
        panel_of(tmp_path)


def test_chosen_symbols(tmp_path):
    for symbol in ("AAPL", "FB", "MSFT"):
        YAHOO.to_csv(tmp_path / f"{symbol}.csv", index=False)
    (tmp_path / "BAD.csv").write_text("x\n1\n")
    assert panel_of(tmp_path, ["FB", "AAPL"]).quality["symbol"].tolist() == ["AAPL", "FB"]
    with pytest.raises(ConfigError, match="no symbol 'AAPPL'; did you mean 'AAPL'"):
        panel_of(tmp_path, ["AAPPL"])
    with pytest.raises(DataError, match=r"BAD\.csv: no column"):
        panel_of(tmp_path, ["BAD"])


def test_a_wrong_zone_is_refused_even_if_no_file_needs_it():
    with pytest.raises(ConfigError, match="is no time zone"):
        panel_of("demo", tz="Amercia/New_York")


# --- packed, nested, far away


def zip_of(path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)


@pytest.mark.parametrize("name", ["FB.csv.gz", "FB.CSV.GZ"])
def test_a_packed_file(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(CSV.encode()))
    assert same_bars(panel_of(tmp_path), "FB")
    assert same_bars(panel_of(tmp_path / name), "FB")


def test_an_archive_is_as_if_its_files_lay_beside_it(tmp_path):
    zip_of(tmp_path / "a.zip", **{"bars/FB.csv": CSV, "bars/IBM.CSV": CSV, "readme.txt": "x", "__MACOSX/._FB.csv": "x",
                                  "symbol=NO/part.csv": CSV})  # fmt: skip
    (tmp_path / "MSFT.csv").write_text(CSV)
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["FB", "IBM", "MSFT", "NO"]
    assert all(same_bars(panel, symbol) for symbol in panel.bars)
    assert list(panel_of(tmp_path / "a.zip").bars) == ["FB", "IBM", "NO"]


def test_a_folder_per_symbol(tmp_path):
    for folder in ("FB", "BRK%2FB/daily", "IBM.parquet"):
        (tmp_path / folder).mkdir(parents=True)
    YAHOO[:50].to_csv(tmp_path / "FB" / "2012.csv", index=False)
    YAHOO[50:].to_parquet(tmp_path / "FB" / "2013.parquet")
    zip_of(tmp_path / "BRK%2FB" / "daily" / "all.zip", **{"2012.csv": YAHOO[:90].to_csv(index=False),
                                                          "2013.csv": YAHOO[90:].to_csv(index=False)})  # fmt: skip
    YAHOO.to_parquet(tmp_path / "IBM.parquet" / "part-0.parquet")
    panel = panel_of(tmp_path)
    assert list(panel.bars) == ["BRK/B", "FB", "IBM"]
    assert all(same_bars(panel, symbol) for symbol in panel.bars)


def test_a_folder_that_links_to_itself(tmp_path):
    YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    (tmp_path / "again").symlink_to(tmp_path)
    assert list(panel_of(tmp_path).bars) == ["FB"]


PACKED = {
    "a cut gz": ("FB.csv.gz", gzip.compress(CSV.encode())[:-500], "cannot be read"),
    "no gz": ("FB.csv.gz", CSV.encode(), "cannot be read .*; is it a whole .csv.gz file"),
    "no zip": ("FB.zip", CSV.encode(), "cannot be read"),
    "an empty zip": ("FB.zip", b"PK\x05\x06" + bytes(18), "the archive holds no .csv file"),
}


@pytest.mark.parametrize(("name", "payload", "told"), PACKED.values(), ids=PACKED)
def test_a_damaged_archive(tmp_path, name, payload, told):
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: {told}"):
        panel_of(tmp_path)
    YAHOO.to_csv(tmp_path / "GOOD.csv", index=False)
    assert panel_of(tmp_path).quality["symbol"].tolist() == ["FB", "GOOD"]


def test_a_damaged_member_is_one_symbol_less(tmp_path):
    path = tmp_path / "a.zip"
    zip_of(path, **{"FB.csv": CSV, "IBM.csv": CSV})
    path.write_bytes(path.read_bytes().replace(b"2012-05-21,", b"2012-05-2x,", 1))
    panel = panel_of(path)
    assert list(panel.bars) == ["IBM"]
    assert "a.zip/FB.csv: cannot be read (Bad CRC-32" in panel.quality["problem"][0]


@pytest.fixture
def memory():
    """An empty file system in memory, behind the URL ``memory://``."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def test_a_folder_behind_a_url(memory):
    memory.pipe({"/bars/FB.csv": CSV.encode(), "/bars/symbol=IBM/year=2012/part.parquet": YAHOO.to_parquet(),
                 "/bars/MSFT/all.csv.gz": gzip.compress(CSV.encode()), "/bars/_temporary/x.csv": b"x",
                 "/bars/.hidden.csv": b"x"})  # fmt: skip
    panel = panel_of("memory://bars")
    assert list(panel.bars) == ["FB", "IBM", "MSFT"]
    assert all(same_bars(panel, symbol) for symbol in panel.bars)
    assert list(panel_of("memory://bars/FB.csv").bars) == ["FB"]
    with pytest.raises(DataError, match=r"^memory://nothing: no such file or folder"):
        panel_of("memory://nothing")


def test_a_file_url(tmp_path):
    YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    assert same_bars(panel_of(tmp_path.as_uri()), "FB")


def test_a_file_behind_a_url_that_is_damaged(memory):
    memory.pipe({"/bars/FB.parquet": YAHOO.to_parquet()[:-9], "/bars/IBM.csv": CSV.encode()})
    assert panel_of("memory://bars").quality["problem"].str.startswith("memory://bars/FB.parquet: cannot").tolist() == [
        True, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense://bucket/bars", "Protocol not known"),
        ("s3://bucket/bars", "s3fs"),
        ("https://me:s3cret@example.invalid/bars.csv", "a URL with a password"),
    ],
)
def test_a_url_that_cannot_be_opened(url, told):
    with pytest.raises(ConfigError, match=told) as raised:
        panel_of(url)
    assert "s3cret" not in str(raised.value)


def test_a_url_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=re.escape('URLs need fsspec; pip install "barzoo[storage]"')):
        panel_of("memory://bars")


def test_a_database_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "DATA_PROCESSING.sources.sql", None)
    with pytest.raises(ConfigError, match=re.escape('databases need SQLAlchemy; pip install "barzoo[storage]"')):
        panel_of("sqlite:///bars.db?table=bars")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://me:s3cret@host/a.csv?token=s3cret", "https://host/a.csv?..."),
        ("https://s3cret@host/a.csv", "https://host/a.csv"),
        ("s3://bucket/a@b/c.csv", "s3://bucket/a@b/c.csv"),
        ("postgresql://me:s3@/cret@host/db?table=bars", "postgresql://me@host/db?table=bars"),
        ("postgresql://me@host/db?table=bars&password=s3cret", "postgresql://me@host/db?table=bars&..."),
        ("postgresql://me@host/db?passwd=s3cret&table=bars", "postgresql://me@host/db?table=bars&..."),
        ("postgresql://me@host/db?s3cret", "postgresql://me@host/db?..."),
        ("postgresql://me@host/db?table=bars;pwd=s3cret", "postgresql://me@host/db?..."),
        ("postgresql://me@host/db&pwd=s3cret", "postgresql://me@host/db&..."),
        ("postgresql+psycopg:db?passwd=s3cret", "postgresql+psycopg:db?..."),
        ("postgresql://me@/db?host=/run/pg&sslmode=require", "postgresql://me@/db?host=/run/pg&sslmode=require"),
        ("sqlite:bars?pwd=1.csv", "sqlite:bars?..."),
        ("sqlite:///bars.db?table=bars", "sqlite:///bars.db?table=bars"),
        ("bars?@\n/", "bars?@\\n/"),
    ],
)
def test_what_may_be_secret_is_not_printed(source, name):
    assert safe_name(source) == name


# --- some symbols, some days


def test_files_of_other_symbols_are_not_read(tmp_path, monkeypatch):
    for symbol in ("FB", "IBM"):
        YAHOO.to_parquet(tmp_path / f"{symbol}.parquet")
    read = []
    monkeypatch.setattr(BarFile, "keys", lambda file, keys=BarFile.keys: read.append(file.where) or keys(file))
    table, _ = open_source(tmp_path, SETTINGS).read(["IBM"])
    assert set(table["symbol"]) == {"IBM"}
    assert read == [str(tmp_path / "IBM.parquet")]


def test_row_groups_of_other_symbols_are_not_read(tmp_path, monkeypatch):
    table = pd.concat([YAHOO.assign(symbol=symbol) for symbol in "ABCD"])
    table.to_parquet(tmp_path / "panel.parquet", row_group_size=len(YAHOO))
    read = []

    def groups(file, numbers, read_row_groups=pq.ParquetFile.read_row_groups, **given):
        read.append(numbers)
        return read_row_groups(file, numbers, **given)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", groups)
    found, _ = open_source(tmp_path, SETTINGS).read(["B", "D"])
    assert read == [[1, 3]]
    whole, _ = open_source(tmp_path, SETTINGS).read()
    expected = whole[whole["symbol"].isin(["B", "D"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_a_range(tmp_path, ending):
    YAHOO.to_parquet(tmp_path / "FB.parquet") if ending == "parquet" else YAHOO.to_csv(tmp_path / "FB.csv", index=False)
    source = open_source(tmp_path, SETTINGS)
    whole, _ = source.read()
    start, end = pd.Timestamp("2012-06-01", tz="UTC"), pd.Timestamp("2012-07-02", tz="UTC")
    inside = (whole["timestamp"] >= start) & (whole["timestamp"] < end)
    pd.testing.assert_frame_equal(source.read(start=start, end=end)[0], whole[inside].reset_index(drop=True))
    assert source.read(start=pd.Timestamp("2030", tz="UTC"))[0].empty
    assert list(source.read([])[0].columns) == [name for name in whole if name != "adj_close"]


def test_sizes_and_states(tmp_path):
    YAHOO.to_parquet(tmp_path / "FB.parquet")
    YAHOO[:5].to_csv(tmp_path / "IBM.csv", index=False)
    pd.concat([YAHOO.assign(symbol="A"), YAHOO[:7].assign(symbol="FB")]).to_csv(tmp_path / "more.csv", index=False)
    (tmp_path / "BAD.csv").write_text("x\n")
    source = open_source(tmp_path, SETTINGS)
    assert source.sizes() == {"FB": 203, "IBM": None, "A": 196}
    assert list(source.problems()) == ["BAD"]
    before = {symbol: source.state(symbol) for symbol in source.sizes()}
    os.utime(tmp_path / "IBM.csv", ns=(1, 1))
    after = {symbol: open_source(tmp_path, SETTINGS).state(symbol) for symbol in before}
    assert [symbol for symbol in before if before[symbol] != after[symbol]] == ["IBM"]


def test_the_lines_of_a_large_csv_file_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("DATA_PROCESSING.sources.formats._SMALL", 100)
    (tmp_path / "A.csv").write_text(CSV)
    (tmp_path / "B.csv").write_text(CSV.rstrip())
    assert open_source(tmp_path, SETTINGS).sizes() == {"A": 196, "B": 196}


# --- columns by the user's own names

ODD = YAHOO.rename(columns={"Date": "bar start", "Close": "px_last", "High": "HI"})


def test_columns_that_the_user_names(tmp_path):
    ODD.assign(Close=1.0, Date="2000-01-01").to_csv(tmp_path / "FB.csv", index=False)
    columns = {"timestamp": "Bar_Start", "close": "px_last", "high": "HI"}
    assert same_bars(panel_of(tmp_path, columns=columns), "FB")


def test_a_symbol_column_and_a_partition_that_the_user_names(tmp_path):
    YAHOO.assign(contract="FB").to_parquet(tmp_path / "x.parquet")
    assert same_bars(panel_of(tmp_path, columns={"symbol": "contract"}), "FB")


@pytest.mark.parametrize(
    ("columns", "error", "told"),
    [
        ({"close": "px_lst"}, DataError, "no column 'px_lst', which columns: .* calls close; did you mean 'px_last'"),
        ({"close": "zzz"}, DataError, "no column 'zzz'.*; its columns are 'bar start', "),
        ({"closee": "px_last"}, ConfigError, "columns: bars have no column 'closee'; did you mean 'close'"),
        ({"close": "HI", "high": "HI"}, ConfigError, "close and high are both 'HI'"),
    ],
)  # fmt: skip
def test_columns_that_make_no_sense(tmp_path, columns, error, told):
    ODD.to_csv(tmp_path / "FB.csv", index=False)
    with pytest.raises(error, match=told):
        panel_of(tmp_path, columns=columns)


def test_the_nearest_headers_are_suggested(tmp_path):
    ODD.to_csv(tmp_path / "FB.csv", index=False)
    with pytest.raises(DataError, match=r"no column timestamp, high, close; .*\? columns: \{close: px_last\}"):
        panel_of(tmp_path)
