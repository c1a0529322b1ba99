"""Two runs beside each other, and a run repeated from its papers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING import labeled
from TRAINING.evaluation.significance import beats, default_block
from TRAINING.phases.compare import compare_metrics, compare_numbers, compare_papers, compare_sharpes
from TRAINING.phases.finished import FinishedRun, open_run
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.rerun import repeat
from TRAINING.phases.run import run_plan
from TRAINING.phases.walkforward import make_walk_plan, run_walk
from TRAINING.runs.manifest import read_sealed
from TRAINING.runs.store import write_sealed

WINDOWS = {"train_days": 200, "test_days": 100, "step_days": 100, "min_train_samples": 100}


class Quiet:
    """Listens to nothing."""

    def stage(self, what: str, total: int):
        from contextlib import nullcontext

        return nullcontext(lambda text: None)


def small_run(source: Path, folder: Path, **request) -> FinishedRun:
    """A core run of one model on one target."""
    request = {"models": ["lightgbm"], "target": "fwd_ret_5", "variant": "smoke", "symbols": ["AAA"], **request}
    request = Request(source=str(source), **request)
    inputs = open_inputs(request.source, request.symbols, request.files)
    run_plan(make_plan(request, inputs), folder, jobs=1, progress=Quiet())
    return open_run(folder)


def small_walk(source: Path, folder: Path, symbols=("AAA",), variant: str = "smoke", **overrides) -> FinishedRun:
    """A walk-forward of one model on one target."""
    request = Request("walkforward", str(source), variant=variant)
    plan = make_walk_plan(request, open_inputs(request.source, [*symbols]), ["fwd_ret_5"], WINDOWS | overrides)
    run_walk(plan, folder, jobs=1, progress=Quiet())
    return open_run(folder)


@pytest.fixture(scope="module")
def core(bars_folder: Path, tmp_path_factory) -> FinishedRun:
    return small_run(bars_folder, tmp_path_factory.mktemp("core") / "run")


@pytest.fixture(scope="module")
def walk(bars_folder: Path, tmp_path_factory) -> FinishedRun:
    return small_walk(bars_folder, tmp_path_factory.mktemp("walk") / "run")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[FinishedRun], FinishedRun]:
    def copy(run: FinishedRun) -> FinishedRun:
        return open_run(shutil.copytree(run.folder, tmp_path / "copy"))

    return copy


@pytest.fixture
def own_bars(bars_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bars_folder, tmp_path / "bars"))


def again(run: FinishedRun, folder: Path, **named) -> FinishedRun:
    repeat(run, folder, jobs=1, progress=Quiet(), **named)
    return open_run(folder)


def rewrite(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a unit's predictions and seal them again, as another computer would have written them."""
    manifest, files = read_sealed(folder)
    manifest.pop("files")
    path = folder / "predictions.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    write_sealed(folder, manifest, {**files, path.name: path.read_bytes()})


def test_a_run_is_repeated_bit_for_bit(core, tmp_path):
    second = again(core, tmp_path / "again")
    compared = compare_numbers(core, second)
    assert compared.same, compared.differences
    assert compared.units == 2  # the model and the baselines
    rows = len(pd.read_parquet(core.units["lightgbm", "fwd_ret_5", "AAA"] / "predictions.parquet"))
    assert compared.values > 5 * 7 * rows  # 5 names, 7 columns each
    assert compare_papers(core, second).empty


def test_a_walk_is_repeated_bit_for_bit(walk, tmp_path):
    second = again(walk, tmp_path / "again")
    assert compare_numbers(walk, second).same
    assert compare_papers(walk, second).empty
    assert list(second.units) == [("lightgbm", "fwd_ret_5", "pooled")]


