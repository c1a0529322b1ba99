"""Volume, only as ratios: dividing all volumes by a constant changes nothing."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.liquidity import illiquidity_over
from DATA_PROCESSING.features.volatility import absolute_return
from DATA_PROCESSING.features.windows import bars_since_max, rolling_correlation, rolling_mean, rolling_std


def relative_volume(bars: BarsView, window: int) -> np.ndarray:
    return bars.volume / bars.over("volume", rolling_mean, window)


def volume_trend(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.over("volume", rolling_mean, short) / bars.over("volume", rolling_mean, long)


def on_balance(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.direction * bars.volume, window) / bars.over("volume", rolling_mean, window)


def chaikin_flow(bars: BarsView, window: int) -> np.ndarray:
    location = (2.0 * bars.close - bars.high - bars.low) / (bars.high - bars.low)
    location[bars.high == bars.low] = 0.0
    flow = location * bars.volume
    return rolling_mean(flow, window) / bars.over("volume", rolling_mean, window)


def close_to_average_price(bars: BarsView, window: int) -> np.ndarray:
    return bars.close * bars.over("volume", rolling_mean, window) / bars.over("turnover", rolling_mean, window) - 1.0


def volume_change(bars: BarsView) -> np.ndarray:
    return np.log(bars.volume / lagged(bars.volume, 1))


def volume_variation(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("volume", rolling_std, window, 1) / bars.over("volume", rolling_mean, window)


def percentage_volume(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.exponential("volume", bars.volume, short) / bars.exponential("volume", bars.volume, long) - 1.0


def volume_peak_age(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("volume", bars_since_max, window + 1) / window


def weighted_to_simple(bars: BarsView, window: int) -> np.ndarray:
    weighted = rolling_mean(bars.close * bars.volume, window) / bars.over("volume", rolling_mean, window)
    return weighted / bars.over("close", rolling_mean, window) - 1.0


def weighted_return(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.log_return * bars.volume, window) / bars.over("volume", rolling_mean, window)


def force(bars: BarsView, window: int) -> np.ndarray:
    change = (bars.close - lagged(bars.close, 1)) * bars.volume
    size = bars.exponential("absolute_force", np.abs(change), window)
    return bars.exponential("force", change, window) / size


def ease_of_movement(bars: BarsView, window: int, volume_window: int) -> np.ndarray:
    middle = 0.5 * (bars.high + bars.low)
    relative = bars.volume / bars.over("volume", rolling_mean, volume_window)
    ease = (middle / lagged(middle, 1) - 1.0) * (bars.high - bars.low) / (bars.close * relative)
    ease[bars.volume == 0.0] = 0.0
    return rolling_mean(ease, window)


def rising_to_falling(bars: BarsView, window: int) -> np.ndarray:
    rising, falling = np.maximum(bars.direction, 0.0), np.maximum(-bars.direction, 0.0)
    up, down = (rolling_mean(side * bars.volume, window) / rolling_mean(side, window) for side in (rising, falling))
    return np.log(up / down)


def quiet_return(bars: BarsView, window: int) -> np.ndarray:
    change = bars.volume - lagged(bars.volume, 1)
    return window * rolling_mean(np.where(change < 0.0, bars.log_return, 0.0 * change), window)


def volume_to_return(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(bars.volume, bars.log_return, window)


def volume_to_size(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(bars.volume, bars.once(absolute_return), window)


def volume_to_price(bars: BarsView, window: int) -> np.ndarray:
    return rolling_correlation(bars.volume, bars.close, window)


def relative_volume_over(window: int) -> Feature:
    text = f"volume / its {window}-bar mean"
    return Feature(f"volume_to_mean_{window}", relative_volume, (window,), window - 1, text)


def volume_trend_over(short: int, long: int) -> Feature:
    text = f"{short}-bar mean of volume / {long}-bar mean of volume"
    return Feature(f"volume_{short}_to_{long}", volume_trend, (short, long), long - 1, text)


def on_balance_over(window: int) -> Feature:
    return Feature(
        f"obv_{window}",
        on_balance,
        (window,),
        window,
        f"volume of rising less volume of falling bars / volume, {window} bars: change of on-balance volume",
    )


def chaikin_flow_over(window: int) -> Feature:
    return Feature(
        f"chaikin_flow_{window}",
        chaikin_flow,
        (window,),
        window - 1,
        f"mean of volume x (2 close - high - low) / (high - low), 0 without range / mean of volume, {window} bars",
    )


def close_to_average_price_over(window: int) -> Feature:
    text = f"close / volume-weighted mean of the typical price - 1, {window} bars"
    return Feature(f"close_to_vwap_{window}", close_to_average_price, (window,), window - 1, text)


VOLUME = (
    relative_volume_over(20),
    volume_trend_over(5, 60),
    on_balance_over(20),
    chaikin_flow_over(20),
    close_to_average_price_over(20),
    illiquidity_over(20, 60),
)

MORE_VOLUME = (
    *(relative_volume_over(window) for window in (5, 60, 250)),
    *(volume_trend_over(short, long) for short, long in ((5, 20), (20, 120))),
    *(on_balance_over(window) for window in (5, 60)),
    chaikin_flow_over(60),
    *(close_to_average_price_over(window) for window in (5, 60)),
    Feature("volume_change_1", volume_change, (), 1, "ln(volume / previous volume)"),
    *(
        Feature(
            f"volume_variation_{window}",
            volume_variation,
            (window,),
            window - 1,
            f"standard deviation / mean of volume, {window} bars, Chordia, Subrahmanyam and Anshuman (2001)",
        )
        for window in (20, 60)
    ),
    Feature(
        "pvo_12_26",
        percentage_volume,
        (12, 26),
        25,
        "12-bar / 26-bar exponential average of volume - 1",
        recursive=True,
    ),
    Feature(
        "volume_peak_age_60",
        volume_peak_age,
        (60,),
        60,
        "bars since the highest volume / 60, 60 bars before and this one",
    ),
    Feature(
        "vwma_to_sma_20",
        weighted_to_simple,
        (20,),
        19,
        "volume-weighted / simple mean of close - 1, 20 bars, Dormeier (2007)",
    ),
    *(
        Feature(
            f"weighted_return_{window}",
            weighted_return,
            (window,),
            window,
            f"volume-weighted mean of 1-bar log returns, {window} bars",
        )
        for window in (20, 60)
    ),
    Feature(
        "force_13",
        force,
        (13,),
        13,
        "13-bar exponential average of 1-bar change x volume / the same of its size, Elder (1993)",
        recursive=True,
    ),
    Feature(
        "ease_of_movement_14",
        ease_of_movement,
        (14, 60),
        72,
        "mean over 14 bars of return of (high + low) / 2 x (high - low) / close / volume_to_mean_60, 0 without "
        "volume, Arms (1996)",
    ),
    Feature(
        "rising_to_falling_volume_60",
        rising_to_falling,
        (60,),
        60,
        "ln(mean volume of rising bars / mean volume of falling bars), 60 bars",
    ),
    Feature(
        "quiet_return_60",
        quiet_return,
        (60,),
        60,
        "sum of 1-bar log returns with falling volume, 60 bars: a window of Fosback's negative volume index (1976)",
    ),
    *(
        Feature(
            f"volume_return_correlation_{window}",
            volume_to_return,
            (window,),
            window,
            f"correlation of volume with the 1-bar log return, {window} bars",
        )
        for window in (20, 60)
    ),
    Feature(
        "volume_size_correlation_60",
        volume_to_size,
        (60,),
        60,
        "correlation of volume with |1-bar log return|, 60 bars, Karpoff (1987)",
    ),
    Feature(
        "volume_price_correlation_20",
        volume_to_price,
        (20,),
        19,
        "correlation of volume with close, 20 bars, Kakushadze (2016)",
    ),
)
