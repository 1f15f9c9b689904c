"""Orders of execution algorithms: what Nautilus changes without publishing it is in the log all the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from mirror_engine import INSTRUMENT, Witness, log_of, make_engine, make_mirror
from nautilus_trader.config import StrategyConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.examples.algorithms.twap import TWAPExecAlgorithm
from nautilus_trader.execution.algorithm import ExecAlgorithm
from nautilus_trader.execution.config import ExecAlgorithmConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.events import OrderDenied
from nautilus_trader.model.identifiers import ExecAlgorithmId
from nautilus_trader.model.objects import Price
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.persistence import mirror, segments
from nautilus_ext.persistence.projections import fold_order
from nautilus_ext.persistence.records import Record, decode, ids

TWAP = {"horizon_secs": 4, "interval_secs": 1}


class Patient(Strategy):
    """Every few quotes an order for an algorithm, in between a plain one; cancels what is left at the end."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(StrategyConfig(strategy_id="PATIENT-001"))
        self.algorithm = algorithm

    def on_start(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT.id)
        self.count = 0

    def on_quote_tick(self, tick: QuoteTick) -> None:  # noqa: ARG002 - the name is Nautilus's
        self.count += 1
        side = OrderSide.SELL if self.count % 2 else OrderSide.BUY
        size = INSTRUMENT.make_qty(Decimal("0.005") * (1 + self.count % 3))
        given: dict[str, Any] = {"tags": [f"op:{self.count}"]}
        if self.count % 3 == 0:
            given |= {"exec_algorithm_id": ExecAlgorithmId(self.algorithm), "exec_algorithm_params": TWAP}
        self.submit_order(self.order_factory.market(INSTRUMENT.id, side, size, **given))

    def on_stop(self) -> None:
        self.cancel_all_orders(INSTRUMENT.id)


class Refused(ExecAlgorithm):
    """Spawns a child that the engine denies, so that Nautilus gives its part back to the primary; and one that fills.

    The rest of the primary is changed in place and goes last.
    """

    def __init__(self) -> None:
        super().__init__(ExecAlgorithmConfig(exec_algorithm_id=ExecAlgorithmId("REFUSED")))

    def on_order(self, order: Any) -> None:
        part = INSTRUMENT.make_qty("0.001")
        self.submit_order(self.spawn_market(order, part, TimeInForce.IOC))
        self.submit_order(
            self.spawn_limit(order, part, INSTRUMENT.make_price("0.1"), TimeInForce.GTC, reduce_only=True)
        )
        self.modify_order_in_place(order, INSTRUMENT.make_qty("0.002"))
        self.submit_order(order)


class LateRefusal(ExecAlgorithm):
    """Spawns a child, sees its primary end, and only then sends the child, which the engine refuses."""

    def __init__(self) -> None:
        super().__init__(ExecAlgorithmConfig(exec_algorithm_id=ExecAlgorithmId("LATE")))

    def on_order(self, order: Any) -> None:
        part = INSTRUMENT.make_qty("0.001")
        child = self.spawn_limit(order, part, Price.from_str("0.123456789"), TimeInForce.GTC)  # finer than any tick
        ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
        end = OrderDenied(*ids, "the rest was refused", UUID4(), self.clock.timestamp_ns())
        self.msgbus.send(endpoint="ExecEngine.process", msg=end)
        self.submit_order(child)
        self.msgbus.publish(topic=f"events.order.{child.strategy_id}", msg=child.init_event)  # a thread that comes late


def run(folder: Any, flush: str, algorithm: ExecAlgorithm, quotes: int = 60) -> tuple[Any, Any, Witness]:
    engine = make_engine()
    mirror_ = make_mirror(folder, flush)
    engine.add_actor(mirror_)
    engine.add_exec_algorithm(algorithm)
    engine.add_strategy(Patient(algorithm.id.value))
    size = INSTRUMENT.make_qty("10")
    prices = [(INSTRUMENT.make_price(50_000 + n % 9), INSTRUMENT.make_price(50_001 + n % 9)) for n in range(quotes)]
    engine.add_data([QuoteTick(INSTRUMENT.id, *p, size, size, n * 10**9, n * 10**9) for n, p in enumerate(prices)])
    witness = Witness(engine.kernel.msgbus)
    engine.run()
    assert 0 == mirror_.finish(clean=True)
    return engine, mirror_, witness


