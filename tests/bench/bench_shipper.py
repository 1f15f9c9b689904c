"""How fast the log becomes tables: beside a bare COPY of the same rows, and how soon an order is seen."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from measure import Figure

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.records import decode
from nautilus_ext.persistence.rows import JournalRow, key_of
from nautilus_ext.persistence.segments import run_folder, segments
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder
from nautilus_ext.persistence.shipper.statements import TARGETS
from nautilus_ext.schema import books
from nautilus_ext.schema.upgrade import upgrade

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # the log is the tests' own

from shipper_log import START_NS, Trader, begin_log

if TYPE_CHECKING:
    from nautilus_ext.persistence.segments import SegmentWriter

RUNS = 5
EVENTS = 100_000
COPY_ROWS = 5_000  # as many as one batch of the shipper
LIVE_ORDERS = 5_000
LIVE_INTERVAL_S = 0.001  # 1,000 orders/s
SETTLE_S = 0.5
POLL_S = 0.001
TIMEOUT_S = 120.0
BUDGET_EVENT_US = 66.7  # 15,000 events/s
BUDGET_RATIO = 1 / 0.6
BUDGET_P50_MS, BUDGET_P99_MS = 30.0, 60.0
NEWEST = "SELECT created_ns FROM unified_orders WHERE book_id = $1 ORDER BY created_at DESC LIMIT 1"


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        with EmbeddedPostgres.join(folder / "postgres") as server:
            upgrade(server.owner_url, server.app_url, timeout_s=TIMEOUT_S)
            found = [*_throughput(server, folder), *_latency(server, folder)]
        deadline_s = time.monotonic() + TIMEOUT_S
        while not postmaster.is_free(folder / "postgres", postmaster.WATCHER_LOCK):
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)
        return found


class Book:
    """A book of its own for each measurement, with one run."""

    def __init__(self, server: EmbeddedPostgres, folder: Path, name: str) -> None:
        self.name = name
        self.journal = folder / "journal" / name
        claim = books.Claim(name, "BENCH-001", "backtest", "bench", socket.gethostname(), os.getpid(), "0", "1")
        self.start = asyncio.run(_started(server.app_url, claim))
        self._server = server

    def ship(self) -> Shipping:
        order = ShipperOrder(
            journal_folder=str(self.journal),
            book_id=self.name,
            run=self.start.run,
            epoch=self.start.epoch,
            embedded_folder=str(self._server.folder),
        )
        shipping = Shipping.start(order)
        deadline_s = time.monotonic() + TIMEOUT_S
        while shipping.state.phase != "shipping":
            assert time.monotonic() < deadline_s, shipping.state
            time.sleep(POLL_S)
        return shipping

    def log(self, journal: Path) -> SegmentWriter:
        return begin_log(journal, self.name, self.start.run, self.start.epoch)


def _throughput(server: EmbeddedPostgres, folder: Path) -> list[Figure]:
    """Ours beside a bare COPY of the same rows into the same tables, and beside one of the journal's rows alone."""
    walls: dict[str, list[float]] = {"shipped": [], "same rows": [], "journal": []}
    for number in range(RUNS + 1):  # the first one warms up
        for kind, batches in (("same rows", _batches(f"same-{number}")), ("journal", _batches(f"journal-{number}"))):
            kept = batches if kind == "same rows" else [{JournalRow: batch[JournalRow]} for batch in batches]
            walls[kind].append(asyncio.run(_copied(server.app_url, kept)))
        walls["shipped"].append(_shipped(Book(server, folder, f"book-{number}"), folder))
    measured = {kind: values[1:] for kind, values in walls.items()}
    rates = {kind: EVENTS / statistics.median(values) for kind, values in measured.items()}
    note = f"{EVENTS:,} events, journal, orders, fills, positions, accounts durable: {rates['shipped']:,.0f} events/s"
    per_event = tuple(wall / EVENTS * 1e6 for wall in measured["shipped"])
    return [
        Figure("shipper, per event", "us", per_event, budget=BUDGET_EVENT_US, note=note),
        _against("a bare COPY of the same rows", "same rows", measured, rates, BUDGET_RATIO),
        _against("a bare COPY of the journal's rows alone", "journal", measured, rates, None),
    ]


def _against(
    what: str, kind: str, measured: dict[str, list[float]], rates: dict[str, float], budget: float | None
) -> Figure:
    ratios = tuple(ours / theirs for ours, theirs in zip(measured["shipped"], measured[kind], strict=True))
    wanted = ", at least 60 % wanted" if budget else ""
    note = f"{rates['shipped']:,.0f} of {rates[kind]:,.0f} events/s: {rates['shipped'] / rates[kind]:.0%}{wanted}"
    return Figure(f"shipper against {what}", "x", ratios, budget=budget, note=note)


