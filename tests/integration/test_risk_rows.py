"""Row by row what the gate does in a real engine: what is refused, in which words, and what becomes of the order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientId, PositionId
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from risk_stage import BUY, INSTRUMENTS, INVERSE, OTHER, PERP, SELL, SPOT, Stage, is_denied, reason

from nautilus_ext.seam import PROCESS

NONE = {"preset": "none"}
UNTIL = "2030-01-01T00:00:00Z"


def limited(**limits) -> dict:
    """No preset, these limits for everything."""
    return {**NONE, "limits": {"global": limits}}


def scoped(scope: str, **limits) -> dict:
    return {**NONE, "limits": {scope: limits}}


# -- 1: price collar ------------------------------------------------------------------------------------


@pytest.mark.row(1, "at limit")
def test_a_price_at_the_collar_passes():
    """The reference is the mid, 100.5; 1 % of it above is 101.505, and the tick is 0.1."""
    stage = Stage(limited(price_collar_bps="99.51")).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, "101.5").status


@pytest.mark.row(1, "one tick over")
def test_a_price_past_the_collar_is_refused_with_both_prices():
    stage = Stage(limited(price_collar_bps="99.51")).start()
    said = "limit=99.51 scope=global value=0 would_be=109.46 unit=bps price=101.6 reference=100.5"
    is_denied(stage.hand.send(BUY, 1, "101.6"), f"PRICE_COLLAR: {said}")
    assert OrderStatus.DENIED == stage.hand.send(SELL, 1, "99.4").status
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, "50").status, "below the market it costs nobody"
    assert 1 == len(stage.sent.commands)


@pytest.mark.row(1, "on modify")
def test_a_change_of_price_is_collared_and_the_order_goes_on_working():
    stage = Stage(limited(price_collar_bps="100")).start()
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    stage.hand.modify_order(order, price=INSTRUMENTS[PERP].make_price("102"))
    assert ("OrderModifyRejected", OrderStatus.ACCEPTED) == (type(order.last_event).__name__, order.status)
    said = "limit=100 scope=global value=0 would_be=149.26 unit=bps price=102 reference=100.5"
    assert f"PRICE_COLLAR: {said}" == reason(order)
    assert ["SubmitOrder"] == stage.sent.names()
    stage.tick()
    assert (OrderStatus.ACCEPTED, Decimal(90)) == (order.status, order.price.as_decimal())


# -- 2: value of an order -------------------------------------------------------------------------------


@pytest.mark.row(2, "at limit")
@pytest.mark.row(2, "one tick over")
@pytest.mark.row(2, "margin account")
def test_the_value_of_an_order_counts_on_a_margin_account():
    """A market order is worth the mid of 100.5."""
    stage = Stage(limited(max_order_notional="1005")).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 10).status
    said = "limit=1005 scope=global value=0 would_be=1005.1005 unit=USDT"
    is_denied(stage.hand.send(BUY, "10.001"), f"MAX_ORDER_NOTIONAL: {said}")


@pytest.mark.row(2, "inverse contract")
def test_contracts_of_an_inverse_instrument_are_worth_what_a_dollar_is():
    """Whatever the price of the coin."""
    section = limited(max_order_notional="1000") | {"conversions": {"USD": "0.5"}}
    stage = Stage(section).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 2_000, of=INVERSE).status
    said = "limit=1000 scope=global value=0 would_be=1000.5 unit=USDT"
    is_denied(stage.hand.send(BUY, 2_001, of=INVERSE), f"MAX_ORDER_NOTIONAL: {said}")


@pytest.mark.row(2, "on modify")
def test_a_change_to_more_is_valued():
    stage = Stage(limited(max_order_notional="1000")).start()
    order = stage.hand.send(BUY, 10, 90)
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(12))
    assert "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be=1080 unit=USDT" == reason(order)
    stage.tick()
    assert (OrderStatus.ACCEPTED, Decimal(10)) == (order.status, order.quantity.as_decimal())


# -- 3: size of an order --------------------------------------------------------------------------------


@pytest.mark.row(3, "inside a list")
def test_one_bad_member_denies_the_whole_list():
    """Nautilus leaves the good ones INITIALIZED for ever."""
    stage = Stage(limited(max_order_quantity="5")).start()
    members = [stage.hand.order(BUY, size, 90) for size in (1, 5, 6, 2)]
    stage.hand.submit_order_list(stage.hand.order_factory.create_list(members))
    for order in members:
        is_denied(order, "MAX_ORDER_QUANTITY: limit=5 scope=global value=0 would_be=6 unit=quantity")
    assert [] == stage.sent.commands
    assert ["MAX_ORDER_QUANTITY"] * 4 == stage.refused()
    assert Decimal(0) == _net(stage).longest, "nothing of it counts"


@pytest.mark.row(3, "at limit")
@pytest.mark.row(3, "one tick over")
@pytest.mark.row(3, "on modify")
def test_the_size_is_limited_when_it_is_sent_and_when_it_is_changed():
    stage = Stage(limited(max_order_quantity="5", min_order_quantity="2")).start()
    order = stage.hand.send(BUY, 5, 90)
    text = "limit=5 scope=global value=0 would_be=5.001 unit=quantity"
    is_denied(stage.hand.send(BUY, "5.001", 90), f"MAX_ORDER_QUANTITY: {text}")
    text = "limit=2 scope=global value=0 would_be=1.999 unit=quantity"
    is_denied(stage.hand.send(BUY, "1.999", 90), f"MIN_ORDER_QUANTITY: {text}")
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(Decimal("5.001")))
    assert "MAX_ORDER_QUANTITY: limit=5 scope=global value=0 would_be=5.001 unit=quantity" == reason(order)
    stage.tick()
    assert (OrderStatus.ACCEPTED, Decimal(5)) == (order.status, order.quantity.as_decimal())


def test_an_instrument_without_limits_is_refused_where_limits_are_needed():
    stage = Stage(limited(max_order_quantity="5") | {"needs_limits": True}).start()
    text = f"NO_LIMIT: scope=instrument={PERP} unset=max_position (risk.needs_limits)"
    is_denied(stage.hand.send(BUY, 1, 90), text)


# -- 4: messages ----------------------------------------------------------------------------------------


@pytest.mark.row(4, "at limit")
@pytest.mark.row(4, "one tick over")
@pytest.mark.row(4, "on modify")
def test_messages_are_counted_in_windows_that_slide():
    window = {"max": 3, "window_s": 2.0}
    stage = Stage(limited(messages=[window])).start()
    order, *_ = [stage.hand.send(BUY, 1, 90) for _ in range(2)]
    stage.tick()
    price = INSTRUMENTS[PERP].make_price(91)
    stage.hand.modify_order(order, price=price)
    said = "MESSAGE_RATE: limit=3 scope=global value=3 would_be=4 unit=messages/2s types=submit+modify"
    is_denied(stage.hand.send(BUY, 1, 90), said)
    stage.tick()  # the first two are two seconds old
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    stage.hand.modify_order(order, price=INSTRUMENTS[PERP].make_price(92))
    assert said == reason(order)


@pytest.mark.row(4, "inside a list")
def test_each_member_of_a_list_is_a_message():
    stage = Stage(limited(messages=[{"max": 3, "window_s": 1.0}])).start()
    lists = [
        stage.hand.order_factory.create_list([stage.hand.order(BUY, 1, 90 + n) for n in range(size)]) for size in (4, 3)
    ]
    for each in lists:
        stage.hand.submit_order_list(each)
    assert [{OrderStatus.DENIED}, {OrderStatus.SUBMITTED}] == [{order.status for order in x.orders} for x in lists]


@pytest.mark.row(4, "at limit")
def test_cancels_are_counted_and_refused_only_where_the_venue_demands_it():
    window = {"max": 3, "window_s": 10.0, "types": ["submit", "cancel"]}
    stage = Stage(limited(messages=[window])).start()
    orders = [stage.hand.send(BUY, 1, 90) for _ in range(3)]
    stage.tick()
    for order in orders:
        stage.hand.cancel_order(order)
    stage.tick()
    assert {OrderStatus.CANCELED} == {order.status for order in orders}
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1, 90).status


@pytest.mark.row(4, "one tick over")
def test_a_venue_that_limits_cancels_gets_no_more_of_them():
    """The order goes on working, and says why it was not cancelled."""
    window = {"max": 3, "window_s": 10.0, "types": ["submit", "cancel"], "refuses_cancels": True}
    stage = Stage(scoped("venue=SIM2", messages=[window])).start()
    orders = [stage.hand.send(BUY, 1, 90) for _ in range(2)]
    stage.tick()
    stage.hand.cancel_order(orders[0])
    said = "MESSAGE_RATE: limit=3 scope=venue=SIM2 value=3 would_be=4 unit=messages/10s types=submit+cancel"
    stage.hand.cancel_order(orders[1])
    assert said == reason(orders[1])
    stage.hand.cancel_all_orders(INSTRUMENTS[PERP].id)
    stage.tick()
    assert [OrderStatus.CANCELED, OrderStatus.ACCEPTED] == [order.status for order in orders]
    stage.tick(seconds=10)
    stage.hand.cancel_all_orders(INSTRUMENTS[PERP].id)
    stage.tick()
    assert OrderStatus.CANCELED == orders[1].status


# -- 5, 12: working orders and positions ----------------------------------------------------------------


@pytest.mark.row(5, "at limit")
@pytest.mark.row(5, "one tick over")
def test_an_order_counts_from_the_moment_it_is_sent():
    """The venue has not heard of either when the second one is judged."""
    stage = Stage(limited(max_position="5")).start()
    first, second = stage.hand.send(BUY, 3, 90), stage.hand.send(BUY, "2.001", 90)
    assert OrderStatus.SUBMITTED == first.status
    is_denied(second, "MAX_POSITION: limit=5 scope=global value=3 would_be=5.001 unit=quantity")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 2, 90).status


@pytest.mark.row(5, "inside a list")
def test_the_members_of_a_list_count_for_each_other():
    stage = Stage(limited(max_position="5")).start()
    members = [stage.hand.order(BUY, size, 90) for size in (3, 3)]
    stage.hand.submit_order_list(stage.hand.order_factory.create_list(members))
    for order in members:
        is_denied(order, "MAX_POSITION: limit=5 scope=global value=3 would_be=6 unit=quantity")
    assert Decimal(0) == _net(stage).longest


@pytest.mark.row(12, "at limit")
@pytest.mark.row(12, "one tick over")
def test_a_position_counts_with_what_works_on_its_side():
    """Two held and three on their way are five; sales count for themselves, down to five short."""
    stage = Stage(limited(max_position="5")).start()
    stage.hand.send(BUY, 2)
    stage.tick()
    stage.hand.send(BUY, 3, 90)
    text = "limit=5 scope=global value=5 would_be=5.001 unit=quantity"
    is_denied(stage.hand.send(BUY, "0.001", 90), f"MAX_POSITION: {text}")
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 7, 110).status
    text = "limit=5 scope=global value=5 would_be=5.001 unit=quantity"
    is_denied(stage.hand.send(SELL, "0.001", 110), f"MAX_POSITION: {text}")


@pytest.mark.row(12, "on modify")
def test_a_change_to_more_counts_and_one_that_the_venue_has_not_answered_too():
    stage = Stage(limited(max_position="5")).start()
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(6))
    assert "MAX_POSITION: limit=5 scope=global value=3 would_be=6 unit=quantity" == reason(order)
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(5))
    assert OrderStatus.DENIED == stage.hand.send(BUY, "0.001", 90).status
    stage.tick()
    assert Decimal(5) == order.quantity.as_decimal()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(1))
    text = "MAX_POSITION: limit=5 scope=global value=5 would_be=6 unit=quantity"
    is_denied(stage.hand.send(BUY, 1, 90), text)  # the venue may not take the change
    stage.tick()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 4, 90).status


@pytest.mark.row(12, "on modify")
@pytest.mark.row(3, "on modify")
def test_of_a_change_what_is_filled_already_counts_once():
    """Of three, two are filled: up to five there are two more."""
    stage = Stage(limited(max_position="5", max_order_quantity="5")).start()
    order = stage.hand.send(BUY, 3, 90)
    stage.tick()
    two = {"last_qty": INSTRUMENTS[PERP].make_qty(2), "last_px": order.price, "account_id": order.account_id}
    position_id = PositionId(f"{PERP}-HAND-001")
    stage.bus.send(
        PROCESS,
        TestEventStubs.order_filled(
            order, instrument=INSTRUMENTS[PERP], strategy_id=order.strategy_id, position_id=position_id, **two
        ),
    )
    assert (OrderStatus.PARTIALLY_FILLED, 2, 3) == (order.status, _net(stage).held, _net(stage).longest)
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(6))
    assert "MAX_ORDER_QUANTITY: limit=5 scope=global value=2 would_be=6 unit=quantity" == reason(order)
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(5))
    assert (5, ["SubmitOrder", "ModifyOrder"]) == (_net(stage).longest, stage.sent.names())


@pytest.mark.row(12, "at limit")
def test_the_ledger_says_what_the_cache_says_after_partial_fills_and_cancels():
    stage = Stage(limited(max_position="1000000")).start()
    big = stage.hand.send(BUY, 1_500, 101)  # a quote has 1,000
    stage.tick()
    stage.hand.send(SELL, 300)
    resting = stage.hand.send(BUY, 50, 90)
    stage.tick()
    stage.hand.cancel_order(resting)
    stage.tick()
    held = sum(each.signed_decimal_qty() for each in stage.cache.positions_open())
    working = sum(each.leaves_qty.as_decimal() for each in stage.cache.orders_open())
    net = _net(stage)
    assert (held, held + working, held) == (net.held, net.longest, net.shortest)
    assert big.filled_qty.as_decimal() >= 1_000


# -- 7: money -------------------------------------------------------------------------------------------


@pytest.mark.row(7, "at limit")
@pytest.mark.row(7, "one tick over")
def test_a_cash_account_pays_what_is_on_its_way_once():
    """A million: 9,999 coins at 100 leave 100 for one more, before the venue has blocked anything."""
    stage = Stage(limited(check_balance=True), engine=RiskEngineConfig(bypass=True)).start()
    stage.hand.send(BUY, 9_999, 100, of=SPOT)
    said = "limit=1000000 scope=global value=999900 would_be=1000000.001 unit=USDT"
    is_denied(stage.hand.send(BUY, "1.00001", 100, of=SPOT), f"INSUFFICIENT_BALANCE: {said}")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 100, of=SPOT).status
    said = "limit=10 scope=global value=0 would_be=10.00001 unit=BTC"
    is_denied(stage.hand.send(SELL, "10.00001", 110, of=SPOT), f"INSUFFICIENT_BALANCE: {said}")
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 10, 110, of=SPOT).status


@pytest.mark.row(7, "margin account")
def test_a_margin_account_pays_the_margin_of_what_makes_it_larger():
    """Margin of a perpetual here: a share of its value over the leverage of 10."""
    stage = Stage(limited(check_balance=True)).start()
    share = INSTRUMENTS[PERP].margin_init
    most = int(Decimal(1_000_000) * 10 / share / 100)
    refused = stage.hand.send(BUY, most + 1, 100)
    assert OrderStatus.DENIED == refused.status
    need = f"{((most + 1) * 100 * share / 10).normalize():f}"
    is_denied(refused, f"INSUFFICIENT_BALANCE: limit=1000000 scope=global value=0 would_be={need} unit=USDT")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, most, 100).status


@pytest.mark.row(7, "inverse contract")
def test_the_margin_of_an_inverse_contract_is_due_in_coins():
    stage = Stage(limited(check_balance=True)).start()
    share = INSTRUMENTS[INVERSE].margin_init
    most = int(Decimal(20) * 100 * 10 / share)
    refused, passed = (stage.hand.send(BUY, size, 100, of=INVERSE) for size in (most + 1_000, most))
    assert (OrderStatus.DENIED, OrderStatus.SUBMITTED) == (refused.status, passed.status)
    assert reason(refused).endswith("unit=BTC")


@pytest.mark.row(7, "missing account")
def test_without_an_account_nothing_is_sent():
    """Nautilus's own engine lets everything pass where there is none."""
    stage = Stage(limited(max_order_notional="1"), venues=("SIM2",))
    engine = stage.engine.kernel.exec_engine
    engine.deregister_client(engine._clients[ClientId("SIM2")])
    stage.start()
    is_denied(stage.hand.send(BUY, 1, 100), "NO_ACCOUNT: scope=venue=SIM2 no account is known there")


