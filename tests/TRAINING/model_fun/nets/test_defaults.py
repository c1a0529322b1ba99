"""What a net is made of and how it trains is said twice, in its YAML and in the code; both must say the same."""

from __future__ import annotations

from dataclasses import fields

import pytest

from CONFIG.config_loader import load_model_config
from TRAINING.model_fun import trainer_class
from TRAINING.model_fun.nets.estimators import NeuralClassifier, NeuralMultiTask, NeuralRegressor
from TRAINING.model_fun.nets.sequence_estimators import SequenceClassifier, SequenceRegressor
from TRAINING.neural.nets import MLPConfig
from TRAINING.neural.sequence_nets import NETS

ESTIMATORS = [
    ("mlp", NeuralRegressor()),
    ("mlp", NeuralClassifier()),
    ("multi_task", NeuralMultiTask()),
    ("lstm", SequenceRegressor()),
    ("lstm", SequenceClassifier()),
]
SHAPES = [
    ("mlp", MLPConfig, ("hidden", "activation", "norm")),
    *((name, shape, trainer_class(name).architecture) for name, shape in NETS.items()),
]


@pytest.mark.parametrize(("model", "estimator"), ESTIMATORS, ids=lambda value: str(value).partition("(")[0])
def test_an_estimator_trains_as_its_yaml_says(model: str, estimator) -> None:
    parameters = estimator.get_params()
    parameters["seed"] = parameters.pop("random_state")
    check_same(parameters, load_model_config(model, "balanced"), at_least=14)


@pytest.mark.parametrize(("model", "shape", "keys"), SHAPES, ids=[row[0] for row in SHAPES])
def test_a_net_is_made_as_its_yaml_says(model: str, shape: type, keys: tuple[str, ...]) -> None:
    defaults = {field.name: field.default for field in fields(shape) if field.name in keys}
    check_same(defaults, load_model_config(model, "balanced"), at_least=len(keys))


def check_same(code: dict, yaml: dict, at_least: int) -> None:
    shared = code.keys() & yaml.keys()
    assert len(shared) >= at_least
    plain = {key: list(code[key]) if isinstance(code[key], tuple) else code[key] for key in shared}
    assert plain == {key: yaml[key] for key in shared}
