"""Tables in memory as blocks of batches: rows or windows gathered by index, shuffled by a generator, none dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor

from TRAINING.neural.nets import Net, as_tensor

_BLOCK_VALUES = (
    2**20
)  # numbers gathered at once, 4 MB: enough to outweigh Lightning's work per step, and stays in cache


@dataclass(frozen=True)
class TensorTable:
    """Samples over one table of features: its rows, or windows of rows that end at given positions.

    Attributes
    ----------
    values : Tensor
        (rows, features) float32, NaN where missing; windows read it in place and are never written out together.
    targets : Tensor
        (n, heads) float32, as the heads should give them; any number where missing.
    weight : Tensor, optional
        (n, heads) of each target, 0 where missing; ``None``: all are there and count the same.
    ends : Tensor, optional
        (n,) int64 position in ``values`` of each window's last row, see `window_ends`; ``None``: sample i is row i.
    window : int
        Rows of a window, where there are ``ends``.
    transform : callable, optional
        Applied to the features of samples when they are taken.
    """

    values: Tensor
    targets: Tensor
    weight: Tensor | None = None
    ends: Tensor | None = None
    window: int = 1
    transform: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Samples by number: (m, features) or (m, window, features), (m, heads), and (m, heads) or ``None``."""
        if self.ends is None:
            x = self.values.index_select(0, index)
        else:
            offsets = torch.arange(1 - self.window, 1, device=index.device)
            x = self.values[self.ends[index, None] + offsets]
        if self.transform is not None:
            x = self.transform(x)
        weight = None if self.weight is None else self.weight.index_select(0, index)
        return x, self.targets.index_select(0, index), weight

    def to(self, device: torch.device | str) -> TensorTable:
        """The same on a device."""
        parts = {name: getattr(self, name) for name in ("values", "targets", "weight", "ends")}
        return replace(self, **{name: part.to(device) for name, part in parts.items() if part is not None})

    @classmethod
    def of(
        cls, values: np.ndarray, net: Net, targets: np.ndarray, weight: np.ndarray | None = None, **windows: object
    ) -> TensorTable:
        """From arrays: features (rows, features), targets (n, heads) with NaN where missing, sample weights (n,)."""
        encoded = net.encode(torch.from_numpy(targets.astype(np.float32)))
        missing = encoded.isnan()
        weights = None
        if weight is not None or missing.any():
            each = np.ones(len(targets)) if weight is None else weight / weight.mean()
            weights = torch.from_numpy(each.astype(np.float32))[:, None].repeat(1, encoded.shape[1])
            weights = weights.masked_fill(missing, 0.0)
        rows = as_tensor(values)
        return cls(rows, encoded.nan_to_num(0.0), weights, **windows)

    @property
    def block_rows(self) -> int:
        """Samples that are gathered at once."""
        return max(1, _BLOCK_VALUES // (self.window * self.values.shape[1]))


def window_ends(series: np.ndarray, sessions: np.ndarray, window: int, longest_gap: int) -> np.ndarray:
    """Positions at which a whole window ends.

    Parameters
    ----------
    series : ndarray
        (rows,) a code per row; rows of one symbol are together, in time order.
    sessions : ndarray of int
        (rows,) the number of the row's session among all sessions.
    window : int
        Rows of a window.
    longest_gap : int
        Most sessions from one row to the next; a window over a longer gap is not whole.

    Returns
    -------
    ndarray of int64
        Ascending; none for a symbol of fewer rows than ``window``.
    """
    starts = run_starts(series, sessions, longest_gap)
    return np.flatnonzero(np.arange(len(series)) - starts >= window - 1)


def run_starts(series: np.ndarray, sessions: np.ndarray, longest_gap: int) -> np.ndarray:
    """(rows,) int64: where the unbroken run of each row begins; parameters as of `window_ends`."""
    breaks = (series[1:] != series[:-1]) | (np.diff(sessions) > longest_gap)
    starts = np.zeros(len(series), dtype=np.int64)
    starts[1:] = np.maximum.accumulate(np.where(breaks, np.arange(1, len(series)), 0))
    return starts


def make_generator(*numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every sequence of numbers, such as seed, epoch and purpose."""
    (state,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state))


class Blocks:
    """One pass over a table, as an iterable that Lightning takes for a loader.

    Each block is ``(x, targets, weight, batches, (first, total))``: samples to be split into so many batches of nearly
    one size, and the number of its first step among the total of the training.
    """

    def __init__(self, table: TensorTable, batch_size: int) -> None:
        self.table = table
        batches = -(-len(table) // batch_size)
        per_block = max(1, table.block_rows // batch_size)
        # Even parts: a last batch of one row would be a step of pure noise.
        sizes = np.full(batches, len(table) // batches)
        sizes[: len(table) % batches] += 1
        self.parts = [sizes[i : i + per_block] for i in range(0, batches, per_block)]
        self.batches = batches

    def __len__(self) -> int:
        return len(self.parts)

    def cut(self, order: Tensor, first: int = 0, total: int = 1) -> Iterator[tuple]:
        """Blocks of samples in an order."""
        rows = 0
        for part in self.parts:
            size = int(part.sum())
            yield (*self.table.take(order[rows : rows + size]), len(part), (first, total))
            rows += size
            first += len(part)


class TrainingBlocks(Blocks):
    """Shuffled anew in each epoch, from the seed and the epoch alone, so that a resumed run repeats."""

    def __init__(
        self,
        table: TensorTable,
        batch_size: int,
        seed: int,
        module: lightning.LightningModule,
        finished: Callable[[], int],
    ) -> None:
        super().__init__(table, batch_size)
        self.seed, self.module, self.finished = seed, module, finished

    def __iter__(self) -> Iterator[tuple]:
        # Lightning's own number of the epoch is one behind here when it has just resumed.
        epoch, epochs = self.finished(), self.module.trainer.max_epochs
        device = self.table.targets.device
        order = torch.randperm(len(self.table), generator=make_generator(self.seed, epoch, 0)).to(device)
        self.module.seed(make_generator(self.seed, epoch, 1, device=device))
        return self.cut(order, epoch * self.batches, epochs * self.batches)


class ValidationBlocks(Blocks):
    """In order."""

    def __iter__(self) -> Iterator[tuple]:
        return self.cut(torch.arange(len(self.table), device=self.table.targets.device))


class TableData(lightning.LightningDataModule):
    """Training and, where there are, validation samples.

    Parameters
    ----------
    module : LightningModule
        Told each epoch's generator by ``module.seed``.
    train, validation : TensorTable
        On the device where the module trains.
    batch_size, seed : int
    finished : callable
        Gives the number of epochs that are done.
    """

    def __init__(
        self,
        module: lightning.LightningModule,
        train: TensorTable,
        validation: TensorTable | None,
        batch_size: int,
        seed: int,
        finished: Callable[[], int],
    ) -> None:
        super().__init__()
        self.training = TrainingBlocks(train, batch_size, seed, module, finished)
        self.validation = [] if validation is None else ValidationBlocks(validation, validation.block_rows)

    def train_dataloader(self) -> TrainingBlocks:
        return self.training

    def val_dataloader(self) -> ValidationBlocks | list:
        return self.validation
