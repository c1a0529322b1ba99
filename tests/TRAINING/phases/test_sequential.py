from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError
from TRAINING.artifacts import load_artifact
from TRAINING.model_fun.context import with_context
from TRAINING.phases.plan import Request, resolve_models
from TRAINING.phases.predict import predict_newest
from TRAINING.phases.windows import make_windows
from TRAINING.walkforward import WalkForwardEngine

TARGET = "fwd_ret_5"


@pytest.fixture(scope="module")
def sequential_run(bars_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """The phase's plan and what it left behind, of two symbols."""
    from TRAINING.cli.terminal import Lines
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import make_plan
    from TRAINING.phases.run import run_plan

    folder = tmp_path_factory.mktemp("sequential") / "run"
    request = Request("sequential", str(bars_folder), ["lstm", "transformer", "cnn1d"], ["AAA", "BBB"], TARGET, "smoke")
    plan = make_plan(request, open_inputs(request.source, request.symbols))
    return plan, run_plan(plan, folder, jobs=2, progress=Lines())


def test_the_phase_trains_the_sequence_models(sequential_run) -> None:
    plan, outcome = sequential_run
    assert plan.run_id.startswith("sequential-")
    assert outcome.exit_code == 0
    board = outcome.results.leaderboard
    assert {"lstm", "transformer", "cnn1d", "ridge", "buy_and_hold"} <= set(board["model"])
    assert board["loss"].notna().sum() >= 5 if "loss" in board else True


def test_test_rows_are_predicted_with_the_rows_before_the_window(sequential_run) -> None:
    """As from the whole table, and not as from the test window alone."""
    plan, outcome = sequential_run
    unit = next(unit for unit in plan.units if unit.model == "lstm" and unit.symbol == "AAA")
    folder = outcome.folder / "units/lstm" / TARGET / "AAA"
    stored = pd.read_parquet(folder / "predictions.parquet")["prediction"].to_numpy()
    windows, trainer = make_windows(unit, plan, plan.inputs.table("AAA", None)), load_artifact(folder)
    whole = trainer.predict_score(windows.data.X)[windows.places.test]
    np.testing.assert_allclose(stored, whole, rtol=1e-5)
    alone = trainer.predict_score(windows.test.X)
    window = trainer.context_rows + 1
    np.testing.assert_allclose(stored[window:], alone[window:], rtol=1e-5)
    assert not np.allclose(stored[: window - 1], alone[: window - 1], rtol=1e-5)


def test_context_of_a_window_has_no_label_and_is_what_comes_before(sequential_run) -> None:
    plan, _ = sequential_run
    unit = next(unit for unit in plan.units if unit.model == "lstm")
    windows = make_windows(unit, plan, plan.inputs.table(unit.symbol, None))
    train, validation = windows.to_train(4)
    first = windows.places.validation[0]
    assert validation.y.isna().tolist()[:4] == [True] * 4
    assert validation.X.equals(windows.data.X.iloc[first - 4 : windows.places.validation[-1] + 1])
    assert validation.y[4:].equals(windows.validation.y)
    assert train.y.dropna().equals(windows.train.y)
    assert windows.to_train(0) == (windows.train, windows.validation)


def test_later_bars_change_no_model(sequential_run) -> None:
    """Training rows and their context end before the test window; what is in it may be anything."""
    plan, _ = sequential_run
    unit = next(unit for unit in plan.units if unit.model == "lstm")
    windows = make_windows(unit, plan, plan.inputs.table(unit.symbol, None))
    for part in windows.to_train(19):
        assert part.X.index[-1] < windows.test.X.index[0]
        assert part.rows.label_end[part.y.notna()].max() < windows.test.X.index[0][1].to_datetime64()


def test_predict_says_what_the_run_said(sequential_run, bars_folder: Path) -> None:
    _, outcome = sequential_run
    rows = predict_newest(outcome.folder, str(bars_folder)).rows.set_index(["model", "symbol"])["prediction"]
    assert len(rows) == 6
    for (model, symbol), prediction in rows.items():
        stored = pd.read_parquet(outcome.folder / "units" / model / TARGET / symbol / "predictions.parquet")
        assert prediction == pytest.approx(stored["prediction"].iloc[-1], rel=1e-5)


def test_predict_names_a_symbol_shorter_than_the_window(sequential_run, tmp_path: Path, make_bars) -> None:
    _, outcome = sequential_run
    for seed, (symbol, rows) in enumerate({"AAA": 400, "BBB": 4}.items()):
        make_bars(rows, seed).to_csv(tmp_path / f"{symbol}.csv", index=False)
    newest = predict_newest(outcome.folder, str(tmp_path))
    assert set(newest.rows["symbol"]) == {"AAA"}
    reasons = newest.problems.set_index(["symbol", "model"])["reason"]
    assert "has 4 bars of it, lstm looks at 5" in reasons["BBB", "lstm"]


def test_a_symbol_shorter_than_the_window_is_skipped(plan_for, tmp_path: Path) -> None:
    (tmp_path / "lstm.yaml").write_text("variants:\n  long:\n    window: 400\n")
    plan = plan_for(
        phase="sequential", models=["lstm", "mlp"], target=TARGET, variant=None, files=(tmp_path / "lstm.yaml",)
    )
    assert not any(unit.skip for unit in plan.units)
    plan = plan_for(phase="sequential", models=["lstm"], target=TARGET, variant="long", files=(tmp_path / "lstm.yaml",))
    skipped = {unit.model: unit.skip for unit in plan.units if unit.symbol == "AAA"}
    assert skipped["baselines"] == ""
    assert "too short" in skipped["lstm"]
    assert "lstm looks at 400 rows at once" in skipped["lstm"]


def test_a_model_that_is_not_there_is_one_line_with_those_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no model 'catboost'.*\(there are: change_point, cnn1d, .*lstm, .*transformer, .*xgboost\)"
    ):
        resolve_models(Request("sequential", models=["lstm", "transformer", "catboost"]))


