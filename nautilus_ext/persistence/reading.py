"""What the command line reads from the tables: each query is one question, with its filters as typed parameters.

Nothing here writes, and a question never reads the whole history: there is a limit, or an index, or both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection | PoolConnectionProxy

ROWS_MAX = 10_000
WORKING = (
    "INITIALIZED",
    "EMULATED",
    "RELEASED",
    "SUBMITTED",
    "ACCEPTED",
    "TRIGGERED",
    "PENDING_UPDATE",
    "PENDING_CANCEL",
    "PARTIALLY_FILLED",
)
CLOSED = ("DENIED", "REJECTED", "CANCELED", "EXPIRED", "FILLED")


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows must have in common; None leaves it open."""

    book_id: str
    operation_id: str | None = None
    strategy: str | None = None
    venue: str | None = None
    instrument: str | None = None
    asset: str | None = None
    status: tuple[str, ...] | None = None
    since_ns: int | None = None
    limit: int = 50


class Version(NamedTuple):
    """A record of the journal, by which a reader remembers how far it has read."""

    run: int
    seq: int


class Question(NamedTuple):
    sql: str
    arguments: list[Any]


_ORDERS = """SELECT o.client_order_id, o.operation_id, o.strategy_id, o.instrument_id, o.canonical_id, o.venue,
       o.venue_type, o.account_id, o.venue_order_id, o.operation, o.side, o.order_type, o.exec_algorithm,
       o.parent_client_order_id, o.status, o.quantity, o.filled_quantity, o.price, o.trigger_price, o.average_price,
       o.time_in_force, o.fill_count, o.commissions, o.rejection_reason, o.error_message, o.tags,
       o.created_at, o.updated_at, o.run, o.seq
  FROM unified_orders o"""
_FILLS = """SELECT f.ts_event, f.client_order_id, f.trade_id, f.strategy_id, f.instrument_id, f.venue, f.account_id,
       f.venue_order_id, f.position_id, f.side, f.quantity, f.price, f.currency, f.commission, f.commission_currency,
       f.liquidity_side, f.run, f.seq
  FROM unified_fills f"""
_POSITIONS = """SELECT p.asset_key, p.base_asset, p.instrument_id, p.canonical_id, p.venue, p.venue_type, p.account_id,
       p.strategy_id, p.position_id, p.opening_order_id, p.side, p.quantity, p.signed_quantity, p.base_quantity,
       p.average_entry_price, p.current_price, p.unrealized_pnl, p.realized_pnl, p.currency, p.opened_ns, p.closed_ns,
       p.updated_at, p.run, p.seq
  FROM venue_positions p"""
_EXPOSURE = """SELECT p.base_asset, i.quote_currency, sum(p.base_quantity) AS net,
       sum(greatest(p.base_quantity, 0)) AS long, sum(least(p.base_quantity, 0)) AS short,
       sum(p.base_quantity * p.current_price) AS net_value,
       sum(abs(p.base_quantity) * p.current_price) AS gross_value,
       count(*) FILTER (WHERE p.current_price IS NULL) AS unpriced, count(*) AS positions,
       array_agg(DISTINCT p.venue ORDER BY p.venue) AS venues
  FROM venue_positions p LEFT JOIN instruments i USING (book_id, instrument_id)"""
_OF_OPERATION = "SELECT client_order_id FROM unified_orders WHERE book_id = $1 AND operation_id = {}"
_INSTRUMENTS = "SELECT instrument_id FROM instruments WHERE book_id = $1"


def orders(filters: Filters) -> Question:
    """Orders, the newest first."""
    where = _Where(filters, "o")
    where.add("o.operation_id", filters.operation_id)
    where.any_of("o.status", filters.status)
    where.since("o.created_at >= to_timestamp({}::numeric / 1000000000)", filters.since_ns)
    return where.question(_ORDERS, "o.created_at DESC, o.seq DESC")


def fills(filters: Filters) -> Question:
    """Fills, the newest first."""
    where = _Where(filters, "f")
    if filters.operation_id is not None:
        where.clause(f"f.client_order_id IN ({_OF_OPERATION})", filters.operation_id)
    where.since("f.ts_event >= {}", filters.since_ns)
    return where.question(_FILLS, "f.ts_event DESC, f.seq DESC")


def positions(filters: Filters) -> Question:
    """The parts of the positions; the open ones, unless a status asks for others."""
    where = _Where(filters, "p")
    if filters.operation_id is not None:
        where.clause(f"p.opening_order_id IN ({_OF_OPERATION})", filters.operation_id)
    where.fixed(_POSITION_STATES[_state(filters)])
    where.since("p.updated_at >= to_timestamp({}::numeric / 1000000000)", filters.since_ns)
    return where.question(_POSITIONS, "p.updated_at DESC, p.seq DESC")


def exposure(filters: Filters) -> Question:
    """Open positions added up by base asset, over venues and kinds of instrument, valued at the last price."""
    where = _Where(filters, "p")
    where.fixed("p.side <> 'FLAT'")
    return where.question(f"{_EXPOSURE}", "gross_value DESC NULLS LAST", group="p.base_asset, i.quote_currency")


