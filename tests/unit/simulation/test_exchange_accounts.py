"""Accounts: worked by hand to the last digit, and the same in any order of events."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nautilus_ext.simulation.exchange.accounts import Account
from nautilus_ext.simulation.exchange.grid import Grid
from nautilus_ext.simulation.exchange.orders import AccountTerms
from nautilus_ext.simulation.market import Listing

SPOT, LINEAR, INVERSE = "BTCUSDT.X", "BTCUSDT-PERP.X", "BTCUSD-PERP.X"


def listing(instrument_id: str, kind: str, quote: str, **other: str | int) -> Listing:
    given = {name: Decimal(value) for name, value in other.items()}
    return Listing(
        instrument_id=instrument_id, kind=kind, base="BTC", quote=quote, spread_ticks=1, depth=Decimal(1_000), **given
    )


GRIDS = {
    each.instrument_id: Grid(each)
    for each in (
        listing(SPOT, "spot", "USDT", tick="0.01", lot="0.00001", maker_fee="0.001", taker_fee="0.002"),
        listing(LINEAR, "linear", "USDT", tick="0.1", lot="0.001", maker_fee="0.0002", taker_fee="0.0005"),
        listing(INVERSE, "inverse", "USD", tick="0.5", lot=1, multiplier=10, maker_fee="-0.00025", taker_fee="0.00075"),
    )
}


def account(kind: str = "MARGIN", leverage: int = 1, **balances: str | int) -> Account:
    terms = AccountTerms(
        account="A",
        kind=kind,
        starting_balances={currency: Decimal(amount) for currency, amount in balances.items()},
        leverage=Decimal(leverage),
    )
    return Account(terms, GRIDS)


def numbers(instrument_id: str, quantity: str, price: str) -> tuple[int, int]:
    lots, ticks = GRIDS[instrument_id].lots(Decimal(quantity)), GRIDS[instrument_id].ticks(Decimal(price))
    assert lots is not None
    assert ticks is not None
    return lots, ticks


def order(instrument_id: str, text: str) -> tuple[Grid, str, int, int]:
    """Of "BUY 0.01 50000": grid, side, lots, ticks."""
    side, quantity, price = text.split()[:3]
    return GRIDS[instrument_id], side, *numbers(instrument_id, quantity, price)


def fill(of: Account, instrument_id: str, text: str) -> Decimal:
    return of.settle(*order(instrument_id, text), maker=text.endswith("maker"), ts_ns=1)


def hold(of: Account, number: int, instrument_id: str, text: str, *, reduce_only: bool = False) -> None:
    of.hold(number, *order(instrument_id, text), reduce_only=reduce_only)


def refuse(of: Account, instrument_id: str, text: str, *, reduce_only: bool = False) -> str | None:
    return of.refuse(*order(instrument_id, text), reduce_only=reduce_only)


def balances(of: Account) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.currency: (each.total, each.locked) for each in of.state(0).balances}


def margins(of: Account) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.instrument_id: (each.initial, each.maintenance) for each in of.state(0).margins}


# -- spot -------------------------------------------------------------------------------------------


def test_spot_swaps_balances_and_pays_the_fee_in_quote():
    """Bought as taker, sold in two parts as maker and taker."""
    of = account("CASH", USDT=1_000)
    assert Decimal(1) == fill(of, SPOT, "BUY 0.01 50000")
    assert {"USDT": (Decimal(499), 0), "BTC": (Decimal("0.01"), 0)} == balances(of)
    assert Decimal("0.24") == fill(of, SPOT, "SELL 0.004 60000 maker")
    assert {"USDT": (Decimal("738.76"), 0), "BTC": (Decimal("0.006"), 0)} == balances(of)
    assert Decimal("0.48") == fill(of, SPOT, "SELL 0.006 40000")
    assert {"USDT": (Decimal("978.28"), 0), "BTC": (0, 0)} == balances(of)
    assert of.positions() == ()


def test_spot_orders_hold_what_they_may_need():
    """A buy its value and the larger fee, a sell its size; a second hold of an order replaces the first."""
    of = account("CASH", USDT=1_000, BTC=1)
    hold(of, 1, SPOT, "BUY 0.01 50000")
    hold(of, 2, SPOT, "SELL 0.25 70000")
    assert {"USDT": (1_000, Decimal(501)), "BTC": (1, Decimal("0.25"))} == balances(of)
    hold(of, 1, SPOT, "BUY 0.004 50000")
    assert {"USDT": (1_000, Decimal("200.4")), "BTC": (1, Decimal("0.25"))} == balances(of)
    of.release(1)
    of.release(1)
    of.release(2)
    of.release(77)
    assert {"USDT": (1_000, 0), "BTC": (1, 0)} == balances(of)


@pytest.mark.parametrize(
    ("side", "quantity", "expected"),
    [
        ("BUY", "0.00995", None),  # 497.5 and 0.995 of fee
        ("BUY", "0.00996", "INSUFFICIENT_BALANCE: need=498.996 free=498.9 unit=USDT"),
        ("SELL", "0.75", None),
        ("SELL", "0.75001", "INSUFFICIENT_BALANCE: need=0.75001 free=0.75 unit=BTC"),
    ],
)
@pytest.mark.parametrize("kind", ["CASH", "MARGIN"])
@pytest.mark.parametrize("reduce_only", [False, True])
def test_spot_orders_beyond_what_is_free_are_refused_with_numbers(kind, side, quantity, expected, reduce_only):
    """What other orders hold is not free, whatever the account's kind; asking changes nothing."""
    of = account(kind, USDT="999.9", BTC=1)
    hold(of, 1, SPOT, "BUY 0.01 50000")
    hold(of, 2, SPOT, "SELL 0.25 70000")
    before = of.state(0)
    assert expected == refuse(of, SPOT, f"{side} {quantity} 50000", reduce_only=reduce_only)
    assert before == of.state(0)


