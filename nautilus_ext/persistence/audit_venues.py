"""What the venues told the running node, beside the tables: orders, fills, net positions, balances, venue by venue.

An event that is on its way makes a difference that the next question does not find again. So what differs is asked for
again, and only what differed each time is wrong. A balance that the cache lacked is wrong at once: the question itself
puts it right.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nautilus_ext.persistence.reading import WORKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

ROUNDS_MAX = 5
ROUND_PAUSE_S = 1.0
PRICE_TOLERANCE = Decimal("1e-6")  # relative: venues round averages, and the engine reckons them in floats

# What never was at a venue is no difference that it lacks there.
_AT_VENUE = sorted(frozenset(WORKING) - {"INITIALIZED", "RELEASED", "EMULATED"})
_OPEN = frozenset({"ACCEPTED", "TRIGGERED", "PENDING_UPDATE", "PENDING_CANCEL", "PARTIALLY_FILLED"})
_ORDERS = """
    SELECT client_order_id, venue_order_id, status, quantity, filled_quantity, average_price FROM unified_orders
     WHERE book_id = $1
       AND (account_id = $2 AND (venue_order_id = ANY($4) OR status = ANY($5)) OR client_order_id = ANY($3))"""
_FILLS = """
    SELECT venue_order_id, trade_id, quantity, price, is_reconciled FROM unified_fills
     WHERE book_id = $1 AND account_id = $2 AND (ts_event >= $3 OR trade_id = ANY($4))"""
_POSITIONS = """
    SELECT instrument_id, sum(signed_quantity) FROM venue_positions
     WHERE book_id = $1 AND account_id = $2 AND side <> 'FLAT' GROUP BY instrument_id"""

_BALANCES = """
    SELECT each->>'currency' AS currency, (each->>'total')::numeric AS total
      FROM account_states, jsonb_array_elements(balances) AS each WHERE book_id = $1 AND account_id = $2"""
_CACHE_TOTAL = "total in the cache"


class VenueOrder(msgspec.Struct, frozen=True, array_like=True):
    client_order_id: str | None
    venue_order_id: str
    status: str
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None


class VenueFill(msgspec.Struct, frozen=True, array_like=True):
    venue_order_id: str
    trade_id: str
    quantity: Decimal
    price: Decimal
    ts_event: int


class VenuePosition(msgspec.Struct, frozen=True, array_like=True):
    """A net position, and every one that the cache had while the venue was asked."""

    instrument_id: str
    quantity: Decimal
    held: list[Decimal]


class VenueBalance(msgspec.Struct, frozen=True, array_like=True):
    """A total, and every one that the cache had while the venue was asked, apart from the answer."""

    currency: str
    total: Decimal
    held: list[Decimal]


class VenueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one client told; `problem` says why it told nothing. A client that knows no balances has None."""

    client: str
    account_id: str
    problem: str
    since_ns: int
    orders: list[VenueOrder] = []
    fills: list[VenueFill] = []
    positions: list[VenuePosition] = []
    balances: list[VenueBalance] | None = None

    @property
    def text(self) -> str:
        counts = (
            (len(self.orders), "order"), (len(self.fills), "fill"), (len(self.positions), "position"),
            (len(self.balances or ()), "balance"),
        )  # fmt: skip
        return ", ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


class Place(NamedTuple):
    """Where a difference is: what is called a table in a finding, the key of the row, the field."""

    table: str
    key: str
    field: str


type Differences = dict[Place, tuple[object, object]]  # what the tables say, what the venue says


async def differences(connection: asyncpg.Connection, book_id: str, told: VenueAnswer) -> tuple[Differences, str]:
    """Hold one client's answer against the tables; the second value says why it does not prove all."""
    found = await _orders(connection, book_id, told)
    fills, silence = await _fills(connection, book_id, told)
    if told.balances is None:
        silence = silence or "its client cannot be asked for balances"
    found |= fills | await _positions(connection, book_id, told) | await _balances(connection, book_id, told)
    return found, silence


def is_decided(found: Differences) -> bool:
    """Asking again can change nothing of it."""
    return all(place.field == _CACHE_TOTAL for place in found)


def lasting(before: Differences, now: Differences) -> Differences:
    """What differs again, and what cannot differ again because it was asked for."""
    cured = {place: both for place, both in before.items() if place.field == _CACHE_TOTAL}
    return {place: now[place] for place in before if place in now} | cured


