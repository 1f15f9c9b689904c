"""What the command line reads from the tables: each query is one question, with its filters as typed parameters.

Nothing here writes, and a question never reads the whole history: there is a limit, or an index, or both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection | PoolConnectionProxy

ROWS_MAX = 10_000
EVENTS_MAX = 10_000  # of one look at what is new
PAGE_ROWS = 1_000
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
POSITION_EVENTS = ("PositionOpened", "PositionChanged", "PositionClosed")


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


_ORDERS = """SELECT o.client_order_id, o.operation_id, o.strategy_id, o.instrument_id, o.canonical_id, o.asset_key,
       o.venue, o.venue_type, o.account_id, o.venue_order_id, o.operation, o.side, o.order_type, o.exec_algorithm,
       o.parent_client_order_id, o.order_list_id, o.contingency, o.linked_order_ids, o.status, o.quantity,
       o.filled_quantity, o.price, o.trigger_price, o.average_price, o.time_in_force, o.post_only, o.reduce_only,
       o.fill_count, o.commissions, o.rejection_reason, o.error_message, o.is_reconciled, o.tags,
       o.created_ns, o.updated_ns, o.run, o.seq
  FROM unified_orders o"""
_FILLS = """SELECT f.ts_event AS event_ns, f.client_order_id, f.trade_id, f.strategy_id, f.instrument_id, f.asset_key,
       f.venue, f.account_id, f.venue_order_id, f.position_id, f.side, f.order_type, f.quantity, f.price, f.currency,
       f.commission, f.commission_currency, f.liquidity_side, f.is_reconciled, f.run, f.seq
  FROM unified_fills f"""
_POSITIONS = """SELECT p.asset_key, p.base_asset, p.instrument_id, p.canonical_id, p.venue, p.venue_type, p.account_id,
       p.strategy_id, p.position_id, p.opening_order_id, p.closing_order_id, p.side, p.quantity, p.signed_quantity,
       p.base_quantity, p.peak_quantity, p.average_entry_price, p.average_exit_price, p.last_price, p.current_price,
       p.marked_ns, p.unrealized_pnl, p.realized_pnl, p.currency, p.opened_ns, p.closed_ns, p.updated_ns, p.run, p.seq
  FROM venue_positions p"""
# Profit has a currency of its own (inverse contracts), so it is added up by it: one object per group.
_EXPOSURE = """WITH part AS MATERIALIZED (
    SELECT coalesce(p.base_asset, p.instrument_id) AS base_asset,
           coalesce(i.quote_currency, p.currency) AS quote_currency, p.base_quantity,
           p.base_quantity * p.current_price AS value, p.venue, p.currency, p.unrealized_pnl, p.realized_pnl
      FROM venue_positions p LEFT JOIN instruments i USING (book_id, instrument_id)
     WHERE {where}),
by_currency AS (
    SELECT base_asset, quote_currency, currency,
           sum(unrealized_pnl)::text AS unrealized, sum(realized_pnl)::text AS realized
      FROM part GROUP BY 1, 2, 3),
profit AS (
    SELECT base_asset, quote_currency, jsonb_object_agg(currency, unrealized) AS unrealized_pnl,
           jsonb_object_agg(currency, realized) AS realized_pnl
      FROM by_currency GROUP BY 1, 2)
