"""Where bar files lie: on this machine or behind a URL, in folders and in zip archives."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.headers import name_of
from DATA_PROCESSING.symbols import printable, symbol_of

ENDINGS = (".csv", ".csv.gz", ".parquet", ".zip")
DAMAGED = (OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile)
# Where fsspec's file systems say which version of a file they hold.
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_EXTRA = 'pip install "barzoo[storage]"'
DATABASE = re.compile(r"(sqlite|postgres(ql)?)(\+\w+)?:", re.IGNORECASE)  # how the URL of a database begins
# An option that holds a secret, wherever in a URL it was put. A passfile is a path.
SECRET = re.compile(r"[^/?&;]*(?:pass(?!file=)|pw|secret|scram_)[^/?&;=]*=", re.IGNORECASE)
# What may stand in the query of a database's URL, and be printed: ours, and those options of libpq that hold no secret.
OPTIONS = (
    "table", "host", "hostaddr", "port", "dbname", "user", "service", "passfile", "connect_timeout",
    "client_encoding", "options", "application_name", "fallback_application_name", "channel_binding",
    "require_auth", "requirepeer", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout", "sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslcertmode",
    "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "min_protocol_version", "max_protocol_version", "gssencmode", "gsslib", "gssdelegation", "krbsrvname",
    "target_session_attrs", "load_balance_hosts",
)  # fmt: skip


@dataclass(frozen=True)
class StoredFile:
    """A bar file that can be opened.

    Attributes
    ----------
    where : str
        Its full name, printable.
    folders : tuple of str
        Between the source and the file.
    name : str
    ending : str
        One of `ENDINGS`, in small letters.
    size : int
        Bytes.
    state : str
        Changes with the file's content, as far as its storage tells.
    open : callable
        Opens its bytes, uncompressed.
    """

    where: str
    folders: tuple[str, ...]
    name: str
    ending: str
    size: int
    state: str
    open: Callable[[], BinaryIO]

    @property
    def inner(self) -> str:
        """The file below the source, printable."""
        return printable("/".join((*self.folders, self.name)))

    @property
    def partitions(self) -> dict[str, str]:
        """What its folders say of its rows: ``symbol=AAPL/year=2020`` and so on."""
        pairs = (folder.partition("=") for folder in self.folders)
        return {key: unquote(value) for key, sign, value in pairs if key and sign}

    @property
    def symbol(self) -> str:
        """The symbol of its rows where no column tells: its partition's, its first folder's, or what its name says."""
        for key, value in self.partitions.items():
            if name_of(key) == "symbol":
                return value
        folders = [folder for folder in self.folders if "=" not in folder]
        name = folders[0] if folders else self.name
        return symbol_of(name[: len(name) - len(_ending(name))])


def _ending(name: str) -> str:
    """The ending of a bar file, in any case; an empty text for other names."""
    return next((ending for ending in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(ending)), "")


def list_files(source: str) -> list[StoredFile]:
    """The bar files of a folder, of all folders below it, or the one file itself, in the order of their names.

    Names that begin with a dot are passed over, and folders that begin with an underscore.

    Raises
    ------
    DataError
        Nothing at that path, or no file of a kind we read.
    ConfigError
        A URL that cannot be opened: a library is missing, or it holds a password.
    """
    storage = _Remote.at(source) if "://" in source else _Local(Path(source))
    where = storage.where
    try:
        found = storage.files()
    except DAMAGED as error:
        raise DataError(f"{where}: cannot be read ({reason_of(error)})") from error
    if found is None:
        raise DataError(f"{where}: no such file or folder; a SOURCE is demo, a folder of bar files, a file, or a URL")
    if not isinstance(found, list):
        if not _ending(found.name):
            ending = found.name[found.name.rfind(".") :] if "." in found.name else ""
            raise DataError(
                f"{where}: not a bar file; files end in .csv or .parquet (or .csv.gz, .zip), got {ending!r}"
            )
        return _opened([found])
    files = [file for file in found if _ending(file.name) and not file.name.startswith(".")]
    if not files:
        raise DataError(f"{where}: the folder holds no .csv or .parquet file (nor .csv.gz, .zip)")
    return _opened(sorted(files, key=lambda file: (len(file.folders) > 0, file.folders, file.name)))


def safe_name(source: str) -> str:
    """A SOURCE without what may be secret: passwords, and of storage URLs users and queries too.

    Of a database's URL those options are left out that are not known to be harmless.
    """
    is_database = bool(DATABASE.match(source))
    scheme, sign, rest = source.partition("://" if "://" in source or not is_database else ":")
    before, at, after = rest.rpartition("@")
    if at and (":" in before or "/" not in before):
        user = before.partition(":")[0] if is_database else ""
        rest = f"{user}@{after}" if user else after
    path, mark, query = rest.partition("?")
    if is_database:
        path, *secret = SECRET.split(path, maxsplit=1)
        options = query.split("&")
        harmless = [text for text in options if text.partition("=")[0] in OPTIONS and not SECRET.search(text)]
        left_out = ["..."] if secret or (mark and len(harmless) < len(options)) else []
        rest = path + mark + "&".join([*harmless, *left_out])
    elif mark and sign:
        rest = f"{path}?..."
    return printable(f"{scheme}{sign}{rest}")


def reason_of(error: Exception) -> str:
    """The first line of what a library says went wrong, short and printable."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return printable(text.strip().partition("\n")[0][:200])


