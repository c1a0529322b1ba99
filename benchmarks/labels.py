"""Labels per second on one thread: ours beside a compiled loop over each path that stops early, and plain Python.

All fill the same columns (touches, TTH, MFE, MAE, MDD, forward return) from the same bars and barriers, and that they
are equal is checked first. The loop looks no further for a touch than the first one; extremes and drawdown need all of
a path. Plain Python does the same on fewer rows. `build_labels` computes barriers and `label_end` as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np
import pandas as pd
from panel import minute_bars

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.features.feature import lagged
from DATA_PROCESSING.features.windows import rolling_std
from DATA_PROCESSING.labels import build_labels
from DATA_PROCESSING.labels.kernels import path_columns
from DATA_PROCESSING.labels.paths import measure_paths

HORIZONS = (5, 10, 20, 60, 120, 250, 600, 1000)
SPANS = ("30m", "4h", "1d")
PYTHON_HORIZON, PYTHON_TARGET, GROWTH_TARGET = 60, 300.0, 3.0


def loop(high, low, close, upper, lower, horizon, touches, excursions, both):
    """The definitions, row by row."""
    rows = len(close) - horizon
    peak, valley, first, offset = touches[0], touches[1], touches[2], touches[3]
    rise, drop, fall, change = excursions[0], excursions[1], excursions[2], excursions[3]
    for t in range(len(close)):
        peak[t] = valley[t] = first[t] = offset[t] = np.nan
        rise[t] = drop[t] = fall[t] = change[t] = np.nan
        both[t] = False
        if t >= rows:
            continue
        price, goal, floor = close[t], upper[t], lower[t]
        highest, lowest, top, ratio = price, price, price, 1.0
        for u in range(t + 1, t + horizon + 1):
            highest, lowest, top = max(highest, high[u]), min(lowest, low[u]), max(top, close[u])
            ratio = min(ratio, close[u] / top)
        rise[t], drop[t], fall[t] = highest / price - 1.0, lowest / price - 1.0, ratio - 1.0
        change[t] = close[t + horizon] / price - 1.0
        if not goal > price > floor:
            continue
        up = down = horizon + 1
        for u in range(t + 1, t + horizon + 1):
            if high[u] >= goal:
                up = u - t
                break
        for u in range(t + 1, t + horizon + 1):
            if low[u] <= floor:
                down = u - t
                break
        peak[t], valley[t], first[t] = up <= horizon, down <= horizon, 0.0
        if up <= horizon or down <= horizon:
            first[t], offset[t], both[t] = (1.0 if up < down else -1.0), min(up, down), up == down


compiled_loop = numba.njit(nogil=True, error_model="numpy")(loop)


def fastest(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest of some calls of each, taken in turn."""
    seconds = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def barriers(close: np.ndarray, settings: dict, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    sigma = rolling_std(np.log(close / lagged(close, 1)), settings["vol_window"], 1)
    move = settings["barrier"] * np.sqrt(horizon) * sigma
    return close * np.exp(move), close * np.exp(-move)


def by_loop(call: Callable, high, low, close, upper, lower, horizon) -> tuple[np.ndarray, ...]:
    """The columns as `path_columns` returns them; into arrays that NumPy makes in large pieces, as ours are."""
    made = np.empty((4, len(close)), np.float32), np.empty((4, len(close))), np.empty(len(close), bool)
    call(high, low, close, upper, lower, horizon, *made)
    return made


def check(ours: tuple[np.ndarray, ...], peer: tuple[np.ndarray, ...]) -> None:
    for mine, other in zip(ours, peer, strict=True):
        np.testing.assert_array_equal(mine, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--python-rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    bars, settings = minute_bars(options.rows, 0), load_run_config("labels")
    high, low, close = (bars[name].to_numpy(copy=True) for name in ("high", "low", "close"))
    timestamp = bars["timestamp"].to_numpy("datetime64[ns]")
    by_loop(compiled_loop, *(column[:9] for column in (high, low, close, close, close)), 2)
    results = []
    for horizon in HORIZONS:
        upper, lower = barriers(close, settings, horizon)
        ahead = measure_paths(timestamp, None, horizon, settings["vol_window"]).ahead

        def ours(upper=upper, lower=lower, ahead=ahead):
            return path_columns(high, low, close, False, upper, lower, ahead)

        def peer(upper=upper, lower=lower, horizon=horizon):
            return by_loop(compiled_loop, high, low, close, upper, lower, horizon)

        def whole(horizon=horizon):
            return build_labels(bars, **settings | {"horizon": horizon})

        check(ours(), peer())
        seconds = fastest({"ours": ours, "loop": peer}, options.rounds if horizon < 100 else 1)
        seconds |= fastest({"build": whole}, options.rounds)
        results.append((horizon, seconds["loop"], seconds["ours"], seconds["build"]))
        if horizon == PYTHON_HORIZON:
            part = [column[: options.python_rows] for column in (high, low, close, upper, lower)]
            few = np.where(np.arange(options.python_rows) + horizon < options.python_rows, horizon, 0)
            started = time.perf_counter()
            plain = by_loop(loop, *(column.tolist() for column in part), horizon)
            python = (time.perf_counter() - started) / options.python_rows * options.rows
            check(path_columns(*part[:3], False, *part[3:], few), plain)
    table = pd.DataFrame(results, columns=["horizon", "loop_s", "ours_s", "build_labels_s"]).set_index("horizon")
    table["loop / ours"] = table["loop_s"] / table["ours_s"]
    table["ours, M rows/s"] = options.rows / table["ours_s"] / 1e6
    table["build_labels, M rows/s"] = options.rows / table["build_labels_s"] / 1e6
    print(f"{options.rows:,} rows, one thread")
    print(table.round(4).to_string())
    print(f"slowest beside the loop:  {table['loop / ours'].min():.2f}x (1x wanted)")
    print(f"H = 600 / H = 60:         {table.ours_s[600] / table.ours_s[60]:.2f}x (at most {GROWTH_TARGET:g}x wanted)")
    print(
        f"plain Python at H = {PYTHON_HORIZON}:   {python / table.ours_s[PYTHON_HORIZON]:,.0f}x slower, measured on "
        f"{options.python_rows:,} rows ({PYTHON_TARGET:g}x wanted)"
    )
    more = settings | {"horizon": 5, "horizons": [20, 60]}
    seconds = fastest({"together": lambda: build_labels(bars, **more)}, options.rounds)["together"]
    print(f"H = 5, 20, 60 at once:    {seconds / table.build_labels_s[[5, 20, 60]].sum():.2f} of one by one")
    for span in SPANS:
        seconds = fastest({span: lambda h=span: build_labels(bars, **settings | {"horizon": h})}, 2)[span]
        print(f"horizon {span:4}              {options.rows / seconds / 1e6:.1f} M rows/s")


if __name__ == "__main__":
    main()
