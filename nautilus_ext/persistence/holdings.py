"""What a book holds, read from its tables: open orders, open positions with their orders, accounts, live parents.

However long the history is, only what is open, and what venues will tell of again, is read. No engine is imported.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.errors import DatabaseError
from nautilus_ext.messages import AppliedCommand, Recent
from nautilus_ext.persistence.position_ledger import LIVES_PER_NS_MAX
from nautilus_ext.persistence.reading import WORKING
from nautilus_ext.persistence.recent import read_recent
from nautilus_ext.persistence.records import ORDER_TYPES
from nautilus_ext.persistence.shipper.loading import ORDER_RECORDS
from nautilus_ext.schema.connect import for_any_book

if TYPE_CHECKING:
    import asyncpg

ORDERS_MAX = 50_000  # open, children and recent ones, each
FILLS_MAX = 100_000  # of one position
UNTOLD_WITHIN = 100  # newest fills among which one is looked for that no position has
OPENED_WITHIN = 1_000  # events between a fill and what Nautilus says of the position that it opened

_OPEN = """
    SELECT client_order_id, exec_algorithm <> 'NORMAL' AS is_worked FROM unified_orders
     WHERE book_id = $1 AND status = ANY($2) LIMIT $3"""
_FAMILY = "SELECT client_order_id FROM unified_orders WHERE book_id = $1 AND parent_client_order_id = ANY($2) LIMIT $3"
_RECENT = """
    SELECT client_order_id FROM unified_orders
     WHERE book_id = $1 AND created_at >= to_timestamp($2) ORDER BY created_at DESC LIMIT $3"""
# The fill that opened a life, and what Nautilus said of the position then: an order that turns another position opens
# this one with a part of its fill, and hedging under an id that the fill does not have. A later run says it when the
# first one was killed before it came to that.
_POSITIONS = """
    SELECT held.instrument_id, held.strategy_id, held.position_id, held.opened_ns, held.signed_quantity,
           opening.client_order_id, opening.run, opening.seq, opening.said
      FROM venue_positions AS held
      LEFT JOIN LATERAL (
           SELECT f.client_order_id, f.run, f.seq, opened.payload AS said
             FROM unified_fills f, LATERAL (
                  (SELECT e.payload FROM order_events e
                    WHERE e.book_id = $1 AND e.run = f.run AND e.seq > f.seq AND e.seq <= f.seq + $2
                      AND e.type = 'PositionOpened' AND e.position_id = held.position_id
                    ORDER BY e.seq LIMIT 1)
                  UNION ALL
                  (SELECT e.payload FROM order_events e
                    WHERE e.book_id = $1 AND e.run > f.run AND e.run <= held.run AND e.seq <= $2
                      AND e.type = 'PositionOpened' AND e.position_id = held.position_id
                      AND e.payload ->> 'opening_order_id' = f.client_order_id
                    ORDER BY e.run, e.seq LIMIT 1)
                  LIMIT 1) AS opened
            WHERE f.book_id = $1 AND f.client_order_id = held.opening_order_id
              AND f.ts_event BETWEEN held.opened_ns - $3 AND held.opened_ns
            ORDER BY f.run DESC, f.seq DESC LIMIT 1) AS opening ON true
     WHERE held.book_id = $1 AND held.side <> 'FLAT' ORDER BY held.opened_ns"""
_FILLS = """
    SELECT client_order_id, run, seq FROM unified_fills
     WHERE book_id = $1 AND instrument_id = $2 AND position_id = $3 AND ts_event >= $4 AND (run, seq) > ($5, $6)
     LIMIT $7"""
# A node that was killed between a fill and what it says of the position leaves a fill that no position has: the last
# one of its run. What Nautilus itself kept from a position (a reducing order with nothing to reduce) is not such a one.
# It may have come to say the first half: that the fill of an order that turns a position has closed the former one.
_UNTOLD = """
    SELECT fill.client_order_id, fill.run, fill.seq, coalesce(closed.quantity, '0') AS closed FROM (
           SELECT client_order_id, run, seq, quantity, instrument_id, strategy_id, position_id FROM unified_fills
            WHERE book_id = $1 AND position_id IS NOT NULL ORDER BY ts_event DESC LIMIT $2) AS fill
      JOIN runs ON runs.book_id = $1 AND runs.run = fill.run AND runs.clean_end IS NOT TRUE
      LEFT JOIN LATERAL (
           SELECT e.seq, e.payload ->> 'last_qty' AS quantity FROM order_events AS e
            WHERE e.book_id = $1 AND e.run = fill.run AND e.seq > fill.seq AND e.type = 'PositionClosed'
              AND e.position_id = fill.position_id ORDER BY e.seq LIMIT 1) AS closed ON true
     WHERE coalesce(closed.quantity::numeric, 0) < fill.quantity
       AND NOT EXISTS (
           SELECT FROM order_events AS e
            WHERE e.book_id = $1 AND e.run = fill.run AND e.seq > fill.seq
              AND e.type IN ('OrderFilled', 'PositionOpened', 'PositionChanged'))
       AND NOT EXISTS (
           SELECT FROM venue_positions AS held
            WHERE held.book_id = $1 AND held.instrument_id = fill.instrument_id
              AND held.strategy_id = fill.strategy_id AND held.position_id = fill.position_id
              AND (held.run, held.seq) > (fill.run, coalesce(closed.seq, fill.seq)))
     ORDER BY fill.run, fill.seq"""
_ORDERS = """
    SELECT client_order_id, status, filled_quantity FROM unified_orders
     WHERE book_id = $1 AND client_order_id = ANY($2)"""
_ACCOUNTS = """
    SELECT account_id, account_type, base_currency, balances, margins, is_reported, ts_event
      FROM account_states WHERE book_id = $1 ORDER BY account_id"""
_INSTRUMENTS = """
    SELECT instrument_id, definition FROM instruments
     WHERE book_id = $1 AND instrument_id = ANY($2) ORDER BY instrument_id"""
_NEWEST = "SELECT max(created_at) FROM unified_orders WHERE book_id = $1"


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event of an order as the journal has it."""

    type: str
    body: msgspec.Raw


