"""The cards TC-E50 to TC-E62 and TC-E80 to TC-E87: brackets, flags, start and stop."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from exchange_card import (
    CANCELED,
    ONLY_BUYS,
    OPENED,
    QUANTITY,
    RECONCILED,
    RECONCILED_FILL,
    RESTING,
    Card,
    elsewhere,
)
from exchange_cards_orders import check_resting, opening, position_is_opened, stop_cancels
from exchange_cards_stage import INVERSE, VENUE, status_of
from nautilus_trader.model.enums import OrderSide, OrderType
from nautilus_trader.model.identifiers import Venue

if TYPE_CHECKING:
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
    *LIFECYCLE,
    *(elsewhere(card, INVERSE, "inverse") for card in LIFECYCLE if card.id in {"TC-E86", "TC-E87"}),
)
