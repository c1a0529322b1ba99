"""Feature columns per second, one thread each: our `simple` set beside plain pandas, polars and TA-Lib with numpy.

All make the same 67 columns of the same bars; that their numbers agree is checked before anything is timed. Where a
peer has no function for a column it gets the quickest plain numpy for it. The last peer only writes the columns.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import talib
from numpy.lib.stride_tricks import sliding_window_view
from panel import minute_bars

from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import feature_table

SETTLED = 2_000  # rows after which it does not matter how an exponential average began
TARGETS = {"pandas": 5.0, "polars": 6.0, "TA-Lib + numpy": 1.2}
WRITING = 12.0


def since_highest(x: np.ndarray, window: int) -> np.ndarray:
    """Bars since the highest of the last ``window`` values."""
    out = np.full(x.size, np.nan)
    out[window - 1 :] = window - 1 - sliding_window_view(x, window).argmax(axis=1)
    return out


def mean_deviation(x: np.ndarray, window: int) -> np.ndarray:
    """Mean absolute deviation of the last ``window`` values, in pieces that fit into the cache."""
    out, windows = np.full(x.size, np.nan), sliding_window_view(x, window)
    for start in range(0, len(windows), 2048):
        piece = windows[start : start + 2048]
        rows = slice(start + window - 1, start + window - 1 + len(piece))
        out[rows] = np.abs(piece - piece.mean(axis=1, keepdims=True)).mean(axis=1)
    return out


def share_rank(x: np.ndarray, window: int) -> np.ndarray:
    """Rank of the newest of the last ``window`` values, in pieces that fit into the cache."""
    out, windows = np.full(x.size, np.nan), sliding_window_view(x, window)
    for start in range(0, len(windows), 2048):
        piece = windows[start : start + 2048]
        rows = slice(start + window - 1, start + window - 1 + len(piece))
        out[rows] = np.count_nonzero(piece <= piece[:, -1:], axis=1) / window
    return out


class Pandas:
    """The words that the formulas are written in, for pandas."""

    log, sqrt, sign, sin, cos = np.log, np.sqrt, np.sign, np.sin, np.cos
    highest_of, lowest_of = np.maximum, np.minimum

    def mean(self, x, n):
        return x.rolling(n).mean()

    def std(self, x, n, ddof):
        return x.rolling(n).std(ddof=ddof)

    def highest(self, x, n):
        return x.rolling(n).max()

    def lowest(self, x, n):
        return x.rolling(n).min()

    def rank(self, x, n):
        return x.rolling(n).rank(pct=True)

    def correlation(self, x, y, n):
        return x.rolling(n).corr(y)

    def covariance(self, x, y, n):
        return x.rolling(n).cov(y)

    def weighted(self, x, weight):
        return x.ewm(alpha=weight, adjust=False).mean()

    def choose(self, condition, x, other):
        return x.where(condition, other)

    def numpy(self, function, x, n):
        return pd.Series(function(x.to_numpy(), n))

    def rows(self, x):
        return pd.Series(np.arange(float(len(x))))

    def weekday_month(self, timestamp):
        return timestamp.dt.dayofweek, timestamp.dt.month


class Polars:
    """The same words for polars; the expressions run in one query, which computes common parts once."""

    highest_of, lowest_of = staticmethod(pl.max_horizontal), staticmethod(pl.min_horizontal)
    log, sqrt, sign = staticmethod(pl.Expr.log), staticmethod(pl.Expr.sqrt), staticmethod(pl.Expr.sign)
    sin, cos = staticmethod(pl.Expr.sin), staticmethod(pl.Expr.cos)

    def mean(self, x, n):
        return x.rolling_mean(n)

    def std(self, x, n, ddof):
        return x.rolling_std(n, ddof=ddof)

    def highest(self, x, n):
        return x.rolling_max(n)

    def lowest(self, x, n):
        return x.rolling_min(n)

    def rank(self, x, n):
        return x.rolling_rank(n) / n

    def correlation(self, x, y, n):
        return pl.rolling_corr(x, y, window_size=n)

    def covariance(self, x, y, n):
        return pl.rolling_cov(x, y, window_size=n, ddof=1)

    def weighted(self, x, weight):
        return x.ewm_mean(alpha=weight, adjust=False)

    def choose(self, condition, x, other):
        return pl.when(condition).then(x).otherwise(other)

    def numpy(self, function, x, n):
        return x.map_batches(lambda s: pl.Series(function(s.to_numpy(), n)), return_dtype=pl.Float64)

    def rows(self, x):
        return pl.int_range(pl.len()).cast(pl.Float64)

    def weekday_month(self, timestamp):
        return timestamp.dt.weekday() - 1, timestamp.dt.month()


def formulas(kit, timestamp, open_, high, low, close, volume) -> dict:
    """The 67 columns in the words of pandas or polars."""
    previous = close.shift(1)
    change, step = close - previous, kit.log(close / previous)
    span, typical = high - low, (high + low + close) / 3
    turnover = typical * volume
    true_range = kit.highest_of(high, previous) - kit.lowest_of(low, previous)
    means = {n: kit.mean(close, n) for n in (10, 20, 50, 60, 100)}
    vol = {n: kit.std(step, n, 1) for n in (10, 20, 60)}
    volumes = {n: kit.mean(volume, n) for n in (5, 20, 60)}
    ema = {n: kit.weighted(close, 2 / (n + 1)) for n in (12, 20, 26)}
    atr = {n: kit.weighted(true_range, 1 / n) for n in (10, 14)}
    out = {f"log_return_{n}": kit.log(close / close.shift(n)) for n in (1, 5, 10, 20, 60, 120)}
    out |= {f"vol_{n}": vol[n] for n in vol} | {"vol_ratio": vol[10] / vol[60]}
    squares = step * step
    out["downside_share_20"] = kit.mean(kit.choose(step > 0, 0 * squares, squares), 20) / kit.mean(squares, 20)
    log_range, log_body = kit.log(high / low), kit.log(close / open_)
    out["parkinson_20"] = kit.sqrt(kit.mean(log_range * log_range, 20) / (4 * np.log(2)))
    variance = 0.5 * log_range * log_range - (2 * np.log(2) - 1) * log_body * log_body
    out["garman_klass_20"] = kit.sqrt(kit.mean(variance, 20))
    out["atr_14"] = atr[14] / close
    out |= {f"return_to_vol_{n}": kit.mean(step, n) / vol[n] for n in (20, 60)}
    out["direction_20"] = kit.mean(kit.sign(change), 20)
    out["autocorrelation_60"] = kit.correlation(step, step.shift(1), 60)
    macd = ema[12] - ema[26]
    out["macd_12_26"] = macd / close
    out["macd_histogram_12_26_9"] = (macd - kit.weighted(macd, 2 / 10)) / close
    out |= {f"close_to_sma_{n}": close / means[n] - 1 for n in (10, 20, 50, 100)}
    out["sma_10_to_sma_50"] = means[10] / means[50] - 1
    out["close_to_ema_20"] = close / ema[20] - 1
    gain, loss = (kit.weighted(kit.choose(side > 0, side, 0 * side), 1 / 14) for side in (change, -change))
    out["rsi_14"] = 100 * gain / (gain + loss)
    highest = {n: kit.highest(high, n) for n in (14, 20, 60)}
    lowest = {n: kit.lowest(low, n) for n in (14, 20, 60)}
    place = {n: (close - lowest[n]) / (highest[n] - lowest[n]) for n in highest}
    out["stochastic_k_14_3"] = kit.mean(100 * place[14], 3)
    out["stochastic_d_14_3_3"] = kit.mean(out["stochastic_k_14_3"], 3)
    out["williams_r_14"] = 100 * (close - highest[14]) / (highest[14] - lowest[14])
    out["cci_20"] = (typical - kit.mean(typical, 20)) / (0.015 * kit.numpy(mean_deviation, typical, 20))
    moved = typical - typical.shift(1)
    bought, sold = (kit.mean(kit.choose(side > 0, turnover, 0 * side), 14) for side in (moved, -moved))
    out["mfi_14"] = 100 * bought / (bought + sold)
    pressure = close - kit.lowest_of(low, previous)
    short, middle, long = (kit.mean(pressure, n) / kit.mean(true_range, n) for n in (7, 14, 28))
    out["ultimate_7_14_28"] = 100 * (4 * short + 2 * middle + long) / 7
    half = 2 * kit.std(close, 20, 0)
    out["bollinger_position_20"] = 0.5 + 0.5 * (close - means[20]) / half
    out["bollinger_width_20"] = 2 * half / means[20]
    out["keltner_position_20"] = 0.5 + 0.5 * (close - ema[20]) / (2 * atr[10])
    out |= {f"donchian_position_{n}": place[n] for n in (20, 60)}
    up, down = high - high.shift(1), low.shift(1) - low
    plus = kit.weighted(kit.choose((up > down) & (up > 0), up, 0 * up), 1 / 14)
    minus = kit.weighted(kit.choose((down > up) & (down > 0), down, 0 * down), 1 / 14)
    out["plus_di_14"], out["minus_di_14"] = 100 * plus / atr[14], 100 * minus / atr[14]
    out["adx_14"] = kit.weighted(100 * (plus - minus).abs() / (plus + minus), 1 / 14)
    out["aroon_up_25"] = 100 * (1 - kit.numpy(since_highest, high, 26) / 25)
    out["aroon_down_25"] = 100 * (1 - kit.numpy(since_highest, -low, 26) / 25)
    slope = kit.covariance(close, kit.rows(close), 20) / 35
    out["slope_20"] = slope / close
    out["time_correlation_20"] = slope * np.sqrt(399 / 12) / (half / 2)
    out["efficiency_20"] = (close - close.shift(20)) / (20 * kit.mean(change.abs(), 20))
    out["volume_to_mean_20"] = volume / volumes[20]
    out["volume_5_to_60"] = volumes[5] / volumes[60]
    out["obv_20"] = kit.mean(kit.sign(change) * volume, 20) / volumes[20]
    out["chaikin_flow_20"] = kit.mean((2 * close - high - low) / span * volume, 20) / volumes[20]
    turnovers = {n: kit.mean(turnover, n) for n in (20, 60)}
    out["close_to_vwap_20"] = close * volumes[20] / turnovers[20] - 1
    quick, slow = (kit.mean(step.abs(), n) / turnovers[n] for n in (20, 60))
    out["illiquidity_20_60"] = quick / slow
    out["close_position"] = (close - low) / span
    out["body"] = (close - open_) / span
    out["upper_shadow"] = (high - kit.highest_of(open_, close)) / span
    out["gap"] = kit.log(open_ / previous)
    out["true_range"] = true_range / close
    out["range_to_atr_14"] = true_range / atr[14]
    weekday, month = kit.weekday_month(timestamp)
    out |= {"day_of_week_sin": kit.sin(2 * np.pi / 7 * weekday), "day_of_week_cos": kit.cos(2 * np.pi / 7 * weekday)}
    angle = 2 * np.pi / 12 * (month - 1)
    out |= {"month_sin": kit.sin(angle), "month_cos": kit.cos(angle)}
    out["close_rank_120"], out["range_rank_60"] = kit.rank(close, 120), kit.rank(high / low, 60)
    out["return_z_60"] = (step - kit.mean(step, 60)) / vol[60]
    out["close_z_60"] = (close - means[60]) / kit.std(close, 60, 1)
    out["volume_z_60"] = (volume - volumes[60]) / kit.std(volume, 60, 1)
    return out


def with_pandas(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = formulas(Pandas(), *(bars[name] for name in bars))
    return {name: column.to_numpy() for name, column in columns.items()}


def with_polars(bars: pl.DataFrame) -> dict[str, np.ndarray]:
    columns = formulas(Polars(), *(pl.col(name) for name in bars.columns))
    table = bars.lazy().select(**columns).collect()
    return {name: table[name].to_numpy() for name in table.columns}


def with_talib(bars: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The 67 columns by TA-Lib where it has them, else numpy."""
    timestamp, open_, high, low, close, volume = bars.values()
    hlc = (high, low, close)

    def lag(x, n):
        return np.concatenate([np.full(n, np.nan), x[:-n]])

    def mean(x, n):
        return talib.SMA(x, timeperiod=n)

    def deviation(x, n, ddof=1):
        return talib.STDDEV(x, timeperiod=n) * np.sqrt(n / (n - ddof))

    step, change = np.log(close / lag(close, 1)), close - lag(close, 1)
    span, typical = high - low, talib.TYPPRICE(*hlc)
    turnover, true_range = typical * volume, talib.TRANGE(*hlc)
    means = {n: mean(close, n) for n in (10, 20, 50, 60, 100)}
    vol = {n: deviation(step, n) for n in (10, 20, 60)}
    volumes = {n: mean(volume, n) for n in (5, 20, 60)}
    ema_20, atr = talib.EMA(close, 20), {n: talib.ATR(*hlc, timeperiod=n) for n in (10, 14)}
    out = {f"log_return_{n}": np.log(close / lag(close, n)) if n > 1 else step for n in (1, 5, 10, 20, 60, 120)}
    out |= {f"vol_{n}": vol[n] for n in vol} | {"vol_ratio": vol[10] / vol[60]}
    squares = step * step
    out["downside_share_20"] = mean(np.where(step > 0, 0 * squares, squares), 20) / mean(squares, 20)
    log_range, log_body = np.log(high / low), np.log(close / open_)
    log_range *= log_range
    out["parkinson_20"] = np.sqrt(mean(log_range, 20) / (4 * np.log(2)))
    out["garman_klass_20"] = np.sqrt(mean(0.5 * log_range - (2 * np.log(2) - 1) * log_body * log_body, 20))
    out["atr_14"] = atr[14] / close
    out |= {f"return_to_vol_{n}": mean(step, n) / vol[n] for n in (20, 60)}
    sign = np.sign(change)
    out["direction_20"] = mean(sign, 20)
    out["autocorrelation_60"] = talib.CORREL(step[1:], step[:-1], timeperiod=60)
    out["autocorrelation_60"] = np.append(np.nan, out["autocorrelation_60"])
    macd, _, histogram = talib.MACD(close)
    out["macd_12_26"], out["macd_histogram_12_26_9"] = macd / close, histogram / close
    out |= {f"close_to_sma_{n}": close / means[n] - 1 for n in (10, 20, 50, 100)}
    out["sma_10_to_sma_50"] = means[10] / means[50] - 1
    out["close_to_ema_20"] = close / ema_20 - 1
    out["rsi_14"] = talib.RSI(close, timeperiod=14)
    stochastic = talib.STOCH(*hlc, fastk_period=14, slowk_period=3, slowk_matype=0, slowd_period=3, slowd_matype=0)
    out["stochastic_k_14_3"], out["stochastic_d_14_3_3"] = stochastic
    out["williams_r_14"] = talib.WILLR(*hlc, timeperiod=14)
    out["cci_20"] = talib.CCI(*hlc, timeperiod=20)
    out["mfi_14"] = talib.MFI(*hlc, volume, timeperiod=14)
    out["ultimate_7_14_28"] = talib.ULTOSC(*hlc, timeperiod1=7, timeperiod2=14, timeperiod3=28)
    upper, center, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    out["bollinger_position_20"] = (close - lower) / (upper - lower)
    out["bollinger_width_20"] = (upper - lower) / center
    out["keltner_position_20"] = 0.5 + 0.5 * (close - ema_20) / (2 * atr[10])
    for n in (20, 60):
        lowest = talib.MIN(low, n)
        out[f"donchian_position_{n}"] = (close - lowest) / (talib.MAX(high, n) - lowest)
    out["plus_di_14"], out["minus_di_14"] = talib.PLUS_DI(*hlc, timeperiod=14), talib.MINUS_DI(*hlc, timeperiod=14)
    out["adx_14"] = talib.ADX(*hlc, timeperiod=14)
    out["aroon_down_25"], out["aroon_up_25"] = talib.AROON(high, low, timeperiod=25)
    slope = talib.LINEARREG_SLOPE(close, timeperiod=20)
    out["slope_20"] = slope / close
    out["time_correlation_20"] = slope * np.sqrt(399 / 12) / ((upper - lower) / 4)
    out["efficiency_20"] = (close - lag(close, 20)) / (20 * mean(np.abs(change), 20))
    out["volume_to_mean_20"] = volume / volumes[20]
    out["volume_5_to_60"] = volumes[5] / volumes[60]
    out["obv_20"] = mean(sign * volume, 20) / volumes[20]
    out["chaikin_flow_20"] = mean((2 * close - high - low) / span * volume, 20) / volumes[20]
    turnovers = {n: mean(turnover, n) for n in (20, 60)}
    out["close_to_vwap_20"] = close * volumes[20] / turnovers[20] - 1
    size = np.abs(step)
    out["illiquidity_20_60"] = mean(size, 20) / turnovers[20] / (mean(size, 60) / turnovers[60])
    out["close_position"] = (close - low) / span
    out["body"] = talib.BOP(open_, *hlc)
    out["upper_shadow"] = (high - np.maximum(open_, close)) / span
    out["gap"] = np.log(open_ / lag(close, 1))
    out["true_range"] = true_range / close
    out["range_to_atr_14"] = true_range / atr[14]
    weekday = (timestamp.astype("datetime64[D]").astype(np.int64) + 3) % 7
    month = timestamp.astype("datetime64[M]").astype(np.int64) % 12
    for name, position, period in (("day_of_week", weekday, 7), ("month", month, 12)):
        angles = 2 * np.pi * np.arange(period) / period
        out[f"{name}_sin"], out[f"{name}_cos"] = np.sin(angles)[position], np.cos(angles)[position]
    out["close_rank_120"], out["range_rank_60"] = share_rank(close, 120), share_rank(high / low, 60)
    out["return_z_60"] = (step - mean(step, 60)) / vol[60]
    out["close_z_60"] = (close - means[60]) / deviation(close, 60)
    out["volume_z_60"] = (volume - volumes[60]) / deviation(volume, 60)
    return out


