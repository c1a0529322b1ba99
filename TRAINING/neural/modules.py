"""LightningModules: what a net learns from, and how one block of batches is learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from torch import Tensor

from TRAINING.neural.data import TensorTable
from TRAINING.neural.nets import Dropout, Head, Net

_STANDARDISED_ONCE = 2**24  # numbers of which a second table is kept, 64 MB


@dataclass(frozen=True)
class Optimisation:
    """How weights are changed: AdamW (Loshchilov and Hutter 2019), with a learning rate that follows a schedule.

    Attributes
    ----------
    learning_rate : float
        The highest.
    weight_decay : float
        Of matrices only, not of biases and norms.
    schedule : str
        ``constant``; ``cosine``: up over the first ``warmup`` of all steps, then down to 0 as half a cosine;
        ``one_cycle``: both ways as half cosines, from and to 1/25 and 0 (Smith and Topin 2019).
    warmup : float
        Share of all steps.
    gradient_clip : float
        Longest gradient over all weights; 0 = any.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.1
    gradient_clip: float = 0.0

    def rate(self, progress: float) -> float:
        """The learning rate when a share ``progress`` of all steps is done."""
        if self.schedule == "constant":
            return self.learning_rate
        if progress < self.warmup:
            rise = progress / self.warmup
            share = rise if self.schedule == "cosine" else 0.04 + 0.96 * (1 - math.cos(math.pi * rise)) / 2
        else:
            share = (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2
        return self.learning_rate * share

    def optimizer(self, parameters: Iterable[Tensor], stacked: bool = False) -> torch.optim.AdamW:
        """AdamW over parameters, or over ``stacked`` ones, whose first dimension counts nets."""
        decayed, others = [], []
        for parameter in parameters:
            (decayed if parameter.ndim > 1 + stacked else others).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)


