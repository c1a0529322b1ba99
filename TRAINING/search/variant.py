"""The winner of a search as a variant in the user's own file, of which everything else stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from CONFIG.config_loader import check_model_config, describe_model, user_model_file
from CONFIG.errors import ConfigError
from CONFIG.strict_yaml import parse_yaml, read_yaml
from DATA_PROCESSING.atomic import write_atomically

_OURS = "Tuned on "  # how the text about a variant of ours begins


def check_variant(model: str, variant: str) -> None:
    """Refuse, before any work, a name that is not ours to write, or a folder that nobody may write to.

    Raises
    ------
    ConfigError
        It is no word, one of the shipped variants, or one that the user wrote; or the file is faulty or not writable.
    """
    path = user_model_file(model)
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise _not_writable(path, "not a folder" if not there.is_dir() else "read-only")
    if not variant.replace("_", "a").replace("-", "a").isalnum():
        raise ConfigError(f"--variant: a name has letters, digits, _ and -; got {variant!r}")
    known = describe_model(model).variants
    own = read_yaml(path)[0] if path.exists() else {}
    if variant not in known:
        if variant == "model":
            raise ConfigError("--variant: 'model' is what the text about the model is called; choose another name")
        return
    if variant not in (own.get("variants") or {}):
        raise ConfigError(f"--variant: {model} has a variant {variant!r} already; choose another name, such as tuned")
    if not known[variant].startswith(_OURS):
        raise ConfigError(f"{path}: variant {variant!r} is not of barzoo tune; choose another --variant")


def write_variant(model: str, variant: str, config: Mapping[str, Any], searched: Iterable[str], about: str) -> Path:
    """Write a configuration as a variant of the user's own file and return the file's path.

    Parameters
    ----------
    model, variant : str
    config : mapping
        The whole configuration; the variant holds what was searched and what differs from the defaults.
    searched : iterable of str
        Keys.
    about : str
        One sentence on where it comes from.

    Raises
    ------
    ConfigError
        The file cannot be read or written.
    """
    path = user_model_file(model)
    text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    data = parse_yaml(text, str(path))[0] if text.strip() else {}
    defaults = check_model_config(model, {}) | (data.get("defaults") or {})
    held = {key: config[key] for key in config if key in set(searched) or config[key] != defaults[key]}
    for section, value in (("about", about), ("variants", held)):
        text, data = _with_entry(text, data, section, variant, value, str(path))
    try:
        write_atomically(path, text)
    except OSError as error:
        raise _not_writable(path, error.strerror) from error
    return path


def _not_writable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path}: cannot be written ({reason}); set BARZOO_CONFIG_DIR to a folder of your own")


def _with_entry(
    text: str, data: dict[str, Any], section: str, name: str, value: Any, source: str
) -> tuple[str, dict[str, Any]]:
    """The text and data of a file with ``section: {name: value}`` set; comments and order of the rest are kept.

    A layout that lines cannot be put into, such as a section in braces, is written anew, without its comments.
    """
    wanted = data | {section: (data.get(section) or {}) | {name: value}}
    edited = _edited(text, section, name, value)
    try:
        if parse_yaml(edited, source)[0] == wanted:
            return edited, wanted
    except ConfigError:
        pass
    return yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=10_000), wanted


def _edited(text: str, section: str, name: str, value: Any) -> str:
    lines = text.splitlines()
    root = yaml.compose(text, yaml.SafeLoader) if text.strip() else None
    found = {key.value: (key, node) for key, node in root.value} if root is not None else {}
    if section not in found:
        return "\n".join([*lines, *([""] if lines else []), f"{section}:", *_lines(name, value, "  ")]) + "\n"
    key, node = found[section]
    entries = node.value if isinstance(node, yaml.MappingNode) and node.value else []
    if not entries:  # nothing there, or {}
        lines[key.start_mark.line] = f"{section}:"
        begin = end = key.start_mark.line + 1
        indent = "  "
    else:
        indent = " " * entries[0][0].start_mark.column
        own = next((pair for pair in entries if pair[0].value == name), None)
        begin = end = _last_line(node) + 1
        if own is not None:
            begin, end = own[0].start_mark.line, _last_line(own[1]) + 1
    return "\n".join([*lines[:begin], *_lines(name, value, indent), *lines[end:]]) + "\n"


def _lines(name: str, value: Any, indent: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"]
    return [f"{indent}{name}:", *(f"{indent}  {key}: {json.dumps(item)}" for key, item in value.items())]


def _last_line(node: yaml.Node) -> int:
    """The last line that a node's own text is on."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return mark.line if mark.column or mark.line == node.start_mark.line else mark.line - 1
