"""Holds an exchange's ledger against what a client was told, and against itself.

An independent witness, on purpose: it counts orders, money and positions again from the fills alone, with formulas of
its own, and uses nothing of the exchange's accounting nor of what compares the ledger with a node's cache.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from exchange_ledger import at

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import Filled

if TYPE_CHECKING:
    from exchange_client import RawClient
    from exchange_ledger import Ledger, Row

    from nautilus_ext.simulation.market import Listing
    from nautilus_ext.simulation.world import World

CENT_OF_A_CENT = Decimal("1e-8")  # money is rounded to it, half even


def items_of(ledger: Ledger, client: RawClient) -> dict[int, Any]:
    rows = at(ledger.stream, client.venue, client.account)
    items = [msgspec.msgpack.decode(row["body"], type=wire.StreamItem) for row in rows]
    assert [item.seq for item in items] == [row["seq"] for row in rows]
    return {item.seq: item.event for item in items}


def keeps_its_word(ledger: Ledger, client: RawClient) -> None:
    """What the client was answered, and what it saw, stands in the ledger; what was refused does not."""
    orders = {row["client_order_id"]: row for row in at(ledger.orders, client.venue, client.account)}
    fills = {row["trade_id"]: row for row in at(ledger.fills, client.venue, client.account)}
    items = items_of(ledger, client)
    assert list(items) == list(range(1, len(items) + 1)), "the stream's numbers have a gap"
    for number, answer in client.answers.items():
        request = client.sent[number]
        if isinstance(request, wire.Place):
            ids = [order.client_order_id for order in request.orders]
            if isinstance(answer, wire.Done):
                assert [each for each in ids if each not in orders] == [], "answered, and not there"
            elif answer.code != "DUPLICATE_ID":
                assert [each for each in ids if each in orders] == [], "refused, and there"
        if isinstance(request, wire.Cancel) and isinstance(answer, wire.Done):
            assert orders[request.client_order_id]["status"] in ("CANCELED", "FILLED")
    for seq, event in client.items.items():
        assert items.get(seq) == event, f"item {seq} was seen otherwise"
        if isinstance(event, Filled):
            row, fill = fills[event.fill.trade_id], event.fill
            seen = (str(fill.quantity), str(fill.price), str(fill.fee), fill.side, fill.client_order_id)
            assert seen == (row["quantity"], row["price"], row["fee"], row["side"], row["client_order_id"])


def adds_up(ledger: Ledger, world: World) -> None:
    """Orders, balances and positions are what the fills make of the beginning; no id or number is there twice."""
    listings = {listing.instrument_id: listing for listing in world.market.listings}
    filled: dict[tuple, Decimal] = defaultdict(Decimal)
    for fill in ledger.fills:
        filled[fill["venue"], fill["venue_order_id"]] += Decimal(fill["quantity"])
    for order in ledger.orders:
        key = (order["venue"], order["venue_order_id"])
        assert Decimal(order["filled"]) == filled.pop(key, Decimal(0)), order
        assert (order["status"] == "FILLED") == (Decimal(order["filled"]) == Decimal(order["quantity"])), order
    assert not filled, "fills of orders that are not there"
    for name in ("client_order_id", "venue_order_id"):
        ids = [(order["venue"], order["account"], order[name]) for order in ledger.orders]
        assert len(set(ids)) == len(ids)
    assert len({(fill["venue"], fill["trade_id"]) for fill in ledger.fills}) == len(ledger.fills)
    for account in ledger.accounts:
        _account_adds_up(ledger, account, listings)


def _account_adds_up(ledger: Ledger, account: Row, listings: dict[str, Listing]) -> None:
    mine = (account["venue"], account["account"])
    money: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in msgspec.json.decode(account["starting_balances"]).items():
        money[currency] += Decimal(amount)
    held: dict[str, Decimal] = defaultdict(Decimal)
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for fill in at(ledger.fills, *mine):
        listing = listings[fill["instrument_id"]]
        sign = 1 if fill["side"] == "BUY" else -1
        quantity, price = sign * Decimal(fill["quantity"]), Decimal(fill["price"])
        money[fill["fee_currency"]] -= Decimal(fill["fee"])
        if listing.kind == "spot":
            money[listing.base] += quantity * listing.multiplier
            money[listing.quote] -= quantity * price * listing.multiplier
        else:
            assert listing.kind == "linear", "the recount of an inverse contract is not written"
            held[fill["instrument_id"]] += quantity
            paid[fill["instrument_id"]] += quantity * price * listing.multiplier
    for row in at(ledger.positions, *mine):
        name = row["instrument_id"]
        assert Decimal(row["quantity"]) == held.pop(name), row
        assert Decimal(row["realized"]) - Decimal(row["cost"]) == -paid.pop(name), row
        money[listings[name].quote] += Decimal(row["realized"]).quantize(CENT_OF_A_CENT)
    assert not held, "fills without a position"
    found = {row["currency"]: Decimal(row["total"]) for row in at(ledger.balances, *mine)}
    assert found == {currency: amount for currency, amount in money.items() if currency in found}, mine
    assert all(amount == 0 for currency, amount in money.items() if currency not in found), mine
