"""The portfolio of one book: positions with their stops, equity, pyramids, and signals that were seen.

Rows are written with optimistic locking: whoever has not read the latest version gets StaleVersion, and no update is
lost. What passes (a broken connection, a deadlock) is tried again; a commit without an answer is looked up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from nautilus_ext.errors import BookLost
from nautilus_ext.schema import portfolio_statements as statements
from nautilus_ext.schema.connect import CLOSE_S_MAX, CONNECTION_ERRORS, create_pool
from nautilus_ext.schema.portfolio_rows import Changes, EquityRow, PositionRow, PyramidRow, Signal
from nautilus_ext.schema.portfolio_statements import SIGNALS_DELETED_AT_ONCE, StaleVersion
from nautilus_ext.schema.retry import Transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from decimal import Decimal

    from asyncpg import Pool
    from asyncpg.pool import PoolConnectionProxy as Connection

CACHED_POSITIONS_MAX = 10_000
CLEAN_UP_ROUNDS_MAX = 1_000

__all__ = ["Portfolio", "StaleVersion"]


class Portfolio:
    """Reads and writes the portfolio rows of one book. Whoever opens it closes it."""

    def __init__(self, pool: Pool, url: str, *, book_id: str, epoch: int | None, patience_s: float) -> None:
        self._pool = pool
        self._book_id = book_id
        self._epoch = epoch
        self._transactions = Transactions(pool, url, patience_s=patience_s)
        self._cache = _Cache()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        book_id: str,
        epoch: int | None = None,
        pool_size: int,
        connect_timeout_s: float,
        statement_timeout_s: float,
        patience_s: float,
    ) -> Self:
        """Connect, or raise DatabaseError; `patience_s` bounds each of the calls below.

        With an `epoch` nothing more is written once another node has the book: BookLost.
        """
        pool = await create_pool(
            url, size=pool_size, timeout_s=connect_timeout_s, statement_timeout_s=statement_timeout_s
        )
        return cls(pool, url, book_id=book_id, epoch=epoch, patience_s=patience_s)

    async def close(self) -> None:
        """Close the connections in order, or at once when that takes longer than CLOSE_S_MAX."""
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._pool.close()
        except CONNECTION_ERRORS:
            self._pool.terminate()

    async def _run[Result](self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Write in a transaction that holds the book's row: no other node can take the book meanwhile."""

        async def fenced(connection: Connection) -> Result:
            if self._epoch is not None:
                held = "SELECT epoch FROM books WHERE book_id = $1 FOR SHARE"
                if await connection.fetchval(held, self._book_id) != self._epoch:
                    raise BookLost(f"book {self._book_id} is another node's now: nothing more is written for this one")
            return await work(connection)

        return await self._transactions.run(fenced)

    # -- several rows at once

    async def save(self, changes: Changes) -> Changes:
        """Write all or nothing; return the rows with their new versions."""
        with self._cache.writing(changes.positions) as done:
            saved = await self._run(lambda connection: self._write(connection, changes))
            done(saved.positions)
        return saved

    async def _write(self, connection: Connection, changes: Changes) -> Changes:
        """The order of the tables is the same for all writers, so that they do not cross."""
        book_id, pyramid = self._book_id, changes.pyramid
        positions = await statements.write_positions(connection, book_id, changes.positions)
        if pyramid is not None:
            pyramid = await statements.PYRAMIDS.write(connection, book_id, pyramid)
        await statements.mark_signals(connection, book_id, changes.outcomes)
        return Changes(positions=tuple(positions), pyramid=pyramid, outcomes=changes.outcomes)

    # -- positions

    async def save_position(self, row: PositionRow) -> PositionRow:
        """Insert (version 0) or update, and count the change of its realized profit in the equity."""
        return (await self.save(Changes(positions=(row,)))).positions[0]

    async def get_position(self, position_id: str) -> PositionRow | None:
        """Read through a cache that always knows the own writes."""
        cached = self._cache.get(position_id)
        if cached is not None:
            return cached
        seen = self._cache.writes
        row = await self._transactions.read(
            lambda connection: statements.POSITIONS.read(connection, self._book_id, position_id)
        )
        if row is not None:
            self._cache.put([row], seen)
        return row

    async def open_positions(
        self, *, strategy_id: str | None = None, instrument_id: str | None = None
    ) -> list[PositionRow]:
        """Read what is not closed from the table, the oldest first."""
        seen = self._cache.writes
        rows = await self._transactions.read(
            lambda connection: statements.open_positions(connection, self._book_id, strategy_id, instrument_id)
        )
        self._cache.put(rows, seen)
        return rows

    # -- equity and pyramids

    async def begin_equity(self, currency: str, capital: Decimal) -> EquityRow:
        """Note the capital at the very start of the book; return how it stands now."""

        async def work(connection: Connection) -> EquityRow:
            await statements.begin_equity(connection, self._book_id, currency, capital)
            row = await statements.EQUITY.read(connection, self._book_id, currency)
            assert row is not None, "it was there, or has just been written"
            return row

        return await self._run(work)

    async def get_equity(self, currency: str) -> EquityRow | None:
        return await self._transactions.read(
            lambda connection: statements.EQUITY.read(connection, self._book_id, currency)
        )

    async def save_equity(self, row: EquityRow) -> EquityRow:
        """For deposits and corrections: what positions realize is counted by `save`."""
        return await self._run(lambda connection: statements.EQUITY.write(connection, self._book_id, row))

    async def get_pyramid(self, strategy_id: str, instrument_id: str) -> PyramidRow | None:
        return await self._transactions.read(
            lambda connection: statements.PYRAMIDS.read(connection, self._book_id, strategy_id, instrument_id)
        )

    # -- signals

    async def claim_signal(self, signal: Signal) -> bool:
        """Say whether the caller may act on a signal: one of all who claim the same fingerprint may."""
        return await self._run(lambda connection: statements.claim_signal(connection, self._book_id, signal))

    async def claimed_signals(self, strategy_id: str, instrument_id: str) -> list[Signal]:
        """Read the signals whose outcome is open."""
        return await self._transactions.read(
            lambda connection: statements.claimed_signals(connection, self._book_id, strategy_id, instrument_id)
        )

    async def delete_signals(self, *, older_than_days: float) -> int:
        """Clean up in small transactions; return how many were forgotten."""
        deleted = 0
        for _ in range(CLEAN_UP_ROUNDS_MAX):
            count = await self._run(
                lambda connection: statements.delete_signals(connection, self._book_id, older_than_days)
            )
            deleted += count
            if count < SIGNALS_DELETED_AT_ONCE:
                break
        return deleted


