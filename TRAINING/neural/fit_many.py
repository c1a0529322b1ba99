"""Many nets of one architecture in one program: weights stacked, each net on its own rows, as if it trained alone.

A small net on a small table spends its time between the multiplications; stacked, fifty nets share that time. What the
nets must agree on (the steps of an epoch, the rows of a padded batch, the shapes) is decided for each by its own table
and never by its company, so that a net comes out the same whatever others train beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import Course, FitResult, FitSettings, choose_bfloat16, choose_device
from TRAINING.neural.modules import SupervisedModule
from TRAINING.neural.threads import limited_threads

_TOGETHER = 32  # nets of one program at most: more gain nothing and wait longer for the last
_MEMORY = 2**30  # bytes that one program may take
_ROUNDING = 16  # a batch is padded to a multiple of so many rows


@dataclass(frozen=True)
class Job:
    """A net to train, and its samples.

    Attributes
    ----------
    module : SupervisedModule
        Over a `TRAINING.neural.nets.Net`; afterwards ``module.net`` holds the kept weights.
    train, validation : TensorTable
        As of `TRAINING.neural.fit.fit`.
    """

    module: SupervisedModule
    train: TensorTable
    validation: TensorTable | None = None

    def batches(self, batch_size: int) -> tuple[int, int]:
        """Steps of an epoch, and rows of a step, rounded up."""
        steps = -(-len(self.train) // batch_size)
        rows = -(-len(self.train) // steps)
        return steps, -(-rows // _ROUNDING) * _ROUNDING

    def kind(self, batch_size: int) -> Hashable:
        """Nets of one kind can train in one program."""
        module = self.module
        shapes = tuple((name, tuple(weight.shape)) for name, weight in _learner(self.module).named_parameters())
        loss = (module.loss, tuple(module.shares.tolist()), tuple(module.net.binary.tolist()), module.optimisation)
        return (
            str(_learner(self.module)),
            shapes,
            loss,
            self.batches(batch_size),
            self.train.window,
            self.validation is None,
        )


def fit_many(jobs: Sequence[Job], settings: FitSettings) -> list[FitResult]:
    """Train nets together; each comes out as from `TRAINING.neural.fit.fit` alone, to the rounding of float32.

    The first weights are the given ones, and shuffling, batches, dropout, learning rates, clipping and early stopping
    are those of the net alone. On a GPU dropout draws other values than alone. Nets of one kind, see `Job.kind`, train
    in one program of at most 32 nets and 1 GiB. A net whose loss becomes infinite stops by itself, as there.

    Parameters
    ----------
    jobs : sequence of Job
        Their nets of plain modules without state that training changes, such as batch norm's.
    settings : FitSettings
        Nothing is written: ``folder``, ``resume``, ``loggers``, ``progress`` and ``fast_dev_run`` are for `fit`.

    Returns
    -------
    list of FitResult
        In the order of ``jobs``.

    Raises
    ------
    ConfigError
        ``device: cuda`` without a GPU.
    """
    device = choose_device(settings.device)
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for number, job in enumerate(jobs):
        kinds[job.kind(settings.batch_size)].append(number)
    results: dict[int, FitResult] = {}
    with limited_threads(settings.threads):
        for numbers in kinds.values():
            together = min(_TOGETHER, max(1, _MEMORY // _bytes_of(jobs[numbers[0]], settings.batch_size)))
            for part in np.array_split(numbers, -(-len(numbers) // together)):
                fitted = _Program([jobs[number] for number in part], settings, device).run()
                results |= zip(part.tolist(), fitted, strict=True)
    return [results[number] for number in range(len(jobs))]


def _learner(module: SupervisedModule) -> nn.Sequential:
    """What is learnt: all of a net behind its scales."""
    return nn.Sequential(module.net.trunk, module.net.heads)


def _bytes_of(job: Job, batch_size: int) -> int:
    """What one net of a program takes: its samples, its weights with gradients and moments, and what a step keeps."""
    tables = [table for table in (job.train, job.validation) if table is not None]
    values = sum(table.values.nbytes + 2 * table.targets.nbytes for table in tables)
    weights = sum(weight.nbytes for weight in _learner(job.module).parameters())
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    x = job.train.take(torch.zeros(job.batches(batch_size)[1], dtype=torch.long))[0]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        job.module.net.eval()(x)
    return values + 6 * weights + 2 * kept


class _Samples:
    """The samples of several nets as one table, and how they are cut into batches with as many rows for each net.

    Parameters
    ----------
    tables : sequence of TensorTable
    jobs : sequence of Job
        Whose nets standardise them, once.
    batches, rows : int
        Of an epoch, and of a batch: what a net lacks is filled up with a sample of no weight.
    """

    def __init__(self, tables: Sequence[TensorTable], jobs: Sequence[Job], batches: int, rows: int) -> None:
        self.batches, self.rows = batches, rows
        self.sizes = [len(table) for table in tables]
        *self.firsts, self.filling = np.cumsum([0, *self.sizes]).tolist()
        values = [job.module.net.standardise(table.values) for table, job in zip(tables, jobs, strict=True)]
        targets = [table.targets for table in tables]
        weights = [torch.ones_like(table.targets) if table.weight is None else table.weight for table in tables]
        ends = None
        if tables[0].ends is None:
            values.append(values[0][:1])
        else:
            starts = np.cumsum([0, *map(len, values[:-1])]).tolist()
            ends = [table.ends + start for table, start in zip(tables, starts, strict=True)]
            ends = torch.cat([*ends, ends[0][:1]])
        self.table = TensorTable(
            torch.cat(values),
            torch.cat([*targets, targets[0][:1]]),
            torch.cat([*weights, torch.zeros_like(weights[0][:1])]),
            ends,
            tables[0].window,
        )

    def to(self, device: str) -> _Samples:
        """The same on a device."""
        self.table = self.table.to(device)
        return self

    def cut(self, nets: Sequence[int], orders: Sequence[Tensor] | None, even: bool) -> Tensor:
        """(batches, nets, rows) numbers of samples; batches of nearly one size if ``even``, else full but the last."""
        grid = torch.full((len(nets), self.batches * self.rows), self.filling)
        for place, net in enumerate(nets):
            order = torch.arange(self.sizes[net]) if orders is None else orders[place]
            grid[place, self._slots(self.sizes[net], even)] = order + self.firsts[net]
        return grid.view(len(nets), self.batches, self.rows).transpose(0, 1).to(self.table.targets.device)

    def _slots(self, size: int, even: bool) -> Tensor:
        if not even:
            return torch.arange(size)
        parts = torch.arange(size).tensor_split(self.batches)
        return torch.cat([batch * self.rows + torch.arange(len(part)) for batch, part in enumerate(parts)])

    def take(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(nets, rows) numbers -> what the learners take, (nets, rows, ...), and (nets, rows, heads) twice."""
        x, targets, weight = (part.view(*index.shape, *part.shape[1:]) for part in self.table.take(index.flatten()))
        return x, targets, weight


