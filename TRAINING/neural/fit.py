"""The one `fit`: Lightning's Trainer with early stopping, checkpoints, resume and the last good weights."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities import _pytree
from safetensors.torch import save
from torch.utils._pytree import treespec_leaf

from CONFIG.errors import ConfigError
from DATA_PROCESSING.atomic import write_atomically
from TRAINING.neural.checkpoints import SafetensorsIO
from TRAINING.neural.data import TableData, TensorTable
from TRAINING.neural.loggers import make_logger
from TRAINING.neural.threads import limited_threads

log = logging.getLogger("barzoo")
# Lightning tells of devices, tips and its own shutdown, which is no news to a user of this package.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
# Lightning 2.6 makes leaves in a way that torch 2.13 warns of in every fit, and threads cannot filter warnings apart.
_pytree.LeafSpec = treespec_leaf

LAST, BEST, CURVES = "last.ckpt", "best.safetensors", "metrics.csv"


@dataclass(frozen=True)
class FitSettings:
    """How long, where and how a net is trained.

    Attributes
    ----------
    epochs, batch_size, seed : int
    patience : int
        Epochs without a lower validation loss before training stops and the best weights return; 0 = off.
    device : str
        ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
    precision : str
        ``float32``, ``bfloat16`` (mixed), or ``auto``: bfloat16 on a GPU that has it, float32 elsewhere. On processors
        bfloat16 loses time in the casts of small layers.
    threads : int
        Of the processor, for this fit; -1 = as many as torch takes.
    folder : str or Path, optional
        Gets ``last.ckpt``, ``best.safetensors`` (weights) and ``metrics.csv``, the loss of each epoch.
    checkpoint_seconds : float
        Fewest seconds between two writings to it; 0 = after each epoch. A shorter training writes nothing.
    resume : bool
        Go on from the folder's ``last.ckpt``, where there is one.
    loggers : tuple of str
        ``tensorboard``, ``mlflow`` (a sqlite file), both in the folder, see `TRAINING.neural.loggers`.
    progress : bool
        A bar, where the error stream is a terminal.
    fast_dev_run : bool
        One block of training and one of validation, nothing written: does it run at all?
    """

    epochs: int
    batch_size: int
    seed: int = 0
    patience: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    folder: str | Path | None = None
    checkpoint_seconds: float = 0.0
    resume: bool = False
    loggers: tuple[str, ...] = ()
    progress: bool = False
    fast_dev_run: bool = False


@dataclass(frozen=True)
class FitResult:
    """What a training came to; the module holds the weights.

    Attributes
    ----------
    history : dict
        Part (``train``, ``validation``) -> loss after each epoch.
    epochs : int
        Epochs behind the weights that were kept.
    notes : list of str
        What the user should know.
    """

    history: dict[str, list[float]]
    epochs: int
    notes: list[str] = field(default_factory=list)


class Course:
    """A training's learning curves, and what follows from them: which epoch is the best, and when to stop.

    Attributes
    ----------
    history, epochs, notes : dict, int, list
        As `FitResult` has them.
    stopped : bool
        Whether another epoch would be in vain.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.history: dict[str, list[float]] = {"train": [], "validation": []}
        self.epochs, self.lowest, self.stopped = 0, math.inf, False
        self.notes: list[str] = []

    def finished(self) -> int:
        """Epochs that are done."""
        return len(self.history["train"])

    def enter(self, losses: dict[str, float]) -> bool:
        """Add an epoch's loss of each part, and tell whether to keep its weights; infinite losses are not added."""
        epoch = self.finished() + 1
        if not all(map(math.isfinite, losses.values())):
            self.notes.append(
                f"the loss became infinite in epoch {epoch}; training stopped there and the weights of epoch "
                f"{self.epochs} were kept; lower learning_rate or set gradient_clip"
            )
            self.stopped = True
            return False
        for part, loss in losses.items():
            self.history[part].append(loss)
        stops = "validation" in losses and self.patience
        better = not stops or losses["validation"] < self.lowest
        if better:
            self.lowest, self.epochs = losses.get("validation", math.inf), epoch
        self.stopped = bool(stops) and epoch - self.epochs >= self.patience
        return better

    def result(self) -> FitResult:
        """What it came to."""
        return FitResult({part: losses for part, losses in self.history.items() if losses}, self.epochs, self.notes)


