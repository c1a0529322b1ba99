"""The table of models. A new model is a row here, a class and a YAML in CONFIG/model_config."""

from __future__ import annotations

from importlib import import_module

from CONFIG.errors import ConfigError, did_you_mean

MODELS = {
    "lightgbm": "TRAINING.model_fun.boosting:LightGBMTrainer",
    "mlp": "TRAINING.model_fun.tabular_nets:MLPTrainer",
    "multi_task": "TRAINING.model_fun.tabular_nets:MultiTaskTrainer",
    "xgboost": "TRAINING.model_fun.boosting:XGBoostTrainer",
}


def load_class(row: str) -> type:
    """Import the class that a row of the table names."""
    module, _, name = row.partition(":")
    return getattr(import_module(module), name)


def trainer_class(model: str) -> type:
    """The trainer class of a model.

    Raises
    ------
    ConfigError
        No such model.
    """
    if model not in MODELS:
        raise ConfigError(f"no model {model!r}{did_you_mean(model, MODELS)}")
    return load_class(MODELS[model])
