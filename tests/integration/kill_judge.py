"""The judge of a desk that was killed: journal, tables and the exchange's ledger must say the same, order by order.

Three witnesses that know nothing of each other: the exchange's own file, what a subscriber in the node wrote down
before the kill (`kill_trader.Witness`), and the names of the orders, which hold their strategy's tag.
"""

from __future__ import annotations

import re
import socket
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from exchange_ledger import Ledger

from nautilus_ext.persistence.audit import Place, audit, opened

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import asyncpg

BOOK = "PAPER-001.paper"
CLOSED = frozenset({"DENIED", "REJECTED", "CANCELED", "EXPIRED", "FILLED"})
DIFFERENCES_SHOWN_MAX = 40
TIMEOUT_S = 20.0
_TAG = re.compile(r"^O-\d{8}-\d{6}-\d+-(\d{3})-")  # date, second, trader, strategy
_ORDERS = """
    SELECT client_order_id, status, quantity, filled_quantity, strategy_id, venue_order_id
      FROM unified_orders WHERE book_id = $1"""
_FILLS = """
    SELECT client_order_id, trade_id, instrument_id, side, quantity, price, commission, liquidity_side, strategy_id
      FROM unified_fills WHERE book_id = $1"""
_POSITIONS = """
    SELECT instrument_id, sum(signed_quantity) AS held FROM venue_positions
     WHERE book_id = $1 AND side <> 'FLAT' GROUP BY instrument_id"""
# Nautilus itself publishes the state of an account again and again.
_EVENTS = """
    SELECT run, event_id, count(*) FILTER (WHERE type <> 'AccountState') AS times FROM order_events
     WHERE book_id = $1 AND event_id IS NOT NULL GROUP BY run, event_id"""
_ACCOUNTS = "SELECT account_id, balances FROM account_states WHERE book_id = $1"


class Seen(NamedTuple):
    """What was held against each other, so that nobody takes an idle desk for a proof."""

    differences: list[str]
    events: int
    orders: int
    fills: int


def witnessed(folder: Path) -> set[str]:
    """Return the ids of all events that were acknowledged; the last line of a killed node may be half a line."""
    return {
        line.split(" ", 1)[0]
        for path in folder.glob("witness.*")
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    }


async def judge(url: str, data: Path, acknowledged: set[str], *, is_trading: bool = False) -> Seen:
    """Hold everything against everything; while the node trades only what stands still: events, owners, its cache."""
    async with opened(url, TIMEOUT_S, "judge") as connection:
        found = await audited(connection, data)  # it waits until the tables are as far as the node
        events = await connection.fetch(_EVENTS, BOOK)
        orders = {row["client_order_id"]: row for row in await connection.fetch(_ORDERS, BOOK)}
        fills = await connection.fetch(_FILLS, BOOK)
        found += [*_of_events(events, acknowledged), *_of_owners(orders, fills)]
        if not is_trading:
            ledger = Ledger(data / "exchange" / "paper", BOOK)
            found += [
                *_of_orders(orders, ledger),
                *_of_fills(fills, ledger),
                *_of_positions(await connection.fetch(_POSITIONS, BOOK), ledger),
                *_of_balances(await connection.fetch(_ACCOUNTS, BOOK), ledger),
            ]
    return Seen(found, len(events), len(orders), len(fills))


def works_on(data: Path, since_ns: int) -> bool:
    """Whether a node that ended at that moment left orders at the exchange: what became of them, the next one hears."""
    orders = Ledger(data / "exchange" / "paper", BOOK).orders
    return any(each["status"] not in CLOSED or each["ts_last_ns"] > since_ns for each in orders)


async def audited(connection: asyncpg.Connection, data: Path) -> list[str]:
    """What the product's own audit finds; a running node's cache is a part of it."""
    report = await audit(connection, Place(BOOK, data / "journal" / BOOK, socket.gethostname()))
    unproven = [f"audit: {check.name}: {check.text}" for check in report.checks if check.proven is None]
    listed = [f"audit: {finding}" for finding in report.listed]
    return [*unproven, *listed] if report.verdict else []


