"""A model of several targets in a phase: one net per symbol, a unit per target."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.artifacts import load_artifact
from TRAINING.evaluation.splits import Windows
from TRAINING.model_fun import MultiTaskTrainer
from TRAINING.phases.plan import Plan
from TRAINING.phases.windows import UnitData, join_targets, make_windows

TARGETS = ["y_will_peak", "TTH", "fwd_ret_20"]


@pytest.fixture
def plan_of(plan_for, tmp_path: Path):
    (tmp_path / "labels.yaml").write_text("defaults:\n  horizons: [20]\n")
    (tmp_path / "split.yaml").write_text("defaults:\n  weights: uniqueness\n")

    def make(targets: list[str] = TARGETS, **request) -> Plan:
        (tmp_path / "phases.yaml").write_text(f"defaults:\n  core_targets: {targets}\n")
        files = tuple(tmp_path / f"{topic}.yaml" for topic in ("labels", "split", "phases"))
        return plan_for(models=["multi_task"], files=files, **request)

    return make


def joined(plan: Plan, symbol: str) -> tuple[Dataset, Dataset, dict]:
    units = [unit for unit in plan.units if unit.model == "multi_task" and unit.symbol == symbol]
    windows = {unit.target: make_windows(unit, plan, plan.inputs.table(symbol, None)) for unit in units}
    return *join_targets(list(windows.values())), windows


def test_rows_are_joined_as_a_slow_loop_does(plan_of) -> None:
    train, validation, windows = joined(plan_of(), "AAA")
    for joint, part in ((train, "train"), (validation, "validation")):
        expected = {}
        for target, window in windows.items():
            of_target = getattr(window, part)
            for i, stamp in enumerate(of_target.X.index):
                row = expected.setdefault(stamp, {"y": {}, "end": [], "session": [], "weight": []})
                row["y"][target] = of_target.y.iloc[i]
                row["end"].append(of_target.rows.label_end[i])
                row["session"].append(of_target.label_sessions[i])
                if part == "train":
                    row["weight"].append(of_target.rows.sample_weight[i])
        assert list(joint.X.index) == sorted(expected)
        for i, stamp in enumerate(joint.X.index):
            row = expected[stamp]
            for target in TARGETS:
                assert joint.y[target].iloc[i] == row["y"].get(target, np.nan) or target not in row["y"]
                assert np.isnan(joint.y[target].iloc[i]) == (target not in row["y"])
            assert joint.rows.label_end[i] == max(row["end"])
            assert joint.label_sessions[i] == max(row["session"])
            if part == "train":
                assert joint.rows.sample_weight[i] == pytest.approx(np.mean(row["weight"]))
        assert joint.y.notna().sum().nunique() == 3, "TTH is censored, fwd_ret_20 is purged earlier"
        pd.testing.assert_frame_equal(joint.X, windows["TTH"].data.X.loc[joint.X.index])


def test_a_symbols_targets_share_a_net(plan_of, run, tmp_path: Path) -> None:
    plan = plan_of(symbols=["AAA", "BBB"])
    company = [[unit.target for unit in batch] for batch in plan.batches() if batch[0].model == "multi_task"]
    assert company == [TARGETS * 2]
    outcome, _ = run(plan, tmp_path / "run")
    assert outcome.exit_code == 0
    train, validation, windows = joined(plan, "AAA")
    net = MultiTaskTrainer(plan.models["multi_task"]).train(
        train.X, train.y, validation.X, validation.y, rows=train.rows
    )
    for target in TARGETS:
        folder = tmp_path / "run" / "units" / "multi_task" / target / "AAA"
        rows, loaded = pd.read_parquet(folder / "predictions.parquet"), load_artifact(folder)
        test = windows[target].test
        assert (loaded.target, loaded.task) == (target, "binary" if target == "y_will_peak" else "regression")
        np.testing.assert_allclose(loaded.predict_score(test.X), rows["prediction"], rtol=0, atol=0)
        own = net.predict_score(test.X)[:, TARGETS.index(target)]
        np.testing.assert_allclose(rows["prediction"], own, atol=1e-4)  # two nets train in one program
        assert rows["prediction"].nunique() > 20
        importance = loaded.get_feature_importance(target)
        pd.testing.assert_series_equal(
            importance, net.get_feature_importance(target).loc[importance.index], atol=0.02, check_names=False
        )


def test_a_lost_unit_comes_out_the_same_again(plan_of, run, tmp_path: Path, results_of) -> None:
    plan = plan_of()
    run(plan, tmp_path / "run")
    before = results_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "units" / "multi_task" / "TTH" / "BBB")
    run(plan, tmp_path / "run")
    assert results_of(tmp_path / "run") == before


def test_the_company_of_a_target_is_part_of_its_identity(plan_of) -> None:
    alone, two, other = (
        next(unit.identity for unit in plan_of(targets).units if (unit.model, unit.target) == ("multi_task", "TTH"))
        for targets in (["TTH"], ["TTH", "MDD"], ["TTH", "MFE"])
    )
    assert len({alone, two, other}) == 3
    (batch,) = (batch for batch in plan_of(["TTH"]).batches() if batch[0].model == "multi_task")
    assert {unit.target for unit in batch} == {"TTH"}


def test_a_net_answers_for_the_targets_that_it_learnt_only() -> None:
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(60, 3)).astype(np.float32), columns=list("abc"))
    y = pd.DataFrame({"MDD": X["a"], "MFE": X["b"]}).astype(float)
    net = MultiTaskTrainer().train(X, y, rows=RowInfo(np.full(60, np.datetime64("2030-01-01", "ns"))))
    one = net.of_target("MFE")
    np.testing.assert_array_equal(one.predict_score(X), net.predict_score(X)[:, 1])
    assert net.target == ["MDD", "MFE"]
    with pytest.raises(ConfigError, match="did you mean 'MFE'"):
        net.of_target("MFEE")


def test_labels_before_1970_keep_their_times() -> None:
    days = pd.bdate_range("1960-01-04", periods=30).as_unit("ns").to_numpy()
    index = pd.MultiIndex.from_product([["A"], pd.DatetimeIndex(days, tz="UTC")], names=["symbol", "timestamp"])
    X = pd.DataFrame({"a": np.arange(30.0)}, index)

    def window(ahead: int) -> UnitData:
        rows, ends = np.arange(30 - ahead), days[ahead:]
        info = RowInfo(ends, None, days[rows].astype("datetime64[D]"), ends.astype("datetime64[D]"))
        part = Dataset(X.iloc[rows], pd.Series(1.0, X.index[rows], name=f"fwd_ret_{ahead}"), info)
        places = Windows(rows, rows, rows)
        return UnitData(part, part, part, rows, ahead, Dataset(X, X["a"], RowInfo(days)), places)

    train, _ = join_targets([window(2), window(5)])
    np.testing.assert_array_equal(train.rows.label_end, np.r_[days[5:], days[27:]][:28])
    np.testing.assert_array_equal(train.label_sessions, train.rows.label_end.astype("datetime64[D]"))