class _Cache:
    """The positions read and written last. A read that a write has overtaken is not kept: it may be the older one."""

    def __init__(self) -> None:
        self.writes = 0
        self._rows: OrderedDict[str, PositionRow] = OrderedDict()

    def get(self, position_id: str) -> PositionRow | None:
        row = self._rows.get(position_id)
        if row is not None:
            self._rows.move_to_end(position_id)
        return row

    def put(self, rows: Iterable[PositionRow], seen: int) -> None:
        """Keep what was read while `writes` was `seen`."""
        if seen == self.writes:
            self._keep(rows)

    @contextmanager
    def writing(self, rows: Sequence[PositionRow]) -> Iterator[Callable[[Iterable[PositionRow]], None]]:
        """Forget the rows: nobody knows how a write ends until it did. Whoever calls `done` says it went well."""
        self._forget(rows)
        try:
            yield self._keep
        except BaseException:
            self._forget(rows)
            raise
        finally:
            self.writes += 1

    def _forget(self, rows: Iterable[PositionRow]) -> None:
        for row in rows:
            self._rows.pop(row.position_id, None)

    def _keep(self, rows: Iterable[PositionRow]) -> None:
        for row in rows:
            kept = self._rows.get(row.position_id)
            if kept is None or kept.version < row.version:
                self._rows[row.position_id] = row
                self._rows.move_to_end(row.position_id)
        while len(self._rows) > CACHED_POSITIONS_MAX:
            self._rows.popitem(last=False)
