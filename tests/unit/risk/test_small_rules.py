"""The small parts of the rules, each alone."""

from __future__ import annotations

from decimal import Decimal, getcontext, localcontext
from typing import Any

import pytest
from msgspec.structs import replace
from risk_desk import COIN, FUTURE, INVERSE, NOW_NS, SHARE, Desk, a_sight, an_order, bound, state

from nautilus_ext.risk import controls as c
from nautilus_ext.risk import judge as judge_module
from nautilus_ext.risk.facts import Sight
from nautilus_ext.risk.ledger import Key, Ledger
from nautilus_ext.risk.nets import Cell, Coins
from nautilus_ext.risk.steps import down, exactly, up

BUY, SELL = 1, -1
D = Decimal
ZERO = D(0)
HALF = D("0.5")


# -- steps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", ["0.1", "123456789012345678901234567890"])
def test_steps_never_make_less_or_more_of_an_amount_than_is_safe(large: str) -> None:
    """Up is never less, down is never more, and a number of any size is no error."""
    third = D(large) / 3
    assert up(third) >= third >= down(third)
    assert up(-third) >= -third >= down(-third)
    assert up(third) - down(third) <= D("1E-12")


# -- controls ---------------------------------------------------------------------------------------------


def test_the_whole_order_is_held_against_the_least() -> None:
    """What of it is filled is a part of it."""
    least = c.SmallestQuantity(D(10), "global")
    assert least.refusal(an_order(quantity=4, filled=D(6)), a_sight(an_order())) is None
    refused = least.refusal(an_order(quantity=3, filled=D(6)), a_sight(an_order()))
    assert "MIN_ORDER_QUANTITY: limit=10 scope=global value=6 would_be=9 unit=quantity" == str(refused)


def test_the_largest_order_is_as_large_as_the_limit() -> None:
    """By itself too: the judge asks it only when another limit of the size is passed."""
    assert c.LargestQuantity(D(10), "global").refusal(an_order(quantity=10), a_sight(an_order())) is None


def test_a_collar_around_zero_is_all_or_nothing() -> None:
    """There is nothing to be a part of."""
    collar, asked = c.PriceCollar(D(100), "global"), an_order(price=HALF)
    refused = collar.refusal(asked, a_sight(asked, price=ZERO))
    assert "PRICE_COLLAR: limit=100 scope=global value=0 would_be=5000 unit=bps price=0.5 reference=0" == str(refused)
    assert collar.refusal(an_order(price=0), a_sight(asked, price=ZERO)) is None


REACHES = [
    ({"strategy=*": {"max_position": 5}}, "MAX_POSITION"),
    ({"instrument=*": {"max_position": 5}}, "MAX_POSITION"),
    ({"account=*": {"max_position": 5}}, "MAX_POSITION"),
    ({"asset=AAA": {"max_position": 5}}, "MAX_POSITION"),
    ({"instrument=*": {"max_exposure": 500}}, "MAX_EXPOSURE"),
    ({"venue=SIM": {"max_exposure": 500}}, "MAX_EXPOSURE"),
    ({"strategy=*": {"max_exposure": 500}, "global": {"max_exposure": 5000}}, "MAX_EXPOSURE"),
    ({"strategy=*": {"max_position": 50}, "strategy=S": {"max_position": 5}}, "MAX_POSITION"),
    ({"global": {"max_position": 50}, "instrument=*": {"max_position": 5}}, "MAX_POSITION"),
    ({"global": {"max_position": 5}, "instrument=*": {"max_position": 50}}, "MAX_POSITION"),
]


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize(("limits", "code"), REACHES)
def test_far_from_a_limit_is_far_on_the_side_of_the_order(limits: Any, code: str, side: int) -> None:
    """Two orders pass, what is past it by a tick does not, once and again, whichever way all of them go."""
    desk = Desk(limits)
    said = [desk.send(desk.order(side, quantity)) for quantity in (2, "2.99", "0.02", "0.02", "0.01")]
    assert ["", "", code, code, ""] == [text.partition(":")[0] for text in said]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"strategy=*": {"max_position": 50}, "instrument=*": {"max_position": 5}}, "MAX_POSITION"),
        ({"strategy=*": {"max_exposure": 5000}, "global": {"max_exposure": 500}}, "MAX_EXPOSURE"),
        ({"strategy=*": {"max_exposure": 5000}, "account=*": {"max_exposure": 500}}, "MAX_EXPOSURE"),
    ],
)
def test_a_limit_on_one_net_is_none_on_another(limits: Any, code: str) -> None:
    desk = Desk(limits)
    said = [desk.buy(3, strategy_id="T"), desk.buy(2), desk.buy(1)]
    assert ["", "", code] == [text.partition(":")[0] for text in said]


