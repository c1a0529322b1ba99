"""Databases: their URLs, connections and tables. What goes wrong is one line, and never tells a secret."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.sources.storage import OPTIONS, SECRET, safe_name
from DATA_PROCESSING.symbols import printable

_EXAMPLES = "sqlite:///bars.db?table=bars or postgresql://user@host/database?table=bars"
_SHOWN = 20  # tables that are named where none fits


def open_database(url: str) -> tuple[sa.Engine, str, str | None]:
    """The engine of a URL, the URL as it may be printed, and the table that it names.

    Raises
    ------
    ConfigError
        It makes no sense, or holds a password or an option that nobody knows; or psycopg is not installed.
    DataError
        There is no such SQLite file.
    """
    scheme = url.partition(":")[0]
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # Not repeated: it may hold a password.
        raise ConfigError(f"{scheme}: no URL of a database; write {_EXAMPLES}") from None
    query = dict(parsed.query)
    backend = "sqlite" if parsed.drivername.lower().startswith("sqlite") else "postgresql"
    if parsed.password is not None or SECRET.search(url):
        raise ConfigError(
            f"{backend}: a password in a URL ends up in logs and shell histories; give it as PGPASSWORD or in ~/.pgpass"
        )
    known = OPTIONS if backend == "postgresql" else {"table"}
    for key in query:
        if key not in known or (key == "table" and not isinstance(query[key], str)):
            raise ConfigError(f"{safe_name(url)}: {_wrong_option(key, known)}")
    name = printable(parsed.set(drivername=backend).render_as_string().replace("%2F", "/"))
    table = query.pop("table", None)
    if backend == "postgresql":
        driver = parsed.set(drivername="postgresql+psycopg", query={"connect_timeout": "10", **query})
        try:
            engine = sa.create_engine(driver, poolclass=sa.NullPool, isolation_level="REPEATABLE READ")
        except ModuleNotFoundError as error:
            raise ConfigError(f'{name}: PostgreSQL needs psycopg; pip install "barzoo[storage]"') from error
        return engine, name, table
    path = Path(parsed.database or "")
    if not parsed.database:
        raise ConfigError(f"{name}: a SQLite source is a file and a table; write sqlite:///bars.db?table=bars")
    if not path.is_file():
        raise DataError(
            f"{name}: no file {printable(str(path))!r}; three slashes begin a relative path, four an absolute one"
        )
    read_only = f"file:{quote(str(path))}?mode=ro"
    return (
        sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(read_only, uri=True), poolclass=sa.NullPool),
        name,
        table,
    )


def _wrong_option(key: str, known: Iterable[str]) -> str:
    """Why an option of a URL is refused; never what it was set to."""
    if key == "table":
        return "table is given twice; one source is one table"
    near = did_you_mean(key, known)
    return f"no option {key[:40]!r}{near if near.startswith('; did') else f'; write {_EXAMPLES}'}"


@contextmanager
def connected(engine: sa.Engine, name: str) -> Iterator[sa.Connection]:
    """A connection that sees the database as it is now, whatever others write meanwhile.

    Raises
    ------
    DataError
        It cannot be had, or fails within the block.
    """
    try:
        connection = engine.connect()
    except sa.exc.SQLAlchemyError as error:
        reason = _reason(error)
        cure = "; give it as PGPASSWORD or in ~/.pgpass" if "password" in reason else ""
        raise DataError(f"{name}: cannot connect ({reason}){cure}") from error
    driver = engine.dialect.loaded_dbapi
    try:
        with connection:
            # PostgreSQL writes times as text in this zone; on SQLite a transaction is what keeps the rows as they are.
            connection.exec_driver_sql("BEGIN" if engine.dialect.name == "sqlite" else "SET TIME ZONE 'UTC'")
            yield connection
    except (sa.exc.OperationalError, driver.OperationalError) as error:
        raise DataError(f"{name}: the database went away or failed ({_reason(error)}); run again") from error
    except (sa.exc.SQLAlchemyError, driver.Error) as error:
        raise DataError(f"{name}: cannot be read ({_reason(error)})") from error


def find_table(connection: sa.Connection, given: str | None, where: str) -> sa.Table:
    """The table or view that a source names, as ``table`` or ``schema.table``, with the types of its columns.

    Raises
    ------
    DataError
        There is none of that name.
    """
    inspector = sa.inspect(connection)
    if not given:
        raise DataError(f"{where}: which table? add ?table=...{_choice('', _known_tables(inspector))}")
    schema, name = None, given
    if "." in given and given not in _tables_of(inspector):
        schema, _, name = given.partition(".")
        schemas = inspector.get_schema_names()
        if schema not in schemas:
            raise DataError(f"{where}: no schema {schema!r}{did_you_mean(schema, schemas)}")
    try:
        columns = inspector.get_columns(name, schema)
    except sa.exc.NoSuchTableError as error:
        raise DataError(f"{where}: no table {given!r}{_choice(given, _known_tables(inspector))}") from error
    units = _units(connection, name) if connection.dialect.name == "sqlite" else {}
    described = [
        sa.Column(column["name"], column["type"], info={"unit": units.get(column["name"])}) for column in columns
    ]
    return sa.Table(name, sa.MetaData(), *described, schema=schema, info={"dialect": connection.dialect.name})


def _tables_of(inspector: sa.Inspector, schema: str | None = None) -> list[str]:
    return [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]


def _known_tables(inspector: sa.Inspector) -> list[str]:
    """The tables and views of a database as a source names them: ``table``, and ``schema.table`` of further schemas."""
    names = _tables_of(inspector)
    if inspector.dialect.name == "postgresql":
        for schema in inspector.get_schema_names():
            # TimescaleDB keeps the pieces of its tables in schemas with an underscore.
            if schema not in (inspector.default_schema_name, "information_schema") and not schema.startswith("_"):
                names += [f"{schema}.{name}" for name in _tables_of(inspector, schema)]
    return names


def _choice(given: str, names: list[str]) -> str:
    """The table that was meant, or the first of those there are."""
    elsewhere = [name for name in names if name.rpartition(".")[2] == given.rpartition(".")[2]]
    if elsewhere:  # in another schema
        return printable(f"; did you mean {elsewhere[0]!r}?")
    near = did_you_mean(given, names)
    if near.startswith("; choose") and len(names) > _SHOWN:
        near = f"; choose from {', '.join(sorted(names)[:_SHOWN])} and {len(names) - _SHOWN} more"
    return printable(near)


def _units(connection: sa.Connection, table: str) -> dict[str, str]:
    """The unit of times that are numbers, for columns whose type says it, such as TIMESTAMP_MS."""
    declared = connection.exec_driver_sql("SELECT name, type FROM pragma_table_info(?)", (table,)).all()
    found = {name: re.fullmatch(r"(?:TIMESTAMP|DATETIME|EPOCH)_(S|MS|US|NS)", kind.upper()) for name, kind in declared}
    return {name: match[1].lower() for name, match in found.items() if match}


def _reason(error: Exception) -> str:
    """What a driver says went wrong, in one line."""
    return printable(" ".join(str(getattr(error, "orig", None) or error).split())[:300])
