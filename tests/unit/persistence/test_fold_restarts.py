"""Positions that a restart tells again, as nobody's, cut off or not at all, are counted once."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from journal_store import JournalStore
from position_histories import ASSETS, LINEAR, PositionLives, instrument_record

from nautilus_ext.persistence import position_ledger
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)

# A strategy claims a life that was nobody's, and what the venue held before is opened as nobody's at the same moment.
CLAIMED_SEEDS = (2, 28, 114, 119, 121, 160, 228, 16148945)


class Restarts:
    """Lives over several runs, each shipped by a ledger that begins with the tables."""

    def __init__(self, seed: int = SEED, strategies: int = 1) -> None:
        print(f"FOLD_SEED={seed}")
        self.rng = random.Random(seed)
        self.run, self.seq = 1, 0
        self.lives = PositionLives(self.rng, self.number, strategies)
        self.lives.define()
        self.store = JournalStore()

    def number(self) -> tuple[int, int]:
        self.seq += 1
        return self.run, self.seq

    def trade(self, times: int) -> Restarts:
        for _ in range(times):
            self.lives.trade(netting=True)
        return self.ship()

    def restart(self, first: int = 1, *, is_claimed: bool = False) -> Restarts:
        self.run, self.seq = self.run + 1, 0
        self.lives.tell_again(first, is_claimed=is_claimed)
        self.lives.hold()
        return self.ship()

    def ship(self) -> Restarts:
        records, self.lives.records = self.lives.records, []
        ledger = Ledger("b")
        while records:
            size = self.rng.randrange(1, 20)
            self.store.ship(ledger, records[:size])
            records = records[size:]
        return self

    def told_otherwise(self, kind: str, ts_ns: int, changes: dict[str, Any]) -> Record:
        """Return what was told first as the run tells it now, with other words."""
        first = next(row for row in self.store.journal.values() if row.type == "PositionOpened")
        body = msgspec.json.decode(first.payload) | changes
        return Record(*self.number(), kind, ts_ns, ts_ns, msgspec.json.encode(body))

    def open_rows(self) -> list[Any]:
        return [row for row in self.store.rows("positions") if row.side != "FLAT"]

    def net(self) -> dict[tuple[str, str], Decimal]:
        net: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in self.open_rows():
            net[row.account_id, row.instrument_id] += row.signed_quantity
        return net

    def asset(self, asset_key: str) -> Any:
        return self.store.tables["unified_positions"][asset_key,]


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position_ledger, "CLOSED_POSITIONS_MAX", 2)


def test_what_nobody_claims_after_a_restart_stays_with_whom_it_was() -> None:
    """The same rows, quantities and profits after two restarts, whoever is told to have them."""
    book = Restarts().trade(150)
    before = {key: row._replace(run=0, seq=0) for key, row in book.store.tables["positions"].items()}
    sums = [book.asset(key)[:11] for key in ASSETS.values()]
    for is_claimed in (False, True, False):
        book.restart(is_claimed=is_claimed)
        assert before == {key: row._replace(run=0, seq=0) for key, row in book.store.tables["positions"].items()}
        assert sums == [book.asset(key)[:11] for key in ASSETS.values()]
        assert book.lives.net() == book.net()


def test_a_life_that_began_as_nobodys_stays_so() -> None:
    """What a node heard of first by its reconciliation keeps that owner when it is claimed later."""
    heard = Restarts().ship()
    heard.lives.fills = Restarts().trade(40).lives.fills
    heard.restart().restart(is_claimed=True)
    assert {"EXTERNAL"} == {row.strategy_id for row in heard.store.rows("positions")}
    assert heard.lives.net() == heard.net()


@pytest.mark.parametrize("seed", [*CLAIMED_SEEDS, SEED])
def test_what_is_cut_off_by_the_lookback_is_not_held_twice(seed: int) -> None:
    """The node holds what it says after its reconciliation, at each pair where it holds anything."""
    book = Restarts(seed, strategies=2).trade(60)
    for _ in range(4):
        book.restart(book.rng.randrange(1, len(book.lives.fills) + 1), is_claimed=book.rng.random() < 0.5)
        held = book.lives.net()
        assert held == {pair: amount for pair, amount in book.net().items() if pair in held}
        book.trade(10)


@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_a_claimed_life_ends_by_the_id_under_which_its_run_has_it(*, is_begun_anew: bool) -> None:
    """Not by what is opened at that moment under the id that its row keeps; adjustments find it by the same id."""
    book, claimed = Restarts().trade(1), {"strategy_id": "S-9", "position_id": "P-9"}
    (told,) = book.open_rows()
    change = {"adjustment_type": "FUNDING", "pnl_change": f"-2.5 {told.currency}"}
    book.run, book.seq = 2, 0
    for kind, ts_ns, changes in (
        ("PositionOpened", 1_000, claimed),
        ("PositionOpened", 1_000, {"opening_order_id": "O-nobody"}),
        ("PositionAdjusted", 2_000, claimed | change),
        ("PositionOpened", 3_000, claimed | {"opening_order_id": "O-turn"}),
    ):
        book.lives.records.append(book.told_otherwise(kind, ts_ns, changes))
        if is_begun_anew:
            book.ship()
    book.ship()
    assert ["O-nobody", "O-turn"] == [row.opening_order_id for row in book.open_rows()]
    (ended,) = [row for row in book.store.rows("positions") if row.side == "FLAT"]
    assert ("O-turn", 3_000, told.realized_pnl - Decimal("2.5")) == (
        ended.closing_order_id,
        ended.closed_ns,
        ended.realized_pnl,
    )


def test_a_pair_of_which_the_node_holds_nothing_stays_as_it_is() -> None:
    """A spot holding that no venue tells again stays in the tables, and what is bought later adds up."""
    book = Restarts().trade(60)
    before = book.net()
    book.run, book.seq, book.lives.positions = 2, 0, {}
    book.lives.hold()
    book.ship()
    assert before == book.net()
    book.trade(1)
    ((pair, amount),) = book.lives.net().items()
    assert before | {pair: before.get(pair, 0) + amount} == book.net()


def test_a_life_that_a_later_run_does_not_hold_ends_with_what_it_said() -> None:
    """It is flat from then on, no order closed it, and it keeps its realized profit."""
    book = Restarts().trade(60)
    before = {row[1:6]: row for row in book.open_rows()}
    book.restart(len(book.lives.fills))
    now = {row[1:6]: row for row in book.store.rows("positions")}
    gone = [now[key] for key in before if now[key].side == "FLAT" and now[key].closing_order_id is None]
    assert gone
    held = next(row for row in book.store.journal.values() if row.type == "Held")
    for row in gone:
        assert (2, held.seq, held.ts_event, 0) == (row.run, row.seq, row.closed_ns, row.signed_quantity)
        assert before[row[1:6]].realized_pnl == row.realized_pnl


def test_a_clock_that_went_back_between_runs_does_not_count() -> None:
    """The newer run's telling replaces the row; a new life "opened before" the old one stands beside it."""
    book = Restarts().trade(1)
    (old,) = book.open_rows()
    (told,) = [row for row in book.store.journal.values() if row.type == "PositionOpened"]
    body = msgspec.json.decode(told.payload)
    again = Record(2, 1, "PositionChanged", 4, 4, msgspec.json.encode(body | {"quantity": "9", "ts_opened": 1_000}))
    earlier = Record(3, 1, "PositionOpened", 5, 5, msgspec.json.encode(body | {"opening_order_id": "O-new"}))
    book.lives.records = [again, earlier]
    book.ship()
    rows = [(row.opening_order_id, row.quantity, row.run) for row in book.open_rows()]
    assert [(old.opening_order_id, 9, 2), ("O-new", old.quantity, 3)] == rows


def test_an_asset_key_that_changes_takes_its_positions_along() -> None:
    """Out of the sums of the old key, into those of the new one, also for a ledger that begins afterwards."""
    book = Restarts().trade(80)
    before = book.asset("PERPETUAL:BTC-USDT")
    book.run, book.seq = 2, 0
    book.lives.records = [instrument_record(LINEAR, "PERPETUAL:NEW", book.number())]
    book.restart()
    old, new = book.asset("PERPETUAL:BTC-USDT"), book.asset("PERPETUAL:NEW")
    assert (0, None, 0) == (old.aggregated_quantity, old.average_entry_price, old.realized_pnl)
    assert before[3:11] == new[3:11]
    book.trade(40)
    assert old == book.asset("PERPETUAL:BTC-USDT")
    realized = sum(row.realized_pnl for row in book.store.rows("positions") if row.asset_key == "PERPETUAL:NEW")
    assert realized == book.asset("PERPETUAL:NEW").realized_pnl
