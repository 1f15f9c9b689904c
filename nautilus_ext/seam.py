"""Where the suite stands in the way of an order: an endpoint taken over, and refusals said in Nautilus's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.events import OrderCancelRejected, OrderDenied, OrderModifyRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    type Handler = Callable[[Any], None]

EXECUTE = "ExecEngine.execute"
PROCESS = "ExecEngine.process"
EMULATOR = "OrderEmulator.execute"


class _Anyone:
    """Equal to every handler, and remembers it: how a bus hands over the one at an endpoint."""

    handler: Any = None

    def __call__(self, _message: Any) -> None:
        """Be a handler, never called."""

    def __eq__(self, other: object) -> bool:
        self.handler = other
        return True

    __hash__ = None  # type: ignore[assignment] - equal to everything


def take_over(msgbus: Any, endpoint: str, handler: Handler) -> Handler:
    """Register a handler instead of the one that is there, and return that one."""
    before = _taken(msgbus, endpoint)
    msgbus.register(endpoint, handler)
    return before


def owner_of(msgbus: Any, endpoint: str) -> Any:
    """Whose method hears an endpoint: the engine itself, as long as nobody has taken it over."""
    handler = _taken(msgbus, endpoint)
    msgbus.register(endpoint, handler)
    return getattr(handler, "__self__", None)


def _taken(msgbus: Any, endpoint: str) -> Any:
    probe = _Anyone()
    msgbus.deregister(endpoint, probe)
    assert probe.handler is not None, f"nobody hears {endpoint}"
    return probe.handler


def submitted(command: Any) -> list[Any]:
    """The orders that a command would send: none for anything but a submit."""
    if isinstance(command, SubmitOrder):
        return [command.order]
    return list(command.order_list.orders) if isinstance(command, SubmitOrderList) else []


def cancel_of(order: Any, client_id: Any = None) -> CancelOrder:
    """As its strategy would send it."""
    return CancelOrder(
        trader_id=order.trader_id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        command_id=UUID4(),
        ts_init=order.ts_last,
        client_id=client_id,
    )


def batch_of(command: Any, cancels: list[Any]) -> BatchCancelOrders:
    """Of the cancels of a batch those that are left."""
    return BatchCancelOrders(
        trader_id=command.trader_id,
        strategy_id=command.strategy_id,
        instrument_id=command.instrument_id,
        cancels=cancels,
        command_id=UUID4(),
        ts_init=command.ts_init,
        client_id=command.client_id,
        params=command.params,
    )


def can_be_denied(command: Any) -> bool:
    """Tell what may be refused when in doubt; a cancel goes on: it makes nothing larger."""
    return isinstance(command, (SubmitOrder, SubmitOrderList, ModifyOrder))


def deny(
    msgbus: Any, cache: Any, command: Any, reason: str, now_ns: int, *, orders: Sequence[Any] | None = None
) -> None:
    """Say it in Nautilus's words: an order that is not sent is DENIED, a change of one is refused.

    `orders` are those of the command that hear it; all of them when it is not given.
    """
    for order in submitted(command) if orders is None else orders:
        if not cache.order_exists(order.client_order_id):
            cache.add_order(order, command.position_id, command.client_id)
        if not order.is_closed:
            deny_order(msgbus, order, reason, now_ns)
    if isinstance(command, ModifyOrder):
        msgbus.send(PROCESS, OrderModifyRejected(*_refused(cache, command, reason, now_ns)))


def deny_order(msgbus: Any, order: Any, reason: str, now_ns: int) -> None:
    """Of one that is in the cache."""
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    msgbus.send(PROCESS, OrderDenied(*ids, reason, UUID4(), now_ns))


def deny_cancel(msgbus: Any, cache: Any, cancel: Any, reason: str, now_ns: int) -> None:
    """Of one CancelOrder, also of one within a batch."""
    msgbus.send(PROCESS, OrderCancelRejected(*_refused(cache, cancel, reason, now_ns)))


def _refused(cache: Any, command: Any, reason: str, now_ns: int) -> tuple[Any, ...]:
    order = cache.order(command.client_order_id)
    account_id = None if order is None else order.account_id
    ids = (command.trader_id, command.strategy_id, command.instrument_id, command.client_order_id)
    return (*ids, command.venue_order_id, account_id, reason, UUID4(), now_ns, now_ns)
