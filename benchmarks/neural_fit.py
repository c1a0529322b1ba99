"""One `fit` of an MLP against a plain loop of the same steps, Lightning with a DataLoader, skorch and PyTorch Tabular.

The last two take part where they are installed: pip install skorch pytorch-tabular
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import FitSettings, fit
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Head, MLPConfig, initialise

HEADS = (Head("y"),)


def plain_net(features: int, hidden: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width_in, width in zip((features, *hidden[:-1]), hidden, strict=True):
        layers += [nn.Linear(width_in, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 1))


def plain_loop(X: Tensor, y: Tensor, epochs: int, batch: int, hidden: tuple[int, ...]) -> None:
    """Fused AdamW on slices of a permuted tensor: nothing but the steps."""
    net = plain_net(X.shape[1], hidden)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        shuffled_X, shuffled_y = X[order], y[order]
        for x, target in zip(shuffled_X.split(batch), shuffled_y.split(batch), strict=True):
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(net(x), target).backward()
            optimizer.step()


def ours(X: Tensor, y: Tensor, epochs: int, batch: int, hidden: tuple[int, ...]) -> None:
    """All of it: the net built, scales learnt, Lightning's Trainer made and run."""
    net = MLPConfig(X.shape[1], HEADS, hidden=hidden).build()
    initialise(net, make_generator(0))
    net.learn_scales(X.numpy(), y.numpy())
    module = SupervisedModule(net, HEADS, Optimisation())
    fit(module, TensorTable.of(X.numpy(), net, y.numpy()), None, FitSettings(epochs, batch, device="cpu"))


class Usual(lightning.LightningModule):
    """As most people write it."""

    def __init__(self, features: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.net = plain_net(features, hidden)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        loss = F.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss


def usual_lightning(X: Tensor, y: Tensor, epochs: int, batch: int, hidden: tuple[int, ...]) -> None:
    from torch.utils.data import DataLoader, TensorDataset

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Usual(X.shape[1], hidden), DataLoader(TensorDataset(X, y), batch, shuffle=True))


def with_skorch(X: Tensor, y: Tensor, epochs: int, batch: int, hidden: tuple[int, ...]) -> None:
    from skorch import NeuralNetRegressor

    net = NeuralNetRegressor(
        plain_net(X.shape[1], hidden),
        optimizer=torch.optim.AdamW,
        max_epochs=epochs,
        batch_size=batch,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.fit(X, y)


def with_pytorch_tabular(X: Tensor, y: Tensor, epochs: int, batch: int, hidden: tuple[int, ...]) -> None:
    import pandas as pd
    from pytorch_tabular import TabularModel
    from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
    from pytorch_tabular.models import CategoryEmbeddingModelConfig

    names = [f"f{i}" for i in range(X.shape[1])]
    table = pd.DataFrame(X.numpy(), columns=names).assign(y=y.numpy()[:, 0])
    layers = "-".join(map(str, hidden))
    model = TabularModel(
        data_config=DataConfig(target=["y"], continuous_cols=names, num_workers=0),
        model_config=CategoryEmbeddingModelConfig(task="regression", layers=layers, activation="SiLU"),
        optimizer_config=OptimizerConfig(optimizer="AdamW"),
        trainer_config=TrainerConfig(
            max_epochs=epochs,
            batch_size=batch,
            accelerator="cpu",
            early_stopping=None,
            checkpoints=None,
            load_best=False,
            progress_bar="none",
            trainer_kwargs={"enable_model_summary": False},
        ),
        verbose=False,
        suppress_lightning_logger=True,
    )
    model.fit(train=table, validation=table[:1000])


def seconds(run: Callable[..., None], *arguments: object) -> float:
    """Processor time of this process: a busy neighbour does not count."""
    started = time.process_time()
    run(*arguments)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    runs = {"a plain loop": plain_loop, "ours": ours, "Lightning with a DataLoader": usual_lightning}
    peers = {"skorch": with_skorch, "pytorch_tabular": with_pytorch_tabular}
    runs |= {name: run for name, run in peers.items() if find_spec(name)}
    torch.set_num_threads(1)
    X = torch.randn(options.rows, 60)
    y = X[:, :1] + torch.randn(options.rows, 1)
    cases = [(X, y, 3, 256, (256, 128)), (X, y, 3, 4096, (256, 128)), (X[:1000], y[:1000], 50, 256, (64, 32))]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # some write their logs where they are
        for case in cases:
            for run in runs.values():
                run(*(part[:2000] if isinstance(part, Tensor) else part for part in case))
            taken = [[seconds(run, *case) for run in runs.values()] for _ in range(options.repeats)]
            plain, own, *others = np.min(taken, axis=0)
            print(f"{len(case[0])} rows, batch {case[3]}: plain loop {plain:.2f} s, ours {own / plain:.2f} times that")
            for name, other in zip(list(runs)[2:], others, strict=True):
                print(f"    {name} takes {other / own:.2f} times ours", flush=True)


if __name__ == "__main__":
    main()
