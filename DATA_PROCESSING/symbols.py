"""Symbols as file names: any text in, a name every file system takes out, and back again."""

from __future__ import annotations

from urllib.parse import quote, unquote

# Names that Windows refuses whatever their ending.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def file_stem(symbol: str) -> str:
    """Encode a symbol as a file name without its ending, so that ``symbol_of(file_stem(s)) == s``.

    Everything but letters, digits, ``_``, ``-``, ``~`` and inner dots is percent-encoded; a leading or trailing dot and
    the first letter of a device name (``CON``) are encoded too, so no symbol can leave its folder.

    Examples
    --------
    >>> file_stem("BRK/B"), file_stem("../x"), file_stem("CON"), file_stem("NO")
    ('BRK%2FB', '%2E.%2Fx', '%43ON', 'NO')
    """
    stem = quote(symbol, safe="")
    if stem.startswith(".") or stem.split(".")[0].upper() in _DEVICES:
        stem = _escape(stem[0]) + stem[1:]
    if stem.endswith("."):
        stem = stem[:-1] + _escape(".")
    return stem


def symbol_of(stem: str) -> str:
    """Decode what `file_stem` encoded; a plain name is its own symbol."""
    return unquote(stem)