# -- 8: scopes ------------------------------------------------------------------------------------------


@pytest.mark.row(8, "one tick over")
@pytest.mark.parametrize(
    ("scope", "named"),
    [
        ("global", "global"),
        ("venue=SIM*", "venue=SIM2"),
        ("account=SIM2-001", "account=SIM2-001"),
        ("strategy=HAND-*", "strategy=HAND-001"),
        ("asset=BTC", "asset=BTC"),
        ("instrument=BTCUSDT-PERP*", f"instrument={PERP}"),
    ],
)
def test_a_limit_holds_in_each_scope_and_is_named_as_it_is(scope, named):
    stage = Stage(scoped(scope, max_exposure="300")).start()
    stage.hand.send(BUY, 2, 90)
    text = "MAX_EXPOSURE: limit=300 scope={} value=201 would_be=301.5 unit=USDT"
    is_denied(stage.hand.send(BUY, 1, 90), text.format(named))


@pytest.mark.row(8, "one tick over")
def test_an_asset_is_counted_over_its_venues_and_kinds():
    """Coins: 2 as a perpetual at one venue, 3 bought for cash at another; contracts of a dollar at a third."""
    stage = Stage(scoped("asset=BTC", max_position="5") | {"conversions": {"USD": "1"}}).start()
    stage.hand.send(BUY, 2, 90)
    stage.tick()
    stage.hand.send(BUY, 3, 100, of=SPOT)
    is_denied(
        stage.hand.send(BUY, "0.001", 90, of=OTHER),
        "MAX_POSITION: limit=5 scope=asset=BTC value=5 would_be=5.001 unit=BTC",
    )
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1, 90, of=INVERSE).status
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 1, 110, of=OTHER).status


