"""One node on Nautilus's sandbox that trades at a steady rate: python journaled_node.py KIND FOLDER VALKEY_PORT.

KIND is bare (nothing is kept), journal (mirror with flush `event`, shipper, PostgreSQL), power (the same with flush
`power`) or redis (Nautilus's own cache database). A process for itself: Nautilus's logging is global.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import StrategyConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy
from servers import JournaledBook

INSTRUMENT = "BTCUSDT-PERP.SIM2"
WARM_ORDERS = 500
WINDOW_ORDERS = 100
ORDERS = 2_500
ORDERS_PER_S = 500
INTERVAL_MS = 100
TIMEOUT_S = 60.0
FLUSH = {"journal": "event", "power": "power"}
SIMULATED = "nautilus_ext.simulation:SimulatedDataClient"


class Probe(Strategy):
    """Sends market orders at a steady rate; the next one when the last one is filled and all that it causes is told."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(order_id_tag="001", log_events=False, log_commands=False))
        self.latencies_us: list[float] = []
        self.clock_s: list[float] = []
        self.sent = 0
        self.done = asyncio.Event()

    def on_start(self) -> None:
        self.instrument_id = InstrumentId.from_str(INSTRUMENT)
        self.quantity = self.cache.instrument(self.instrument_id).make_qty("0.05")
        self.subscribe_quote_ticks(self.instrument_id)

    def on_quote_tick(self, tick) -> None:  # noqa: ARG002 - Nautilus's signature
        if not self.sent:
            self.due_s = time.monotonic()
            self._send()

    def on_order_filled(self, event) -> None:  # noqa: ARG002 - Nautilus's signature
        self.latencies_us.append((time.perf_counter_ns() - self.sent_ns) / 1e3)
        self.due_s = max(self.due_s + 1 / ORDERS_PER_S, time.monotonic())
        asyncio.get_running_loop().call_later(self.due_s - time.monotonic(), self._send)

    def _send(self) -> None:
        if self.sent >= WARM_ORDERS and self.sent % WINDOW_ORDERS == 0:
            self.clock_s.append(time.thread_time())
        if self.sent == WARM_ORDERS + ORDERS:
            self.done.set()
            return
        self.sent += 1
        side = OrderSide.BUY if self.sent % 4 in (1, 2) else OrderSide.SELL
        order = self.order_factory.market(self.instrument_id, side, self.quantity)
        self.sent_ns = time.perf_counter_ns()
        self.submit_order(order)


def _config(kind: str, folder: Path, valkey_port: int) -> TradingNodeConfig:
    account = {"venue": "SIM2", "account_type": "MARGIN", "starting_balances": ["1000000 USDT"]}
    database = {"type": "redis", "host": "127.0.0.1", "port": valkey_port} if kind == "redis" else None
    document = {
        "environment": "sandbox",
        "trader_id": "BENCH-001",
        "logging": {"log_level": "ERROR"},
        "cache": {"database": database, "flush_on_start": True},
        "risk_engine": {"bypass": True},
        "exec_engine": {"reconciliation": False},
        "timeout_post_stop": 0.1,
        "data_clients": {
            "SIM": {
                "path": f"{SIMULATED}Config",
                "factory": {"path": f"{SIMULATED}Factory"},
                "config": {"data_dir": str(folder), "interval_ms": INTERVAL_MS},
            }
        },
        "exec_clients": {
            "SIM2": {
                "path": "nautilus_trader.adapters.sandbox.config:SandboxExecutionClientConfig",
                "config": {**account, "default_leverage": "10", "use_reduce_only": False},
            }
        },
    }
    return TradingNodeConfig.parse(json.dumps(document))


def _measure(kind: str, folder: Path, valkey_port: int) -> dict[str, Any]:
    node = TradingNode(config=_config(kind, folder, valkey_port))
    node.portfolio.analyzer.record_trade = lambda *_: None  # its cost grows with the trades, whoever keeps them
    book = JournaledBook(folder, FLUSH[kind]) if kind in FLUSH else None
    if book is not None:
        node.trader.add_actor(book.mirror)
    probe = Probe()
    node.trader.add_strategy(probe)
    node.add_exec_client_factory("SIM2", SandboxLiveExecClientFactory)
    node.build()
    if book is not None:
        book.start()

    async def until_done() -> None:
        running = asyncio.get_running_loop().create_task(node.run_async())
        async with asyncio.timeout(TIMEOUT_S):
            await probe.done.wait()
        await node.stop_async()
        await running

    loop = node.get_event_loop()
    assert loop is not None
    loop.run_until_complete(until_done())
    windows_us = [(end - begin) / WINDOW_ORDERS * 1e6 for begin, end in pairwise(probe.clock_s)]
    latencies_us = probe.latencies_us[WARM_ORDERS:]
    node.dispose()
    if book is not None:
        book.drain()
        book.close()
    return {
        "main": statistics.median(windows_us),
        "p50": statistics.median(latencies_us),
        "p99": statistics.quantiles(latencies_us, n=100)[-1],
    }


if __name__ == "__main__":
    result = _measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