def test_what_has_no_value_is_not_far_from_a_limit_of_its_value() -> None:
    """Neither alone, nor in a sum."""
    for scope in ("instrument=*", "global"):
        desk = Desk({scope: {"max_exposure": 500}})
        desk.prices["AAA.SIM"] = None
        assert desk.buy(1).startswith("NO_PRICE"), scope


def test_a_limit_that_is_reached_is_not_passed() -> None:
    """Neither by the measure itself, nor by one that was there before."""
    control = c.Position(D(10), "global", Cell())
    assert c.overstep(control, ZERO, D(10)) is None
    assert c.overstep(control, D(12), D(12)) is None
    assert c.overstep(control, D(12), D("12.1")) is not None
    assert c.overstep(control, None, D("10.1")) is not None


def test_a_refusal_names_three_instruments_at_most() -> None:
    """In a portfolio of hundreds the first tell enough."""
    coins = Coins()
    coins.unvalued |= {"D", "C", "B", "A"}
    refused = c.overstep(c.Position(D(10), "asset=X", coins), None, None)
    assert refused is not None
    assert "MAX_POSITION cannot be reckoned: no price or no conversion of A, B, C" == refused.text


@pytest.mark.parametrize(
    ("listing", "side", "price", "market", "growth", "need"),
    [
        (COIN, BUY, "7", "9", 1, ("USDT", D(14))),
        (COIN, BUY, None, "9", 1, ("USDT", D(18))),
        (COIN, BUY, "7", None, 1, ("USDT", D(14))),
        (COIN, BUY, None, None, 1, ("USDT", None)),
        (COIN, BUY, "-7", "9", 1, ("USDT", D(14))),
        (COIN, SELL, None, None, 0, ("AAA", D(2))),
        (replace(COIN, multiplier=D(3)), SELL, None, "9", 1, ("AAA", D(6))),
        (replace(COIN, multiplier=D(3)), BUY, None, "9", 1, ("USDT", D(54))),
        (SHARE, SELL, None, None, 0, ("USDT", ZERO)),
        (SHARE, SELL, "7", "9", 1, ("USDT", D(18))),
        (SHARE, SELL, "9", "7", 1, ("USDT", D(18))),
        (INVERSE, BUY, None, "0.5", 1, ("AAA", D(40))),
        (INVERSE, SELL, None, "10", 1, ("AAA", D(2))),
        (replace(INVERSE, margin=""), BUY, None, "10", 1, ("USD", D(2))),
        (INVERSE, BUY, None, "-10", 1, ("AAA", None)),
        (INVERSE, BUY, None, None, 1, ("AAA", None)),
        (INVERSE, BUY, "0", "10", 1, ("AAA", None)),
    ],
)
def test_what_an_order_takes_from_a_cash_account(listing, side, price, market, growth, need) -> None:  # noqa: PLR0917 - a table
    """Money for a purchase, coins for a sale; nobody knows without a price."""
    asked = an_order(side, 2, price=price)
    seen = a_sight(asked, listing=listing, price=None if market is None else D(market))
    assert need == c.cash_need(D(growth), asked, seen)


