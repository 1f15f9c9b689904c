"""Nautilus's sandbox that remembers: what an account had when the node ended is what it has when the node starts again.

The matching, the fills and the events are Nautilus's own. Beside them balances, positions and working orders go to a
file at each change; at the start they come back under their strategies, orders into the matching engine.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.adapters.sandbox.execution import SandboxExecutionClient
from nautilus_trader.common.enums import LogColor
from nautilus_trader.live.factories import LiveExecClientFactory
from nautilus_trader.model.enums import LiquiditySide, OrderType
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, PositionId

from nautilus_ext.simulation.sandbox.memory import (
    Change,
    Memory,
    OrderRecord,
    Owner,
    PositionRecord,
    still_needed,
)
from nautilus_ext.simulation.sandbox.records import (
    exact,
    instrument_of,
    instrument_record,
    order_of,
    order_record,
    position_of,
    position_record,
    relatives,
)
from nautilus_ext.simulation.sandbox.reports import order_report, position_reports

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus
    from nautilus_trader.execution.messages import (
        GenerateOrderStatusReport,
        GenerateOrderStatusReports,
        GeneratePositionStatusReports,
    )
    from nautilus_trader.execution.reports import OrderStatusReport, PositionStatusReport
    from nautilus_trader.model.instruments import Instrument
    from nautilus_trader.model.orders import Order
    from nautilus_trader.portfolio import PortfolioFacade

    from nautilus_ext.simulation.sandbox.config import RememberingSandboxConfig
    from nautilus_ext.simulation.sandbox.memory import Remembered

EVENTS_ENDPOINT = "ExecEngine.process"
NOT_REMEMBERED = (
    "not remembered: closed orders and positions, orders that the node itself held (emulated, algorithm parents), "
    "and what the market did while the node was down"
)


class RememberingSandboxClient(SandboxExecutionClient):
    """The sandbox of one venue. Owns its memory from its creation until `dispose`."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        portfolio: PortfolioFacade,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: RememberingSandboxConfig,
    ) -> None:
        owner = Owner(
            trader_id=msgbus.trader_id.value,
            venue=config.venue,
            account_type=config.account_type,
            oms_type=config.oms_type,
            base_currency=config.base_currency,
        )
        self._memory = Memory(config.memory_path(owner.trader_id), owner)
        known = self._memory.remembered
        if known.balances:
            config = msgspec.structs.replace(config, starting_balances=list(known.balances.values()))
        super().__init__(loop=loop, portfolio=portfolio, msgbus=msgbus, cache=cache, clock=clock, config=config)
        self._is_restored = False
        self._is_closed = False
        self._is_save_due = False
        self._is_failing = False
        self._orders_changed: set[ClientOrderId] = set()
        self._positions_changed: set[PositionId] = set()
        self._instruments_written: dict[str, Instrument] = {}

    def connect(self) -> None:
        if self._is_restored:
            super().connect()
            return
        for definition in self._memory.remembered.instruments.values():
            instrument = instrument_of(definition)
            if self._cache.instrument(instrument.id) is None:  # the data client's own follows when it is there
                self._cache.add_instrument(instrument)
        super().connect()
        self._restore()
        self._is_restored = True
        for topic, handler in self._handlers().items():
            self._msgbus.subscribe(topic, handler)
        self._save()

    def _handlers(self) -> dict[str, Any]:
        return {
            "events.order.*": self._on_order,
            "events.position.*": self._on_position,
            f"events.account.{self.account_id}": self._on_account,
        }

    def disconnect(self) -> None:
        super().disconnect()
        self._save()

    def dispose(self) -> None:
        if not self._is_closed:
            self._save()
            self._is_closed = True
            self._memory.close()
        super().dispose()

    # -- after a restart ----------------------------------------------------------------------------

    def _restore(self) -> None:
        known = self._memory.remembered
        needed = still_needed(known.orders)
        lost: list[OrderRecord | PositionRecord] = []
        for record in (*known.orders, *known.positions):
            if isinstance(record, PositionRecord) or record.client_order_id in needed:
                try:
                    self._into_cache(record)
                except Exception as error:  # noqa: BLE001 - one record must not keep the node from all the others
                    self._log.error(f"{record}: {type(error).__name__}: {error}")
                    lost.append(record)
        working = self._working()
        refused = self._into_matching(working)
        self._forget(known, needed, lost)
        self._tell(known, len(working) - len(refused), [*lost, *(order_record(each, None) for each in refused)])

    def _into_cache(self, record: OrderRecord | PositionRecord) -> None:
        """As they were, under their strategy; nothing is published, as with Nautilus's own cache of a database."""
        if isinstance(record, OrderRecord):
            order_id = ClientOrderId(record.client_order_id)
            instrument = self.exchange.instruments[InstrumentId.from_str(record.initialized["instrument_id"])]
            if self._cache.order(order_id) is None:
                position_id = PositionId(record.position_id) if record.position_id is not None else None
                self._add_order(order_of(record, self.account_id, instrument), position_id)
        elif self._cache.position(PositionId(record.position_id)) is None:
            instrument = self.exchange.instruments[InstrumentId.from_str(record.instrument_id)]
            position, order = position_of(record, self._msgbus.trader_id, self.account_id, instrument)
            if self._cache.order(order.client_order_id) is None:
                self._add_order(order, position.id)
            self._cache.add_position(position, self.oms_type)

    def _add_order(self, order: Order, position_id: PositionId | None) -> None:
        self._cache.add_order(order, position_id, self.id)
        self._cache.update_order(order)

    def _into_matching(self, orders: list[Order]) -> list[Order]:
        """Orders go back without an event: nobody hears what the engine says. What it cannot hold is cancelled."""
        held = [each for each in orders if each.order_type != OrderType.MARKET]
        refused = [each for each in orders if each.order_type == OrderType.MARKET]
        with _unheard(self._msgbus):
            for order in held:
                if order.filled_qty > 0:  # before any goes back: the fill of one leg would take out another
                    self._engine(order).fill_order(order, exact(order.avg_px), order.filled_qty, LiquiditySide.MAKER)
            for order in held:
                self._engine(order).accept_order(order)
        for order in refused:
            self.generate_order_canceled(
                order.strategy_id, order.instrument_id, order.client_order_id, order.venue_order_id, order.ts_last
            )
        return refused

    def _engine(self, order: Order) -> Any:
        return self.exchange.get_matching_engine(order.instrument_id)

    def _forget(self, known: Remembered, needed: set[str], lost: list[OrderRecord | PositionRecord]) -> None:
        gone = [each.client_order_id for each in known.orders if each.client_order_id not in needed or each in lost]
        positions_gone = [each.position_id for each in known.positions if each in lost]
        self._write(Change(orders_gone=gone, positions_gone=positions_gone))

    def _tell(self, known: Remembered, orders: int, lost: list[OrderRecord | PositionRecord]) -> None:
        if self._memory.set_aside:
            self._log.warning(f"Starts anew, from the configured balances: {self._memory.set_aside}")
        if not known.balances:
            self._log.info(f"Remembers from now on, in {self._memory.path}; {NOT_REMEMBERED}", LogColor.BLUE)
            return
        held = f"{', '.join(known.balances.values())}; positions open: {len(known.positions)}"
        again = f"orders working again: {orders} (from {self._memory.path})"
        self._log.info(f"As it was: {held}; {again}; {NOT_REMEMBERED}", LogColor.BLUE)
        if lost:
            self._log.warning(f"Could not be put back and is cancelled: {'; '.join(str(each) for each in lost)}")

    # -- what changed -------------------------------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        if event.instrument_id.venue == self.venue:
            self._orders_changed.add(event.client_order_id)
            self._wake()

    def _on_position(self, event: Any) -> None:
        if event.account_id == self.account_id:
            self._positions_changed.add(event.position_id)
            self._wake()

    def _on_account(self, _event: Any) -> None:
        self._wake()

    def _wake(self) -> None:
        """A fill, its position and its balance are events of one turn of the loop: written together or not at all."""
        if not self._is_save_due and not self._is_closed:
            self._is_save_due = True
            self._loop.call_soon_threadsafe(self._save)  # a strategy's timer calls back on another thread

    def _save(self) -> None:
        self._is_save_due = False
        if self._is_closed:
            return
        orders, self._orders_changed = self._orders_changed, set()
        positions, self._positions_changed = self._positions_changed, set()
        change = self._change(orders, positions)
        if self._write(change):
            for name in change.instruments:
                self._instruments_written[name] = self._cache.instrument(InstrumentId.from_str(name))
        else:
            self._orders_changed |= orders  # with the next change
            self._positions_changed |= positions

    def _write(self, change: Change) -> bool:
        try:
            self._memory.save(change)
        except sqlite3.Error as error:
            if not self._is_failing:
                risk = "until that is cured a restart goes back to what was written last"
                self._log.error(f"{self._memory.path} cannot be written ({error}): {risk}")
            self._is_failing = True
            return False
        if self._is_failing:
            self._log.info(f"{self._memory.path} is written again")
        self._is_failing = False
        return True

    def _change(self, orders: set[ClientOrderId], positions: set[PositionId]) -> Change:
        balances = self._cache.account(self.account_id).balances_total()
        change = Change(balances={currency.code: str(total) for currency, total in balances.items()})
        for order_id in orders:
            self._add_order_change(order_id, change)
        for position_id in positions:
            position = self._cache.position(position_id)
            if position is None or position.is_closed:
                change.positions_gone.append(position_id.value)
            else:
                change.positions.append(position_record(position))
                self._add_instrument(position.instrument_id, change)
        return change

    def _add_order_change(self, order_id: ClientOrderId, change: Change) -> None:
        order = self._cache.order(order_id)
        if order is None or order.account_id != self.account_id:
            return
        if order.is_closed:
            family = [(each, self._cache.order(each)) for each in relatives(order, self._cache.order)]
            if all(each is None or each.is_closed for _, each in family):
                change.orders_gone += [each.value for each, _ in family]
                return
        elif order.venue_order_id is None:
            return  # it has not come to the venue yet
        change.orders.append(order_record(order, self._cache.position_id(order_id)))
        self._add_instrument(order.instrument_id, change)

    def _add_instrument(self, instrument_id: InstrumentId, change: Change) -> None:
        instrument = self._cache.instrument(instrument_id)
        if instrument is not None and self._instruments_written.get(instrument_id.value) is not instrument:
            change.instruments[instrument_id.value] = instrument_record(instrument)

    # -- what Nautilus asks when it reconciles ------------------------------------------------------

    async def generate_order_status_report(self, command: GenerateOrderStatusReport) -> OrderStatusReport | None:
        for order in self._working():
            if order.client_order_id == command.client_order_id or order.venue_order_id == command.venue_order_id:
                return order_report(order, self._clock.timestamp_ns())
        return None

    async def generate_order_status_reports(self, command: GenerateOrderStatusReports) -> list[OrderStatusReport]:
        now_ns = self._clock.timestamp_ns()
        asked = command.instrument_id
        return [order_report(each, now_ns) for each in self._working() if asked in (None, each.instrument_id)]

    async def generate_position_status_reports(
        self, command: GeneratePositionStatusReports
    ) -> list[PositionStatusReport]:
        held = self._cache.positions_open(instrument_id=command.instrument_id, account_id=self.account_id)
        return position_reports(held, self.oms_type, self._clock.timestamp_ns())

    def _working(self) -> list[Order]:
        return self._cache.orders_open(account_id=self.account_id)


