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

# What predicts in place of a model that makes features.
PREDICTORS = {
    "gan": "TRAINING.model_fun.nets.latent_predictor:GANPredictor",
    "vae": "TRAINING.model_fun.nets.latent_predictor:VAEPredictor",
}


def class_name(row: str) -> str:
    """The name of the class that a row of a table names."""
    return row.partition(":")[2]


def load_class(row: str) -> type:
    """Import the class that a row of the table names."""
    return getattr(import_module(row.partition(":")[0]), class_name(row))


def trainer_class(model: str) -> type:
    """The trainer class of a model; it may make features, see `predictor_class`.

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
    """The trainer class of a model that predicts: its own or, where that makes features, one that predicts from them.

    Raises
    ------
    ConfigError
        No such model.
    """
    return load_class(PREDICTORS[model]) if model in PREDICTORS else trainer_class(model)
