"""Are the tables the fold of the journal? One pass over the journal in order, one over each table, chunk by chunk.

The fold is the shipper's own ledger; what it has forgotten it loads again from the part of the journal that it passed.
Archived runs are read from their files. Where a file cannot be used, the rows of its run are taken as they stand.
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.persistence.audit_journal import CHUNK_RECORDS, END
from nautilus_ext.persistence.ledger import Ledger, Needs, Start
from nautilus_ext.persistence.matching import Matching
from nautilus_ext.persistence.positions import life_of
from nautilus_ext.persistence.rows import (
    KEYS,
    AccountRow,
    FillRow,
    InstrumentRow,
    JournalRow,
    OrderRow,
    PositionRow,
    RiskRow,
    RoutingRow,
    UnifiedPositionRow,
    key_of,
)

if TYPE_CHECKING:
    import asyncpg

    from nautilus_ext.persistence.audit_journal import Chunk, Journal
    from nautilus_ext.persistence.audit_node import Sight
    from nautilus_ext.persistence.audit_runs import RunState
    from nautilus_ext.persistence.ledger import Changes
    from nautilus_ext.persistence.matching import Findings
    from nautilus_ext.persistence.positions import PositionKey
    from nautilus_ext.persistence.records import Record

AGAIN_ORDERS = 5_000  # judged in one pass over the files of the archive
TABLES: dict[type, str] = {
    InstrumentRow: "instruments",
    OrderRow: "unified_orders",
    FillRow: "unified_fills",
    PositionRow: "venue_positions",
    UnifiedPositionRow: "unified_positions",
    AccountRow: "account_states",
    RiskRow: "risk_decisions",
    RoutingRow: "routing_decisions",
}


def _columns(row: Any) -> str:
    return ", ".join(f'"{name}"' for name in row._fields)


def _of_book(row: Any, condition: str) -> str:
    return f"SELECT {_columns(row)} FROM {TABLES[row]} WHERE book_id = $1 AND {condition}"  # noqa: S608 - our own names


_UNREAD = "run = ANY($2)"
_LIFE = f"{_UNREAD} AND (account_id, instrument_id, opening_order_id, opened_ns) = ($3, $4, $5, $6)"
_REALIZED = """
    SELECT asset_key, currency, sum(realized_pnl) FROM venue_positions
     WHERE book_id = $1 AND run = ANY($2) AND asset_key IS NOT NULL GROUP BY asset_key, currency"""


class _Frame(msgspec.Struct, gc=False):
    type: Any = None
    ts_event: Any = None
    ts_init: Any = None


_frame = msgspec.json.Decoder(_Frame)


class _Stream:
    """The rows of one table by version, read as far as they are asked for."""

    def __init__(self, kind: Any, cursor: Any) -> None:
        self._kind = kind
        self._cursor = cursor
        self._rows: list[Any] = []
        self._is_over = False

    async def up_to(self, version: tuple[float, float]) -> list[Any]:
        found: list[Any] = []
        while True:
            within = [row for row in self._rows if (row.run, row.seq) <= version]
            found += within
            self._rows = self._rows[len(within) :]
            if self._rows or self._is_over:
                return found
            self._rows = [self._kind(*row) for row in await self._cursor.fetch(CHUNK_RECORDS)]
            self._is_over = len(self._rows) < CHUNK_RECORDS


class Checked(NamedTuple):
    """Rows that were compared, by table."""

    events: int
    rows: dict[str, int]


class TableAudit:
    """Compares the tables of one book inside one snapshot; whoever opened the transaction ends it."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        journal: Journal,
        unread: list[int],
        findings: Findings,
        sight: Sight | None,
    ) -> None:
        """`unread` are the runs of which the journal has no events, neither in the table nor in a file."""
        self._connection = connection
        self._journal = journal
        self._book_id = journal.book_id
        self._unread = unread
        self._findings = findings
        self._sight = sight
        self._ledger = Ledger(journal.book_id)
        self._matchings = {
            kind: Matching(table, findings, keeps_first=kind is FillRow) for kind, table in TABLES.items()
        }
        self._streams: dict[type, _Stream] = {}
        self._events = 0

    async def run(self, runs: list[RunState]) -> Checked:
        for kind in TABLES:
            query = f"{_of_book(kind, 'run <> ALL($2)')} ORDER BY run, seq"
            cursor = await self._connection.cursor(query, self._book_id, self._unread)
            self._streams[kind] = _Stream(kind, cursor)
        for state in runs:
            await self._fold_run(state)
        await self._match((float("inf"), 0.0))
        if self._unread:
            await self._forget_unread()
        if self._journal.files:
            await self._look_again()
        for matching in self._matchings.values():
            matching.end()
        return Checked(self._events, {matching.table: matching.rows for matching in self._matchings.values()})

    async def _fold_run(self, state: RunState) -> None:
        """A chunk never spans two runs, nor the moment at which a node was asked."""
        sight = self._sight if self._sight is not None and self._sight.run == state.run else None
        ends = [sight.seq, END] if sight is not None else [END]
        seq = 0
        for end in ends:
            async for chunk in self._journal.chunks(state.run, seq, end):
                seq = chunk.rows[-1].seq
                await self._fold_chunk(chunk)
            if sight is not None and end == sight.seq:
                sight.judge(self._findings)

    async def _fold_chunk(self, chunk: Chunk) -> None:
        batch = chunk.records
        self._events += len(chunk.rows)
        needs = self._ledger.needs(batch)
        if needs:
            await self._load(needs, chunk.rows[0])
        changes = self._ledger.apply(batch)
        self._judge_journal(changes, [row for row in chunk.rows if row.seq not in chunk.rejected])
        for rows in changes[1:-1]:
            if rows:
                self._matchings[type(rows[0])].fold(rows)
        if self._sight is not None:
            self._sight.see(changes)
        await self._match((chunk.rows[-1].run, chunk.rows[-1].seq))

    def _judge_journal(self, changes: Changes, stored: list[JournalRow]) -> None:
        """The journal's columns are what its payloads say; what no table can hold must stand among the rejected."""
        if changes.journal != stored:
            self._findings.compare("order_events", changes.journal, stored)
        for row in stored:
            self._judge_frame(row)
        for record, error in changes.rejected:
            self._findings.add("order_events", record.version, "payload", "what the tables can hold", error)

    def _judge_frame(self, row: JournalRow) -> None:
        """A Nautilus event says in its payload what it is and when it was."""
        try:
            said = _frame.decode(row.payload)
        except msgspec.DecodeError:
            self._findings.add("order_events", (row.run, row.seq), "payload", "an object", row.payload)
            return
        for field, told, stored in (
            ("type", said.type, row.type),
            ("ts_event", said.ts_event, row.ts_event),
            ("ts_init", said.ts_init, row.ts_init),
        ):
            if told is not None and told != stored:
                self._findings.add("order_events", (row.run, row.seq), field, told, stored)

    async def _match(self, version: tuple[float, float]) -> None:
        for kind, matching in self._matchings.items():
            matching.store(await self._streams[kind].up_to(version))

    async def _load(self, needs: Needs, first: JournalRow) -> None:
        before = (first.run, first.seq - 1)
        order_records = await self._journal.order_records(needs.orders, before) if needs.orders else []
        self._ledger.load(
            needs,
            start=await self._start() if needs.start else None,
            order_records=order_records,
            position_rows=await self._unread_lives(needs.positions) if self._unread else (),
        )

    async def _unread_lives(self, keys: list[PositionKey]) -> list[PositionRow]:
        """Lives of positions that a later run tells again, whoever had them."""
        query = _of_book(PositionRow, _LIFE)
        found = [await self._connection.fetch(query, self._book_id, self._unread, *life_of(key)) for key in keys]
        return [PositionRow(*row) for rows in found for row in rows]

    async def _start(self) -> Start:
        if not self._unread:
            return Start()
        realized = await self._connection.fetch(_REALIZED, self._book_id, self._unread)
        return Start(
            instruments=await self._unread_rows(InstrumentRow),
            open_positions=[row for row in await self._unread_rows(PositionRow) if row.side != "FLAT"],
            unified_positions=await self._unread_rows(UnifiedPositionRow),
            realized=[tuple(row) for row in realized],
        )

    async def _unread_rows(self, kind: Any, keys: list[Any] | None = None) -> list[Any]:
        """Rows whose newest record is in a file that cannot be used: all of them, or those of the keys."""
        if not self._unread:
            return []
        query = _of_book(kind, _UNREAD)
        if keys is None:
            return [kind(*row) for row in await self._connection.fetch(query, self._book_id, self._unread)]
        equal = " AND ".join(f"{name} = ${place}" for place, name in enumerate(KEYS[kind], 3))
        lookup = await self._connection.prepare(f"{query} AND {equal}")
        found = [await lookup.fetchrow(self._book_id, self._unread, *key) for key in keys]
        return [kind(*row) for row in found if row is not None]

    async def _forget_unread(self) -> None:
        """What was told again after a run that cannot be read keeps the row that it had."""
        for kind, matching in self._matchings.items():
            for row in await self._unread_rows(kind, list(matching.folded)):
                matching.folded.pop(tuple(getattr(row, name) for name in KEYS[kind]))

    async def _look_again(self) -> None:
        """Fold alone what differs: the ledger had forgotten an archived part of an order that was told again."""
        order_ids = sorted({key[0] for kind in (OrderRow, FillRow) for key in self._matchings[kind].waiting})
        for some in batched(order_ids, AGAIN_ORDERS):
            found = await self._journal.of_orders(some)
            for order_id, told in found.items():
                self._judge_again(order_id, told)

    def _judge_again(self, order_id: str, told: list[Record]) -> None:
        """Whoever folded an order that was told again after its run was archived knew the later runs of it only."""
        runs = sorted({record.run for record in told})
        begins = [run for place, run in enumerate(runs) if self._journal.files.keys() >= set(runs[:place])]
        folds = [self._ledger.alone(record for record in told if record.run >= run) for run in begins]
        orders = [row for row, _ in folds if row is not None]
        if orders:
            self._matchings[OrderRow].again((order_id,), orders)
        fills = self._matchings[FillRow]
        for row in folds[0][1] if folds else ():
            fills.again(key_of(row), [row])
