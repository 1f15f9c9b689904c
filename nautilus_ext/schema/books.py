"""Rows of books, runs and instances, and the lock on a book. Each function is one purpose on a given connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from nautilus_ext.schema.locks import lock_key

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

ARCHIVES_MAX = 100  # named for one order

Status = Literal["starting", "running", "stopping", "stopped"]


@dataclass(frozen=True)
class Claim:
    """Who wants a book: what a run and its instance say about themselves."""

    book_id: str
    trader_id: str
    environment: str
    instance_id: str
    host: str
    pid: int
    suite_version: str
    nautilus_version: str


class Start(NamedTuple):
    """What the start of a node gave it: its run, and the epoch that it must still find at each beat."""

    run: int
    epoch: int


class End(NamedTuple):
    """How a run ended, and the number of its last event."""

    clean: bool
    exit_code: int
    last_seq: int = 0


class Session(NamedTuple):
    """One session of the server; its start tells it from a later one with the same pid."""

    pid: int
    started_at: datetime | None


@dataclass(frozen=True)
class Holder:
    """The node that started last on a book."""

    run: int
    instance_id: str
    host: str
    pid: int
    status: str
    started_at: datetime
    heartbeat_age: timedelta


class Archive(NamedTuple):
    """A run whose events are in a file."""

    run: int
    archive: str


class Undrained(NamedTuple):
    """A run whose local log may hold what the tables lack, and how far both are known to be."""

    run: int
    host: str
    last_seq: int
    durable_seq: int


class OtherOwner(Exception):
    """The book exists and is another trader's, or of another environment."""


def shipper_name(book_id: str) -> str:
    """Name the sessions of a book's shippers."""
    return f"exec-suite shipper {book_id}"


async def try_lock(connection: asyncpg.Connection, book_id: str) -> bool:
    """Take the lock of a book for as long as this session lives; False when another session has it."""
    (row,) = await connection.fetch("SELECT pg_try_advisory_lock($1) AS taken", lock_key("book", book_id))
    return row["taken"]


async def lock_owner(connection: asyncpg.Connection, book_id: str) -> Session | None:
    """Find the session that has the lock of a book; its start is hidden when another role owns it."""
    row = await connection.fetchrow(
        """SELECT l.pid, a.backend_start FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND (l.classid::bigint << 32 | l.objid::bigint) = $1""",
        lock_key("book", book_id),
    )
    return Session(row["pid"], row["backend_start"]) if row else None


async def own_session(connection: asyncpg.Connection) -> Session:
    """Name this session, so that it can be recognised after the connection to it broke."""
    (row,) = await connection.fetch("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    return Session(row["pid"], row["backend_start"])


async def end_session(connection: asyncpg.Connection, session: Session) -> None:
    """Ask the server to end a session of our own role; nothing happens when it is gone."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2", *session
    )


async def start_run(connection: asyncpg.Connection, claim: Claim) -> Start:
    """Raise the epoch and add the rows of run and instance, all or none; the caller has the lock.

    A shipper that is stopped in the midst of a batch holds the book's row for ever: no time-out of the server ends a
    COPY that waits for its client. Shippers of former starts are disconnected: one that lives comes back and is fenced.
    """
    await connection.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = left($1, 63) AND usename = current_user AND datname = current_database()""",
        shipper_name(claim.book_id),
    )
    async with connection.transaction():
        (book,) = await connection.fetch(
            """INSERT INTO books (book_id, trader_id, environment, epoch) VALUES ($1, $2, $3, 1)
               ON CONFLICT (book_id) DO UPDATE SET epoch = books.epoch + 1
               RETURNING epoch, trader_id, environment""",
            claim.book_id,
            claim.trader_id,
            claim.environment,
        )
        if (book["trader_id"], book["environment"]) != (claim.trader_id, claim.environment):
            raise OtherOwner(f"trader {book['trader_id']} ({book['environment']})")
        (start,) = await connection.fetch(
            """INSERT INTO runs (book_id, run, epoch, host, pid, suite_version, nautilus_version)
               SELECT $1, coalesce(max(run), 0) + 1, $2, $3, $4, $5, $6 FROM runs WHERE book_id = $1
               RETURNING run""",
            claim.book_id,
            book["epoch"],
            claim.host,
            claim.pid,
            claim.suite_version,
            claim.nautilus_version,
        )
        await _add_instance(connection, claim, start["run"])
    return Start(run=start["run"], epoch=book["epoch"])


