"""Reads the exchange's ledger as any stranger could, and holds it against what a client was told and against itself."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import Filled
from nautilus_ext.simulation.server.ledger import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from exchange_client import RawClient

    from nautilus_ext.simulation.market import Listing
    from nautilus_ext.simulation.world import World

CENT_OF_A_CENT = Decimal("1e-8")  # money is rounded to it, half even


class Witness:
    """One reading of a ledger. Opened beside the server, or after it was killed."""

    def __init__(self, folder: Path) -> None:
        with closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as sql:
            sql.row_factory = sqlite3.Row
            sql.execute("BEGIN")  # one moment for all tables
            self.orders = self._rows(sql, "orders ORDER BY number")
            self.fills = self._rows(sql, "fills ORDER BY number")
            self.balances = self._rows(sql, "balances")
            self.positions = self._rows(sql, "positions")
            self.accounts = self._rows(sql, "accounts")
            self.stream = self._rows(sql, "stream ORDER BY account_id, seq")

    def _rows(self, sql: sqlite3.Connection, what: str) -> list[dict[str, Any]]:
        return [dict(row) for row in sql.execute(f"SELECT * FROM {what}")]

    def of(self, rows: list[dict[str, Any]], client: RawClient) -> list[dict[str, Any]]:
        return [row for row in rows if (row["venue"], row["account"]) == (client.venue, client.account)]

    def items(self, client: RawClient) -> dict[int, Any]:
        account = next((each for each in self.of(self.accounts, client)), None)
        if account is None:
            return {}
        rows = [row for row in self.stream if row["account_id"] == account["id"]]
        items = [msgspec.msgpack.decode(row["body"], type=wire.StreamItem) for row in rows]
        assert [item.seq for item in items] == [row["seq"] for row in rows]
        return {item.seq: item.event for item in items}


def keeps_its_word(witness: Witness, client: RawClient) -> None:
    """What the client was answered, and what it saw, stands in the ledger; what was refused does not."""
    orders = {row["client_order_id"]: row for row in witness.of(witness.orders, client)}
    fills = {row["trade_id"]: row for row in witness.of(witness.fills, client)}
    items = witness.items(client)
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


def adds_up(witness: Witness, world: World) -> None:
    """Orders, balances and positions are what the fills make of the beginning; no id or number is there twice."""
    listings = {listing.instrument_id: listing for listing in world.market.listings}
    filled: dict[tuple, Decimal] = defaultdict(Decimal)
    for fill in witness.fills:
        filled[fill["venue"], fill["venue_order_id"]] += Decimal(fill["quantity"])
    for order in witness.orders:
        key = (order["venue"], order["venue_order_id"])
        assert Decimal(order["filled"]) == filled.pop(key, Decimal(0)), order
        assert (order["status"] == "FILLED") == (Decimal(order["filled"]) == Decimal(order["quantity"])), order
    assert not filled, "fills of orders that are not there"
    for name in ("client_order_id", "venue_order_id"):
        ids = [(order["venue"], order["account"], order[name]) for order in witness.orders]
        assert len(set(ids)) == len(ids)
    assert len({(fill["venue"], fill["trade_id"]) for fill in witness.fills}) == len(witness.fills)
    for account in witness.accounts:
        _account_adds_up(witness, account, listings)


def _account_adds_up(witness: Witness, account: dict[str, Any], listings: dict[str, Listing]) -> None:
    mine = (account["venue"], account["account"])
    money: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in msgspec.json.decode(account["starting_balances"]).items():
        money[currency] += Decimal(amount)
    held: dict[str, Decimal] = defaultdict(Decimal)
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for fill in (row for row in witness.fills if (row["venue"], row["account"]) == mine):
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
    for row in (row for row in witness.positions if (row["venue"], row["account"]) == mine):
        name = row["instrument_id"]
        assert Decimal(row["quantity"]) == held.pop(name), row
        assert Decimal(row["realized"]) - Decimal(row["cost"]) == -paid.pop(name), row
        money[listings[name].quote] += Decimal(row["realized"]).quantize(CENT_OF_A_CENT)
    assert not held, "fills without a position"
    found = {
        row["currency"]: Decimal(row["total"]) for row in witness.balances if (row["venue"], row["account"]) == mine
    }
    assert found == {currency: amount for currency, amount in money.items() if currency in found}, mine
    assert all(amount == 0 for currency, amount in money.items() if currency not in found), mine
