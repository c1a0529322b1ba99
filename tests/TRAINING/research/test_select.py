"""Selection: planted features come out, noise does not, and nothing of the test window is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config, load_run_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.feature_list import read_feature_list, write_feature_list
from TRAINING.phases.inputs import Inputs, open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.research.clusters import cluster_features, permutation_losses
from TRAINING.research.select import METHODS, select_features, stability_of
from TRAINING.research.select import _fewest as fewest

PLANTED = {"strong", "second"}


def planted_tables(folder: Path, spoilt: bool = False) -> Path:
    """Two symbols whose label follows ``strong`` and ``second``; ``twin`` says nearly what ``strong`` says."""
    for seed, symbol in enumerate(("AAA", "BBB")):
        random = np.random.default_rng(seed)
        rows = 700
        times = pd.bdate_range("2015-01-01", periods=rows, tz="UTC").as_unit("ns")
        table = pd.DataFrame({f"noise_{number}": random.normal(size=rows) for number in range(6)})
        table.insert(2, "strong", random.normal(size=rows))
        table.insert(4, "second", random.normal(size=rows))
        table["twin"] = table["strong"] + 0.05 * random.normal(size=rows)
        value = table["strong"] + 0.7 * table["second"] + 0.5 * random.normal(size=rows)
        table["y_planted"] = (value > 0).astype(float)
        if spoilt:  # the last fifth of the sessions
            table.iloc[560:, : len(table.columns) - 1] = 1e6
            table.loc[560:, "y_planted"] = 0.0
        table["timestamp"], table["close"] = times, 100.0
        table["label_end"] = pd.Series(times).shift(-5)
        table.loc[table["label_end"].isna(), "y_planted"] = np.nan
        folder.mkdir(exist_ok=True)
        table.to_parquet(folder / f"{symbol}.parquet")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return open_inputs(str(planted_tables(tmp_path_factory.mktemp("select") / "tables")))


def select(inputs: Inputs, method: str, **named):
    config = load_model_config("lightgbm", "smoke") | {"n_estimators": 40, "learning_rate": 0.1}
    split = load_run_config("split")
    return select_features(inputs, "lightgbm", config, "y_planted", method, split=split, folds=3, **named)


@pytest.mark.parametrize("method", METHODS)
def test_planted_features_come_out_and_noise_does_not(inputs, method):
    steps = []
    found = select(inputs, method, count=2, on_step=steps.append)
    assert len(steps) == len(found.folds) == 3
    assert {name.replace("twin", "strong") for name in found.features} == PLANTED
    rows = found.table.set_index("feature")
    assert rows.index[:2].tolist() == found.features == rows.index[rows["chosen"]].tolist()
    noise = rows[rows.index.str.startswith("noise")]
    assert noise["score"].max() < rows.loc["second", "score"] / 2 or method == "rfecv"
    assert noise["share"].max() == 0
    later = found.folds.iloc[1:]
    assert (later["loss_chosen"] < later["loss_base"] - 0.2).all()
    assert found.stability > 0.5


def test_a_twin_shares_the_group_of_its_feature(inputs):
    found = select(inputs, "permutation")
    group = found.table.set_index("feature")["cluster"]
    assert group["twin"] == group["strong"]
    assert group.drop("twin").is_unique
    score = found.table.set_index("feature")["score"]
    assert score["twin"] == pytest.approx(score["strong"], rel=1e-6)
    # The first of every group comes before the second of any.
    assert {name.replace("twin", "strong") for name in found.features[:2]} == PLANTED


def test_groups_are_those_of_the_training_rows(inputs, monkeypatch):
    from TRAINING.research.clusters import cluster_features

    seen = []
    monkeypatch.setattr("TRAINING.research.select.cluster_features", lambda X: seen.append(X) or cluster_features(X))
    folds = select(inputs, "permutation").folds
    assert [len(X) for X in seen[:-1]] == folds["train_rows"].tolist()
    assert all(
        str(X.index.get_level_values("timestamp").max().date()) <= end
        for X, end in zip(seen, folds["train_end"], strict=False)
    )


def test_elimination_finds_how_many_serve(inputs):
    found = select(inputs, "rfecv")
    assert 2 <= len(found.features) < 9
    assert {name.replace("twin", "strong") for name in found.features[:3]} == PLANTED
    sizes = found.sizes.set_index("features")["loss"]
    assert sizes.index.tolist() == [9, 7, 5, 4, 3, 2, 1]
    assert sizes[len(found.features)] < sizes.min() + 0.01
    assert sizes[1] > sizes.min() + 0.1
    assert found.folds["chosen"].tolist() == [len(found.features)] * 3


def test_the_fewest_within_one_standard_error():
    # Against 8, the best: 4 loses 0.02 +- 0.0115 (standard error), 2 loses 0.01 +- 0.0252, 1 loses 0.4 and more.
    losses = pd.DataFrame({8: [0.1, 0.5, 0.9], 4: [0.12, 0.54, 0.9], 2: [0.1, 0.47, 0.96], 1: [0.5, 0.8, 1.4]})
    assert fewest(losses) == 2
    assert fewest(losses[[8, 4, 1]]) == 8


@pytest.mark.parametrize("method", METHODS)
def test_the_test_window_is_not_read(inputs, tmp_path, method):
    spoilt = open_inputs(str(planted_tables(tmp_path / "tables", spoilt=True)))
    one, other = select(inputs, method), select(spoilt, method)
    assert one.features == other.features
    pd.testing.assert_frame_equal(one.table, other.table)
    pd.testing.assert_frame_equal(one.folds, other.folds)
    assert one.development[1] == str(inputs.sessions[559])


def test_folds_are_purged(inputs):
    folds = select(inputs, "importance").folds
    before = np.searchsorted(inputs.sessions, folds["test_start"].to_numpy("datetime64[D]"))
    assert folds["train_rows"].tolist() == [2 * (count - 5) for count in before]
    assert folds["test_rows"].iloc[-1] == folds["test_rows"].iloc[0] - 2 * 5  # labels that end in the test window


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([[1, 1, 0, 0], [1, 1, 0, 0]], 1.0),
        ([[1, 0], [0, 1]], -1.0),
        # 3 choices of 4 features, shares 1, 2/3, 1/3, 0: variances 0, 1/3, 1/3, 0 of mean 1/6, over 1/2 * 1/2.
        ([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], 1 - (1 / 6) / (1 / 4)),
        ([[1, 1], [1, 1]], np.nan),
        ([[1, 0]], np.nan),
    ],
)
def test_stability_of_hand_made_choices(chosen, expected):
    assert stability_of(np.array(chosen, bool)) == pytest.approx(expected, nan_ok=True)


def test_random_choices_are_not_stable():
    random = np.random.default_rng(0)
    chosen = np.array([random.permutation(200) < 30 for _ in range(50)])
    assert abs(stability_of(chosen)) < 0.02


def test_groups_join_what_ranks_alike():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 300))
    X = pd.DataFrame({"a": a, "b": b, "a_bent": np.exp(a), "b_down": -b, "flat": 1.0, "a_holes": a})
    X.loc[:20, "a_holes"] = np.nan
    assert cluster_features(X).tolist() == [1, 2, 1, 2, 3, 1]
    assert cluster_features(X[["a"]]).tolist() == [1]


def test_a_group_is_permuted_together_and_on_the_rows_alone():
    X = pd.DataFrame({"a": np.arange(50.0), "b": 2 * np.arange(50.0), "c": np.arange(50.0)})
    rows, seen = np.arange(20, 50), []

    def loss(table: pd.DataFrame) -> float:
        seen.append(table.copy())
        return float(((table["a"] - X["a"])[rows] ** 2).mean())

    added = permutation_losses(loss, X, rows, pd.Series([1, 1, 2], X.columns))
    assert added[1] > 10
    assert added[2] == 0
    for table in seen:
        np.testing.assert_array_equal(table["b"], 2 * table["a"])
        pd.testing.assert_frame_equal(table[:20], X[:20])
    assert sum((table["c"] != X["c"]).any() for table in seen) == sum((table["a"] != X["a"]).any() for table in seen)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"method": "rfe"}, "--method: 'rfe' is unknown; did you mean 'rfecv'"),
        ({"method": "importance", "count": 10}, "--count: 10 of 9 features"),
        ({"method": "importance", "count": 0}, "a count of 0"),
    ],
)
def test_what_cannot_be_done_is_told(inputs, named, told):
    with pytest.raises(ConfigError, match=told):
        select(inputs, **named)


@pytest.mark.parametrize("method", METHODS)
def test_features_that_say_nothing_are_not_chosen(tmp_path, method):
    folder = planted_tables(tmp_path / "tables")
    for path in folder.iterdir():
        table = pd.read_parquet(path).drop(columns=["noise_2", "noise_3", "noise_4", "noise_5", "second", "twin"])
        table[["noise_0", "noise_1"]], table["strong"] = (1.0, -3.0), np.nan
        table.to_parquet(path)
    found = select(open_inputs(str(folder)), method)
    assert found.features == []
    later = found.folds.iloc[1:]
    assert later["loss_chosen"].tolist() == later["loss_base"].tolist(), "without a feature the mean is all there is"


@pytest.mark.parametrize("method", METHODS)
def test_one_feature_is_the_choice(tmp_path, method):
    folder = planted_tables(tmp_path / "tables")
    for path in folder.iterdir():
        table = pd.read_parquet(path)
        table.drop(
            columns=[name for name in table if name.startswith("noise") or name in ("second", "twin")]
        ).to_parquet(path)
    found = select(open_inputs(str(folder)), method)
    assert found.features == ["strong"]
    assert np.isnan(found.stability)  # it could not have been another


def test_too_few_sessions_for_the_folds_are_told(inputs):
    with pytest.raises(DataError, match="560 sessions before .* give no 900 test windows; lower --folds"):
        select_features(
            inputs, "lightgbm", load_model_config("lightgbm", "smoke"), "y_planted", "importance",
            split=load_run_config("split"), folds=900,
        )  # fmt: skip


def test_positions_have_no_loss_to_select_by(inputs):
    with pytest.raises(ConfigError, match="reward_based predicts positions"):
        select_features(inputs, "reward_based", {}, "y_planted", "importance", split=load_run_config("split"))


def test_a_list_of_features_comes_back(tmp_path):
    path = tmp_path / "features.txt"
    write_feature_list(path, ["b", "a"], ["2 of 3 features"])
    assert path.read_text() == "# 2 of 3 features\nb\na\n"
    assert read_feature_list(path) == ["b", "a"]
    path.write_text("\ufeff  a  # why\n\n# c\nb c\n", "utf-8")  # as some editors begin a file
    assert read_feature_list(path) == ["a", "b c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("# none\n", "no feature in it"), ("a\nb\na\n", ":3: 'a' stands in line 1 already"), (None, "cannot read")],
)
def test_faults_of_a_list_are_told(tmp_path, text, told):
    path = tmp_path / "features.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_feature_list(path)


def test_a_plan_with_a_list_sees_those_features_alone(inputs):
    request = {"source": inputs.source, "models": ["lightgbm"], "target": "y_planted", "variant": "smoke"}
    whole = make_plan(Request(**request), inputs)
    some = make_plan(Request(**request, features=["twin", "noise_1"]), inputs)
    assert {unit.identity for unit in whole.units}.isdisjoint(unit.identity for unit in some.units)
    table = some.inputs.table("AAA", None)
    assert [name for name in table if name in whole.inputs.symbols["AAA"].features] == ["noise_1", "twin"]
    assert some.inputs.symbols["AAA"].features == ["noise_1", "twin"]
    assert {"close", "label_end", "y_planted"} <= set(table)
    with pytest.raises(ConfigError, match=r"AAA has no feature 'stron'; did you mean 'strong'\?"):
        make_plan(Request(**request, features=["stron"]), inputs)
    with pytest.raises(ConfigError, match="--features-file is of the phases that predict"):
        make_plan(Request("features", inputs.source, features=["strong"]), inputs)


def test_the_command_writes_what_phases_take(inputs, barzoo, tmp_path):
    done = barzoo("select", inputs.source, "--target", "y_planted", "--variant", "smoke", "--folds", 2, "--count", 3,
                  "--json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["features"] == read_feature_list(tmp_path / "features.txt")
    assert len(said["folds"]) == 2
    assert "use them with --features-file features.txt" in done.stderr
    shown = barzoo("select", inputs.source, "--target", "y_planted", "--variant", "smoke", "--folds", 2,
                   "--method", "permutation", cwd=tmp_path)  # fmt: skip
    assert "chosen by the fold before" in shown.stdout
    assert "stability" in shown.stdout
    trained = barzoo("train", "--input-dir", inputs.source, "--target", "y_planted", "--models", "lightgbm",
                     "--variant", "smoke", "--features-file", "features.txt", "--output-dir", "run",
                     cwd=tmp_path)  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    note = "the baseline vol_ratio is left out, as the features have no column vol_ratio"
    assert note in (tmp_path / "run/report.html").read_text()
    assert note in (tmp_path / "run/log.txt").read_text()
    manifest = json.loads((tmp_path / "run/units/lightgbm/y_planted/AAA/manifest.json").read_text())
    assert sorted(manifest["features"]) == sorted(read_feature_list(tmp_path / "features.txt"))
    walked = barzoo("walkforward", inputs.source, "--targets", "y_planted", "--variant", "smoke", "--train-days", 600,
                    "--features-file", "features.txt", "--dry-run", "--json", cwd=tmp_path)  # fmt: skip
    assert walked.returncode == 0, walked.stderr
    again = barzoo("rerun", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "bit for bit" in again.stdout + again.stderr
