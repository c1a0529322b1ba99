"""SQLite and PostgreSQL give what Parquet gives, bit for bit, and what goes wrong is one line without a secret."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.sources import open_source, read_panel
from DATA_PROCESSING.sources.storage import OPTIONS, SECRET

SETTINGS = load_run_config("bars")
NUMBERS = ["open", "high", "low", "close", "volume"]
TYPES = {
    "sqlite": "TEXT TEXT REAL REAL REAL REAL REAL",
    "postgresql": "text timestamptz float8 float8 float8 float8 float8",
}
NAMES = ["symbol", "timestamp", *NUMBERS]


def random_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows of three symbols: any float64 at all, microseconds, no order."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**64, (rows, 5), dtype=np.uint64).view(np.float64)
    bits[random.random((rows, 5)) < 0.02] = np.nan
    bits[random.random((rows, 5)) < 0.02] = np.inf
    bits[random.random((rows, 5)) < 0.02] = -0.0
    moments = np.datetime64("1999-12-31T23:59:59.999999", "us") + random.integers(0, 10**15, rows)
    return pd.DataFrame(
        {"symbol": random.choice(["A", "NO", "B/é 🚀"], rows),
         "timestamp": pd.DatetimeIndex(moments, tz="UTC"), **dict(zip(NUMBERS, bits.T, strict=True))}
    )  # fmt: skip


def as_stored(bars: pd.DataFrame, kind: str) -> pd.DataFrame:
    """As the database takes it: SQLite knows no times, and no NaN."""
    if kind == "postgresql":
        return bars
    text = bars["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
    return bars.assign(timestamp=text, **{name: bars[name].astype(object).where(bars[name].notna(), None)
                                          for name in NUMBERS})  # fmt: skip


def rows_of(source, **changes) -> pd.DataFrame:
    table, problems = open_source(source, SETTINGS | changes).read()
    assert problems == {}
    return table


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    columns = [name for name in table if name not in ("file", "row")]
    return table[columns].sort_values(["symbol", "timestamp"], kind="stable", ignore_index=True)


def bits(table: pd.DataFrame) -> np.ndarray:
    return table[NUMBERS].to_numpy(float).view(np.uint64)


@pytest.mark.parametrize("seed", [0, 1])
def test_any_float_and_time_is_the_same_as_from_parquet(database, tmp_path, seed):
    bars = random_table(3000, seed).drop_duplicates(["symbol", "timestamp"])
    bars.to_parquet(tmp_path / "panel.parquet")
    source = database.write("bars", as_stored(bars, database.kind), TYPES[database.kind])
    expected, found = in_order(rows_of(tmp_path / "panel.parquet")), in_order(rows_of(source))
    assert found["symbol"].tolist() == expected["symbol"].tolist()
    assert found["timestamp"].tolist() == expected["timestamp"].tolist()
    assert found["fault"].tolist() == expected["fault"].tolist()
    nan = np.isnan(expected[NUMBERS].to_numpy())
    np.testing.assert_array_equal(np.isnan(found[NUMBERS].to_numpy()), nan)
    np.testing.assert_array_equal(bits(found)[~nan], bits(expected)[~nan])


def test_a_panel_has_the_same_bars_as_from_parquet(database, tmp_path, make_bars):
    bars = pd.concat([make_bars(300, seed).assign(symbol=symbol) for seed, symbol in enumerate("ABC")])[NAMES]
    bars.to_parquet(tmp_path / "panel.parquet")
    source = database.write("bars", as_stored(bars, database.kind), TYPES[database.kind])
    expected, found = (read_panel(of, SETTINGS) for of in (tmp_path / "panel.parquet", source))
    assert sorted(found.bars) == ["A", "B", "C"]
    for symbol in found.bars:
        assert found.bars[symbol].equals(expected.bars[symbol])


# --- types of columns


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("date", lambda days: days.date),
        ("timestamp", lambda days: days.to_pydatetime()),
        ("timestamptz", lambda days: days.tz_localize("UTC").to_pydatetime()),
        ("text", lambda days: days.strftime("%Y-%m-%d")),
        ("varchar(40)", lambda days: days.strftime("%Y-%m-%d %H:%M:%S-05:00")),
        ("integer", lambda days: days.strftime("%Y%m%d").astype(int)),
    ],
)
def test_types_of_times(postgres, make_bars, kind, write):
    bars = make_bars(20)
    days = pd.DatetimeIndex(bars["timestamp"]).tz_localize(None)
    stored = bars.assign(timestamp=pd.Series(write(days), dtype=object))
    source = postgres.write("aapl", stored, f"{kind} float8 float8 float8 float8 float8")
    assert rows_of(source)["timestamp"].tolist() == bars["timestamp"].tolist()
    assert [len(chunk) for chunk in open_source(source, SETTINGS).chunks("aapl")] == [20]


@pytest.mark.parametrize("kind", ["numeric", "real", "text", "integer", "numeric(20, 6)"])
def test_types_of_numbers(database, make_bars, kind):
    numbers = make_bars(20)[NUMBERS].round().astype(int)
    stored = make_bars(20).assign(**(numbers.astype(str) if kind == "text" else numbers))
    stored["timestamp"] = stored["timestamp"].dt.strftime("%Y-%m-%d")
    source = database.write("aapl", stored, " ".join(["text", *[kind.replace(" ", "")] * 5]))
    table = rows_of(source)
    assert table[NUMBERS].to_numpy().tolist() == numbers.to_numpy(float).tolist()
    assert set(table["symbol"]) == {"aapl"}


@pytest.mark.parametrize("kind", ["char(8)", "varchar", "integer"])
def test_types_of_symbols(postgres, make_bars, kind):
    symbols = [1, 2] if kind == "integer" else ["A", "BRK/B"]
    bars = pd.concat([make_bars(5, seed).assign(symbol=symbol) for seed, symbol in enumerate(symbols)])[NAMES]
    source = postgres.write("bars", as_stored(bars, "postgresql"), TYPES["postgresql"].replace("text", kind, 1))
    opened = open_source(source, SETTINGS)
    assert opened.sizes() == {str(symbol): 5 for symbol in symbols}
    assert set(opened.read([str(symbols[1])])[0]["symbol"]) == {str(symbols[1])}
    assert sum(map(len, opened.chunks(str(symbols[0])))) == 5


def test_decimals_are_the_nearest_float(postgres):
    values = ["0.1", "123456789.123456789", "1e-300", "2.2250738585072014e-308", "17976931348623157" + "0" * 292]
    postgres.run("CREATE TABLE x (date date, open numeric, high numeric, low numeric, close numeric, volume numeric)")
    rows = [(f"2020-01-0{day}", value, value, value, value, "1") for day, value in enumerate(values, 1)]
    postgres.run("INSERT INTO x VALUES (?, ?, ?, ?, ?, ?)", rows)
    assert rows_of(postgres.url("x"))["close"].tolist() == list(map(float, values))


def test_endless_and_missing_times_are_bad_rows(postgres):
    postgres.run("CREATE TABLE x (t timestamptz, open float8, high float8, low float8, close float8, volume float8)")
    rows = [(t, 1.0, 1.0, 1.0, 1.0, 1.0) for t in ("2020-01-02", None, "infinity", "-infinity", "5000-01-01")]
    postgres.run("INSERT INTO x VALUES (?, ?, ?, ?, ?, ?)", rows)
    for table in (rows_of(postgres.url("x"), columns={"timestamp": "t"}),
                  *open_source(postgres.url("x"), SETTINGS | {"columns": {"timestamp": "t"}}).chunks("x")):  # fmt: skip
        assert sorted(table["fault"]) == ["", *["unreadable timestamp"] * 4]


def test_text_among_numbers_is_a_bad_row(sqlite, make_bars):
    bars = make_bars(5).astype(object).assign(timestamp=lambda t: t["timestamp"].astype(str))
    bars.loc[1, "close"], bars.loc[2, "volume"], bars.loc[3, "open"] = "oops", b"\x01", ""
    table = rows_of(sqlite.write("x", bars, "TEXT REAL REAL REAL REAL REAL"))
    assert table["fault"].tolist() == ["", "text in close", "text in volume", "", ""]
    assert np.isnan(table["open"][3])


@pytest.mark.parametrize("unit", ["S", "MS", "US", "NS"])
def test_numbers_are_times_where_the_type_says_their_unit(sqlite, make_bars, unit):
    bars = make_bars(5)
    stored = bars.assign(timestamp=bars["timestamp"].dt.as_unit(unit.lower()).astype("int64"))
    table = rows_of(sqlite.write("x", stored, f"TIMESTAMP_{unit} REAL REAL REAL REAL REAL"))
    assert table["timestamp"].tolist() == bars["timestamp"].tolist()


def test_numbers_without_a_unit_are_refused(database, make_bars):
    bars = make_bars(5).assign(timestamp=range(1577836800, 1577836805))
    source = database.write("x", bars, " ".join(["bigint", *["float8"] * 5]))
    with pytest.raises(DataError, match="for example '1577836800'; a bare number has no unit"):
        rows_of(source)


def test_clock_times_need_a_zone(database, make_bars):
    bars = make_bars(5)
    moments = bars["timestamp"].dt.tz_localize(None) + pd.Timedelta("15:30:00")
    stored = moments.astype(str) if database.kind == "sqlite" else moments
    source = database.write("x", bars.assign(timestamp=stored), " ".join(["timestamp", *["float8"] * 5]))
    with pytest.raises(DataError, match="clock times without a zone"):
        rows_of(source)
    expected = moments.dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    assert rows_of(source, tz="America/New_York")["timestamp"].tolist() == expected.tolist()


# --- what the server chooses


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def stored_panel(database, make_bars):
    """A source of two symbols, a bar a minute over ten days, and the rows that it should give."""
    frames = []
    for seed, symbol in enumerate(("A", "B")):
        bars = make_bars(2000, seed).assign(symbol=symbol)
        bars["timestamp"] = pd.date_range("2020-01-01", periods=2000, freq="7min", tz="UTC").as_unit("us")
        frames.append(bars[NAMES])
    bars = pd.concat(frames, ignore_index=True)
    return database.write("bars", as_stored(bars, database.kind), TYPES[database.kind]), bars


@pytest.mark.parametrize(
    ("symbols", "start", "end"),
    [
        (["B"], None, None),
        (["A", "B"], "2020-01-03", None),
        (None, None, "2020-01-03 00:07"),
        (["A"], "2020-01-03 10:00", "2020-01-03 10:30"),
        (["A"], "2030-01-01", None),
        ([], None, None),
    ],
)
def test_rows_of_symbols_and_times(stored_panel, symbols, start, end):
    source, bars = stored_panel
    start, end = (text and day(text) for text in (start, end))
    table, _ = open_source(source, SETTINGS).read(symbols, start, end)
    expected = bars[bars["symbol"].isin(["A", "B"] if symbols is None else symbols)]
    expected = expected[(expected["timestamp"] >= (start or day("1900-01-01")))
                        & (expected["timestamp"] < (end or day("2100-01-01")))]  # fmt: skip
    assert table[["symbol", "timestamp", "close"]].to_numpy().tolist() == (
        expected[["symbol", "timestamp", "close"]].to_numpy().tolist()
    )


def test_sizes_states_and_timestamps(database, stored_panel):
    source, bars = stored_panel
    opened = open_source(source, SETTINGS)
    assert opened.sizes() == {"A": 2000, "B": 2000}
    assert opened.timestamps().tolist() == bars["timestamp"][:2000].tolist()
    before = {symbol: opened.state(symbol) for symbol in "AB"}
    assert len(set(before.values())) == 2
    database.run("UPDATE bars SET close = close * 1.0001 WHERE symbol = 'B'")
    after = {symbol: open_source(source, SETTINGS).state(symbol) for symbol in "AB"}
    assert after["A"] == before["A"]
    assert after["B"] != before["B"]


def test_rows_that_are_no_bars_give_no_timestamp(database, make_bars):
    bars = make_bars(8)[["timestamp", *NUMBERS]].astype(object)
    for row, (name, value) in enumerate((("low", 0.0), ("high", float("inf")), ("volume", -1.0), ("close", None),
                                         ("high", 1.0), ("volume", float("inf")), ("open", 1e9))):  # fmt: skip
        bars.loc[row, name] = value
    stored = bars.assign(
        timestamp=bars["timestamp"].map(str if database.kind == "sqlite" else pd.Timestamp.to_pydatetime)
    )
    source = database.write("x", stored, f"{TYPES[database.kind].split()[1]} float8 float8 float8 float8 float8")
    assert open_source(source, SETTINGS).timestamps().tolist() == bars["timestamp"][7:].tolist()


def test_a_chosen_symbol_alone_has_the_sessions_of_all(database, make_bars):
    frames = [make_bars(50, 0).assign(symbol="A"), make_bars(80, 1).assign(symbol="B")]
    bars = pd.concat(frames)[NAMES]
    source = database.write("bars", as_stored(bars, database.kind), TYPES[database.kind])
    whole, alone = (read_panel(source, SETTINGS, ["A"], others=others) for others in (True, False))
    assert list(alone.everyone) == ["A"]
    assert alone.sessions.tolist() == whole.sessions.tolist()
    assert len(alone.sessions) == 80
    pd.testing.assert_frame_equal(alone.bars["A"], whole.bars["A"])
    pd.testing.assert_frame_equal(alone.quality, whole.quality)


# --- names


def test_names_that_need_quotes(database, make_bars):
    awkward = 'b"a%(x)s?; DROP TABLE bars; --:y'
    bars = make_bars(5).rename(columns={"close": awkward}).assign(timestamp=lambda t: t["timestamp"].astype(str))
    columns = ", ".join(f'"{name}"'.replace('"b"a', '"b""a').replace("%", "%%") + " text" for name in bars)
    table = 'bars"%_select'
    quoted = table.replace('"', '""').replace("%", "%%")
    if database.kind == "sqlite":
        columns, quoted = columns.replace("%%", "%"), quoted.replace("%%", "%")
    database.run(f'CREATE TABLE "{quoted}" ({columns})')
    database.run(f'INSERT INTO "{quoted}" VALUES (?, ?, ?, ?, ?, ?)',
                 [tuple(row) for row in bars.astype(str).itertuples(index=False)])  # fmt: skip
    source = database.url("bars%22%25_select")
    found = rows_of(source, columns={"close": awkward})
    assert found["close"].tolist() == bars[awkward].tolist()
    assert set(found["symbol"]) == {table}


@pytest.mark.parametrize("symbol", ["x'; DROP TABLE bars; --", "%s", "%(a)s", "é", "a\\b", '"'])
def test_symbols_are_values(database, make_bars, symbol):
    bars = make_bars(5).assign(symbol=symbol)[NAMES]
    opened = open_source(database.write("bars", as_stored(bars, database.kind), TYPES[database.kind]), SETTINGS)
    assert opened.sizes() == {symbol: 5}
    assert len(opened.read([symbol])[0]) == 5
    assert sum(map(len, opened.chunks(symbol))) == 5


def test_symbols_that_differ_by_blanks_are_one(database, make_bars):
    bars = pd.concat([make_bars(5).assign(symbol="A"), make_bars(5, start="2021-01-01").assign(symbol=" A ")])[NAMES]
    missing = make_bars(2).assign(symbol=None)[NAMES]
    stored = as_stored(pd.concat([bars, missing], ignore_index=True), database.kind)
    opened = open_source(database.write("bars", stored, TYPES[database.kind]), SETTINGS)
    assert opened.sizes() == {"A": 10, "": 2}
    assert len(opened.read(["A"])[0]) == 10
    assert len(opened.read([""])[0]) == 2
    assert sum(map(len, opened.chunks("A"))) == 10


def test_a_schema(postgres, make_bars):
    postgres.run("CREATE SCHEMA IF NOT EXISTS market")
    postgres.run("DROP TABLE IF EXISTS market.daily")
    postgres.run("CREATE TABLE market.daily (date text, open text, high text, low text, close text, volume text)")
    postgres.run("INSERT INTO market.daily VALUES ('2020-01-02', '1', '2', '1', '2', '3')")
    assert len(rows_of(postgres.url("market.daily"))) == 1
    with pytest.raises(DataError, match=r"no table 'market\.dayly'; did you mean 'market\.daily'\?"):
        rows_of(postgres.url("market.dayly"))
    with pytest.raises(DataError, match="no schema 'markt'; did you mean 'market'"):
        rows_of(postgres.url("markt.daily"))


def test_tables_of_other_schemas_are_offered(postgres):
    postgres.run("CREATE SCHEMA IF NOT EXISTS minute")
    postgres.run("CREATE SCHEMA IF NOT EXISTS _timescaledb_internal")
    for table in ("minute.bars", "_timescaledb_internal.bars", "public.daily"):
        postgres.run(f"CREATE TABLE IF NOT EXISTS {table} (date text)")
    told = refusal(postgres.url("").replace("&table=", ""))
    assert "which table? add ?table=...; choose from daily, " in told
    assert "minute.bars" in told
    assert "_timescaledb_internal" not in told
    assert "information_schema" not in told
    assert refusal(postgres.url("bars")).endswith("no table 'bars'; did you mean 'minute.bars'?")


def test_of_many_tables_some_are_offered(sqlite):
    for number in range(30):
        sqlite.run(f"CREATE TABLE t{number:02} (date text)")
    told = refusal(sqlite.url("").replace("?table=", ""))
    assert told.endswith("choose from " + ", ".join(f"t{number:02}" for number in range(20)) + " and 10 more")


def test_a_view(database, stored_panel):
    database.run("CREATE VIEW a_only AS SELECT * FROM bars WHERE symbol = 'A'")
    assert open_source(database.url("a_only"), SETTINGS).sizes() == {"A": 2000}


# --- what goes wrong


def refusal(source, error=DataError, **changes) -> str:
    """The one line in which a source is refused."""
    with pytest.raises(error) as raised:
        rows_of(source, **changes)
    told = str(raised.value)
    assert told.isprintable()
    assert "s3cret" not in told
    assert len(told) < 700
    return told


def test_a_missing_table_or_column(database, make_bars):
    bars = make_bars(5).rename(columns={"close": "px_close"}).assign(timestamp="2020-01-02")
    source = database.write("minute_bars", bars, " ".join(["text", *["float8"] * 5]))
    assert "no table 'minute_bar'; did you mean 'minute_bars'?" in refusal(database.url("minute_bar"))
    assert "which table? add ?table=...; choose from minute_bars" in refusal(database.url("").replace("?table=", ""))
    assert "no column close" in refusal(source)
    assert "columns: {close: px_close}" in refusal(source)
    assert "no column 'px_clos', which columns: in bars.yaml calls close; did you mean 'px_close'?" in refusal(
        source, columns={"close": "px_clos"}
    )


def test_an_empty_table(database, make_bars):
    source = database.write("x", make_bars(1).assign(timestamp="2020-01-02"), " ".join(["text", *["float8"] * 5]))
    database.run("DELETE FROM x")
    assert "no rows; expected bars in the table" in refusal(source)


@pytest.mark.parametrize(
    "url",
    ["postgresql://alice:s3cret@localhost/db?table=bars", "postgresql://alice@localhost/db?table=bars&password=s3cret",
     "postgres://a:s3cret@s3cret@h/db", "sqlite://a:s3cret@/bars.db", "postgresql://alice:s3cret@[/db",
     "postgresql://h/db?sslpassword=s3cret", "postgresql://me@h/db?table=daily&passwd=s3cret",
     "postgresql://me@h/db?pwd=s3cret&table=daily", "postgresql://me@h/db?table=daily&PASS=s3cret",
     "postgresql://h/db?table=daily;password=s3cret", "postgresql://h/db&password=s3cret",
     "postgresql://h/db?table=bars&oauth_client_secret=s3cret", "postgresql://h/db?scram_client_key=s3cret",
     "sqlite:///bars.db?table=bars&pwd=s3cret"],
)  # fmt: skip
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    refusal(url, ConfigError)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me@h/db?tabel=s3cret", "me@h/db?...: no option 'tabel'; did you mean 'table'?"),
        (
            "postgresql://me@h/db?table=bars&ssl_mode=s3cret",
            "db?table=bars&...: no option 'ssl_mode'; did you mean 'ssl",
        ),
        ("postgresql://me@h/db?table=bars&token=s3cret", "no option 'token'; write sqlite:///bars.db?table=bars or"),
        ("postgresql://me@h/db?p%61sswd=s3cret", "me@h/db?...: no option 'passwd'"),
        ("postgresql://me@h/db?table=a&table=b", "table is given twice; one source is one table"),
        ("sqlite:///bars.db?tabel=s3cret", "sqlite:///bars.db?...: no option 'tabel'; did you mean 'table'?"),
        ("sqlite:///bars.db?table=bars&mode=s3cret", "no option 'mode'; write sqlite:///bars.db?table=bars or"),
    ],
)
def test_an_unknown_option_is_refused_before_connecting_and_its_value_not_repeated(url, told, monkeypatch):
    monkeypatch.setattr("DATA_PROCESSING.sources.database.connected", None)
    monkeypatch.setattr("DATA_PROCESSING.sources.sql.connected", None)
    assert told in refusal(url, ConfigError)


def test_harmless_options_are_those_of_libpq_that_hold_no_secret(postgresql):
    from psycopg.pq import Conninfo

    secret = {option.keyword.decode() for option in Conninfo.get_defaults() if option.dispchar}
    assert {"password", "sslpassword"} <= secret
    assert not secret & {*OPTIONS}
    assert not [name for name in OPTIONS if SECRET.search(f"{name}=")]
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    assert {"host", "sslmode", "connect_timeout", "application_name", "options", "passfile"} <= known & {*OPTIONS}
    options = "connect_timeout=3&application_name=barzoo&sslmode=prefer&options=-c%20search_path%3Dpublic"
    assert "which table" in refusal(f"postgresql://postgres@/postgres?host={postgresql}&{options}")


def test_a_wrong_password(postgresql, monkeypatch):
    source = f"postgresql://alice@/postgres?host={postgresql}&table=bars"
    monkeypatch.setenv("PGPASSWORD", "not s3cret")
    told = refusal(source)
    assert "cannot connect" in told
    assert "password authentication failed" in told
    assert told.endswith("give it as PGPASSWORD or in ~/.pgpass")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    assert "which table" in refusal(source.replace("&table=bars", ""))


def test_nobody_there(tmp_path):
    assert "cannot connect" in refusal(f"postgresql://me@/db?host={tmp_path}&table=bars")
    assert "cannot connect" in refusal("postgresql://me@127.0.0.1:1/db?table=bars")
    told = refusal(f"sqlite:///{tmp_path}/none.db?table=bars")
    assert "no file" in told
    assert told.endswith("three slashes begin a relative path, four an absolute one")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("url", ["sqlite://?table=bars", "sqlite:///x.db?table=bars&mode=rw", "postgresql:db",
                                 "postgresql://host:port/db"])  # fmt: skip
def test_urls_that_make_no_sense(url):
    assert "write sqlite:///bars.db?table=bars" in refusal(url, ConfigError)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "bars.db").write_bytes(b"nothing of the kind" * 100)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path}/bars.db?table=bars")


def test_a_table_that_may_not_be_read(postgres, monkeypatch):
    postgres.run("CREATE TABLE secret (date text, open text, high text, low text, close text, volume text)")
    postgres.run("GRANT USAGE ON SCHEMA public TO alice")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    assert "permission denied for table secret" in refusal(postgres.url("secret").replace("postgres@", "alice@"))


def test_a_database_that_goes_away_in_mid_read(postgres, make_bars, monkeypatch):
    monkeypatch.setattr("DATA_PROCESSING.sources.postgresql.CHUNK_ROWS", 10)
    monkeypatch.setattr("DATA_PROCESSING.sources.source.CHUNK_ROWS", 10)
    bars = make_bars(100).assign(symbol="A")[NAMES]
    source = postgres.write("bars", as_stored(bars, "postgresql"), TYPES["postgresql"])
    chunks = open_source(source, SETTINGS).chunks("A")
    assert len(next(chunks)) == 10
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query <> ''")
    with pytest.raises(DataError, match="went away or failed .*; run again$") as raised:
        list(chunks)
    assert str(raised.value).isprintable()


def test_a_damaged_sqlite_file(sqlite, make_bars):
    bars = pd.concat([make_bars(2000, seed).assign(symbol=f"S{seed}") for seed in range(3)])[NAMES]
    source = sqlite.write("bars", as_stored(bars, "sqlite"), TYPES["sqlite"])
    path = source.removeprefix("sqlite:///").partition("?")[0]
    with open(path, "r+b") as file:
        file.seek(40_000)
        file.write(b"\xff" * 100_000)
    assert "bars.db?table=bars: " in refusal(source)
