"""Tables carry the settings they were made with: runs and predictions from tables use them, and refuse others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.labeled import TableBuilder, label_panel, read_table
from DATA_PROCESSING.sources import read_panel
from TRAINING.phases.inputs import difference, open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.predict import predict_newest

WEEKLY = {"resample": "1w"}


def build(source: Path, folder: Path, bars: dict | None = None, features: dict | None = None, **labels) -> Path:
    panel = read_panel(source, load_run_config("bars", bars))
    builder = TableBuilder(panel, load_run_config("features", features), load_run_config("labels", labels))
    label_panel(builder, folder)
    return folder


@pytest.fixture(scope="module")
def daily(tmp_path_factory, make_bars) -> Path:
    """Bars of three symbols, long enough for weeks to be trained on."""
    folder = tmp_path_factory.mktemp("daily")
    for seed, symbol in enumerate(("AAA", "BBB", "CCC")):
        make_bars(1500, seed).to_csv(folder / f"{symbol}.csv", index=False)
    return folder


@pytest.fixture
def trained(daily, tmp_path, run):
    """A run on weekly tables, and the tables."""
    tables = build(daily, tmp_path / "tables", WEEKLY)
    (tmp_path / "phases.yaml").write_text(yaml.safe_dump({"defaults": {"min_train_rows": 30}}))
    request = Request(source=str(tables), variant="smoke", models=["lightgbm"], target="fwd_ret_5",
                      files=(tmp_path / "phases.yaml",))  # fmt: skip
    plan = make_plan(request, open_inputs(str(tables), files=request.files))
    run(plan, tmp_path / "run")
    return tmp_path / "run", tables


def test_a_run_on_tables_predicts_from_bars_as_its_tables_were_made(daily, trained):
    folder, tables = trained
    from_bars, from_tables = predict_newest(folder, str(daily)), predict_newest(folder, str(tables))
    pd.testing.assert_frame_equal(from_bars.rows, from_tables.rows)
    assert set(from_bars.rows["timestamp"]) == {read_table(tables / "AAA.parquet")["timestamp"].iloc[-1]}
    settings = yaml.safe_load((folder / "config.resolved.yaml").read_text())
    assert settings["bars"]["resample"] == "1w"
    assert settings["features"] == load_run_config("features")


def test_tables_of_other_settings_are_refused_for_prediction(daily, trained, tmp_path):
    folder, _ = trained
    other = build(daily, tmp_path / "daily_tables")
    with pytest.raises(DataError, match="made with other settings .* learnt from .bars.resample: '1w' and ''"):
        predict_newest(folder, str(other))


def test_a_run_on_tables_of_the_users_own_needs_such_tables(daily, tmp_path, run):
    tables = tmp_path / "own"
    tables.mkdir()
    for path in build(daily, tmp_path / "built").iterdir():
        read_table(path).to_parquet(tables / path.name)
    plan = make_plan(Request(source=str(tables), variant="smoke", models=["lightgbm"], target="fwd_ret_5"),
                     open_inputs(str(tables)))  # fmt: skip
    run(plan, tmp_path / "run")
    with pytest.raises(DataError, match="learnt from tables that were not built here.*give such tables"):
        predict_newest(tmp_path / "run", str(daily))
    assert len(predict_newest(tmp_path / "run", str(tables)).rows) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"set": "comprehensive"}}, "features.set: 'simple' and 'comprehensive'"),
        ({"bars": WEEKLY}, "bars.resample: '' and '1w'"),
        ({"bars": {"adjust": "none"}}, "bars.adjust: 'adj_close' and 'none'"),
        ({"barrier": 2.0}, "labels.barrier: 1.0 and 2.0"),
    ],
)
def test_tables_made_in_different_ways_do_not_train_together(daily, tmp_path, change, message):
    build(daily, tmp_path / "one")
    build(daily, tmp_path / "other", **change)
    shutil.copy(tmp_path / "other" / "CCC.parquet", tmp_path / "one" / "CCC.parquet")
    with pytest.raises(ConfigError, match=f"of 'AAA' and 'CCC' were made with other settings .{message}"):
        open_inputs(str(tmp_path / "one"))
    assert list(open_inputs(str(tmp_path / "one"), ["AAA", "BBB"]).symbols) == ["AAA", "BBB"]


def test_what_counts_as_a_difference():
    settings = {topic: load_run_config(topic) for topic in ("bars", "features", "labels")}
    assert difference(settings, settings) == difference({}, {}) == ""
    assert difference(settings, {}) == "one was built here, the other not"
    reading = settings | {"bars": settings["bars"] | {"tz": "America/New_York", "stale_sessions": 9}}
    assert difference(settings, reading) == ""
    own = settings | {"own_features": "1"}
    assert difference(own, own | {"own_features": "2"}) == "the file of features has changed"