SELECT base_asset, quote_currency, sum(base_quantity) AS net, sum(greatest(base_quantity, 0)) AS long,
       sum(least(base_quantity, 0)) AS short, sum(value) AS net_value, sum(abs(value)) AS gross_value,
       profit.unrealized_pnl, profit.realized_pnl, count(*) AS positions,
       count(*) FILTER (WHERE value IS NULL) AS unpriced, array_agg(DISTINCT venue ORDER BY venue) AS venues
  FROM part JOIN profit USING (base_asset, quote_currency)
 GROUP BY base_asset, quote_currency, profit.unrealized_pnl, profit.realized_pnl
 ORDER BY gross_value DESC NULLS LAST, base_asset LIMIT {limit}"""
_OF_OPERATION = "SELECT client_order_id FROM unified_orders WHERE book_id = $1 AND operation_id = {}"
_INSTRUMENTS = "SELECT instrument_id FROM instruments WHERE book_id = $1"
# The key of the positions that an operation's fills opened.
_OPENED_BY = f"""SELECT account_id, instrument_id, strategy_id, position_id, client_order_id FROM unified_fills
 WHERE book_id = $1 AND client_order_id IN ({_OF_OPERATION})"""  # noqa: S608 - a constant
_CHANGED_POSITIONS = f"""SELECT DISTINCT account_id, instrument_id, strategy_id, position_id,
       payload->>'opening_order_id' FROM order_events
 WHERE book_id = $1 AND (run, seq) > ({{}}, {{}}) AND (run, seq) <= ({{}}, {{}}) AND type IN {POSITION_EVENTS}"""  # noqa: S608 - constants
_CHANGED_ORDERS = """SELECT DISTINCT client_order_id FROM order_events
 WHERE book_id = $1 AND (run, seq) > ({}, {}) AND (run, seq) <= ({}, {}) AND client_order_id IS NOT NULL"""
_POSITION = "(p.account_id, p.instrument_id, p.strategy_id, p.position_id, p.opening_order_id)"


class Span(NamedTuple):
    """The records of the journal after one and up to another."""

    after: Version
    upto: Version


def orders(filters: Filters, changed: Span | None = None) -> Question:
    """Orders, the newest first; those alone that an event of the span has touched."""
    where = _Where(filters, "o")
    where.equal("o.operation_id", filters.operation_id)
    if filters.status is not None:
        where.add("o.status = ANY({})", list(filters.status))
    if filters.since_ns is not None:
        where.add("o.created_at >= to_timestamp({}::numeric / 1000000000)", filters.since_ns)
    where.changed("o", f"o.client_order_id IN ({_CHANGED_ORDERS})", changed)
    return where.question(_ORDERS, "o.created_at DESC, o.seq DESC")


def fills(filters: Filters, changed: Span | None = None) -> Question:
    """Fills, the newest first; those alone that the span has brought."""
    where = _Where(filters, "f")
    if filters.operation_id is not None:
        where.add(f"f.client_order_id IN ({_OF_OPERATION})", filters.operation_id)
    if filters.since_ns is not None:
        where.add("f.ts_event >= {}", filters.since_ns)
    where.changed("f", f"f.client_order_id IN ({_CHANGED_ORDERS})", changed)
    return where.question(_FILLS, "f.ts_event DESC, f.seq DESC")


def positions(filters: Filters, changed: Span | None = None) -> Question:
    """The parts of the positions, the newest first: the open ones unless a status asks for others."""
    state = filters.status[0] if filters.status else "open"
    if state == "all":
        return _both(*(positions(replace(filters, status=(each,)), changed) for each in _POSITION_STATES))
    where = _Where(filters, "p")
    if filters.operation_id is not None:
        where.add(f"{_POSITION} IN ({_OPENED_BY})", filters.operation_id)
    condition, moment = _POSITION_STATES[state]
    where.fixed(condition)
    if filters.since_ns is not None:
        where.add(f"{moment} >= {{}}", filters.since_ns)
    where.changed("p", f"{_POSITION} IN ({_CHANGED_POSITIONS})", changed)
    return where.question(_POSITIONS, f"{moment} DESC, p.seq DESC")


def _both(opened: Question, closed: Question) -> Question:
    """Each has an index of its own; they have the same filters, so the arguments are the same."""
    limit = closed.sql.rpartition(" ")[2]
    both = f"({opened.sql})\nUNION ALL\n({closed.sql})"
    return Question(f"{both}\n ORDER BY updated_ns DESC, seq DESC LIMIT {limit}", opened.arguments)


def exposure(filters: Filters) -> Question:
    """Open positions added up by base asset, over venues and kinds of instrument, valued at the last price."""
    where = _Where(filters, "p")
    where.fixed("p.side <> 'FLAT'")
    return Question(_EXPOSURE.format(where=where.text, limit=where.limit), where.arguments)


# The newest record that the tables hold of a book: where a reader that follows it begins.
NEWEST = """SELECT run, seq, ts_init FROM order_events WHERE book_id = $1 ORDER BY run DESC, seq DESC LIMIT 1"""
# How far a look at what is new may read at once, from one record on.
REACH = f"""SELECT run, seq FROM (
    SELECT run, seq FROM order_events WHERE book_id = $1 AND (run, seq) > ($2, $3) ORDER BY run, seq LIMIT {EVENTS_MAX}
  ) AS next ORDER BY run DESC, seq DESC LIMIT 1"""  # noqa: S608 - a constant
# The life of an order, event by event: to be read in pages.
LIFE = """SELECT run, seq, type, ts_event AS event_ns, ts_init AS init_ns, payload FROM order_events
 WHERE book_id = $1 AND client_order_id = $2 ORDER BY run, seq"""
# The orders that an operator means, in this order: our id, an operation, the venue's id.
MEANT = (
    f"{_ORDERS} WHERE o.book_id = $1 AND o.client_order_id = $2",
    f"{_ORDERS} WHERE o.book_id = $1 AND o.operation_id = $2 ORDER BY o.created_ns DESC LIMIT 100",
    f"{_ORDERS} WHERE o.book_id = $1 AND o.venue_order_id = $2 ORDER BY o.created_ns DESC LIMIT 100",
)
# The orders that were made for another one.
CHILDREN = f"{_ORDERS} WHERE o.book_id = $1 AND o.parent_client_order_id = $2 ORDER BY o.created_ns LIMIT 100"
LEGS = f"{_ORDERS} WHERE o.book_id = $1 AND o.client_order_id = ANY($2) ORDER BY o.created_ns LIMIT 100"
# The members of a list, which are made within a moment of each other.
MEMBERS = f"""{_ORDERS} WHERE o.book_id = $1 AND o.order_list_id = $2
   AND o.created_at BETWEEN to_timestamp($3::numeric / 1000000000) - interval '10 s'
                        AND to_timestamp($3::numeric / 1000000000) + interval '10 s'
 ORDER BY o.created_ns, o.seq LIMIT 100"""
# What the risk gate said of an order: the newest verdicts, and however many changes came after it that on the order.
_DECISIONS = """SELECT run, seq, client_order_id, strategy_id, instrument_id, verdict, ts_ns, code, scope, unit,
       "limit", value, would_be, details FROM risk_decisions WHERE book_id = $1 AND client_order_id = $2"""
_NEWEST_DECISIONS = "ORDER BY run DESC, seq DESC LIMIT"
DECISIONS = f"""SELECT * FROM (
    ({_DECISIONS} {_NEWEST_DECISIONS} 50)
    UNION
    ({_DECISIONS} AND coalesce(details ->> 'action', 'submit') NOT IN ('modify', 'cancel') {_NEWEST_DECISIONS} 10)
  ) AS found ORDER BY run, seq"""  # noqa: S608 - constants
# How far a book's tables are.
STANDING = (
    "SELECT run, last_seq, durable_seq, ended_at, clean_end FROM runs WHERE book_id = $1 ORDER BY run DESC LIMIT 1"
)
# What a book holds now.
COUNTS = """SELECT
  (SELECT count(*) FROM unified_orders WHERE book_id = $1 AND status = ANY($2)) AS working_orders,
  (SELECT count(*) FROM venue_positions WHERE book_id = $1 AND side <> 'FLAT') AS open_positions,
  (SELECT count(*) FROM rejected_events WHERE book_id = $1) AS rejected_events"""
NEWEST_BACKTEST = """SELECT book_id FROM books
 WHERE trader_id = $1 AND environment = 'backtest' ORDER BY created_at DESC LIMIT 1"""
BOOK = "SELECT environment FROM books WHERE book_id = $1"
BOOKS = "SELECT book_id FROM books ORDER BY created_at DESC LIMIT $1"

# What makes a position open or closed, and by what the newest are found: few are open, the closed have an index.
_POSITION_STATES = {"open": ("p.side <> 'FLAT'", "p.updated_ns"), "closed": ("p.side = 'FLAT'", "p.closed_ns")}


async def rows(connection: Connection, question: Question) -> list[dict[str, Any]]:
    """The answer as plain dicts; JSON columns are decoded, money stays exact."""
    return [_plain(record) for record in await connection.fetch(question.sql, *question.arguments)]


async def pages(connection: Connection, question: Question) -> AsyncIterator[list[dict[str, Any]]]:
    """The same, some rows at a time; inside a transaction."""
    cursor = await connection.cursor(question.sql, *question.arguments)
    while found := await cursor.fetch(PAGE_ROWS):
        yield [_plain(record) for record in found]


def _plain(record: Any) -> dict[str, Any]:
    return {
        key: msgspec.json.decode(value) if isinstance(value, str) and key in _JSON else value
        for key, value in record.items()
    }


_JSON = frozenset({"commissions", "details", "payload", "unrealized_pnl", "realized_pnl"})  # numeric ones are no text


class _Where:
    """The conditions of one question, numbered as they come; $1 is the book."""

    def __init__(self, filters: Filters, alias: str) -> None:
        self.limit = min(filters.limit, ROWS_MAX + 1)  # one more tells that there are more
        self.arguments: list[Any] = [filters.book_id]
        self._clauses = [f"{alias}.book_id = $1"]
        self.equal(f"{alias}.strategy_id", filters.strategy)
        self.equal(f"{alias}.venue", filters.venue)
        if filters.instrument is not None:
            self._instrument(f"{alias}.instrument_id", filters.instrument)
        if filters.asset is not None:
            self.add(f"{alias}.instrument_id IN ({_INSTRUMENTS} AND base_asset = {{}})", filters.asset)

    def _instrument(self, column: str, text: str) -> None:
        """Canonical ids and asset keys have a colon; a Nautilus id without one needs no look at the instruments."""
        if ":" in text:
            self.add(f"{column} IN ({_INSTRUMENTS} AND {{}} IN (instrument_id, canonical_id, asset_key))", text)
        else:
            self.equal(column, text)

    @property
    def text(self) -> str:
        return " AND ".join(self._clauses)

    def equal(self, column: str, value: str | None) -> None:
        if value is not None:
            self.add(f"{column} = {{}}", value)

    def changed(self, alias: str, touched: str, span: Span | None) -> None:
        if span is not None:
            self.add(f"({alias}.run, {alias}.seq) > ({{}}, {{}})", *span.after)
            self.add(touched, *span.after, *span.upto)

    def add(self, condition: str, *values: Any) -> None:
        first = len(self.arguments) + 1
        self.arguments += values
        self._clauses.append(condition.format(*(f"${first + i}" for i in range(len(values)))))

    def fixed(self, condition: str) -> None:
        self._clauses.append(condition)

    def question(self, select: str, order: str) -> Question:
        return Question(f"{select}\n WHERE {self.text}\n ORDER BY {order} LIMIT {self.limit}", self.arguments)
