"""Natural gradient boosting: histogram trees and written-out gradients against NGBoost as it comes, at equal CRPS.

The same rounds, learning rate and depth for all; CRPS on rows that none was trained on. Between the two ends stand
other ways to make the library faster: draws of rows and columns, scikit-learn's histogram trees, and our trees alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from ngboost import NGBRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

from TRAINING.model_fun.boosting.distributions import crps_normal
from TRAINING.model_fun.boosting.histogram_trees import Quantiser
from TRAINING.model_fun.boosting.natural_engine import HistogramTree
from TRAINING.model_fun.boosting.natural_estimators import NaturalBoostingRegressor

LEARNING_RATE, DEPTH = 0.01, 3
HALF = {"minibatch_frac": 0.5, "col_sample": 0.5}
Model = Callable[[np.ndarray], dict[str, np.ndarray]]


def planted(rows: int, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 features, of which four move the mean and four the deviation of a noisy target."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, features)).astype(np.float32)
    mean = 0.3 * X[:, 0] + 0.3 * np.sin(2 * X[:, 1]) + 0.2 * X[:, 2] * (X[:, 3] > 0)
    deviation = np.exp(0.4 * X[:, 4] + 0.3 * np.abs(X[:, 5]) - 0.3 * X[:, 6] * (X[:, 7] > 0))
    return X, mean + deviation * random.normal(size=rows)


def library(X: np.ndarray, y: np.ndarray, rounds: int, **settings: object) -> Model:
    """NGBoost as its manual shows it: a tree of depth 3 per parameter and round."""
    model = NGBRegressor(n_estimators=rounds, learning_rate=LEARNING_RATE, verbose=False, random_state=0, **settings)
    model.fit(X, y)
    return lambda later: dict(model.pred_dist(later).params)


def with_scikit_learn_histograms(X: np.ndarray, y: np.ndarray, rounds: int) -> Model:
    tree = HistGradientBoostingRegressor(
        max_iter=1, max_depth=DEPTH, learning_rate=1.0, min_samples_leaf=1, early_stopping=False, max_bins=32
    )
    return library(X, y, rounds, Base=tree)


def with_our_trees(X: np.ndarray, y: np.ndarray, rounds: int) -> Model:
    quantiser = Quantiser.learn(X, 32)
    predict = library(quantiser.encode(X), y, rounds, Base=HistogramTree(DEPTH, 1))
    return lambda later: predict(quantiser.encode(later))


def ours(X: np.ndarray, y: np.ndarray, rounds: int, **settings: float) -> Model:
    model = NaturalBoostingRegressor(
        "normal",
        n_estimators=rounds,
        learning_rate=LEARNING_RATE,
        max_depth=DEPTH,
        min_samples_leaf=1,
        **{"minibatch_frac": 1.0, "col_sample": 1.0, **settings},
    )
    return model.fit(X, y).predict_parameters


RUNS: dict[str, Callable[..., Model]] = {
    "NGBoost as it comes": library,
    "NGBoost, half of rows and columns": lambda *data: library(*data, **HALF),
    "NGBoost on HistGradientBoosting trees": with_scikit_learn_histograms,
    "NGBoost on our trees": with_our_trees,
    "ours": ours,
    "ours, half of rows and columns": lambda *data: ours(*data, **HALF),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for run in RUNS.values():
        run(*planted(100, 8, 0), 2)  # compiled and imported
    taken: dict[str, list[float]] = {name: [] for name in RUNS}
    answered: dict[str, list[float]] = {name: [] for name in RUNS}
    scores: dict[str, list[float]] = {name: [] for name in RUNS}
    for seed in range(options.repeats):
        X, y = planted(options.rows, options.features, seed)
        later, outcome = planted(5 * options.rows, options.features, 1000 + seed)
        for name, run in RUNS.items():
            started = time.process_time()  # a busy neighbour does not count
            predict = run(X, y, options.rounds)
            trained = time.process_time()
            parameters = predict(later)
            answered[name].append(time.process_time() - trained)
            taken[name].append(trained - started)
            scores[name].append(crps_normal(outcome, parameters).mean())
    first = next(iter(RUNS))
    print(f"{options.rows} rows, {options.features} features, {options.rounds} rounds; the same tables for all")
    for name in RUNS:
        ratio = np.mean(np.divide(scores[name], scores[first]))
        print(
            f"{name:38} {min(taken[name]):6.2f} s, {min(taken[first]) / min(taken[name]):5.1f} times as fast; "
            f"CRPS {ratio:.4f} of its; predicting {min(answered[first]) / min(answered[name]):5.1f} times as fast"
        )


if __name__ == "__main__":
    main()