@pytest.mark.row(8, "at limit")
def test_two_strategies_share_what_is_global_and_not_what_is_theirs():
    section = {**NONE, "limits": {"global": {"max_position": "5"}, "strategy=*": {"max_position": "3"}}}
    stage = Stage(section, hands=2).start()
    one, two = stage.hands
    assert OrderStatus.SUBMITTED == one.send(BUY, 3, 90).status
    text = "MAX_POSITION: limit=3 scope=strategy=HAND-001 value=3 would_be=3.001 unit=quantity"
    is_denied(one.send(BUY, "0.001", 90), text)
    assert OrderStatus.SUBMITTED == two.send(BUY, 2, 90).status
    assert reason(two.send(BUY, "0.001", 90)).startswith("MAX_POSITION: limit=5 scope=global value=5 ")


# -- 9: permissions -------------------------------------------------------------------------------------


@pytest.mark.row(9, "at limit")
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"allowed_sides": ["SELL"]}, "side=BUY allowed=SELL"),
        ({"allowed_order_types": ["MARKET"]}, "order_type=LIMIT allowed=MARKET"),
        ({"allowed_venues": ["SIM1"]}, "venue=SIM2 is not among allowed_venues"),
        ({"allowed_instruments": ["ETH*"]}, f"instrument={PERP} is not among allowed_instruments"),
        ({"restricted_instruments": ["BTC*"]}, f"instrument={PERP} is among restricted_instruments"),
    ],
)
def test_what_a_strategy_may_not_trade_is_refused(limits, text):
    stage = Stage(scoped("strategy=HAND-001", **limits), hands=2).start()
    is_denied(stage.hand.send(BUY, 1, 90), f"NOT_PERMITTED: scope=strategy=HAND-001 {text}")
    assert OrderStatus.SUBMITTED == stage.hands[1].send(BUY, 1, 90).status, "another strategy may"