class HeldOrder(msgspec.Struct, frozen=True):
    """An order: its row in short, and all its events."""

    client_order_id: str
    status: str
    filled: str
    events: list[Event]


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """An open position: what it is by now, and the fills that made it, in their order."""

    instrument_id: str
    strategy_id: str
    position_id: str
    signed_quantity: str
    opened_quantity: str  # what the first fill opened it with: less than all of it when it turned another position
    fills: list[msgspec.Raw]


class UntoldFill(msgspec.Struct, frozen=True):
    """A fill of which the position has nothing yet, or only what it closed."""

    body: msgspec.Raw
    closed: str


class HeldInstrument(msgspec.Struct, frozen=True):
    """An instrument as the node knew it last; the definition is read when it is put back."""

    instrument_id: str
    definition: msgspec.Raw


class HeldAccount(msgspec.Struct, frozen=True, kw_only=True):
    account_id: str
    account_type: str
    base_currency: str | None
    balances: msgspec.Raw
    margins: msgspec.Raw
    reported: bool
    ts_event: int


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a node needs to go on where the last one of its book ended."""

    book_id: str
    instruments: list[HeldInstrument] = []
    accounts: list[HeldAccount] = []
    orders: list[HeldOrder] = []
    positions: list[HeldPosition] = []
    untold: list[UntoldFill] = []
    newest_order_s: float = 0.0  # when the newest order of the book was made
    recent: Recent = Recent()  # for the risk gate
    standing: list[AppliedCommand] = []  # as above


async def read_holdings(
    connection: asyncpg.Connection, book_id: str, *, recent_s: float, counted_max: int = 0, fills_s: float = 0.0
) -> Holdings:
    """Read them; orders made after `recent_s` (seconds since 1970) come along whatever their state.

    A venue tells of those once more, and Nautilus would take an order that it does not know for somebody else's.
    The orders that a strategy ever sent are counted up to `counted_max`.
    """
    positions = await connection.fetch(_POSITIONS, book_id, OPENED_WITHIN, LIVES_PER_NS_MAX)
    half = {_Fill(*row[:3]): row["closed"] for row in await connection.fetch(_UNTOLD, book_id, UNTOLD_WITHIN)}
    untold = list(half)
    fills = [[fill for fill in await _fills(connection, book_id, row) if fill not in untold] for row in positions]
    wanted, parents = await _order_ids(connection, book_id, recent_s)
    ids = dict.fromkeys(wanted)
    ids |= dict.fromkeys(fill.client_order_id for found in (*fills, untold) for fill in found)
    told = await _events(connection, book_id, list(ids))
    rows = {row["client_order_id"]: row for row in await connection.fetch(_ORDERS, book_id, list(ids))}
    held = [_position(row, found, told) for row, found in zip(positions, fills, strict=True)]
    named = {row["instrument_id"] for row in positions} | {
        _named(each[0].event).instrument_id for each in told.values()
    }
    newest = await connection.fetchval(_NEWEST, book_id)
    return Holdings(
        book_id=book_id,
        instruments=[
            HeldInstrument(name, msgspec.Raw(definition))
            for name, definition in await connection.fetch(_INSTRUMENTS, book_id, list(named))
        ],
        accounts=[_account(row) for row in await connection.fetch(_ACCOUNTS, book_id)],
        orders=[_order(rows[each], told[each]) for each in _by_age(told) if each in rows],
        positions=held,
        untold=[UntoldFill(body, half[fill]) for fill in untold for body in _bodies([fill], told)],
        newest_order_s=newest.timestamp() if newest else 0.0,
        recent=await read_recent(
            connection, book_id, now_s=time.time(), parents=parents, counted_max=counted_max, fills_s=fills_s
        ),
    )


class _Told(NamedTuple):
    run: int
    seq: int
    event: Event


class _Fill(NamedTuple):
    client_order_id: str
    run: int
    seq: int


class _Opened(msgspec.Struct):
    last_qty: str


class _Named(msgspec.Struct):
    client_order_id: str
    instrument_id: str


async def _order_ids(connection: asyncpg.Connection, book_id: str, recent_s: float) -> tuple[list[str], list[str]]:
    """Return all that are wanted, and those among them that work and that an algorithm has."""
    opened = await connection.fetch(_OPEN, book_id, WORKING, ORDERS_MAX + 1)
    _bound(book_id, "open orders", opened)
    parents = [row["client_order_id"] for row in opened if row["is_worked"]]
    family = await connection.fetch(_FAMILY, book_id, parents, ORDERS_MAX + 1) if parents else []
    _bound(book_id, "orders of live parents", family)
    recent = await connection.fetch(_RECENT, book_id, recent_s, ORDERS_MAX)
    return [row["client_order_id"] for row in (*opened, *family, *recent)], parents


async def _fills(connection: asyncpg.Connection, book_id: str, row: Any) -> list[_Fill]:
    """Find the fills of this life of a position; none when nothing says which one opened it."""
    if row["run"] is None:
        return []
    opening = _Fill(row["client_order_id"], row["run"], row["seq"])
    place = (book_id, row["instrument_id"], row["position_id"], row["opened_ns"] - LIVES_PER_NS_MAX)
    later = await connection.fetch(_FILLS, *place, opening.run, opening.seq, FILLS_MAX + 1)
    _bound(book_id, f"fills in position {row['position_id']}", later, FILLS_MAX)
    return [opening, *(_Fill(*each) for each in later)]


async def _events(connection: asyncpg.Connection, book_id: str, ids: list[str]) -> dict[str, list[_Told]]:
    told: dict[str, list[_Told]] = {}
    async with for_any_book(connection):
        found = await connection.fetch(ORDER_RECORDS, book_id, ids)
    for run, seq, kind, _, _, payload in found:
        if kind not in ORDER_TYPES:  # a decision about the order
            continue
        one = _Told(run, seq, Event(kind, msgspec.Raw(payload)))
        told.setdefault(_named(one.event).client_order_id, []).append(one)
    for each in told.values():
        each.sort(key=lambda one: one[:2])
    return told


def _by_age(told: dict[str, list[_Told]]) -> list[str]:
    return sorted(told, key=lambda order_id: told[order_id][0][:2])


def _named(event: Event) -> _Named:
    return msgspec.json.decode(event.body, type=_Named)


def _order(row: Any, told: list[_Told]) -> HeldOrder:
    events = [one.event for one in told]
    return HeldOrder(row["client_order_id"], row["status"], f"{row['filled_quantity']:f}", events)


def _position(row: Any, fills: list[_Fill], told: dict[str, list[_Told]]) -> HeldPosition:
    opened = msgspec.json.decode(row["said"], type=_Opened) if fills else _Opened("0")
    return HeldPosition(
        instrument_id=row["instrument_id"],
        strategy_id=row["strategy_id"],
        position_id=row["position_id"],
        signed_quantity=f"{row['signed_quantity']:f}",
        opened_quantity=opened.last_qty,
        fills=_bodies(fills, told),
    )


def _bodies(fills: list[_Fill], told: dict[str, list[_Told]]) -> list[msgspec.Raw]:
    """Take each trade once, in the order in which the node heard of them."""
    versions = {fill[1:] for fill in fills}
    mine = (one for order_id in {fill.client_order_id for fill in fills} for one in told.get(order_id, ()))
    return [one.event.body for one in sorted(mine, key=lambda one: one[:2]) if one[:2] in versions]


def _account(row: Any) -> HeldAccount:
    return HeldAccount(
        account_id=row["account_id"],
        account_type=row["account_type"],
        base_currency=row["base_currency"],
        balances=msgspec.Raw(row["balances"]),
        margins=msgspec.Raw(row["margins"]),
        reported=row["is_reported"],
        ts_event=row["ts_event"],
    )


def _bound(book_id: str, what: str, rows: list[Any], most: int = ORDERS_MAX) -> None:
    if len(rows) > most:
        raise DatabaseError(f"book {book_id} has more than {most:,} {what}: too many to put back at a start")
