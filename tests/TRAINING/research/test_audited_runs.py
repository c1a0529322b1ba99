"""A run's folder under audit: its tables, its windows, its predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from CONFIG.errors import ConfigError, DataError, IntegrityError
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.run import run_plan
from TRAINING.research.audit import audit
from TRAINING.research.runs import is_run, open_run
from TRAINING.runs.manifest import read_sealed, seal
from TRAINING.runs.store import write_sealed

QUICK = {"null_runs": 5}


class Silent:
    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        yield lambda text: None


@pytest.fixture(scope="module")
def trained(bars_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars and a run."""
    folder = tmp_path_factory.mktemp("trained")
    bars = shutil.copytree(bars_folder, folder / "bars")
    request = Request(source=str(bars), models=["lightgbm"], variant="smoke", target="fwd_ret_5")
    run_plan(make_plan(request, open_inputs(str(bars))), folder / "run", jobs=1, progress=Silent())
    return folder


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "run", tmp_path / "run")


def rewrite(folder: Path, change) -> None:
    """Change the predictions of a unit, and seal it again."""
    unit = folder / "units" / "lightgbm" / "fwd_ret_5" / "AAA"
    about, files = read_sealed(unit)
    made = pd.read_parquet(BytesIO(files["predictions.parquet"]))
    payload = BytesIO()
    change(made).to_parquet(payload)
    about.pop("files")
    write_sealed(unit, about, files | {"predictions.parquet": payload.getvalue()})


def test_a_run_passes(run_folder: Path) -> None:
    assert is_run(run_folder)
    report = audit(run_folder, settings=QUICK)
    assert report.exit_code == 0, report.frame().to_string()
    assert report.check("run").verdict == "passed"
    assert report.check("run").numbers["units"] == 3
    assert report.check("truncation").verdict == "passed"  # the bars are still there
    assert report.about["targets"] == ["fwd_ret_5"]
    with pytest.raises(ConfigError, match="audit its source for others"):
        audit(run_folder, symbols=["AAA"])


def test_predictions_from_before_the_test_window_fail(run_folder: Path) -> None:
    rewrite(run_folder, lambda made: made.assign(session=pd.to_datetime(made["session"]) - pd.Timedelta(days=7)))
    _, check = open_run(run_folder, 100_000)
    assert check.verdict == "failed"
    assert check.numbers["predictions_before_the_test_window"] == ["units/lightgbm/fwd_ret_5/AAA"]


def test_predictions_scored_on_other_labels_fail(run_folder: Path) -> None:
    rewrite(run_folder, lambda made: made.assign(y=made["y"] + 0.01))
    _, check = open_run(run_folder, 100_000)
    assert check.verdict == "failed"
    assert check.numbers["labels_unlike_the_table"] == ["units/lightgbm/fwd_ret_5/AAA"]


def test_tables_that_have_changed_are_a_warning(run_folder: Path) -> None:
    manifest, _ = read_sealed(run_folder)
    manifest.pop("files")
    manifest["tables"]["BBB"] = "another"
    (run_folder / "manifest.json").write_bytes(seal(manifest, {}))
    _, check = open_run(run_folder, 100_000)
    assert check.verdict == "warned"
    assert check.reason.startswith("the tables of BBB are no longer")


def test_edited_and_nameless_runs_are_refused(run_folder: Path) -> None:
    manifest, _ = read_sealed(run_folder)
    manifest.pop("files")
    edited = (run_folder / "manifest.json").read_text().replace('"core"', '"cure"')
    (run_folder / "manifest.json").write_text(edited)
    with pytest.raises(IntegrityError, match="edited"):
        audit(run_folder)
    manifest.pop("source")
    (run_folder / "manifest.json").write_bytes(seal(manifest, {}))
    with pytest.raises(DataError, match="names no source"):
        audit(run_folder)


def test_a_run_whose_bars_are_gone_is_audited_by_its_tables(run_folder: Path, trained: Path) -> None:
    (trained / "bars").rename(trained / "moved")
    report = audit(run_folder, settings=QUICK)
    (trained / "moved").rename(trained / "bars")
    assert report.exit_code == 0
    assert report.check("truncation").verdict == "not applicable"
