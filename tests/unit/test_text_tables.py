"""A table fits its terminal, whatever stands in its rows, and says whole what there is room for."""

from __future__ import annotations

import os
import random
from decimal import Decimal

import pytest

from nautilus_ext.app.desk_views import as_json, exposure_view, orders_view, sums
from nautilus_ext.app.order_life import Life
from nautilus_ext.app.text_tables import (
    Column,
    amount,
    cut,
    head,
    iso_ns,
    layout,
    line,
    moment,
    number,
    plain,
    rounded,
    wrapped,
)

COLUMNS = (
    Column("id", lambda row: row["id"], 1, least=8),
    Column("side", lambda row: row["side"], 2),
    Column("price", lambda row: number(row["price"]), 3, right=True),
    Column("strategy", lambda row: row["strategy"], 7, least=10),
    Column("reason", lambda row: row.get("reason", ""), 8, least=6, optional=True),
)
ROWS = [
    {"id": "O-1", "side": "BUY", "price": Decimal("60000.10"), "strategy": "TrendFollower-001"},
    {"id": "O-22222222222222222", "side": "SELL", "price": Decimal("0.5"), "strategy": "Q"},
]


def _table(columns, rows, width, *, color=False):
    shown = layout(columns, rows, width)
    return [head(shown, color=color), *(line(shown, row, color=color) for row in rows)]


def test_numbers_stand_right_and_texts_left():
    """The columns are aligned, and what no row has is left out."""
    assert [
        "id                   side      price  strategy",
        "O-1                  BUY   60,000.10  TrendFollower-001",
        "O-22222222222222222  SELL        0.5  Q",
    ] == _table(COLUMNS, ROWS, None)


def test_a_narrow_terminal_loses_the_columns_of_least_worth_first():
    """The strategy goes before the id is cut; what is essential is cut before it goes."""
    assert ["id", "side", "price"] == _table(COLUMNS, ROWS, 36)[0].split()
    narrow = _table(COLUMNS, ROWS, 28)
    assert ["id", "side", "price"] == narrow[0].split()
    assert "O-222…22222" == narrow[2].split()[0]


def test_no_line_is_ever_wider_than_the_terminal():
    """Random rows with names of any length and any script, at any width."""
    seed = int(os.environ.get("TEXT_TABLES_SEED", random.SystemRandom().randrange(2**32)))
    print(f"TEXT_TABLES_SEED={seed}")
    dice = random.Random(seed)
    alphabet = "abcXYZ-.:0123456789 ÄΩ漢字한\u0301\u200b\x1b\n"
    for _ in range(150):
        rows = [
            {
                "id": "".join(dice.choices(alphabet, k=dice.randrange(60))),
                "side": dice.choice(["BUY", "SELL", ""]),
                "price": Decimal(dice.randrange(10**12)).scaleb(-dice.randrange(9)),
                "strategy": "".join(dice.choices(alphabet, k=dice.randrange(200))),
                "reason": "".join(dice.choices(alphabet, k=dice.choice([0, 1000]))),
            }
            for _ in range(dice.randrange(1, 5))
        ]
        width = dice.randrange(20, 220)
        for text in _table(COLUMNS, rows, width):
            assert _columns_of(text) <= width
            assert text.isprintable()


def _columns_of(text):
    """How far a terminal's cursor moves: reckoned here from the alphabet of this test alone."""
    return sum(0 if char == "\u0301" else 2 if char in "漢字한" else 1 for char in text)


def test_a_name_cannot_steer_the_terminal():
    """Escapes, line ends and marks that turn the direction are shown as a sign of their own."""
    assert "a\ufffd[31mb\ufffdc\ufffdd" == plain("a\x1b[31mb\nc\u202ed")


def test_a_cut_keeps_both_ends():
    """Ids differ at their ends."""
    assert "BTCU…SIM3" == cut("BTCUSDT-PERP.SIM3", 9)
    assert "whole" == cut("whole", 5)


def test_colours_do_not_change_the_columns():
    """The same text with and without, apart from the codes."""
    styled = [column._replace(style=lambda _: "good") for column in COLUMNS]
    (top, *lines) = _table(styled, ROWS, 60, color=True)
    assert top.startswith("\x1b[2m")
    for colored, text in zip(lines, _table(styled, ROWS, 60)[1:], strict=True):
        assert "\x1b[32m" in colored
        assert text == colored.replace("\x1b[32m", "").replace("\x1b[0m", "").rstrip()


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1234567.890", "1,234,567.890"), ("0", "0"), ("0E-15", "0"), ("0.000", "0.000"), ("1E+3", "1,000"), ("-5", "-5")],
)
def test_a_quantity_is_exact(value, shown):
    """Every digit that the tables hold, and none of an exponent."""
    assert shown == number(Decimal(value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("-2.80006699", "-2.80"),
        ("1234.5678", "1,234.57"),
        ("0.60003300", "0.6000"),
        ("0.0000123456", "0.00001235"),
        ("0", "0.00"),
    ],
)
def test_money_is_shown_for_the_eye(value, shown):
    """Cents where there are whole units, four digits below."""
    assert shown == amount(Decimal(value))


def test_money_of_two_currencies_is_never_added_up():
    """A sum for each, in the order of their names."""
    pairs = [("USDT", Decimal(1)), ("BTC", Decimal("0.5")), ("USDT", Decimal(2)), (None, Decimal(9)), ("X", None)]
    assert "0.5000 BTC, 3.00 USDT" == sums(pairs)


def test_an_average_is_no_more_precise_than_a_price():
    """Noise behind the last decimal is rounded away, what is short stays as it is."""
    assert "60,002.79" == rounded(Decimal("60002.794660373500"), 2)
    assert "2,998.5" == rounded(Decimal("2998.5"), 2)