@pytest.mark.parametrize(
    ("listing", "growth", "market", "need"),
    [
        (FUTURE, 2, "9", ("USDT", D("4.5"))),
        (replace(FUTURE, margin=""), 2, "-9", ("USDT", D("4.5"))),
        (FUTURE, 2, None, ("USDT", None)),
        (FUTURE, 2, "0", ("USDT", None)),
        (FUTURE, 0, None, ("USDT", ZERO)),
        (FUTURE, -2, "9", ("USDT", ZERO)),
        (replace(FUTURE, margin_init=ZERO), 2, None, ("USDT", ZERO)),
        (INVERSE, 2, "0.5", ("AAA", D(2))),
        (INVERSE, 2, "-5", ("AAA", None)),
    ],
)
def test_what_more_of_a_position_takes_from_a_margin_account(listing, growth, market, need) -> None:
    """A part of its value, by leverage; what is no more takes nothing."""
    asked = an_order()
    seen = a_sight(asked, listing=listing, price=None if market is None else D(market))
    assert need == c.margin_need(D(growth), asked, seen, D(2))


# -- the ledger -------------------------------------------------------------------------------------------


def ledger_of(*listings: Any, price: Any = 100, rate: Any = 1) -> Ledger:
    ledger = Ledger()
    for listing in listings:
        ledger.know(listing)
        ledger.mark(listing.instrument_id, D(price), D(rate))
    return ledger


def key_of(listing: Any, strategy_id: str = "S") -> Key:
    return Key(listing.instrument_id, strategy_id, "SIM-1")


def test_a_contract_that_was_changed_is_valued_as_it_is_now() -> None:
    """Its multiplier, from its next price on."""
    ledger = ledger_of(FUTURE)
    ledger.hold("P", key_of(FUTURE), D(2))
    assert D(1000) == ledger.total("global", "").known
    ledger.know(replace(FUTURE, multiplier=D(7)))
    ledger.mark(FUTURE.instrument_id, D(100), D(1))
    assert (D(1400), D(14)) == (ledger.total("global", "").known, ledger.coins("AAA").longest)


def test_an_order_is_judged_by_what_its_contract_is_now() -> None:
    """The cache has another object of it: a contract of twice the size reaches twice as far."""
    desk = Desk({"global": {"max_exposure": 500}})
    assert not desk.buy(2)
    desk.listings["AAA.SIM"] = replace(COIN, multiplier=D(2))
    assert desk.buy(1).startswith("MAX_EXPOSURE: limit=500 scope=global value=400 would_be=600")


def test_a_position_that_turns_can_reach_as_far_as_it_has_turned() -> None:
    """While its sums are behind: what works on the other side comes on top."""
    ledger, key = Ledger(), Key(COIN.instrument_id, "S", "SIM-1")
    ledger.know(COIN)
    ledger.mark(COIN.instrument_id, D(1), D(1))
    ledger.hold("P-1", key, D(5))
    ledger.place(an_order(side=SELL, quantity=10))
    total = ledger.total("global", "")
    before = total.value
    ledger.hold("P-1", key, D(-6))
    could_be = total.value + ledger.ahead
    assert (D(5), D(16), True) == (before, ledger.total("global", "").value, could_be >= total.value)


def test_coins_are_counted_before_any_price_is_there() -> None:
    """A coin is a coin; its value is not known."""
    ledger = Ledger()
    ledger.know(COIN)
    ledger.hold("P", key_of(COIN), D(2))
    assert D(2) == ledger.coins("AAA").reach(BUY)
    assert ledger.total("global", "").known is None


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_currency_that_is_worth_nothing_is_not_known(rate: str) -> None:
    """Nothing is worth nothing because of it."""
    ledger = ledger_of(COIN, rate=rate)
    ledger.hold("P", key_of(COIN), D(2))
    assert ledger.total("global", "").known is None


@pytest.mark.parametrize("price", ["0", "NaN", "Infinity"])
def test_a_price_that_is_none_is_not_known(price: str) -> None:
    """Nor is it taken for one."""
    ledger = ledger_of(COIN, price=price)
    ledger.hold("P", key_of(COIN), D(2))
    assert ledger.total("global", "").known is None


def test_a_value_is_price_times_multiplier_times_rate() -> None:
    """And of an inverse contract the price does not matter, except for its coins."""
    ledger = ledger_of(FUTURE, price=3, rate=7)
    ledger.hold("P", key_of(FUTURE), D(2))
    assert D(210) == ledger.total("global", "").known
    ledger = ledger_of(INVERSE, price=HALF, rate=7)
    ledger.hold("P", key_of(INVERSE), D(2))
    assert (D(140), D(40)) == (ledger.total("global", "").known, ledger.coins("AAA").longest)


