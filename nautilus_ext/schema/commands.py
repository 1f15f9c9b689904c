"""Rows of commands: asked by anybody who may insert, taken and answered by the one node that has the book.

A command is applied once because it is taken first, by the run that has the book. What a run has taken and not answered
when it died is left for the next to decide. Each function is one purpose on a given connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from nautilus_ext.errors import BookLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime

    import asyncpg

Status = Literal["pending", "taken", "applied", "refused", "expired"]

CHANNEL = "suite_commands"  # its payload is the book
RESULT_MAX = 2_000
ROWS_AT_ONCE = 500
NOT_APPLIED = "no node has applied it in time: is one running on this book? Ask again when it does"
WORDS_MAX = 16_384  # characters of each column that are read: more are no command, and a terminal's end
_WORDS = (
    f"command_id, left(kind, {WORDS_MAX}) AS kind, left(arguments::text, {WORDS_MAX + 1}) AS arguments, "
    f"left(issued_by, {WORDS_MAX}) AS issued_by, issued_at"
)


class Asked(NamedTuple):
    """A command as it stands in the table; nobody has looked yet whether it makes sense."""

    command_id: str
    kind: str
    arguments: Any
    issued_by: str
    issued_at: datetime


class Left(NamedTuple):
    """What a run has taken and not answered; `is_late`: nobody shall begin it any more."""

    run: int
    is_late: bool
    asked: Asked


class Answer(NamedTuple):
    """How far a command is."""

    status: Status
    result: str
    run: int | None
    at: datetime | None


class Taker(NamedTuple):
    """The run that applies, with the epoch that it must still find."""

    book_id: str
    run: int
    epoch: int


async def insert(
    connection: asyncpg.Connection, book_id: str, asked: tuple[str, str, dict[str, Any], str], expires_s: float | None
) -> bool:
    """Ask for it and wake the node; False when its id is known: it is asked for once, however often it is sent."""
    command_id, kind, arguments, issued_by = asked
    inserted = await connection.fetchrow(
        """WITH new AS (
               INSERT INTO commands (book_id, command_id, kind, arguments, issued_by, expires_at)
               VALUES ($1, $2, $3, $4::jsonb, $5, now() + $6::float8 * interval '1 second')
               ON CONFLICT (book_id, command_id) DO NOTHING RETURNING book_id)
           SELECT pg_notify($7, book_id) FROM new""",
        book_id,
        command_id,
        kind,
        msgspec.json.encode(arguments).decode(),
        issued_by,
        expires_s,
        CHANNEL,
    )
    return inserted is not None


async def listen(connection: asyncpg.Connection, book_id: str, wake: Callable[[], None]) -> None:
    """Have `wake` called when a command of the book comes, and when the connection is lost: look again then."""

    def heard(*message: Any) -> None:
        if message[-1] == book_id:
            wake()

    connection.add_termination_listener(lambda _: wake())
    await connection.add_listener(CHANNEL, heard)


async def waiting(connection: asyncpg.Connection, book_id: str) -> bool:
    """Tell whether there is one to begin or to give up: a look that writes nothing, for the many that find nothing."""
    pending = "SELECT EXISTS (SELECT FROM commands WHERE book_id = $1 AND status = 'pending')"
    return bool(await connection.fetchval(pending, book_id))


async def take(connection: asyncpg.Connection, taker: Taker) -> Asked | None:
    """Begin the oldest that waits; BookLost when the book is another node's."""
    async with connection.transaction():
        await _fence(connection, taker)
        row = await connection.fetchrow(
            f"""UPDATE commands SET status = 'taken', applied_run = $2
                 WHERE book_id = $1 AND status = 'pending' AND command_id =
                       (SELECT command_id FROM commands
                         WHERE book_id = $1 AND status = 'pending' AND (expires_at IS NULL OR expires_at > now())
                         ORDER BY issued_at, command_id LIMIT 1)
                RETURNING {_WORDS}""",  # noqa: S608 - a constant
            taker.book_id,
            taker.run,
        )
    return None if row is None else _asked(row)


async def unanswered(connection: asyncpg.Connection, taker: Taker) -> list[Left]:
    """What was taken and not answered: by a run that died, or by this one, when an answer was lost."""
    rows = await connection.fetch(
        f"""SELECT applied_run, coalesce(expires_at <= now(), false), {_WORDS} FROM commands
             WHERE book_id = $1 AND status = 'taken' AND applied_run <= $2
             ORDER BY applied_run, issued_at, command_id""",  # noqa: S608 - as above
        taker.book_id,
        taker.run,
    )
    return [Left(run, is_late, _asked(row)) for run, is_late, *row in rows]


