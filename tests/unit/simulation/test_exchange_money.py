"""What no order may get around: margin at the price that it really gets, one hold for what can only fill once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from venue_script import INVERSE, PERP, SPOT, Script, a_listing, a_venue, terms

ORDERS = ("LIMIT 5@{far} IOC", "LIMIT 5@{far} FOK", "LIMIT 5@{far}", "MARKET 5")


def a_script(instrument_id: str, **funds) -> Script:
    venue = a_venue(a_listing(instrument_id), funds={name: Decimal(amount) for name, amount in funds.items()})
    return Script(venue, instrument_id)


def after_a_loss(slices: str = "") -> Script:
    """`a` sells 6 or 8 BTC at 100, and an inverse loss leaves it three and a half."""
    funds = {"BTC": Decimal(9), "USDT": Decimal(1_000)}
    venue = a_venue(a_listing(SPOT), a_listing(INVERSE), funds=funds)
    spot, inverse = Script(venue, SPOT), Script(venue, INVERSE)
    inverse.run("step 99*999 100*999")
    inverse.run("a place 1 BUY MARKET 110")
    orders = "2 SELL LIMIT 8@100 show=1" if slices == "hidden" else "2 SELL LIMIT 3@100; 3 SELL LIMIT 3@100"
    assert "a accepted 2" in spot.run(f"a place {orders}")
    inverse.run("step 16*999 17*999")
    inverse.run("a place 4 SELL MARKET 110 reduce")
    left = {each.currency: each.total for each in venue.account_state("a", 9).balances}["BTC"]
    assert 3 <= left < 4
    return spot


@pytest.mark.parametrize("text", ORDERS)
@pytest.mark.parametrize(
    ("instrument_id", "side", "far", "funds"),
    [(PERP, "SELL", 1, {"USDT": 1}), (INVERSE, "BUY", 100_000, {"BTC": "0.0001"})],
)
def test_margin_is_needed_for_the_price_that_an_order_gets(instrument_id, side, far, funds, text):
    """A sale far below the market ties up what it is sold for; a purchase of an inverse contract likewise."""
    script = a_script(instrument_id, **funds)
    script.run("step 99*9 101*9")
    assert ["a rejected 1 INSUFFICIENT_MARGIN"] == script.run(f"a place 1 {side} {text.format(far=far)}")


@pytest.mark.parametrize(
    ("instrument_id", "side", "prices", "funds"),
    [(PERP, "SELL", (150, 1), {"USDT": 3}), (INVERSE, "BUY", (50, 100_000), {"BTC": "0.0003"})],
)
def test_a_change_and_a_trigger_are_judged_at_that_price_too(instrument_id, side, prices, funds):
    """What rests with its margin may not be moved to where it would take more than that."""
    near, far = prices
    script = a_script(instrument_id, **funds)
    script.run("step 99*9 101*9")
    assert ["a accepted 1"] == script.run(f"a place 1 {side} LIMIT 1@{near}")
    assert ["refused INSUFFICIENT_MARGIN"] == script.run(f"a modify 1 p={far} q=9")
    trigger = 90 if side == "SELL" else 110
    script.run(f"a place 2 {side} STOP_LIMIT 9@{far} t={trigger}")
    bid = trigger if side == "SELL" else trigger - 1
    assert ["a triggered 2", "a canceled 2 INSUFFICIENT_MARGIN"] == script.run(f"step {bid}*9 {bid + 1}*9")[-2:]


def test_a_market_sale_is_judged_at_its_first_price():
    """Its last one is the cheapest for the seller's margin."""
    script = a_script(PERP, USDT=10)
    script.run("step 1*9 200*9")
    script.run("b place 1 BUY LIMIT 4@100")
    script.run("a place 2 SELL LIMIT 9@101")
    assert ["a rejected 3 INSUFFICIENT_MARGIN"] == script.run("a place 3 SELL MARKET 13")


def test_what_a_maker_can_pay_is_counted_once_for_all_its_orders():
    """Six lots stand there, and three and a half can be delivered: a FOK for six does nothing."""
    spot = after_a_loss()
    assert ["b accepted 5", "b canceled 5 FOK"] == spot.run("b place 5 BUY LIMIT 6@100 FOK")
    assert "b filled 6 3@100 taker" in spot.run("b place 6 BUY LIMIT 3@100 FOK")


@pytest.mark.parametrize("kind", ["LIMIT 10@100", "MARKET 10"])
def test_a_fok_is_filled_whole_or_not_at_all(kind):
    """Also where a hidden reducing order loses its position to another of the same owner before its turn comes."""
    script = Script()
    script.run("step 90*5 91*5")
    script.run("a place 1 BUY MARKET 5")
    script.run("step 90*5 200*5")
    script.run("a place 2 SELL LIMIT 5@100 show=1 reduce; 3 SELL LIMIT 5@100")
    said = script.run(f"b place 4 BUY {kind} FOK")
    filled = sum(int(line.split()[3].partition("@")[0]) for line in said if line.startswith("b filled 4"))
    assert filled in (0, 10), said
    assert not any(order.client_order_id == "4" for order in script.venue.open_orders("b"))


