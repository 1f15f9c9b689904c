"""What an order and a book update cost the server of the simulated exchange: real socket, durable ledger, one core."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from measure import Figure

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # the client is the tests' own
from exchange_client import PERP, RawClient, limit, market_order, welcomed
from exchange_staff import Staff

from nautilus_ext.simulation import default_market, wire
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
VENUE = "SIM2"
LOT = Decimal("0.001")

Asked = tuple[type[wire.Request], dict[str, Any]]


def run(client: RawClient, requests: list[Asked]) -> None:
    """Send them all, a number of them on their way, until the last one is answered."""
    for kind, fields in requests:
        client.send(kind, **fields)
        if client.unanswered >= PIPELINED:
            assert client.wait(lambda: client.unanswered <= PIPELINED // 2, TIMEOUT_S)
    assert client.wait(lambda: not client.unanswered, TIMEOUT_S)


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
    numbers, client = count(), Staff(VENUE)
    welcomed(client.connect(address))
    _timed(address, client, list(_filled(numbers, 500)))  # warm
    found = []
    for what, mix in (("place + fill", _filled), ("place + cancel", _canceled)):
        walls, busy = [], []
        for _ in range(RUNS):
            requests = list(mix(numbers, ORDERS))
            wall_s, cpu_s = _timed(address, client, requests)
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
    client = RawClient(VENUE, "bench")
    welcomed(client.connect(address, venue=None, terms=None))
    client.control("pause")
    listings = default_market().listings
    for channel in ("quotes", "trades", "book"):
        for listing in listings:
            client.done(wire.Subscribe, channel=channel, instrument_id=listing.instrument_id)
    step: Asked = (wire.Control, {"venue": VENUE, "action": "step", "steps": STEPS_PER_REQUEST})
    costs = []
    for _ in range(RUNS):
        client.unasked.clear()
        wall_s, _ = _timed(address, client, [step] * (STEPS // STEPS_PER_REQUEST))
        costs.append(wall_s / len(client.unasked) * 1e6)
    rate = 1e6 / sorted(costs)[RUNS // 2]
    note = f"quotes, trades and books of {len(listings)} listings, all subscribed: {rate:,.0f} messages/s"
    return [Figure("exchange server, market data message", "us", tuple(costs), note=note)]


def _timed(address: Address, client: RawClient, requests: list[Asked]) -> tuple[float, float]:
    """Wall-clock seconds, and the server's own processor seconds; a refusal ends the benchmark."""
    process = psutil.Process(address.pid)
    before = sum(process.cpu_times()[:2])
    began_s = time.perf_counter()
    run(client, requests)
    costs = time.perf_counter() - began_s, sum(process.cpu_times()[:2]) - before
    assert not any(isinstance(answer, wire.Refused) for answer in client.answers.values())
    return costs


def _filled(numbers: Iterator[int], orders: int) -> Iterator[Asked]:
    for number in islice(numbers, orders):
        side = "BUY" if number % 2 else "SELL"
        yield wire.Place, {"orders": (market_order(f"f{number}", instrument_id=PERP, side=side, quantity=LOT),)}


def _canceled(numbers: Iterator[int], orders: int) -> Iterator[Asked]:
    for number in islice(numbers, orders):
        yield wire.Place, {"orders": (limit(f"c{number}", instrument_id=PERP, quantity=LOT),)}
        yield wire.Cancel, {"client_order_id": f"c{number}"}


if __name__ == "__main__":
    for figure in figures():
        print(figure.what, figure.median, figure.values, figure.note)
