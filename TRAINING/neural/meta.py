"""First-order MAML: weights from which a few steps on few rows lead to a net of these rows' own kind.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"; without second
derivatives, which cost much and gain little there and in Nichol, Achiam and Schulman 2018. A *task* is a moment of a
series: adapt to the last rows whose labels are known by then, answer the rows that follow. Many tasks are learnt at
once, their weights stacked as in `TRAINING.neural.fit_many`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import Course, FitResult
from TRAINING.neural.modules import SupervisedModule
from TRAINING.neural.nets import Net
from TRAINING.neural.threads import limited_threads

_TOGETHER = 64  # series that are adapted at once
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Adaptation:
    """How weights become a task's own: gradient descent on its rows, all of them in each step.

    Attributes
    ----------
    rows : int
        The last so many.
    steps : int
    rate : float
        The learning rate.
    gradient_clip : float
        Longest gradient of a task over all weights; 0 = any.
    """

    rows: int
    steps: int
    rate: float
    gradient_clip: float = 0.0


@dataclass(frozen=True)
class MetaSettings:
    """How the weights that tasks start from are learnt.

    Attributes
    ----------
    query_rows : int
        Rows of a task that its adapted net answers.
    epochs, batch_size, seed : int
        A step takes ``batch_size`` tasks; an epoch has as many as fit into the rows without sharing query rows.
    patience : int
        Epochs without a lower validation loss before training stops and the best weights return; 0 = off.
    threads : int
        Of the processor; -1 = as many as torch takes.
    """

    query_rows: int
    epochs: int
    batch_size: int
    seed: int = 0
    patience: int = 0
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of some series, each together and in time order, as the layers of a net take them.

    Attributes
    ----------
    table : TensorTable
        One more row without weight stands where a series has too few.
    begins, ends : (series,) int
        Where the rows of each begin and end.
    """

    table: TensorTable
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(
        cls,
        module: SupervisedModule,
        codes: np.ndarray,
        values: np.ndarray,
        targets: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> Panel:
        """From the number of each row's series (n,), ascending, and what `TensorTable.of` takes."""
        table = module.prepare(TensorTable.of(values, module.net, targets, weight))
        weights = torch.ones_like(table.targets) if table.weight is None else table.weight
        parts = {"values": table.values, "targets": table.targets, "weight": weights}
        padded = {name: torch.cat([part, part.new_zeros(1, part.shape[1])]) for name, part in parts.items()}
        series = np.arange(codes.max() + 1)
        begins, ends = (np.searchsorted(codes, series, side=side) for side in ("left", "right"))
        return cls(replace(table, **padded), begins, ends)

    def last(self, series: np.ndarray, count: int) -> Tensor:
        """(series, count) positions of the last rows of some series; of none where the number is -1."""
        ends = np.where(series < 0, 0, self.ends[series])
        begins = np.where(series < 0, 0, self.begins[series])
        return self.between(begins, ends, count)

    def between(self, begins: np.ndarray, ends: np.ndarray, count: int) -> Tensor:
        """(tasks, count) positions of the last rows before ``ends`` that are not before ``begins``."""
        places = ends[:, None] + np.arange(-count, 0)
        return torch.from_numpy(np.where(places >= begins[:, None], places, len(self.table) - 1))

    def take(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(tasks, rows) positions -> features, targets and weights, each (tasks, rows, ...)."""
        x, targets, weight = (part.view(*index.shape, -1) for part in self.table.take(index.flatten()))
        return x, targets, weight


class AdaptedNet:
    """A net, and what its weights became on the last rows of each series.

    Attributes
    ----------
    net : Net
        With the weights that all series start from.
    adapted : dict
        Name of a weight -> (series, ...).
    """

    def __init__(self, net: Net, adapted: Weights) -> None:
        self.net, self.adapted = net.eval(), adapted

    def predict(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(n, features), and (n,) the number of each row's series or -1 -> (n, heads) values and probabilities."""
        answers = np.empty((len(rows), self.net.heads.out_features))
        for code in np.unique(codes):
            own, net = codes == code, self.net_of(code)
            answers[own] = net.predict(rows[own])
        return answers

    def net_of(self, code: int) -> Net:
        """The net of a series; with the weights that all start from where the number is -1."""
        if code < 0:
            return self.net
        net = deepcopy(self.net)
        layers_of(net).load_state_dict({name: weight[code] for name, weight in self.adapted.items()})
        return net


def layers_of(net: Net) -> nn.Sequential:
    """What a task changes: all of a net behind its scales."""
    return nn.Sequential(net.trunk, net.heads)


class Adapter:
    """Adapts the weights of a net to many tasks at once.

    Parameters
    ----------
    module : SupervisedModule
        Its net, an MLP without norm and dropout, gives the weights that tasks start from, and it tells their losses.
    adaptation : Adaptation
    """

    def __init__(self, module: SupervisedModule, adaptation: Adaptation) -> None:
        self.module, self.adaptation = module, adaptation
        self.layers = layers_of(module.net)
        self._chain = [(f"0.{name}", layer) for name, layer in module.net.trunk.named_children()]
        self._chain.append(("1", module.net.heads))

    def losses(self, weights: Weights, samples: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(tasks,) mean losses of stacked weights, and (tasks,) the sums of the rows' weights."""
        x, targets, weight = samples
        for name, layer in self._chain:  # as torch.vmap would run them, in two thirds of its time
            if isinstance(layer, nn.Linear):
                x = torch.baddbmm(weights[f"{name}.bias"].unsqueeze(1), x, weights[f"{name}.weight"].mT)
            else:
                x = layer(x)
        losses, counted = self.module.head_losses(x, targets, weight)
        return losses @ self.module.shares, counted.sum(-1)

    def gradients(self, weights: Weights, samples: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Weights]:
        """(tasks,) losses, and the gradient of each for its weights."""
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        losses, _ = self.losses(leaves, samples)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), dict(zip(leaves, found, strict=True))

    def adapt(self, panel: Panel, rows: Tensor) -> Weights:
        """The weights of each task after its steps on its rows, (tasks, rows) positions; without rows, the start."""
        samples = panel.take(rows)
        weights = {
            name: weight.detach().repeat(len(rows), *[1] * weight.ndim)
            for name, weight in self.layers.named_parameters()
        }
        for _ in range(self.adaptation.steps):
            slopes = _clipped(self.gradients(weights, samples)[1], self.adaptation.gradient_clip)
            weights = {name: weight - self.adaptation.rate * slopes[name] for name, weight in weights.items()}
        return weights

    def start_gradient(self, panel: Panel, rows: Tensor, query: Tensor) -> tuple[Tensor, Weights]:
        """(tasks,) losses of query rows after adapting, and the mean gradient for the weights that tasks start from.

        Of first order: each gradient is taken where the steps of its task end.
        """
        losses, slopes = self.gradients(self.adapt(panel, rows), panel.take(query))
        return losses, {name: slope.mean(0) for name, slope in slopes.items()}

    def adapt_last(self, panel: Panel, series: np.ndarray | None = None) -> Weights:
        """As `adapt`, to the last rows of some series, or of all."""
        series = np.arange(len(panel.ends)) if series is None else series
        parts = [self.adapt(panel, panel.last(part, self.adaptation.rows)) for part in _cut(series)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


class Tasks:
    """The moments of a panel at which one can adapt to ``rows`` known rows and then answer ``query_rows``.

    Parameters
    ----------
    panel : Panel
    known : (n,) int
        Position behind the last row of the same series whose label is known before a row.
    rows, query_rows : int
    """

    def __init__(self, panel: Panel, known: np.ndarray, rows: int, query_rows: int) -> None:
        self.panel, self.known, self.rows, self.query_rows = panel, known, rows, query_rows
        begins, ends = panel.begins, panel.ends
        # The labels of a row's series are known in time order, see `known_before`, so `known` rises within it.
        enough = [
            begin + np.searchsorted(known[begin:end], begin + rows) for begin, end in zip(begins, ends, strict=True)
        ]
        self.first = np.array(enough)  # query row of each series
        self.starts = ends - query_rows - self.first + 1  # query rows to begin with
        self.counts = np.where(self.starts > 0, (ends - self.first) // query_rows, 0)

    def __len__(self) -> int:
        """Tasks of an epoch."""
        return int(self.counts.sum())

    def draw(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """(tasks, rows) and (tasks, query_rows) positions: spread over each series, elsewhere in each epoch."""
        generator = make_generator(seed, epoch, 0)
        draws = torch.rand(len(self), generator=generator, dtype=torch.float64).numpy()
        series = np.repeat(np.arange(len(self.counts)), self.counts)
        place = np.arange(len(series)) - (np.cumsum(self.counts) - self.counts)[series]
        share = (place + draws) / self.counts[series]
        queries = self.first[series] + np.minimum((share * self.starts[series]).astype(int), self.starts[series] - 1)
        order = torch.randperm(len(series), generator=generator).numpy()
        series, queries = series[order], queries[order]
        support = self.panel.between(self.panel.begins[series], self.known[queries], self.rows)
        return support, torch.from_numpy(queries[:, None] + np.arange(self.query_rows))


def known_before(sessions: np.ndarray, known: np.ndarray, panel: Panel) -> np.ndarray:
    """(n,) position behind the last row of the same series whose label is known before a row.

    Parameters
    ----------
    sessions, known : (n,) datetime64 or int, ascending within a series
        When each row is there, and when its label is known.
    panel : Panel
        The same rows.
    """
    behind = np.empty(len(sessions), int)
    for begin, end in zip(panel.begins, panel.ends, strict=True):
        times = np.maximum.accumulate(known[begin:end].astype(np.int64))
        behind[begin:end] = begin + np.searchsorted(times, sessions[begin:end].astype(np.int64))
    return behind


def meta_fit(
    adapter: Adapter, tasks: Tasks, validation: tuple[Panel, np.ndarray] | None, settings: MetaSettings
) -> FitResult:
    """Learn the weights from which each task's adapted net answers best; afterwards the adapter's net holds them.

    Parameters
    ----------
    adapter : Adapter
    tasks : Tasks
        Of the training rows.
    validation : Panel and (series,) int, optional
        Later rows, and which of the training series each of theirs continues (-1: none); its loss is that of the nets
        adapted to the last training rows.
    settings : MetaSettings

    Returns
    -------
    FitResult
        Its losses are those of query rows, and of validation rows.
    """
    layers, optimisation = adapter.layers, adapter.module.optimisation
    optimizer, course = optimisation.optimizer(layers.parameters()), Course(settings.patience)
    steps = -(-len(tasks) // settings.batch_size)
    best = deepcopy(layers.state_dict())
    with limited_threads(settings.threads):
        for epoch in range(settings.epochs):
            total = 0.0
            parts = zip(*(part.tensor_split(steps) for part in tasks.draw(settings.seed, epoch)), strict=True)
            for step, (support, query) in enumerate(parts, epoch * steps):
                for group in optimizer.param_groups:
                    group["lr"] = optimisation.rate(step / (settings.epochs * steps))
                losses, slopes = adapter.start_gradient(tasks.panel, support, query)
                for name, weight in layers.named_parameters():
                    weight.grad = slopes[name]
                if optimisation.gradient_clip:
                    torch.nn.utils.clip_grad_norm_(layers.parameters(), optimisation.gradient_clip)
                optimizer.step()
                total += float(losses.sum())
            curves = {"train": total / len(tasks)}
            if validation is not None:
                curves["validation"] = _validate(adapter, tasks.panel, *validation)
            if course.enter(curves):
                best = deepcopy(layers.state_dict())
            if course.stopped:
                break
    layers.load_state_dict(best)
    return course.result()


@torch.no_grad()
def _validate(adapter: Adapter, panel: Panel, later: Panel, continued: np.ndarray) -> float:
    """Mean loss of the later rows' adapted nets."""
    total = rows = 0.0
    for part in _cut(np.arange(len(continued))):
        with torch.enable_grad():
            weights = adapter.adapt_last(panel, continued[part])
        longest = int((later.ends - later.begins)[part].max())
        losses, counted = adapter.losses(weights, later.take(later.last(part, longest)))
        total, rows = total + float(losses @ counted), rows + float(counted.sum())
    return total / rows


def _clipped(gradients: Weights, longest: float) -> Weights:
    """As `torch.nn.utils.clip_grad_norm_`, each task by itself."""
    if not longest:
        return gradients
    lengths = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients.values()]).norm(dim=0)
    shares = (longest / (lengths + 1e-6)).clamp_max(1.0)
    return {name: gradient * shares.view(-1, *[1] * (gradient.ndim - 1)) for name, gradient in gradients.items()}


def _cut(series: np.ndarray) -> Iterator[np.ndarray]:
    return (series[place : place + _TOGETHER] for place in range(0, len(series), _TOGETHER))
