"""A book with a log and a shipper that is a process of its own, and what the tests ask the tables about it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
from shipper_log import Trader, begin_log

from nautilus_ext.persistence import rows
from nautilus_ext.persistence.comparison import compare
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.records import Record
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.state import LOG_FILE, ShipperOrder, ShipperState, read_state
from nautilus_ext.persistence.shipper.statements import TARGETS
from nautilus_ext.schema import books

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nautilus_ext.persistence.segments import SegmentWriter

BOOK = "PAPER-001.paper"
PROJECTIONS = (
    rows.OrderRow, rows.FillRow, rows.PositionRow, rows.UnifiedPositionRow, rows.AccountRow, rows.InstrumentRow,
)  # fmt: skip


class Stage:
    """One book; `folder` is that of its journal."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder / BOOK
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_run(self, claim: books.Claim | None = None) -> books.Start:
        claim = claim or books.Claim(
            BOOK, "PAPER-001", "paper", "instance", socket.gethostname(), os.getpid(), "0", "1"
        )
        return asyncio.run(_with(self.url, lambda connection: books.start_run(connection, claim)))

    def begin_log(self, start: books.Start, **options: Any) -> SegmentWriter:
        return begin_log(self.folder, BOOK, start.run, start.epoch, **options)

    def order(self, start: books.Start, **others: Any) -> ShipperOrder:
        known = {"journal_folder": str(self.folder), "book_id": BOOK, "run": start.run, "epoch": start.epoch}
        return ShipperOrder(**{**known, "url": self.url, **others})

    def spawn(self, start: books.Start, **others: Any) -> subprocess.Popen[bytes]:
        """Start a shipper as a child, for its exit code."""
        with (self.folder / LOG_FILE).open("ab") as log:
            command = [sys.executable, "-m", "nautilus_ext.persistence.shipper"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
        process.stdin.write(msgspec.json.encode(self.order(start, **others)) + b"\n")
        process.stdin.close()
        self.processes.append(process)
        return process

    def run_to_end(self, start: books.Start, **others: Any) -> int:
        process = self.spawn(start, **others)
        return process.wait(60)

    def state(self, run: int) -> ShipperState:
        return read_state(run_folder(self.folder, run))

    def log_run(self, orders: int, *, prefix: str = "O", end: bool = True, **options: Any) -> tuple[books.Start, int]:
        """Start a run and write a whole log of it; return its start and its last number."""
        start, trader = self.start_run(), Trader(prefix)
        log = self.begin_log(start, **options)
        log.append(trader.instrument())
        for _ in range(orders):
            log.append_many(list(trader.order()))
        if end:
            log.append(trader.end())
        log.close()
        return start, trader.seq

    def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return asyncio.run(_with(self.url, lambda connection: connection.fetch(sql, *arguments)))

    def value(self, sql: str, *arguments: Any) -> Any:
        ((value,),) = self.query(sql, *arguments)
        return value

    def progress(self, run: int) -> tuple[int, int]:
        ((durable, last),) = self.query("SELECT durable_seq, last_seq FROM runs WHERE run = $1", run)
        return durable, last

    def seqs(self, run: int) -> list[int]:
        return [row["seq"] for row in self.query("SELECT seq FROM order_events WHERE run = $1 ORDER BY seq", run)]

    def rejected(self) -> list[tuple[int, str, str | None]]:
        found = self.query("SELECT seq, stage, type FROM rejected_events ORDER BY run, seq")
        return [(row["seq"], row["stage"], row["type"]) for row in found]

    def table(self, kind: Any) -> list[Any]:
        found = self.query(f"SELECT {', '.join(kind._fields)} FROM {TARGETS[kind].table}")
        return [kind(*row) for row in found]

    def differences(self) -> list[Any]:
        """Compare the tables with the fold of the journal, which leaves out what no projection could take."""
        journal = self.query(
            """SELECT run, seq, type, ts_event, ts_init, payload FROM order_events e
                WHERE NOT EXISTS (SELECT FROM rejected_events x WHERE (x.run, x.seq) = (e.run, e.seq))
                ORDER BY run, seq"""
        )
        folded = fold(Record(*row[:5], row[5].encode()) for row in journal)
        return [each for kind in PROJECTIONS for each in compare(self.table(kind), folded.get(kind, []))]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def fold(journal: Iterable[Record]) -> dict[type, list[Any]]:
    ledger, batch = Ledger(BOOK), list(journal)
    ledger.load(ledger.needs(batch))
    changes = ledger.apply(batch)
    assert changes.rejected == []
    return {type(kind[0]): kind for kind in changes if kind}


async def _with(url: str, work: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await work(connection)
    finally:
        await connection.close()
