from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING.features.build import build_features
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.labeled import TableBuilder, label_panel, labeled_files, read_info, read_table, table_path
from DATA_PROCESSING.labeled.seal import _seal, write_sealed
from DATA_PROCESSING.labels import build_labels
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.sources import read_panel

BARS, FEATURES, LABELS = (load_run_config(topic) for topic in ("bars", "features", "labels"))
FEATURE_NAMES = [feature.name for feature in feature_table("simple")]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return read_panel("demo", BARS, ["FB", "IBM"])


@pytest.fixture(scope="module")
def built(panel, tmp_path_factory):
    """A folder with the tables of FB and IBM; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("labeled")
    label_panel(TableBuilder(panel, FEATURES, LABELS), folder)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built, tmp_path / "labeled")


def own_table(rows: int = 30) -> pd.DataFrame:
    """A table as a user may have made it elsewhere."""
    days = pd.bdate_range("2020-01-06", periods=rows, tz="UTC")
    return pd.DataFrame(
        {
            "timestamp": days,
            "close": np.linspace(10, 20, rows),
            "my_feature": np.arange(rows, dtype=float),
            "y_mine": np.arange(rows) % 2,
            "label_end": pd.Series(days).shift(-2),
        }
    )


def small_table() -> pd.DataFrame:
    return own_table(5).astype({"my_feature": "float32", "y_mine": "float32"})


def write_table(folder, symbol: str, table: pd.DataFrame, fingerprint: str, labels: dict):
    """A short table of ours, with any columns."""
    path = table_path(folder, symbol)
    about = {"symbol": symbol, "fingerprint": fingerprint, "settings": {"labels": labels}}
    write_sealed(path, pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), about)
    return path


# --- building


def test_a_table_is_bars_features_and_labels_of_every_bar(panel, built):
    table = read_table(table_path(built, "FB"))
    bars = panel.bars["FB"]
    assert len(table) == len(bars) == 196
    pd.testing.assert_frame_equal(table[bars.columns], bars)
    pd.testing.assert_frame_equal(table[FEATURE_NAMES], build_features(bars))
    labels = build_labels(bars, **LABELS)
    pd.testing.assert_frame_equal(table[labels.columns], labels, check_like=True)
    assert table["label_end"].isna().sum() == LABELS["horizon"]
    assert (table[FEATURE_NAMES].dtypes == np.float32).all()


def test_what_a_table_says_of_itself(panel, built):
    info = read_info(table_path(built, "FB"), 99)
    assert (info.symbol, info.horizon) == ("FB", LABELS["horizon"])
    assert info.settings == {"bars": BARS, "features": FEATURES, "labels": LABELS}
    assert info.fingerprint == TableBuilder(panel, FEATURES, LABELS).fingerprint("FB")
    assert info.features == FEATURE_NAMES
    assert [*info.columns] == pq.read_schema(info.path).names
    assert "y_will_peak" in info.targets
    assert "label_end" not in info.targets


def test_the_same_bars_give_the_same_bytes(panel, built, tmp_path):
    label_panel(TableBuilder(panel, FEATURES, LABELS), tmp_path, jobs=2)
    for path in built.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_up_to_date_tables_are_left_alone(panel, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    told = []
    assert label_panel(TableBuilder(panel, FEATURES, LABELS), folder, on_step=told.append) == []
    assert sorted(told) == ["FB", "IBM"]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("change", ["labels", "features", "bars"])
def test_a_change_of_what_it_was_made_from_builds_a_table_again(panel, folder, change):
    labels, features = LABELS, FEATURES
    if change == "labels":
        labels = LABELS | {"horizon": LABELS["horizon"] + 1}
    elif change == "features":
        features = {**FEATURES, "new": 1}
    else:
        bars = panel.bars["FB"].copy()
        bars.loc[3, "volume"] += 1
        panel = replace(panel, bars={**panel.bars, "FB": bars})
    assert label_panel(TableBuilder(panel, features, labels), folder, symbols=["FB"]) == ["FB"]


def test_a_gap_that_other_symbols_have_no_part_in_changes_the_identity(panel):
    fewer = replace(panel, sessions=np.delete(panel.sessions, -3))
    full = TableBuilder(panel, FEATURES, LABELS).fingerprint("FB")
    assert TableBuilder(fewer, FEATURES, LABELS).fingerprint("FB") != full


def test_a_damaged_table_is_built_again(panel, folder, built):
    path = table_path(folder, "FB")
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    assert label_panel(TableBuilder(panel, FEATURES, LABELS), folder) == ["FB"]
    assert path.read_bytes() == table_path(built, "FB").read_bytes()


def test_a_stop_begins_no_further_table(panel, tmp_path):
    assert label_panel(TableBuilder(panel, FEATURES, LABELS), tmp_path, stopped=lambda: True) == []
    assert list(tmp_path.iterdir()) == []


def test_any_symbol_has_a_file_in_the_folder(tmp_path):
    for symbol in ("../x", "BRK/B", "CON", "NO", "🚀", "x" * 200):
        path = write_table(tmp_path, symbol, small_table(), "f", {})
        assert path.parent == tmp_path
        assert read_info(path, 5).symbol == symbol
    assert len(list(tmp_path.iterdir())) == 6


column = st.lists(st.floats(width=32) | st.none(), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable()), column, max_size=5))
def test_what_is_written_is_read_back(tmp_path, columns):
    values = {f"x{name}": np.array(numbers, np.float32) for name, numbers in columns.items()}
    table = own_table(4).assign(**values)
    path = write_table(tmp_path, "A", table, "f", {"horizon": 3})
    pd.testing.assert_frame_equal(read_table(path), table)
    names = [*list(values)[::-1], "timestamp"]
    pd.testing.assert_frame_equal(read_table(path, names), table[names])


# --- damage


def assert_refused(path) -> None:
    for read in (lambda: read_info(path, 5), lambda: read_table(path), lambda: read_table(path, ["timestamp"])):
        with pytest.raises(IntegrityError) as raised:
            read()
        assert str(raised.value).startswith(f"{path}: ")
        assert "\n" not in str(raised.value)


def test_a_flip_of_any_byte_is_an_integrity_error(tmp_path):
    path = write_table(tmp_path, "A", small_table(), "f" * 64, LABELS)
    whole = path.read_bytes()
    bits = np.random.default_rng(0).integers(0, 8, len(whole))
    for place, bit in enumerate(bits):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            read_table(path)
    assert_refused(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_table_is_an_integrity_error(folder, share):
    path = table_path(folder, "FB")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert_refused(path)


def test_bytes_added_or_swapped_are_an_integrity_error(folder):
    path, other = table_path(folder, "FB"), table_path(folder, "IBM")
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    assert_refused(path)
    path.write_bytes(whole[:1000] + other.read_bytes()[1000:2000] + whole[2000:])
    assert_refused(path)


@pytest.mark.parametrize("rewrite", [lambda path: pq.read_table(path), lambda path: pa.table(pd.read_parquet(path))])
def test_a_table_that_another_program_wrote_is_the_users_own(folder, rewrite):
    path = table_path(folder, "FB")
    table = read_table(path)
    pq.write_table(rewrite(path), path)
    info = read_info(path, 99)
    assert (info.horizon, info.settings) == (99, {})
    pd.testing.assert_frame_equal(read_table(path), table)


def test_a_table_whose_seal_is_gone_is_an_integrity_error(folder):
    path = table_path(folder, "FB")
    path.write_bytes(path.read_bytes().replace(b"barzoo_sha256", b"barzoo_sha255"))
    assert_refused(path)


def test_a_missing_table_is_an_integrity_error(tmp_path):
    assert_refused(tmp_path / "none.parquet")


def test_the_seal_is_the_hash_of_the_file_with_zeros_in_its_place(built):
    payload = table_path(built, "FB").read_bytes()
    before, mark, after = payload.rpartition(b'"barzoo_sha256": "')
    assert hashlib.sha256(before + mark + b"0" * 64 + after[64:]).hexdigest() == after[:64].decode()


def test_our_pages_have_checksums_too(folder):
    path = table_path(folder, "FB")
    payload = bytearray(path.read_bytes())
    payload[1000] ^= 1
    place, seal = _seal(payload)
    payload[place] = seal.encode()
    path.write_bytes(payload)
    with pytest.raises(IntegrityError, match="CRC"):
        read_table(path)


def test_page_checksums_guard_the_values_of_any_writer(tmp_path):
    path = tmp_path / "MINE.parquet"
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    own_table().to_parquet(path, **options)
    payload = path.read_bytes()
    place = payload.index(np.float64(17.0).tobytes())  # a value of my_feature
    path.write_bytes(payload[:place] + np.float64(18.0).tobytes() + payload[place + 8 :])
    with pytest.raises(IntegrityError, match="damaged"):
        read_table(path)


# --- tables of the user's own


def test_an_own_table_is_known_by_its_name_and_bytes(tmp_path):
    path = tmp_path / "BRK%2FB.parquet"
    own_table().to_parquet(path)
    info = read_info(path, 7)
    assert (info.symbol, info.horizon, info.settings) == ("BRK/B", 7, {})
    assert (info.features, info.targets) == (["my_feature"], ["y_mine"])
    assert info.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    pd.testing.assert_frame_equal(read_table(path), own_table())


@pytest.mark.parametrize(
    "cast",
    [
        lambda times: times.astype("datetime64[ms, UTC]"),
        lambda times: times.dt.tz_localize(None),
        lambda times: times.dt.tz_localize(None).dt.tz_localize("Asia/Tokyo"),
        lambda times: times.dt.date,
        lambda times: times.dt.strftime("%Y-%m-%d"),
    ],
    ids=["ms", "no zone", "midnight in tokyo", "date32", "text"],
)
def test_times_of_an_own_table_become_utc(tmp_path, cast):
    table = own_table()
    path = tmp_path / "A.parquet"
    table.assign(timestamp=cast(table["timestamp"]), label_end=cast(table["label_end"])).to_parquet(path)
    pd.testing.assert_frame_equal(read_table(path), table)


def test_an_own_table_is_sorted_and_its_index_is_no_feature(tmp_path):
    path = tmp_path / "A.parquet"
    own_table()[::-1].to_parquet(path)
    assert read_table(path)["timestamp"].is_monotonic_increasing
    assert read_info(path, 5).features == ["my_feature"]


@pytest.mark.parametrize("dtype", ["datetime64[ns, UTC]", "datetime64[ms]", "object"])
def test_an_own_table_without_any_label_yet(tmp_path, dtype):
    path = tmp_path / "A.parquet"
    own_table().assign(label_end=pd.Series(None, range(30), dtype)).to_parquet(path)
    label_end = read_table(path)["label_end"]
    assert label_end.dtype == "datetime64[ns, UTC]"
    assert label_end.isna().all()


@pytest.mark.parametrize("missing", ["timestamp", "close", "label_end"])
def test_a_needed_column_that_is_missing_is_named(tmp_path, missing):
    path = tmp_path / "A.parquet"
    own_table().drop(columns=missing).to_parquet(path)
    with pytest.raises(DataError, match=f"no column '{missing}'; a labeled table needs timestamp, close, label_end"):
        read_info(path, 5)


def test_two_columns_of_one_name(tmp_path):
    table = pa.Table.from_pandas(own_table())
    pq.write_table(table.append_column("close", table.column("close")), tmp_path / "A.parquet")
    with pytest.raises(DataError, match="two columns are called 'close'; rename one"):
        read_info(tmp_path / "A.parquet", 5)


def test_a_file_name_that_is_no_symbol(tmp_path):
    path = tmp_path / f"{'x' * 240}.parquet"
    own_table().to_parquet(path)
    with pytest.raises(DataError, match="symbol is too long for a file name; rename the file"):
        read_info(path, 5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"my_feature": "x"}, "'my_feature' holds object; close, features and targets must be numbers"),
        ({"y_mine": [None, True] * 15}, "'y_mine' holds object"),
        ({"close": "1.0"}, "'close' holds object"),
        ({"my_feature": pd.Timestamp("2020-01-01")}, r"'my_feature' holds datetime64"),
        ({"label_end": pd.Timestamp("2020-01-07", tz="UTC")}, "28 rows have a label_end before their timestamp"),
        ({"timestamp": [None, *own_table()["timestamp"][1:]]}, "1 rows of timestamp hold no readable time"),
        ({"timestamp": own_table()["timestamp"].dt.strftime("%m/%d/%Y")}, "no readable timestamp"),
        ({"label_end": pd.Timestamp("2020-03-01 15:30")}, "clock times without a zone"),
    ],
)
def test_an_own_table_that_no_trainer_can_use(tmp_path, changes, told):
    path = tmp_path / "A.parquet"
    own_table().assign(**changes).to_parquet(path)
    with pytest.raises(DataError, match=told) as raised:
        read_table(path)
    assert str(raised.value).startswith(str(path))


# --- which files of a folder are labeled tables


def test_a_folder_of_bars_or_of_nothing_holds_no_labeled_table(tmp_path):
    assert labeled_files(tmp_path / "none") == []
    assert labeled_files(tmp_path) == []
    own_table().drop(columns="label_end").to_parquet(tmp_path / "A.parquet")
    (tmp_path / "B.parquet").write_bytes(b"PAR1")
    assert labeled_files(tmp_path) == []
    assert labeled_files(tmp_path / "A.parquet") == []
    assert labeled_files(tmp_path / "B.parquet") == []


def test_other_files_beside_labeled_tables_are_told_of_or_ignored(folder):
    own_table().drop(columns="label_end").to_parquet(folder / "BARS.parquet")
    (folder / "A.parquet").write_bytes(b"PAR1")
    (folder / ".hidden.parquet").write_bytes(b"")
    (folder / "notes.txt").write_text("x")
    own_table().to_csv(folder / "C.csv")
    paths = labeled_files(folder)
    assert [path.name for path in paths] == ["A.parquet", "BARS.parquet", "FB.parquet", "IBM.parquet"]
    with pytest.raises(IntegrityError, match="not a whole Parquet file"):
        read_info(paths[0], 5)
    with pytest.raises(DataError, match="no column 'label_end'"):
        read_info(paths[1], 5)
    assert labeled_files(folder / "FB.parquet") == [folder / "FB.parquet"]


def test_tables_without_one_label_are_told_of(panel, tmp_path, caplog):
    labels = load_run_config("labels", {"horizon": 300})  # FB has 196 bars
    label_panel(TableBuilder(panel, FEATURES, labels), tmp_path, symbols=["FB", "IBM"])
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == "no label in the tables of 'FB': fewer bars than the horizon 300 needs"
    caplog.clear()
    assert label_panel(TableBuilder(panel, FEATURES, labels), tmp_path, symbols=["FB", "IBM"]) == []
    assert "no label in the tables of 'FB'" in caplog.text
    assert read_info(table_path(tmp_path, "IBM"), 1).labeled_rows == len(panel.bars["IBM"]) - 300


def test_labels_that_are_known_are_counted_wherever_they_lie(panel, tmp_path, caplog):
    labels = load_run_config("labels", {"horizons": [100]})  # the further horizon settles later than the first
    label_panel(TableBuilder(panel, FEATURES, labels), tmp_path, symbols=["FB"])
    assert read_info(table_path(tmp_path, "FB"), 1).labeled_rows == 196 - 5
    assert "no label" not in caplog.text


def test_labels_that_miss_for_half_of_a_symbol_are_told_of(panel, tmp_path, caplog):
    bars = panel.bars["IBM"]
    sparse = pd.concat([bars.iloc[:100], bars.iloc[100:1500:13]], ignore_index=True)
    thin = replace(panel, bars=panel.bars | {"IBM": sparse}, others=None)
    label_panel(TableBuilder(thin, FEATURES, load_run_config("labels")), tmp_path, symbols=["FB", "IBM"])
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("no label in many rows of 'IBM' (5")
    assert "bars on their paths are missing, or longer than the horizon 5" in told


def test_a_symbol_that_is_not_there_is_named(panel, tmp_path):
    with pytest.raises(ConfigError, match="demo: no usable bars of 'IMB'; did you mean 'IBM'"):
        label_panel(TableBuilder(panel, FEATURES, LABELS), tmp_path, symbols=["FB", "IMB"])


def test_horizons_that_repeat_are_refused(panel):
    labels = load_run_config("labels", {"horizons": [5]})
    with pytest.raises(ConfigError, match="must differ from each other and from horizon 5"):
        TableBuilder(panel, FEATURES, labels).table("FB")


def test_what_a_killed_build_left_behind_is_removed(panel, tmp_path):
    old, new = tmp_path / ".FB.parquet.1.tmp", tmp_path / ".IBM.parquet.2.tmp"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    label_panel(TableBuilder(panel, FEATURES, LABELS), tmp_path, symbols=["FB"])
    assert new.exists()
    assert not old.exists()
