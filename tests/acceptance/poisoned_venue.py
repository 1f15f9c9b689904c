"""A venue whose words no table can hold, and a strategy that makes it say them one after the other."""

from __future__ import annotations

import json
import os
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model import events
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events.order import OrderEvent
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, InstrumentId, VenueOrderId
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.messages import RISK_DECISIONS, RiskDecision
from nautilus_ext.simulation import SimulatedExecClientFactory, SimulatedExecutionClient

MEMORY = "POISON_MEMORY"  # names the file that keeps what was said, one body of a record a line
INSTRUMENT = "ETHUSDT-PERP.SIM2"
DONE = "every poison was said"
NUL, SURROGATE = "a\0b", "x\ud800y"
REASON = "no margin, " * 1_000
LONG_ID = "V-" + "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10_000))
HUGE = f"1{'0' * 140_000}"  # numeric has 131,072 digits before the point
STRANGER = "O-SIDEWAYS"  # an order that no cache knows
TRADES_AFTER = 6
# Those of the same name are at the venue and are filled; the others never reach it.
KINDS = ("nul", "surrogate", "reason", "long id", "number", "type", "enum", "unencodable", "decision")
AT_VENUE = ("nul", "surrogate")


def disguised(kind: Any, changes: dict[str, Any] | None) -> Any:
    """Make an adapter's own kind of an event, which says something else about itself; without changes it raises."""

    def to_dict(event: Any) -> dict[str, Any]:
        if changes is None:
            raise RuntimeError("no words for it")
        return {**kind.to_dict(event), **changes}

    return type("VenueEvent", (kind,), {"to_dict": staticmethod(to_dict)})


class OrderTeleported(OrderEvent):
    """What a later Nautilus may publish: an event of an order that nothing here has heard of."""

    def __init__(self, order: Any, now_ns: int) -> None:
        self.said = {
            "type": "OrderTeleported", "trader_id": order.trader_id.value, "strategy_id": order.strategy_id.value,
            "instrument_id": order.instrument_id.value, "client_order_id": order.client_order_id.value,
            "event_id": UUID4().value, "ts_event": now_ns, "ts_init": now_ns, "where": "moon",
        }  # fmt: skip
        self.order = order

    client_order_id = property(lambda self: self.order.client_order_id)
    instrument_id = property(lambda self: self.order.instrument_id)
    strategy_id = property(lambda self: self.order.strategy_id)
    account_id = property(lambda self: self.order.account_id)
    ts_event = ts_init = property(lambda self: self.said["ts_event"])

    @staticmethod
    def to_dict(event: Any) -> dict[str, Any]:
        return event.said