# -- 10: overrides --------------------------------------------------------------------------------------


@pytest.mark.row(10, "at limit")
def test_an_override_lets_one_block_through_and_is_recorded_until_it_expires():
    """From second 1 to second 3 of the stage."""
    why = {"by": "risk desk", "why": "hedge of the old book", "until": "2026-01-05T00:00:03Z"}
    override = {"code": "MAX_ORDER_QUANTITY", "scope": "global", **why}
    stage = Stage(limited(max_order_quantity="5", max_position="100") | {"overrides": [override]}).start()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 6, 90).status
    assert OrderStatus.DENIED == stage.hand.send(BUY, 95, 90).status, "of the position it lifts nothing"
    (lifted,) = [each for each in stage.decisions if each.verdict == "approved"]
    refused = "MAX_ORDER_QUANTITY: limit=5 scope=global value=0 would_be=6 unit=quantity"
    assert f"{refused}; by risk desk until 2026-01-05T00:00:03Z: hedge of the old book" == lifted.details["lifted"]
    stage.tick().tick()
    is_denied(stage.hand.send(BUY, 6, 90), refused)


# -- 11: duplicates -------------------------------------------------------------------------------------


@pytest.mark.row(11, "at limit")
@pytest.mark.row(11, "one tick over")
def test_the_like_of_an_order_is_refused_within_the_window():
    stage = Stage(limited(duplicate_window_ms=2_000)).start()
    stage.hand.send(BUY, 1, 90)
    stage.tick()
    is_denied(stage.hand.send(BUY, 1, 90), "DUPLICATE_ORDER: limit=2000 scope=global would_be=1000 unit=ms")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, "90.1").status
    stage.tick()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status


