"""The core phase against a plain loop over LightGBM's scikit-learn API: default threads, 255 bins, the same trees.

The phase does more in its time: purged windows, baselines, money, sealed artifacts, and (counted apart) the report.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from panel import labeled_folder
from scipy.stats import spearmanr

from CONFIG.config_loader import load_model_config
from DATA_PROCESSING.dataset import make_dataset
from DATA_PROCESSING.labeled import read_table
from TRAINING.cli.terminal import Lines
from TRAINING.evaluation.splits import core_windows
from TRAINING.phases.inputs import open_inputs, read_labeled
from TRAINING.phases.plan import Plan, Request, make_plan
from TRAINING.phases.run import run_plan

TARGET = "fwd_ret_5"


class Clock(Lines):
    """Remembers how long each stage took."""

    def stage(self, what: str, total: int):
        from contextlib import contextmanager

        @contextmanager
        def timed():
            started = time.perf_counter()
            yield lambda text: None
            setattr(self, what, time.perf_counter() - started)

        return timed()


def naive_loop(plan: Plan, config: dict) -> float:
    """Mean rank IC of the loop that a notebook would have."""
    scores = []
    for about in plan.inputs.symbols.values():
        data = make_dataset(read_table(about.path), TARGET, about.symbol)
        windows = core_windows(
            data.sessions, data.label_sessions, plan.inputs.sessions, plan.validation_start, plan.test_start
        )
        train, test = data.take(windows.train), data.take(windows.test & data.y.notna().to_numpy())
        model = LGBMRegressor(
            n_estimators=config["n_estimators"],
            learning_rate=config["learning_rate"],
            num_leaves=config["num_leaves"],
            max_depth=config["max_depth"],
            min_child_samples=config["min_data_in_leaf"],
            colsample_bytree=config["feature_fraction"],
            subsample=config["bagging_fraction"],
            subsample_freq=config["bagging_freq"],
            reg_lambda=config["reg_lambda"],
            random_state=0,
            verbose=-1,
        ).fit(train.X, train.y)
        scores.append(spearmanr(model.predict(test.X), test.y).statistic)
    return float(np.mean(scores))


def core_phase(plan: Plan, folder: Path) -> tuple[float, Clock]:
    """Mean rank IC of the phase, and its stages' times."""
    read_labeled.cache_clear()
    clock = Clock()
    outcome = run_plan(plan, folder, jobs=os.cpu_count(), progress=clock)
    board = outcome.results.leaderboard
    return float(board.loc[board["model"] == "lightgbm", "score"].iloc[0]), clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1250)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = labeled_folder(folder, options.symbols, options.rows)
        (folder / "lightgbm.yaml").write_text(
            f"defaults:\n  n_estimators: {options.trees}\n  early_stopping_rounds: 0\n", encoding="utf-8"
        )
        request = Request(source=str(tables), target=TARGET, files=(folder / "lightgbm.yaml",))
        plan = make_plan(request, open_inputs(request.source))
        config = load_model_config("lightgbm", files=request.files)
        rows = []
        core_phase(plan, folder / "warm-up")
        for turn in range(options.rounds):
            started = time.perf_counter()
            naive_score = naive_loop(plan, config)
            naive = time.perf_counter() - started
            score, clock = core_phase(plan, folder / f"run-{turn}")
            rows.append((naive, clock.train, clock.train + clock.report, naive_score, score))
    columns = ["loop_s", "phase_s", "phase_and_report_s", "loop_rank_ic", "phase_rank_ic"]
    table = pd.DataFrame(rows, columns=columns)
    print(f"{options.symbols} symbols x {options.rows} rows, {options.trees} trees, {os.cpu_count()} cores")
    print(table.round(4).to_string(index=False))
    print(f"core phase, loop / phase: {(table.loop_s / table.phase_s).median():.2f}x (2.3x wanted)")
    print(f"with the report:          {(table.loop_s / table.phase_and_report_s).median():.2f}x")


if __name__ == "__main__":
    main()
