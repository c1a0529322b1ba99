from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError, DataError, LockedError
from DATA_PROCESSING.labeled import label_panel, read_info, read_table, table_path
from DATA_PROCESSING.sessions import row_sessions
from TRAINING.artifacts import load_artifact
from TRAINING.phases.features import make_features_plan, run_features
from TRAINING.phases.finished import open_run
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.runs.lock import locked
from TRAINING.walkforward import WalkForwardEngine
from TRAINING.walkforward.panel import LabeledPanel

ROOT = Path(__file__).parents[3]


class Listener:
    """Remembers every step it is told; calls ``on_step`` with each."""

    def __init__(self, on_step=lambda text: None) -> None:
        from contextlib import contextmanager

        self.steps: list[str] = []

        @contextmanager
        def stage(what: str, total: int):
            yield lambda text: (self.steps.append(text), on_step(text))

        self.stage = stage


def plan_of(source: Path, **request):
    request = Request(**{"phase": "features", "source": str(source), "variant": "smoke", **request})
    return make_features_plan(request, open_inputs(request.source, request.symbols, request.files))


def run(plan, folder: Path, *, jobs: int = 1, on_step=lambda text: None, **named):
    return run_features(plan, folder, jobs=jobs, progress=Listener(on_step), **named)


def files_of(folder: Path) -> dict[str, bytes]:
    """All that has to be the same however a run went."""
    paths = [*folder.glob("*.parquet"), folder / "model" / "net.safetensors", folder / "units.csv"]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def tables(bars_folder, tmp_path_factory) -> Path:
    """Labeled tables of the three symbols."""
    folder = tmp_path_factory.mktemp("tables")
    label_panel(open_inputs(str(bars_folder)).builder, folder)
    return folder


@pytest.fixture(scope="module")
def made(tables, tmp_path_factory):
    """A finished features run, and its plan."""
    folder = tmp_path_factory.mktemp("made") / "out"
    plan = plan_of(tables, latent_dim=3)
    return run(plan, folder), plan


def test_tables_get_latents_and_keep_the_rest(made, tables) -> None:
    outcome, plan = made
    assert outcome.exit_code == 0
    assert outcome.tables["rows"].tolist() == [500, 500, 500]
    for symbol in ("AAA", "BBB", "CCC"):
        before, after = (read_table(table_path(folder, symbol)) for folder in (tables, outcome.folder))
        pd.testing.assert_frame_equal(after[list(before)], before)
        assert list(after)[len(before.columns) :] == ["latent_0", "latent_1", "latent_2", "in_fit"]
        assert np.isfinite(after[["latent_0", "latent_1", "latent_2"]].to_numpy()).all()
        np.testing.assert_array_equal(after["in_fit"], row_sessions(after) < plan.cut)
        info = read_info(table_path(outcome.folder, symbol), 1)
        first, last = plan.fit_range
        assert (info.latents["fit_first"], info.latents["fit_last"]) == (first, last)
        assert info.latents["config"]["latent_dim"] == 3
        assert info.settings == plan.inputs.settings
        assert "latent_0" in info.features
        assert "in_fit" not in info.features


def test_the_latents_are_those_of_the_model_beside_them(made) -> None:
    outcome, plan = made
    trainer = load_artifact(outcome.folder / "model")
    table = read_table(table_path(outcome.folder, "BBB"))
    latents = trainer.transform(table[plan.features])
    pd.testing.assert_frame_equal(latents, table[list(latents)])


def test_later_rows_change_no_latent(bars_folder, made, tmp_path) -> None:
    """Perturbing every bar behind the training window leaves the model and all latents before it bit-identical."""
    outcome, plan = made
    for path in bars_folder.glob("*.csv"):
        bars = pd.read_csv(path, float_precision="round_trip", parse_dates=["timestamp"])
        later = bars["timestamp"].dt.tz_localize(None).to_numpy("datetime64[D]") >= plan.cut
        bars.loc[later, ["open", "high", "low", "close"]] *= 1.5
        bars.to_csv(tmp_path / path.name, index=False)
    perturbed = plan_of(tmp_path, latent_dim=3)
    assert perturbed.cut == plan.cut
    other = run(perturbed, tmp_path / "out")
    before, after = (read_table(table_path(folder, "CCC")) for folder in (outcome.folder, other.folder))
    columns = ["latent_0", "latent_1", "latent_2"]
    pd.testing.assert_frame_equal(after.loc[after["in_fit"], columns], before.loc[before["in_fit"], columns])
    assert not after[columns].equals(before[columns])


def test_bars_and_their_tables_give_the_same_latents(bars_folder, made, tmp_path) -> None:
    outcome, _ = made
    other = run(plan_of(bars_folder, latent_dim=3), tmp_path / "out")
    columns = ["timestamp", "latent_0", "latent_1", "latent_2", "in_fit"]
    for symbol in ("AAA", "CCC"):
        first, second = (read_table(table_path(folder, symbol), columns) for folder in (outcome.folder, other.folder))
        pd.testing.assert_frame_equal(first, second)


