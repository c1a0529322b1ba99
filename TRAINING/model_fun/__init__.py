"""The zoo: every trainer by name, imported on first use (``from TRAINING.model_fun import LightGBMTrainer``)."""

from __future__ import annotations

from TRAINING.model_fun.registry import MODELS, PREDICTORS, class_name, load_class, predictor_class, trainer_class

_CLASSES = {class_name(row): row for row in (*MODELS.values(), *PREDICTORS.values())}

__all__ = ["MODELS", "load_class", "predictor_class", "trainer_class", *sorted(_CLASSES)]


def __getattr__(name: str) -> type:
    if name in _CLASSES:
        return load_class(_CLASSES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
