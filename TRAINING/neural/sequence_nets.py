"""Nets on windows of rows: trunks that read a window in time order and answer for its last row."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.utils.checkpoint import checkpoint

from CONFIG.errors import ConfigError
from TRAINING.neural.nets import Dropout, Head, Net, Standardise, initialise

_PREDICTED_TOGETHER = 256  # windows of one pass: of a fixed shape, so that one predicts alone as in any batch


class LSTM(nn.Module):
    """Layers of long short-term memory (Hochreiter and Schmidhuber 1997, forget gates of Gers et al. 2000).

    Shapes: (n, window, inputs) -> (n, hidden), the last layer's state after the last row. Dropout lies between layers
    and behind the last.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = (inputs, *[hidden] * (layers - 1))
        self.layers = nn.ModuleList(
            nn.LSTM(width, hidden, batch_first=True, device="meta").to_empty(device="cpu") for width in widths
        )
        self.dropout = Dropout(dropout)
        self.outputs = hidden

    def draw(self, generator: torch.Generator) -> None:
        """Set the weights: Glorot's (2010) for inputs, orthogonal for states (Saxe et al. 2014), and forget gates that
        are open at first (a bias of 1, Jozefowicz et al. 2015)."""
        for layer in self.layers:
            for inputs, states in zip(layer.weight_ih_l0.chunk(4), layer.weight_hh_l0.chunk(4), strict=True):
                nn.init.xavier_uniform_(inputs, generator=generator)
                nn.init.orthogonal_(states, generator=generator)
            nn.init.zeros_(layer.bias_hh_l0)
            nn.init.zeros_(layer.bias_ih_l0)
            nn.init.ones_(layer.bias_ih_l0.chunk(4)[1])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.dropout(layer(x)[0])
        return self.dropout(self.layers[-1](x)[0][:, -1])


class Attention(nn.Module):
    """Causal attention of several heads (Vaswani et al. 2017).

    Shapes: (n, window, width) -> the same; with ``last`` -> (n, 1, width), of the last row alone, which sees all.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.out = (skip_init(nn.Linear, width, width) for _ in range(2))
        self.key_value = skip_init(nn.Linear, width, 2 * width)
        self.heads = heads

    def forward(self, x: Tensor, last: bool) -> Tensor:
        query = self._split(self.query(x[:, -1:] if last else x))
        key, value = map(self._split, self.key_value(x).chunk(2, dim=-1))
        read = F.scaled_dot_product_attention(query, key, value, is_causal=not last)
        return self.out(read.transpose(-3, -2).flatten(-2))

    def _split(self, x: Tensor) -> Tensor:
        """(n, rows, width) -> (n, heads, rows, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class TransformerBlock(nn.Module):
    """Attention, then two linear layers, each behind a layer norm and added to what comes in (Xiong et al. 2020).

    Shapes: as `Attention`.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.linear = nn.Sequential(
            nn.LayerNorm(width),
            skip_init(nn.Linear, width, 4 * width),
            nn.GELU(),
            skip_init(nn.Linear, 4 * width, width),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, last: bool) -> Tensor:
        read = self.attention(self.norm(x), last)
        x = (x[:, -1:] if last else x) + self.dropout(read)
        return x + self.dropout(self.linear(x))


class Transformer(nn.Module):
    """A causal encoder: features as a vector of ``width``, their positions added, blocks, the last row's vector.

    Shapes: (n, window, inputs) -> (n, width). The last block answers for the last row only: nobody reads the others.
    With ``checkpointed`` a block keeps its input only and is computed again for the gradient, which takes a third more
    time and, of the memory that grows with the window, leaves one block's (Chen et al. 2016).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.embedding = skip_init(nn.Linear, config.features, width)
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.empty(config.window, width))
        else:
            self.register_buffer("positions", sinusoids(config.window, width), persistent=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.attention_heads, config.dropout) for _ in range(config.layers)
        )
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(config.dropout)
        self.checkpointed, self.outputs = config.gradient_checkpointing, width

    def draw(self, generator: torch.Generator) -> None:
        """Set the weights: normal with variance 1 / inputs, divided by 2 * layers where a block's output is added."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
        for block in self.blocks:
            for linear in (block.attention.out, block.linear[-1]):
                with torch.no_grad():
                    linear.weight /= math.sqrt(2 * len(self.blocks))
        if isinstance(self.positions, nn.Parameter):
            nn.init.normal_(self.positions, std=0.02, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.embedding(x) + self.positions[-x.shape[-2] :])
        for number, block in enumerate(self.blocks, start=1):
            last = number == len(self.blocks)
            if self.checkpointed and self.training:
                x = checkpoint(block, x, last, use_reentrant=False, context_fn=lambda b=block: _repeated_dropout(b))
            else:
                x = block(x, last)
        return self.norm(x[:, -1])


class CausalConvolution(nn.Module):
    """A row's answer from rows 0, d, 2d, ... before it, as one linear layer on them; zeros stand before the first.

    Shapes: (n, window, inputs) -> (n, window, outputs).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.linear = skip_init(nn.Linear, kernel * inputs, outputs)
        self.shifts = [dilation * step for step in range(kernel)]

    def forward(self, x: Tensor) -> Tensor:
        shifted = [x, *(F.pad(x, (0, 0, shift, 0))[:, : x.shape[1]] for shift in self.shifts[1:])]
        return self.linear(torch.cat(shifted, dim=-1))


