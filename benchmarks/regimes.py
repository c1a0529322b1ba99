"""Training of the Gaussian mixture's and the change point model over rows: seconds, and the exponent that fits them."""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_model_config
from TRAINING.model_fun import trainer_class

LIMIT = 1.2  # 1 is linear


def series(rows: int, features: int) -> tuple[pd.DataFrame, pd.Series]:
    """Days of one symbol whose features are of another spread every 250 rows, and a target of one of them."""
    random = np.random.default_rng(0)
    spread = np.array([0.5, 1.0, 2.0])[np.arange(rows) // 250 % 3]
    values = (spread[:, None] * random.normal(size=(rows, features))).astype(np.float32)
    index = pd.date_range("1900-01-01", periods=rows, tz="UTC")
    X = pd.DataFrame(values, index, [f"f{number}" for number in range(features)])
    return X, pd.Series(0.3 * values[:, 0] + random.normal(size=rows), index, name="y")


def seconds(model: str, rows: int, features: int, repeats: int) -> float:
    """Processor time of the fastest of some trainings."""
    X, y = series(rows, features)
    config, taken = load_model_config(model), []
    for _ in range(repeats):
        started = time.process_time()
        trainer_class(model)(config).train(X, y)
        taken.append(time.process_time() - started)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000, help="of the smallest table")
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = options.rows * 2 ** np.arange(4)
    for model in ("gmm_regime", "change_point"):
        seconds(model, 500, options.features, 1)  # compiled and imported
        taken = [seconds(model, count, options.features, options.repeats) for count in rows]
        exponent = np.polyfit(np.log(rows), np.log(taken), 1)[0]
        told = ", ".join(f"{count:,} rows {took:.2f} s" for count, took in zip(rows, taken, strict=True))
        print(f"{model}: {told}; rows to the power of {exponent:.2f} (at most {LIMIT} wanted)", flush=True)


if __name__ == "__main__":
    main()
