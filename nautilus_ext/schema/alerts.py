"""Rows of alerts: written by the run that told them, read by whoever follows. One purpose on a given connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.errors import BookLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

_COLUMNS = "run, number, code, scope, severity, text, count, ts_ns"


class Teller(NamedTuple):
    """The run that tells, with the epoch that it must still find."""

    book_id: str
    run: int
    epoch: int


class Told(msgspec.Struct, frozen=True):
    """An alert with its number among those of its run."""

    number: int
    code: str
    scope: str
    severity: str
    text: str
    count: int
    ts_ns: int


async def insert(connection: asyncpg.Connection, teller: Teller, told: Sequence[Told]) -> None:
    """Write them; one that stands there already is the same, written by an attempt whose answer was lost."""
    async with connection.transaction():
        held = await connection.fetchval("SELECT epoch FROM books WHERE book_id = $1 FOR SHARE", teller.book_id)
        if held != teller.epoch:
            raise BookLost(f"book {teller.book_id} is another node's now: this one writes no alert any more")
        await connection.executemany(
            f"""INSERT INTO alerts (book_id, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                ON CONFLICT (book_id, run, number) DO NOTHING""",  # noqa: S608 - a constant
            [(teller.book_id, teller.run, *msgspec.structs.astuple(each)) for each in told],
        )


async def newest(connection: asyncpg.Connection, book_id: str, most: int) -> list[Any]:
    """The last ones, the oldest of them first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM alerts WHERE book_id = $1 ORDER BY run DESC, number DESC LIMIT $2",  # noqa: S608 - as above
        book_id,
        most,
    )
    return rows[::-1]


async def after(connection: asyncpg.Connection, book_id: str, run: int, number: int, most: int) -> list[Any]:
    """What came after that one, the oldest first."""
    return await connection.fetch(
        f"""SELECT {_COLUMNS} FROM alerts WHERE book_id = $1 AND (run, number) > ($2, $3)
             ORDER BY run, number LIMIT $4""",  # noqa: S608 - as above
        book_id,
        run,
        number,
        most,
    )
