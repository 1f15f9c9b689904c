"""What the rules remember and say, each part alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from risk_desk import COIN, NOW_NS, a_sight, an_order, bound, past_of

from nautilus_ext.risk import ledger as ledger_module
from nautilus_ext.risk import needs as needs_module
from nautilus_ext.risk import windows as windows_module
from nautilus_ext.risk.decisions import decision
from nautilus_ext.risk.ledger import Key, Ledger
from nautilus_ext.risk.needs import Needs
from nautilus_ext.risk.past import order_of
from nautilus_ext.risk.resting import WASTE_MIN, Resting
from nautilus_ext.risk.verdicts import Approved, Lifted, Refused
from nautilus_ext.risk.windows import Duplicates, Operations, Window

BUY, SELL = 1, -1
D = Decimal
ZERO = D(0)


# -- what is remembered -----------------------------------------------------------------------------------


def test_needs_of_a_silent_account_are_forgotten_past_a_bound() -> None:
    """The oldest first."""
    with bound(needs_module, "SETTLING_MAX", 2):
        needs = Needs()
        for name in "ABC":
            needs.add(name, "SIM-1", "USDT", D(1))
            needs.settle(name)
            needs.settle(name)
    assert (D(2), ["B", "C"]) == (needs.of("SIM-1", "USDT"), sorted(needs._needs))
    needs.drop("B")
    assert ["C"] == list(needs._settling["SIM-1"])


def test_a_need_whose_order_is_over_ends_unless_some_of_it_was_filled() -> None:
    """Then the account has to say so."""
    needs = Needs()
    for name in "ABC":
        needs.add(name, "SIM-1", "USDT", D(1))
    needs.settle("A")
    needs.settle("B", filled=True)
    needs.settle("B")
    for name in "ABCD":
        needs.end(name)
    assert D(1) == needs.of("SIM-1", "USDT")
    needs.told("SIM-1")
    assert ZERO == needs.of("SIM-1", "USDT")


def test_a_heap_of_what_rested_does_not_grow_for_ever() -> None:
    """What is gone is thrown away when it is most; the best is still the best, on both sides."""
    resting = Resting()
    for side in (BUY, SELL):
        for number in range(1000):
            asked = an_order(side, client_order_id=f"O-{side}-{number}", price=1000 + number)
            resting.add(asked)
            if 10 <= number < 990:
                resting.remove(asked)
        assert len(resting._heaps["AAA.SIM", side]) <= 3 * WASTE_MIN
        best = [1999, 1998] if side > 0 else [1000, 1001]
        for price in best:
            assert D(price) == resting.best("AAA.SIM", side)
            resting.remove(an_order(side, client_order_id=f"O-{side}-{price - 1000}", price=price))
    assert resting.best("AAA.SIM", BUY) == D(1997)
    for number in range(990, 998):
        resting.remove(an_order(BUY, client_order_id=f"O-{BUY}-{number}", price=1000 + number))
    assert resting.best("AAA.SIM", BUY) == D(1009)


def test_a_heap_is_made_anew_at_its_bound_and_not_before() -> None:
    """Twice as many dead as living, and a few more."""
    resting = Resting()
    kept = [an_order(SELL, client_order_id=f"K-{number}", price=500 - number) for number in range(3)]
    for each in kept:
        resting.add(each)
    lengths = []
    for number in range(2 * WASTE_MIN):
        asked = an_order(SELL, client_order_id=f"O-{number}", price=900 - number)
        resting.add(asked)
        resting.remove(asked)
        lengths.append(len(resting._heaps["AAA.SIM", SELL]))
    assert (WASTE_MIN + 8, 4) == (max(lengths), lengths[lengths.index(WASTE_MIN + 8) + 1])
    assert D(498) == resting.best("AAA.SIM", SELL)


def test_a_window_is_full_while_its_oldest_is_young() -> None:
    """So many at once fit as are old, or were never there."""
    window = Window(2, 10)
    assert (True, False) == (window.fits(0, 2), window.fits(0, 3))
    window.add(0)
    window.add(5)
    assert (False, 2) == (window.fits(9), window.count(9))
    assert (True, False, 1) == (window.fits(10), window.fits(10, 2), window.count(10))
    window.add(10, 2)
    assert (False, 2) == (window.fits(19), window.count(19))
    window.add(20, 9)
    assert 2 == window.count(29)
    assert (True, False) == (window.fits(30, 2), window.fits(30, 3))


def test_likes_are_forgotten_past_a_bound() -> None:
    """Those that were sent longest ago; one that was sent again is young again."""
    with bound(windows_module, "DUPLICATES_MAX", 2):
        duplicates = Duplicates()
        for number, quantity in enumerate((1, 2, 1, 3)):
            duplicates.add(an_order(quantity=quantity, client_order_id=f"O-{number}"), 0)
        news = [an_order(quantity=quantity, client_order_id="new") for quantity in (1, 2, 3)]
        ages = [duplicates.age_ms(each, 5_000_000) for each in news]
    assert [5, None, 5] == ages


def test_operations_and_ids_are_forgotten_past_a_bound() -> None:
    """The oldest first."""
    with bound(windows_module, "OPERATIONS_MAX", 2):
        operations = Operations()
        for number in range(3):
            operations.add(an_order(client_order_id=f"O-{number}", operation_id=f"op-{number}"))
        taken = [
            operations.is_taken(an_order(client_order_id="new", operation_id=f"op-{number}")) for number in range(3)
        ]
        sent = [operations.was_sent(f"O-{number}") for number in range(3)]
    assert [False, True, True] == taken == sent


def test_a_past_order_is_an_order() -> None:
    """All of it."""
    for side in (BUY, SELL):
        asked = an_order(
            side, 3, price=7, trigger_price=8, parent_id="P", operation_id="op", list_id="L", type="STOP_LIMIT"
        )
        assert asked == order_of(past_of(asked, 1))
    plain = an_order(SELL, 3)
    assert plain == order_of(past_of(plain, 1))


# -- what is said -----------------------------------------------------------------------------------------


def test_a_sight_without_an_account_is_told_all_the_same() -> None:
    """What there is of it."""
    asked = an_order()
    seen = a_sight(asked, account=None, price=None)
    told = decision("submit", None, 1, client_order_id="O", strategy_id="S", instrument_id="I", sight=seen)
    assert {"action": "submit", "seen_price_ns": str(NOW_NS), "seen_rate": "1"} == told.details


def test_a_verdict_stays_what_it_is() -> None:
    """Nobody turns a refusal into something else, or mistakes a limit for a value."""
    refused = Refused(code="X")
    lifted = Lifted(refused=refused, by="a", why="b", until="c")
    approved = Approved(order=an_order())
    for verdict, name in ((refused, "code"), (lifted, "by"), (approved, "order")):
        with pytest.raises(AttributeError):
            setattr(verdict, name, "Y")
        with pytest.raises(TypeError):
            type(verdict)("X", "Y", "Z", "W")  # pyright: ignore[reportCallIssue] - that is the test
    with pytest.raises(TypeError):
        Approved(an_order())  # pyright: ignore[reportCallIssue] - as above
    assert ("X", "X: scope=s") == (str(refused), str(Refused(code="X", scope="s")))


# -- positions as they are told ----------------------------------------------------------------------------


def test_a_ledger_says_how_much_is_held_under_a_name() -> None:
    ledger = Ledger()
    ledger.know(COIN)
    ledger.hold("P-1", Key(COIN.instrument_id, "S", "SIM-1"), D("-0.3"))
    assert (D("-0.3"), D(0)) == (ledger.held("P-1"), ledger.held("P-2"))


def test_sums_are_brought_up_a_few_at_a_time_before_too_many_are_behind() -> None:
    """However many strategies trade: whoever comes near a limit never waits for more than a few of them."""
    ledger, many = Ledger(), ledger_module.BEHIND_MAX + 40
    ledger.know(COIN)
    ledger.mark(COIN.instrument_id, D(2), D(1))
    for quantity in (1, 3):  # a place that is new brings all of them up
        for number in range(many):
            ledger.place(an_order(client_order_id=f"O-{number}", strategy_id=f"S-{number}", quantity=quantity))
    behind, total = len(ledger._unsettled), ledger._totals["global", ""]
    assert (ledger_module.BEHIND_MAX, True) == (behind, total.value + ledger.ahead >= D(6) * many)
    assert (D(6) * many, D("1E-6")) == (ledger.total("global", "").value, ledger.ahead)
    assert D(6) == ledger.total("strategy", "S-0").value
