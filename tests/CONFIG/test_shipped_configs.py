from __future__ import annotations

import json
from pathlib import Path

import pytest

import CONFIG
from CONFIG.config_loader import (
    check_model_config,
    describe_model,
    load_model_config,
    load_run_config,
    model_names,
    resolve_run_config,
    run_topics,
)
from CONFIG.strict_yaml import read_yaml

FOLDER = Path(CONFIG.__file__).parent


def test_the_first_models_and_topics_are_there():
    assert {"lightgbm", "xgboost"} <= set(model_names())
    assert {"backtest", "bars", "features", "labels", "phases", "split"} <= set(run_topics())


@pytest.mark.parametrize("name", model_names())
def test_a_model_has_the_four_variants_and_says_what_each_is_for(name):
    description = describe_model(name)
    assert set(description.variants) == {"conservative", "balanced", "aggressive", "smoke"}
    assert description.default_variant == "balanced"
    for text in (description.about, *description.variants.values()):
        assert text.endswith(".")
        assert "\n" not in text
    assert len(set(description.variants.values())) == 4
    assert load_model_config(name, "balanced") == check_model_config(name, {})
    for variant in description.variants:
        assert json.dumps(load_model_config(name, variant))


@pytest.mark.parametrize("topic", run_topics())
def test_a_run_topic_loads(topic):
    resolved = resolve_run_config(topic)
    assert resolved.values == load_run_config(topic)
    assert all(origin.startswith(f"CONFIG/run_config/{topic}.yaml:") for origin in resolved.origins.values())
    assert json.dumps(resolved.values)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_config/*.yaml")), ids=lambda path: path.stem)
def test_every_number_has_a_limit_and_every_key_of_a_model_a_comment(path):
    data, lines = read_yaml(path)
    written = path.read_text().splitlines()
    for key, value in data["defaults"].items():
        assert key in data["limits"] or isinstance(value, bool | str | list | dict), f"{key} has no limit"
        assert path.parent.name == "run_config" or "  # " in written[lines[("defaults", key)] - 1], key


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_conservative_is_smaller_and_more_regularised_and_aggressive_the_reverse(name):
    variants = [load_model_config(name, variant) for variant in ("conservative", "balanced", "aggressive")]

    def rises(key: str) -> bool:
        first, second, third = (config[key] for config in variants)
        return first < second < third

    def falls(key: str) -> bool:
        first, second, third = (config[key] for config in variants)
        return first > second > third

    assert rises("learning_rate")
    assert rises("max_depth")
    assert falls("n_estimators")
    assert falls("reg_lambda")
    assert falls("early_stopping_rounds")
    if name == "lightgbm":
        assert rises("num_leaves")
        assert falls("min_data_in_leaf")
        assert rises("feature_fraction")
        assert rises("bagging_fraction")
    else:
        assert falls("min_child_weight")
        assert rises("colsample_bytree")
        assert rises("subsample")


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_aggressive_grows_fewer_leaves_in_all_and_smoke_fewest(name):
    def leaves(variant: str) -> int:
        config = load_model_config(name, variant)
        return config["n_estimators"] * min(config.get("num_leaves", 2**31), 2 ** config["max_depth"])

    assert leaves("smoke") < leaves("aggressive") < min(leaves("conservative"), leaves("balanced"))


@pytest.mark.parametrize("variant", ["conservative", "balanced", "aggressive", "smoke"])
def test_a_bag_of_two_hundred_rows_can_be_split(variant):
    lightgbm, xgboost = load_model_config("lightgbm", variant), load_model_config("xgboost", variant)
    assert 2 * lightgbm["min_data_in_leaf"] <= 200 * lightgbm["bagging_fraction"]
    row_weight = 0.28 * (1 - 0.28)  # of a row in a binary target with the usual share of peaks
    assert 2 * xgboost["min_child_weight"] <= 200 * xgboost["subsample"] * row_weight


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_one_thread_and_few_bins_by_default(name):
    for variant in describe_model(name).variants:
        config = load_model_config(name, variant)
        assert config["n_jobs"] == 1
        assert config["max_bin"] <= 64
