"""Model and run configurations: strict YAML, checked against its own defaults, resolved into plain dictionaries.

A model's file has the sections ``about``, ``default_variant``, ``defaults``, ``limits``, ``search`` and ``variants``; a
run topic's has ``about``, ``defaults`` and ``limits``. A user's file merges into the shipped one key by key, so it may
be whole or hold only what it changes: first the one in the user's own folder, ``model_config/<model>.yaml`` of
``BARZOO_CONFIG_DIR``, then those that are given. Values resolve as defaults < variant < overrides. The shipped
``defaults`` are the schema: they name every key and set its type; every variant is checked, chosen or not.

Only this module reads the environment: ``<MODEL>_VARIANT`` and ``MODEL_VARIANT`` choose a variant, and
``BARZOO_CONFIG_DIR`` says where the user's own folder is; nothing else.
"""

from __future__ import annotations

import logging
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from CONFIG.errors import ConfigError, did_you_mean
from CONFIG.schema import Rule
from CONFIG.search_space import Space
from CONFIG.strict_yaml import KeyPath, Lines, read_yaml

__all__ = [
    "ConfigError",
    "ModelDescription",
    "Resolved",
    "check_model_config",
    "config_file_target",
    "describe_model",
    "load_model_config",
    "load_run_config",
    "load_search_space",
    "model_names",
    "resolve_model_config",
    "resolve_run_config",
    "run_topics",
    "user_model_file",
]

Kind = Literal["model", "run"]
Files = Sequence[str | Path]

logger = logging.getLogger("barzoo")

# The sections of a file and how deep their mappings go: 0 is a value, 1 keys to values, 2 names to keys to values.
_SECTIONS: dict[Kind, dict[str, int]] = {
    "model": {"about": 1, "default_variant": 0, "defaults": 1, "limits": 1, "search": 1, "variants": 2},
    "run": {"about": 0, "defaults": 1, "limits": 1},
}


@dataclass(frozen=True)
class Resolved:
    """A configuration and where each of its values was set."""

    name: str
    variant: str | None  # None for a run configuration
    values: dict[str, Any]
    origins: dict[str, str]  # key -> "CONFIG/model_config/lightgbm.yaml:12 (conservative)" or "override"


@dataclass(frozen=True)
class ModelDescription:
    """What a model and each of its variants are for."""

    about: str
    variants: dict[str, str]
    default_variant: str


@dataclass(frozen=True)
class _Setting:
    value: Any
    place: str  # "file:line", or a word for what was given in code


@dataclass(frozen=True)
class _Config:
    """A configuration file, or several merged, checked."""

    about: dict[str, str]
    default_variant: str | None
    rules: dict[str, Rule]
    defaults: dict[str, _Setting]
    variants: dict[str, dict[str, _Setting]]
    search: dict[str, _Setting]  # as written: checked when asked for, since limits of the user's may be narrower


def model_names() -> tuple[str, ...]:
    """Return the names of the models that have a shipped configuration, sorted."""
    return _names("model")


def run_topics() -> tuple[str, ...]:
    """Return the topics of the run configurations, sorted."""
    return _names("run")


def config_file_target(path: str | Path) -> str:
    """Return the model or run topic that a user's file configures, which its stem names."""
    stem, names = Path(path).stem, (*model_names(), *run_topics())
    if stem not in names:
        raise ConfigError(
            f"{path}: a configuration file is named after its model or run topic{did_you_mean(stem, names)}"
        )
    return stem


def describe_model(name: str, files: Files = ()) -> ModelDescription:
    """Return what a model and its variants are for, the variants in users' ``files`` included."""
    config = _config("model", name, files)
    variants = {variant: config.about.get(variant, "") for variant in config.variants}
    return ModelDescription(config.about.get("model", ""), variants, config.default_variant)


def load_model_config(
    name: str, variant: str | None = None, overrides: Mapping[str, Any] | None = None, files: Files = ()
) -> dict[str, Any]:
    """Return a model's configuration as a plain dictionary that ``json.dump`` takes.

    Parameters
    ----------
    name : a model, one of :func:`model_names`.
    variant : its variant; else the environment's ``<MODEL>_VARIANT`` or ``MODEL_VARIANT``, else the model's default.
    overrides : keys to change, checked as the files are.
    files : users' YAML files; those whose stem is ``name`` merge into the shipped one, later wins.

    Raises
    ------
    ConfigError
        Unknown model, variant or key, wrong type, value out of its limits: every fault, one a line, with its place.
    """
    return resolve_model_config(name, variant, overrides, files).values


