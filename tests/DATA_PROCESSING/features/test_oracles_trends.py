"""Further features of `comprehensive`, returns to trend, against TA-Lib, scipy or their formulas in pandas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib
from scipy import stats

from DATA_PROCESSING.features.table import COMPREHENSIVE, feature_table

FAMILIES = ("returns", "volatility", "momentum", "averages", "oscillators", "bands", "trend")
FEATURES = [f for family in FAMILIES for f in COMPREHENSIVE[family] if f not in feature_table("simple")]


def returns(b: pd.DataFrame, span: int = 1) -> pd.Series:
    return np.log(b["close"] / b["close"].shift(span))


def night(b: pd.DataFrame) -> pd.Series:
    return np.log(b["open"] / b["close"].shift())


def day(b: pd.DataFrame) -> pd.Series:
    return np.log(b["close"] / b["open"])


def prices(b: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    return b["high"], b["low"], b["close"]


def middle(b: pd.DataFrame) -> pd.Series:
    return (b["high"] + b["low"]) / 2


def mean(x: pd.Series, window: int) -> pd.Series:
    return x.rolling(window).mean()


def vol(b: pd.DataFrame, window: int) -> pd.Series:
    return returns(b).rolling(window).std()


def ema(x: pd.Series, window: int) -> pd.Series:
    """Seeded with the first mean, as TA-Lib does."""
    return pd.Series(talib.EMA(x.to_numpy(float), timeperiod=window), index=x.index)


def wma(x: pd.Series, window: int) -> pd.Series:
    return pd.Series(talib.WMA(x.to_numpy(float), timeperiod=window), index=x.index)


def atr(b: pd.DataFrame, window: int) -> pd.Series:
    return talib.ATR(*prices(b), timeperiod=window)


def in_windows(x: pd.Series, window: int, function: Callable[..., np.ndarray]) -> np.ndarray:
    """Apply a function of (windows, window), with axis, to all windows."""
    out = np.full(len(x), np.nan)
    out[window - 1 :] = function(np.lib.stride_tricks.sliding_window_view(x.to_numpy(), window), axis=1)
    return out


def rogers_satchell(b: pd.DataFrame, window: int) -> pd.Series:
    up, down = (np.log(b[name] / b["open"]) for name in ("high", "low"))
    return mean(up * (up - day(b)) + down * (down - day(b)), window)


def yang_zhang(b: pd.DataFrame, n: int) -> pd.Series:
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    open_to_close = day(b).rolling(n).var()
    return np.sqrt(night(b).rolling(n).var() + k * open_to_close + (1 - k) * rogers_satchell(b, n))


def downside(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(returns(b).clip(upper=0) ** 2, window)


def correlation_with_size(b: pd.DataFrame, other: pd.Series, window: int = 60) -> pd.Series:
    return returns(b).abs().rolling(window).corr(other)


def volatility_of_volatility(b: pd.DataFrame, window: int, long: int) -> pd.Series:
    return vol(b, window).rolling(long).std() / mean(vol(b, window), long)


def ratio(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(returns(b), window) / vol(b, window)


def balance(b: pd.DataFrame, window: int) -> pd.Series:
    return mean(np.sign(b["close"].diff()), window)


def know_sure_thing(b: pd.DataFrame) -> pd.Series:
    rate = {n: b["close"].pct_change(n) for n in (10, 15, 20, 30)}
    return mean(rate[10], 10) + 2 * mean(rate[15], 10) + 3 * mean(rate[20], 10) + 4 * mean(rate[30], 15)


def true_strength(b: pd.DataFrame) -> pd.Series:
    change = b["close"].diff()
    return 100 * ema(ema(change, 25), 13) / ema(ema(change.abs(), 25), 13)


def hull(b: pd.DataFrame) -> pd.Series:
    return wma(2 * wma(b["close"], 10) - wma(b["close"], 20), 4)


def stochastic_k(b: pd.DataFrame) -> pd.Series:
    return talib.STOCH(*prices(b), fastk_period=5, slowk_period=3, slowk_matype=0, slowd_period=1, slowd_matype=0)[0]


def stochastic_momentum(b: pd.DataFrame) -> pd.Series:
    lowest, highest = b["low"].rolling(13).min(), b["high"].rolling(13).max()
    distance, half = b["close"] - (highest + lowest) / 2, (highest - lowest) / 2
    return 100 * ema(ema(distance, 25), 2) / ema(ema(half, 25), 2)


def fisher(b: pd.DataFrame) -> pd.Series:
    lowest, highest = middle(b).rolling(20).min(), middle(b).rolling(20).max()
    smooth = ema(2 * (middle(b) - lowest) / (highest - lowest) - 1, 5).clip(-0.999, 0.999)
    return ema(0.5 * np.log((1 + smooth) / (1 - smooth)), 3)


def relative_strength_place(b: pd.DataFrame) -> pd.Series:
    strength = talib.RSI(b["close"], timeperiod=14)
    lowest = strength.rolling(14).min()
    return 100 * (strength - lowest) / (strength.rolling(14).max() - lowest)


def demarker(b: pd.DataFrame) -> pd.Series:
    up, down = mean(b["high"].diff().clip(lower=0), 14), mean((-b["low"].diff()).clip(lower=0), 14)
    return 100 * up / (up + down)


def awesome(b: pd.DataFrame) -> pd.Series:
    return mean(middle(b), 5) - mean(middle(b), 34)


def bollinger(b: pd.DataFrame, window: int) -> tuple[pd.Series, pd.Series, pd.Series]:
    return talib.BBANDS(b["close"], timeperiod=window, nbdevup=2, nbdevdn=2)


def bollinger_position(b: pd.DataFrame, window: int) -> pd.Series:
    upper, _, lower = bollinger(b, window)
    return (b["close"] - lower) / (upper - lower)


def bollinger_width(b: pd.DataFrame, window: int) -> pd.Series:
    return 4 * b["close"].rolling(window).std(ddof=0) / mean(b["close"], window)


def donchian(b: pd.DataFrame, window: int) -> pd.Series:
    lowest = talib.MIN(b["low"], window)
    return (b["close"] - lowest) / (talib.MAX(b["high"], window) - lowest)


def width(b: pd.DataFrame, window: int) -> pd.Series:
    return b["high"].rolling(window).max() - b["low"].rolling(window).min()


def directional(b: pd.DataFrame) -> pd.Series:
    plus, minus = talib.PLUS_DI(*prices(b), timeperiod=14), talib.MINUS_DI(*prices(b), timeperiod=14)
    return 100 * (plus - minus) / (plus + minus)


def vortex(b: pd.DataFrame, window: int) -> pd.Series:
    up, down = (b["high"] - b["low"].shift()).abs(), (b["low"] - b["high"].shift()).abs()
    return (up.rolling(window).sum() - down.rolling(window).sum()) / talib.TRANGE(*prices(b)).rolling(window).sum()


def mass(b: pd.DataFrame) -> pd.Series:
    smooth = ema(b["high"] - b["low"], 9)
    return (smooth / ema(smooth, 9)).rolling(25).sum()


def choppiness(b: pd.DataFrame, window: int) -> pd.Series:
    travelled = talib.TRANGE(*prices(b)).rolling(window).sum()
    return 100 * np.log(travelled / width(b, window)) / np.log(window)


def variance_ratio(b: pd.DataFrame, span: int, window: int) -> pd.Series:
    return returns(b, span).rolling(window).var() / (span * returns(b).rolling(window).var())


def rescaled_range(b: pd.DataFrame, window: int) -> np.ndarray:
    def of_windows(x: np.ndarray, axis: int) -> np.ndarray:
        sums = np.cumsum(x - x.mean(axis=axis, keepdims=True), axis=axis)  # from the oldest: the range is the same
        highest, lowest = sums.max(axis=axis), sums.min(axis=axis)
        return (np.maximum(highest, 0) - np.minimum(lowest, 0)) / (x.std(axis=axis) * np.sqrt(window))

    return in_windows(returns(b), window, of_windows)


def fractal_dimension(b: pd.DataFrame, window: int) -> pd.Series:
    half = width(b, window // 2)
    return np.log(2 * (half + half.shift(window // 2)) / width(b, window)) / np.log(2)


def over(name: str, oracle: Callable[..., pd.Series], *settings: int | tuple[int, ...]) -> dict[str, Callable]:
    """One oracle per setting: ``name`` takes the numbers, and ``oracle`` takes the bars and the numbers."""
    rows = [setting if isinstance(setting, tuple) else (setting,) for setting in settings]
    return {name.format(*numbers): lambda b, numbers=numbers: oracle(b, *numbers) for numbers in rows}


ORACLES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    # returns
    **over("log_return_{}", returns, 2, 40, 250),
    **over("log_return_1_lag_{}", lambda b, n: returns(b).shift(n), 1, 2, 3),
    **over("overnight_{}", lambda b, n: night(b).rolling(n).sum(), 5, 20, 60),
    **over("intraday_{}", lambda b, n: day(b).rolling(n).sum(), 1, 5),
    "overnight_share_20": lambda b: 1 / (1 + mean(day(b).abs(), 20) / mean(night(b).abs(), 20)),
    "overnight_to_intraday_60": lambda b: night(b).rolling(60).corr(day(b)),
    **over("skew_{}", lambda b, n: in_windows(returns(b), n, stats.skew), 20, 60, 120),
    **over("kurtosis_{}", lambda b, n: in_windows(returns(b), n, stats.kurtosis), 60, 120),
    "largest_return_20": lambda b: returns(b).rolling(20).max(),
    "smallest_return_20": lambda b: returns(b).rolling(20).min(),
    # volatility
    **over("vol_{}", vol, 5, 120, 250),
    **over("vol_{}_to_{}", lambda b, m, n: vol(b, m) / vol(b, n), (5, 20), (20, 120), (60, 250)),
    "vol_change_20": lambda b: np.log(vol(b, 20)).diff(20),
    **over("vol_of_vol_{}_{}", volatility_of_volatility, (10, 60), (20, 120)),
    "ewma_vol_32": lambda b: np.sqrt(ema(returns(b) ** 2, 32)),
    "downside_share_60": lambda b: downside(b, 60) / mean(returns(b) ** 2, 60),
    **over("downside_deviation_{}", lambda b, n: np.sqrt(downside(b, n)), 20, 60),
    **over("parkinson_{}", lambda b, n: np.sqrt(mean(np.log(b["high"] / b["low"]) ** 2, n) / np.log(16)), 5, 60),
    "parkinson_to_vol_20": lambda b: np.sqrt(mean(np.log(b["high"] / b["low"]) ** 2, 20) / np.log(16)) / vol(b, 20),
    "rogers_satchell_20": lambda b: np.sqrt(rogers_satchell(b, 20)),
    **over("yang_zhang_{}", yang_zhang, 20, 60),
    **over(
        "jump_share_{}",
        lambda b, n: 1 - np.pi / 2 * mean((returns(b) * returns(b).shift()).abs(), n) / mean(returns(b) ** 2, n),
        20,
        60,
    ),
    "leverage_60": lambda b: correlation_with_size(b, returns(b).shift()),
    "clustering_60": lambda b: correlation_with_size(b, returns(b).shift().abs()),
    "largest_move_60": lambda b: returns(b).abs().rolling(60).max() / vol(b, 60),
    "atr_50": lambda b: talib.NATR(*prices(b), timeperiod=50) / 100,
    "atr_14_to_50": lambda b: atr(b, 14) / atr(b, 50),
    # momentum
    **over("momentum_{}_{}", lambda b, m, n: returns(b, m).sub(returns(b, n)), (60, 5), (120, 20), (250, 20)),
    **over("acceleration_{}", lambda b, n: returns(b, n).diff(n), 5, 20, 60),
    **over("return_to_vol_{}", ratio, 10, 120, 250),
    **over("direction_{}", balance, 5, 60, 250),
    "discreteness_120": lambda b: -np.sign(b["close"].diff(120)) * balance(b, 120),
    "autocorrelation_120": lambda b: returns(b).rolling(120).corr(returns(b).shift()),
    "autocorrelation_lag_5_120": lambda b: returns(b).rolling(120).corr(returns(b).shift(5)),
    **over("ppo_{}_{}", lambda b, m, n: ema(b["close"], m) / ema(b["close"], n) - 1, (5, 20), (50, 200)),
    "trix_9": lambda b: talib.TRIX(b["close"], timeperiod=9) / 100,
    "tsi_25_13": true_strength,
    "kst": know_sure_thing,
    "coppock_14_11_10": lambda b: wma(b["close"].pct_change(14) + b["close"].pct_change(11), 10),
    "relative_vigor_10": lambda b: mean(b["close"] - b["open"], 10) / mean(b["high"] - b["low"], 10),
    # averages
    **over("close_to_sma_{}", lambda b, n: b["close"] / talib.SMA(b["close"], n) - 1, 5, 200),
    **over(
        "sma_{}_to_sma_{}", lambda b, m, n: mean(b["close"], m) / mean(b["close"], n) - 1, (5, 20), (20, 100), (50, 200)
    ),
    **over("close_to_ema_{}", lambda b, n: b["close"] / ema(b["close"], n) - 1, 10, 200),
    "close_to_hull_20": lambda b: b["close"] / hull(b) - 1,
    "close_to_dema_20": lambda b: b["close"] / talib.DEMA(b["close"], timeperiod=20) - 1,
    "close_to_tema_20": lambda b: b["close"] / talib.TEMA(b["close"], timeperiod=20) - 1,
    **over("sma_{}_distance_in_atr", lambda b, n: (b["close"] - mean(b["close"], n)) / atr(b, 14), 20, 100),
    **over("sma_{}_change_{}", lambda b, m, n: mean(b["close"], m).pct_change(n), (20, 5), (100, 20)),
    "share_above_sma_50_20": lambda b: mean((b["close"] > mean(b["close"], 50)).astype(float), 20),
    # oscillators
    **over("rsi_{}", lambda b, n: talib.RSI(b["close"], timeperiod=n), 5, 28),
    "stochastic_rsi_14": relative_strength_place,
    "stochastic_k_5_3": stochastic_k,
    "stochastic_momentum_13_25_2": stochastic_momentum,
    "fisher_20": fisher,
    "cci_10": lambda b: talib.CCI(*prices(b), timeperiod=10),
    "mfi_60": lambda b: talib.MFI(*prices(b), b["volume"], timeperiod=60),
    "detrended_20": lambda b: (b["close"].shift(11) - mean(b["close"], 20)) / b["close"],
    "awesome_5_34": lambda b: awesome(b) / b["close"],
    "awesome_change_5_34": lambda b: (awesome(b) - mean(awesome(b), 5)) / b["close"],
    "bull_power_13": lambda b: (b["high"] - ema(b["close"], 13)) / b["close"],
    "bear_power_13": lambda b: (b["low"] - ema(b["close"], 13)) / b["close"],
    "demarker_14": demarker,
    "intraday_momentum_14": lambda b: (
        100 * mean((b["close"] - b["open"]).clip(lower=0), 14) / mean((b["close"] - b["open"]).abs(), 14)
    ),
    # bands
    **over("bollinger_position_{}", bollinger_position, 10, 120),
    "bollinger_width_60": lambda b: bollinger_width(b, 60),
    **over("donchian_position_{}", donchian, 10, 120, 250),
    **over("donchian_width_{}", lambda b, n: np.log(b["high"].rolling(n).max() / b["low"].rolling(n).min()), 20, 120),
    "squeeze_20": lambda b: 2 * b["close"].rolling(20).std(ddof=0) / (1.5 * atr(b, 20)),
    "chandelier_22": lambda b: (b["high"].rolling(22).max() - b["close"]) / atr(b, 22),
    # trend
    "adx_28": lambda b: talib.ADX(*prices(b), timeperiod=28),
    "di_balance_14": directional,
    **over("aroon_oscillator_{}", lambda b, n: talib.AROONOSC(b["high"], b["low"], timeperiod=n), 25, 60),
    **over("vortex_{}", vortex, 14, 60),
    **over("slope_{}", lambda b, n: talib.LINEARREG_SLOPE(b["close"], timeperiod=n) / b["close"], 10, 60, 120),
    **over(
        "time_correlation_{}",
        lambda b, n: b["close"].rolling(n).corr(pd.Series(np.arange(float(len(b))))),
        10,
        60,
        120,
    ),
    **over("close_to_line_{}", lambda b, n: b["close"] / talib.LINEARREG(b["close"], timeperiod=n) - 1, 20, 60, 120),
    "efficiency_10": lambda b: b["close"].diff(10) / b["close"].diff().abs().rolling(10).sum(),
    **over("choppiness_{}", choppiness, 14, 60),
    "mass_9_25": mass,
    **over("variance_ratio_{}_{}", variance_ratio, (2, 60), (5, 60), (20, 240)),
    **over("rescaled_range_{}", rescaled_range, 60, 120),
    **over("fractal_dimension_{}", fractal_dimension, 20, 60),
    "higher_highs_20": lambda b: mean(np.sign(b["high"].diff()), 20),
    "higher_lows_20": lambda b: mean(np.sign(b["low"].diff()), 20),
}

# TA-Lib seeds these averages with other values, which fade.
FIRST_ROW = {"di_balance_14": 600, "adx_28": 1100}


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