def test_times_are_short_today_and_whole_otherwise():
    """UTC to the millisecond on the screen, all nine decimals for programs."""
    ns = 1_767_571_799_900_007_001
    assert "2026-01-05T00:09:59.900007001Z" == iso_ns(ns)
    assert "00:09:59.900" == moment(ns, "2026-01-05")
    assert "2026-01-05 00:09:59.900" == moment(ns, "2026-01-06")
    assert "" == moment(None, "2026-01-05")


def test_a_remark_is_wrapped_within_the_width():
    """Nothing is lost, and no line is too long."""
    text = "rejected by the venue: " + "margin " * 40
    lines = wrapped(text, 30)
    assert text.split() == " ".join(lines).split()
    assert max(map(len, lines)) <= 30


def test_programs_get_exact_numbers_and_both_times():
    """No float, no rounding; an empty time is null twice."""
    row = {"quantity": Decimal("1E+2"), "created_ns": 1, "closed_ns": None, "run": 3, "tags": ["a"]}
    assert {
        "quantity": "100",
        "created_at": "1970-01-01T00:00:00.000000001Z",
        "created_ns": "1",
        "closed_at": None,
        "closed_ns": None,
        "run": 3,
        "tags": ["a"],
    } == as_json(row)


def test_what_has_no_price_is_marked_in_the_sums():
    """A value that leaves a position out says so."""
    row = {
        "base_asset": "BTC",
        "quote_currency": "USD",
        "net": Decimal(2),
        "long": Decimal(2),
        "short": Decimal(0),
        "net_value": Decimal(60000),
        "gross_value": Decimal(60000),
        "unrealized_pnl": {"USD": "5", "BTC": None},
        "realized_pnl": {"USD": "0", "BTC": "-0.001"},
        "positions": 2,
        "unpriced": 1,
        "venues": ["A", "B"],
    }
    text = "\n".join(_table(exposure_view().columns, [row], 200))
    assert "60,000*" in text
    assert "-0.001000 BTC, 0.00 USD" in text
    assert "1 position without a price" in exposure_view().summary([row])


def test_the_order_columns_survive_what_a_venue_may_say():
    """A row with nothing in its optional fields is shown with dashes."""
    empty = dict.fromkeys(
        (
            *(
                "strategy_id",
                "instrument_id",
                "venue_order_id",
                "average_price",
                "price",
                "trigger_price",
                "commissions",
            ),
            *("rejection_reason", "error_message", "filled_quantity", "created_ns", "updated_ns"),
        )
    )
    row = {**empty, "client_order_id": "x", "operation_id": "x", "side": "BUY", "order_type": "MARKET"}
    shown = _table(orders_view().columns, [{**row, "status": "DENIED", "quantity": Decimal(1)}], 80)
    assert "DENIED" in shown[1]


def _step(kind, event_ns=0, **body):
    return {"type": kind, "event_ns": event_ns, "init_ns": event_ns, "run": 1, "seq": 1, "payload": body}


def test_the_life_of_an_order_is_told_in_plain_words():
    """What changed is said as before → after, fills add up, a refusal has its reason."""
    events = [
        _step("OrderInitialized", 0, order_side="BUY", quantity="2", order_type="LIMIT", options={"price": "10"}),
        _step("OrderSubmitted", 1_500_000),
        _step("OrderAccepted", 2_000_000, venue_order_id="V-1"),
        _step("OrderUpdated", 3_000_000, quantity="2", price="11.5", trigger_price=None),
        _step("OrderModifyRejected", 4_000_000, reason="too late"),
        _step(
            "OrderFilled",
            5_000_000,
            last_qty="0.5",
            last_px="11.5",
            commission="0.01 USD",
            liquidity_side="MAKER",
            trade_id="T",
        ),
        _step("OrderCanceled", 5_000_000, reconciliation=True),
        _step("OrderFilled", 6_000_000, unencodable="<event>"),
        _step("SomethingNew", 7_000_000),
        _step("OrderFilled", 8_000_000) | {"payload": "x"},
    ]
    life = Life()
    life.add(events)
    told = list(life.steps)
    assert [
        "made: BUY 2 limit @ 10",
        "sent to the venue",
        "accepted as V-1",
        "changed: price 10 → 11.5",
        "the venue refuses the change: too late",
        "filled 0.5 @ 11.5 (0.5 of 2) as maker, fee 0.01000 USD, trade T",
        "canceled (found by a comparison with the venue)",
        "OrderFilled: <event>",
        "SomethingNew",
        "OrderFilled: its payload is no object, see audit",
    ] == [step.words for step in told]
    assert [None, Decimal("1.5"), Decimal("0.5")] == [step.after_ms for step in told[:3]]


def test_of_a_long_life_the_newest_steps_are_kept_and_know_what_was_before():
    """The older ones are counted, and what they changed is remembered, also over pages."""
    made = _step("OrderInitialized", 0, order_side="BUY", quantity="2", order_type="LIMIT", options={"price": "10"})
    life = Life(steps_max=2)
    life.add([made, _step("OrderSubmitted", 1_000_000)])
    life.add([_step("OrderAccepted", 3_000_000, venue_order_id="V-1")])
    life.add([_step("OrderUpdated", 6_000_000, quantity="2", price="11.5", trigger_price=None)])
    assert (4, 2) == (life.events, life.older)
    assert ["accepted as V-1", "changed: price 10 → 11.5"] == [step.words for step in life.steps]
    assert [Decimal(2), Decimal(3)] == [step.after_ms for step in life.steps]
