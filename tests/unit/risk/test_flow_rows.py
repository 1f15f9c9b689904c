"""Rows of the table of controls that look at what flows: messages and money."""

from __future__ import annotations

from decimal import Decimal

import pytest
from risk_desk import FUTURE, INVERSE, NOW_NS, SHARE, Case, Desk, S, refused_leaves_nothing, table

INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
BUY, SELL = 1, -1
RATE = {"global": {"messages": [{"max": 2, "window_s": 1.0}]}}
TWO = {"global": {"messages": [{"max": 2, "window_s": 1.0}, {"max": 3, "window_s": 60.0}]}}
CANCELS = {"global": {"messages": [{"max": 1, "types": ["cancel"], "refuses_cancels": True}]}}
COUNTED = {"global": {"messages": [{"max": 1, "types": ["submit", "cancel"]}]}}
PAID = {"global": {"check_balance": True}}


def often(value: int, would_be: int, window: str = "1s", limit: int = 2, types: str = "submit+modify") -> str:
    numbers = f"limit={limit} scope=global value={value} would_be={would_be}"
    return f"MESSAGE_RATE: {numbers} unit=messages/{window} types={types}"


def short(limit: object, value: object, would_be: object, currency: str = "USDT") -> str:
    return f"INSUFFICIENT_BALANCE: limit={limit} scope=global value={value} would_be={would_be} unit={currency}"


def rich(desk: Desk, *, is_margin: bool = False, **free: object) -> str:
    return desk.later(free=free, is_margin=is_margin)