def test_two_workers_and_an_interrupt_give_the_same_bytes(made, tables, tmp_path) -> None:
    outcome, plan = made
    run(plan, tmp_path / "two", jobs=2)
    assert files_of(tmp_path / "two") == files_of(outcome.folder)
    stop = threading.Event()
    cut = run(plan, tmp_path / "cut", stop=stop, on_step=lambda text: text.startswith("AAA") and stop.set())
    assert (cut.exit_code, cut.interrupted) == (130, True)
    assert cut.tables["status"].tolist() == ["done", "interrupted", "interrupted"]
    run(plan, tmp_path / "cut")
    assert files_of(tmp_path / "cut") == files_of(outcome.folder)


def test_a_killed_run_goes_on(made, tables, tmp_path) -> None:
    outcome, plan = made
    code = (
        "import os, signal, sys\n"
        "from contextlib import contextmanager\n"
        "from pathlib import Path\n"
        "from TRAINING.phases.features import make_features_plan, run_features\n"
        "from TRAINING.phases.inputs import open_inputs\n"
        "from TRAINING.phases.plan import Request\n"
        "class Killer:\n"
        "    @contextmanager\n"
        "    def stage(self, what, total):\n"
        "        yield lambda text: text.startswith('AAA') and os.kill(os.getpid(), signal.SIGKILL)\n"
        "request = Request('features', sys.argv[1], variant='smoke', latent_dim=3)\n"
        "plan = make_features_plan(request, open_inputs(sys.argv[1]))\n"
        "run_features(plan, Path(sys.argv[2]), jobs=1, progress=Killer())\n"
    )
    folder = tmp_path / "out"
    command = [sys.executable, "-c", code, str(tables), str(folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "AAA.parquet", folder / "model/net.safetensors")}
    assert run(plan, folder).exit_code == 0
    assert files_of(folder) == files_of(outcome.folder)
    for path in (folder / "AAA.parquet", folder / "model/net.safetensors"):
        assert path.stat().st_mtime_ns == times[path.name], "what was finished is kept"


def test_it_has_no_results_to_repeat(made) -> None:
    with pytest.raises(ConfigError, match="a features run, which has no predictions"):
        open_run(made[0].folder)


