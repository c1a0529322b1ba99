"""Nets of many symbols in one program against one by one: with our `fit`, and with Lightning and a DataLoader.

With ``--bars`` also the core phase of the MLP over a panel file, in minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from core_phase import Clock
from neural_fit import HEADS, seconds, usual_lightning

from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import FitSettings, fit
from TRAINING.neural.fit_many import Job, fit_many
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import MLPConfig, initialise

FEATURES, BATCH = 60, 256


def tables(symbols: int, rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features and targets of each symbol."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(symbols):
        X = random.normal(size=(rows, FEATURES)).astype(np.float32)
        made.append((X, X[:, :1] + random.normal(size=(rows, 1))))
    return made


def make_job(X: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], dropout: float) -> Job:
    net = MLPConfig(FEATURES, HEADS, hidden=hidden, dropout=dropout).build()
    initialise(net, make_generator(0))
    net.learn_scales(X, y)
    return Job(SupervisedModule(net, HEADS, Optimisation()), TensorTable.of(X, net, y))


def together(panel: list, settings: FitSettings, hidden: tuple[int, ...], dropout: float) -> None:
    fit_many([make_job(X, y, hidden, dropout) for X, y in panel], settings)


def one_by_one(panel: list, settings: FitSettings, hidden: tuple[int, ...], dropout: float) -> None:
    for X, y in panel:
        job = make_job(X, y, hidden, dropout)
        fit(job.module, job.train, None, settings)


def usual(panel: list, settings: FitSettings, hidden: tuple[int, ...], dropout: float) -> None:
    """A net without dropout nor scales, as most people write it."""
    for X, y in panel:
        usual_lightning(torch.from_numpy(X), torch.from_numpy(y).float(), settings.epochs, settings.batch_size, hidden)


def core_minutes(bars: str, jobs: int) -> None:
    from CONFIG.config_loader import load_run_config
    from DATA_PROCESSING.labeled import TableBuilder, label_panel
    from DATA_PROCESSING.sources import read_panel
    from TRAINING.phases.inputs import open_inputs
    from TRAINING.phases.plan import Request, make_plan
    from TRAINING.phases.run import run_plan

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        panel = read_panel(bars, load_run_config("bars"))
        builder = TableBuilder(panel, load_run_config("features"), load_run_config("labels"))
        label_panel(builder, folder / "labeled", jobs=2)
        plan = make_plan(Request(source=str(folder / "labeled"), models=["mlp"]), open_inputs(str(folder / "labeled")))
        clock = Clock()
        started = time.perf_counter()
        results = run_plan(plan, folder / "run", jobs=jobs, progress=clock).results
        minutes = (time.perf_counter() - started) / 60
        print(f"core phase, mlp, {len(plan.todo)} units, {jobs} jobs: {minutes:.1f} minutes, of these training "
              f"{clock.train / 60:.1f} (10 wanted on 2 cores)")  # fmt: skip
        print(results.units["status"].value_counts().to_string())
        print(results.leaderboard.to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1250)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bars", help="a panel file, such as prices.parquet")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if options.bars:
        core_minutes(options.bars, options.jobs)
        return
    torch.set_num_threads(1)
    panel, settings = tables(options.symbols, options.rows), FitSettings(options.epochs, BATCH, device="cpu")
    cases = [((64, 32), 0.0, (together, one_by_one, usual)), ((64, 32), 0.4, (together, one_by_one)),
             ((256, 128), 0.4, (together, one_by_one))]  # fmt: skip
    for hidden, dropout, runs in cases:
        for run in runs:
            run(panel[:2], FitSettings(1, BATCH, device="cpu"), hidden, dropout)
        times = [[seconds(run, panel, settings, hidden, dropout) for run in runs] for _ in range(options.repeats)]
        own, *others = np.min(times, axis=0)
        print(f"{options.symbols} nets {hidden}, dropout {dropout}: together {own:.2f} s")
        print(f"  one by one with our fit {others[0] / own:.2f} times that (2.5 wanted for 64-32)")
        for ratio in others[1:]:
            print(f"  one by one with Lightning and a DataLoader {ratio / own:.2f} times that (10 wanted)")


if __name__ == "__main__":
    main()
