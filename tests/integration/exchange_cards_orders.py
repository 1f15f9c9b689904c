"""The cards TC-E01 to TC-E44: market, limit and conditional orders, modifying, canceling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING

from exchange_card import (
    CANCELED,
    CANCELED_BY_VENUE,
    NO_LIMITS,
    ONLY_BUYS,
    ONLY_SELLS,
    OPENED,
    QUANTITY,
    RECONCILED,
    RESTING,
    UPDATED,
    Card,
    elsewhere,
)
from exchange_cards_stage import BALANCES, INVERSE, SPOT, VENUE
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import CancelOrder
from nautilus_trader.model.enums import OrderSide, OrderType, PositionSide, TimeInForce
from nautilus_trader.model.events import OrderCancelRejected
from nautilus_trader.model.identifiers import Venue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exchange_cards_stage import Stage
    from nautilus_trader.model.orders import Order

TOB_TICKS = 500  # the tester's own default
STOP_TICKS = 100
LIMIT_TICKS = 50
EXPIRY_S = 0.4
SIXTY_MINUTES_NS = 3_600_000_000_000
CLOCK_ERROR_NS_MAX = 60_000_000_000


# -- market -----------------------------------------------------------------------------------------


def opening(**config) -> dict:
    return NO_LIMITS | {"open_position_on_start_qty": QUANTITY} | config


async def position_is_opened(stage: Stage, tif: TimeInForce = TimeInForce.GTC) -> None:
    """Filled at the touch, the position has its size and side, the fee was paid."""
    await stage.quoted()
    (order,) = await stage.statuses("FILLED")
    await stage.settled()
    buying = order.side == OrderSide.BUY
    quote = stage.quote()
    (position,) = stage.cache.positions_open(venue=Venue(VENUE))
    assert position.side == (PositionSide.LONG if buying else PositionSide.SHORT), position
    assert position.quantity.as_decimal() == stage.quantity == order.filled_qty.as_decimal(), position
    touch = quote.ask_price if buying else quote.bid_price
    assert order.last_event.last_px == touch, (order, quote)
    assert order.time_in_force == tif, order
    fee = order.last_event.commission
    assert fee.as_decimal() > 0, order.last_event
    if stage.card.instrument != SPOT:  # there the purchase itself is paid too; the ledger says how much
        left = stage.cache.account_for_venue(Venue(VENUE)).balance_total(fee.currency).as_decimal()
        assert left == BALANCES[fee.currency.code] - fee.as_decimal()


async def position_is_opened_ioc(stage: Stage) -> None:
    await position_is_opened(stage, TimeInForce.IOC)


async def position_is_opened_fok(stage: Stage) -> None:
    await position_is_opened(stage, TimeInForce.FOK)


QUOTE_AMOUNT = Decimal(600)


async def quote_amount_is_spent(stage: Stage) -> None:
    """What was filled is the base asset, and worth at most the amount and at least that less one lot."""
    await stage.quoted()
    (order,) = await stage.statuses("FILLED")
    assert order.init_event.quote_quantity, order
    assert order.init_event.quantity.as_decimal() == QUOTE_AMOUNT, order
    lot = stage.cache.instrument(order.instrument_id).size_increment.as_decimal()
    price = order.last_event.last_px.as_decimal()
    assert QUOTE_AMOUNT - lot * price < order.filled_qty.as_decimal() * price <= QUOTE_AMOUNT, order


async def stop_closes_the_position(stage: Stage) -> None:
    await stage.quoted()
    await stage.statuses("FILLED")
    stage.stop_strategy()
    opening_order, closing = await stage.statuses("FILLED", "FILLED")
    assert closing.side != opening_order.side, closing
    assert stage.cache.positions_open(venue=Venue(VENUE)) == []
    assert stage.cache.orders_open(venue=Venue(VENUE)) == []


MARKET = (
    Card("TC-E01", "a market buy opens a long position at the ask", position_is_opened, (OPENED,), opening()),
    Card(
        "TC-E02",
        "a market sell opens a short position at the bid",
        position_is_opened,
        (OPENED,),
        opening(open_position_on_start_qty=-QUANTITY),
    ),
    Card(
        "TC-E03",
        "a market order may say IOC",
        position_is_opened_ioc,
        (OPENED,),
        opening(open_position_time_in_force=TimeInForce.IOC),
    ),
    Card(
        "TC-E04",
        "a market order may say FOK",
        position_is_opened_fok,
        (OPENED,),
        opening(open_position_time_in_force=TimeInForce.FOK),
    ),
    Card(
        "TC-E05",
        "an amount of the quote currency becomes a quantity before the fill",
        quote_amount_is_spent,
        ((*RESTING, "Updated", "Filled"),),
        opening(open_position_on_start_qty=QUOTE_AMOUNT, use_quote_quantity=True),
    ),
    Card("TC-E06", "stopping closes the position", stop_closes_the_position, (OPENED, OPENED), opening()),
)


# -- limit ------------------------------------------------------------------------------------------


def expected_limit(stage: Stage, side: OrderSide) -> Decimal:
    quote = stage.quote()
    offset = TOB_TICKS * stage.tick
    return quote.bid_price.as_decimal() - offset if side == OrderSide.BUY else quote.ask_price.as_decimal() + offset


def check_resting(stage: Stage, order: Order, tif: TimeInForce = TimeInForce.GTC) -> None:
    assert order.is_open, order
    assert order.order_type == OrderType.LIMIT, order
    assert order.time_in_force == tif, order
    assert order.quantity.as_decimal() == stage.quantity, order
    assert order.price.as_decimal() == expected_limit(stage, order.side), (order, stage.quote())


async def limit_rests(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    check_resting(stage, order)


async def pair_rests(stage: Stage) -> None:
    buy, sell = await stage.statuses("ACCEPTED", "ACCEPTED")
    assert (buy.side, sell.side) == (OrderSide.BUY, OrderSide.SELL)
    check_resting(stage, buy)
    check_resting(stage, sell)


async def day_rests(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    check_resting(stage, order, TimeInForce.DAY)


async def gtd_rests(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    check_resting(stage, order, TimeInForce.GTD)
    rest_ns = order.expire_time_ns - order.ts_init
    assert abs(rest_ns - SIXTY_MINUTES_NS) < CLOCK_ERROR_NS_MAX, order


async def gtd_expires(stage: Stage) -> None:
    """By the exchange's clock: the market stands still meanwhile."""
    await stage.quoted()
    await stage.submit(
        "limit",
        OrderSide.BUY,
        price=expected_limit(stage, OrderSide.BUY),
        time_in_force=TimeInForce.GTD,
        expire_time=datetime.now(UTC) + timedelta(seconds=EXPIRY_S),
    )
    await stage.statuses("EXPIRED")


