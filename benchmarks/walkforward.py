"""A walk-forward against a plain loop over LightGBM's scikit-learn API: same folds, same parameters, same predictions.

``python benchmarks/walkforward.py [--rows 2500] [--features 60] [--trees 100] [--rounds 3] [--busy]`` walks one symbol
in windows of 252, 63 and 21 sessions and prints, all in one run and in turn:

- the engine's time beside that of the loop with the library's default threads, on the same parameters, and whether the
  predictions are the same; with ``--busy`` another process keeps one core busy meanwhile;
- the same with the zoo's defaults beside the loop with the library's own, default threads and one thread;
- the share of the engine's time (one fold at a time) that is spent outside the library's native calls.

The engine also fits the baselines, trades, scores every fold and evaluates the held-out tail after each tree; the loop
only fits and predicts.
"""

from __future__ import annotations

import argparse
import multiprocessing
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
from TRAINING.evaluation.splits import purged_tail
from TRAINING.walkforward import WalkForwardEngine

WINDOWS = {"train_days": 252, "test_days": 63, "step_days": 21, "min_train_samples": 100}


def labeled(rows: int, features: int) -> pd.DataFrame:
    bars, random = synthetic_bars(rows, 0), np.random.default_rng(0)
    labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=60)
    X = pd.DataFrame(
        random.normal(size=(rows, features)).astype(np.float32), columns=[f"f{k}" for k in range(features)]
    )
    X["f0"] += 30 * labels["fwd_ret_5"].fillna(0).to_numpy(np.float32)
    return pd.concat([bars.assign(symbol="A"), X, labels], axis=1)


def loop(table: pd.DataFrame, engine: WalkForwardEngine, parameters: dict) -> pd.Series:
    """What a user would write: a model per fold on the purged head of the window; predictions of the stitched days."""
    names = [name for name in table if name.startswith("f") and name[1:].isdigit()]
    days, ends = (table[name].dt.tz_convert(None).to_numpy("datetime64[D]") for name in ("timestamp", "label_end"))
    found = []
    for fold in engine.folds:
        rows = np.flatnonzero((days >= fold.train_start) & (days <= fold.train_end) & (ends <= fold.last_known))
        head, _ = purged_tail(days[rows], ends[rows], 0.2)
        train, test = table.iloc[rows[head]], table[(days >= fold.test_start) & (days <= fold.stitched_end)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 2500), ("features", 60), ("trees", 100), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    table = labeled(options.rows, options.features)
    engine = WalkForwardEngine(table, **WINDOWS)
    same = {"n_estimators": options.trees, "early_stopping_rounds": 0, "max_bin": 255, "force_col_wise": False}
    config = load_model_config("lightgbm", overrides=same)
    own = {
        "n_estimators": options.trees, "learning_rate": config["learning_rate"], "num_leaves": config["num_leaves"],
        "max_depth": config["max_depth"], "min_child_samples": config["min_data_in_leaf"],
        "colsample_bytree": config["feature_fraction"], "subsample": config["bagging_fraction"],
        "subsample_freq": config["bagging_freq"], "reg_alpha": config["reg_alpha"], "reg_lambda": config["reg_lambda"],
        "random_state": config["seed"], "max_bin": 255, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    zoo = load_model_config("lightgbm", overrides={"n_estimators": options.trees, "early_stopping_rounds": 0})
    jobs = cpu_count()
    results = engine.run("lightgbm", config, jobs=jobs)
    rows = results.predictions[results.predictions["model"] == "lightgbm"].set_index("timestamp")["prediction"]
    equal = np.abs(rows.to_numpy() - loop(table, engine, own).to_numpy()).max()
    neighbour = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    if options.busy:
        neighbour.start()
    seconds = best(
        options.rounds,
        {
            "engine": lambda: engine.run("lightgbm", config, jobs=jobs),
            "loop": lambda: loop(table, engine, own),
            "zoo": lambda: engine.run("lightgbm", zoo, jobs=jobs),
            "one": lambda: loop(table, engine, own | {"n_jobs": 1}),
        },
    )
    if options.busy:
        neighbour.terminate()
    print(
        f"{len(engine.folds)} folds, {options.trees} trees, {jobs} cores{', one of them busy' if options.busy else ''}"
    )
    print(f"same parameters: engine {seconds['engine']:.2f} s, loop with default threads {seconds['loop']:.2f} s: "
          f"{seconds['loop'] / seconds['engine']:.2f} times; predictions differ by at most {equal:.1e}")  # fmt: skip
    many, one = seconds["loop"] / seconds["zoo"], seconds["one"] / seconds["zoo"]
    print(f"zoo's defaults: engine {seconds['zoo']:.2f} s: {many:.2f} times the loop with default threads, {one:.2f} "
          f"times that with one ({seconds['one']:.2f} s)")  # fmt: skip
    library = lightgbm.basic._LIB = TimedLibrary(lightgbm.basic._LIB)
    started = time.perf_counter()
    engine.run("lightgbm", zoo, jobs=1)
    wall = time.perf_counter() - started
    print(f"outside native calls, one fold at a time: {1 - library.seconds / wall:.0%} of {wall:.2f} s")


if __name__ == "__main__":
    main()
