"""Further features of `comprehensive`, volume to interactions, against TA-Lib, scipy or their formulas in pandas."""

from __future__ import annotations

import calendar
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib

from DATA_PROCESSING.features.table import COMPREHENSIVE, feature_table

FAMILIES = ("volume", "liquidity", "ranges", "extremes", "dates", "ranks", "interactions")
FEATURES = [f for family in FAMILIES for f in COMPREHENSIVE[family] if f not in feature_table("simple")]


def returns(b: pd.DataFrame, span: int = 1) -> pd.Series:
    return np.log(b["close"] / b["close"].shift(span))


def night(b: pd.DataFrame) -> pd.Series:
    return np.log(b["open"] / b["close"].shift())


def day(b: pd.DataFrame) -> pd.Series:
    return np.log(b["close"] / b["open"])


def prices(b: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    return b["high"], b["low"], b["close"]


def typical(b: pd.DataFrame) -> pd.Series:
    return (b["high"] + b["low"] + b["close"]) / 3


def middle(b: pd.DataFrame) -> pd.Series:
    return (b["high"] + b["low"]) / 2


def mean(x: pd.Series, window: int) -> pd.Series:
    return x.rolling(window).mean()


def vol(b: pd.DataFrame, window: int) -> pd.Series:
    return returns(b).rolling(window).std()


def z_score(x: pd.Series, window: int) -> pd.Series:
    return (x - mean(x, window)) / x.rolling(window).std()


def rank(x: pd.Series, window: int) -> pd.Series:
    return x.rolling(window).rank(pct=True)


def ema(x: pd.Series, window: int) -> pd.Series:
    """Seeded with the first mean, as TA-Lib does."""
    return pd.Series(talib.EMA(x.to_numpy(float), timeperiod=window), index=x.index)


def atr(b: pd.DataFrame, window: int) -> pd.Series:
    return talib.ATR(*prices(b), timeperiod=window)


def in_windows(x: pd.Series, window: int, function: Callable[..., np.ndarray]) -> np.ndarray:
    """Apply a function of (windows, window), with axis, to all windows."""
    out = np.full(len(x), np.nan)
    out[window - 1 :] = function(np.lib.stride_tricks.sliding_window_view(x.to_numpy(), window), axis=1)
    return out


def correlation_with_size(b: pd.DataFrame, other: pd.Series, window: int = 60) -> pd.Series:
    return returns(b).abs().rolling(window).corr(other)


def ratio(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(returns(b), window) / vol(b, window)


def balance(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(np.sign(b["close"].diff()), window)


def bollinger_width(b: pd.DataFrame, window: int) -> pd.Series:
    return 4 * b["close"].rolling(window).std(ddof=0) / mean(b["close"], window)


def force(b: pd.DataFrame) -> pd.Series:
    moved = b["close"].diff() * b["volume"]
    return ema(moved, 13) / ema(moved.abs(), 13)


def ease(b: pd.DataFrame) -> pd.Series:
    relative = b["volume"] / mean(b["volume"], 60)
    return mean(middle(b).pct_change() * (b["high"] - b["low"]) / b["close"] / relative, 14)


def rising_to_falling(b: pd.DataFrame) -> pd.Series:
    change = b["close"].diff()
    up, down = (b["volume"].where(side).rolling(60, min_periods=1).mean() for side in (change > 0, change < 0))
    return np.log(up / down)


def per_turnover(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(returns(b).abs(), window) / mean(typical(b) * b["volume"], window)


def weighted_return(b: pd.DataFrame, window: int) -> pd.Series:
    return (returns(b) * b["volume"]).rolling(window).sum() / b["volume"].rolling(window).sum()


def corwin_schultz(b: pd.DataFrame, window: int) -> pd.Series:
    spreads = [np.nan]
    for (_, before), (_, now) in zip(b.iloc[:-1].iterrows(), b.iloc[1:].iterrows(), strict=True):
        high, low = now["high"], now["low"]
        if before["close"] > high:
            high, low = before["close"], low + before["close"] - high
        elif before["close"] < low:
            high, low = high - (low - before["close"]), before["close"]
        beta = np.log(before["high"] / before["low"]) ** 2 + np.log(high / low) ** 2
        gamma = np.log(max(high, before["high"]) / min(low, before["low"])) ** 2
        root = 3 - 2 * np.sqrt(2)
        alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / root - np.sqrt(gamma / root)
        spreads.append(max(2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)), 0))
    return mean(pd.Series(spreads), window)


def abdi_ranaldo(b: pd.DataFrame, window: int) -> pd.Series:
    close, center = np.log(b["close"]), (np.log(b["high"]) + np.log(b["low"])) / 2
    product = ((close - center) * (close - center.shift(-1))).shift()
    return np.sqrt((4 * mean(product, window)).clip(lower=0))


def gap_fill(b: pd.DataFrame) -> list[float]:
    shares = [np.nan]
    for before, opening, high, low in zip(b["close"][:-1], b["open"][1:], b["high"][1:], b["low"][1:], strict=True):
        if opening == before:
            shares.append(0.0)
        elif opening > before:
            shares.append((opening - max(low, before)) / (opening - before))
        else:
            shares.append((min(high, before) - opening) / (before - opening))
    return shares


def containment(b: pd.DataFrame) -> pd.Series:
    return (np.sign(b["high"].diff()) - np.sign(b["low"].diff())) / 2


def overlap(b: pd.DataFrame) -> pd.Series:
    highs, lows = b["high"].rolling(2), b["low"].rolling(2)
    return (highs.min() - lows.max()) / (highs.max() - lows.min())


def run(b: pd.DataFrame) -> list[float]:
    lengths, length = [np.nan], 0
    for change in b["close"].diff()[1:]:
        sign = np.sign(change)
        length = length + sign if sign * length > 0 else sign
        lengths.append(np.clip(length, -10, 10))
    return lengths


def drawdown(b: pd.DataFrame, window: int) -> np.ndarray:
    return in_windows(b["close"], window, lambda x, axis: (x / np.maximum.accumulate(x, axis=axis)).min(axis=axis) - 1)


def ulcer(b: pd.DataFrame) -> pd.Series:
    return np.sqrt(mean((b["close"] / b["close"].rolling(60).max() - 1) ** 2, 60))


def age(x: pd.Series, window: int) -> np.ndarray:
    return in_windows(x, window + 1, lambda windows, axis: windows[:, ::-1].argmax(axis=axis)) / window


def month_turn(b: pd.DataFrame) -> list[float]:
    return [t.day <= 3 or t.day >= calendar.monthrange(t.year, t.month)[1] - 1 for t in b["timestamp"]]


def quarter_position(b: pd.DataFrame) -> pd.Series:
    dates = b["timestamp"].dt
    return ((dates.month - 1) % 3 + (dates.day - 1) / dates.days_in_month) / 3


def rsi_times_adx(b: pd.DataFrame) -> pd.Series:
    return (talib.RSI(b["close"], timeperiod=14) - 50) * talib.ADX(*prices(b), timeperiod=14) / 100


def straight_slope(b: pd.DataFrame, window: int) -> pd.Series:
    fit = b["close"].rolling(window).corr(pd.Series(np.arange(float(len(b))))) ** 2
    return talib.LINEARREG_SLOPE(b["close"], timeperiod=window) / b["close"] * fit


def close_place(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(b["close"] - b["low"], window) / mean(b["high"] - b["low"], window)


def shadow_balance(b: pd.DataFrame) -> pd.Series:
    body = b[["open", "close"]]
    return mean(b["high"] - body.max(axis=1) - body.min(axis=1) + b["low"], 10) / mean(b["high"] - b["low"], 10)


def true_range(b: pd.DataFrame) -> pd.Series:
    return talib.TRANGE(*prices(b))


def circle(position: Callable[[pd.DataFrame], pd.Series], period: int, name: str) -> dict[str, Callable]:
    def at(b: pd.DataFrame, wave: Callable) -> pd.Series:
        return wave(2 * np.pi * position(b) / period)

    return {f"{name}_sin": lambda b: at(b, np.sin), f"{name}_cos": lambda b: at(b, np.cos)}


def over(name: str, oracle: Callable[..., pd.Series], *settings: int | tuple[int, ...]) -> dict[str, Callable]:
    """One oracle per setting: ``name`` takes the numbers, and ``oracle`` takes the bars and the numbers."""
    rows = [setting if isinstance(setting, tuple) else (setting,) for setting in settings]
    return {name.format(*numbers): lambda b, numbers=numbers: oracle(b, *numbers) for numbers in rows}


ORACLES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    # volume
    **over("volume_to_mean_{}", lambda b, n: b["volume"] / talib.SMA(b["volume"], n), 5, 60, 250),
    **over("volume_{}_to_{}", lambda b, m, n: mean(b["volume"], m) / mean(b["volume"], n), (5, 20), (20, 120)),
    **over("obv_{}", lambda b, n: talib.OBV(b["close"], b["volume"]).diff(n) / b["volume"].rolling(n).sum(), 5, 60),
    "chaikin_flow_60": lambda b: talib.AD(*prices(b), b["volume"]).diff(60) / b["volume"].rolling(60).sum(),
    **over(
        "close_to_vwap_{}",
        lambda b, n: b["close"] * mean(b["volume"], n) / mean(typical(b) * b["volume"], n) - 1,
        5,
        60,
    ),
    "volume_change_1": lambda b: np.log(b["volume"]).diff(),
    **over("volume_variation_{}", lambda b, n: b["volume"].rolling(n).std() / mean(b["volume"], n), 20, 60),
    "pvo_12_26": lambda b: ema(b["volume"], 12) / ema(b["volume"], 26) - 1,
    "volume_peak_age_60": lambda b: age(b["volume"], 60),
    "vwma_to_sma_20": lambda b: mean(b["close"] * b["volume"], 20) / mean(b["volume"], 20) / mean(b["close"], 20) - 1,
    **over("weighted_return_{}", weighted_return, 20, 60),
    "force_13": force,
    "ease_of_movement_14": ease,
    "rising_to_falling_volume_60": rising_to_falling,
    "quiet_return_60": lambda b: returns(b).where(b["volume"].diff() < 0, 0.0).rolling(60).sum(),
    **over("volume_return_correlation_{}", lambda b, n: returns(b).rolling(n).corr(b["volume"]), 20, 60),
    "volume_size_correlation_60": lambda b: correlation_with_size(b, b["volume"]),
    "volume_price_correlation_20": lambda b: talib.CORREL(b["close"], b["volume"], timeperiod=20),
    # liquidity
    **over("illiquidity_{}_{}", lambda b, m, n: per_turnover(b, m) / per_turnover(b, n), (5, 20), (60, 250)),
    **over("range_spread_{}", corwin_schultz, 20, 60),
    "middle_spread_60": lambda b: abdi_ranaldo(b, 60),
    "unmoved_60": lambda b: mean((b["close"].diff() == 0).astype(float), 60),
    # ranges
    "lower_shadow": lambda b: (b[["open", "close"]].min(axis=1) - b["low"]) / (b["high"] - b["low"]),
    **over("close_position_{}", close_place, 5, 20),
    "shadow_balance_10": shadow_balance,
    **over("range_{}_to_{}", lambda b, m, n: mean(true_range(b), m) / mean(true_range(b), n), (5, 20), (20, 120)),
    "gap_to_atr_14": lambda b: (b["open"] - b["close"].shift()) / atr(b, 14).shift(),
    "gap_fill": gap_fill,
    "containment": containment,
    "containment_20": lambda b: mean(containment(b), 20),
    "overlap": overlap,
    "run_10": run,
    # extremes
    **over("to_high_{}", lambda b, n: np.log(b["close"] / b["high"].rolling(n).max()), 20, 60, 250),
    **over("to_low_{}", lambda b, n: np.log(b["close"] / b["low"].rolling(n).min()), 20, 60, 250),
    "high_age_250": lambda b: age(b["high"], 250),
    "low_age_250": lambda b: age(-b["low"], 250),
    **over("drawdown_{}", drawdown, 20, 120),
    "ulcer_60": ulcer,
    # dates
    **circle(lambda b: b["timestamp"].dt.day - 1, 31, "day_of_month"),
    **circle(lambda b: b["timestamp"].dt.hour * 60 + b["timestamp"].dt.minute, 1440, "minute_of_day"),
    "month_turn": month_turn,
    "quarter_position": quarter_position,
    "time_gap": lambda b: b["timestamp"].diff() / pd.Timedelta(days=1),
    # ranks
    **over("close_rank_{}", lambda b, n: rank(b["close"], n), 20, 250),
    "range_rank_10": lambda b: rank(b["high"] / b["low"], 10),
    **over("volume_rank_{}", lambda b, n: rank(b["volume"], n), 60, 250),
    "return_rank_60": lambda b: rank(returns(b), 60),
    **over("log_return_{}_rank_{}", lambda b, m, n: rank(returns(b, m), n), (5, 60), (20, 240)),
    **over("vol_{}_rank_{}", lambda b, m, n: rank(vol(b, m), n), (10, 60), (20, 240)),
    "bollinger_width_20_rank_120": lambda b: rank(bollinger_width(b, 20), 120),
    **over("return_z_{}", lambda b, n: z_score(returns(b), n), 20, 250),
    **over("volume_z_{}", lambda b, n: z_score(b["volume"], n), 20, 250),
    "close_z_250": lambda b: z_score(b["close"], 250),
    "range_z_60": lambda b: z_score(np.log(b["high"] / b["low"]), 60),
    "gap_z_60": lambda b: z_score(night(b), 60),
    # interactions
    "return_x_volume_60": lambda b: z_score(returns(b), 60) * z_score(b["volume"], 60),
    "move_on_volume_5_60": lambda b: returns(b, 5) / vol(b, 60) * mean(b["volume"], 5) / mean(b["volume"], 60),
    "momentum_in_calm_60": lambda b: ratio(b, 60) / (vol(b, 20) / vol(b, 120)),
    **over("momentum_change_{}_{}", lambda b, m, n: ratio(b, m) - ratio(b, n), (20, 120), (60, 250)),
    "momentum_near_high_120_250": lambda b: returns(b, 120) * (1 + np.log(b["close"] / b["high"].rolling(250).max())),
    **over("straight_slope_{}", straight_slope, 20, 120),
    "return_x_autocorrelation_60": lambda b: z_score(returns(b), 60) * returns(b).rolling(60).corr(returns(b).shift()),
    "rsi_x_adx_14": rsi_times_adx,
    "gap_x_day_20": lambda b: night(b) * day(b) / vol(b, 20) ** 2,
    "stretch_x_direction_20": lambda b: (b["close"] / mean(b["close"], 20) - 1) / vol(b, 60) * balance(b, 5),
    "close_position_x_volume_5_20": lambda b: (2 * close_place(b, 5) - 1) * b["volume"] / mean(b["volume"], 20),
    "close_rank_x_vol_ratio_120": lambda b: (2 * rank(b["close"], 120) - 1) * vol(b, 10) / vol(b, 60),
}

# TA-Lib seeds the average of the first with other values, which fade; the difference of its AD starts a bar later.
FIRST_ROW = {"rsi_x_adx_14": 600, "chaikin_flow_60": 60}


def test_every_feature_of_these_families_has_an_oracle():
    assert set(ORACLES) == {feature.name for feature in FEATURES}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_further_feature_equals_its_oracle(viewed_bars, feature):
    for bars, view in viewed_bars:
        with np.errstate(all="ignore"):
            ours = feature.compute(view, *feature.arguments)
            theirs = np.asarray(ORACLES[feature.name](bars), dtype=float)
        first = FIRST_ROW.get(feature.name, feature.lookback)
        scale = np.nanmax(np.abs(theirs[first:]))
        np.testing.assert_allclose(ours[first:], theirs[first:], rtol=1e-7, atol=1e-9 * scale)
