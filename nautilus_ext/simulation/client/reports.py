"""What the engine is told when it asks: the exchange's states as reports, by what the engine knows already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import AccountId, ClientOrderId, InstrumentId, VenueOrderId

from nautilus_ext.simulation.client import parsing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock
    from nautilus_trader.common.providers import InstrumentProvider
    from nautilus_trader.execution.reports import (
        ExecutionMassStatus,
        FillReport,
        OrderStatusReport,
        PositionStatusReport,
    )
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order

    from nautilus_ext.simulation.client.stream import Picture
    from nautilus_ext.simulation.exchange.orders import Fill, OrderState

GIVEN_UP = (OrderStatus.REJECTED, OrderStatus.DENIED)


class Reports:
    """Of one account. It reads the cache, and changes nothing."""

    def __init__(self, account_id: AccountId, provider: InstrumentProvider, cache: Cache, clock: LiveClock) -> None:
        self._account_id = account_id
        self._provider = provider
        self._cache = cache
        self._clock = clock

    # -- what the engine knows ----------------------------------------------------------------------

    def instrument(self, name: str) -> Instrument | None:
        return self._cache.instrument(InstrumentId.from_str(name))

    def known(self, state: OrderState) -> Order | None:
        """The cached order that this is about; None when the engine does not know it, or has given it up.

        What it has given up comes back as a new order: that one is known by the venue's id.
        """
        order = self._cache.order(ClientOrderId(state.client_order_id))
        if order is not None and (order.status not in GIVEN_UP or state.status == "REJECTED"):
            return order
        own_id = self._cache.client_order_id(VenueOrderId(state.venue_order_id))
        if own_id is None or own_id.value == state.client_order_id:
            return None
        return self._cache.order(own_id)

    def is_foreign(self, state: OrderState) -> bool:
        """Whether the engine has given up the order of this name, after many questions without an answer."""
        return self._has_given_up(state.client_order_id) and state.status != "REJECTED"

    def _has_given_up(self, client_order_id: str) -> bool:
        order = self._cache.order(ClientOrderId(client_order_id))
        return order is not None and order.status in GIVEN_UP

    def not_in(self, picture: Picture, unspoken: Collection[str]) -> list[Order]:
        """What works as far as the engine knows, and is not in the picture. What is just being sent may well not be."""
        found = {id(self.known(state)) for state in picture.orders.values()}
        working = {*self._cache.orders_open(), *self._cache.orders_inflight()}
        return [
            order
            for order in working
            if order.account_id == self._account_id
            and order.client_order_id.value not in unspoken
            and id(order) not in found
        ]

    # -- reports ------------------------------------------------------------------------------------

    def of_orders(self, states: Iterable[OrderState]) -> list[OrderStatusReport]:
        """Without orders that never were: what was rejected interests only those who sent it."""
        wanted = (state for state in states if state.status != "REJECTED" or self.known(state) is not None)
        reports = (self.of_order(state) for state in wanted)
        return [report for report in reports if report is not None]

    def of_order(self, state: OrderState) -> OrderStatusReport | None:
        instrument = self.instrument(state.instrument_id)
        if instrument is None:
            return None
        report = parsing.to_order_report(
            state, instrument, self._account_id, self._clock.timestamp_ns(), foreign=self.is_foreign(state)
        )
        order = self.known(state)
        if order is not None:
            report.client_order_id = order.client_order_id
        return report

    def of_fills(self, fills: Iterable[Fill]) -> list[FillReport]:
        reports = (self.of_fill(fill) for fill in fills)
        return [report for report in reports if report is not None]

    def of_fill(self, fill: Fill) -> FillReport | None:
        instrument = self.instrument(fill.instrument_id)
        if instrument is None:
            return None
        foreign = self._has_given_up(fill.client_order_id)
        return parsing.to_fill_report(fill, instrument, self._account_id, self._clock.timestamp_ns(), foreign=foreign)

    def of_positions(self, picture: Picture, instrument_id: InstrumentId | None) -> list[PositionStatusReport]:
        """Of derivatives: what a spot account holds is its balances. Flat where only the engine has a position."""
        now_ns, reports = self._clock.timestamp_ns(), []
        for instrument in self._provider.list_all():
            if instrument_id not in (None, instrument.id) or not hasattr(instrument, "settlement_currency"):
                continue
            position = picture.positions.get(instrument.id.value)
            if position is not None and position.quantity:
                reports.append(parsing.to_position_report(position, instrument, self._account_id, now_ns))
            elif instrument_id is not None or self._has_position(instrument.id):
                reports.append(parsing.to_flat_report(instrument, self._account_id, now_ns))
        return reports

    def _has_position(self, instrument_id: InstrumentId) -> bool:
        return bool(self._cache.positions_open(instrument_id=instrument_id, account_id=self._account_id))

    def fill_in(self, status: ExecutionMassStatus, picture: Picture, vanished: Sequence[Order]) -> None:
        """A mass status with all of a picture, and with what works in the cache although the exchange has no record."""
        ended = [parsing.to_vanished_report(each, self._account_id, status.ts_init) for each in vanished]
        status.add_order_reports([*self.of_orders(picture.as_filled()), *ended])
        status.add_fill_reports(self.of_fills(sorted(picture.fills.values(), key=lambda each: each.ts_ns)))
        explained = picture.explained()
        positions = self.of_positions(picture, None)
        status.add_position_reports([each for each in positions if each.instrument_id.value not in explained])
