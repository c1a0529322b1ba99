"""Trained models on disk, without pickle: the libraries' own formats, bound by a manifest that is checked first."""

from __future__ import annotations

import json
from pathlib import Path

from CONFIG.errors import IntegrityError
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.registry import MODELS, predictor_class, trainer_class
from TRAINING.runs.manifest import environment, read_sealed
from TRAINING.runs.store import write_sealed

_HISTORY = "history.json"


def pack(trainer: Trainer) -> tuple[dict, dict[str, bytes]]:
    """A trained trainer as a description (plain JSON) and files (name -> bytes)."""
    description = {
        "model": trainer.name,
        "config": trainer.config,
        "task": trainer.task,
        "target": trainer.target,
        "features": trainer.features,
    }
    return description, {**trainer.payloads(), _HISTORY: json.dumps(trainer.history).encode()}


def unpack(description: dict, files: dict[str, bytes], where: str) -> Trainer:
    """The trainer that `pack` described, ready to predict; ``files`` must have been checked against their hashes."""
    if description.get("model") not in MODELS:
        raise IntegrityError(f"{where}: holds no model of this zoo, got {description.get('model')!r}")
    find = trainer_class if description["task"] == "features" else predictor_class
    trainer = find(description["model"])(description["config"])
    trainer.features, trainer.target, trainer.task = (description[key] for key in ("features", "target", "task"))
    trainer.notes, trainer.history = [], json.loads(files[_HISTORY])
    trainer.restore(files)
    return trainer


def save_artifact(trainer: Trainer, folder: str | Path) -> None:
    """Write a trained trainer to a folder: the model in its library's format, and ``manifest.json``.

    See Also
    --------
    load_artifact : reads it back.
    """
    description, files = pack(trainer)
    write_sealed(Path(folder), {**description, "environment": environment()}, files)


def load_artifact(folder: str | Path) -> Trainer:
    """Read a trained trainer back; it predicts as it did, bit for bit.

    Raises
    ------
    IntegrityError
        A file is missing, truncated or edited.
    """
    description, files = read_sealed(Path(folder))
    return unpack(description, files, str(folder))