CASES = [
    # 4: messages
    Case(4, "at limit", RATE, lambda d: (d.buy(1), d.sell(1))),
    Case(
        4,
        "at limit",
        RATE,
        lambda d: (d.buy(1), d.buy(1), d.later(now_ns=NOW_NS + S), d.buy(1)),
        about="a second later",
    ),
    Case(4, "one tick over", RATE, lambda d: (d.buy(1), d.sell(1), d.buy(1)), often(2, 3)),
    Case(
        4,
        "one tick over",
        RATE,
        lambda d: (d.buy(1), d.buy(1), d.later(now_ns=NOW_NS + S - 1), d.buy(1)),
        often(2, 3),
        "a nanosecond less than a second later",
    ),
    Case(
        4,
        "one tick over",
        TWO,
        lambda d: (d.buy(1), d.buy(1), d.later(now_ns=NOW_NS + S), d.buy(1), d.later(now_ns=NOW_NS + 59 * S), d.buy(1)),
        often(3, 4, "60s", 3),
        "of several windows",
    ),
    Case(
        4,
        "at limit",
        {"strategy=*": {"messages": [{"max": 1}]}, "instrument=*": {"messages": [{"max": 2}]}},
        lambda d: (d.buy(1), d.buy(1, strategy_id="T"), d.buy(1, strategy_id="U", **INV)),
        about="each scope has its own",
    ),
    Case(
        4,
        "one tick over",
        {"venue=*": {"messages": [{"max": 1}]}},
        lambda d: (d.buy(1), d.buy(1, **INV), d.sell(1, **FUT)),
        "MESSAGE_RATE: limit=1 scope=venue=SIM value=1 would_be=2 unit=messages/1s types=submit+modify",
        "of a venue",
    ),
    Case(
        4,
        "on modify",
        RATE,
        lambda d: (d.buy(1), d.modify("O-1", quantity=2), d.modify("O-1", quantity=3)),
        often(2, 3),
    ),
    Case(4, "on modify", RATE, lambda d: (d.buy(1), d.modify("O-1", quantity=2)), about="at limit"),
    Case(
        4,
        "at limit",
        COUNTED,
        lambda d: (d.buy(1), d.cancel("O-1"), d.cancel("O-1")),
        about="a cancel is never refused",
    ),
    Case(
        4,
        "one tick over",
        COUNTED,
        lambda d: (d.buy(1), d.later(now_ns=NOW_NS + S), d.cancel("O-1"), d.buy(1)),
        often(1, 2, limit=1, types="submit+cancel"),
        "a cancel counts",
    ),
    Case(
        4,
        "one tick over",
        CANCELS,
        lambda d: (d.buy(1), d.cancel("O-1"), d.cancel("O-1")),
        often(1, 2, limit=1, types="cancel"),
        "a cancel where the venue demands it",
    ),
    Case(
        4,
        "at limit",
        CANCELS,
        lambda d: (d.buy(1), d.buy(1), d.modify("O-1", quantity=2), d.cancel("O-1")),
        about="cancels only",
    ),
    Case(4, "inside a list", RATE, lambda d: d.list((BUY, 1), (SELL, 2))),
    Case(4, "inside a list", RATE, lambda d: d.list((BUY, 1), (SELL, 2), (BUY, 3)), often(0, 3), "all together"),
    Case(4, "inside a list", RATE, lambda d: (d.buy(1), d.list((BUY, 1), (SELL, 2))), often(1, 3), "after others"),
    Case(
        4,
        "as a child",
        RATE,
        lambda d: (d.reserve(BUY, 9), d.buy(1, parent_id="P-1"), d.buy(1, parent_id="P-1"), d.buy(1, parent_id="P-1")),
        often(2, 3),
    ),
    Case(
        4,
        "as a parent",
        {"global": {"messages": [{"max": 1}]}},
        lambda d: (d.reserve(BUY, 1), d.buy(1)),
        about="it sends nothing",
    ),
    Case(
        4,
        "after restart",
        RATE,
        lambda d: (d.buy(1), d.sell(1), d.restart(), d.later(now_ns=NOW_NS + S - 1), d.buy(1)),
        often(2, 3),
    ),
    Case(
        4,
        "after restart",
        RATE,
        lambda d: (d.buy(1), d.sell(1), d.restart(), d.later(now_ns=NOW_NS + S), d.buy(1)),
        about="a second later",
    ),
    # 7: balance and margin
    Case(7, "at limit", PAID, lambda d: (rich(d, USDT=1000), d.buy(10))),
    Case(7, "at limit", PAID, lambda d: (rich(d, AAA=10), d.sell(10)), about="coins"),
    Case(
        7,
        "at limit",
        PAID,
        lambda d: (
            rich(d, USDT=0),
            d.hold(5, instrument_id=SHARE.instrument_id),
            d.sell(5, instrument_id=SHARE.instrument_id),
        ),
        about="a share that is held",
    ),
    Case(7, "one tick over", PAID, lambda d: (rich(d, USDT=1000), d.buy("10.01")), short(1000, 0, 1001)),
    Case(
        7,
        "one tick over",
        PAID,
        lambda d: (
            rich(d, USDT=1000),
            d.buy(4),
            d.sell(1, strategy_id="T", instrument_id=SHARE.instrument_id),
            d.buy("6.01"),
        ),
        short(1000, 500, 1101),
        "what is on its way counts",
    ),
    Case(
        7,
        "one tick over",
        PAID,
        lambda d: (rich(d, AAA=10), d.sell(4), d.sell("6.01")),
        short(10, 4, "10.01", "AAA"),
        "coins",
    ),
    Case(7, "one tick over", PAID, lambda d: d.buy(1), short(0, 0, 100), "nothing of its currency"),
    Case(
        7,
        "at limit",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(10), d.over("O-1"), d.buy(10)),
        about="what came to nothing is free",
    ),
    Case(
        7,
        "one tick over",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(10), d.fill("O-1", 1), d.over("O-1"), d.buy(1)),
        short(1000, 1000, 1100),
        "filled, and the account has not said so",
    ),
    Case(
        7,
        "on modify",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(4), d.modify("O-1", quantity="10.01")),
        short(1000, 400, 1001),
    ),
    Case(
        7,
        "on modify",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(4, price=100), d.modify("O-1", price=250)),
        about="at limit",
    ),
    Case(
        7,
        "on modify",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(10, price=100), d.modify("O-1", price=90), d.modify("O-1", quantity=5)),
        about="less is free",
    ),
    Case(
        7,
        "on modify",
        PAID,
        lambda d: (rich(d, USDT=1000), d.buy(10), d.fill("O-1", 6), d.modify("O-1", quantity="4.01")),
        short(1000, 1000, 1001),
        "after a fill what is more than before",
    ),
    Case(
        7,
        "inside a list",
        PAID,
        lambda d: (rich(d, USDT=1000), d.list((BUY, 4), (BUY, "6.01"))),
        short(1000, 400, 1001),
    ),
    Case(7, "inside a list", PAID, lambda d: (rich(d, USDT=1000), d.list((BUY, 4), (BUY, 6))), about="at limit"),
    Case(
        7,
        "as a child",
        PAID,
        lambda d: (rich(d, USDT=1000), d.reserve(BUY, 20), d.buy("10.01", parent_id="P-1")),
        short(1000, 0, 1001),
    ),
    Case(7, "as a parent", PAID, lambda d: (rich(d, USDT=1), d.reserve(BUY, 20)), about="its children pay"),
    Case(
        7,
        "missing price",
        PAID,
        lambda d: (rich(d, USDT=1), d.priced(None), d.buy(1)),
        "NO_PRICE: scope=instrument=AAA.SIM no reference price",
    ),
    Case(
        7,
        "missing account",
        PAID,
        lambda d: (d.later(has_accounts=False), d.buy(1)),
        "NO_ACCOUNT: scope=account=SIM-1 its balances are not known",
    ),
    Case(7, "margin account", PAID, lambda d: (rich(d, is_margin=True, USDT=100), d.buy(2, **FUT)), about="at limit"),
    Case(
        7,
        "margin account",
        PAID,
        lambda d: (rich(d, is_margin=True, USDT=100), d.buy("2.002", **FUT)),
        short(100, 0, "100.1"),
    ),
    Case(
        7,
        "margin account",
        PAID,
        lambda d: (rich(d, is_margin=True, USDT=100), d.later(leverage=Decimal(10)), d.sell("20.02", **FUT)),
        short(100, 0, "100.1"),
        "leverage",
    ),
    Case(
        7,
        "margin account",
        PAID,
        lambda d: (rich(d, is_margin=True), d.hold(5, **FUT), d.sell(10, **FUT)),
        about="what makes no position larger needs nothing",
    ),
    Case(
        7,
        "margin account",
        PAID,
        lambda d: (rich(d, is_margin=True, USDT=100), d.hold(5, **FUT), d.sell("12.002", **FUT)),
        short(100, 0, "100.1"),
        "what is more than was held",
    ),
    Case(7, "margin account", PAID, lambda d: (rich(d, is_margin=True), d.buy(5)), about="no margin is asked for it"),
    Case(
        7, "inverse contract", PAID, lambda d: (rich(d, is_margin=True, AAA="0.1"), d.buy(10, **INV)), about="at limit"
    ),
    Case(
        7,
        "inverse contract",
        PAID,
        lambda d: (rich(d, is_margin=True, AAA="0.1"), d.buy(11, **INV)),
        short("0.1", 0, "0.11", "AAA"),
    ),
    Case(
        7,
        "inverse contract",
        PAID,
        lambda d: (rich(d, AAA=1), d.buy(11, **INV)),
        short(1, 0, "1.1", "AAA"),
        "on a cash account",
    ),
    Case(
        7,
        "at limit",
        {"global": {"check_balance": True}, "account=SIM-1": {"check_balance": False}},
        lambda d: d.buy(9),
        about="left out by its own scope",
    ),
]