class _Program:
    """The nets that still train, stacked; a net that is done leaves the stack."""

    def __init__(self, jobs: Sequence[Job], settings: FitSettings, device: str) -> None:
        self.jobs, self.settings, self.device = jobs, settings, device
        self.module = deepcopy(jobs[0].module).to(device)  # its loss, its layers and its dropout serve all
        self.learner = _learner(self.module)
        self.steps, rows = jobs[0].batches(settings.batch_size)
        self.training = _Samples([job.train for job in jobs], jobs, self.steps, rows).to(device)
        self.validation = None
        if jobs[0].validation is not None:
            tables = [job.validation for job in jobs]
            blocks = -(-max(map(len, tables)) // rows)
            self.validation = _Samples(tables, jobs, blocks, rows).to(device)
        learners = [dict(_learner(job.module).named_parameters()) for job in jobs]
        self.weights = {
            name: torch.stack([learner[name].detach() for learner in learners]).to(device).requires_grad_()
            for name in learners[0]
        }
        self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.optimizer = self.module.optimisation.optimizer(self.weights.values(), stacked=True)
        self.courses = [Course(settings.patience) for _ in jobs]
        self.nets = list(range(len(jobs)))  # those in the stack

    def run(self) -> list[FitResult]:
        """Train until every net is done."""
        for epoch in range(self.settings.epochs):
            self._end_epoch(self._learn(epoch), self._validate())
            if not self.nets:
                break
        self._leave(range(len(self.nets)))
        return [course.result() for course in self.courses]

    def _answers(self, x: Tensor) -> Tensor:
        """(nets, rows, heads) of (nets, rows, ...)."""
        run = torch.vmap(lambda weights, x: functional_call(self.learner, weights, (x,)), randomness="same")
        mixed = choose_bfloat16(self.settings.precision, self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=mixed):
            return run(self.weights, x)

    def _learn(self, epoch: int) -> list[float]:
        seed, optimisation = self.settings.seed, self.module.optimisation
        total = self.settings.epochs * self.steps
        sizes = {self.training.sizes[net] for net in self.nets}
        orders = {size: torch.randperm(size, generator=make_generator(seed, epoch, 0)) for size in sizes}
        cuts = self.training.cut(self.nets, [orders[self.training.sizes[net]] for net in self.nets], even=True)
        self.module.seed(make_generator(seed, epoch, 1, device=self.device))
        self.learner.train()
        losses = []
        for step, index in enumerate(cuts, epoch * self.steps):
            for group in self.optimizer.param_groups:
                group["lr"] = optimisation.rate(step / total)
            self.module.start_step(step)
            self.optimizer.zero_grad(set_to_none=True)
            x, targets, weight = self.training.take(index)
            loss = self.module.head_losses(self._answers(x), targets, weight)[0] @ self.module.shares
            loss.sum().backward()
            if optimisation.gradient_clip:
                self._clip(optimisation.gradient_clip)
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).double().mean(0).tolist()

    def _clip(self, longest: float) -> None:
        """As `torch.nn.utils.clip_grad_norm_`, each net by itself."""
        gradients = [weight.grad for weight in self.weights.values()]
        lengths = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        shares = (longest / (lengths + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.mul_(shares.view(-1, *[1] * (gradient.ndim - 1)))

    @torch.no_grad()
    def _validate(self) -> list[float] | None:
        if self.validation is None:
            return None
        self.learner.eval()
        total = counted = 0.0
        for index in self.validation.cut(self.nets, None, even=False):
            x, targets, weight = self.validation.take(index)
            losses, count = self.module.head_losses(self._answers(x), targets, weight)
            total, counted = total + losses * count, counted + count
        return ((total / counted.clamp_min(1e-12)) @ self.module.shares).tolist()

    def _end_epoch(self, train: list[float], validation: list[float] | None) -> None:
        better, done = [], []
        for place, net in enumerate(self.nets):
            losses = {"train": train[place]} | ({} if validation is None else {"validation": validation[place]})
            if self.courses[net].enter(losses):
                better.append(place)
            if self.courses[net].stopped:
                done.append(place)
        for name, weight in self.weights.items():
            self.best[name][better] = weight.detach()[better]
        if done:
            self._leave(done)

    @torch.no_grad()
    def _leave(self, places: Sequence[int]) -> None:
        """Give nets their best weights and take them off the stack."""
        for place in places:
            for name, weight in _learner(self.jobs[self.nets[place]].module).named_parameters():
                weight.data = self.best[name][place].cpu().clone()
            self.jobs[self.nets[place]].module.net.eval()
        kept = [place for place in range(len(self.nets)) if place not in set(places)]
        self.nets = [self.nets[place] for place in kept]
        for name, weight in self.weights.items():
            self.best[name], weight.grad = self.best[name][kept], None
            weight.data = weight.data[kept]
            state = self.optimizer.state[weight]
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = state[moment][kept]
