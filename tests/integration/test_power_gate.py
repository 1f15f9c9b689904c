"""The gate in front of the engine: what it parks, what a halt refuses at once and at the release, what is too late."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import outages
import pytest
from mirror_engine import INSTRUMENT, log_of, make_engine, make_mirror
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    QueryOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderSide, OrderStatus
from nautilus_trader.model.identifiers import PositionId, StrategyId
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.stubs.events import TestEventStubs

from nautilus_ext.persistence import intents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRATEGY = StrategyId("S-001")
TIMEOUT_MS = 150
WAIT_S = 10.0
POLL_S = 0.005


class Disk:
    """Syncs only while it is let; `errors` are raised first, one for each sync."""

    def __init__(self) -> None:
        self.is_free = threading.Event()
        self.errors: list[OSError] = []
        self.syncs = 0

    def __call__(self, _descriptor: int) -> None:
        assert self.is_free.wait(WAIT_S)
        self.syncs += 1
        if self.errors:
            raise self.errors.pop(0)


class Bench:
    """An engine with a mirror whose gate passes on into a list."""

    def __init__(self, folder: Any, **settings: Any) -> None:
        self.engine = make_engine()
        self.mirror = make_mirror(folder, intent_timeout_ms=TIMEOUT_MS, **settings)
        self.engine.add_actor(self.mirror)
        kernel = self.engine.kernel
        self.bus, self.cache, self.clock = kernel.msgbus, kernel.cache, kernel.clock
        self.orders = OrderFactory(trader_id=kernel.trader_id, strategy_id=STRATEGY, clock=self.clock)
        self.gate: Any = self.mirror._gate
        self.passed: list[Any] = []
        self.gate.pass_on = self.passed.append
        self.why = ""
        self.gate._halt = lambda: self.why
        self.gone: list[Any] = []
        self.bus.subscribe("events.order.*", self.gone.append)

    def order(self, side: OrderSide = OrderSide.BUY, quantity: str = "1", **more: Any) -> Any:
        order = self.orders.limit(
            INSTRUMENT.id, side, INSTRUMENT.make_qty(Decimal(quantity)), INSTRUMENT.make_price(100), **more
        )
        self.cache.add_order(order)
        return order

    def send(self, kind: Any, order: Any = None, **more: Any) -> Any:
        words = {
            "trader_id": self.orders.trader_id, "strategy_id": STRATEGY, "command_id": UUID4(), "ts_init": 0, **more,
        }  # fmt: skip
        if kind is SubmitOrder:
            words["order"] = order
        elif order is not None:
            words |= {
                "instrument_id": INSTRUMENT.id, "client_order_id": order.client_order_id, "venue_order_id": None,
            }  # fmt: skip
        command = kind(**words)
        self.bus.send("ExecEngine.execute", command)
        return command

    def hold(self, quantity: str) -> None:
        """Open a position of the strategy."""
        order = self.order(OrderSide.BUY if Decimal(quantity) > 0 else OrderSide.SELL, str(abs(Decimal(quantity))))
        fill = TestEventStubs.order_filled(
            order, instrument=INSTRUMENT, strategy_id=STRATEGY, position_id=PositionId("P-1")
        )
        self.cache.add_position(Position(instrument=INSTRUMENT, fill=fill), 1)

    @property
    def reasons(self) -> dict[Any, str]:
        return {event.client_order_id: event.reason for event in self.gone if hasattr(event, "reason")}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(intents, "sync", disk)
    yield disk
    disk.is_free.set()


@pytest.fixture
def power(tmp_path, disk) -> Iterator[Callable[[], Bench]]:
    made: list[Bench] = []

    def start() -> Bench:
        made.append(Bench(tmp_path, flush="power"))
        made[-1].gate.start(asyncio.get_running_loop())
        return made[-1]

    yield start
    for bench in made:
        disk.is_free.set()
        bench.mirror.finish(clean=True)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - the thread that syncs sets no event of this loop
            await asyncio.sleep(POLL_S)


async def test_commands_wait_for_the_disk_in_one_queue_and_go_on_together(power, disk, tmp_path):
    """Submit, change, cancel and query of one order stay in their order; meanwhile the order is INITIALIZED."""
    bench = power()
    order = bench.order()
    asked = [
        bench.send(SubmitOrder, order),
        bench.send(ModifyOrder, order, quantity=INSTRUMENT.make_qty(2), price=None, trigger_price=None),
        bench.send(QueryOrder, order),
        bench.send(CancelOrder, order),
    ]
    assert (4, [], OrderStatus.INITIALIZED) == (bench.mirror.parked, bench.passed, order.status)
    disk.is_free.set()
    await until(lambda: not bench.mirror.parked)
    assert asked == bench.passed
    found = [(each.body["command"], each.body["client_order_id"]) for each in log_of(tmp_path) if each.type == "Intent"]
    name = order.client_order_id.value
    assert [("SubmitOrder", name), ("ModifyOrder", name), ("CancelOrder", name)] == found
    assert disk.syncs < 2 * len(found) + 2, "one sync for many"


async def test_a_query_that_finds_nobody_waiting_needs_no_disk(power):
    """It asks, and changes nothing."""
    bench = power()
    query = bench.send(QueryOrder, bench.order())
    assert ([query], 0) == (bench.passed, bench.mirror.parked)


async def test_what_has_waited_too_long_is_denied_and_never_sent(power, disk):
    """Orders and changes are refused with what keeps the disk; what was parked behind a denied order goes with it."""
    bench = power()
    denied, open_ = bench.order(), bench.order()
    bench.send(SubmitOrder, denied)
    bench.send(CancelOrder, denied)
    cancel = bench.send(CancelOrder, open_)
    change = bench.send(ModifyOrder, open_, quantity=INSTRUMENT.make_qty(2), price=None, trigger_price=None)
    await until(lambda: not bench.mirror.parked)
    assert [cancel] == bench.passed, "a cancel makes nothing larger"
    assert OrderStatus.DENIED == denied.status
    reason = f"INTENT_TIMEOUT: the disk has not confirmed its intent within {TIMEOUT_MS / 1000:g} s: it was not sent"
    assert reason == bench.reasons[denied.client_order_id]
    assert change.client_order_id == open_.client_order_id
    disk.is_free.set()
    later = bench.send(SubmitOrder, bench.order())
    await until(lambda: len(bench.passed) > 1)
    assert [cancel, later] == bench.passed


async def test_no_more_wait_than_the_bound(power, disk, monkeypatch):
    """Past it an order is denied at once; a cancel is queued all the same."""
    monkeypatch.setattr(intents, "PARKED_MAX", 2)
    bench = power()
    orders = [bench.order() for _ in range(3)]
    asked = [bench.send(SubmitOrder, order) for order in orders]
    cancel = bench.send(CancelOrder, orders[0])
    assert "INTENT_TIMEOUT: 2 commands wait for the disk already" == bench.reasons[orders[2].client_order_id]
    disk.is_free.set()
    await until(lambda: not bench.mirror.parked)
    assert [*asked[:2], cancel] == bench.passed


async def test_a_cancel_that_cannot_be_written_down_is_sent(power, monkeypatch):
    """An order is not."""
    bench = power()
    order = bench.order()
    monkeypatch.setattr(intents, "intent", lambda _: 1 / 0)
    bench.send(SubmitOrder, order)
    cancel = bench.send(CancelOrder, bench.order())
    assert ([cancel], OrderStatus.DENIED) == (bench.passed, order.status)
    assert bench.reasons[order.client_order_id].startswith("INTENT_TIMEOUT: its intent could not be written")


async def test_a_node_that_stops_gives_up_what_still_waits(power, disk):
    """The strategies stop next: an order that came after that would be nobody's."""
    bench = power()
    order, open_ = bench.order(), bench.order()
    bench.send(SubmitOrder, order)
    cancel = bench.send(CancelOrder, open_)
    bench.mirror.give_up_parked()
    assert ([cancel], OrderStatus.DENIED, 0) == (bench.passed, order.status, bench.mirror.parked)
    assert "before the stop" in bench.reasons[order.client_order_id]
    disk.is_free.set()
    await until(lambda: disk.syncs)
    await asyncio.sleep(0)  # whatever the sync lets go of
    assert [cancel] == bench.passed


