"""A ledger ends with the same rows whatever batches, repetitions, delays and restarts the records came through."""

from __future__ import annotations

import itertools
import os
import random
from typing import Any

import msgspec
import pytest
from journal_store import TABLES, JournalStore
from order_histories import OrderLife
from position_histories import PositionLives

from nautilus_ext.persistence import order_ledger, position_ledger
from nautilus_ext.persistence.comparison import compare
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.projections import fold_order
from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)
ROUNDS = 12


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Push nearly everything out of memory after each batch, so that it has to be loaded again."""
    monkeypatch.setattr(order_ledger, "OPEN_ORDERS_MAX", 4)
    monkeypatch.setattr(order_ledger, "CLOSED_ORDERS_MAX", 2)
    monkeypatch.setattr(position_ledger, "CLOSED_POSITIONS_MAX", 2)


class Numbers:
    """Versions of records: run by run."""

    def __init__(self) -> None:
        self.run, self.seq = 1, 0

    def __call__(self) -> tuple[int, int]:
        self.seq += 1
        return self.run, self.seq

    def restart(self) -> None:
        self.run, self.seq = self.run + 1, 0


def book_of_records(rng: random.Random) -> tuple[list[Record], list[Record]]:
    """Instruments, and the interleaved lives of orders, positions and accounts over three runs.

    A restart forgets nothing, or hears again of orders, and of positions as far back as it asks: claimed or nobody's.
    """
    numbers = Numbers()
    lives = PositionLives(rng, numbers)
    lives.define()
    first = list(lives.records)
    orders = [OrderLife(rng, number, numbers) for number in range(rng.randrange(2, 9))]
    others = [_account(rng, numbers())]
    for run in (1, 2, 3):
        if run > 1:
            numbers.restart()
            told = [record for order in orders for record in order.records] + others
            others += [record._replace(run=run, seq=numbers()[1]) for record in rng.choices(told, k=5)]
            if rng.random() < 0.8:
                lives.tell_again(rng.randrange(1, len(lives.fills) + 1), is_claimed=rng.random() < 0.5)
                lives.hold()
        for _ in range(rng.randrange(4, 30)):
            rng.choice(orders).live(rng.randrange(2))
            lives.trade(netting=rng.random() < 0.7)
        others.append(_account(rng, numbers()))
    records = [record for order in orders for record in order.records] + lives.records[len(first) :] + others
    return first, sorted(records)


def _account(rng: random.Random, number: tuple[int, int]) -> Record:
    account_id = f"BINANCE-00{rng.randrange(2)}"
    body = {
        "account_id": account_id,
        "account_type": "MARGIN",
        "base_currency": None,
        "balances": [{"total": str(rng.randrange(1_000))}],
        "margins": [],
        "reported": True,
        "event_id": f"A-{number}",
    }
    return Record(*number, "AccountState", 1, 1, msgspec.json.encode(body))


def shipped(batches: list[list[Record]], restart: Any = None) -> JournalStore:
    store, ledger = JournalStore(), Ledger("b")
    for batch in batches:
        if restart is not None and restart():
            ledger.forget()
        store.ship(ledger, batch)
    return store


def deliveries(rng: random.Random, first: list[Record], records: list[Record]) -> list[list[Record]]:
    """Cut the records into batches, late and repeated.

    What defines an instrument comes first; a position is not told later than its run, nor than a Held after it.
    """
    delay = rng.choice((0, 3, len(records)))
    ends = [at for at in range(1, len(records)) if records[at].type == "Held" or records[at].run > records[at - 1].run]
    placed: list[tuple[float, Record]] = []
    for at, record in enumerate(records):
        place = at + rng.uniform(0, delay)
        if record.type == "Held":
            place = at
        elif record.type.startswith("Position"):
            place = min(place, next((end for end in ends if end > at), len(records)) - rng.random())
        placed.append((place, record))
    for _ in range(len(records) // 3):
        place, record = rng.choice(placed)
        placed.append((place + rng.uniform(0, delay), record))
    delivered = [record for _, record in sorted(placed, key=lambda each: each[0])]
    batches = [list(first)]
    while delivered:
        size = rng.randrange(1, rng.choice((3, 12, 60)))
        batches.append(delivered[:size])
        delivered = delivered[size:]
    return batches


def test_any_batching_repetition_delay_and_restart_ends_in_the_same_rows() -> None:
    """Against one batch of everything in its order, over every table."""
    print(f"FOLD_SEED={SEED}")
    for turn in range(ROUNDS):
        rng = random.Random(SEED + turn)
        first, records = book_of_records(rng)
        expected = shipped([first + records])
        actual = shipped(deliveries(rng, first, records), lambda rng=rng: rng.random() < 0.2)
        assert expected.journal == actual.journal
        assert not expected.rejected
        assert not actual.rejected
        for name in TABLES:
            assert [] == compare(expected.rows(name), actual.rows(name)), f"{name}, seed {SEED + turn}"


def test_the_rows_of_orders_are_the_fold_of_their_records() -> None:
    """What grew event by event is what `fold_order` makes of the whole journal at once."""
    print(f"FOLD_SEED={SEED}")
    rng = random.Random(SEED)
    first, records = book_of_records(rng)
    store = shipped(deliveries(rng, first, records))
    by_order: dict[str, list[Record]] = {}
    for record in records:
        if record.type.startswith("Order"):
            by_order.setdefault(msgspec.json.decode(record.body)["client_order_id"], []).append(record)
    instruments = {row.instrument_id: row for row in store.rows("instruments")}
    folded = [fold_order("b", each, instruments) for each in by_order.values()]
    assert [] == compare(folded, store.rows("orders"))


def test_a_fill_is_told_by_its_oldest_record() -> None:
    """A trade id that a later run reports again changes no row, in whatever order the two arrive."""
    life = OrderLife(random.Random(1), 0, lambda: (1, 1))
    life.records.clear()
    sequence = itertools.count(1)
    life.take_number = lambda: (1, next(sequence))
    for kind in ("Submitted", "Accepted", "Filled"):
        life.step(kind)
    fill = life.records[-1]
    body = msgspec.json.decode(fill.body) | {"event_id": "again", "last_px": "7.0"}
    again = fill._replace(run=2, seq=1, body=msgspec.json.encode(body))
    for batches in ([life.records, [again]], [[again], life.records]):
        (row,) = shipped(batches).rows("fills")
        assert (1, fill.seq) == (row.run, row.seq)


def test_memory_is_bounded() -> None:
    """After thousands of orders a ledger holds as many as it may, no journal and no events."""
    rng = random.Random(5)
    numbers = ((1, seq) for seq in itertools.count(1))
    store, ledger = JournalStore(), Ledger("b")
    for number in range(40):
        life = OrderLife(rng, number, lambda: next(numbers))
        life.live(8)
        store.ship(ledger, life.records)
    held = ledger._orders
    assert len(held._open) <= order_ledger.OPEN_ORDERS_MAX
    assert len(held._closed) <= order_ledger.CLOSED_ORDERS_MAX
    assert (0, 0, 0, 0) == (len(held._journals), len(held._changed), len(held._late), len(ledger._events))
