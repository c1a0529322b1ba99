"""A walk-forward beside two libraries': the same windows of the same rows, and LightGBM's own default parameters.

``python benchmarks/walkforward_peers.py [--rows 2500] [--features 60] [--trees 100] [--rounds 1]`` trains on 252 rows
of one symbol and tests on 63, and moves on by 63 (skfolio's step is its test window) or by 21 (mlforecast). Per window,

- the engine, as many folds at once as there are cores, fits on the purged head of the training rows (the tail is held
  out for early stopping, which is off here), predicts, fits the baselines, trades and scores all of them;
- skfolio's ``WalkForward``, purged by as many rows, in scikit-learn's ``cross_validate``, in as many processes (started
  before the clock) with a thread each, fits on all training rows that the purge leaves, predicts and scores one metric;
- mlforecast's ``cross_validation`` with ``refit`` makes as many lags of the close's returns as the others have
  features, fits on the training rows that have them all, and predicts the 63 rows one after another, each from its
  predictions before. Its threads serve one window.

The engine is also timed with the zoo's defaults.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from joblib import cpu_count
from lightgbm import LGBMRegressor
from mlforecast import MLForecast
from skfolio.model_selection import WalkForward
from sklearn.model_selection import cross_validate
from walkforward import LIBRARY, WINDOWS, best, labeled

from CONFIG.config_loader import load_model_config
from TRAINING.walkforward import WalkForwardEngine

TRAIN, TEST, STEP, HORIZON = WINDOWS["train_days"], WINDOWS["test_days"], WINDOWS["step_days"], 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 2500), ("features", 60), ("trees", 100), ("rounds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    table, jobs = labeled(options.rows, options.features), cpu_count()
    known = table[table["fwd_ret_5"].notna()]
    X, y = known[[f"f{k}" for k in range(options.features)]], known["fwd_ret_5"]
    returns = table["close"].pct_change().fillna(0).to_numpy()
    series = pd.DataFrame({"unique_id": "A", "ds": np.arange(len(table)), "y": returns})

    trees = {"n_estimators": options.trees, "early_stopping_rounds": 0}
    same, zoo = (load_model_config("lightgbm", overrides=extra | trees) for extra in (LIBRARY, {}))
    far, near = (WalkForwardEngine(table, **WINDOWS | {"step_days": step}) for step in (TEST, STEP))
    model = LGBMRegressor(n_estimators=options.trees, verbose=-1, n_jobs=1)  # the fastest for both on so few rows
    windows = WalkForward(test_size=TEST, train_size=TRAIN, purged_size=HORIZON)
    forecast = MLForecast(model, freq=1, lags=range(1, options.features + 1), num_threads=jobs)
    count = len(near.folds)
    peers = {
        "skfolio": (far, windows.get_n_splits(X), lambda: cross_validate(model, X, y, cv=windows, n_jobs=jobs)),
        "mlforecast": (near, count, lambda: forecast.cross_validation(
            series, n_windows=count, h=TEST, step_size=STEP, input_size=TRAIN, refit=True)),
    }  # fmt: skip
    peers["skfolio"][2]()  # starts the processes
    for name, (engine, made, peer) in peers.items():
        works = {
            name: peer,
            "same parameters": lambda engine=engine: engine.run("lightgbm", same, jobs=jobs),
            "the zoo's defaults": lambda engine=engine: engine.run("lightgbm", zoo, jobs=jobs),
        }
        seconds = best(options.rounds, works)
        each = seconds.pop(name) / made
        print(f"{name}: {made} windows, {1000 * each:.1f} ms each")
        for parameters, took in seconds.items():
            own = took / len(engine.folds)
            print(
                f"  engine, {parameters}: {len(engine.folds)} windows, {1000 * own:.1f} ms each: {each / own:.2f} times"
            )


if __name__ == "__main__":
    main()
