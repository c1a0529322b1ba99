from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from TRAINING.neural.data import make_generator
from TRAINING.neural.meta import Adaptation, AdaptedNet, Adapter, MetaSettings, Panel, Tasks, known_before, meta_fit
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Head, MLPConfig, Net, initialise

STEPS, RATE = 3, 0.1
LENGTHS = (30, 4, 25)  # rows of the series; the second is too short for a task


def make_adapter(seed: int = 0, clip: float = 0.0, rows: int = 10) -> tuple[Adapter, Panel, np.ndarray, np.ndarray]:
    """An adapter, and a panel with what it is made of."""
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    X = random.normal(size=(len(codes), 3)).astype(np.float32)
    y = (X[:, 0] * (1 + codes) + random.normal(size=len(codes)))[:, None]
    shape = MLPConfig(3, (Head("y"),), hidden=(6, 4))
    net = shape.build()
    initialise(net, make_generator(seed))
    torch.nn.init.normal_(
        net.heads.weight, generator=make_generator(seed, 1)
    )  # else the trunk has no gradient at first
    net.learn_scales(X, y)
    module = SupervisedModule(net, shape.heads, Optimisation(learning_rate=0.01, weight_decay=0.0))
    return Adapter(module, Adaptation(rows, STEPS, RATE, clip)), Panel.of(module, codes, X, y), X, y


def slowly_adapted(net: Net, X: np.ndarray, y: np.ndarray, clip: float = 0.0) -> Net:
    """Gradient descent on the rows of one task, by torch's own optimiser."""
    own = deepcopy(net)
    optimizer = torch.optim.SGD([*own.trunk.parameters(), *own.heads.parameters()], lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        mse_loss(own(torch.from_numpy(X)), own.encode(torch.from_numpy(y).float())).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([*own.trunk.parameters(), *own.heads.parameters()], clip)
        optimizer.step()
    return own


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e3])
def test_many_tasks_adapt_as_each_alone(clip: float) -> None:
    adapter, panel, X, y = make_adapter(clip=clip)
    net = adapter.module.net
    adapted = AdaptedNet(net, adapter.adapt_last(panel))
    ends = np.cumsum(LENGTHS)
    for code, (length, end) in enumerate(zip(LENGTHS, ends, strict=True)):
        rows = slice(end - min(length, 10), end)
        expected = slowly_adapted(net, X[rows], y[rows], clip).predict(X)
        np.testing.assert_allclose(adapted.predict(X, np.full(len(X), code)), expected, atol=1e-5)
        assert np.abs(expected - net.predict(X)).max() > 0.01
    np.testing.assert_array_equal(adapted.predict(X, np.full(len(X), -1)), net.predict(X))


def test_a_series_without_rows_keeps_the_start() -> None:
    adapter, panel, _, _ = make_adapter()
    weights = adapter.adapt_last(panel, np.array([-1, 0]))
    for name, weight in adapter.layers.named_parameters():
        assert torch.equal(weights[name][0], weight)
        assert not torch.equal(weights[name][1], weight)


def test_the_start_moves_by_the_gradient_at_the_adapted_weights() -> None:
    adapter, panel, X, y = make_adapter(rows=8)
    order = np.arange(len(X))
    support, query = Tasks(panel, known_before(order, order, panel), 8, 5).draw(0, 0)
    losses, slopes = adapter.start_gradient(panel, support, query)
    expected = []
    for number, (known, asked) in enumerate(zip(support.numpy(), query.numpy(), strict=True)):
        own = slowly_adapted(adapter.module.net, X[known], y[known])
        loss = mse_loss(own(torch.from_numpy(X[asked])), own.encode(torch.from_numpy(y[asked]).float()))
        expected.append(torch.autograd.grad(loss, [*own.trunk.parameters(), *own.heads.parameters()]))
        assert float(losses[number]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for found, each in zip(slopes.values(), zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(each).mean(0), atol=1e-6, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    delay=st.integers(0, 6),
    per_session=st.integers(1, 3),
    rows=st.integers(1, 12),
    query_rows=st.integers(1, 8),
    epoch=st.integers(0, 3),
)
def test_tasks_adapt_to_what_is_known_and_answer_what_follows(lengths, delay, per_session, rows, query_rows, epoch):
    codes = np.repeat(np.arange(len(lengths)), lengths)
    place = np.concatenate([np.arange(length) for length in lengths])
    sessions, known = place // per_session, (place + delay) // per_session
    net = MLPConfig(1, (Head("y"),), hidden=(2,)).build()
    initialise(net, make_generator(0))
    module = SupervisedModule(net, (Head("y"),), Optimisation())
    panel = Panel.of(module, codes, place[:, None].astype(np.float32), place[:, None].astype(float))
    tasks = Tasks(panel, known_before(sessions, known, panel), rows, query_rows)
    support, query = (part.numpy() for part in tasks.draw(1, epoch))
    assert len(support) == len(query) == len(tasks)
    for learnt, asked in zip(support, query, strict=True):
        assert len(set(codes[learnt]) | set(codes[asked])) == 1
        assert (np.diff(learnt) == 1).all()
        assert (np.diff(asked) == 1).all()
        assert known[learnt].max() < sessions[asked[0]]
        following = learnt[-1] + 1
        assert following == asked[0] or known[following] >= sessions[asked[0]], "the latest rows that are known"
    for code, length in enumerate(lengths):
        possible = [
            q
            for q in range(length - query_rows + 1)
            if (known[codes == code] < sessions[codes == code][q]).sum() >= rows
        ]
        assert (codes[query[:, 0]] == code).sum() == len(possible and range((length - possible[0]) // query_rows))


def test_validation_picks_the_weights_and_an_infinite_loss_ends_training() -> None:
    results = []
    for rate in (0.01, 1e30):
        adapter, panel, X, y = make_adapter()
        adapter.module.optimisation = Optimisation(learning_rate=rate, schedule="constant", warmup=0.0)
        order, codes = np.arange(len(X)), np.repeat(np.arange(len(LENGTHS)), LENGTHS)
        later = Panel.of(adapter.module, codes, X[::-1].copy(), y), np.array([0, -1, 2])
        tasks = Tasks(panel, known_before(order, order, panel), 10, 5)
        results.append(meta_fit(adapter, tasks, later, MetaSettings(5, epochs=30, batch_size=4, patience=5)))
        again = AdaptedNet(adapter.module.net, adapter.adapt_last(panel, later[1])).predict(X[::-1].copy(), codes)
        if rate < 1:
            loss = np.mean((again - y) ** 2) / float(adapter.module.net.spread[0]) ** 2
            assert loss == pytest.approx(min(results[0].history["validation"]), rel=1e-4)
    good, broken = results
    assert np.argmin(good.history["validation"]) + 1 == good.epochs
    assert len(good.history["validation"]) <= good.epochs + 5
    assert "the loss became infinite in epoch" in broken.notes[0]
    assert (broken.epochs, broken.history) == (0, {})
    assert np.isfinite(again).all(), "the first weights came back"