def test_instruments_are_those_of_which_somebody_has_something() -> None:
    """Two strategies that hold against each other hold something."""
    ledger = ledger_of(COIN, SHARE)
    assert [] == list(ledger.instruments())
    ledger.hold("P", key_of(COIN), D(2))
    ledger.hold("Q", key_of(COIN, "T"), D(-2))
    assert [COIN] == list(ledger.instruments())


def test_a_position_that_changes_hands_is_counted_once() -> None:
    """What it was before goes with it."""
    ledger = ledger_of(COIN)
    ledger.hold("P", key_of(COIN), D(2))
    ledger.hold("P", key_of(COIN, "T"), D(3))
    assert (ZERO, D(3)) == tuple(ledger.places(key_of(COIN, name)).own.held for name in "ST")
    assert [("P", key_of(COIN, "T"), D(3))] == list(ledger.positions())
    ledger.hold("P", key_of(COIN, "T"), ZERO)
    assert ([], {}) == (list(ledger.positions()), state(ledger))


def test_nothing_counts_of_an_instrument_that_is_not_known() -> None:
    """Whoever asks is told so."""
    with pytest.raises(ValueError, match=r"^the instrument BBB.SIM is not known$"):
        ledger_of(COIN).places(key_of(SHARE))


def test_a_child_takes_from_its_parent_what_it_is_in_the_parents_unit() -> None:
    """Rounded down; where nobody can say it, one for one."""
    ledger = ledger_of(COIN, INVERSE, price=3)
    ledger.reserve(an_order(quantity=10, client_order_id="P-1"))
    inverse = {"instrument_id": INVERSE.instrument_id, "parent_id": "P-1"}
    ledger.place(an_order(quantity=2, client_order_id="C", **inverse))
    assert (
        D("3.3333333333333333") == D(10) - ledger.reserved("P-1") - D("3.3333333333333333") == D("3.3333333333333333")
    )
    ledger.remove("C")
    assert D(10) == ledger.reserved("P-1")
    ledger.mark(INVERSE.instrument_id, None, D(1))
    ledger.place(an_order(quantity=2, client_order_id="C", **inverse))
    assert D(8) == ledger.reserved("P-1")


def test_what_is_filled_of_a_child_does_not_go_back() -> None:
    """In parts, rounded up; a larger child takes no more than it took."""
    ledger = ledger_of(COIN)
    ledger.reserve(an_order(quantity=1, client_order_id="P-1"))
    ledger.place(an_order(quantity=3, client_order_id="C", parent_id="P-1"))
    ledger.leave("C", D(1))
    working = ledger.working("C")
    assert working is not None
    assert D("0.3333333333333334") == working.taken
    ledger.leave("C", D(2))
    assert (D("0.3333333333333334"), D(2)) == (working.taken, working.quantity)
    ledger.leave("unknown", D(1))
    ledger.remove("C")
    assert D("0.3333333333333334") == ledger.reserved("P-1")


def test_a_child_that_is_filled_gives_nothing_back() -> None:
    """And what it needed counts until the account has spoken."""
    ledger = ledger_of(COIN)
    ledger.reserve(an_order(quantity=10, client_order_id="P-1"))
    ledger.place(an_order(quantity=4, client_order_id="C", parent_id="P-1"))
    ledger.needs.add("C", "SIM-1", "USDT", D(400))
    ledger.finish("C")
    ledger.finish("unknown")
    assert (D(6), None) == (ledger.reserved("P-1"), ledger.working("C"))
    assert D(400) == ledger.needs.of("SIM-1", "USDT")
    ledger.needs.told("SIM-1")
    assert ZERO == ledger.needs.of("SIM-1", "USDT")


def test_what_is_rounded_is_never_less_than_it_is() -> None:
    """Exposure up; coins away from where they are."""
    ledger = ledger_of(INVERSE, price=3, rate="0.00000000000001")
    ledger.hold("P", key_of(INVERSE), D(1))
    assert (D("3.333333333334"), D("3.333333333333")) == (ledger.coins("AAA").longest, ledger.coins("AAA").shortest)
    assert D("1E-12") == ledger.total("global", "").known


