"""A busy node to be killed, and what it had acknowledged by then: strategy and ear run in the node."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderInitialized
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = "BTCUSDT-PERP.SIM2"
ORDERS_PER_S = 200
REST_EVERY = 4  # of so many orders one rests far from the market, and is cancelled a moment later
FAR = 0.9
ORDERS_WORKING_MAX = 20


class Busy(Strategy):
    """Buys and sells all the time, and cancels what rests."""

    def __init__(self, config: StrategyConfig | None = None) -> None:
        super().__init__(config or StrategyConfig(order_id_tag="001"))
        self._sent = 0

    def on_start(self) -> None:
        self._instrument = self.cache.instrument(InstrumentId.from_str(INSTRUMENT))
        self.subscribe_quote_ticks(self._instrument.id)

    def on_quote_tick(self, tick: Any) -> None:  # noqa: ARG002 - Nautilus's signature
        if not self._sent:
            self._trade()

    def _trade(self) -> None:
        if not self.is_running:
            return
        asyncio.get_running_loop().call_later(1 / ORDERS_PER_S, self._trade)
        side = OrderSide.BUY if self._sent % 2 else OrderSide.SELL
        quantity = self._instrument.make_qty("0.01")
        if self._sent % REST_EVERY:
            order = self.order_factory.market(self._instrument.id, side, quantity)
        else:
            bid = self.cache.quote_tick(self._instrument.id).bid_price
            price = self._instrument.make_price(bid.as_double() * FAR)
            order = self.order_factory.limit(self._instrument.id, OrderSide.BUY, quantity, price)
        self._sent += 1
        self.submit_order(order)
        resting = self.cache.orders_open(strategy_id=self.id)
        if len(resting) > ORDERS_WORKING_MAX:
            self.cancel_order(resting[0])


class EarConfig(ActorConfig, frozen=True):
    """Configuration of `Ear`: the file that gets a line for each event."""

    path: str = ""


class Ear(Actor):
    """Hears of an event of an order when the cache and the mirror have it, and writes at once that it was there.

    How an order begins is published before Nautilus puts it into its cache, and says nothing about that.
    """

    def __init__(self, config: EarConfig | None = None) -> None:
        config = config or EarConfig()
        super().__init__(config)
        self._path = config.path

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        msgbus.subscribe(topic="events.order.*", handler=self._hear, priority=0)

    def _hear(self, event: Any) -> None:
        if not isinstance(event, OrderInitialized):
            line = f"{event.id.value} {event.client_order_id.value} {type(event).__name__}\n"
            os.write(self._file, line.encode())

    def on_start(self) -> None:
        """Do nothing: it hears from its registration on."""

    def on_stop(self) -> None:
        """Do nothing: what the stop causes is heard, too."""
