"""The tables of one book in memory, written and read as the shipper does it: what a ledger is told to load."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nautilus_ext.persistence import rows
from nautilus_ext.persistence.ledger import Changes, Ledger, Needs, Start
from nautilus_ext.persistence.positions import life_of
from nautilus_ext.persistence.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


TABLES = ("orders", "fills", "positions", "unified_positions", "accounts", "instruments")


class JournalStore:
    def __init__(self) -> None:
        self.journal: dict[tuple[int, int], rows.JournalRow] = {}
        self.tables: dict[str, dict[tuple[Any, ...], Any]] = {name: {} for name in TABLES}
        self.rejected: list[Any] = []

    def ship(self, ledger: Ledger, batch: Sequence[Record]) -> Changes:
        """Do one transaction."""
        needs = ledger.needs(batch)
        if needs:
            self.load(ledger, needs)
        changes = ledger.apply(batch)
        self.write(changes)
        return changes

    def load(self, ledger: Ledger, needs: Needs) -> None:
        wanted, lives = set(needs.orders), set(map(life_of, needs.positions))
        ledger.load(
            needs,
            start=self.start() if needs.start else None,
            order_records=[_record(row) for row in self.journal.values() if row.client_order_id in wanted],
            position_rows=[row for row in self.tables["positions"].values() if life_of(row) in lives],
        )

    def start(self) -> Start:
        realized: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in self.tables["positions"].values():
            if row.asset_key is not None:
                realized[row.asset_key, row.currency] += row.realized_pnl
        return Start(
            instruments=self.tables["instruments"].values(),
            open_positions=[row for row in self.tables["positions"].values() if row.side != "FLAT"],
            unified_positions=self.tables["unified_positions"].values(),
            realized=[(*key, amount) for key, amount in realized.items()],
            told_as=[(row.run, row.seq, row.strategy_id, row.position_id) for row in self.told_last()],
        )

    def told_last(self) -> Iterable[Any]:
        """Return the journal's rows that made those of the open positions."""
        return [self.journal[row.run, row.seq] for row in self.rows("positions") if row.side != "FLAT"]

    def write(self, changes: Changes) -> None:
        for row in changes.journal:
            self.journal.setdefault((row.run, row.seq), row)
        for name, table in self.tables.items():
            new = getattr(changes, name)
            keys = [rows.key_of(row) for row in new]
            assert len(set(keys)) == len(keys), f"{name}: a key twice in one batch"
            for key, row in zip(keys, new, strict=True):
                former = table.get(key)
                if former is None or _replaces(name, former, row):
                    table[key] = row
        self.rejected.extend(changes.rejected)

    def rows(self, name: str) -> Iterable[Any]:
        return self.tables[name].values()


def _replaces(name: str, former: Any, row: Any) -> bool:
    if name == "fills":  # the oldest record of a trade id wins
        return (former.run, former.seq) >= (row.run, row.seq)
    return (former.run, former.seq) <= (row.run, row.seq)


def _record(row: rows.JournalRow) -> Record:
    return Record(row.run, row.seq, row.type, row.ts_event, row.ts_init, row.payload)
