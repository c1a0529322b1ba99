"""Splits found by ``adjust: infer``, and crashes taken for splits: planted ones in real bars, and the demo's own.

The bars to plant in must be adjusted; by default they are the demo's, by its adjusted close. A crash trades and swings
as the overnight moves above 14 % of 505 large companies did over five years (158 of them that lasted): 8.7 times the
usual money and 3.2 times the usual range in the middle, half of them within 5.5 to 11.6 and 2.3 to 4.3.
"""

from __future__ import annotations

import argparse
import logging

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.adjust import BEFORE, HELD, RATIOS, TOLERANCE, find_splits, session_bars
from DATA_PROCESSING.sessions import session_of
from DATA_PROCESSING.sources import read_panel

ALL_RATIOS = np.array([*RATIOS, *(1 / ratio for ratio in RATIOS)])
PRICES = ["open", "high", "low", "close"]
EDGE = BEFORE + HELD


def panel_days(source: str, adjust: str) -> pd.DataFrame:
    """The sessions of a source's symbols that are long enough to plant something in."""
    panel = read_panel(source, load_run_config("bars", {"adjust": adjust}))
    bars = pd.concat({symbol: frame for symbol, frame in panel.bars.items() if len(frame) > 2 * EDGE}, names=["symbol"])
    return session_bars(bars, bars.index.get_level_values("symbol").to_numpy(object), session_of(bars["timestamp"]))


def random_rows(days: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """One row of each symbol, not too near its ends."""
    sizes = days.groupby("symbol", sort=False).size().to_numpy()
    return np.cumsum(sizes) - sizes + random.integers(EDGE, sizes - EDGE)


def move_prices(days: pd.DataFrame, rows: np.ndarray, ratios: np.ndarray, shares: bool) -> pd.DataFrame:
    """Divide each symbol's prices from its row on by its ratio; multiply volumes too where it is a matter of shares."""
    ratio = np.repeat(ratios, days.groupby("symbol", sort=False).size())
    start = np.repeat(rows, days.groupby("symbol", sort=False).size())
    factor = np.where(np.arange(len(days)) >= start, ratio, 1.0)
    return days.assign(
        **{column: days[column] / factor for column in PRICES}, volume=days["volume"] * (factor if shares else 1.0)
    )


def plant_crashes(
    days: pd.DataFrame, rows: np.ndarray, ratios: np.ndarray, random: np.random.Generator
) -> pd.DataFrame:
    """Real moves by those ratios, up where they are below 1, in heavy and wide trading."""
    moved = move_prices(days, rows, ratios, shares=False)
    money, width = np.exp(random.normal(np.log([[8.7], [3.2]]), [[0.55], [0.47]], (2, len(rows))))
    high, low, volume = (moved[column].to_numpy().copy() for column in ("high", "low", "volume"))
    middle = np.sqrt(high[rows] * low[rows])
    half = np.maximum(width, 1) * np.log(high[rows] / low[rows]) / 2
    high[rows], low[rows] = middle * np.exp(half), middle * np.exp(-half)
    volume[rows] *= money * ratios
    return moved.assign(high=high, low=low, volume=volume)


def found(days: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Which rows' events are taken for splits, with which ratio (NaN for none), and how many others are."""
    splits = find_splits(days).query("doubt == ''").set_index(["symbol", "session"])["ratio"]
    wanted = pd.MultiIndex.from_frame(days.loc[rows, ["symbol", "session"]])
    return splits.reindex(wanted).to_numpy(), int((~splits.index.isin(wanted)).sum())


def score_demo() -> None:
    """The demo as it comes, whose adjusted close tells the truth."""
    events = find_splits(panel_days("demo", "none"))
    taken = {(row.symbol, f"{row.session:%Y-%m-%d}") for row in events[events["doubt"] == ""].itertuples()}
    truth = {("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")}
    print(f"the demo: {len(taken & truth)} of {len(truth)} splits found, {len(taken - truth)} false ones")


def main() -> None:
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="demo", help="Adjusted bars to plant in. [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=280, help="One event a symbol in each. [default: %(default)s]")
    options = parser.parse_args()
    score_demo()
    days = panel_days(options.source, "adj_close")
    random = np.random.default_rng(0)
    symbols = days["symbol"].nunique()
    _, unplanted = found(days, random_rows(days, random))
    print(f"{options.source} as it is: {symbols} symbols, {len(days):,} sessions, {unplanted} taken for splits")

    planted, taken, false = dict.fromkeys(ALL_RATIOS, 0), dict.fromkeys(ALL_RATIOS, 0), 0
    crashes = {"any size from 1/12 to 12": 0, "near a ratio, as a split is": 0}
    for turn in range(options.rounds):
        rows = random_rows(days, random)
        ratios = np.roll(ALL_RATIOS, turn)[np.arange(symbols) % len(ALL_RATIOS)]
        ratio, others = found(move_prices(days, rows, ratios, shares=True), rows)
        false += others + int(np.sum(~np.isnan(ratio) & (ratio != ratios)))
        for wanted, got in zip(ratios, ratio, strict=True):
            planted[wanted] += 1
            taken[wanted] += wanted == got
        sizes = np.exp(random.choice([-1, 1], symbols) * random.uniform(np.log(1.25), np.log(12), symbols))
        near = ratios * np.exp(random.uniform(-TOLERANCE, TOLERANCE, symbols))
        for kind, moves in zip(crashes, (sizes, near), strict=True):
            ratio, others = found(plant_crashes(days, rows, moves, random), rows)
            crashes[kind] += int(np.sum(~np.isnan(ratio))) + others
    total = options.rounds * symbols
    recall, hits = sum(taken.values()) / total, sum(taken.values())
    print(f"{total:,} planted splits: recall {recall:.2%}, {false} false ones beside them")
    print("  by ratio: " + ", ".join(f"{ratio:.3g} {taken[ratio] / planted[ratio]:.1%}" for ratio in ALL_RATIOS))
    for kind, wrong in crashes.items():
        precision = hits / (hits + false + wrong)
        print(f"{total:,} crashes and leaps, {kind}: {wrong / total:.2%} taken for splits; precision among as many "
              f"splits {precision:.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
