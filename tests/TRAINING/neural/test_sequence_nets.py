from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.errors import ConfigError
from TRAINING.neural.data import TensorTable, make_generator, run_starts, window_ends
from TRAINING.neural.explain import integrated_gradients
from TRAINING.neural.fit import FitSettings, fit
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Dropout, Head, Net
from TRAINING.neural.sequence_nets import (
    NETS,
    CausalConvolution,
    TransformerConfig,
    draw_weights,
    gather_windows,
    predict_windows,
    sinusoids,
)

HEADS = (Head("y"),)
SHAPES = {"lstm": {"hidden": 8, "layers": 2}, "transformer": {"width": 8, "attention_heads": 2, "layers": 2},
          "cnn1d": {"channels": 8, "layers": 3}}  # fmt: skip
each_net = pytest.mark.parametrize("name", sorted(NETS))


def make_net(name: str, seed: int = 0, window: int = 6, features: int = 4, **more) -> Net:
    net = NETS[name](features, HEADS, window, **{**SHAPES[name], **more}).build()
    draw_weights(net, make_generator(seed))
    with torch.no_grad():
        net.heads.weight.normal_(generator=make_generator(seed, 1))  # which start at 0
    return net.eval()


@each_net
def test_a_window_gives_one_answer_per_head_and_every_row_counts(name: str) -> None:
    net = make_net(name)
    x = torch.randn(5, 6, 4, generator=make_generator(2))
    answers = net(x)
    assert answers.shape == (5, 1)
    assert answers.isfinite().all()
    for row in range(6):
        changed = x.clone()
        changed[:, row] += 1.0
        assert not torch.equal(net(changed), answers), f"row {row} of the window is read"