def load_search_space(name: str, files: Files = ()) -> dict[str, Space]:
    """Return where each key of a model is searched, from its section ``search``; empty where it has none.

    A user's space of a key takes the place of the shipped one; ``null`` leaves the key out of the search.

    Raises
    ------
    ConfigError
        As :func:`load_model_config`, and for a space that is malformed or outside the limits of its key.
    """
    config, faults = _config("model", name, files), []
    spaces = {key: setting for key, setting in config.search.items() if setting.value is not None}
    readers = {key: partial(Space.of, rule) for key, rule in config.rules.items()}
    found = _values(_converted(name, spaces, readers, faults))
    _raise_all(faults)
    return found


def user_model_file(name: str) -> Path:
    """Return where the user's own configuration of a model is looked for, there or not.

    That is ``model_config/<name>.yaml`` in the folder ``BARZOO_CONFIG_DIR``, ``~/.config/barzoo`` by default.
    """
    folder = os.environ.get("BARZOO_CONFIG_DIR")
    return (Path(folder) if folder else Path.home() / ".config" / "barzoo") / "model_config" / f"{name}.yaml"


def load_run_config(topic: str, overrides: Mapping[str, Any] | None = None, files: Files = ()) -> dict[str, Any]:
    """Return a run configuration, one of :func:`run_topics`, as :func:`load_model_config` does a model's."""
    return resolve_run_config(topic, overrides, files).values


def resolve_model_config(
    name: str,
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    files: Files = (),
    many: bool = False,
) -> Resolved:
    """Return what :func:`load_model_config` does, with the origin of each value.

    ``many`` says that the run covers several models: a ``MODEL_VARIANT`` that this one does not have is then a warning,
    and its default variant is used.
    """
    config = _config("model", name, files)
    return _resolved(name, _chosen_variant(name, config, variant, many), config, overrides, "override")


def resolve_run_config(topic: str, overrides: Mapping[str, Any] | None = None, files: Files = ()) -> Resolved:
    """Return what :func:`load_run_config` does, with the origin of each value."""
    return _resolved(topic, None, _config("run", topic, files), overrides, "override")


def check_model_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a partial configuration from the model's shipped defaults and check it; no variant, no environment."""
    _check_name("model", name)
    return _resolved(name, None, _shipped_config("model", name), config, "config").values


def _resolved(
    name: str, variant: str | None, config: _Config, overrides: Mapping[str, Any] | None, place: str
) -> Resolved:
    if not isinstance(overrides, Mapping | None):
        raise ConfigError(f"{place}: expected a dictionary of {name}'s keys to values, got {reprlib.repr(overrides)}")
    faults: list[str] = []
    given = {key: _Setting(value, place) for key, value in (overrides or {}).items()}
    given = _fitted(name, given, config.rules, faults)
    _raise_all(faults)
    values, origins = {}, {}
    chosen = config.variants.get(variant, {})
    for settings, section in ((config.defaults, " (defaults)"), (chosen, f" ({variant})"), (given, "")):
        for key, setting in settings.items():
            values[key] = deepcopy(setting.value)
            origins[key] = setting.place + section
    return Resolved(name, variant, values, origins)


def _chosen_variant(name: str, config: _Config, variant: str | None, many: bool) -> str:
    named_by = "the variant argument"
    if variant is None:
        set_names = [key for key in (f"{name.upper()}_VARIANT", "MODEL_VARIANT") if os.environ.get(key)]
        if not set_names:
            return config.default_variant
        named_by = set_names[0]
        variant = os.environ[named_by]
    if variant in config.variants:
        return variant
    message = f"{name} has no variant {variant!r}, which {named_by} names"
    if many and named_by == "MODEL_VARIANT":
        logger.warning("%s; using its default, %s", message, config.default_variant)
        return config.default_variant
    raise ConfigError(message + did_you_mean(variant, config.variants))


@cache
def _names(kind: Kind) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob(f"{kind}_config/*.yaml")))


def _check_name(kind: Kind, name: str) -> None:
    if name not in _names(kind):
        what = "model" if kind == "model" else "run topic"
        raise ConfigError(f"unknown {what} {name!r}{did_you_mean(name, _names(kind))}")


