"""Rows of the table of controls about what may be traded, and about what is not known."""

from __future__ import annotations

from decimal import Decimal

from risk_desk import FUTURE, INVERSE, MS, NOW_NS, Case, refused_leaves_nothing, table

COLLAR = {"global": {"price_collar_bps": "100"}}
INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
BUY, SELL = 1, -1

CASES = [
    # 9: what may be traded
    Case(9, "at limit", {"strategy=S": {"allowed_instruments": ["AAA*"]}}, lambda d: d.buy(1)),
    Case(9, "at limit", {"strategy=S": {"allowed_instruments": ["SIM:AAA"]}}, lambda d: d.buy(1), about="canonical"),
    Case(9, "at limit", {"global": {"restricted_instruments": ["AAA"]}}, lambda d: d.buy(1), about="a part of a name"),
    Case(9, "at limit", {"strategy=S": {"allowed_venues": ["SIM"]}}, lambda d: d.buy(1), about="its venue"),
    Case(9, "at limit", {"strategy=S": {"allowed_sides": ["SELL"]}}, lambda d: d.sell(1), about="its side"),
    Case(9, "at limit", {"global": {"allowed_order_types": ["LIMIT"]}}, lambda d: d.buy(1, price=1), about="its type"),
    Case(
        9,
        "one tick over",
        {"strategy=S": {"allowed_instruments": ["AAA.S"]}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=strategy=S instrument=AAA.SIM is not among allowed_instruments",
    ),
    Case(
        9,
        "one tick over",
        {"global": {"restricted_instruments": ["*:AAA"]}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=global instrument=AAA.SIM is among restricted_instruments",
        about="restricted",
    ),
    Case(
        9,
        "one tick over",
        {"global": {"restricted_instruments": ["AAA*"], "allowed_instruments": ["*"]}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=global instrument=AAA.SIM is among restricted_instruments",
        about="restricted whatever allows it",
    ),
    Case(
        9,
        "one tick over",
        {"strategy=S": {"allowed_venues": ["SIM"]}},
        lambda d: d.buy(1, **INV),
        "NOT_PERMITTED: scope=strategy=S venue=INV is not among allowed_venues",
        about="another venue",
    ),
    Case(
        9,
        "one tick over",
        {"strategy=S": {"allowed_sides": ["SELL"]}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=strategy=S side=BUY allowed=SELL",
        about="another side",
    ),
    Case(
        9,
        "one tick over",
        {"strategy=S": {"allowed_sides": []}},
        lambda d: d.sell(1),
        "NOT_PERMITTED: scope=strategy=S side=SELL allowed=none",
        about="no side",
    ),
    Case(
        9,
        "one tick over",
        {"global": {"allowed_order_types": ["STOP_LIMIT", "LIMIT"]}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=global order_type=MARKET allowed=LIMIT,STOP_LIMIT",
        about="another type",
    ),
    Case(
        9,
        "one tick over",
        {"global": {"allowed_order_types": []}},
        lambda d: d.buy(1),
        "NOT_PERMITTED: scope=global order_type=MARKET allowed=none",
        about="no type",
    ),
    Case(
        9,
        "inside a list",
        {"strategy=S": {"allowed_sides": ["SELL"]}},
        lambda d: d.list((SELL, 1), (BUY, 1)),
        "NOT_PERMITTED: scope=strategy=S side=BUY allowed=SELL",
    ),
    Case(
        9,
        "as a child",
        {"instrument=AAA.SIM": {"allowed_sides": ["SELL"]}},
        lambda d: (d.reserve(BUY, 9, **FUT), d.buy(1, parent_id="P-1")),
        "NOT_PERMITTED: scope=instrument=AAA.SIM side=BUY allowed=SELL",
    ),
    Case(
        9,
        "as a parent",
        {"strategy=S": {"allowed_sides": ["SELL"]}},
        lambda d: d.reserve(BUY, 1),
        "NOT_PERMITTED: scope=strategy=S side=BUY allowed=SELL",
    ),
    # 22: what is not known
    Case(
        22,
        "at limit",
        COLLAR,
        lambda d: (d.later(price_ns=NOW_NS - 500 * MS), d.buy(1, price=100)),
        settings={"price_age_ms_max": 500},
    ),
    Case(
        22,
        "one tick over",
        COLLAR,
        lambda d: (d.later(price_ns=NOW_NS - 501 * MS), d.buy(1, price=100)),
        "STALE_PRICE: limit=500 scope=instrument=AAA.SIM would_be=501 unit=ms",
        settings={"price_age_ms_max": 500},
    ),
    Case(
        22,
        "missing price",
        COLLAR,
        lambda d: (d.hold(2), d.priced(None), d.sell(2, price=1)),
        about="who only gets out is not held up",
    ),
    Case(
        22,
        "missing price",
        {"global": {"max_exposure": "1000"}},
        lambda d: (d.priced(None), d.hold(1), d.buy(1, instrument_id="BBB.SIM")),
        "NO_PRICE: scope=global MAX_EXPOSURE cannot be reckoned: no price or no conversion of AAA.SIM",
        about="of what is held elsewhere",
    ),
    Case(
        22,
        "missing price",
        {"global": {"max_exposure": "1000"}},
        lambda d: (d.priced(None), d.hold(1), d.sell(1)),
        about="what is held can be closed without one",
    ),
    Case(
        22,
        "missing price",
        {"global": {"max_order_quantity": "10"}},
        lambda d: d.buy("NaN"),
        "NO_PRICE: scope=instrument=AAA.SIM its quantity is in money: without a price nobody knows how much that is",
        about="for a quantity in money",
    ),
    Case(
        22,
        "on modify",
        {},
        lambda d: (d.buy(1, price=100), d.modify("O-1", quantity="NaN")),
        "NO_PRICE: scope=instrument=AAA.SIM its quantity is in money: without a price nobody knows how much that is",
        about="a quantity in money",
    ),
    Case(
        22,
        "missing account",
        {},
        lambda d: d.buy(1, account_id=""),
        "NO_ACCOUNT: scope=venue=SIM no account is known there",
    ),
    Case(
        22,
        "missing account",
        {},
        lambda d: (d.later(has_accounts=False), d.buy(1)),
        "NO_ACCOUNT: scope=account=SIM-1 its balances are not known",
        about="it has said nothing yet",
    ),
    Case(
        22,
        "missing account",
        {},
        lambda d: (d.hold(2), d.later(has_accounts=False), d.sell(2)),
        about="who only gets out is not held up",
    ),
    Case(
        22,
        "as a parent",
        {},
        lambda d: (d.later(has_accounts=False), d.reserve(BUY, 1, account_id="")),
        about="which account its children use is not known yet",
    ),
    Case(
        22,
        "missing instrument",
        {},
        lambda d: (d.later(listings={}), d.buy(1)),
        "NO_INSTRUMENT: instrument=AAA.SIM is not in the cache",
    ),
    Case(
        22,
        "as a parent",
        {},
        lambda d: (d.later(listings={}), d.reserve(BUY, 1)),
        "NO_INSTRUMENT: instrument=AAA.SIM is not in the cache",
        about="of an instrument that is not known",
    ),
    Case(
        22,
        "inside a list",
        {},
        lambda d: d.list((BUY, 1), (BUY, 2, {"instrument_id": "CCC.SIM"})),
        "NO_INSTRUMENT: instrument=CCC.SIM is not in the cache",
    ),
    *(
        Case(
            22,
            "one tick over",
            {},
            lambda d, facts=facts: d.buy(
                facts.get("quantity", 1), **{k: v for k, v in facts.items() if k != "quantity"}
            ),
            text,
            about=f"no number: {facts}",
        )
        for facts, text in (
            ({"price": "Infinity"}, "BAD_VALUE: quantity=1 price=Infinity trigger_price=None"),
            ({"price": "NaN"}, "BAD_VALUE: quantity=1 price=NaN trigger_price=None"),
            ({"trigger_price": "-Infinity"}, "BAD_VALUE: quantity=1 price=None trigger_price=-Infinity"),
            ({"quantity": 0}, "BAD_VALUE: quantity=0 price=None trigger_price=None"),
            ({"quantity": -1}, "BAD_VALUE: quantity=-1 price=None trigger_price=None"),
            ({"quantity": "Infinity"}, "BAD_VALUE: quantity=Infinity price=None trigger_price=None"),
            ({"filled": Decimal(-1)}, "BAD_VALUE: quantity=1 price=None trigger_price=None"),
        )
    ),
    Case(
        22,
        "missing price",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.priced(None, INVERSE.instrument_id), d.buy(1, **INV)),
        "NO_PRICE: scope=instrument=AAAUSD.INV no reference price",
        about="how many coins a contract is",
    ),
    Case(
        22,
        "missing price",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.priced(None), d.buy(1)),
        about="a coin is a coin",
    ),
]


@table(CASES)
def test_an_order_that_may_not_be_sent_is_refused(case: Case) -> None:
    """What is not permitted or not known does not pass, and the refusal says what it is."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_what_may_not_be_sent_counts_nowhere(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)