async def test_a_sync_that_fails_proves_nothing_of_what_it_was_for(power, disk):
    """The next one succeeds: what was written before the failure may be gone all the same, and is not sent."""
    bench = power()
    disk.errors.append(OSError(5, "Input/output error"))
    doubtful = bench.order()
    bench.send(SubmitOrder, doubtful)
    disk.is_free.set()
    await until(lambda: disk.syncs > 1)
    later = bench.send(SubmitOrder, bench.order())
    await until(lambda: bench.passed)
    assert [later] == bench.passed
    assert bench.reasons[doubtful.client_order_id].startswith("INTENT_TIMEOUT: ")


async def test_a_halt_that_comes_while_a_command_waits_holds_at_its_release(power, disk):
    """The order had passed when it was parked; the cancel behind it goes with it."""
    bench = power()
    order, open_ = bench.order(), bench.order()
    bench.send(SubmitOrder, order)
    bench.send(CancelOrder, order)
    cancel = bench.send(CancelOrder, open_)
    bench.why = "too much waits"
    disk.is_free.set()
    await until(lambda: not bench.mirror.parked)
    assert [cancel] == bench.passed
    assert "UNSHIPPED_HALT: too much waits" == bench.reasons[order.client_order_id]


async def test_a_judgement_that_fails_refuses_an_order_and_lets_a_cancel_go(power, disk, monkeypatch):
    """A defect of ours must neither end the node nor keep a venue from hearing of a cancel."""
    bench = power()
    order, open_ = bench.order(), bench.order()
    disk.is_free.set()
    monkeypatch.setattr(bench.gate, "_halt", lambda: 1 / 0)
    bench.send(SubmitOrder, order)
    cancel = bench.send(CancelOrder, open_)
    await until(lambda: bench.passed)
    assert [cancel] == bench.passed
    assert "ZeroDivisionError" in bench.reasons[order.client_order_id]