def walked(table: pd.DataFrame, **engine) -> pd.DataFrame:
    from CONFIG.config_loader import load_model_config

    settings = {"train_days": 100, "test_days": 25, "step_days": 25, "min_train_samples": 50, **engine}
    config = load_model_config("lstm", variant="smoke", overrides={"epochs": 2})
    results = WalkForwardEngine(table, **settings).run("lstm", config, target=TARGET)
    rows = results.predictions
    return rows[(rows["model"] == "lstm") & rows["prediction"].notna()].set_index(["symbol", "timestamp"])


@pytest.fixture(scope="module")
def panel_table(bars_folder: Path) -> pd.DataFrame:
    from TRAINING.phases.inputs import open_inputs

    inputs = open_inputs(str(bars_folder), ["AAA", "BBB"])
    tables = [inputs.table(symbol, None).assign(symbol=symbol).iloc[:260] for symbol in ("AAA", "BBB")]
    return pd.concat(tables)


@pytest.mark.parametrize("scope", ["pooled", "symbol"])
def test_a_walk_forward_gives_each_test_row_its_context(panel_table: pd.DataFrame, scope: str, monkeypatch) -> None:
    from TRAINING.model_fun.nets.sequence import LSTMTrainer

    read = []
    predict_score = LSTMTrainer.predict_score
    monkeypatch.setattr(LSTMTrainer, "predict_score", lambda self, X: (read.append(X.index), predict_score(self, X))[1])
    rows = walked(panel_table, scope=scope)
    assert len(read)
    symbols = 2 if scope == "pooled" else 1
    test_rows = {len(index) - 4 * symbols for index in read}
    assert max(test_rows) == 25 * symbols
    assert rows["prediction"].notna().all()


def test_a_walk_forward_knows_nothing_of_later_bars(panel_table: pd.DataFrame) -> None:
    """Bars behind a fold's test window do not change what is said in it."""
    cut = sorted(panel_table["timestamp"].unique())[-25]
    later = (panel_table["timestamp"] >= cut).to_numpy()
    noise = panel_table.copy()
    features = [name for name in noise if name not in ("symbol", "timestamp", "close", "label_end", "session")]
    features = [name for name in features if noise[name].dtype == np.float32]
    noise.loc[later, features] = np.float32(7.0)
    before, after = (walked(table)["prediction"] for table in (panel_table, noise))
    early = before.index.get_level_values("timestamp") < cut
    assert early.sum() > 50
    # Labels that reach behind the cut are the label table's to purge, not noise here.
    pd.testing.assert_series_equal(before[early], after[early])
    assert not before[~early].equals(after[~early])


def test_context_reaches_back_to_the_training_window_and_no_further() -> None:
    from DATA_PROCESSING.dataset import Dataset, RowInfo

    X = pd.DataFrame({"a": np.arange(20.0)})
    data = Dataset(X, pd.Series(np.arange(20.0), name="y"), RowInfo(np.full(20, np.datetime64("NaT", "ns"))))
    rows = np.arange(10, 15)
    assert with_context(data.take(rows), data, rows, 6, first=8).X["a"].tolist() == [*range(8, 15)]
