"""Rows of the table of controls that look at how far positions and exposure can go."""

from __future__ import annotations

from risk_desk import FUTURE, INVERSE, SHARE, Case, refused_leaves_nothing, table

POSITION = {"global": {"max_position": "10"}}
EXPOSURE = {"global": {"max_exposure": "1000"}}
CLOSING = {"strategy=S": {"reduce_only": True}}
INV = {"instrument_id": INVERSE.instrument_id, "account_id": "INV-1"}
FUT = {"instrument_id": FUTURE.instrument_id}
OTHER = {"strategy_id": "T"}
BUY, SELL = 1, -1


def far(value: object, would_be: object, scope: str = "global", unit: str = "quantity", limit: object = 10) -> str:
    return f"MAX_POSITION: limit={limit} scope={scope} value={value} would_be={would_be} unit={unit}"


def worth(value: object, would_be: object, scope: str = "global") -> str:
    return f"MAX_EXPOSURE: limit=1000 scope={scope} value={value} would_be={would_be} unit=USDT"


CASES = [
    # 5: what was sent counts at once
    Case(5, "at limit", POSITION, lambda d: (d.buy(4), d.buy(6))),
    Case(5, "at limit", POSITION, lambda d: (d.buy(10), d.over("O-1"), d.buy(10)), about="what is over does not"),
    Case(5, "at limit", POSITION, lambda d: (d.buy(10), d.sell(10)), about="each side alone"),
    Case(5, "one tick over", POSITION, lambda d: (d.buy(4), d.buy("6.01")), far(4, "10.01")),
    Case(
        5, "one tick over", POSITION, lambda d: (d.buy(4), d.fill("O-1", 3), d.buy("6.01")), far(4, "10.01"), "filled"
    ),
    Case(5, "one tick over", EXPOSURE, lambda d: (d.buy(4), d.buy("6.01")), worth(400, 1001), "of exposure"),
    Case(5, "on modify", POSITION, lambda d: (d.buy(4), d.modify("O-1", quantity=10))),
    Case(5, "on modify", POSITION, lambda d: (d.buy(4), d.modify("O-1", quantity="10.01")), far(4, "10.01"), "too far"),
    Case(
        5,
        "on modify",
        POSITION,
        lambda d: (d.buy(10), d.modify("O-1", quantity=5), d.buy(1)),
        far(10, 11),
        "until the venue says so the larger of both counts",
    ),
    Case(
        5,
        "on modify",
        POSITION,
        lambda d: (d.buy(5), d.modify("O-1", quantity=9), d.buy(2)),
        far(9, 11),
        "what is asked for counts at once",
    ),
    Case(5, "inside a list", POSITION, lambda d: d.list((BUY, 4), (BUY, 6))),
    Case(5, "inside a list", POSITION, lambda d: d.list((BUY, 4), (BUY, "6.01")), far(4, "10.01"), "too far"),
    Case(
        5,
        "inside a list",
        POSITION,
        lambda d: (d.buy(1), d.list((BUY, 4), (SELL, 11))),
        far(0, 11),
        "all or none of it",
    ),
    Case(
        5,
        "as a child",
        POSITION,
        lambda d: (d.reserve(BUY, 10), d.buy(10, parent_id="P-1")),
        about="of what is reserved",
    ),
    Case(
        5,
        "as a child",
        POSITION,
        lambda d: (d.reserve(BUY, 8), d.buy("10.01", parent_id="P-1")),
        far(8, "10.01"),
        "more than is reserved",
    ),
    Case(
        5,
        "as a child",
        POSITION,
        lambda d: (d.reserve(BUY, 10), d.buy(4, parent_id="P-1"), d.over("O-2"), d.buy(10, parent_id="P-1")),
        about="what it does not fill goes back",
    ),
    Case(
        5,
        "as a child",
        POSITION,
        lambda d: (d.reserve(BUY, 10), d.buy(4, parent_id="P-1"), d.fill("O-2", 1), d.over("O-2"), d.buy(1)),
        far(10, 11),
        "what it has filled does not",
    ),
    Case(5, "as a parent", POSITION, lambda d: (d.reserve(BUY, 4), d.buy(6))),
    Case(5, "as a parent", POSITION, lambda d: (d.reserve(BUY, 4), d.buy("6.01")), far(4, "10.01"), "too far"),
    Case(5, "as a parent", POSITION, lambda d: d.reserve(BUY, "10.01"), far(0, "10.01"), "a parent too large"),
    Case(5, "as a parent", POSITION, lambda d: (d.reserve(BUY, 10), d.release(), d.buy(10)), about="released"),
    Case(
        5,
        "as a parent",
        POSITION,
        lambda d: (d.reserve(BUY, 4), d.reserve(BUY, 10), d.reserve(BUY, 4), d.buy(6)),
        about="one that asks again gets what it asks for now",
    ),
    Case(
        5,
        "as a parent",
        POSITION,
        lambda d: (d.reserve(BUY, 8), d.buy(6, parent_id="P-1"), d.fill("O-2", 6), d.reserve(BUY, 9)),
        far(8, 15),
        "what a refused one had before stays as it was",
    ),
    Case(5, "missing price", POSITION, lambda d: (d.priced(None), d.buy(4), d.buy(7)), far(4, 11)),
    Case(5, "margin account", POSITION, lambda d: (d.later(is_margin=True), d.buy(4), d.buy(7)), far(4, 11)),
    Case(5, "inverse contract", POSITION, lambda d: (d.sell(4, **INV), d.sell(7, **INV)), far(4, 11)),
    Case(5, "after restart", POSITION, lambda d: (d.buy(4), d.restart(), d.buy("6.01")), far(4, "10.01")),
    Case(
        5,
        "after restart",
        POSITION,
        lambda d: (d.restart([d.order(BUY, 4, client_order_id="P-1")]), d.buy("6.01")),
        far(4, "10.01"),
        "a parent's reservation",
    ),
    # 8: every scope
    *(
        Case(8, "at limit", {scope: {"max_position": "10"}}, lambda d: d.sell(10), about=f"position of {scope}")
        for scope in ("global", "venue=SIM", "account=SIM-1", "strategy=S", "instrument=AAA.SIM", "asset=AAA")
    ),
    *(
        Case(
            8,
            "one tick over",
            {scope: {"max_position": "10"}},
            lambda d: d.sell("10.01"),
            far(0, "10.01", scope, "AAA" if scope.startswith("asset") else "quantity"),
            f"position of {scope}",
        )
        for scope in ("global", "venue=SIM", "account=SIM-1", "strategy=S", "instrument=AAA.SIM", "asset=AAA")
    ),
    *(
        Case(
            8,
            "one tick over",
            {scope: {"max_exposure": "1000"}},
            lambda d: (d.sell(3), d.buy("7.01", instrument_id=SHARE.instrument_id)),
            worth(300, 1001, scope),
            f"exposure of {scope} over its instruments",
        )
        for scope in ("global", "venue=SIM", "account=SIM-1", "strategy=S")
    ),
    Case(
        8,
        "one tick over",
        {"asset=AAA": {"max_exposure": "1000"}},
        lambda d: (d.sell(3), d.buy("1.402", **FUT)),
        worth(300, 1001, "asset=AAA"),
        "exposure of an asset over its instruments",
    ),
    Case(
        8,
        "one tick over",
        {"instrument=*": {"max_exposure": "1000"}},
        lambda d: (d.sell(3), d.buy(10, instrument_id="BBB.SIM"), d.sell("7.01")),
        worth(300, 1001, "instrument=AAA.SIM"),
        "exposure of each instrument",
    ),
    Case(
        8,
        "at limit",
        {"strategy=*": {"max_position": "10"}},
        lambda d: (d.buy(10), d.buy(10, **OTHER)),
        about="each strategy has its own",
    ),
    Case(
        8,
        "one tick over",
        {"instrument=*": {"max_position": "10"}},
        lambda d: (d.buy(6), d.buy(5, **OTHER)),
        far(6, 11, "instrument=AAA.SIM"),
        "an instrument is all strategies'",
    ),
    Case(
        8,
        "one tick over",
        {"account=*": {"max_position": "10"}},
        lambda d: (d.buy(6), d.buy(6, account_id="SIM-2"), d.buy(5, **OTHER)),
        far(6, 11, "account=SIM-1"),
        "an account is all strategies'",
    ),
    Case(
        8,
        "one tick over",
        {"instrument=AAA*": {"max_position": "10"}, "instrument=AAA.SIM": {"max_position": "5"}},
        lambda d: d.buy(6),
        far(0, 6, "instrument=AAA.SIM", limit=5),
        "the more exact pattern",
    ),
    Case(
        8,
        "one tick over",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.buy(4), d.buy(1, **FUT), d.buy(11, **INV)),
        far(9, "10.1", "asset=AAA", "AAA"),
        "coins over all venues",
    ),
    Case(
        8,
        "inverse contract",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: d.sell(101, **INV),
        far(0, "10.1", "asset=AAA", "AAA"),
        "in coins",
    ),
    Case(
        8, "inverse contract", EXPOSURE, lambda d: (d.priced(7, "AAAUSD.INV"), d.sell(50, **INV)), about="at its value"
    ),
    Case(8, "inverse contract", EXPOSURE, lambda d: d.sell(51, **INV), worth(0, 1020), "over it"),
    Case(
        8,
        "as a child",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.reserve(BUY, 2, **FUT), d.buy(10, parent_id="P-1")),
        about="it takes from a reservation in another contract",
    ),
    Case(
        8,
        "as a child",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.reserve(BUY, 2, **FUT), d.buy("10.01", parent_id="P-1")),
        far(10, "10.01", "asset=AAA", "AAA"),
        "more than was reserved in another contract",
    ),
    Case(
        8,
        "as a parent",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: d.reserve(BUY, "2.002", **FUT),
        far(0, "10.01", "asset=AAA", "AAA"),
    ),
    Case(8, "on modify", EXPOSURE, lambda d: (d.buy(4), d.modify("O-1", quantity="10.01")), worth(400, 1001)),
    Case(
        8,
        "on modify",
        EXPOSURE,
        lambda d: (d.buy(10, price=90), d.priced(200), d.modify("O-1", price=91)),
        about="what does not make it worse",
    ),
    Case(8, "inside a list", EXPOSURE, lambda d: d.list((BUY, 4), (BUY, "6.01")), worth(400, 1001)),
    Case(8, "margin account", EXPOSURE, lambda d: (d.later(is_margin=True), d.buy("10.01")), worth(0, 1001)),
    Case(
        8,
        "missing price",
        EXPOSURE,
        lambda d: (d.priced(None), d.buy(1)),
        "NO_PRICE: scope=instrument=AAA.SIM no reference price",
    ),
    Case(
        8,
        "missing price",
        {"asset=AAA": {"max_exposure": "1000"}},
        lambda d: (
            d.hold(-9),
            d.reserve(BUY, "0.2", **FUT),
            d.priced(200),
            d.priced(None, FUTURE.instrument_id),
            d.buy(1, parent_id="P-1"),
        ),
        about="of a parent whose child only gets out",
    ),
    Case(
        8,
        "missing price",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.priced(None, "AAAUSD.INV"), d.hold(1, **INV), d.buy(1)),
        "NO_PRICE: scope=asset=AAA MAX_POSITION cannot be reckoned: no price or no conversion of AAAUSD.INV",
        "of another contract",
    ),
    Case(
        8,
        "inverse contract",
        {"asset=AAA": {"max_position": "10"}},
        lambda d: (d.priced(-100, "AAAUSD.INV"), d.buy(1, **INV)),
        "NO_PRICE: scope=instrument=AAAUSD.INV no reference price",
        "nobody divides by a negative price",
    ),
    Case(8, "after restart", EXPOSURE, lambda d: (d.buy(4), d.hold(2), d.restart(), d.buy("4.01")), worth(600, 1001)),
    # 12: the worst case
    Case(12, "at limit", POSITION, lambda d: (d.hold(-5), d.buy(15)), about="from the other side"),
    Case(12, "at limit", POSITION, lambda d: (d.hold(15), d.sell(25)), about="out of what is too large already"),
    Case(
        12, "one tick over", POSITION, lambda d: (d.hold(-5), d.buy("15.01")), far(-5, "10.01"), "from the other side"
    ),
    Case(12, "one tick over", POSITION, lambda d: (d.hold(15), d.buy(1)), far(15, 16), "further out"),
    Case(
        12,
        "one tick over",
        POSITION,
        lambda d: (d.hold(10), d.sell(10), d.sell(10), d.sell("0.01")),
        far(10, "10.01"),
        "ten that reduce do not flip",
    ),
    Case(
        12,
        "one tick over",
        POSITION,
        lambda d: (d.hold(8), d.sell(5), d.buy(3)),
        far(8, 11),
        "a sale that works is not filled yet",
    ),
    Case(
        12,
        "at limit",
        POSITION,
        lambda d: (d.hold(8), d.sell(8, is_reduce_only=True), d.sell(8, is_reduce_only=True), d.sell(10)),
        about="reduce-only orders go to zero and no further",
    ),
    Case(
        12,
        "one tick over",
        POSITION,
        lambda d: (d.hold(8), d.sell(8, is_reduce_only=True), d.sell("10.01")),
        far(0, "10.01"),
        "beside reduce-only orders",
    ),
    Case(
        12,
        "at limit",
        {"strategy=*": {"max_position": "10"}},
        lambda d: (d.hold(-12), d.hold(12, **OTHER), d.buy(12, is_reduce_only=True)),
        about="each of two that hold against each other can be closed",
    ),
    Case(
        12,
        "one tick over",
        {"strategy=*": {"max_position": "10"}},
        lambda d: (d.hold(-20), d.buy(11, **OTHER)),
        far(0, 11, "strategy=T"),
        "who reduces the whole opens something of his own",
    ),
    Case(
        12,
        "one tick over",
        POSITION,
        lambda d: (d.hold(-12), d.hold(12, **OTHER), d.buy("10.01", is_reduce_only=True)),
        far(0, "10.01"),
        "what it closes leaves the other's alone",
    ),
    Case(12, "on modify", POSITION, lambda d: (d.hold(-5), d.buy(15), d.modify("O-2", quantity=16)), far(10, 11)),
    Case(12, "inside a list", POSITION, lambda d: (d.hold(-5), d.list((BUY, 15), (BUY, 1))), far(10, 11)),
    Case(12, "as a child", POSITION, lambda d: (d.hold(5), d.reserve(BUY, 5), d.buy(6, parent_id="P-1")), far(10, 11)),
    Case(12, "as a parent", POSITION, lambda d: (d.hold(5), d.reserve(BUY, 6)), far(5, 11)),
    Case(12, "as a parent", POSITION, lambda d: (d.hold(15), d.reserve(SELL, 15)), about="one that only reduces"),
    Case(12, "missing price", POSITION, lambda d: (d.priced(None), d.hold(5), d.buy(6)), far(5, 11)),
    Case(12, "missing account", POSITION, lambda d: (d.hold(15), d.later(has_accounts=False), d.sell(15)), about="out"),
    Case(12, "margin account", POSITION, lambda d: (d.later(is_margin=True), d.hold(5), d.buy(6)), far(5, 11)),
    Case(12, "inverse contract", POSITION, lambda d: (d.hold(-5, **INV), d.sell(6, **INV)), far(5, 11)),
    Case(12, "after restart", POSITION, lambda d: (d.hold(5), d.buy(5), d.restart(), d.buy(1)), far(10, 11)),
    # 14: only what reduces
    Case(14, "at limit", CLOSING, lambda d: (d.hold(5), d.sell(5))),
    Case(14, "at limit", CLOSING, lambda d: (d.hold(-5), d.buy(2), d.buy(3)), about="in two"),
    Case(14, "at limit", CLOSING, lambda d: d.buy(5, **OTHER), about="another strategy"),
    Case(
        14,
        "one tick over",
        CLOSING,
        lambda d: d.buy("0.01"),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=0 would_be=0.01 unit=quantity",
        "from flat",
    ),
    Case(
        14,
        "one tick over",
        CLOSING,
        lambda d: (d.hold(5), d.sell("5.01")),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-0.01 unit=quantity",
        "a flip",
    ),
    Case(
        14,
        "one tick over",
        CLOSING,
        lambda d: (d.hold(5), d.sell(3), d.sell(3)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
        "a flip by two",
    ),
    Case(
        14,
        "one tick over",
        CLOSING,
        lambda d: (d.hold(9, **OTHER), d.sell(1)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=0 would_be=-1 unit=quantity",
        "another's position is not its own",
    ),
    Case(14, "at limit", {"global": {"reduce_only": False}}, lambda d: d.buy(5), about="off"),
    Case(
        14,
        "on modify",
        CLOSING,
        lambda d: (d.hold(5), d.sell(4), d.modify("O-2", quantity=6)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
    ),
    Case(
        14,
        "inside a list",
        CLOSING,
        lambda d: (d.hold(5), d.list((SELL, 5), (SELL, 1))),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
    ),
    Case(
        14,
        "as a child",
        CLOSING,
        lambda d: (d.hold(5), d.reserve(SELL, 5), d.sell(6, parent_id="P-1")),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
    ),
    Case(
        14,
        "as a parent",
        CLOSING,
        lambda d: (d.hold(5), d.reserve(SELL, 6)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
    ),
    Case(14, "missing price", CLOSING, lambda d: (d.hold(5), d.priced(None), d.sell(5))),
    Case(14, "margin account", CLOSING, lambda d: (d.later(is_margin=True), d.hold(5), d.sell(5))),
    Case(
        14,
        "inverse contract",
        CLOSING,
        lambda d: (d.hold(-5, **INV), d.buy(6, **INV)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=-5 would_be=1 unit=quantity",
    ),
    Case(
        14,
        "after restart",
        CLOSING,
        lambda d: (d.hold(5), d.sell(5), d.restart(), d.sell(1)),
        "REDUCE_ONLY: limit=0 scope=strategy=S value=5 would_be=-1 unit=quantity",
    ),
]


@table(CASES)
def test_nothing_reaches_past_its_limit(case: Case) -> None:
    """Positions and exposure are held against their limits as if everything that works were filled."""
    answers = case.answers()
    assert case.expected(answers) == answers


@table([each for each in CASES if each.refusal])
def test_what_would_reach_too_far_counts_nowhere(case: Case) -> None:
    """What was refused leaves the ledger as it was: nothing works, nothing is taken, nothing is due."""
    assert refused_leaves_nothing(case)