async def _add_instance(connection: asyncpg.Connection, claim: Claim, run: int) -> None:
    """A config may fix the instance_id: the row then moves on to the new run."""
    await connection.execute(
        """INSERT INTO instance_metadata (book_id, instance_id, run, host, pid, status)
           VALUES ($1, $2, $3, $4, $5, 'starting')
           ON CONFLICT (book_id, instance_id) DO UPDATE
              SET run = excluded.run, host = excluded.host, pid = excluded.pid, status = excluded.status,
                  started_at = excluded.started_at, last_heartbeat = excluded.last_heartbeat""",
        claim.book_id,
        claim.instance_id,
        run,
        claim.host,
        claim.pid,
    )


async def beat(connection: asyncpg.Connection, claim: Claim, epoch: int, status: Status) -> int | None:
    """Say that the node lives, unless its epoch is over; return the epoch of the book, None when the book is gone."""
    return await connection.fetchval(
        """WITH beat AS (
               UPDATE instance_metadata SET last_heartbeat = now(), status = $4
                WHERE book_id = $1 AND instance_id = $2
                  AND (SELECT epoch FROM books WHERE book_id = $1) = $3)
           SELECT epoch FROM books WHERE book_id = $1""",
        claim.book_id,
        claim.instance_id,
        epoch,
        status,
    )


async def epoch_of(connection: asyncpg.Connection, book_id: str) -> int | None:
    """Read the epoch of a book; None when the book is gone."""
    return await connection.fetchval("SELECT epoch FROM books WHERE book_id = $1", book_id)


async def end_run(connection: asyncpg.Connection, claim: Claim, run: int, end: End) -> None:
    """Close the rows of run and instance, once."""
    async with connection.transaction():
        await connection.execute(
            """UPDATE runs SET ended_at = now(), clean_end = $3, exit_code = $4, last_seq = greatest(last_seq, $5)
                WHERE book_id = $1 AND run = $2 AND ended_at IS NULL""",
            claim.book_id,
            run,
            *end,
        )
        await connection.execute(
            """UPDATE instance_metadata SET status = 'stopped', last_heartbeat = now()
                WHERE book_id = $1 AND instance_id = $2 AND run = $3""",
            claim.book_id,
            claim.instance_id,
            run,
        )


async def last_holder(connection: asyncpg.Connection | PoolConnectionProxy, book_id: str) -> Holder | None:
    """Find the node that started last on a book, by its run."""
    row = await connection.fetchrow(
        """SELECT run, i.instance_id, r.host, r.pid, i.status, r.started_at, now() - i.last_heartbeat AS heartbeat_age
             FROM runs r JOIN instance_metadata i USING (book_id, run)
            WHERE book_id = $1 ORDER BY run DESC LIMIT 1""",
        book_id,
    )
    return Holder(**row) if row else None


async def archives(connection: asyncpg.Connection, book_id: str, *, since_ns: int, run: int) -> list[Archive]:
    """Find the files of the archived runs up to `run` that had not ended before that time; the newest come first."""
    found = await connection.fetch(
        """SELECT run, archive FROM
                  (SELECT *, lead(started_at) OVER (ORDER BY run) AS next FROM runs WHERE book_id = $1) AS r
            WHERE archived_at IS NOT NULL AND run <= $2
              AND (run = $2 OR coalesce(ended_at, next) >= to_timestamp($3::numeric / 1000000000))
            ORDER BY run DESC LIMIT $4""",
        book_id,
        run,
        since_ns,
        ARCHIVES_MAX,
    )
    return [Archive(**row) for row in found]


async def undrained(connection: asyncpg.Connection, book_id: str, before_run: int) -> list[Undrained]:
    """Find the former runs of which nobody has said that all of them is in the tables."""
    found = await connection.fetch(
        """SELECT run, host, last_seq, durable_seq FROM runs
            WHERE book_id = $1 AND run < $2 AND drained_at IS NULL AND archived_at IS NULL
              AND (ended_at IS NULL OR durable_seq < last_seq) ORDER BY run""",
        book_id,
        before_run,
    )
    return [Undrained(*row) for row in found]


async def accept_loss(connection: asyncpg.Connection, book_id: str, run: int, lost: list[int], *, by: str) -> None:
    """Write down who accepted that former runs may never be whole, and ask no more for them."""
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO commands (book_id, command_id, kind, arguments, issued_by, status, result, applied_run,
                                     applied_at)
               VALUES ($1, gen_random_uuid()::text, 'accept-loss', jsonb_build_object('runs', $3::int[]), $4, 'applied',
                       'the node started although these runs may not be whole in the tables', $2, now())""",
            book_id,
            run,
            lost,
            by,
        )
        await connection.execute(
            "UPDATE runs SET drained_at = now() WHERE book_id = $1 AND run = ANY($2)", book_id, lost
        )
