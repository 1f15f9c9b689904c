"""Positions in the tables are Nautilus's own, in base units, added up per asset, at the newest price."""

from __future__ import annotations

import itertools
import os
import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from journal_store import JournalStore
from nautilus_trader.model.objects import Price
from position_histories import ASSETS, INVERSE, LINEAR, PositionLives, instrument_record

from nautilus_ext.persistence import position_ledger
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)
MARK = {LINEAR: "20500.5", INVERSE: "19000.5"}


class Book:
    """Lives of positions, shipped in small batches by a ledger that keeps next to nothing in memory."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sequence = itertools.count(1)
        self.lives = PositionLives(self.rng, self.number)
        self.lives.define()
        self.store, self.ledger = JournalStore(), Ledger("b")

    def number(self) -> tuple[int, int]:
        return 1, next(self.sequence)

    def trade(self, times: int) -> Book:
        for _ in range(times):
            self.lives.trade(netting=self.rng.random() < 0.5)
        return self.ship()

    def ship(self, *more: Record) -> Book:
        records = [*self.lives.records, *more]
        self.lives.records = []
        while records:
            size = self.rng.randrange(1, 20)
            self.store.ship(self.ledger, records[:size])
            records = records[size:]
        return self

    def mark(self) -> Book:
        marks = [(instrument.id.value, price, 1_000) for instrument, price in MARK.items()]
        return self.ship(Record(1, 0, "Marks", 0, 0, msgspec.json.encode({"marks": marks})))

    def parts(self) -> list[Any]:
        return list(self.store.rows("positions"))

    def asset(self, asset_key: str) -> Any:
        return self.store.tables["unified_positions"][asset_key,]

    def open_positions(self, instrument: Any) -> list[Any]:
        return [p for p in self.lives.positions.values() if p.is_open and p.instrument_id == instrument.id]


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position_ledger, "CLOSED_POSITIONS_MAX", 2)


@pytest.fixture
def book() -> Book:
    print(f"FOLD_SEED={SEED}")
    return Book(SEED).trade(300)


def base_of(position: Any) -> Decimal:
    signed = position.quantity.as_decimal() * (1 if position.side.name == "LONG" else -1)
    return signed / Decimal(str(position.avg_px_open)) if position.is_inverse else signed


def test_open_rows_are_the_open_positions_of_nautilus(book: Book) -> None:
    """Hedging and netting, flips, partial closes, two accounts and two strategies."""
    expected = {
        (p.account_id.value, p.id.value, p.opening_order_id.value, p.side.name, p.quantity.as_decimal(), p.ts_opened)
        for p in book.lives.positions.values()
        if p.is_open
    }
    actual = {
        (r.account_id, r.position_id, r.opening_order_id, r.side, r.quantity, r.opened_ns)
        for r in book.parts()
        if r.side != "FLAT"
    }
    assert expected == actual
    assert len(expected) > 5


def test_an_asset_adds_up_its_open_parts_in_base_units(book: Book) -> None:
    """Quantity, breakdown by venue, and the average entry of the side that is left; contracts at their entry."""
    for instrument, asset_key in ASSETS.items():
        row, held = book.asset(asset_key), book.open_positions(instrument)
        net = sum(map(base_of, held), Decimal(0))
        assert pytest.approx(net) == row.aggregated_quantity
        assert "BTC" == row.base_asset
        by_venue = {venue: Decimal(amount) for venue, amount in msgspec.json.decode(row.venue_positions).items()}
        assert ({instrument.id.venue.value: row.aggregated_quantity} if held else {}) == by_venue
        assert dict.fromkeys(by_venue, "NAUTILUS") == msgspec.json.decode(row.venue_types)
        side = [p for p in held if (base_of(p) > 0) == (net > 0)]
        if net:
            cost = sum((base_of(p) * Decimal(str(p.avg_px_open)) for p in side), Decimal(0))
            assert pytest.approx(cost / sum(map(base_of, side))) == row.average_entry_price


def test_realized_profit_counts_every_life_of_a_position(book: Book) -> None:
    """Closed ones that left the memory, and those that an order opened twice."""
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for (instrument_id, *_), amount in book.lives.realized.items():
        expected[instrument_id] += amount
    for instrument, asset_key in ASSETS.items():
        row = book.asset(asset_key)
        assert expected[instrument.id.value] == row.realized_pnl
        assert instrument.get_settlement_currency().code == row.pnl_currency


def test_sums_begin_again_where_they_were(book: Book) -> None:
    """A ledger that forgot everything goes on with the same sums."""
    before = [book.asset(asset_key) for asset_key in ASSETS.values()]
    twin = Book(SEED).trade(300)
    for each in (book, twin):
        each.trade(50)
        each.ledger.forget() if each is book else None
        each.trade(50)
    assert [twin.asset(key) for key in ASSETS.values()] == [book.asset(key) for key in ASSETS.values()]
    assert before != [book.asset(key) for key in ASSETS.values()]


def test_marks_price_open_parts_and_their_asset_without_a_trade(book: Book) -> None:
    """Linear in the settlement currency; inverse in the base currency, as Nautilus computes both."""
    journal = dict(book.store.journal)
    book.mark()
    assert journal == book.store.journal
    for instrument, price in MARK.items():
        held = book.open_positions(instrument)
        open_rows = [r for r in book.parts() if r.instrument_id == instrument.id.value and r.side != "FLAT"]
        assert {(Decimal(price), 1_000)} == {(r.current_price, r.marked_ns) for r in open_rows}
        expected = sum(p.unrealized_pnl(Price.from_str(price)).as_double() for p in held)
        row = book.asset(ASSETS[instrument])
        assert pytest.approx(expected, abs=1e-6) == float(row.unrealized_pnl)
        assert pytest.approx(sum(r.unrealized_pnl for r in open_rows)) == row.unrealized_pnl
        assert Decimal(price) == row.current_price


def test_a_mark_stays_when_the_position_changes_and_goes_when_it_is_flat(book: Book) -> None:
    """A fill reprices at the last mark; a flat position has neither price nor unrealized profit."""
    book.mark().trade(20)
    linear = [row for row in book.parts() if row.side != "FLAT" and row.instrument_id == LINEAR.id.value]
    assert linear
    assert None not in {row.current_price for row in linear}
    for row in book.parts():
        if row.side == "FLAT":
            assert (None, None, None) == (row.current_price, row.marked_ns, row.unrealized_pnl)
        elif row.current_price is not None and not row.is_inverse:
            assert row.signed_quantity * (row.current_price - row.average_entry_price) == row.unrealized_pnl


def test_an_older_mark_changes_nothing(book: Book) -> None:
    """Marks are no records of the journal: their own time orders them."""
    book.mark()
    before = book.parts()
    older = {"marks": [(instrument.id.value, "1.0", 999) for instrument in MARK]}
    book.ship(Record(1, 0, "Marks", 0, 0, msgspec.json.encode(older)))
    assert before == book.parts()


def test_profit_of_two_currencies_is_not_added_up() -> None:
    """One asset key over a linear and an inverse listing: quantities add up in base units, money does not."""
    book = Book(SEED)
    book.lives.records = [instrument_record(each, "PERPETUAL:BTC", book.number()) for each in (LINEAR, INVERSE)]
    book.trade(60)
    row = book.asset("PERPETUAL:BTC")
    assert (None, None, None) == (row.pnl_currency, row.realized_pnl, row.unrealized_pnl)
    open_rows = [r for r in book.parts() if r.side != "FLAT" and r.asset_key == row.asset_key]
    assert {r.venue for r in open_rows} == set(msgspec.json.decode(row.venue_positions))


def test_an_order_that_opens_a_position_twice_in_a_nanosecond_has_two_lives() -> None:
    """Both keep their realized profit, also after a restart in the middle of the second one."""
    book = Book(SEED)
    said = msgspec.json.decode(Book(1).trade(1).store.journal[1, 4].payload) | {
        "instrument_id": LINEAR.id.value,
        "realized_pnl": "-1.00000000 USDT",
    }
    flat = said | {"side": "FLAT", "quantity": "0", "closing_order_id": "O-9", "ts_opened": 5, "ts_closed": 5}
    book.lives.records += [snapshot(book, "PositionOpened", said), snapshot(book, "PositionClosed", flat)]
    book.lives.records += [snapshot(book, "PositionOpened", said)]
    book.ship()
    book.ledger.forget()
    book.lives.records += [snapshot(book, "PositionChanged", said | {"ts_opened": 5})]
    book.lives.records += [snapshot(book, "PositionClosed", flat)]
    book.ship()
    assert [("FLAT", 5), ("FLAT", 6)] == sorted((row.side, row.opened_ns) for row in book.parts())
    assert Decimal(-2) == book.asset("PERPETUAL:BTC-USDT").realized_pnl


def test_a_later_run_that_tells_the_same_lives_again_changes_no_sum(book: Book) -> None:
    """A reconciliation replays orders of earlier runs, and with them positions, also those that are open."""
    told = [row for row in book.store.journal.values() if row.type.startswith("Position")]
    for run in (2, 3):
        before = {key: row._replace(run=run, seq=0) for key, row in book.store.tables["positions"].items()}
        sums = [book.asset(key)[:10] for key in ASSETS.values()]
        book.ledger.forget()
        again = [Record(run, seq, row.type, row.ts_event, row.ts_init, row.payload) for seq, row in enumerate(told, 1)]
        book.lives.records = again
        book.ship()
        after = {key: row._replace(seq=0) for key, row in book.store.tables["positions"].items()}
        assert before == after
        assert sums == [book.asset(key)[:10] for key in ASSETS.values()]


def snapshot(book: Book, kind: str, body: dict[str, Any]) -> Record:
    return Record(*book.number(), kind, 5, 5, msgspec.json.encode(body))


def test_an_adjustment_changes_the_open_position_until_the_next_snapshot() -> None:
    """Nautilus 1.231 publishes none; a component of the user's own may, for funding."""
    book = Book(SEED).trade(100)
    while not (found := [r for r in book.parts() if r.side == "LONG" and r.instrument_id == LINEAR.id.value]):
        book.trade(1)
    before = found[0]
    body = {
        "strategy_id": before.strategy_id,
        "instrument_id": before.instrument_id,
        "position_id": before.position_id,
        "account_id": before.account_id,
        "adjustment_type": "FUNDING",
        "quantity_change": "-0.001",
        "pnl_change": "-2.50000000 USDT",
        "reason": "funding",
        "event_id": "E-1",
    }
    realized = book.asset(before.asset_key).realized_pnl
    number = book.number()
    book.ship(Record(*number, "PositionAdjusted", 9, 9, msgspec.json.encode(body)))
    book.ship(Record(*number, "PositionAdjusted", 9, 9, msgspec.json.encode(body)))
    after = next(r for r in book.parts() if r[:6] == before[:6] and r.opened_ns == before.opened_ns)
    assert before.signed_quantity - Decimal("0.001") == after.signed_quantity
    assert before.realized_pnl - Decimal("2.5") == after.realized_pnl
    assert realized - Decimal("2.5") == book.asset(before.asset_key).realized_pnl