def _config(kind: Kind, name: str, files: Files) -> _Config:
    _check_name(kind, name)
    own = [file for file in files if config_file_target(file) == name]
    if kind == "model" and user_model_file(name).exists():
        own.insert(0, user_model_file(name))
    return _merged_config(kind, name, own) if own else _shipped_config(kind, name)


@cache
def _shipped_config(kind: Kind, name: str) -> _Config:
    return _merged_config(kind, name, ())


@cache
def _shipped_yaml(kind: Kind, name: str) -> tuple[dict[str, Any], Lines, str]:
    source = f"CONFIG/{kind}_config/{name}.yaml"
    return *read_yaml(Path(__file__).parent.parent / source, source), source


def _merged_config(kind: Kind, name: str, files: Files) -> _Config:
    faults: list[str] = []
    shipped = sections = _sections(kind, *_shipped_yaml(kind, name), faults)
    for file in files:
        sections = _merged(sections, _sections(kind, *read_yaml(file), str(file), faults))
    types = _converted(name, shipped["defaults"], dict.fromkeys(shipped["defaults"], Rule.of), faults)
    rules = _values(types)
    limited = {key: rule.limited for key, rule in rules.items()}
    rules |= _values(_converted(name, sections.get("limits", {}), limited, faults))
    defaults = _fitted(name, sections["defaults"], rules, faults)
    about, header, variants = {}, {}, {}
    if kind == "model":
        variants = {key: _fitted(name, settings, rules, faults) for key, settings in sections["variants"].items()}
        text, one_of_them = Rule(str), Rule(str, limit=tuple(variants))
        about = _fitted(name, sections["about"], dict.fromkeys(("model", *variants), text), faults)
        header = {"default_variant": sections["default_variant"]}
        header = _fitted(name, header, {"default_variant": one_of_them}, faults)
    _raise_all(faults)
    chosen = _values(header).get("default_variant")
    return _Config(_values(about), chosen, rules, defaults, variants, sections.get("search", {}))


def _sections(kind: Kind, data: dict[str, Any], lines: Lines, source: str, faults: list[str]) -> dict[str, Any]:
    """Return a file's sections with the place of each value; what is shaped wrongly is a fault and left out."""

    def placed(value: Any, path: KeyPath, depth: int) -> Any:
        place = f"{source}:{lines[path]}"
        if depth == 0:
            return _Setting(value, place)
        if isinstance(value, dict):
            return {key: placed(child, (*path, key), depth - 1) for key, child in value.items()}
        if value is not None:
            faults.append(f"{place}: {path[-1]}: expected keys and values, got {reprlib.repr(value)}")
        return {}

    depths = _SECTIONS[kind]
    sections: dict[str, Any] = {}
    for section, value in data.items():
        if section in depths:
            sections[section] = placed(value, (section,), depths[section])
        else:
            place = f"{source}:{lines[(section,)]}"
            faults.append(f"{place}: no section of a {kind} configuration: {section!r}{did_you_mean(section, depths)}")
    return sections


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(old[key], value) for key, value in new.items() if key in old and isinstance(value, dict)}
    return old | new | both


def _fitted(name: str, settings: dict[str, _Setting], rules: dict[str, Rule], faults: list[str]) -> dict[str, _Setting]:
    return _converted(name, settings, {key: rule.fit for key, rule in rules.items()}, faults)


def _converted(
    name: str, settings: dict[str, _Setting], converters: dict[str, Callable[[Any], Any]], faults: list[str]
) -> dict[str, _Setting]:
    """Convert each setting by its key; an unknown key, or a value that does not convert, is a fault and left out."""
    converted = {}
    for key, setting in settings.items():
        if key not in converters:
            faults.append(f"{setting.place}: {name} has no key {key!r}{did_you_mean(key, converters)}")
            continue
        try:
            converted[key] = _Setting(converters[key](setting.value), setting.place)
        except ConfigError as error:
            faults.append(f"{setting.place}: {key}: {error}")
    return converted


def _values(settings: Mapping[str, _Setting]) -> dict[str, Any]:
    return {key: setting.value for key, setting in settings.items()}


def _raise_all(faults: list[str]) -> None:
    if faults:
        raise ConfigError("\n".join(faults))