async def answer(
    connection: asyncpg.Connection, taker: Taker, number: int, command_id: str, *, applied: bool, result: str
) -> bool:
    """Say what came of it, as the run's answer of this number; False when nobody has taken it, or another one stands.

    The same answer may be given again: of one that was lost nobody knows whether it came.
    """
    async with connection.transaction():
        await _fence(connection, taker)
        done = await connection.execute(
            """UPDATE commands SET status = $5, result = $6, applied_run = $2, applied_number = $3, applied_at = now()
                WHERE book_id = $1 AND command_id = $4 AND
                      ((status = 'taken' AND applied_run <= $2)
                       OR (status = $5 AND applied_run = $2 AND applied_number = $3))""",
            taker.book_id,
            taker.run,
            number,
            command_id,
            _word(applied=applied),
            result[:RESULT_MAX],
        )
    return done == "UPDATE 1"


async def record(
    connection: asyncpg.Connection,
    taker: Taker,
    number: int,
    done: tuple[str, str, dict[str, Any], str],
    *,
    applied: bool,
    result: str,
) -> bool:
    """Write down what was applied, or refused, without having stood here: by a breaker, a file, a message that is none.

    False when its id is known: what is recorded again after a lost answer is there once.
    """
    command_id, kind, arguments, issued_by = done
    async with connection.transaction():
        await _fence(connection, taker)
        inserted = await connection.execute(
            """INSERT INTO commands (book_id, command_id, kind, arguments, issued_by, status, result, applied_run,
                                     applied_number, applied_at)
               VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, now())
               ON CONFLICT (book_id, command_id) DO NOTHING""",
            taker.book_id,
            command_id,
            kind,
            msgspec.json.encode(arguments).decode(),
            issued_by,
            _word(applied=applied),
            result[:RESULT_MAX],
            taker.run,
            number,
        )
    return inserted == "INSERT 0 1"


async def expire(connection: asyncpg.Connection, book_id: str, command_id: str | None = None) -> int:
    """Give up what nobody has begun in time, or one of them at once: whoever waited for it goes away."""
    done = await connection.execute(
        """UPDATE commands SET status = 'expired', result = $3
            WHERE book_id = $1 AND status = 'pending' AND (command_id = $2 OR ($2 IS NULL AND expires_at <= now()))""",
        book_id,
        command_id,
        NOT_APPLIED,
    )
    return int(done.rpartition(" ")[2])


async def answer_to(connection: asyncpg.Connection, book_id: str, command_id: str) -> Answer | None:
    """How far it is; None when nobody has asked for it."""
    row = await connection.fetchrow(
        """SELECT status, coalesce(result, ''), applied_run, applied_at FROM commands
            WHERE book_id = $1 AND command_id = $2""",
        book_id,
        command_id,
    )
    return None if row is None else Answer(*row)


async def applied(
    connection: asyncpg.Connection, book_id: str, kinds: Sequence[str]
) -> AsyncIterator[tuple[datetime, Asked]]:
    """What was applied of these kinds and when, in that order: what holds now is what all of them add up to."""
    async with connection.transaction(readonly=True):
        rows = connection.cursor(
            f"""SELECT applied_at, {_WORDS} FROM commands
                 WHERE book_id = $1 AND status = 'applied' AND kind = ANY($2)
                 ORDER BY applied_run, applied_number""",  # noqa: S608 - as above
            book_id,
            kinds,
            prefetch=ROWS_AT_ONCE,
        )
        async for applied_at, *row in rows:
            yield applied_at, _asked(row)


async def history(connection: asyncpg.Connection, book_id: str, limit: int) -> list[asyncpg.Record]:
    """The newest, the oldest of them first: who asked for what and when, and what came of it."""
    rows = await connection.fetch(
        f"""SELECT {_WORDS}, status, result, applied_run, applied_at
             FROM commands WHERE book_id = $1 ORDER BY issued_at DESC, command_id DESC LIMIT $2""",  # noqa: S608 - as above
        book_id,
        limit,
    )
    return rows[::-1]


def _word(*, applied: bool) -> Status:
    return "applied" if applied else "refused"


async def _fence(connection: asyncpg.Connection, taker: Taker) -> None:
    """No other node can take the book until this transaction is over."""
    held = "SELECT epoch FROM books WHERE book_id = $1 FOR SHARE"
    if await connection.fetchval(held, taker.book_id) != taker.epoch:
        raise BookLost(f"book {taker.book_id} is another node's now: this one applies no command any more")


def _asked(row: Iterable[Any]) -> Asked:
    command_id, kind, arguments, issued_by, issued_at = row
    return Asked(command_id, kind, decoded(arguments), issued_by, issued_at)


def decoded(text: str) -> Any:
    """What is too long, or what only PostgreSQL takes for JSON, stays text: a row must not be lost over it."""
    try:
        return msgspec.json.decode(text) if len(text) <= WORDS_MAX else text
    except (msgspec.DecodeError, RecursionError, ValueError):
        return text