def test_hidden_lots_that_cannot_be_delivered_are_not_counted():
    """Eight stand there, three can be delivered: the rest is bought from the next, and paid."""
    spot = after_a_loss("hidden")
    spot.run("c place 5 SELL LIMIT 9@102")
    assert ["b accepted 6", "b canceled 6 FOK"] == spot.run("b place 6 BUY LIMIT 4@100 FOK")
    said = spot.run("b place 7 BUY MARKET 9")
    assert said[-1] == "b filled 7 6@102 taker", said
    assert all(each.total >= 0 for each in spot.venue.account_state("b", 9).balances)


def test_a_taker_pays_for_each_fill_or_is_canceled():
    """A hundred fees that round up are more than the fee of the whole that was foreseen."""
    listing = a_listing(SPOT, taker_fee=Decimal("6E-11"), maker_fee=Decimal(0))
    venue = a_venue(listing, funds={"USDT": Decimal("10000.0000006"), "BTC": Decimal(100)})
    spot = Script(venue, SPOT)
    spot.run("a place 1 SELL LIMIT 100@100 show=1")
    assert ["c accepted 3", "c canceled 3 INSUFFICIENT_BALANCE"] == spot.run("c place 3 BUY LIMIT 100@100 FOK")
    said = spot.run("b place 2 BUY LIMIT 100@100")
    assert said[-2:] == ["b filled 2 1@100 taker", "b canceled 2 INSUFFICIENT_BALANCE"]
    assert said.count("b filled 2 1@100 taker") == 99


def test_a_fok_that_would_meet_its_own_linked_order_is_not_begun():
    """Met by itself, that one would be canceled and take the FOK along, half filled."""
    script = Script()
    script.run("b place 1 SELL LIMIT 2@100")
    script.run("a place 2 SELL LIMIT 5@100 OUO=4")
    script.run("b place 3 SELL LIMIT 9@100")
    assert ["a accepted 4", "a canceled 4 FOK"] == script.run("a place 4 BUY LIMIT 5@100 OUO=2 FOK")[:2]


@pytest.mark.parametrize(
    "text",
    [
        "1 BUY LIMIT 9@90 OUO=2; 2 BUY LIMIT 9@91",  # the other one knows nothing of it
        "1 BUY LIMIT 9@90 OUO=2; 2 BUY LIMIT 9@91 OCO=1",  # it is linked in another way
        "1 BUY LIMIT 9@90 OUO=2; 2 BUY LIMIT 9@91 OUO=1,3; 3 BUY LIMIT 9@92 OUO=2",  # a chain
        "1 BUY LIMIT 9@90 OUO=2; 2 BUY LIMIT 9@91 OUO=1 SPOT",
        "1 BUY LIMIT 9@90 OTO; 2 SELL LIMIT 9@110 parent=1 SPOT",
    ],
)
def test_links_are_mutual_and_on_one_listing(text):
    """Otherwise one hold would stand for two that can both fill, or lots of one listing count on another."""
    script = Script(a_venue(a_listing(PERP), a_listing(SPOT)))
    assert ["refused BAD_ORDER"] == script.run(f"a place {text}")
    assert () == script.venue.open_orders("a")


def test_links_to_an_open_order_are_mutual():
    """One that comes later, too: it joins those that name it already, and nobody else."""
    script = a_script(PERP, USDT=100)
    script.run("a place 1 BUY LIMIT 9@90 OUO=2")
    assert ["refused BAD_ORDER"] == script.run("a place 3 BUY LIMIT 9@90 OUO=1")
    assert ["refused BAD_ORDER"] == script.run("a place 2 BUY LIMIT 9@90 OUO=1,3")
    assert ["a accepted 2"] == script.run("a place 2 BUY LIMIT 9@90 OUO=1")
    assert len(script.venue.open_orders("a")) == 2


def test_an_order_that_another_names_in_vain_keeps_its_own_hold():
    """It does not name that one: neither fills nor holds are shared."""
    script = a_script(SPOT, USDT=1_000)
    script.run("a place 1 BUY LIMIT 5@90 OUO=2")
    assert ["a accepted 2"] == script.run("a place 2 BUY LIMIT 5@90")
    assert Decimal("900.45") == script.venue.account_state("a", 9).balances[-1].locked
    script.run("a modify 1 q=4")
    assert Decimal("810.405") == script.venue.account_state("a", 9).balances[-1].locked
    script.venue.open_account(terms("seller"), 9)
    assert "a filled 1 4@90 maker" in script.run("seller place 3 SELL LIMIT 4@90")
    assert ["2"] == [order.client_order_id for order in script.venue.open_orders("a")]


def test_a_linked_order_that_takes_is_paid_beside_what_the_others_go_on_holding():
    """Nine at 100 hold 900: a linked purchase of one lot for 500 is too much. Of sales the lots are shared."""
    script = a_script(SPOT, USDT=1_000, BTC=9)
    script.run("step 499*9 500*9")
    script.run("a place 1 BUY LIMIT 9@100 OUO=2")
    assert ["a rejected 2 INSUFFICIENT_BALANCE", "a canceled 1 LINKED"] == script.run("a place 2 BUY MARKET 1 OUO=1")
    script.run("b place 3 SELL LIMIT 9@600 OUO=4; 4 SELL STOP_MARKET 9 t=400 OUO=3")
    assert ["b filled 4 9@400 taker", "b canceled 3 OUO"] == script.run("step 400*9 401*9")
