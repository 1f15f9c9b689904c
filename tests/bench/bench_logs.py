"""What an event costs the trading thread, while the writer is at work."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measure import Figure
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.logs import EventLog, LogSession, Masker

ROUNDS = 40
EVENTS_PER_ROUND = 500
BUDGET_US = 3.0
CLOSE_TIMEOUT_S = 30.0


def figures() -> list[Figure]:
    clock = TestClock()
    msgbus = MessageBus(trader_id=TraderId("BENCH-1"), clock=clock)
    cache = Cache()
    actor = EventLog()
    actor.register_base(Portfolio(msgbus, cache, clock), msgbus, cache, clock)
    order = TestExecStubs.limit_order()
    cache.add_order(order)
    instrument = TestInstrumentProvider.audusd_cfd()
    events = {
        "OrderSubmitted": TestEventStubs.order_submitted(order),
        "OrderFilled": TestEventStubs.order_filled(order, instrument=instrument),
    }
    with tempfile.TemporaryDirectory() as folder, LogSession.start(masker=Masker(["planted-secret"])) as session:
        session.attach_file(Path(folder, "bench.jsonl"), max_bytes=100_000_000, retain_files=1)
        costs_us = {name: tuple(_round_us(actor, event) for _ in range(ROUNDS)) for name, event in events.items()}
        session.close(timeout_s=CLOSE_TIMEOUT_S)
        assert session.lost == 0, f"{session.lost} records lost: the figures say nothing"
    note = f"each run the mean of {EVENTS_PER_ROUND}"
    return [
        Figure(f"EventLog on the trading thread, {name}", "us", values, budget=BUDGET_US, note=note)
        for name, values in costs_us.items()
    ]


def _round_us(actor: EventLog, event: object) -> float:
    start_ns = time.perf_counter_ns()
    for _ in range(EVENTS_PER_ROUND):
        actor._on_order(event)
    cost_us = (time.perf_counter_ns() - start_ns) / EVENTS_PER_ROUND / 1e3
    time.sleep(0.02)  # as in live: the writer gets its turn between the events
    return cost_us
