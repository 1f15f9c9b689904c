"""What the exchange's stream tells of orders that the engine knows, as the engine's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.model.identifiers import TradeId, VenueOrderId

from nautilus_ext.simulation.client import parsing
from nautilus_ext.simulation.exchange import orders as told

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.live.execution_client import LiveExecutionClient
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order

POST_ONLY = "POST_ONLY_WOULD_TAKE"


class Events:
    """Of one client, whose `generate_…` methods hand them to the engine."""

    def __init__(self, client: LiveExecutionClient, cache: Cache, log: Any) -> None:
        self._client = client
        self._cache = cache
        self._log = log
        self._handlers: dict[type, Callable[[Order, Any, Instrument], None]] = {
            told.Accepted: self._on_accepted,
            told.Rejected: self._on_rejected,
            told.Updated: self._on_updated,
            told.Triggered: self._on_triggered,
            told.Filled: self._on_filled,
            told.Canceled: self._on_canceled,
            told.Expired: self._on_expired,
        }

    def tell(self, order: Order, event: told.OrderEvent, instrument: Instrument) -> None:
        self._handlers[type(event)](order, event, instrument)

    def reject(self, order: Order, reason: str, ts_ns: int) -> None:
        self._client.generate_order_rejected(
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            reason,
            ts_ns,
            due_post_only=reason.startswith(POST_ONLY),
        )

    def _on_accepted(self, order: Order, event: told.Accepted, instrument: Instrument) -> None:
        state = event.order
        venue_order_id = VenueOrderId(state.venue_order_id)
        if order.venue_order_id is None:
            self._cache.add_venue_order_id(order.client_order_id, venue_order_id)  # the event itself is queued
            self._client.generate_order_accepted(
                order.strategy_id, order.instrument_id, order.client_order_id, venue_order_id, state.ts_last_ns
            )
        if order.is_quote_quantity:
            self._send_update(order, state, instrument)

    def _on_rejected(self, order: Order, event: told.Rejected, _instrument: Instrument) -> None:
        state = event.order
        self.reject(order, state.reason, state.ts_last_ns)

    def _on_updated(self, order: Order, event: told.Updated, instrument: Instrument) -> None:
        self._send_update(order, event.order, instrument)

    def _send_update(self, order: Order, state: told.OrderState, instrument: Instrument) -> None:
        trigger = state.trigger_price
        self._client.generate_order_updated(
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            VenueOrderId(state.venue_order_id),
            parsing.to_quantity(state.size, instrument),
            parsing.to_price(state.price, instrument) if state.price is not None else None,
            parsing.to_price(trigger, instrument) if trigger is not None else None,
            state.ts_last_ns,
            is_quote_quantity=False,  # the exchange counts in the instrument's own unit
        )

    def _on_triggered(self, order: Order, event: told.Triggered, _instrument: Instrument) -> None:
        if event.order.type in parsing.TRIGGERED_STATE:
            self._client.generate_order_triggered(*_key(order, event.order))

    def _on_filled(self, order: Order, event: told.Filled, instrument: Instrument) -> None:
        fill, trade_id = event.fill, TradeId(event.fill.trade_id)
        if trade_id in order.trade_ids:
            return
        self._client.generate_order_filled(
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            VenueOrderId(fill.venue_order_id),
            None,
            trade_id,
            order.side,
            order.order_type,
            parsing.to_quantity(fill.quantity, instrument),
            parsing.to_price(fill.price, instrument),
            instrument.quote_currency,
            parsing.to_money(fill.fee, fill.fee_currency),
            parsing.liquidity(fill),
            fill.ts_ns,
        )

    def _on_canceled(self, order: Order, event: told.Canceled, _instrument: Instrument) -> None:
        if event.order.reason:
            self._log.info(f"{order.client_order_id} is canceled by the exchange: {event.order.reason}")
        self._client.generate_order_canceled(*_key(order, event.order))

    def _on_expired(self, order: Order, event: told.Expired, _instrument: Instrument) -> None:
        self._client.generate_order_expired(*_key(order, event.order))


def _key(order: Order, state: told.OrderState) -> tuple[Any, ...]:
    """What most events need to know."""
    venue_order_id = VenueOrderId(state.venue_order_id)
    return order.strategy_id, order.instrument_id, order.client_order_id, venue_order_id, state.ts_last_ns
