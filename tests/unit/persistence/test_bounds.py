"""What may wait, what follows, and which orders pass a halt: pure, so all of it is tried here."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.persistence.bounds import Bounds, Exposure, Waiting, reduces

AMOUNTS = st.decimals(min_value="0.001", max_value=1000, places=3)
SIGNED = st.decimals(min_value=-1000, max_value=1000, places=3)


@pytest.mark.parametrize("waiting", [Waiting(0, 0), Waiting(1_000, 0), Waiting(500, 500), Waiting(0, 50)])
def test_within_the_bounds_nothing_is_said(waiting):
    """The bound itself is still within."""
    assert "" == Bounds(1_000, 2_000, "halt").excess(waiting)


@pytest.mark.parametrize(("policy", "follows"), [("halt", "no new orders until it is less"), ("continue", "trades on")])
def test_past_a_bound_the_value_the_bound_and_the_cure_are_named(policy, follows):
    """What waits in memory counts, and has a bound of its own before anything is lost."""
    bounds = Bounds(1_000, 400, policy)
    for_the_database = bounds.excess(Waiting(900, 101))
    assert for_the_database.startswith("1,001 bytes wait for the database, more than persistence.unshipped_bytes_max")
    assert "(1,000)" in for_the_database
    assert "get the database back" in for_the_database
    for_the_disk = bounds.excess(Waiting(0, 201))
    assert for_the_disk.startswith("201 bytes wait in memory for the disk of the log, 400 fit")
    assert for_the_disk.endswith("; free space")
    assert follows in for_the_database
    assert follows in for_the_disk


@given(held=SIGNED, working=AMOUNTS | st.just(Decimal(0)), quantity=AMOUNTS, is_buy=st.booleans())
def test_what_passes_a_halt_ends_nearer_to_flat(held, working, quantity, is_buy):
    """Whatever else of its side is filled before it: the position shrinks and keeps its sign, or is flat."""
    passes = reduces(is_buy=is_buy, quantity=quantity, reduce_only=False, exposure=Exposure(held, working))
    after = held + (quantity + working if is_buy else -quantity - working)
    assert passes == (abs(after) < abs(held) and after * held >= 0)


@given(held=SIGNED, working=AMOUNTS, quantity=AMOUNTS, is_buy=st.booleans())
def test_reduce_only_is_the_venues_promise(held, working, quantity, is_buy):
    """It always passes: the venue itself lets it make nothing larger."""
    assert reduces(is_buy=is_buy, quantity=quantity, reduce_only=True, exposure=Exposure(held, working))
