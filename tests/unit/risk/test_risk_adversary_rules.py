"""Rules that have once passed what they should refuse, or kept somebody from getting out."""

from __future__ import annotations

import pytest
from risk_desk import MS, NOW_NS, Desk, S

NOTIONAL = {"global": {"max_order_notional": "1000"}}
COLLAR = {"global": {"price_collar_bps": "200"}}
HOUR = 3_600 * S
AGE = {"price_age_ms_max": 1_000}


@pytest.mark.row(2, "one tick over")
def test_a_stop_whose_trigger_the_market_has_passed_is_worth_the_market():
    """A purchase that triggers at 1 while the market is at 100 is filled at 100; one that waits above is worth more."""
    desk = Desk(NOTIONAL)
    text = "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be={} unit=USDT"
    assert text.format(1100) == desk.buy(11, type="STOP_MARKET", trigger_price=1)
    assert text.format(1210) == desk.buy(11, type="STOP_MARKET", trigger_price=110)
    assert not desk.buy(11, type="MARKET_IF_TOUCHED", trigger_price=50), "it waits for a better price"
    assert not desk.buy(11, type="STOP_LIMIT", trigger_price=1, price=50), "its limit is what it pays"


# -- time that goes backwards: after a restart with the clock put right ---------------------------------


@pytest.mark.row(4, "at limit")
def test_messages_of_the_future_fill_a_window_once():
    """And not until the clock has caught up with them."""
    desk = Desk({"global": {"messages": [{"max": 2, "window_s": 1.0}]}})
    desk.buy(1), desk.buy(1)
    desk.later(now_ns=NOW_NS - HOUR)
    assert desk.sell(1).startswith("MESSAGE_RATE: limit=2 scope=global value=2 would_be=3 ")
    desk.later(now_ns=NOW_NS - HOUR + S)
    assert not desk.sell(1)
    assert not desk.sell(1)
    assert desk.sell(1)


@pytest.mark.row(4, "at limit")
def test_a_cancel_does_not_hide_that_messages_are_of_the_future():
    """It is counted without being asked whether it fits."""
    desk = Desk({"global": {"messages": [{"max": 3, "types": ["submit", "cancel"]}]}})
    desk.buy(1), desk.buy(2)
    desk.later(now_ns=NOW_NS - HOUR)
    desk.cancel("O-1")
    desk.later(now_ns=NOW_NS - HOUR + S)
    assert ["", "", ""] == [desk.sell(1) for _ in range(3)]


@pytest.mark.row(11, "at limit")
def test_an_order_of_the_future_is_alike_for_one_window():
    desk = Desk({"global": {"duplicate_window_ms": 1_000}})
    desk.buy(1)
    desk.later(now_ns=NOW_NS - HOUR)
    assert "DUPLICATE_ORDER: limit=1000 scope=global would_be=0 unit=ms" == desk.buy(1)
    desk.later(now_ns=NOW_NS - HOUR + 1_000 * MS)
    assert not desk.buy(1)


@pytest.mark.row(4, "at limit")
def test_a_window_that_the_file_names_twice_counts_once():
    """As with the short key beside the same window in `limits`."""
    desk = Desk({"global": {"messages": [{"max": 4}]}}, max_orders_per_second=4)
    assert ["", "", "", ""] == [desk.buy(1) for _ in range(4)]
    assert desk.buy(1).startswith("MESSAGE_RATE: limit=4 scope=global value=4 would_be=5 ")


@pytest.mark.row(7, "missing price")
def test_money_of_an_account_that_nobody_can_convert_is_not_called_too_little():
    """It keeps dollars only, of which no rate is known."""
    desk = Desk({"global": {"check_balance": True}})
    desk.is_single = True
    desk.later(free={"USD": 5_000})
    text = "NO_CONVERSION: account=SIM-1 nobody can say what its money is in USDT: risk.conversions"
    assert text == desk.buy(1)


# -- getting out ----------------------------------------------------------------------------------------


@pytest.mark.row(1, "missing price")
@pytest.mark.row(22, "missing price")
def test_nobody_is_held_by_a_price_that_is_too_old():
    """The feed stopped at 100 and the market is at 50: who gets out there is not held against 100."""
    desk = Desk(COLLAR, **AGE)
    desk.hold(5)
    desk.later(price_ns=NOW_NS - 2 * S)
    assert not desk.sell(3, price=50)
    text = "PRICE_COLLAR: limit=200 scope=global value=0 would_be=3333.34 unit=bps price=50 reference=75"
    assert text == desk.sell(1, price=50, type="STOP_LIMIT", trigger_price=75), "its own trigger is not old"
    assert desk.buy(1, price=100).startswith("STALE_PRICE: ")
    desk.later(price_ns=NOW_NS)
    assert desk.sell(1, price=50).startswith("PRICE_COLLAR: ")


@pytest.mark.row(7, "at limit")
def test_an_account_of_one_currency_hands_over_no_coins():
    """What was bought is a position: all its money may be in it. What it has not got is paid."""
    desk = Desk({"global": {"check_balance": True}})
    desk.is_single = True
    desk.hold(2)
    desk.later(free={"USDT": 0})
    assert not desk.sell(2)
    assert "INSUFFICIENT_BALANCE: limit=0 scope=global value=0 would_be=300 unit=USDT" == desk.sell(3)