def test_an_account_without_the_currency_has_none_of_it():
    """It is refused, and no empty balance appears for it."""
    of = account("CASH", USDT=5)
    assert refuse(of, SPOT, "SELL 1 1") == "INSUFFICIENT_BALANCE: need=1 free=0 unit=BTC"
    assert refuse(of, LINEAR, "BUY 1 1").startswith("INSUFFICIENT_MARGIN: BTCUSDT-PERP.X needs a MARGIN account")
    assert {"USDT": (5, 0)} == balances(of)
    assert of.position_lots(SPOT) == 0


def test_many_small_fees_never_take_more_than_was_held():
    """Each rounds up by a fraction of the last digit: the last one is cut to what is left."""
    of = account("CASH", USDT="0.00075676")  # ten lots at 7.56, and 0.1 % of it
    fees = [fill(of, SPOT, "BUY 0.00001 7.56 maker") for _ in range(10)]
    assert [Decimal("0.00000008")] * 9 + [Decimal("0.00000004")] == fees
    assert balances(of)["USDT"][0] == 0


def test_what_is_sold_of_spot_is_the_base_balance():
    """Held or not, in whole lots."""
    of = account("CASH", BTC="0.123456789")
    hold(of, 1, SPOT, "SELL 0.1 70000")
    assert of.position_lots(SPOT) == 12_345


def test_a_loss_elsewhere_can_leave_a_spot_order_uncovered():
    """The one way in which what was held is not there any more: the venue asks before the fill."""
    of = account(USDT=100)
    hold(of, 1, SPOT, "BUY 0.001 50000")
    fill(of, LINEAR, "BUY 1 100")
    assert of.affords(*order(SPOT, "BUY 0.001 50000"))
    fill(of, LINEAR, "SELL 1 40")
    assert not of.affords(*order(SPOT, "BUY 0.001 50000"))
    assert of.affords(*order(LINEAR, "BUY 1 50000"))


# -- positions --------------------------------------------------------------------------------------