class PoisonedClient(SimulatedExecutionClient):
    """Does what it is asked to, and speaks poison about orders that are tagged with one."""

    async def _submit_order(self, command: Any) -> None:
        order = command.order
        (kind, *_) = order.tags or [""]
        if kind not in KINDS or kind in AT_VENUE:
            await super()._submit_order(command)
            return
        ids = (order.strategy_id, order.instrument_id, order.client_order_id)
        self.generate_order_submitted(*ids, self._clock.timestamp_ns())
        if kind == "reason":
            self.generate_order_rejected(*ids, REASON, self._clock.timestamp_ns())
            return
        venue_order_id = VenueOrderId(LONG_ID if kind == "long id" else f"V-{kind}")
        self.generate_order_accepted(*ids, venue_order_id, self._clock.timestamp_ns())
        self.speak(kind, order, venue_order_id)
        self.generate_order_canceled(*ids, venue_order_id, self._clock.timestamp_ns())

    def generate_order_filled(self, *arguments: Any, **named: Any) -> None:
        """Put what the venue said beside the fill where adapters put it."""
        order = self._cache.order(arguments[2])
        said = {"nul": NUL, "surrogate": SURROGATE}.get((order.tags or [""])[0])
        super().generate_order_filled(*arguments, **named, **({"info": {"text": said}} if said else {}))

    def speak(self, kind: str, order: Any, venue_order_id: VenueOrderId) -> None:
        topic = f"events.order.{order.strategy_id}"
        if kind == "number":
            self._send_order_event(self.updated(order, venue_order_id, {"quantity": HUGE}))
        elif kind == "unencodable":
            self._send_order_event(self.updated(order, venue_order_id, None))
        elif kind == "type":
            self._msgbus.publish(topic, OrderTeleported(order, self._clock.timestamp_ns()))
        elif kind == "enum":
            self._msgbus.publish(topic, self.sideways(order))
        elif kind == "decision":
            self._msgbus.publish(RISK_DECISIONS, self.decision(order))

    def updated(self, order: Any, venue_order_id: VenueOrderId, changes: dict[str, Any] | None) -> Any:
        now_ns = self._clock.timestamp_ns()
        ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
        event = disguised(events.OrderUpdated, changes)(
            *ids, venue_order_id, self.account_id, order.quantity, order.price, None, UUID4(), now_ns, now_ns
        )
        return remembered(event) if changes is not None else event

    def sideways(self, order: Any) -> Any:
        said = {**events.OrderInitialized.to_dict(order.init_event), "client_order_id": STRANGER}
        ours = events.OrderInitialized.from_dict({**said, "event_id": UUID4().value})
        kind = disguised(events.OrderInitialized, {"order_side": "SIDEWAYS"})
        now_ns = self._clock.timestamp_ns()
        return remembered(
            kind(
                ours.trader_id, ours.strategy_id, ours.instrument_id, ClientOrderId(STRANGER), ours.side,
                ours.order_type, ours.quantity, ours.time_in_force, False, False, False, ours.options,
                ours.emulation_trigger, None, ours.contingency_type, None, None, None, None, None, None, None,
                UUID4(), now_ns,
            )
        )  # fmt: skip

    def decision(self, order: Any) -> RiskDecision:
        return RiskDecision(
            client_order_id=order.client_order_id.value, strategy_id=order.strategy_id.value, instrument_id=INSTRUMENT,
            verdict="refused", ts_ns=self._clock.timestamp_ns(), limit=Decimal(HUGE), details={"text": NUL},
        )  # fmt: skip


def remembered(event: Any) -> Any:
    with Path(os.environ[MEMORY]).open("a") as file:
        file.write(json.dumps(type(event).to_dict(event)) + "\n")
    return event


class PoisonedFactory(SimulatedExecClientFactory):
    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> PoisonedClient:  # noqa: PLR0917 - the engine's own signature
        return PoisonedClient(
            loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config
        )


class VictimConfig(StrategyConfig, frozen=True, kw_only=True):
    """Nothing but what every strategy has."""


class Victim(Strategy):
    """One order for each poison, one at each quote, and then orders as anybody sends them."""

    def on_start(self) -> None:
        self.turn = 0
        self.subscribe_quote_ticks(InstrumentId.from_str(INSTRUMENT))

    def on_quote_tick(self, tick: Any) -> None:
        if self.cache.orders_inflight(strategy_id=self.id):
            return
        turn, self.turn = self.turn, self.turn + 1
        if turn < len(KINDS) and KINDS[turn] not in AT_VENUE:
            self.rest(KINDS[turn], tick)
        elif turn < len(KINDS) + TRADES_AFTER:
            self.trade([KINDS[turn], NUL] if turn < len(KINDS) else None, turn)
        elif turn == len(KINDS) + TRADES_AFTER:
            print(DONE, flush=True)

    def rest(self, kind: str, tick: Any) -> None:
        instrument = self.cache.instrument(tick.instrument_id)
        price = instrument.make_price(tick.bid_price.as_decimal() / 2)
        size = instrument.make_qty("0.1")
        self.submit_order(self.order_factory.limit(instrument.id, OrderSide.BUY, size, price, tags=[kind]))

    def trade(self, tags: list[str] | None, turn: int) -> None:
        instrument = self.cache.instrument(InstrumentId.from_str(INSTRUMENT))
        side = OrderSide.BUY if turn % 2 else OrderSide.SELL
        self.submit_order(self.order_factory.market(instrument.id, side, instrument.make_qty("0.1"), tags=tags))
