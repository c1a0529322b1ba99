"""Where learning curves go, besides the run's own files: TensorBoard, and MLflow in a sqlite file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from CONFIG.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LOGGERS = ("tensorboard", "mlflow")


def check_logger(name: str) -> None:
    """Refuse a logger that is not known or not installed."""
    if name not in LOGGERS:
        raise ConfigError(f"loggers: no logger {name!r}{did_you_mean(name, LOGGERS)}")
    if find_spec(name) is None:
        raise ConfigError(f'loggers: {name} is not installed; pip install "barzoo[tracking]"')


def make_logger(name: str, folder: Path, run: str = "") -> Logger:
    """A Lightning logger of one training.

    Parameters
    ----------
    name : str
        ``tensorboard`` writes below ``folder/tensorboard``, which ``tensorboard --logdir`` opens; ``mlflow`` writes to
        ``folder/mlflow.db``, which ``mlflow ui --backend-store-uri sqlite:///...`` opens.
    folder : Path
    run : str
        What the training is called there.

    Raises
    ------
    ConfigError
        An unknown name, or its package is not installed.
    """
    from lightning.pytorch import loggers

    check_logger(name)
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        return loggers.TensorBoardLogger(folder, name=name, version=run, default_hp_metric=False)
    return loggers.MLFlowLogger("barzoo", run or None, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