# what is done, and then: quantity, cost, average price, realized, balance
LINEAR_LONG = [
    ("open", "BUY 1 100 taker", "1 100 100 0 9999.95"),
    ("increase", "BUY 2 103 maker", "3 306 102 0 9999.9088"),
    ("reduce", "SELL 1 110 taker", "2 204 102 8 10007.8538"),
    ("flip", "SELL 5 90 taker", "-3 -270 90 -16 9983.6288"),
    ("close", "BUY 3 80 maker", "0 0 - 14 10013.5808"),
    ("open", "BUY 1 80 maker", "1 80 80 14 10013.5648"),
]
LINEAR_SHORT = [
    ("open", "SELL 1 100 taker", "-1 -100 100 0 9999.95"),
    ("increase", "SELL 2 103 maker", "-3 -306 102 0 9999.9088"),
    ("reduce", "BUY 1 110 taker", "-2 -204 102 -8 9991.8538"),
    ("flip", "BUY 5 90 taker", "3 270 90 16 10015.6288"),
    ("close", "SELL 3 80 maker", "0 0 - -14 9985.5808"),
]
INVERSE_LONG = [
    ("open", "BUY 100 50000 taker", "100 0.02 50000 0 0.999985"),
    ("increase", "BUY 100 40000 maker", "200 0.045 44444.444444444444 0 0.99999125"),
    ("reduce", "SELL 50 50000 taker", "150 0.03375 44444.444444444444 0.00125 1.00123375"),
    ("flip", "SELL 250 40000 taker", "-100 -0.025 40000 -0.0025 0.99743687"),
    ("close", "BUY 100 50000 maker", "0 0 - -0.0075 0.99244187"),
]
INVERSE_SHORT = [
    ("open", "SELL 100 50000 taker", "-100 -0.02 50000 0 0.999985"),
    ("increase", "SELL 100 40000 maker", "-200 -0.045 44444.444444444444 0 0.99999125"),
    ("reduce", "BUY 50 50000 taker", "-150 -0.03375 44444.444444444444 -0.00125 0.99873375"),
    ("flip", "BUY 250 40000 taker", "100 0.025 40000 0.0025 1.00243687"),
    ("close", "SELL 100 50000 maker", "0 0 - 0.0075 1.00744187"),
]


@pytest.mark.parametrize(
    ("instrument_id", "currency", "start", "story"),
    [
        pytest.param(LINEAR, "USDT", 10_000, LINEAR_LONG, id="linear long"),
        pytest.param(LINEAR, "USDT", 10_000, LINEAR_SHORT, id="linear short"),
        pytest.param(INVERSE, "BTC", 1, INVERSE_LONG, id="inverse long"),
        pytest.param(INVERSE, "BTC", 1, INVERSE_SHORT, id="inverse short"),
    ],
)
def test_a_position_as_worked_by_hand(instrument_id, currency, start, story):
    """Open, increase, reduce, flip, close; fees on each fill; the balance after each to the last digit."""
    of = account(**{currency: start})
    fees = Decimal(0)
    for what, done, expected in story:
        fees += fill(of, instrument_id, done)
        quantity, cost, average, realized, balance = expected.split()
        position = of.position(instrument_id)
        assert position is not None
        assert (Decimal(quantity), Decimal(cost), Decimal(realized)) == (
            position.quantity,
            position.cost,
            position.realized,
        ), what
        assert (None if average == "-" else Decimal(average)) == position.average_price, what
        assert Decimal(balance) == balances(of)[currency][0], what
        assert start + position.realized - fees == balances(of)[currency][0], what