class KeepBest(Course, Callback):
    """Write the learning curves down, keep the best weights, stop in time; a checkpoint carries all of it."""

    def __init__(self, patience: int, folder: Path | None, seconds: float, identity: str) -> None:
        super().__init__(patience)
        self.folder, self.seconds, self.identity = folder, seconds, identity
        self.written = time.monotonic()
        self.best: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("history", "best", "epochs", "lowest", "notes")}

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["identity"] = self.identity

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not self.best:
            self._keep(module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        epoch, validated = trainer.current_epoch, bool(trainer.num_val_batches and sum(trainer.num_val_batches))
        losses = {"train": module.train_loss()} | ({"validation": module.validation_loss()} if validated else {})
        better = self.enter(losses)
        trainer.should_stop = trainer.should_stop or self.stopped
        if self.finished() == epoch:  # the losses were not finite
            return
        self._report(trainer, epoch, losses)
        if better:
            self._keep(module)
        if self.folder is not None and time.monotonic() - self.written >= self.seconds:
            self._write(trainer)

    def _keep(self, module: lightning.LightningModule) -> None:
        self.best = {name: value.detach().clone() for name, value in module.net.state_dict().items()}

    def _report(self, trainer: lightning.Trainer, epoch: int, losses: dict[str, float]) -> None:
        named = {f"{part}_loss": loss for part, loss in losses.items()}
        trainer.callback_metrics.update({name: torch.tensor(loss) for name, loss in named.items()})
        for logger in trainer.loggers:
            logger.log_metrics(named, step=epoch)

    def _write(self, trainer: lightning.Trainer) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {part: losses for part, losses in self.history.items() if losses}
        lines = [",".join(["epoch", *(f"{part}_loss" for part in parts)])]
        lines += [",".join(map(repr, row)) for row in zip(itertools.count(), *parts.values(), strict=False)]
        write_atomically(self.folder / CURVES, "\n".join(lines) + "\n")
        write_atomically(self.folder / BEST, save(self.best))
        trainer.save_checkpoint(self.folder / LAST)
        self.written = time.monotonic()


def fit(
    module: lightning.LightningModule,
    train: TensorTable,
    validation: TensorTable | None,
    settings: FitSettings,
) -> FitResult:
    """Train a module; afterwards ``module.net`` holds the kept weights, on the processor, and does not train.

    Parameters
    ----------
    module : LightningModule
        With ``net``, ``prepare(table)``, ``seed(generator)``, ``train_loss()`` and ``validation_loss()``, such as
        `SupervisedModule`; it learns from blocks, see `TRAINING.neural.data.Blocks`. A checkpoint must agree with its
        ``optimisation``.
    train, validation : TensorTable
        Validation rows serve the curves and, with ``patience``, early stopping.
    settings : FitSettings

    Returns
    -------
    FitResult

    Raises
    ------
    ConfigError
        A device or a logger that is not there.
    IntegrityError
        The checkpoint to resume from is broken or of another training.
    """
    device = choose_device(settings.device)
    folder = None if settings.fast_dev_run or settings.folder is None else Path(settings.folder)
    shown = settings.progress and sys.stderr.isatty()
    identity = _identity(module, train, validation, settings)
    keeper = KeepBest(settings.patience, folder, settings.checkpoint_seconds, identity)
    trainer = lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if choose_bfloat16(settings.precision, device) else "32-true",
        max_epochs=settings.epochs,
        callbacks=[keeper, RichProgressBar()] if shown else [keeper],
        plugins=[SafetensorsIO(identity)],
        logger=[] if folder is None else [make_logger(name, folder) for name in settings.loggers],
        fast_dev_run=settings.fast_dev_run,
        limit_val_batches=None if validation is not None else 0,
        enable_checkpointing=False,  # the keeper's part: Lightning's own callback warns of a folder that is not empty
        enable_progress_bar=shown,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    last = None if folder is None or not settings.resume else folder / LAST
    with limited_threads(settings.threads), interruptible():
        train = module.prepare(train).to(device)
        validation = None if validation is None else module.prepare(validation).to(device)
        data = TableData(module, train, validation, settings.batch_size, settings.seed, keeper.finished)
        trainer.fit(module, data, ckpt_path=last if last is not None and last.exists() else None)
    module.net.load_state_dict(keeper.best)
    module.net.cpu().eval()
    module.seed(None)
    return keeper.result()


def _identity(
    module: lightning.LightningModule, train: TensorTable, validation: TensorTable | None, settings: FitSettings
) -> str:
    """What must be the same for a training to go on: the net, the optimisation, the settings and the data's shapes."""
    shapes = [(name, list(value.shape)) for name, value in module.state_dict().items()]
    sizes = [len(train), list(train.values.shape), 0 if validation is None else len(validation)]
    told = [settings.epochs, settings.batch_size, settings.seed, settings.patience]
    return hashlib.sha256(repr((shapes, module.optimisation, sizes, told)).encode()).hexdigest()


def choose_device(asked: str) -> str:
    """``cpu`` or ``cuda``.

    Raises
    ------
    ConfigError
        ``cuda`` was asked for and is not there.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ConfigError(
            f"device: cuda, but torch {torch.__version__} finds no GPU here; set device: auto or cpu, or install a "
            "torch with CUDA and its driver"
        )
    return "cuda" if there and asked != "cpu" else "cpu"


def choose_bfloat16(asked: str, device: str) -> bool:
    """Whether to multiply matrices in bfloat16."""
    return asked == "bfloat16" or (asked == "auto" and device == "cuda" and torch.cuda.is_bf16_supported())


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt, which Lightning turns into ``sys.exit(1)`` and a deaf process."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
