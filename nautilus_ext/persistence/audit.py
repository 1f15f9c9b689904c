"""The proof that nothing is missing: a journal without gaps, tables == fold(journal) == the running node's cache.

With `live` the node's venues are asked as well, so that three ledgers must agree: tables, cache, venue.

All is read in one snapshot, so a node may trade meanwhile. Nothing is written, and the application's role is enough.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.errors import DatabaseError, ProjectionDefect
from nautilus_ext.persistence import audit_archive, audit_node, audit_runs, audit_venues
from nautilus_ext.persistence.audit_journal import Journal
from nautilus_ext.persistence.audit_node import Sight
from nautilus_ext.persistence.audit_tables import TableAudit
from nautilus_ext.persistence.matching import Finding, Findings
from nautilus_ext.schema.connect import ANY_BOOK, CLOSE_S_MAX, CONNECTION_ERRORS, connect, database_error
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from nautilus_ext.persistence.audit_archive import Archives
    from nautilus_ext.persistence.audit_runs import RunState
    from nautilus_ext.persistence.audit_venues import Differences, VenueAnswer

STATEMENT_S_MAX = 600.0
HEARTBEAT_S_MAX = 15.0  # an older one is a node that died
# Each chunk of the journal and each order by its index, and patience while the files of archived runs are read.
SETTINGS = {**ANY_BOOK, "enable_seqscan": "off", "idle_in_transaction_session_timeout": "0"}

EQUAL, DIFFERENT, UNPROVEN = 0, 1, 2

_NEWEST = """
    SELECT r.run, r.host, b.environment, coalesce(max(i.last_heartbeat) > now() - make_interval(secs => $2), false)
           AND r.ended_at IS NULL AS is_alive
      FROM runs r JOIN books b USING (book_id) LEFT JOIN instance_metadata i USING (book_id, run)
     WHERE r.book_id = $1 GROUP BY r.run, r.host, r.ended_at, b.environment ORDER BY r.run DESC LIMIT 1"""


class Place(NamedTuple):
    """Which book to audit, and where what belongs to it is."""

    book_id: str
    journal_folder: Path
    host: str


class Check(NamedTuple):
    """One line of the answer; `proven` is None when it could not be decided."""

    name: str
    proven: bool | None
    text: str
    took_s: float = 0.0


@dataclass
class Report:
    """What came of an audit: its checks, and everything that is wrong, the first ones listed."""

    book_id: str
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    differences: int = 0
    listed: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> int:
        if self.differences:
            return DIFFERENT
        return UNPROVEN if any(check.proven is None for check in self.checks) else EQUAL


@asynccontextmanager
async def opened(url: str, timeout_s: float, name: str, **settings: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to current tables: a statement may take long, JSON is bytes, an error becomes DatabaseError."""
    connection = await connect(
        url,
        timeout_s=timeout_s,
        answer_timeout_s=STATEMENT_S_MAX + timeout_s,
        application_name=name,
        server_settings={"statement_timeout": str(round(STATEMENT_S_MAX * 1_000)), **settings},
    )
    try:
        await require_current(connection)
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", format="binary", encoder=b"\x01".__add__, decoder=_without_version
        )
        yield connection
        await connection.close(timeout=CLOSE_S_MAX)
    except DatabaseError:
        raise
    except CONNECTION_ERRORS as error:
        raise database_error(error, url) from None
    finally:
        connection.terminate()


def _without_version(value: bytes) -> bytes:
    return bytes(value[1:])


async def audit(connection: asyncpg.Connection, place: Place, *, live: bool = False) -> Report:
    """Audit one book that the tables know; with `live` the running node asks its venues as well."""
    return await _Audit(connection, place, live=live).run()


