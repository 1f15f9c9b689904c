"""What an order and a book update cost the server of the simulated exchange: real socket, durable ledger, one core."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
from measure import Figure

from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.exchange.orders import AccountTerms, NewOrder
from nautilus_ext.simulation.server import launch
from nautilus_ext.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_ext.simulation.server.address import Address

RUNS = 5
ORDERS = 4_000
STEPS = 1_000
STEPS_PER_REQUEST = 100
PIPELINED = 256  # requests that are on their way at one time
BUDGET_ORDER_US = 200.0  # 5,000 orders/s
TIMEOUT_S = 60.0
PERPETUAL, VENUE = "BTCUSDT-PERP.SIM2", "SIM2"
PRICE = Decimal(40_000)  # far from the market: it rests


class Link:
    """A blocking connection that keeps a number of requests on their way."""

    def __init__(self, address: Address, account: str | None = None) -> None:
        self._socket = socket.create_connection((address.host, address.port), TIMEOUT_S)
        self._framer = wire.server_framer()
        self.received = 0
        terms = None
        if account is not None:
            money = {"USDT": Decimal(100_000_000)}
            terms = AccountTerms(account=account, kind="MARGIN", starting_balances=money, leverage=Decimal(10))
        venue = None if account is None else VENUE
        self.run([wire.Hello(request=0, session=uuid4().hex, venue=venue, terms=terms)])

    def run(self, requests: list[wire.Request]) -> None:
        """Send them all, and return when the last one is answered; a refusal ends the benchmark."""
        frames = [wire.frame(request) for request in requests]
        sent = answered = 0
        while answered < len(frames):
            room = PIPELINED - (sent - answered)
            if room >= PIPELINED // 2 and sent < len(frames):
                self._socket.sendall(b"".join(frames[sent : sent + room]))
                sent = min(sent + room, len(frames))
            answered += self._read()

    def _read(self) -> int:
        answers = 0
        for message in self._framer.feed(self._socket.recv(1_000_000)):
            self.received += 1
            if isinstance(message, wire.Answer):
                assert not isinstance(message, wire.Refused), message
                answers += 1
        return answers


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "exchange")
        address = launch.ensure(folder, World(market=default_market()), TIMEOUT_S)
        try:
            return [*_orders(address), *_books(address)]
        finally:
            process = psutil.Process(address.pid)
            os.kill(address.pid, signal.SIGTERM)
            process.wait(TIMEOUT_S)


def _orders(address: Address) -> list[Figure]:
    numbers = count()
    link = Link(address, "bench")
    link.run(list(_filled(numbers, 500)))  # warm
    found = []
    for what, mix in (("place + fill", _filled), ("place + cancel", _canceled)):
        walls, busy = [], []
        for _ in range(RUNS):
            requests = list(mix(numbers, ORDERS))
            wall_s, cpu_s = _timed(address, link, requests)
            walls.append(wall_s / ORDERS * 1e6)
            busy.append(cpu_s / ORDERS * 1e6)
        rate = 1e6 / sorted(walls)[RUNS // 2]
        note = f"{ORDERS:,} orders a run, {PIPELINED} requests on their way, ledger durable: {rate:,.0f} orders/s"
        found += [
            Figure(f"exchange server, {what}, per order", "us", tuple(walls), budget=BUDGET_ORDER_US, note=note),
            Figure(f"exchange server, {what}, its CPU per order", "us", tuple(busy)),
        ]
    return found


def _books(address: Address) -> list[Figure]:
    """The market as fast as it goes: quotes, trades and books of eight listings to one subscriber of everything."""
    link = Link(address)
    link.run([wire.Control(request=1, venue=VENUE, action="pause")])
    listings = default_market().listings
    link.run([
        wire.Subscribe(request=1, channel=channel, instrument_id=listing.instrument_id)
        for channel in ("quotes", "trades", "book")
        for listing in listings
    ])  # fmt: skip
    requests: list[wire.Request] = [
        wire.Control(request=1, venue=VENUE, action="step", steps=STEPS_PER_REQUEST)
        for _ in range(STEPS // STEPS_PER_REQUEST)
    ]
    costs = []
    for _ in range(RUNS):
        before = link.received
        wall_s, _ = _timed(address, link, requests)
        costs.append(wall_s / (link.received - before) * 1e6)
    rate = 1e6 / sorted(costs)[RUNS // 2]
    note = f"quotes, trades and books of {len(listings)} listings, all subscribed: {rate:,.0f} messages/s"
    return [Figure("exchange server, market data message", "us", tuple(costs), note=note)]


def _timed(address: Address, link: Link, requests: list[wire.Request]) -> tuple[float, float]:
    """Wall-clock seconds, and the server's own processor seconds."""
    process = psutil.Process(address.pid)
    before = sum(process.cpu_times()[:2])
    began_s = time.perf_counter()
    link.run(requests)
    return time.perf_counter() - began_s, sum(process.cpu_times()[:2]) - before


def _filled(numbers: Iterator[int], orders: int) -> Iterator[wire.Request]:
    for number in (next(numbers) for _ in range(orders)):
        order = NewOrder(
            client_order_id=f"f{number}",
            instrument_id=PERPETUAL,
            side="BUY" if number % 2 else "SELL",
            type="MARKET",
            quantity=Decimal("0.001"),
        )
        yield wire.Place(request=number, orders=(order,))


def _canceled(numbers: Iterator[int], orders: int) -> Iterator[wire.Request]:
    for number in (next(numbers) for _ in range(orders)):
        order = NewOrder(
            client_order_id=f"c{number}",
            instrument_id=PERPETUAL,
            side="BUY",
            type="LIMIT",
            quantity=Decimal("0.001"),
            price=PRICE,
        )
        yield wire.Place(request=number, orders=(order,))
        yield wire.Cancel(request=number, client_order_id=f"c{number}")


if __name__ == "__main__":
    for figure in figures():
        print(figure.what, figure.median, figure.values, figure.note)