def _of_events(events: Iterable[Any], acknowledged: set[str]) -> Iterable[str]:
    known = {row["event_id"] for row in events}
    yield from (f"acknowledged and not in the journal: event {each}" for each in sorted(acknowledged - known))
    yield from (f"in the journal {row[2]} times: event {row[1]} of run {row[0]}" for row in events if row["times"] > 1)


def _of_orders(orders: dict[str, Any], ledger: Ledger) -> Iterable[str]:
    """Each order ends in the tables as at the exchange; what never was there has ended, too, and traded nothing."""
    at_exchange = {each["client_order_id"]: each for each in ledger.orders}
    for name, order in at_exchange.items():
        expected = (order["status"], Decimal(order["quantity"]), Decimal(order["filled"]))
        row = orders.get(name)
        found = None if row is None else (row["status"], row["quantity"], row["filled_quantity"])
        if expected != found:
            yield f"order {name}: the exchange has {_words(expected)}, the tables have {_words(found)}"
    for name, row in orders.items():
        if name not in at_exchange and (row["status"] not in CLOSED or row["filled_quantity"]):
            yield f"order {name}: {row['status']}, {row['filled_quantity']} filled, and the exchange has no such order"


def _of_owners(orders: dict[str, Any], fills: Iterable[Any]) -> Iterable[str]:
    owned = [(f"order {name}", name, row["strategy_id"]) for name, row in orders.items()]
    owned += [(f"fill {row['trade_id']}", row["client_order_id"], row["strategy_id"]) for row in fills]
    for what, name, strategy in owned:
        tag = _TAG.match(name)
        if tag is None or not strategy.endswith(f"-{tag[1]}"):
            yield f"{what} of {name} is {strategy}'s"


def _of_fills(rows: Iterable[Any], ledger: Ledger) -> Iterable[str]:
    expected = {
        (each["client_order_id"], each["trade_id"]): (
            each["instrument_id"], each["side"], Decimal(each["quantity"]), Decimal(each["price"]),
            Decimal(each["fee"]), "MAKER" if each["maker"] else "TAKER",
        )
        for each in ledger.fills
    }  # fmt: skip
    found = {(row[0], row[1]): tuple(row)[2:8] for row in rows}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            told = f"the exchange has {_words(expected.get(key))}, the tables have {_words(found.get(key))}"
            yield f"fill {key[1]} of {key[0]}: {told}"


def _of_positions(rows: Iterable[Any], ledger: Ledger) -> Iterable[str]:
    """What all strategies hold of an instrument together is what the fills at the exchange add up to."""
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for fill in ledger.fills:
        sign = 1 if fill["side"] == "BUY" else -1
        expected[fill["instrument_id"]] += sign * Decimal(fill["quantity"])
    for position in ledger.positions:
        if Decimal(position["quantity"]) != expected[position["instrument_id"]]:
            yield f"the exchange's own position differs from its fills: {position}"
    found = {row["instrument_id"]: row["held"] for row in rows}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name, 0) != found.get(name, 0):
            yield f"position {name}: the exchange has {expected.get(name, 0)}, the tables have {found.get(name, 0)}"


def _of_balances(rows: Iterable[Any], ledger: Ledger) -> Iterable[str]:
    expected = {(each["venue"], each["currency"]): Decimal(each["total"]) for each in ledger.balances}
    for row in rows:
        venue = row["account_id"].partition("-")[0]
        for balance in msgspec.json.decode(row["balances"]):
            total = expected.pop((venue, balance["currency"]), Decimal(0))
            if total != Decimal(balance["total"]):
                yield f"{balance['currency']} at {venue}: the exchange has {total}, the tables {balance['total']}"
    yield from (f"{key}: the exchange has {total}, the tables have none" for key, total in expected.items() if total)


def _words(values: tuple[Any, ...] | None) -> str:
    return "none" if values is None else " ".join(str(each) for each in values)


def counted(differences: Iterable[str]) -> str:
    """Return the first ones, one a line, and how many there are of each kind."""
    listed = list(differences)
    kinds = Counter(re.sub(r"\S*\d\S*", "…", each)[:60] for each in listed)
    shown = "\n".join(f"  {each}" for each in listed[:DIFFERENCES_SHOWN_MAX])
    return f"{len(listed)} differences\n{shown}\n  kinds: {dict(kinds)}"
