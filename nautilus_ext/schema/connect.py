"""Connections and pools: the one place where the driver's errors become ours.

Every error is raised `from None`: the driver quotes the address in its messages and keeps the password in its frames.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import exceptions as pg

from nautilus_ext.errors import DatabaseError
from nautilus_ext.schema.address import EXAMPLE, describe, problem, redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLOSE_S_MAX = 2.0

# The server notices a dead client's machine after idle + interval x count seconds instead of two hours.
_KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}

# A book that the statistics have not seen yet counts as empty: any index that begins with the book is then as good as
# the right one, and each of a thousand probes reads all of it. A plan for any book does not make that mistake.
ANY_BOOK = {"plan_cache_mode": "force_generic_plan"}
_FOR_ANY_BOOK = "SET LOCAL plan_cache_mode = force_generic_plan"

# A node that writes to a book, or its shipper, holds rows of it in a transaction. One that is stopped between two
# statements must not hold up whoever comes next: the server ends its session after this. A COPY is one statement: what
# its client takes to encode rows does not count.
NO_LONG_TRANSACTION = {"idle_in_transaction_session_timeout": "3000"}

# Everything that a connection which was good a moment ago can raise when the database goes away; InternalClientError
# is what asyncpg makes of a server that says goodbye while a statement is on its way.
CONNECTION_ERRORS = (OSError, pg.PostgresError, pg.InterfaceError, pg.InternalClientError, DatabaseError)


STARTING_POLL_S = 0.1


class _NotYet(Exception):
    """The server answers that it is starting up, shutting down or recovering."""


async def connect(
    url: str,
    *,
    timeout_s: float,
    answer_timeout_s: float | None = None,
    application_name: str = "exec-suite",
    **options: Any,
) -> asyncpg.Connection:
    """Open one connection; `answer_timeout_s` bounds each statement on it. The caller closes it.

    A server that is starting up or recovering is waited for, within `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return await _connect_once(url, timeout_s, answer_timeout_s, application_name, options)
        except _NotYet as error:
            if time.monotonic() + STARTING_POLL_S > deadline_s:
                raise DatabaseError(str(error)) from None
            await asyncio.sleep(STARTING_POLL_S)


async def _connect_once(
    url: str, timeout_s: float, answer_timeout_s: float | None, application_name: str, options: dict[str, Any]
) -> asyncpg.Connection:
    wrong = problem(url)
    if wrong is not None:
        raise DatabaseError(f"the database address {redact(url)} cannot be used: {wrong}")
    settings = {**_KEEPALIVE, "application_name": application_name, **options.get("server_settings", {})}
    try:
        return await asyncpg.connect(
            url,
            timeout=timeout_s,  # pyright: ignore[reportArgumentType] - fractions of a second are fine with it
            command_timeout=answer_timeout_s,
            **{**options, "server_settings": settings},
        )
    except TimeoutError:
        raise DatabaseError(
            f"no answer within {timeout_s:g} s from the database at {describe(url)}: "
            "is the host right, does a firewall drop packets, is the server overloaded?"
        ) from None
    except pg.CannotConnectNowError as error:
        raise _NotYet(str(database_error(error, url))) from None
    except Exception as error:  # noqa: BLE001 - whatever the driver raises here may quote the address
        closed = isinstance(error, _CLOSED) and not isinstance(error, (ValueError, ConnectionRefusedError))
        raise DatabaseError(f"{database_error(error, url)}{_NEVER_OPEN if closed else ''}") from None


async def create_pool(url: str, *, size: int, timeout_s: float, statement_timeout_s: float) -> asyncpg.Pool:
    """Open a pool of at most `size` connections, one of them at once. The caller closes it."""
    timeout_ms = str(max(1, round(statement_timeout_s * 1000)))

    async def one_connection(dsn: str, **options: Any) -> asyncpg.Connection:
        return await connect(
            dsn,
            timeout_s=timeout_s,
            answer_timeout_s=statement_timeout_s + timeout_s,
            server_settings={"statement_timeout": timeout_ms, **NO_LONG_TRANSACTION},
            **options,
        )

    return await asyncpg.create_pool(url, min_size=1, max_size=size, connect=one_connection)


def database_error(error: BaseException, url: str) -> DatabaseError:
    """Translate any error of the driver; the message names the place, what happened, and the cure."""
    where = describe(url)
    words = {"where": where, "host": where.host, "name": where.database, "user": where.user, "shown": redact(url)}
    for kinds, text in _CURES:
        if isinstance(error, kinds):
            return DatabaseError(text.format_map(words))
    if isinstance(error, pg.PostgresError):
        return DatabaseError(f"the database at {where} refused: {_server_text(error)}")
    if isinstance(error, OSError):
        reason = error.strerror or "no address of the host answers"
        return DatabaseError(f"cannot connect to {where}: {reason}. Is the server up, are host and port right?")
    return DatabaseError(f"talking to the database at {where} failed ({type(error).__name__}): is it no PostgreSQL?")


def _server_text(error: pg.PostgresError) -> str:
    """Give the server's own words without DETAIL, which quotes rows."""
    text = str(error.args[0]).splitlines()[0] if error.args else "no reason given"
    return f"{text} (SQLSTATE {getattr(error, 'sqlstate', 'unknown')})"


_CLOSED = (
    pg.ConnectionDoesNotExistError,
    pg.AdminShutdownError,
    pg.InternalClientError,
    pg.InterfaceError,
    ConnectionError,
)

_NEVER_OPEN = " Or is it no PostgreSQL, or without the TLS that sslmode asks for?"

# First match wins.
_CURES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (socket.gaierror, UnicodeError),
        "the host {host!r} cannot be resolved, so the database at {where} is out of reach: check its spelling",
    ),
    (
        (ConnectionRefusedError,),
        "nothing accepts connections at {where}: start the database, or correct host and port",
    ),
    ((FileNotFoundError,), "no server listens on the socket for {where}, or a file that its address names is missing"),
    (
        (TimeoutError,),
        "the database at {where} did not answer in time: is it overloaded, stopped, or cut off by the network?",
    ),
    (
        (ssl.SSLError, ssl.CertificateError),
        "no TLS connection to the database at {where}: check sslmode and the certificates",
    ),
    (
        (pg.InvalidPasswordError,),
        "the database at {where} rejects this user or password: check both in the database address",
    ),
    (
        (pg.InvalidAuthorizationSpecificationError,),
        (
            "the database at {where} does not let this user in: does the role exist, may it log in, "
            "and does pg_hba.conf allow it from here?"
        ),
    ),
    (
        (pg.InvalidCatalogNameError,),
        "the server at {where} has no database {name!r}: CREATE DATABASE, or correct the name",
    ),
    (
        (pg.TooManyConnectionsError,),
        (
            "the database at {where} has no connection left for user {user!r}: close some, lower the pool sizes, "
            "or raise max_connections"
        ),
    ),
    ((pg.CannotConnectNowError,), "the database at {where} is starting up or shutting down: try again in a moment"),
    (
        (pg.InsufficientPrivilegeError,),
        (
            "user {user!r} lacks a permission on the database at {where}: "
            "`python -m nautilus_ext migrate CONFIG` grants what the application needs; "
            "the owner (database.migrate_url) needs CONNECT on the database and CREATE on its schema"
        ),
    ),
    (
        (pg.ClientConfigurationError, ValueError),
        f"the database address {{shown}} cannot be used: {EXAMPLE}",
    ),
    (
        _CLOSED,
        "the database at {where} closed the connection: is it shutting down?",
    ),
)


@asynccontextmanager
async def for_any_book(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Ask within a transaction in which plans are made for any book."""
    async with connection.transaction():
        await connection.execute(_FOR_ANY_BOOK)
        yield