async def nothing_is_filled(stage: Stage) -> None:
    (order,) = await stage.statuses("CANCELED")
    assert order.filled_qty == 0, order
    assert order.price.as_decimal() == expected_limit(stage, OrderSide.BUY), order


async def aggressive_limit_is_filled(stage: Stage, tif: TimeInForce) -> None:
    await stage.quoted()
    ask = stage.quote().ask_price.as_decimal()
    await stage.submit("limit", OrderSide.BUY, price=ask + 10 * stage.tick, time_in_force=tif)
    (order,) = await stage.statuses("FILLED")
    assert order.last_event.last_px.as_decimal() == ask, order
    (position,) = stage.cache.positions_open(venue=Venue(VENUE))
    assert position.signed_decimal_qty() == stage.quantity, position


async def ioc_is_filled(stage: Stage) -> None:
    await aggressive_limit_is_filled(stage, TimeInForce.IOC)


async def fok_is_filled(stage: Stage) -> None:
    await aggressive_limit_is_filled(stage, TimeInForce.FOK)


def resting(**config) -> dict:
    return ONLY_BUYS | config


LIMIT = (
    Card("TC-E10", "a limit buy rests below the market", limit_rests, (RESTING,), ONLY_BUYS),
    Card("TC-E11", "a limit sell rests above the market", limit_rests, (RESTING,), ONLY_SELLS),
    Card("TC-E12", "a buy and a sell rest at the same time", pair_rests, (RESTING, RESTING), {}),
    Card("TC-E13", "an aggressive IOC limit is filled at the ask", ioc_is_filled, (OPENED,)),
    Card(
        "TC-E14",
        "a passive IOC limit is canceled by the exchange",
        nothing_is_filled,
        (CANCELED_BY_VENUE,),
        resting(limit_time_in_force=TimeInForce.IOC),
    ),
    Card("TC-E15", "an aggressive FOK limit is filled in one piece", fok_is_filled, (OPENED,)),
    Card(
        "TC-E16",
        "a passive FOK limit is canceled by the exchange",
        nothing_is_filled,
        (CANCELED_BY_VENUE,),
        resting(limit_time_in_force=TimeInForce.FOK),
    ),
    Card("TC-E17", "a GTD limit keeps its expiry", gtd_rests, (RESTING,), resting(order_expire_time_delta_mins=60)),
    Card("TC-E18", "a GTD limit expires at its time", gtd_expires, ((*RESTING, "Expired"),)),
    Card("TC-E19", "a DAY limit rests", day_rests, (RESTING,), resting(limit_time_in_force=TimeInForce.DAY)),
)


