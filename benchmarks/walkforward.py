"""A walk-forward against a plain loop over LightGBM's scikit-learn API: same folds, same parameters, same predictions.

``python benchmarks/walkforward.py [--rows 2500] [--features 60] [--trees 100] [--rounds 3] [--busy]`` walks one symbol
in windows of 252, 63 and 21 sessions and prints, all in one run and in turn:

- the engine's time with the library's default parameters beside that of a loop over ``LGBMRegressor(n_estimators=N)``,
  and how far the predictions differ; with ``--busy`` another process keeps one core busy meanwhile;
- the engine's time with the zoo's defaults beside the same loop with default threads and with one thread, the rank IC
  of both, and a loop that is given the zoo's parameters;
- the share of the engine's time (one fold at a time) that is spent outside the library's native calls.

The engine also fits the baselines, trades and scores every fold; the loops only fit and predict. Neither stops early.

``--symbols 50`` walks a pooled panel of so many symbols instead, and prints the most memory that the process took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import lightgbm
import numpy as np
import pandas as pd
from joblib import cpu_count
from native_share import TimedLibrary
from panel import synthetic_bars

from CONFIG.config_loader import load_model_config
from DATA_PROCESSING.labels import build_labels
from TRAINING.evaluation.metrics import rank_ic
from TRAINING.walkforward import WalkForwardEngine

WINDOWS = {"train_days": 252, "test_days": 63, "step_days": 21, "min_train_samples": 100}
# What ``LGBMRegressor()`` uses.
LIBRARY = {
    "learning_rate": 0.1, "num_leaves": 31, "max_depth": -1, "min_data_in_leaf": 20, "feature_fraction": 1.0,
    "bagging_fraction": 1.0, "bagging_freq": 0, "reg_alpha": 0.0, "reg_lambda": 0.0, "max_bin": 255,
    "force_col_wise": False,
}  # fmt: skip


def labeled(rows: int, features: int, number: int = 0) -> pd.DataFrame:
    bars, random = synthetic_bars(rows, number), np.random.default_rng(number)
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=60)
    X = pd.DataFrame(
        random.normal(size=(rows, features)).astype(np.float32), columns=[f"f{k}" for k in range(features)]
    )
    X["f0"] += 30 * labels["fwd_ret_5"].fillna(0).to_numpy(np.float32)
    return pd.concat([bars.assign(symbol=f"S{number:02}"), X, labels], axis=1)


def loop(table: pd.DataFrame, engine: WalkForwardEngine, parameters: dict) -> pd.Series:
    """What a user would write: a model per fold on its purged window, and predictions of the stitched days."""
    names = [name for name in table if name.startswith("f") and name[1:].isdigit()]
    days, ends = (table[name].dt.tz_convert(None).to_numpy("datetime64[D]") for name in ("timestamp", "label_end"))
    found = []
    for fold in engine.folds:
        rows = np.flatnonzero((days >= fold.train_start) & (days <= fold.train_end) & (ends <= fold.last_known))
        train, test = table.iloc[rows], table[(days >= fold.test_start) & (days <= fold.stitched_end)]
        model = lightgbm.LGBMRegressor(**parameters).fit(train[names], train["fwd_ret_5"])
        found.append(pd.Series(model.predict(test[names]), test["timestamp"]))
    return pd.concat(found)


def best(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least time of each, measured in turn."""
    seconds = dict.fromkeys(works, np.inf)
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def burn() -> None:
    while True:
        sum(range(10_000))


