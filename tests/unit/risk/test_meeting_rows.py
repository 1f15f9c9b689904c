"""Rows of the table of controls about our own resting orders, and about what is told of a decision."""

from __future__ import annotations

from decimal import Decimal

import pytest
from risk_desk import FUTURE, INVERSE, NOW_NS, Case, Desk, refused_leaves_nothing, state, table

from nautilus_ext.risk.decisions import decision
from nautilus_ext.risk.verdicts import Refused

INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
BUY, SELL = 1, -1
MEETING = {"global": {"self_match": "refuse"}}
UNTIL = "2023-11-14T22:13:21Z"  # a second after NOW_NS
LIFTED = [{"code": "MAX_ORDER_NOTIONAL", "scope": "global", "by": "Ann", "why": "a hedge", "until": UNTIL}]


def rich(desk: Desk, *, is_margin: bool = False, **free: object) -> str:
    return desk.later(free=free, is_margin=is_margin)


CASES = [
    # 16: our own resting orders
    Case(16, "at limit", MEETING, lambda d: (d.sell(1, price=101), d.buy(1, price="100.99"))),
    Case(
        16,
        "one tick over",
        MEETING,
        lambda d: (d.sell(1, price=101), d.buy(1, price=101)),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
    Case(
        16,
        "one tick over",
        MEETING,
        lambda d: (d.buy(1, price=98), d.buy(1, price=99), d.sell(1, price=97)),
        "SELF_MATCH: limit=99 scope=global would_be=97 unit=price order=O-2",
        "the best of them",
    ),
    Case(
        16,
        "one tick over",
        MEETING,
        lambda d: (d.buy(1, price=99), d.later(quotes={"AAA.SIM": (99, 100)}), d.sell(1)),
        "SELF_MATCH: limit=99 scope=global would_be=99 unit=price order=O-1",
        "a market order",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=98), d.later(quotes={"AAA.SIM": (99, 100)}), d.sell(1)),
        about="a market order meets the best first",
    ),
    Case(
        16,
        "one tick over",
        MEETING,
        lambda d: (d.buy(1, price=100), d.sell(1)),
        "SELF_MATCH: limit=100 scope=global would_be=100 unit=price order=O-1",
        "a market order without quotes",
    ),
    Case(
        16,
        "missing price",
        MEETING,
        lambda d: (d.buy(1, price=1), d.priced(None), d.sell(1)),
        "SELF_MATCH: limit=1 scope=global unit=price order=O-1",
        "a market order meets whatever rests",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=100), d.sell(1, price=99, is_post_only=True)),
        about="the venue refuses it itself",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=100), d.sell(1, trigger_price=99, price=99, type="STOP_LIMIT")),
        about="it waits for a trigger",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=100), d.sell(1, type="TRAILING_STOP_MARKET")),
        about="it trails",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=100, trigger_price=100), d.sell(1, price=99)),
        about="what waits for a trigger does not rest",
    ),
    Case(
        16,
        "at limit",
        MEETING,
        lambda d: (d.buy(1, price=100), d.over("O-1"), d.sell(1, price=99)),
        about="what is over does not rest",
    ),
    Case(
        16, "at limit", MEETING, lambda d: (d.buy(1, price=100), d.sell(1, price=99, **FUT)), about="another instrument"
    ),
    Case(
        16,
        "at limit",
        {"global": {"self_match": "refuse"}, "strategy=S": {"self_match": "off"}},
        lambda d: (d.buy(1, price=100), d.sell(1, price=99)),
        about="the narrowest scope decides",
    ),
    Case(
        16,
        "on modify",
        MEETING,
        lambda d: (d.sell(1, price=101), d.buy(1, price=99), d.modify("O-2", price=101)),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
    Case(
        16,
        "on modify",
        MEETING,
        lambda d: (d.sell(1, price=101), d.modify("O-1", price=103), d.buy(1, price=102)),
        about="it rests where it is asked to",
    ),
    Case(
        16,
        "inside a list",
        MEETING,
        lambda d: d.list((SELL, 1, {"price": 101}), (BUY, 1, {"price": 101})),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
    Case(
        16,
        "as a child",
        MEETING,
        lambda d: (d.sell(1, price=101, strategy_id="T"), d.reserve(BUY, 5), d.buy(1, price=101, parent_id="P-1")),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
    Case(
        16,
        "as a parent",
        MEETING,
        lambda d: (d.sell(1, price=101), d.reserve(BUY, 5, price=101)),
        about="it sends nothing",
    ),
    Case(
        16,
        "inverse contract",
        MEETING,
        lambda d: (d.sell(1, price=101, **INV), d.buy(1, price=101, **INV)),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
    Case(
        16,
        "after restart",
        MEETING,
        lambda d: (d.sell(1, price=101), d.restart(), d.buy(1, price=101)),
        "SELF_MATCH: limit=101 scope=global would_be=101 unit=price order=O-1",
    ),
]


@table(CASES)
def test_our_own_orders_do_not_meet(case: Case) -> None:
    """Each row passes at its limit, and names the numbers one tick over it."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_an_order_that_would_meet_ours_counts_nowhere(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)


@pytest.mark.row(16, "at limit")
def test_own_orders_are_cancelled_first_where_that_is_wanted() -> None:
    """All that it would meet, the best first; without any there is nothing to cancel."""
    desk = Desk({"global": {"self_match": "cancel_oldest"}})
    assert [""] * 3 == [desk.sell(1, price=price) for price in (102, 101, 103)]
    assert "" == desk.buy(1, price=102)
    assert ("O-2", "O-1") == desk.approved[0].cancels_first
    assert "" == desk.buy(1, price=100)
    assert () == desk.approved[0].cancels_first


@pytest.mark.row(19, "one tick over")
def test_a_refusal_is_told_with_its_inputs_and_its_numbers() -> None:
    """Everything that the rule looked at, so that it can be run again."""
    desk = Desk()
    order = desk.order(BUY, 2, price=7, filled=Decimal(1), is_post_only=True, operation_id="op")
    rich(desk, is_margin=True, AAA=2, USDT=1)
    refused = Refused(
        code="MAX_POSITION", scope="global", unit="quantity", limit=Decimal(1), would_be=Decimal(2), text="why"
    )
    ids = {"client_order_id": "O-1", "strategy_id": "S", "instrument_id": "AAA.SIM"}
    told = decision("submit", refused, NOW_NS, order=order, sight=desk.sight(order), **ids)
    assert ("refused", "MAX_POSITION", "global", "quantity") == (told.verdict, told.code, told.scope, told.unit)
    assert (Decimal(1), None, Decimal(2), NOW_NS) == (told.limit, told.value, told.would_be, told.ts_ns)
    assert told.details == {
        "action": "submit",
        "text": "why",
        "side": "BUY",
        "quantity": "2",
        "filled": "1",
        "type": "LIMIT",
        "price": "7",
        "account_id": "SIM-1",
        "is_post_only": "yes",
        "operation_id": "op",
        "seen_price": "100",
        "seen_price_ns": str(NOW_NS),
        "seen_rate": "1",
        "seen_free": "2 AAA 1 USDT",
        "seen_leverage": "1",
    }


@pytest.mark.row(19, "at limit")
def test_an_approval_is_told_with_what_was_lifted_and_cancelled() -> None:
    """Each override with its name; the orders that go first."""
    desk = Desk({"global": {"max_order_notional": "1", "self_match": "cancel_oldest"}}, overrides=LIFTED)
    assert ["", ""] == [desk.sell(1, price=9), desk.buy(1, price=9)]
    ids = {"client_order_id": "O-2", "strategy_id": "S", "instrument_id": "AAA.SIM"}
    told = decision("submit", desk.approved[0], NOW_NS, **ids)
    assert ("approved", "", "", "") == (told.verdict, told.code, told.scope, told.unit)
    lifted = "MAX_ORDER_NOTIONAL: limit=1 scope=global value=0 would_be=9 unit=USDT"
    assert told.details == {
        "action": "submit",
        "lifted": f"{lifted}; by Ann until {UNTIL}: a hedge",
        "cancels_first": "O-1",
    }
    assert ("approved", {"action": "release"}) == (
        (told := decision("release", None, NOW_NS, **ids)).verdict,
        told.details,
    )


@pytest.mark.parametrize(
    ("number", "column"),
    [("1E+59", True), ("1E+60", False), ("1E-59", True), ("1E-60", False), ("NaN", False), ("-Infinity", False)],
)
def test_a_number_that_no_table_holds_stands_among_the_details(number: str, column: bool) -> None:  # noqa: FBT001
    """It is told all the same."""
    refused = Refused(code="X", value=Decimal(number), text="t" * 501)
    told = decision("submit", refused, 1, client_order_id="O", strategy_id="S", instrument_id="I")
    assert (told.value, told.details.get("value")) == (
        (Decimal(number), None) if column else (None, str(Decimal(number)))
    )
    assert "t" * 500 == told.details["text"]


@pytest.mark.row(22, "inside a list")
def test_what_cannot_be_judged_does_not_count() -> None:
    """A defect on the way to a verdict leaves nothing behind: of an order, a list, a change, a parent."""
    desk = Desk({"global": {"max_order_notional": "1000", "price_collar_bps": "100", "max_position": "50"}})
    assert ["", ""] == [desk.buy(1, price=100), desk.reserve(BUY, 3)]
    before = state(desk.ledger)
    endless = {"price": "1E+999999"}
    for attempt in (
        lambda: desk.list((BUY, 1, {"price": 100}), (BUY, 2, endless)),
        lambda: desk.buy(1, **endless),
        lambda: desk.modify("O-1", **endless),
    ):
        with pytest.raises(ArithmeticError):
            attempt()
        assert before == state(desk.ledger)
