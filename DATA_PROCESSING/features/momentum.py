"""Whether recent moves carry on."""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.features.feature import BarsView, Feature, lagged
from DATA_PROCESSING.features.windows import rolling_correlation, rolling_mean, rolling_slope, rolling_std


def return_to_volatility(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("log_return", rolling_mean, window) / bars.over("log_return", rolling_std, window, 1)


def direction(bars: BarsView, window: int) -> np.ndarray:
    return bars.over("direction", rolling_mean, window)


def direction_against(bars: BarsView, window: int) -> np.ndarray:
    return -np.sign(bars.close - lagged(bars.close, window)) * direction(bars, window)


def autocorrelation(bars: BarsView, window: int, lag: int = 1) -> np.ndarray:
    return rolling_correlation(bars.log_return, lagged(bars.log_return, lag), window)


def skipping(bars: BarsView, long: int, skipped: int) -> np.ndarray:
    return np.log(lagged(bars.close, skipped) / lagged(bars.close, long))


def acceleration(bars: BarsView, window: int) -> np.ndarray:
    return np.log(bars.close / lagged(bars.close, window)) - skipping(bars, 2 * window, window)


def macd_line(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.exponential("close", bars.close, short) - bars.exponential("close", bars.close, long)


def macd(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.once(macd_line, short, long) / bars.close


def macd_histogram(bars: BarsView, short: int, long: int, signal: int) -> np.ndarray:
    line = bars.once(macd_line, short, long)
    return (line - bars.exponential(f"macd_{short}_{long}", line, signal)) / bars.close


def percentage_price(bars: BarsView, short: int, long: int) -> np.ndarray:
    return bars.exponential("close", bars.close, short) / bars.exponential("close", bars.close, long) - 1.0


def repeated_exponential(bars: BarsView, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponential average of the close, that of it, and that of that."""
    once = bars.exponential("close", bars.close, window)
    twice = bars.exponential(f"close_{window}", once, window)
    return once, twice, bars.exponential(f"close_{window}_{window}", twice, window)


def triple_change(bars: BarsView, window: int) -> np.ndarray:
    smooth = bars.once(repeated_exponential, window)[2]
    return smooth / lagged(smooth, 1) - 1.0


def true_strength(bars: BarsView, long: int, short: int) -> np.ndarray:
    change = bars.close - lagged(bars.close, 1)
    moved, travelled = (
        bars.exponential(f"{name}_{long}", bars.exponential(name, x, long), short)
        for name, x in (("change", change), ("absolute_change", np.abs(change)))
    )
    return 100.0 * moved / travelled


def rate_of_change(bars: BarsView, window: int) -> np.ndarray:
    return bars.close / lagged(bars.close, window) - 1.0


def know_sure_thing(bars: BarsView) -> np.ndarray:
    spans = ((10, 10), (15, 10), (20, 10), (30, 15))
    return sum(
        weight * rolling_mean(rate_of_change(bars, span), window)
        for weight, (span, window) in enumerate(spans, start=1)
    )


def coppock(bars: BarsView, long: int, short: int, window: int) -> np.ndarray:
    rate = rate_of_change(bars, long) + rate_of_change(bars, short)
    return rolling_mean(rate, window) + rolling_slope(rate, window) * (window - 1) / 6.0  # linearly weighted mean


def relative_vigor(bars: BarsView, window: int) -> np.ndarray:
    return rolling_mean(bars.close - bars.open, window) / rolling_mean(bars.high - bars.low, window)


MOMENTUM = (
    Feature(
        "return_to_vol_20", return_to_volatility, (20,), 20, "mean / standard deviation of 1-bar log returns, 20 bars"
    ),
    Feature(
        "return_to_vol_60", return_to_volatility, (60,), 60, "mean / standard deviation of 1-bar log returns, 60 bars"
    ),
    Feature("direction_20", direction, (20,), 20, "(rising closes - falling closes) / 20, 20 bars"),
    Feature(
        "autocorrelation_60",
        autocorrelation,
        (60,),
        61,
        "correlation of 1-bar log returns with those one bar before, 60 bars",
    ),
    Feature("macd_12_26", macd, (12, 26), 25, "(12-bar - 26-bar exponential average of close) / close", recursive=True),
    Feature(
        "macd_histogram_12_26_9",
        macd_histogram,
        (12, 26, 9),
        33,
        "(12-bar - 26-bar exponential average of close, less its own 9-bar exponential average) / close",
        recursive=True,
    ),
)

MORE_MOMENTUM = (
    *(
        Feature(
            f"momentum_{long}_{skipped}",
            skipping,
            (long, skipped),
            long,
            f"ln(close[t - {skipped}] / close[t - {long}]), Jegadeesh and Titman (1993)",
        )
        for long, skipped in ((60, 5), (120, 20), (250, 20))
    ),
    *(
        Feature(
            f"acceleration_{window}",
            acceleration,
            (window,),
            2 * window,
            f"log return over {window} bars - log return over the {window} bars before, Gettleman and Marks (2006)",
        )
        for window in (5, 20, 60)
    ),
    *(
        Feature(
            f"return_to_vol_{window}",
            return_to_volatility,
            (window,),
            window,
            f"mean / standard deviation of 1-bar log returns, {window} bars",
        )
        for window in (10, 120, 250)
    ),
    *(
        Feature(
            f"direction_{window}",
            direction,
            (window,),
            window,
            f"(rising closes - falling closes) / {window}, {window} bars",
        )
        for window in (5, 60, 250)
    ),
    Feature(
        "discreteness_120",
        direction_against,
        (120,),
        120,
        "sign(change of close over 120 bars) x (falling - rising closes) / 120, Da, Gurun and Warachka (2014)",
    ),
    Feature(
        "autocorrelation_120",
        autocorrelation,
        (120,),
        121,
        "correlation of 1-bar log returns with those one bar before, 120 bars",
    ),
    Feature(
        "autocorrelation_lag_5_120",
        autocorrelation,
        (120, 5),
        125,
        "correlation of 1-bar log returns with those five bars before, 120 bars",
    ),
    *(
        Feature(
            f"ppo_{short}_{long}",
            percentage_price,
            (short, long),
            long - 1,
            f"{short}-bar / {long}-bar exponential average of close - 1",
            recursive=True,
        )
        for short, long in ((5, 20), (50, 200))
    ),
    Feature(
        "trix_9",
        triple_change,
        (9,),
        25,
        "1-bar change of the exponential average of that of that of close, 9 bars each, Hutson (1983)",
        recursive=True,
    ),
    Feature(
        "tsi_25_13",
        true_strength,
        (25, 13),
        37,
        "100 x 13-bar exponential average of the 25-bar one of 1-bar changes / the same of |changes|, Blau (1991)",
        recursive=True,
    ),
    Feature(
        "kst",
        know_sure_thing,
        (),
        44,
        "r10 + 2 r15 + 3 r20 + 4 r30, rN = mean of close / close[N bars before] - 1 over 10, 10, 10 and 15 bars, "
        "Pring (1992)",
    ),
    Feature(
        "coppock_14_11_10",
        coppock,
        (14, 11, 10),
        23,
        "linearly weighted mean of the sum of 14-bar and 11-bar simple returns, 10 bars, Coppock (1962)",
    ),
    Feature(
        "relative_vigor_10",
        relative_vigor,
        (10,),
        9,
        "sum of close - open / sum of high - low, 10 bars, after Ehlers (2002)",
    ),
)