class BlockModule(lightning.LightningModule):
    """A net that learns in blocks, by one loss; a subclass writes `batch_loss`, `validation_step`, `validation_loss`.

    One Lightning step is a *block*: many batches, gathered at once and learnt one by one. Lightning's own work per step
    is as long as a small batch, so it is done once per block.

    Parameters
    ----------
    net : Module
        What is trained and kept.
    optimisation : Optimisation
    """

    def __init__(self, net: torch.nn.Module, optimisation: Optimisation) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.optimisation = net, optimisation
        self.progress = 0.0  # share of all steps that are done
        self._dropouts = [module for module in net.modules() if isinstance(module, Dropout)]
        self._seed: int | None = None
        self._losses: list[float] = []  # of the batches of this epoch
        self._validated: list[Tensor] = []  # of the blocks of this validation

    def seed(self, generator: torch.Generator | None) -> None:
        """Let dropout draw from what a generator was seeded with; ``None`` takes the generators away."""
        self._seed = None if generator is None else generator.initial_seed()
        for dropout in self._dropouts:
            dropout.generator = None if generator is None else torch.Generator(generator.device)

    def start_step(self, step: int) -> None:
        """Let each dropout draw anew in a step, so that what it draws does not depend on the rows of steps before."""
        for place, dropout in enumerate(self._dropouts):
            dropout.generator.manual_seed((self._seed + step * len(self._dropouts) + place) % 2**63)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimisation.optimizer(self.net.parameters())

    def prepare(self, table: TensorTable) -> TensorTable:
        """Samples as `batch_loss` takes them; the given ones, unless a subclass says otherwise."""
        return table

    def batch_loss(self, x: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of one batch."""
        raise NotImplementedError

    # What Lightning calls.

    def on_train_epoch_start(self) -> None:
        self._losses = []

    def on_train_batch_start(self, block: tuple, index: int) -> int | None:
        exploded = self._losses and not math.isfinite(self._losses[-1])
        return -1 if exploded else None  # the rest of the epoch is skipped

    def training_step(self, block: tuple, index: int) -> None:
        *samples, batches, (first, total) = block
        x, targets, weights = (None if part is None else part.tensor_split(batches) for part in samples)
        wrapped = self.optimizers()
        optimizer, clip = wrapped.optimizer, self.optimisation.gradient_clip
        losses = []
        for i in range(batches):
            self.progress = (first + i) / total
            for group in optimizer.param_groups:
                group["lr"] = self.optimisation.rate(self.progress)
            self.start_step(first + i)
            optimizer.zero_grad(set_to_none=True)
            loss = self.batch_loss(x[i], targets[i], None if weights is None else weights[i])
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), clip)
            # Lightning counts the last step of a block; its wrapper around the others would cost more than they do.
            (wrapped if i == batches - 1 else optimizer).step()
            losses.append(loss.detach())
        self._losses += torch.stack(losses).tolist()

    def on_validation_epoch_start(self) -> None:
        self._validated = []

    def train_loss(self) -> float:
        """Mean loss of the epoch's batches, each before its own step; NaN without any."""
        return sum(self._losses) / len(self._losses) if self._losses else math.nan


class SupervisedModule(BlockModule):
    """A net that learns targets, some of which may be missing, by the weighted mean of its heads' losses.

    Squared error (or Huber's) of standardised regression targets and cross-entropy of binary ones; a missing target
    takes its row from that head only.

    Parameters
    ----------
    net : Net
    heads : sequence of Head
    optimisation : Optimisation
    loss : str
        ``squared`` or ``huber`` (delta 1 standard deviation), for regression heads.
    """

    def __init__(self, net: Net, heads: tuple[Head, ...], optimisation: Optimisation, loss: str = "squared") -> None:
        super().__init__(net, optimisation)
        kinds = {head.kind for head in heads}
        self._kind = kinds.pop() if len(kinds) == 1 else "both"
        self.loss = loss
        self._distance = F.mse_loss if loss == "squared" else F.huber_loss
        total = sum(head.weight for head in heads)
        self.register_buffer("shares", torch.tensor([head.weight / total for head in heads]), persistent=False)

    def prepare(self, table: TensorTable) -> TensorTable:
        """Standardised samples: once before training where they are few, else each time they are gathered."""
        standardise = self.net.standardise
        if table.values.numel() > _STANDARDISED_ONCE:
            return replace(table, transform=standardise)
        return replace(table, values=standardise(table.values))

    # Losses, of standardised features.

    def each_loss(self, outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
        """(n, heads) losses, or their mean; shapes as `Net.forward` and `Net.encode` give them, nothing missing."""
        if self._kind == "regression":
            return self._distance(outputs, targets, reduction=reduction)
        entropy = F.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction)
        if self._kind == "binary":
            return entropy
        return torch.where(self.net.binary, entropy, self._distance(outputs, targets, reduction=reduction))

    def head_losses(self, outputs: Tensor, targets: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """(heads,) weighted mean loss, and (heads,) sum of the weights; ``weight`` is (n, heads), 0 where missing.

        Of stacked nets all shapes have their number first.
        """
        each = self.each_loss(outputs, targets)
        if weight is None:
            return each.mean(0), each.new_full((each.shape[1],), len(each))
        counted = weight.sum(-2)
        return (each * weight).sum(-2) / counted.clamp_min(1e-12), counted

    def batch_loss(self, x: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of one batch: the heads' mean losses, weighted."""
        outputs = self.net.answer(x)
        if weight is None and len(self.shares) == 1:
            return self.each_loss(outputs, targets, "mean")
        return self.head_losses(outputs, targets, weight)[0] @ self.shares

    def validation_step(self, block: tuple, index: int) -> None:
        x, targets, weight = block[:3]
        self._validated.append(torch.stack(self.head_losses(self.net.answer(x), targets, weight)))

    def validation_loss(self) -> float:
        """Loss of the validation rows after the epoch."""
        losses, counted = torch.stack(self._validated).unbind(1)
        share = counted / counted.sum(0).clamp_min(1e-12)
        return float((losses * share).sum(0) @ self.shares)
