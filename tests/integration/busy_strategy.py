"""A strategy that never rests: with each quote an order that rests, a cancel of the last one, and a fill."""

from __future__ import annotations

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = "BTCUSDT-PERP.SIM2"
SIZE = "0.01"


class BusyConfig(StrategyConfig, frozen=True):
    """Nothing to set."""


class Busy(Strategy):
    """Opens a position with one quote and closes it with a later one; what it was refused it tries again."""

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(InstrumentId.from_str(INSTRUMENT))
        self.resting = None
        self.subscribe_quote_ticks(self.instrument.id)

    def on_quote_tick(self, tick) -> None:
        if self.resting is not None and self.resting.is_open:
            self.cancel_order(self.resting)
        of, size, price = self.instrument.id, self.instrument.make_qty(SIZE), self.instrument.make_price
        held = sum(position.signed_qty for position in self.cache.positions_open(strategy_id=self.id))
        far = price(tick.bid_price.as_double() * 0.95)
        self.resting = self.order_factory.limit(of, OrderSide.BUY, size, far)
        self.submit_order(self.resting)
        if not self.cache.orders_inflight(strategy_id=self.id):
            side = OrderSide.SELL if held > 0 else OrderSide.BUY
            self.submit_order(self.order_factory.market(of, side, size))

    def on_stop(self) -> None:
        self.cancel_all_orders(self.instrument.id)
        self.close_all_positions(self.instrument.id)
