"""Plain modules with documented shapes: standardise and impute, a trunk, heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

ACTIVATIONS = {"gelu": nn.GELU, "mish": nn.Mish, "relu": nn.ReLU, "silu": nn.SiLU}
_QUANTILE_ROWS = 10_000  # rows that quartiles are taken from: more say nothing new and cost a sort each
_PREDICTED_TOGETHER = 256  # rows of one pass: of a fixed shape, so that a row predicts alone as in any batch


@dataclass(frozen=True)
class Head:
    """One target of a net.

    Attributes
    ----------
    name : str
    kind : str
        ``"regression"`` (a value) or ``"binary"`` (a probability).
    weight : float
        What its loss counts in the sum.
    """

    name: str
    kind: str = "regression"
    weight: float = 1.0


class Standardise(nn.Module):
    """Centre and scale each feature, bound what lies far out, and put missing values at the centre.

    The robust scaling and smooth clipping of RealMLP (Holzmüller, Grinsztajn and Steinwart 2024, "Better by default"):
    ``z = (x - median) / (q75 - q25)``, then ``z / sqrt(1 + (z / 3)^2)``, which lies within (-3, 3). Where the quartiles
    agree, half the range stands in for their difference; a constant feature, or one without any value, gives 0.

    Shapes: (..., features) with NaN -> (..., features + indicators) without. With ``indicators`` a column of 0 and 1
    follows for each feature that was missing in some training rows.
    """

    def __init__(self, features: int, indicators: int = 0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("flagged", torch.zeros(indicators, dtype=torch.long))

    @property
    def outputs(self) -> int:
        """Columns that come out."""
        return len(self.scale) + len(self.flagged)

    def learn(self, rows: np.ndarray, flagged: Sequence[int] = ()) -> None:
        """Take medians and quartiles from training rows, (n, features), and the positions of flagged features."""
        self.flagged.copy_(torch.as_tensor(np.asarray(flagged, dtype=np.int64)))
        sample = rows[:: -(-len(rows) // _QUANTILE_ROWS)].astype(np.float64)
        present = np.isfinite(sample)
        seen = present.any(axis=0)
        sample[:, ~seen] = 0.0
        sample[~present & seen] = np.nan
        low, median, high = np.nanquantile(sample, (0.25, 0.5, 0.75), axis=0)
        spread = high - low
        spread = np.where(spread > 0, spread, (np.nanmax(sample, axis=0) - np.nanmin(sample, axis=0)) / 2)
        # A spread below what float32 can tell from the level is noise of the representation.
        usable = spread > np.abs(median) * 1e-6
        scale = np.where(usable, 1 / np.where(usable, spread, 1.0), 0.0)
        self.scale.copy_(torch.from_numpy(scale))
        self.shift.copy_(torch.from_numpy(-median * scale))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.addcmul(self.shift, x, self.scale).clamp_(-1e6, 1e6).nan_to_num_(0.0)
        z = torch.addcmul(z.new_ones(()), z, z, value=1 / 9).rsqrt_().mul_(z)
        if not len(self.flagged):
            return z
        return torch.cat([z, x[..., self.flagged].isnan().to(z.dtype)], dim=-1)


class Dropout(nn.Module):
    """Zero a share of the values while training, from a generator of its own: threads and resumed runs repeat.

    The share is rounded to 1/256, for one random byte decides: torch's own dropout takes as long as the rest of a small
    net. Shapes: any, unchanged.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * 256)
        self.generator: torch.Generator | None = None

    def extra_repr(self) -> str:
        return f"{self.dropped}/256"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))


class MLP(nn.Sequential):
    """Linear layers, each followed by an optional layer norm, an activation and dropout.

    Shapes: (n, inputs) -> (n, hidden[-1]).
    """

    def __init__(self, inputs: int, hidden: Sequence[int], activation: str, norm: bool, dropout: float) -> None:
        layers: list[nn.Module] = []
        for width_in, width in zip((inputs, *hidden[:-1]), hidden, strict=True):
            layers.append(skip_init(nn.Linear, width_in, width))
            layers += [nn.LayerNorm(width)] if norm else []
            layers.append(ACTIVATIONS[activation]())
            layers += [Dropout(dropout)] if dropout else []
        super().__init__(*layers)
        self.outputs = hidden[-1]


