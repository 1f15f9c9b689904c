"""Trades over the raw wire, kills the server at a random moment, and looks at what is left."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from exchange_client import PERP, SPOT, START_S, LinkLost, RawClient, welcomed
from exchange_ledger import Ledger
from exchange_recount import adds_up, keeps_its_word

from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.exchange.orders import OPEN, AccountChanged, NewOrder
from nautilus_ext.simulation.server import launch
from nautilus_ext.simulation.world import World

if TYPE_CHECKING:
    from pathlib import Path

LIFE_S = (0.02, 0.25)
KILLS_PER_EXCHANGE = 10
PIPELINED_MAX = 200  # requests without an answer, per client


def brisk_world(**given: object) -> World:
    """Moves every 5 ms: resting orders fill by themselves."""
    return World(market=default_market(seed=11, interval_ms=5), linger_s=30.0, **given)


class Trader:
    """Sends random orders; knows from the stream which of its own are open."""

    def __init__(self, client: RawClient, instrument_id: str, rnd: random.Random) -> None:
        self.client = client
        self._instrument_id = instrument_id
        self._rnd = rnd
        self._tick = Decimal("0.01") if instrument_id == SPOT else Decimal("0.1")
        self._count = 0
        self._mid = 0

    def look(self) -> None:
        answer = self.client.ask(wire.GetBook, instrument_id=self._instrument_id, depth=1)
        assert isinstance(answer, wire.BookSnapshot)
        self._mid = (answer.book.bids[0][0] + answer.book.asks[0][0]) // 2

    def act(self) -> None:
        if self.client.unanswered > PIPELINED_MAX:
            return
        drawn = self._rnd.random()
        if drawn < 0.7 or not self._count:
            self.client.send(wire.Place, orders=tuple(self._order() for _ in range(self._rnd.choice((1, 1, 1, 3)))))
        elif drawn < 0.9:
            self.client.send(wire.Cancel, client_order_id=self._some_id())
        elif drawn < 0.99:
            self.client.send(wire.Modify, client_order_id=self._some_id(), price=str(self._price()))
        else:
            self.client.send(wire.CancelAll)

    def _some_id(self) -> str:
        return f"{self.client.account}-{self._rnd.randint(max(1, self._count - 20), max(1, self._count))}"

    def _price(self) -> Decimal:
        return (self._mid + self._rnd.randint(-300, 300)) * self._tick

    def _order(self) -> NewOrder:
        self._count += 1
        kind = self._rnd.choice(("MARKET", "LIMIT", "LIMIT", "LIMIT", "STOP_MARKET"))
        return NewOrder(
            client_order_id=f"{self.client.account}-{self._count}",
            instrument_id=self._instrument_id,
            side=self._rnd.choice(("BUY", "SELL")),
            type=kind,
            quantity=Decimal(self._rnd.randint(1, 900)) / 1000,
            price=self._price() if kind == "LIMIT" else None,
            trigger_price=self._price() if kind == "STOP_MARKET" else None,
            time_in_force=self._rnd.choice(("GTC", "GTC", "IOC", "FOK")) if kind == "LIMIT" else "GTC",
        )


@dataclass
class Found:
    """What was looked at, so that nobody takes an idle run for a proof."""

    kills: int = 0
    answers: int = 0
    items: int = 0
    fills: int = 0


def kill_often(parent: Path, seed: int, kills: int) -> Found:
    """Begin a new exchange now and then: each look reads all of a ledger."""
    found = Found()
    while found.kills < kills:
        killer = Killer(parent / f"{found.kills}", seed + found.kills, found)
        for _ in range(min(KILLS_PER_EXCHANGE, kills - found.kills)):
            killer.one_life()
        killer.count()
    return found


class Killer:
    """Three accounts at two venues, of which two trade against each other too."""

    def __init__(self, folder: Path, seed: int, found: Found) -> None:
        self._folder = folder
        self._rnd = random.Random(seed)
        self._world = brisk_world()
        clients = (RawClient("SIM1", "one"), RawClient("SIM1", "two"), RawClient("SIM2", "one", kind="MARGIN"))
        names = (SPOT, SPOT, PERP)
        self.traders = [Trader(client, name, self._rnd) for client, name in zip(clients, names, strict=True)]
        self._found = found

    def one_life(self) -> None:
        """Start, go on with every stream, trade, be killed, and hold the ledger against what was said."""
        address = launch.ensure(self._folder, self._world, START_S)
        for trader in self.traders:
            welcomed(trader.client.connect(address))
            trader.look()
            self._reads_as_it_saw(trader.client)
        kill = threading.Timer(self._rnd.uniform(*LIFE_S), os.kill, (address.pid, signal.SIGKILL))
        kill.start()
        self._trade_until_it_dies()
        kill.join()
        self._found.kills += 1
        self._look()

    def _trade_until_it_dies(self) -> None:
        give_up_s = time.monotonic() + START_S
        while any(trader.client.is_connected for trader in self.traders):
            assert time.monotonic() < give_up_s, "it was killed, and goes on"
            for trader in self.traders:
                try:
                    for _ in range(self._rnd.randint(0, 5)):
                        trader.act()
                    trader.client.pump()
                except LinkLost:
                    continue

    def _look(self) -> None:
        ledger = Ledger(self._folder)
        adds_up(ledger, self._world)
        for trader in self.traders:
            keeps_its_word(ledger, trader.client)

    def count(self) -> None:
        self._found.fills += len(Ledger(self._folder).fills)
        self._found.items += sum(len(trader.client.items) for trader in self.traders)
        self._found.answers += sum(len(trader.client.answers) for trader in self.traders)

    def _reads_as_it_saw(self, client: RawClient) -> None:
        """What came while we were away is sent again, and makes the open orders that the exchange has."""
        orders = client.ask(wire.GetOrders, open_only=True)
        assert isinstance(orders, wire.Orders)
        assert not orders.more
        assert client.wait(lambda: client.last_seq >= orders.seq), (client.last_seq, orders.seq)
        seen = [client.items[seq] for seq in sorted(client.items) if seq <= orders.seq]
        states = {event.order.client_order_id: event.order for event in seen if not isinstance(event, AccountChanged)}
        expected = {name: order for name, order in states.items() if order.status in OPEN}
        assert {order.client_order_id: order for order in orders.orders} == expected