class _Audit:
    """One audit; it lives as long as its connection."""

    def __init__(self, connection: asyncpg.Connection, place: Place, *, live: bool) -> None:
        self._live = live
        self._connection = connection
        self._place = place
        self._findings = Findings()
        self._report = Report(place.book_id)
        self._running: int | None = None

    async def run(self) -> Report:
        sight = await self._ask()
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            states = await audit_runs.read_runs(self._connection, self._place.book_id)
            await self._check_runs(states)
            archives = self._check_archives(states)
            await self._check_rejected()
            await self._check_tables(states, archives, sight)
        if self._live:
            await self._check_venues(sight)
        self._report.differences, self._report.listed = self._findings.total, self._findings.listed
        return self._report

    def _tell(self, name: str, began_s: float, text: str, *tables: str, unproven: bool = False) -> None:
        wrong = sum(self._findings.of(table) for table in tables)
        proven = False if wrong else None if unproven else True
        if wrong:
            text = f"{text}; {_count(wrong, 'difference')}"
        self._report.checks.append(Check(name, proven, text, time.monotonic() - began_s))

    async def _ask(self) -> Sight | None:
        """Ask the node of this machine, and wait until what it had seen is in the tables."""
        began_s, place = time.monotonic(), self._place
        newest = await self._connection.fetchrow(_NEWEST, place.book_id, HEARTBEAT_S_MAX)
        answer, words = None, ""
        if newest is not None and audit_node.is_running(place.journal_folder, newest["run"]):
            self._running = newest["run"]
            if newest["environment"] == "backtest":
                words = f"run {newest['run']} is a backtest on its way: it is not asked"
            else:
                answer = await audit_node.ask(place.journal_folder, newest["run"])
                if answer is None and audit_node.is_running(place.journal_folder, newest["run"]):
                    words = f"run {newest['run']} runs here and did not answer"
        until = (newest["run"], answer.seq) if newest is not None and answer is not None else None
        arrived = await audit_runs.wait_durable(self._connection, place.book_id, place.journal_folder, until)
        if words or not arrived:
            words = words or f"the tables were not as far as the node within {audit_runs.DURABLE_S_MAX:g} s"
            self._tell("running node", began_s, words, unproven=True)
            return None
        if until is None or answer is None:
            if newest is not None and newest["is_alive"] and newest["host"] != place.host:
                self._report.notes.append(f"run {newest['run']} trades on {newest['host']}: its node was not asked")
            return None
        self._asked_s = time.monotonic() - began_s
        return Sight(until[0], answer)

    async def _check_runs(self, states: list[RunState]) -> None:
        began_s, place, report = time.monotonic(), self._place, self._report
        await audit_runs.find_gaps(self._connection, place.book_id, states, self._findings)
        late = audit_runs.waiting(place.journal_folder, states, place.host, self._running, self._findings)
        report.notes += await audit_runs.ended_badly(self._connection, place.book_id, states, self._running)
        report.notes += [
            f"{path} holds what the shipper could not read" for path in audit_runs.damaged(place.journal_folder)
        ]
        archived = sum(state.archived_at is not None for state in states)
        text = f"{_count(len(states) - archived, 'run')}, {_count(sum(state.events for state in states), 'event')}"
        self._tell("journal whole", began_s, "; ".join([text, *late]), "runs", "order_events", unproven=bool(late))

    def _check_archives(self, states: list[RunState]) -> Archives:
        began_s, archived = time.monotonic(), sum(state.archived_at is not None for state in states)
        archives = audit_archive.verify(states, self._findings)
        if archived:
            text = f"{len(archives.files):,} of {_count(archived, 'run')}, {_count(archives.events, 'event')}"
            words, table = "; ".join([text, *archives.unproven]), audit_archive.TABLE
            self._tell("archived runs", began_s, words, table, unproven=bool(archives.unproven))
        return archives

    async def _check_rejected(self) -> None:
        began_s = time.monotonic()
        count = await audit_runs.list_rejected(self._connection, self._place.book_id, self._findings)
        self._tell("nothing rejected", began_s, f"{_count(count, 'event')} that the tables refused", "rejected_events")

    async def _check_tables(self, states: list[RunState], archives: Archives, sight: Sight | None) -> None:
        began_s, of_journal = time.monotonic(), self._findings.of("order_events")
        unread = [state.run for state in states if state.archived_at is not None and state.run not in archives.files]
        journal = Journal(self._connection, self._place.book_id, archives.files)
        tables = TableAudit(self._connection, journal, unread, self._findings, sight)
        try:
            checked = await tables.run([state for state in states if state.run not in unread])
        except ProjectionDefect as defect:
            self._tell("journal read", began_s, str(defect), unproven=True)
            return
        text = f"{checked.events:,} events in {time.monotonic() - began_s:.1f} s"
        wrong = self._findings.of("order_events") - of_journal
        self._report.checks.append(
            Check(
                "journal read",
                not wrong,
                f"{text}; {_count(wrong, 'difference')}" if wrong else text,
                time.monotonic() - began_s,
            )
        )
        for table, rows in checked.rows.items():
            self._tell(table, time.monotonic(), f"{_count(rows, 'row')}", table)
        if sight is not None:
            text = (
                f"run {sight.run} at event {sight.seq:,}: {sight.orders:,} orders, {sight.positions:,} open positions"
            )
            self._tell("running node", time.monotonic() - self._asked_s, text, "cache order", "cache position")

    async def _check_venues(self, sight: Sight | None) -> None:
        """Ask again what differs: an event that was on its way has arrived by then.

        The tables are proven before: the venue's word on an account becomes their newest row.
        """
        began_s = time.monotonic()
        if sight is None:
            self._tell("venues", began_s, "no node of this book answers here: nobody can ask its venues", unproven=True)
            return
        told = await self._ask_venues(sight.run) or []
        found, silence = await self._differ(told)
        for _ in range(audit_venues.ROUNDS_MAX - 1):
            if audit_venues.is_decided(found):
                break
            await asyncio.sleep(audit_venues.ROUND_PAUSE_S)
            told = await self._ask_venues(sight.run) or []
            now, silence = await self._differ(told)
            found = audit_venues.lasting(found, now)
        if not told:
            words = "the node has no venue to ask, did not answer, or the tables were not as far as its answer"
            self._tell("venues", began_s, words, unproven=True)
        for (table, key, field_name), (ours, theirs) in sorted(found.items()):
            self._findings.add(table, key, field_name, ours, theirs)
        for each in told:
            why = each.problem or silence.get(each.client, "")
            words = f"not asked: {why}" if why else f"account {each.account_id}: {each.text}"
            tables = [f"{each.client} {kind}" for kind in ("order", "fill", "position", "balance")]
            self._tell(f"venue {each.client}", began_s, words, *tables, unproven=bool(why))

    async def _ask_venues(self, run: int) -> list[VenueAnswer] | None:
        place = self._place
        answer = await audit_node.ask(place.journal_folder, run, live=True)
        if answer is None or answer.venues is None:
            return None
        arrived = await audit_runs.wait_durable(
            self._connection, place.book_id, place.journal_folder, (run, answer.seq)
        )
        return answer.venues if arrived else None

    async def _differ(self, told: list[VenueAnswer]) -> tuple[Differences, dict[str, str]]:
        """What differs between venues and tables, and which clients' answers prove nothing, and why."""
        found: Differences = {}
        silence: dict[str, str] = {}
        for each in told:
            if not each.problem:
                wrong, silence[each.client] = await audit_venues.differences(
                    self._connection, self._place.book_id, each
                )
                found |= wrong
        return found, silence


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