@pytest.mark.row(11, "inside a list")
def test_an_operation_is_one_order_or_one_list():
    stage = Stage(NONE).start()
    tags = ["op:42"]
    members = [stage.hand.order(BUY, 1, 90 + n, tags=tags) for n in range(2)]
    stage.hand.submit_order_list(stage.hand.order_factory.create_list(members))
    assert {OrderStatus.SUBMITTED} == {order.status for order in members}
    is_denied(
        stage.hand.send(BUY, 2, 80, tags=tags), "OPERATION_REPEATED: operation_id=42 is another order's"
    )  # fmt: skip


# -- 14: reduce only ------------------------------------------------------------------------------------


@pytest.mark.row(14, "at limit")
@pytest.mark.row(14, "one tick over")
@pytest.mark.row(14, "inside a list")
def test_reduce_only_neither_opens_nor_flips_with_what_works():
    stage = Stage(scoped("strategy=HAND-002", reduce_only=True) | {"trusts_reduce_only": False}, hands=2).start()
    first, second = stage.hands
    is_denied(second.send(BUY, 1), "REDUCE_ONLY: limit=0 scope=strategy=HAND-002 value=0 would_be=1 unit=quantity")
    assert OrderStatus.SUBMITTED == first.send(BUY, 5).status
    stage = Stage({**NONE, "limits": {"strategy=HAND-001": {"reduce_only": True}}, "overrides": [_lift("REDUCE_ONLY")]})
    stage.start()
    stage.hand.send(BUY, 3)  # lifted until second 2
    stage.tick()
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 2, 110).status
    text = "REDUCE_ONLY: limit=0 scope=strategy=HAND-001 value=3 would_be={} unit=quantity"
    is_denied(stage.hand.send(SELL, "1.001"), text.format("-0.001"))
    pair = stage.hand.order_factory.create_list([stage.hand.order(SELL, size, 110) for size in ("0.5", "0.501")])
    stage.hand.submit_order_list(pair)
    for order in pair.orders:
        is_denied(order, text.format("-0.001"))
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 1).status


