"""Symbols as file names: any text in, a name every file system takes out, and back again."""

from __future__ import annotations

from urllib.parse import quote, unquote

LONGEST_STEM = 200  # file systems allow 255 bytes, and the ending and a temporary name need some
# Names that Windows refuses whatever their ending.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def file_stem(symbol: str) -> str:
    """Encode a symbol as a file name without its ending, so that ``symbol_of(file_stem(s)) == s``.

    Everything but ASCII letters, digits, ``_``, ``-``, ``~`` and inner dots is percent-encoded; a leading or trailing
    dot and the first letter of a device name (``CON``) are encoded too, so no symbol can leave its folder. Case stays;
    names that differ only by case are one file to some file systems, so `symbol_faults` refuses the second symbol.

    Examples
    --------
    >>> file_stem("BRK/B"), file_stem("../x"), file_stem("CON"), file_stem("NO")
    ('BRK%2FB', '%2E.%2Fx', '%43ON', 'NO')
    """
    stem = quote(symbol, safe="", errors="surrogatepass")  # stray bytes of a file name
    if stem.startswith(".") or stem.split(".")[0].upper() in _DEVICES:
        stem = _escape(stem[0]) + stem[1:]
    if stem.endswith("."):
        stem = stem[:-1] + _escape(".")
    return stem


def symbol_of(stem: str) -> str:
    """Decode what `file_stem` encoded; a name that it did not make is its own symbol."""
    symbol = unquote(stem)
    return symbol if file_stem(symbol) == stem else stem


def printable(text: str) -> str:
    """A text that is safe to print and to store: control characters and stray bytes become escapes such as ``\\n``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def symbol_faults(symbols: list[str]) -> list[str]:
    """Why each (`printable`) text cannot be a symbol beside the others; an empty text where it can.

    Of symbols that differ only by case (most likely one symbol spelt in two ways) the first in the list is kept.
    """
    first_of: dict[str, str] = {}
    faults = []
    for symbol in symbols:
        twin = first_of.setdefault(file_stem(symbol).lower(), symbol)
        if not symbol:
            faults.append("symbol is empty")
        elif len(file_stem(symbol)) > LONGEST_STEM:
            faults.append("symbol is too long for a file name")
        elif twin != symbol:
            faults.append(f"symbol differs from {twin!r} only by case")
        else:
            faults.append("")
    return faults
