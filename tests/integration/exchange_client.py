"""The one raw client of the simulated exchange: it follows the rules of its wire, and remembers all that it was told.

Beside it what its tests need: a folder for an exchange whose market stands still, orders to send, answers to expect.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.exchange.orders import AccountTerms, NewOrder
from nautilus_ext.simulation.server.address import ADDRESS_FILE, LOG_FILE, lives, read_address
from nautilus_ext.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nautilus_ext.simulation.exchange.orders import Event
    from nautilus_ext.simulation.server.address import Address

SPOT, PERP, INVERSE = "BTCUSDT.SIM1", "BTCUSDT-PERP.SIM2", "BTCUSD-PERP.SIM3"
START_S = 15.0
SOON_S = 5.0
ANSWER_TIMEOUT_S = 5.0
READ_BYTES = 262_144
STARTING = {"USDT": Decimal(10_000_000), "BTC": Decimal(100)}
FAR = Decimal(30_000)  # from the market: it rests


@contextmanager
def exchange_in(parent: Path) -> Iterator[Path]:
    """Lend the path of a folder for an exchange; what runs there at the end is ended."""
    folder = parent / f"exchange-{uuid4().hex[:12]}"
    yield folder
    for address_file in folder.rglob(ADDRESS_FILE):
        end_server(address_file.parent, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def end_server(folder: Path, how: signal.Signals) -> None:
    """Send the signal to the folder's server, if one lives, and wait until it is gone."""
    address = read_address(folder)
    if address is None or not lives(address):
        return
    os.kill(address.pid, how)
    give_up_s = time.monotonic() + ANSWER_TIMEOUT_S
    while lives(address):  # not psutil's wait: somebody else reaps it, and may take a second
        assert time.monotonic() < give_up_s, f"still alive after {how.name}"
        time.sleep(0.002)


def is_dead(address: Address) -> bool:
    return not lives(address)


def log_of(folder: Path) -> str:
    return (folder / LOG_FILE).read_text()


def faults_told(folder: Path) -> Counter[str]:
    """All that ever happened by the server's log: its own count begins anew with each restart."""
    log = "".join(path.read_text() for path in folder.glob(f"{LOG_FILE}*"))
    return Counter(re.findall(r" fault \d+ at \w+: (\w+) ", log))


def quiet_world(**given: Any) -> World:
    """Its market makes the first step at the start, and the next ones when a test asks for them."""
    return World(market=default_market(seed=3, interval_ms=60_000), **({"linger_s": 20.0} | given))


def limit(name: str, price: Decimal | None = FAR, **given: Any) -> NewOrder:
    fields = {"instrument_id": SPOT, "side": "BUY", "type": "LIMIT", "quantity": Decimal("0.1"), "price": price}
    return NewOrder(client_order_id=name, **(fields | given))


def market_order(name: str, **given: Any) -> NewOrder:
    return limit(name, type="MARKET", **({"price": None} | given))


def welcomed(answer: wire.Answer | None) -> wire.Welcome:
    assert isinstance(answer, wire.Welcome), answer
    return answer


def refused(answer: wire.Answer | None) -> str:
    assert isinstance(answer, wire.Refused), answer
    return answer.code


class LinkLost(Exception):
    """The connection is gone: what was not answered may have happened or not."""