# Where a reader that follows a book begins.
NEWEST = "SELECT run, durable_seq AS seq FROM runs WHERE book_id = $1 AND durable_seq > 0 ORDER BY run DESC LIMIT 1"
# The orders that any event has touched since.
CHANGED = """SELECT DISTINCT client_order_id FROM order_events
 WHERE book_id = $1 AND (run, seq) > ($2, $3) AND client_order_id IS NOT NULL LIMIT 10000"""
# The life of an order, event by event.
LIFE = """SELECT run, seq, type, ts_event, ts_init, payload FROM order_events
 WHERE book_id = $1 AND client_order_id = $2 ORDER BY run, seq LIMIT 10000"""
# The order that an operator means: by our id, by its operation, or by the venue's id.
MEANT = """SELECT client_order_id FROM unified_orders
 WHERE book_id = $1 AND (client_order_id = $2 OR operation_id = $2 OR (venue_order_id = $2))
 ORDER BY (client_order_id = $2) DESC, created_at DESC LIMIT 20"""
# How far a book's tables are, and what its last run holds.
STANDING = """SELECT r.run, r.last_seq, r.durable_seq, r.started_at, r.ended_at, r.clean_end,
       (SELECT count(*) FROM rejected_events e WHERE e.book_id = r.book_id) AS rejected,
       (SELECT count(*) FROM unified_orders o WHERE o.book_id = r.book_id AND o.status = ANY($2)) AS working,
       (SELECT count(*) FROM venue_positions p WHERE p.book_id = r.book_id AND p.side <> 'FLAT') AS positions_open
  FROM runs r WHERE r.book_id = $1 ORDER BY r.run DESC LIMIT 1"""
# The newest backtest of a trader.
NEWEST_BACKTEST = """SELECT book_id FROM books
 WHERE trader_id = $1 AND environment = 'backtest' ORDER BY created_at DESC LIMIT 1"""

_POSITION_STATES = {"open": "p.side <> 'FLAT'", "closed": "p.side = 'FLAT'", "all": "true"}


def _state(filters: Filters) -> str:
    return filters.status[0].lower() if filters.status else "open"


async def rows(connection: Connection, question: Question) -> list[dict[str, Any]]:
    """The answer as plain dicts; JSON columns are decoded, money stays exact."""
    return [_plain(record) for record in await connection.fetch(question.sql, *question.arguments)]


def only(question: Question, column: str, values: list[str]) -> Question:
    """The same question about these rows alone."""
    number = len(question.arguments) + 1
    head, _, tail = question.sql.partition("\n ORDER BY ")
    return Question(f"{head} AND {column} = ANY(${number})\n ORDER BY {tail}", [*question.arguments, values])


def _plain(record: Any) -> dict[str, Any]:
    return {
        key: msgspec.json.decode(value) if key in _JSON and value is not None else value
        for key, value in record.items()
    }


_JSON = frozenset({"commissions", "payload"})


class _Where:
    """The conditions of one question, numbered as they come; $1 is the book."""

    def __init__(self, filters: Filters, alias: str) -> None:
        self._limit = min(filters.limit, ROWS_MAX)
        self._clauses = [f"{alias}.book_id = $1"]
        self._arguments: list[Any] = [filters.book_id]
        self.add(f"{alias}.strategy_id", filters.strategy)
        self.add(f"{alias}.venue", filters.venue)
        if filters.instrument is not None:
            self._instrument(alias, filters.instrument)
        if filters.asset is not None:
            self.clause(f"{alias}.instrument_id IN ({_INSTRUMENTS} AND base_asset = {{}})", filters.asset)

    def _instrument(self, alias: str, text: str) -> None:
        """A canonical id has a colon, which no Nautilus id has."""
        if ":" in text:
            self.clause(f"{alias}.instrument_id IN ({_INSTRUMENTS} AND {{}} IN (canonical_id, asset_key))", text)
        else:
            self.add(f"{alias}.instrument_id", text)

    def add(self, column: str, value: str | None) -> None:
        if value is not None:
            self.clause(f"{column} = {{}}", value)

    def any_of(self, column: str, values: tuple[str, ...] | None) -> None:
        if values is not None:
            self.clause(f"{column} = ANY({{}})", list(values))

    def since(self, condition: str, moment_ns: int | None) -> None:
        if moment_ns is not None:
            self.clause(condition, moment_ns)

    def clause(self, condition: str, value: Any) -> None:
        self._arguments.append(value)
        self._clauses.append(condition.format(f"${len(self._arguments)}"))

    def fixed(self, condition: str) -> None:
        self._clauses.append(condition)

    def question(self, select: str, order: str, *, group: str | None = None) -> Question:
        grouped = f"\n GROUP BY {group}" if group else ""
        where = " AND ".join(self._clauses)
        return Question(f"{select}\n WHERE {where}{grouped}\n ORDER BY {order} LIMIT {self._limit}", self._arguments)
