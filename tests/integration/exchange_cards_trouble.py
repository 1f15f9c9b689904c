"""The cards TC-E50 to TC-E87: brackets, flags, rejections, outcomes that nobody knows, start and stop."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from exchange_card import (
    CANCELED,
    DENIED,
    NO_LIMITS,
    ONLY_BUYS,
    OPENED,
    QUANTITY,
    RECONCILED,
    RECONCILED_FILL,
    REJECTED,
    RESTING,
    UPDATED,
    Card,
    elsewhere,
)
from exchange_cards_orders import check_resting, opening, position_is_opened, stop_cancels
from exchange_cards_stage import INVERSE, VENUE, status_of
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

KEPT = {"cancel_orders_on_stop": False, "close_positions_on_stop": False}

# -- brackets ---------------------------------------------------------------------------------------

LEG_TICKS = 1_000
NEAR_TICKS = 10
BRACKET = {"enable_brackets": True, "bracket_offset_ticks": LEG_TICKS}


async def bracket_rests(stage: Stage) -> tuple[Order, Order, Order]:
    """The legs are at the exchange too, and wait there."""
    entry, stop, target = await stage.statuses("ACCEPTED", "ACCEPTED", "ACCEPTED")
    outwards = stage.tick if entry.side == OrderSide.BUY else -stage.tick
    at = entry.price.as_decimal()
    assert entry.quantity == stop.quantity == target.quantity
    assert {stop.side, target.side} == {stop.side} != {entry.side}
    assert target.price.as_decimal() == at + LEG_TICKS * outwards, target
    assert stop.trigger_price.as_decimal() == at - LEG_TICKS * outwards, stop
    await stage.settled()
    assert [order.client_order_id.value for order in (stop, target)] == stage.held(), "both legs are held"
    return entry, stop, target


async def bracket_is_maker_only(stage: Stage) -> None:
    entry, stop, target = await bracket_rests(stage)
    assert (entry.is_post_only, target.is_post_only, stop.is_post_only) == (True, True, False)


async def entry_wakes_the_legs(stage: Stage) -> None:
    """Nobody quotes any more when the entry is filled: only what was there can act."""
    entry, stop, target = await bracket_rests(stage)
    stage.stop_strategy()
    stage.sell_down_to(entry.price.as_decimal())
    await stage.until(lambda: status_of(entry) == "FILLED", "the entry is filled")
    await stage.settled()
    assert stage.held() == []
    assert [status_of(leg) for leg in (stop, target)] == ["ACCEPTED", "ACCEPTED"]


BRACKETS = (
    Card("TC-E50", "a bracket buy: three orders at the exchange", bracket_rests, (RESTING,) * 3, ONLY_BUYS | BRACKET),
    Card(
        "TC-E51",
        "a bracket sell: three orders at the exchange",
        bracket_rests,
        (RESTING,) * 3,
        BRACKET | {"enable_limit_buys": False},
    ),
    Card(
        "TC-E52",
        "the entry's fill wakes target and stop",
        entry_wakes_the_legs,
        (OPENED, (*RESTING, "Updated"), (*RESTING, "Updated")),
        ONLY_BUYS | BRACKET | KEPT | {"tob_offset_ticks": NEAR_TICKS},
    ),
    Card(
        "TC-E53",
        "post-only reaches entry and target, not the stop",
        bracket_is_maker_only,
        (RESTING,) * 3,
        ONLY_BUYS | BRACKET | {"use_post_only": True},
    ),
)

# -- flags ------------------------------------------------------------------------------------------

ICEBERG = {"order_qty": Decimal(1), "order_display_qty": Decimal("0.1")}
LOT = Decimal("0.001")


async def post_only_rests(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    check_resting(stage, order)
    assert order.is_post_only
    await stage.settled()
    assert stage.at_exchange(order)["post_only"] is True


async def reduce_only_closes(stage: Stage) -> None:
    await stage.quoted()
    await stage.statuses("FILLED")
    stage.stop_strategy()
    _, closing = await stage.statuses("FILLED", "FILLED")
    assert closing.is_reduce_only, closing
    assert stage.at_exchange(closing)["reduce_only"] is True
    assert stage.cache.positions_open(venue=Venue(VENUE)) == []


async def tip_is_visible(stage: Stage) -> None:
    """The book that everyone sees has the displayed part at that price, and nothing more."""
    (order,) = await stage.statuses("ACCEPTED")
    ticks = int(order.price.as_decimal() / stage.tick)
    lots = dict(stage.staff.book(stage.card.instrument).bids)[ticks]
    assert lots * LOT == ICEBERG["order_display_qty"]
    assert order.quantity.as_decimal() == ICEBERG["order_qty"]


FLAGS = (
    Card("TC-E60", "a passive post-only order rests", post_only_rests, (RESTING,), ONLY_BUYS | {"use_post_only": True}),
    Card("TC-E61", "a reduce-only order closes the position", reduce_only_closes, (OPENED, OPENED), opening()),
    Card(
        "TC-E62", "only the displayed quantity is in the public book", tip_is_visible, (RESTING,), ONLY_BUYS | ICEBERG
    ),
)

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
    assert "never" in order.last_event.reason, order.last_event


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
    late = [
        Scripted(on, "late_item", nth) for on in ("Filled", "AccountChanged") for nth in (1, 2)
    ]  # both sides' items
    stage.staff.client.wait_for_heartbeat()  # the next one would betray them
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

# -- start and stop ---------------------------------------------------------------------------------


async def position_comes_before_the_limits(stage: Stage) -> None:
    first, buy, sell = await stage.statuses("FILLED", "ACCEPTED", "ACCEPTED")
    assert first.order_type == OrderType.MARKET
    assert first.ts_init <= min(buy.ts_init, sell.ts_init)
    (position,) = stage.cache.positions_open(venue=Venue(VENUE))
    assert position.signed_decimal_qty() == stage.quantity


async def stop_closes_everything(stage: Stage) -> None:
    await stage.statuses("FILLED", "ACCEPTED", "ACCEPTED")
    stage.stop_strategy()
    await stage.statuses("FILLED", "CANCELED", "CANCELED", "FILLED")
    assert stage.cache.positions_open(venue=Venue(VENUE)) == []


async def flow_ends(stage: Stage) -> None:
    """The market goes on, and nothing of it arrives any more."""
    await stage.statuses("ACCEPTED")
    instrument = stage.instrument_id
    stage.staff.control("play")
    await stage.until(lambda: stage.cache.quote_tick_count(instrument) > 5, "quotes flow")
    await stage.until(lambda: stage.cache.trade_tick_count(instrument) > 0, "trades flow")
    stage.stop_strategy()
    await stage.flow_stops(lambda: (stage.cache.quote_tick_count(instrument), stage.cache.trade_tick_count(instrument)))
    stage.staff.control("pause")


async def open_orders_are_found(stage: Stage) -> None:
    before = await stage.statuses("ACCEPTED", "ACCEPTED")
    await stage.settled()
    await stage.reopen()
    after = await stage.statuses("ACCEPTED", "ACCEPTED")
    assert [facts(order) for order in after] == [facts(order) for order in before]


async def partly_filled_order_is_found(stage: Stage) -> None:
    """Its rest is still at the exchange, and can be canceled."""
    (order,) = await stage.statuses("ACCEPTED")
    part = stage.lot * 3
    stage.sell_down_to(order.price.as_decimal(), left=stage.quantity - part)
    await stage.statuses("PARTIALLY_FILLED")
    await stage.reopen()
    (found,) = await stage.statuses("PARTIALLY_FILLED")
    assert (found.filled_qty.as_decimal(), found.leaves_qty.as_decimal()) == (part, stage.quantity - part)
    stage.strategy.cancel_order(found)
    await stage.statuses("CANCELED")


def facts(order: Order) -> tuple:
    return (
        order.client_order_id, order.venue_order_id, order.side, order.order_type, order.price, order.quantity,
        order.time_in_force, order.strategy_id,
    )  # fmt: skip


async def filled_orders_are_found(stage: Stage) -> None:
    """Opened and closed in the session before: both orders, their fills and fees, and no position."""
    await stage.quoted()
    await stage.statuses("FILLED")
    stage.stop_strategy()
    before = await stage.statuses("FILLED", "FILLED")
    await stage.settled()
    await stage.reopen()
    after = await stage.statuses("FILLED", "FILLED")
    assert [fill_facts(order) for order in after] == [fill_facts(order) for order in before]
    assert stage.cache.positions_open(venue=Venue(VENUE)) == []


def fill_facts(order: Order) -> tuple:
    event = order.last_event
    return order.venue_order_id, event.trade_id, event.last_px, event.last_qty, event.commission, order.avg_px


async def position_is_found(stage: Stage) -> None:
    """It can be closed by the strategy that finds it."""
    await position_is_opened(stage)
    (before,) = stage.cache.positions_open(venue=Venue(VENUE))
    await stage.reopen()
    (after,) = stage.cache.positions_open(venue=Venue(VENUE))
    assert (after.side, after.quantity, after.avg_px_open) == (before.side, before.quantity, before.avg_px_open)
    assert after.strategy_id == before.strategy_id
    stage.strategy.close_position(after)
    await stage.statuses("FILLED", "FILLED")


LIFECYCLE = (
    Card(
        "TC-E80",
        "the position is opened before the limit orders",
        position_comes_before_the_limits,
        (OPENED, RESTING, RESTING),
        {"open_position_on_start_qty": QUANTITY},
    ),
    Card("TC-E81", "stopping cancels the strategy's orders", stop_cancels, (CANCELED, CANCELED), {}),
    Card(
        "TC-E82",
        "stopping cancels the orders and closes the position",
        stop_closes_everything,
        (OPENED, CANCELED, CANCELED, OPENED),
        {"open_position_on_start_qty": QUANTITY},
    ),
    Card("TC-E83", "after the stop no datum arrives", flow_ends, (CANCELED,), ONLY_BUYS | {"can_unsubscribe": True}),
    Card("TC-E84", "the next session finds the open orders", open_orders_are_found, (RECONCILED,) * 2, KEPT),
    Card(
        "TC-E84",
        "the next session finds what is left of an order",
        partly_filled_order_is_found,
        ((*RECONCILED_FILL, "PendingCancel", "Canceled"),),
        ONLY_BUYS | KEPT | {"tob_offset_ticks": NEAR_TICKS},
        case="partly_filled",
    ),
    Card(
        "TC-E85",
        "the next session finds the filled orders, with price and fee",
        filled_orders_are_found,
        (RECONCILED_FILL,) * 2,
        opening(),
    ),
    Card(
        "TC-E86",
        "the next session finds the long position and can close it",
        position_is_found,
        (RECONCILED_FILL, OPENED),
        opening(**KEPT),
    ),
    Card(
        "TC-E87",
        "the next session finds the short position and can close it",
        position_is_found,
        (RECONCILED_FILL, OPENED),
        opening(open_position_on_start_qty=-QUANTITY, **KEPT),
    ),
)

CARDS = (
    *BRACKETS,
    *FLAGS,
    *REJECTIONS,
    *AMBIGUOUS,
    *LIFECYCLE,
    *(elsewhere(card, INVERSE, "inverse") for card in LIFECYCLE if card.id in {"TC-E86", "TC-E87"}),
)
