"""What happens on the path of every bar: the next ``ahead[t]`` bars, whatever their number.

Short paths are scanned bar by bar, for many rows at once. Longer ones are put together from spans of 1, 2, 4, ... bars,
each made of two of half its length, so that cost grows with the logarithm of the length. Either way a row's values
come from its own path alone and do not depend on the rows around it, to the last bit.
"""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled

SHORT = 24  # bars up to which scanning a path is the faster way
SCANNED_BLOCK = 256  # rows per block of short paths: all of it stays in the first-level cache
BLOCK = 1024  # rows per block of longer ones: their spans stay in the second-level cache


@compiled
def scan_reach(
    x: np.ndarray,
    side: float,
    level: np.ndarray,
    ahead: np.ndarray,
    start: int,
    longest: int,
    offset: np.ndarray,
    extreme: np.ndarray,
) -> None:
    """The first offset at which x is at ``level`` or beyond, and the most extreme ``side * x`` of the path.

    ``side`` is 1 for levels above and the highest x, -1 for levels below and the lowest. ``level`` and ``ahead`` belong
    to the rows from ``start`` on. Where the level is not reached, the offset is beyond the path.
    """
    for row in range(ahead.size):
        offset[row], extreme[row] = longest + 1, -np.inf
    for bars in range(longest, 0, -1):  # backwards, so that the last touch to be seen is the first
        begin = min(start + bars, x.size)
        later = x[begin:]
        for row in range(min(ahead.size, later.size)):
            value = side * later[row] if bars <= ahead[row] else -np.inf
            offset[row] = bars if value >= side * level[row] else offset[row]
            extreme[row] = value if value > extreme[row] else extreme[row]


@compiled
def scan_fall(x: np.ndarray, ahead: np.ndarray, start: int, longest: int, trough: np.ndarray, fall: np.ndarray) -> None:
    """The lowest ratio, at most 1, of a value of the path to the bar's own or one between."""
    for row in range(ahead.size):
        trough[row], fall[row] = np.inf, 1.0
    for bars in range(longest, -1, -1):
        begin = min(start + bars, x.size)
        later = x[begin:]
        for row in range(min(ahead.size, later.size)):
            trough[row] = later[row] if bars <= ahead[row] and later[row] < trough[row] else trough[row]
            ratio = trough[row] / later[row]
            fall[row] = ratio if ratio < fall[row] else fall[row]


@compiled
def span_reach(
    x: np.ndarray,
    side: float,
    level: np.ndarray,
    ahead: np.ndarray,
    start: int,
    spans: np.ndarray,
    below: np.ndarray,
    offset: np.ndarray,
    extreme: np.ndarray,
) -> None:
    """As `scan_reach`; ``spans[k, i]`` becomes the highest ``side * x`` of 2^k bars from bar ``start + 1 + i`` on."""
    doublings = spans.shape[0] - 1
    width = ahead.size + (2 << doublings)
    present = max(min(width, x.size - start - 1), 0)
    for row in range(width):
        spans[0, row] = side * x[start + 1 + row] if row < present else -np.inf
    for doubling in range(1, doublings + 1):
        half = 1 << (doubling - 1)
        width -= half
        near, far, whole = spans[doubling - 1], spans[doubling - 1, half:], spans[doubling]
        for row in range(width):
            whole[row] = near[row] if near[row] > far[row] else far[row]

    for row in range(ahead.size):  # two spans that overlap cover a path
        doubling = doublings
        while doubling and not ahead[row] >> doubling:
            doubling -= 1
        extreme[row] = max(spans[doubling, row], spans[doubling, row + max(ahead[row] - (1 << doubling), 0)])
        below[row] = 0  # bars ahead that are known to stay below the level
    for doubling in range(doublings, -1, -1):
        span = spans[doubling]
        for row in range(ahead.size):
            below[row] += 1 << doubling if span[row + below[row]] < side * level[row] else 0
    for row in range(ahead.size):
        offset[row] = below[row] + 1


@compiled
def span_fall(
    x: np.ndarray,
    ahead: np.ndarray,
    start: int,
    longest: int,
    spans: np.ndarray,
    covered: np.ndarray,
    peak: np.ndarray,
    fall: np.ndarray,
) -> None:
    """As `scan_fall`; ``spans`` holds highest value, lowest value and lowest ratio of spans of two lengths.

    Two spans that follow each other make one: its lowest ratio lies in the first, in the second, or between the highest
    value of the first and the lowest of the second.
    """
    width = ahead.size + longest
    present = min(width, x.size - start)
    for row in range(width):
        spans[0, 0, row] = spans[0, 1, row] = x[start + row] if row < present else 1.0
        spans[0, 2, row] = 1.0
    lengths = 0  # the powers of two that some path's length, its own bar included, is a sum of
    for row in range(ahead.size):
        lengths |= ahead[row] + 1
        peak[row], fall[row], covered[row] = x[start + row], 1.0, 0
    now, span = 0, 1
    while True:
        highest, lowest, ratio = spans[now, 0], spans[now, 1], spans[now, 2]
        if lengths & span:
            for row in range(ahead.size):
                if (ahead[row] + 1) & span:  # append this one
                    part = row + covered[row]
                    fall[row] = min(fall[row], ratio[part], lowest[part] / peak[row])
                    peak[row] = max(peak[row], highest[part])
                    covered[row] += span
        if 2 * span > lengths:
            break
        width -= span
        far_highest, far_lowest, far_ratio = highest[span:], lowest[span:], ratio[span:]
        for row in range(width):
            between = far_lowest[row] / highest[row]
            spans[1 - now, 2, row] = min(ratio[row], far_ratio[row], between)
            spans[1 - now, 1, row] = min(lowest[row], far_lowest[row])
            spans[1 - now, 0, row] = max(highest[row], far_highest[row])
        now, span = 1 - now, 2 * span


