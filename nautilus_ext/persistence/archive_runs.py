"""Which runs of a book may leave the journal. Only of a run that is old enough are events read, and only its own.

A statement answers with one row or with numbers of runs, so what is held here does not grow with the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.persistence.reading import BOOK, WORKING
from nautilus_ext.persistence.segments import runs as log_runs

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import asyncpg

RUNS_MAX = 1_000  # judged at once, the oldest first

# A run ends when its node gave it back, else when the next one began.
_RUNS = """
    SELECT run, durable_seq, last_seq, ended_at IS NOT NULL OR next IS NOT NULL AS is_over,
           coalesce(ended_at, next) < $2 AS is_old
      FROM (SELECT *, lead(started_at) OVER (ORDER BY run) AS next FROM runs WHERE book_id = $1) AS r
     WHERE archived_at IS NULL ORDER BY run LIMIT $3"""
_COUNTS = """
    SELECT (SELECT count(*) FROM order_events WHERE book_id = $1 AND run = $2) AS events,
           (SELECT count(*) FROM rejected_events
             WHERE book_id = $1 AND run = $2 AND stage <> 'projection') AS unwritten"""
_ORDERS = """
    SELECT DISTINCT client_order_id FROM order_events
     WHERE book_id = $1 AND run = $2 AND client_order_id IS NOT NULL"""
_POSITIONS = """
    SELECT DISTINCT position_id, payload->>'opening_order_id' AS opening_order_id FROM order_events
     WHERE book_id = $1 AND run = $2 AND position_id IS NOT NULL"""
# Each OFFSET keeps what follows an index probe for each order or position: a join might read the whole book.
_IS_WORKING = f"""
    SELECT EXISTS (SELECT FROM ({_ORDERS}) AS own, LATERAL (
        SELECT FROM unified_orders o
         WHERE o.book_id = $1 AND o.client_order_id = own.client_order_id AND o.status = ANY($3)
        OFFSET 0) AS working)"""  # noqa: S608 - our own names
_IS_OPEN = f"""
    SELECT EXISTS (SELECT FROM venue_positions WHERE book_id = $1 AND run = $2 AND side <> 'FLAT')
        OR EXISTS (SELECT FROM ({_POSITIONS}) AS own, LATERAL (
        SELECT FROM venue_positions p
         WHERE p.book_id = $1 AND p.opening_order_id = own.opening_order_id AND p.position_id = own.position_id
           AND p.side <> 'FLAT' OFFSET 0) AS held)"""  # noqa: S608 - our own names
# One more than can be judged: then one of them was not, and the run stays whichever are left out.
_SHARED = f"""
    SELECT DISTINCT other.run FROM ({_ORDERS}) AS own, LATERAL (
        SELECT run FROM order_events e
         WHERE e.book_id = $1 AND e.client_order_id = own.client_order_id AND e.run <> $2
        OFFSET 0) AS other LIMIT $3"""  # noqa: S608 - our own names


class Candidate(NamedTuple):
    """A run, and why it stays; an empty reason is none. The events are counted of a run that is old enough."""

    run: int
    events: int
    reason: str


async def candidates(
    connection: asyncpg.Connection, book_id: str, before: datetime, journal_folder: Path
) -> list[Candidate]:
    """Judge the oldest runs of a book that are not archived yet."""
    logged = {run for run, _ in log_runs(journal_folder)}
    # Nobody trades on what a backtest left open: its data has come to an end, and so have its orders.
    is_final = await connection.fetchval(BOOK, book_id) == "backtest"
    found: dict[int, Candidate] = {}
    shared: dict[int, set[int]] = {}
    for place, row in enumerate(await connection.fetch(_RUNS, book_id, before, RUNS_MAX + 1)):
        run = row["run"]
        found[run] = Candidate(run, 0, _reason(row, place, logged))
        if not found[run].reason:
            found[run] = await _judged(connection, book_id, row, is_final=is_final)
        if not found[run].reason:
            others = await connection.fetch(_SHARED, book_id, run, RUNS_MAX + 1)
            shared[run] = {each["run"] for each in others}
    _spread(found, shared)
    return list(found.values())


def _reason(row: Any, place: int, logged: set[int]) -> str:
    """Say why a run stays by what is known without its events; nothing when they decide."""
    late = row["last_seq"] - row["durable_seq"]
    reasons = (
        (not row["is_over"], "it has not ended"),
        (not row["is_old"], "it ended later"),
        (late, f"{late:,} events are not in the tables yet"),
        (row["run"] in logged and not row["durable_seq"], "its local log has not been shipped yet"),
        (place >= RUNS_MAX, f"the oldest {RUNS_MAX:,} runs are judged first: archive again when some have gone"),
    )
    return next((text for applies, text in reasons if applies), "")


async def _judged(connection: asyncpg.Connection, book_id: str, row: Any, *, is_final: bool) -> Candidate:
    """Say why a run stays by its events; nothing when it may go."""
    run = row["run"]
    events, unwritten = await connection.fetchrow(_COUNTS, book_id, run) or (0, 0)
    reason = ""
    if events + unwritten != row["durable_seq"]:
        reason = "events are missing in it: see audit"
    elif is_final:
        reason = ""
    elif await connection.fetchval(_IS_WORKING, book_id, run, list(WORKING)):
        reason = "an order of it still works"
    elif await connection.fetchval(_IS_OPEN, book_id, run):
        reason = "a position of it is still open"
    return Candidate(run, events, reason)


def _spread(found: dict[int, Candidate], shared: dict[int, set[int]]) -> None:
    """An order goes as a whole: what one of its runs keeps here keeps the others here as well."""
    staying = {run for run, each in found.items() if each.reason}
    has_changed = True
    while has_changed:  # each round keeps at least one more run
        has_changed = False
        for run in sorted(shared.keys() - staying):
            kept = next((other for other in sorted(shared[run]) if other in staying or other not in found), None)
            if kept is not None:
                reason = f"it has an order in common with run {kept}, which stays"
                found[run] = found[run]._replace(reason=reason)
                staying.add(run)
                has_changed = True