def test_the_papers_hold_overrides_files_and_seed(bars_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_VARIANT", "conservative")
    own = {"lightgbm": {"defaults": {"reg_lambda": 7.5}}, "backtest": {"defaults": {"cost_bps": 11.0}},
           "labels": {"defaults": {"horizon": 3}}}  # fmt: skip
    for name, sections in own.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(sections))
    files = tuple(tmp_path / f"{name}.yaml" for name in own)
    first = small_run(bars_folder, tmp_path / "run", files=files, seed=5, target="fwd_ret_3")
    for path in files:
        path.unlink()
    monkeypatch.setenv("MODEL_VARIANT", "aggressive")
    second = again(first, tmp_path / "again")
    assert second.manifest["config"] == first.manifest["config"]
    assert second.manifest["config"]["models"]["lightgbm"]["seed"] == 5
    assert compare_numbers(first, second).same


def test_a_run_of_several_targets_in_a_source_with_a_new_symbol(own_bars, tmp_path):
    for symbol in ("BBB", "CCC"):
        (own_bars / f"{symbol}.csv").unlink()
    first = small_run(own_bars, tmp_path / "run", target=None, symbols=None)
    shutil.copy(own_bars / "AAA.csv", own_bars / "DDD.csv")  # a new symbol is no part of the run
    second = again(first, tmp_path / "again")
    assert len(first.units) == 2 * 2
    assert compare_numbers(first, second).same
    assert compare_papers(first, second).empty