async def _orders(connection: asyncpg.Connection, book_id: str, told: VenueAnswer) -> Differences:
    own_ids = [each.client_order_id for each in told.orders if each.client_order_id]
    venue_ids = [each.venue_order_id for each in told.orders]
    rows = await connection.fetch(_ORDERS, book_id, told.account_id, own_ids, venue_ids, _AT_VENUE)
    by_venue_id = {row["venue_order_id"]: row for row in rows if row["venue_order_id"]}
    by_own_id = {row["client_order_id"]: row for row in rows}
    found: Differences = {}
    met: set[str] = set()
    for order in told.orders:
        row = by_venue_id.get(order.venue_order_id) or by_own_id.get(order.client_order_id or "")
        if row is None:
            key = f"{order.client_order_id or 'without our id'}/{order.venue_order_id}"
            found[_place(told, "order", key, "row")] = "none", f"only at the venue: {_words(order)}"
        else:
            met.add(row["client_order_id"])
            found |= _order(_place(told, "order", row["client_order_id"], ""), row, order)
    for row in rows:
        if row["status"] in _AT_VENUE and row["client_order_id"] not in met:
            words = f"{row['status']}, {row['filled_quantity']} of {row['quantity']} filled"
            found[_place(told, "order", row["client_order_id"], "row")] = words, "not among the venue's orders"
    return found


def _order(place: Place, row: asyncpg.Record, told: VenueOrder) -> Differences:
    found: Differences = {}
    if _standing(row["status"]) != _standing(told.status):
        found[place._replace(field="status")] = row["status"], told.status
    for field, told_value in (("quantity", told.quantity), ("filled_quantity", told.filled)):
        if row[field] != told_value:
            found[place._replace(field=field)] = row[field], told_value
    if told.average_price is not None and not _agree(row["average_price"], told.average_price):
        found[place._replace(field="average_price")] = row["average_price"], told.average_price
    return found


async def _fills(connection: asyncpg.Connection, book_id: str, told: VenueAnswer) -> tuple[Differences, str]:
    """A fill that reconciliation made up stands for one that the node missed: the order's own row is compared."""
    trade_ids = [each.trade_id for each in told.fills]
    rows = await connection.fetch(_FILLS, book_id, told.account_id, told.since_ns, trade_ids)
    reconciled = {row["venue_order_id"] for row in rows if row["is_reconciled"]}
    known = {(row["venue_order_id"], row["trade_id"]): row for row in rows if not row["is_reconciled"]}
    if known and not told.fills:
        return {}, f"it tells of no fill, and the tables have {len(known):,}"
    found: Differences = {}
    for fill in told.fills:
        key = f"{fill.venue_order_id}/{fill.trade_id}"
        row = known.pop((fill.venue_order_id, fill.trade_id), None)
        if row is None and fill.venue_order_id not in reconciled:
            words = f"only at the venue: {fill.quantity} at {fill.price}"
            found[_place(told, "fill", key, "row")] = "none", words
        elif row is not None and (row["quantity"], row["price"]) != (fill.quantity, fill.price):
            both = (f"{row['quantity']} at {row['price']}", f"{fill.quantity} at {fill.price}")
            found[_place(told, "fill", key, "quantity and price")] = both
    for (venue_order_id, trade_id), row in known.items():
        words = f"{row['quantity']} at {row['price']}"
        found[_place(told, "fill", f"{venue_order_id}/{trade_id}", "row")] = words, "not among the venue's fills"
    return found, ""


async def _positions(connection: asyncpg.Connection, book_id: str, told: VenueAnswer) -> Differences:
    """The tables are compared with the cache at its own event: here what the cache held counts, whatever came later."""
    rows = dict(map(tuple, await connection.fetch(_POSITIONS, book_id, told.account_id)))
    found: Differences = {}
    for position in told.positions:
        stored = rows.get(position.instrument_id, Decimal(0))
        if position.quantity not in position.held or (len(position.held) == 1 and position.quantity != stored):
            words = f"tables {stored}, cache {_either(position.held)}"
            found[_place(told, "position", position.instrument_id, "net quantity")] = words, position.quantity
    return found


async def _balances(connection: asyncpg.Connection, book_id: str, told: VenueAnswer) -> Differences:
    """The row is that of the newest event, which may speak of some currencies only, as a venue's stream does."""
    rows = dict(map(tuple, await connection.fetch(_BALANCES, book_id, told.account_id)))
    found: Differences = {}
    for balance in told.balances or ():
        if balance.total not in balance.held:
            found[_place(told, "balance", balance.currency, _CACHE_TOTAL)] = _either(balance.held), balance.total
        stored = rows.get(balance.currency, balance.total)
        if len(balance.held) == 1 and stored not in (balance.total, *balance.held):
            found[_place(told, "balance", balance.currency, "total in the tables")] = stored, balance.total
    return found


def _place(told: VenueAnswer, kind: str, key: str, field: str) -> Place:
    return Place(f"{told.client} {kind}", key, field)


def _standing(status: str) -> str:
    """An order that works is called otherwise by the venue and the engine while a command is on its way."""
    return "working" if status in _OPEN else status


def _agree(ours: Decimal | None, theirs: Decimal) -> bool:
    return ours is not None and abs(ours - theirs) <= abs(theirs) * PRICE_TOLERANCE


def _words(order: VenueOrder) -> str:
    return f"{order.status}, {order.filled} of {order.quantity} filled"


def _either(values: Iterable[Decimal]) -> str:
    return " or ".join(str(each) for each in values)
