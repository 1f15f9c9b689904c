"""Rows of the table of controls that look at one order: its price, its value, its size."""

from __future__ import annotations

from risk_desk import COIN, FUTURE, INVERSE, Case, refused_leaves_nothing, table

COLLAR = {"global": {"price_collar_bps": "100"}}
VALUE = {"global": {"max_order_notional": "1000"}}
SIZES = {"global": {"max_order_quantity": "10", "min_order_quantity": "1"}}
INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
BUY, SELL = 1, -1
FAR = "PRICE_COLLAR: limit=100 scope=global value=0 would_be="
WORTH = "MAX_ORDER_NOTIONAL: limit=1000 scope=global value=0 would_be="
LARGE = "MAX_ORDER_QUANTITY: limit=10 scope=global value=0 would_be="
SMALL = "MIN_ORDER_QUANTITY: limit=1 scope=global value=0 would_be="

CASES = [
    # 1: the price collar
    Case(1, "at limit", COLLAR, lambda d: d.buy(1, price=101)),
    Case(1, "at limit", COLLAR, lambda d: d.sell(1, price=99), about="a sale"),
    Case(1, "at limit", COLLAR, lambda d: d.buy(1, price=50), about="what costs nothing is as far as it likes"),
    Case(1, "at limit", COLLAR, lambda d: (d.priced(-40), d.buy(1, price="-39.6")), about="a negative price"),
    Case(1, "at limit", COLLAR, lambda d: d.buy(1), about="a market order has no price"),
    Case(
        1,
        "at limit",
        COLLAR,
        lambda d: d.buy(1, price=121, trigger_price=120, type="STOP_LIMIT"),
        about="a stop is held against its trigger",
    ),
    Case(
        1, "one tick over", COLLAR, lambda d: d.buy(1, price="101.01"), f"{FAR}101 unit=bps price=101.01 reference=100"
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: d.sell(1, price="98.99"),
        f"{FAR}101 unit=bps price=98.99 reference=100",
        about="a sale",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: d.buy(1, price="101.00001"),
        f"{FAR}100.01 unit=bps price=101.00001 reference=100",
        about="what it says is more than the limit",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: (d.priced(-40), d.buy(1, price="-39.59")),
        f"{FAR}102.5 unit=bps price=-39.59 reference=-40",
        about="a negative price",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: d.buy(1, price="121.21", trigger_price=120, type="STOP_LIMIT"),
        f"{FAR}100.84 unit=bps price=121.21 reference=120",
        about="a stop is held against its trigger",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: d.buy(1, price=121, trigger_price=120, type="LIMIT_IF_TOUCHED"),
        f"{FAR}2100 unit=bps price=121 reference=100",
        about="touched at once",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: d.sell(1, price=79, trigger_price=80, type="LIMIT_IF_TOUCHED"),
        f"{FAR}2100 unit=bps price=79 reference=100",
        about="a sale touched at once",
    ),
    Case(
        1,
        "one tick over",
        COLLAR,
        lambda d: (d.priced("0.00000001"), d.buy(1, price="9999999999999999")),
        f"{FAR}9999999999999998999999990000 unit=bps price=9999999999999999 reference=0.00000001",
        about="a number that does not end",
    ),
    Case(
        1,
        "on modify",
        COLLAR,
        lambda d: (d.buy(1, price=100), d.modify("O-1", price=102)),
        f"{FAR}200 unit=bps price=102 reference=100",
    ),
    Case(
        1,
        "on modify",
        COLLAR,
        lambda d: (d.buy(2, price=100), d.priced(90), d.modify("O-1", quantity=1)),
        about="one that keeps its price",
    ),
    Case(
        1,
        "inside a list",
        COLLAR,
        lambda d: d.list((BUY, 1, {"price": 100}), (BUY, 1, {"price": 102})),
        f"{FAR}200 unit=bps price=102 reference=100",
    ),
    Case(
        1,
        "as a child",
        COLLAR,
        lambda d: (d.reserve(BUY, 5), d.buy(1, price=102, parent_id="P-1")),
        f"{FAR}200 unit=bps price=102 reference=100",
    ),
    Case(
        1,
        "missing price",
        COLLAR,
        lambda d: (d.priced(None), d.buy(1, price=100)),
        "NO_PRICE: scope=instrument=AAA.SIM no reference price",
    ),
    Case(
        1,
        "inverse contract",
        COLLAR,
        lambda d: d.sell(1, price="98.99", **INV),
        f"{FAR}101 unit=bps price=98.99 reference=100",
    ),
    # 2: the value of an order
    Case(2, "at limit", VALUE, lambda d: d.buy(10)),
    Case(2, "at limit", VALUE, lambda d: d.buy(20, price=50), about="a purchase pays its limit"),
    Case(2, "at limit", VALUE, lambda d: d.buy(2, **FUT), about="a multiplier"),
    Case(2, "at limit", VALUE, lambda d: (d.priced(-100), d.buy(10)), about="a negative price"),
    Case(2, "one tick over", VALUE, lambda d: d.buy("10.01"), f"{WORTH}1001 unit=USDT"),
    Case(
        2,
        "one tick over",
        VALUE,
        lambda d: d.buy(10, price="100.1"),
        f"{WORTH}1001 unit=USDT",
        about="at its limit price",
    ),
    Case(
        2,
        "one tick over",
        VALUE,
        lambda d: d.sell("10.01", price=50),
        f"{WORTH}1001 unit=USDT",
        about="a sale below the market is filled at the market",
    ),
    Case(
        2,
        "one tick over",
        VALUE,
        lambda d: d.sell(10, price="100.1"),
        f"{WORTH}1001 unit=USDT",
        about="a sale above the market",
    ),
    Case(
        2,
        "one tick over",
        VALUE,
        lambda d: d.buy(10, trigger_price="100.1", type="STOP_MARKET"),
        f"{WORTH}1001 unit=USDT",
        about="a stop at its trigger",
    ),
    Case(2, "one tick over", VALUE, lambda d: d.buy("2.002", **FUT), f"{WORTH}1001 unit=USDT", about="a multiplier"),
    Case(
        2,
        "one tick over",
        VALUE,
        lambda d: (d.priced(-100), d.buy("10.01")),
        f"{WORTH}1001 unit=USDT",
        about="a negative price",
    ),
    Case(
        2,
        "on modify",
        VALUE,
        lambda d: (d.buy(10, price=100), d.modify("O-1", price="100.1")),
        f"{WORTH}1001 unit=USDT",
    ),
    Case(
        2,
        "on modify",
        VALUE,
        lambda d: (d.buy(5, price=100), d.fill("O-1", 3), d.modify("O-1", quantity="7.01")),
        f"{WORTH}1001 unit=USDT",
        about="what of it is filled counts",
    ),
    Case(
        2,
        "on modify",
        VALUE,
        lambda d: (d.buy(10), d.priced(200), d.modify("O-1", quantity=9)),
        about="a smaller one passes whatever has become of the price",
    ),
    Case(
        2,
        "inside a list",
        VALUE,
        lambda d: d.list((BUY, 10), (BUY, "10.01")),
        f"{WORTH}1001 unit=USDT",
    ),
    Case(2, "inside a list", VALUE, lambda d: d.list((BUY, 10), (BUY, 10)), about="it is a limit of each"),
    Case(
        2,
        "as a child",
        VALUE,
        lambda d: (d.reserve(BUY, 50), d.buy("10.01", parent_id="P-1")),
        f"{WORTH}1001 unit=USDT",
    ),
    Case(2, "as a parent", VALUE, lambda d: d.reserve(BUY, 50), about="its children are the orders"),
    Case(
        2,
        "missing price",
        VALUE,
        lambda d: (d.priced(None), d.buy(1)),
        "NO_PRICE: scope=instrument=AAA.SIM no reference price",
    ),
    Case(
        2,
        "missing price",
        VALUE,
        lambda d: (d.priced(0), d.buy(1_000_000)),
        "NO_PRICE: scope=instrument=AAA.SIM no reference price",
        about="with zero everything would be worth nothing",
    ),
    Case(
        2,
        "missing price",
        VALUE,
        lambda d: d.buy(1, **INV),
        "NO_CONVERSION: risk.conversions has no price of USD in USDT",
        about="of its currency",
        settings={"conversions": {}},
    ),
    Case(
        2,
        "missing price",
        VALUE,
        lambda d: d.buy(1, **INV),
        "NO_CONVERSION: risk.conversions has no price of USD in USDT",
        about="its currency is worth nothing",
        settings={"conversions": {"USD": "0"}},
    ),
    Case(
        2,
        "missing account",
        VALUE,
        lambda d: d.buy(1_000_000, account_id=""),
        "NO_ACCOUNT: scope=venue=SIM no account is known there",
    ),
    Case(2, "margin account", VALUE, lambda d: (d.later(is_margin=True), d.buy("10.01")), f"{WORTH}1001 unit=USDT"),
    Case(2, "inverse contract", VALUE, lambda d: d.buy(50, price=7, **INV), about="at limit, whatever the price"),
    Case(2, "inverse contract", VALUE, lambda d: d.buy(51, **INV), f"{WORTH}1020 unit=USDT"),
    # 3: the size of an order
    Case(3, "at limit", SIZES, lambda d: d.buy(10)),
    Case(3, "at limit", SIZES, lambda d: d.buy(1), about="the least"),
    Case(3, "one tick over", SIZES, lambda d: d.buy("10.001"), f"{LARGE}10.001 unit=quantity"),
    Case(3, "one tick over", SIZES, lambda d: d.sell("0.999"), f"{SMALL}0.999 unit=quantity", about="under the least"),
    Case(
        3,
        "one tick over",
        SIZES,
        lambda d: (d.hold("0.5"), d.sell("0.5")),
        about="what only reduces may be less than the least",
    ),
    Case(
        3,
        "one tick over",
        SIZES,
        lambda d: (d.hold("0.5"), d.sell("0.6")),
        f"{SMALL}0.6 unit=quantity",
        about="what flips may not",
    ),
    Case(
        3, "on modify", SIZES, lambda d: (d.buy(10), d.modify("O-1", quantity="10.001")), f"{LARGE}10.001 unit=quantity"
    ),
    Case(
        3,
        "on modify",
        SIZES,
        lambda d: (d.buy(10), d.fill("O-1", 4), d.modify("O-1", quantity="6.5")),
        "MAX_ORDER_QUANTITY: limit=10 scope=global value=4 would_be=10.5 unit=quantity",
        about="what of it is filled counts",
    ),
    Case(
        3,
        "on modify",
        SIZES,
        lambda d: (d.buy(2), d.modify("O-1", quantity="0.5")),
        about="a smaller one passes",
    ),
    Case(3, "inside a list", SIZES, lambda d: d.list((BUY, 10), (SELL, 11)), f"{LARGE}11 unit=quantity"),
    Case(
        3,
        "as a child",
        SIZES,
        lambda d: (d.reserve(BUY, 50), d.buy(11, parent_id="P-1")),
        f"{LARGE}11 unit=quantity",
    ),
    Case(3, "as a parent", SIZES, lambda d: d.reserve(BUY, 50)),
    Case(
        3,
        "missing price",
        SIZES,
        lambda d: (d.priced(None), d.buy(11)),
        f"{LARGE}11 unit=quantity",
        about="it needs none",
    ),
    Case(
        3,
        "missing account",
        SIZES,
        lambda d: d.buy(11, account_id=""),
        "NO_ACCOUNT: scope=venue=SIM no account is known there",
    ),
    Case(3, "margin account", SIZES, lambda d: (d.later(is_margin=True), d.buy(11)), f"{LARGE}11 unit=quantity"),
    Case(3, "inverse contract", SIZES, lambda d: d.sell(11, **INV), f"{LARGE}11 unit=quantity"),
    Case(
        3,
        "at limit",
        {"global": {"max_order_notional": "1", "max_position": "100"}},
        lambda d: d.buy("0.01"),
        about="every limit that must be set is",
        settings={"needs_limits": True},
    ),
    Case(
        3,
        "one tick over",
        {},
        lambda d: d.buy(1),
        "NO_LIMIT: scope=instrument=AAA.SIM unset=max_order_quantity or max_order_notional and max_position "
        "(risk.needs_limits)",
        about="nothing is set",
        settings={"needs_limits": True},
    ),
    Case(
        3,
        "one tick over",
        {"global": {"max_order_quantity": "10"}, "strategy=S": {"ramp": {"orders": 9, "max_position": "1"}}},
        lambda d: d.buy(1),
        "NO_LIMIT: scope=instrument=AAA.SIM unset=max_position (risk.needs_limits)",
        about="a ramp is no limit: it ends",
        settings={"needs_limits": True},
    ),
    Case(
        3,
        "one tick over",
        {},
        lambda d: (d.hold(1), d.sell(1)),
        about="what only reduces needs no limit",
        settings={"needs_limits": True},
    ),
]


@table(CASES)
def test_an_order_is_held_against_its_limits(case: Case) -> None:
    """Each row passes at its limit, and names the numbers one tick over it."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_a_refused_order_counts_nowhere(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)


def test_the_instruments_of_the_table() -> None:
    """What the numbers above were reckoned with."""
    assert (COIN.multiplier, FUTURE.multiplier, INVERSE.multiplier) == (1, 5, 10)