@dataclass
class RawClient:
    """One account at one venue. Non-blocking writes and reads; nothing is concluded from silence."""

    venue: str
    account: str
    kind: str = "CASH"
    money: dict[str, Decimal] = field(default_factory=lambda: STARTING)
    session: str = field(default_factory=lambda: uuid4().hex)
    answers: dict[int, wire.Answer] = field(default_factory=dict)
    sent: dict[int, wire.Request] = field(default_factory=dict)
    items: dict[int, Event] = field(default_factory=dict)  # as they came, in any order
    last_seq: int = 0  # the last without a gap before it
    beat_seq: int = 0  # the last number that a heartbeat or a Welcome named
    beats: int = 0  # heartbeats
    twice: int = 0  # answers and items that came again
    unasked: list[wire.Message] = field(default_factory=list)
    resumed_at: int = -1
    lost: int = 0  # requests of former connections that were never answered

    def __post_init__(self) -> None:
        self._socket: socket.socket | None = None
        self._framer = wire.server_framer()
        self._unsent = bytearray()
        self._request = 0

    @property
    def terms(self) -> AccountTerms:
        leverage = Decimal(10) if self.kind == "MARGIN" else Decimal(1)
        return AccountTerms(account=self.account, kind=self.kind, starting_balances=self.money, leverage=leverage)

    # -- the link -----------------------------------------------------------------------------------

    def connect(self, address: Address, **changes: Any) -> Any:
        """Say Hello; go on with the stream where it was left."""
        self.close()
        self._socket = socket.create_connection((address.host, address.port), ANSWER_TIMEOUT_S)
        self._socket.setblocking(False)
        self._framer = wire.server_framer()
        self._unsent.clear()
        self.lost = len(self.sent) - len(self.answers)
        fields = {
            "session": self.session,
            "venue": self.venue,
            "terms": self.terms,
            "resume_after": self.last_seq or None,
        }
        answer = self.ask(wire.Hello, **(fields | changes))
        if isinstance(answer, wire.Welcome):
            self.last_seq = self.last_seq or answer.seq
            self.beat_seq = answer.seq
        return answer

    @property
    def unanswered(self) -> int:
        """On this connection; what was not answered before it is lost for good."""
        return len(self.sent) - len(self.answers) - self.lost

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    # -- requests -----------------------------------------------------------------------------------

    def send(self, kind: type[wire.Request], **fields: Any) -> int:
        """Send without waiting; the number by which its answer is known."""
        self._request += 1
        request = kind(request=self._request, **fields)
        self.sent[self._request] = request
        self._unsent += wire.frame(request)
        return self._request

    def ask(self, kind: type[wire.Request], timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any) -> Any:
        """Send and wait; None when no answer came in time."""
        number = self.send(kind, **fields)
        self.wait(lambda: number in self.answers, timeout_s)
        return self.answers.get(number)

    def done(self, kind: type[wire.Request], **fields: Any) -> wire.Done:
        """Send and wait; whatever else than Done comes fails the test."""
        answer = self.ask(kind, **fields)
        assert isinstance(answer, wire.Done), answer
        return answer

    def control(self, action: str, **fields: Any) -> wire.Done:
        return self.done(wire.Control, **({"venue": self.venue, "action": action} | fields))

    def wait(self, until: Callable[[], object], timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not until():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self.pump(min(left_s, 0.05))
        return True

    def pump(self, timeout_s: float = 0.0) -> None:
        """Write what can be written, read what has come. LinkLost when the server is gone."""
        if self._socket is None:
            raise LinkLost("not connected")
        try:
            writing = [self._socket] if self._unsent else []
            readable, writable, _ = select.select([self._socket], writing, [], timeout_s)
            if writable:
                del self._unsent[: self._socket.send(self._unsent)]
            if readable:
                self._read(self._socket.recv(READ_BYTES))
        except OSError as error:
            self.close()
            raise LinkLost(f"{error}") from error

    def _read(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("closed by the server")
        for message in self._framer.feed(data):
            self._take(message)

    # -- what comes ---------------------------------------------------------------------------------

    def _take(self, message: wire.Message) -> None:
        if isinstance(message, wire.Answer):
            self._take_answer(message)
        elif isinstance(message, wire.StreamItem):
            self._take_item(message)
        elif isinstance(message, wire.Heartbeat):
            self.beats += 1
            self.beat_seq = max(self.beat_seq, message.seq)
            self._ask_for_missing()
        else:
            self.unasked.append(message)

    def _take_answer(self, answer: wire.Answer) -> None:
        if answer.request in self.answers:
            assert self.answers[answer.request] == answer, "two different answers to one request"
            self.twice += 1
        self.answers[answer.request] = answer

    def _take_item(self, item: wire.StreamItem) -> None:
        if item.seq in self.items:
            assert self.items[item.seq] == item.event, f"item {item.seq} came again with another content"
            self.twice += 1
        self.items[item.seq] = item.event
        while self.last_seq + 1 in self.items:
            self.last_seq += 1

    def _ask_for_missing(self) -> None:
        """Once a heartbeat, and only while the gap stays where it is: what is late may still come."""
        if self.last_seq < self.beat_seq:
            if self.resumed_at == self.last_seq:
                self.send(wire.Resume, after=self.last_seq)
            self.resumed_at = self.last_seq

    @property
    def events(self) -> list[Event]:
        """In order, up to the first gap."""
        return [self.items[seq] for seq in range(min(self.items, default=1), self.last_seq + 1)]
