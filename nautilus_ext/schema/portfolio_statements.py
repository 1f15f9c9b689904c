"""Statements on the portfolio tables. Each function is one purpose on a given connection, within its transaction."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_ext.schema.portfolio_rows import EquityRow, PositionRow, PyramidRow, Signal, SignalOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from asyncpg.pool import PoolConnectionProxy as Connection

SIGNALS_DELETED_AT_ONCE = 10_000


class StaleVersion(Exception):
    """Somebody else wrote the row since it was read: read it again, then decide again."""

    def __init__(self, what: str, expected: int, found: int | None) -> None:
        self.expected = expected
        self.found = found
        found_text = "there is none" if found is None else f"the table has version {found}"
        super().__init__(f"{what}: version {expected} was read, {found_text}: read it again before you write")


class _Versioned[Row: msgspec.Struct]:
    """A table whose rows are written by who has read the latest version only."""

    def __init__(self, table: str, row: type[Row], *key: str) -> None:
        self._table = table
        self._row = row
        self._key = key
        self._values = [name for name in row.__struct_fields__ if name not in (*key, "version")]
        names = ["book_id", *key, *self._values]
        places = {name: f"${number}" for number, name in enumerate(names, 1)}
        self._where = " AND ".join(f"{name} = {places[name]}" for name in ("book_id", *key))
        self._insert = (
            f"INSERT INTO {table} ({', '.join(names)}, version) VALUES ({', '.join(places.values())}, 1) "  # noqa: S608 - names of this module
            "ON CONFLICT DO NOTHING RETURNING version"
        )
        self._update = (
            f"UPDATE {table} SET {', '.join(f'{name} = {places[name]}' for name in self._values)}, "  # noqa: S608 - as above
            f"version = version + 1, updated_at = now() "
            f"WHERE {self._where} AND version = ${len(names) + 1} RETURNING version"
        )
        self.select = f"SELECT {', '.join((*key, *self._values, 'version'))} FROM {table}"  # noqa: S608 - as above
        self._select_one = f"{self.select} WHERE {self._where}"

    async def write(self, connection: Connection, book_id: str, row: Row) -> Row:
        """Return the row with its new version, or raise StaleVersion."""
        expected: int = row.version  # pyright: ignore[reportAttributeAccessIssue] - each row has one
        arguments = [book_id, *(getattr(row, name) for name in (*self._key, *self._values))]
        if expected:
            written = await connection.fetchval(self._update, *arguments, expected)
        else:
            written = await connection.fetchval(self._insert, *arguments)
        if written is None:
            key = arguments[1 : 1 + len(self._key)]
            found = await self.read(connection, book_id, *key)
            raise StaleVersion(f"{self._table} {', '.join(key)}", expected, getattr(found, "version", None))
        return self._row(**{name: getattr(row, name) for name in row.__struct_fields__} | {"version": written})

    async def read(self, connection: Connection, book_id: str, *key: str) -> Row | None:
        record = await connection.fetchrow(self._select_one, book_id, *key)
        return self._row(**record) if record else None


POSITIONS = _Versioned("portfolio_positions", PositionRow, "position_id")
EQUITY = _Versioned("portfolio_state", EquityRow, "currency")
PYRAMIDS = _Versioned("pyramiding_state", PyramidRow, "strategy_id", "instrument_id")


async def write_positions(connection: Connection, book_id: str, rows: Sequence[PositionRow]) -> list[PositionRow]:
    """Write in the order of the ids: two writers of the same rows wait for each other, they do not cross."""
    known = [row.position_id for row in rows if row.version]
    before = await _lock_realized(connection, book_id, known) if known else {}
    written = [
        await POSITIONS.write(connection, book_id, row) for row in sorted(rows, key=lambda each: each.position_id)
    ]
    gained: dict[str, Decimal] = defaultdict(Decimal)
    for row in written:
        gained[row.currency] += (row.realized_pnl or Decimal(0)) - before.get(row.position_id, Decimal(0))
    for currency, amount in sorted(gained.items()):
        if amount:
            await _add_to_equity(connection, book_id, currency, amount)
    return written


async def _lock_realized(connection: Connection, book_id: str, position_ids: list[str]) -> dict[str, Decimal]:
    records = await connection.fetch(
        """SELECT position_id, realized_pnl FROM portfolio_positions
            WHERE book_id = $1 AND position_id = ANY($2) ORDER BY position_id FOR UPDATE""",
        book_id,
        position_ids,
    )
    return {record["position_id"]: record["realized_pnl"] or Decimal(0) for record in records}


async def _add_to_equity(connection: Connection, book_id: str, currency: str, amount: Decimal) -> None:
    """A sum that the server makes: two that close positions at the same time both count."""
    await connection.execute(
        """INSERT INTO portfolio_state AS t (book_id, currency, initial_capital, closed_equity, version)
           VALUES ($1, $2, 0, $3, 1)
           ON CONFLICT (book_id, currency) DO UPDATE
              SET closed_equity = t.closed_equity + excluded.closed_equity, version = t.version + 1,
                  updated_at = now()""",
        book_id,
        currency,
        amount,
    )


async def begin_equity(connection: Connection, book_id: str, currency: str, capital: Decimal) -> None:
    """Note the capital at the very start of a book; later calls change nothing."""
    await connection.execute(
        """INSERT INTO portfolio_state (book_id, currency, initial_capital, closed_equity, version)
           VALUES ($1, $2, $3, $3, 1) ON CONFLICT DO NOTHING""",
        book_id,
        currency,
        capital,
    )


async def open_positions(
    connection: Connection, book_id: str, strategy_id: str | None, instrument_id: str | None
) -> list[PositionRow]:
    """Find what is not closed, of one strategy or instrument if they are named, the oldest first."""
    records = await connection.fetch(
        f"""{POSITIONS.select} WHERE book_id = $1 AND status <> 'closed'
              AND ($2::text IS NULL OR strategy_id = $2) AND ($3::text IS NULL OR instrument_id = $3)
            ORDER BY opened_ns, position_id""",
        book_id,
        strategy_id,
        instrument_id,
    )
    return [PositionRow(**record) for record in records]


async def claim_signal(connection: Connection, book_id: str, signal: Signal) -> bool:
    """Enter a signal in the log; of all who ever claim the same fingerprint one hears True, the others are counted."""
    return await connection.fetchval(
        """INSERT INTO signal_log AS t
                  (book_id, fingerprint, strategy_id, instrument_id, signal_type, signal_ns, client_order_id,
                   outcome, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'claimed', 1)
           ON CONFLICT (book_id, fingerprint) DO UPDATE
              SET duplicates = t.duplicates + 1, version = t.version + 1, updated_at = now()
           RETURNING duplicates = 0""",
        book_id,
        signal.fingerprint,
        signal.strategy_id,
        signal.instrument_id,
        signal.signal_type,
        signal.signal_ns,
        signal.client_order_id,
    )


async def mark_signals(connection: Connection, book_id: str, outcomes: Sequence[SignalOutcome]) -> None:
    for each in sorted(outcomes, key=lambda one: one.fingerprint):
        await connection.execute(
            """UPDATE signal_log SET outcome = $3, reason = $4, version = version + 1, updated_at = now()
                WHERE book_id = $1 AND fingerprint = $2""",
            book_id,
            each.fingerprint,
            each.outcome,
            each.reason,
        )


async def claimed_signals(connection: Connection, book_id: str, strategy_id: str, instrument_id: str) -> list[Signal]:
    """Find the signals whose outcome nobody has said yet: the process may have died in between."""
    records = await connection.fetch(
        """SELECT fingerprint, strategy_id, instrument_id, signal_type, signal_ns, client_order_id FROM signal_log
            WHERE book_id = $1 AND strategy_id = $2 AND instrument_id = $3 AND outcome = 'claimed'
            ORDER BY signal_ns""",
        book_id,
        strategy_id,
        instrument_id,
    )
    return [Signal(**record) for record in records]


async def delete_signals(connection: Connection, book_id: str, older_than_days: float) -> int:
    """Forget old signals, SIGNALS_DELETED_AT_ONCE at most; return how many."""
    status = await connection.execute(
        """DELETE FROM signal_log WHERE book_id = $1 AND fingerprint IN (
               SELECT fingerprint FROM signal_log
                WHERE book_id = $1 AND received_at < now() - make_interval(secs => $2)
                ORDER BY received_at LIMIT $3)""",
        book_id,
        older_than_days * 86_400,
        SIGNALS_DELETED_AT_ONCE,
    )
    return int(status.split()[-1])