def _lift(code: str) -> dict:
    until = "2026-01-05T00:00:02Z"
    return {"code": code, "scope": "strategy=HAND-001", "by": "desk", "why": "to open", "until": until}


# -- 16: self-match -------------------------------------------------------------------------------------


@pytest.mark.row(16, "at limit")
@pytest.mark.row(16, "one tick over")
def test_an_order_that_would_meet_our_own_is_refused():
    stage = Stage(limited(self_match="refuse"), hands=2).start()
    resting = stage.hands[0].send(SELL, 1, 105)
    stage.tick()
    text = f"SELF_MATCH: limit=105 scope=global would_be=105 unit=price order={resting.client_order_id}"
    is_denied(stage.hands[1].send(BUY, 1, 105), text)
    assert OrderStatus.SUBMITTED == stage.hands[1].send(BUY, 1, "104.9").status


@pytest.mark.row(16, "on modify")
def test_a_change_of_price_does_not_meet_our_own_either():
    stage = Stage(limited(self_match="refuse"), hands=2).start()
    resting = stage.hands[0].send(SELL, 1, 105)
    bid = stage.hands[1].send(BUY, 1, 90)
    stage.tick()
    stage.hands[1].modify_order(bid, price=INSTRUMENTS[PERP].make_price(105))
    assert reason(bid).endswith(f"order={resting.client_order_id}")
    assert OrderStatus.ACCEPTED == bid.status


