"""A small algorithm that works a parent as an execution algorithm should: it reserves, spawns children, releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.algorithm import ExecAlgorithm
from nautilus_trader.execution.config import ExecAlgorithmConfig
from nautilus_trader.execution.messages import CancelOrder, SubmitOrder
from nautilus_trader.model.enums import TimeInForce
from nautilus_trader.model.events import OrderDenied
from nautilus_trader.model.identifiers import ClientOrderId, ExecAlgorithmId
from nautilus_trader.model.orders import LimitOrder, MarketOrder
from risk_stage import INSTRUMENTS

from nautilus_ext.messages import RELEASE, RESERVE, ParentRelease, ParentReserve, ReserveAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "WORKER"


class Worker(ExecAlgorithm):
    """What it does with a parent whose size is reserved the test says."""

    def __init__(self) -> None:
        super().__init__(ExecAlgorithmConfig(exec_algorithm_id=ExecAlgorithmId(NAME)))
        self.plans: list[Callable[[Any], None]] = []
        self.reasons: list[str] = []
        self.children = 0

    def on_order(self, order: Any) -> None:
        answers: list[ReserveAnswer] = []
        self.msgbus.send(RESERVE, ParentReserve(client_order_id=order.client_order_id.value, answer=answers.append))
        self.reasons.append(answers[0].reason)
        if answers[0].reason:
            ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
            self.msgbus.send("ExecEngine.process", OrderDenied(*ids, answers[0].reason, UUID4(), 0))
        elif self.plans:
            self.plans.pop(0)(order)

    def release(self, parent: Any) -> None:
        self.msgbus.send(RELEASE, ParentRelease(client_order_id=parent.client_order_id.value))

    def end(self, parent: Any) -> None:
        """It closes the parent, as Nautilus does for a strategy that cancels it."""
        ids = (parent.trader_id, parent.strategy_id, parent.instrument_id, parent.client_order_id)
        self.execute(CancelOrder(*ids, None, UUID4(), 0))

    def spawn(self, parent: Any, size: Any, price: Any = None) -> Any:
        """Of the parent's instrument; Nautilus takes it off the parent's quantity."""
        instrument = INSTRUMENTS[parent.instrument_id.value]
        quantity = instrument.make_qty(size)
        if price is None:
            child = self.spawn_market(parent, quantity, TimeInForce.GTC)
        else:
            child = self.spawn_limit(parent, quantity, instrument.make_price(price), TimeInForce.GTC)
        self.submit_order(child)
        return child

    def spawn_elsewhere(self, parent: Any, of: str, size: Any, price: Any = None) -> Any:
        """At another venue: the child is built by hand, and the parent's quantity stays."""
        instrument = INSTRUMENTS[of]
        self.children += 1
        more = {} if price is None else {"price": instrument.make_price(price)}
        child = (MarketOrder if price is None else LimitOrder)(
            trader_id=parent.trader_id,
            strategy_id=parent.strategy_id,
            instrument_id=instrument.id,
            client_order_id=ClientOrderId(f"{parent.client_order_id}-X{self.children}"),
            order_side=parent.side,
            quantity=instrument.make_qty(size),
            init_id=UUID4(),
            ts_init=self.clock.timestamp_ns(),
            exec_algorithm_id=self.id,
            exec_spawn_id=parent.client_order_id,
            **more,
        )
        self.cache.add_order(child)
        self.msgbus.publish(f"events.order.{child.strategy_id}", child.init_event)
        command = SubmitOrder(child.trader_id, child.strategy_id, child, UUID4(), self.clock.timestamp_ns())
        self.msgbus.send("RiskEngine.execute", command)
        return child