def test_a_third_is_never_lost():
    """Cost and profit that no decimal holds: what the balance was rounded by comes back when the position is closed."""
    of = account(USDT=1_000)
    moves = []
    for side, quantity, price in (("BUY", "1", "100"), ("BUY", "2", "101"), *[("SELL", "1", "101")] * 3):
        before = balances(of)["USDT"][0]
        fee = fill(of, LINEAR, f"{side} {quantity} {price}")
        moves.append(balances(of)["USDT"][0] - before + fee)
    assert [0, 0, Decimal("0.33333333"), Decimal("0.33333334"), Decimal("0.33333333")] == moves
    position = of.position(LINEAR)
    assert (0, 0, 1, None) == (position.quantity, position.cost, position.realized, position.average_price)


def test_an_average_price_does_not_drift_while_a_position_is_reduced():
    """A thousand parts of one lot each: the rest still cost what it cost, of an inverse contract too."""
    for instrument_id, unit, price, other in (
        (LINEAR, "0.001", "60000.1", "60000.4"),
        (INVERSE, "1", "60000.5", "60001"),
    ):
        of = account(USDT=10**6, BTC=100)
        lots = 1_001
        fill(of, instrument_id, f"BUY {Decimal(unit) * (lots - 1)} {price}")
        fill(of, instrument_id, f"BUY {unit} {other}")
        average = of.position(instrument_id).average_price
        for _ in range(lots - 1):
            fill(of, instrument_id, f"SELL {unit} {other}")
        assert abs(average - of.position(instrument_id).average_price) < Decimal("1E-9")
        fill(of, instrument_id, f"SELL {unit} {other}")
        assert (0, 0) == (of.position(instrument_id).quantity, of.position(instrument_id).cost)


# -- margins ----------------------------------------------------------------------------------------


def test_margin_of_position_and_orders_at_the_worse_side():
    """At ten times: half a percent of what position and buys, or sells beyond the position, come to."""
    of = account(leverage=10, USDT=1_000)
    fill(of, LINEAR, "BUY 3 102")
    assert {LINEAR: (Decimal("1.53"), Decimal("0.765"))} == margins(of)
    hold(of, 1, LINEAR, "BUY 1 100")
    assert {LINEAR: (Decimal("2.03"), Decimal("0.765"))} == margins(of)
    hold(of, 2, LINEAR, "SELL 5 100")  # 500 - 306 is the smaller side
    assert {LINEAR: (Decimal("2.03"), Decimal("0.765"))} == margins(of)
    hold(of, 2, LINEAR, "SELL 10 100")
    assert {LINEAR: (Decimal("3.47"), Decimal("0.765"))} == margins(of)
    hold(of, 3, LINEAR, "SELL 3 100", reduce_only=True)  # cannot add to it
    assert Decimal("3.47") == balances(of)["USDT"][1]
    of.release(2)
    of.release(1)
    assert {LINEAR: (Decimal("1.53"), Decimal("0.765"))} == margins(of)


def test_margin_of_an_inverse_short():
    """In the base currency, on what it cost."""
    of = account(leverage=2, BTC=1)
    fill(of, INVERSE, "SELL 100 50000")
    hold(of, 1, INVERSE, "SELL 50 50000")
    assert {INVERSE: (Decimal("0.00075"), Decimal("0.00025"))} == margins(of)
    assert Decimal("0.00075") == balances(of)["BTC"][1]


def test_an_instrument_without_position_and_orders_has_no_margin():
    """After its only order is gone; one that was traded stays in the list, with zeros."""
    of = account(USDT=100)
    hold(of, 1, LINEAR, "BUY 1 100")
    assert {LINEAR: (5, 0)} == margins(of)
    of.release(1)
    assert {} == margins(of)
    fill(of, LINEAR, "BUY 1 100")
    fill(of, LINEAR, "SELL 1 100")
    assert {LINEAR: (0, 0)} == margins(of)


@pytest.mark.parametrize(
    ("side", "quantity", "expected"),
    [
        ("BUY", "1", None),  # 5 of margin, 0.05 of fee
        ("BUY", "1.001", "INSUFFICIENT_MARGIN: need=5.05505 free=5.05 unit=USDT"),
        ("SELL", "1.001", "INSUFFICIENT_MARGIN: need=5.05505 free=5.05 unit=USDT"),
    ],
)
def test_orders_beyond_the_margin_are_refused_with_numbers(side, quantity, expected):
    """Margin and taker fee of the order against what is free."""
    assert expected == refuse(account(USDT="5.05"), LINEAR, f"{side} {quantity} 100")


