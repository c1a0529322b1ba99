from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from CONFIG import config_loader
from CONFIG.config_loader import (
    ConfigError,
    check_model_config,
    config_file_target,
    describe_model,
    load_model_config,
    load_run_config,
    model_names,
    resolve_model_config,
    resolve_run_config,
    run_topics,
)

SHIPPED = "CONFIG/model_config/lightgbm.yaml"


@pytest.fixture(autouse=True)
def _no_variant_in_the_environment(monkeypatch):
    for name in ("MODEL", *map(str.upper, model_names())):
        monkeypatch.delenv(f"{name}_VARIANT", raising=False)


@pytest.fixture
def user_file(tmp_path):
    def write(text: str, name: str = "lightgbm.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def faults(function, *args, **kwargs) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        function(*args, **kwargs)
    return str(caught.value).splitlines()


def shipped_line(text: str) -> int:
    """Return the line of the shipped LightGBM file that starts with ``text``."""
    lines = (Path(config_loader.__file__).parent / "model_config/lightgbm.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if line.startswith(text))


# Resolution


def test_defaults_then_variant_then_overrides():
    defaults = load_model_config("lightgbm")
    conservative = load_model_config("lightgbm", variant="conservative")
    overridden = load_model_config("lightgbm", variant="conservative", overrides={"num_leaves": 3})
    assert conservative["num_leaves"] not in (defaults["num_leaves"], 3)
    assert conservative["max_bin"] == defaults["max_bin"]
    assert overridden == conservative | {"num_leaves": 3}


def test_the_documented_overrides_are_valid():
    overrides = {"n_estimators": 2000, "learning_rate": 0.01, "max_depth": 5, "early_stopping_rounds": 50}
    assert load_model_config("lightgbm", overrides=overrides) == load_model_config("lightgbm") | overrides


def test_the_documented_experiment_is_a_variant(user_file):
    experiment = {"n_estimators": 2000, "learning_rate": 0.02, "max_depth": 6, "min_data_in_leaf": 200}
    lines = "".join(f"    {key}: {value}\n" for key, value in experiment.items())
    file = user_file(f"variants:\n  my_experiment:\n{lines}")
    config = load_model_config("lightgbm", variant="my_experiment", files=[file])
    assert config == load_model_config("lightgbm") | experiment


def test_a_configuration_is_plain_json_and_fresh():
    for name in model_names():
        config = load_model_config(name)
        assert json.loads(json.dumps(config, allow_nan=False)) == config
        config.clear()
        assert load_model_config(name)
    phases = load_run_config("phases")
    phases["core_models"].append("other")
    assert "other" not in load_run_config("phases")["core_models"]


def test_an_override_is_not_kept_by_reference():
    models = ["lightgbm"]
    config = load_run_config("phases", overrides={"core_models": models})
    models.append("other")
    assert config["core_models"] == ["lightgbm"]


def test_values_take_the_type_of_their_default():
    config = load_model_config("lightgbm", overrides={"learning_rate": 1, "reg_lambda": 3})
    assert type(config["learning_rate"]) is float
    assert type(config["reg_lambda"]) is float
    assert type(config["num_leaves"]) is int


def test_origins_name_the_file_and_line_that_set_a_value(user_file):
    file = user_file("defaults:\n  seed: 7\nvariants:\n  conservative:\n    num_leaves: 5\n")
    resolved = resolve_model_config("lightgbm", "conservative", {"max_bin": 31}, files=[file])
    assert (resolved.name, resolved.variant) == ("lightgbm", "conservative")
    assert resolved.values["num_leaves"] == 5
    assert resolved.origins.keys() == resolved.values.keys()
    assert resolved.origins["max_bin"] == "override"
    assert resolved.origins["num_leaves"] == f"{file}:5 (conservative)"
    assert resolved.origins["seed"] == f"{file}:2 (defaults)"
    assert resolved.origins["task"] == f"{SHIPPED}:{shipped_line('  task: auto')} (defaults)"
    assert resolved.origins["max_depth"] == f"{SHIPPED}:{shipped_line('    max_depth: 3')} (conservative)"


def test_shipped_files_are_parsed_once(monkeypatch):
    load_model_config("xgboost")
    load_run_config("split")
    monkeypatch.setattr(config_loader, "read_yaml", lambda *args: pytest.fail("parsed again"))
    load_model_config("xgboost", "aggressive", {"seed": 1})
    load_run_config("split", {"embargo_sessions": 5})


# The variant


def test_the_argument_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("MODEL_VARIANT", "conservative")
    monkeypatch.setenv("LIGHTGBM_VARIANT", "aggressive")
    assert resolve_model_config("lightgbm", "smoke").variant == "smoke"
    assert resolve_model_config("lightgbm").variant == "aggressive"
    assert resolve_model_config("xgboost").variant == "conservative"
    monkeypatch.delenv("LIGHTGBM_VARIANT")
    assert resolve_model_config("lightgbm").variant == "conservative"
    monkeypatch.setenv("MODEL_VARIANT", "")
    assert resolve_model_config("lightgbm").variant == "balanced"


def test_the_environment_chooses_nothing_else(monkeypatch):
    before = load_run_config("split"), load_model_config("lightgbm", "smoke"), check_model_config("lightgbm", {})
    for name in ("MODEL_VARIANT", "LIGHTGBM_VARIANT", "SPLIT_VARIANT"):
        monkeypatch.setenv(name, "aggressive")
    assert before == (
        load_run_config("split"),
        load_model_config("lightgbm", "smoke"),
        check_model_config("lightgbm", {}),
    )


@pytest.mark.parametrize("variable", ["LIGHTGBM_VARIANT", "MODEL_VARIANT"])
def test_an_unknown_variant_names_where_it_came_from(monkeypatch, variable):
    monkeypatch.setenv(variable, "conservativ")
    message = f"lightgbm has no variant 'conservativ', which {variable} names; did you mean 'conservative'?"
    assert faults(load_model_config, "lightgbm") == [message]
    (fault,) = faults(load_model_config, "lightgbm", "agressive")
    assert fault == "lightgbm has no variant 'agressive', which the variant argument names; did you mean 'aggressive'?"


def test_a_run_over_many_models_warns_and_takes_the_default(monkeypatch, caplog):
    monkeypatch.setenv("MODEL_VARIANT", "my_experiment")
    with caplog.at_level(logging.WARNING, logger="barzoo"):
        assert resolve_model_config("lightgbm", many=True).variant == "balanced"
    assert [(record.name, record.levelname) for record in caplog.records] == [("barzoo", "WARNING")]
    assert "lightgbm has no variant 'my_experiment'" in caplog.text
    assert "balanced" in caplog.text


def test_a_run_over_many_models_still_refuses_what_was_asked_of_one(monkeypatch):
    monkeypatch.setenv("LIGHTGBM_VARIANT", "my_experiment")
    assert "LIGHTGBM_VARIANT" in faults(resolve_model_config, "lightgbm", many=True)[0]
    assert "the variant argument" in faults(resolve_model_config, "lightgbm", "mine", many=True)[0]


# Users' files


def test_a_whole_file_merges_into_the_shipped_one(user_file):
    shipped = (Path(config_loader.__file__).parent / "model_config/lightgbm.yaml").read_text()
    file = user_file(re.sub(r"(?m)^  num_leaves: 15\b.*$", "  num_leaves: 9", shipped))
    assert load_model_config("lightgbm", files=[file]) == load_model_config("lightgbm") | {"num_leaves": 9}
    assert describe_model("lightgbm", [file]) == describe_model("lightgbm")


def test_a_file_may_hold_only_defaults(user_file):
    file = user_file("defaults:\n  num_leaves: 9\n  seed: 5\n")
    changes = {"num_leaves": 9, "seed": 5}
    assert load_model_config("lightgbm", files=[file]) == load_model_config("lightgbm") | changes
    aggressive = load_model_config("lightgbm", "aggressive")
    assert load_model_config("lightgbm", "aggressive", files=[file]) == aggressive | {"seed": 5}


def test_a_file_may_hold_only_variants(user_file):
    file = user_file("variants:\n  conservative:\n    num_leaves: 3\n  mine:\n    max_depth: 2\n  same:\n")
    conservative = load_model_config("lightgbm", "conservative")
    assert load_model_config("lightgbm", "conservative", files=[file]) == conservative | {"num_leaves": 3}
    assert load_model_config("lightgbm", "mine", files=[file]) == load_model_config("lightgbm") | {"max_depth": 2}
    assert load_model_config("lightgbm", "same", files=[file]) == load_model_config("lightgbm")


def test_a_file_may_change_the_default_variant_the_limits_and_the_texts(user_file):
    file = user_file(
        """
        default_variant: mine
        about: {mine: My own.}
        limits: {num_leaves: "[2, 15]"}
        variants: {mine: {seed: 3}, aggressive: {num_leaves: 15}}
        """
    )
    assert resolve_model_config("lightgbm", files=[file]).variant == "mine"
    description = describe_model("lightgbm", [file])
    assert description.default_variant == "mine"
    assert description.variants["mine"] == "My own."
    assert description.about == describe_model("lightgbm").about
    (fault,) = faults(load_model_config, "lightgbm", overrides={"num_leaves": 16}, files=[file])
    assert fault == "override: num_leaves: must be within [2, 15], got 16"


def test_a_later_file_wins_and_other_names_are_left_alone(user_file, tmp_path):
    (tmp_path / "later").mkdir()
    first = user_file("defaults: {num_leaves: 9, seed: 5}")
    later = user_file("defaults: {num_leaves: 11}", "later/lightgbm.yaml")
    other = user_file("defaults: {max_depth: 1}", "xgboost.yaml")
    config = load_model_config("lightgbm", files=[first, other, later])
    assert config == load_model_config("lightgbm") | {"num_leaves": 11, "seed": 5}
    assert load_model_config("xgboost", files=[first, other, later])["max_depth"] == 1


def test_a_users_file_is_read_again_when_it_changed(user_file):
    file = user_file("defaults: {num_leaves: 9}")
    assert load_model_config("lightgbm", files=[file])["num_leaves"] == 9
    user_file("defaults: {num_leaves: 10}")
    assert load_model_config("lightgbm", files=[file])["num_leaves"] == 10
    assert load_model_config("lightgbm")["num_leaves"] == 15


def test_a_run_topic_takes_users_files(user_file):
    file = user_file("defaults:\n  embargo_sessions: 3\n", "split.yaml")
    resolved = resolve_run_config("split", files=[file])
    assert resolved.variant is None
    assert resolved.values == load_run_config("split") | {"embargo_sessions": 3}
    assert resolved.origins["embargo_sessions"] == f"{file}:2 (defaults)"


def test_a_file_is_named_after_what_it_configures(user_file):
    assert config_file_target("anywhere/lightgbm.yaml") == "lightgbm"
    assert config_file_target(Path("split.yml")) == "split"
    with pytest.raises(ConfigError, match=r"my/lightgb\.yaml: .*did you mean 'lightgbm'"):
        config_file_target("my/lightgb.yaml")
    assert (
        "did you mean 'lightgbm'"
        in faults(load_model_config, "lightgbm", files=[user_file("a: 1", "ligthgbm.yaml")])[0]
    )
    assert not set(model_names()) & set(run_topics())


def test_a_missing_users_file_is_named(tmp_path):
    assert faults(load_model_config, "lightgbm", files=[tmp_path / "lightgbm.yaml"]) == [
        f"{tmp_path / 'lightgbm.yaml'}: no such file"
    ]


def test_a_users_file_goes_through_the_strict_reader(user_file):
    file = user_file("defaults:\n  seed: !!python/object/apply:os.getpid []\n")
    assert faults(load_model_config, "lightgbm", files=[file])[0].startswith(f"{file}:2: tag !!python/object")


# Faults


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"n_estimatorz": 5}, "lightgbm has no key 'n_estimatorz'; did you mean 'n_estimators'?"),
        ({5: 5}, "lightgbm has no key 5; choose from bagging_fraction, "),
        ({"num_leaves": 1.5}, "num_leaves: expected an integer, got 1.5"),
        ({"num_leaves": True}, "num_leaves: expected an integer, got True"),
        ({"force_col_wise": "yes"}, "force_col_wise: expected true or false, got 'yes'"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number, got nan"),
        ({"learning_rate": 0}, "learning_rate: must be within (0, 1], got 0.0"),
        ({"task": "binry"}, "task: 'binry' is not a choice; did you mean 'binary'?"),
    ],
)
def test_a_wrong_override_is_refused(overrides, message):
    (fault,) = faults(load_model_config, "lightgbm", overrides=overrides)
    assert fault.startswith(f"override: {message}")
    (fault,) = faults(check_model_config, "lightgbm", overrides)
    assert fault.startswith(f"config: {message}")