def records_of(folder: Any) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for path in segments.segments(segments.run_folder(folder, 1)):
        for _, payload in segments.read_frames(path, 0)[0]:
            record = decode(1, payload)
            found.setdefault(ids(record).client_order_id or "", []).append(record)
    return found


@pytest.mark.parametrize("flush", ["event", "batch"])
@pytest.mark.parametrize("algorithm", [TWAPExecAlgorithm, Refused])
def test_the_rows_of_parents_and_children_say_what_the_cache_says(tmp_path, flush, algorithm):
    """Each order's events, in their order and once, and the row that they fold to; the published ones are there."""
    engine, mirror_, witness = run(tmp_path, flush, algorithm())
    told = records_of(tmp_path)
    orders = engine.kernel.cache.orders()
    children = [order for order in orders if order.is_spawned]
    assert len(children) > 10
    for order in orders:
        mine = told[order.client_order_id.value]
        assert [(type(e).__name__, e.id.value) for e in order.events] == [(r.type, ids(r).event_id) for r in mine]
        row = fold_order("b", mine, {})
        assert row is not None
        assert (order.status_string(), order.quantity.as_decimal(), order.filled_qty.as_decimal()) == (
            row.status,
            row.quantity,
            row.filled_quantity,
        ), order
        parent = order.exec_spawn_id.value if order.is_spawned else None
        assert (parent, order.tags) == (row.parent_client_order_id, row.tags)
    log = log_of(tmp_path)
    written = [record.body.get("event_id") for record in log]
    published = [body["event_id"] for *_, body in witness.seen]
    assert [event_id for event_id in written if event_id in set(published)] == published
    unpublished = [
        record.type for record in log if record.type[:5] == "Order" and record[4]["event_id"] not in published
    ]
    assert "OrderUpdated" in unpublished
    assert set(unpublished) <= {"OrderUpdated", "OrderPendingCancel"}, "cancel_all_orders is silent, too"
    mirror_._catch_up_all()  # what the end of the strategy closed, after the mirror's own
    assert [] == [order for order in orders if order.client_order_id in mirror_._algorithm_orders and order.is_closed]
    engine.dispose()


def test_live_orders_of_algorithms_are_bounded(tmp_path, monkeypatch):
    """The oldest is forgotten first; its published events are written like any other's."""
    monkeypatch.setattr(mirror, "ALGORITHM_ORDERS_MAX", 1)
    engine, mirror_, witness = run(tmp_path, "event", TWAPExecAlgorithm(), quotes=20)
    assert len(mirror_._algorithm_orders) <= 1
    written = {record.body.get("event_id") for record in log_of(tmp_path)}
    assert [] == [body["event_id"] for *_, body in witness.seen if body["event_id"] not in written]
    assert 0 == mirror_._run_log.failures
    engine.dispose()


def test_a_child_that_is_refused_after_its_primary_has_ended_still_gives_back(tmp_path):
    """Nautilus gives a refused child's part back to its primary even then, in place and without a word."""
    engine, mirror_, _ = run(tmp_path, "event", LateRefusal(), quotes=20)
    told = records_of(tmp_path)
    written = [ids(record).event_id for records in told.values() for record in records if record.type[:5] == "Order"]
    assert len(set(written)) == len(written)
    primaries = [order for order in engine.kernel.cache.orders() if order.is_primary]
    assert len(primaries) > 2
    for order in primaries[1:]:  # an algorithm listens when it has its first order
        row = fold_order("b", told[order.client_order_id.value], {})
        assert row is not None
        assert ("DENIED", order.quantity.as_decimal()) == (row.status, row.quantity)
        assert "OrderUpdated" == type(order.events[-1]).__name__, "nothing was given back late: no proof"
    mirror_._catch_up_all()
    assert {} == mirror_._algorithm_orders, "what is over is forgotten"
    engine.dispose()