@contextmanager
def _unheard(msgbus: MessageBus) -> Iterator[None]:
    """Nobody hears what is said to the execution engine: it would be said a second time."""
    handler = _Handler()
    msgbus.deregister(EVENTS_ENDPOINT, handler)
    msgbus.register(EVENTS_ENDPOINT, _ignore)
    try:
        yield
    finally:
        msgbus.deregister(EVENTS_ENDPOINT, _ignore)
        msgbus.register(EVENTS_ENDPOINT, handler.found)


class _Handler:
    """Equal to whatever it is compared with, and keeps it: the bus tells its handlers to nobody."""

    found: Any = None

    def __eq__(self, other: object) -> bool:
        self.found = other
        return True

    def __hash__(self) -> int:
        return id(self)

    def __call__(self, _message: Any) -> None:
        raise AssertionError("never called")


def _ignore(_message: Any) -> None:
    """What is said while nobody hears it."""


class SandboxLiveExecClientFactory(LiveExecClientFactory):
    """Made by name from a config file. Nautilus passes the portfolio only to a factory of exactly this name."""

    @staticmethod
    def create(  # noqa: PLR0917 - the engine's own signature # pyright: ignore[reportIncompatibleMethodOverride] - its own config
        loop: asyncio.AbstractEventLoop,
        name: str,  # noqa: ARG004 - the sandbox's client is named after its venue
        config: RememberingSandboxConfig,
        portfolio: PortfolioFacade,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> RememberingSandboxClient:
        return RememberingSandboxClient(
            loop=loop, portfolio=portfolio, msgbus=msgbus, cache=cache, clock=clock, config=config
        )
