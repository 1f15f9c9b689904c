"""A hand at the exchange that is not a Nautilus client: it pauses the market, moves prices, and sets faults.

Plain blocking sockets: each call returns when the exchange has done it.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import AccountTerms, NewOrder

if TYPE_CHECKING:
    from nautilus_ext.simulation.faults import Faults

ANSWER_TIMEOUT_S = 5.0
CHUNK_BYTES = 65_536
ENDLESS = {"USDT": Decimal(10_000_000), "BTC": Decimal(1_000)}


class RawClient:
    """One connection, one request at a time. What comes unasked is dropped."""

    def __init__(self, address: tuple[str, int], *, session: str, **hello: Any) -> None:
        self._socket = socket.create_connection(address, ANSWER_TIMEOUT_S)
        self._framer = wire.server_framer()
        self._numbers = count(1)
        self.welcome = self.ask(wire.Hello, session=session, **hello)
        assert isinstance(self.welcome, wire.Welcome), self.welcome

    def ask(self, request: type[wire.Request], **fields: Any) -> Any:
        number = next(self._numbers)
        self._socket.sendall(wire.frame(request(request=number, **fields)))
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline_s:
            data = self._socket.recv(CHUNK_BYTES)
            assert data, f"the exchange closed the connection instead of answering {request.__name__}"
            for message in self._framer.feed(data):
                if isinstance(message, wire.Answer) and message.request == number:
                    return message
        raise TimeoutError(f"no answer to {request.__name__} within {ANSWER_TIMEOUT_S} s")

    def wait_for_heartbeat(self) -> None:
        self.ask(wire.GetAccount)  # what came before its answer is history
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if any(isinstance(each, wire.Heartbeat) for each in self._framer.feed(self._socket.recv(CHUNK_BYTES))):
                return
        raise TimeoutError(f"no heartbeat within {ANSWER_TIMEOUT_S} s")

    def done(self, request: type[wire.Request], **fields: Any) -> Any:
        answer = self.ask(request, **fields)
        assert isinstance(answer, wire.Done), answer
        return answer

    def close(self, *, bye: bool = False) -> None:
        if bye:
            self.done(wire.Bye)
        self._socket.close()


class Staff:
    """Somebody with an account of his own at one venue, and the keys to the machine room."""

    def __init__(self, address: tuple[str, int], venue: str, account: str = "STAFF") -> None:
        self.venue = venue
        self._faults_before: Counter[str] = Counter()
        terms = AccountTerms(account=account, kind="MARGIN", starting_balances=ENDLESS, leverage=Decimal(10))
        self.client = RawClient(address, session=f"{account}-{time.time_ns()}", venue=venue, terms=terms)

    def close(self) -> None:
        self.client.done(wire.CancelAll)
        self.client.close()

    # -- the market -----------------------------------------------------------------------------------

    def control(self, action: str, **fields: Any) -> wire.Done:
        return self.client.done(wire.Control, venue=self.venue, action=action, **fields)

    def set_faults(self, faults: Faults) -> None:
        self._faults_before = Counter(self.control("faults", faults=msgspec.json.encode(faults)).faults)

    def faults_seen(self) -> dict[str, int]:
        """How often each fault has happened since they were set."""
        return dict(Counter(self.control("faults").faults) - self._faults_before)

    def touch(self, instrument_id: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Best bid and best ask as (ticks, lots)."""
        book = self.book(instrument_id, depth=1)
        return book.bids[0], book.asks[0]

    def book(self, instrument_id: str, depth: int = 0) -> wire.BookLevels:
        return self.client.ask(wire.GetBook, instrument_id=instrument_id, depth=depth).book

    # -- orders ---------------------------------------------------------------------------------------

    def place(self, instrument_id: str, side: str, quantity: Decimal, price: Decimal | None = None, **more: Any) -> str:
        name = f"STAFF-{time.time_ns()}"
        order = {
            "client_order_id": name,
            "instrument_id": instrument_id,
            "side": side,
            "type": "MARKET" if price is None else "LIMIT",
            "quantity": quantity,
            "price": price,
        }
        self.client.done(wire.Place, orders=(msgspec.convert(order | more, NewOrder),))
        return name

    def cancel_all(self) -> None:
        self.client.done(wire.CancelAll)
