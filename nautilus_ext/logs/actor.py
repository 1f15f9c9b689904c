"""The actor that turns what happens to orders, positions and accounts into log records."""

import logging
from collections import deque
from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

from nautilus_ext.logs.intake import EVENTS_LOGGER, EventRecord
from nautilus_ext.logs.records import grouped

RECENT_EVENTS_MAX = 12
POSITIONS_NAMED_MAX = 5

_LOGGER = logging.getLogger(EVENTS_LOGGER)
_REFUSALS = frozenset({"OrderDenied", "OrderRejected", "OrderModifyRejected", "OrderCancelRejected"})
_FILE_ONLY = frozenset({"OrderInitialized", "OrderPendingUpdate", "OrderPendingCancel", "AccountState"})
_COUNTED = {
    "OrderSubmitted": "submitted",
    "OrderAccepted": "accepted",
    "OrderFilled": "filled",
    "OrderDenied": "denied",
    "OrderRejected": "rejected",
    "OrderCanceled": "canceled",
    "OrderExpired": "expired",
}


class EventLogConfig(ActorConfig, frozen=True):
    """Configuration of `EventLog`.

    Parameters
    ----------
    log_orders : bool, default True
        If every state change of an order that is not a fill becomes a record.
    log_fills : bool, default True
        If every fill becomes a record.
    log_positions : bool, default True
        If every opening, change and closing of a position becomes a record.
    log_accounts : bool, default True
        If every change of an account's balances becomes a record.

    """

    log_orders: bool = True
    log_fills: bool = True
    log_positions: bool = True
    log_accounts: bool = True


class EventLog(Actor):
    """One record per submission, fill and state change, on the logger `nautilus_ext.events`.

    `counts` and `recent` are for a live view in another thread. They count what is not logged, too.
    """

    def __init__(self, config: EventLogConfig | None = None) -> None:
        config = config or EventLogConfig()
        super().__init__(config)
        self._config = config
        self.counts = dict.fromkeys(_COUNTED.values(), 0)
        self.recent: deque[EventRecord] = deque(maxlen=RECENT_EVENTS_MAX)
        self.faults = 0
        self._found = dict.fromkeys(_COUNTED.values(), 0)
        self._started = False

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Subscribe here, before reconciliation and the first account state; events after our stop are real, too."""
        super().register_base(portfolio, msgbus, cache, clock)
        msgbus.subscribe(topic="events.order.*", handler=self._on_order)
        if self._config.log_positions:
            msgbus.subscribe(topic="events.position.*", handler=self._on_position)
        if self._config.log_accounts:
            msgbus.subscribe(topic="events.account.*", handler=self._on_account)

    def on_start(self) -> None:
        """What came before is history that the venues told: in the file event by event, on the terminal in a line."""
        self._started = True
        try:
            self._tell_what_was_found()
        except Exception:  # an exception in a start would end the node
            _LOGGER.exception("what the book begins with could not be told; events are logged from here on")

    def _tell_what_was_found(self) -> None:
        found = ", ".join(f"{count:,} {name}" for name, count in self._found.items() if count)
        positions, working = self.cache.positions_open(), self.cache.orders_open_count()
        if found or positions or working:
            _LOGGER.info(
                "orders from before, as the venues have them: %s; %s open; %s",
                found or "no news",
                f"{working:,}",
                _positions_line(positions),
            )

    def on_stop(self) -> None:
        """Nothing: what the strategies' stop causes comes later and is logged, too."""

    def recent_lines(self) -> list[str]:
        """The last order events, oldest first; for any thread."""
        return [record.getMessage() for record in list(self.recent)]

    def _on_order(self, event: Any) -> None:
        try:
            name = type(event).__name__
            counted = _COUNTED.get(name)
            if counted:
                (self.counts if self._started else self._found)[counted] += 1
            record = self._order_record(event, name)
            if record.shown:
                self.recent.append(record)
            if self._config.log_fills if name == "OrderFilled" else self._config.log_orders:
                _log(record)
        except Exception as e:  # noqa: BLE001  an exception in a subscriber would end the node
            self._failed_to_log(e)

    def _order_record(self, event: Any, name: str) -> EventRecord:
        order = self.cache.order(event.client_order_id)
        init, state = None, ()
        if order is not None:
            init = order.init_event
            price = order.price if order.has_price else None
            state = (order.quantity, order.filled_qty, price, order.trigger_price if order.has_trigger_price else None)
        levelno = logging.WARNING if name in _REFUSALS else logging.INFO
        return EventRecord(event, init, state, component="orders", levelno=levelno, shown=self._is_shown(name))

    def _on_position(self, event: Any) -> None:
        try:
            _log(EventRecord(event, None, (), component="positions", levelno=logging.INFO, shown=self._started))
        except Exception as e:  # noqa: BLE001  as above
            self._failed_to_log(e)

    def _on_account(self, event: Any) -> None:
        try:
            _log(EventRecord(event, None, (), component="accounts", levelno=logging.INFO, shown=False))
        except Exception as e:  # noqa: BLE001  as above
            self._failed_to_log(e)

    def _is_shown(self, name: str) -> bool:
        return self._started and name not in _FILE_ONLY

    def _failed_to_log(self, error: Exception) -> None:
        self.faults += 1
        if self.faults == 1:
            _LOGGER.error("an event could not be logged; further ones are only counted", exc_info=error)


def _positions_line(positions: list[Any]) -> str:
    if not positions:
        return "no position"
    shown = [
        f"{position.side.name} {grouped(str(position.quantity))} {position.instrument_id}"
        for position in positions[:POSITIONS_NAMED_MAX]
    ]
    more = len(positions) - len(shown)
    return f"positions {', '.join(shown)}{f' and {more:,} more' if more else ''}"


def _log(record: EventRecord) -> None:
    if _LOGGER.isEnabledFor(record.levelno):
        _LOGGER.handle(record)
