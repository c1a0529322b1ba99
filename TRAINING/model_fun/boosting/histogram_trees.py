"""Regression trees on features of few distinct values: quantised once, grown by histograms, walked in compiled code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DATA_PROCESSING.compiled import compiled

MOST_BINS = 256  # codes are bytes
_LEAF = -1  # feature of a node that does not split
_ROUNDING = 1e-12  # share of a node's squares below which a gain is rounding


@dataclass(frozen=True, eq=False)
class Quantiser:
    """Codes of values by borders that training rows set; a missing value counts as the feature's median.

    Attributes
    ----------
    medians : (features,) float64
        0 where a feature has no value.
    borders : tuple of (k,) float64
        Per feature rising, fewer than the bins: between its distinct values where there are few, else quantiles. The
        code of a value is the number of borders below it, so that ``code <= b`` is ``value <= borders[b]``.
    """

    medians: np.ndarray
    borders: tuple[np.ndarray, ...]

    @classmethod
    def learn(cls, rows: np.ndarray, bins: int) -> Quantiser:
        """Of rows (n, features), NaN where missing; ``bins`` is at most 256."""
        medians, borders = np.zeros(rows.shape[1]), []
        for feature, column in enumerate(rows.T):
            values = np.sort(column[~np.isnan(column)].astype(float))
            if len(values):
                medians[feature] = np.median(values)
            distinct = np.unique(values)
            if len(distinct) <= bins:
                borders.append((distinct[1:] + distinct[:-1]) / 2)
            else:
                borders.append(np.unique(np.quantile(values, np.arange(1, bins) / bins)))
        return cls(medians, tuple(borders))

    def impute(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) float64 without missing values."""
        rows = np.asarray(rows, dtype=np.float64)
        return np.where(np.isnan(rows), self.medians, rows)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) uint8."""
        rows = self.impute(rows)
        codes = np.empty(rows.shape, np.uint8)
        for feature, borders in enumerate(self.borders):
            codes[:, feature] = np.searchsorted(borders, rows[:, feature])
        return codes


@compiled
def grow_tree(codes: np.ndarray, y: np.ndarray, weight: np.ndarray, max_depth: int, min_rows: int) -> tuple:
    """Grow a tree of least weighted squares, level by level, each node split where its squares fall most.

    Parameters
    ----------
    codes : (n, features) uint8
    y, weight : (n,) float64
    max_depth : int
        Levels of splits.
    min_rows : int
        Rows in a leaf at least, whatever they weigh.

    Returns
    -------
    feature, left, right : (nodes,) int32
        Node 0 is the root; the feature of a leaf is -1.
    threshold : (nodes,) float64
        Rows whose code is at most this go left.
    value, gain : (nodes,) float64
        Weighted mean of y, and by how much the split lowers the sum of weighted squares.
    """
    rows, features = codes.shape
    most = min(2 ** min(max_depth + 1, 30) - 1, 2 * rows + 1)
    feature, left, right = np.full(most, _LEAF, np.int32), np.zeros(most, np.int32), np.zeros(most, np.int32)
    threshold, value, gain = np.zeros(most), np.zeros(most), np.zeros(most)
    start, stop, depth = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    order, moved = np.arange(rows), np.empty(rows, np.int64)
    bins = np.int64(codes.max()) + 1 if codes.size else 1
    histogram = np.empty((features, bins, 3))  # count, weight, weighted sum
    stop[0] = rows
    count, node = 1, 0
    while node < count:
        first, last = start[node], stop[node]
        total_weight, total, squares = 0.0, 0.0, 0.0
        for place in range(first, last):
            row = order[place]
            total_weight += weight[row]
            total += weight[row] * y[row]
            squares += weight[row] * y[row] * y[row]
        if total_weight > 0:
            value[node] = total / total_weight
        if depth[node] < max_depth and last - first >= 2 * min_rows and total_weight > 0:
            histogram[:] = 0.0
            for place in range(first, last):
                row = order[place]
                for column in range(features):
                    cell = histogram[column, codes[row, column]]
                    cell[0] += 1.0
                    cell[1] += weight[row]
                    cell[2] += weight[row] * y[row]
            best, before = _ROUNDING * squares, total * total / total_weight
            for column in range(features):
                left_count, left_weight, left_total = 0.0, 0.0, 0.0
                for code in range(bins - 1):
                    left_count += histogram[column, code, 0]
                    left_weight += histogram[column, code, 1]
                    left_total += histogram[column, code, 2]
                    if last - first - left_count < min_rows:
                        break
                    right_weight = total_weight - left_weight
                    if left_count < min_rows or left_weight <= 0 or right_weight <= 0:
                        continue
                    right_total = total - left_total
                    fall = left_total * left_total / left_weight + right_total * right_total / right_weight - before
                    if fall > best:
                        best = fall
                        feature[node], threshold[node], gain[node] = column, code, fall
        if feature[node] != _LEAF:
            middle, end = first, last  # rows keep their order on the left, and come reversed on the right
            for place in range(first, last):
                row = order[place]
                if codes[row, feature[node]] <= threshold[node]:
                    moved[middle] = row
                    middle += 1
                else:
                    end -= 1
                    moved[end] = row
            order[first:last] = moved[first:last]
            left[node], right[node] = count, count + 1
            start[count], stop[count], start[count + 1], stop[count + 1] = first, middle, middle, last
            depth[count] = depth[count + 1] = depth[node] + 1
            count += 2
        node += 1
    return feature[:count], left[:count], right[:count], threshold[:count], value[:count], gain[:count]


@compiled
def subtract_trees(
    rows: np.ndarray,
    start: np.ndarray,
    roots: np.ndarray,
    feature: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    threshold: np.ndarray,
    value: np.ndarray,
) -> np.ndarray:
    """(k, n): ``start`` less the values of the leaves that a row falls into, tree after tree.

    Parameters
    ----------
    rows : (n, features)
        Without missing values.
    start : (k,)
    roots : (rounds, k)
        Where each tree begins in the arrays of nodes, see `grow_tree`.
    """
    answer = np.empty((len(start), rows.shape[0]))
    for output in range(len(start)):
        for row in range(rows.shape[0]):
            total = start[output]
            for number in range(roots.shape[0]):
                node = roots[number, output]
                while feature[node] != _LEAF:
                    node = left[node] if rows[row, feature[node]] <= threshold[node] else right[node]
                total -= value[node]
            answer[output, row] = total
    return answer


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of a boosted model in one list of nodes, with ``k`` outputs.

    Attributes
    ----------
    start : (k,) float64
        What every row begins with.
    roots : (rounds, k) int32
        Node with which each tree begins.
    feature, left, right : (nodes,) int32
    threshold, value : (nodes,) float64
        Thresholds are in the features' units; values are steps, to subtract.
    """

    start: np.ndarray
    roots: np.ndarray
    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    threshold: np.ndarray
    value: np.ndarray

    def answer(self, rows: np.ndarray) -> np.ndarray:
        """(k, n) of rows (n, features) float64 without missing values."""
        return subtract_trees(
            np.ascontiguousarray(rows),
            self.start,
            self.roots,
            self.feature,
            self.left,
            self.right,
            self.threshold,
            self.value,
        )
