"""Row by row what the gate does in a real engine: what is refused, in which words, and what becomes of the order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientId, PositionId
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from risk_stage import BUY, INSTRUMENTS, INVERSE, OTHER, PERP, SELL, SPOT, Stage, is_denied, limited, reason, scoped

from nautilus_ext.seam import PROCESS

NONE = {"preset": "none"}


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


def _net(stage: Stage, instrument: str = PERP):
    return stage.gate.judge.ledger._marks[instrument].whole
