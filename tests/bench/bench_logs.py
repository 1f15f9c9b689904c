"""What an event costs the trading thread, while the writer is at work: python tests/bench/bench_logs.py."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
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
        for name, event in events.items():
            tell({"what": f"{name} handler, trading thread", "median_us": _median_us(actor, event)})
        session.close(timeout_s=30.0)
        tell({"what": "records lost", "count": session.lost})


def tell(figure: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(figure)}\n")


def _median_us(actor: EventLog, event: object) -> float:
    rounds = []
    for _ in range(ROUNDS):
        start_ns = time.perf_counter_ns()
        for _ in range(EVENTS_PER_ROUND):
            actor._on_order(event)
        rounds.append((time.perf_counter_ns() - start_ns) / EVENTS_PER_ROUND / 1e3)
        time.sleep(0.02)  # as in live: the writer gets its turn between the events
    return round(statistics.median(rounds), 2)


if __name__ == "__main__":
    main()