def test_paths_are_those_of_the_folder_of_then(own_bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = small_run(Path("bars"), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert compare_numbers(first, again(first, Path("again"))).same
    assert Path.cwd() == tmp_path / "elsewhere"
    assert Path("again", "leaderboard.csv").exists()


def test_data_that_moved(own_bars, tmp_path):
    first = small_run(own_bars, tmp_path / "run")
    own_bars.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"its source .*bars is not in .* any more; say with --source"):
        again(first, tmp_path / "again")
    second = again(first, tmp_path / "again", source=str(tmp_path / "moved"))
    assert compare_numbers(first, second).same
    assert compare_papers(first, second)["what"].tolist() == ["source"]


def test_a_symbol_that_is_gone(own_bars, tmp_path):
    first = small_run(own_bars, tmp_path / "run")
    (own_bars / "AAA.csv").unlink()
    with pytest.raises(DataError, match="without 'AAA'"):
        again(first, tmp_path / "again")


def test_new_bars_are_named_and_the_common_rows_compared(own_bars, tmp_path):
    text = (own_bars / "AAA.csv").read_text().splitlines()
    (own_bars / "AAA.csv").write_text("\n".join(text[:-50]) + "\n")
    first = small_walk(own_bars, tmp_path / "run")
    (own_bars / "AAA.csv").write_text("\n".join(text) + "\n")
    second = again(first, tmp_path / "again")
    compared, changes = compare_numbers(first, second), compare_papers(first, second)
    assert changes.values.tolist() == [
        ["data", "AAA", "bars", "450 from 2015-01-01 to 2016-09-21", "500 from 2015-01-01 to 2016-11-30"]
    ]
    predictions = compared.differences[compared.differences["table"] == "predictions"].set_index("column")
    assert "only in the second run" in predictions.loc["(rows)", "first"]
    assert "prediction" not in predictions.index  # what was tested then has the same predictions


def test_other_values_of_the_same_days_are_told(own_bars, tmp_path):
    first = small_run(own_bars, tmp_path / "run")
    bars = pd.read_csv(own_bars / "AAA.csv", float_precision="round_trip")
    bars.loc[100, "volume"] += 1
    bars.to_csv(own_bars / "AAA.csv", index=False)
    changes = compare_papers(first, again(first, tmp_path / "again"))
    assert changes[["kind", "where", "what"]].values.tolist() == [["data", "AAA", "fingerprint"]]


def test_a_labeled_table_that_was_edited(bars_folder, tmp_path):
    tables = tmp_path / "tables"
    inputs = open_inputs(str(bars_folder), ["AAA", "BBB"])
    labeled.label_panel(inputs.builder, tables)
    first = small_run(tables, tmp_path / "run")
    assert compare_numbers(first, again(first, tmp_path / "again")).same
    path = labeled.table_path(tables, "AAA")
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    with pytest.raises(IntegrityError, match=r"AAA\.parquet: edited or damaged"):
        again(first, tmp_path / "third")


def test_tables_of_other_settings_beside_those_of_the_run(bars_folder, tmp_path):
    for symbol, horizon in (("AAA", 5), ("BBB", 10)):
        (tmp_path / "labels.yaml").write_text(f"defaults: {{horizon: {horizon}}}\n")
        inputs = open_inputs(str(bars_folder), [symbol], [tmp_path / "labels.yaml"])
        labeled.label_panel(inputs.builder, tmp_path / "tables")
    first = small_run(tmp_path / "tables", tmp_path / "run")
    assert compare_numbers(first, again(first, tmp_path / "again")).same
    labeled.table_path(tmp_path / "tables", "AAA").unlink()
    with pytest.raises(DataError, match="without 'AAA'"):
        again(first, tmp_path / "third")


def test_what_is_no_finished_run(core, copied, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        open_run(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no run folder, it has no manifest\.json"):
        open_run(tmp_path)
    with pytest.raises(ConfigError, match="holds something already"):
        again(core, core.folder)
    run = copied(core)
    (run.folder / "leaderboard.csv").unlink()
    with pytest.raises(IntegrityError, match="half finished"):
        open_run(run.folder)
    manifest = run.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("AAA", "BBB"))
    with pytest.raises(IntegrityError, match="edited after it was written"):
        open_run(run.folder)
    with pytest.raises(IntegrityError, match="does not say 'phase'"):
        open_run(core.units["lightgbm", "fwd_ret_5", "AAA"])


def test_one_bit_is_found(core, copied):
    run = copied(core)

    def nudge(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[[7, 9], "prediction"] = np.nextafter(rows.loc[[7, 9], "prediction"], np.inf)
        return rows

    rewrite(run.units["lightgbm", "fwd_ret_5", "AAA"], nudge)
    (row,) = compare_numbers(core, run).differences.to_dict("records")
    session = core.frames(("lightgbm", "fwd_ret_5", "AAA"))["predictions"].index[7][1]
    assert (row["unit"], row["table"], row["column"]) == ("lightgbm fwd_ret_5 AAA", "predictions", "prediction")
    assert (row["differing"], row["first"]) == (2, f"lightgbm {session:%Y-%m-%d}")
    assert 0 < row["largest"] < 1e-15


@pytest.mark.parametrize(
    ("theirs", "differing", "largest"),
    [(0.0, 0, None), (-0.0, 1, 0.0), (np.nan, 1, np.nan), (0.25, 1, 0.25)],
)
def test_values_are_compared_by_their_bits(core, copied, theirs, differing, largest):
    run, unit = copied(core), ("lightgbm", "fwd_ret_5", "AAA")
    # The first position of a run is 0: there is no signal before it.
    assert core.frames(unit)["predictions"]["position"].iloc[0] == 0

    rewrite(run.units[unit], lambda rows: rows.assign(position=[theirs, *rows["position"][1:]]))
    found = compare_numbers(core, run).differences
    assert found["differing"].sum() == differing
    if differing:
        assert found["largest"].iloc[0] == pytest.approx(largest, nan_ok=True)


def test_rows_and_units_that_one_run_has(core, copied):
    run = copied(core)
    rewrite(run.units["lightgbm", "fwd_ret_5", "AAA"], lambda rows: rows.iloc[3:])
    shutil.rmtree(run.units["baselines", "fwd_ret_5", "AAA"])
    found = compare_numbers(core, open_run(run.folder)).differences
    assert found["column"].tolist() == ["", "(rows)"]
    assert found["differing"].tolist() == [1, 3]
    assert found["first"].str.startswith("only in the first run").all()


def test_another_version_is_told(core):
    environment = json.loads(json.dumps(core.manifest["environment"]))
    environment["packages"]["lightgbm"] = "0.0.1"
    other = replace(core, manifest=core.manifest | {"environment": environment})
    (row,) = compare_papers(other, core).to_dict("records")
    assert (row["kind"], row["what"], row["a"]) == ("code", "lightgbm", "0.0.1")
    assert row["b"] == core.manifest["environment"]["packages"]["lightgbm"]


def test_what_differs_between_two_runs(core, bars_folder, tmp_path):
    other = small_run(bars_folder, tmp_path / "run", symbols=["AAA", "BBB"], seed=1, variant="conservative")
    changes = compare_papers(core, other).set_index(["kind", "where", "what"])
    assert changes.loc[("seed", "lightgbm", "seed")].tolist() == [0, 1]
    assert changes.loc[("config", "lightgbm", "n_estimators")].tolist() == [20, 800]
    assert changes.loc[("data", "BBB", "bars"), "a"] is None
    assert set(changes.index.get_level_values("kind")) == {"seed", "config", "data"}
    metrics = compare_metrics(core, other)
    sharpe = metrics[(metrics["model"] == "lightgbm") & (metrics["metric"] == "sharpe")].iloc[0]
    boards = [run.leaderboard.set_index("model")["sharpe"]["lightgbm"] for run in (core, other)]
    assert sharpe[["a", "b", "difference"]].tolist() == [*boards, boards[1] - boards[0]]
    assert {"rank_ic", "rmse"} <= set(metrics["metric"])
    assert metrics["kind"].drop_duplicates().tolist() == ["model", "baseline"]


def test_the_sharpe_difference_is_paired_on_common_sessions_and_symbols(walk, bars_folder, tmp_path):
    other = small_walk(bars_folder, tmp_path / "run", ["AAA", "BBB"], "conservative", test_days=120, step_days=120)
    (row,) = compare_sharpes(walk, other).to_dict("records")
    net = {}
    for name, run in (("a", walk), ("b", other)):
        rows = run.frames(("lightgbm", "fwd_ret_5", "pooled"))["predictions"].loc["lightgbm"]
        net[name] = rows.loc["AAA"].set_index("session")["net_return"]
    both = pd.DataFrame(net).dropna()
    years = (both.index[-1] - both.index[0]).days / 365.25
    expected = beats(both["b"], both["a"], "sharpe", block=default_block(len(both), 5))
    assert (row["symbols"], row["sessions"]) == (1, len(both))
    for name, value in (("difference", expected.point), ("low", expected.low), ("high", expected.high)):
        assert row[name] == pytest.approx(value * (len(both) / years) ** 0.5, rel=0.01)
    assert row["low"] < row["difference"] < row["high"]
    own = compare_sharpes(walk, walk).iloc[0]
    assert (own["difference"], own["low"], own["high"]) == (0, 0, 0)


def test_the_sharpe_difference_leaves_out_a_symbols_sessions_that_one_run_did_not_test(
    walk, copied, bars_folder, tmp_path
):
    two = small_walk(bars_folder, tmp_path / "run", ["AAA", "BBB"])
    other, unit = copied(two), ("lightgbm", "fwd_ret_5", "pooled")

    def without(rows: pd.DataFrame) -> pd.DataFrame:
        begin = rows["session"].unique()[50]  # BBB is tested later
        return rows[(rows["symbol"] != "BBB") | (rows["session"] >= begin)]

    rewrite(other.units[unit], without)
    (row,) = compare_sharpes(two, other).to_dict("records")
    assert (row["symbols"], row["difference"], row["low"], row["high"]) == (2, 0, 0, 0)


def test_a_scope_beside_both(walk, bars_folder, tmp_path):
    both = small_walk(bars_folder, tmp_path / "run", scope="both")
    for metrics in (compare_metrics(walk, both), compare_metrics(both, walk).rename(columns={"a": "b", "b": "a"})):
        common = metrics.dropna(subset=["a", "b"])
        assert {"lightgbm (pooled)", "ridge (pooled)", "buy_and_hold"} <= set(common["model"])
        assert (common["a"] == common["b"])[common["metric"].isin(["sharpe", "rank_ic", "rmse"])].all()


def test_runs_of_two_phases_are_not_compared(core, walk):
    for compare in (compare_numbers, compare_metrics, compare_sharpes):
        with pytest.raises(ConfigError, match="of the phase core and .* of walkforward"):
            compare(core, walk)
