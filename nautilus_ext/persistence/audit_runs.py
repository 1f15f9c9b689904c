"""Is every event of every run there? Gaps, what was refused, and what the local log still holds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.persistence.segments import (
    NODE_LOCK,
    SHIPPER_LOCK,
    is_locked,
    last_seq,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import asyncpg

    from nautilus_ext.persistence.matching import Findings

GAPS_LISTED_MAX = 20
REJECTED_LISTED_MAX = 100
RECOVERY_SEQ_MAX = 10_000  # where the reconciliation of a start is looked for
DURABLE_S_MAX = 30.0
DURABLE_POLL_S = 0.1

# Runs without a row, or without an event, are shown as well.
_RUNS = """
    SELECT run, coalesce(r.host, '') AS host, coalesce(r.last_seq, 0) AS last_seq,
           coalesce(r.durable_seq, 0) AS durable_seq, r.started_at, r.ended_at,
           coalesce(r.clean_end, false) AS clean_end, r.archived_at, r.archive,
           coalesce(e.events, 0) AS events, coalesce(e.newest, 0) AS newest,
           coalesce(x.unwritten, 0) AS unwritten
      FROM (SELECT * FROM runs WHERE book_id = $1) r
      FULL JOIN (SELECT run, count(*) AS events, max(seq) AS newest FROM order_events
                  WHERE book_id = $1 GROUP BY run) e USING (run)
      FULL JOIN (SELECT run, count(*) FILTER (WHERE stage <> 'projection') AS unwritten FROM rejected_events
                  WHERE book_id = $1 GROUP BY run) x USING (run)
     ORDER BY run"""
_GAPS = f"""
    SELECT before + 1 AS first, seq - 1 AS last
      FROM (SELECT seq, lag(seq, 1, 0::bigint) OVER (ORDER BY seq) AS before
              FROM (SELECT seq FROM order_events WHERE book_id = $1 AND run = $2
                    UNION SELECT seq FROM rejected_events WHERE book_id = $1 AND run = $2 AND stage <> 'projection'
                    UNION SELECT $3::bigint + 1) AS known) AS steps
     WHERE seq > before + 1 AND before < $3 ORDER BY seq LIMIT {GAPS_LISTED_MAX}"""  # noqa: S608 - a constant
_REJECTED = f"""
    SELECT run, seq, stage, type, error, count(*) OVER () AS total FROM rejected_events
     WHERE book_id = $1 ORDER BY run, seq LIMIT {REJECTED_LISTED_MAX}"""  # noqa: S608 - a constant
_RECOVERED = """
    SELECT count(*) FROM order_events
     WHERE book_id = $1 AND run = $2 AND seq <= $3 AND payload @> '{"reconciliation": true}'"""
_DURABLE = "SELECT durable_seq FROM runs WHERE book_id = $1 AND run = $2"


class RunState(NamedTuple):
    """One run as the tables tell it."""

    run: int
    host: str
    last_seq: int
    durable_seq: int
    started_at: datetime | None
    ended_at: datetime | None
    clean_end: bool
    archived_at: datetime | None
    archive: str | None
    events: int
    newest: int
    unwritten: int


async def read_runs(connection: asyncpg.Connection, book_id: str) -> list[RunState]:
    return [RunState(*row) for row in await connection.fetch(_RUNS, book_id)]


async def find_gaps(connection: asyncpg.Connection, book_id: str, states: list[RunState], findings: Findings) -> None:
    """Every number up to the durable one stands in the journal, or among the records that it could not take."""
    for state in states:
        key = f"run {state.run}"
        if state.started_at is None:
            findings.add("runs", key, "row", f"the run of {state.events:,} events", "none")
        elif state.archived_at is not None:
            if state.events:
                findings.add("order_events", key, "count", "none: the run is archived", state.events)
        else:
            if state.newest > state.durable_seq:
                findings.add("order_events", key, "newest event", f"at most {state.durable_seq}", state.newest)
            if state.newest > state.durable_seq or state.events + state.unwritten != state.durable_seq:
                for first, last in await connection.fetch(_GAPS, book_id, state.run, state.durable_seq):
                    text = f"event {first}" if first == last else f"events {first} to {last}"
                    findings.add("order_events", key, "gap", text, "none")


async def list_rejected(connection: asyncpg.Connection, book_id: str, findings: Findings) -> int:
    found = await connection.fetch(_REJECTED, book_id)
    for row in found:
        what = f"{row['type'] or 'a record'} in the tables"
        findings.add("rejected_events", (row["run"], row["seq"]), row["stage"], what, row["error"])
    return found[0]["total"] if found else 0


async def ended_badly(
    connection: asyncpg.Connection, book_id: str, states: list[RunState], running: int | None
) -> list[str]:
    """Runs that did not end in order, what they left, and what the next run heard of it from the venues."""
    words = []
    following: Sequence[RunState | None] = [*states[1:], None]
    for state, later in zip(states, following, strict=True):
        if state.clean_end or state.started_at is None or state.run == running or state.archived_at is not None:
            continue
        end = "stopped with an error" if state.ended_at is not None else "has no end: it was killed, or still runs"
        text = f"run {state.run} {end}; its log said {state.last_seq:,} events, {state.durable_seq:,} are in the tables"
        if later is not None:
            count = await connection.fetchval(_RECOVERED, book_id, later.run, RECOVERY_SEQ_MAX)
            text += f"; run {later.run} heard of {count:,} events by reconciliation"
        words.append(text)
    return words


def waiting(
    journal_folder: Path, states: list[RunState], host: str, running: int | None, findings: Findings
) -> list[str]:
    """What is known to exist and not in the tables yet: in the local log (unproven), or nowhere (a finding)."""
    logged = {run: last_seq(folder) for run, folder in runs(journal_folder)}
    alive = {run for run, folder in runs(journal_folder) if is_locked(folder / NODE_LOCK)}  # began a moment ago
    words = []
    for state in states:
        known = max(state.last_seq, logged.get(state.run, 0))
        count = known - state.durable_seq
        if count <= 0 or state.run == running or state.run in alive or state.archived_at is not None:
            continue
        text = f"run {state.run}: {count:,} events are not in the tables yet"
        if state.run in logged and logged[state.run] > state.durable_seq:
            words.append(f"{text}: the local log has them, and the book's next start ships them")
        elif state.host == host:
            gap = f"events {state.durable_seq + 1} to {known}"
            findings.add("order_events", f"run {state.run}", "end", gap, "neither in the tables nor in the local log")
        else:
            words.append(f"{text}: their log is on {state.host}")
    return words


def damaged(journal_folder: Path) -> list[str]:
    """Segments that a shipper put aside because they could not be read whole."""
    if not journal_folder.is_dir():
        return []
    return sorted(str(path) for path in journal_folder.iterdir() if path.suffix == ".corrupt")


async def wait_durable(
    connection: asyncpg.Connection, book_id: str, journal_folder: Path, until: tuple[int, int] | None
) -> bool:
    """Wait for the shippers of this machine: up to a record of the running node, and to the end of older runs."""
    until_s = time.monotonic() + DURABLE_S_MAX
    while True:
        running = until[0] if until else None
        busy = [
            run
            for run, folder in runs(journal_folder)
            if run != running and is_locked(folder / SHIPPER_LOCK) and await _lacks(connection, book_id, run, folder)
        ]
        arrived = until is None or (await connection.fetchval(_DURABLE, book_id, until[0]) or 0) >= until[1]
        if arrived and not busy:
            return True
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(DURABLE_POLL_S)


async def _lacks(connection: asyncpg.Connection, book_id: str, run: int, folder: Path) -> bool:
    return last_seq(folder) > (await connection.fetchval(_DURABLE, book_id, run) or 0)
