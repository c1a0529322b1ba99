"""scikit-learn estimators as bytes, without pickle: skops' format, which names the types that it builds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from CONFIG.errors import IntegrityError

_SCHEMA = "schema.json"
_ADDRESS = re.compile(r'("__id__": |"file": ")(\d+)')
# skops' ways to build an object that only hold data; others call functions or methods that the file names.
_LOADERS = frozenset(
    f"{kind}Node"
    for kind in ("Dict", "Json", "List", "Loss", "NdArray", "Object", "RandomGenerator", "Tree", "Tuple", "Type")
)
_PLAIN = frozenset(f"builtins.{kind}" for kind in ("dict", "list", "str", "tuple")) | frozenset(
    f"numpy.{kind}" for kind in ("bool", "float32", "float64", "int32", "int64", "ndarray", "uint64")
)


def dump(model: Any) -> bytes:
    """A model as a compressed archive, the same bytes for the same model.

    skops names arrays by their address in memory and dates them; here they are numbered.
    """
    import skops.io

    archive, numbers = BytesIO(), {}

    def renumber(match: re.Match) -> str:
        return match[1] + numbers.setdefault(match[2], str(len(numbers)))

    with ZipFile(BytesIO(skops.io.dumps(model))) as source, ZipFile(archive, "w") as target:
        files = {_SCHEMA: _ADDRESS.sub(renumber, source.read(_SCHEMA).decode()).encode()}
        for name in sorted(set(source.namelist()) - {_SCHEMA}):
            address, dot, kind = name.partition(".")
            files[numbers[address] + dot + kind] = source.read(name)
        for name in sorted(files):
            target.writestr(ZipInfo(name), files[name], ZIP_DEFLATED)
    return archive.getvalue()


def load(payload: bytes, types: frozenset[str]) -> Any:
    """The model that `dump` gave.

    Parameters
    ----------
    payload : bytes
    types : frozenset of str
        The classes, ``module.Class``, that it may hold beside plain values and arrays. skops would build many more.

    Raises
    ------
    IntegrityError
        Another type, or no archive of skops.
    """
    import skops.io

    try:
        with ZipFile(BytesIO(payload)) as archive:
            schema = json.loads(archive.read(_SCHEMA))
    except (BadZipFile, KeyError, ValueError) as error:
        raise IntegrityError(f"the payload is not an archive of skops ({error}); train this unit again") from error
    wrong = sorted(
        {
            f"{kind} by {loader}"
            for loader, kind in _nodes(schema)
            if loader not in _LOADERS or kind not in types | _PLAIN
        }
    )
    if wrong:
        raise IntegrityError(f"the payload holds types that its model does not have: {', '.join(wrong[:3])}")
    return skops.io.loads(payload, trusted=sorted(types))


def _nodes(value: Any) -> Iterator[tuple[str, str]]:
    """(loader, type) of every object that a schema builds."""
    if isinstance(value, dict):
        if "__loader__" in value:
            yield str(value["__loader__"]), f"{value.get('__module__')}.{value.get('__class__')}"
        value = value.values()
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        for item in value:
            yield from _nodes(item)
