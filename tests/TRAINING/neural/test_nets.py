from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from TRAINING.neural.data import Blocks, TensorTable, make_generator, window_ends
from TRAINING.neural.explain import integrated_gradients
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Dropout, Head, MLPConfig, Standardise, initialise

MIXED = (Head("a", "regression", 2.0), Head("b", "binary", 1.0))


def learned(rows: np.ndarray, flagged: tuple[int, ...] = ()) -> Standardise:
    standardise = Standardise(rows.shape[1], len(flagged))
    standardise.learn(rows.astype(np.float32), flagged)
    return standardise


def test_standardise_follows_its_formula_and_imputes() -> None:
    rows = np.random.default_rng(0).normal(3, 5, size=(400, 3))
    rows[::7, 1] = np.nan
    z = (rows - np.nanmedian(rows, axis=0)) / np.subtract(*np.nanquantile(rows, (0.75, 0.25), axis=0))
    expected = np.nan_to_num(z / np.sqrt(1 + (z / 3) ** 2), nan=0.0)
    given_ = learned(rows, (1,))(torch.from_numpy(rows.astype(np.float32))).numpy()
    np.testing.assert_allclose(given_[:, :3], expected, atol=1e-5)
    np.testing.assert_array_equal(given_[:, 3], np.isnan(rows[:, 1]))


@pytest.mark.parametrize("column", [np.zeros(50), np.full(50, 7.3e8), np.full(50, np.nan), np.r_[np.nan, np.ones(49)]])
def test_a_feature_that_does_not_vary_says_nothing(column: np.ndarray) -> None:
    rows = np.column_stack([column, np.arange(50.0)])
    standardise = learned(rows)
    unseen = torch.tensor([[1e30, 3.0], [torch.nan, 3.0], [-torch.inf, 3.0]])
    np.testing.assert_array_equal(standardise(unseen)[:, 0], 0)


def test_a_rare_flag_is_scaled_by_its_range_and_extremes_are_bounded() -> None:
    rows = np.zeros((100, 1))
    rows[3] = 1
    standardise = learned(rows)
    far = standardise(torch.tensor([[1.0], [3e38], [-torch.inf]]))[:, 0].numpy()
    np.testing.assert_allclose(far, [2 / np.sqrt(1 + 4 / 9), 3, -3], rtol=1e-5)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    dropout = Dropout(0.25)
    dropout.generator = make_generator(1)
    ones = torch.ones(1001, 333)
    dropped = dropout(ones)
    assert float((dropped == 0).double().mean()) == pytest.approx(0.25, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.005)
    assert torch.equal(dropout.eval()(ones), ones)


def test_a_net_starts_at_mean_and_rate_and_answers_row_by_row() -> None:
    random = np.random.default_rng(0)
    X, y = (
        random.normal(size=(300, 4)).astype(np.float32),
        np.column_stack([random.normal(5, 2, 300), np.arange(300) % 4 == 0]),
    )
    net = MLPConfig(4, MIXED, hidden=(32, 16)).build()
    initialise(net, make_generator(0))
    net.learn_scales(X, y)
    np.testing.assert_allclose(net.predict(X), np.tile(y.mean(axis=0), (300, 1)), rtol=1e-6)
    torch.nn.init.normal_(net.heads.weight, generator=make_generator(1))
    together = net.predict(X)
    np.testing.assert_array_equal(np.concatenate([net.predict(X[i : i + 1]) for i in range(300)]), together)
    np.testing.assert_array_equal(net.predict(X[:0]), np.empty((0, 2)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000), st.booleans(), st.sampled_from(["squared", "huber"]))
def test_the_loss_equals_a_loop(rows: int, seed: int, weighted: bool, loss: str) -> None:
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, 3)).astype(np.float32)
    y = np.column_stack([random.normal(size=rows) * 3, random.integers(0, 2, rows)])
    y[random.random((rows, 2)) < 0.3] = np.nan
    y[0] = 1.0
    weight = random.uniform(0.1, 2, rows) if weighted else None
    net = MLPConfig(3, MIXED, hidden=(4,)).build()
    initialise(net, make_generator(seed))
    torch.nn.init.normal_(net.heads.weight, generator=make_generator(1))
    net.learn_scales(X, y)
    module = SupervisedModule(net, MIXED, Optimisation(), loss)
    table = TensorTable.of(X, net, y, weight)
    outputs = net(table.values).detach().double().numpy()
    expected = 0.0
    for head, share in enumerate((2 / 3, 1 / 3)):
        total = counted = 0.0
        for i in range(rows):
            if np.isnan(y[i, head]):
                continue
            if head == 0:
                error = abs(outputs[i, 0] - (y[i, 0] - float(net.centre[0])) / float(net.spread[0]))
                each = error**2 if loss == "squared" else error**2 / 2 if error < 1 else error - 0.5
            else:
                p = 1 / (1 + np.exp(-outputs[i, 1]))
                each = -np.log(p if y[i, 1] else 1 - p)
            own = 1.0 if weight is None else weight[i]
            total, counted = total + own * each, counted + own
        expected += share * total / counted
    found = module.batch_loss(*module.prepare(table).take(torch.arange(rows)))
    assert found.item() == pytest.approx(expected, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_windows_stay_within_a_series_and_its_gaps(lengths: list[int], window: int, gap: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    series = np.repeat(np.arange(len(lengths)), lengths)
    sessions = np.concatenate([np.cumsum(random.integers(1, 6, length)) for length in lengths]).astype(int)
    expected = []
    for end in range(len(series)):
        part = slice(end - window + 1, end + 1)
        if end + 1 >= window and len(set(series[part])) == 1 and (np.diff(sessions[part]) <= gap).all():
            expected.append(end)
    assert window_ends(series, sessions, window, gap).tolist() == expected


def test_windows_are_gathered_in_place() -> None:
    values = torch.arange(20.0).reshape(10, 2)
    table = TensorTable(values, torch.zeros(3, 1), ends=torch.tensor([2, 5, 9]), window=3)
    x, _, weight = table.take(torch.tensor([2, 0]))
    assert torch.equal(x, torch.stack([values[7:10], values[0:3]]))
    assert weight is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 700))
def test_batches_drop_nothing_and_differ_by_one_row(rows: int, batch_size: int) -> None:
    table = TensorTable(torch.arange(float(rows))[:, None], torch.zeros(rows, 1))
    blocks = Blocks(table, batch_size)
    found, sizes, steps = [], [], []
    for x, _, _, batches, (first, total) in blocks.cut(torch.arange(rows), 5, 99):
        parts = x.tensor_split(batches)
        found.append(x)
        sizes += [len(part) for part in parts]
        steps += [(first + i, total) for i in range(batches)]
    assert torch.equal(torch.cat(found), table.values)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert steps == [(5 + i, 99) for i in range(len(sizes))]


def test_integrated_gradients_of_a_linear_net_are_its_terms() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(64, 3)).astype(np.float32)
    net = MLPConfig(3, (Head("y"),), hidden=(3,)).build()
    net.learn_scales(rows, rows[:, :1])
    with torch.no_grad():
        net.trunk[0].weight.copy_(torch.eye(3))
        net.trunk[0].bias.fill_(100.0)  # where silu is the identity
        net.heads.weight.copy_(torch.tensor([[1.0, -2.0, 0.0]]))
        net.heads.bias.zero_()
    terms = np.abs(net.standardise(torch.from_numpy(rows)).numpy() * [1, -2, 0]).mean(axis=0)
    np.testing.assert_allclose(integrated_gradients(net, rows), terms[None], rtol=1e-5, atol=1e-6)
