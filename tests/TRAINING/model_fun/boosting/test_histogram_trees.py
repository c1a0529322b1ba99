"""Histogram trees against scikit-learn's, which look at every value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

from TRAINING.model_fun.boosting.histogram_trees import Quantiser, grow_tree, subtract_trees

values = st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan")), st.sampled_from([0.0, 1.0, 1.5]))


def walk(codes: np.ndarray, feature, left, right, threshold, value, _gain) -> np.ndarray:
    """The value of the leaf of each row."""
    answers = []
    for row in codes:
        node = 0
        while feature[node] >= 0:
            node = left[node] if row[feature[node]] <= threshold[node] else right[node]
        answers.append(value[node])
    return np.array(answers)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=40), st.lists(values, min_size=1, max_size=10), st.integers(2, 9))
def test_a_code_is_at_most_a_border_where_its_value_is(training: list[float], later: list[float], bins: int) -> None:
    quantiser = Quantiser.learn(np.array(training)[:, None], bins)
    (borders,) = quantiser.borders
    assert len(borders) < bins
    assert (np.diff(borders) > 0).all()
    known = np.array([value for value in training if not np.isnan(value)])
    assert quantiser.medians[0] == (np.median(known) if len(known) else 0)
    codes = quantiser.encode(np.array(later)[:, None])[:, 0]
    for value, code in zip(later, codes, strict=True):
        filled = quantiser.medians[0] if np.isnan(value) else value
        assert [code <= number for number in range(len(borders))] == [filled <= border for border in borders]


def test_few_distinct_values_all_keep_a_code_of_their_own() -> None:
    rows = np.random.default_rng(0).integers(0, 5, (200, 1)).astype(float)
    np.testing.assert_array_equal(Quantiser.learn(rows, 5).encode(rows), rows)
    many = np.arange(1000.0)[:, None]
    np.testing.assert_array_equal(np.bincount(Quantiser.learn(many, 4).encode(many)[:, 0]), [250] * 4)


@pytest.mark.parametrize(("depth", "least"), [(1, 1), (3, 1), (3, 15), (6, 4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_trees_are_those_of_scikit_learn(depth: int, least: int, weighted: bool) -> None:
    random = np.random.default_rng(depth)
    codes = random.integers(0, 20, (300, 6)).astype(np.uint8)
    y = codes[:, 2] * 0.3 + (codes[:, 4] > 8) + random.normal(size=300)
    weight = random.uniform(0.1, 3, 300) if weighted else np.ones(300)
    grown = grow_tree(codes, y, weight, depth, least)
    theirs = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=least, random_state=0)
    theirs.fit(codes, y, weight if weighted else None)
    np.testing.assert_allclose(walk(codes, *grown), theirs.predict(codes), rtol=1e-12)
    feature, gain = grown[0], grown[-1]
    total = np.zeros(6)
    np.add.at(total, feature[feature >= 0], gain[feature >= 0])
    np.testing.assert_allclose(total / total.sum(), theirs.feature_importances_, rtol=1e-9, atol=1e-12)


def test_rows_of_no_weight_count_as_rows_only() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 10, (60, 2)).astype(np.uint8)
    y, weight = random.normal(size=60), np.repeat([1.0, 0.0], 30)
    changed = np.where(weight > 0, y, 1e9)
    for first, second in zip(grow_tree(codes, y, weight, 4, 3), grow_tree(codes, changed, weight, 4, 3), strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_does_not_vary_is_not_split() -> None:
    codes = np.arange(40, dtype=np.uint8)[:, None]
    for y in (np.full(40, 0.1), np.zeros(40)):
        feature, *_, value, gain = grow_tree(codes, y, np.ones(40), 3, 1)
        assert (feature.tolist(), value[0], gain[0]) == ([-1], pytest.approx(y[0]), 0)
    feature, *_ = grow_tree(np.zeros((40, 3), np.uint8), np.arange(40.0), np.ones(40), 3, 1)
    assert feature.tolist() == [-1]


def test_steps_of_trees_are_subtracted_one_after_the_other() -> None:
    random = np.random.default_rng(1)
    codes = random.integers(0, 20, (50, 3)).astype(np.uint8)
    trees = [grow_tree(codes, random.normal(size=50), np.ones(50), 2, 1) for _ in range(3)]
    offsets = np.cumsum([0, *(len(tree[0]) for tree in trees[:-1])])
    joined = [np.concatenate(part) for part in zip(*trees, strict=True)]
    for children in (1, 2):
        joined[children] = np.concatenate(
            [tree[children] + offset for tree, offset in zip(trees, offsets, strict=True)]
        ).astype(np.int32)
    answer = subtract_trees(codes, np.array([5.0]), offsets[:, None].astype(np.int32), *joined[:5])
    expected = np.full(50, 5.0)
    for tree in trees:
        expected -= walk(codes, *tree)
    np.testing.assert_array_equal(answer, expected[None])