@compiled
def describe_excursions(
    close: np.ndarray,
    start: int,
    ahead: np.ndarray,
    top: np.ndarray,
    bottom: np.ndarray,
    ratio: np.ndarray,
    rise: np.ndarray,
    drop: np.ndarray,
    fall: np.ndarray,
    change: np.ndarray,
) -> None:
    """Fill the last four, rows of `path_columns`' excursions, for the bars from ``start`` on."""
    price = close[start:]
    for row in range(ahead.size):
        missing = 0.0 if ahead[row] > 0 else np.nan
        rise[row] = max(top[row] / price[row] - 1.0, 0.0) + missing
        drop[row] = min(-bottom[row] / price[row] - 1.0, 0.0) + missing
        fall[row] = ratio[row] - 1.0 + missing
        change[row] = price[row + ahead[row]] / price[row] - 1.0 + missing


@compiled
def describe_touches(
    price: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    ahead: np.ndarray,
    up: np.ndarray,
    down: np.ndarray,
    upper_touched: np.ndarray,
    lower_touched: np.ndarray,
    first_touch: np.ndarray,
    touch_offset: np.ndarray,
    both_touched: np.ndarray,
) -> None:
    """Fill the last five, rows of `path_columns`' touches, from the offsets at which the barriers are touched."""
    for row in range(price.size):
        missing = 0.0 if ahead[row] > 0 and upper[row] > price[row] and lower[row] < price[row] else np.nan
        first = min(up[row], down[row])
        is_touched = first <= ahead[row]
        side = 1.0 if up[row] < down[row] else -1.0
        upper_touched[row] = (1.0 if up[row] <= ahead[row] else 0.0) + missing
        lower_touched[row] = (1.0 if down[row] <= ahead[row] else 0.0) + missing
        first_touch[row] = (side if is_touched else 0.0) + missing
        touch_offset[row] = first + missing if is_touched else np.nan
        both_touched[row] = is_touched and up[row] == down[row] and missing == 0.0


@compiled
def fill_columns(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    close_touches: bool,
    upper: np.ndarray,
    lower: np.ndarray,
    ahead: np.ndarray,
    touches: np.ndarray,
    excursions: np.ndarray,
    both_touched: np.ndarray,
) -> None:
    """Fill the last three, as `path_columns` returns them, block by block."""
    longest = 1
    for row in range(ahead.size):
        longest = max(longest, ahead[row])
    doublings = 0
    while 2 << doublings <= longest:
        doublings += 1
    is_short = longest <= SHORT
    block = SCANNED_BLOCK if is_short else max(BLOCK, longest)
    up, down, top, bottom = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
    ratio, spare, count = np.empty(block), np.empty(block), np.empty(block, np.int64)
    spans = np.empty((doublings + 1, 0 if is_short else block + (2 << doublings)))
    fall_spans = np.empty((2, 3, 0 if is_short else block + longest))
    for start in range(0, ahead.size, block):
        part = slice(start, min(start + block, ahead.size))
        goal, floor, length = upper[part], lower[part], ahead[part]
        if is_short:
            scan_reach(high, 1.0, goal, length, start, longest, up, top)
            scan_reach(low, -1.0, floor, length, start, longest, down, bottom)
            if close_touches:
                scan_reach(close, 1.0, goal, length, start, longest, up, spare)
                scan_reach(close, -1.0, floor, length, start, longest, down, spare)
            scan_fall(close, length, start, longest, spare, ratio)
        else:
            span_reach(high, 1.0, goal, length, start, spans, count, up, top)
            span_reach(low, -1.0, floor, length, start, spans, count, down, bottom)
            if close_touches:
                span_reach(close, 1.0, goal, length, start, spans, count, up, spare)
                span_reach(close, -1.0, floor, length, start, spans, count, down, spare)
            span_fall(close, length, start, longest, fall_spans, count, spare, ratio)
        rise, drop, fall, change = excursions[0], excursions[1], excursions[2], excursions[3]
        describe_excursions(close, start, length, top, bottom, ratio, rise[part], drop[part], fall[part], change[part])
        peak, valley, first, offset = touches[0], touches[1], touches[2], touches[3]
        describe_touches(
            close[part],
            goal,
            floor,
            length,
            up,
            down,
            peak[part],
            valley[part],
            first[part],
            offset[part],
            both_touched[part],
        )


def path_columns(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    close_touches: bool,
    upper: np.ndarray,
    lower: np.ndarray,
    ahead: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything that labels say of the paths of n bars.

    Parameters
    ----------
    high, low, close : (n,) float64
    close_touches : bool
        Only closes touch a barrier.
    upper, lower : (n,) float64
        The barriers; touching counts. A row whose close is not between them has none.
    ahead : (n,) int64
        Bars on the path, none beyond the last bar; 0 for a row without labels.

    Returns
    -------
    touches : (4, n) float32
        Whether the upper barrier is touched, and the lower: 1 or 0; the one that is first: 1, -1 or 0; the bars up to
        that touch. NaN where missing.
    excursions : (4, n) float64
        Highest high and lowest low by the close, deepest fall along the closes, last close by the close; less 1. NaN
        where missing.
    both_touched : (n,) bool
        The bar that touches first touches both.
    """
    # Made here in large pieces: NumPy asks the system for large pages, and a kernel would wait for small ones.
    touches, excursions = np.empty((4, len(close)), np.float32), np.empty((4, len(close)))
    both_touched = np.empty(len(close), bool)
    fill_columns(high, low, close, close_touches, upper, lower, ahead, touches, excursions, both_touched)
    return touches, excursions, both_touched
