"""A strict YAML reader: PyYAML's parser, our rules. Plain data comes out, with the line of every key.

Refused, each as one :class:`ConfigError` line with file and line number: tags, anchors and aliases, duplicate keys,
keys that are not text, more than 256 KiB, more than 20 levels, several documents, bytes that are not UTF-8, an empty
file, anything but a mapping on top.

Unquoted values are integers (decimal, no leading zero, at most 18 digits), floats (``0.5``, ``1e-3``), ``true``,
``false`` and ``null`` (or ``~``, or nothing). All else is text: ``NO``, ``on``, ``010``, ``1:30``, ``2020-01-01``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yaml.composer import Composer
from yaml.error import Mark, MarkedYAMLError
from yaml.events import AliasEvent, CollectionStartEvent, ScalarEvent
from yaml.nodes import Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from CONFIG.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_LEVELS = 20

KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]

_TEXT = BaseResolver.DEFAULT_SCALAR_TAG
_DIGITS = list("-+.0123456789")
# (tag, pattern, possible first characters, conversion); what matches none is text.
_SCALARS: list[tuple[str, str, list[str], Callable[[str], Any]]] = [
    ("null", r"(?:~|null|)$", ["~", "n", ""], lambda text: None),
    ("bool", r"(?:true|false)$", ["t", "f"], lambda text: text == "true"),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})$", _DIGITS, int),
    ("float", r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$", _DIGITS, float),
]
_CONVERSIONS = {_TEXT: str} | {tag: conversion for tag, _, _, conversion in _SCALARS}


def read_yaml(path: str | Path, source: str | None = None) -> tuple[dict[str, Any], Lines]:
    """Read a YAML file strictly.

    Parameters
    ----------
    path : the file.
    source : how messages call it; the path as given by default.

    Returns
    -------
    data : dict of plain dict, list, str, int, float, bool and None.
    lines : 1-based line of every key and list item by its path, such as ``("a", "b")`` or ``("a", 0)``.

    Raises
    ------
    ConfigError
        One line: file, line, what is wrong.
    """
    path, source = Path(path), source or str(path)
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{source}: not a file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES // 1024} KiB, the limit for a configuration file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{source}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    return parse_yaml(text, source)


def parse_yaml(text: str, source: str) -> tuple[dict[str, Any], Lines]:
    """Parse YAML text as :func:`read_yaml` does; ``source`` is what messages call it."""
    lines: Lines = {}
    try:
        composer = _StrictComposer(text)
        node = composer.get_single_node()
        data = None if node is None else _plain(node, (), lines)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise _fault(source, mark.line + 1, problem) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _fault(source, line, f"character U+{error.character:04X} is not allowed") from None
    except (ValueError, OverflowError) as error:  # PyYAML gives escapes such as "\\UFFFFFFFF" to chr() unchecked
        raise _fault(source, composer.get_mark().line + 1, f"not a character or number: {error}") from None
    if node is None:
        raise ConfigError(f"{source}: empty; expected a mapping of keys to values")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}:{node.start_mark.line + 1}: expected a mapping of keys to values on top, got {node.id}"
        )
    return data, lines


class _StrictComposer(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer, which looks at each event before it descends: its recursion ends with ``MAX_LEVELS``."""

    def __init__(self, text: str):
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.level = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        event = self.peek_event()
        mark = event.start_mark
        if isinstance(event, AliasEvent):
            raise _refused(mark, f"alias *{event.anchor} is not allowed; write the value out")
        if event.anchor is not None:
            raise _refused(mark, f"anchor &{event.anchor} is not allowed; write the value out where it is needed")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise _refused(mark, f"tag {tag} is not allowed; write the plain value")
        if isinstance(event, CollectionStartEvent) and self.level == MAX_LEVELS:
            raise _refused(mark, f"nested more than {MAX_LEVELS} levels deep")
        if isinstance(event, ScalarEvent):
            event.value.encode()  # an escape such as "\ud800" makes text that no file or terminal can hold
        self.level += 1
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


for _tag, _pattern, _first, _ in _SCALARS:
    _StrictComposer.add_implicit_resolver(_tag, re.compile(_pattern), _first)


def _plain(node: Node, path: KeyPath, lines: Lines) -> Any:
    if isinstance(node, ScalarNode):
        return _CONVERSIONS[node.tag](node.value)
    if isinstance(node, SequenceNode):
        items = []
        for index, child in enumerate(node.value):
            lines[(*path, index)] = child.start_mark.line + 1
            items.append(_plain(child, (*path, index), lines))
        return items
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
        if key_node.tag != _TEXT:
            raise _refused(key_node.start_mark, "a key must be text; put it in quotes")
        key = key_node.value
        if key in mapping:
            raise _refused(key_node.start_mark, f"duplicate key {key!r}, first on line {lines[(*path, key)]}")
        lines[(*path, key)] = key_node.start_mark.line + 1
        mapping[key] = _plain(child, (*path, key), lines)
    return mapping


def _refused(mark: Mark, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=mark)


def _fault(source: str, line: int, problem: str) -> ConfigError:
    return ConfigError(f"{source}:{line}: {textwrap.shorten(problem, 200, placeholder=' ...')}")
