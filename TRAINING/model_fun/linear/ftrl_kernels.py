"""Compiled loops of FTRL-Proximal: standardising by the rows before, learning in time order, answering."""

from __future__ import annotations

import math

import numpy as np

from DATA_PROCESSING.compiled import compiled

# Rows of what is counted of a series: of each feature a column, of the labels one.
COUNT, MEAN, SQUARES = range(3)  # squares: the sum of squared deviations from the mean (Welford 1962)
BOUND = 3.0  # standard deviations that a feature is cut at: one wild bar must not drive the weights


@compiled
def standardise(X, seen, learns):
    """Standardise rows in place by what was seen of each feature before; missing values become 0.

    Parameters
    ----------
    X : (n, features) float64
        In time order.
    seen : (3, features) float64
        Counts, means and squares of the rows before.
    learns : bool
        Whether each row is counted once it is standardised, so that a row is never compared with itself or later ones.
    """
    for row in range(X.shape[0]):
        for column in range(X.shape[1]):
            value = X[row, column]
            count, mean, squares = seen[COUNT, column], seen[MEAN, column], seen[SQUARES, column]
            if math.isnan(value):
                X[row, column] = 0.0
                continue
            spread = math.sqrt(squares / count) if count > 0 else 0.0
            X[row, column] = min(max((value - mean) / spread, -BOUND), BOUND) if spread > 0 else 0.0
            if learns:
                seen[COUNT, column] = count + 1
                seen[MEAN, column] = mean + (value - mean) / (count + 1)
                seen[SQUARES, column] = squares + (value - mean) * (value - seen[MEAN, column])


@compiled
def learn(Z, y, sample_weight, order, known_at, logistic, counts, labels, z, n, w, alpha, beta, l1, l2):
    """One pass in time order: labels that are known by then are learnt, then the row is predicted.

    Parameters
    ----------
    Z : (rows, features) float64
        Standardised, in time order.
    y, sample_weight : (rows,) float64
    order : (labelled,) int
        The labelled rows in the order in which their labels become known.
    known_at : (rows,) int
        The first row that is predicted with the label known.
    logistic : bool
        Classes 0 and 1; else values.
    counts : bool
        Whether labels are counted when they are learnt, as in a first pass.
    labels : (3,) float64
        What was seen of the labels, weighted.
    z, n, w : (features,) float64
        The sums of gradients, of their squares, and the weights that follow; written.
    alpha, beta, l1, l2 : float

    Returns
    -------
    (rows,) float64
        The prediction of each row, a probability or a value; NaN where no label was known.
    """
    rows, features = Z.shape
    answer, told = np.full(rows, np.nan), 0
    for row in range(rows + 1):
        while told < len(order) and (row == rows or known_at[order[told]] <= row):
            chosen = order[told]
            told += 1
            weight = sample_weight[chosen]
            if weight == 0:
                continue
            if counts:
                gap = y[chosen] - labels[MEAN]
                labels[COUNT] += weight
                labels[MEAN] += weight / labels[COUNT] * gap
                labels[SQUARES] += weight * gap * (y[chosen] - labels[MEAN])
            margin = 0.0
            for column in range(features):
                margin += w[column] * Z[chosen, column]
            if logistic:
                slope = weight * (_chance(margin, labels) - y[chosen])
            else:
                spread = math.sqrt(labels[SQUARES] / labels[COUNT])
                slope = weight * (margin - ((y[chosen] - labels[MEAN]) / spread if spread > 0 else 0.0))
            for column in range(features):
                gradient = slope * Z[chosen, column]
                if gradient == 0:
                    continue
                more = n[column] + gradient * gradient
                z[column] += gradient - (math.sqrt(more) - math.sqrt(n[column])) / alpha * w[column]
                n[column] = more
                w[column] = _weight(z[column], more, alpha, beta, l1, l2)
        if row < rows and labels[COUNT] > 0:
            answer[row] = _answer(Z[row], logistic, labels, w)
    return answer


@compiled
def predict(Z, logistic, labels, w):
    """(rows,) probabilities or values of standardised rows; a row's answer is the same alone as among others."""
    answer = np.empty(Z.shape[0])
    for row in range(Z.shape[0]):
        answer[row] = _answer(Z[row], logistic, labels, w)
    return answer


@compiled
def _weight(z, n, alpha, beta, l1, l2):
    """Exactly 0 where the gradients do not outweigh L1."""
    if abs(z) <= l1:
        return 0.0
    return -(z - math.copysign(l1, z)) / ((beta + math.sqrt(n)) / alpha + l2)


@compiled
def _answer(row, logistic, labels, w):
    margin = 0.0
    for column in range(len(row)):
        margin += w[column] * row[column]
    if logistic:
        return _chance(margin, labels)
    return labels[MEAN] + math.sqrt(labels[SQUARES] / labels[COUNT]) * margin


@compiled
def _chance(margin, labels):
    """The probability of class 1: at a margin of 0 its share, of which half a row of each class was seen before."""
    ones = labels[COUNT] * labels[MEAN] + 0.5
    return 1 / (1 + (labels[COUNT] + 1 - ones) / ones * math.exp(-margin))