FILE_FAULTS = {
    "unknown section": (
        "default: {seed: 1}",
        1,
        "no section of a model configuration: 'default'; did you mean 'defaults'?",
    ),
    "section without keys": ("\ndefaults: 5", 2, "defaults: expected keys and values, got 5"),
    "variant without keys": ("variants:\n  mine: [1]", 2, "mine: expected keys and values, got [1]"),
    "unknown default": ("defaults:\n  sed: 1", 2, "lightgbm has no key 'sed'; did you mean 'seed'?"),
    "default of a wrong type": ("defaults:\n  seed: 010", 2, "seed: expected an integer, got '010'"),
    "default out of its limits": ("defaults:\n  seed: -1", 2, "seed: must be within [0, 2147483647], got -1"),
    "no value": ("defaults:\n  seed:", 2, "seed: expected an integer, got None"),
    "unknown key in a variant": (
        "variants:\n  mine:\n    sed: 1",
        3,
        "lightgbm has no key 'sed'; did you mean 'seed'?",
    ),
    "wrong type in a variant": ("variants:\n  mine:\n    seed: x", 3, "seed: expected an integer, got 'x'"),
    "malformed limit": (
        'limits:\n  seed: "[0, 5"',
        2,
        "seed: expected an interval such as '(0, 1]' or '[2, inf)', got '[0, 5'",
    ),
    "unquoted limit": ("limits:\n  seed: [0, inf]", 2, "seed: expected an integer, got 'inf'"),
    "limit of an unknown key": ('limits:\n  sed: "[0, 5]"', 2, "lightgbm has no key 'sed'; did you mean 'seed'?"),
    "limit that a shipped value breaks": (
        "limits:\n  task: [binary, regression]",
        None,
        "task: 'auto' is not a choice",
    ),
    "unknown default variant": (
        "default_variant: smok",
        1,
        "default_variant: 'smok' is not a choice; did you mean 'smoke'?",
    ),
    "no default variant": ("default_variant:", 1, "default_variant: expected text, got None"),
    "text about no variant": ("about:\n  smok: x", 2, "lightgbm has no key 'smok'; did you mean 'smoke'?"),
    "about is not text": ("about:\n  smoke: 5", 2, "smoke: expected text, got 5"),
}


