"""Components for the configs of tests: one writes each order event to a file, one sends parents to an algorithm."""

import json
from decimal import Decimal
from pathlib import Path

from nautilus_trader.common.actor import Actor
from nautilus_trader.config import ActorConfig, StrategyConfig
from nautilus_trader.model.enums import OrderSide, OrderType, TimeInForce
from nautilus_trader.model.events import OrderFilled, OrderInitialized, OrderUpdated
from nautilus_trader.model.identifiers import ExecAlgorithmId, InstrumentId
from nautilus_trader.trading.strategy import Strategy

NO_ORDER = -1


class OrderRecorderConfig(ActorConfig, frozen=True):
    path: str


class OrderRecorder(Actor):
    """All strategies' events in their order. Ids hold the time, so an order is named by its place in the sequence."""

    def __init__(self, config: OrderRecorderConfig) -> None:
        super().__init__(config)
        self.places: dict[str, int] = {}
        self.file = None

    def register_base(self, portfolio, msgbus, cache, clock):
        super().register_base(portfolio, msgbus, cache, clock)
        msgbus.subscribe("events.order.*", self.on_any)

    def on_start(self) -> None:
        self.log.info("recording")

    def on_stop(self) -> None:
        """Actors stop before strategies do: what those send at their stop comes later."""

    def on_any(self, event) -> None:
        if self.file is None:
            self.file = Path(self.config.path).open("w")  # noqa: SIM115 - open as long as the process: events come to the last
        name = event.client_order_id.value
        record = {"event": type(event).__name__, "ts": self.clock.timestamp_ns()}
        if isinstance(event, OrderInitialized):
            self.places[name] = len(self.places)
            record |= self.order(event, name)
        elif isinstance(event, OrderFilled):
            record |= {"fill": f"{event.last_qty} @ {event.last_px}"}
        elif isinstance(event, OrderUpdated):
            record |= {"update": f"{event.quantity} @ {event.price}, {event.trigger_price}"}
        record |= {"order": self.places[name], "venue": event.instrument_id.venue.value}
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def order(self, event: OrderInitialized, name: str) -> dict:
        parent = event.exec_spawn_id.value if event.exec_spawn_id else None
        return {
            "strategy": event.strategy_id.value,
            "instrument": event.instrument_id.value,
            "side": OrderSide(event.side).name,
            "type": OrderType(event.order_type).name,
            "quantity": str(event.quantity),
            "price": event.options.get("price"),
            "trigger": event.options.get("trigger_price"),
            "tif": TimeInForce(event.time_in_force).name,
            "tags": event.tags,
            "parent": self.places.get(parent, NO_ORDER),
            "slice": name.removeprefix(parent) if parent else "",
        }


class ParentSenderConfig(StrategyConfig, frozen=True):
    instrument_id: InstrumentId
    at_quotes: tuple[int, ...]
    quantity: Decimal
    horizon_s: float
    interval_s: float


class ParentSender(Strategy):
    """Sends a parent to Nautilus's TWAP at some quotes, counted from the first, in turns to buy and to sell."""

    def __init__(self, config: ParentSenderConfig) -> None:
        super().__init__(config)
        self.seen = 0

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self.config.instrument_id)
        self.subscribe_quote_ticks(self.config.instrument_id)

    def on_quote_tick(self, tick) -> None:  # noqa: ARG002 - Nautilus's signature
        if self.seen in self.config.at_quotes:
            self.send(OrderSide.SELL if self.config.at_quotes.index(self.seen) % 2 else OrderSide.BUY)
        self.seen += 1

    def send(self, side: OrderSide) -> None:
        order = self.order_factory.market(
            self.config.instrument_id,
            side,
            self.instrument.make_qty(self.config.quantity),
            tags=[f"parent-at-quote-{self.seen}"],
            exec_algorithm_id=ExecAlgorithmId("TWAP"),
            exec_algorithm_params={"horizon_secs": self.config.horizon_s, "interval_secs": self.config.interval_s},
        )
        self.submit_order(order)