class Net(nn.Module):
    """Standardise, a shared trunk, and one linear head per target.

    Shapes: what the trunk takes, with NaN -> (n, heads): regression targets in standard deviations from their training
    mean, binary ones as logits; `decode` gives values and probabilities.
    """

    def __init__(self, standardise: Standardise, trunk: nn.Module, heads: Sequence[Head]) -> None:
        super().__init__()
        self.standardise, self.trunk = standardise, trunk
        self.heads = skip_init(nn.Linear, trunk.outputs, len(heads))
        self.register_buffer("binary", torch.tensor([head.kind == "binary" for head in heads]))
        self.register_buffer("centre", torch.zeros(len(heads)))
        self.register_buffer("spread", torch.ones(len(heads)))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.standardise(x))

    def answer(self, z: Tensor) -> Tensor:
        """As `forward`, of what is standardised already."""
        return self.heads(self.trunk(z))

    def learn_scales(self, rows: np.ndarray, targets: np.ndarray, flagged: Sequence[int] = ()) -> None:
        """Take what standardises features and regression targets from training rows, (n, features) and (n, heads).

        The heads of binary targets begin at the log-odds of their rate, as those of values begin at the mean.
        """
        self.standardise.learn(rows, flagged)
        regression = ~self.binary.numpy()
        known = targets[:, regression].astype(np.float64)
        spread = np.nanstd(known, axis=0)
        self.centre[~self.binary] = torch.from_numpy(np.nanmean(known, axis=0)).float()
        self.spread[~self.binary] = torch.from_numpy(np.where(spread > 0, spread, 1.0)).float()
        rate = np.nanmean(targets[:, ~regression].astype(np.float64), axis=0).clip(0.001, 0.999)
        with torch.no_grad():
            self.heads.bias[self.binary] = torch.from_numpy(np.log(rate / (1 - rate))).float()

    def encode(self, targets: Tensor) -> Tensor:
        """(n, heads) values, 0 and 1, or NaN -> what the heads should give."""
        return (targets - self.centre) / self.spread

    def decode(self, outputs: Tensor) -> Tensor:
        """(n, heads) of `forward` -> values, and probabilities of binary targets."""
        return torch.where(self.binary, outputs.sigmoid(), torch.addcmul(self.centre, outputs, self.spread))

    @torch.inference_mode()
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, heads) values and probabilities; a row gives the same alone as among others."""
        self.eval()
        return in_parts(lambda part: self.decode(self(part)), rows)


@dataclass(frozen=True)
class MLPConfig:
    """What an MLP is made of; `as_dict` and `from_dict` carry it through JSON.

    Attributes
    ----------
    features, indicators : int
        Columns of the table, and how many of them get a column that says where they are missing.
    heads : tuple of Head
    hidden : tuple of int
        Width of each layer.
    activation, norm, dropout : str, bool, float
        Of each layer: its function, whether a layer norm precedes it, and the share of values dropped after it.
    """

    features: int
    heads: tuple[Head, ...]
    indicators: int = 0
    hidden: tuple[int, ...] = (64, 32)
    activation: str = "silu"
    norm: bool = False
    dropout: float = 0.0

    def as_dict(self) -> dict:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> MLPConfig:
        """What `as_dict` gave."""
        heads = tuple(Head(**head) for head in values["heads"])
        return cls(**values | {"heads": heads, "hidden": tuple(values["hidden"])})

    def build(self) -> Net:
        """The net, its weights not set: `initialise` draws them, or an artifact brings them."""
        standardise = Standardise(self.features, self.indicators)
        trunk = MLP(standardise.outputs, self.hidden, self.activation, self.norm, self.dropout)
        return Net(standardise, trunk, self.heads)


@torch.inference_mode()
def in_parts(answer: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
    """(n, ...) -> (n, answers) float64, in passes of one shape, so that a row gives the same alone as among others."""
    x = as_tensor(rows)
    padding = -len(x) % _PREDICTED_TOGETHER
    x = torch.cat([x, x.new_zeros(padding, *x.shape[1:])])
    answers = torch.cat([answer(part) for part in x.split(_PREDICTED_TOGETHER)])
    return answers[: len(x) - padding].double().numpy()


def as_tensor(rows: np.ndarray) -> Tensor:
    """A table as float32, sharing its memory where it can; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.require(rows, np.float32, ["C", "W"]))  # torch warns of memory it must not write


def initialise(net: Net, generator: torch.Generator) -> None:
    """Draw all weights: normal with variance 2 / (inputs) (He et al. 2015), biases and heads 0.

    So a net starts at the mean of its targets, as boosting does, rather than at noise of the targets' own size: with
    heads drawn too, 2,000 noisy rows end far below the mean (R2 -0.03 against 0.00).
    """
    draw_layers(net, generator)
    nn.init.zeros_(net.heads.weight)


def draw_layers(net: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of linear layers: normal with variance 2 / (inputs), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.in_features), generator=generator)
            nn.init.zeros_(module.bias)
