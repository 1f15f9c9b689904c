"""The world of a server, the rows of its ledger, and what a request must look like."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from nautilus_ext.simulation import default_listings, default_market, wire
from nautilus_ext.simulation.exchange.orders import (
    Accepted,
    AccountChanged,
    AccountState,
    AccountTerms,
    Balance,
    Fill,
    Filled,
    OrderState,
    PositionState,
)
from nautilus_ext.simulation.faults import Faults
from nautilus_ext.simulation.server import ledger, tables
from nautilus_ext.simulation.server.ledger import Ledger, LedgerError
from nautilus_ext.simulation.server.requests import is_countable, is_id, number_from
from nautilus_ext.simulation.world import VenueTerms, World, broken_promises, from_json

SPOT = "BTCUSDT.SIM1"
TERMS = AccountTerms(account="a", kind="MARGIN", starting_balances={"USDT": Decimal("1E+3")}, leverage=Decimal("2.5"))
ORDER = OrderState(
    venue_order_id="SIM1-7",
    client_order_id="c 7",
    account="a",
    instrument_id=SPOT,
    side="SELL",
    type="STOP_LIMIT",
    time_in_force="GTD",
    quantity=Decimal("1.50"),
    filled=Decimal("0.25"),
    status="PARTIALLY_FILLED",
    ts_accepted_ns=1,
    ts_last_ns=2,
    average_price=Decimal("3E+2"),
    price=Decimal("300.10"),
    trigger_price=Decimal(301),
    expire_ns=2**62,
    post_only=True,
    reduce_only=True,
    display_quantity=Decimal("0.5"),
    parent_id="c 6",
    linked_ids=("c,8", 'c"9'),
    contingency="OUO",
    held=True,
    triggered=True,
    reason="CODE: a=1",
    priority=99,
    ordered=Decimal(2),
    shown=Decimal("0.25"),
)
FILL = Fill(
    trade_id="SIM1-T1",
    match_id=4,
    venue_order_id="SIM1-7",
    client_order_id="c 7",
    account="a",
    instrument_id=SPOT,
    side="SELL",
    quantity=Decimal("0.25"),
    price=Decimal("300.10"),
    fee=Decimal("-0.00000001"),
    fee_currency="USDT",
    maker=True,
    ts_ns=2,
)
POSITION = PositionState(
    account="a",
    instrument_id=SPOT,
    quantity=Decimal("-0.25"),
    average_price=None,
    cost=Decimal("-75.025"),
    realized=Decimal("1E-27"),
    ts_last_ns=2,
)


def state(*balances: Balance) -> AccountChanged:
    return AccountChanged(AccountState(account="a", kind="MARGIN", balances=balances, margins=(), ts_ns=3), (POSITION,))


# -- the world ----------------------------------------------------------------------------------------


def test_a_world_is_the_same_after_json():
    """With its digest, in which how long a server lingers has no part, and everything else has."""
    world = World(market=default_market(seed=9), venues=(VenueTerms(name="SIM2", latency_ms=3, faults=Faults(seed=1)),))
    assert from_json(world.to_json()) == world
    assert msgspec.structs.replace(world, linger_s=1.0).digest == world.digest
    others = [
        World(market=default_market(seed=8), venues=world.venues),
        World(market=default_market(seed=9)),
        World(market=default_market(seed=9), venues=(VenueTerms(name="SIM2", latency_ms=4, faults=Faults(seed=1)),)),
    ]
    assert len({world.digest, *(other.digest for other in others)}) == 4


def test_a_venue_without_terms_has_the_usual_ones():
    """All venues of the market are there, by name."""
    world = World(market=default_market(), venues=(VenueTerms(name="SIM2", latency_ms=3),))
    assert [(terms.name, terms.latency_ms) for terms in world.terms()] == [("SIM1", 0), ("SIM2", 3), ("SIM3", 0)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: VenueTerms(name="SIM1", latency_ms=-1),
        lambda: VenueTerms(name="SIM1", levels=0),
        lambda: World(market=default_market(), venues=(VenueTerms(name="NOWHERE"),)),
        lambda: World(market=default_market(), venues=(VenueTerms(name="SIM1"), VenueTerms(name="SIM1"))),
        lambda: World(market=default_market(), linger_s=float("nan")),
    ],
)
def test_a_world_that_makes_no_sense_is_refused(wrong):
    """With the value in the message."""
    with pytest.raises(ValueError, match=r"SIM1|NOWHERE|linger_s"):
        wrong()


def test_only_listings_in_use_bind_a_new_world():
    """And only by what orders and positions are counted in."""
    old = World(market=default_market())
    changed = [
        msgspec.structs.replace(each, lot=each.lot * 2, spread_ticks=7) if each.instrument_id == SPOT else each
        for each in default_listings()
    ]
    new = World(market=default_market(changed))
    without = World(market=default_market(changed[1:]))
    assert broken_promises(old, new, set()) == []
    assert broken_promises(old, new, {"ETHUSDT.SIM1"}) == []
    assert broken_promises(old, new, {SPOT}) == [f"{SPOT}: lot was 0.00001 and is now 0.00002"]
    assert broken_promises(old, without, {SPOT}) == [f"{SPOT} is gone"]


def test_the_server_loads_neither_the_engine_nor_parquet():
    """It starts in a fraction of a second."""
    code = (
        "import sys, nautilus_ext.simulation.server.process, nautilus_ext.simulation.server.launch;"
        "print([name for name in ('nautilus_trader', 'pandas', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the ledger ---------------------------------------------------------------------------------------


def test_rows_are_whole_and_come_back_the_same(tmp_path):
    """Every field of an order, a fill and a position has a column, to the last digit and in its own writing."""
    book = Ledger(tmp_path)
    book.open_account("SIM1", TERMS, 1)
    account = book.accounts["SIM1", "a"]
    events = (Accepted(ORDER), Filled(ORDER, FILL), state(Balance("USDT", Decimal("1E-8"), Decimal(0))))
    for event in events:
        account.seq += 1
        book.append(account, "SIM1", event, 5, wire.encoded(wire.StreamItem(seq=account.seq, event=event)))
    book.close()
    book = Ledger(tmp_path)
    account = book.accounts["SIM1", "a"]
    assert (account.terms, account.seq, book.run) == (TERMS, 3, 2)
    assert book.open_orders("SIM1") == [ORDER]
    assert str(book.open_orders("SIM1")[0].average_price) == "3E+2"
    assert book.orders("SIM1", "a", wire.GetOrders(request=1), 10) == [ORDER]
    assert book.fills("SIM1", "a", wire.GetFills(request=1), 10) == [FILL]
    assert book.positions("SIM1", "a", {SPOT}) == [POSITION]
    assert book.positions("SIM1", "a", set()) == []
    assert book.account_state("SIM1", TERMS).balances == (Balance("USDT", Decimal("1E-8"), Decimal(0)),)
    items = [msgspec.msgpack.decode(body, type=wire.StreamItem) for _, _, body in book.items_after(account, 0, 9)]
    assert [item.event for item in items] == list(events)
    assert book.is_known("SIM1", "a", "c 7")
    assert not book.is_known("SIM1", "b", "c 7")
    book.close()


def test_what_was_not_committed_never_was(tmp_path):
    """A ledger that is left without a commit has nothing of it."""
    book = Ledger(tmp_path)
    book.open_account("SIM1", TERMS, 1)
    book.commit()
    account = book.accounts["SIM1", "a"]
    account.seq += 1
    book.append(account, "SIM1", Accepted(ORDER), 5, b"")
    assert book.is_known("SIM1", "a", "c 7"), "it is known at once"
    assert len(book.orders("SIM1", "a", wire.GetOrders(request=1), 10)) == 1, "and read at once"
    book._sql.close()
    again = Ledger(tmp_path)
    assert (again.accounts["SIM1", "a"].seq, again.open_orders("SIM1")) == (0, [])
    again.close()


def test_a_stream_keeps_its_last_items(tmp_path, monkeypatch):
    """The oldest go, in parts; the numbers go on."""
    monkeypatch.setattr(ledger, "STREAM_ITEMS_KEPT", 100)
    monkeypatch.setattr(ledger, "TRIM_EVERY", 10)
    book = Ledger(tmp_path)
    book.open_account("SIM1", TERMS, 1)
    account = book.accounts["SIM1", "a"]
    for _ in range(255):
        account.seq += 1
        book.append(account, "SIM1", Accepted(ORDER), 5, b"")
        book.commit()
    assert book.first_kept(account) == 151
    assert [seq for seq, _, _ in book.items_after(account, 0, 3)] == [151, 152, 153]
    book.close()
    again = Ledger(tmp_path)
    assert again.accounts["SIM1", "a"].seq == 255
    again.close()


def test_a_ledger_of_another_version_or_kind_is_refused(tmp_path):
    """With its place and the cure."""
    book = Ledger(tmp_path)
    book._sql.execute(f"PRAGMA user_version = {tables.SCHEMA + 1}")
    book.close()
    with pytest.raises(LedgerError, match=r"exchange.sqlite has tables of version .*: move the folder away"):
        Ledger(tmp_path)
    (tmp_path / ledger.FILE).write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="move the folder away"):
        Ledger(tmp_path)


# -- requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [("1", True), ("0.000000000000000001", True), ("123456789012345678", True), ("1E+17", True)]
    + [(text, False) for text in ("NaN", "sNaN", "Infinity", "1E+18", "1E-19", "1E+999999", "-1E+18", "x", "")],
)
def test_a_number_is_countable_or_refused(text, is_fine):
    """At most 18 digits on each side of the point: nothing that takes an age to compute with."""
    assert isinstance(number_from(text), Decimal) == is_fine
    if is_fine:
        assert is_countable(Decimal(text))


def test_an_id_is_short_and_printable():
    """64 characters at most, no control characters."""
    assert [is_id(text) for text in ("a", "x" * 64, "ü 1", "", "x" * 65, "a\n", "\x00")] == [True] * 3 + [False] * 4


def test_every_message_is_told_by_its_name():
    """The names are what stands in `type`, and no two messages share one."""
    unions = [wire.AnyRequest, wire.AnyAnswer, wire.Unasked]
    names = [kind.__name__ for union in unions for kind in get_args(union.__value__)]
    assert len(set(names)) == len(names)
    assert msgspec.msgpack.decode(wire.encoded(wire.Done(request=3))) == {"type": "Done", "request": 3}
