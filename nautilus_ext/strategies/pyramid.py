"""Add to a position that runs, and keep what was done in the portfolio's tables, so that a restart goes on from there.

A signal is claimed before its order is sent: the same one is acted upon once, also across restarts. Each entry is a row
of its own with its own stop. The store answers later (live) or at once (backtest); without it nothing is sent.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace
from nautilus_trader.core.message import Event
from nautilus_trader.model.data import Bar
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderFilled, OrderUpdated
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.messages import Answer
from nautilus_ext.schema.portfolio_rows import PositionRow, Signal, SignalOutcome
from nautilus_ext.strategies import pyramid_rules as rules
from nautilus_ext.strategies.pyramid_resume import match_venue
from nautilus_ext.strategies.pyramid_rows import PyramidRows

BASE, ADDITION = "BASE_ENTRY", "PYRAMID"


class Pyramid:
    """The entries of one strategy in one instrument: `on_bar` decides, and what becomes of the orders becomes rows."""

    def __init__(
        self,
        strategy: Strategy,
        instrument: Instrument,
        *,
        additions_max: int,
        step_bps: Decimal,
        enter: Callable[[OrderSide, Decimal, ClientOrderId], bool],
    ) -> None:
        self.strategy, self.instrument, self.cache, self._log = strategy, instrument, strategy.cache, strategy.log
        self.additions_max, self.step_bps, self.enter = additions_max, step_bps, enter
        multiplier, digits = instrument.multiplier.as_decimal(), instrument.get_cost_currency().precision
        self.contract = rules.Contract(multiplier, instrument.is_inverse, digits)
        self.rows = PyramidRows(strategy, instrument, partial(match_venue, self))
        self.entry: Signal | None = None  # what is asked for or under way: one at a time
        strategy.msgbus.subscribe(f"events.order.{strategy.id}", self.on_order_event)  # also after the strategy's stop
        self.rows.read()

    # -- decisions

    def on_bar(self, bar: Bar, trend: OrderSide, *, crossed: bool) -> None:
        if not self.rows.are_settled() or self.entry is not None:
            return
        state, price = self.rows.state, bar.close.as_decimal()
        if not self.rows.open:
            if self.held() != 0:
                self.rows.hold_fire("the venue holds a position that no row tells of: close it by hand")
            elif crossed:
                self.claim(BASE, "LONG" if trend == OrderSide.BUY else "SHORT", bar)
        elif state.pyramid_count < self.additions_max and state.last_pyramid_price is not None:
            side = next(iter(self.rows.open.values())).side
            if rules.is_step(side, state.last_pyramid_price, price, self.step_bps):
                self.claim(ADDITION, side, bar)

    def claim(self, kind: str, side: str, bar: Bar) -> None:
        """The answer says whether this signal is ours to act upon."""
        self.entry = Signal(
            **self.rows.key,
            fingerprint=rules.fingerprint(**self.rows.key, kind=kind, bar_ns=bar.ts_event),
            signal_type=kind,
            signal_ns=bar.ts_event,
            client_order_id=self.strategy.order_factory.generate_client_order_id().value,
        )
        self.rows.ask(self.entry, partial(self.claimed, self.entry, side, bar.close.as_decimal()))

    def claimed(self, signal: Signal, side: str, price: Decimal, answer: Answer) -> None:
        if answer.problem:
            self.entry = None
            self.rows.hold_fire(answer.problem)
        elif not answer.value:
            self.entry = None
            self._log.warning(f"Duplicate signal refused, it was acted upon before: {signal.fingerprint}")
        elif not self.strategy.is_running or (signal.signal_type == ADDITION and not self.rows.open):
            self.ended(signal, "the position or the strategy ended before the order was sent")
        elif not self.enter(OrderSide.BUY if side == "LONG" else OrderSide.SELL, price, self.order_id(signal)):
            self.ended(signal, "no order was sent")

    def order_id(self, signal: Signal) -> ClientOrderId:
        return ClientOrderId(signal.client_order_id)

    def ended(self, signal: Signal, reason: str, outcome: Any = "rejected") -> None:
        if self.entry is signal:
            self.entry = None
        self.rows.mark(SignalOutcome(signal.fingerprint, outcome, reason))
        self.rows.save()

    def held(self) -> Decimal:
        """What the strategy holds at the venue, signed."""
        mine = self.cache.positions_open(instrument_id=self.instrument.id, strategy_id=self.strategy.id)
        return sum((position.signed_decimal_qty() for position in mine), Decimal(0))

    def stop(self) -> None:
        """No bar comes after this: what is not in the tables yet is tried once more."""
        if self.rows.was_read:  # if not, nothing was sent, and the next start matches what there is
            self.rows.are_settled()

    def forget(self) -> None:
        """Before another one takes over: of two, both would write."""
        self.strategy.msgbus.unsubscribe(f"events.order.{self.strategy.id}", self.on_order_event)

    # -- what became of the orders

    def on_order_event(self, event: Event) -> None:
        try:
            order = self.cache.order(event.client_order_id)
            if order is not None:  # at its OrderInitialized it is not there yet
                self.follow(event, order)
                self.rows.save()
        except Exception as error:  # noqa: BLE001 - in a subscriber it would end the node
            self._log.exception("The pyramid could not follow an order event", error)

    def follow(self, event: Any, order: Order) -> None:
        name = event.client_order_id.value
        if self.entry is not None and name == self.entry.client_order_id:
            self.entered(self.entry, order, self.fee(event) if isinstance(event, OrderFilled) else Decimal(0))
        elif isinstance(event, OrderFilled):
            self.exited(event, name)
        elif isinstance(event, OrderUpdated) and name.endswith(rules.STOP):
            row = self.rows.open.get(name.removesuffix(rules.STOP))
            if row is not None:
                self.rows.put(replace(row, current_stop=order.trigger_price.as_decimal()))

    def fee(self, event: OrderFilled) -> Decimal:
        return event.commission.as_decimal() if event.commission.currency == self.rows.currency else Decimal(0)

    def entered(self, signal: Signal, order: Order, fee: Decimal) -> None:
        """The row of an entry grows with its fills; with the first one the pyramid does, too."""
        if order.filled_qty > 0:
            name, known = order.client_order_id.value, self.rows.open.get(order.client_order_id.value)
            row, state = self.row_of(signal, order, known, fee), self.rows.state
            self.rows.put(row)
            self.rows.state = replace(
                state,
                base_position_id=state.base_position_id or name,
                pyramid_count=state.pyramid_count + (known is None and not row.is_base_position),
                last_pyramid_price=row.entry_price,
            )
            if known is None:
                self.raise_stops(row)
        if order.is_closed:
            self.ended(signal, order.status_string(), "executed" if order.filled_qty > 0 else "rejected")

    def row_of(self, signal: Signal, order: Order, known: PositionRow | None, fee: Decimal) -> PositionRow:
        quantity, price = order.filled_qty.as_decimal(), Decimal(str(order.avg_px))
        if known is not None:
            realized = (known.realized_pnl or Decimal(0)) - fee
            return replace(known, quantity=quantity, entry_price=price, realized_pnl=realized)
        name, stop = order.client_order_id.value, self.exit_order(order.client_order_id.value, rules.STOP)
        trigger = stop.trigger_price.as_decimal() if stop is not None else None
        return PositionRow(
            **self.rows.key,
            position_id=name,
            side="LONG" if order.is_buy else "SHORT",
            is_base_position=self.rows.state.base_position_id is None,
            quantity=quantity,
            entry_price=price,
            initial_stop=trigger,
            current_stop=trigger,
            realized_pnl=-fee,
            currency=self.rows.currency.code,
            fingerprint=signal.fingerprint,
            opened_ns=order.ts_last,
        )

    def exit_order(self, position_id: str, suffix: str) -> Order | None:
        return self.cache.order(ClientOrderId(position_id + suffix))

    def raise_stops(self, newest: PositionRow) -> None:
        """The whole pyramid is protected where its newest entry is; the rows follow when the venue has agreed."""
        for row in self.rows.open.values():
            stop = self.exit_order(row.position_id, rules.STOP)
            if stop is None or stop.is_closed or newest.current_stop is None:
                continue
            if rules.towards(row.side) * (newest.current_stop - stop.trigger_price.as_decimal()) > 0:
                self.strategy.modify_order(stop, trigger_price=self.instrument.make_price(newest.current_stop))

    def exited(self, event: OrderFilled, name: str) -> None:
        """An exit closes its own row; whatever else closes the position, the oldest row first."""
        side = "LONG" if event.order_side == OrderSide.SELL else "SHORT"
        rows = [row for row in self.rows.open.values() if row.side == side]
        own = self.rows.open.get(name.removesuffix(rules.STOP).removesuffix(rules.TARGET))
        reason = "stop" if name.endswith(rules.STOP) else "target" if name.endswith(rules.TARGET) else "closed"
        quantity = event.last_qty.as_decimal()
        for row, part in rules.apportion([own] if own else rows, quantity):
            fee = self.fee(event) * part / quantity
            self.close(row, rules.Exit(part, event.ts_event, reason, event.last_px.as_decimal(), fee))

    def close(self, row: PositionRow, out: rules.Exit) -> None:
        self.rows.put(rules.with_exit(row, out, self.contract))
