"""Work on a pool that survives what passes: a broken connection, a deadlock, a server that restarts."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

from asyncpg import exceptions as pg

from nautilus_ext.errors import DatabaseError
from nautilus_ext.schema.connect import CONNECTION_ERRORS, database_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncpg import Pool
    from asyncpg.pool import PoolConnectionProxy as Connection

ATTEMPTS_MAX = 8
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.02, 0.5
UNREACHABLE = "the last attempt returns or raises"

_PASSES = (
    pg.PostgresConnectionError,
    pg.TransactionRollbackError,  # serialization failures and deadlocks
    pg.InsufficientResourcesError,
    pg.OperatorInterventionError,
    pg.LockNotAvailableError,
    pg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
    pg.IdleInTransactionSessionTimeoutError,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed a moment later; what is wrong with the data never does."""
    if isinstance(error, pg.PostgresError):
        return isinstance(error, _PASSES) and not isinstance(error, pg.QueryCanceledError)
    return isinstance(error, CONNECTION_ERRORS)


class _Doubt(NamedTuple):
    """A commit without an answer: what it would have returned, if the server did it."""

    transaction_id: str
    result: object


class Transactions:
    """Runs work in transactions, again after what passes, within `patience_s` altogether. The caller owns the pool."""

    def __init__(self, pool: Pool, url: str, *, patience_s: float) -> None:
        self._pool = pool
        self._url = url
        self._patience_s = patience_s

    async def run[Result](self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Return what `work` returned in the one transaction that was committed, or raise DatabaseError."""
        return await self._in_time(self._write(work))

    async def read[Result](self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Return what `work`, a single statement that changes nothing, returned: it needs no transaction of its own."""
        return await self._in_time(self._read(work))

    async def _in_time[Result](self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._patience_s):
                return await work
        except TimeoutError:
            raise DatabaseError(
                f"no answer from the portfolio's tables within {self._patience_s:g} s: "
                "is the database overloaded, are all connections of the pool in use?"
            ) from None

    async def _read[Result](self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self._pool.acquire() as connection:
                    return await work(connection)
            except CONNECTION_ERRORS as error:
                await self._wait_or_raise(error, attempt)
        raise AssertionError(UNREACHABLE)

    async def _write[Result](self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        doubt: _Doubt | None = None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self._pool.acquire() as connection:
                    if doubt is not None and await _was_committed(connection, doubt):
                        return doubt.result  # pyright: ignore[reportReturnType] - it is what `work` returned
                    doubt = None
                    async with connection.transaction():
                        result = await work(connection)
                        # Last: whatever is raised before it has committed nothing for sure.
                        transaction_id = await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text")
                        doubt = _Doubt(transaction_id, result) if transaction_id else None
                    return result
            except CONNECTION_ERRORS as error:
                await self._wait_or_raise(error, attempt)
        raise AssertionError(UNREACHABLE)

    async def _wait_or_raise(self, error: BaseException, attempt: int) -> None:
        if not is_transient(error) or attempt == ATTEMPTS_MAX:
            raise error if isinstance(error, DatabaseError) else database_error(error, self._url) from None
        await asyncio.sleep(_backoff_s(attempt))


async def _was_committed(connection: Connection, doubt: _Doubt) -> bool:
    status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", doubt.transaction_id)
    if status == "in progress":
        raise DatabaseError("the server has not ended a former session yet, which may still commit")
    return status == "committed"


def _backoff_s(attempt: int) -> float:
    """Spread out: tasks that met in a deadlock should not meet again."""
    return min(BACKOFF_S_MIN * 2 ** (attempt - 1), BACKOFF_S_MAX) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