def test_damage_is_made_good(made, tables, tmp_path) -> None:
    outcome, plan = made
    run(plan, tmp_path / "out")
    for path in (tmp_path / "out" / "BBB.parquet", tmp_path / "out" / "model" / "net.safetensors"):
        path.write_bytes(path.read_bytes()[:-9])
    run(plan, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(outcome.folder)


def test_another_plan_keeps_out_unless_fresh(tables, tmp_path) -> None:
    folder = tmp_path / "out"
    run(plan_of(tables, latent_dim=2), folder)
    (folder / "notes.txt").write_text("mine")
    other = plan_of(tables, latent_dim=1, symbols=["AAA", "BBB"])
    with pytest.raises(ConfigError, match="holds the results of another plan"):
        run(other, folder)
    assert run(other, folder, fresh=True).exit_code == 0
    assert {path.name for path in folder.glob("*.parquet")} == {"AAA.parquet", "BBB.parquet"}
    assert (folder / "notes.txt").exists()
    with locked(folder), pytest.raises(LockedError):
        run(other, folder)


def test_one_bad_table_costs_only_itself(tables, tmp_path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for path in tables.glob("*.parquet"):
        (source / path.name).write_bytes(path.read_bytes() if path.stem != "BBB" else path.read_bytes()[:-50])
    outcome = run(plan_of(source), tmp_path / "out")
    assert outcome.exit_code == 6
    assert outcome.tables["status"].tolist() == ["done", "failed", "done"]


def test_a_users_own_tables_will_do(tables, tmp_path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for path in tables.glob("*.parquet"):
        read_table(path).drop(columns="session").to_parquet(source / path.name)
    outcome = run(plan_of(source, latent_dim=2), tmp_path / "out")
    inputs = open_inputs(str(outcome.folder))
    assert {about.horizon for about in inputs.symbols.values()} == {5}
    assert "latent_1" in inputs.symbols["AAA"].features


def test_what_cannot_be_planned_is_said(made, tables, tmp_path) -> None:
    outcome, _ = made
    with pytest.raises(DataError, match="has 'latent_0' already; give tables without latents"):
        plan_of(outcome.folder)
    with pytest.raises(ConfigError, match="makes latents with one model; got vae, gan"):
        plan_of(tables, models=["vae", "gan"], latent_dim=2)
    with pytest.raises(ConfigError, match="lightgbm predicts and makes no features"):
        plan_of(tables, models=["lightgbm"])
    with pytest.raises(ConfigError, match="learns without a target; got --target TTH"):
        plan_of(tables, target="TTH")
    with pytest.raises(ConfigError, match="--latent-dim is of --phase features"):
        make_plan(Request(source=str(tables), latent_dim=2), open_inputs(str(tables)))
    with pytest.raises(ConfigError, match="holds the input|not a run folder"):
        run(plan_of(tables), tables)
    source = tmp_path / "unlike"
    source.mkdir()
    for path in tables.glob("*.parquet"):
        read_table(path).drop(columns=["rsi_14"] if path.stem == "CCC" else []).to_parquet(source / path.name)
    with pytest.raises(ConfigError, match="'AAA' and 'CCC' differ in the feature 'rsi_14'"):
        plan_of(source)


# The next phases.


def split_file(tmp_path: Path, train: float, validation: float) -> tuple[Path, ...]:
    path = tmp_path / "split.yaml"
    path.write_text(f"defaults:\n  train: {train}\n  validation: {validation}\n")
    return (path,)


def test_the_core_phase_takes_the_tables_but_tests_no_fitted_row(made, tmp_path) -> None:
    outcome, plan = made
    request = Request(source=str(outcome.folder), variant="smoke", models=["lightgbm"])
    core = make_plan(request, open_inputs(request.source))
    assert core.test_start > plan.cut
    assert "latent_2" in core.inputs.symbols["AAA"].features
    early = Request(source=str(outcome.folder), files=split_file(tmp_path, 0.3, 0.2))
    with pytest.raises(ConfigError, match=rf"the rows that latents were fitted on, until {plan.fit_range[1]}"):
        make_plan(early, open_inputs(early.source))


def test_a_walk_forward_skips_the_folds_that_latents_were_fitted_on(made) -> None:
    outcome, plan = made
    engine = WalkForwardEngine(str(outcome.folder), train_days=150, test_days=50, step_days=50, min_train_samples=50)
    config = {"n_estimators": 5, "min_data_in_leaf": 10}
    results = engine.run("lightgbm", config, target="fwd_ret_5")
    fitted = results.folds["test_start"].to_numpy("datetime64[D]") < plan.cut
    assert 0 < fitted.sum() < len(fitted)
    assert (results.folds["status"] == np.where(fitted, "skipped", "done")).all()
    assert results.folds.loc[fitted, "reason"].str.contains("latents were fitted on").all()
    assert results.predictions["session"].to_numpy("datetime64[D]").min() >= plan.cut
    whole = WalkForwardEngine(str(outcome.folder), train_days=150, test_days=300, step_days=50, min_train_samples=50)
    with pytest.raises(
        DataError, match="the last of 2 test windows begins on .*, in the rows that latents were fitted"
    ):
        whole.run("lightgbm", config, target="fwd_ret_5")


def test_the_mark_travels_with_a_frame(made) -> None:
    """A user's own joined frame is guarded as the folder is, and one without latents is not."""
    outcome, plan = made
    frame = pd.concat(
        [read_table(table_path(outcome.folder, symbol)).assign(symbol=symbol) for symbol in ("AAA", "BBB")]
    )
    assert LabeledPanel.of(frame).fitted_until == np.datetime64(plan.fit_range[1])
    assert np.isnat(LabeledPanel.of(frame.drop(columns="in_fit")).fitted_until)


def test_latents_of_different_models_do_not_mix(made, tables, tmp_path) -> None:
    outcome, _ = made
    run(plan_of(tables, latent_dim=3, seed=9), tmp_path / "other")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "AAA.parquet").write_bytes((outcome.folder / "AAA.parquet").read_bytes())
    (mixed / "BBB.parquet").write_bytes((tmp_path / "other" / "BBB.parquet").read_bytes())
    with pytest.raises(ConfigError, match="'AAA' and 'BBB' have latents of different models"):
        open_inputs(str(mixed))


# The scripts.


@pytest.fixture
def script(barzoo):
    def run(path: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
        return barzoo(*arguments, cwd=folder, script=ROOT / "TRAINING" / "EXPERIMENTS" / path)

    return run


def test_the_script_of_the_guide(tables, script, tmp_path) -> None:
    arguments = ("--input-dir", str(tables), "--output-dir", "output", "--latent-dim", "32", "--variant", "smoke")
    done = script("phase1_features/build_vae_features.py", *arguments, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["model"], len(said["latents"]), said["tables"]) == ("vae", 32, {"done": 3})
    assert 0.8 < said["quality"]["explained_variance"] < 1
    assert "latent_31" in read_table(tmp_path / "output" / "AAA.parquet")
    arguments = ("--input-dir", "output", "--models", "lightgbm", "--dry-run", "--json")
    done = script("phase2_core/train_core_models.py", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {unit["symbol"] for unit in json.loads(done.stdout)["units"]} == {"AAA", "BBB", "CCC"}


def test_a_dry_run_writes_nothing(tables, script, tmp_path) -> None:
    arguments = ("--input-dir", str(tables), "--dry-run", "--json")
    done = script("phase1_features/build_vae_features.py", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(row["symbol"], row["rows"], row["fit_rows"]) for row in said["tables"]] == [
        ("AAA", 500, 300),
        ("BBB", 500, 300),
        ("CCC", 500, 300),
    ]
    assert not list(tmp_path.iterdir())


def test_a_typo_is_one_line(script, tmp_path) -> None:
    done = script("phase1_features/build_vae_features.py", "--latent-dims", "32", folder=tmp_path)
    assert done.returncode == 2
    done = script("phase1_features/build_vae_features.py", "--input-dir", "nowhere", folder=tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