@table(CASES)
def test_messages_and_money_are_limited(case: Case) -> None:
    """Each row passes at its limit, and names the numbers one tick over it."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_a_refused_message_costs_nothing(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)


@pytest.mark.row(4, "inside a list")
def test_a_refused_list_takes_no_place_in_a_window() -> None:
    """Nor does a refused order or change."""
    desk = Desk(RATE)
    assert desk.list((BUY, 1), (BUY, 1), (BUY, 1)) == often(0, 3)
    assert desk.buy("NaN") != ""
    assert ["", "", often(2, 3)] == [desk.buy(1), desk.buy(1), desk.buy(1)]


@pytest.mark.row(7, "at limit")
def test_a_need_counts_until_the_account_speaks_of_it() -> None:
    """An order that the venue has not is none of the account's yet."""
    desk = Desk(PAID)
    rich(desk, USDT=1000)
    assert ["", ""] == [desk.buy(4), desk.buy(4)]
    desk.ledger.accept("O-1")
    desk.ledger.needs.told("SIM-1")
    assert desk.buy(7) == short(1000, 400, 1100)
    desk.ledger.needs.told("SIM-2")
    assert "" == desk.buy(6)


@pytest.mark.row(7, "on modify")
def test_an_accepted_change_is_the_accounts_when_it_speaks() -> None:
    """Up and down again for ever must not add up: each change settles as an order does."""
    desk = Desk(PAID)
    rich(desk, USDT=1000)
    assert "" == desk.buy(5, price=100)
    for _ in range(20):
        for price in (120, 100):
            desk.ledger.accept("O-1")
            desk.ledger.needs.told("SIM-1")
            assert "" == desk.modify("O-1", price=price)
