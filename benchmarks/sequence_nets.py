"""One `fit` of an LSTM against a plain loop of the same steps; batches, precision, memory, threads and processes."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
import warnings
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from CONFIG.config_loader import load_model_config
from TRAINING.model_fun import trainer_class
from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import FitSettings, fit
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Head
from TRAINING.neural.sequence_nets import LSTMConfig, draw_weights

FEATURES, WINDOW, HIDDEN, HEADS = 60, 20, 64, (Head("y"),)


def plain_loop(values: Tensor, y: Tensor, epochs: int, batch: int) -> None:
    """`torch.nn.LSTM` and fused AdamW on windows gathered by index: nothing but the steps."""
    lstm, head = nn.LSTM(FEATURES, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW([*lstm.parameters(), *head.parameters()], fused=True)
    offsets = torch.arange(1 - WINDOW, 1)
    for _ in range(epochs):
        for ends in (torch.randperm(len(values) - WINDOW + 1) + WINDOW - 1).split(batch):
            optimizer.zero_grad(set_to_none=True)
            x = values[ends[:, None] + offsets]
            F.mse_loss(head(lstm(x)[0][:, -1]), y[ends]).backward()
            optimizer.step()


def ours(values: Tensor, y: Tensor, epochs: int, batch: int, precision: str = "float32") -> None:
    """All of it: the net built, scales learnt, Lightning's Trainer made and run."""
    net = LSTMConfig(FEATURES, HEADS, WINDOW, hidden=HIDDEN).build()
    draw_weights(net, make_generator(0))
    net.learn_scales(values.numpy(), y.numpy())
    ends = torch.arange(WINDOW - 1, len(values))
    table = TensorTable(values, net.encode(y[ends]), None, ends, WINDOW)
    settings = FitSettings(epochs, batch, device="cpu", precision=precision)
    fit(SupervisedModule(net, HEADS, Optimisation()), table, None, settings)


def seconds(run, *arguments: object) -> float:
    """Processor time of this process: a busy neighbour does not count."""
    started = time.process_time()
    run(*arguments)
    return time.process_time() - started


def speed(rows: int, repeats: int) -> None:
    values = torch.randn(rows, FEATURES)
    y = values[:, :1] + torch.randn(rows, 1)
    ours(values[:600], y[:600], 1, 256)
    for batch in (256, 2048):
        pairs = [[seconds(run, values, y, 2, batch) for run in (plain_loop, ours)] for _ in range(repeats)]
        plain, own = np.min(pairs, axis=0)
        print(
            f"batch {batch}: plain loop {2 * rows / plain:,.0f} windows/s, ours {own / plain:.3f} times its time",
            flush=True,
        )
    brief = min(seconds(ours, values, y, 2, 256, "bfloat16") for _ in range(repeats))
    own = min(seconds(ours, values, y, 2, 256) for _ in range(repeats))
    print(f"batch 256, bfloat16: {own / brief:.2f} times as fast as float32", flush=True)


def panel(rows: int, features: int, columns: bool) -> pd.DataFrame:
    """Random features of symbols of 2,000 days, float32; stored column by column, as Parquet gives them, or by row."""
    shape = (features, rows) if columns else (rows, features)
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    dates = pd.bdate_range("2015-01-01", periods=2000, tz="UTC")
    index = pd.MultiIndex.from_product(
        [[f"S{i:04}" for i in range(rows // 2000)], dates], names=["symbol", "timestamp"]
    )
    return pd.DataFrame(values.T if columns else values, index, [f"f{i}" for i in range(features)])


def memory(rows: int, columns: bool) -> None:
    """In a process of its own: the most it held while training, over what it held before it had the table."""
    config = load_model_config("lstm", overrides={"window": 60, "hidden": 8, "epochs": 1, "early_stopping_rounds": 0})
    small = panel(4000, FEATURES, columns)
    trainer_class("lstm")(config).train(small, pd.Series(np.arange(4000.0), small.index, name="y"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    X = panel(rows, FEATURES, columns)
    known = np.zeros(rows, bool)
    known[:: rows // 20_000] = True  # every row may be read, few are trained on: memory does not depend on it
    y = pd.Series(np.where(known, np.random.default_rng(1).standard_normal(rows), np.nan), X.index, name="y")
    table = X.to_numpy().nbytes
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer_class("lstm")(config).train(X, y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    order = "column by column" if columns else "row by row"
    print(
        f"{rows:,} rows x {FEATURES}, window 60, stored {order}: {table / 2**20:,.0f} MB; the process grew by "
        f"{(made - before) * 1024 / table:.2f} times that when made, {(peak - before) * 1024 / table:.2f} at most",
        flush=True,
    )


def one(model: str, seed: int, rows: int = 800) -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(seed)
    index = pd.bdate_range("2015-01-01", periods=rows)
    X = pd.DataFrame(random.standard_normal((rows, FEATURES), np.float32), index, [f"f{i}" for i in range(FEATURES)])
    y = pd.Series(X["f0"] + random.normal(size=rows), index, name="y")
    config = load_model_config(model, overrides={"epochs": 10, "early_stopping_rounds": 0})
    trainer_class(model)(config).train(X, y)


def side_by_side(count: int) -> None:
    """The same models one by one, in two threads and in two processes; wall time, so let nothing else run."""
    sys.setswitchinterval(0.0005)
    fork = multiprocessing.get_context("spawn")
    for model in ("lstm", "transformer", "cnn1d"):
        started = time.perf_counter()
        for seed in range(count):
            one(model, seed)
        alone, told = time.perf_counter() - started, []
        pools: list[tuple[str, Executor]] = [
            ("threads", ThreadPoolExecutor(2)),
            ("processes", ProcessPoolExecutor(2, mp_context=fork)),
        ]
        for name, pool in pools:
            with pool:
                list(pool.map(one, [model] * 2, [0] * 2, [100] * 2))  # both have their libraries
                started = time.perf_counter()
                list(pool.map(one, [model] * count, range(count)))
                told.append(f"2 {name} {alone / (time.perf_counter() - started):.2f} times as fast")
        print(f"{model}: one by one {alone / count:.2f} s a model; {', '.join(told)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--memory-rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", type=int, default=8, help="trained side by side")
    parser.add_argument("--only", choices=["speed", "memory", "side_by_side"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.only in (None, "speed"):
        speed(options.rows, options.repeats)
    if options.only in (None, "side_by_side"):
        side_by_side(options.models)
    if options.only in (None, "memory"):
        for columns in (False, True):
            process = multiprocessing.get_context("spawn").Process(target=memory, args=(options.memory_rows, columns))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