# -- stop and conditional ---------------------------------------------------------------------------


def conditional(side: str, kind: OrderType, **config) -> dict:
    return NO_LIMITS | {f"enable_stop_{side}": True, "stop_order_type": kind} | config


LIMITED = (OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED)
IF_TOUCHED = (OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
KINDS = (OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
SIDES = (OrderSide.BUY, OrderSide.SELL)


def check_trigger(stage: Stage, order: Order) -> None:
    """Stops wait beyond the other side of the market, if-touched orders on their own side."""
    quote = stage.quote()
    buying = order.side == OrderSide.BUY
    above = buying != (order.order_type in IF_TOUCHED)
    trigger = (
        quote.ask_price.as_decimal() + STOP_TICKS * stage.tick
        if above
        else quote.bid_price.as_decimal() - STOP_TICKS * stage.tick
    )
    assert order.trigger_price.as_decimal() == trigger, (order, quote)
    if order.order_type in LIMITED:
        worse = LIMIT_TICKS * stage.tick if above else -LIMIT_TICKS * stage.tick
        assert order.price.as_decimal() == trigger + worse, order


async def trigger_waits(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    check_trigger(stage, order)


async def trigger_waits_over_a_restart(stage: Stage) -> None:
    """It is an open order in the reports of the next session too."""
    (before,) = await stage.statuses("ACCEPTED")
    check_trigger(stage, before)
    await stage.reopen()
    (after,) = stage.orders
    assert after.venue_order_id == before.venue_order_id
    assert (after.order_type, after.trigger_price) == (before.order_type, before.trigger_price), after


def fires(side: OrderSide, kind: OrderType) -> Callable[[Stage], Awaitable[None]]:
    """The market walks to the trigger; what the order then finds in the book fills it."""
    upwards = (side == OrderSide.BUY) != (kind in IF_TOUCHED)

    async def play(stage: Stage) -> None:
        await stage.quoted()
        bids, asks = stage.levels()
        trigger = (asks if upwards else bids)[1][0]  # with the two best levels gone it is reached
        fills_at = (asks if side == OrderSide.BUY else bids)[0 if kind in IF_TOUCHED else 2][0]
        far = TOB_TICKS * stage.tick * (1 if side == OrderSide.BUY else -1)
        await stage.submit_conditional(kind, side, trigger=trigger, limit=trigger + far if kind in LIMITED else None)
        await stage.statuses("ACCEPTED")
        stage.walk(trigger, "BUY" if upwards else "SELL")
        (order,) = await stage.statuses("FILLED")
        assert order.last_event.last_px.as_decimal() == fills_at, order

    return play


def firing_card(number: int, kind: OrderType, side: OrderSide) -> Card:
    events = (*RESTING, "Triggered", "Filled") if kind in LIMITED else OPENED
    return Card(f"TC-E{number}", "it fires when the market gets there", fires(side, kind), (events,), case="fires")


def conditional_card(number: int, says: str, side: str, kind: OrderType) -> Card:
    more = {"stop_limit_offset_ticks": LIMIT_TICKS} if kind in LIMITED else {}
    return Card(f"TC-E{number}", says, trigger_waits, (RESTING,), conditional(side, kind, **more))


KEPT = {"cancel_orders_on_stop": False, "close_positions_on_stop": False}

CONDITIONAL = (
    Card(
        "TC-E20",
        "a stop-market buy waits above the ask, also over a restart",
        trigger_waits_over_a_restart,
        (RECONCILED,),
        conditional("buys", OrderType.STOP_MARKET, **KEPT),
    ),
    conditional_card(21, "a stop-market sell waits below the bid", "sells", OrderType.STOP_MARKET),
    conditional_card(22, "a stop-limit buy waits with trigger and limit", "buys", OrderType.STOP_LIMIT),
    conditional_card(23, "a stop-limit sell waits with trigger and limit", "sells", OrderType.STOP_LIMIT),
    conditional_card(24, "a market-if-touched buy waits below the bid", "buys", OrderType.MARKET_IF_TOUCHED),
    conditional_card(25, "a market-if-touched sell waits above the ask", "sells", OrderType.MARKET_IF_TOUCHED),
    conditional_card(26, "a limit-if-touched buy waits with trigger and limit", "buys", OrderType.LIMIT_IF_TOUCHED),
    conditional_card(27, "a limit-if-touched sell waits with trigger and limit", "sells", OrderType.LIMIT_IF_TOUCHED),
    *(firing_card(number, kind, side) for number, (kind, side) in enumerate(product(KINDS, SIDES), start=20)),
)


# -- modify -----------------------------------------------------------------------------------------

MOVE_TICKS = 7
MODIFY = {"modify_orders_to_maintain_tob_offset": True}
REPLACE = {"cancel_replace_orders_to_maintain_tob_offset": True}


async def price_follows(stage: Stage) -> None:
    """The market comes nearer by some ticks; the order keeps its distance."""
    (order,) = await stage.statuses("ACCEPTED")
    before = order.price.as_decimal()
    stage.improve(order.side, MOVE_TICKS)
    await stage.until(lambda: order.price.as_decimal() != before, "the price has changed")
    assert order.price.as_decimal() == before + MOVE_TICKS * stage.tick * (1 if order.side == OrderSide.BUY else -1), (
        order
    )
    check_resting(stage, order)


async def order_is_replaced(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    stage.improve(order.side, MOVE_TICKS)
    _, new = await stage.statuses("CANCELED", "ACCEPTED")
    check_resting(stage, new)
    assert new.price != order.price


async def trigger_follows(stage: Stage) -> None:
    (order,) = await stage.statuses("ACCEPTED")
    before = order.trigger_price
    stage.improve(OrderSide.SELL, MOVE_TICKS)
    await stage.until(lambda: order.trigger_price != before, "the trigger has changed")
    check_trigger(stage, order)


async def stop_is_replaced(stage: Stage) -> None:
    """Exactly one stop is left, and the next session finds that one."""
    (order,) = await stage.statuses("ACCEPTED")
    stage.improve(OrderSide.SELL, MOVE_TICKS)
    _, new = await stage.statuses("CANCELED", "ACCEPTED")
    check_trigger(stage, new)
    await stage.settled()
    await stage.reopen()
    (left,) = stage.cache.orders_open(venue=Venue(VENUE))
    assert (left.venue_order_id, left.trigger_price) == (new.venue_order_id, new.trigger_price)
    assert left.venue_order_id != order.venue_order_id


STOP_BUYS = NO_LIMITS | {"enable_stop_buys": True}

MODIFICATION = (
    Card("TC-E30", "a limit buy follows the bid by modifying", price_follows, (UPDATED,), ONLY_BUYS | MODIFY),
    Card("TC-E31", "a limit sell follows the ask by modifying", price_follows, (UPDATED,), ONLY_SELLS | MODIFY),
    Card("TC-E32", "a limit buy is replaced", order_is_replaced, (CANCELED, RESTING), ONLY_BUYS | REPLACE),
    Card("TC-E33", "a limit sell is replaced", order_is_replaced, (CANCELED, RESTING), ONLY_SELLS | REPLACE),
    Card(
        "TC-E34",
        "a stop's trigger follows the market by modifying",
        trigger_follows,
        (UPDATED,),
        STOP_BUYS | {"modify_stop_orders_to_maintain_offset": True},
    ),
    Card(
        "TC-E35",
        "a stop is replaced, and only the new one is left",
        stop_is_replaced,
        ((*RECONCILED, "Canceled"), RECONCILED),
        STOP_BUYS | KEPT | {"cancel_replace_stop_orders_to_maintain_offset": True},
    ),
)


# -- cancel -----------------------------------------------------------------------------------------


async def stop_cancels(stage: Stage) -> None:
    before = await stage.statuses(*["ACCEPTED"] * len(stage.card.events))
    ids = [order.venue_order_id for order in before]
    stage.stop_strategy()
    after = await stage.statuses(*["CANCELED"] * len(stage.card.events))
    assert [order.last_event.venue_order_id for order in after] == ids
    assert stage.cache.orders_open(venue=Venue(VENUE)) == []


async def canceled_twice(stage: Stage) -> None:
    """The strategy would not send it, so the command goes to the engine past it."""
    await stop_cancels(stage)
    await stage.settled()
    (order,) = stage.orders
    stage.published.clear()
    stage.execute(
        CancelOrder(
            trader_id=order.trader_id,
            strategy_id=order.strategy_id,
            instrument_id=stage.instrument_id,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            command_id=UUID4(),
            ts_init=order.ts_last,
        )
    )
    await stage.answered()
    (event,) = stage.published
    assert isinstance(event, OrderCancelRejected), event
    assert "ORDER_CLOSED" in event.reason, event


CANCELLATION = (
    Card("TC-E40", "stopping cancels the order", stop_cancels, (CANCELED,), ONLY_BUYS),
    Card("TC-E41", "stopping cancels all orders at once", stop_cancels, (CANCELED, CANCELED), {}),
    Card(
        "TC-E42",
        "stopping cancels one order after the other",
        stop_cancels,
        (CANCELED, CANCELED),
        {"use_individual_cancels_on_stop": True},
    ),
    Card(
        "TC-E43",
        "stopping cancels the orders in one batch",
        stop_cancels,
        (CANCELED, CANCELED),
        {"use_batch_cancel_on_stop": True},
    ),
    Card(
        "TC-E44",
        "canceling again is rejected and changes nothing",
        canceled_twice,
        ((*CANCELED, "CancelRejected"),),
        ONLY_BUYS,
        log=("OrderCancelRejected",),
    ),
)

LINEAR_CARDS = (*MARKET, *LIMIT, *CONDITIONAL, *MODIFICATION, *CANCELLATION)
ON_SPOT = ("TC-E01", "TC-E05", "TC-E10", "TC-E11", "TC-E13", "TC-E30", "TC-E40")
ON_INVERSE = ("TC-E01", "TC-E02", "TC-E06", "TC-E10", "TC-E13", "TC-E31", "TC-E41")
CARDS = (
    *LINEAR_CARDS,
    *(elsewhere(card, SPOT, "spot") for card in LINEAR_CARDS if card.id in ON_SPOT),
    *(elsewhere(card, INVERSE, "inverse") for card in LINEAR_CARDS if card.id in ON_INVERSE),
)
