"""One node on the simulated exchange with all that is around it: peers at each venue, and what the exchange wrote."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

from exchange_node import INVERSE, PERP, SPOT, ExchangeNode, Ledger, Peer

from nautilus_ext.simulation import wire

if TYPE_CHECKING:
    from pathlib import Path

AGREE_S = 10.0
CLIENT = "clients['SIM2']"


class Desk:
    """One node, a peer at each venue, and what the exchange has written down."""

    def __init__(self, node: ExchangeNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.ledger = Ledger(folder)
        self._meet()

    def _meet(self) -> None:
        self.peers = {venue: Peer(self.folder, venue) for venue in ("SIM1", "SIM2", "SIM3")}
        self.peer = self.peers["SIM2"]

    def meet_again(self) -> None:
        """After the exchange has ended and come back."""
        deadline_s = time.monotonic() + AGREE_S
        while True:
            try:
                self.peer.ask(wire.GetAccount)
            except (OSError, ConnectionError):
                self.close()
            else:
                return
            try:
                self._meet()
            except OSError:
                assert time.monotonic() < deadline_s, "the exchange does not come back"
                time.sleep(0.05)

    def close(self) -> None:
        for peer in self.peers.values():
            peer.__exit__()

    def book(self, instrument: str = PERP) -> tuple[list, list]:
        """Bids and asks: (price, quantity), best first."""
        tick, lot = {PERP: ("0.1", "0.001"), SPOT: ("0.01", "0.00001"), INVERSE: ("0.1", "1")}[instrument]
        book = self.peers[instrument[-4:]].ask(wire.GetBook, instrument_id=instrument).book
        return tuple(
            [(ticks * Decimal(tick), lots * Decimal(lot)) for ticks, lots in side] for side in (book.bids, book.asks)
        )

    def bid(self, below: str = "0", instrument: str = PERP) -> str:
        return str(self.book(instrument)[0][0][0] - Decimal(below))

    def ask(self, above: str = "0", instrument: str = PERP) -> str:
        return str(self.book(instrument)[1][0][0] + Decimal(above))

    def send(self, *args: str, **more: object) -> str:
        given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in more.items())])
        return self.node(f"hand.send({given})")

    def becomes(self, client_order_id: str, status: str) -> None:
        self.node.until(f"hand.status({client_order_id!r}) == {status!r}")

    def events(self, client_order_id: str) -> list[str]:
        return [each.removeprefix("Order") for each in self.node(f"hand.events({client_order_id!r})")][1:]

    def reasons(self, client_order_id: str) -> list[str]:
        return self.node(f"hand.reasons({client_order_id!r})")

    def agrees(self) -> None:
        """The node's cache equals the exchange's ledger: orders, fills, fees, positions, money."""
        deadline_s = time.monotonic() + AGREE_S
        while differences := self.differences():
            assert time.monotonic() < deadline_s, "\n".join([*differences, self.node.said()[-3_000:]])
            time.sleep(0.05)

    def differences(self) -> list[str]:
        found = []
        cached = {each["venue_id"]: each for each in self.node("hand.orders()") if each["venue_id"]}
        fees: dict[str, dict[str, Decimal]] = {}
        for row in self.ledger.fills():
            own = fees.setdefault(row["venue_order_id"], {})
            own[row["fee_currency"]] = own.get(row["fee_currency"], Decimal(0)) + Decimal(row["fee"])
        for row in self.ledger.orders().values():
            own = cached.pop(row["venue_order_id"], None)
            if row["status"] == "REJECTED":
                continue
            if own is None:
                found.append(f"not in the cache: {row}")
                continue
            told = {name: row[name] for name in ("status", "trades")} | {"filled": Decimal(row["filled"])}
            known = {"status": own["status"], "trades": own["trades"], "filled": Decimal(own["filled"])}
            paid = {name: Decimal(amount) for name, amount in own["fees"].items()}
            if told != known or Decimal(row["quantity"]) != Decimal(own["quantity"]):
                found.append(f"ledger {row}, cache {own}")
            if paid != fees.get(row["venue_order_id"], {}):
                found.append(f"fees {own}: ledger {fees.get(row['venue_order_id'])}")
        found += [f"only in the cache: {each}" for each in cached.values()]
        return found + self.account_differences()

    def account_differences(self) -> list[str]:
        found = []
        derivatives = {name: amount for name, amount in self.node("hand.positions()").items() if "PERP" in name}
        if derivatives != self.ledger.positions():
            found.append(f"positions {derivatives}, ledger {self.ledger.positions()}")
        cached = {
            account: {currency: [*map(Decimal, pair)] for currency, pair in balances.items()}
            for account, balances in self.node("hand.balances()").items()
        }
        if cached != self.ledger.balances():
            found.append(f"balances {cached}, ledger {self.ledger.balances()}")
        return found


def new_folder(parent: Path) -> Path:
    folder = parent / f"exchange-{uuid4().hex[:12]}"
    folder.mkdir()
    return folder
