"""Bring the tables to this version: one transaction, one migration at a time, least privilege for the application.

Alembic finds its scripts as the package `migrations`, so the source tree, an installed wheel and any folder work
alike. It is given an open connection, never an address: nothing it prints or logs can hold a password.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from asyncpg import exceptions as pg
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from nautilus_ext.errors import DatabaseError, SchemaBehind
from nautilus_ext.schema.address import describe
from nautilus_ext.schema.connect import connect, database_error
from nautilus_ext.schema.locks import lock_key
from nautilus_ext.schema.revision import VERSION_TABLE
from nautilus_ext.schema.tables import metadata

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

CURE = "python -m nautilus_ext migrate CONFIG"
UPGRADE_S_MAX = 3600.0


def upgrade(owner_url: str, app_url: str, *, timeout_s: float) -> list[str]:
    """Migrate to this version and grant; return the revisions applied, oldest first.

    `timeout_s` bounds the connection, the wait for another migration and the wait for each table in use.
    """
    return asyncio.run(_upgrade(owner_url, app_url, timeout_s), loop_factory=asyncio.SelectorEventLoop)


async def require_current(connection: asyncpg.Connection | PoolConnectionProxy) -> None:
    """Refuse a database that is behind this version (run the migration) or ahead of it (upgrade the software)."""
    try:
        exists = await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE)
        found = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}") if exists else None  # noqa: S608 - a constant
    except pg.InsufficientPrivilegeError:
        user = await connection.fetchval("SELECT current_user")
        raise SchemaBehind(f"user {user!r} may not read the tables of this database. Run: {CURE}") from None
    _check_revision(_scripts(), found)


def config_for(connection: Connection) -> Config:
    """Build Alembic's configuration around an open connection."""
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", "migrations:")
    return config


async def _upgrade(owner_url: str, app_url: str, timeout_s: float) -> list[str]:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        async_creator=partial(connect, owner_url, timeout_s=timeout_s, application_name="exec-suite migrate"),
    )
    try:
        async with asyncio.timeout(UPGRADE_S_MAX), engine.begin() as connection:
            await _wait_for_turn(connection, timeout_s)
            applied = await connection.run_sync(_apply)
            await _grant(connection, owner=describe(owner_url).user, role=describe(app_url).user)
            return applied
    except DBAPIError as error:
        raise _migration_error(error, owner_url, timeout_s) from None
    except TimeoutError:
        raise DatabaseError(f"the migration took longer than {UPGRADE_S_MAX:g} s and was rolled back") from None
    finally:
        await engine.dispose()


async def _wait_for_turn(connection: AsyncConnection, timeout_s: float) -> None:
    """Hold the migration lock until the transaction ends; each wait for a lock, tables included, is bounded."""
    await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(timeout_s * 1000))}")
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key("migrate", "")})


def _apply(connection: Connection) -> list[str]:
    scripts = _scripts()
    options: dict[str, Any] = {"version_table": VERSION_TABLE}
    found = MigrationContext.configure(connection, opts=options).get_current_revision()
    pending = _pending(scripts, found)
    if pending:
        command.upgrade(config_for(connection), "head")
    return pending


async def _grant(connection: AsyncConnection, *, owner: str, role: str) -> None:
    """Give the application's role what the tables say and nothing else, also when an older version gave more."""
    if role == owner:
        return
    known = await connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    if known.first() is None:
        raise DatabaseError(f"the application's role {role!r} does not exist: CREATE ROLE, or correct database.url")
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = (await connection.execute(text("SELECT current_schema()"))).scalar_one()
    await connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}")
    grants = {table.name: table.info["grant"] for table in metadata.sorted_tables} | {VERSION_TABLE: "SELECT"}
    for table, privileges in grants.items():
        await connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM {quote(role)}")
        await connection.exec_driver_sql(f"GRANT {privileges} ON {table} TO {quote(role)}")
    await _allow_temporary_tables(connection, role)


async def _allow_temporary_tables(connection: AsyncConnection, role: str) -> None:
    """Batches of rows go through temporary tables; everybody may create them, unless a hardened server forbids it."""
    found = await connection.execute(
        text(
            """SELECT current_database() AS database,
                      has_database_privilege(:role, current_database(), 'TEMPORARY') AS has,
                      has_database_privilege(current_database(), 'TEMPORARY WITH GRANT OPTION') AS may_give"""
        ),
        {"role": role},
    )
    database, has, may_give = found.one()
    if has:
        return
    quote = connection.dialect.identifier_preparer.quote_identifier
    grant = f"GRANT TEMPORARY ON DATABASE {quote(database)} TO {quote(role)}"
    if not may_give:
        raise DatabaseError(
            f"the application's role needs temporary tables, and the owner cannot allow it. Run: {grant}"
        )
    await connection.exec_driver_sql(grant)


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    return ScriptDirectory.from_config(config)


def _pending(scripts: ScriptDirectory, found: str | None) -> list[str]:
    """List the revisions from `found` to this version, oldest first; refuse a revision that is not ours."""
    history = [script.revision for script in scripts.walk_revisions()]
    if found is not None and found not in history:
        raise DatabaseError(
            f"the tables are at revision {found!r}, which this version does not know (its newest is {history[0]!r}): "
            "upgrade the software, or point database.url at the right database"
        )
    newer = history if found is None else history[: history.index(found)]
    return newer[::-1]


def _check_revision(scripts: ScriptDirectory, found: str | None) -> None:
    if pending := _pending(scripts, found):
        state = "the database has no tables yet" if found is None else f"the tables are at revision {found!r}"
        raise SchemaBehind(f"{state}; this version needs {pending[-1]!r}. Run: {CURE}")


def _migration_error(error: DBAPIError, url: str, timeout_s: float) -> DatabaseError:
    cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, pg.LockNotAvailableError):
        return DatabaseError(
            f"waited {timeout_s:g} s at {describe(url)} for another migration, or for a table that a node uses: "
            "let the other one finish, stop the nodes, and try again"
        )
    return database_error(cause or error, url)
