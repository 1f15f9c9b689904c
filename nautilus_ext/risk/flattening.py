"""Closes what is held in a scope with market orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.enums import OrderSide, OrderStatus, PositionSide
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.orders import MarketOrder

from nautilus_ext.risk.halts import Place, is_within
from nautilus_ext.risk.verdicts import Right
from nautilus_ext.seam import EXECUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_ext.risk.commands import Command

ATTEMPTS_MAX = 10  # orders for one position that came to nothing
ORDERS_MAX = 100  # of one position, each as large as its venue takes one
AGAIN_NS = 250_000_000  # between two of them


class Flattening:
    """One command's. It looks again whenever it is told to `advance`: what is rejected is tried in another way.

    Reduce-only first, so that nothing can flip, where the account knows that. A venue that does not take that, or that
    nets what two strategies hold against each other, gets an order of exactly what is held. Halts and limits let it
    pass, as they do by an override, with whoever has ordered it and why; only a limit of messages holds it for a while.
    """

    def __init__(self, msgbus: Any, cache: Any, clock: Any, command: Command, ordered: dict[str, Right]) -> None:
        self._msgbus = msgbus
        self._cache = cache
        self._clock = clock
        self._scope = command.what.scope
        until = f"{command.command_id} is done"
        self._right = Right(by=command.issued_by, why=command.what.why, until=until)
        self._ordered = ordered
        self._sent: dict[Any, list[Any]] = {}  # by position, its orders

    @property
    def closed(self) -> int:
        """Positions that were open and are not."""
        return len(self._sent) - sum(1 for position in self._open() if position.id in self._sent)

    def _open(self) -> Iterator[Any]:
        for position in self._cache.positions_open():
            place = Place(position.instrument_id.value, position.strategy_id.value, position.account_id.value)
            if is_within(place, self._scope):
                yield position

    def advance(self) -> None:
        now_ns = self._clock.timestamp_ns()
        for position in list(self._open()):
            orders = self._sent.setdefault(position.id, [])
            is_due = not orders or (orders[-1].is_closed and orders[-1].ts_last <= now_ns - AGAIN_NS)
            failed = sum(1 for order in orders if order.status != OrderStatus.FILLED)
            if is_due and failed < ATTEMPTS_MAX and len(orders) < ORDERS_MAX:
                orders.append(self._close(position, is_first=not failed))

    def left(self) -> list[str]:
        """What is still held, and why."""
        found = []
        for position in self._open():
            orders = self._sent.get(position.id)
            reason = getattr(orders[-1].last_event, "reason", "") if orders else ""
            about = f"position {position.id} {position.signed_decimal_qty()}"
            found.append(f"{about} ({reason})" if reason else about)
        return found

    def _part(self, position: Any) -> Any:
        """All of it, or as much as its venue takes at once."""
        instrument = self._cache.instrument(position.instrument_id)
        if instrument is None or instrument.max_quantity is None or position.quantity <= instrument.max_quantity:
            return position.quantity
        return instrument.make_qty(instrument.max_quantity)

    def _close(self, position: Any, *, is_first: bool) -> Any:
        account = self._cache.account(position.account_id)
        order = MarketOrder(
            trader_id=position.trader_id,
            strategy_id=position.strategy_id,
            instrument_id=position.instrument_id,
            client_order_id=ClientOrderId(UUID4().value),
            order_side=OrderSide.SELL if position.side == PositionSide.LONG else OrderSide.BUY,
            quantity=self._part(position),
            init_id=UUID4(),
            ts_init=self._clock.timestamp_ns(),
            reduce_only=is_first and account is not None and account.is_margin_account,
        )
        self._ordered[order.client_order_id.value] = self._right
        client_id = self._cache.client_id(position.opening_order_id)
        self._cache.add_order(order, position.id, client_id)
        self._msgbus.publish(topic=f"events.order.{order.strategy_id}", msg=order.init_event)
        ids = {"trader_id": order.trader_id, "strategy_id": order.strategy_id, "client_id": client_id}
        now_ns = self._clock.timestamp_ns()
        command = SubmitOrder(order=order, command_id=UUID4(), ts_init=now_ns, position_id=position.id, **ids)
        self._msgbus.send(EXECUTE, command)
        return order
