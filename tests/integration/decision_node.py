"""An engine with a mirror in which a gate refuses one order after the other, until it is killed.

decision_node.py FOLDER BOOK    `O-7`: this order's decision, then its denial, are acknowledged

Run and epoch come on stdin: whoever starts a run names the process that writes its log.
"""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from itertools import count

from mirror_engine import INSTRUMENT, make_engine
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.events import OrderDenied
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.messages import RISK_DECISIONS, RiskDecision
from nautilus_ext.persistence import Mirror, MirrorConfig


def main() -> None:
    folder, book = sys.argv[1:]
    run, epoch = sys.stdin.readline().split()
    place = {"folder": folder, "book_id": book, "run": int(run), "epoch": int(epoch)}
    engine, mirror = make_engine(), Mirror(MirrorConfig(**place, segment_bytes_max=20_000))
    engine.add_actor(mirror)
    for number in count(1):
        refuse(engine.kernel.msgbus, number)
        os.write(1, f"O-{number}\n".encode())


def refuse(msgbus, number: int, text: str = "") -> None:
    order = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId(f"O-{number}"))
    topic = f"events.order.{order.strategy_id}"
    msgbus.publish(topic, order.init_event)
    decision = RiskDecision(
        client_order_id=order.client_order_id.value,
        strategy_id=order.strategy_id.value,
        instrument_id=INSTRUMENT.id.value,
        verdict="refused",
        ts_ns=number,
        code="MAX_POSITION",
        would_be=Decimal(number),
        details={"action": "submit", "number": str(number), "text": text},
    )
    msgbus.publish(RISK_DECISIONS, decision)
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    msgbus.publish(topic, OrderDenied(*ids, f"MAX_POSITION: would_be={number}", UUID4(), number))


if __name__ == "__main__":
    main()