# -- the judge --------------------------------------------------------------------------------------------


def test_a_lifted_order_counts_like_any_other() -> None:
    """A parent as well: to look at what was before leaves nothing changed."""
    lifted = [{"code": "MAX_POSITION", "scope": "global", "by": "A", "why": "w", "until": "2099-01-01T00:00:00Z"}]
    desk = Desk({"global": {"max_position": "10"}}, overrides=lifted)
    assert ["", ""] == [desk.buy(20, price=7), desk.reserve(BUY, 30, price=8)]
    ledger = desk.ledger
    assert (D(50), D(30), D(7)) == (
        ledger.places(key_of(COIN)).whole.longest,
        ledger.reserved("P-1"),
        ledger.resting.best("AAA.SIM", BUY),
    )
    assert "" == desk.modify("O-1", quantity=25)
    assert D(55) == ledger.places(key_of(COIN)).whole.longest


def test_behind_a_lifted_limit_the_next_one_stands() -> None:
    """What is looked at for the first is as it was for the second."""
    lifted = [{"code": "MAX_EXPOSURE", "scope": "global", "by": "A", "why": "w", "until": "2099-01-01T00:00:00Z"}]
    desk = Desk({"global": {"max_exposure": "500"}, "venue=SIM": {"max_exposure": "1000"}}, overrides=lifted)
    assert "" == desk.buy(10)
    assert "MAX_EXPOSURE: limit=1000 scope=venue=SIM value=1000 would_be=1001 unit=USDT" == desk.buy("0.01")


@pytest.mark.parametrize("trusts", [True, False])
def test_the_section_says_whether_reduce_only_is_trusted(trusts: bool) -> None:  # noqa: FBT001
    """Who builds the facts of an order asks the book."""
    assert trusts is Desk(trusts_reduce_only=trusts).judge.book.trusts_reduce_only


def test_orders_and_sights_belong_together() -> None:
    """One for one."""
    desk = Desk()
    orders = [desk.order(BUY, 1), desk.order(BUY, 2)]
    with pytest.raises(ValueError, match="zip"):
        desk.judge.submit(orders, [desk.sight(orders[0])])
    assert {} == state(desk.ledger)


def test_a_change_that_changes_nothing_passes_whatever_has_become_of_prices() -> None:
    """Nor does a smaller one ask for what it has already; what is filled of it is a part of both."""
    desk = Desk({"global": {"max_order_notional": "1000"}})
    assert ["", ""] == [desk.buy(10), desk.buy(6, filled=D(4))]
    desk.priced(200)
    assert "" == desk.modify("O-1", quantity=10)
    desk.filled["O-2"] = D(4)
    assert "" == desk.modify("O-2", quantity=5)


def test_a_cancel_of_what_was_never_judged_is_counted() -> None:
    """As after a restart."""
    desk = Desk({"global": {"messages": [{"max": 1, "types": ["submit", "cancel"]}]}})
    asked = desk.order(BUY, 1)
    assert desk.judge.cancel(asked, desk.sight(asked)) is None
    assert desk.buy(1).startswith("MESSAGE_RATE")
    assert desk.judge.cancel(asked, Sight(now_ns=NOW_NS)) is None


@pytest.mark.parametrize(("quantity", "passes"), [(5, True), ("5.01", False), (6, False)])
def test_a_parent_that_only_reduces_needs_no_price(quantity: Any, passes: bool) -> None:  # noqa: FBT001
    """To zero, and no further."""
    desk = Desk({"global": {"price_collar_bps": "100"}})
    desk.hold(5)
    desk.priced(None)
    assert passes is (desk.reserve(SELL, quantity) == "")


def test_a_price_below_one_is_a_price() -> None:
    """Also of an inverse contract."""
    desk = Desk({"global": {"price_collar_bps": "100"}})
    desk.priced(HALF, INVERSE.instrument_id)
    assert "" == desk.buy(1, instrument_id=INVERSE.instrument_id)


