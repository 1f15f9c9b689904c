"""The rules of a pyramid: steps, exits, parts, and what the venue does not hold any more."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nautilus_ext.schema.portfolio_rows import PositionRow
from nautilus_ext.strategies import TrendFollowerConfig
from nautilus_ext.strategies import pyramid_rules as rules
from nautilus_ext.strategies.pyramid_rules import Contract, Exit

LINEAR = Contract(Decimal(1), is_inverse=False, precision=2)
INVERSE = Contract(Decimal(1), is_inverse=True, precision=8)
QUANTITIES = st.decimals("0.001", "1000", places=3)
SIDES = st.sampled_from(["LONG", "SHORT"])


def row(number: int = 1, quantity: str | Decimal = "2", **changes) -> PositionRow:
    values = {
        "position_id": f"O-{number}",
        "strategy_id": "S-1",
        "instrument_id": "ETHUSDT-PERP.X",
        "side": "LONG",
        "is_base_position": number == 1,
        "quantity": Decimal(quantity),
        "entry_price": Decimal(100),
        "realized_pnl": Decimal("-0.1"),
        "currency": "USDT",
        "opened_ns": number,
    }
    return PositionRow(**{**values, **changes})


def left(rows) -> Decimal:
    return sum(map(rules.remaining, rows), Decimal(0))


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        ("LONG", "100.2", True),
        ("LONG", "100.19", False),
        ("LONG", "99", False),
        ("SHORT", "99.8", True),
        ("SHORT", "99.81", False),
        ("SHORT", "101", False),
    ],
)
def test_a_step_is_a_move_in_favour(side, price, expected):
    """Twenty basis points of the last price, in the position's own direction."""
    assert expected == rules.is_step(side, Decimal(100), Decimal(price), Decimal(20))


@pytest.mark.parametrize(
    ("side", "contract", "price", "expected"),
    [
        ("LONG", LINEAR, "103", "5.50"),
        ("SHORT", LINEAR, "103", "-6.50"),
        ("LONG", Contract(Decimal("0.01"), is_inverse=False, precision=2), "103", "-0.44"),
        ("LONG", INVERSE, "125", "-0.49600000"),
        ("SHORT", INVERSE, "80", "-0.49500000"),
    ],
)
def test_an_exit_brings_what_the_contract_makes_of_the_move(side, contract, price, expected):
    """Linear, with a multiplier, and inverse; half a unit of fee comes off."""
    found = rules.profit(row(side=side), Exit(Decimal(2), 1, "x", Decimal(price), Decimal("0.5")), contract)
    assert Decimal(expected) == found


def test_a_row_is_partial_until_all_of_it_is_closed():
    """Its exit price is the average, its profit the sum, and only the last exit gives it an end."""
    half = rules.with_exit(row(), Exit(Decimal("0.5"), 7, "target", Decimal(110), Decimal("0.2")), LINEAR)
    assert ("partial", Decimal("0.5"), None, Decimal(110)) == (
        half.status,
        half.closed_quantity,
        half.closed_ns,
        half.exit_price,
    )
    assert Decimal("4.7") == half.realized_pnl
    whole = rules.with_exit(half, Exit(Decimal("1.5"), 9, "stop", Decimal(90), Decimal(0)), LINEAR)
    assert ("closed", Decimal(2), 9, "stop") == (
        whole.status,
        whole.closed_quantity,
        whole.closed_ns,
        whole.close_reason,
    )
    assert (Decimal(95), Decimal("-10.3")) == (whole.exit_price, whole.realized_pnl)


def test_an_exit_nobody_saw_has_no_price_and_brings_nothing():
    """What closed while the node was away is not guessed; a price that is known in part is none."""
    gone = rules.with_exit(row(), Exit(Decimal(2), 7, rules.AWAY), LINEAR)
    assert ("closed", None, Decimal("-0.1")) == (gone.status, gone.exit_price, gone.realized_pnl)
    half = rules.with_exit(row(), Exit(Decimal(1), 7, "target", Decimal(110)), LINEAR)
    assert None is rules.with_exit(half, Exit(Decimal(1), 7, rules.AWAY), LINEAR).exit_price


@given(st.lists(QUANTITIES, max_size=6), QUANTITIES)
def test_a_closing_fill_is_apportioned_without_loss(quantities, quantity):
    """The oldest first, never more than a row has, and nothing is left over that a row could have taken."""
    rows = [row(number, each) for number, each in enumerate(quantities)]
    parts = rules.apportion(rows, quantity)
    assert min(quantity, left(rows)) == sum(part for _, part in parts)
    assert all(0 < part <= rules.remaining(each) for each, part in parts)
    assert [each.position_id for each, _ in parts] == [each.position_id for each in rows[: len(parts)]]


@given(
    st.lists(QUANTITIES, min_size=1, max_size=6),
    SIDES,
    st.decimals("-2000", "2000", places=3),
    st.sets(st.integers(0, 5)),
)
def test_rows_never_say_more_than_the_venue_holds(quantities, side, held, protected_numbers):
    """After what is missing is closed, the rest is what the venue has, at most; nothing is closed without need."""
    rows = [row(number, each, side=side) for number, each in enumerate(quantities)]
    protected = {f"O-{number}" for number in protected_numbers}
    missing = rules.missing_at_venue(rows, held, protected)
    there = max(held if side == "LONG" else -held, Decimal(0))
    assert min(left(rows), there) == left(rows) - sum((part for _, part in missing), Decimal(0))
    closed = {each.position_id for each, _ in missing}
    if closed & protected:
        assert {each.position_id for each in rows} - protected <= closed, "rows without exits go first"


def test_without_rows_nothing_is_missing():
    """A position of the venue that no row knows is not this rule's business."""
    assert [] == rules.missing_at_venue([], Decimal(5), set())


def test_fingerprints_differ_in_every_part():
    """Another strategy, instrument, kind or bar is another signal."""
    base = ("S-1", "ETHUSDT.X", "PYRAMID", 1)
    others = [("S-2", *base[1:]), ("S-1", "BTCUSDT.X", *base[2:]), (*base[:2], "BASE_ENTRY", 1), (*base[:3], 2)]
    assert 5 == len({rules.fingerprint(*each) for each in (base, *others)})


def test_a_step_and_a_row_are_of_one_kind_on_both_sides():
    """Mirror images: a short row that falls gains what a long one that rises does."""
    up = rules.profit(row(), Exit(Decimal(2), 1, "x", Decimal(101)), LINEAR)
    down = rules.profit(replace(row(), side="SHORT"), Exit(Decimal(2), 1, "x", Decimal(99)), LINEAR)
    assert up == down == Decimal(2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"pyramids": -1}, "pyramids"), ({"pyramid_step_bps": "0"}, "pyramid_step_bps 0 must be above 0")],
)
def test_the_config_refuses_what_makes_no_sense(change, expected):
    """The message names the key; without pyramids nothing changes."""
    good = {"bar_type": "BTCUSDT-PERP.SIM2-10-TICK-MID-INTERNAL", "notional": "1000"}
    assert 0 == TrendFollowerConfig.parse(json.dumps(good)).pyramids
    with pytest.raises(msgspec.ValidationError, match=expected):
        TrendFollowerConfig.parse(json.dumps(good | change))