def test_a_loss_is_gone_before_it_is_realized_and_a_profit_is_not_there_yet():
    """10 less 0.05 of fee, 5 of margin: at 96 a loss of 4 more."""
    of = account(USDT=10)
    fill(of, LINEAR, "BUY 1 100")
    of.mark(LINEAR, GRIDS[LINEAR].ticks(Decimal(96)))
    assert refuse(of, LINEAR, "BUY 0.5 96") == "INSUFFICIENT_MARGIN: need=2.424 free=0.95 unit=USDT"
    of.mark(LINEAR, GRIDS[LINEAR].ticks(Decimal(200)))
    assert refuse(of, LINEAR, "BUY 1 100") == "INSUFFICIENT_MARGIN: need=5.05 free=4.95 unit=USDT"
    of.mark(SPOT, 5)  # no position: nothing to mark


def test_a_short_inverse_loses_when_the_price_rises():
    """1,000 dollars short at 50,000: at 100,000 it lost 0.01, at 40,000 it won."""
    of = account(BTC="0.02")
    fill(of, INVERSE, "SELL 100 50000 maker")  # 0.000005 of rebate, 0.001 of margin
    for price, free in ((100_000, "0.009005"), (40_000, "0.019005")):
        of.mark(INVERSE, GRIDS[INVERSE].ticks(Decimal(price)))
        text = refuse(of, INVERSE, "SELL 100000 50000")
        assert f"free={free} unit=BTC" in text


def test_what_reduces_is_never_refused():
    """Also of an account that has lost more than it had."""
    of = account(USDT=10)
    fill(of, LINEAR, "BUY 1 100")
    of.mark(LINEAR, GRIDS[LINEAR].ticks(Decimal(50)))
    assert refuse(of, LINEAR, "SELL 1 50") is None
    assert refuse(of, LINEAR, "BUY 1 50", reduce_only=True) is None
    assert "free=-45.05" in refuse(of, LINEAR, "BUY 0.001 50")
    fill(of, LINEAR, "SELL 1 50")
    assert Decimal("-40.075") == balances(of)["USDT"][0]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"kind": "FUTURES"}, "it must be CASH or MARGIN"),
        ({"leverage": Decimal("0.5")}, "leverage is 0.5; it must be 1 to 1000"),
        ({"leverage": Decimal("NaN")}, "leverage is NaN"),
        ({"starting_balances": {"USDT": Decimal(-1)}}, "starting balance -1 USDT; it must be 0 to 1,000,000,000"),
        ({"starting_balances": {"USDT": Decimal("NaN")}}, "starting balance NaN USDT"),
        ({"starting_balances": {"USDT": Decimal("1E-28")}}, "is no amount"),
    ],
)
def test_wrong_terms_are_refused(terms, expected):
    """By whom, which value, and what is allowed."""
    values = {"account": "A", "kind": "MARGIN", "starting_balances": {"USDT": Decimal(1)}, **terms}
    with pytest.raises(ValueError, match=expected):
        Account(AccountTerms(**values), GRIDS)


def test_a_position_on_another_grid_is_not_restored():
    """A delisted instrument is forgotten when nobody holds it, and refused when somebody does."""
    of = account(USDT=100)
    fill(of, LINEAR, "BUY 0.001 100")
    others = {SPOT: GRIDS[SPOT]}
    with pytest.raises(ValueError, match=r"a position of 0.001 BTCUSDT-PERP.X: no such listing, or another lot"):
        Account.restored(of.terms, others, of.state(1), of.positions())
    fill(of, LINEAR, "SELL 0.001 100")
    assert Account.restored(of.terms, others, of.state(1), of.positions()).positions() == ()
