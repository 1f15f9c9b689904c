"""The grid: every number of a listing is exact, and what is not on it is refused without noise."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_ext.simulation.exchange.grid import COUNT_MAX, Grid, to_atoms, to_decimal
from nautilus_ext.simulation.market import Listing


def listing(kind: str, **other) -> Listing:
    values = {
        "instrument_id": f"BTC-{kind}.X",
        "base": "BTC",
        "quote": "USDT",
        "tick": Decimal("0.5"),
        "lot": Decimal("0.001"),
        "spread_ticks": 1,
        "depth": Decimal(10),
        "maker_fee": Decimal("0.0002"),
        "taker_fee": Decimal("0.0005"),
    }
    return Listing(kind=kind, **{**values, **other})


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("100.5", 201),
        ("0.50", 1),
        ("100.500000000000000000000000000000000000", 201),
        ("5E+2", 1_000),
        ("100.4", None),
        ("0.25", None),
        ("0", None),
        ("-0.5", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        ("-Infinity", None),
        ("1E+999999", None),
        ("1E-999999", None),
        ("100.500000000000000000000000000000000000000001", None),
    ],
)
def test_a_price_is_a_whole_number_of_ticks_or_none(price, expected):
    """What the wire brings may be any Decimal: nothing raises, nothing is rounded."""
    assert expected == Grid(listing("linear")).ticks(Decimal(price))


@pytest.mark.parametrize(
    ("quantity", "expected"), [("0.001", 1), ("1", 1_000), ("0.0005", None), ("0", None), ("NaN", None)]
)
def test_a_quantity_is_a_whole_number_of_lots_or_none(quantity, expected):
    """The same for sizes."""
    assert expected == Grid(listing("linear")).lots(Decimal(quantity))


def test_a_count_fits_the_ledger():
    """The largest count is the ledger's largest integer, with room; one more is refused."""
    grid = Grid(listing("spot", tick=Decimal(1)))
    assert COUNT_MAX == grid.ticks(Decimal(COUNT_MAX))
    assert grid.ticks(Decimal(COUNT_MAX + 1)) is None
    assert 2**63 > COUNT_MAX


@pytest.mark.parametrize(
    ("kind", "multiplier", "ticks", "lots", "value", "maker_fee", "taker_fee", "currency"),
    [
        ("spot", "1", 120_001, 3, "180.0015", "0.0360003", "0.09000075", "USDT"),
        ("linear", "0.01", 120_000, 5_000, "3000", "0.6", "1.5", "USDT"),
        ("inverse", "10", 120_000, 6_000, "0.001", "0.0000002", "0.0000005", "BTC"),
        ("inverse", "100", 120_000, 1_000, "0.00166667", "0.00000033", "0.00000083", "BTC"),  # 0.001666…
    ],
)
def test_what_a_trade_is_worth(  # noqa: PLR0917 - one column each
    kind, multiplier, ticks, lots, value, maker_fee, taker_fee, currency
):
    """Worked by hand: price * quantity * multiplier, or quantity * multiplier / price, and the fees on it."""
    grid = Grid(listing(kind, multiplier=Decimal(multiplier)))
    assert Decimal(value) == grid.value(ticks, lots)
    assert Decimal(maker_fee) == grid.fee(Decimal(value), True)
    assert Decimal(taker_fee) == grid.fee(Decimal(value), False)
    assert (currency, currency) == (grid.currency, grid.fee_currency)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.000025", "0.00000002"), ("0.000035", "0.00000004"), ("0.0000251", "0.00000003"), ("-0.000025", "-0.00000002")],
)
def test_a_fee_is_rounded_half_to_even(value, expected):
    """At 0.1 %: a tie goes to the even digit, on both sides of zero."""
    assert Decimal(expected) == Grid(listing("spot", maker_fee=Decimal("0.001"))).fee(Decimal(value), True)


def test_a_rebate_is_a_fee_below_zero():
    """A venue that pays its makers."""
    assert Decimal("-0.025") == Grid(listing("linear", maker_fee=Decimal("-0.00025"))).fee(Decimal(100), True)


@given(
    kind=st.sampled_from(["spot", "linear", "inverse"]),
    tick=st.integers(1, 10**12),
    lot=st.integers(1, 10**12),
    multiplier=st.integers(1, 10**12),
    ticks=st.integers(1, 10**9),
    lots=st.integers(1, 10**9),
)
@settings(max_examples=200)
def test_no_digit_is_lost_on_any_grid(kind, tick, lot, multiplier, ticks, lots):  # noqa: PLR0917 - one per number
    """Nine decimals each: far more than the 28 digits that Decimals usually have."""
    unit = Decimal("1E-9")
    made = listing(kind, tick=tick * unit, lot=lot * unit, multiplier=multiplier * unit, depth=Decimal(10**9))
    grid = Grid(made)
    assert (ticks, lots) == (grid.ticks(grid.price(ticks)), grid.lots(grid.quantity(lots)))
    assert Fraction(made.tick) * ticks == Fraction(grid.price(ticks))
    size = Fraction(made.lot) * lots * Fraction(made.multiplier)
    price = Fraction(made.tick) * ticks
    if kind == "inverse":
        assert abs(Fraction(grid.value(ticks, lots)) - size / price) <= Fraction(1, 2 * 10**8)
    else:
        assert size * price == Fraction(grid.value(ticks, lots))


@given(atoms=st.integers(-(10**50), 10**50))
def test_atoms_and_decimals_are_the_same_money(atoms):
    """There and back without a loss."""
    assert atoms == to_atoms(to_decimal(atoms))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1E-28"])
def test_what_is_no_money_is_refused(amount):
    """Finer than an atom, or no number at all."""
    with pytest.raises(ValueError, match="is no amount"):
        to_atoms(Decimal(amount))


@pytest.mark.parametrize(("kind", "multiplier"), [("linear", "0.01"), ("inverse", "10")])
def test_an_average_price_is_the_price_of_one_trade(kind, multiplier):
    """Also of a single inverse contract, whose value in money has few digits left."""
    grid = Grid(listing(kind, multiplier=Decimal(multiplier)))
    for ticks, lots in ((120_001, 1), (120_001, -1), (3, 7), (9_999_999, 1)):
        cost = grid.cost_atoms(ticks, abs(lots)) * (1 if lots > 0 else -1)
        assert grid.price(ticks) == grid.average_price(cost, lots)
    assert grid.average_price(0, 0) is None
