"""A strategy that does anything at any time, from a seed: what the fault runs trade with."""

import random

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

WORKING_MAX = 12
ACTIONS = (
    ("market", 3),
    ("touch", 4),
    ("near", 6),
    ("far", 3),
    ("stop", 2),
    ("post_only", 2),
    ("ioc", 2),
    ("fok", 1),
    ("bracket", 2),
    ("modify", 4),
    ("cancel", 4),
    ("cancel_twice", 1),
    ("cancel_all", 1),
    ("close", 1),
)


class MonkeyConfig(StrategyConfig, frozen=True, kw_only=True):
    """Config of the Monkey.

    Parameters
    ----------
    instrument_ids : list[str]
        Where it trades.
    seed : int
        What it does.

    """

    instrument_ids: list[str]
    seed: int = 1


class Monkey(Strategy):
    """One action per quote until it is told to stop."""

    def __init__(self, config: MonkeyConfig) -> None:
        super().__init__(config)
        self._rng = random.Random(config.seed)
        self._names = [name for name, _ in ACTIONS]
        self._weights = [weight for _, weight in ACTIONS]
        self.active = True
        self.acted = 0

    def on_start(self) -> None:
        for name in self.config.instrument_ids:
            self.subscribe_quote_ticks(InstrumentId.from_str(name))

    def on_quote_tick(self, tick) -> None:
        if not self.active:
            return
        (action,) = self._rng.choices(self._names, self._weights)
        working = self.cache.orders_open(strategy_id=self.id) + self.cache.orders_inflight(strategy_id=self.id)
        if len(working) >= WORKING_MAX and not action.startswith(("modify", "cancel", "close")):
            action = "cancel"
        self.acted += 1
        self._act(action, tick)

    def _act(self, action, tick) -> None:
        if action in {"modify", "cancel", "cancel_twice", "cancel_all", "close"}:
            getattr(self, f"_{action}")(tick)
        else:
            self._submit(action, tick)

    def _submit(self, action, tick) -> None:
        instrument = self.cache.instrument(tick.instrument_id)
        side = self._rng.choice((OrderSide.BUY, OrderSide.SELL))
        buying = side == OrderSide.BUY
        quantity = instrument.make_qty(instrument.min_quantity.as_decimal() * self._rng.choice((1, 5, 50, 400)))
        touch, other = (tick.bid_price, tick.ask_price) if buying else (tick.ask_price, tick.bid_price)
        outwards = instrument.price_increment * (-1 if buying else 1)
        make, new = instrument.make_price, self.order_factory
        here = (tick.instrument_id, side, quantity)
        if action == "bracket":
            target, stop = make(touch - 20 * outwards), make(touch + 20 * outwards)
            legs = {"tp_price": target, "sl_trigger_price": stop}
            self.submit_order_list(new.bracket(instrument_id=instrument.id, order_side=side, quantity=quantity, **legs))
        elif action == "market":
            self.submit_order(new.market(*here))
        elif action == "stop":
            self.submit_order(new.stop_market(*here, make(other - 5 * outwards)))
        elif action in {"ioc", "fok"}:
            self.submit_order(new.limit(*here, other, time_in_force=TimeInForce[action.upper()]))
        else:
            ticks = {"near": 3, "far": 300, "touch": 0, "post_only": 1}[action]
            self.submit_order(new.limit(*here, make(touch + ticks * outwards), post_only=action == "post_only"))

    def _modify(self, _tick) -> None:
        for order in self._one():
            if not order.has_price:
                continue
            instrument = self.cache.instrument(order.instrument_id)
            half = instrument.make_qty(max(instrument.min_quantity.as_decimal(), order.quantity.as_decimal() / 2))
            price = instrument.make_price(order.price + self._rng.randint(-5, 5) * instrument.price_increment)
            changes = self._rng.choice(({"price": price}, {"quantity": half}, {"price": price, "quantity": half}))
            self.modify_order(order, **changes)

    def _cancel(self, _tick) -> None:
        for order in self._one():
            self.cancel_order(order)

    def _cancel_twice(self, _tick) -> None:
        for order in self._one():
            self.cancel_order(order)
            self.cancel_order(order)

    def _cancel_all(self, tick) -> None:
        self.cancel_all_orders(tick.instrument_id)

    def _close(self, tick) -> None:
        self.close_all_positions(tick.instrument_id)

    def _one(self):
        orders = sorted(self.cache.orders_open(strategy_id=self.id), key=lambda order: order.client_order_id.value)
        return [self._rng.choice(orders)] if orders else []
