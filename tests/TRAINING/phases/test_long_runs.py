"""Features of the user's own and symbols too long to hold: from building to predicting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, IntegrityError
from DATA_PROCESSING.labeled import TableBuilder
from DATA_PROCESSING.quality import describe, examine
from DATA_PROCESSING.sources import read_panel
from TRAINING.cli.terminal import Lines
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.predict import predict_newest
from TRAINING.phases.run import run_plan

OWN = """
from DATA_PROCESSING.features.feature import Feature, lagged

def body(bars):
    return bars.close / bars.open - {shift}

FEATURES = (Feature("my_body", {name}, (), {lookback}, "close / open - 1"),)
"""
PEEK = """
def peek(bars):
    ahead = lagged(bars.close, 1)
    ahead[:-1] = bars.close[1:]
    return ahead / bars.close - 1.0

FEATURES = (Feature("my_peek", peek, (), 0, "next close / close - 1"),)
"""


@pytest.fixture
def bars(make_bars, tmp_path: Path) -> Path:
    folder = tmp_path / "bars"
    folder.mkdir()
    for seed, symbol in enumerate(("AAA", "BBB")):
        make_bars(700, seed).to_parquet(folder / f"{symbol}.parquet", row_group_size=100)
    return folder


def train(bars: Path, folder: Path, **features: str) -> None:
    request = Request(source=str(bars), variant="smoke", models=["lightgbm"], target="fwd_ret_5")
    inputs = open_inputs(str(bars), None, (), features)
    run_plan(make_plan(request, inputs), folder, jobs=1, progress=Lines())


def test_a_run_knows_its_features_file(bars: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN.format(shift="1.0", name="body", lookback=0))
    train(bars, tmp_path / "run", features_from=str(own))
    assert len(predict_newest(tmp_path / "run", str(bars)).rows) == 2
    own.write_text(OWN.format(shift="2.0", name="body", lookback=0))
    with pytest.raises(IntegrityError, match="own.py: has changed since the run was trained"):
        predict_newest(tmp_path / "run", str(bars))


def test_long_symbols_train_and_predict_as_others(bars: Path, tmp_path: Path, monkeypatch) -> None:
    train(bars, tmp_path / "held")
    held = predict_newest(tmp_path / "held", str(bars)).rows
    monkeypatch.setattr("DATA_PROCESSING.sources.LONG_ROWS", 500)
    monkeypatch.setattr("DATA_PROCESSING.sources.source.CHUNK_ROWS", 150)
    assert set(read_panel(bars, load_run_config("bars")).long) == {"AAA", "BBB"}
    train(bars, tmp_path / "long")
    pd.testing.assert_frame_equal(predict_newest(tmp_path / "long", str(bars)).rows, held)
    pd.testing.assert_frame_equal(predict_newest(tmp_path / "held", str(bars)).rows, held)


def test_a_look_ahead_is_refused_on_long_symbols_too(bars: Path, tmp_path: Path, monkeypatch) -> None:
    own = tmp_path / "peek.py"
    own.write_text(OWN.split("def body")[0] + PEEK)
    features = load_run_config("features", {"features_from": str(own)})
    monkeypatch.setattr("DATA_PROCESSING.sources.LONG_ROWS", 500)
    panel = read_panel(bars, load_run_config("bars"))
    assert not panel.bars
    with pytest.raises(ConfigError, match="my_peek"):
        TableBuilder(panel, features, load_run_config("labels"))


def test_long_symbols_are_counted_and_said_to_be_long(bars: Path, monkeypatch) -> None:
    monkeypatch.setattr("DATA_PROCESSING.sources.LONG_ROWS", 500)
    panel = read_panel(bars, load_run_config("bars"))
    found = examine(panel).symbols
    assert found["rows"].tolist() == [700, 700]
    assert [describe(row) for row in found.itertuples()] == [["too long to be examined"]] * 2
    assert panel.bar_length == np.timedelta64(1, "D")


def test_a_long_symbol_that_fills_no_coarser_bar_is_a_problem(bars: Path, monkeypatch) -> None:
    monkeypatch.setattr("DATA_PROCESSING.sources.LONG_ROWS", 500)
    short = pd.read_parquet(bars / "BBB.parquet")
    minutes = pd.date_range("2024-01-02 14:00", periods=700, freq="min", tz="UTC").as_unit("ns")
    short.assign(timestamp=minutes).to_parquet(bars / "BBB.parquet")
    panel = read_panel(bars, load_run_config("bars", {"resample": "1w"}))
    assert panel.symbols == ["AAA"]
    assert "do not fill one bar of 1w" in panel.quality.set_index("symbol").loc["BBB", "problem"]
