"""One node on the simulated exchange with all that is around it: peers at each venue, and what the exchange wrote."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from exchange_client import INVERSE, PERP, SPOT, LinkLost, welcomed
from exchange_ledger import Ledger
from exchange_node import exchange_folder
from exchange_staff import Staff

from nautilus_ext.simulation.faults import Faults
from nautilus_ext.simulation.server.address import read_address

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from exchange_ledger import Row
    from exchange_node import ExchangeNode

    from nautilus_ext.simulation.server.address import Address

AGREE_S = 10.0
CLIENT = "clients['SIM2']"
GRID = {PERP: ("0.1", "0.001"), SPOT: ("0.01", "0.00001"), INVERSE: ("0.1", "1")}  # tick, lot


class Lab:
    def __init__(self, node: ExchangeNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.peers = {venue: Staff(venue) for venue in ("SIM1", "SIM2", "SIM3")}
        self.peer = self.peers["SIM2"]
        self.meet()

    # -- the exchange -------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        address = read_address(exchange_folder(self.folder))
        if address is None:
            raise LinkLost("no exchange has been here")
        return address

    def meet(self) -> None:
        """Peers at each venue, also after the exchange has ended and come back."""
        deadline_s = time.monotonic() + AGREE_S
        while True:
            try:
                for peer in self.peers.values():
                    welcomed(peer.connect(self.address))
            except (OSError, LinkLost):
                assert time.monotonic() < deadline_s, "the exchange does not come back"
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        for peer in self.peers.values():
            peer.close()

    def another_peer(self) -> Staff:
        peer = Staff("SIM2")
        welcomed(peer.connect(self.address))
        return peer

    def faults(self, **fields: Any) -> None:
        self.peer.set_faults(Faults(**fields))

    def trade(self, side: str, quantity: str, price: str) -> None:
        self.peer.take(PERP, side, Decimal(quantity), Decimal(price))

    def book(self, instrument: str = PERP) -> tuple[list, list]:
        """Bids and asks: (price, quantity), best first."""
        tick, lot = map(Decimal, GRID[instrument])
        book = self.peers[instrument[-4:]].book(instrument)
        bids, asks = ([(ticks * tick, lots * lot) for ticks, lots in side] for side in (book.bids, book.asks))
        return bids, asks

    def bid(self, below: str = "0", instrument: str = PERP) -> str:
        return str(self.book(instrument)[0][0][0] - Decimal(below))

    def ask(self, above: str = "0", instrument: str = PERP) -> str:
        return str(self.book(instrument)[1][0][0] + Decimal(above))

    # -- the node -----------------------------------------------------------------------------------

    def send(self, *args: str, **more: object) -> str:
        given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in more.items())])
        return self.node(f"hand.send({given})")

    def becomes(self, client_order_id: str, status: str) -> None:
        self.node.until(f"hand.status({client_order_id!r}) == {status!r}")

    def events(self, client_order_id: str) -> list[str]:
        return [each.removeprefix("Order") for each in self.node(f"hand.events({client_order_id!r})")][1:]

    def reasons(self, client_order_id: str) -> list[str]:
        return self.node(f"hand.reasons({client_order_id!r})")

    # -- the ledger, and both -----------------------------------------------------------------------

    def ledger(self, account: str = "TEST-001") -> Ledger:
        return Ledger(exchange_folder(self.folder), account)

    def written(self, client_order_id: str) -> Row | None:
        """The order as the exchange wrote it down, if it did."""
        return next((row for row in self.ledger().orders if row["client_order_id"] == client_order_id), None)

    def held(self, account: str = "TEST-001") -> Decimal:
        """The account's position in PERP, as the exchange wrote it down."""
        rows = self.ledger(account).positions
        return sum((Decimal(row["quantity"]) for row in rows if row["instrument_id"] == PERP), Decimal(0))

    def differences(self) -> list[str]:
        """Between the node's cache and the exchange's ledger: orders, fills, fees, positions, money."""
        return self.node("differences()")

    def settled(self) -> list[str]:
        """The differences that stay, and what the node said: none when both are the same in time."""
        deadline_s = time.monotonic() + AGREE_S
        while differences := self.differences():
            if time.monotonic() > deadline_s:
                return [*differences, self.node.said()[-3_000:]]
            time.sleep(0.05)
        return []
