"""What a download calls its columns and writes in them, turned into the project's names and types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.columns import BAR_COLUMNS

ALIASES = {
    "timestamp": ("timestamp", "date", "datetime", "date_time", "dt", "ts"),
    "time": ("time",),
    "symbol": ("symbol", "ticker", "sym", "instrument"),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price", "last"),
    "volume": ("volume", "vol", "v"),
    "adj_close": ("adj_close", "adjclose", "adjusted_close", "close_adj"),
}
TEXT_COLUMNS = ("timestamp", "time", "symbol")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none")  # in columns of numbers

_NAME_OF = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_NUMBER = r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))$"


def name_columns(columns: list[str], where: str, mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Map a table's headers to the project's column names; headers that mean nothing to us are left out.

    Case, spaces and the angle brackets of Stooq's files do not matter. A column of times alone (``<TIME>``) counts as
    the timestamp where the table has no date.

    Parameters
    ----------
    columns : list of str
        The headers.
    where : str
        The table, named in errors.
    mapping : mapping of str to str, optional
        Headers by the project's names, for those that the aliases miss; they go before the aliases.

    Raises
    ------
    DataError
        A needed column is missing, two headers mean the same, or the mapping names a header that is not there.
    """
    mapping = mapping or {}
    named = {_mapped_header(columns, name, header, where): name for name, header in mapping.items()}
    given = {*mapping, "time"} if "timestamp" in mapping else set(mapping)  # what a mapped timestamp holds is whole
    for column in columns:
        name = name_of(column)
        if name is None or name in given or (column in named and named[column] in given):
            continue
        twin = next((other for other, its_name in named.items() if its_name == name), None)
        if twin is not None or column in named:
            raise DataError(f"{where}: the columns {str(twin)!r} and {str(column)!r} both mean {name}; keep one")
        named[column] = name
    if "timestamp" not in named.values():
        named = {column: "timestamp" if name == "time" else name for column, name in named.items()}
    missing = [name for name in ("timestamp", *BAR_COLUMNS) if name not in named.values()]
    if missing:
        raise DataError(
            f"{where}: no column {', '.join(missing)}; bars need timestamp, {', '.join(BAR_COLUMNS)}, "
            f"got {listed(columns)}{_cure(columns, named, missing)}"
        )
    return named


def name_of(header: str) -> str | None:
    """The project's name of a column, if it has one for a header like this."""
    return _NAME_OF.get("_".join(_words(header)))


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Refuse a ``columns`` setting of the run config ``bars`` that names what is no column of bars, or maps two to one.

    Raises
    ------
    ConfigError
    """
    for name, header in mapping.items():
        if name not in ALIASES:
            raise ConfigError(f"bars.yaml: columns: bars have no column {name!r}{did_you_mean(name, ALIASES)}")
        twin = next(other for other, its_header in mapping.items() if its_header == header)
        if twin != name:
            raise ConfigError(f"bars.yaml: columns: {twin} and {name} are both {header!r}; a column is one of them")


def _words(header: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", str(header).lower())


def _mapped_header(columns: list[str], name: str, header: str, where: str) -> str:
    if header in columns:
        return header
    alike = [column for column in columns if _words(column) == _words(header)]
    if len(alike) == 1:
        return alike[0]
    near = did_you_mean(header, [str(column) for column in columns[:100]]) if columns else ""
    near = near if near.startswith("; did") else f"; its columns are {listed(columns)}"
    raise DataError(f"{where}: no column {header!r}, which columns: in bars.yaml calls {name}{near}")


def _cure(columns: list[str], named: dict[str, str], missing: list[str]) -> str:
    """What to do about missing columns: another separator, or the headers that come nearest."""
    mark = next((mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in str(columns[0])), None)
    if mark:
        return f"; its header is parted by {mark!r}, write commas (and points in numbers)"
    for header, name in named.items():
        if (taken := name_of(header)) in missing:
            its = repr(str(header)[:40])
            return f"; columns: in bars.yaml says that {its} is its {name} already; which header is its {taken}?"
    unused, found = [column for column in columns if column not in named], {}
    for name in missing:
        by_text = {"_".join(_words(column)): column for column in unused if column not in found.values()}
        holding = [text for text in by_text if set(ALIASES[name]) & set(text.split("_"))]
        near = holding or [text for alias in ALIASES[name] for text in get_close_matches(alias, by_text, 1, 0.7)]
        if near:
            found[name] = str(by_text[near[0]])[:40]
    cure = ""
    if found or (unused and len(missing) <= 2):
        pairs = ", ".join(f"{name}: {header}" for name, header in (found or dict.fromkeys(missing, "HEADER")).items())
        pairs = pairs.encode("unicode_escape").decode()
        cure = f"; is it there under another name? columns: {{{pairs}}} in a bars.yaml given with --config says so"
    if missing == ["volume"] and not found:
        cure += "; where no volume is known, as of currencies, write a column volume that is 1 in every row"
    return cure


def listed(names: list[str]) -> str:
    """The first names of a list in one printable line, and how many more there are."""
    shown = ", ".join(repr(str(name)[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def read_numbers(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as float64, and where it held text (or something else) that is no number, as opposed to nothing."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        with np.errstate(invalid="ignore"):  # of NaNs that some hardware makes
            return values.to_numpy(float, na_value=np.nan) + 0.0, np.zeros(len(values), bool)  # -0.0 becomes 0.0
    codes, distinct = pd.factorize(values)  # a missing value is -1, the last
    text = pd.Series([*map(str, distinct), ""], dtype=object).str.strip()
    is_number = text.str.fullmatch(_NUMBER).to_numpy(bool)
    numbers = np.full(len(text), np.nan)
    # Not pandas.to_numeric: it misses the nearest float in one of six numbers.
    numbers[is_number] = text[is_number].to_numpy(object).astype(float) + 0.0
    is_text = ~is_number & ~text.isin(MISSING).to_numpy()
    return numbers[codes], is_text[codes]
