"""A file of feature names: which columns of labeled tables models may see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from CONFIG.errors import ConfigError
from DATA_PROCESSING.atomic import write_atomically


def read_feature_list(path: Path) -> list[str]:
    """The names in a text file, one a line; what follows a ``#`` is a comment.

    Raises
    ------
    ConfigError
        It cannot be read, or holds no name, or one twice.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot read the list of features ({reason})") from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if name in names:
            raise ConfigError(f"{path}:{number}: {name!r} stands in line {names[name]} already; name it once")
        if name:
            names[name] = number
    if not names:
        raise ConfigError(f"{path}: no feature in it; write one column name a line")
    return list(names)


def write_feature_list(path: Path, features: Sequence[str], about: Sequence[str] = ()) -> None:
    """Write names for `read_feature_list`, below comments.

    Raises
    ------
    ConfigError
        It cannot be written there.
    """
    try:
        write_atomically(Path(path), "".join(f"{line}\n" for line in (*(f"# {line}" for line in about), *features)))
    except OSError as error:
        raise ConfigError(f"{path}: cannot write there ({error.strerror}); choose another --output") from error
