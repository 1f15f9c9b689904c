"""What the halt runs trade with beside the monkeys: emulated orders, parents and the algorithm that works them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from exchange_monkey import Monkey
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.algorithm import ExecAlgorithm
from nautilus_trader.execution.config import ExecAlgorithmConfig
from nautilus_trader.model.enums import OrderSide, TimeInForce, TriggerType
from nautilus_trader.model.events import OrderDenied
from nautilus_trader.model.identifiers import ExecAlgorithmId

from nautilus_ext.messages import RELEASE, RESERVE, ParentRelease, ParentReserve
from nautilus_ext.seam import PROCESS

SLICER = ExecAlgorithmId("SLICER")
SLICES = 5
ALIVE_MAX = 6
EVERY = timedelta(milliseconds=60)


class Slicer(ExecAlgorithm):
    """Sends a part of a parent as a limit order far from the market, again and again, until the parent is over."""

    def __init__(self) -> None:
        super().__init__(ExecAlgorithmConfig(exec_algorithm_id=SLICER))

    def on_order(self, order: Any) -> None:
        answers: list[Any] = []
        self.msgbus.send(RESERVE, ParentReserve(client_order_id=order.client_order_id.value, answer=answers.append))
        if answers[0].reason:
            ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
            self.msgbus.send(PROCESS, OrderDenied(*ids, answers[0].reason, UUID4(), self.clock.timestamp_ns()))
            return
        slices = iter(range(SLICES))
        self._slice(order, slices)

    def _slice(self, parent: Any, slices: Any) -> None:
        if parent.is_closed or next(slices, None) is None:
            self.msgbus.send(RELEASE, ParentRelease(client_order_id=parent.client_order_id.value))
            return
        instrument = self.cache.instrument(parent.instrument_id)
        size = instrument.make_qty(instrument.min_quantity)
        if parent.leaves_qty > size:
            child = self.spawn_limit(parent, size, parent.price, TimeInForce.GTC)
            self.submit_order(child)
        name = f"{parent.client_order_id}-{UUID4()}"
        self.clock.set_time_alert(name, self.clock.utc_now() + EVERY, lambda _: self._slice(parent, slices))


class Schemer(Monkey):
    """An emulated order or a parent per quote, as long as not too many of them are there."""

    def on_quote_tick(self, tick: Any) -> None:
        alive = [each for each in self.cache.orders(strategy_id=self.id) if not each.is_closed]
        if len(alive) >= ALIVE_MAX:
            return
        instrument, side = self.cache.instrument(tick.instrument_id), self._rng.choice((OrderSide.BUY, OrderSide.SELL))
        away = instrument.price_increment * self._rng.choice((1, 2, 400)) * (-1 if side == OrderSide.BUY else 1)
        price = instrument.make_price((tick.bid_price if side == OrderSide.BUY else tick.ask_price) + away)
        size = instrument.make_qty(instrument.min_quantity.as_decimal() * 10)
        if self._rng.random() < 0.5:
            order = self.order_factory.limit(instrument.id, side, size, price, emulation_trigger=TriggerType.BID_ASK)
        else:
            order = self.order_factory.limit(instrument.id, side, size, price, exec_algorithm_id=SLICER)
        self.submit_order(order)