def writing(columns: list[np.ndarray]) -> np.ndarray:
    """Fill a float32 table from float64 columns that are there."""
    table = np.empty((len(columns), columns[0].size), np.float32)
    for row, column in zip(table, columns, strict=True):
        row[:] = column
    return table


def built(bars: pd.DataFrame, set_name: str = "simple") -> pd.DataFrame:
    return FeatureStream(feature_table(set_name)).push(bars)


def check(peer: str, theirs: dict[str, np.ndarray], ours: pd.DataFrame) -> None:
    """Refuse a peer that computes something else; running sums are less exact than ours, hence the tolerance."""
    if set(theirs) != set(ours):
        raise SystemExit(f"{peer}: other columns: {sorted(set(theirs) ^ set(ours))}")
    for name, column in theirs.items():
        expected, got = ours[name].to_numpy()[SETTLED:], np.asarray(column, float)[SETTLED:]
        worst = np.nanmax(np.abs(got - expected)) / np.nanmax(np.abs(expected))
        if not (worst < 1e-4 and np.array_equal(np.isnan(got), np.isnan(expected))):
            raise SystemExit(f"{peer}: {name} differs by {worst:.1e} of its largest value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    np.seterr(all="ignore")
    bars = minute_bars(options.rows, seed=0)
    table, arrays = pl.from_pandas(bars), {name: bars[name].to_numpy() for name in bars}
    arrays["timestamp"] = bars["timestamp"].to_numpy("datetime64[ns]")
    ours = built(bars)
    columns = [np.ascontiguousarray(ours[name], dtype=float) for name in ours]
    peers: dict[str, tuple[Callable, object]] = {
        "pandas": (with_pandas, bars),
        "polars": (with_polars, table),
        "TA-Lib + numpy": (with_talib, arrays),
    }
    for peer, (make, given) in peers.items():
        check(peer, make(given), ours)
    runs = {"barzoo": (built, bars), **peers, "only writing": (writing, columns)}
    best = dict.fromkeys(runs, np.inf)
    for _ in range(options.rounds):
        for name, (make, given) in runs.items():
            started = time.perf_counter()
            make(given)
            best[name] = min(best[name], time.perf_counter() - started)
    print(f"{len(columns)} columns of `simple`, {options.rows:,} rows, one thread, best of {options.rounds}")
    for name, seconds in best.items():
        ratio, goal = seconds / best["barzoo"], TARGETS.get(name)
        note = f"{ratio:6.2f} x our time" + (f" (target {goal:g})" if goal else "")
        print(f"{name:16}{seconds:7.2f} s {options.rows / seconds / 1e6:7.2f} M rows/s {note}")
    share = best["barzoo"] / best["only writing"]
    print(f"we take {share:.1f} x the time of only writing the columns (limit {WRITING:g})")
    started = time.perf_counter()
    made = built(bars, "comprehensive").shape[1]
    seconds = time.perf_counter() - started
    print(f"{made} columns of `comprehensive`: {seconds:.2f} s, {options.rows / seconds / 1e6:.2f} M rows/s")


if __name__ == "__main__":
    main()