class ConvolutionBlock(nn.Module):
    """Two causal convolutions, each with a layer norm, ReLU and dropout, added to what comes in.

    Shapes: (n, window, inputs) -> (n, window, channels).
    """

    def __init__(self, inputs: int, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width in (inputs, channels):
            steps += [CausalConvolution(width, channels, kernel, dilation), nn.LayerNorm(channels)]
            steps += [nn.ReLU(), Dropout(dropout)]
        self.steps = nn.Sequential(*steps)
        self.skip = nn.Identity() if inputs == channels else skip_init(nn.Linear, inputs, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.steps(x) + self.skip(x))


class CNN1D(nn.Module):
    """A temporal convolutional network (Bai, Kolter and Koltun 2018), with layer norm for its weight norm.

    The dilation doubles from block to block, until the last row has seen the window.

    Shapes: (n, window, inputs) -> (n, channels), of the last row.
    """

    def __init__(self, inputs: int, channels: int, kernel: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = (inputs, *[channels] * (layers - 1))
        self.blocks = nn.Sequential(
            *(ConvolutionBlock(width, channels, kernel, 2**depth, dropout) for depth, width in enumerate(widths))
        )
        self.outputs = channels

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)[:, -1]


@dataclass(frozen=True)
class SequenceConfig(ABC):
    """What a net on windows is made of; `as_dict` and `from_dict` carry it through JSON.

    Attributes
    ----------
    features : int
    heads : tuple of Head
    window : int
        Rows that it reads.
    layers : int
    dropout : float
        Share of the values dropped while training.
    """

    features: int
    heads: tuple[Head, ...]
    window: int
    layers: int = 1
    dropout: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SequenceConfig:
        """What `as_dict` gave."""
        return cls(**values | {"heads": tuple(Head(**head) for head in values["heads"])})

    def build(self) -> Net:
        """The net, its weights not set: `draw_weights` draws them, or an artifact brings them.

        Shapes: (n, window, features) with NaN where missing -> (n, heads).
        """
        return Net(Standardise(self.features), self.trunk(), self.heads)

    @abstractmethod
    def trunk(self) -> nn.Module:
        """(n, window, features) -> (n, outputs)."""


@dataclass(frozen=True)
class LSTMConfig(SequenceConfig):
    """`LSTM` of ``hidden`` units a layer."""

    hidden: int = 16

    def trunk(self) -> LSTM:
        return LSTM(self.features, self.hidden, self.layers, self.dropout)


@dataclass(frozen=True)
class TransformerConfig(SequenceConfig):
    """`Transformer` of vectors of ``width``, which ``attention_heads`` divides.

    ``positions`` are ``learned`` or ``sinusoidal``.
    """

    width: int = 16
    attention_heads: int = 2
    positions: str = "learned"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.width % (2 * self.attention_heads):
            raise ConfigError(
                f"transformer: width must be a multiple of 2 * attention_heads; got {self.width} for "
                f"{self.attention_heads} heads"
            )

    def trunk(self) -> Transformer:
        return Transformer(self)


@dataclass(frozen=True)
class CNN1DConfig(SequenceConfig):
    """`CNN1D` of ``channels``, each convolution over ``kernel`` rows."""

    layers: int = 2
    channels: int = 16
    kernel: int = 3

    def trunk(self) -> CNN1D:
        return CNN1D(self.features, self.channels, self.kernel, self.layers, self.dropout)


NETS: dict[str, type[SequenceConfig]] = {"lstm": LSTMConfig, "transformer": TransformerConfig, "cnn1d": CNN1DConfig}


def draw_weights(net: Net, generator: torch.Generator) -> None:
    """Draw all weights: as `initialise` does, or as a trunk's own ``draw`` does after its paper."""
    initialise(net, generator)
    if hasattr(net.trunk, "draw"):
        net.trunk.draw(generator)


def sinusoids(window: int, width: int) -> Tensor:
    """(window, width) positions as sines and cosines of falling frequency (Vaswani et al. 2017)."""
    angle = torch.arange(window)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


def gather_windows(values: Tensor, ends: Tensor, starts: Tensor, window: int) -> Tensor:
    """(m, window, features) rows up to ``ends``; before ``starts``, the first row of each run, it is repeated."""
    offsets = torch.arange(1 - window, 1)
    return values[torch.maximum(ends[:, None] + offsets, starts[:, None])].contiguous()


@torch.inference_mode()
def predict_windows(net: Net, values: Tensor, starts: Tensor, window: int) -> np.ndarray:
    """Answers for every row of a table, from the window that ends there; the batch of a window does not change them.

    Parameters
    ----------
    net : Net
    values : Tensor
        (rows, features), NaN where missing.
    starts : Tensor
        (rows,) where the unbroken run of each row begins; its first row is repeated where a window would reach beyond.
    window : int

    Returns
    -------
    ndarray
        (rows, heads) values and probabilities.
    """
    net.eval()
    rows, parts = torch.arange(len(values)), []
    for ends in rows.split(_PREDICTED_TOGETHER):
        padded = F.pad(ends, (0, _PREDICTED_TOGETHER - len(ends)), value=int(ends[-1]))
        x = gather_windows(values, padded, starts[padded], window)
        parts.append(net.decode(net(x))[: len(ends)])
    return torch.cat(parts).double().numpy()


def _repeated_dropout(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """For a block that is computed twice: its dropout draws the same again, then goes on where it was."""
    generators = {module.generator for module in block.modules() if isinstance(module, Dropout)} - {None}
    before = [(generator, generator.get_state()) for generator in generators]

    @contextmanager
    def again() -> Iterator[None]:
        later = [(generator, generator.get_state()) for generator in generators]
        for generator, state in before:
            generator.set_state(state)
        try:
            yield
        finally:
            for generator, state in later:
                generator.set_state(state)

    return nullcontext(), again()
