"""What ``barzoo predict`` takes, shows and writes; the predictions themselves have tests of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from CONFIG.errors import ConfigError
from TRAINING.cli import app
from TRAINING.phases.plan import BASELINES
from TRAINING.phases.predict import Newest

UNITS = [("lightgbm", "y_will_peak"), ("lightgbm", "fwd_ret_5"), ("xgboost", "fwd_ret_5"), (BASELINES, "MFE")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose models always predict the same of two symbols."""
    for model, target in UNITS:
        folder = tmp_path / "units" / model / target / "AAA"
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
    return tmp_path


def predict(run: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, time: str = "2024-01-05",
            prediction: float = 0.5):  # fmt: skip
    rows = pd.DataFrame(
        {"model": "lightgbm", "target": "fwd_ret_5", "symbol": ["AAA", "BBB"],
         "timestamp": [pd.Timestamp(time, tz="UTC"), pd.Timestamp("2024-01-02", tz="UTC")],
         "prediction": [prediction, -0.25], "signal": 1.0, "position": 0.2, "warning": ""}
    )  # fmt: skip
    problems = pd.DataFrame(columns=["model", "target", "symbol", "reason"])
    monkeypatch.setattr("TRAINING.phases.predict.predict_newest", lambda *_: Newest(rows, problems))
    return CliRunner().invoke(app, ["predict", str(run), "--bars", "demo", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "y_wil_peak"], "--target: RUN has no 'y_wil_peak'; did you mean 'y_will_peak'?"),
        (["--target", "MFE"], "--target: RUN has no 'MFE'; choose from fwd_ret_5, y_will_peak"),
        (["--models", "lightgbm,xgbost"], "--models: RUN has no 'xgbost'; did you mean 'xgboost'?"),
        (["--models", BASELINES], f"--models: RUN has no {BASELINES!r}; choose from lightgbm, xgboost"),
        (
            ["--models", "xgboost", "--target", "y_will_peak"],
            "--models: RUN has none of them for y_will_peak, but lightgbm",
        ),
    ],
)
def test_what_the_run_does_not_have_is_told(run, monkeypatch, arguments, said):
    done = predict(run, monkeypatch, *arguments)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == said.replace("RUN", str(run))
    assert not list(run.glob("*.csv"))


def test_models_that_fit_are_chosen(run, monkeypatch):
    assert predict(run, monkeypatch, "--models", "xgboost,lightgbm", "--target", "y_will_peak").exit_code == 0


def test_bars_with_a_clock_time_show_it(run, monkeypatch):
    done = predict(run, monkeypatch, time="2024-01-05 20:59")
    assert "last bar (UTC)" in done.stdout
    assert "2024-01-05 20:59" in done.stdout
    assert (run / "predictions-2024-01-05T2059.csv").exists()
    daily = predict(run, monkeypatch)
    assert "last bar  " in daily.stdout
    assert "00:00" not in daily.stdout
    assert (run / "predictions-2024-01-05.csv").exists()


def test_small_predictions_have_digits(run, monkeypatch):
    assert " 3.142e-06 " in predict(run, monkeypatch, prediction=3.14159e-6).stdout
    assert " 0.0003142 " in predict(run, monkeypatch, prediction=3.14159e-4).stdout


def test_other_predictions_of_the_same_bar_are_kept(run, monkeypatch):
    for prediction in (0.1, 0.2, 0.1, 0.2, 0.3):
        predict(run, monkeypatch, prediction=prediction)
    names = [f"predictions-2024-01-05{end}.csv" for end in ("", "-2", "-3")]
    assert sorted(path.name for path in run.glob("*.csv")) == sorted(names)
    assert [pd.read_csv(run / name)["prediction"][0] for name in names] == [0.1, 0.2, 0.3]


def test_a_named_output_is_replaced(run, monkeypatch):
    for prediction in (0.1, 0.2):
        predict(run, monkeypatch, "--output", str(run / "mine.csv"), prediction=prediction)
    assert [path.name for path in run.glob("*.csv")] == ["mine.csv"]
    assert pd.read_csv(run / "mine.csv")["prediction"][0] == 0.2
