"""Rows of the table of controls that look at what came before: overrides, repetitions, the first orders."""

from __future__ import annotations

import pytest
from risk_desk import FUTURE, INVERSE, MS, NOW_NS, Case, Desk, S, refused_leaves_nothing, table

INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
BUY, SELL = 1, -1
ONCE = {"global": {"duplicate_window_ms": 1000}}
YOUNG = {"strategy=S": {"max_position": "100", "ramp": {"orders": 2, "max_position": "5", "max_order_quantity": "4"}}}
NEW = "while the strategy is new"
UNTIL = "2023-11-14T22:13:21Z"  # a second after NOW_NS
LIFTED = [{"code": "MAX_ORDER_NOTIONAL", "scope": "global", "by": "Ann", "why": "a hedge", "until": UNTIL}]


CASES = [
    # 10: a documented override
    Case(
        10,
        "at limit",
        {"global": {"max_order_notional": "1000"}},
        lambda d: (d.later(now_ns=NOW_NS + S - 1), d.buy(99)),
        settings={"overrides": LIFTED},
    ),
    Case(
        10,
        "one tick over",
        {"global": {"max_order_notional": "1000"}},
        lambda d: (d.later(now_ns=NOW_NS + S), d.buy(99)),
        "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be=9900 unit=USDT",
        "it has expired",
        {"overrides": LIFTED},
    ),
    Case(
        10,
        "one tick over",
        {"venue=SIM": {"max_order_notional": "1000"}},
        lambda d: d.buy(99),
        "MAX_ORDER_NOTIONAL: limit=1000 scope=venue=SIM value=0 would_be=9900 unit=USDT",
        "another scope",
        {"overrides": LIFTED},
    ),
    Case(
        10,
        "one tick over",
        {"global": {"max_order_notional": "1000", "max_position": "50"}},
        lambda d: d.buy(99),
        "MAX_POSITION: limit=50 scope=global value=0 would_be=99 unit=quantity",
        "another control",
        {"overrides": LIFTED},
    ),
    # 11: the same again
    Case(11, "at limit", ONCE, lambda d: (d.buy(1), d.later(now_ns=NOW_NS + S), d.buy(1))),
    Case(
        11,
        "at limit",
        ONCE,
        lambda d: (
            d.buy(1, price=1),
            d.buy(2, price=1),
            d.buy(1, price=2),
            d.sell(1, price=1),
            d.buy(1, price=1, strategy_id="T"),
            d.buy(1, price=1, **INV),
            d.buy(1),
            d.buy(1, price=1, trigger_price=1),
        ),
        about="what is not alike",
    ),
    Case(
        11,
        "one tick over",
        ONCE,
        lambda d: (d.buy(1), d.later(now_ns=NOW_NS + 999 * MS), d.buy(1)),
        "DUPLICATE_ORDER: limit=1000 scope=global would_be=999 unit=ms",
    ),
    Case(
        11,
        "one tick over",
        {},
        lambda d: (d.buy(1, client_order_id="A"), d.over("A"), d.buy(2, client_order_id="A")),
        "DUPLICATE_ORDER: client_order_id A was sent before",
        "an id",
    ),
    Case(
        11,
        "one tick over",
        {},
        lambda d: (d.buy(1, operation_id="op"), d.sell(9, operation_id="op")),
        "OPERATION_REPEATED: operation_id=op is another order's",
        "an operation",
    ),
    Case(
        11,
        "one tick over",
        {},
        lambda d: (d.buy(1, operation_id="op", parent_id="P-1"), d.buy(1, operation_id="op", parent_id="P-1")),
        about="children share the operation of their parent",
    ),
    Case(
        11,
        "on modify",
        ONCE,
        lambda d: (d.buy(1, price=1), d.buy(1, price=2), d.modify("O-2", price=1)),
        about="a change is no order",
    ),
    Case(
        11,
        "inside a list",
        ONCE,
        lambda d: d.list((BUY, 1), (BUY, 1)),
        "DUPLICATE_ORDER: limit=1000 scope=global would_be=0 unit=ms",
    ),
    Case(11, "inside a list", ONCE, lambda d: d.list((BUY, 1), (SELL, 1), (BUY, 2)), about="what is not alike"),
    Case(
        11,
        "inside a list",
        {},
        lambda d: d.list((BUY, 1, {"client_order_id": "A"}), (SELL, 1, {"client_order_id": "A"})),
        "DUPLICATE_ORDER: client_order_id A was sent before",
        "an id",
    ),
    Case(
        11,
        "inside a list",
        {},
        lambda d: (
            d.list((BUY, 1, {"operation_id": "op"}), (SELL, 1, {"operation_id": "op"})),
            d.list((BUY, 1, {"operation_id": "op"}), list_id="L-2"),
        ),
        "OPERATION_REPEATED: operation_id=op is another order's",
        "an operation of another list",
    ),
    Case(
        11,
        "as a child",
        ONCE,
        lambda d: (d.reserve(BUY, 9), d.buy(1, parent_id="P-1"), d.buy(1, parent_id="P-1")),
        about="slices are alike",
    ),
    Case(
        11,
        "as a parent",
        ONCE,
        lambda d: (d.reserve(BUY, 9, client_order_id="P-1"), d.reserve(BUY, 9, client_order_id="P-2")),
        "DUPLICATE_ORDER: limit=1000 scope=global would_be=0 unit=ms",
    ),
    Case(
        11,
        "as a parent",
        ONCE,
        lambda d: (d.reserve(BUY, 9, parent_id="P-1"), d.reserve(BUY, 9, parent_id="P-1")),
        about="it may ask again",
    ),
    Case(
        11,
        "as a parent",
        ONCE,
        lambda d: (d.buy(9), d.later(now_ns=NOW_NS + S), d.reserve(BUY, 9)),
        about="like an order of before",
    ),
    Case(
        11,
        "as a parent",
        {},
        lambda d: (d.reserve(BUY, 9, operation_id="op"), d.buy(1, operation_id="op")),
        "OPERATION_REPEATED: operation_id=op is another order's",
        "its operation",
    ),
    Case(
        11,
        "after restart",
        ONCE,
        lambda d: (d.buy(1), d.restart(), d.later(now_ns=NOW_NS + 999 * MS), d.buy(1)),
        "DUPLICATE_ORDER: limit=1000 scope=global would_be=999 unit=ms",
    ),
    Case(
        11,
        "after restart",
        ONCE,
        lambda d: (d.buy(1, parent_id="P-1"), d.restart(), d.buy(1)),
        about="a slice is nobody's like",
    ),
    Case(
        11,
        "after restart",
        {},
        lambda d: (d.buy(1, client_order_id="A"), d.over("A"), d.restart(), d.buy(1, client_order_id="A")),
        "DUPLICATE_ORDER: client_order_id A was sent before",
        "an id",
    ),
    Case(
        11,
        "after restart",
        {},
        lambda d: (
            d.buy(1, operation_id="op"),
            d.later(listings={}),
            d.restart(),
            d.later(listings={FUTURE.instrument_id: FUTURE}),
            d.buy(1, operation_id="op", **FUT),
        ),
        "OPERATION_REPEATED: operation_id=op is another order's",
        "an operation of an instrument that is gone",
    ),
    Case(
        11,
        "missing price",
        ONCE,
        lambda d: (d.priced(None), d.buy(1), d.buy(1)),
        "DUPLICATE_ORDER: limit=1000 scope=global would_be=0 unit=ms",
    ),
    # 21: new strategies begin small
    Case(21, "at limit", YOUNG, lambda d: (d.buy(4), d.buy(1), d.buy(95)), about="until it has sent so many"),
    Case(
        21,
        "one tick over",
        YOUNG,
        lambda d: (d.buy(4), d.buy("1.01")),
        f"MAX_POSITION: limit=5 scope=strategy=S value=4 would_be=5.01 unit=quantity {NEW}",
    ),
    Case(
        21,
        "one tick over",
        YOUNG,
        lambda d: d.buy("4.01"),
        f"MAX_ORDER_QUANTITY: limit=4 scope=strategy=S value=0 would_be=4.01 unit=quantity {NEW}",
        "its size",
    ),
    Case(
        21,
        "one tick over",
        YOUNG,
        lambda d: (d.buy(4), d.buy(1), d.buy("95.01")),
        "MAX_POSITION: limit=100 scope=strategy=S value=5 would_be=100.01 unit=quantity",
        "when it is not new any more",
    ),
    Case(
        21,
        "one tick over",
        {"strategy=S": {"ramp": {"until": UNTIL, "max_order_notional": "100"}}},
        lambda d: (d.later(now_ns=NOW_NS + S - 1), d.buy("1.01")),
        f"MAX_ORDER_NOTIONAL: limit=100 scope=strategy=S value=0 would_be=101 unit=USDT {NEW}",
        "until a moment",
    ),
    Case(
        21,
        "at limit",
        {"strategy=S": {"ramp": {"until": UNTIL, "max_order_notional": "100"}}},
        lambda d: (d.later(now_ns=NOW_NS + S), d.buy("1.01")),
        about="at that moment",
    ),
    Case(
        21,
        "one tick over",
        {"strategy=S": {"ramp": {"until": UNTIL, "orders": 1, "max_exposure": "100"}}},
        lambda d: (d.buy(1), d.buy("0.01")),
        f"MAX_EXPOSURE: limit=100 scope=strategy=S value=100 would_be=101 unit=USDT {NEW}",
        "until both are reached",
    ),
    Case(
        21,
        "at limit",
        {"strategy=*": {"ramp": {"orders": 1, "max_order_quantity": "1"}}},
        lambda d: (d.buy(1), d.buy(9), d.buy(1, strategy_id="T")),
        about="each strategy for itself",
    ),
    Case(
        21,
        "on modify",
        YOUNG,
        lambda d: (d.buy(4), d.modify("O-1", quantity=5)),
        f"MAX_ORDER_QUANTITY: limit=4 scope=strategy=S value=0 would_be=5 unit=quantity {NEW}",
    ),
    Case(
        21,
        "inside a list",
        YOUNG,
        lambda d: d.list((BUY, 4), (SELL, 3), (BUY, 2)),
        f"MAX_POSITION: limit=5 scope=strategy=S value=4 would_be=6 unit=quantity {NEW}",
    ),
    Case(
        21,
        "as a child",
        YOUNG,
        lambda d: (d.reserve(BUY, 5), d.buy(5, parent_id="P-1")),
        f"MAX_ORDER_QUANTITY: limit=4 scope=strategy=S value=0 would_be=5 unit=quantity {NEW}",
    ),
    Case(
        21,
        "as a parent",
        YOUNG,
        lambda d: d.reserve(BUY, 6),
        f"MAX_POSITION: limit=5 scope=strategy=S value=0 would_be=6 unit=quantity {NEW}",
    ),
    Case(
        21,
        "after restart",
        YOUNG,
        lambda d: (d.buy(4), d.restart(), d.buy("1.01")),
        f"MAX_POSITION: limit=5 scope=strategy=S value=4 would_be=5.01 unit=quantity {NEW}",
    ),
    Case(
        21,
        "after restart",
        YOUNG,
        lambda d: (d.buy(4), d.buy(1), d.restart(), d.buy(90)),
        about="what it had sent counts",
    ),
]


@table(CASES)
def test_what_came_before_counts(case: Case) -> None:
    """Each row passes at its limit, and names the numbers one tick over it."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_what_is_refused_is_as_if_it_had_not_been_asked(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)


@pytest.mark.row(10, "at limit")
def test_a_lifted_refusal_says_who_lifted_it_and_until_when() -> None:
    """And what was lifted, with its numbers."""
    desk = Desk({"global": {"max_order_notional": "1000"}}, overrides=LIFTED)
    assert "" == desk.buy(99)
    (lifted,) = desk.approved[0].lifted
    assert ("Ann", "a hedge", UNTIL) == (lifted.by, lifted.why, lifted.until)
    assert "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be=9900 unit=USDT" == str(lifted.refused)
