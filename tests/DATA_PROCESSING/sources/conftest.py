"""Databases for the tests of sources: SQLite files, and a PostgreSQL server of our own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

REQUIRED = os.environ.get("BARZOO_REQUIRE_POSTGRESQL") == "1"
# Rows that a test writes need not survive a power cut.
SETTINGS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def find_binaries() -> Path | None:
    """Where the server's programs lie."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def as_server(command: list[object]) -> list[str]:
    """The command as a user that PostgreSQL accepts: it refuses root."""
    prefix = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
    return [*prefix, *map(str, command)]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The folder of the socket of a server that trusts everyone but ``alice``, whose password is ``s3cret``."""
    binaries = find_binaries()
    if binaries is None:
        reason = "no PostgreSQL server is installed: neither pg_ctl on the PATH nor /usr/lib/postgresql/*/bin"
        pytest.fail(reason) if REQUIRED else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="barzoo"))  # a short path: sockets allow a hundred bytes
    data = folder / "data"
    try:
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
        initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(as_server([*initdb, "--locale=C"]), **run)
        access = data / "pg_hba.conf"
        access.write_text(f"local all alice scram-sha-256\n{access.read_text()}")
        pg_ctl = [binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        subprocess.run(as_server([*pg_ctl, "-o", f"{SETTINGS} -k {folder}", "start"]), **run)
        try:
            with engine_of(str(folder)).begin() as connection:
                connection.exec_driver_sql("CREATE ROLE alice LOGIN PASSWORD 's3cret'")
            yield str(folder)
        finally:
            subprocess.run(as_server([*pg_ctl, "-m", "immediate", "stop"]), **run)
    finally:
        shutil.rmtree(folder)


def engine_of(socket: str) -> sa.Engine:
    return sa.create_engine(f"postgresql+psycopg://postgres@/postgres?host={socket}", poolclass=sa.NullPool)


def plain(value: object) -> object:
    """A value as drivers take it."""
    if value is None or value is pd.NaT:
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


class Database:
    """Writes tables and says what SOURCE they are."""

    def __init__(self, engine: sa.Engine, url: Callable[[str], str]) -> None:
        self.engine, self.url = engine, url
        self.kind = engine.dialect.name

    def run(self, text: str, rows: list[tuple] | None = None) -> None:
        """Execute a statement as the driver takes it; once per row where there are rows."""
        with self.engine.begin() as connection:
            mark = "?" if self.kind == "sqlite" else "%s"
            connection.exec_driver_sql(text.replace("?", mark), rows) if rows else connection.exec_driver_sql(text)

    def write(self, table: str, bars: pd.DataFrame, types: str) -> str:
        """A table with these columns and types, new in the database; returns its SOURCE."""
        columns = ", ".join(f'"{name}" {kind}' for name, kind in zip(bars, types.split(), strict=True))
        self.run(f'DROP TABLE IF EXISTS "{table}"')
        self.run(f'CREATE TABLE "{table}" ({columns})')
        rows = [tuple(map(plain, row)) for row in bars.astype(object).itertuples(index=False)]
        self.run(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(bars.columns))})', rows)
        return self.url(table)


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    path = tmp_path / "bars.db"
    return Database(sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool),
                    lambda table: f"sqlite:///{path}?table={table}")  # fmt: skip


@pytest.fixture
def postgres(postgresql: str) -> Database:
    """The same on the PostgreSQL server, which has one schema, without a table, before each test."""
    database = Database(engine_of(postgresql),
                        lambda table: f"postgresql://postgres@/postgres?host={postgresql}&table={table}")  # fmt: skip
    with database.engine.connect() as connection:
        schemas = sa.inspect(connection).get_schema_names()
    for schema in {*schemas} - {"information_schema"}:
        database.run(f"DROP SCHEMA {schema} CASCADE")
    database.run("CREATE SCHEMA public")
    return database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each of the two."""
    return request.getfixturevalue(request.param)
