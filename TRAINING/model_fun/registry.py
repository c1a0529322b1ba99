"""The table of models. A new model is a row here, a class and a YAML in CONFIG/model_config."""

from __future__ import annotations

from importlib import import_module

from CONFIG.errors import ConfigError, did_you_mean

MODELS = {
    "change_point": "TRAINING.model_fun.regimes.change_point:ChangePointTrainer",
    "cnn1d": "TRAINING.model_fun.nets.sequence:CNN1DTrainer",
    "ensemble": "TRAINING.model_fun.ensemble.ensemble:EnsembleTrainer",
    "ftrl_proximal": "TRAINING.model_fun.linear.ftrl:FTRLProximalTrainer",
    "gan": "TRAINING.model_fun.nets.generative:GANTrainer",
    "gmm_regime": "TRAINING.model_fun.regimes.gmm:GMMRegimeTrainer",
    "lightgbm": "TRAINING.model_fun.boosting.boosters:LightGBMTrainer",
    "lstm": "TRAINING.model_fun.nets.sequence:LSTMTrainer",
    "meta_learning": "TRAINING.model_fun.nets.meta_learning:MetaLearningTrainer",
    "mlp": "TRAINING.model_fun.nets.tabular:MLPTrainer",
    "multi_task": "TRAINING.model_fun.nets.tabular:MultiTaskTrainer",
    "ngboost": "TRAINING.model_fun.boosting.natural:NGBoostTrainer",
    "quantile_lightgbm": "TRAINING.model_fun.boosting.quantile:QuantileLightGBMTrainer",
    "reward_based": "TRAINING.model_fun.linear.reward:RewardBasedTrainer",
    "transformer": "TRAINING.model_fun.nets.sequence:TransformerTrainer",
    "vae": "TRAINING.model_fun.nets.generative:VAETrainer",
    "xgboost": "TRAINING.model_fun.boosting.boosters:XGBoostTrainer",
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


def predicts_position(model: str) -> bool:
    """Whether a model, or a baseline, predicts positions rather than what its target will be."""
    return model in MODELS and trainer_class(model).predicts_position


def signal_rule(model: str, rule: str) -> str:
    """The rule of `TRAINING.evaluation.backtest.signals`; where it is the label's own, positions are as predicted."""
    return "position" if rule == "label" and predicts_position(model) else rule


def predictor_class(model: str) -> type:
    """The trainer class of a model that predicts.

    Raises
    ------
    ConfigError
        No such model, or one that makes features.
    """
    found = trainer_class(model)
    if found.makes_features:
        raise ConfigError(f"{model} makes features and predicts nothing; use --phase features, or its transform")
    return found
