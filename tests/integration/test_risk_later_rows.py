"""The later rows in a real engine: what repeats, what may only reduce, what meets our own, what is told and missing."""

from __future__ import annotations

import pytest
from nautilus_trader.model.enums import OrderStatus
from risk_stage import BUY, INSTRUMENTS, INVERSE, OTHER, PERP, SELL, SPOT, Stage, is_denied, limited, reason, scoped

NONE = {"preset": "none"}


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
