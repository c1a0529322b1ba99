"""A row of FTRL-Proximal (standardised, predicted, learnt) against the same in plain Python, and against river.

river: pip install river. It standardises by running moments too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
from river import linear_model, optim, preprocessing

from TRAINING.model_fun.linear.ftrl_estimators import OnlineModel

ALPHA, BETA, L1, L2 = 0.05, 1.0, 1.0, 1.0


def compiled(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return OnlineModel.start(True, (ALPHA, BETA, L1, L2), X.shape[1]).learn(X, y)


def plain(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same, as a Python programmer would write it: lists of numbers."""
    features = X.shape[1]
    count, mean, squares = ([0.0] * features for _ in range(3))
    z, n, w = ([0.0] * features for _ in range(3))
    ones = rows = 0
    answers = []
    for row, label in zip(X.tolist(), y.tolist(), strict=True):
        scaled = []
        for column, value in enumerate(row):
            spread = math.sqrt(squares[column] / count[column]) if count[column] else 0.0
            gap = value - mean[column]
            scaled.append(min(max(gap / spread, -3.0), 3.0) if spread > 0 else 0.0)
            count[column] += 1
            mean[column] += gap / count[column]
            squares[column] += gap * (value - mean[column])
        margin = sum(weight * value for weight, value in zip(w, scaled, strict=True))
        answers.append(_chance(margin, ones, rows) if rows else math.nan)
        ones, rows = ones + label, rows + 1
        slope = _chance(margin, ones, rows) - label
        for column, value in enumerate(scaled):
            gradient = slope * value
            more = n[column] + gradient * gradient
            z[column] += gradient - (math.sqrt(more) - math.sqrt(n[column])) / ALPHA * w[column]
            n[column] = more
            free = abs(z[column]) > L1
            pull = (BETA + math.sqrt(more)) / ALPHA + L2
            w[column] = -(z[column] - math.copysign(L1, z[column])) / pull if free else 0.0
    return np.array(answers)


def _chance(margin: float, ones: float, rows: int) -> float:
    return 1 / (1 + (rows - ones + 0.5) / (ones + 0.5) * math.exp(-margin))


def river(X: np.ndarray, y: np.ndarray) -> None:
    optimizer = optim.FTRLProximal(alpha=ALPHA, beta=BETA, l1=L1, l2=L2)
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optimizer, l2=0.0)
    names = [f"x_{column}" for column in range(X.shape[1])]
    for row, label in zip(X.tolist(), y.tolist(), strict=True):
        features = dict(zip(names, row, strict=True))
        model.predict_proba_one(features)
        model.learn_one(features, label > 0)


def per_row(run: Callable, X: np.ndarray, y: np.ndarray) -> float:
    """Microseconds."""
    started = time.perf_counter()
    run(X, y)
    return (time.perf_counter() - started) / len(X) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="for the compiled loop")
    parser.add_argument("--few", type=int, default=1_000, help="for the others")
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    X = random.normal(size=(options.rows, options.features))
    y = (X[:, 0] + random.normal(size=options.rows) > 0).astype(float)
    few = slice(0, options.few)
    gap = np.nanmax(np.abs(compiled(X[few], y[few]) - plain(X[few], y[few])))
    print(f"largest difference of a prediction, compiled and plain: {gap:.1e}")
    times = [
        (per_row(compiled, X, y), per_row(plain, X[few], y[few]), per_row(river, X[few], y[few]))
        for _ in range(options.repeats)
    ]
    own, loop, theirs = np.min(times, axis=0)
    print(f"{options.features} features, a row: {own:.2f} us compiled, {loop:.0f} us plain, {theirs:.0f} us river")
    print(f"  plain Python takes {loop / own:.0f} times as long (50 wanted), river {theirs / own:.0f} times (5 wanted)")


if __name__ == "__main__":
    main()
