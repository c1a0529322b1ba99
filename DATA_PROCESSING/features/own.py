"""Features of the user's own: a Python file with functions and a tuple ``FEATURES`` of rows like those of our table.

What they compute is not believed before `DATA_PROCESSING.features.audit.audit` has seen it.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.abc import ExecutionLoader
from importlib.util import decode_source, module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.columns import feature_columns
from DATA_PROCESSING.features.feature import Feature

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


@dataclass(frozen=True)
class OwnFeatures:
    """The features of a user's file.

    Attributes
    ----------
    path : Path
    source : bytes
        The file as it was read.
    features : tuple of Feature
    """

    path: Path
    source: bytes
    features: tuple[Feature, ...]

    @property
    def sha256(self) -> str:
        """Identity of the file: the hash of what was run."""
        return hashlib.sha256(self.source).hexdigest()

    def afresh(self) -> OwnFeatures:
        """The same features, run again from the same source: what the file has come to remember is forgotten."""
        return OwnFeatures(self.path, self.source, tuple(_run(self.path, self.source)["FEATURES"]))

    def __reduce__(self) -> tuple:
        """Another process gets the source, and runs it."""
        return _run_once, (self.path, self.source)

    def line_of(self, error: BaseException) -> str:
        """The kind, the first line and the place in the file of an error that it raised, as text."""
        return _told(error, self.path)


def load_features(path: str | Path, taken: Iterable[str] = ()) -> OwnFeatures:
    """Run a user's file and take its ``FEATURES``.

    Parameters
    ----------
    path : str or Path
        Its source alone is run and hashed, so it has to be one file.
    taken : iterable of str
        Columns that are there already, whose names are not free.

    Raises
    ------
    ConfigError
        No such file; it does not run; it has no tuple ``FEATURES``; or rows of it are no features, or have names that
        are taken, not free for features, or given twice. Every fault, one a line.
    """
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"features_from: {path}: {error.strerror}; name a Python file with a tuple FEATURES"
        ) from None
    names = _run(path, source)
    if "FEATURES" not in names:
        near = did_you_mean("FEATURES", (name for name in names if name.upper().startswith("FEAT")))
        raise ConfigError(f"{path}: no FEATURES{near}; end the file with FEATURES = (Feature(...), ...)")
    rows = names["FEATURES"]
    if not isinstance(rows, tuple | list) or not rows:
        raise ConfigError(f"{path}: FEATURES: expected a tuple of Feature, got {reprlib.repr(rows)}")
    faults = [f"{path}: {fault}" for fault in _faults(list(rows), set(taken))]
    if faults:
        raise ConfigError("\n".join(faults))
    return OwnFeatures(path, source, tuple(rows))


class _Source(ExecutionLoader):
    """Runs source that was read before: what is hashed is what runs, and no bytecode is kept."""

    def __init__(self, path: Path, source: bytes):
        self.path, self.source = path, source

    def get_filename(self, fullname: str) -> str:
        return str(self.path)

    def get_source(self, fullname: str) -> str:
        return decode_source(self.source)


@lru_cache(maxsize=1)  # a process gets the same file with every table that it makes
def _run_once(path: Path, source: bytes) -> OwnFeatures:
    return OwnFeatures(path, source, tuple(_run(path, source)["FEATURES"]))


def _run(path: Path, source: bytes) -> dict[str, Any]:
    """Run a file as a module of its own and return its names."""
    name = f"own_features_{hashlib.sha256(source).hexdigest()[:16]}"
    spec = spec_from_loader(name, _Source(path, source))
    sys.modules[name] = module = module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: does not run: {_told(error, path)}") from error
    return vars(module)


def _told(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    text = str(getattr(error, "msg", "") or error).partition("\n")[0]
    return f"{type(error).__name__}{f': {text}' if text else ''}{f' (line {lines[-1]})' if lines else ''}"


def _faults(rows: list[Any], taken: set[str]) -> list[str]:
    """What is wrong with the rows, each in words."""
    faults, seen = [], set()
    for number, row in enumerate(rows):
        if not isinstance(row, Feature):
            faults.append(f"FEATURES[{number}]: expected a Feature, got {reprlib.repr(row)}")
            continue
        if not isinstance(row.name, str) or not _NAME.fullmatch(row.name):
            faults.append(
                f"FEATURES[{number}]: name: expected a letter, then letters, digits and _, got {reprlib.repr(row.name)}"
            )
            continue
        if not feature_columns([row.name]):
            faults.append(f"{row.name}: not free for a feature: it names bars, sessions or labels; choose another name")
        elif row.name in taken:
            faults.append(f"{row.name}: there is a feature of that name already; choose another name")
        elif row.name in seen:
            faults.append(f"{row.name}: two rows of FEATURES have this name")
        seen.add(row.name)
        lookback_is_right = isinstance(row.lookback, int) and not isinstance(row.lookback, bool) and row.lookback >= 0
        checks = (
            ("compute", "a function", callable(row.compute), row.compute),
            ("arguments", "a tuple", isinstance(row.arguments, tuple), row.arguments),
            ("lookback", "a whole number of bars", lookback_is_right, row.lookback),
            ("text", "the formula in words", isinstance(row.text, str) and row.text.strip(), row.text),
            ("recursive", "True or False", isinstance(row.recursive, bool), row.recursive),
        )
        faults += [
            f"{row.name}: {key}: expected {what}, got {reprlib.repr(got)}" for key, what, ok, got in checks if not ok
        ]
    return faults
