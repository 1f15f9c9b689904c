"""A real trading node on the simulated exchange, one account, and what both sides say about it afterwards.

Everything here runs in a child process: a node that dies takes no test with it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from exchange_books import Books, cached, differences, written
from exchange_client import RawClient, welcomed
from exchange_ledger import Ledger
from exchange_staff import Staff
from nautilus_trader.config import (
    LiveDataEngineConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide, OrderStatus, OrderType
from nautilus_trader.model.identifiers import InstrumentId, Venue

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client.config import ListingConfig, SimulatedDataClientConfig, SimulatedExecClientConfig
from nautilus_ext.simulation.client.data import SimulatedDataClientFactory
from nautilus_ext.simulation.client.execution import SimulatedExecClientFactory
from nautilus_ext.simulation.faults import Faults
from nautilus_ext.simulation.server import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nautilus_trader.execution.messages import TradingCommand
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.orders import Order
    from nautilus_trader.trading.strategy import Strategy

    from nautilus_ext.simulation.server.address import Address

VENUE = "PIT"
LINEAR, SPOT, INVERSE = f"BTCUSDT-PERP.{VENUE}", f"BTCUSDT.{VENUE}", f"BTCUSD-PERP.{VENUE}"
INTERVAL_MS = 50
SPREAD_TICKS = 40
BALANCES = {"USDT": Decimal(1_000_000), "BTC": Decimal(10)}
LEVERAGE = Decimal(10)
EXCHANGE = "cards"
LOG_FILE = "nodes"

WAIT_S = 10.0
POLL_S = 0.002
SETTLE_S = 3.0
MOVES_UNSEEN = 4
ZERO = Decimal(0)
QUANTITIES = {LINEAR: Decimal("0.01"), SPOT: Decimal("0.01"), INVERSE: Decimal(100)}

COMMANDS = tuple(
    f"SimulatedExecutionClient._{name}"
    for name in ("submit_order", "modify_order", "cancel_order", "cancel_all_orders", "batch_cancel_orders")
)


def listings() -> list[ListingConfig]:
    return [
        ListingConfig(instrument_id=LINEAR, kind="linear", spread_ticks=SPREAD_TICKS),
        ListingConfig(instrument_id=SPOT, kind="spot", spread_ticks=SPREAD_TICKS),
        ListingConfig(instrument_id=INVERSE, kind="inverse", spread_ticks=SPREAD_TICKS),
    ]


def data_config(data_dir: Path) -> SimulatedDataClientConfig:
    return SimulatedDataClientConfig(
        seed=42,
        interval_ms=INTERVAL_MS,
        listings=listings(),
        data_dir=str(data_dir),
        exchange=EXCHANGE,
    )


def exchange_folder(data_dir: Path) -> Path:
    return data_dir / "exchange" / EXCHANGE


def find_exchange(data_dir: Path) -> Address:
    address = launch.find(exchange_folder(data_dir))
    assert address is not None, "the exchange does not run"
    return address


@dataclass
class Report:
    """What a card left behind; the parent judges it."""

    events: list[tuple[str, ...]] = field(default_factory=list)  # per order, as they were applied
    unapplied: list[str] = field(default_factory=list)  # published events that no order took
    exchange: Books = field(default_factory=Books)
    cache: Books = field(default_factory=Books)
    log: list[str] = field(default_factory=list)  # warnings and errors
    left_running: list[str] = field(default_factory=list)  # tasks


class Stage:
    """One account at the exchange, one node at a time, and the staff that moves the market."""

    def __init__(self, data_dir: Path, card: Any) -> None:
        self.data_dir = data_dir
        self.card = card  # a Card or a DataCard
        self.instrument_id = InstrumentId.from_str(card.instrument)
        self.staff = Staff(VENUE)
        welcomed(self.staff.connect(find_exchange(data_dir)))
        self.published: list[Any] = []
        self._node: TradingNode | None = None
        self._run: asyncio.Task | None = None
        self._strategy: Strategy | None = None
        self.actors: list[Any] = []

    # -- the node -----------------------------------------------------------------------------------

    @property
    def node(self) -> TradingNode:
        assert self._node is not None, "no node runs"
        return self._node

    @property
    def strategy(self) -> Strategy:
        assert self._strategy is not None, "no strategy runs"
        return self._strategy

    @property
    def cache(self) -> Any:
        return self.node.cache

    async def open(self, strategy: Strategy | None, actors: Sequence[Any] = ()) -> None:
        """Start a node with these, and wait until they run."""
        node = self._node = TradingNode(self._config(trading=strategy is not None), loop=asyncio.get_running_loop())
        node.add_data_client_factory("SIM", SimulatedDataClientFactory)
        node.add_exec_client_factory(VENUE, SimulatedExecClientFactory)
        node.kernel.msgbus.subscribe("events.order.*", self.published.append)
        self._strategy = strategy
        self.actors = list(actors)
        if strategy is not None:
            node.trader.add_strategy(strategy)
        for actor in self.actors:
            node.trader.add_actor(actor)
        node.build()
        run = self._run = asyncio.create_task(node.run_async())
        await self.until(lambda: node.trader.is_running or run.done(), "the node runs")
        assert node.trader.is_running, "the node ended at once; its log says why"

    def _config(self, *, trading: bool) -> TradingNodeConfig:
        return TradingNodeConfig(
            trader_id=self.card.account,
            logging=LoggingConfig(
                log_level="OFF", log_level_file="WARN", log_directory=str(self.data_dir), log_file_name=LOG_FILE
            ),
            data_engine=LiveDataEngineConfig(graceful_shutdown_on_exception=True),
            risk_engine=LiveRiskEngineConfig(bypass=True, graceful_shutdown_on_exception=True),
            exec_engine=LiveExecEngineConfig(reconciliation=True, graceful_shutdown_on_exception=True),
            timeout_connection=WAIT_S,
            timeout_reconciliation=WAIT_S,
            timeout_portfolio=WAIT_S,
            timeout_disconnection=WAIT_S,
            timeout_post_stop=0.01,
            data_clients={"SIM": data_config(self.data_dir)},
            exec_clients={VENUE: self._exec_config()} if trading else {},
        )

    def _exec_config(self) -> SimulatedExecClientConfig:
        return SimulatedExecClientConfig(
            venue=VENUE,
            account=self.card.account,
            account_type=self.card.account_type,
            starting_balances=[f"{amount} {name}" for name, amount in BALANCES.items()],
            leverage=LEVERAGE,
            data_dir=str(self.data_dir),
            exchange=EXCHANGE,
            **self.card.client,
        )

    async def close(self) -> None:
        """Stop the node as an operator would."""
        if self._node is None or self._run is None:
            return
        await self._node.stop_async()
        await asyncio.wait_for(self._run, WAIT_S)
        self._node.kernel.dispose()
        self._node = self._run = self._strategy = None

    async def reopen(self) -> None:
        """The next session: the same strategy takes over what is its own, and sends nothing by itself."""
        await self.settled()
        await self.close()
        self.published.clear()
        passive = {"dry_run": True, "open_position_on_start_qty": None}
        await self.open(self.card.strategy(**passive, external_order_claims=[self.instrument_id]))

    def sweep(self) -> None:
        """Leave the market as it was found: standing still, the strangers' book whole again."""
        self.staff.set_faults(Faults())
        self.staff.control("pause")
        self.staff.control("step")
        self.staff.done(wire.CancelAll)
        self.staff.close()

    def sweep_orders(self) -> None:
        """No order of this card stays."""
        client = RawClient(VENUE, self.card.account, self.card.account_type)
        welcomed(client.connect(find_exchange(self.data_dir)))
        client.done(wire.CancelAll)
        client.done(wire.Bye)
        client.close()

    # -- acting -------------------------------------------------------------------------------------

    def stop_strategy(self) -> None:
        self.strategy.stop()

    async def submit(self, kind: str, side: OrderSide, *, price: Decimal, **more: Any) -> None:
        self.strategy.submit_order(self._order(kind, side, price, **more))

    async def submit_conditional(
        self, kind: OrderType, side: OrderSide, *, trigger: Decimal, limit: Decimal | None = None
    ) -> None:
        instrument = self.instrument()
        make = getattr(self.strategy.order_factory, OrderType(kind).name.lower())
        prices = {"trigger_price": instrument.make_price(trigger)}
        if limit is not None:
            prices["price"] = instrument.make_price(limit)
        self.strategy.submit_order(
            make(instrument_id=instrument.id, order_side=side, quantity=instrument.make_qty(self.quantity), **prices)
        )

    async def submit_list(self, *orders: tuple[OrderSide, Decimal], **more: Any) -> None:
        made = [self._order("limit", side, price, **more) for side, price in orders]
        self.strategy.submit_order_list(self.strategy.order_factory.create_list(made))

    def _order(self, kind: str, side: OrderSide, price: Decimal, **more: Any) -> Order:
        instrument = self.instrument()
        make = getattr(self.strategy.order_factory, kind)
        return make(instrument.id, side, instrument.make_qty(self.quantity), instrument.make_price(price), **more)

    async def submit_bracket(self) -> None:
        """A buy far below the market."""
        instrument, bid = self.instrument(), self.quote().bid_price
        at = [instrument.make_price(bid - ticks * self.tick) for ticks in (500, 1_000, 100)]
        entry, stop, target = at
        self.strategy.submit_order_list(
            self.strategy.order_factory.bracket(
                instrument.id,
                OrderSide.BUY,
                instrument.make_qty(self.quantity),
                entry_order_type=OrderType.LIMIT,
                entry_price=entry,
                sl_trigger_price=stop,
                tp_price=target,
            )
        )

    def execute(self, command: TradingCommand) -> None:
        """Past the strategy, which holds back what it thinks useless."""
        self.node.kernel.exec_engine.execute(command)

    def improve(self, side: OrderSide, ticks: int) -> None:
        """Move the best price of one side towards the other."""
        quote, buying = self.quote(), side == OrderSide.BUY
        best = quote.bid_price if buying else quote.ask_price
        price = best.as_decimal() + ticks * (self.tick if buying else -self.tick)
        self.staff.place(self.card.instrument, "BUY" if buying else "SELL", self.quantity, price)

    def walk(self, price: Decimal, side: str, left: Decimal = ZERO) -> None:
        """Take everything up (BUY) or down (SELL) to this price, less what is to be left of the last."""
        bids, asks = self.levels()
        taken = [
            each for at, each in (asks if side == "BUY" else bids) if (at <= price if side == "BUY" else at >= price)
        ]
        self.staff.take(self.card.instrument, side, sum(taken, -left), price)

    def sell_down_to(self, price: Decimal, *, left: Decimal = ZERO) -> None:
        self.walk(price, "SELL", left)

    # -- waiting ------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s} s: {what}; {self.picture()}")
            await asyncio.sleep(POLL_S)

    async def quoted(self) -> None:
        """Wait for the first quote."""
        await self.until(lambda: self.cache.quote_tick(self.instrument_id), "there is a quote")

    async def statuses(self, *names: str) -> list[Order]:
        """Wait until the orders, oldest first, have exactly these statuses."""
        wanted = list(names)
        await self.until(lambda: [status_of(order) for order in self.orders] == wanted, f"orders are {wanted}")
        await self.quoted()
        return self.orders

    async def settled(self) -> tuple[Books, Books]:
        """Both sides, once they are the same or have had their time."""
        deadline_s = time.monotonic() + SETTLE_S
        while True:
            there, here = self.both_sides()
            if not differences(there, here) or time.monotonic() > deadline_s:
                return there, here
            await asyncio.sleep(POLL_S)

    async def found_out(self) -> None:
        """The client has ended its commands, what was late has arrived, and the reports say nothing new."""
        await self.until(lambda: not commands_running(), "the client knows what became of its commands")
        before = self.picture()
        await asyncio.sleep(self.card.late_s)
        assert await self.node.kernel.exec_engine.reconcile_execution_state(WAIT_S)
        assert self.picture() == before

    async def answered(self) -> None:
        """All that was sent before has its answer: one more question went the same way."""
        account = self.cache.account_for_venue(Venue(VENUE))
        number = account.event_count
        self.strategy.query_account(account.id)
        await self.until(lambda: account.event_count > number, "the question is answered")

    async def flow_stops(self, counts: Callable[[], object]) -> None:
        """The exchange's prices move on while nothing is counted any more."""
        await self._market_moves()
        before = counts()
        for _ in range(MOVES_UNSEEN):
            await self._market_moves()
        assert counts() == before

    async def _market_moves(self) -> None:
        before = self.staff.touch(self.card.instrument)
        await self.until(lambda: self.staff.touch(self.card.instrument) != before, "the market moves")

    # -- looking ------------------------------------------------------------------------------------

    @property
    def orders(self) -> list[Order]:
        """Oldest first."""
        return sorted(self.cache.orders(), key=lambda order: order.client_order_id.value)  # a clock and a counter

    def instrument(self) -> Any:
        return self.cache.instrument(self.instrument_id)

    @property
    def tick(self) -> Decimal:
        return self.instrument().price_increment.as_decimal()

    @property
    def lot(self) -> Decimal:
        return self.instrument().size_increment.as_decimal()

    @property
    def quantity(self) -> Decimal:
        return QUANTITIES[self.card.instrument]

    def quote(self) -> QuoteTick:
        found = self.cache.quote_tick(self.instrument_id)
        assert found is not None, "no quote"
        return found

    def ledger(self) -> Books:
        return written(exchange_folder(self.data_dir), VENUE, self.card.account)

    def at_exchange(self, order: Order) -> dict[str, Any]:
        return self.ledger().orders[order.client_order_id.value]

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The whole book at the exchange: (price, quantity), best first."""
        book = self.staff.book(self.card.instrument)
        bids, asks = ([(ticks * self.tick, lots * self.lot) for ticks, lots in side] for side in (book.bids, book.asks))
        return bids, asks

    def held(self) -> list[str]:
        """Legs that wait for their parent."""
        orders = Ledger(exchange_folder(self.data_dir), self.card.account).orders
        return [row["client_order_id"] for row in orders if row["held"] and row["status"] == "ACCEPTED"]

    def both_sides(self) -> tuple[Books, Books]:
        there = self.ledger()
        return there, cached(self.cache, VENUE, known=there)

    def picture(self) -> str:
        if self._node is None:
            return "no node"
        return "; ".join(f"{each.client_order_id}: {' '.join(events_of(each))}" for each in self.orders) or "no orders"

    async def report(self) -> Report:
        there, here = await self.settled()
        applied = {event.id for order in self.orders for event in order.events}
        return Report(
            events=[events_of(order) for order in self.orders],
            unapplied=[type(event).__name__ for event in self.published if event.id not in applied],
            exchange=there,
            cache=here,
        )


def commands_running() -> list[str]:
    """Commands of the execution client that it has not ended."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(COMMANDS)]


def status_of(order: Order) -> str:
    return OrderStatus(order.status).name


def events_of(order: Order) -> tuple[str, ...]:
    return tuple(type(event).__name__.removeprefix("Order") for event in order.events)