def walk_panel(symbols: int, rows: int, features: int, trees: int) -> None:
    panel = pd.concat([labeled(rows, features, number) for number in range(symbols)], ignore_index=True)
    engine = WalkForwardEngine(panel, **WINDOWS)
    config = load_model_config("lightgbm", overrides={"n_estimators": trees, "early_stopping_rounds": 0})
    started = time.perf_counter()
    engine.run("lightgbm", config, jobs=cpu_count())
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{symbols} symbols, {len(engine.folds)} folds: {seconds:.1f} s, at most {peak:.2f} GiB (limit: 2)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 2500), ("features", 60), ("trees", 100), ("rounds", 3), ("symbols", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    if options.symbols > 1:
        walk_panel(options.symbols, options.rows, options.features, options.trees)
        return
    table = labeled(options.rows, options.features)
    engine = WalkForwardEngine(table, **WINDOWS)
    all_trees = {"n_estimators": options.trees, "early_stopping_rounds": 0}
    same = load_model_config("lightgbm", overrides=LIBRARY | all_trees)
    zoo = load_model_config("lightgbm", overrides=all_trees)
    user = {"n_estimators": options.trees, "verbose": -1}
    of_zoo = user | {
        "learning_rate": zoo["learning_rate"], "num_leaves": zoo["num_leaves"], "max_depth": zoo["max_depth"],
        "min_child_samples": zoo["min_data_in_leaf"], "colsample_bytree": zoo["feature_fraction"],
        "subsample": zoo["bagging_fraction"], "subsample_freq": zoo["bagging_freq"], "reg_alpha": zoo["reg_alpha"],
        "reg_lambda": zoo["reg_lambda"], "max_bin": zoo["max_bin"], "force_col_wise": zoo["force_col_wise"],
        "random_state": zoo["seed"],
    }  # fmt: skip
    jobs, looped = cpu_count(), loop(table, engine, user).to_numpy()
    rows = {name: engine.run("lightgbm", config, jobs=jobs).predictions.query("model == 'lightgbm'")
            for name, config in (("same", same), ("zoo", zoo))}  # fmt: skip
    known = rows["zoo"]["y"].notna().to_numpy()
    skill = {name: rank_ic(rows["zoo"]["y"].to_numpy()[known], prediction[known])
             for name, prediction in (("zoo", rows["zoo"]["prediction"].to_numpy()), ("loop", looped))}  # fmt: skip
    neighbour = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    if options.busy:
        neighbour.start()
    seconds = best(
        options.rounds,
        {
            "same": lambda: engine.run("lightgbm", same, jobs=jobs),
            "loop": lambda: loop(table, engine, user),
            "zoo": lambda: engine.run("lightgbm", zoo, jobs=jobs),
            "one": lambda: loop(table, engine, user | {"n_jobs": 1}),
            "of_zoo": lambda: loop(table, engine, of_zoo),
        },
    )
    if options.busy:
        neighbour.terminate()
    times = {name: f"{seconds[name] / seconds['zoo']:.2f}" for name in ("loop", "one", "of_zoo")}
    print(
        f"{len(engine.folds)} folds, {options.trees} trees, {jobs} cores{', one of them busy' if options.busy else ''}"
    )
    print(f"same parameters: engine {seconds['same']:.2f} s, loop with default threads {seconds['loop']:.2f} s: "
          f"{seconds['loop'] / seconds['same']:.2f} times; predictions differ by at most "
          f"{np.abs(rows['same']['prediction'].to_numpy() - looped).max():.1e}")  # fmt: skip
    print(f"zoo's defaults: engine {seconds['zoo']:.2f} s: {times['loop']} times the loop with default threads, "
          f"{times['one']} times that with one ({seconds['one']:.2f} s); rank IC {skill['zoo']:.3f} and "
          f"{skill['loop']:.3f}; {times['of_zoo']} times a loop with the zoo's parameters")  # fmt: skip
    library = lightgbm.basic._LIB = TimedLibrary(lightgbm.basic._LIB)
    for name, config in (("library's", same), ("zoo's", zoo)):
        library.seconds, started = 0.0, time.perf_counter()
        engine.run("lightgbm", config, jobs=1)
        wall = time.perf_counter() - started
        print(f"outside native calls, one fold at a time, {name} defaults: {1 - library.seconds / wall:.0%} of "
              f"{wall:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
