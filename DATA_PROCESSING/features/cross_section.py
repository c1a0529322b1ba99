"""Each symbol among the symbols of the panel that have a bar at the same time: ranks and z-scores.

A row depends on the rows with its own timestamp and on no others, so new times can be computed by themselves, from the
new rows of all symbols.
"""

from __future__ import annotations

import numpy as np

from DATA_PROCESSING.compiled import compiled

PANEL_FEATURES = ("log_return_1", "log_return_5", "log_return_20", "log_return_120", "vol_20", "volume_to_mean_20")
FEWEST_VALUES = 3  # with fewer at a time a symbol has no place among others


def panel_names() -> list[str]:
    """The names of the panel columns, in order: two for each of `PANEL_FEATURES`."""
    return [f"{name}_{measure}" for name in PANEL_FEATURES for measure in ("panel_rank", "panel_z")]


def panel_columns(features: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rank and z-score of every symbol's features among all symbols with a value at the same time.

    Parameters
    ----------
    features : dict of str to (timestamps, values)
        Per symbol its (n,) timestamps and (n, k) float32 values, NaN where unknown.

    Returns
    -------
    dict of str to (n, 2 k) float32
        Per symbol the rank as a share in (0, 1] (equal values share their mean rank) and the z-score (ddof 1) of each
        feature in turn. NaN where its value is, or where fewer than `FEWEST_VALUES` symbols have one; the z-score also
        where all have the same.
    """
    if not features:
        return {}
    timestamps, values = (list(parts) for parts in zip(*features.values(), strict=True))
    times, groups = np.unique(np.concatenate(timestamps).astype("datetime64[ns]"), return_inverse=True)
    order, starts = rows_by_group(groups, len(times))
    columns = {
        symbol: np.empty((len(x), 2 * x.shape[1]), np.float32) for symbol, x in zip(features, values, strict=True)
    }
    ends = np.cumsum([len(x) for x in values])[:-1]
    for number in range(values[0].shape[1]):  # one at a time: memory for one feature of the panel, not for all
        x = np.concatenate([of_symbol[:, number] for of_symbol in values]).astype(np.float64)
        for side, result in enumerate(rank_and_score(x, order, starts, FEWEST_VALUES)):
            for symbol, part in zip(features, np.split(result, ends), strict=True):
                columns[symbol][:, 2 * number + side] = part
    return columns


@compiled
def rows_by_group(groups: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows ordered by group, and where each of the ``count`` groups begins (and the last ends) among them."""
    starts = np.zeros(count + 1, np.int64)
    for group in groups:
        starts[group + 1] += 1
    for group in range(count):
        starts[group + 1] += starts[group]
    order, filled = np.empty(groups.size, np.int64), starts.copy()
    for row in range(groups.size):
        order[filled[groups[row]]] = row
        filled[groups[row]] += 1
    return order, starts


@compiled
def rank_and_score(x: np.ndarray, order: np.ndarray, starts: np.ndarray, fewest: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank as a share, and z-score, of each value within its group; sums run from the smallest value up.

    Parameters
    ----------
    x : (n,) float64
    order, starts : (n,) and (groups + 1,) int64
        As `rows_by_group` gives them.
    fewest : int
        Finite values that a group needs.

    Returns
    -------
    rank, score : (n,) float32
    """
    rank, score = np.full(x.size, np.nan, np.float32), np.full(x.size, np.nan, np.float32)
    for group in range(starts.size - 1):
        rows = order[starts[group] : starts[group + 1]]
        rows = rows[np.isfinite(x[rows])]
        if rows.size < fewest:
            continue
        values = x[rows]
        by_value = np.argsort(values)
        rows, values = rows[by_value], values[by_value]
        total, squares = 0.0, 0.0
        for value in values:
            total += value - values[0]  # relative to the smallest: exact where all are the same
        mean = values[0] + total / rows.size
        for value in values:
            squares += (value - mean) ** 2
        deviation = np.sqrt(squares / (rows.size - 1))
        first = 0
        while first < rows.size:
            last = first
            while last + 1 < rows.size and values[last + 1] == values[first]:
                last += 1
            for row in rows[first : last + 1]:
                rank[row] = (0.5 * (first + last) + 1.0) / rows.size
                score[row] = (values[first] - mean) / deviation
            first = last + 1
    return rank, score
