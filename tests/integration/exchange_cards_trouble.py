"""The cards TC-E70 to TC-E78: rejections, and outcomes that nobody knows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from exchange_card import (
    CANCELED,
    DENIED,
    NO_LIMITS,
    ONLY_BUYS,
    REJECTED,
    RESTING,
    UPDATED,
    Card,
)
from exchange_cards_orders import opening
from exchange_cards_stage import VENUE, status_of
from nautilus_trader.model.enums import OrderSide, OrderType, TimeInForce, TrailingOffsetType
from nautilus_trader.model.events import OrderRejected
from nautilus_trader.model.identifiers import Venue

from nautilus_ext.simulation.faults import Faults, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

    from exchange_cards_stage import Stage
    from nautilus_trader.model.orders import Order

    from nautilus_ext.simulation.faults import ItemFault, RequestFault

    type Fault = RequestFault | ItemFault

NEAR_TICKS = 10

# -- rejections -------------------------------------------------------------------------------------


async def post_only_is_rejected(stage: Stage) -> None:
    (order,) = await stage.statuses("REJECTED")
    event = order.last_event
    assert event.due_post_only is True, event
    assert "POST_ONLY" in event.reason, event


async def reduce_only_is_rejected(stage: Stage) -> None:
    (order,) = await stage.statuses("REJECTED")
    assert "REDUCE_ONLY" in order.last_event.reason, order.last_event
    assert stage.cache.positions(venue=Venue(VENUE)) == []


async def type_is_denied(stage: Stage) -> None:
    (order,) = await stage.statuses("DENIED")
    assert "TRAILING_STOP_MARKET" in order.last_event.reason, order.last_event
    assert stage.ledger().orders == {}


async def tif_is_denied(stage: Stage) -> None:
    (order,) = await stage.statuses("DENIED")
    assert "AT_THE_OPEN" in order.last_event.reason, order.last_event
    assert stage.ledger().orders == {}


REJECTIONS = (
    Card(
        "TC-E70",
        "a post-only order that would take is rejected, and says so",
        post_only_is_rejected,
        (REJECTED,),
        ONLY_BUYS | {"test_reject_post_only": True},
        log=("OrderRejected",),
    ),
    Card(
        "TC-E71",
        "reduce-only without a position is rejected",
        reduce_only_is_rejected,
        (REJECTED,),
        opening(test_reject_reduce_only=True),
        log=("OrderRejected",),
    ),
    Card(
        "TC-E72",
        "an order type that the exchange has not is denied before it is sent",
        type_is_denied,
        (DENIED,),
        NO_LIMITS
        | {
            "enable_stop_buys": True,
            "stop_order_type": OrderType.TRAILING_STOP_MARKET,
            "trailing_offset": Decimal(100),
            "trailing_offset_type": TrailingOffsetType.BASIS_POINTS,
        },
        log=("OrderDenied",),
    ),
    Card(
        "TC-E73",
        "a time in force that the exchange has not is denied before it is sent",
        tif_is_denied,
        (DENIED,),
        ONLY_BUYS | {"limit_time_in_force": TimeInForce.AT_THE_OPEN},
        log=("OrderDenied",),
    ),
)

# -- outcomes that nobody knows ---------------------------------------------------------------------

QUICK = {"answer_timeout_s": 0.3}
LATE_MS = 700  # later than the client waits


def script(*lines: tuple[str, Fault]) -> Faults:
    return Faults(script=tuple(Scripted(on=on, fault=fault) for on, fault in lines), late_ms=LATE_MS)


async def submit_resting(stage: Stage) -> None:
    await stage.submit("limit", OrderSide.BUY, price=stage.quote().bid_price.as_decimal() - 500 * stage.tick)


def submit_fails(fault: RequestFault) -> Callable:
    """The order was sent into a fault; what the exchange has done is what the node ends with."""

    async def play(stage: Stage) -> None:
        await stage.quoted()
        stage.staff.set_faults(script(("Place", fault)))
        await submit_resting(stage)
        (order,) = stage.orders
        if fault == "drop_before":
            await stage.statuses("REJECTED")
            check_evidence(stage, order)
        else:
            await stage.statuses("ACCEPTED")
            await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


def item_is_lost(fault: ItemFault) -> Callable:
    """The stream stumbles over the acceptance; the order is accepted once all the same."""

    async def play(stage: Stage) -> None:
        await stage.quoted()
        stage.staff.set_faults(script(("Accepted", fault)))
        await submit_resting(stage)
        await stage.statuses("ACCEPTED")
        await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


def check_evidence(stage: Stage, order: Order) -> None:
    """Rejected only because the exchange was asked afterwards, and had never heard of it."""
    assert order.client_order_id.value not in stage.ledger().orders
    assert isinstance(order.last_event, OrderRejected)
    assert "no such order" in order.last_event.reason, order.last_event


def cancel_fails(fault: RequestFault) -> Callable:
    async def play(stage: Stage) -> None:
        (order,) = await stage.statuses("ACCEPTED")
        stage.staff.set_faults(script(("Cancel", fault)))
        stage.strategy.cancel_order(order)
        await stage.statuses("CANCELED")
        await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


def modify_fails(fault: RequestFault) -> Callable:
    async def play(stage: Stage) -> None:
        (order,) = await stage.statuses("ACCEPTED")
        before = order.price
        price = order.price - stage.tick
        stage.staff.set_faults(script(("Modify", fault)))
        stage.strategy.modify_order(order, price=stage.cache.instrument(order.instrument_id).make_price(price))
        await stage.until(lambda: status_of(order) == "ACCEPTED", "it is pending no more")
        assert (order.price == before) == (fault == "drop_before"), order
        await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


def list_fails(fault: RequestFault) -> Callable:
    """One request for three orders: each of them ends as the exchange has it, never by a guess."""

    async def play(stage: Stage) -> None:
        await stage.quoted()
        stage.staff.set_faults(script(("Place", fault)))
        await stage.submit_bracket()
        if fault == "drop_before":
            for order in await stage.statuses(*["REJECTED"] * 3):
                check_evidence(stage, order)
        else:
            await stage.statuses(*["ACCEPTED"] * 3)
            await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


def batch_cancel_fails(fault: RequestFault) -> Callable:
    async def play(stage: Stage) -> None:
        orders = await stage.statuses("ACCEPTED", "ACCEPTED")
        stage.staff.set_faults(script(("CancelMany", fault)))
        stage.strategy.cancel_orders(orders)
        await stage.statuses("CANCELED", "CANCELED")
        await stage.found_out()
        assert stage.staff.faults_seen() == {fault: 1}

    return play


async def one_of_a_list_is_rejected(stage: Stage) -> None:
    """The list as a whole was taken; the exchange's verdict on one order is that order's alone."""
    await stage.quoted()
    ask = stage.quote().ask_price.as_decimal()
    await stage.submit_list(
        (OrderSide.BUY, ask - 500 * stage.tick), (OrderSide.BUY, ask + 10 * stage.tick), post_only=True
    )
    good, bad = await stage.statuses("ACCEPTED", "REJECTED")
    assert bad.last_event.due_post_only is True, bad.last_event
    assert good.is_open


async def one_of_a_batch_is_refused(stage: Stage) -> None:
    """One order was filled, of which the node has not heard yet: its cancel is refused, and its fill still comes."""
    near, far = await two_buys(stage)
    late = [Scripted(on, "late_item", nth) for on in ("Filled", "AccountChanged") for nth in range(1, LEVELS)]
    stage.staff.wait_for_heartbeat()  # the next one would betray them
    stage.staff.set_faults(Faults(script=tuple(late), late_ms=LATE_MS))
    stage.sell_down_to(near.price.as_decimal())
    stage.strategy.cancel_orders([near, far])
    await stage.statuses("FILLED", "CANCELED")
    await stage.found_out()


async def two_buys(stage: Stage) -> list[Order]:
    await stage.quoted()
    bid = stage.quote().bid_price.as_decimal()
    await stage.submit("limit", OrderSide.BUY, price=bid - NEAR_TICKS * stage.tick)
    await stage.submit("limit", OrderSide.BUY, price=bid - 500 * stage.tick)
    return await stage.statuses("ACCEPTED", "ACCEPTED")


AFTER: tuple[RequestFault, ...] = ("lost_answer", "late_answer", "drop_after")  # the exchange has done it
BEFORE: RequestFault = "drop_before"  # it has not
EACH = (*AFTER, BEFORE)
LEVELS = 10  # of the book, at most, that a sale walks through
ITEMS: tuple[ItemFault, ...] = ("lost_item", "late_item", "duplicate_item")
LOST = "connection lost"


def unknown(
    number: int, fault: RequestFault | ItemFault, play: Callable, *events: tuple[str, ...], **more: Any
) -> Card:
    """A card played under one fault."""
    says = {
        74: "an order without an answer is found at the exchange, or rejected once it is known that it never arrived",
        75: "a cancel without an answer is sent again until it is known what became of it",
        76: "a modify without an answer is found in the order, or rejected once it is known that it never arrived",
        77: "a list or a batch without an answer ends order by order as the exchange has it",
    }[number]
    late_s = LATE_MS / 1_000 if fault.startswith("late") else 0.0
    case = f"{more.pop('of', '')}{fault}"
    sure: dict[str, Any] = {"log": (LOST,)} if fault.startswith("drop") else {"maybe": (LOST,)}
    return Card(f"TC-E{number}", says, play, events, case=case, client=QUICK, late_s=late_s, **(sure | more))


AMBIGUOUS = (
    *(unknown(74, fault, submit_fails(fault), RESTING) for fault in AFTER),
    unknown(74, BEFORE, submit_fails(BEFORE), REJECTED, log=(LOST, "OrderRejected")),
    *(unknown(74, fault, item_is_lost(fault), RESTING) for fault in ITEMS),
    *(unknown(75, fault, cancel_fails(fault), CANCELED, tester=ONLY_BUYS) for fault in EACH),
    *(unknown(76, fault, modify_fails(fault), UPDATED, tester=ONLY_BUYS) for fault in AFTER),
    unknown(
        76,
        BEFORE,
        modify_fails(BEFORE),
        (*RESTING, "PendingUpdate", "ModifyRejected"),
        tester=ONLY_BUYS,
        log=(LOST, "OrderModifyRejected"),
    ),
    *(unknown(77, fault, list_fails(fault), *[RESTING] * 3, of="list_") for fault in AFTER),
    unknown(77, BEFORE, list_fails(BEFORE), *[REJECTED] * 3, of="list_", log=(LOST, "OrderRejected")),
    *(unknown(77, fault, batch_cancel_fails(fault), CANCELED, CANCELED, tester={}, of="cancels_") for fault in EACH),
    Card(
        "TC-E78",
        "one order of a list is rejected, the other one rests",
        one_of_a_list_is_rejected,
        (RESTING, REJECTED),
        log=("OrderRejected",),
    ),
    Card(
        "TC-E78",
        "one cancel of a batch is refused, the other one is carried out",
        one_of_a_batch_is_refused,
        ((*RESTING, "PendingCancel", "CancelRejected", "Filled"), CANCELED),
        case="cancels",
        client=QUICK,
        late_s=LATE_MS / 1_000,
        log=("OrderCancelRejected",),
    ),
)

CARDS = (*REJECTIONS, *AMBIGUOUS)
