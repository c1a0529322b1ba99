"""What models tell beside predictions: stored with their units, the same when a run resumes, and not needed by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from TRAINING.evaluation.quantile_metrics import pinball_loss
from TRAINING.phases.compare import compare_numbers
from TRAINING.phases.finished import open_run
from TRAINING.phases.summary import render
from TRAINING.runs.manifest import read_sealed
from TRAINING.runs.store import write_sealed

MODELS = ["gmm_regime", "change_point", "ngboost", "quantile_lightgbm", "ensemble", "lightgbm"]
TOLD = {"regimes", "transitions", "changes", "pit", "quantiles", "weights", "shap", "scores"}


@pytest.fixture(scope="module")
def plan(bars_folder):
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, make_plan

    request = Request(
        source=str(bars_folder), variant="smoke", models=MODELS, symbols=["AAA", "BBB"], target="fwd_ret_5"
    )
    return make_plan(request, open_inputs(request.source, request.symbols))


@pytest.fixture(scope="module")
def finished(plan, tmp_path_factory):
    from TRAINING.cli.terminal import Lines
    from TRAINING.phases.run import run_plan

    return run_plan(plan, tmp_path_factory.mktemp("answers") / "run", jobs=1, progress=Lines())


def stored(outcome, model: str, name: str, symbol: str = "AAA") -> pd.DataFrame:
    return pd.read_parquet(outcome.folder / f"units/{model}/fwd_ret_5/{symbol}/own_{name}.parquet")


def test_every_kind_tells_what_only_it_knows(finished) -> None:
    found = finished.results.answers
    assert set(found) == TOLD
    for name, frame in found.items():
        assert {"model", "target"} <= set(frame), name
    scores = found["scores"].set_index(["model", "score"])
    units = finished.results.units.set_index("model")
    assert scores.loc[("ngboost", "crps"), "median"] == pytest.approx(units.loc["ngboost", "crps"].median())
    assert not {"sharpe", "rmse", "rank_ic"} & set(found["scores"]["score"]), "these stand in the leaderboard"


@pytest.mark.parametrize(
    ("model", "name"), [("gmm_regime", "regimes"), ("change_point", "changes"), ("ngboost", "pit")]
)
def test_tables_of_rows_are_of_the_test_rows(finished, plan, model, name) -> None:
    rows = stored(finished, model, name)
    predicted = pd.read_parquet(finished.folder / f"units/{model}/fwd_ret_5/AAA/predictions.parquet")
    assert rows["timestamp"].tolist() == predicted["timestamp"].tolist()
    table = plan.inputs.table("AAA", finished.folder / "labeled").set_index("timestamp")
    assert rows["close"].tolist() == table.loc[rows["timestamp"], "close"].tolist()


def test_symbols_are_put_together(finished) -> None:
    found = finished.results.answers
    frames = [stored(finished, "quantile_lightgbm", "quantiles", symbol) for symbol in ("AAA", "BBB")]
    labels = [
        pd.read_parquet(finished.folder / f"units/quantile_lightgbm/fwd_ret_5/{symbol}/predictions.parquet")["y"]
        for symbol in ("AAA", "BBB")
    ]
    y, quantiles = pd.concat(labels), pd.concat(frames)[["0.05", "0.25", "0.5", "0.75", "0.95"]]
    known = y.notna().to_numpy()
    levels = quantiles.columns.astype(float)
    np.testing.assert_allclose(found["quantiles"]["level"], levels)
    losses = pinball_loss(y[known], quantiles[known], levels).mean(axis=0)
    np.testing.assert_allclose(found["quantiles"]["pinball"], losses)
    below = [(y[known].to_numpy() <= quantiles[name][known]).mean() for name in quantiles]
    np.testing.assert_allclose(found["quantiles"]["below"], below)

    weights = [stored(finished, "ensemble", "weights", symbol).set_index("part")["weight"] for symbol in ("AAA", "BBB")]
    table = found["weights"].set_index("part")
    np.testing.assert_allclose(table["median"], np.mean(weights, axis=0))
    np.testing.assert_allclose(table["high"], np.max(weights, axis=0))

    shap = pd.concat([stored(finished, "lightgbm", "shap", symbol) for symbol in ("AAA", "BBB")])
    table = found["shap"].set_index("feature")
    assert table["mean_abs"].sum() == pytest.approx(shap["mean_abs"].sum() / 2)
    assert found["regimes"]["symbol"].nunique() == 1


def test_a_run_that_resumes_draws_the_same_page(finished, plan, run) -> None:
    again, _ = run(plan, finished.folder)
    assert (
        render(plan, again.results) == render(plan, finished.results) == (finished.folder / "report.html").read_text()
    )


def test_units_of_an_older_version_need_nothing_of_it(finished, plan, run, tmp_path: Path) -> None:
    run(plan, tmp_path / "old")
    newer = open_run(tmp_path / "old")
    for path in newer.units.values():
        manifest, files = read_sealed(path)
        body = {name: value for name, value in manifest.items() if name != "files"}
        write_sealed(path, body, {name: data for name, data in files.items() if not name.startswith("own_")})
    again, _ = run(plan, tmp_path / "old")
    assert set(again.results.answers) == {"scores"}
    assert "Scores of their own" in (tmp_path / "old" / "report.html").read_text()
    assert again.exit_code == 0
    found = compare_numbers(open_run(finished.folder), open_run(tmp_path / "old")).differences
    assert set(found["table"]) == TOLD - {"scores"}
    assert found["first"].str.startswith("only in the first run").all()


def test_no_symbol_is_shown_where_none_is_asked_for(finished, plan) -> None:
    from TRAINING.phases.answers import collect_answers
    from TRAINING.phases.unit import run_batch
    from TRAINING.runs.store import RunFolder

    done = [result for batch in plan.batches() for result in run_batch(batch, plan, RunFolder(finished.folder))]
    assert set(collect_answers(done, [])) == TOLD - {"regimes", "changes"}
    chosen = collect_answers(done, ["gone", "BBB"])
    assert set(chosen["regimes"]["symbol"]) == {"BBB"}


def test_a_unit_scores_no_label_before_it_is_known(bars_folder, tmp_path) -> None:
    from TRAINING.artifacts import load_artifact
    from TRAINING.cli.terminal import Lines
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, make_plan
    from TRAINING.phases.run import run_plan
    from TRAINING.phases.windows import make_windows

    (tmp_path / "labels.yaml").write_text("defaults:\n  horizon: 20\n")
    request = Request(
        source=str(bars_folder), variant="smoke", models=["ftrl_proximal"], symbols=["AAA"], target="y_will_peak",
        files=(tmp_path / "labels.yaml",),
    )  # fmt: skip
    plan = make_plan(request, open_inputs(request.source, request.symbols, request.files))
    run_plan(plan, tmp_path / "run", jobs=1, progress=Lines())
    unit = next(unit for unit in plan.units if unit.model == "ftrl_proximal")
    folder = tmp_path / "run" / "units" / "ftrl_proximal" / "y_will_peak" / "AAA"
    test, trainer = make_windows(unit, plan, plan.inputs.table("AAA", None)).test, load_artifact(folder)
    stored = read_sealed(folder)[0]["scores"]["ftrl_proximal"]["online_auc"]
    assert stored == trainer.own_scores(test.X, test.y, test.rows)["online_auc"]
    assert stored != trainer.own_scores(test.X, test.y)["online_auc"], "by default labels are known after 5 rows"