@pytest.mark.row(16, "at limit")
def test_the_oldest_is_cancelled_first_where_that_is_wanted():
    """The venue is told in this order, and the cancels count as messages."""
    messages = [{"max": 5, "window_s": 60.0, "types": ["submit", "cancel"]}]
    stage = Stage(limited(self_match="cancel_oldest", messages=messages)).start()
    asks = [stage.hand.send(SELL, 1, price) for price in (105, 106, 107)]
    stage.tick()
    bid = stage.hand.send(BUY, 1, 106)
    assert ["CancelOrder", "CancelOrder", "SubmitOrder"] == stage.sent.names()[-3:]
    stage.tick()
    assert [OrderStatus.CANCELED, OrderStatus.CANCELED, OrderStatus.ACCEPTED] == [order.status for order in asks]
    assert OrderStatus.FILLED == bid.status, "at the market, not with ourselves"
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1, 80).status, "six messages"


# -- 19: decisions --------------------------------------------------------------------------------------


@pytest.mark.row(19, "at limit")
@pytest.mark.row(19, "on modify")
@pytest.mark.row(19, "missing price")
def test_every_decision_says_what_was_asked_and_what_was_seen():
    stage = Stage(limited(max_order_quantity="5") | {"approvals_recorded_every": 1}).start()
    order = stage.hand.send(BUY, 2, 90)
    stage.tick()
    stage.hand.modify_order(order, quantity=INSTRUMENTS[PERP].make_qty(6))
    approved, refused = stage.decisions
    assert ("approved", "submit", "90") == (approved.verdict, approved.details["action"], approved.details["price"])
    numbers = (refused.verdict, refused.code, refused.scope, refused.unit, refused.limit, refused.would_be)
    assert ("refused", "MAX_ORDER_QUANTITY", "global", "quantity", 5, 6) == numbers
    seen = {name: refused.details[name] for name in ("action", "quantity", "seen_price", "seen_bid", "account_id")}
    told = {"action": "modify", "quantity": "6", "seen_price": "100.5", "seen_bid": "100", "account_id": "SIM2-001"}
    assert told == seen
    bare = Stage(limited(price_collar_bps="100"), priced=False).start()
    bare.hand.send(BUY, 1, 90)
    assert "seen_price" not in bare.decisions[0].details