@dataclass(frozen=True)
class _Local:
    path: Path

    @property
    def where(self) -> str:
        return printable(str(self.path))

    def files(self) -> list[StoredFile] | StoredFile | None:
        if self.path.is_file():
            return self._file(self.path, ())
        if not self.path.exists():
            return None
        return list(self._below(str(self.path), (), set()))

    def _below(self, folder: str, folders: tuple[str, ...], above: set[str]) -> Iterator[StoredFile]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder above itself
            return
        with os.scandir(folder) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir():
                if not entry.name.startswith((".", "_")):
                    yield from self._below(entry.path, (*folders, entry.name), above | {real})
            elif _ending(entry.name):
                yield self._file(Path(entry.path), folders)

    def _file(self, path: Path, folders: tuple[str, ...]) -> StoredFile:
        try:
            about = path.stat()
            size, state = about.st_size, f"{about.st_size} {about.st_mtime_ns}"
        except OSError:  # a broken link: opening it will say so
            size, state = 0, ""
        return StoredFile(
            printable(str(path)), folders, path.name, _ending(path.name), size, state, lambda: open(path, "rb")
        )


@dataclass(frozen=True)
class _Remote:
    """A path on one of fsspec's file systems."""

    system: object
    path: str
    url: str

    @classmethod
    def at(cls, url: str) -> _Remote:
        where = safe_name(url)
        if urlsplit(url).password:
            raise ConfigError(
                f"{where}: a URL with a password ends up in logs and shell histories; give it as the storage's own "
                "environment variables or its file of credentials"
            )
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(f"{where}: URLs need fsspec; {_EXTRA}") from error
        try:
            system, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise ConfigError(f"{where}: {reason_of(error)}") from error
        except ValueError as error:
            raise ConfigError(f"{where}: no URL that can be read ({reason_of(error)})") from error
        return cls(system, path, url)

    @property
    def where(self) -> str:
        return safe_name(self.url)

    def files(self) -> list[StoredFile] | StoredFile | None:
        try:
            about = self.system.info(self.path)
        except FileNotFoundError:
            return None
        if about["type"] == "file":
            return self._file(about, self.where, ())
        root = self.path.rstrip("/") + "/"
        found = []
        for path, about in self.system.find(self.path, detail=True).items():
            *folders, _ = path.removeprefix(root).split("/")
            if not any(folder.startswith((".", "_")) for folder in folders):
                where = f"{self.where.rstrip('/')}/{printable(path.removeprefix(root))}"
                found.append(self._file(about, where, tuple(folders)))
        return found

    def _file(self, about: dict, where: str, folders: tuple[str, ...]) -> StoredFile:
        path, size = about["name"], about.get("size") or 0
        name = urlsplit(path).path.rpartition("/")[2] if "://" in path else path.rpartition("/")[2]
        told = (about.get(key) for key in _VERSIONS)
        version = next((value for value in told if value), "")
        return StoredFile(
            where, folders, name, _ending(name), size, f"{size} {version}", lambda: self.system.open(path, "rb")
        )


def _opened(files: list[StoredFile]) -> list[StoredFile]:
    """The files with archives replaced by what is in them; one that cannot be opened stays, and fails when read."""
    found = []
    for file in files:
        if file.ending == ".zip":
            found += _members(file)
        elif file.ending == ".csv.gz":
            found.append(replace(file, open=lambda packed=file.open: _unpack(packed(), gzip.GzipFile)))
        else:
            found.append(file)
    return found


def _members(archive: StoredFile) -> list[StoredFile]:
    """The CSV files of a zip archive, as if they lay beside it; its own folders do not count unless they partition."""
    try:
        with archive.open() as file, zipfile.ZipFile(file) as opened:
            members = opened.infolist()
    except DAMAGED:
        return [archive]
    found = []
    for member in members:
        *folders, name = member.filename.split("/")
        if _ending(name) != ".csv" or any(part.startswith((".", "__")) for part in (*folders, name)):
            continue
        partitions = tuple(folder for folder in folders if "=" in folder)
        found.append(
            StoredFile(
                f"{archive.where}/{printable(member.filename)}",
                (*archive.folders, *partitions),
                name,
                ".csv",
                member.file_size,
                f"{member.file_size} {member.CRC}",
                lambda name=member.filename: _open_member(archive, name),
            )
        )
    return found or [archive]


def _open_member(archive: StoredFile, name: str) -> BinaryIO:
    return _unpack(archive.open(), lambda fileobj: zipfile.ZipFile(fileobj).open(name))


def _unpack(packed: BinaryIO, unpacked: Callable[..., BinaryIO]) -> BinaryIO:
    try:
        return _Unpacked(unpacked(fileobj=packed), packed)
    except DAMAGED:
        packed.close()
        raise


class _Unpacked(BufferedReader):
    """A file inside another one, which is closed with it."""

    def __init__(self, inner: BinaryIO, packed: BinaryIO) -> None:
        super().__init__(inner)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()
