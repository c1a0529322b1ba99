"""The zoo: every trainer by name, imported on first use (``from TRAINING.model_fun import LightGBMTrainer``)."""

from __future__ import annotations

from TRAINING.model_fun.registry import MODELS, load_class, trainer_class

__all__ = ["MODELS", "load_class", "trainer_class", *sorted(row.partition(":")[2] for row in MODELS.values())]


def __getattr__(name: str) -> type:
    for row in MODELS.values():
        if row.endswith(f":{name}"):
            return load_class(row)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