@each_net
def test_a_config_goes_through_json_and_the_generator_decides_the_weights(name: str) -> None:
    config = NETS[name](4, HEADS, 6, **SHAPES[name])
    assert NETS[name].from_dict(config.as_dict()) == config
    first, again, other = (make_net(name, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    state = torch.get_rng_state()
    make_net(name)
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator is left alone"


@each_net
def test_missing_values_are_imputed(name: str) -> None:
    net = make_net(name)
    x = torch.full((2, 6, 4), torch.nan)
    assert net(x).isfinite().all()


def test_a_transformer_looks_at_no_later_row() -> None:
    """Within a window: what a block says of a row does not depend on the rows behind it."""
    trunk = make_net("transformer").trunk
    x = torch.randn(3, 6, 8, generator=make_generator(0))
    later = x.clone()
    later[:, 4:] += 1.0
    before, after = (trunk.blocks[0](values, False) for values in (x, later))
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_the_last_block_of_a_transformer_says_of_the_last_row_what_all_its_rows_would() -> None:
    block = make_net("transformer").trunk.blocks[1]
    x = torch.randn(3, 6, 8, generator=make_generator(0))
    torch.testing.assert_close(block(x, True)[:, 0], block(x, False)[:, -1])


@settings(max_examples=20, deadline=None)
@given(kernel=st.integers(2, 4), dilation=st.integers(1, 4), window=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_causal_convolution_is_the_loop_over_its_taps(kernel: int, dilation: int, window: int, seed: int) -> None:
    layer = CausalConvolution(2, 3, kernel, dilation)
    generator = make_generator(seed)
    torch.nn.init.normal_(layer.linear.weight, generator=generator)
    torch.nn.init.normal_(layer.linear.bias, generator=generator)
    x = torch.randn(2, window, 2, generator=generator)
    answer = layer(x)
    for t in range(window):
        expected = layer.linear.bias.repeat(2, 1)
        for tap in range(kernel):
            if t - tap * dilation >= 0:
                weight = layer.linear.weight[:, 2 * tap : 2 * tap + 2]
                expected = expected + x[:, t - tap * dilation] @ weight.T
        torch.testing.assert_close(answer[:, t], expected)


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(7, 6)
    for position in range(7):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert table[position, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-5)
            assert table[position, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-5)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 2 \* attention_heads; got 10 for 4 heads"):
        TransformerConfig(3, HEADS, 5, width=10, attention_heads=4)


def trained(checkpointed: bool) -> Net:
    net = make_net("transformer", dropout=0.3, gradient_checkpointing=checkpointed)
    generator = make_generator(7)
    values = torch.randn(80, 4, generator=generator)
    ends = torch.arange(5, 80)
    table = TensorTable(values, values[ends, :1], None, ends, 6)
    fit(SupervisedModule(net.train(), HEADS, Optimisation()), table, None, FitSettings(2, 32, device="cpu"))
    return net


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    """Dropout included, whose masks are drawn again."""
    plain, checkpointed = (trained(flag).state_dict() for flag in (False, True))
    for key in plain:
        torch.testing.assert_close(plain[key], checkpointed[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(NETS))
def test_dropout_is_ours_and_is_there(name: str) -> None:
    net = make_net(name, dropout=0.5)
    kinds = {type(module).__name__ for module in net.modules()}
    assert "Dropout" in kinds
    assert not any(isinstance(module, torch.nn.Dropout) for module in net.modules())
    for module in net.modules():
        if isinstance(module, Dropout):
            module.generator = make_generator(0)
    x = torch.randn(4, 6, 4, generator=make_generator(1))
    assert not torch.equal(net.train()(x), net.eval()(x))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=25), st.integers(1, 5))
def test_runs_break_where_a_loop_breaks_them(steps: list[tuple[int, int]], window: int) -> None:
    series = np.cumsum([change for change, _ in steps])
    sessions = np.cumsum([days for _, days in steps])
    starts, expected = run_starts(series, sessions, 2), []
    for i in range(len(series)):
        new = i == 0 or series[i] != series[i - 1] or sessions[i] - sessions[i - 1] > 2
        expected.append(i if new else expected[-1])
    assert starts.tolist() == expected
    ends = window_ends(series, sessions, window, 2)
    assert ends.tolist() == [i for i in range(len(series)) if i - expected[i] + 1 >= window]


def test_windows_repeat_the_first_row_of_a_run_and_read_any_memory_order() -> None:
    values = torch.arange(12.0).reshape(6, 2)
    starts = torch.tensor([0, 0, 0, 3, 3, 3])
    expected = {0: [0, 0, 0], 2: [0, 1, 2], 3: [3, 3, 3], 4: [3, 3, 4], 5: [3, 4, 5]}
    ends = torch.tensor(list(expected))
    for stored in (values, values.T.contiguous().T):
        windows = gather_windows(stored, ends, starts[ends], 3)
        assert windows.is_contiguous()
        assert windows[..., 0].tolist() == [[2.0 * row for row in rows] for rows in expected.values()]


@each_net
def test_a_row_is_predicted_the_same_in_any_batch(name: str) -> None:
    net = make_net(name)
    values = torch.randn(700, 4, generator=make_generator(5))
    starts = torch.zeros(700, dtype=torch.long)
    whole = predict_windows(net, values, starts, 6)
    assert whole.shape == (700, 1)
    for first, stop in ((5, 40), (301, 699)):
        part = predict_windows(net, values[first - 5 : stop], starts[: stop - first + 5], 6)
        np.testing.assert_allclose(part[5:], whole[first:stop], rtol=0, atol=1e-6)


@each_net
def test_importance_of_windows_finds_the_feature_that_counts(name: str) -> None:
    net = make_net(name)
    values = torch.randn(300, 4, generator=make_generator(0))
    ends = torch.arange(5, 300)
    table = TensorTable(values, values[ends - 2, 1:2], None, ends, 6)
    fit(SupervisedModule(net.train(), HEADS, Optimisation(0.01)), table, None, FitSettings(30, 64, device="cpu"))
    windows = gather_windows(values, ends, torch.zeros_like(ends), 6).numpy()
    shares = integrated_gradients(net, windows)
    assert shares.shape == (1, 4)
    assert shares[0].argmax() == 1