@pytest.mark.row(19, "at limit")
def test_every_nth_approval_is_recorded_and_every_refusal():
    stage = Stage(limited(max_order_quantity="5") | {"approvals_recorded_every": 3}).start()
    for size in (1, 2, 3, 4, 5, 1, 6):
        stage.hand.send(BUY, size, 90)
    assert ["approved", "approved", "refused"] == [each.verdict for each in stage.decisions]


# -- 21: ramps ------------------------------------------------------------------------------------------


@pytest.mark.row(21, "at limit")
@pytest.mark.row(21, "one tick over")
def test_a_new_strategy_begins_with_small_limits():
    """For its first two orders, and in any case until second 3."""
    ramp = {"orders": 2, "until": "2026-01-05T00:00:03Z", "max_order_quantity": "1"}
    stage = Stage(scoped("strategy=*", ramp=ramp)).start()
    text = "MAX_ORDER_QUANTITY: limit=1 scope=strategy=HAND-001 value=0 would_be=2 unit=quantity"
    is_denied(stage.hand.send(BUY, 2, 90), f"{text} while the strategy is new")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    stage.tick().tick()
    assert OrderStatus.DENIED == stage.hand.send(BUY, 2, 90).status, "the time is over, the orders are not"
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 91).status
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 2, 90).status


# -- 22: what is missing --------------------------------------------------------------------------------


@pytest.mark.row(22, "missing price")
def test_without_a_price_or_with_an_old_one_nothing_is_sent():
    stage = Stage(limited(max_order_notional="1000000") | {"price_age_ms_max": 5_000}, priced=False).start()
    is_denied(stage.hand.send(BUY, 1, 90), f"NO_PRICE: scope=instrument={PERP} no reference price")
    stage.tick(of=[PERP])
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    stage.tick(seconds=5)  # of another instrument
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status
    stage.tick()
    is_denied(stage.hand.send(BUY, 1, 90), f"STALE_PRICE: limit=5000 scope=instrument={PERP} would_be=6000 unit=ms")


@pytest.mark.row(22, "missing price")
def test_who_only_gets_out_needs_no_price():
    stage = Stage(limited(max_exposure="1000", price_collar_bps="100") | {"price_age_ms_max": 1_500}).start()
    stage.hand.send(BUY, 5)
    stage.tick()
    stage.tick(of=[SPOT], seconds=10)
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1).status
    assert OrderStatus.SUBMITTED == stage.hand.send(SELL, 5).status


@pytest.mark.row(22, "missing account")
def test_an_account_whose_balances_nobody_has_told_refuses():
    """The client is there, and its first word of the account is not: as after a venue that connects late."""
    stage = Stage(NONE, venues=("SIM2",)).start()
    stage.gate._sights._cache = _Without(stage.cache)
    text = "NO_ACCOUNT: scope=account=SIM2-001 its balances are not known"
    is_denied(stage.hand.send(BUY, 1, 90), text)


class _Without:
    """The cache, but for its accounts."""

    def __init__(self, cache) -> None:
        self._cache = cache

    def __getattr__(self, name):
        return getattr(self._cache, name)

    def account(self, _key) -> None:
        return None


@pytest.mark.row(22, "missing instrument")
def test_an_instrument_that_nobody_has_loaded_is_refused():
    """Past the RiskEngine, which would say so too."""
    stage = Stage(NONE, venues=("SIM1", "SIM2")).start()
    order = stage.hand.order(BUY, 1, 90, of=OTHER)
    stage.submit(order)
    is_denied(order, f"NO_INSTRUMENT: instrument={OTHER} is not in the cache")


@pytest.mark.row(22, "missing price")
def test_a_currency_that_nobody_can_convert_is_refused():
    stage = Stage(limited(max_order_notional="1000")).start()
    text = "NO_CONVERSION: risk.conversions has no price of USD in USDT"
    is_denied(stage.hand.send(BUY, 1, 90, of=INVERSE), text)


def _net(stage: Stage, instrument: str = PERP):
    return stage.gate.judge.ledger._marks[instrument].whole