@pytest.mark.parametrize(("text", "line", "message"), FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_a_fault_in_a_file_has_its_line_whatever_variant_is_chosen(user_file, text, line, message):
    file = user_file(text)
    place = f"{file}:{line}" if line else f"{SHIPPED}:{shipped_line('  task: auto')}"
    (fault,) = faults(load_model_config, "lightgbm", "smoke", files=[file])
    assert fault.startswith(f"{place}: {message}")


def test_all_faults_of_all_files_come_at_once(user_file, tmp_path):
    (tmp_path / "later").mkdir()
    first = user_file("extra: 1\ndefaults:\n  seed: x\n  sed: 1\nvariants:\n  mine:\n    num_leaves: 1\n  other: 5\n")
    later = user_file('limits:\n  max_bin: "[5, 1]"\nvariants:\n  smoke:\n    task: binry\n', "later/lightgbm.yaml")
    found = faults(load_model_config, "lightgbm", files=[first, later])
    assert sorted(fault.split(": ")[0] for fault in found) == sorted(
        [f"{first}:1", f"{first}:3", f"{first}:4", f"{first}:7", f"{first}:8", f"{later}:2", f"{later}:5"]
    )
    overrides = {"seed": -1, "sed": 1, "task": 3}
    assert len(faults(load_model_config, "lightgbm", overrides=overrides)) == 3


def test_a_run_topic_has_no_variants(user_file):
    file = user_file("variants: {}\n", "split.yaml")
    assert faults(load_run_config, "split", files=[file])[0].startswith(f"{file}:1: no section of a run configuration")


@pytest.mark.parametrize("name", ["../strict_yaml", "LightGBM", "", "labels"])
def test_an_unknown_model_is_refused(name):
    assert faults(load_model_config, name)[0].startswith(f"unknown model {name!r}; ")


def test_an_unknown_model_or_topic_gets_a_suggestion():
    assert faults(load_model_config, "lightgb") == ["unknown model 'lightgb'; did you mean 'lightgbm'?"]
    assert faults(check_model_config, "xgbost", {}) == ["unknown model 'xgbost'; did you mean 'xgboost'?"]
    assert faults(describe_model, "xgbost") == ["unknown model 'xgbost'; did you mean 'xgboost'?"]
    assert faults(load_run_config, "label") == ["unknown run topic 'label'; did you mean 'labels'?"]


@pytest.mark.parametrize("given", ["conservative", ["num_leaves"], 5])
def test_overrides_and_configurations_are_dictionaries(given):
    assert faults(load_model_config, "lightgbm", overrides=given)[0].startswith("override: expected a dictionary")
    assert faults(check_model_config, "lightgbm", given)[0].startswith("config: expected a dictionary")


def test_check_completes_a_partial_configuration_from_the_defaults(monkeypatch):
    monkeypatch.setenv("MODEL_VARIANT", "no_such_variant")
    balanced = load_model_config("lightgbm", "balanced")
    assert check_model_config("lightgbm", {}) == balanced
    assert check_model_config("lightgbm", {"num_leaves": 3}) == balanced | {"num_leaves": 3}
    aggressive = load_model_config("lightgbm", "aggressive")
    assert check_model_config("lightgbm", aggressive) == aggressive
