"""Manifests bind files to what made them: a changed byte, in a file or in the manifest itself, is found on reading."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from CONFIG.errors import IntegrityError

NAME = "manifest.json"
_PACKAGES = ("barzoo", "numpy", "pandas", "scikit-learn", "lightgbm", "xgboost-cpu", "xgboost", "numba", "pyarrow",
             "torch", "lightning")  # fmt: skip


def digest(value: object) -> str:
    """The sha256 of a JSON-able value, equal for equal values whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def environment() -> dict:
    """Python, platform and package versions that a result may depend on; looked up once."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": versions}


def seal(body: dict, files: dict[str, bytes]) -> bytes:
    """The manifest's bytes: ``body``, the sha256 of each file, and a sha256 over both."""
    manifest = {**body, "files": {name: hashlib.sha256(payload).hexdigest() for name, payload in files.items()}}
    return json.dumps({**manifest, "seal": digest(manifest)}, indent=1, sort_keys=True).encode()


def read_sealed(folder: Path) -> tuple[dict, dict[str, bytes]]:
    """Read a manifest and its files, every hash checked before anyone parses the bytes.

    Returns
    -------
    manifest : dict
        What `seal` was given, with ``files``.
    files : dict of str to bytes

    Raises
    ------
    IntegrityError
        A file is missing, truncated or edited.
    """
    path = Path(folder) / NAME
    try:
        manifest = json.loads(path.read_bytes())
        stated = manifest.pop("seal")
        hashes = dict(manifest["files"])
    except FileNotFoundError as error:
        raise IntegrityError(f"{path}: missing; {folder} is no artifact, or its writing was cut off") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, OSError) as error:
        raise IntegrityError(f"{path}: not a whole manifest; train this unit again") from error
    if digest(manifest) != stated:
        raise IntegrityError(f"{path}: edited after it was written; train this unit again")
    files = {}
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise IntegrityError(f"{path}: names a file outside its folder, {name!r}; train this unit again")
        try:
            payload = (Path(folder) / name).read_bytes()
        except OSError as error:
            raise IntegrityError(f"{Path(folder) / name}: missing or unreadable; train this unit again") from error
        if hashlib.sha256(payload).hexdigest() != expected:
            raise IntegrityError(
                f"{Path(folder) / name}: its sha256 is not the manifest's ({len(payload)} bytes found); "
                "truncated or edited, train this unit again"
            )
        files[name] = payload
    return manifest, files