async def test_a_full_disk_keeps_orders_from_leaving_until_there_is_space(tmp_path):
    """Their intents wait in memory, which no power cut survives: they are denied; with space the next one leaves."""
    with outages.small_disk(tmp_path / "disk", megabytes=1) as folder:
        bench = Bench(folder, flush="power")
        bench.gate.start(asyncio.get_running_loop())
        with outages.full_disk(folder):
            orders = [bench.order()]
            bench.send(SubmitOrder, orders[-1])
            while not bench.mirror._run_log.waiting_bytes:  # to the end of the page
                orders.append(bench.order())
                bench.send(SubmitOrder, orders[-1])
            await until(lambda: orders[-1].status == OrderStatus.DENIED)
            assert not any(command.order is orders[-1] for command in bench.passed)
        bench.mirror._look_around()
        later = bench.send(SubmitOrder, bench.order())
        await until(lambda: bench.passed and bench.passed[-1] is later)
        bench.mirror.finish(clean=True)


def test_without_a_loop_the_caller_waits_for_the_disk(tmp_path, disk):
    """As in a backtest that somebody built by hand."""
    disk.is_free.set()
    bench = Bench(tmp_path, flush="power")
    command = bench.send(SubmitOrder, bench.order())
    assert ([command], True) == (bench.passed, disk.syncs > 0)


# -- halt ---------------------------------------------------------------------------------------------


@pytest.fixture
def halted(tmp_path) -> Bench:
    bench = Bench(tmp_path, on_unshipped="halt")
    bench.why = "too much waits"
    return bench


def test_a_halt_refuses_what_is_new_and_lets_cancels_and_queries_pass(halted):
    """An order, a list with all its members, a change to more; not a change of the price alone."""
    first, second, open_ = halted.order(), halted.order(), halted.order()
    halted.send(SubmitOrder, first)
    bracket = halted.orders.create_list([second, halted.order(OrderSide.SELL, reduce_only=True)])
    halted.send(SubmitOrderList, order_list=bracket)
    none = {"price": None, "trigger_price": None}
    halted.send(ModifyOrder, open_, quantity=INSTRUMENT.make_qty(2), **none)
    assert [] == halted.passed
    assert {OrderStatus.DENIED} == {order.status for order in (first, *bracket.orders)}
    of_all = {"instrument_id": INSTRUMENT.id, "order_side": OrderSide.NO_ORDER_SIDE}
    passing = [
        halted.send(ModifyOrder, open_, quantity=None, price=INSTRUMENT.make_price(99), trigger_price=None),
        halted.send(ModifyOrder, open_, quantity=INSTRUMENT.make_qty(1), **none),
        halted.send(CancelOrder, open_),
        halted.send(CancelAllOrders, **of_all),
        halted.send(QueryOrder, open_),
    ]
    passing.append(halted.send(BatchCancelOrders, instrument_id=INSTRUMENT.id, cancels=[passing[2]]))
    assert passing == halted.passed


@pytest.mark.parametrize(
    ("held", "side", "quantity", "passes"),
    [
        ("3", OrderSide.SELL, "3", True),
        ("3", OrderSide.SELL, "3.001", False),
        ("3", OrderSide.BUY, "1", False),
        ("-3", OrderSide.BUY, "3", True),
        ("-3", OrderSide.SELL, "1", False),
    ],
)
def test_in_a_halt_an_order_passes_that_only_makes_its_position_smaller(halted, held, side, quantity, passes):
    """Held against the strategy's own position in the instrument; it must not turn it."""
    halted.hold(held)
    halted.send(SubmitOrder, halted.order(side, quantity))
    assert passes is bool(halted.passed)


async def test_parked_orders_count_as_working(power, disk):
    """Two orders of two would close a position of three and turn it: the second one is refused."""
    bench = power()
    bench.hold("3")
    bench.why = "too much waits"
    first, second = bench.order(OrderSide.SELL, "2"), bench.order(OrderSide.SELL, "2")
    bench.send(SubmitOrder, first)
    bench.send(SubmitOrder, second)
    assert (1, OrderStatus.DENIED) == (bench.mirror.parked, second.status)
    disk.is_free.set()
    await until(lambda: bench.passed)


def test_without_policy_and_power_nothing_stands_in_front_of_the_engine(tmp_path):
    """Who does not ask for it pays nothing."""
    mirror = make_mirror(tmp_path)
    make_engine().add_actor(mirror)
    assert mirror._gate is None