def test_slices_and_parents_are_alike_only_among_their_own_kind() -> None:
    """A child may be as large as its parent, two of a list as large as each other; two parents may not."""
    desk = Desk({"global": {"duplicate_window_ms": 1000}})
    assert ["", ""] == [desk.reserve(BUY, 1, parent_id="P-1"), desk.buy(1, parent_id="P-1")]
    assert "" == desk.list((BUY, 1, {"parent_id": "P-1"}), (BUY, 1, {"parent_id": "P-1"}))
    twin = desk.reserve(BUY, 1, client_order_id="P-2", parent_id="P-2")
    assert "DUPLICATE_ORDER: limit=1000 scope=global would_be=0 unit=ms" == twin
    assert "" == desk.reserve(BUY, 2, client_order_id="P-2", parent_id="P-2")


def test_what_an_order_needs_is_not_known_without_a_price() -> None:
    """Also of one that only gets out: who cannot pay is not let out by that."""
    desk = Desk({"global": {"check_balance": True}})
    desk.hold(-2)
    desk.priced(None)
    assert "NO_PRICE: scope=global what the order needs cannot be reckoned without a price" == desk.buy(2)


def test_an_inverse_contract_is_counted_in_coins_beside_other_limits() -> None:
    """Then its price matters, whatever else is limited."""
    desk = Desk({"global": {"max_order_quantity": "10"}, "asset=AAA": {"max_position": "10"}})
    desk.priced(None, INVERSE.instrument_id)
    told = desk.buy(1, instrument_id=INVERSE.instrument_id)
    assert "NO_PRICE: scope=instrument=AAAUSD.INV no reference price" == told


def test_controls_are_remembered_up_to_a_bound() -> None:
    """Past it they are made anew."""
    with bound(judge_module, "KEYS_MAX", 2):
        desk = Desk()
        seen = []
        for name in "ABCDE":
            assert "" == desk.buy(1, strategy_id=name)
            seen.append(len(desk.judge._controls))
    assert [1, 2, 1, 2, 1] == seen


# -- digits that somebody else has set --------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "kept"), [(2, 28), (27, 28), (28, 28), (40, 40)])
def test_rules_reckon_with_all_digits_and_with_more_where_there_are_more(digits: int, kept: int) -> None:
    @exactly
    def seen(one: Decimal, *, by: int) -> tuple[int, Decimal]:
        return getcontext().prec, one / by

    with localcontext() as context:
        context.prec = digits
        used, third = seen(D(1), by=3)
        assert (digits, kept) == (context.prec, used)
    assert kept == len(third.as_tuple().digits)


def test_an_old_price_holds_nobody_who_gets_out_and_everybody_else() -> None:
    """To the millisecond: at the age that is allowed it is still a price."""
    for age_ms, side, expected in ((1_000, SELL, "PRICE_COLLAR"), (1_001, SELL, ""), (1_001, BUY, "STALE_PRICE")):
        desk = Desk({"global": {"price_collar_bps": "200"}}, price_age_ms_max=1_000)
        desk.hold(5)
        desk.later(price_ns=NOW_NS - age_ms * 1_000_000)
        price = 50 if side == SELL else 100
        said = desk.sell(1, price=price) if side == SELL else desk.buy(1, price=price)
        assert expected == said.partition(":")[0]


def test_who_only_buys_where_it_gets_better_pays_what_he_says() -> None:
    """A market order that waits to be touched below the market; a stop pays what the market has become."""
    seen = a_sight(an_order(), price=D(100))
    assert D(90) == c.worst_price(an_order(BUY, type="MARKET_IF_TOUCHED", trigger_price=D(90)), seen)
    assert D(100) == c.worst_price(an_order(BUY, type="STOP_MARKET", trigger_price=D(90)), seen)
    assert D(100) == c.worst_price(an_order(SELL, type="MARKET_IF_TOUCHED", trigger_price=D(90)), seen)


def test_a_sale_of_coins_takes_coins_where_nobody_knows_the_account() -> None:
    sale = an_order(SELL, 2)
    assert (COIN.base, D(2)) == c.cash_need(ZERO, sale, a_sight(sale, account=None, listing=COIN))