def _batches(book_id: str) -> list[dict[type, list[Any]]]:
    """Project the log in the shipper's own batches; a row that changes later stands in the batch that has its last."""
    ledger, trader = Ledger(book_id), Trader()
    payloads = [trader.instrument()]
    while trader.seq < EVENTS:
        payloads.extend(trader.order())
    newest: dict[tuple[type, Any], tuple[int, Any]] = {}
    for first in range(0, len(payloads), COPY_ROWS):
        log = [decode(1, payload) for payload in payloads[first : first + COPY_ROWS]]
        ledger.load(ledger.needs(log))
        for row in (row for rows in ledger.apply(log) for row in rows):
            newest[type(row), key_of(row)] = (first // COPY_ROWS, row)
    batches: list[dict[type, list[Any]]] = [{} for _ in range(0, len(payloads), COPY_ROWS)]
    for (kind, _), (number, row) in newest.items():
        batches[number].setdefault(kind, []).append(row)
    return batches


async def _copied(url: str, batches: list[dict[type, list[Any]]]) -> float:
    connection = await asyncpg.connect(url)
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=b"\x01".__add__, decoder=bytes
    )
    began_s = time.perf_counter()
    for batch in batches:
        async with connection.transaction():
            for kind, rows in batch.items():
                table = TARGETS[kind].table
                await connection.copy_records_to_table(table, records=rows, columns=kind._fields)  # type: ignore[attr-defined]
    wall_s = time.perf_counter() - began_s
    await connection.close()
    return wall_s


def _shipped(book: Book, folder: Path) -> float:
    """Ship a whole log that appears at once, when the shipper is up."""
    log, trader = book.log(folder / "written" / book.name), Trader()
    log.append(trader.instrument())
    while trader.seq < EVENTS:
        log.append_many(list(trader.order()))
    log.append(trader.end())
    log.close()
    shipping = book.ship()
    began_s = time.perf_counter()
    for segment in segments(log.folder):
        segment.rename(run_folder(book.journal, book.start.run) / segment.name)
    assert shipping.drain(TIMEOUT_S), shipping.state
    wall_s = time.perf_counter() - began_s
    shipping.close()
    assert shipping.state.shipped_seq == trader.seq
    return wall_s


def _latency(server: EmbeddedPostgres, folder: Path) -> list[Figure]:
    p50s, p99s = [], []
    for number in range(RUNS):
        book = Book(server, folder, f"live-{number}")
        log = book.log(book.journal)
        shipping = book.ship()
        delays_ms = asyncio.run(_delays_ms(server.app_url, book.name, log))
        assert shipping.drain(TIMEOUT_S), shipping.state
        shipping.close()
        p50s.append(statistics.median(delays_ms))
        p99s.append(statistics.quantiles(delays_ms, n=100)[98])
    note = f"{LIVE_ORDERS:,} orders a run at 1,000 orders/s, six events each, every event written by itself"
    what = "event to visible in unified_orders"
    return [
        Figure(f"{what}, p50", "ms", tuple(p50s), budget=BUDGET_P50_MS, note=note),
        Figure(f"{what}, p99", "ms", tuple(p99s), budget=BUDGET_P99_MS, note=note),
    ]


async def _delays_ms(url: str, book_id: str, log: SegmentWriter) -> list[float]:
    """Ask for the newest order all the time; each order that has appeared since is as late as the answer is now."""
    written_s: list[float] = []
    connection = await asyncpg.connect(url)
    newest = await connection.prepare(NEWEST)
    writer = threading.Thread(target=_trade, args=(log, written_s))
    writer.start()
    delays_ms: list[float] = []
    deadline_s = time.monotonic() + TIMEOUT_S
    while len(delays_ms) < LIVE_ORDERS:
        assert time.monotonic() < deadline_s
        created_ns = await newest.fetchval(book_id)
        now_s = time.perf_counter()
        seen = 0 if created_ns is None else (created_ns - START_NS) // 1_000_000
        delays_ms += [(now_s - at_s) * 1e3 for at_s in written_s[len(delays_ms) : seen]]
        await asyncio.sleep(POLL_S)
    writer.join()
    await connection.close()
    return delays_ms


def _trade(log: SegmentWriter, written_s: list[float]) -> None:
    trader = Trader()
    log.append(trader.instrument())
    time.sleep(SETTLE_S)
    due_s = time.perf_counter()
    for _ in range(LIVE_ORDERS):
        due_s += LIVE_INTERVAL_S
        time.sleep(max(0.0, due_s - time.perf_counter()))
        events = list(trader.order())
        written_s.append(time.perf_counter())
        for event in events:
            log.append(event)
    log.append(trader.end())
    log.close()


async def _started(url: str, claim: books.Claim) -> books.Start:
    connection = await asyncpg.connect(url)
    try:
        return await books.start_run(connection, claim)
    finally:
        await connection.close()


if __name__ == "__main__":
    for figure in figures():
        print(figure.what, figure.median, figure.values, figure.note)
