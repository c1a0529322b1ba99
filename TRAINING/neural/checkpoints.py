"""A training's state on disk without pickle: safetensors behind its own hash, for Lightning's `CheckpointIO`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors.torch import load, save

from CONFIG.errors import IntegrityError
from DATA_PROCESSING.atomic import write_atomically

_HASH = 64  # hexadecimal digits of sha256, which come first
_STATE = "state"  # the tensor whose bytes are the JSON of all that is not a tensor


class SafetensorsIO(CheckpointIO):
    """Write a checkpoint as safetensors, whole or not at all; read it after its hash was checked.

    Parameters
    ----------
    identity : str
        Of the training, which a checkpoint must have under ``identity`` to be read.
    """

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        tensors: dict[str, torch.Tensor] = {}
        state = json.dumps(_pack(checkpoint, tensors)).encode()
        payload = save({**tensors, _STATE: torch.frombuffer(bytearray(state), dtype=torch.uint8)})
        write_atomically(Path(path), hashlib.sha256(payload).hexdigest().encode() + payload)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint back.

        Raises
        ------
        IntegrityError
            It is truncated, edited, not a checkpoint of ours, or of another training.
        """
        whole = Path(path).read_bytes()
        if hashlib.sha256(whole[_HASH:]).hexdigest().encode() != whole[:_HASH]:
            raise IntegrityError(f"{path}: not the checkpoint that was written, truncated or edited; delete it")
        tensors = load(whole[_HASH:])
        checkpoint = _unpack(json.loads(tensors.pop(_STATE).numpy().tobytes()), tensors)
        if checkpoint.get("identity") != self.identity:
            raise IntegrityError(f"{path}: of another training (net, settings or data differ); choose another folder")
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """``value`` as JSON; a dict becomes its items, for keys may be numbers, and a tensor its name in ``tensors``."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, tensors) for item in value]
    return value


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _unpack(item, tensors) for key, item in value["items"]}
